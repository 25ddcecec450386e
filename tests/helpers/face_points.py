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


def portrait_points(centre: tuple[float, float] = (80, 70), scale: float = 60.0) -> np.ndarray:
    """Return landmarks in which lids, lips and corners lie as in a face that looks ahead, (68, 2).

    The lips are slightly open. ``scale`` is half the face's width in pixels.
    """
    t = np.linspace(0, np.pi, 17)
    jaw = np.stack([-np.cos(t), 1.15 * np.sin(t) - 0.15], 1)
    brow = np.stack([np.linspace(0.2, 0.75, 5), [-0.48, -0.55, -0.57, -0.55, -0.47]], 1)
    bridge = np.stack([np.zeros(4), np.linspace(-0.28, 0.08, 4)], 1)
    base = np.stack([np.linspace(-0.18, 0.18, 5), [0.18, 0.2, 0.22, 0.2, 0.18]], 1)
    eye = np.array([(-0.16, 0), (-0.06, -0.07), (0.06, -0.07), (0.16, 0), (0.06, 0.06), (-0.06, 0.06)])
    x = np.array([-0.26, -0.12, 0, 0.12, 0.26])
    upper = np.stack([x, [-0.08, -0.11, -0.1, -0.11, -0.08]], 1)
    lower = np.stack([x[::-1], [0.1, 0.14, 0.15, 0.14, 0.1]], 1)
    inner = [(-0.32, 0), (-0.12, -0.03), (0, -0.03), (0.12, -0.03), (0.32, 0)]
    inner += [(0.12, 0.03), (0, 0.03), (-0.12, 0.03)]
    mouth = np.add(np.concatenate([[(-0.4, 0)], upper, [(0.4, 0)], lower, inner]), (0, 0.55))
    brows = [brow[::-1] * (-1, 1), brow]
    eyes = [np.add(eye, (side * 0.44, -0.28)) for side in (-1, 1)]
    return np.concatenate([jaw, *brows, bridge, base, *eyes, mouth]) * scale + centre
