"""Figures for faces of one kind at a time: small or large, dark or light, blurred or sharp."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from ..utils.numeric import plain
from .metrics import Metric, bootstrap

# What faces are told apart by: unit, and the edges of the bins. The widths are the steps of dlib's pyramid,
# in which face boxes come; the others part the DFDC faces into bins of a useful size.
SLICES: dict[str, tuple[str, tuple[float, ...]]] = {
    "native width": ("px", (0, 108, 156, 224, np.inf)),
    "brightness": ("grey levels", (0, 60, 90, 120, 256)),
    "sharpness": ("squared grey levels", (0, 30, 75, 150, 300, np.inf)),
}
FIGURES = ("auc", "accuracy", "log_loss")
# Samples of fewer people are so alike that their interval would look narrow, or like a single point.
LEAST_GROUPS = 5
# scikit-learn clips probabilities like this before it takes their logarithm.
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
    """AUC, accuracy and log loss with intervals, for faces of one kind at a time.

    Parameters
    ----------
    features
        Name in :data:`SLICES` -> (N,) float64; faces where it is NaN are left out.

    Returns
    -------
    pandas.DataFrame
        Columns ``feature, unit, from, below, faces, fakes``, the figures, and ``note``: empty;
        ``n/a: one label`` where a slice has no face of one of the labels and so no figure; or ``no interval:
        n groups`` where it has fewer than :data:`LEAST_GROUPS`. Slices without any face have no row.
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
            alone = fakes in (0, len(inside))
            note = "n/a: one label" if alone else ""
            figures = dict.fromkeys(FIGURES, Metric(np.nan, np.nan, np.nan))
            if not alone:
                functions = fast_figures(y[inside], p[inside], threshold)
                own = np.arange(len(inside)) if groups is None else groups[inside]
                count = len(np.unique(own))
                enough = count >= LEAST_GROUPS
                note = "" if enough else f"no interval: {count} group{'s' * (count > 1)}"
                samples = resamples if enough else 0
                figures = bootstrap(functions, y[inside], groups=own, resamples=samples, seed=seed)
            for name, metric in figures.items():
                row |= columns_of(name, metric)
            rows.append(row | {"note": note})
    return pd.DataFrame(rows)


def fast_figures(y: np.ndarray, p: np.ndarray, threshold: float) -> dict[str, Callable[[np.ndarray], float]]:
    """The figures of slices, as functions of rows, with the values of scikit-learn's.

    Without its checks, which take ten times as long and would be made for every bootstrap sample.
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
    """Share of pairs (fake, real) in which the fake scores higher, ties half: Mann and Whitney's U."""
    from scipy.stats import rankdata

    fakes = int(y.sum())
    ranks = rankdata(p)[y == 1].sum()
    return float((ranks - fakes * (fakes + 1) / 2) / (fakes * (len(y) - fakes)))


def columns_of(name: str, metric: Metric) -> dict[str, float]:
    """A figure and its interval as three columns of a table."""
    return {name: metric.value, f"{name}_low": metric.low, f"{name}_high": metric.high}


def span_in_words(low: float, high: float) -> str:
    """A bin in words; its lower edge belongs to it."""
    if np.isinf(high):
        return f"{low:g} and over"
    return f"{low:g} to under {high:g}" if low else f"under {high:g}"


def plain_rows(table: pd.DataFrame) -> list[dict[str, Any]]:
    """Convert a table to plain JSON, one mapping per row, rounded to five decimal places."""
    return plain(table.to_dict("records"), digits=5)
