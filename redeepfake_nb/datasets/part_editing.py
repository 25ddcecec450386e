"""Edits of single parts of a face, as made by Face2Face and NeuralTextures.

A pseudo-fake for training: mouth, eyes or eyes and brows change their expression through a smooth warp, are
rendered again a little softer and in slightly other colours, and are blended in through a soft mask limited
to the part. After the manipulations in Rössler et al., "FaceForensics++", ICCV 2019; an independent
implementation.
"""

from __future__ import annotations

import cv2
import numpy as np

from .blending import blend, checked_strength, recolour, region, soft_mask, validated
from .decoder_traces import generator_traces
from .image_operations import gaussian_blur, rescale
from .warping import thin_plate_maps

EDITED_PARTS: tuple[str, ...] = ("mouth", "eyes", "eyes and brows")

# Landmark indices of iBUG 300-W, counted from 0.
_CHIN, _BROWS, _NOSE_TIP = slice(5, 12), slice(17, 27), slice(31, 36)
_EYES, _MOUTH = slice(36, 48), slice(48, 68)
_UPPER_LIP, _LOWER_LIP = [49, 50, 51, 52, 53, 61, 62, 63], [55, 56, 57, 58, 59, 65, 66, 67]
_UPPER_LIDS, _LOWER_LIDS = [37, 38, 43, 44], [41, 40, 47, 46]
_OPENING = slice(60, 68)


def part_edit(
    image: np.ndarray,
    landmarks: np.ndarray,
    rng: np.random.Generator,
    *,
    part: str | None = None,
    strength: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Change the expression of one part of a face.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB. Not changed.
    landmarks
        (68, 2) x, y in pixels, in the order of iBUG 300-W.
    rng
        Source of all randomness; the same state gives the same result.
    part
        One of :data:`EDITED_PARTS`; None draws one, the mouth half of the time.
    strength
        Factor on all changes; 0 changes nothing.

    Returns
    -------
    edited : (H, W, 3) uint8
        Equal to ``image`` where the mask is 0.
    mask : (H, W) float32 in 0..1
        Weight of the part that was rendered again; 0 everywhere if it lies outside the image.

    Raises
    ------
    ValueError
        Wrong shape or dtype, landmarks that are not finite, an unknown part, or a negative strength.
    """
    image, points = validated(image, landmarks)
    strength = checked_strength(strength)
    drawn = EDITED_PARTS[max(0, int(rng.integers(4)) - 1)]
    part = drawn if part is None else part
    if part not in EDITED_PARTS:
        raise ValueError(f"part must be one of {', '.join(EDITED_PARTS)}, not {part!r}")
    size = float(np.ptp(points, axis=0).max())
    height, width = image.shape[:2]
    edited, mask = image.copy(), np.zeros((height, width), np.float32)
    outline = _outline(points, part, rng)
    place = region(outline, float(np.ptp(outline, axis=0).max()), height, width)
    if place is None or cv2.contourArea(cv2.convexHull(points.astype(np.float32))) < 16:
        return edited, mask
    rows, columns = place
    corner = (columns.start, rows.start)
    view = np.ascontiguousarray(image[rows, columns])
    span = (view.shape[1], view.shape[0])
    moved = points + strength * (_mouth_moves if part == "mouth" else _eye_moves)(points, part, rng)
    # The face around the part stays where it is.
    middle = points.mean(axis=0)
    fixed = middle + size * np.array([(x, y) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y])
    maps = thin_plate_maps(
        np.concatenate([moved, fixed]) - corner, np.concatenate([points, fixed]) - corner, span
    )
    copy = cv2.remap(view, *maps, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    if part == "mouth":
        copy = _darken_opening(copy, points - corner, moved - corner, rng)
    copy = _rerender(copy, rng, strength)
    weight = soft_mask(outline - corner, span, size, rng, distortion=0.02, widths=(0.01, 0.05), erosion=0)
    edited[rows, columns], mask[rows, columns] = blend(view, copy, weight)
    return edited, mask


def _outline(points: np.ndarray, part: str, rng: np.random.Generator) -> np.ndarray:
    """Return the convex outline of what is rendered again, (N, 2)."""
    if part == "mouth":
        if rng.random() < 0.5:  # the whole lower face
            chosen = np.concatenate([points[3:14], points[_NOSE_TIP]])
            grown = rng.uniform(0.85, 1.0)
        else:
            chosen, grown = points[_MOUTH], rng.uniform(1.3, 1.8)
    else:
        chosen = points[_EYES] if part == "eyes" else points[17:48]
        if part == "eyes and brows":
            chosen = np.concatenate([points[_BROWS], points[_EYES]])
        grown = rng.uniform(1.15, 1.5)
    middle = chosen.mean(axis=0)
    chosen = middle + grown * (chosen - middle)
    return cv2.convexHull(chosen.astype(np.float32)).reshape(-1, 2).astype(np.float64)


def _axes(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the unit vectors from the face's right eye to its left, and from the eyes down."""
    across = points[42:48].mean(axis=0) - points[36:42].mean(axis=0)
    length = float(np.hypot(*across))
    right = across / length if length > 1e-6 else np.array([1.0, 0.0])
    return right, np.array([-right[1], right[0]])


def _mouth_moves(points: np.ndarray, part: str, rng: np.random.Generator) -> np.ndarray:
    """Return how far the landmarks move for a drawn expression of the mouth, (68, 2) pixels."""
    right, down = _axes(points)
    width = max(float(np.ptp(points[_MOUTH] @ right)), 1e-6)
    gap = float(((points[65:68] - points[61:64][::-1]).mean(axis=0) @ down).clip(0, width))
    moves: np.ndarray = np.zeros((68, 2))
    change = rng.random(4) < 0.5
    if not change.any():
        change[rng.integers(2)] = True
    if change[0]:
        opened = (0.04 + 0.26 * rng.random() ** 1.5) * width  # mostly as in talking
        if gap > 0.08 * width and rng.random() < 0.7:
            opened = -rng.uniform(0.4, 0.95) * gap
        moves[_LOWER_LIP] += 0.8 * opened * down
        moves[_UPPER_LIP] -= 0.2 * opened * down
        moves[[48, 54, 60, 64]] += 0.3 * opened * down
        moves[_CHIN] += 0.5 * opened * down
    if change[1]:
        wider = rng.uniform(-0.1, 0.12) * width
        moves[_MOUTH] += (
            wider * 2 * ((points[_MOUTH] - points[_MOUTH].mean(axis=0)) @ right / width)[:, None] * right
        )
    if change[2]:  # a smile or the opposite
        raised = rng.uniform(-0.08, 0.12) * width
        away = np.abs((points[_MOUTH] - points[_MOUTH].mean(axis=0)) @ right) / width
        moves[_MOUTH] -= raised * (2 * away[:, None]) ** 2 * down
    if change[3]:
        moves[_MOUTH] += rng.uniform(-0.06, 0.06) * width * right + rng.uniform(-0.04, 0.04) * width * down
    return moves


def _eye_moves(points: np.ndarray, part: str, rng: np.random.Generator) -> np.ndarray:
    """Return how far the landmarks move for a drawn expression of eyes and brows, (68, 2) pixels."""
    right, down = _axes(points)
    apart = float(np.hypot(*(points[45] - points[36])))
    moves: np.ndarray = np.zeros((68, 2))
    change = rng.random(3) < 0.5
    if not change.any():
        change[0] = True
    if change[0]:  # lids closed in part, or opened wide
        share = rng.uniform(0.2, 0.7) if rng.random() < 0.6 else -rng.uniform(0.15, 0.5)
        moves[_UPPER_LIDS] += share * (points[_LOWER_LIDS] - points[_UPPER_LIDS])
        moves[_LOWER_LIDS] += 0.15 * share * (points[_UPPER_LIDS] - points[_LOWER_LIDS])
    if change[1]:
        for eye in (slice(36, 42), slice(42, 48)):
            middle = points[eye].mean(axis=0)
            moves[eye] += rng.uniform(-0.1, 0.15) * (points[eye] - middle)
            moves[eye] += rng.uniform(-0.02, 0.02, 2) * apart
    if change[2]:
        moves[_EYES] += rng.uniform(-0.02, 0.02) * apart * right + rng.uniform(-0.03, 0.03) * apart * down
    if part == "eyes and brows":
        for brow in (slice(17, 22), slice(22, 27)):
            raised = rng.uniform(-0.05, 0.1) * apart
            moves[brow] -= raised * np.linspace(rng.uniform(0.5, 1), rng.uniform(0.5, 1), 5)[:, None] * down
    return moves


def _darken_opening(
    copy: np.ndarray, points: np.ndarray, moved: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Darken what shows between lips that were closed and now are open."""
    before, after = (cv2.contourArea(cv2.convexHull(p[_OPENING].astype(np.float32))) for p in (points, moved))
    width = max(float(np.ptp(points[_MOUTH] @ _axes(points)[0])), 1e-6)
    new = (after - before) / width**2
    if new < 0.02 or before > 0.06 * width * width:
        return copy
    inside: np.ndarray = np.zeros(copy.shape[:2], np.float32)
    hull = cv2.convexHull(moved[_OPENING].astype(np.float32)).reshape(-1, 2)
    cv2.fillConvexPoly(inside, np.rint(hull).astype(np.int32), 1.0)
    inside = cv2.GaussianBlur(inside, (0, 0), max(0.8, 0.03 * width))
    shade = np.array([0.45, 0.28, 0.28], np.float32) * np.float32(rng.uniform(0.5, 1.3))
    weight = inside[..., None] * np.float32(min(1.0, 12 * new))
    return np.rint(copy * (1 - weight * (1 - shade))).clip(0, 255).astype(np.uint8)


def _rerender(copy: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """Make the copy slightly softer, or give it a generator's traces, and change its colours slightly."""
    copy = recolour(copy, rng, 0.35 * rng.random() * strength)
    kind, amount = rng.integers(4), rng.uniform(0.1, 1.0) * strength
    if strength == 0:
        return copy
    height, width = copy.shape[:2]
    if kind == 0:
        factor = 1 / (1 + amount)
        copy = rescale(copy, max(8, round(width * factor)), max(8, round(height * factor)))
    elif kind == 1:
        copy = gaussian_blur(copy, 0.3 + 0.8 * amount)
    elif kind == 2:
        copy = generator_traces(copy, rng)[0]
    return copy
