"""Several methods on one face, side by side: where each looks, how far they agree, what they cost."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import cv2
import numpy as np
import pandas as pd

from ..models.classifier import Classifier
from ..models.prediction import Prediction
from .heatmaps import Explanation, explain, split_network
from .methods import METHODS, Target, checked_choice, default_layer

# Heatmaps are compared on this many cells a side, so that the fine grain of some methods does not count as
# disagreement about the place.
CELLS = 32

Scores = float | Mapping[str, float]


@dataclass(frozen=True, eq=False)
class MethodComparison:
    """Heatmaps of one prediction by several methods.

    Parameters
    ----------
    explanations
        One per method, all of the same prediction and target.
    seconds
        How long each took, once the network was compiled.
    agreement
        (M, M) float64, Spearman's rank correlation between the heatmaps, -1..1, on 32 x 32 cells; NaN where
        one of them is even or empty.
    scores
        Method -> name -> figure, for what else was measured of each, such as its faithfulness.
    """

    explanations: tuple[Explanation, ...]
    seconds: tuple[float, ...]
    agreement: np.ndarray = field(repr=False)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        count = len(self.explanations)
        if len(self.seconds) != count or self.agreement.shape != (count, count):
            raise ValueError(
                f"{count} explanations, but {len(self.seconds)} times and agreement of {self.agreement.shape}"
            )
        for method in self.scores:
            checked_choice("method", method, self.methods)

    @property
    def methods(self) -> tuple[str, ...]:
        """Their names, in order."""
        return tuple(e.method for e in self.explanations)

    @property
    def prediction(self) -> Prediction:
        """What is explained."""
        return self.explanations[0].prediction

    @property
    def target(self) -> Target:
        """For whom the heatmaps speak."""
        return self.explanations[0].target

    @property
    def table(self) -> pd.DataFrame:
        """One row per method.

        Columns: ``method``; ``layer``; ``peak`` in the method's own units, not to be compared between
        methods; ``peak_x`` and ``peak_y``, where it lies, 0..1 of the crop's width and height (NaN where
        there is none); ``region``, the part of the face that stands out (None where none does or landmarks
        are missing); ``agreement``, mean rank correlation with the other methods; ``seconds``; and whatever
        :attr:`scores` holds.
        """
        rows = []
        for i, (e, seconds) in enumerate(zip(self.explanations, self.seconds, strict=True)):
            others = np.delete(self.agreement[i], i)
            others = others[np.isfinite(others)]
            x, y = peak_place(e)
            rows.append(
                {
                    "method": e.method,
                    "layer": e.layer,
                    "peak": e.peak,
                    "peak_x": x,
                    "peak_y": y,
                    "region": e.regions.strongest,
                    "agreement": float(others.mean()) if len(others) else float("nan"),
                    "seconds": seconds,
                    **self.scores.get(e.method, {}),
                }
            )
        table = pd.DataFrame(rows)
        # As objects, or None would become NaN among words.
        table["region"] = pd.Series([row["region"] for row in rows], dtype=object)
        return table

    def with_scores(self, scores: Mapping[str, Scores], name: str = "score") -> MethodComparison:
        """The same with one more column for each name in ``scores``, which are kept besides those there.

        Parameters
        ----------
        scores
            Method -> figure, or method -> {name: figure}. Methods may be missing.
        name
            What plain figures are called.

        Raises
        ------
        UnknownChoice
            A method that is not compared here.
        """
        joined = {method: dict(known) for method, known in self.scores.items()}
        for method, given in scores.items():
            named = given if isinstance(given, Mapping) else {name: given}
            joined.setdefault(method, {}).update({key: float(value) for key, value in named.items()})
        return replace(self, scores=joined)


def compare_explanations(
    classifier: Classifier,
    prediction: Prediction,
    methods: Sequence[str] = tuple(METHODS),
    target: Target = "fake",
    layer: str | None = None,
    *,
    measure: Callable[[Explanation], Scores] | None = None,
) -> MethodComparison:
    """Explain one score by several methods.

    Methods that agree are not thereby right, as most of them read the same map; but where they disagree, the
    heatmap says more of the method than of the face.

    Parameters
    ----------
    classifier, prediction, target, layer
        See :func:`redeepfake_nb.explain`. Without a layer each method takes its own default.
    methods
        Different ones out of ``gradcam``, ``gradcam++``, ``layercam``, ``scorecam`` and ``saliency``.
    measure
        Called with each explanation; the figure it returns, or figures by name, join the table.

    Returns
    -------
    MethodComparison

    Raises
    ------
    UnknownChoice
        See :func:`redeepfake_nb.explain`.
    ValueError
        No method, or one twice.
    """
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    if not methods or len(set(methods)) < len(methods):
        raise ValueError(f"methods are one or more different names, not {methods!r}")
    for method in methods:
        checked_choice("method", method, METHODS)
    for method in methods:
        # So that the times have no compilation in them.
        split_network(classifier, layer or default_layer(classifier, method)).prepare(method)
    explanations, seconds = [], []
    for method in methods:
        start = time.perf_counter()
        explanations.append(explain(classifier, prediction, method, target, layer))
        seconds.append(time.perf_counter() - start)
    found = MethodComparison(
        tuple(explanations), tuple(seconds), rank_correlations([e.heatmap for e in explanations])
    )
    if measure is None:
        return found
    return found.with_scores({e.method: measure(e) for e in explanations})


def rank_correlations(heatmaps: Sequence[np.ndarray]) -> np.ndarray:
    """Spearman's rank correlation between heatmaps of one crop, averaged to at most 32 x 32 cells.

    Parameters
    ----------
    heatmaps
        M arrays (h, w) float.

    Returns
    -------
    numpy.ndarray
        (M, M) float64, symmetric, 1 on the diagonal; NaN in the rows and columns of heatmaps that are the
        same everywhere, which put no place before another.
    """
    height, width = heatmaps[0].shape
    size = (min(width, CELLS), min(height, CELLS))
    cells = [cv2.resize(h, size, interpolation=cv2.INTER_AREA).ravel() for h in heatmaps]
    ranks = pd.DataFrame(np.stack(cells).astype(np.float64)).rank(axis=1).to_numpy()
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=1))
    length[length == 0] = np.nan
    found = ranks @ ranks.T / np.outer(length, length)
    return np.clip(found, -1, 1)


def peak_place(explanation: Explanation) -> tuple[float, float]:
    """Where a heatmap is hottest: x, y as shares of the crop's width and height, NaN where it is empty."""
    if explanation.empty:
        return float("nan"), float("nan")
    height, width = explanation.heatmap.shape
    # The first of several: the middle of two plateaus would lie on neither.
    row, column = divmod(int(explanation.heatmap.argmax()), width)
    return (column + 0.5) / width, (row + 0.5) / height
