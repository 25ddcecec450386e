"""Metrics of scores against labels, with bootstrap intervals that resample whole persons."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..utils.numeric import plain

# Every metric of :func:`evaluate` in words, in the order of tables.
METRIC_WORDS = {
    "auc": "AUC",
    "average_precision": "average precision",
    "eer": "equal error rate (EER)",
    "accuracy": "accuracy at the threshold",
    "balanced_accuracy": "balanced accuracy at the threshold",
    "precision": "precision: share of true fakes among predicted fakes",
    "recall": "recall: share of fakes predicted fake",
    "f1": "F1: harmonic mean of precision and recall",
    "log_loss": "log loss",
    "brier": "Brier score",
    "ece": "calibration error (ECE)",
}
# Those that depend on calibration.
CALIBRATION_METRICS = ("log_loss", "brier", "ece")
# Those that a short table shows.
MAIN_METRICS = ("auc", "accuracy", "precision", "recall", "log_loss", "ece")
# Why a metric has no interval although there are bootstrap samples.
NO_INTERVAL = "no interval: the samples are alike, or it is undefined in some"
# With fewer groups, bootstrap samples are so alike that the interval would be too narrow.
MIN_GROUPS = 5


@dataclass(frozen=True)
class Metric:
    """A value and its 95 % interval.

    ``low`` and ``high`` are NaN where there is no interval, and ``value`` where the metric is not defined,
    such as the precision where no face is predicted fake.
    """

    value: float
    low: float
    high: float

    def without_interval(self) -> Metric:
        """Return the value alone."""
        return Metric(self.value, np.nan, np.nan)

    def __str__(self) -> str:
        if np.isnan(self.value):
            return "n/a"
        if np.isnan(self.low):
            return f"{self.value:.4f}"
        return f"{self.value:.4f} ({self.low:.4f} to {self.high:.4f})"


@dataclass(frozen=True)
class Metrics:
    """The result of :func:`evaluate`: ``metrics["auc"].value``; names as in :data:`METRIC_WORDS`.

    ``accuracy``, ``balanced_accuracy``, ``precision``, ``recall`` and ``f1`` depend on ``threshold``;
    ``auc``, ``average_precision`` and ``eer`` on the ranking alone; ``log_loss``, ``brier`` and ``ece``
    measure the probabilities. Where no face is predicted fake, ``precision`` and ``f1`` are NaN.

    Parameters
    ----------
    values
        Name -> metric.
    threshold
        Threshold on P(fake).
    count
        Number of faces.
    groups
        Number of groups that intervals resample.
    resamples
        Number of bootstrap samples; 0 where there are no intervals.
    """

    values: dict[str, Metric]
    threshold: float
    count: int
    groups: int
    resamples: int

    def __getitem__(self, name: str) -> Metric:
        return self.values[name]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: each metric as ``{"value", "low", "high"}``, rounded to five decimals."""
        return {
            "threshold": self.threshold,
            "faces": self.count,
            "groups": self.groups,
            "resamples": self.resamples,
            **plain(self.values, digits=5),
        }


def check_labels(y: np.ndarray) -> None:
    """Check that labels are 0 (real) and 1 (fake), with both present.

    Raises
    ------
    ValueError
        They are not.
    """
    if not set(np.unique(y)) <= {0, 1} or len(np.unique(y)) < 2:
        raise ValueError("labels must be 0 (real) and 1 (fake), with both present")


def evaluate(
    y_true: Sequence[int] | np.ndarray,
    y_score: Sequence[float] | np.ndarray,
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
    threshold: float = 0.5,
    resamples: int = 1000,
    seed: int = 0,
) -> Metrics:
    """Compute metrics of P(fake) against labels.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake.
    y_score
        (N,) P(fake), 0..1.
    groups
        (N,) person in each image. Intervals resample whole groups, because errors are correlated within a
        person; without groups each face is its own group, and intervals are too narrow.
    threshold
        Threshold on P(fake) for the metrics that need predicted labels; a score at the threshold is predicted
        fake.
    resamples
        Bootstrap samples for the 95 % percentile intervals; 0 for none. With fewer than :data:`MIN_GROUPS`
        groups there are none in any case.
    seed
        Of the bootstrap.

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
    check_labels(y)
    if not np.isfinite(p).all() or p.min() < 0 or p.max() > 1:
        raise ValueError("scores must be probabilities of fake, 0 to 1")
    y = y.astype(np.int64)
    members = _members(len(y), groups)
    if len(members) < MIN_GROUPS:
        resamples = 0

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
    """Compute metrics with 95 % percentile intervals, all from the same bootstrap samples of whole groups.

    There is no interval, and ``low`` and ``high`` are NaN, with fewer than :data:`MIN_GROUPS` groups; where
    all samples have the same value, such as an AUC of 1, since that does not make it certain; and where it is
    NaN in one of them.

    Parameters
    ----------
    functions
        Name -> function of (M,) int64 rows, in which a row may occur several times. A function of two
        models' scores on the same rows gives the interval of their difference.
    y
        (N,) 0 or 1, 1 is fake, with both present.
    groups, resamples, seed
        As for :func:`evaluate`.

    Returns
    -------
    dict
        Name -> metric.
    """
    samples: dict[str, list[float]] = {name: [] for name in functions}
    if len(_members(len(y), groups)) < MIN_GROUPS:
        resamples = 0
    for rows in resampled_rows(y, groups, resamples, seed):
        for name, function in functions.items():
            samples[name].append(function(rows))
    values = {}
    for name, function in functions.items():
        low, high = _percentiles(samples[name])
        values[name] = Metric(float(function(np.arange(len(y)))), float(low), float(high))
    return values


def _percentiles(samples: Sequence[float]) -> tuple[float, float]:
    """Return the 2.5th and the 97.5th percentile; NaN where all samples are alike, or some are NaN."""
    if not samples or not np.ptp(samples) > 0:
        return np.nan, np.nan
    low, high = np.percentile(samples, [2.5, 97.5])
    return float(low), float(high)


def wilson_interval(share: float, count: int) -> tuple[float, float]:
    """Return the 95 % interval of a share, 0..1, of ``count`` independent cases, 1 or more.

    Wilson 1927, "Probable Inference, the Law of Succession, and Statistical Inference". Unlike the
    bootstrap's, it has a width for shares of 0 and 1.
    """
    squared = 1.96**2 / count
    middle, half = share + squared / 2, np.sqrt(squared * (share * (1 - share) + squared / 4))
    low, high = (middle - half) / (1 + squared), (middle + half) / (1 + squared)
    return max(0.0, float(low)), min(1.0, float(high))


def with_share_interval(
    metric: Metric, groups: Sequence[Any] | np.ndarray | None, rows: np.ndarray
) -> Metric:
    """Give a share of 0 or 1, whose bootstrap samples are alike, the Wilson interval for its groups.

    Parameters
    ----------
    metric
        The share of ``rows`` of something.
    groups
        (N,) as for :func:`evaluate`.
    rows
        (M,) int64 or (N,) bool: the faces among which the share was taken.
    """
    if metric.value not in (0, 1):
        return metric
    own = np.flatnonzero(rows) if rows.dtype == bool else rows
    count = len(own) if groups is None else len(np.unique(np.asarray(groups)[own]))
    return Metric(metric.value, *wilson_interval(metric.value, count))


def resampled_rows(
    y: np.ndarray, groups: Sequence[Any] | np.ndarray | None, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    """Yield the rows of each bootstrap sample: groups drawn with replacement, with all their rows.

    Samples with only one label, which occur with few small groups, are skipped, because they have no AUC.
    """
    for chosen in _resampled_groups(len(y), groups, resamples, seed):
        if 0 < y[chosen].sum() < len(chosen):
            yield chosen


def _resampled_groups(
    count: int, groups: Sequence[Any] | np.ndarray | None, resamples: int, seed: int
) -> Iterator[np.ndarray]:
    members = _members(count, groups)
    rng = np.random.default_rng(seed)
    for _ in range(resamples):
        yield np.concatenate([members[g] for g in rng.integers(0, len(members), len(members))])


def share_with_interval(
    chosen: np.ndarray,
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Metric:
    """Compute the share of faces that are chosen, with its 95 % interval.

    It is a percentile interval as :func:`bootstrap`'s; for a share of 0 or 1 it is that of
    :func:`wilson_interval` for the number of groups.

    Parameters
    ----------
    chosen
        (N,) bool, N above 0: for example, which real faces are predicted fake.
    groups, resamples, seed
        As for :func:`evaluate`.
    """
    if len(_members(len(chosen), groups)) < MIN_GROUPS:
        resamples = 0
    samples = [chosen[rows].mean() for rows in _resampled_groups(len(chosen), groups, resamples, seed)]
    found = Metric(float(chosen.mean()), *_percentiles(samples))
    return with_share_interval(found, groups, np.arange(len(chosen))) if samples else found


def enough_groups(groups: Sequence[Any] | np.ndarray | None, *members: np.ndarray) -> bool:
    """Whether each of several sets of rows, (N,) bool, holds :data:`MIN_GROUPS` groups for an interval."""
    own = np.arange(len(members[0])) if groups is None else np.asarray(groups)
    return all(len(np.unique(own[member])) >= MIN_GROUPS for member in members)


def _members(count: int, groups: Sequence[Any] | np.ndarray | None) -> list[np.ndarray]:
    """Return the rows of each group; without groups each row is its own group."""
    if groups is None:
        return list(np.arange(count)[:, None])
    labels = np.unique(np.asarray(groups), return_inverse=True)[1]
    if len(labels) != count:
        raise ValueError(f"{len(labels)} groups for {count} faces")
    order = np.argsort(labels, kind="stable")
    return np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)


def _functions(threshold: float) -> dict[str, Callable[[np.ndarray, np.ndarray], float]]:
    from sklearn import metrics as sk

    def at_threshold(function: Callable) -> Callable[[np.ndarray, np.ndarray], float]:
        return lambda y, p: function(y, p >= threshold)

    def if_predicted(function: Callable) -> Callable[[np.ndarray, np.ndarray], float]:
        return lambda y, p: function(y, p >= threshold) if (p >= threshold).any() else np.nan

    return {
        "accuracy": at_threshold(sk.accuracy_score),
        "balanced_accuracy": at_threshold(sk.balanced_accuracy_score),
        "precision": if_predicted(sk.precision_score),
        "recall": at_threshold(sk.recall_score),
        "f1": if_predicted(sk.f1_score),
        "auc": sk.roc_auc_score,
        "average_precision": sk.average_precision_score,
        "eer": equal_error_rate,
        "log_loss": sk.log_loss,
        "brier": sk.brier_score_loss,
        "ece": expected_calibration_error,
    }


def equal_error_rate(y: np.ndarray, p: np.ndarray) -> float:
    """Return the error at the threshold where false positive and false negative rate are equal, 0..1.

    Interpolated linearly between the two points of the ROC curve where their difference changes sign.
    """
    from sklearn.metrics import roc_curve

    fpr, tpr, _ = roc_curve(y, p, drop_intermediate=False)
    difference = fpr - (1 - tpr)
    i = int(np.argmax(difference >= 0))
    if i == 0:
        return float(fpr[0])
    a, b = difference[i - 1], difference[i]
    share = -a / (b - a)
    return float(fpr[i - 1] + share * (fpr[i] - fpr[i - 1]))


def expected_calibration_error(y: np.ndarray, p: np.ndarray, bins: int = 15) -> float:
    """Return the mean gap between P(fake) and the share of fakes, over equal-width bins weighted by size.

    Naeini, Cooper and Hauskrecht 2015, "Obtaining Well Calibrated Probabilities Using Bayesian Binning".
    """
    index = np.minimum((p * bins).astype(int), bins - 1)
    count = np.bincount(index, minlength=bins)
    gap = np.abs(np.bincount(index, p, bins) - np.bincount(index, y, bins))
    return float(gap[count > 0].sum() / len(y))
