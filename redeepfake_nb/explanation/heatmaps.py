"""Where on the face the evidence lies: heatmaps of the logit, laid on the crop's own pixels."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property

import cv2
import numpy as np

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
