"""Explain scores by heatmaps on the pixels of the face crop, and compare the heatmaps of several methods."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal, get_args, overload

import cv2
import numpy as np

from ..errors import RedeepfakeError
from ..faces.preprocessing import frame_to_input, preprocess
from ..models.classifier import Classifier
from ..models.likely_kind import NAMED_FROM
from ..models.prediction import Prediction
from ..utils.jobs import Cancel, Progress, as_cancel_check
from ..utils.numeric import probability
from .method_choice import alike_methods, distinct_methods, method_for, network_and_method, network_for
from .methods import LOGIT_METHODS, METHODS, Target, check_choice
from .regions import Regions, sum_regions
from .window_maps import window_layer, window_maps

if TYPE_CHECKING:
    import pandas as pd


Scale = Literal["logit", "peak"]
SCALES: tuple[Scale, ...] = get_args(Scale)
# Evidence that is drawn at full colour on the scale of the logit: a face that looked like that everywhere
# would have P 0.98.
FULL_COLOUR = 4.0


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
    evidence
        What the marked places together add to the score, in log-odds for the target: by the map, the score
        without them. ``None`` for methods whose values are no parts of the logit.
    intensity
        The peak in log-odds: what the evidence would be if the whole face looked like its hottest place. It
        compares heatmaps of different faces. ``None`` as for ``evidence``.
    frames
        Where a model scores several frames at once: the heatmap of every frame of the window, in the order of
        time, all as shares of the same peak; this one is that of the frame with the highest value.
    """

    prediction: Prediction
    heatmap: np.ndarray = field(repr=False)
    method: str
    target: Target
    layer: str
    peak: float
    margin: float
    evidence: float | None = None
    intensity: float | None = None
    frames: tuple[Explanation, ...] = field(default=(), repr=False)

    @property
    def empty(self) -> bool:
        """Whether there is no evidence for the target."""
        return self.peak <= 0

    @property
    def missed(self) -> bool:
        """Whether the heatmap is empty although the target is the predicted label.

        Methods that average gradients over the feature map, or leave out some of them, may find no place for
        a score that other methods can place; or the score rests on features of the picture as a whole, which
        no map places. An empty heatmap then says nothing about the face.
        """
        return self.empty and self.prediction.label() == self.target

    @cached_property
    def regions(self) -> Regions:
        """The heatmap summed over parts of the face; names a kind of fake only where the score says fake."""
        found = sum_regions(self.heatmap, self.prediction.face, self.margin, self.target)
        kinds = self.prediction.kinds
        likeliest = max(kinds, key=lambda kind: kinds[kind]) if kinds else ""
        named = kinds and kinds[likeliest] >= NAMED_FROM and self.prediction.label() == "fake"
        return replace(found, kind=likeliest) if named else found

    @property
    def without(self) -> float | None:
        """P(fake) that the map gives the face without the marked places, 0..1; ``None`` without evidence."""
        if self.evidence is None:
            return None
        calibrated = self.prediction.logit / (self.prediction.temperature or 1.0)
        return probability(calibrated - (1 if self.target == "fake" else -1) * self.evidence, None)

    def at_threshold(self, threshold: float) -> Explanation:
        """Return the same heatmap with words for a score that is judged at another threshold."""
        if threshold == self.prediction.threshold:
            return self
        return replace(self, prediction=replace(self.prediction, threshold=threshold))

    def shaded(self, scale: Scale = "logit") -> np.ndarray:
        """Return how bright each pixel of the heatmap is to be drawn, (h, w) float32, 0..1.

        Parameters
        ----------
        scale
            ``"logit"``: the same for all faces and models, 1 from :data:`FULL_COLOUR` log-odds on. It is used
            as ``"peak"`` where the method's values are no log-odds. ``"peak"``: 1 at the heatmap's own peak,
            so that a weak heatmap looks like a strong one.

        Raises
        ------
        UnknownChoice
            Another scale.
        """
        check_choice("scale", scale, SCALES)
        if scale == "peak" or self.intensity is None:
            return self.heatmap
        return np.minimum(self.heatmap * np.float32(self.intensity / FULL_COLOUR), 1)

    @property
    def amount(self) -> str:
        """How much of the score the heatmap carries, in log-odds, or its peak where that is not known."""
        if self.empty:
            return "no positive evidence"
        return f"peak {self.peak:.3g}" if self.evidence is None else f"{self.evidence:+.1f} log-odds"

    @property
    def title(self) -> str:
        """Method, target, layer and what the heatmap carries of the score, as the title of a figure."""
        return f"{self._method_words} at {self.layer}, {self._carried}"

    @property
    def plain_title(self) -> str:
        """The title without the layer, whose name says nothing to people who did not build the model."""
        return f"{self._method_words}, {self._carried}"

    @property
    def _method_words(self) -> str:
        return f"{METHODS[self.method]} for {self.target}"

    @property
    def _carried(self) -> str:
        """What the heatmap carries of the score, and what the score would be without it."""
        amount = self.amount
        if self.missed:
            amount = (
                f"finds no place, though the score says {self.target}: "
                "it may rest on the picture as a whole; try another method"
            )
        elif self.without is not None and not self.empty:
            amount += (
                f"; without the marked places P(fake) would be about {self.without:.2f} "
                f"instead of {self.prediction.probability:.2f}"
            )
        return amount


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
        linear output follow the layer, the heatmap accounts for the whole score. Where the network does not
        treat all places alike behind the layer, HiResCAM is computed instead, and the explanation says so;
        see :func:`redeepfake_nb.explanation.method_choice.method_for`.
    ``"hirescam"``
        Each value times its own gradient, summed over the channels (Draelos and Carin 2020). If only linear
        layers follow the layer, such as a flattened map's, it accounts for the whole score at each place.
    ``"gradcam++"``
        The same with weights from positive gradients only (Chattopadhay et al. 2018).
    ``"layercam"``
        Each place weighted by its own positive gradient (Jiang et al. 2021); also suitable for early layers.
    ``"scorecam"``
        Without gradients: the weight of a feature map is what the image, masked by that map over black, adds
        to the logit of a black image (Wang et al. 2020). Weights keep their sign and are not normalised by a
        softmax, so that evidence for the other label is not counted. Only the maps that vary most over the
        face are used, :data:`redeepfake_nb.explanation.split_network.SCORECAM_MAPS` of them.
    ``"saliency"``
        The gradient of the pixels (Simonyan et al. 2014), averaged over noisy samples (SmoothGrad, Smilkov et
        al. 2017; the same noise each time), times the pixel's difference from black, summed over the
        channels: the first-order contribution of a pixel to the logit, averaged to at most 32 x 32 cells.
        Dark places get little by construction. At another layer, the same for its feature map.

    ``"attention"``
        For transformers: attention of all layers, weighted by the logit's gradient and rolled out (Chefer et
        al. 2021); see :mod:`redeepfake_nb.explanation.attention`.

    Where a model scores several frames at once, each frame of the window gets its own heatmap,
    ``Explanation.frames``, by all methods but Score-CAM and attention; see
    :mod:`redeepfake_nb.explanation.window_maps`.

    Each cell of a map is drawn where its receptive field is centred on the picture; see
    :mod:`redeepfake_nb.models.geometry`. Gradients are computed by tf-keras-vis on the part of the
    network behind ``layer``; both parts are compiled once per model and layer. Where LiteRT scores and only
    average pooling and a linear head follow the layer, Grad-CAM needs no gradient: the compiled network
    returns its map beside the score, and TensorFlow is not imported.

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
        A layer whose output is a feature map (height, width, channels), or tokens (count, channels) that lie
        on a grid of the picture. Default: see :func:`redeepfake_nb.explanation.method_choice.default_layer`.

    Returns
    -------
    Explanation or list of Explanation
        An Explanation for a Prediction, a list for a sequence.

    Raises
    ------
    UnknownChoice
        Unknown method, target or layer, or the layer's output is not a feature map; also a ``ValueError``.
    UnsuitableModel
        No layer is given, and the model has no feature map that every path from input to output crosses; or
        it is not known where the map's cells lie on the picture; or the model has no attention; or the
        method has one weight for all places, and the model does not treat them alike.
    ValueError
        The map has values that are not finite.
    """
    check_choice("method", method, METHODS)
    check_choice("target", target, ("fake", "real"))
    chosen = [predictions] if isinstance(predictions, Prediction) else list(predictions)
    if classifier.preprocessing.frames > 1:
        of_windows = [_explain_window(classifier, p, method, target, layer) for p in chosen]
        return of_windows[0] if isinstance(predictions, Prediction) else of_windows
    network, method = network_and_method(classifier, method, layer)
    found: list[Explanation] = []
    if chosen:
        batch = preprocess([p.face for p in chosen], classifier.preprocessing)
        maps = network.on_input(batch, method, target)
        # A value is its cell's part of the logit, and the mean over the map times the cells is their sum.
        cells = network.layout.cells(batch.shape[1]) if method in LOGIT_METHODS else None
        covered = network.layout.covered(batch.shape[1])
        found = [
            _explanation(classifier, p, m, method, target, network.layer, cells, covered)
            for p, m in zip(chosen, maps, strict=True)
        ]
    return found[0] if isinstance(predictions, Prediction) else found


def _explain_window(
    classifier: Classifier, prediction: Prediction, method: str, target: Target, layer: str | None
) -> Explanation:
    """Explain the score of a window of frames, each frame on its own; return that with the most evidence."""
    if not prediction.window:
        classifier.check_single_pictures()
    layer = layer or window_layer(classifier, method)
    batch = preprocess([prediction.window], classifier.preprocessing)
    (maps,) = window_maps(classifier, batch, method, 1.0 if target == "fake" else -1.0, layer)
    highest = float(maps.max())
    frames = tuple(
        _explanation(classifier, replace(prediction, face=face), m, method, target, layer, None, 1.0, highest)
        for face, m in zip(prediction.window, maps, strict=True)
    )
    # Without any evidence the face stays that of the prediction.
    shown = [i for i, face in enumerate(prediction.window) if face is prediction.face]
    best = int(maps.max(axis=(1, 2)).argmax()) if highest > 0 or not shown else shown[0]
    return replace(frames[best], frames=frames)


def _explanation(
    classifier: Classifier,
    prediction: Prediction,
    raw: np.ndarray,
    method: str,
    target: Target,
    layer: str,
    cells: int | None,
    covered: float,
    peak: float | None = None,
) -> Explanation:
    """Make the explanation of one face; ``peak``, by default the map's own, is what it is divided by."""
    peak = float(raw.max()) if peak is None else peak
    face, settings = prediction.face, classifier.preprocessing
    margin = settings.margin if face.margin is None else face.margin
    left, top, right, bottom = face.crop_box(margin)
    if not np.isfinite(raw).all():
        raise ValueError(f"{method} at layer {layer} gives values that are not finite")
    scale = None if cells is None else cells / (prediction.temperature or 1.0)
    evidence = None if scale is None else float(raw.sum(dtype=np.float64) / covered * scale)
    intensity = None if scale is None else peak * scale
    if peak <= 0:
        heatmap = np.zeros((bottom - top, right - left), np.float32)
        return Explanation(prediction, heatmap, method, target, layer, 0.0, margin, evidence, intensity)
    # Crop pixel -> frame pixel -> input pixel.
    shift = np.array([[1, 0, left], [0, 1, top], [0, 0, 1]], np.float64)
    to_input = frame_to_input(face, settings) @ shift
    on_crop = cv2.warpAffine(
        raw / peak,
        to_input,
        (right - left, bottom - top),
        flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP,
        borderMode=cv2.BORDER_CONSTANT if settings.align else cv2.BORDER_REPLICATE,
    )
    heatmap = np.clip(on_crop, 0, 1).astype(np.float32)
    return Explanation(prediction, heatmap, method, target, layer, peak, margin, evidence, intensity)


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
    alike
        Method -> the method whose heatmaps it has for this model by construction; see
        :func:`redeepfake_nb.explanation.method_choice.alike_methods`. They are no second opinion.
    """

    explanations: tuple[Explanation, ...]
    seconds: tuple[float, ...]
    agreement: np.ndarray = field(repr=False)
    scores: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    alike: Mapping[str, str] = field(default_factory=dict)

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
    def note(self) -> str:
        """Which methods are the same as others by construction, in a sentence; empty if none is."""
        same: dict[str, list[str]] = {}
        for method, other in self.alike.items():
            same.setdefault(other, []).append(METHODS[method])
        parts = []
        for other, names in same.items():
            several = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
            if other:
                several += f" {'is' if len(names) == 1 else 'are'} the same as {METHODS[other]}"
            else:
                several += f" cannot find anything for {self.target}"
            parts.append(several)
        return f"In this model, by construction, {'; '.join(parts)}." if parts else ""

    @property
    def table(self) -> pd.DataFrame:
        """One row per method.

        Columns: ``method``; ``layer``; ``peak`` in units of the method, not comparable between methods;
        ``peak_x`` and ``peak_y``, its position, 0..1 of the crop's width and height (NaN for an empty
        heatmap);
        ``region``, the part of the face that stands out (None if none does, or without landmarks);
        ``agreement``, mean rank correlation with the other methods; ``seconds``; and the :attr:`scores`.
        """
        import pandas as pd

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
    methods: Sequence[str] | None = None,
    target: Target = "fake",
    layer: str | None = None,
    *,
    measure: Callable[[Explanation], Scores] | None = None,
    progress: Progress | None = None,
    cancel: Cancel = None,
) -> MethodComparison:
    """Explain one score by several methods and compare the heatmaps.

    Agreement does not prove that the heatmaps are right, as most methods use the same feature map; but where
    they disagree, a heatmap says more about the method than about the face.

    Parameters
    ----------
    classifier, prediction, target, layer
        See :func:`redeepfake_nb.explain`. Without a layer each method uses its default.
    methods
        Distinct names in :data:`redeepfake_nb.explanation.METHODS`. Default: all that the model is fit for,
        without those that are the same as another one by construction.
    measure
        Called with each explanation; returns a number, or numbers by name, that are added to the table.
    progress
        Called as ``progress(done, methods)``.
    cancel
        An event, or a callable that says whether to stop before the next method.

    Returns
    -------
    MethodComparison

    Raises
    ------
    UnknownChoice
        See :func:`redeepfake_nb.explain`.
    ValueError
        ``methods`` is empty or has duplicates.
    RedeepfakeError
        Cancelled.
    """
    check_choice("target", target, ("fake", "real"))
    if methods is None:
        methods = distinct_methods(classifier, target, layer)
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    if not methods or len(set(methods)) < len(methods):
        raise ValueError(f"methods are one or more different names, not {methods!r}")
    for method in methods:
        check_choice("method", method, METHODS)
    # A method that stands in for another one is no second opinion.
    methods = tuple(dict.fromkeys(method_for(classifier, method, layer) for method in methods))
    for method in methods:
        # So that the run times do not include compilation.
        if classifier.preprocessing.frames == 1:
            network_for(classifier, method, layer).prepare(method)
    explanations: list[Explanation] = []
    seconds: list[float] = []
    stop = as_cancel_check(cancel)
    for done, method in enumerate(methods, start=1):
        if stop():
            raise RedeepfakeError("the comparison was cancelled", next_step="Run it again for all methods.")
        start = time.perf_counter()
        explanations.append(explain(classifier, prediction, method, target, layer))
        seconds.append(time.perf_counter() - start)
        if progress is not None:
            progress(done, len(methods))
    found = MethodComparison(
        tuple(explanations),
        tuple(seconds),
        rank_correlations([e.heatmap for e in explanations]),
        alike=alike_methods(classifier, target, layer),
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
    import pandas as pd

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
