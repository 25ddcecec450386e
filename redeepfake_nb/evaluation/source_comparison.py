"""Compares classifiers source by source: a mean over a mixed set hides which kinds one of them misses."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces
from ..models.classifier import Classifier
from ..utils.jobs import Progress
from ..utils.numeric import probability
from .kinds import ORIGINS, auc_among, mean_of
from .metrics import Metric, bootstrap, enough_groups, with_share_interval
from .scoring import group_column, score_all
from .slices import interval_columns


def compare_sources(
    classifiers: Mapping[str, Classifier],
    faces: LabelledFaces,
    *,
    by: str = "source",
    against: Mapping[str, Sequence[str]] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Compare classifiers on each source's fakes and on each source's real faces.

    Each classifier is calibrated with its own temperature and used at its own threshold.

    Parameters
    ----------
    classifiers
        Name -> classifier; the others are compared with the first.
    faces
        With the column ``by``.
    by
        ``"source"``, ``"kind"`` or ``"generator"``.
    against
        Value of ``by`` -> values of the column ``source`` whose real faces its fakes are compared with. All
        real faces where it is not listed.
    resamples, seed
        Bootstrap samples for the 95 % intervals, of whole people where they are known.
    progress
        Called with the number of faces scored and their total.

    Returns
    -------
    pandas.DataFrame
        One row per value, label and model, with the columns ``value, label, model, faces``;
        ``predicted_fake``, the share of the faces that is predicted fake; and for fakes ``auc`` and, for the
        models after the first, ``auc_difference``: the AUC minus the first model's on the same bootstrap
        samples. Each with ``_low`` and ``_high`` of its interval, NaN where there is none, where the faces
        are of fewer than :data:`~.metrics.MIN_GROUPS` groups, and where a bootstrap sample holds no face of
        the row.

    Raises
    ------
    ValueError
        No classifier, no such column, or no real faces to compare a value's fakes with.
    """
    if not classifiers:
        raise ValueError("compare_sources needs at least one classifier")
    if by not in ORIGINS or by not in faces.table:
        raise ValueError(f"by must be a column of the table among {', '.join(ORIGINS)}, not {by!r}")
    scores = score_all(list(classifiers.values()), faces, progress)
    table, y = scores.faces.table, scores.faces.y
    column = group_column(scores.faces)
    groups = None if column is None else table[column].to_numpy()
    rows: list[dict[str, Any]] = []
    functions: dict[str, Callable[[np.ndarray], float]] = {}
    # Whether the faces of a row, and these and those they are compared with, are of enough people.
    enough: list[tuple[bool, bool]] = []
    members_of: list[np.ndarray] = []
    for (value, label), members in table.groupby([by, "label"], sort=False).indices.items():
        own = np.zeros(len(y), bool)
        own[members] = True
        compared = own if label == "REAL" else own | _reals(table, y, str(value), against)
        first = None
        for (name, classifier), logits in zip(classifiers.items(), scores.logits, strict=True):
            p = probability(logits, classifier.temperature)
            key = len(rows)
            functions[f"{key} predicted_fake"] = mean_of((p >= classifier.threshold).astype(np.float64), own)
            if label == "FAKE":
                auc = auc_among(y, p, compared)
                functions[f"{key} auc"] = auc
                if first is None:
                    first = auc
                else:
                    functions[f"{key} auc_difference"] = _difference(auc, first)
            rows.append({"value": value, "label": label, "model": name, "faces": int(own.sum())})
            members_of.append(own)
            enough.append((enough_groups(groups, own), enough_groups(groups, own, compared & (y == 0))))
    measured = bootstrap(functions, y, groups=groups, resamples=resamples, seed=seed)
    for key, (row, (of_own, of_both)) in enumerate(zip(rows, enough, strict=True)):
        for name in ("predicted_fake", "auc", "auc_difference"):
            metric = measured.get(f"{key} {name}", Metric(np.nan, np.nan, np.nan))
            kept = of_own if name == "predicted_fake" else of_both
            if name == "predicted_fake" and resamples:
                metric = with_share_interval(metric, groups, members_of[key])
            row |= interval_columns(name, metric if kept else metric.without_interval())
    return pd.DataFrame(rows)


def _difference(
    auc: Callable[[np.ndarray], float], other: Callable[[np.ndarray], float]
) -> Callable[[np.ndarray], float]:
    return lambda rows: auc(rows) - other(rows)


def _reals(
    table: pd.DataFrame, y: np.ndarray, value: str, against: Mapping[str, Sequence[str]] | None
) -> np.ndarray:
    """Return which rows are real faces that a value's fakes are compared with, (N,) bool."""
    real = y == 0
    if against is not None and value in against:
        real = real & table["source"].isin(list(against[value])).to_numpy()
    if not real.any():
        raise ValueError(f"there are no real faces to compare the fakes of {value} with")
    return real
