"""Calibration: fits temperature and shift to the logits of labelled faces, and chooses thresholds."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .metrics import check_labels

# What fits search: temperatures, and shifts in units of the logit.
TEMPERATURES = (0.05, 20.0)
SHIFTS = (-10.0, 10.0)


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
        (N,) 0 or 1, 1 is fake, both present; of faces that were not trained on.
    logits
        (N,) finite, uncalibrated.
    weights
        (N,) finite, 0 or more, not all 0: how much each face counts. Default: all alike.

    Returns
    -------
    float
        Within :data:`TEMPERATURES`.

    Raises
    ------
    ValueError
        Lengths differ, labels other than 0 and 1, one label, or logits or weights that are not as above.

    Warns
    -----
    UserWarning
        The best temperature lies at a limit: the faces are separated without an error, or the logits say
        nothing of their labels.
    """
    y, z = np.asarray(y_true, np.float64), np.asarray(logits, np.float64)
    _check(y, z, weights)
    check_labels(y)
    temperature = best_temperature(y, z, weights)
    _warn_at_limits(temperature)
    return temperature


def best_temperature(y: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None) -> float:
    """Do what :func:`fit_temperature` does, without its checks and its warning."""
    from scipy.optimize import minimize_scalar

    def loss(log_temperature: float) -> float:
        scaled = logits / np.exp(log_temperature)
        return float(np.average(np.logaddexp(0, scaled) - y * scaled, weights=weights))

    best = minimize_scalar(loss, bounds=np.log(TEMPERATURES), method="bounded")
    return float(np.exp(best.x))


def fit_calibration(y_true: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """Fit temperature and shift, which minimise the log loss of ``sigmoid((logits + shift) / temperature)``.

    Platt 1999, "Probabilistic Outputs for Support Vector Machines". The shift corrects a model that is biased
    to one label on people it has not seen, which no temperature can. Neither changes any ranking.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake, both present, or Platt's targets in place of them, one just above 0 and one
        just below 1; of faces that were not trained on, with the shares of labels to be expected.
    logits
        (N,) finite, uncalibrated.

    Returns
    -------
    tuple of float
        Temperature, within :data:`TEMPERATURES`, and shift, within :data:`SHIFTS`, in units of the logit.

    Raises
    ------
    ValueError
        Lengths differ, labels or targets other than these, one label, or logits that are not finite.

    Warns
    -----
    UserWarning
        As for :func:`fit_temperature`, or the best shift lies at a limit.
    """
    from scipy.optimize import minimize

    y, z = np.asarray(y_true, np.float64), np.asarray(logits, np.float64)
    _check(y, z)
    targets = np.unique(y)
    if not (len(targets) == 2 and 0 <= targets[0] < 0.5 < targets[1] <= 1):
        check_labels(y)

    def loss(parameters: np.ndarray) -> float:
        scaled = (z + parameters[1]) / np.exp(parameters[0])
        return float(np.mean(np.logaddexp(0, scaled) - y * scaled))

    start = [np.log(best_temperature(y, z)), 0.0]
    best = minimize(loss, start, method="L-BFGS-B", bounds=[tuple(np.log(TEMPERATURES)), SHIFTS])
    temperature, shift = float(np.exp(best.x[0])), float(best.x[1])
    _warn_at_limits(temperature, shift)
    return temperature, shift


def _check(y: np.ndarray, logits: np.ndarray, weights: np.ndarray | None = None) -> None:
    if y.shape != logits.shape or y.ndim != 1:
        raise ValueError(f"labels {y.shape} and logits {logits.shape} must be two vectors of one length")
    if not np.isfinite(logits).all():
        raise ValueError("logits must be finite")
    if weights is not None:
        counted = np.asarray(weights, np.float64)
        if counted.shape != y.shape or not np.isfinite(counted).all() or (counted < 0).any():
            raise ValueError(f"weights must be {len(y)} finite numbers of 0 or more")
        if not counted.any():
            raise ValueError("weights must not all be 0")


def _warn_at_limits(temperature: float, shift: float = 0.0) -> None:
    low, high = TEMPERATURES
    # The search ends a little before the end of its range.
    if temperature < 1.01 * low or temperature > high / 1.01:
        why = "the logits separate the labels" if temperature < 1 else "the logits say nothing of the labels"
        limit = low if temperature < 1 else high
        warnings.warn(f"the best temperature lies at its limit of {limit:g}: {why}", stacklevel=3)
    if abs(shift) > 0.99 * SHIFTS[1]:
        limit = float(np.copysign(SHIFTS[1], shift))
        warnings.warn(f"the best shift lies at its limit of {limit:g}", stacklevel=3)
