"""Explain scores by heatmaps on the pixels of the face crop, and compare the heatmaps of several methods."""

from __future__ import annotations

import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import overload

import cv2
import numpy as np
import pandas as pd

from ..faces.preprocessing import frame_to_input, preprocess
from ..models.classifier import Classifier
from ..models.prediction import Prediction
from .methods import METHODS, SplitNetwork, Target, check_choice, default_layer
from .regions import Regions, sum_regions


@dataclass(frozen=True, eq=False)
class Explanation:
    """A heatmap of one prediction.

    Parameters
    ----------
    prediction
        The prediction that is explained.
    heatmap
        (h, w) float32, 0..1, on the pixels of ``prediction.face.crop(margin)``: the evidence for the target
        at each place, as a share of the peak.
    method, target, layer
        Name of the method, the label that the evidence is for (``"fake"`` or ``"real"``), and the layer.
    peak
        Maximum of the map before normalisation, in units of the method. 0 means that there is no evidence for
        the target; the heatmap is then all zero and must not be interpreted.
    margin
        Crop margin of the pixels that the heatmap lies on.
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
        """Whether there is no evidence for the target."""
        return self.peak <= 0

    @property
    def missed(self) -> bool:
        """Whether the heatmap is empty although the target is the predicted label.

        Grad-CAM averages gradients over the feature map. In a network that does not, for example one that
        flattens the map, local evidence can average out, and an empty heatmap says nothing about the face.
        """
        return self.empty and self.prediction.label() == self.target

    @cached_property
    def regions(self) -> Regions:
        """The heatmap summed over parts of the face."""
        return sum_regions(self.heatmap, self.prediction.face, self.margin, self.target)

    @property
    def title(self) -> str:
        """Method, target, layer and peak, as the title of a figure."""
        peak = "no positive evidence" if self.empty else f"peak {self.peak:.3g}"
        if self.missed:
            peak = f"finds no place, though the score says {self.target}; try another method"
        return f"{self.method} for {self.target} at {self.layer}, {peak}"


@overload
def explain(
    classifier: Classifier,
    predictions: Prediction,
    method: str = "gradcam",
    target: Target = "fake",
    layer: str | None = None,
) -> Explanation: ...
@overload
def explain(
    classifier: Classifier,
    predictions: Sequence[Prediction],
    method: str = "gradcam",
    target: Target = "fake",
    layer: str | None = None,
) -> list[Explanation]: ...
def explain(
    classifier: Classifier,
    predictions: Prediction | Sequence[Prediction],
    method: str = "gradcam",
    target: Target = "fake",
    layer: str | None = None,
) -> Explanation | list[Explanation]:
    """Explain scores by heatmaps of the evidence for a label.

    The logit is explained, not the probability, whose gradient vanishes for confident scores. If a model
    averages a face and its mirror image, so does the explanation; negative values are clipped afterwards.

    ``"gradcam"``
        Feature maps weighted by their mean gradient (Selvaraju et al. 2017). If only average pooling and a
        linear output follow the layer, the heatmap accounts for the whole score.
    ``"gradcam++"``
        The same with weights from positive gradients only (Chattopadhay et al. 2018).
    ``"layercam"``
        Each place weighted by its own positive gradient (Jiang et al. 2021); also suitable for early layers.
    ``"scorecam"``
        Without gradients: the weight of a feature map is what the image, masked by that map over black, adds
        to the logit of a black image (Wang et al. 2020). Weights keep their sign and are not normalised by a
        softmax, so that evidence for the other label is not counted. Only the
        :data:`redeepfake_nb.explanation.methods.SCORECAM_MAPS` maps that vary most over the face are used.
    ``"saliency"``
        The gradient of the pixels (Simonyan et al. 2014), averaged over noisy samples (SmoothGrad, Smilkov et
        al. 2017; the same noise each time), times the pixel's difference from black, summed over the
        channels: the first-order contribution of a pixel to the logit, averaged to at most 32 x 32 cells.
        Dark places get little by construction. At another layer, the same for its feature map.

    Gradients are computed by tf-keras-vis on the part of the network behind ``layer``; both parts are
    compiled once per model and layer.

    Parameters
    ----------
    classifier
        The classifier that made the predictions.
    predictions
        One prediction, or a sequence; faces may have different sizes.
    method
        One of the above.
    target
        ``"fake"`` shows evidence for manipulation, ``"real"`` evidence against it.
    layer
        A layer whose output is a feature map (height, width, channels). Default:
        ``classifier.explain_layer``, or the input for saliency.

    Returns
    -------
    Explanation or list of Explanation
        An Explanation for a Prediction, a list for a sequence.

    Raises
    ------
    UnknownChoice
        Unknown method, target or layer, or the layer's output is not a feature map; also a ``ValueError``.
    UnsuitableModel
        No layer is given, and the model has no feature map that every path from input to output crosses.
    ValueError
        The map has values that are not finite.
    """
    check_choice("method", method, METHODS)
    check_choice("target", target, ("fake", "real"))
    chosen = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    network = split_network(classifier, layer or default_layer(classifier, method))
    found: list[Explanation] = []
    if chosen:
        batch = preprocess([p.face for p in chosen], classifier.preprocessing)
        maps = network.maps(batch, method, target)
        found = [
            _explanation(classifier, p, m, method, target, network.layer)
            for p, m in zip(chosen, maps, strict=True)
        ]
    return found[0] if isinstance(predictions, Prediction) else found


def _explanation(
    classifier: Classifier, prediction: Prediction, raw: np.ndarray, method: str, target: Target, layer: str
) -> Explanation:
    peak = float(raw.max())
    face, settings = prediction.face, classifier.preprocessing
    margin = settings.margin if face.margin is None else face.margin
    left, top, right, bottom = face.crop_box(margin)
    if not np.isfinite(raw).all():
        raise ValueError(f"{method} at layer {layer} gives values that are not finite")
    if peak <= 0:
        heatmap = np.zeros((bottom - top, right - left), np.float32)
        return Explanation(prediction, heatmap, method, target, layer, 0.0, margin)
    size = settings.input_size
    # cv2 centres cells on the pixels they cover, as resizing an image does.
    on_input = cv2.resize(raw / peak, (size, size), interpolation=cv2.INTER_LINEAR)
    # Crop pixel -> frame pixel -> input pixel.
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], np.float64)
    to_input = frame_to_input(face, settings) @ shift
    on_crop = cv2.warpAffine(
        on_input,
        to_input,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if settings.align else cv2.BORDER_REPLICATE,
    )
    heatmap = np.clip(on_crop, 0, 1).astype(np.float32)
    return Explanation(prediction, heatmap, method, target, layer, peak, margin)


_networks: weakref.WeakKeyDictionary[Classifier, dict[str, SplitNetwork]] = weakref.WeakKeyDictionary()


def split_network(classifier: Classifier, layer: str) -> SplitNetwork:
    """Split the classifier's network at a layer; cached per classifier and layer."""
    known = _networks.setdefault(classifier, {})
    if layer not in known:
        known[layer] = SplitNetwork(classifier, layer)
    return known[layer]


# Heatmaps are compared on a grid of this many cells per side, so that the fine grain of some methods does not
# count as disagreement about the place.
COMPARISON_GRID = 32

Scores = float | Mapping[str, float]


@dataclass(frozen=True, eq=False)
class MethodComparison:
    """Heatmaps of one prediction by several methods, and how far they agree.

    Parameters
    ----------
    explanations
        One per method, all of the same prediction and target.
    seconds
        Run time of each, without compilation.
    agreement
        Spearman's rank correlation between the heatmaps on a grid of 32 x 32 cells, (M, M) float64, -1..1;
        NaN where one of them is constant or empty.
    scores
        Method -> name -> number, for other measurements, such as faithfulness.
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
            check_choice("method", method, self.methods)

    @property
    def methods(self) -> tuple[str, ...]:
        """Names of the methods, in order."""
        return tuple(e.method for e in self.explanations)

    @property
    def prediction(self) -> Prediction:
        """The prediction that is explained."""
        return self.explanations[0].prediction

    @property
    def target(self) -> Target:
        """The label that the evidence is for."""
        return self.explanations[0].target

    @property
    def table(self) -> pd.DataFrame:
        """One row per method.

        Columns: ``method``; ``layer``; ``peak`` in units of the method, not comparable between methods;
        ``peak_x`` and ``peak_y``, its position, 0..1 of the crop's width and height (NaN for an empty
        heatmap);
        ``region``, the part of the face that stands out (None if none does, or without landmarks);
        ``agreement``, mean rank correlation with the other methods; ``seconds``; and the :attr:`scores`.
        """
        rows = []
        for i, (e, seconds) in enumerate(zip(self.explanations, self.seconds, strict=True)):
            others = np.delete(self.agreement[i], i)
            others = others[np.isfinite(others)]
            x, y = peak_position(e)
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
        # As objects: pandas would turn None into NaN.
        table["region"] = pd.Series([row["region"] for row in rows], dtype=object)
        return table

    def with_scores(self, scores: Mapping[str, Scores], name: str = "score") -> MethodComparison:
        """Return a copy with further columns of numbers; existing scores are kept.

        Parameters
        ----------
        scores
            Method -> number, or method -> {name: number}. Methods may be missing.
        name
            Column of plain numbers.

        Raises
        ------
        UnknownChoice
            A method that is not part of this comparison.
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
    """Explain one score by several methods and compare the heatmaps.

    Agreement does not prove that the heatmaps are right, as most methods use the same feature map; but where
    they disagree, a heatmap says more about the method than about the face.

    Parameters
    ----------
    classifier, prediction, target, layer
        See :func:`redeepfake_nb.explain`. Without a layer each method uses its default.
    methods
        Distinct names out of ``gradcam``, ``gradcam++``, ``layercam``, ``scorecam`` and ``saliency``.
    measure
        Called with each explanation; returns a number, or numbers by name, that are added to the table.

    Returns
    -------
    MethodComparison

    Raises
    ------
    UnknownChoice
        See :func:`redeepfake_nb.explain`.
    ValueError
        ``methods`` is empty or has duplicates.
    """
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    if not methods or len(set(methods)) < len(methods):
        raise ValueError(f"methods are one or more different names, not {methods!r}")
    for method in methods:
        check_choice("method", method, METHODS)
    for method in methods:
        # So that the run times do not include compilation.
        split_network(classifier, layer or default_layer(classifier, method)).prepare(method)
    explanations: list[Explanation] = []
    seconds: list[float] = []
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
    """Compute Spearman's rank correlation between heatmaps of one crop, averaged to at most 32 x 32 cells.

    Parameters
    ----------
    heatmaps
        M arrays (h, w) float.

    Returns
    -------
    numpy.ndarray
        (M, M) float64, symmetric, 1 on the diagonal; NaN in the rows and columns of constant heatmaps.
    """
    height, width = heatmaps[0].shape
    size = (min(width, COMPARISON_GRID), min(height, COMPARISON_GRID))
    cells = [cv2.resize(h, size, interpolation=cv2.INTER_AREA).ravel() for h in heatmaps]
    ranks = pd.DataFrame(np.stack(cells).astype(np.float64)).rank(axis=1).to_numpy()
    ranks = ranks - ranks.mean(axis=1, keepdims=True)
    length = np.sqrt((ranks**2).sum(axis=1))
    length[length == 0] = np.nan
    found = ranks @ ranks.T / np.outer(length, length)
    return np.clip(found, -1, 1)


def peak_position(explanation: Explanation) -> tuple[float, float]:
    """Return x, y of the hottest pixel as shares of the crop's width and height; NaN for an empty heatmap."""
    if explanation.empty:
        return float("nan"), float("nan")
    height, width = explanation.heatmap.shape
    # The first of several: the centre of two plateaus would lie on neither.
    row, column = divmod(int(explanation.heatmap.argmax()), width)
    return (column + 0.5) / width, (row + 0.5) / height
