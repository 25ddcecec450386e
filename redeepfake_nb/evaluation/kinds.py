"""Measures the AUC of each kind of fakes, generator by generator, against real faces.

One AUC over a mixed set hides what a model cannot detect: with many face swaps and few generated portraits it
looks fine for a model that predicts every generated portrait real. Here each generator's fakes are measured
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from ..models.tested_kinds import KindResult
from .metrics import Metric, bootstrap, check_labels, enough_groups, wilson_interval, with_share_interval
from .slices import auc_of, interval_columns

# Columns of a labelled set that say what a fake is and where a face comes from.
ORIGINS = ("kind", "generator", "source")
# The most groups of one column that a table of them can be read with.
MOST_VALUES = 30
# The fewest bootstrap samples whose 2.5th and 97.5th percentiles mean anything.
MIN_RESAMPLES = 100
_COLUMNS = [
    "origin", "value", "label", "faces",
    "predicted_fake", "predicted_fake_low", "predicted_fake_high", "auc", "auc_low", "auc_high",
]  # fmt: skip


def measure_kinds(
    y_true: Sequence[int] | np.ndarray,
    y_score: Sequence[float] | np.ndarray,
    kinds: Sequence[str] | np.ndarray,
    generators: Sequence[str] | np.ndarray,
    *,
    groups: Sequence[Any] | np.ndarray | None = None,
    against: str = "",
    trained_on: Collection[str] = (),
    resamples: int = 1000,
    seed: int = 0,
) -> list[KindResult]:
    """Measure the AUC of each generator's fakes against all real faces.

    Parameters
    ----------
    y_true
        (N,) 0 or 1, 1 is fake.
    y_score
        (N,) logits or P(fake); only their order counts.
    kinds
        (N,) the kind of each fake, a key of :data:`redeepfake_nb.models.tested_kinds.KINDS`; the entries of
        real faces are not read.
    generators
        (N,) what made each fake; likewise.
    groups
        (N,) whose face it is. Intervals resample whole groups, as in :func:`redeepfake_nb.evaluate`.
    against
        Where the real faces come from, for the record in the results.
    trained_on
        Generators whose fakes, other than these, were in the model's training data.
    resamples
        Bootstrap samples for the 95 % intervals; at least :data:`MIN_RESAMPLES`.
    seed
        Of the bootstrap.

    Returns
    -------
    list of KindResult
        In the order in which the pairs of kind and generator first occur. The interval is 0 to 1 where the
        fakes, or the real faces, are of fewer than :data:`~.metrics.MIN_GROUPS` groups. Where all bootstrap
        samples are alike, as for an AUC of 1, it is that of :func:`~.metrics.wilson_interval` for the number
        of groups of the label that has fewer.

    Raises
    ------
    ValueError
        Lengths differ, a score is not finite, there is no real or no fake face, a kind is not known, or there
        are too few ``resamples``.
    """
    y, score = np.asarray(y_true), np.asarray(y_score, np.float64)
    kind, generator = np.asarray(kinds, object), np.asarray(generators, object)
    if not y.shape == score.shape == kind.shape == generator.shape or y.ndim != 1:
        raise ValueError("labels, scores, kinds and generators must be four vectors of one length")
    check_labels(y)
    if groups is not None and len(groups) != len(y):
        raise ValueError(f"{len(groups)} groups for {len(y)} faces")
    if not np.isfinite(score).all():
        raise ValueError("scores must be finite")
    if resamples < MIN_RESAMPLES:
        raise ValueError(f"an interval needs {MIN_RESAMPLES} resamples or more, not {resamples}")
    real = np.flatnonzero(y == 0)
    fakes = np.flatnonzero(y == 1)
    results = []
    for pair in dict.fromkeys(zip(kind[fakes], generator[fakes], strict=True)):
        made = fakes[(kind[fakes] == pair[0]) & (generator[fakes] == pair[1])]
        rows = np.concatenate([real, made])
        own = None if groups is None else np.asarray(groups)[rows]
        auc = bootstrap(
            {"auc": auc_among(y[rows], score[rows], np.ones(len(rows), bool))},
            y[rows],
            groups=own,
            resamples=resamples,
            seed=seed,
        )["auc"]
        if not enough_groups(own, y[rows] == 0, y[rows] == 1):
            auc = Metric(auc.value, 0.0, 1.0)  # of so few people, anything may be true of others
        elif np.isnan(auc.low):
            # All samples are alike. The AUC is the share of pairs that are in order.
            people = np.arange(len(rows)) if own is None else own
            fewest = min(len(np.unique(people[y[rows] == label])) for label in (0, 1))
            auc = Metric(auc.value, *wilson_interval(auc.value, fewest))
        results.append(
            KindResult(
                kind=pair[0],
                generator=str(pair[1]),
                auc=round(auc.value, 4),
                # A small set's percentiles may leave out the value itself.
                low=round(min(auc.low, auc.value), 4),
                high=round(max(auc.high, auc.value), 4),
                fakes=len(made),
                reals=len(real),
                against=against,
                trained_on=pair[1] in trained_on,
            )
        )
    return results


def origin_table(
    table: pd.DataFrame,
    p: np.ndarray,
    *,
    threshold: float,
    by: Sequence[str] = (),
    groups: np.ndarray | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute how each source's and each kind's faces are scored: rate of faces predicted fake, and AUC.

    Parameters
    ----------
    table
        A labelled set's table, with ``label`` and any of the columns :data:`ORIGINS`.
    p
        (N,) P(fake), 0..1.
    by
        Further columns of the table, each value of which is a group of faces; see :func:`check_by`. Faces
        without a value belong to none.
    threshold, groups, resamples, seed
        As for :func:`redeepfake_nb.evaluate`.

    Returns
    -------
    pandas.DataFrame
        Columns ``origin`` (the column of the table), ``value``, ``label``, ``faces``; ``predicted_fake``,
        which is the false positive rate of real faces and the true positive rate of fakes; and ``auc`` of
        fakes against all real faces, NaN for real ones. Both with ``_low`` and ``_high`` of the 95 %
        interval, NaN where none was asked for, where the faces are of fewer than :data:`~.metrics.MIN_GROUPS`
        groups, and where a bootstrap sample holds no face of the row. Empty where the table has none of the
        columns.
    """
    y = (table["label"] == "FAKE").to_numpy().astype(np.int64)
    predicted = (p >= threshold).astype(np.float64)
    rows: list[dict[str, Any]] = []
    functions: dict[str, Callable[[np.ndarray], float]] = {}
    enough: list[tuple[bool, bool]] = []
    members_of: list[np.ndarray] = []
    for origin in [*(name for name in ORIGINS if name in table), *by]:
        known = table[table[origin].notna()]
        for (value, label), members in known.groupby([origin, "label"]).indices.items():
            member = np.zeros(len(table), bool)
            member[np.flatnonzero(table[origin].notna())[members]] = True
            row = {"origin": origin, "value": str(value), "label": label, "faces": int(member.sum())}
            functions[f"{len(rows)} predicted_fake"] = mean_of(predicted, member)
            if label == "FAKE":
                functions[f"{len(rows)} auc"] = auc_among(y, p, member | (y == 0))
            rows.append(row)
            members_of.append(member)
            enough.append((enough_groups(groups, member), enough_groups(groups, member, y == 0)))
    measured = bootstrap(functions, y, groups=groups, resamples=resamples, seed=seed)
    missing = Metric(np.nan, np.nan, np.nan)
    for i, (row, kept) in enumerate(zip(rows, enough, strict=True)):
        for name, of_enough in zip(("predicted_fake", "auc"), kept, strict=True):
            metric = measured.get(f"{i} {name}", missing)
            if name == "predicted_fake" and resamples:
                metric = with_share_interval(metric, groups, members_of[i])
            row |= interval_columns(name, metric if of_enough else metric.without_interval())
    return pd.DataFrame(rows, columns=_COLUMNS)


def check_by(by: Sequence[str], table: pd.DataFrame) -> None:
    """Check the columns of groups that somebody annotated, such as glasses or headwear.

    Raises
    ------
    ValueError
        A column is not there, is empty, has more than :data:`MOST_VALUES` values, or is named twice; or is
        one that every evaluation reports or resamples by.
    """
    for name in by:
        if name in {*ORIGINS, "label", "split", "file", "identity", "original"}:
            raise ValueError(f"{name} is no column of groups; name others, such as glasses or headwear")
        if name not in table:
            others = ", ".join(str(column) for column in table.columns)
            raise ValueError(f"there is no column {name} to group faces by; the table has {others}")
        if list(by).count(name) > 1:
            raise ValueError(f"the column {name} is named twice")
        values = table[name].nunique()
        if not 0 < values <= MOST_VALUES:
            raise ValueError(f"the column {name} has {values} values; groups need 1 to {MOST_VALUES}")


def mean_of(values: np.ndarray, member: np.ndarray) -> Callable[[np.ndarray], float]:
    """The mean over the members among the rows of a bootstrap sample; NaN where it holds none."""

    def mean(rows: np.ndarray) -> float:
        chosen = rows[member[rows]]
        return float(values[chosen].mean()) if len(chosen) else np.nan

    return mean


def auc_among(y: np.ndarray, score: np.ndarray, member: np.ndarray) -> Callable[[np.ndarray], float]:
    """The AUC over the members among the rows of a bootstrap sample; NaN where one label is missing."""

    def auc(rows: np.ndarray) -> float:
        chosen = rows[member[rows]]
        return auc_of(y[chosen], score[chosen]) if 0 < y[chosen].sum() < len(chosen) else np.nan

    return auc
