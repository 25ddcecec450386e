"""From faces to what a model eats: one description of a model's habits, one function that follows it.

Training and inference both go through :func:`prepare_crop`, so a model never meets a picture that was
resized, reordered or scaled in another way than those it learned from. What the model sees can be
looked at: :func:`face_pixels` gives the very pixels as uint8, :func:`frame_to_input` says where each
of them comes from.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral

import cv2
import numpy as np

from ..utils.numeric import is_finite_number
from .face import Face

COLOR_ORDERS = ("RGB", "BGR")

# Crops whose longer side is at most this many times the shorter are resized to the square as they are,
# the practice of the Kaggle faces and of ReDeepFake; anything longer is padded first.
MAX_STRETCH = 1.2

# Where eye centres, nose tip and mouth corners lie in a square without margin, as fractions of its side:
# left eye, right eye (as seen in the picture), nose tip, left and right mouth corner. Medians over 800 boxes
# of dlib's frontal face detector, made symmetric: an aligned face fills its square as it fills such a box.
TEMPLATE = np.array(
    [[0.304, 0.308], [0.696, 0.308], [0.5, 0.48], [0.335, 0.746], [0.665, 0.746]], dtype=np.float64
)
TEMPLATE.setflags(write=False)

# A warp to a smaller picture is first done at a multiple of its size and then averaged down, because
# bilinear sampling alone would skip source pixels and add aliasing that looks like manipulation.
_MAX_SUPERSAMPLING = 8


@dataclass(frozen=True)
class Preprocessing:
    """What a model expects of its input.

    Parameters
    ----------
    input_size
        Side of the square input in pixels, 8 to 4096.
    color_order
        Order of the three channels the model was trained with, ``"RGB"`` or ``"BGR"``.
    value_range
        ``(low, high)``: uint8 0 becomes ``low`` and 255 becomes ``high``, linearly between.
    margin
        Crop margin, 0 to 4: fraction of the box's longer side added on each side, clipped at the frame.
        A face with a margin of its own (``Face.margin``) keeps it.
    align
        Whether faces are brought upright by a similarity warp from their landmarks instead of being
        cropped. Faces without landmarks are cropped all the same; see :func:`is_aligned`.

    Raises
    ------
    ValueError
        If a value is outside what is said above; the message names the field.
    """

    input_size: int = 224
    color_order: str = "RGB"
    value_range: tuple[float, float] = (0.0, 255.0)
    margin: float = 0.0
    align: bool = False

    def __post_init__(self) -> None:
        size = self.input_size
        if isinstance(size, bool) or not isinstance(size, Integral) or not 8 <= size <= 4096:
            raise ValueError(f"input_size is a whole number of pixels from 8 to 4096, not {size!r}")
        if self.color_order not in COLOR_ORDERS:
            raise ValueError(f"color_order is one of {', '.join(COLOR_ORDERS)}, not {self.color_order!r}")
        values = self.value_range
        if isinstance(values, (str, bytes)) or not isinstance(values, Iterable):
            raise ValueError(f"value_range is (low, high), not {values!r}")
        values = tuple(values)
        if len(values) != 2 or not all(is_finite_number(v) for v in values) or not values[0] < values[1]:
            raise ValueError(f"value_range is two finite numbers, the lower first, not {self.value_range!r}")
        if not is_finite_number(self.margin) or not 0 <= self.margin <= 4:
            raise ValueError(f"margin is a fraction from 0 to 4, not {self.margin!r}")
        if not isinstance(self.align, (bool, np.bool_)):
            raise ValueError(f"align is True or False, not {self.align!r}")
        # Plain Python values, so that equal settings compare equal and turn into the same JSON.
        object.__setattr__(self, "input_size", int(size))
        object.__setattr__(self, "value_range", (float(values[0]), float(values[1])))
        object.__setattr__(self, "margin", float(self.margin))
        object.__setattr__(self, "align", bool(self.align))

    def to_dict(self) -> dict[str, object]:
        """Plain values for JSON; :meth:`from_dict` reads them back."""
        return asdict(self) | {"value_range": list(self.value_range)}

    @classmethod
    def from_dict(cls, values: Mapping[str, object]) -> Preprocessing:
        """Read what :meth:`to_dict` wrote; missing keys take their defaults.

        Raises
        ------
        ValueError
            If ``values`` is no mapping, has a key that is not a field (the message names it), or a bad value.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"preprocessing is a mapping of settings, not {type(values).__name__}")
        known = [f.name for f in fields(cls)]
        unknown = sorted(str(key) for key in values if key not in known)
        if unknown:
            raise ValueError(f"unknown preprocessing keys: {', '.join(unknown)}; known: {', '.join(known)}")
        return cls(**values)


def preprocess(faces: Face | Iterable[Face], preprocessing: Preprocessing) -> np.ndarray:
    """Faces to one batch.

    Parameters
    ----------
    faces
        One face or any number of them, in the order wanted.

    Returns
    -------
    numpy.ndarray
        (N, S, S, 3) float32, C-contiguous, in the model's colour order and value range, S being
        ``preprocessing.input_size``; N is 0 for no faces.
    """
    several = [faces] if isinstance(faces, Face) else list(faces)
    size = preprocessing.input_size
    batch = np.empty((len(several), size, size, 3), dtype=np.float32)
    for i, face in enumerate(several):
        batch[i] = _to_values(face_pixels(face, preprocessing), preprocessing)
    return batch


def prepare_crop(crop: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """One face crop to one model input. Training and inference share this function.

    Parameters
    ----------
    crop
        (H, W, 3) uint8, RGB, any size from 1 x 1. Margin and alignment are matters of how it was cut
        out and are not looked at here.

    Returns
    -------
    numpy.ndarray
        (S, S, 3) float32, C-contiguous.

    Raises
    ------
    ValueError
        If ``crop`` is not what is said above.
    """
    return _to_values(resize_to_square(crop, preprocessing.input_size), preprocessing)


def resize_to_square(crop: np.ndarray, size: int) -> np.ndarray:
    """A crop of any shape as (size, size, 3) uint8.

    Shrinking averages over areas, enlarging interpolates linearly. A crop up to 1.2 times as long as
    wide is resized as it is; a longer one (a margin that met the frame's edge) is first padded to a
    square by repeating its border pixels on both sides, so that the face keeps its proportions.
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
    """Exactly the pixels the model judges, before colour order and value range.

    Returns
    -------
    numpy.ndarray
        (S, S, 3) uint8, RGB, C-contiguous; a copy.
    """
    if is_aligned(face, preprocessing):
        return _aligned_pixels(face, preprocessing)
    return resize_to_square(face.crop(_margin(face, preprocessing)), preprocessing.input_size)


def is_aligned(face: Face, preprocessing: Preprocessing) -> bool:
    """Whether this face is brought upright: alignment is asked for and its landmarks allow it.

    Landmarks that all but coincide allow no warp; such a face is cropped, like one without landmarks.
    """
    if not preprocessing.align or face.landmarks is None:
        return False
    points = five_points(face.landmarks)
    return bool(np.linalg.norm(points - points.mean(axis=0), axis=1).mean() > 1.0)


def frame_to_input(face: Face, preprocessing: Preprocessing) -> np.ndarray:
    """Where the frame's pixels lie in the model's input.

    Returns
    -------
    numpy.ndarray
        (2, 3) float64 affine matrix ``m``: the frame's pixel (x, y) lies at ``m @ (x, y, 1)`` in
        :func:`face_pixels`. Whole numbers are pixel centres on both sides, as in OpenCV.
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
    """Eye centres, nose tip and mouth corners out of the 68 points of the iBUG 300-W annotation.

    Parameters
    ----------
    landmarks
        (68, 2).

    Returns
    -------
    numpy.ndarray
        (5, 2) float64 in the order of :data:`TEMPLATE`.
    """
    points = np.asarray(landmarks, dtype=np.float64)
    if points.shape != (68, 2):
        raise ValueError(f"landmarks have shape (68, 2), not {points.shape}")
    return np.stack(
        [points[36:42].mean(axis=0), points[42:48].mean(axis=0), points[30], points[48], points[54]]
    )


def similarity(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """The rotation, uniform scale and shift that bring ``source`` closest to ``target``.

    Least squares after Umeyama, "Least-squares estimation of transformation parameters between two
    point patterns", IEEE TPAMI 13(4), 1991; never a reflection.

    Parameters
    ----------
    source, target
        (N, 2) points, N at least 2, the source points not all in one place.

    Returns
    -------
    numpy.ndarray
        (2, 3) float64 affine matrix.
    """
    source, target = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if source.shape != target.shape or source.ndim != 2 or source.shape[1] != 2 or len(source) < 2:
        raise ValueError(
            f"two (N, 2) point sets of one length are needed, not {source.shape}, {target.shape}"
        )
    mean_source, mean_target = source.mean(axis=0), target.mean(axis=0)
    centred_source, centred_target = source - mean_source, target - mean_target
    variance = (centred_source**2).sum() / len(source)
    if not variance > 0:
        raise ValueError("the source points all lie in one place")
    u, singular, vt = np.linalg.svd(centred_target.T @ centred_source / len(source))
    sign = np.array([1.0, np.sign(np.linalg.det(u) * np.linalg.det(vt))])
    rotation = u @ np.diag(sign) @ vt
    scale = (singular * sign).sum() / variance
    shift = mean_target - scale * rotation @ mean_source
    return np.column_stack([scale * rotation, shift])


def _alignment(face: Face, preprocessing: Preprocessing, size: int | None = None) -> np.ndarray:
    """(2, 3) matrix from frame pixels to an aligned picture of ``size`` px (default: the input size)."""
    size = preprocessing.input_size if size is None else size
    margin = _margin(face, preprocessing)
    target = (TEMPLATE + margin) / (1 + 2 * margin) * size - 0.5
    return similarity(five_points(face.landmarks), target)


def _aligned_pixels(face: Face, preprocessing: Preprocessing) -> np.ndarray:
    size = preprocessing.input_size
    scale = math.sqrt(max(np.linalg.det(_alignment(face, preprocessing)[:, :2]), 1e-12))
    factor = min(max(math.ceil(1 / scale), 1), _MAX_SUPERSAMPLING)
    matrix = _alignment(face, preprocessing, size * factor)
    # Only the part of the frame under the aligned square is handed over: OpenCV's warp refuses
    # pictures of more than 32767 px a side.
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
    """Rows and columns to add (top, bottom, left, right) so that no face is stretched beyond the limit."""
    if max(height, width) <= MAX_STRETCH * min(height, width):
        return 0, 0, 0, 0
    rows, columns = max(width - height, 0), max(height - width, 0)
    return rows // 2, rows - rows // 2, columns // 2, columns - columns // 2


def _to_values(pixels: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """(H, W, 3) uint8 RGB to float32 in the model's colour order and value range."""
    if preprocessing.color_order == "BGR":
        pixels = pixels[..., ::-1]
    low, high = preprocessing.value_range
    values = np.ascontiguousarray(pixels, dtype=np.float32)
    if (low, high) != (0.0, 255.0):
        values *= np.float32((high - low) / 255.0)
        values += np.float32(low)
    return values


def _checked_crop(crop: np.ndarray) -> np.ndarray:
    crop = np.asarray(crop)
    if crop.dtype != np.uint8 or crop.ndim != 3 or crop.shape[2] != 3 or 0 in crop.shape:
        raise ValueError(f"a crop is (H, W, 3) uint8 RGB and not empty, not {crop.shape} {crop.dtype}")
    return np.ascontiguousarray(crop)
