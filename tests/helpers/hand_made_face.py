"""Hand-made landmarks, for tests that need to know where the parts of the face lie."""

from __future__ import annotations

import numpy as np

SIZE = 200


def hand_made() -> np.ndarray:
    """Return landmarks of an upright face, symmetric about x = 100, on a crop of 200 px, (68, 2)."""
    points = np.zeros((68, 2))
    angle = np.linspace(np.pi, 0, 17)
    points[:17] = np.stack([100 + 60 * np.cos(angle), 90 + 85 * np.sin(angle)], axis=1)
    points[17:22] = np.stack([np.linspace(52, 88, 5), [72, 67, 65, 66, 69]], axis=1)
    points[22:27] = points[17:22][::-1] * [-1, 1] + [200, 0]
    points[27:31] = np.stack([np.full(4, 100), np.linspace(85, 112, 4)], axis=1)
    points[31:36] = np.stack([np.linspace(88, 112, 5), [118, 120, 121, 120, 118]], axis=1)
    eye = np.array([[-12, 0], [-5, -5], [5, -5], [12, 0], [5, 5], [-5, 5]])
    points[36:42], points[42:48] = eye + np.array([72, 86]), eye + np.array([128, 86])
    turn = np.linspace(np.pi, -np.pi, 13)[:12]
    points[48:60] = np.stack([100 + 24 * np.cos(turn), 142 - 9 * np.sin(turn)], axis=1)
    turn = np.linspace(np.pi, -np.pi, 9)[:8]
    points[60:68] = np.stack([100 + 18 * np.cos(turn), 142 - 3 * np.sin(turn)], axis=1)
    return points
