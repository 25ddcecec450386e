"""Synthetic pictures in which every change of colour, place or sharpness shows."""

from __future__ import annotations

import numpy as np


def shades(height: int = 160, width: int = 160, seed: int = 5, period: float = 17.0) -> np.ndarray:
    """Return smooth shades with grain, (height, width, 3) uint8."""
    y, x = np.mgrid[:height, :width]
    waves = np.stack(
        [
            120 + 60 * np.sin(x / period),
            100 + 50 * np.cos(y / (0.8 * period)),
            90 + 40 * np.sin((x + y) / (1.7 * period)),
        ],
        axis=-1,
    )
    grain = np.random.default_rng(seed).normal(0, 8, (height, width, 3))
    return (waves + grain).clip(0, 255).astype(np.uint8)
