"""The sample clip: format, camera, manipulated seconds, and the description of how they were detected."""

from __future__ import annotations

import io
import itertools

import av
import numpy as np
import pytest
from helpers import video_records

from redeepfake_nb import find_faces, open_video
from redeepfake_nb.analysis.segments import describe_detection
from redeepfake_nb.datasets import samples
from redeepfake_nb.datasets.samples import (
    CLIP_RATE,
    CLIP_SECONDS,
    CLIP_SIZE,
    MANIPULATED_SECONDS,
    is_manipulated_at,
)
from redeepfake_nb.media.frames import Frame


@pytest.fixture(scope="module")
def frames() -> list[Frame]:
    with open_video(samples.sample_video()) as video:
        assert video.name == "sample-clip.mp4"
        assert video.duration == pytest.approx(CLIP_SECONDS)
        frames = list(video.sample("all"))
        assert video.completeness.complete
    return frames


def test_six_seconds_of_480_by_300_px(frames):
    assert [f.timestamp for f in frames] == pytest.approx(
        np.arange(CLIP_SECONDS * CLIP_RATE) / CLIP_RATE, abs=1e-3
    )
    assert {(f.width, f.height) for f in frames} == {CLIP_SIZE} == {(480, 300)}
    with av.open(io.BytesIO(samples.sample_clip())) as container:
        assert [stream.codec_context.name for stream in container.streams] == ["h264"]
    assert len(samples.sample_clip()) < 1_000_000


def test_frames_are_deterministic_and_survive_encoding(frames):
    made = list(samples.clip_frames())
    for number in (0, 30, 71):
        np.testing.assert_array_equal(made[number], list(samples.clip_frames())[number])
        assert np.abs(made[number].astype(int) - frames[number].image).mean() < 4


@pytest.mark.slow
def test_only_the_manipulated_seconds_differ_and_only_in_the_face(monkeypatch):
    made = list(samples.clip_frames())
    monkeypatch.setattr(samples, "_manipulated", lambda image, landmarks: image)
    for number, (found, untouched) in enumerate(zip(made, samples.clip_frames(), strict=True)):
        changed = (found != untouched).any(axis=-1)
        assert changed.any() == is_manipulated_at(number / CLIP_RATE)
        if changed.any():
            (face,) = find_faces(Frame(untouched))
            rows, columns = np.nonzero(changed)
            left, top, right, bottom = face.crop_box(0.6)
            assert (left <= columns.min()) & (columns.max() < right)
            assert (top <= rows.min()) & (rows.max() < bottom)
            # Visible side by side, but not painted over.
            change = np.abs(found[changed].astype(int) - untouched[changed]).mean()
            assert 4 < change < 25
            last = number
    assert last == round(MANIPULATED_SECONDS[1] * CLIP_RATE) - 1


def test_camera_moves_slowly_and_stays_inside_the_picture():
    made = list(samples.clip_frames())
    steps = [np.abs(a.astype(int) - b).mean() for a, b in itertools.pairwise(made)]
    assert min(steps) > 0.3
    assert max(steps) < 12
    # Outside the picture, rows and columns would repeat.
    for frame in made:
        assert (frame[:, 0] != frame[:, 2]).any()
        assert (frame[:, -1] != frame[:, -3]).any()
        assert (frame[0] != frame[2]).any()


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
def test_description_follows_from_the_scores(inside, outside, words):
    made = [video_records.sighting(2.0 + i / 10, logit) for i, logit in enumerate(inside)]
    made += [video_records.sighting(5.0 + i / 10, logit) for i, logit in enumerate(outside)]
    first, second, last = describe_detection(video_records.report(*made), MANIPULATED_SECONDS)
    over = sum(logit > 0 for logit in inside)
    assert f"Of the {len(inside)} manipulated frames {over} reach the threshold 0.50" in first
    assert f"Of the {len(outside)} untouched frames" in second
    assert words in last


def test_description_without_faces():
    (sentence,) = describe_detection(video_records.report(times=np.array([1.0])), MANIPULATED_SECONDS)
    assert "nothing can be compared" in sentence
