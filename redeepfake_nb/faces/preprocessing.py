"""Convert faces to model input according to a model's :class:`Preprocessing`.

Training and inference share :func:`prepare_crop`, so that resizing, colour order and scaling are always those
of the training images. :func:`face_pixels` returns the exact pixels of the input as uint8,
:func:`frame_to_input` the affine map from frame pixels to them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import cv2
import numpy as np
from numpy.typing import ArrayLike

from ..errors import UnknownChoice, UnsuitableModel
from ..utils.numeric import is_finite_number
from .face import Face, check_margin

COLOR_ORDERS = ("RGB", "BGR")
# Largest number of frames in one input; longer ones take more memory than a notebook has.
MAX_FRAMES = 256

# Name -> fields of a Preprocessing: the conventions of torchvision, of Keras Applications ("tf", "caffe"; its
# EfficientNet takes pixels as they are and scales them itself), and plain ranges.
PRESETS: dict[str, dict[str, Any]] = {
    "imagenet": {
        "value_range": (0.0, 1.0),
        "mean": (0.485, 0.456, 0.406),
        "std": (0.229, 0.224, 0.225),
    },
    "tf": {"value_range": (-1.0, 1.0)},
    "caffe": {"color_order": "BGR", "mean": (103.939, 116.779, 123.68)},
    "efficientnet": {"value_range": (0.0, 255.0)},
    "0..1": {"value_range": (0.0, 1.0)},
    "-1..1": {"value_range": (-1.0, 1.0)},
}

# Crops of at most this aspect ratio are resized to a square directly, as for the Kaggle faces and ReDeepFake;
# longer ones are padded first.
MAX_ASPECT_RATIO = 1.2

# Positions of the facial landmarks in an aligned square without margin, as fractions of its side: left eye,
# right eye (as seen in the image), nose tip, left and right mouth corner. They are medians over 800 boxes of
# dlib's frontal face detector, made symmetric, so that an aligned face fills its square like such a box.
TEMPLATE = np.array(
    [[0.304, 0.308], [0.696, 0.308], [0.5, 0.48], [0.335, 0.746], [0.665, 0.746]], dtype=np.float64
)
TEMPLATE.setflags(write=False)

# A warp that shrinks is computed at a multiple of the target size and then averaged, because bilinear
# sampling alone would skip source pixels and cause aliasing that looks like manipulation.
_MAX_SUPERSAMPLING = 8


@dataclass(frozen=True)
class Preprocessing:
    """How faces are converted to the input of a model.

    Parameters
    ----------
    input_size
        Side of the square input in pixels, 8 to 4096.
    color_order
        Channel order the model was trained with, ``"RGB"`` or ``"BGR"``.
    value_range
        ``(low, high)``: uint8 0 is mapped to ``low`` and 255 to ``high``, linearly.
    margin
        Crop margin, 0 to 4: fraction of the box's longer side added on each side, clipped at the frame. A
        face's own margin (``Face.margin``) overrides it.
    align
        Whether faces are aligned by a similarity transform of their landmarks instead of being cropped. Those
        without landmarks are aligned by the detector's key points, or else cropped; see :func:`is_aligned`.
    mean, std
        Per channel, in the model's colour order and in units of ``value_range``: ``mean`` is subtracted, and
        the result divided by ``std``. ``None``: 0 and 1. :meth:`preset` knows the usual ones by name.
    frames
        How many frames of a video the model takes at once, 1 to 256. 1: a model of single pictures. More: a
        sequence model, such as a CNN with an LSTM, whose input is a window of that many sightings of one
        face, in the order of time.

    Raises
    ------
    ValueError
        A value is out of range; the message names the field.
    """

    input_size: int = 224
    color_order: str = "RGB"
    value_range: tuple[float, float] = (0.0, 255.0)
    margin: float = 0.0
    align: bool = False
    mean: tuple[float, float, float] | None = None
    std: tuple[float, float, float] | None = None
    frames: int = 1

    def __post_init__(self) -> None:
        size = _whole("input_size", self.input_size, 8, 4096)
        frames = _whole("frames", self.frames, 1, MAX_FRAMES)
        if self.color_order not in COLOR_ORDERS:
            raise ValueError(
                f"color_order must be one of {', '.join(COLOR_ORDERS)}, not {self.color_order!r}"
            )
        values: Any = self.value_range
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise ValueError(f"value_range must be (low, high), not {values!r}")
        values = tuple(values)
        if len(values) != 2 or not all(is_finite_number(v) for v in values) or not values[0] < values[1]:
            raise ValueError(f"value_range must be two finite numbers, low < high, not {self.value_range!r}")
        margin = check_margin(self.margin)
        if not isinstance(self.align, (bool, np.bool_)):
            raise ValueError(f"align must be True or False, not {self.align!r}")
        # Plain Python values, so that equal settings compare equal and turn into the same JSON.
        object.__setattr__(self, "input_size", size)
        object.__setattr__(self, "frames", frames)
        object.__setattr__(self, "value_range", (float(values[0]), float(values[1])))
        object.__setattr__(self, "margin", margin)
        object.__setattr__(self, "align", bool(self.align))
        object.__setattr__(self, "mean", _per_channel("mean", self.mean))
        object.__setattr__(self, "std", _per_channel("std", self.std))
        if self.std is not None and min(self.std) <= 0:
            raise ValueError(f"std must be three numbers above 0, not {self.std!r}")

    @classmethod
    def preset(cls, name: str, input_size: int = 224, **changes: Any) -> Preprocessing:
        """Make the preprocessing of that name.

        Parameters
        ----------
        name
            ``"imagenet"``: 0..1, minus ImageNet's mean, divided by its deviation (torchvision, timm);
            ``"caffe"``: BGR 0..255 minus ImageNet's mean (VGG, ResNet of Keras); ``"tf"`` or ``"-1..1"``
            (Xception, Inception, MobileNet of Keras); ``"0..1"``; ``"efficientnet"``: 0..255.
        input_size, changes
            Other fields, such as ``margin`` or ``color_order``. A change of the colour order turns the
            preset's mean and deviation round.

        Raises
        ------
        UnknownChoice
            Unknown name; also a ``ValueError``.
        ValueError
            A field is out of range.
        """
        if name not in PRESETS:
            raise UnknownChoice(
                f"unknown preset {name!r}; there are {', '.join(PRESETS)}",
                next_step="Choose one of them, or give value_range, mean and std.",
            )
        fields = dict(PRESETS[name])
        if changes.get("color_order", own := fields.get("color_order", "RGB")) != own:
            fields |= {key: fields[key][::-1] for key in ("mean", "std") if key in fields}
        return cls(**(fields | {"input_size": input_size} | changes))

    @property
    def black(self) -> np.ndarray:
        """(3,) float32: what a black pixel is for the model."""
        return _to_values(np.zeros((1, 1, 3), np.uint8), self)[0, 0]

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one input of the model: (S, S, 3), or (T, S, S, 3) where it takes T frames at once."""
        image = (self.input_size, self.input_size, 3)
        return image if self.frames == 1 else (self.frames, *image)

    @property
    def summary(self) -> str:
        """Number of frames, size, colour order, values and margin in one clause."""
        low, high = self.value_range
        words = "" if self.frames == 1 else f"{self.frames} frames of "
        words += f"{self.input_size} px, {self.color_order}, values {low:g} to {high:g}"
        for verb, values in (("minus", self.mean), ("divided by", self.std)):
            if values is not None:
                words += f", {verb} ({', '.join(f'{value:g}' for value in values)})"
        words += f", margin {self.margin:g}" if self.margin else ""
        return words + (", aligned" if self.align else "")

    def to_dict(self) -> dict[str, object]:
        """Return the fields as plain values for JSON; :meth:`from_dict` is the inverse.

        ``mean`` and ``std`` are left out where there are none, and ``frames`` where it is 1, as in older
        sidecars and journals.
        """
        values: dict[str, object] = asdict(self) | {"value_range": list(self.value_range)}
        for key in ("mean", "std"):
            given = values.pop(key)
            if given is not None:
                values[key] = list(getattr(self, key))
        if self.frames == 1:
            del values["frames"]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Preprocessing:
        """Create it from the result of :meth:`to_dict`; missing keys take their defaults.

        Raises
        ------
        ValueError
            ``values`` is not a mapping, has an unknown key (the message names it), or a value is out of
            range.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"preprocessing must be a mapping of settings, not {type(values).__name__}")
        known = [f.name for f in fields(cls)]
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            raise ValueError(f"unknown preprocessing keys: {', '.join(unknown)}; known: {', '.join(known)}")
        return cls(**values)


def preprocess(
    faces: Face | Iterable[Face] | Iterable[Sequence[Face]], preprocessing: Preprocessing
) -> np.ndarray:
    """Convert faces to one batch of model input.

    Parameters
    ----------
    faces
        One face, or any number of them. For a model that takes T frames at once: windows, each a sequence of
        T sightings of one face in the order of time.
    preprocessing
        Input convention of the model.

    Returns
    -------
    numpy.ndarray
        (N, S, S, 3) float32 in the order of ``faces``, C-contiguous, in the model's colour order and value
        range, with S = ``preprocessing.input_size``; (N, T, S, S, 3) for windows of T =
        ``preprocessing.frames``. N is 0 for no faces.

    Raises
    ------
    UnsuitableModel
        The model takes several frames at once, and these are single pictures.
    ValueError
        A window has another number of faces.
    """
    several: list[Any] = [faces] if isinstance(faces, Face) else list(faces)
    batch = np.empty((len(several), *preprocessing.input_shape), dtype=np.float32)
    if preprocessing.frames > 1:
        if any(isinstance(window, Face) for window in several):
            raise single_picture_error(preprocessing.frames)
        several = [list(window) for window in several]
        if wrong := {len(window) for window in several} - {preprocessing.frames}:
            raise ValueError(f"a window has {preprocessing.frames} faces, not {min(wrong)}")
        several = [face for window in several for face in window]
    for values, face in zip(batch.reshape(-1, *batch.shape[-3:]), several, strict=True):
        values[:] = _to_values(face_pixels(face, preprocessing), preprocessing)
    return batch


def single_picture_error(
    frames: int,
    subject: object = None,
    next_step: str = "Give it a video: analyze_video(path, classifier), or scan or evaluate videos.",
) -> UnsuitableModel:
    """Make the error for single pictures that are given to a model that takes ``frames`` frames at once."""
    return UnsuitableModel(
        f"it scores {frames} frames of a video at once, so a single picture has no score",
        subject=subject or "the model",
        next_step=next_step,
    )


def prepare_crop(crop: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Convert one face crop to model input, in training as in inference.

    Parameters
    ----------
    crop
        (H, W, 3) uint8 RGB, any size from 1 x 1.
    preprocessing
        Input convention of the model; ``margin`` and ``align`` concern cropping and are ignored here.

    Returns
    -------
    numpy.ndarray
        (S, S, 3) float32, C-contiguous.

    Raises
    ------
    ValueError
        ``crop`` has another shape or dtype, or is empty.
    """
    return _to_values(resize_to_square(crop, preprocessing.input_size), preprocessing)


def resize_to_square(crop: np.ndarray, size: int) -> np.ndarray:
    """Resize an (H, W, 3) uint8 crop to (size, size, 3) uint8.

    Downscaling averages over areas, upscaling interpolates linearly. A crop of an aspect ratio up to 1.2 is
    resized directly; a longer one (cut off at the frame's edge) is first padded to a square by repeating its
    border pixels on both sides, so that the face keeps its proportions.
    """
    crop = _checked_crop(crop)
    if crop.shape[:2] == (size, size):
        return crop.copy()
    top, bottom, left, right = _padding(*crop.shape[:2])
    if top or bottom or left or right:
        crop = cv2.copyMakeBorder(crop, top, bottom, left, right, cv2.BORDER_REPLICATE)
    method = cv2.INTER_AREA if min(crop.shape[:2]) >= size else cv2.INTER_LINEAR
    return cv2.resize(crop, (size, size), interpolation=method)


def face_pixels(face: Face, preprocessing: Preprocessing) -> np.ndarray:
    """Get the exact pixels of the model input, before conversion of colour order and value range.

    Returns
    -------
    numpy.ndarray
        (S, S, 3) uint8 RGB, C-contiguous; a copy.
    """
    if is_aligned(face, preprocessing):
        return _aligned_pixels(face, preprocessing)
    return resize_to_square(face.crop(_margin(face, preprocessing)), preprocessing.input_size)


def is_aligned(face: Face, preprocessing: Preprocessing) -> bool:
    """Tell whether a face will be aligned: ``preprocessing.align`` is set and its landmarks permit it.

    A face without landmarks, such as a profile, is aligned by the detector's key points. Where it has none,
    or where the points nearly coincide, it is cropped.
    """
    points = _anchors(face)[0]
    if not preprocessing.align or not len(points):
        return False
    return bool(np.linalg.norm(points - points.mean(axis=0), axis=1).mean() > 1.0)


def frame_to_input(face: Face, preprocessing: Preprocessing) -> np.ndarray:
    """Compute the affine map from frame pixels to the model input.

    Returns
    -------
    numpy.ndarray
        (2, 3) float64 matrix ``m``: the frame's pixel (x, y) lies at ``m @ (x, y, 1)`` in
        :func:`face_pixels`. Integer coordinates are pixel centres on both sides, as in OpenCV.
    """
    size = preprocessing.input_size
    if is_aligned(face, preprocessing):
        return _alignment(face, preprocessing)
    left, top, right, bottom = face.crop_box(_margin(face, preprocessing))
    pad_top, pad_bottom, pad_left, pad_right = _padding(bottom - top, right - left)
    scale_x = size / (right - left + pad_left + pad_right)
    scale_y = size / (bottom - top + pad_top + pad_bottom)
    return np.array(
        [
            [scale_x, 0.0, (pad_left - left + 0.5) * scale_x - 0.5],
            [0.0, scale_y, (pad_top - top + 0.5) * scale_y - 0.5],
        ]
    )


def five_points(landmarks: np.ndarray) -> np.ndarray:
    """Reduce the 68 landmarks of the iBUG 300-W annotation to eye centres, nose tip and mouth corners.

    Parameters
    ----------
    landmarks
        (68, 2) points x, y.

    Returns
    -------
    numpy.ndarray
        (5, 2) float64 in the order of :data:`TEMPLATE`.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (68, 2):
        raise ValueError(f"landmarks must have the shape (68, 2), not {points.shape}")
    return np.stack(
        [points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]]
    )


def similarity_transform(source: ArrayLike, target: ArrayLike) -> np.ndarray:
    """Estimate the rotation, uniform scale and translation that map ``source`` closest to ``target``.

    Least squares by Umeyama, "Least-squares estimation of transformation parameters between two point
    patterns", IEEE TPAMI 13(4), 1991; never a reflection.

    Parameters
    ----------
    source, target
        (N, 2) points with N of at least 2; the source points must not coincide.

    Returns
    -------
    numpy.ndarray
        (2, 3) float64 affine matrix.

    Raises
    ------
    ValueError
        The shapes do not match, or all source points coincide.
    """
    from skimage.transform import SimilarityTransform  # here, because the import is slow

    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2 or len(source) < 2:
        raise ValueError(
            f"source and target must be (N, 2) points of equal length, not {source.shape}, {target.shape}"
        )
    if not np.ptp(source, axis=0).max() > 0:
        raise ValueError("all source points coincide")
    if hasattr(SimilarityTransform, "from_estimate"):
        transform = SimilarityTransform.from_estimate(source, target)
    else:  # scikit-image before 0.26
        transform = SimilarityTransform()
        transform.estimate(source, target)
    return np.asarray(transform.params)[:2]


def _alignment(face: Face, preprocessing: Preprocessing, size: int | None = None) -> np.ndarray:
    """Compute the (2, 3) map from frame to an aligned face of ``size`` px (default: the input size)."""
    source, template = _anchors(face)
    if not len(source):
        raise ValueError("a face without landmarks cannot be aligned")
    size = preprocessing.input_size if size is None else size
    margin = _margin(face, preprocessing)
    target = (template + margin) / (1 + 2 * margin) * size - 0.5
    return similarity_transform(source, target)


def _anchors(face: Face) -> tuple[np.ndarray, np.ndarray]:
    """Return the points that a face is aligned by, (N, 2), and their places in the aligned square.

    Of a turned head the distance between the eyes says nothing about its size, so of the key points the
    middle of the eyes and the mouth are used, whose distance stays. Both are empty without points.
    """
    if face.landmarks is not None:
        return five_points(face.landmarks), TEMPLATE
    if face.key_points is None:
        return np.empty((0, 2)), np.empty((0, 2))
    points = face.key_points.astype(np.float64)
    return np.stack([points[:2].mean(axis=0), points[3]]), np.stack(
        [TEMPLATE[:2].mean(0), TEMPLATE[3:].mean(0)]
    )


def _aligned_pixels(face: Face, preprocessing: Preprocessing) -> np.ndarray:
    size = preprocessing.input_size
    scale = math.sqrt(max(np.linalg.det(_alignment(face, preprocessing)[:, :2]), 1e-12))
    factor = min(max(math.ceil(1 / scale), 1), _MAX_SUPERSAMPLING)
    matrix = _alignment(face, preprocessing, size * factor)
    # Only the part of the frame under the aligned square is warped, because OpenCV's warp does not accept
    # images of more than 32767 px per side.
    inverse = cv2.invertAffineTransform(matrix)
    corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * size * factor @ inverse[:, :2].T + inverse[:, 2]
    limit = np.array([face.frame.width, face.frame.height])
    low = np.clip(np.floor(corners.min(axis=0)).astype(int) - 2, 0, limit - 1)
    high = np.clip(np.ceil(corners.max(axis=0)).astype(int) + 3, low + 1, limit)
    part = np.ascontiguousarray(face.frame.image[low[1] : high[1], low[0] : high[0]])
    shifted = matrix.copy()
    shifted[:, 2] += matrix[:, :2] @ low
    warped = cv2.warpAffine(
        part, shifted, (size * factor, size * factor), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return warped if factor == 1 else cv2.resize(warped, (size, size), interpolation=cv2.INTER_AREA)


def _margin(face: Face, preprocessing: Preprocessing) -> float:
    return preprocessing.margin if face.margin is None else face.margin


def _padding(height: int, width: int) -> tuple[int, int, int, int]:
    """Compute the rows and columns to add (top, bottom, left, right) before resizing to a square."""
    if max(height, width) <= MAX_ASPECT_RATIO * min(height, width):
        return 0, 0, 0, 0
    rows, columns = max(width - height, 0), max(height - width, 0)
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


def _to_values(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """Convert (H, W, 3) uint8 RGB to float32 in the model's colour order, range, mean and deviation."""
    if preprocessing.color_order == "BGR":
        pixels = pixels[..., ::-1]
    low, high = preprocessing.value_range
    values = np.ascontiguousarray(pixels, dtype=np.float32)
    if (low, high) != (0.0, 255.0):
        values *= np.float32((high - low) / 255.0)
        values += np.float32(low)
    if preprocessing.mean is not None:
        values -= np.array(preprocessing.mean, np.float32)
    if preprocessing.std is not None:
        values /= np.array(preprocessing.std, np.float32)
    return values


def _whole(name: str, value: object, low: int, high: int) -> int:
    """Return a whole number; raise ValueError unless it is one from ``low`` to ``high``."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not low <= value <= high:
        raise ValueError(f"{name} must be an integer from {low} to {high}, not {value!r}")
    return int(value)


def _per_channel(name: str, values: object) -> tuple[float, float, float] | None:
    """Return three numbers as plain floats; raise ValueError unless they are three finite ones, or None."""
    if values is None:
        return None
    found: list[Any] = []
    if isinstance(values, Iterable) and not isinstance(values, (str, bytes)):
        found = list(values)
    if len(found) != 3 or not all(is_finite_number(value) for value in found):
        raise ValueError(f"{name} must be three finite numbers, one per channel, not {values!r}")
    return float(found[0]), float(found[1]), float(found[2])


def _checked_crop(crop: np.ndarray) -> np.ndarray:
    crop = np.asarray(crop)
    if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3 or 0 in crop.shape:
        raise ValueError(f"a crop must be (H, W, 3) uint8 RGB and not empty, not {crop.shape} {crop.dtype}")
    return np.ascontiguousarray(crop)
