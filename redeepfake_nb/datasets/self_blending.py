"""Self-blended images: pseudo-fakes made by blending a face with an altered copy of itself.

Shiohara and Yamasaki, "Detecting Deepfakes with Self-Blended Images", CVPR 2022, train detectors on real
faces only: what face swaps have in common is not the other person's face but the blending boundary, the
shifted landmarks, and the colours and frequencies that differ across the boundary, and all of these can be
produced from one picture. This is an independent implementation of the paper's description. The paper alters
either the copy or the rest of the picture; here it is always the copy, so that pixels outside the mask stay
identical. All lengths are shares of the face's size, so it works on face crops and on photos.
"""

from __future__ import annotations

import cv2
import numpy as np

from .image_operations import rescale

# Landmark indices of iBUG 300-W, counted from 0.
_BROWS = slice(17, 27)
_NOSE_BASE = 33
_INNER = slice(27, 68)  # nose, eyes and mouth

# The mask is multiplied by one of these, drawn at random.
_BLEND_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)
# A weight below this cannot change an 8-bit level by half a step.
_LEAST_WEIGHT = 1 / 512
# Around the hull, as a share of the face's size: room for the largest shift, distortion and blur together.
_MARGIN = 0.45


def self_blend(
    image: np.ndarray, landmarks: np.ndarray, rng: np.random.Generator, *, strength: float = 1.0
) -> tuple[np.ndarray, np.ndarray]:
    """Blend a face with an altered copy of itself.

    The copy's colours and sharpness are altered and it is moved slightly. It is then blended over the
    original through the convex hull of the landmarks, which is distorted, blurred and weighted at random.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB. Not changed.
    landmarks
        (68, 2) x, y in pixels, in the order of iBUG 300-W.
    rng
        Source of all randomness; the same state gives the same result.
    strength
        Factor on how much the copy differs: 0 changes nothing, 1 follows the paper, 2 is easily visible.

    Returns
    -------
    blended : (H, W, 3) uint8
        ``mask * copy + (1 - mask) * image``, rounded. Equal to ``image`` where the mask is 0.
    mask : (H, W) float32 in 0..1
        Weight of the copy; 0 everywhere if the hull lies outside the image.

    Raises
    ------
    ValueError
        Wrong shape or dtype, landmarks that are not finite, or a negative strength.
    """
    image, points = _validated(image, landmarks)
    if not (np.isfinite(strength) and strength >= 0):
        raise ValueError(f"strength must be 0 or more, not {strength}")
    hull = _hull(points, rng)
    size = float(np.ptp(hull, axis=0).max())
    height, width = image.shape[:2]
    region = _region(hull, size, height, width)
    mask = np.zeros((height, width), np.float32)
    blended = image.copy()
    if region is None:
        return blended, mask
    rows, columns = region
    target = np.ascontiguousarray(image[rows, columns])
    hull = hull - (columns.start, rows.start)
    copy = _blur_or_sharpen(_recolour(target, rng, strength), size, rng, strength)
    move = _random_affine(hull.mean(axis=0), size, rng, strength)
    span = (target.shape[1], target.shape[0])
    copy = cv2.warpAffine(copy, move, span, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    weight = _mask(hull @ move[:, :2].T + move[:, 2], span, size, rng)
    weight *= rng.choice(_BLEND_RATIOS)
    weight[weight < _LEAST_WEIGHT] = 0
    difference = copy.astype(np.float32) - target
    blended[rows, columns] = np.rint(target + weight[..., None] * difference).astype(np.uint8)
    mask[rows, columns] = weight
    return blended, mask


def _validated(image: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"landmarks must be 68 finite points (68, 2), not an array of {points.shape}")
    # Further out there is no picture, and far coordinates overflow inside OpenCV.
    limit = 4.0 * max(image.shape[:2])
    return image, points.clip(-limit, limit)


def _hull(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the convex hull, (N, 2), of the whole face, of face and forehead, or of eyes, nose and mouth."""
    kind = rng.integers(3)
    if kind == 1:
        # The landmarks end at the brows; the forehead is lower than the span from nose base to brows.
        raised = points[_BROWS] + rng.uniform(0.3, 0.6) * (points[_BROWS] - points[_NOSE_BASE])
        points = np.concatenate([points, raised])
    elif kind == 2:
        inner = points[_INNER]
        middle = inner.mean(axis=0)
        points = middle + rng.uniform(1.05, 1.3) * (inner - middle)
    return cv2.convexHull(points.astype(np.float32)).reshape(-1, 2).astype(np.float64)


def _region(hull: np.ndarray, size: float, height: int, width: int) -> tuple[slice, slice] | None:
    """Return the rows and columns that a blend can change, or None if there are none."""
    inside = (hull.max(axis=0) >= 0).all() and (hull.min(axis=0) < (width, height)).all()
    if size < 4 or not inside:
        return None
    extra = _MARGIN * size + 2
    left, top = np.floor(np.maximum(hull.min(axis=0) - extra, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(hull.max(axis=0) + extra, (width, height))).astype(int)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def _recolour(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Apply at least one of: channel shifts, hue and saturation, brightness and contrast."""
    shift = rng.uniform(-10, 10, 3) * strength
    hue, saturation = rng.uniform(-4, 4) * strength, 1 + rng.uniform(-0.3, 0.3) * strength
    contrast, brightness = 1 + rng.uniform(-0.15, 0.15) * strength, rng.uniform(-15, 15) * strength
    chosen = rng.random(3) < 0.5
    if not chosen.any():
        chosen[rng.integers(3)] = True
    if not chosen[0]:
        shift = np.zeros(3)
    if not chosen[2]:
        contrast, brightness = 1.0, 0.0
    levels = np.arange(256.0)[:, None]
    table = (levels - 128) * contrast + 128 + brightness + shift
    image = cv2.LUT(image, np.rint(table.clip(0, 255)).astype(np.uint8)[None])
    if chosen[1] and strength > 0:
        hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)  # hue 0..179 in steps of 2 degrees
        steps = np.arange(256)
        table = np.stack(
            [(steps + round(hue)) % 180, np.rint(steps * saturation).clip(0, 255), steps], axis=-1
        )
        image = cv2.cvtColor(cv2.LUT(hsv, table.astype(np.uint8)[None]), cv2.COLOR_HSV2RGB)
    return image


def _blur_or_sharpen(image: np.ndarray, size: float, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Imitate a low-resolution generator, or a sharpening filter, or change nothing."""
    kind, amount = rng.integers(3), rng.uniform(0.3, 1.0) * strength
    if kind == 0:
        factor = max(1 / (1 + 2 * amount), 24 / max(size, 24))
        height, width = image.shape[:2]
        small = (max(1, round(width * factor)), max(1, round(height * factor)))
        if small != (width, height):
            image = rescale(image, *small)
    elif kind == 1:
        smooth = cv2.GaussianBlur(image, (0, 0), max(0.6, 0.006 * size))
        image = cv2.addWeighted(image, 1 + amount, smooth, -amount, 0)
    return image


def _random_affine(centre: np.ndarray, size: float, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Return a (2, 3) affine matrix: up to 3 % shift, 5 % scale and 2 degrees about the face's centre."""
    dx, dy = rng.uniform(-0.03, 0.03, 2) * (1, 0.5) * size * min(strength, 2)
    scale = np.exp(rng.uniform(-0.05, 0.05) * min(strength, 2))
    angle = rng.uniform(-2, 2) * min(strength, 2)
    move = cv2.getRotationMatrix2D((float(centre[0]), float(centre[1])), float(angle), float(scale))
    move[:, 2] += (dx, dy)
    return move


def _mask(hull: np.ndarray, span: tuple[int, int], size: float, rng: np.random.Generator) -> np.ndarray:
    """Return the filled hull with its outline distorted and its edge blurred, (H, W) float32 in 0..1."""
    width, height = span
    mask: np.ndarray = np.zeros((height, width), np.float32)
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1.0)
    # Elastic distortion: a coarse field of random vectors, interpolated, moves the outline by up to about 4
    # %.
    coarse = rng.uniform(-0.04 * size, 0.04 * size, (6, 6, 2)).astype(np.float32)
    field = cv2.resize(coarse, span, interpolation=cv2.INTER_LINEAR)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    mask = cv2.remap(
        mask, field[..., 0] + x, field[..., 1] + y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    # Two box filters of random widths; eroding first, half of the time, keeps a wide boundary on the face.
    widths = [1 + 2 * round(w * size) for w in rng.uniform(0.005, 0.045, 2)]
    if rng.random() < 0.5:
        erosion = max(1, sum(widths) // 4)
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * erosion + 1, 2 * erosion + 1))
        mask = cv2.erode(mask, kernel, borderType=cv2.BORDER_REPLICATE)
    for kernel_width in widths:
        mask = cv2.blur(mask, (kernel_width, kernel_width), borderType=cv2.BORDER_REPLICATE)
    return mask.clip(0, 1)
