"""Faces keep the number of their track while their positions match, and get a new one otherwise."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb import find_faces
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.faces import detection
from redeepfake_nb.faces.blazeface import BlazeFaceDetector
from redeepfake_nb.faces.detection import Detection, box_iou
from redeepfake_nb.faces.tracking import FaceTracker, TrackedDetection, match_boxes, scene_changed

SCENE = np.random.default_rng(1).integers(0, 256, (9, 16, 3)).astype(np.uint8).repeat(20, 0).repeat(20, 1)
OTHER = np.random.default_rng(2).integers(0, 256, (9, 16, 3)).astype(np.uint8).repeat(20, 0).repeat(20, 1)


class Script:
    """A detector that returns given boxes, frame by frame."""

    name = "script"

    def __init__(self, *frames: list[tuple]) -> None:
        self.frames = list(frames)

    def __call__(self, image: np.ndarray) -> list[Detection]:
        return [Detection(box, 1.0) for box in self.frames.pop(0)]


def run(*frames: list[tuple], step: float = 0.04, scenes: list | None = None) -> list[list[TrackedDetection]]:
    tracker = FaceTracker(Script(*frames))
    scenes = scenes or [SCENE] * len(frames)
    return [tracker(scene, step * i) for i, scene in enumerate(scenes)]


def tracks(found: list[list[TrackedDetection]]) -> list[list[int]]:
    return [sorted(f.track for f in frame if not f.bridged) for frame in found]


A, B = (20, 20, 80, 80), (200, 40, 260, 100)


def moved(box: tuple, by: int) -> tuple:
    return (box[0] + by, box[1], box[2] + by, box[3])


def test_two_faces_keep_their_numbers() -> None:
    found = run([A, B], [moved(B, 5), moved(A, 5)], [moved(A, 9)])
    assert tracks(found) == [[0, 1], [0, 1], [0]]
    assert found[1][0].box == moved(A, 5)


def test_a_jump_in_the_next_frame_is_another_face() -> None:
    assert tracks(run([A], [moved(A, 45)])) == [[0], [1]]


def test_the_same_jump_after_half_a_second_is_not() -> None:
    assert tracks(run([A], [moved(A, 40)], step=0.5)) == [[0], [0]]


def test_a_long_absence_ends_a_track() -> None:
    assert tracks(run([A], [], [A], step=0.9)) == [[0], [], [0]]
    assert tracks(run([A], [], [A], step=1.1)) == [[0], [], [1]]


def test_a_cut_ends_all_tracks() -> None:
    assert tracks(run([A, B], [A, B], scenes=[SCENE, OTHER])) == [[0, 1], [2, 3]]


def test_another_picture_size_ends_all_tracks() -> None:
    assert tracks(run([A], [A], scenes=[SCENE, SCENE[:-20]])) == [[0], [1]]


def test_a_blink_is_bridged_and_an_exit_is_not() -> None:
    found = run([A], [], [], [A])
    assert [[f.bridged for f in frame] for frame in found] == [[False], [True], [True], [False]]
    assert all(f.track == 0 for frame in found for f in frame)
    assert np.abs(np.subtract(found[2][0].box, A)).max() <= 2
    # The face has gone: a flat patch where the texture was.
    gone = SCENE.copy()
    gone[:120, :120] = 127
    assert run([A], [], scenes=[SCENE, gone])[1] == []


def test_bridging_ends_after_a_second() -> None:
    found = run([A], *[[]] * 30)
    assert [len(frame) for frame in found[:26]] == [1] * 26
    assert found[26:] == [[]] * 5


def test_start_new_track_returns_a_new_number() -> None:
    tracker = FaceTracker(Script([A], [A]))
    assert tracker(SCENE, 0.0)[0].track == 0
    assert tracker.start_new_track(0) == 1
    assert tracker(SCENE, 0.04)[0].track == 1


@pytest.mark.parametrize(
    ("old", "new", "pauses", "expected"),
    [
        ([], [A], [], {}),
        ([A], [], [0.04], {}),
        ([A], [A], [0.04], {0: 0}),
        ([A, moved(A, 20)], [moved(A, 12), moved(A, 32)], [0.04, 0.04], {0: 0, 1: 1}),
        ([A], [(20, 20, 140, 140)], [0.5], {}),  # twice the size
    ],
)
def test_match_boxes(old: list, new: list, pauses: list, expected: dict) -> None:
    assert match_boxes(old, new, pauses) == expected


def test_scene_changed() -> None:
    ramp = np.tile(np.arange(32, dtype=np.float32) * 4, (18, 1))
    assert not scene_changed(ramp, ramp + 20)
    assert scene_changed(ramp, ramp[:, ::-1])
    assert not scene_changed(np.full((18, 32), 100, np.float32), np.full((18, 32), 110, np.float32))
    assert scene_changed(np.full((18, 32), 100, np.float32), np.full((18, 32), 10, np.float32))


def test_a_face_is_searched_near_its_last_position() -> None:
    picture = sample_image().image
    tracker = FaceTracker("hog")
    first = tracker(picture, 0.0)
    shifted = np.ascontiguousarray(np.roll(picture, 12, axis=1))
    second = tracker(shifted, 0.04)
    third = tracker(shifted, 0.08)
    assert [f.track for f in first] == [f.track for f in second] == [0]
    assert tracker.counts == {"whole": 1, "near": 2, "fine": 0, "followed": 0}
    centre = [(f[0].box[0] + f[0].box[2]) / 2 for f in (first, second, third)]
    assert centre[1] - centre[0] == pytest.approx(12, abs=12)
    # The searched part moves with the face, and HOG's cells with it, so boxes may differ by some pixels.
    assert np.abs(np.subtract(third[0].box, second[0].box)).max() <= 8


@pytest.mark.slow
def test_searching_ahead_changes_nothing() -> None:
    """Frames that need a full search by their timestamps may be searched early with the same result."""
    picture = sample_image().image
    frames = [(0.04 * i, np.ascontiguousarray(np.roll(picture, i, axis=1))) for i in range(30)]
    frames += [(3.0, frames[-1][1]), (3.04, frames[-1][1])]
    plain, ahead = FaceTracker("hog"), FaceTracker("hog")
    due = [ahead.needs_full_search(time) for time, _ in frames]
    assert [i for i, d in enumerate(due) if d] == [0, 25, 30]
    for (time, image), whole in zip(frames, due, strict=True):
        assert plain(image, time) == ahead(image, time, ahead.search(image) if whole else None)
    assert plain.counts == ahead.counts
    assert plain.counts["whole"] == 3
    assert not FaceTracker(Script()).needs_full_search(0.0)  # custom detectors may not be thread-safe


def test_a_rejected_detection_is_not_checked_again_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    tracker, looked = FaceTracker("hog"), []
    weak = [Detection((20, 20, 90, 90), 0.1)]
    monkeypatch.setattr(tracker, "search", lambda image: weak)
    monkeypatch.setattr(tracker._fine_detector, "_detect_at_scale", lambda image, scale: [])
    monkeypatch.setattr(detection, "cnn_confirms", lambda image, box: looked.append(box) or False)
    for i in range(8):
        assert tracker(SCENE, 0.6 * i) == []
    assert len(looked) == 2  # at 0 s and again after 3 s


def test_blazeface_searches_near_a_face_in_frames_that_are_close() -> None:
    picture = sample_image().image
    tracker, ahead = FaceTracker("blazeface"), FaceTracker("blazeface")
    due = [ahead.needs_full_search(time) for time in (0.0, 0.1, 0.3, 0.5, 0.8)]
    assert due == [True, False, False, True, True]  # after half a second, and after a long step
    for i, time in enumerate((0.0, 0.1, 0.3, 0.5, 0.8)):
        image = np.ascontiguousarray(np.roll(picture, 5 * i, axis=1))
        (found,) = tracker(image, time)
        assert [found] == ahead(image, time, ahead.search(image) if due[i] else None)
        (whole,) = find_faces(image, BlazeFaceDetector((384,)))
        assert found.track == 0
        assert found.key_points.shape == (6, 2)
        assert box_iou([found.box], [whole.box]) > 0.95
    assert tracker.counts == ahead.counts == {"whole": 3, "near": 2, "fine": 0, "followed": 0}


def test_a_face_that_is_not_near_its_place_is_searched_in_the_whole_frame() -> None:
    picture = sample_image().image
    moved = np.ascontiguousarray(np.roll(picture, picture.shape[1] // 2, axis=1))
    tracker = FaceTracker("blazeface")
    assert [[f.track for f in tracker(image, 0.04 * i)] for i, image in enumerate([picture, moved])] == [
        [0],
        [1],
    ]
    assert tracker.counts["whole"] == 2


@pytest.mark.parametrize("hidden", ["face", "eyes", "mouth"])
def test_a_face_keeps_its_track_while_it_is_hidden_for_some_frames(hidden: str) -> None:
    """A moving face, of which all or a part is painted over in 4 frames, 0.4 s apart."""
    picture = sample_image().image
    left, top, right, bottom = find_faces(picture, "blazeface")[0].box
    side = bottom - top
    first, last = {"face": (-0.4, 1.3), "eyes": (0.1, 0.4), "mouth": (0.55, 1.2)}[hidden]
    covered = picture.copy()
    covered[max(top + round(first * side), 0) : top + round(last * side), left - 20 : right + 20] = 110
    tracker = FaceTracker("blazeface")
    seen = []
    for i in range(12):
        image = np.ascontiguousarray(np.roll(covered if 4 <= i < 8 else picture, 6 * i, axis=1))
        seen.append([found for found in tracker(image, 0.4 * i) if not found.bridged])
    assert {found.track for frame in seen for found in frame} == {0}
    assert [len(frame) for frame in seen[:4] + seen[8:]] == [1] * 8
    if hidden == "face":
        assert seen[4:8] == [[]] * 4


def test_the_interval_of_fine_searches_grows() -> None:
    tracker = FaceTracker("hog")
    for i in range(40):
        tracker(SCENE, 0.5 * i)
    assert tracker.counts["fine"] <= 6
