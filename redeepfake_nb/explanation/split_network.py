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
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..errors import UnknownChoice, UnsuitableModel
from ..faces.preprocessing import prepare_crop
from ..models.geometry import Layout, layout_of
from ..models.graph import input_layer, is_cut, operation_named
from ..utils.keras_backend import buffered_stderr, compile_function
from .methods import METHODS, Target
from .mirroring import with_mirror_image

if TYPE_CHECKING:
    import keras

    from ..models.classifier import Classifier

# Methods with one weight for all places of a channel.
_ONE_WEIGHT = ("gradcam", "gradcam++", "scorecam")
# Methods that mean something for tokens, whose values have both signs.
_FOR_TOKENS = ("hirescam", "saliency", "attention")
# Score-CAM uses this many feature maps, those with the largest standard deviation ("Faster Score-CAM",
# T. Tabayashi), with one forward pass each; docs/performance.md measures the effect and cost of more.
SCORECAM_MAPS = 128
# SmoothGrad: Smilkov et al. 2017 recommend 10 to 20 % noise; docs/performance.md measures the effect of more
# samples.
SMOOTHGRAD_SAMPLES = 16
SMOOTHGRAD_NOISE = 0.1
# Finer saliency maps are averaged to this many cells per side; otherwise a few single pixels hold the peak.
SALIENCY_GRID = 32
# The weights of a larger head are not looked at for whether it is linear.
_MAX_LINEAR = 100_000
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
        A layer whose output is a feature map (N, h, w, channels) or tokens (N, T, channels); the input layer
        counts. Only tokens that have a place on the picture are explained; a class token is passed on as it
        is.

    Attributes
    ----------
    layout : Layout
        Where the cells of the maps lie on the input.

    Raises
    ------
    UnknownChoice
        There is no such layer, or its output is not a feature map.
    UnsuitableModel
        It is not known where the cells of the feature map lie on the picture.
    """

    def __init__(self, classifier: Classifier, layer: str) -> None:
        import keras
        import tensorflow as tf

        model = classifier.keras_model
        check_layer(model, layer)
        features = operation_named(model, layer).output
        layout = layout_of(model, layer)
        if isinstance(layout, str):
            raise UnsuitableModel(
                f"the map of layer {layer} cannot be laid over the picture: {layout}",
                subject=model.name,
                next_step="Leave the layer out, or choose saliency, which explains the pixels themselves.",
            )
        self.layer, self.layout = layer, layout
        # Tokens are a map of one column, without those that have no place.
        self._tokens = len(features.shape) == 3
        self._mirror = classifier.card.mirror
        self._name = model.name
        self._preprocessing = classifier.preprocessing
        self._black = classifier.preprocessing.black
        self._at_input = layer == input_layer(model)
        self._size = size = classifier.preprocessing.input_size
        image = tf.TensorSpec((None, size, size, 3), tf.float32)
        trunk = keras.Model(model.inputs, features)
        placed = layout.placed
        others = np.flatnonzero(layout.index < 0)

        def split(x: Any) -> tuple[Any, ...]:
            made = tf.cast(trunk(x, training=False), tf.float32)
            if not self._tokens:
                return (made,)
            return tf.gather(made, placed, axis=1)[:, :, None], tf.gather(made, others, axis=1)

        self._trunk = compile_function(split, image)
        # If paths bypass the layer, the second part of the network needs the image, too.
        self._needs_image = not is_cut(model, layer)
        back = np.argsort(np.concatenate([placed, others])) if self._tokens else None
        self._rest, self._head, self._head_weights = _compiled_rest(
            model, features, self._needs_image, image, back, len(placed)
        )
        self._head_size = sum(int(np.prod(weight.shape)) for weight in self._head_weights)
        self._visualizers: dict[str, Any] = {}
        self._alike: bool | None = None
        self._linear: tuple[bytes, np.ndarray | None] | None = None

    def method_here(self, method: str) -> str:
        """Return the method that is computed where one is asked for.

        See :func:`redeepfake_nb.explanation.method_choice.method_for`.
        """
        if method == "gradcam" and not self.places_alike:
            return "hirescam"
        if self._tokens and method not in _FOR_TOKENS:
            raise UnsuitableModel(
                f"{METHODS[method]} is made for feature maps, and layer {self.layer} has tokens, which "
                "attention reads place by place and whose values have both signs",
                subject=self._name,
                next_step="Choose hirescam, attention or saliency.",
            )
        if method not in _ONE_WEIGHT or self.places_alike:
            return method
        raise UnsuitableModel(
            f"{METHODS[method]} has one weight for all places of a channel, and behind layer {self.layer} "
            "this network does not treat all places alike",
            subject=self._name,
            next_step="Choose hirescam or layercam, which weigh each place by itself.",
        )

    @property
    def places_alike(self) -> bool:
        """Whether the logit stays the same however the map's cells are shuffled, as behind global pooling.

        Measured once, on maps of noise. Tokens and layers that some paths bypass count as not alike.
        """
        if self._alike is None:
            self._alike = not (self._tokens or self._needs_image) and self._ignores_places()
        return self._alike

    def _ignores_places(self) -> bool:
        rng = np.random.default_rng(0)
        noise = rng.integers(0, 256, (2, self._size, self._size, 3), np.uint8)
        (made,) = self._trunk(np.stack([prepare_crop(one, self._preprocessing) for one in noise]))
        maps = np.asarray(made)
        # What the network makes of noise may be the same everywhere; maps that are noise themselves are not.
        spread = np.sqrt(np.mean(np.square(maps, dtype=np.float64))).astype(np.float32)
        maps = np.concatenate([maps, spread * rng.standard_normal(maps.shape, np.float32)])
        maps = np.concatenate([maps, np.abs(maps[2:])])
        cells = maps.reshape(len(maps), -1, maps.shape[-1])
        shuffled = cells[:, rng.permutation(cells.shape[1])].reshape(maps.shape)
        before, after = (np.asarray(self._rest(values), np.float64)[:, 0] for values in (maps, shuffled))
        return bool(np.abs(after - before).max() <= 1e-3 * np.ptp(before) + 1e-6 * np.abs(before).max())

    def on_input(self, batch: np.ndarray, method: str, target: Target) -> np.ndarray:
        """Compute maps for a batch of model inputs, each cell drawn where it lies on the input.

        Parameters
        ----------
        batch
            (N, S, S, 3) float32 from :func:`redeepfake_nb.preprocess`.
        method, target
            See :func:`redeepfake_nb.explain`.

        Returns
        -------
        numpy.ndarray
            (N, S, S) float32, not negative, in units of the method: at each pixel the value of its cell.
        """
        return with_mirror_image(
            lambda pixels: self._drawn(self.maps(pixels, method, target)), batch, self._mirror
        )

    def _drawn(self, maps: np.ndarray) -> np.ndarray:
        """Draw cells on the input, (N, S, S)."""
        layout = self.layout
        if self._tokens:
            every = np.zeros((len(maps), len(layout.index)), np.float32)
            every[:, layout.placed] = maps[:, :, 0]
            return layout.draw(every, self._size)
        if layout.regular and maps.shape[1:] != (len(layout.rows), len(layout.columns)):
            layout = layout.coarser(*maps.shape[1:])
        return layout.draw(maps.reshape(len(maps), -1), self._size)

    def maps(self, batch: np.ndarray, method: str, target: Target) -> np.ndarray:
        """Compute the values of a map's cells for a batch of model inputs, without mirroring.

        Parameters
        ----------
        batch, method, target
            As for :meth:`on_input`.

        Returns
        -------
        numpy.ndarray
            (N, h, w) float32, evidence for the target, or against it where negative, in units of the method;
            (N, P, 1) for P tokens.
        """
        sign = 1.0 if target == "fake" else -1.0
        if method == "saliency" and _SALIENCY[1] not in self._visualizers:
            # On the first run TensorFlow prints a line about the CPU that looks like an error.
            with buffered_stderr():
                self.prepare(method)
        compute: Callable[[np.ndarray, float], np.ndarray] = {
            "scorecam": self._score_cam,
            "saliency": self._saliency,
            "hirescam": self._hires_cam,
        }.get(method) or (lambda pixels, sign: self._cam(pixels, sign, method))
        return compute(batch, sign)

    def prepare(self, method: str) -> None:
        """Compile everything that a method needs, by running it on one black image."""
        black = np.full((1, self._size, self._size, 3), self._black, np.float32)
        if method == "saliency":
            features, *others = self._trunk(black)
            self._gradients(np.asarray(features), others, black, 1.0)
        elif method == "hirescam":
            self._hires_cam(black, 1.0)
        elif method == "scorecam":
            self._logits(black)
        else:
            self._cam(black, 1.0, method)

    def uniform_weights(self) -> np.ndarray | None:
        """Return the logit's gradient for two maps of noise, (2, channels), if it is the same at every place.

        That is so where average pooling follows the layer. ``None`` otherwise.
        """
        if self._needs_image:
            return None
        black = np.zeros((2, self._size, self._size, 3), np.float32) + self._black
        features, *others = self._trunk(black)
        noise = np.random.default_rng(0).standard_normal((2, *features.shape[1:])).astype(np.float32)
        found = self._gradients(noise * np.array([1, 9], np.float32)[:, None, None, None], others, black, 1.0)
        mean = found.mean(axis=(1, 2))
        off = np.abs(found - mean[:, None, None]).max()
        return mean if off <= 1e-4 * np.abs(mean).max() else None

    def linear_weights(self) -> np.ndarray | None:
        """Return the logit's gradient (channels,) if it is the same at every place and for every map.

        That is so where average pooling and a linear output follow the layer. ``None`` otherwise.
        """
        if self._tokens or self._head_size > _MAX_LINEAR:
            return None
        # Checks of heatmaps change weights in place.
        state = b"".join(np.asarray(weight).tobytes() for weight in self._head_weights)
        if self._linear is None or self._linear[0] != state:
            found = self.uniform_weights()
            same = found is not None and np.abs(found[0] - found[1]).max() <= 1e-5 * np.abs(found).max()
            self._linear = state, found[0] if same and found is not None else None
        return self._linear[1]

    def _cam(self, pixels: np.ndarray, sign: float, method: str) -> np.ndarray:
        """Grad-CAM, Grad-CAM++ and Layer-CAM: feature maps weighted by gradients, (N, h, w), signed."""
        import tensorflow as tf

        if method == "gradcam" and (weights := self.linear_weights()) is not None:
            # The gradient is the same for all faces.
            (maps,) = self._trunk(tf.constant(pixels))
            return np.asarray(tf.tensordot(maps, tf.constant(sign * weights), 1), np.float32)
        options: dict[str, Any] = {"activation_modifier": None}
        if method == "gradcam++":
            # Negative gradients have weight 0 anyway, but their denominator can be 0, and 0 * inf is NaN.
            options["gradient_modifier"] = tf.nn.relu
        features, *others = self._trunk(tf.constant(pixels))
        found = self._visualizer(*_CAMS[method])(
            _score(sign),
            self._head_inputs(features, others, pixels),
            penultimate_layer="explained",
            seek_penultimate_conv_layer=False,
            expand_cam=False,
            normalize_cam=False,
            **options,
        )
        return np.asarray(found, np.float32)

    def _hires_cam(self, pixels: np.ndarray, sign: float) -> np.ndarray:
        """HiResCAM: each value times its own gradient, summed over the channels, (N, h, w), signed.

        Tokens count by their difference from those of a black picture, since the codes of their positions,
        which are in them, are no evidence.
        """
        features, *others = self._trunk(pixels)
        maps = np.asarray(features)
        gradients = self._gradients(maps, others, pixels, sign)
        if self._tokens:
            black = np.broadcast_to(self._black, (1, *pixels.shape[1:])).astype(np.float32)
            maps = maps - np.asarray(self._trunk(black)[0])
        return (maps * gradients).sum(axis=-1).astype(np.float32)

    def _score_cam(self, pixels: np.ndarray, sign: float) -> np.ndarray:
        """Score-CAM: maps weighted by the logit of the image they mask, minus that of black, signed."""
        maps = np.asarray(self._trunk(pixels)[0])
        black = float(self._logits(np.full_like(pixels[:1], self._black))[0])
        return np.stack([self._score_cam_one(p, m, sign, black) for p, m in zip(pixels, maps, strict=True)])

    def _score_cam_one(self, pixels: np.ndarray, maps: np.ndarray, sign: float, black: float) -> np.ndarray:
        spread = maps.std(axis=(0, 1))
        chosen = np.argsort(-spread, kind="stable")[:SCORECAM_MAPS]
        found = np.zeros(maps.shape[:2], np.float32)
        for start in range(0, len(chosen), _FORWARD_BATCH):
            some = np.ascontiguousarray(maps[..., chosen[start : start + _FORWARD_BATCH]])
            values = some.reshape(-1, some.shape[-1]).T
            if self._tokens:
                cells = np.zeros((len(values), len(self.layout.index)), np.float32)
                cells[:, self.layout.placed] = values
                values = cells
            masks = self.layout.draw(values, self._size, soft=True)[..., None]
            low, high = (f(axis=(1, 2), keepdims=True) for f in (masks.min, masks.max))
            # A map that is constant up to rounding masks nothing.
            varies = high - low > 1e-6 * np.maximum(np.abs(high), np.abs(low))
            masks = np.divide(masks - low, high - low, out=np.ones_like(masks), where=varies)
            masked = self._black + masks * (pixels - self._black)
            found += some @ (sign * (self._logits(masked.astype(np.float32)) - black))
        return found

    def _saliency(self, pixels: np.ndarray, sign: float) -> np.ndarray:
        """SmoothGrad: mean gradients over noisy samples, times the values themselves, (N, h, w), signed."""
        made, *others = self._trunk(pixels)
        features = np.asarray(made)
        found = []
        for i, (one, values) in enumerate(zip(pixels, features, strict=True)):
            # The same noise for every face, so that a face's heatmap does not depend on the batch.
            rng = np.random.default_rng(0)
            total = np.zeros_like(values)
            for start in range(0, SMOOTHGRAD_SAMPLES, _BACKWARD_BATCH):
                count = min(_BACKWARD_BATCH, SMOOTHGRAD_SAMPLES - start)
                noise = rng.standard_normal((count, *values.shape), np.float32)
                noisy = values + SMOOTHGRAD_NOISE * np.ptp(values) * noise
                same = [np.repeat(other[i : i + 1], count, axis=0) for other in others]
                gradients = self._gradients(noisy, same, np.repeat(one[None], count, axis=0), sign)
                total += gradients.sum(axis=0)
            above_zero = values - self._black if self._at_input else values
            parts = (total / SMOOTHGRAD_SAMPLES * above_zero).sum(axis=-1)
            # Single pixels are dominated by noise; contributions add up, so averaging over cells loses
            # nothing.
            if self.layout.regular and not self._tokens:
                size = (min(parts.shape[1], SALIENCY_GRID), min(parts.shape[0], SALIENCY_GRID))
                parts = cv2.resize(parts, size, interpolation=cv2.INTER_AREA)
            found.append(parts)
        return np.stack(found).astype(np.float32)

    def _gradients(
        self, features: np.ndarray, others: list[Any], pixels: np.ndarray, sign: float
    ) -> np.ndarray:
        """Return the gradients of ``sign`` times the logit, (N, h, w, channels)."""
        import tensorflow as tf

        found = self._visualizer(*_SALIENCY)(
            _score(sign),
            self._head_inputs(tf.constant(features), others, pixels),
            keepdims=True,
            gradient_modifier=None,
            normalize_map=False,
        )
        return np.asarray(found[0] if isinstance(found, list) else found)

    def _head_inputs(self, features: Any, others: list[Any], pixels: np.ndarray) -> Any:
        """Inputs of the second part: the map (a tensor), with the image and other tokens if it needs them."""
        import tensorflow as tf

        inputs = [features, *([tf.constant(pixels)] if self._needs_image else []), *others]
        return inputs if len(inputs) > 1 else features

    def _logits(self, pixels: np.ndarray) -> np.ndarray:
        """Return the network's logits, (N,) float32, without mirroring."""
        import tensorflow as tf

        image = tf.constant(pixels)
        features, *others = self._trunk(image)
        logits = self._rest(features, *([image] if self._needs_image else []), *others)
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


def check_layer(model: keras.Model, layer: str) -> None:
    """Raise :class:`UnknownChoice`, which names others, unless the layer's output is a feature map.

    Tokens that lie on a grid of the picture are one, too.
    """
    layers = {operation.name: operation for operation in model.operations}
    shape = getattr(layers[layer].output, "shape", ()) if layer in layers else ()
    if len(shape) in (4, 5) or (len(shape) == 3 and isinstance(layout_of(model, layer), Layout)):
        return
    maps = [item.name for item in model.layers if len(getattr(item.output, "shape", ())) in (4, 5)]
    close = difflib.get_close_matches(str(layer), maps, 3) or maps[-6:]
    raise UnknownChoice(
        f"the output of layer {layer!r} is not a feature map (height, width, channels)"
        if layer in layers
        else f"there is no layer {layer!r}",
        subject=model.name,
        next_step=f"Leave the layer out, or choose one with a feature map, such as {', '.join(close)}.",
    )


def _compiled_rest(
    model: keras.Model, features: Any, needs_image: bool, image: Any, back: np.ndarray | None, placed: int
) -> tuple[Callable[..., Any], keras.Model, list[Any]]:
    """Compile the network behind a layer, and wrap it in a Keras model behind a layer called ``explained``.

    Also return its weights.

    ``features`` is the layer's symbolic output, ``image`` the ``tf.TensorSpec`` of the input. Where the
    layer's output are tokens, ``placed`` of them come as a map of one column and the others as the last
    input, and ``back`` puts all in their order.
    """
    import keras
    import tensorflow as tf

    inputs = [features, *model.inputs] if needs_image else [features]
    rest = keras.Model(inputs, model.outputs[0])
    channels = features.shape[-1]
    shapes = [tuple(features.shape) if back is None else (None, placed, 1, channels)]
    shapes += [tuple(image.shape)] if needs_image else []
    shapes += [] if back is None else [(None, len(back) - placed, channels)]

    def call(*tensors: Any) -> Any:
        whole = list(tensors[:-1] if back is not None else tensors)
        if back is not None:
            whole[0] = tf.gather(tf.concat([tensors[0][:, :, 0], tensors[-1]], axis=1), back, axis=1)
        return rest(whole if needs_image else whole[0], training=False)

    run = compile_function(call, *(tf.TensorSpec(shape, tf.float32) for shape in shapes))

    kit = _keras_of_visualizers()
    base: Any = kit.layers.Layer

    class Rest(base):
        @tf.autograph.experimental.do_not_convert
        def call(self, *tensors: Any, training: bool | None = None) -> Any:
            return run(*tensors)

    heads = [kit.Input(shape[1:], dtype="float32") for shape in shapes]
    explained = kit.layers.Activation("linear", dtype="float32", name="explained")(heads[0])
    return run, kit.Model(heads, Rest(dtype="float32")(explained, *heads[1:])), rest.weights


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
