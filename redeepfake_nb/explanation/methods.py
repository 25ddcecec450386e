"""How evidence is read off a network that is split at a layer: one raw map per face, method and target.

Gradients are those of tf-keras-vis. Its Scorecam is not used: it weighs maps by a softmax over the outputs,
which is 1 for every map where there is a single logit, and with a limit on the number of maps it takes
those of all faces in a batch together, so that a face's heatmap would hang on its neighbours. Its
SmoothGrad is not used either, as it draws new noise at each call; its gradients are.
"""

from __future__ import annotations

import difflib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Literal

import cv2
import numpy as np

from ..errors import UnknownChoice
from ..models.graph import is_cut
from ..utils.keras_backend import standard_error_held_back

if TYPE_CHECKING:
    import keras

    from ..models.classifier import Classifier

Target = Literal["fake", "real"]
# Name -> what it is called in the literature.
METHODS = {
    "gradcam": "Grad-CAM",
    "gradcam++": "Grad-CAM++",
    "layercam": "Layer-CAM",
    "scorecam": "Score-CAM",
    "saliency": "SmoothGrad saliency",
}
# Score-CAM tries this many maps, those that vary most over the face ("Faster Score-CAM", T. Tabayashi), each
# with forward passes of its own; docs/performance.md has what more of them change and cost.
MAPS_TRIED = 128
# SmoothGrad: Smilkov et al. 2017 recommend 10 to 20 % noise; docs/performance.md has the number of copies.
NOISY_COPIES = 16
NOISE = 0.1
# Cells a side that finer saliency maps are averaged to; else a few single pixels hold the peak.
SALIENCY_CELLS = 32
# Pictures in one pass of the network; bounds memory, changes no result.
_FORWARD_AT_ONCE = 32
_BACKWARD_AT_ONCE = 8
# Class of tf-keras-vis for each method that is its own as it stands.
_CAMS = {
    "gradcam": ("tf_keras_vis.gradcam", "Gradcam"),
    "gradcam++": ("tf_keras_vis.gradcam_plus_plus", "GradcamPlusPlus"),
    "layercam": ("tf_keras_vis.layercam", "Layercam"),
}
_SALIENCY = ("tf_keras_vis.saliency", "Saliency")


def checked_choice(what: str, given: object, known: object) -> None:
    """Raise :class:`UnknownChoice` unless ``given`` is one of ``known``, and say which there are."""
    names = [str(name) for name in known]
    if given in names:
        return
    close = difflib.get_close_matches(str(given), names, 1)
    raise UnknownChoice(
        f"unknown {what} {given!r}; there are {', '.join(names)}",
        next_step=f"Did you mean {close[0]!r}?" if close else f"Choose one of them as {what}.",
    )


def default_layer(classifier: Classifier, method: str) -> str:
    """Where a method looks if nobody says: saliency at the picture itself, all others at the last common map.

    Raises
    ------
    UnsuitableModel
        The model has no map that all of the evidence crosses.
    """
    if method == "saliency":
        return _input_layer(classifier.keras_model)
    return classifier.explain_layer


class SplitNetwork:
    """The two halves of a classifier's network at one layer, and the methods on the second.

    tf-keras-vis makes a new Keras model at each call and runs it layer by layer. Given the whole network
    that is slow and leaks; given a model of three layers, whose last is the compiled rest of the
    network, it costs next to nothing.

    Parameters
    ----------
    classifier
        Not kept, so that whoever caches this by classifier keeps none alive.
    layer
        A layer whose output is a map (N, h, w, channels); the input layer is one.

    Raises
    ------
    UnknownChoice
        There is no such layer, or it has no map.
    """

    def __init__(self, classifier: Classifier, layer: str) -> None:
        import keras
        import tensorflow as tf

        model = classifier.keras_model
        features = _map_of(model, layer)
        self.layer = layer
        self._mirror = classifier.card.mirror
        # Black, in the numbers that this model eats.
        self._black = np.float32(classifier.preprocessing.value_range[0])
        self._on_picture = layer == _input_layer(model)
        self._size = size = classifier.preprocessing.input_size
        image = tf.TensorSpec((None, size, size, 3), tf.float32)
        trunk = keras.Model(model.inputs, features)
        self._trunk = tf.function(
            lambda x: tf.cast(trunk(x, training=False), tf.float32), input_signature=[image], autograph=False
        )
        # Where paths lead around the layer, the rest of the network still needs the picture.
        self._needs_image = not is_cut(model, layer)
        self._rest, self._head = _compiled_rest(model, features, self._needs_image, image)
        self._visualisations: dict[str, Any] = {}

    def maps(self, batch: np.ndarray, method: str, target: Target) -> np.ndarray:
        """Raw maps of a batch of model inputs.

        Parameters
        ----------
        batch
            (N, S, S, 3) float32 from :func:`redeepfake_nb.preprocess`.
        method, target
            See :func:`redeepfake_nb.explain`.

        Returns
        -------
        numpy.ndarray
            (N, h, w) float32 in the method's own units, not negative.
        """
        sign = 1.0 if target == "fake" else -1.0
        if method == "saliency" and _SALIENCY[1] not in self._visualisations:
            # Its first run has TensorFlow write a line about the processor, which looks like a failure.
            with standard_error_held_back():
                self.prepare(method)
        read: Callable[[np.ndarray, float], np.ndarray] = {
            "scorecam": self._score_cam,
            "saliency": self._saliency,
        }.get(method) or (lambda pixels, sign: self._cam(pixels, sign, method))
        found = read(batch, sign)
        if self._mirror:
            # The score is the mean over both sides, and so is its explanation; only then is it cut at 0.
            found = (found + read(np.ascontiguousarray(batch[:, :, ::-1]), sign)[:, :, ::-1]) / 2
        return np.maximum(found, 0)

    def prepare(self, method: str) -> None:
        """Have everything compiled that a method needs, on one black picture."""
        black = np.full((1, self._size, self._size, 3), self._black, np.float32)
        if method == "saliency":
            self._slopes(np.asarray(self._trunk(black)), black, 1.0)
        elif method == "scorecam":
            self._logits(black)
        else:
            self._cam(black, 1.0, method)

    def _cam(self, pixels: np.ndarray, sign: float, method: str) -> np.ndarray:
        """Grad-CAM, Grad-CAM++ and Layer-CAM: maps weighed by their gradients, (N, h, w), signed."""
        import tensorflow as tf

        options: dict[str, Any] = {"activation_modifier": None}
        if method == "gradcam++":
            # Their weight is 0 in any case, but their denominator can be, too, and 0 * inf is not a number.
            options["gradient_modifier"] = tf.nn.relu
        found = self._visualisation(*_CAMS[method])(
            _score(sign),
            self._seed(self._trunk(tf.constant(pixels)), pixels),
            penultimate_layer="explained",
            seek_penultimate_conv_layer=False,
            expand_cam=False,
            normalize_cam=False,
            **options,
        )
        return np.asarray(found, np.float32)

    def _score_cam(self, pixels: np.ndarray, sign: float) -> np.ndarray:
        """Maps weighed by what the picture seen through them adds to the logit of a black one, signed."""
        maps = np.asarray(self._trunk(pixels))
        black = float(self._logits(np.full_like(pixels[:1], self._black))[0])
        return np.stack([self._score_cam_of(p, m, sign, black) for p, m in zip(pixels, maps, strict=True)])

    def _score_cam_of(self, pixels: np.ndarray, maps: np.ndarray, sign: float, black: float) -> np.ndarray:
        spread = maps.std(axis=(0, 1))
        chosen = np.argsort(-spread, kind="stable")[:MAPS_TRIED]
        found = np.zeros(maps.shape[:2], np.float32)
        for start in range(0, len(chosen), _FORWARD_AT_ONCE):
            some = np.ascontiguousarray(maps[..., chosen[start : start + _FORWARD_AT_ONCE]])
            masks = cv2.resize(some, pixels.shape[1::-1], interpolation=cv2.INTER_LINEAR)
            masks = masks.reshape(*pixels.shape[:2], -1).transpose(2, 0, 1)[..., None]
            low, high = (f(axis=(1, 2), keepdims=True) for f in (masks.min, masks.max))
            # An even map, but for rounding, hides no place more than another.
            uneven = high - low > 1e-6 * np.maximum(np.abs(high), np.abs(low))
            masks = np.divide(masks - low, high - low, out=np.ones_like(masks), where=uneven)
            seen = self._black + masks * (pixels - self._black)
            found += some @ (sign * (self._logits(seen.astype(np.float32)) - black))
        return found

    def _saliency(self, pixels: np.ndarray, sign: float) -> np.ndarray:
        """Gradients averaged over noisy copies, times what they are gradients of, signed."""
        features = np.asarray(self._trunk(pixels))
        found = []
        for one, values in zip(pixels, features, strict=True):
            # The same noise for every face, so that a face has the same heatmap alone and among others.
            rng = np.random.default_rng(0)
            total = np.zeros_like(values)
            for start in range(0, NOISY_COPIES, _BACKWARD_AT_ONCE):
                count = min(_BACKWARD_AT_ONCE, NOISY_COPIES - start)
                noise = rng.standard_normal((count, *values.shape), np.float32)
                noisy = values + NOISE * np.ptp(values) * noise
                total += self._slopes(noisy, np.repeat(one[None], count, axis=0), sign).sum(axis=0)
            above_zero = values - self._black if self._on_picture else values
            parts = (total / NOISY_COPIES * above_zero).sum(axis=-1)
            # Single pixels are all noise. What they account for adds up, so that cells lose nothing by it.
            size = (min(parts.shape[1], SALIENCY_CELLS), min(parts.shape[0], SALIENCY_CELLS))
            found.append(cv2.resize(parts, size, interpolation=cv2.INTER_AREA))
        return np.stack(found).astype(np.float32)

    def _slopes(self, features: np.ndarray, pixels: np.ndarray, sign: float) -> np.ndarray:
        """(N, h, w, channels) gradients of the logit, or of its opposite."""
        import tensorflow as tf

        found = self._visualisation(*_SALIENCY)(
            _score(sign),
            self._seed(tf.constant(features), pixels),
            keepdims=True,
            gradient_modifier=None,
            normalize_map=False,
        )
        return np.asarray(found[0] if self._needs_image else found)

    def _seed(self, features, pixels: np.ndarray):
        import tensorflow as tf

        return [features, tf.constant(pixels)] if self._needs_image else features

    def _logits(self, pixels: np.ndarray) -> np.ndarray:
        """(N,) float32 of the network as it is, without its mirror image."""
        import tensorflow as tf

        pixels = tf.constant(pixels)
        features = self._trunk(pixels)
        found = self._rest(features, pixels) if self._needs_image else self._rest(features)
        return np.asarray(found, np.float32)[:, 0]

    def _visualisation(self, module: str, name: str) -> Any:
        if name not in self._visualisations:
            with warnings.catch_warnings():
                # tf-keras-vis 0.8.7 imports from a namespace that SciPy has marked as deprecated.
                warnings.simplefilter("ignore", DeprecationWarning)
                kind = getattr(__import__(module, fromlist=[name]), name)
            self._visualisations[name] = kind(self._head, clone=False)
        return self._visualisations[name]


def _score(sign: float) -> Callable:
    import tensorflow as tf

    def score(logit):
        # Grad-CAM++ multiplies by exp(score), which is infinite from 89 on and cancels in the heatmap. As
        # only the gradient counts otherwise, the score may be 0.
        return sign * (logit[:, 0] - tf.stop_gradient(logit[:, 0]))

    return score


def _input_layer(model: keras.Model) -> str:
    return model.inputs[0]._keras_history.operation.name


def _map_of(model: keras.Model, layer: str):
    """The layer's output, (N, h, w, channels)."""
    maps = [item.name for item in model.layers if len(getattr(item.output, "shape", ())) == 4]
    if layer not in maps:
        known = layer in [item.name for item in model.layers]
        close = difflib.get_close_matches(str(layer), maps, 3) or maps[-6:]
        raise UnknownChoice(
            f"layer {layer!r} has no map of height, width and channels"
            if known
            else f"there is no layer {layer!r}",
            subject=model.name,
            next_step=f"Leave the layer out, or take one with a map, such as {', '.join(close)}.",
        )
    return model.get_layer(layer).output


def _compiled_rest(model: keras.Model, features, needs_image: bool, image) -> tuple[Callable, keras.Model]:
    """The network behind a layer: compiled, and as Keras model of it behind a layer ``explained``."""
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
    return run, keras.Model(heads, Rest(dtype="float32")(explained, *heads[1:]))
