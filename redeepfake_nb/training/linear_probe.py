"""A linear head for frozen features: a logistic regression."""

from __future__ import annotations

import numpy as np


def fit_logistic(x: np.ndarray, y: np.ndarray, strength: float) -> tuple[np.ndarray, float]:
    """Fit a logistic regression to features (N, D) of any scale.

    Parameters
    ----------
    x, y
        Features, and labels 0 and 1 (N,).
    strength
        Scikit-learn's ``C`` on features that were divided by their deviation: smaller is more regularised.

    Returns
    -------
    kernel : (D,) float32
    bias : float
        The logit is ``x @ kernel + bias``.
    """
    from sklearn.linear_model import LogisticRegression

    mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64) + 1e-6
    fit = LogisticRegression(C=strength, max_iter=500).fit((x - mean) / deviation, y)
    kernel = fit.coef_[0] / deviation
    return kernel.astype(np.float32), float(fit.intercept_[0] - mean @ kernel)
