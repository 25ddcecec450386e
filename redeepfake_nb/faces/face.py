"""Faces in a picture: the record that carries a face to the last plot, and :func:`find_faces`.

How detectors search is in :mod:`redeepfake_nb.faces.detection`; its public names can be had from here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from numbers import Integral

import cv2
import numpy as np

from ..errors import RedeepfakeError
from ..media.frames import Frame, read_image
from ..utils.numeric import is_finite_number
from .detection import (
    Box,
    CnnDetector,
    Detection,
    Detector,
    HogDetector,
    box_iou,
    detector_names,
    find_landmarks,
    get_detector,
    register_detector,
    validate_detections,
)

__all__ = [
    "Box",
    "CnnDetector",
    "Detection",
    "Detector",
    "Face",
    "HogDetector",
    "box_iou",
    "crop_brightness",
    "crop_sharpness",
    "crop_frame",
    "detector_name",
    "detector_names",
    "find_faces",
    "get_detector",
    "register_detector",
]

# Side in pixels to which a crop is brought before its sharpness is measured.
SHARPNESS_SIDE = 112


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame.

    Parameters
    ----------
    frame
        The picture it was found in.
    box
        ``(left, top, right, bottom)`` in frame pixels, right and bottom exclusive, inside the frame and
        not empty.
    landmarks
        (68, 2) points x, y in frame pixels in the order of iBUG 300-W, or None. Kept as read-only float32.
    confidence
        The detector's, on its own scale (dlib: a margin over its threshold, about 0 to 3), or None.
    margin
        Crop margin that wins over the model's own, or None to leave it to the model.
    sharpness
        Variance of the Laplacian of the box's pixels, see :func:`crop_sharpness`, or None.
    track, person
        Which face over time and which identity, counted from 0, or None.
    detector
        Name of the detector that found it; ``"whole"`` for :meth:`whole`.

    Raises
    ------
    ValueError
        If a value is not what is said above.
    """

    frame: Frame = field(repr=False)
    box: Box
    landmarks: np.ndarray | None = field(default=None, repr=False)
    confidence: float | None = None
    margin: float | None = None
    sharpness: float | None = None
    track: int | None = None
    person: int | None = None
    detector: str | None = None

    def __post_init__(self) -> None:
        box = tuple(self.box)
        if len(box) != 4 or not all(isinstance(v, Integral) for v in box):
            raise ValueError(f"a box is four whole numbers (left, top, right, bottom), not {self.box!r}")
        left, top, right, bottom = (int(v) for v in box)
        width, height = self.frame.width, self.frame.height
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(f"box {box} is empty or outside the frame of {width} x {height} px")
        object.__setattr__(self, "box", (left, top, right, bottom))
        if self.landmarks is not None:
            points = np.array(self.landmarks, dtype=np.float32)
            if points.shape != (68, 2) or not np.isfinite(points).all():
                raise ValueError(f"landmarks are 68 finite points (68, 2), not an array of {points.shape}")
            points.setflags(write=False)
            object.__setattr__(self, "landmarks", points)
        if self.margin is not None:
            object.__setattr__(self, "margin", _checked_margin(self.margin))

    @classmethod
    def whole(cls, frame: Frame | object) -> Face:
        """A picture that is already a face crop: the box is the whole frame and the margin 0.

        ``frame`` is a :class:`Frame` or anything :func:`read_image` takes. There are no landmarks.
        """
        frame = read_image(frame)
        box = (0, 0, frame.width, frame.height)
        return cls(frame, box, margin=0.0, sharpness=crop_sharpness(frame.image), detector="whole")

    @property
    def width(self) -> int:
        """Of the box, in pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        """Of the box, in pixels."""
        return self.box[3] - self.box[1]

    @property
    def size(self) -> int:
        """The box's shorter side in pixels."""
        return min(self.width, self.height)

    @property
    def brightness(self) -> float:
        """Mean luma of the box's pixels, 0 to 255."""
        return crop_brightness(self.crop(0.0))

    def crop_box(self, margin: float | None = None) -> Box:
        """The box widened by ``margin`` times its longer side on each side, clipped at the frame.

        None means the face's own margin, or 0 where it has none.
        """
        if margin is None:
            margin = self.margin or 0.0
        extra = round(_checked_margin(margin) * max(self.width, self.height))
        left, top, right, bottom = self.box
        return (
            max(left - extra, 0),
            max(top - extra, 0),
            min(right + extra, self.frame.width),
            min(bottom + extra, self.frame.height),
        )

    def crop(self, margin: float | None = None) -> np.ndarray:
        """The pixels of :meth:`crop_box`, (H, W, 3) uint8 RGB, a contiguous copy that may be changed."""
        left, top, right, bottom = self.crop_box(margin)
        return self.frame.image[top:bottom, left:right].copy()


def crop_frame(face: Face, margin: float) -> Face:
    """The same face on a copy of its surroundings, so that the whole frame can be let go or changed."""
    left, top, right, bottom = face.crop_box(margin)
    frame = face.frame
    part = Frame(frame.image[top:bottom, left:right].copy(), frame.index, frame.timestamp, frame.source)
    box = tuple(v - o for v, o in zip(face.box, (left, top, left, top), strict=True))
    points = None if face.landmarks is None else face.landmarks - (left, top)
    return replace(face, frame=part, box=box, landmarks=points)


def find_faces(
    frame: Frame | object,
    detector: str | Callable[[np.ndarray], Iterable] = "hog",
    *,
    margin: float | None = None,
    min_size: float | None = None,
) -> list[Face]:
    """Find the faces in a picture.

    Parameters
    ----------
    frame
        A :class:`Frame`, or anything :func:`read_image` takes. Detectors get its read-only array.
    detector
        ``"hog"``, ``"cnn"``, a name given to :func:`register_detector`, or any callable that takes the
        picture and returns :class:`Detection` records or plain (left, top, right, bottom) tuples. How
        small a face each built-in detector finds is said at :class:`HogDetector` and :class:`CnnDetector`.
    margin
        Crop margin the faces carry with them; None leaves it to the model.
    min_size
        Drop faces whose box has a shorter side under this many pixels. None keeps all.

    Returns
    -------
    list of Face
        Largest box first, then from top to bottom and left to right; empty where nothing was found.
        Landmarks are those of dlib's 68-point predictor (Kazemi and Sullivan, CVPR 2014), which was
        made for boxes like those of ``"hog"``; with a detector of your own they are None where dlib or
        its model files are absent.

    Raises
    ------
    InputError
        If the picture cannot be read.
    RedeepfakeError
        If dlib or its model files are absent and a built-in detector was asked for.
    ValueError
        If the detector's name is unknown, or what it returned is no list of boxes.
    """
    if margin is not None:
        margin = _checked_margin(margin)
    if min_size is not None and not (is_finite_number(min_size) and min_size >= 0):
        raise ValueError(f"min_size is a number of pixels or None, not {min_size!r}")
    find = get_detector(detector) if isinstance(detector, str) else detector
    if not callable(find):
        raise ValueError(f"a detector is a name or a callable, not {type(find).__name__}")
    name = detector_name(detector)
    frame = read_image(frame)
    detections = validate_detections(find(frame.image), frame.width, frame.height, name)
    if min_size is not None:
        detections = [d for d in detections if min(d.box[2] - d.box[0], d.box[3] - d.box[1]) >= min_size]
    try:
        points = find_landmarks(frame.image, [d.box for d in detections])
    except RedeepfakeError:
        if isinstance(find, (HogDetector, CnnDetector)):
            raise
        points = [None] * len(detections)
    faces = []
    for found, landmarks in zip(detections, points, strict=True):
        left, top, right, bottom = found.box
        sharpness = crop_sharpness(frame.image[top:bottom, left:right])
        faces.append(Face(frame, found.box, landmarks, found.confidence, margin, sharpness, detector=name))
    return sorted(faces, key=lambda face: (-face.width * face.height, face.box[1], face.box[0]))


def detector_name(detector: str | Callable) -> str:
    """What reports call a detector: its name, or that of its function or class."""
    if isinstance(detector, str):
        return detector
    return str(
        getattr(detector, "name", None) or getattr(detector, "__name__", None) or type(detector).__name__
    )


def crop_sharpness(crop: np.ndarray) -> float:
    """Variance of the Laplacian of the luma, after resizing to 112 x 112 px; in squared grey levels.

    After Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000. The fixed size
    makes faces of different sizes comparable from 112 px up; a smaller face is enlarged, which is a blur
    by itself, and so counts as less sharp, which for a judge of fine traces it is.

    ``crop`` is (H, W, 3) uint8 RGB, not empty.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    method = cv2.INTER_AREA if min(grey.shape) >= SHARPNESS_SIDE else cv2.INTER_LINEAR
    grey = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=method)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def crop_brightness(crop: np.ndarray) -> float:
    """Mean luma (ITU-R BT.601) of (H, W, 3) uint8 RGB pixels, 0 to 255."""
    return float(cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY).mean())


def _checked_margin(margin: object) -> float:
    if not is_finite_number(margin) or not 0 <= margin <= 4:
        raise ValueError(f"margin is a fraction from 0 to 4, not {margin!r}")
    return float(margin)
