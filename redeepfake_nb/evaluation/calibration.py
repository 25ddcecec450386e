"""Calibration: fits temperature and shift to the logits of labelled faces, and chooses thresholds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .metrics import check_labels


class OperatingPoint(NamedTuple):
    """A threshold, and the shares of real and of fake faces that score at or above it, 0..1."""

    threshold: float
    false_positive_rate: float
    true_positive_rate: float


def threshold_at(
    y_true: Sequence[int] | np.ndarray,
    y_score: Sequence[float] | np.ndarray,
    false_positive_rate: float,
) -> OperatingPoint:
    """Choose the threshold with the highest true positive rate at a limited false positive rate.

    It is the lowest observed score above the highest real score that must stay below the threshold; where no
    score is higher than that one, it is the next floating-point number above it, and the true positive rate
    is 0. With tied real scores the false positive rate may be lower than asked for, never higher.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake, both present. A threshold is best chosen on other faces than it is tested on.
    y_score
        (N,) finite, higher means fake; a score at the threshold is predicted fake.
    false_positive_rate
        Largest share of real faces that may be predicted fake, 0..1.

    Returns
    -------
    OperatingPoint

    Raises
    ------
    ValueError
        Lengths differ, labels other than 0 and 1, one label, scores not finite, or a rate outside 0..1.
    """
    y, score = np.asarray(y_true), np.asarray(y_score, np.float64)
    if y.shape != score.shape or y.ndim != 1:
        raise ValueError(f"labels {y.shape} and scores {score.shape} must be two vectors of one length")
    check_labels(y)
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite")
    if not 0 <= false_positive_rate <= 1:
        raise ValueError(f"false_positive_rate must lie between 0 and 1, not {false_positive_rate}")
    real, fake = np.sort(score[y == 0]), score[y == 1]
    # The small number keeps 0.29 * 100 = 28.999... from being rounded down to 28 faces.
    allowed = int(np.floor(false_positive_rate * len(real) + 1e-9))
    if allowed >= len(real):
        threshold = score.min()
    else:
        below = real[len(real) - 1 - allowed]
        above = score[score > below]
        threshold = above.min() if len(above) else np.nextafter(below, np.inf)
    rates = (real >= threshold).mean(), (fake >= threshold).mean()
    return OperatingPoint(float(threshold), float(rates[0]), float(rates[1]))


def fit_temperature(y_true: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Fit the temperature that minimises the log loss of ``sigmoid(logits / temperature)``.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". It does not change any ranking.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake; of faces that were not trained on.
    logits
        (N,) uncalibrated.
    weights
        (N,) 0 or more, not all 0: how much each face counts. Default: all alike.

    Returns
    -------
    float
        0.05 to 20.
    """
    from scipy.optimize import minimize_scalar

    y, z = np.asarray(y_true, np.float64), np.asarray(logits, np.float64)

    def loss(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float(np.average(np.logaddexp(0, scaled) - y * scaled, weights=weights))

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))


def fit_calibration(y_true: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """Fit temperature and shift, which minimise the log loss of ``sigmoid((logits + shift) / temperature)``.

    Platt 1999, "Probabilistic Outputs for Support Vector Machines". The shift corrects a model that is biased
    to one label on people it has not seen, which no temperature can. Neither changes any ranking.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake; of faces that were not trained on, with the shares of labels to be expected.
    logits
        (N,) uncalibrated.

    Returns
    -------
    tuple of float
        Temperature, above 0, and shift, in units of the logit.
    """
    from scipy.optimize import minimize

    y, z = np.asarray(y_true, np.float64), np.asarray(logits, np.float64)

    def loss(parameters: np.ndarray) -> float:
        scaled = (z + parameters[1]) / np.exp(parameters[0])
        return float(np.mean(np.logaddexp(0, scaled) - y * scaled))

    start = [np.log(fit_temperature(y, z)), 0.0]
    bounds = [(np.log(0.05), np.log(20.0)), (-10.0, 10.0)]
    best = minimize(loss, start, method="L-BFGS-B", bounds=bounds)
    return float(np.exp(best.x[0])), float(best.x[1])
