"""Faces pieced together by hand from parts of another person's, as with an image editor.

A pseudo-fake for training: one to three parts of another person (an eye with its brow, both eyes, nose,
mouth, half the face) are moved onto the target as a whole, in matched colours, and blended in through a
hand-drawn mask with a narrow feather. Resolution and texture are the source's own. The idea follows the
hand-made composites of the data set "Real and Fake Face Detection" of the Computational Intelligence and
Photography Lab, Yonsei University.
"""

from __future__ import annotations

import cv2
import numpy as np

from .blending import blend, checked_strength, match_colours, match_light, region, validated
from .warping import shrink_to, similarity

# Landmarks of iBUG 300-W that place each part, counted from 0.
_PARTS: dict[str, tuple[int, ...]] = {
    "right eye": (*range(17, 22), *range(36, 42)),
    "left eye": (*range(22, 27), *range(42, 48)),
    "eyes": (*range(17, 27), *range(36, 48)),
    "nose": (*range(27, 36), 39, 42),
    "mouth": tuple(range(48, 68)),
    "right half": (*range(0, 9), *range(17, 22), *range(27, 42), 48, 49, 50, 51, 57, 58, 59),
    "left half": (*range(8, 17), *range(22, 36), *range(42, 48), 51, 52, 53, 54, 55, 56, 57),
    "upper half": (*range(0, 3), *range(14, 48)),
    "lower half": (*range(3, 14), *range(31, 36), *range(48, 68)),
}
COPIED_PARTS: tuple[str, ...] = tuple(_PARTS)
_SINGLE = COPIED_PARTS[:5]
# How far the outline lies outside the landmarks, as a factor: a nose's landmarks reach the corners of the
# eyes, those of a half its border.
_GROWTH = {"nose": (1.0, 1.25)} | dict.fromkeys(COPIED_PARTS[5:], (1.0, 1.1))


def composite(
    target: np.ndarray,
    target_landmarks: np.ndarray,
    source: np.ndarray,
    source_landmarks: np.ndarray,
    rng: np.random.Generator,
    *,
    parts: tuple[str, ...] | None = None,
    strength: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Copy parts of another person's face onto a face.

    Parameters
    ----------
    target, source
        (H, W, 3) uint8 RGB, each of its own size. Not changed. The source's parts are put into the target.
    target_landmarks, source_landmarks
        (68, 2) x, y in pixels, in the order of iBUG 300-W.
    rng
        Source of all randomness; the same state gives the same result.
    parts
        Some of :data:`COPIED_PARTS`, in the order in which they are copied; None draws half a face or one to
        three smaller parts. "right" and "left" are the person's own.
    strength
        Factor on colours left unmatched and on the inaccuracy of the hand; 0 places every part as well as a
        shift, a turn and a change of scale can.

    Returns
    -------
    pieced : (H, W, 3) uint8
        Of the target's size. Equal to ``target`` where the mask is 0.
    mask : (H, W) float32 in 0..1
        Weight of the source; 0 everywhere if nothing could be copied.

    Raises
    ------
    ValueError
        Wrong shape or dtype, landmarks that are not finite, an unknown part, or a negative strength.
    """
    target, points = validated(target, target_landmarks)
    source, other = validated(source, source_landmarks)
    strength = checked_strength(strength)
    drawn = _draw(rng)
    parts = drawn if parts is None else parts
    for part in parts:
        if part not in _PARTS:
            raise ValueError(f"parts must be some of {', '.join(COPIED_PARTS)}, not {part!r}")
    size = float(np.ptp(points, axis=0).max())
    pieced, mask = target.copy(), np.zeros(target.shape[:2], np.float32)
    if size < 4 or np.ptp(other, axis=0).max() < 4:
        return pieced, mask
    source, other = shrink_to(source, other, size)
    for part in parts:
        chosen = list(_PARTS[part])
        outline = _outline(points[chosen], part, rng)
        _copy_part(pieced, mask, outline, points[chosen], source, other[chosen], size, rng, strength)
    return pieced, mask


def _draw(rng: np.random.Generator) -> tuple[str, ...]:
    if rng.random() < 0.25:
        return (COPIED_PARTS[int(rng.integers(len(_SINGLE), len(COPIED_PARTS)))],)
    count = int(rng.choice((1, 1, 2, 3)))
    return tuple(str(part) for part in rng.choice(_SINGLE, count, replace=False))


def _copy_part(
    pieced: np.ndarray,
    mask: np.ndarray,
    outline: np.ndarray,
    points: np.ndarray,
    source: np.ndarray,
    other: np.ndarray,
    size: float,
    rng: np.random.Generator,
    strength: float,
) -> None:
    """Copy one part into ``pieced`` and its weight into ``mask``."""
    height, width = pieced.shape[:2]
    move = similarity(other, points)
    jitter = strength * rng.uniform(-1, 1, 4)
    middle = points.mean(axis=0)
    turn = cv2.getRotationMatrix2D(
        (float(middle[0]), float(middle[1])), 2 * jitter[0], float(np.exp(0.03 * jitter[1]))
    )
    turn = turn + np.column_stack([np.zeros((2, 2)), 0.012 * size * jitter[2:]])
    move = np.vstack([turn, (0, 0, 1)]) @ np.vstack([move, (0, 0, 1)])
    feather = rng.uniform(0.004, 0.03) * size
    left = (rng.random(2) ** 2 * 0.6 * strength).clip(0, 1)
    light = rng.uniform(0.3, 1) if rng.random() < 0.6 else 0.0
    place = region(outline, float(np.ptp(outline, axis=0).max()), height, width)
    if place is None:
        return
    rows, columns = place
    corner = (columns.start, rows.start)
    view = np.ascontiguousarray(pieced[rows, columns])
    span = (view.shape[1], view.shape[0])
    move[:2, 2] -= corner
    copy = cv2.warpAffine(source, move[:2], span, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    shape: np.ndarray = np.zeros(view.shape[:2], np.uint8)
    cv2.fillConvexPoly(shape, np.rint(outline - corner).astype(np.int32), 255)
    inside: np.ndarray = np.full(source.shape[:2], 255, np.uint8)
    shape &= cv2.warpAffine(inside, move[:2], span, flags=cv2.INTER_NEAREST)
    if not shape.any():
        return
    copy = match_colours(copy, view, shape, mean=1 - left[0], spread=0.7 * (1 - left[1]))
    lit = match_light(copy, view, shape, size, light) if light else copy
    weight = cv2.GaussianBlur(shape.astype(np.float32) / 255, (0, 0), max(0.5, feather))
    # The feather lies within the outline for the wider half of hands.
    if rng.random() < 0.5:
        weight = (2 * weight - 1).clip(0, 1)
    pieced[rows, columns], weight = blend(view, lit, weight)
    mask[rows, columns] = np.maximum(mask[rows, columns], weight)


def _outline(points: np.ndarray, part: str, rng: np.random.Generator) -> np.ndarray:
    """Return a convex outline drawn around a part by hand, (N, 2): a polygon or an ellipse."""
    growth = _GROWTH.get(part, (1.15, 1.55))
    if part in _SINGLE and rng.random() < 0.4:
        low, high = points.min(axis=0), points.max(axis=0)
        centre, radii = (low + high) / 2, (high - low) / 2 * rng.uniform(*growth, 2)
        angle = np.linspace(0, 2 * np.pi, 24, endpoint=False)
        return centre + radii * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    middle = points.mean(axis=0)
    grown = middle + rng.uniform(*growth) * (points - middle)
    grown += 0.03 * np.ptp(points, axis=0).max() * rng.uniform(-1, 1, points.shape)
    return cv2.convexHull(grown.astype(np.float32)).reshape(-1, 2).astype(np.float64)
