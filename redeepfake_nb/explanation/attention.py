"""Relevance of a transformer's tokens by its attention, rolled out over the layers and weighted by gradients.

Chefer, Gur and Wolf, "Generic Attention-model Explainability for Interpreting Bi-Modal and Encoder-Decoder
Transformers", ICCV 2021: the identity at first; each attention layer adds its attention, weighted by the
logit's gradient, cut at 0 and averaged over the heads, times what the layers before have gathered. Plain
attention roll-out (Abnar and Zuidema 2020) has no gradients, so that it is the same for fake and for real.

Attention is found in ``MultiHeadAttention`` layers, and in any softmax over an array (..., T, T).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnsuitableModel
from ..faces.preprocessing import prepare_crop
from ..models.geometry import Layout, layout_of
from ..models.graph import as_in_inference
from ..utils.keras_backend import compile_function

if TYPE_CHECKING:
    import keras

    from ..models.classifier import Classifier
    from .methods import Target


class AttentionNetwork:
    """A classifier's network with the relevance of its tokens.

    Parameters
    ----------
    classifier
        No reference is kept, so that a cache keyed by classifier does not keep it alive.
    layer
        The first attention layer that counts; those before it are left out.

    Attributes
    ----------
    layout : Layout
        Where the tokens lie on the input.

    Raises
    ------
    UnsuitableModel
        There is no such attention layer, or the tokens cannot be placed on the picture.
    """

    def __init__(self, classifier: Classifier, layer: str) -> None:
        import tensorflow as tf

        model = classifier.keras_model
        found = attention_layers(model)
        if layer not in found:
            raise _without_attention(model, list(found))
        counts = dict(list(found.items())[list(found).index(layer) :])
        tokens = counts[layer]
        if set(counts.values()) != {tokens}:
            raise UnsuitableModel(
                "its attention layers have different numbers of tokens, so they cannot be rolled out",
                subject=model.name,
                next_step="Choose gradcam or saliency.",
            )
        self.layer, self.layout = layer, _layout_of_tokens(model, tokens)
        self._mirror = classifier.card.mirror
        self._size = size = classifier.preprocessing.input_size
        names = set(counts)

        def relevance(images: Any, sign: Any) -> Any:
            attentions: list[Any] = []
            with tf.GradientTape() as tape:
                tape.watch(images)
                logit = model._run_through_graph(
                    images,
                    operation_fn=lambda op: (
                        _recording(op, attentions) if op.name in names else as_in_inference(op)
                    ),
                )
                score = sign * tf.reduce_sum(tf.cast(_single(logit), tf.float32))
            gradients = tape.gradient(score, attentions, unconnected_gradients="zero")
            gathered = tf.eye(tokens, batch_shape=[tf.shape(images)[0]])
            last = gathered
            for attention, gradient in zip(attentions, gradients, strict=True):
                weighted = tf.nn.relu(tf.cast(attention * gradient, tf.float32))
                last = tf.reduce_mean(tf.reshape(weighted, (tf.shape(images)[0], -1, tokens, tokens)), axis=1)
                gathered += tf.matmul(last, gathered)
            # Rows that reach the logit: the class token's alone, or all that are pooled.
            rows = tf.reduce_sum(last, axis=-1)
            rows = tf.math.divide_no_nan(rows, tf.reduce_sum(rows, axis=-1, keepdims=True))
            # Of a class token the identity is its own relevance, which has no place; of pooled tokens it
            # would be a constant that hides what attention brings.
            return tf.reduce_sum(rows[:, :, None] * (gathered - tf.eye(tokens)), axis=1)

        image = tf.TensorSpec((None, size, size, 3), tf.float32)
        self._relevance = compile_function(relevance, image, tf.TensorSpec((), tf.float32))

        def slopes(images: Any) -> Any:
            with tf.GradientTape() as tape:
                tape.watch(images)
                logit = model(images, training=False)
            return tf.reduce_sum(tf.abs(tape.gradient(logit, images)), axis=(0, 3))

        self._slopes = compile_function(slopes, image)
        self._settings = classifier.preprocessing
        self._live: np.ndarray | None = None

    def on_input(self, batch: np.ndarray, method: str, target: Target) -> np.ndarray:
        """Draw the tokens' relevance on the input; see :meth:`.methods.SplitNetwork.on_input`."""
        drawn = self._drawn(batch, target)
        if self._mirror:
            drawn = (drawn + self._drawn(np.ascontiguousarray(batch[:, :, ::-1]), target)[:, :, ::-1]) / 2
        return drawn

    def prepare(self, method: str) -> None:
        """Compile everything, by running it on one image."""
        self._drawn(np.zeros((1, self._size, self._size, 3), np.float32), "fake")

    def _drawn(self, batch: np.ndarray, target: Target) -> np.ndarray:
        import tensorflow as tf

        sign = tf.constant(1.0 if target == "fake" else -1.0)
        found = np.asarray(self._relevance(tf.constant(batch), sign))
        return self.layout.draw(found * self._live_tokens(), self._size)

    def _live_tokens(self) -> np.ndarray:
        """Tell of each token whether its pixels can change the logit, (tokens,) bool; measured on noise.

        Attention also reads tokens that hold a position and no pixels, such as those behind a mask.
        """
        if self._live is None:
            noise = np.random.default_rng(0).integers(0, 256, (4, self._size, self._size, 3), np.uint8)
            slopes = np.asarray(self._slopes(np.stack([prepare_crop(one, self._settings) for one in noise])))
            self._live = self.layout.cell_sums(slopes) > 1e-6 * slopes.max()
        return self._live


def _single(outputs: Any) -> Any:
    """Return the only tensor of a model's outputs, whatever structure it is in."""
    import keras

    (tensor,) = keras.tree.flatten(outputs)
    return tensor


def attention_layers(model: keras.Model) -> dict[str, int]:
    """Return the names of the layers and operations that attend, from the input on, with their tokens."""
    found = {}
    for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True):
        for node in nodes:
            operation = node.operation
            shape: tuple[int, ...] = tuple(node.outputs[0].shape)
            if type(operation).__name__ == "MultiHeadAttention" and len(shape) == 3:
                sources = {tuple(tensor.shape) for tensor in node.input_tensors}
                if len(sources) == 1:
                    found[operation.name] = int(shape[1])
            elif _is_softmax(operation) and len(shape) in (3, 4) and len(set(shape[-2:])) == 1:
                found[operation.name] = int(shape[-1])
    return found


def first_attention(model: keras.Model) -> str:
    """Return the name of the first attention layer.

    Raises
    ------
    UnsuitableModel
        There is none.
    """
    found = attention_layers(model)
    if not found:
        raise _without_attention(model, [])
    return next(iter(found))


def _without_attention(model: keras.Model, names: list[str]) -> UnsuitableModel:
    if names:
        return UnsuitableModel(
            "this layer is no attention layer",
            subject=model.name,
            next_step=f"Leave the layer out, or choose one of {', '.join(names[:6])}.",
        )
    return UnsuitableModel(
        "it has no attention layers, so there is no attention to roll out",
        subject=model.name,
        next_step="Choose gradcam or saliency.",
    )


def _is_softmax(operation: Any) -> bool:
    own = getattr(getattr(operation, "activation", None), "__name__", "")
    return type(operation).__name__ == "Softmax" or own == "softmax"


def _recording(operation: Any, attentions: list[Any]) -> Any:
    """Return the operation as a function that also appends its attention to a list."""
    called = as_in_inference(operation)
    if _is_softmax(operation):

        def softmax(*args: Any, **kwargs: Any) -> Any:
            attentions.append(called(*args, **kwargs))
            return attentions[-1]

        return softmax

    def attend(*args: Any, **kwargs: Any) -> Any:
        wanted = kwargs.pop("return_attention_scores", False)
        output, scores = called(*args, return_attention_scores=True, **kwargs)
        attentions.append(scores)
        return (output, scores) if wanted else output

    return attend


def _layout_of_tokens(model: keras.Model, tokens: int) -> Layout:
    for operation in model.operations:
        shape: tuple[int, ...] = getattr(operation.output, "shape", ())
        if len(shape) == 3 and shape[1] == tokens:
            layout = layout_of(model, operation.name)
            if isinstance(layout, Layout):
                return layout
    raise UnsuitableModel(
        "its tokens cannot be followed back to places of the picture",
        subject=model.name,
        next_step="Choose saliency, which explains the pixels themselves.",
    )
