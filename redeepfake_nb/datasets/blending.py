"""What all pseudo-fakes have in common: checks of the input, hulls, soft masks, colours and the blend.

Landmarks are (68, 2) x, y in pixels in the order of iBUG 300-W, images (H, W, 3) uint8 RGB, masks (H, W)
float32 in 0..1. Lengths are shares of the face's size, so everything works on face crops and on photos.
"""

from __future__ import annotations

import cv2
import numpy as np

# Landmark indices of iBUG 300-W, counted from 0.
_BROWS = slice(17, 27)
_NOSE_BASE = 33
_INNER = slice(27, 68)  # nose, eyes and mouth

# A weight below this cannot change an 8-bit level by half a step.
_LEAST_WEIGHT = 1 / 512
# Around the hull, as a share of the face's size: room for the largest shift, distortion and blur together.
_MARGIN = 0.45


def validated_image(image: np.ndarray) -> np.ndarray:
    """Return the picture as an array, or raise ValueError unless it is (H, W, 3) uint8."""
    image = np.asarray(image)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    return image


def validated(image: np.ndarray, landmarks: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return picture and landmarks as arrays, (68, 2) float64, or raise ValueError."""
    image = validated_image(image)
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"landmarks must be 68 finite points (68, 2), not an array of {points.shape}")
    # Further out there is no picture, and far coordinates overflow inside OpenCV.
    limit = 4.0 * max(image.shape[:2])
    return image, points.clip(-limit, limit)


def face_hull(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
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


def region(hull: np.ndarray, size: float, height: int, width: int) -> tuple[slice, slice] | None:
    """Return the rows and columns that a blend can change, or None if there are none."""
    inside = (hull.max(axis=0) >= 0).all() and (hull.min(axis=0) < (width, height)).all()
    if size < 4 or not inside:
        return None
    extra = _MARGIN * size + 2
    left, top = np.floor(np.maximum(hull.min(axis=0) - extra, 0)).astype(int)
    right, bottom = np.ceil(np.minimum(hull.max(axis=0) + extra, (width, height))).astype(int)
    return slice(int(top), int(bottom)), slice(int(left), int(right))


def recolour(image: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
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


def soft_mask(
    hull: np.ndarray,
    span: tuple[int, int],
    size: float,
    rng: np.random.Generator,
    *,
    distortion: float = 0.04,
    widths: tuple[float, float] = (0.005, 0.045),
    erosion: float = 0.5,
) -> np.ndarray:
    """Return a filled convex outline, distorted and with a blurred edge.

    Parameters
    ----------
    hull
        (N, 2) x, y in pixels, the corners of a convex outline in order.
    span
        (width, height) of the result in pixels.
    size
        Size of the face in pixels.
    rng
        Source of all randomness.
    distortion
        The outline moves by up to this share of the size.
    widths
        (lowest, highest) width of each of the two box filters that blur the edge, as a share of the size.
    erosion
        Probability that the outline shrinks first by half of the blur, which keeps a wide edge on the face.

    Returns
    -------
    numpy.ndarray
        (height, width) float32 in 0..1.
    """
    width, height = span
    mask: np.ndarray = np.zeros((height, width), np.float32)
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 1.0)
    # Elastic distortion: a coarse field of random vectors, interpolated, moves the outline.
    coarse = rng.uniform(-distortion * size, distortion * size, (6, 6, 2)).astype(np.float32)
    field = cv2.resize(coarse, span, interpolation=cv2.INTER_LINEAR)
    x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)[:, None]
    mask = cv2.remap(
        mask, field[..., 0] + x, field[..., 1] + y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    boxes = [1 + 2 * round(w * size) for w in rng.uniform(*widths, 2)]
    if rng.random() < erosion:
        depth = max(1, sum(boxes) // 4)
        kernel = cv2.getStructuringElement(cv2.MORPH_RECT, (2 * depth + 1, 2 * depth + 1))
        mask = cv2.erode(mask, kernel, borderType=cv2.BORDER_REPLICATE)
    for box in boxes:
        mask = cv2.blur(mask, (box, box), borderType=cv2.BORDER_REPLICATE)
    return mask.clip(0, 1)


def blend(image: np.ndarray, copy: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``weight * copy + (1 - weight) * image``, rounded, and the weights that were used.

    Weights too small to change a level become 0, so that the picture stays equal where the mask is 0.
    ``copy`` may be of type float; both results are new arrays.
    """
    weight = np.where(weight < _LEAST_WEIGHT, np.float32(0), np.minimum(weight, np.float32(1)))
    difference = copy.astype(np.float32) - image
    blended = np.rint(image + weight[..., None] * difference)
    return blended.clip(0, 255).astype(np.uint8), weight


def polygon(points: np.ndarray, span: tuple[int, int]) -> np.ndarray:
    """Return the filled convex hull of (N, 2) points as a (height, width) uint8 mask, 255 inside."""
    mask: np.ndarray = np.zeros(span[::-1], np.uint8)
    hull = cv2.convexHull(points.astype(np.float32)).reshape(-1, 2)
    cv2.fillConvexPoly(mask, np.rint(hull).astype(np.int32), 255)
    return mask


def match_colours(
    copy: np.ndarray, image: np.ndarray, where: np.ndarray, *, mean: float = 1.0, spread: float = 1.0
) -> np.ndarray:
    """Give one picture the mean and the standard deviation of another in Lab.

    Reinhard et al., "Color transfer between images", IEEE Computer Graphics and Applications 21(5), 2001.

    Parameters
    ----------
    copy, image
        (H, W, 3) uint8 RGB; the colours of ``copy`` change towards those of ``image``.
    where
        (H, W) uint8; statistics are those of the pixels that are not 0.
    mean, spread
        How far the mean and the standard deviation are moved: 0 keeps them, 1 matches them.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8 RGB.
    """
    lab = cv2.cvtColor(copy, cv2.COLOR_RGB2LAB)
    own_mean, own_spread = cv2.meanStdDev(lab, mask=where)
    new_mean, new_spread = cv2.meanStdDev(cv2.cvtColor(image, cv2.COLOR_RGB2LAB), mask=where)
    own_mean, own_spread, new_mean, new_spread = (
        v.ravel() for v in (own_mean, own_spread, new_mean, new_spread)
    )
    # Stretching the contrast of a flat copy any further would stretch its noise.
    factor = ((new_spread + 1) / (own_spread + 1)).clip(0.1, 2.5) ** spread
    levels = np.arange(256.0)[:, None]
    table = np.rint((levels - own_mean) * factor + own_mean + mean * (new_mean - own_mean)).clip(0, 255)
    if (table == levels).all():  # the way through Lab and back would change levels by rounding
        return copy
    return cv2.cvtColor(cv2.LUT(lab, table.astype(np.uint8)[None]), cv2.COLOR_LAB2RGB)


def match_light(
    copy: np.ndarray, image: np.ndarray, where: np.ndarray, size: float, amount: float
) -> np.ndarray:
    """Give one picture the slow changes of brightness and colour of another.

    Parameters
    ----------
    copy, image, where
        As in :func:`match_colours`.
    size
        Size of the face in pixels; changes slower than about a third of it are moved.
    amount
        How far: 0 changes nothing, 1 takes over the light of ``image``.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) float32, not clipped.
    """
    height, width = where.shape
    small = (max(1, width // 4), max(1, height // 4))
    share = cv2.resize(where, small, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    difference: np.ndarray = cv2.resize(image, small, interpolation=cv2.INTER_AREA).astype(np.float32)
    difference -= cv2.resize(copy, small, interpolation=cv2.INTER_AREA)
    box = 1 + 2 * max(1, round(0.15 * size / 4))
    for _ in range(2):
        spread = cv2.blur(difference * share[..., None], (box, box))
        difference = spread / (cv2.blur(share, (box, box))[..., None] + np.float32(1e-3))
    light = cv2.resize(difference, (width, height), interpolation=cv2.INTER_LINEAR)
    return copy + np.float32(amount) * light


def checked_strength(strength: float) -> float:
    """Return the strength of a manipulation, or raise ValueError if it is negative or not finite."""
    if not (np.isfinite(strength) and strength >= 0):
        raise ValueError(f"strength must be 0 or more, not {strength}")
    return float(strength)
