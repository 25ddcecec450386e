"""Measures the AUC of each kind of fakes, generator by generator, against real faces.

One AUC over a mixed set hides what a model cannot detect: with many face swaps and few generated portraits it
looks fine for a model that predicts every generated portrait real. Here each generator's fakes are measured
alone.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from ..models.tested_kinds import KindResult
from .metrics import bootstrap


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
        Bootstrap samples for the 95 % intervals; at least 1.

    Returns
    -------
    list of KindResult
        In the order in which the pairs of kind and generator first occur.

    Raises
    ------
    ValueError
        Lengths differ, there is no real or no fake face, a kind is not known, or ``resamples`` is under 1.
    """
    y, score = np.asarray(y_true), np.asarray(y_score, np.float64)
    kind, generator = np.asarray(kinds, object), np.asarray(generators, object)
    if not y.shape == score.shape == kind.shape == generator.shape or y.ndim != 1:
        raise ValueError("labels, scores, kinds and generators must be four vectors of one length")
    if not set(np.unique(y)) <= {0, 1} or len(np.unique(y)) < 2:
        raise ValueError("labels must be 0 (real) and 1 (fake), with both present")
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1, not {resamples}")
    real = np.flatnonzero(y == 0)
    fakes = np.flatnonzero(y == 1)
    results = []
    for pair in dict.fromkeys(zip(kind[fakes], generator[fakes], strict=True)):
        made = fakes[(kind[fakes] == pair[0]) & (generator[fakes] == pair[1])]
        rows = np.concatenate([real, made])
        auc = bootstrap(
            {"auc": _auc_of(y[rows], score[rows])},
            y[rows],
            groups=None if groups is None else np.asarray(groups, object)[rows].astype(str),
            resamples=resamples,
            seed=seed,
        )["auc"]
        results.append(
            KindResult(
                kind=pair[0],
                generator=str(pair[1]),
                auc=round(auc.value, 4),
                low=round(auc.low, 4),
                high=round(auc.high, 4),
                fakes=len(made),
                reals=len(real),
                against=against,
                trained_on=pair[1] in trained_on,
            )
        )
    return results


def _auc_of(y: np.ndarray, score: np.ndarray) -> Callable[[np.ndarray], float]:
    """Return the AUC as a function of the rows of a bootstrap sample."""
    from sklearn.metrics import roc_auc_score

    return lambda rows: float(roc_auc_score(y[rows], score[rows]))
