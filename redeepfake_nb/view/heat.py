"""Heat as colour: the map from 0..1 to RGB, and how it is laid over a picture."""

from __future__ import annotations

from functools import lru_cache

import matplotlib
import numpy as np

# Perceptually uniform, and over most of its range of hues that skin does not have.
HEAT = "viridis"


def overlay(image: np.ndarray, heatmap: np.ndarray, strength: float = 0.5) -> np.ndarray:
    """Lay a heatmap over a picture.

    Each pixel is mixed with its heat's colour by ``strength * heat``, so that a place without heat stays
    exactly as it is.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    heatmap
        (H, W) float, 0..1.
    strength
        0..1: 0 shows the picture alone, 1 hides it under the hottest places.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8 RGB, a new array.

    Raises
    ------
    ValueError
        Another shape or type, or values out of range.
    """
    strength = checked_strength(strength)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if heatmap.shape != image.shape[:2]:
        raise ValueError(f"heatmap must have the image's shape {image.shape[:2]}, not {heatmap.shape}")
    # NaN fails this comparison too.
    if not np.all((heatmap >= 0) & (heatmap <= 1)):
        raise ValueError("heatmap must lie between 0 and 1")
    heat = heatmap.astype(np.float32)
    share = (strength * heat)[..., None]
    return np.rint(image * (1 - share) + heat_colors(heat) * share).astype(np.uint8)


@lru_cache(maxsize=1)
def _palette() -> np.ndarray:
    """(256, 3) float32 RGB, 0..255."""
    return (matplotlib.colormaps[HEAT](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.float32)


def heat_colors(heat: np.ndarray) -> np.ndarray:
    """(H, W) 0..1 -> (H, W, 3) float32 RGB, 0..255."""
    return _palette()[np.rint(heat * 255).astype(np.uint8)]


def checked_strength(strength: float) -> float:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie between 0 and 1, not {strength}")
    return float(strength)
