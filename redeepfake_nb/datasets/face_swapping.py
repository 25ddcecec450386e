"""Face swaps between two people, as made by FaceSwap, autoencoders and one-shot swappers.

A pseudo-fake for training: the source's face is warped onto the target's landmarks, takes on its colours and
light, loses resolution as the face of a 128-pixel generator does, and is blended in through a random mask.
After Li et al., "Face X-ray for more general face forgery detection", CVPR 2020, and the FaceSwap method of
Rössler et al., "FaceForensics++", ICCV 2019; an independent implementation.
"""

from __future__ import annotations

import cv2
import numpy as np

from .blending import (
    blend,
    checked_strength,
    face_hull,
    match_colours,
    match_light,
    polygon,
    region,
    soft_mask,
    validated,
)
from .decoder_traces import generator_traces
from .image_operations import rescale
from .warping import inside_weight, shrink_to, thin_plate_maps

_INNER = slice(17, 68)
# Least weight of the swapped face: the target shows through weaker ones, as with few swappers.
_BLEND_RATIOS = (0.75, 0.9, 1.0, 1.0, 1.0, 1.0)
# Share of swaps blended with gradients instead of a mask, which costs several times as much.
_POISSON = 0.04


def face_swap(
    target: np.ndarray,
    target_landmarks: np.ndarray,
    source: np.ndarray,
    source_landmarks: np.ndarray,
    rng: np.random.Generator,
    *,
    strength: float = 1.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Replace a face by that of another person.

    Parameters
    ----------
    target, source
        (H, W, 3) uint8 RGB, each of its own size. Not changed. The source's face is put into the target.
    target_landmarks, source_landmarks
        (68, 2) x, y in pixels, in the order of iBUG 300-W. The swap looks best for two faces turned the same
        way (:func:`~redeepfake_nb.datasets.warping.shape_distance`).
    rng
        Source of all randomness; the same state gives the same result.
    strength
        Factor on what gives the swap away: colours left unmatched, lost resolution, sharpening. 0 leaves the
        warped and colour-matched face as it is.

    Returns
    -------
    swapped : (H, W, 3) uint8
        Of the target's size. Equal to ``target`` where the mask is 0.
    mask : (H, W) float32 in 0..1
        Weight of the source's face; 0 everywhere if either face has no extent or lies outside its picture.

    Raises
    ------
    ValueError
        Wrong shape or dtype, landmarks that are not finite, or a negative strength.
    """
    target, points = validated(target, target_landmarks)
    source, other = validated(source, source_landmarks)
    strength = checked_strength(strength)
    hull = face_hull(points, rng)
    size = float(np.ptp(points, axis=0).max())
    height, width = target.shape[:2]
    part = region(hull, float(np.ptp(hull, axis=0).max()), height, width)
    swapped, mask = target.copy(), np.zeros((height, width), np.float32)
    if part is None or min(_area(points), _area(other)) < 16:
        return swapped, mask
    rows, columns = part
    view = np.ascontiguousarray(target[rows, columns])
    span = (view.shape[1], view.shape[0])
    corner = (columns.start, rows.start)
    source, other = shrink_to(source, other, size)
    map_x, map_y = thin_plate_maps(points - corner, other, span)
    copy = cv2.remap(source, map_x, map_y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT_101)
    inside = inside_weight(map_x, map_y, source, 0.05 * float(np.ptp(other, axis=0).max()))
    weight = soft_mask(hull - corner, span, size, rng) * inside
    weight *= rng.choice(_BLEND_RATIOS)
    where = np.where(inside > 0, polygon(points[_INNER] - corner, span), 0).astype(np.uint8)
    copy = _rerender(copy, view, where, size, rng, strength)
    if rng.random() < _POISSON and span[0] * span[1] < 300**2:
        swapped[rows, columns], mask[rows, columns] = _clone(view, copy, weight)
    else:
        swapped[rows, columns], mask[rows, columns] = blend(view, copy, weight)
    return swapped, mask


def _area(points: np.ndarray) -> float:
    return cv2.contourArea(cv2.convexHull(points.astype(np.float32)))


def _rerender(
    copy: np.ndarray,
    view: np.ndarray,
    where: np.ndarray,
    size: float,
    rng: np.random.Generator,
    strength: float,
) -> np.ndarray:
    """Match colours and light incompletely, and leave the marks of a generator or of enlarging."""
    left = (rng.random(2) ** 2 * 0.7 * strength).clip(0, 1)
    if where.any():
        copy = match_colours(copy, view, where, mean=1 - left[0], spread=1 - left[1])
        light = rng.uniform(0, 1)
        if rng.random() < 0.5:
            lit = match_light(copy, view, where, size, light)
            copy = np.rint(lit).clip(0, 255).astype(np.uint8)
    kind, amount = rng.integers(4), rng.uniform(0.1, 1.0) * strength
    if strength == 0:
        return copy
    if kind in (0, 1):  # a generator of about 64 to 256 pixels
        factor = max(1 / (1 + 1.5 * amount), 32 / max(size, 32))
        height, width = copy.shape[:2]
        copy = rescale(copy, max(8, round(width * factor)), max(8, round(height * factor)))
    elif kind == 2:
        copy = generator_traces(copy, rng)[0]
    if kind == 1 or (kind == 3 and rng.random() < 0.5):
        smooth = cv2.GaussianBlur(copy, (0, 0), max(0.7, 0.008 * size))
        copy = cv2.addWeighted(copy, 1 + 0.8 * amount, smooth, -0.8 * amount, 0)
    return copy


def _clone(view: np.ndarray, copy: np.ndarray, weight: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Blend the gradients: Pérez et al., "Poisson image editing", ACM TOG 22(3), 2003."""
    inside: np.ndarray = np.zeros(weight.shape, np.uint8)
    inside[2:-2, 2:-2] = np.where(weight[2:-2, 2:-2] > 0.5, 255, 0)
    if cv2.countNonZero(inside) < 64:
        return blend(view, copy, weight)
    left, top, width, height = cv2.boundingRect(inside)
    middle = (left + width // 2, top + height // 2)
    # OpenCV overwrites the mask that it is given.
    cloned = cv2.seamlessClone(copy, view, inside.copy(), middle, cv2.NORMAL_CLONE)
    return blend(view, cloned, inside.astype(np.float32) / 255)
