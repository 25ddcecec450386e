"""CAM and saliency methods on a network that is split at a layer: one raw map per face, method and target.

Gradients come from tf-keras-vis. Its Scorecam is not used: it weights feature maps by a softmax over the
outputs, which is 1 for every map if there is a single logit, and with a limited number of maps it selects
them over the whole batch, so that a face's heatmap would depend on the other faces. Its SmoothGrad is not
used either, because it draws new noise at each call.
"""

from __future__ import annotations

import difflib
import importlib
import warnings
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from ..errors import UnknownChoice
from ..models.graph import is_cut
from ..utils.keras_backend import buffered_stderr, compile_function

if TYPE_CHECKING:
    import keras

    from ..models.classifier import Classifier

Target = Literal["fake", "real"]
# Name -> name in the literature.
METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "Layer-CAM",
    "scorecam": "Score-CAM",
    "saliency": "SmoothGrad saliency",
}
# Score-CAM uses this many feature maps, those with the largest standard deviation ("Faster Score-CAM",
# T. Tabayashi), with one forward pass each; docs/performance.md measures the effect and cost of more.
SCORECAM_MAPS = 128
# SmoothGrad: Smilkov et al. 2017 recommend 10 to 20 % noise; docs/performance.md measures the effect of more
# samples.
SMOOTHGRAD_SAMPLES = 16
SMOOTHGRAD_NOISE = 0.1
# Finer saliency maps are averaged to this many cells per side; otherwise a few single pixels hold the peak.
SALIENCY_GRID = 32
# Images per pass of the network: limits memory, does not change results.
_FORWARD_BATCH = 32
_BACKWARD_BATCH = 8
# Module and class of tf-keras-vis for the methods that are used as they are.
_CAMS = {
    "gradcam": ("tf_keras_vis.gradcam", "Gradcam"),
    "gradcam++": ("tf_keras_vis.gradcam_plus_plus", "GradcamPlusPlus"),
    "layercam": ("tf_keras_vis.layercam", "Layercam"),
}
_SALIENCY = ("tf_keras_vis.saliency", "Saliency")


def check_choice(what: str, given: object, known: Iterable[object]) -> None:
    """Raise :class:`UnknownChoice`, which lists the choices, unless ``given`` is one of ``known``."""
    names = [str(name) for name in known]
    if given in names:
        return
    close = difflib.get_close_matches(str(given), names, 1)
    raise UnknownChoice(
        f"unknown {what} {given!r}; there are {', '.join(names)}",
        next_step=f"Did you mean {close[0]!r}?" if close else f"Choose one of them as {what}.",
    )


def default_layer(classifier: Classifier, method: str) -> str:
    """Return a method's default layer: the input for saliency, for all others ``classifier.explain_layer``.

    Raises
    ------
    UnsuitableModel
        The model has no feature map that every path from input to output crosses.
    """
    if method == "saliency":
        return _input_layer(classifier.keras_model)
    return classifier.explain_layer


class SplitNetwork:
    """A classifier's network split in two at one layer, and the explanation methods on the second part.

    tf-keras-vis builds a new Keras model at each call and runs it layer by layer. With the whole network this
    is slow and leaks memory; with a model of three layers, the last of which is the compiled rest of the
    network, it costs next to nothing.

    Parameters
    ----------
    classifier
        No reference is kept, so that a cache keyed by classifier does not keep it alive.
    layer
        A layer whose output is a feature map (N, h, w, channels); the input layer counts.

    Raises
    ------
    UnknownChoice
        There is no such layer, or its output is not a feature map.
    """

    def __init__(self, classifier: Classifier, layer: str) -> None:
        import keras
        import tensorflow as tf

        model = classifier.keras_model
        check_layer(model, layer)
        features = model.get_layer(layer).output
        self.layer = layer
        self._mirror = classifier.card.mirror
        self._black = classifier.preprocessing.black
        self._at_input = layer == _input_layer(model)
        self._size = size = classifier.preprocessing.input_size
        image = tf.TensorSpec((None, size, size, 3), tf.float32)
        trunk = keras.Model(model.inputs, features)
        self._trunk = compile_function(lambda x: tf.cast(trunk(x, training=False), tf.float32), image)
        # If paths bypass the layer, the second part of the network needs the image, too.
        self._needs_image = not is_cut(model, layer)
        self._rest, self._head = _compiled_rest(model, features, self._needs_image, image)
        self._visualizers: dict[str, Any] = {}

    def maps(self, batch: np.ndarray, method: str, target: Target) -> np.ndarray:
        """Compute raw maps for a batch of model inputs.

        Parameters
        ----------
        batch
            (N, S, S, 3) float32 from :func:`redeepfake_nb.preprocess`.
        method, target
            See :func:`redeepfake_nb.explain`.

        Returns
        -------
        numpy.ndarray
            (N, h, w) float32, not negative, in units of the method.
        """
        sign = 1.0 if target == "fake" else -1.0
        if method == "saliency" and _SALIENCY[1] not in self._visualizers:
            # On the first run TensorFlow prints a line about the CPU that looks like an error.
            with buffered_stderr():
                self.prepare(method)
        compute: Callable[[np.ndarray, float], np.ndarray] = {
            "scorecam": self._score_cam,
            "saliency": self._saliency,
        }.get(method) or (lambda pixels, sign: self._cam(pixels, sign, method))
        signed = compute(batch, sign)
        if self._mirror:
            # The score is the mean over the face and its mirror image, and so is the map; clipped only then.
            signed = (signed + compute(np.ascontiguousarray(batch[:, :, ::-1]), sign)[:, :, ::-1]) / 2
        return np.maximum(signed, 0)

    def prepare(self, method: str) -> None:
        """Compile everything that a method needs, by running it on one black image."""
        black = np.full((1, self._size, self._size, 3), self._black, np.float32)
        if method == "saliency":
            self._gradients(np.asarray(self._trunk(black)), black, 1.0)
        elif method == "scorecam":
            self._logits(black)
        else:
            self._cam(black, 1.0, method)

    def _cam(self, pixels: np.ndarray, sign: float, method: str) -> np.ndarray:
        """Grad-CAM, Grad-CAM++ and Layer-CAM: feature maps weighted by gradients, (N, h, w), signed."""
        import tensorflow as tf

        options: dict[str, Any] = {"activation_modifier": None}
        if method == "gradcam++":
            # Negative gradients have weight 0 anyway, but their denominator can be 0, and 0 * inf is NaN.
            options["gradient_modifier"] = tf.nn.relu
        found = self._visualizer(*_CAMS[method])(
            _score(sign),
            self._head_inputs(self._trunk(tf.constant(pixels)), pixels),
            penultimate_layer="explained",
            seek_penultimate_conv_layer=False,
            expand_cam=False,
            normalize_cam=False,
            **options,
        )
        return np.asarray(found, np.float32)

    def _score_cam(self, pixels: np.ndarray, sign: float) -> np.ndarray:
        """Score-CAM: maps weighted by the logit of the image they mask, minus that of black, signed."""
        maps = np.asarray(self._trunk(pixels))
        black = float(self._logits(np.full_like(pixels[:1], self._black))[0])
        return np.stack([self._score_cam_one(p, m, sign, black) for p, m in zip(pixels, maps, strict=True)])

    def _score_cam_one(self, pixels: np.ndarray, maps: np.ndarray, sign: float, black: float) -> np.ndarray:
        spread = maps.std(axis=(0, 1))
        chosen = np.argsort(-spread, kind="stable")[:SCORECAM_MAPS]
        found = np.zeros(maps.shape[:2], np.float32)
        for start in range(0, len(chosen), _FORWARD_BATCH):
            some = np.ascontiguousarray(maps[..., chosen[start : start + _FORWARD_BATCH]])
            masks = cv2.resize(some, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            masks = masks.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)[..., None]
            low, high = (f(axis=(1, 2), keepdims=True) for f in (masks.min, masks.max))
            # A map that is constant up to rounding masks nothing.
            varies = high - low > 1e-6 * np.maximum(np.abs(high), np.abs(low))
            masks = np.divide(masks - low, high - low, out=np.ones_like(masks), where=varies)
            masked = self._black + masks * (pixels - self._black)
            found += some @ (sign * (self._logits(masked.astype(np.float32)) - black))
        return found

    def _saliency(self, pixels: np.ndarray, sign: float) -> np.ndarray:
        """SmoothGrad: mean gradients over noisy samples, times the values themselves, (N, h, w), signed."""
        features = np.asarray(self._trunk(pixels))
        found = []
        for one, values in zip(pixels, features, strict=True):
            # The same noise for every face, so that a face's heatmap does not depend on the batch.
            rng = np.random.default_rng(0)
            total = np.zeros_like(values)
            for start in range(0, SMOOTHGRAD_SAMPLES, _BACKWARD_BATCH):
                count = min(_BACKWARD_BATCH, SMOOTHGRAD_SAMPLES - start)
                noise = rng.standard_normal((count, *values.shape), np.float32)
                noisy = values + SMOOTHGRAD_NOISE * np.ptp(values) * noise
                total += self._gradients(noisy, np.repeat(one[None], count, axis=0), sign).sum(axis=0)
            above_zero = values - self._black if self._at_input else values
            parts = (total / SMOOTHGRAD_SAMPLES * above_zero).sum(axis=-1)
            # Single pixels are dominated by noise; contributions add up, so averaging over cells loses
            # nothing.
            size = (min(parts.shape[1], SALIENCY_GRID), min(parts.shape[0], SALIENCY_GRID))
            found.append(cv2.resize(parts, size, interpolation=cv2.INTER_AREA))
        return np.stack(found).astype(np.float32)

    def _gradients(self, features: np.ndarray, pixels: np.ndarray, sign: float) -> np.ndarray:
        """Return the gradients of ``sign`` times the logit, (N, h, w, channels)."""
        import tensorflow as tf

        found = self._visualizer(*_SALIENCY)(
            _score(sign),
            self._head_inputs(tf.constant(features), pixels),
            keepdims=True,
            gradient_modifier=None,
            normalize_map=False,
        )
        return np.asarray(found[0] if self._needs_image else found)

    def _head_inputs(self, features: Any, pixels: np.ndarray) -> Any:
        """Inputs of the second part: the feature map (a tensor), with the image where it is needed."""
        import tensorflow as tf

        return [features, tf.constant(pixels)] if self._needs_image else features

    def _logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return the network's logits, (N,) float32, without mirroring."""
        import tensorflow as tf

        image = tf.constant(pixels)
        features = self._trunk(image)
        logits = self._rest(features, image) if self._needs_image else self._rest(features)
        return np.asarray(logits, np.float32)[:, 0]

    def _visualizer(self, module: str, name: str) -> Any:
        if name not in self._visualizers:
            self._visualizers[name] = getattr(_import_visualizer(module), name)(self._head, clone=False)
        return self._visualizers[name]


def _score(sign: float) -> Callable[[Any], Any]:
    import tensorflow as tf

    def score(logit: Any) -> Any:
        # Grad-CAM++ multiplies by exp(score), which overflows from 89 on and cancels in the heatmap.
        # Everything else depends on the gradient alone, so the score's value may be 0.
        return sign * (logit[:, 0] - tf.stop_gradient(logit[:, 0]))

    return score


def _input_layer(model: keras.Model) -> str:
    return model.inputs[0]._keras_history.operation.name


def check_layer(model: keras.Model, layer: str) -> None:
    """Raise :class:`UnknownChoice`, which names others, unless the layer's output is a feature map."""
    maps = [item.name for item in model.layers if len(getattr(item.output, "shape", ())) == 4]
    if layer not in maps:
        known = layer in [item.name for item in model.layers]
        close = difflib.get_close_matches(str(layer), maps, 3) or maps[-6:]
        raise UnknownChoice(
            f"the output of layer {layer!r} is not a feature map (height, width, channels)"
            if known
            else f"there is no layer {layer!r}",
            subject=model.name,
            next_step=f"Leave the layer out, or choose one with a feature map, such as {', '.join(close)}.",
        )


def _compiled_rest(
    model: keras.Model, features: Any, needs_image: bool, image: Any
) -> tuple[Callable[..., Any], keras.Model]:
    """Compile the network behind a layer, and wrap it in a Keras model behind a layer called ``explained``.

    ``features`` is the layer's symbolic output, ``image`` the ``tf.TensorSpec`` of the input.
    """
    import keras
    import tensorflow as tf

    inputs = [features, *model.inputs] if needs_image else [features]
    rest = keras.Model(inputs, model.outputs[0])
    specs = [tf.TensorSpec(features.shape, tf.float32)] + ([image] if needs_image else [])
    run = compile_function(
        lambda *tensors: rest(list(tensors) if needs_image else tensors[0], training=False), *specs
    )

    kit = _keras_of_visualizers()
    base: Any = kit.layers.Layer

    class Rest(base):
        @tf.autograph.experimental.do_not_convert
        def call(self, *tensors: Any, training: bool | None = None) -> Any:
            return run(*tensors)

    heads = [kit.Input(t.shape[1:], dtype="float32") for t in inputs]
    explained = kit.layers.Activation("linear", dtype="float32", name="explained")(heads[0])
    return run, kit.Model(heads, Rest(dtype="float32")(explained, *heads[1:]))


def _keras_of_visualizers() -> Any:
    """Return the Keras whose models tf-keras-vis takes: ``tf.keras``, which may be set to be Keras 2."""
    import tensorflow as tf

    # First, because this import settles what tf.keras is.
    _import_visualizer(_CAMS["gradcam"][0])
    return tf.keras


def _import_visualizer(module: str) -> Any:
    with warnings.catch_warnings():
        # tf-keras-vis 0.8.7 imports from a SciPy namespace that is deprecated.
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module(module)
