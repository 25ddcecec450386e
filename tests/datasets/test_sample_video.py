"""The clip that the project makes itself, and what is said about it."""

from __future__ import annotations

import io
import itertools

import av
import numpy as np
import pytest
from helpers import video_records

from redeepfake_nb import find_faces, open_video
from redeepfake_nb.analysis.segments import describe_detection
from redeepfake_nb.datasets import samples as sample_clip
from redeepfake_nb.datasets.samples import MANIPULATED, RATE, SECONDS, SIZE, is_manipulated
from redeepfake_nb.media import frames as media


@pytest.fixture(scope="module")
def frames() -> list[media.Frame]:
    with open_video(sample_clip.sample_video()) as video:
        assert video.name == "sample-clip.mp4"
        assert video.duration == pytest.approx(SECONDS)
        frames = list(video.sample("all"))
        assert video.completeness.complete
    return frames


def test_six_seconds_of_480_by_300(frames):
    assert [f.timestamp for f in frames] == pytest.approx(np.arange(SECONDS * RATE) / RATE, abs=1e-3)
    assert {(f.width, f.height) for f in frames} == {SIZE} == {(480, 300)}
    with av.open(io.BytesIO(sample_clip.sample_clip())) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264"]
    assert len(sample_clip.sample_clip()) < 1_000_000


def test_pictures_are_the_same_every_time_and_survive_coding(frames):
    made = list(sample_clip.pictures())
    for number in (0, 30, 71):
        np.testing.assert_array_equal(made[number], list(sample_clip.pictures())[number])
        assert np.abs(made[number].astype(int) - frames[number].image).mean() < 4


def test_only_the_middle_is_manipulated(monkeypatch):
    made = list(sample_clip.pictures())
    monkeypatch.setattr(sample_clip, "_manipulated", lambda: sample_clip.sample_image().image)
    for number, (found, untouched) in enumerate(zip(made, sample_clip.pictures(), strict=True)):
        changed = (found != untouched).any(axis=-1)
        assert changed.any() == is_manipulated(number / RATE)
        if changed.any():
            (face,) = find_faces(media.Frame(untouched))
            rows, columns = np.nonzero(changed)
            left, top, right, bottom = face.crop_box(0.6)
            assert (left <= columns.min()) & (columns.max() < right)
            assert (top <= rows.min()) & (rows.max() < bottom)
            # Seen side by side, and no mask of paint.
            change = np.abs(found[changed].astype(int) - untouched[changed]).mean()
            assert 4 < change < 25
            break_after = number
    assert break_after == round(MANIPULATED[1] * RATE) - 1


def test_the_camera_moves_slowly_and_never_leaves_the_picture():
    made = list(sample_clip.pictures())
    steps = [np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(made)]
    assert min(steps) > 0.3
    assert max(steps) < 12
    # Beyond the picture's edge rows and columns would repeat.
    for picture in made:
        assert (picture[:, 0] != picture[:, 2]).any()
        assert (picture[:, -1] != picture[:, -3]).any()
        assert (picture[0] != picture[2]).any()


def test_every_frame_shows_one_face(frames):
    assert [len(find_faces(frame)) for frame in frames[::6]] == [1] * 12


@pytest.mark.parametrize(
    ("inside", "outside", "words"),
    [
        ([-3, -3], [-3, -3], "missed this manipulation."),
        ([-1, -1], [-3, -3], "though it scores these seconds higher"),
        ([3, 3], [-3, -3], "found this manipulation"),
        ([3, -3, -3], [-3, -3], "noticed a few"),
        ([3, 3], [3, -3], "others as well"),
        ([3, -3], [3, 3], "does not tell"),
    ],
)
def test_what_is_said_follows_from_the_scores(inside, outside, words):
    made = [video_records.sighting(2.0 + i / 10, logit) for i, logit in enumerate(inside)]
    made += [video_records.sighting(5.0 + i / 10, logit) for i, logit in enumerate(outside)]
    first, second, last = describe_detection(video_records.report(*made), sample_clip.MANIPULATED)
    over = sum(logit > 0 for logit in inside)
    assert f"Of the {len(inside)} manipulated frames {over} reach the threshold 0.50" in first
    assert f"Of the {len(outside)} untouched frames" in second
    assert words in last


def test_without_faces_nothing_is_compared():
    (sentence,) = describe_detection(video_records.report(times=np.array([1.0])), sample_clip.MANIPULATED)
    assert "nothing can be compared" in sentence
