"""The annotated video: frames and times of the source, boxes at the faces, sound kept, written atomically."""

from __future__ import annotations

import io
import stat
from pathlib import Path

import av
import numpy as np
import pytest
from helpers import video_records
from helpers.small_clips import LEFT, RATE, clip, detect_squares, level, picture, three_seconds, with_tone
from PIL import Image

from redeepfake_nb import Classifier, InputError, OutputError, analyze_video, open_video
from redeepfake_nb.report import annotated_video
from redeepfake_nb.report.annotated_video import Tracks, annotate_video, draw_declaration, draw_tracks

ORANGE, BLUE = (213, 94, 0), (0, 114, 178)


@pytest.fixture(scope="module")
def report(classifier: Classifier):
    return analyze_video(three_seconds(), classifier, frames="all", detector=detect_squares, explain_top=0)


def frames_of(path: Path) -> list:
    with open_video(path) as video:
        return list(video.sample("all"))


def near(pixels: np.ndarray, colour: tuple[int, int, int], tolerance: int = 60) -> np.ndarray:
    return np.abs(pixels.astype(int) - colour).max(axis=-1) < tolerance


def test_size_times_and_frames_equal_the_source(report, tmp_path: Path) -> None:
    calls = []
    out = annotate_video(report, tmp_path / "new" / "out.mp4", progress=lambda *call: calls.append(call))
    assert out == tmp_path / "new" / "out.mp4"
    frames = frames_of(out)
    assert [f.timestamp for f in frames] == pytest.approx(np.arange(30) / RATE, abs=1e-3)
    assert {(f.width, f.height) for f in frames} == {(160, 120)}
    # Away from boxes and text the frame differs by the compression only.
    original = picture(level(0.05))
    assert np.abs(frames[0].image[90:, :80].astype(int) - original[90:, :80]).mean() < 8
    assert calls[-1] == (30, 30)
    assert [p.name for p in out.parent.iterdir()] == ["out.mp4"]
    assert stat.S_IMODE(out.stat().st_mode) & 0o044 == 0o044


def test_it_is_an_mp4_for_browsers(report, tmp_path: Path) -> None:
    path = annotate_video(report, tmp_path / "out.mp4")
    with av.open(str(path)) as container:
        (stream,) = container.streams
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat"), "a browser would have to load all of it before it plays"


def test_boxes_are_drawn_where_the_faces_are(report, tmp_path: Path) -> None:
    frames = frames_of(annotate_video(report, tmp_path / "out.mp4"))
    for number, colour in ((5, BLUE), (15, ORANGE)):
        image = frames[number].image
        left, top, right, bottom = LEFT
        for side in (
            image[bottom - 1 : bottom + 2, left + 5 : right - 5],
            image[top + 5 : bottom - 5, left - 1 : left + 2],
            image[top + 5 : bottom - 5, right - 1 : right + 2],
        ):
            # Chroma is coded at half the resolution, which makes thin lines paler.
            hue = side.reshape(-1, 3).astype(int).mean(axis=0)
            assert (hue[0] > hue[2] + 15) if colour is ORANGE else (hue[2] > hue[0] + 15), (number, hue)
        # Nobody is on the right in the first second.
        untouched = np.abs(image[60:, 95:].astype(int) - picture(None)[60:, 95:]).mean() < 8
        assert untouched == (number == 5)


def test_drawing_copies_its_input_and_marks_both_labels() -> None:
    image = np.full((240, 320, 3), 128, np.uint8)
    found = [(np.array([30.0, 60, 110, 140]), 0, 0.9), (np.array([200.0, 60, 280, 140]), 1, 0.1)]
    drawn = draw_tracks(image, found, 0.5)
    assert (image == 128).all()
    assert near(drawn[60:141, 28:33], ORANGE).any()
    assert near(drawn[60:141, 198:203], BLUE).any()
    assert not near(drawn[150:], ORANGE).any()
    np.testing.assert_array_equal(draw_tracks(image, [], 0.5), image)


@pytest.mark.parametrize("box", [(-20, -20, 40, 40), (300, 220, 400, 300), (0, 0, 320, 240)])
def test_boxes_at_the_edge_can_be_drawn(box: tuple) -> None:
    drawn = draw_tracks(np.zeros((240, 320, 3), np.uint8), [(np.array(box, float), 0, 0.9)], 0.5)
    assert (drawn == 255).all(axis=-1).any()


def test_what_the_file_declares_is_written_at_the_lower_edge() -> None:
    image = np.full((90, 160, 3), 200, np.uint8)
    assert draw_declaration(image, "") is image
    drawn = draw_declaration(image, "valid Content Credentials say that generative AI made it")
    assert (image == 200).all()
    assert (drawn[:80] == 200).all()
    assert np.median(drawn[-2:]) == 0


def test_boxes_are_interpolated_between_frames() -> None:
    seen = [
        video_records.sighting(0.0, -4.0, box=(0, 0, 40, 40)),
        video_records.sighting(1.0, 4.0, box=(100, 20, 140, 60)),
        video_records.sighting(9.0, 4.0, box=(100, 20, 140, 60)),
    ]
    tracks = Tracks(video_records.report(*seen, times=np.arange(10)))
    ((box, person, p),) = tracks.at(0.25)
    assert box == pytest.approx([25, 5, 65, 45])
    assert person == 0
    assert p == pytest.approx(0.75 * seen[0].probability + 0.25 * seen[1].probability)
    assert len(tracks.at(1.4)) == 1, "a box stays for half the interval"
    assert tracks.at(5.0) == [], "a gap of eight seconds is not interpolated"
    assert len(tracks.at(9.0)) == 1


@pytest.mark.parametrize(("codec", "becomes"), [("aac", "aac"), ("flac", "aac"), ("pcm_s16le", "aac")])
def test_sound_is_kept_in_time(classifier: Classifier, tmp_path: Path, codec: str, becomes: str) -> None:
    data = with_tone([picture(level(0.1))] * 20, codec)
    report = analyze_video(data, classifier, frames=4, detector=detect_squares, explain_top=0)
    path = annotate_video(report, tmp_path / "out.mp4")
    with av.open(str(path)) as container:
        sound = container.streams.audio[0]
        assert sound.codec_context.name == becomes
        pieces = [(f.time, f.to_ndarray()[0].astype(float)) for f in container.decode(sound)]
        rate = sound.codec_context.sample_rate
    wave = np.concatenate([samples for _, samples in pieces])
    assert pieces[0][0] == pytest.approx(0, abs=0.07)
    assert len(wave) / rate == pytest.approx(2.0, abs=0.15)
    spectrum = np.abs(np.fft.rfft(wave * np.hanning(len(wave))))
    assert np.fft.rfftfreq(len(wave), 1 / rate)[spectrum.argmax()] == pytest.approx(440, abs=3)
    assert len(frames_of(path)) == 20


def test_odd_sides_are_cropped(classifier: Classifier, tmp_path: Path) -> None:
    data = clip([picture(level(0.1))[:119, :159]] * 5)
    report = analyze_video(data, classifier, frames=2, detector=detect_squares, explain_top=0)
    (size,) = {(f.width, f.height) for f in frames_of(annotate_video(report, tmp_path / "out.mp4"))}
    assert size == (158, 118)


@pytest.mark.parametrize("suffix", ["png", "webp", "gif"])
def test_an_animated_picture_has_no_sound(classifier: Classifier, tmp_path: Path, suffix: str) -> None:
    first, *others = [Image.fromarray(picture(level(0.1), i)) for i in (50, 80, 110)]
    source = tmp_path / f"a.{suffix}"
    first.save(source, save_all=True, append_images=others, duration=200)
    report = analyze_video(source, classifier, frames="all", detector=detect_squares)
    made = annotate_video(report, tmp_path / "out.mp4")
    assert len(frames_of(made)) == 3
    with av.open(str(made)) as inside:
        assert not inside.streams.audio


def test_cancelling_keeps_the_earlier_file(report, tmp_path: Path) -> None:
    out = tmp_path / "out.mp4"
    out.write_bytes(b"an earlier one")
    calls = iter([False, False, True])
    with pytest.raises(OutputError, match="cancelled"):
        annotate_video(report, out, cancel=lambda: next(calls))
    assert out.read_bytes() == b"an earlier one"
    assert [p.name for p in tmp_path.iterdir()] == ["out.mp4"]


def test_a_failure_leaves_no_file(report, tmp_path: Path, monkeypatch) -> None:
    draw, count = annotated_video.draw_tracks, []

    def fail_third(*arguments):
        count.append(1)
        if len(count) == 3:
            raise RuntimeError("out of paint")
        return draw(*arguments)

    monkeypatch.setattr(annotated_video, "draw_tracks", fail_third)
    with pytest.raises(RuntimeError, match="out of paint"):
        annotate_video(report, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_an_encoder_that_fails_is_an_output_error(report, tmp_path: Path, monkeypatch) -> None:
    def refuse(*arguments):
        raise av.error.InvalidDataError(1, "no such thing")

    monkeypatch.setattr(annotated_video, "draw_tracks", refuse)
    with pytest.raises(OutputError, match="encoder failed"):
        annotate_video(report, tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_invalid_output_paths(report, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError):
        annotate_video(report, tmp_path / "file" / "out.mp4")
    (tmp_path / "folder.mp4" / "full").mkdir(parents=True)
    with pytest.raises(OutputError):
        annotate_video(report, tmp_path / "folder.mp4")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["file", "folder.mp4"]


def test_the_video_itself_is_kept(classifier: Classifier, tmp_path: Path) -> None:
    video, link = tmp_path / "clip.mp4", tmp_path / "link.mp4"
    before = three_seconds()
    video.write_bytes(before)
    link.symlink_to(video)
    report = analyze_video(video, classifier, frames=2, detector=detect_squares, explain_top=0)
    for out, options in ((video, {}), (link, {}), (link, {"source": video})):
        with pytest.raises(OutputError, match="it is the video itself"):
            annotate_video(report, out, **options)
    assert video.read_bytes() == before
    assert link.is_symlink()


def test_another_video_is_refused(report, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not the file that was analysed"):
        annotate_video(report, tmp_path / "out.mp4", source=io.BytesIO(clip([picture(9)] * 3)).getvalue())
    with pytest.raises(OutputError, match="does not know its video"):
        annotate_video(video_records.report(video_records.sighting(0, 1)), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []
