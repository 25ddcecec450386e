"""Metrics per slice of the faces: by native width, brightness, sharpness and skin tone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ..utils.numeric import plain
from .metrics import MIN_GROUPS, NO_INTERVAL, Metric, bootstrap, share_with_interval

# Feature -> unit, and edges of its bins. Widths are the steps of dlib's image pyramid, in which face boxes
# come; brightness and sharpness divide the DFDC faces into bins of useful sizes; skin tones are the six
# classes of the individual typology angle, see redeepfake_nb.faces.skin_tone.
SLICES: dict[str, tuple[str, tuple[float, ...]]] = {
    "native width": ("px", (0, 108, 156, 224, np.inf)),
    "brightness": ("grey levels", (0, 60, 90, 120, 256)),
    "sharpness": ("squared grey levels", (0, 30, 75, 150, 300, np.inf)),
    "skin tone": ("degrees", (-90, -30, 10, 28, 41, 55, 91)),
}
SLICE_METRICS = ("auc", "accuracy", "log_loss")
# Also given for slices without fakes.
FALSE_POSITIVES = "false_positive_rate"
# scikit-learn clips probabilities like this before taking their logarithm.
_EPSILON = np.finfo(np.float64).eps


def slice_table(
    y: np.ndarray,
    p: np.ndarray,
    features: Mapping[str, np.ndarray],
    *,
    groups: np.ndarray | None = None,
    threshold: float = 0.5,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute AUC, accuracy, log loss and false positive rate with intervals for each slice.

    The false positive rate, the share of real faces that are predicted fake, tells whether the model accuses
    some people more often than others.

    Parameters
    ----------
    y
        (N,) 0 or 1, 1 is fake.
    p
        (N,) P(fake), 0..1.
    features
        Name in :data:`SLICES` -> (N,) float64; faces where it is NaN are left out.
    groups, threshold, resamples, seed
        As for :func:`redeepfake_nb.evaluate`.

    Returns
    -------
    pandas.DataFrame
        Columns ``feature, unit, from, below, faces, fakes``, the metrics, ``false_positive_rate`` (NaN
        without real faces), and ``note``: empty; ``n/a: one label`` where a slice lacks one of the labels and
        so has no other metric; ``no interval: n groups`` where it has fewer than
        :data:`~.metrics.MIN_GROUPS`; or :data:`~.metrics.NO_INTERVAL` where its AUC has none. Slices without
        any face have no row.
    """
    rows: list[dict[str, Any]] = []
    for feature, values in features.items():
        unit, edges = SLICES[feature]
        for low, high in pairwise(edges):
            inside = np.flatnonzero((values >= low) & (values < high))
            if not len(inside):
                continue
            fakes = int(y[inside].sum())
            row = {"feature": feature, "unit": unit, "from": low, "below": high}
            row |= {"faces": len(inside), "fakes": fakes}
            one_label = fakes in (0, len(inside))
            note = "n/a: one label" if one_label else ""
            metrics = dict.fromkeys(SLICE_METRICS, Metric(np.nan, np.nan, np.nan))
            if not one_label:
                functions = metric_functions(y[inside], p[inside], threshold)
                own = np.arange(len(inside)) if groups is None else groups[inside]
                count = len(np.unique(own))
                note = "" if count >= MIN_GROUPS else f"no interval: {count} group{'s' * (count > 1)}"
                metrics = bootstrap(functions, y[inside], groups=own, resamples=resamples, seed=seed)
                if not note and resamples and np.isnan(metrics["auc"].low):
                    note = NO_INTERVAL
            metrics[FALSE_POSITIVES] = _false_positives(
                inside[y[inside] == 0], p >= threshold, groups, resamples, seed
            )
            for name, metric in metrics.items():
                row |= interval_columns(name, metric)
            rows.append(row | {"note": note})
    return pd.DataFrame(rows)


def _false_positives(
    real: np.ndarray, predicted_fake: np.ndarray, groups: np.ndarray | None, resamples: int, seed: int
) -> Metric:
    """Measure the share of the rows ``real`` that are predicted fake; NaN where there are none."""
    if not len(real):
        return Metric(np.nan, np.nan, np.nan)
    own = None if groups is None else groups[real]
    return share_with_interval(predicted_fake[real], groups=own, resamples=resamples, seed=seed)


def metric_functions(
    y: np.ndarray, p: np.ndarray, threshold: float
) -> dict[str, Callable[[np.ndarray], float]]:
    """Return the metrics of slices as functions of rows, equal to scikit-learn's.

    They skip its checks, which take ten times as long and would be repeated for every bootstrap sample.
    """
    correct = ((p >= threshold) == y).astype(np.float64)
    clipped = p.clip(_EPSILON, 1 - _EPSILON)
    loss = -np.where(y == 1, np.log(clipped), np.log1p(-clipped))
    return {
        "auc": lambda rows: auc_of(y[rows], p[rows]),
        "accuracy": lambda rows: float(correct[rows].mean()),
        "log_loss": lambda rows: float(loss[rows].mean()),
    }


def auc_of(y: np.ndarray, p: np.ndarray) -> float:
    """Return the share of (fake, real) pairs in which the fake scores higher, ties half: Mann-Whitney U."""
    from scipy.stats import rankdata

    fakes = int(y.sum())
    ranks = rankdata(p)[y == 1].sum()
    return float((ranks - fakes * (fakes + 1) / 2) / (fakes * (len(y) - fakes)))


def interval_columns(name: str, metric: Metric) -> dict[str, float]:
    """Return a metric and its interval as three columns of a table."""
    return {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high}


def format_range(low: float, high: float) -> str:
    """Write a bin in words; its lower edge is inclusive."""
    if np.isinf(high):
        return f"{low:g} and over"
    return f"{low:g} to under {high:g}" if low else f"under {high:g}"


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert a table to plain JSON, one mapping per row, rounded to five decimal places."""
    return plain(table.to_dict("records"), digits=5)
