"""A second output beside the logit that tells kinds of fakes apart: add it to a network, or take it off."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..errors import UnsuitableModel
from .architectures.builder import LOGIT_LAYER, head_features

if TYPE_CHECKING:
    import keras

KINDS_LAYER = "kinds"


class KindsLayer(NamedTuple):
    """Weights of a linear layer on the features that the logit is computed from.

    ``kernel``: (D, K) float32; ``bias``: (K,) float32. A softmax of its K values gives the probability of
    each kind, given that the face is fake.
    """

    kernel: np.ndarray
    bias: np.ndarray


def with_kinds(model: keras.Model, kinds: KindsLayer) -> keras.Model:
    """Return a model that shares the network's layers and has two outputs, logit (N, 1) and kinds (N, K).

    Raises
    ------
    UnsuitableModel
        It is not a network of :func:`redeepfake_nb.build_model`, or has other features.
    """
    import keras

    features = _features(model)
    if features.shape[-1] != len(kinds.kernel):
        raise UnsuitableModel(
            f"its kinds are computed from {len(kinds.kernel)} features, and it has {features.shape[-1]}",
            subject=model.name,
            next_step="Fit the kinds again for this network.",
        )
    # float32 also in mixed precision, as the logit.
    layer = keras.layers.Dense(len(kinds.bias), dtype="float32", name=KINDS_LAYER)
    made = keras.Model(model.inputs[0], [model.outputs[0], layer(features)], name=model.name)
    layer.set_weights([kinds.kernel, kinds.bias])
    return made


def without_kinds(model: keras.Model, count: int) -> tuple[keras.Model, KindsLayer | None]:
    """Return the network with the logit alone, and the weights of its ``count`` kinds.

    A network with one output is returned as it is, without kinds.

    Raises
    ------
    UnsuitableModel
        Its second output is not that of so many kinds.
    """
    import keras

    outputs: Sequence[keras.KerasTensor] = getattr(model, "outputs", None) or ()
    if len(outputs) < 2:
        return model, None
    names = [layer.name for layer in getattr(model, "layers", ())]
    if KINDS_LAYER not in names or len(outputs) != 2 or tuple(outputs[1].shape[1:]) != (count,):
        raise UnsuitableModel(
            f"its card names {count} kinds of fakes, and its second output is another one",
            subject=getattr(model, "name", ""),
            next_step="Use the card that was written with this file.",
        )
    kernel, bias = model.get_layer(KINDS_LAYER).get_weights()
    return keras.Model(model.inputs[0], outputs[0], name=model.name), KindsLayer(kernel, bias)


def in_columns(model: keras.Model, kinds: KindsLayer | None) -> keras.Model:
    """Return a model with the same layers and one output (N, 1 + K): the logit, then the kinds."""
    import keras

    if kinds is None:
        return model
    both = with_kinds(model, kinds)
    columns = keras.layers.Concatenate(name="logit_and_kinds")(both.outputs)
    return keras.Model(model.inputs[0], columns, name=model.name)


def _features(model: keras.Model) -> keras.KerasTensor:
    if LOGIT_LAYER not in [layer.name for layer in model.layers]:
        raise UnsuitableModel(
            "kinds of fakes are told apart only by networks of build_model()",
            subject=model.name,
            next_step="Use a card without kinds.",
        )
    return head_features(model)
