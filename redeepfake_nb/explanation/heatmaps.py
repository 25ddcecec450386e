"""Where on the face the evidence lies: heatmaps of the logit, laid on the crop's own pixels."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property

import cv2
import numpy as np
import pandas as pd

from ..faces.preprocessing import frame_to_input, preprocess
from ..models.classifier import Classifier
from ..models.prediction import Prediction
from .methods import METHODS, SplitNetwork, Target, checked_choice, default_layer
from .regions import Regions, sum_regions


@dataclass(frozen=True, eq=False)
class Explanation:
    """A heatmap of one prediction.

    Parameters
    ----------
    prediction
        What is explained.
    heatmap
        (h, w) float32, 0..1, on the pixels of ``prediction.face.crop(margin)``: how much each place speaks
        for the target, as a share of the peak.
    method, target, layer
        How it was made, for whom it speaks (``"fake"`` or ``"real"``), and the layer it was taken from.
    peak
        Largest value of the map before it was divided by it, in the method's own units. 0 means that
        nothing on the face speaks for the target; the heatmap is then all zero and must not be read.
    margin
        The crop margin of the pixels that the heatmap lies on.
    """

    prediction: Prediction
    heatmap: np.ndarray = field(repr=False)
    method: str
    target: Target
    layer: str
    peak: float
    margin: float

    @property
    def empty(self) -> bool:
        """Whether nothing speaks for the target."""
        return self.peak <= 0

    @property
    def missed(self) -> bool:
        """Whether the score speaks for the target and the method finds no place that does.

        Grad-CAM averages gradients over the map. Where a network does not, as where it flattens its map, what
        counts in one place may be averaged away, and an empty heatmap says nothing about the face.
        """
        return self.empty and self.prediction.label() == self.target

    @cached_property
    def regions(self) -> Regions:
        """The heatmap summed over the parts of the face; see :class:`Regions`."""
        return sum_regions(self.heatmap, self.prediction.face, self.margin, self.target)

    @property
    def title(self) -> str:
        """Method, target, layer and peak, for a figure's title."""
        peak = "no positive evidence" if self.empty else f"peak {self.peak:.3g}"
        if self.missed:
            peak = f"finds no place, though the score says {self.target}; try another method"
        return f"{self.method} for {self.target} at {self.layer}, {peak}"


def explain(
    classifier: Classifier,
    predictions: Prediction | Sequence[Prediction],
    method: str = "gradcam",
    target: Target = "fake",
    layer: str | None = None,
) -> Explanation | list[Explanation]:
    """Explain scores.

    The logit is explained, not the probability, whose gradient vanishes where the model is sure. Where a
    model scores a face with its mirror image, so is the explanation: the mean of both, cut at 0 afterwards.

    ``"gradcam"``
        Maps weighed by their mean gradient (Selvaraju et al. 2017). Where the network behind the layer is but
        an average and a linear output, the map accounts for all of the score.
    ``"gradcam++"``
        The same with weights that count positive gradients only (Chattopadhay et al. 2018).
    ``"layercam"``
        Each place weighed by its own positive gradient (Jiang et al. 2021); for early layers, too.
    ``"scorecam"``
        No gradients: a map's weight is what the picture, seen through that map as a mask over black, adds to
        the logit of a black picture (Wang et al. 2020). Weights keep their sign and go through no softmax, so
        that what speaks for the other side is not counted. Only the maps that vary most over the face are
        tried, :data:`redeepfake_nb.explanation.methods.MAPS_TRIED` of them.
    ``"saliency"``
        The pixels' own gradient (Simonyan et al. 2014), averaged over noisy copies (SmoothGrad, Smilkov et
        al. 2017; the same noise each time), times how far the pixel is above black, summed over the colours:
        the part of the logit that a pixel accounts for to first order, averaged to at most 32 x 32 cells.
        Dark places get little by construction. At another layer, the same of its map.

    Gradients are taken by tf-keras-vis on the part of the network behind ``layer``; both parts are compiled
    once for each model and layer.

    Parameters
    ----------
    classifier
        The classifier that made the predictions.
    predictions
        One prediction, or several of any size.
    method
        One of the above.
    target
        ``"fake"`` asks what speaks for manipulation, ``"real"`` what speaks against it.
    layer
        A layer with a map (height, width, channels). Default: ``classifier.explain_layer``, for saliency the
        picture. The title says which it was.

    Returns
    -------
    Explanation or list of Explanation
        One for one prediction, a list for a sequence.

    Raises
    ------
    UnknownChoice
        Unknown method, target or layer, or a layer without a map; also a ``ValueError``.
    UnsuitableModel
        No layer is named and the model has none that all of the evidence crosses.
    ValueError
        The map holds values that are not finite.
    """
    checked_choice("method", method, METHODS)
    checked_choice("target", target, ("fake", "real"))
    one = isinstance(predictions, Prediction)
    chosen = [predictions] if one else list(predictions)
    split = split_network(classifier, layer or default_layer(classifier, method))
    found: list[Explanation] = []
    if chosen:
        batch = preprocess([p.face for p in chosen], classifier.preprocessing)
        maps = split.maps(batch, method, target)
        found = [
            _explanation(classifier, p, m, method, target, split.layer)
            for p, m in zip(chosen, maps, strict=True)
        ]
    return found[0] if one else found


def _explanation(
    classifier: Classifier, prediction: Prediction, raw: np.ndarray, method: str, target: Target, layer: str
) -> Explanation:
    peak = float(raw.max())
    face, settings = prediction.face, classifier.preprocessing
    margin = settings.margin if face.margin is None else face.margin
    left, top, right, bottom = face.crop_box(margin)
    if not np.isfinite(raw).all():
        raise ValueError(f"{method} at {layer} gives values that are not finite")
    if peak <= 0:
        heatmap = np.zeros((bottom - top, right - left), np.float32)
        return Explanation(prediction, heatmap, method, target, layer, 0.0, margin)
    size = settings.input_size
    # cv2 centres cells on the pixels they cover, as resizing a picture does.
    on_input = cv2.resize(raw / peak, (size, size), interpolation=cv2.INTER_LINEAR)
    # Frame pixel -> input pixel is known; a crop is the frame shifted by its corner.
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], np.float64)
    to_input = frame_to_input(face, settings) @ shift
    heatmap = cv2.warpAffine(
        on_input,
        to_input,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if settings.align else cv2.BORDER_REPLICATE,
    )
    heatmap = np.clip(heatmap, 0, 1).astype(np.float32)
    return Explanation(prediction, heatmap, method, target, layer, peak, margin)


_networks: weakref.WeakKeyDictionary[Classifier, dict[str, SplitNetwork]] = weakref.WeakKeyDictionary()


def split_network(classifier: Classifier, layer: str) -> SplitNetwork:
    """The classifier's network at a layer, built once for each and kept as long as the classifier."""
    known = _networks.setdefault(classifier, {})
    if layer not in known:
        known[layer] = SplitNetwork(classifier, layer)
    return known[layer]


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
