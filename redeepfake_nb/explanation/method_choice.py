"""Which layer, network and method explain a score where a method is asked for, and which methods differ."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnsuitableModel
from ..models.geometry import Layout, layout_of
from ..models.graph import cut_operations, input_layer
from .attention import AttentionNetwork, first_attention
from .compiled_evidence import CompiledEvidence
from .methods import METHODS, Target
from .split_network import SplitNetwork
from .window_maps import WINDOW_METHODS, window_layer

if TYPE_CHECKING:
    import keras

    from ..models.classifier import Classifier

_default_layers: weakref.WeakKeyDictionary[keras.Model, str] = weakref.WeakKeyDictionary()


def default_layer(classifier: Classifier, method: str) -> str:
    """Return the layer that a method explains where none is named.

    It is the input for saliency, and the first attention layer for attention. For all others it is the
    card's ``explain_layer``; without one, the deepest layer or operation that every path from the input to
    the output passes through, whose cells can be placed on the picture, and at least some of whose places
    reach the logit. In a transformer that is what the first attention layer is given: behind it each token
    holds something of all others.

    Raises
    ------
    UnsuitableModel
        The model has no such layer.
    """
    if classifier.preprocessing.frames > 1:
        return window_layer(classifier, method)
    if method not in ("saliency", "attention"):
        if classifier.card.explain_layer is not None:
            return classifier.card.explain_layer
        if classifier.evidence_map is not None:
            # It is the deepest one; Keras need not be asked.
            return classifier.evidence_map.layer
    model = classifier.keras_model
    if method == "saliency":
        return input_layer(model)
    if method == "attention":
        return first_attention(model)
    if model not in _default_layers:
        _default_layers[model] = _deepest_map(model)
    return _default_layers[model]


def _deepest_map(model: keras.Model) -> str:
    reason = ""
    for operation in cut_operations(model):
        shape = getattr(operation.output, "shape", ())
        if len(shape) not in (3, 4) or 1 in shape[1:-1]:
            continue
        layout = layout_of(model, operation.name)
        if isinstance(layout, str):
            reason = reason or f" (at {operation.name}, {layout})"
        elif len(shape) == 4 or _tokens_count(model, operation.output, layout):
            return operation.name
    maps = [x.name for x in model.layers if isinstance(layout_of(model, x.name), Layout)][1:]
    named = f", or name a layer with a feature map, such as {', '.join(maps[-3:])} (layer)" if maps else ""
    raise UnsuitableModel(
        "it has no spatial feature map that the whole score passes through, so it has no such heatmap"
        f"{reason}",
        subject=model.name,
        next_step=f"Choose saliency, which needs none{named}.",
    )


def _tokens_count(model: keras.Model, tokens: Any, layout: Layout) -> bool:
    """Tell whether the logit depends on the tokens that have a place, and not on a class token alone."""
    import keras
    import tensorflow as tf

    rest = keras.Model(tokens, model.outputs[0])
    noise = np.random.default_rng(0).standard_normal((2, *tokens.shape[1:])).astype(np.float32)
    values = tf.constant(noise)
    with tf.GradientTape() as tape:
        tape.watch(values)
        logit = rest(values, training=False)
    gradient = np.asarray(tape.gradient(logit, values))
    return bool(gradient[:, layout.placed].any())


_networks: weakref.WeakKeyDictionary[Classifier, dict[tuple[bool, str], SplitNetwork | AttentionNetwork]]
_networks = weakref.WeakKeyDictionary()


def network_for(
    classifier: Classifier, method: str, layer: str | None = None
) -> SplitNetwork | AttentionNetwork:
    """Return the Keras network that computes a method's heatmaps; cached per classifier and layer.

    See :func:`network_and_method` for heatmaps that need none.

    Parameters
    ----------
    method
        A name in :data:`METHODS`.
    layer
        ``None`` for the method's :func:`default_layer`.

    Raises
    ------
    UnknownChoice
        The layer has no feature map.
    UnsuitableModel
        The model has no map, or none whose place on the picture is known; or no attention.
    """
    chosen = default_layer(classifier, method) if layer is None else layer
    known = _networks.setdefault(classifier, {})
    key = method == "attention", chosen
    if key not in known:
        known[key] = (AttentionNetwork if key[0] else SplitNetwork)(classifier, chosen)
    return known[key]


def method_for(classifier: Classifier, method: str, layer: str | None = None) -> str:
    """Return the method that is computed for a model where one is asked for.

    Grad-CAM averages the gradient over the map. That means something where the network treats all places
    alike behind the map, as global pooling does. Elsewhere (a flattened map and dense layers, tokens that are
    attended to, a layer before a crop) the average would put evidence on places that do not count, and
    HiResCAM, which keeps each place's own gradient, is computed in its stead.

    Raises
    ------
    UnknownChoice, UnsuitableModel
        As for :func:`network_for`; and for Grad-CAM++ and Score-CAM, which also have one weight for all
        places, where the network does not treat all places alike.
    """
    if classifier.preprocessing.frames > 1:
        return method
    network = network_for(classifier, method, layer)
    return network.method_here(method) if isinstance(network, SplitNetwork) else method


def has_compiled_heatmap(classifier: Classifier, method: str, layer: str | None = None) -> bool:
    """Tell whether the compiled network returns a method's heatmap, so that Keras is not needed for it."""
    found = classifier.evidence_map
    if found is None or method != "gradcam":
        return False
    return (layer or default_layer(classifier, method)) == found.layer


def network_and_method(
    classifier: Classifier, method: str, layer: str | None = None
) -> tuple[SplitNetwork | AttentionNetwork | CompiledEvidence, str]:
    """Return what computes the heatmaps where a method is asked for, and the method that it computes.

    Raises
    ------
    UnknownChoice, UnsuitableModel
        As for :func:`network_for` and :func:`method_for`.
    """
    if has_compiled_heatmap(classifier, method, layer):
        return CompiledEvidence(classifier), method
    return network_for(classifier, method, layer), method_for(classifier, method, layer)


def alike_methods(classifier: Classifier, target: Target, layer: str | None = None) -> dict[str, str]:
    """Say which methods give the heatmap of another one for this model, whatever the face.

    Where the network does not treat all places alike, HiResCAM is computed where Grad-CAM is asked for, see
    :func:`method_for`. Where average pooling follows the map, the gradient is one number per channel and
    face, so HiResCAM is Grad-CAM. Grad-CAM++ and Layer-CAM both cut the gradient at 0, so they are the same.
    Where the output is linear, too, those numbers are the same for all faces: if none is negative for the
    target, Grad-CAM++ and Layer-CAM are Grad-CAM; and if none is positive, they can find nothing.

    Returns
    -------
    dict
        Method -> the method that it equals, ``""`` where it cannot find anything.
    """
    if classifier.preprocessing.frames > 1:
        return {}
    try:
        network = network_for(classifier, "gradcam", layer)
    except UnsuitableModel:
        return {}
    if not isinstance(network, SplitNetwork) or network.method_here("gradcam") != "gradcam":
        return {"gradcam": "hirescam"}
    weights = network.uniform_weights()
    if weights is None:
        return {}
    found = {"hirescam": "gradcam"}
    signed = weights if target == "fake" else -weights
    linear = np.abs(signed[0] - signed[1]).max() <= 1e-4 * np.abs(signed).max()
    if linear and (signed >= 0).all():
        return {**found, "gradcam++": "gradcam", "layercam": "gradcam"}
    if linear and (signed <= 0).all():
        return {**found, "gradcam++": "", "layercam": ""}
    return {**found, "layercam": "gradcam++"}


def distinct_methods(classifier: Classifier, target: Target, layer: str | None = None) -> tuple[str, ...]:
    """Return the methods that can be computed for a model and are not another one by construction."""
    if classifier.preprocessing.frames > 1:
        return WINDOW_METHODS
    alike = alike_methods(classifier, target, layer)
    found = []
    for method in METHODS:
        if method in alike or (method == "attention" and layer is not None):
            continue
        try:
            method_for(classifier, method, layer)
        except UnsuitableModel:
            continue
        found.append(method)
    return tuple(found)
