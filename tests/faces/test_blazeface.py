"""BlazeFace: decoding and averaging by hand, and faces of the portrait in many sizes and poses."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage import data

from redeepfake_nb import find_faces
from redeepfake_nb.faces import blazeface
from redeepfake_nb.faces.blazeface import (
    BlazeFaceDetector,
    Candidates,
    Look,
    Pyramid,
    _disagreement,
    decode,
    feature_maps,
    look_again,
    weighted_suppression,
)
from redeepfake_nb.faces.detection import Detector, box_iou, get_detector


def candidate(box: tuple[float, float, float, float], score: float) -> tuple[np.ndarray, float]:
    points = np.zeros((8, 2))
    points[:2] = np.reshape(box, (2, 2))
    points[2:] = points[:2].mean(axis=0)
    return points, score


def candidates(*several: tuple[np.ndarray, float]) -> Candidates:
    return Candidates(
        np.array([points for points, _ in several]).reshape(-1, 8, 2),
        np.array([score for _, score in several]),
    )


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return data.astronaut()[:300]


def test_decoding_by_hand() -> None:
    """One anchor of each map: boxes and key points are relative to the middle of the cell."""
    maps = [np.full((n, 4 // d, 4 // d), -100, np.float32) for n, d in ((2, 1), (6, 2))]
    maps += [np.zeros((16 * n, 4 // d, 4 // d), np.float32) for n, d in ((2, 1), (6, 2))]
    maps[0][1, 2, 3] = 0.0  # second anchor, row 2, column 3 of cells of 16 px: centre (56, 40)
    maps[2][16:20, 2, 3] = 4, -2, 20, 30  # centre and size of the box
    maps[2][20:22, 2, 3] = -5, -6  # right eye
    maps[1][5, 0, 1] = 100.0  # last anchor, row 0, column 1 of cells of 32 px: centre (48, 16)
    maps[3][80:84, 0, 1] = 0, 0, 8, 8
    found = decode(maps, 16, 0.3)
    assert found.scores == pytest.approx([0.5, 1.0])
    assert found.boxes.tolist() == [[50, 23, 70, 53], [44, 12, 52, 20]]
    assert found.points[0, 2].tolist() == [51, 34]
    assert found.points[1, 2:].tolist() == [[48, 16]] * 6
    assert len(decode(maps, 16, 0.6).scores) == 1


def test_averaging_by_hand() -> None:
    found = weighted_suppression(
        candidates(
            candidate((100, 100, 200, 200), 0.5),
            candidate((0, 0, 10, 10), 0.9),
            candidate((3, 0, 13, 10), 0.3),  # IoU 70 / 130 with the one before
            candidate((9, 9, 19, 19), 0.2),  # 1 / 199
            candidate((5, 5, 5, 9), 1.0),  # no area
            candidate((np.nan, 0, 5, 5), 1.0),
        )
    )
    assert found.scores.tolist() == [0.9, 0.5, 0.2]
    assert found.boxes[0] == pytest.approx([0.75, 0, 10.75, 10])  # 3 * 0.3 / 1.2
    assert found.boxes[1:].tolist() == [[100, 100, 200, 200], [9, 9, 19, 19]]
    assert len(weighted_suppression(candidates()).scores) == 0


def test_the_network_takes_other_sizes_than_its_own(portrait: np.ndarray) -> None:
    image = cv2.resize(portrait, (256, 160))
    shapes = [maps.shape for maps in feature_maps("back", image)]
    assert shapes == [(2, 10, 16), (6, 5, 8), (32, 10, 16), (96, 5, 8)]


@pytest.mark.parametrize("scale", [0.25, 1.0, 2.5])
def test_the_box_is_like_that_of_hog_at_every_size(portrait: np.ndarray, scale: float) -> None:
    (expected,) = get_detector("hog")(portrait)
    image = cv2.resize(portrait, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    (face,) = find_faces(image, "blazeface")
    assert box_iou([np.multiply(expected.box, scale)], [face.box])[0, 0] > 0.6
    assert face.detector == "blazeface"
    assert 0.4 <= face.confidence <= 1
    assert not face.profile
    # Key points and landmarks agree: eyes, nose tip.
    eyes = [face.landmarks[36:42].mean(axis=0), face.landmarks[42:48].mean(axis=0), face.landmarks[30]]
    distances = np.linalg.norm(face.key_points[:3] - eyes, axis=1)
    assert distances.max() < 0.12 * face.width


def test_a_crowd_of_small_faces_is_found(portrait: np.ndarray) -> None:
    crowd = cv2.resize(data.brick(), (1200, 900))[..., None].repeat(3, axis=2)
    small = cv2.resize(portrait, None, fx=0.2, fy=0.2, interpolation=cv2.INTER_AREA)  # a face of 21 px
    for row in range(5):
        for column in range(10):
            top, left = 30 + 175 * row, 5 + 119 * column
            crowd[top : top + small.shape[0], left : left + small.shape[1]] = small
    faces = find_faces(crowd, "blazeface")
    assert len(faces) == 50
    assert all(abs(face.size - 21) < 7 for face in faces)


@pytest.mark.parametrize("size", [(2000, 1500), (4000, 600)])
def test_a_small_face_of_a_large_picture_is_found(portrait: np.ndarray, size: tuple[int, int]) -> None:
    image = cv2.resize(data.brick(), size)[..., None].repeat(3, axis=2)
    small = cv2.resize(portrait, None, fx=0.3, fy=0.3, interpolation=cv2.INTER_AREA)
    image[400 : 400 + small.shape[0], 300 : 300 + small.shape[1]] = small
    (face,) = find_faces(image, "blazeface")
    assert face.size == pytest.approx(31, abs=8)


def test_a_pyramid_halves_and_never_needs_enlarging() -> None:
    pyramid = Pyramid(np.full((101, 203, 3), 7, np.uint8))
    scales = (2, 1, 0.6, 0.5, 0.26, 0.25, 0.001)
    assert [pyramid.level(scale)[1] for scale in scales] == [1, 1, 1, 2, 2, 4, 64]
    level, times = pyramid.level(0.25)
    assert (level.shape, times) == ((25, 50, 3), 4)
    assert (level == 7).all()


@pytest.mark.parametrize("name", ["coffee", "chelsea", "brick", "rocket", "page"])
def test_pictures_without_people_have_no_face(name: str) -> None:
    image = getattr(data, name)()
    image = image if image.ndim == 3 else image[..., None].repeat(3, axis=2)
    assert find_faces(image, "blazeface") == []


def test_a_second_look_tells_a_face_from_what_is_none(portrait: np.ndarray) -> None:
    (found,) = get_detector("blazeface")(portrait)
    look = look_again(portrait, found.box)
    assert look.confidence > 0.7
    assert look.disagreement < 0.05
    assert np.abs(look.points[2:] - found.key_points).max() < 0.1 * (found.box[2] - found.box[0])
    assert look_again(portrait, (0, 200, 80, 280)).confidence == 0
    outside = look_again(portrait, (-500, -500, -400, -400))
    assert (outside.confidence, outside.points) == (0.0, None)


def test_confidence_of_a_look_by_hand() -> None:
    assert Look(np.array([0.9, 0.7]), 0.1, None).confidence == pytest.approx(0.6)
    assert Look(np.array([0.9]), 1.0, None).confidence == 0
    face = np.array([(0, 0), (10, 40), *[(5, 20)] * 6], np.float64)  # a side of 20 px
    apart = face + np.array((0, 8))
    assert _disagreement([face]) == 1
    assert _disagreement([face, face, face, apart]) == 0
    assert _disagreement([face, apart]) == pytest.approx(4 / 20)


@pytest.mark.parametrize(
    "shape", [(1, 1, 3), (1, 900, 3), (900, 2, 3), (31, 33, 3), (40, 3000, 3)], ids=lambda s: f"{s[1]}x{s[0]}"
)
def test_any_size_is_searched(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    assert find_faces(rng.integers(0, 256, shape).astype(np.uint8), "blazeface") == []


def test_it_is_a_detector_with_a_name_and_checked_options() -> None:
    assert isinstance(BlazeFaceDetector(), Detector)
    assert BlazeFaceDetector().name == "blazeface"
    for sides in ((), (8,), ("a",), (float("nan"),)):
        with pytest.raises(ValueError, match="sides must be"):
            BlazeFaceDetector(sides)


def test_coarse_sizes_end_the_search_where_faces_are_large(
    portrait: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched = []
    predict = blazeface.predict_faces
    monkeypatch.setattr(
        blazeface,
        "predict_faces",
        lambda *args, **more: (searched.append(args[2]), predict(*args, **more))[1],
    )
    BlazeFaceDetector()(portrait)
    assert searched == [128, 384]
    searched.clear()
    BlazeFaceDetector(confirm=False)(np.zeros((300, 1000, 3), np.uint8))
    assert searched == [128, 384, 1024]
    searched.clear()
    BlazeFaceDetector(confirm=False)(np.zeros((300, 500, 3), np.uint8))
    assert searched == [128, 384, 750]  # enlarged by at most 1.5
    searched.clear()
    BlazeFaceDetector(confirm=False)(np.zeros((30, 20, 3), np.uint8))
    assert searched == [128, 150]  # and by at most 5 for the first search
    searched.clear()
    BlazeFaceDetector(confirm=False)(np.zeros((40, 3071, 3), np.uint8))
    assert searched == [128, 384, 1024]
    searched.clear()
    BlazeFaceDetector(confirm=False)(np.zeros((40, 3072, 3), np.uint8))
    assert searched == [128, 384, 1024, 1536]  # in large images only
