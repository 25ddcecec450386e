"""Colour heatmaps and lay them over images. Pixels in, pixels out; no figure is drawn."""

from __future__ import annotations

from functools import cache

import matplotlib
import numpy as np

# Perceptually uniform, and over most of its range of hues that skin does not have.
COLORMAP = "viridis"


def overlay(image: np.ndarray, heatmap: np.ndarray, strength: float = 0.5) -> np.ndarray:
    """Lay a heatmap over an image.

    Each pixel is mixed with the colour of its heatmap value by ``strength * value``, so that pixels with
    value 0 stay exactly as they are.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    heatmap
        (H, W) float, 0..1.
    strength
        0..1: 0 shows the image alone, 1 hides it where the heatmap is 1.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8 RGB, a new array.

    Raises
    ------
    ValueError
        Another shape or type, or values out of range.
    """
    strength = check_strength(strength)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if heatmap.shape != image.shape[:2]:
        raise ValueError(f"heatmap must have the image's shape {image.shape[:2]}, not {heatmap.shape}")
    # NaN fails this comparison too.
    if not np.all((heatmap >= 0) & (heatmap <= 1)):
        raise ValueError("heatmap must lie between 0 and 1")
    values = heatmap.astype(np.float32)
    share = (strength * values)[..., None]
    return np.rint(image * (1 - share) + colorize(values) * share).astype(np.uint8)


def colorize(heatmap: np.ndarray) -> np.ndarray:
    """Map (H, W) values, 0..1, to (H, W, 3) float32 RGB, 0..255, by :data:`COLORMAP`."""
    return _lookup_table()[np.rint(heatmap * 255).astype(np.uint8)]


def check_strength(strength: float) -> float:
    """Return the strength of an overlay as float; raise ValueError outside 0..1."""
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie between 0 and 1, not {strength}")
    return float(strength)


@cache
def _lookup_table() -> np.ndarray:
    """(256, 3) float32 RGB, 0..255."""
    return (matplotlib.colormaps[COLORMAP](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.float32)
