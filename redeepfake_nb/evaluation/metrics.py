"""How good scores are, with intervals that know that faces of one person are not independent."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..utils.numeric import plain


@dataclass(frozen=True)
class Metric:
    """A value and its bootstrap interval; ``low`` and ``high`` are NaN where none was asked for."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.low):
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True)
class Metrics:
    """What :func:`evaluate` measures, as ``metrics["auc"].value``.

    ``accuracy``, ``balanced_accuracy``, ``precision``, ``recall`` and ``f1`` hold at ``threshold``; ``auc``,
    ``average_precision`` and ``eer`` need none; ``log_loss``, ``brier`` and ``ece`` judge the probabilities.
    """

    values: dict[str, Metric]
    threshold: float
    count: int
    groups: int
    resamples: int

    def __getitem__(self, name: str) -> Metric:
        return self.values[name]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: each metric as ``{"value", "low", "high"}``, rounded to five places."""
        return {
            "threshold": self.threshold,
            "faces": self.count,
            "groups": self.groups,
            "resamples": self.resamples,
            **plain(self.values, digits=5),
        }


def evaluate(
    y_true: Sequence[int] | np.ndarray,
    y_score: Sequence[float] | np.ndarray,
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
    threshold: float = 0.5,
    resamples: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Judge probabilities against labels.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake.
    y_score
        (N,) P(fake), 0..1.
    groups
        (N,) who is on the picture. Intervals resample whole groups, since mistakes come by person; without
        groups each face counts as its own, and intervals are too narrow.
    threshold
        Cut on P(fake) for the metrics that need labels; a score at the threshold counts as fake.
    resamples
        Bootstrap samples for the 95 % percentile intervals; 0 for none.

    Returns
    -------
    Metrics

    Raises
    ------
    ValueError
        Lengths differ, labels other than 0 and 1, only one label, or scores outside 0..1.
    """
    y, p = np.asarray(y_true), np.asarray(y_score, np.float64)
    if y.shape != p.shape or y.ndim != 1:
        raise ValueError(f"labels {y.shape} and scores {p.shape} must be two vectors of one length")
    if not set(np.unique(y)) <= {0, 1} or len(np.unique(y)) < 2:
        raise ValueError("labels must be 0 (real) and 1 (fake), with both present")
    if not np.isfinite(p).all() or p.min() < 0 or p.max() > 1:
        raise ValueError("scores must be probabilities of fake, 0 to 1")
    y = y.astype(np.int64)
    members = _members(len(y), groups)

    def of_rows(function: Callable[[np.ndarray, np.ndarray], float]) -> Callable[[np.ndarray], float]:
        return lambda rows: function(y[rows], p[rows])

    functions = {name: of_rows(function) for name, function in _functions(threshold).items()}
    values = bootstrap(functions, y, groups=groups, resamples=resamples, seed=seed)
    return Metrics(values, threshold, len(y), len(members), resamples)


def bootstrap(
    functions: Mapping[str, Callable[[np.ndarray], float]],
    y: np.ndarray,
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Metric]:
    """Figures with 95 % percentile intervals, all from the same samples of whole groups.

    Parameters
    ----------
    functions
        Name -> function of (M,) int64 rows, in which a row may occur several times. A function of two
        models' scores on the same rows gives the interval of their difference.
    y
        (N,) 0 or 1, 1 is fake, with both present.
    groups, resamples, seed
        As for :func:`evaluate`.
    """
    samples: dict[str, list[float]] = {name: [] for name in functions}
    for rows in resampled_rows(y, groups, resamples, seed):
        for name, function in functions.items():
            samples[name].append(function(rows))
    values = {}
    for name, function in functions.items():
        low, high = np.percentile(samples[name], [2.5, 97.5]) if samples[name] else (np.nan, np.nan)
        values[name] = Metric(float(function(np.arange(len(y)))), float(low), float(high))
    return values


def resampled_rows(
    y: np.ndarray, groups: Sequence[Any] | np.ndarray | None, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """Rows of bootstrap samples: as many groups as there are, drawn with replacement, with all their rows.

    Samples with one label alone are left out, since they have no AUC; few small groups can give one.
    """
    members = _members(len(y), groups)
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        chosen = np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])
        if 0 < y[chosen].sum() < len(chosen):
            yield chosen


def _members(count: int, groups: Sequence[Any] | np.ndarray | None) -> list[np.ndarray]:
    """The rows of each group; without groups each row is its own."""
    if groups is None:
        return list(np.arange(count)[:, None])
    labels = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(labels) != count:
        raise ValueError(f"{len(labels)} groups for {count} faces")
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _functions(threshold: float) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    from sklearn import metrics as sk

    def at_threshold(function: Callable, **options: Any) -> Callable[[np.ndarray, np.ndarray], float]:
        return lambda y, p: function(y, p >= threshold, **options)

    return {
        "accuracy": at_threshold(sk.accuracy_score),
        "balanced_accuracy": at_threshold(sk.balanced_accuracy_score),
        "precision": at_threshold(sk.precision_score, zero_division=0.0),
        "recall": at_threshold(sk.recall_score),
        "f1": at_threshold(sk.f1_score),
        "auc": sk.roc_auc_score,
        "average_precision": sk.average_precision_score,
        "eer": equal_error_rate,
        "log_loss": sk.log_loss,
        "brier": sk.brier_score_loss,
        "ece": expected_calibration_error,
    }


def equal_error_rate(y: np.ndarray, p: np.ndarray) -> float:
    """Error at the threshold where as many reals are called fake as fakes real, 0..1.

    Linear between the two points of the ROC curve where the difference changes sign.
    """
    from sklearn.metrics import roc_curve

    false_alarm, hit, _ = roc_curve(y, p, drop_intermediate=False)
    difference = false_alarm - (1 - hit)
    i = int(np.argmax(difference >= 0))
    if i == 0:
        return float(false_alarm[0])
    a, b = difference[i - 1], difference[i]
    share = -a / (b - a)
    return float(false_alarm[i - 1] + share * (false_alarm[i] - false_alarm[i - 1]))


def expected_calibration_error(y: np.ndarray, p: np.ndarray, bins: int = 15) -> float:
    """Mean gap between P(fake) and the share of fakes, over equally wide bins, weighted by their faces.

    Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning".
    """
    index = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    gap = np.abs(np.bincount(index, p, bins) - np.bincount(index, y, bins))
    return float(gap[count > 0].sum() / len(y))
