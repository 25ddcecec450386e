"""Synthetic iBUG 300-W landmarks."""

from __future__ import annotations

import numpy as np


def face_points(centre: tuple[float, float] = (112, 112), scale: float = 80.0) -> np.ndarray:
    """Return landmarks laid out like a face, (68, 2); ``scale`` is half its width in pixels."""
    t = np.linspace(0, np.pi, 17)
    jaw = np.stack([-np.cos(t), np.sin(t)], 1)
    brows = np.stack([np.linspace(-0.8, 0.8, 10), np.full(10, -0.45)], 1)
    nose = np.stack([np.concatenate([np.zeros(4), np.linspace(-0.2, 0.2, 5)]), np.linspace(-0.3, 0.2, 9)], 1)
    eyes = np.concatenate(
        [
            [(side * 0.45 + 0.15 * np.cos(a), -0.25 + 0.07 * np.sin(a)) for a in np.arange(6)]
            for side in (-1, 1)
        ]
    )
    mouth = np.stack([0.35 * np.cos(np.arange(20)), 0.5 + 0.12 * np.sin(np.arange(20))], 1)
    return np.concatenate([jaw, brows, nose, eyes, mouth]) * scale + centre
