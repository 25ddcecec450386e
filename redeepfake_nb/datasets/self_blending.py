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

from .blending import blend, checked_strength, face_hull, recolour, region, soft_mask, validated
from .image_operations import rescale

# The mask is multiplied by one of these, drawn at random.
_BLEND_RATIOS = (0.25, 0.5, 0.75, 1.0, 1.0, 1.0)


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
    image, points = validated(image, landmarks)
    checked_strength(strength)
    hull = face_hull(points, rng)
    size = float(np.ptp(hull, axis=0).max())
    height, width = image.shape[:2]
    part = region(hull, size, height, width)
    mask = np.zeros((height, width), np.float32)
    blended = image.copy()
    if part is None:
        return blended, mask
    rows, columns = part
    target = np.ascontiguousarray(image[rows, columns])
    hull = hull - (columns.start, rows.start)
    copy = _blur_or_sharpen(recolour(target, rng, strength), size, rng, strength)
    move = _random_affine(hull.mean(axis=0), size, rng, strength)
    span = (target.shape[1], target.shape[0])
    copy = cv2.warpAffine(copy, move, span, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    weight = soft_mask(hull @ move[:, :2].T + move[:, 2], span, size, rng)
    weight *= rng.choice(_BLEND_RATIOS)
    blended[rows, columns], mask[rows, columns] = blend(target, copy, weight)
    return blended, mask


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
