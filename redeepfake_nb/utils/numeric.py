"""Numbers: from logits to probabilities."""

from __future__ import annotations

import numpy as np


def probabilities(logits: np.ndarray, temperature: float | None) -> np.ndarray:
    """(N,) float64 P(fake)."""
    from scipy.special import expit

    return expit(np.asarray(logits, np.float64) / (temperature or 1.0))
