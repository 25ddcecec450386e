"""Reading videos: sources, records, limits, several streams, and one decoder for all samples."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import threading
from pathlib import Path

import pytest
from helpers.numbered_clips import number_in, numbered, sampled, several_streams
from PIL import Image

from redeepfake_nb.errors import EmptyFile, InputError, MediaTooLarge, UnsupportedMedia
from redeepfake_nb.media.frames import Upload
from redeepfake_nb.media.video import open_video


def test_path_bytes_and_uploads(h264, tmp_path):
    path = tmp_path / "clip.txt"
    path.write_bytes(h264)
    eight = {"name": "a.mp4", "type": "video/mp4", "size": len(h264), "content": memoryview(h264)}
    seven = {"a.mp4": {"metadata": {"name": "a.mp4"}, "content": h264}}
    for source, name in (
        (path, "clip.txt"),
        (str(path), "clip.txt"),
        (h264, "video bytes"),
        (bytearray(h264), "video bytes"),
        (Upload("a.mp4", h264), "a.mp4"),
        ((eight,), "a.mp4"),
        (seven, "a.mp4"),
    ):
        with open_video(source) as video:
            assert number_in(next(video.sample()).image) == 1
            assert (video.name, video.source.name) == (name, name)
            assert video.source.sha256 == hashlib.sha256(h264).hexdigest()
            assert (video.source.format, video.source.size_bytes) == ("MP4", len(h264))
    assert (video.width, video.height, video.codec, video.frame_count) == (128, 64, "h264", 100)
    assert (video.duration, video.claimed_duration, video.average_rate) == (4.0, 4.0, 25.0)
    with open_video(path, name="mine") as video:
        assert video.name == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_completeness_is_plain_json(h264):
    with open_video(h264) as video:
        assert not video.completeness.complete
        sample = video.sample(8)
        assert (sample.expected, len(sample)) == (8, 8)
        next(sample)
        early = video.completeness
        assert (early.read, early.finished, early.complete) == (1, False, False)
        assert "stopped before the end" in early.summary
        list(sample)
        done = video.completeness
    assert done.complete
    assert json.loads(json.dumps(done.to_dict()))["last_timestamp"] == pytest.approx(3.72)
    assert (done.read, done.expected, done.pictures, done.claimed) == (8, 8, 100, 100)
    assert done.summary == "8 of 8 frames read"
    assert video.completeness == done


def test_name_that_is_not_utf8_and_a_link(h264, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \n%d.mp4")
    try:
        Path(path).write_bytes(h264)
    except OSError:
        pytest.skip("this file system refuses the name")
    with open_video(path) as video:
        assert video.name.isprintable() or video.source.name.isprintable()
        assert video.source.name.isprintable()
    os.symlink(path, tmp_path / "link")
    assert sampled(tmp_path / "link", 1)[0] == [50]


@pytest.mark.timeout(20)
def test_only_regular_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "empty.mp4").touch()
    for path, error, words in (
        (tmp_path / "pipe.mp4", UnsupportedMedia, "a pipe"),
        (tmp_path, UnsupportedMedia, "Name one video inside it"),
        (tmp_path / "none.mp4", InputError, "no such file"),
        (tmp_path / "empty.mp4", EmptyFile, "0 bytes"),
        ("http://localhost/a.mp4", InputError, "web address"),
        ("rtsp://localhost/a", InputError, "web address"),
        ("/dev/zero", UnsupportedMedia, "a device"),
        (b"", EmptyFile, "0 bytes"),
        (5, UnsupportedMedia, "a video cannot be read from an object of type int"),
    ):
        with pytest.raises(error, match=words):
            open_video(path)


def test_limits(h264, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(h264)
    with pytest.raises(MediaTooLarge, match="128 x 64"):
        open_video(h264, max_pixels=128 * 64 - 1)
    open_video(h264, max_pixels=128 * 64).close()
    with pytest.raises(MediaTooLarge, match="hours"):
        open_video(h264, max_seconds=3.9)
    for source in (h264, path):
        with pytest.raises(MediaTooLarge, match="MiB"):
            open_video(source, max_bytes=1000)
    with pytest.raises(MediaTooLarge, match="longer than 0 s"):
        open_video(h264, time_limit=0.0)


def test_time_limit_ends_a_sample(h264):
    with open_video(h264) as video:
        sample = video.sample("all")
        frames = [next(sample) for _ in range(3)]
        video._budget.limit = 0.0
        frames += list(sample)
        done = video.completeness
    assert 3 <= len(frames) < 100
    assert not done.complete
    assert "took longer" in done.first_error


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_one_of_several_streams(container: str):
    data = several_streams([6, 8], container)
    with open_video(data) as video:
        (note,) = video.source.notes
        assert (note.kind, note.text) == (
            "unseen",
            "only video stream 1 of 2 looked at; choose another with stream=",
        )
        assert [number_in(f.image) for f in video.sample("all")] == list(range(6))
    with open_video(data, stream=2) as video:
        assert [(n.kind, n.text) for n in video.source.notes] == [
            ("doubt", "only video stream 2 of 2 looked at, as chosen")
        ]
        assert [number_in(f.image) for f in video.sample("all")] == list(range(32, 40))
    with pytest.raises(InputError, match="there is no video stream 3 in it, the last is 2"):
        open_video(data, stream=3)
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="stream must be a number from 1"):
            open_video(data, stream=wrong)


@pytest.mark.parametrize("lengths", [[1, 6], [6, 1], [1, 6, 1]])
def test_a_cover_is_told_apart_from_the_film(lengths: list[int]):
    film = lengths.index(6)
    with open_video(several_streams(lengths)) as video:
        assert [number_in(f.image) for f in video.sample("all")] == list(range(32 * film, 32 * film + 6))
        (note,) = video.source.notes
        assert (note.kind, note.text) == (
            "information",
            f"cover pictures in the file, not looked at: {len(lengths) - 1}",
        )


def test_pictures_alone_are_no_covers():
    with open_video(several_streams([1, 1])) as video:
        assert video.frame_count == 1
        assert [note.kind for note in video.source.notes] == ["unseen"]


def test_animated_gif():
    out = io.BytesIO()
    first, *rest = (Image.fromarray(numbered(n)) for n in range(4))
    first.save(out, "GIF", save_all=True, append_images=rest, duration=100)
    numbers, _, times = sampled(out.getvalue(), "all")
    assert (numbers, times) == ([0, 1, 2, 3], pytest.approx([0, 0.1, 0.2, 0.3]))


def test_a_second_sample_ends_the_first_and_closing_ends_all(h264):
    video = open_video(h264)
    one = video.sample("all")
    next(one)
    two = video.sample("all")
    with pytest.raises(ValueError, match="ended"):
        next(one)
    assert number_in(next(two).image) == 0
    video.close()
    video.close()
    with pytest.raises(ValueError, match="ended"):
        next(two)
    with pytest.raises(ValueError, match="closed"):
        video.sample()


def test_many_threads_read_one_sample(h264):
    seen: list[int] = []
    with open_video(h264) as video:
        sample = video.sample("all")

        def read() -> None:
            seen.extend(number_in(frame.image) for frame in sample)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert video.completeness.read == 100
    assert sorted(seen) == list(range(100))


def test_files_are_closed(h264, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(h264)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        with open_video(path) as video:
            next(video.sample())
        with pytest.raises(MediaTooLarge):
            open_video(path, max_pixels=10)
    del video
    gc.collect()
    assert not before or len(os.listdir("/proc/self/fd")) <= before


@pytest.mark.slow
def test_an_hour_in_constant_memory(shared):
    path = shared / "bad_inputs" / "videos" / "long_1h.mp4"
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("memory is measured by /proc")

    def resident() -> float:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    with open_video(path) as video:
        before = resident()
        assert len(list(video.sample(32))) == 32
        for frame in video.sample("all", end=600.0):
            last = frame
        assert last.index == 17999
        assert resident() - before < 100
        assert video.completeness.complete


def test_small_files_get_little_time(h264, tmp_path, monkeypatch):
    with open_video(h264) as video:
        assert 25 < video._budget.limit < 26
    with open_video(h264, time_limit=100) as video:
        assert video._budget.limit == 100
    path = tmp_path / "large.mp4"
    path.write_bytes(h264)
    with open(path, "ab") as file:
        file.truncate(8 * 2**20)
    with open_video(path) as video:
        assert video._budget.limit == 25 + 8 * 8
    monkeypatch.setattr("redeepfake_nb.media.video.TIME_LIMIT", 40.0)
    with open_video(path) as video:
        assert video._budget.limit == 40
