"""Where on the face the evidence lies: class activation maps of the logit, through tf-keras-vis."""

from __future__ import annotations

import warnings
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from .graphs import is_cut
from .models import Classifier
from .prediction import Prediction
from .preprocessing import frame_to_input, preprocess

if TYPE_CHECKING:
    import keras

Target = Literal["fake", "real"]
# Name -> class of tf-keras-vis. Grad-CAM: Selvaraju et al. 2017. Grad-CAM++: Chattopadhay et al. 2018, whose
# weights count positive gradients only. Layer-CAM: Jiang et al. 2021.
METHODS = {
    "gradcam": ("tf_keras_vis.gradcam", "Gradcam"),
    "gradcam++": ("tf_keras_vis.gradcam_plus_plus", "GradcamPlusPlus"),
    "layercam": ("tf_keras_vis.layercam", "Layercam"),
}


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
    def title(self) -> str:
        """Method, target, layer and peak, for a figure's title."""
        peak = "no positive evidence" if self.empty else f"peak {self.peak:.3g}"
        return f"{self.method} for {self.target} at {self.layer}, {peak}"


def explain(
    classifier: Classifier,
    predictions: Prediction | Sequence[Prediction],
    method: str = "gradcam",
    target: Target = "fake",
    layer: str | None = None,
) -> Explanation | list[Explanation]:
    """Explain scores.

    The logit is explained, not the probability, whose gradient vanishes where the model is sure.
    Gradients are taken by tf-keras-vis on the part of the network behind ``layer``; the part before it
    runs once, compiled.

    Parameters
    ----------
    classifier
        The classifier that made the predictions.
    predictions
        One prediction, or several of any size.
    method
        ``"gradcam"``, ``"gradcam++"`` or ``"layercam"``.
    target
        ``"fake"`` asks what speaks for manipulation, ``"real"`` what speaks against it.
    layer
        A layer with a map (height, width, channels). Default: ``classifier.explain_layer``.

    Returns
    -------
    Explanation or list of Explanation
        One for one prediction, a list for a sequence.

    Raises
    ------
    ValueError
        Unknown method, target or layer, or a layer without a map.
    """
    if method not in METHODS:
        raise ValueError(f"unknown method {method!r}; there are {', '.join(METHODS)}")
    if target not in ("fake", "real"):
        raise ValueError(f'target must be "fake" or "real", not {target!r}')
    one = isinstance(predictions, Prediction)
    chosen = [predictions] if one else list(predictions)
    visualiser = _visualiser(classifier, layer or classifier.explain_layer)
    found: list[Explanation] = []
    if chosen:
        batch = preprocess([p.face for p in chosen], classifier.preprocessing)
        maps = visualiser.maps(batch, method, target)
        found = [
            _explanation(classifier, p, m, method, target, visualiser.layer)
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


class _Visualiser:
    """The two halves of a model at one layer, and tf-keras-vis on the second.

    tf-keras-vis makes a new Keras model at each call and runs it layer by layer. Given the whole network
    that is slow and leaks; given a model of three layers, whose last is the compiled rest of the
    network, it costs next to nothing.
    """

    def __init__(self, classifier: Classifier, layer: str) -> None:
        import keras
        import tensorflow as tf

        # Not the classifier itself: the cache below lets go of a classifier that nobody else holds.
        model = classifier.keras_model
        names = [item.name for item in model.layers]
        if layer not in names:
            raise ValueError(f"there is no layer {layer!r}; the last ones are {', '.join(names[-8:])}")
        features = model.get_layer(layer).output
        if not hasattr(features, "shape") or len(features.shape) != 4:
            raise ValueError(f"layer {layer!r} has no map of height, width and channels")
        self.layer = layer
        self._mirror = classifier.card.mirror
        size = classifier.preprocessing.input_size
        image = tf.TensorSpec((None, size, size, 3), tf.float32)
        trunk = keras.Model(model.inputs, features)
        self._trunk = tf.function(
            lambda x: trunk(x, training=False), input_signature=[image], autograph=False
        )

        # Where paths lead around the layer, the rest of the network still needs the picture.
        self._needs_image = not is_cut(model, layer)
        self._head = _compiled_rest(model, features, self._needs_image, image)
        self._methods: dict[str, Any] = {}

    def maps(self, batch: np.ndarray, method: str, target: Target) -> np.ndarray:
        """(N, h, w) float32 raw class activation maps, not negative."""
        import tensorflow as tf

        sign = 1.0 if target == "fake" else -1.0
        # Cut at 0 below, after both sides of the face were added up.
        options: dict[str, Any] = {"activation_modifier": None}
        if method == "gradcam++":
            # Their weight is 0 in any case, but their denominator can be, too, and 0 * inf is not a number.
            options["gradient_modifier"] = tf.nn.relu

        def score(logit):
            # Grad-CAM++ multiplies by exp(score), which is infinite from 89 on and cancels in the heatmap. As
            # only the gradient counts otherwise, the score may be 0.
            return sign * (logit[:, 0] - tf.stop_gradient(logit[:, 0]))

        def cam(pixels: np.ndarray) -> np.ndarray:
            features = self._trunk(tf.constant(pixels))
            found = self._method(method)(
                score,
                [features, tf.constant(pixels)] if self._needs_image else features,
                penultimate_layer="explained",
                seek_penultimate_conv_layer=False,
                expand_cam=False,
                normalize_cam=False,
                **options,
            )
            return np.asarray(found, np.float32)

        found = cam(batch)
        if self._mirror:
            # The score is the mean over both sides, and so is its explanation.
            found = (found + cam(batch[:, :, ::-1])[:, :, ::-1]) / 2
        return np.maximum(found, 0)

    def _method(self, method: str) -> Any:
        if method not in self._methods:
            module, name = METHODS[method]
            with warnings.catch_warnings():
                # tf-keras-vis 0.8.7 imports from a namespace that SciPy has marked as deprecated.
                warnings.simplefilter("ignore", DeprecationWarning)
                visualisation = getattr(__import__(module, fromlist=[name]), name)
            self._methods[method] = visualisation(self._head, clone=False)
        return self._methods[method]


def _compiled_rest(model: keras.Model, features, needs_image: bool, image) -> keras.Model:
    """Keras model: features (and picture) -> layer ``explained`` -> the rest of the network -> logit."""
    import keras
    import tensorflow as tf

    inputs = [features, *model.inputs] if needs_image else [features]
    rest = keras.Model(inputs, model.outputs[0])
    specs = [tf.TensorSpec(features.shape, tf.float32)] + ([image] if needs_image else [])
    run: Callable = tf.function(
        lambda *tensors: rest(list(tensors) if needs_image else tensors[0], training=False),
        input_signature=specs,
        autograph=False,
    )

    class Rest(keras.layers.Layer):
        def call(self, *tensors):
            return run(*tensors)

    heads = [keras.Input(t.shape[1:], dtype="float32") for t in inputs]
    explained = keras.layers.Identity(name="explained")(heads[0])
    return keras.Model(heads, Rest(dtype="float32")(explained, *heads[1:]))


_visualisers: weakref.WeakKeyDictionary[Classifier, dict[str, _Visualiser]] = weakref.WeakKeyDictionary()


def _visualiser(classifier: Classifier, layer: str) -> _Visualiser:
    """Built once for each model and layer."""
    known = _visualisers.setdefault(classifier, {})
    if layer not in known:
        known[layer] = _Visualiser(classifier, layer)
    return known[layer]
