"""Thresholds and calibration: from logits of labelled faces to a temperature, a shift and a threshold."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np


class OperatingPoint(NamedTuple):
    """A threshold and what it does: shares of reals and of fakes that score at or above it, 0..1."""

    threshold: float
    false_alarm_rate: float
    hit_rate: float


def threshold_at(
    y_true: Sequence[int] | np.ndarray,
    y_score: Sequence[float] | np.ndarray,
    false_alarm_rate: float,
) -> OperatingPoint:
    """The threshold with the most hits among those that at most this share of reals reach.

    It is the lowest score that occurs above the highest real that must stay below; where no score is higher
    than that real, it is the next number above it, and the hit rate is 0. Reals with equal scores are
    called together, so ties may leave the rate below what is allowed, never above it.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake, both present. A threshold is best chosen on faces that are not judged with it.
    y_score
        (N,) finite, higher is more fake; a score at the threshold counts as fake.
    false_alarm_rate
        Share of reals, 0..1.

    Raises
    ------
    ValueError
        Lengths differ, one label alone or other ones, scores not finite, or a rate outside 0..1.
    """
    y, score = np.asarray(y_true), np.asarray(y_score, np.float64)
    if y.shape != score.shape or y.ndim != 1:
        raise ValueError(f"labels {y.shape} and scores {score.shape} must be two vectors of one length")
    if not set(np.unique(y)) <= {0, 1} or len(np.unique(y)) < 2:
        raise ValueError("labels must be 0 (real) and 1 (fake), with both present")
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite")
    if not 0 <= false_alarm_rate <= 1:
        raise ValueError(f"a false-alarm rate lies between 0 and 1, not {false_alarm_rate}")
    real, fake = np.sort(score[y == 0]), score[y == 1]
    # The small number keeps a rate such as 0.29 of 100 from being read as 28.999... faces.
    allowed = int(np.floor(false_alarm_rate * len(real) + 1e-9))
    if allowed >= len(real):
        threshold = score.min()
    else:
        below = real[len(real) - 1 - allowed]
        above = score[score > below]
        threshold = above.min() if len(above) else np.nextafter(below, np.inf)
    rates = (real >= threshold).mean(), (fake >= threshold).mean()
    return OperatingPoint(float(threshold), float(rates[0]), float(rates[1]))


def fit_temperature(y_true: np.ndarray, logits: np.ndarray) -> float:
    """The temperature that minimises the log loss of ``sigmoid(logits / temperature)``.

    Guo et al. 2017, "On Calibration of Modern Neural Networks". It does not change any ranking.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake; of faces that training has not seen.
    logits
        (N,) uncalibrated.
    """
    from scipy.optimize import minimize_scalar

    y, z = np.asarray(y_true, np.float64), np.asarray(logits, np.float64)

    def loss(log_temperature: float) -> float:
        scaled = z / np.exp(log_temperature)
        return float(np.mean(np.logaddexp(0, scaled) - y * scaled))

    best = minimize_scalar(loss, bounds=(np.log(0.05), np.log(20.0)), method="bounded")
    return float(np.exp(best.x))


def fit_calibration(y_true: np.ndarray, logits: np.ndarray) -> tuple[float, float]:
    """Temperature and shift that minimise the log loss of ``sigmoid((logits + shift) / temperature)``.

    Platt 1999, "Probabilistic Outputs for Support Vector Machines". The shift answers a model that leans to
    one label on people it has not seen, which no temperature can. Neither changes any ranking.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake; of faces that training has not seen, as many of each as is to be expected.
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
