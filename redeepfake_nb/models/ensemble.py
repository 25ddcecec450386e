"""Merge several trained networks of this package into one model whose logit is a mean of theirs.

Their weights in the mean are the same for all faces (:func:`ensemble`), or differ from face to face
(:func:`mixture_of_experts`).

Networks that start from different pretrained weights make different mistakes, and the mean of their logits is
better than either. As each network is linear after its evidence map, the mean is such a network again:
Grad-CAM at the joint map accounts for the whole score, and one forward pass runs all of them. What CLIP's
encoder adds comes from no place in the face; it adds to the logit beside the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from .architectures.builder import LOGIT_LAYER, OWN, Head, build_model
from .architectures.clip_vit import CLIP, FEATURES_LAYER, HIDDEN_LAYER, reads_centre
from .architectures.evidence_map import EVIDENCE_LAYER
from .architectures.mixture import EXPERTS_LAYER, GATE_LAYER
from .classifier import Classifier

if TYPE_CHECKING:
    import keras

# What may differ between two heads on the same network.
_HEAD_LAYERS = (LOGIT_LAYER, EXPERTS_LAYER, GATE_LAYER, HIDDEN_LAYER)


class Gate(NamedTuple):
    """How much each of K experts is weighted for a face: ``softmax(features @ kernel + bias)``.

    ``kernel``: (D, K) float32 for CLIP's D features; ``bias``: (K,) float32.
    """

    kernel: np.ndarray
    bias: np.ndarray


def backbone_of(model: keras.Model) -> str:
    """Return which network of this package a model is, judged by its name.

    Raises
    ------
    ValueError
        None of them, or one whose head is not linear.
    """
    names = {name.lower(): name for name in OWN}
    if model.name not in names:
        raise ValueError(f"{model.name!r} is not one of {', '.join(OWN)}")
    layer = FEATURES_LAYER if names[model.name] == CLIP else EVIDENCE_LAYER
    width = model.get_layer(layer).output.shape[-1] + clip_units(model)
    if model.get_layer(LOGIT_LAYER).kernel.shape[0] != width:
        raise ValueError(f"the head of {model.name!r} is not linear")
    return names[model.name]


def clip_units(model: keras.Model) -> int:
    """Return the width of a network's hidden layer over CLIP's features; 0 without one."""
    layers = {layer.name: layer for layer in model.layers}
    return int(layers[HIDDEN_LAYER].units) if HIDDEN_LAYER in layers else 0


def resized(classifier: Classifier, input_size: int) -> Classifier:
    """Return a network of this package with the same weights and another input size, without temperature.

    Raises
    ------
    ValueError
        Another network; see :func:`backbone_of`.
    """
    network = classifier.keras_model
    head = Head(units=(), dropout=0.2, clip_units=clip_units(network), clip_centre=reads_centre(network))
    model = build_model(backbone_of(classifier.keras_model), head=head, input_size=input_size)
    model.set_weights(classifier.keras_model.get_weights())
    preprocessing = replace(classifier.preprocessing, input_size=input_size)
    return Classifier(model, replace(classifier.card, preprocessing=preprocessing, temperature=None))


def normalized_weights(weights: Sequence[float] | None, count: int, *, zeros: bool = False) -> list[float]:
    """Return ``count`` weights that add up to 1, all alike where none are given.

    Raises
    ------
    ValueError
        They are not ``count`` positive numbers; with ``zeros``, some but not all may be 0.
    """
    shares = np.ones(count) if weights is None else np.array(weights, np.float64)
    lowest = (shares >= 0) if zeros else (shares > 0)
    if shares.shape != (count,) or not (np.isfinite(shares) & lowest).all() or (zeros and not shares.any()):
        wanted = "weights of 0 or more, not all 0," if zeros else "a positive weight"
        raise ValueError(f"an ensemble needs {wanted} for each classifier, not {weights}")
    return [float(share) for share in shares / shares.sum()]


def weights_per_expert(weights: Sequence[Sequence[float]], count: int) -> list[list[float]]:
    """Return normalised weights of ``count`` classifiers for each expert of a mixture.

    Raises
    ------
    ValueError
        A list does not have ``count`` numbers of 0 or more, not all 0, or a classifier is in no expert.
    """
    rows = [normalized_weights(row, count, zeros=True) for row in weights]
    unused = [i + 1 for i, shares in enumerate(zip(*rows, strict=True)) if not any(shares)]
    if unused:
        raise ValueError(f"classifier {unused[0]} has no weight in any expert")
    return rows


def checked_scales(logit_scale: Sequence[float] | None, experts: int) -> list[float]:
    """Return a factor for each expert's logit, 1 where none is given.

    Raises
    ------
    ValueError
        They are not ``experts`` positive numbers.
    """
    factors = np.ones(experts) if logit_scale is None else np.array(logit_scale, np.float64)
    if factors.shape != (experts,) or not (np.isfinite(factors) & (factors > 0)).all():
        raise ValueError(f"{experts} experts need a positive scale each, not {logit_scale}")
    return [float(factor) for factor in factors]


def ensemble(
    classifiers: Sequence[Classifier], input_size: int, weights: Sequence[float] | None = None
) -> tuple[keras.Model, str]:
    """Build one flat model that returns the weighted mean of several classifiers' calibrated logits.

    Parameters
    ----------
    classifiers
        Networks of this package with linear heads and the same preprocessing except for the size. They are
        different ones, or the same one with nothing but another head (a frozen encoder's, say): such heads
        become one, at no cost, and their hidden layers over CLIP's features one wider layer. The first gives
        the grid of the joint evidence map, which must be the finest: EfficientNet-Lite before FaceResNet.
        CLIPViTB16, which has no map, comes last.
    input_size
        Side of the model's input in pixels; each network runs at this size.
    weights
        Of the classifiers, above 0; they are divided by their sum. Default: all alike.

    Returns
    -------
    model : keras.Model
        (N, input_size, input_size, 3) float32 RGB 0..255 -> (N, 1) float32 logit.
    backbone : str
        Its name for :func:`redeepfake_nb.build_model`.

    Raises
    ------
    ValueError
        Fewer than two, the same network twice with other weights below its head, another head, another order,
        different preprocessing, or weights that are not one positive number for each.
    """
    if len(classifiers) < 2:
        raise ValueError("an ensemble needs at least two classifiers")
    shares = normalized_weights(weights, len(classifiers))
    networks = distinct_networks(classifiers)
    joint = _joint_network(classifiers, networks, input_size, 1)
    kernel, bias = _joint_head(classifiers, shares, joint)
    joint.get_layer(LOGIT_LAYER).set_weights([kernel[:, None], np.array([bias], np.float32)])
    return joint, "+".join(networks)


def mixture_of_experts(
    classifiers: Sequence[Classifier],
    input_size: int,
    weights: Sequence[Sequence[float]],
    gate: Gate,
    logit_scale: Sequence[float] | None = None,
) -> tuple[keras.Model, str]:
    """Build one flat model of several weighted means of classifiers, which a gate weights for each face.

    Each expert is a mean of the classifiers' calibrated logits as :func:`ensemble` makes it; all share the
    networks, so that a second expert costs no time. See
    :mod:`redeepfake_nb.models.architectures.mixture`.

    Parameters
    ----------
    classifiers, input_size
        As for :func:`ensemble`, with CLIPViTB16 among them.
    weights
        Per expert one weight for each classifier, 0 or more; they are divided by their sum. Each classifier
        has some weight in one expert at least.
    gate
        As many experts.
    logit_scale
        Per expert a factor above 0 on its logit, such as 0.75 for one that errs more on sources of fakes that
        it has not seen than its calibration on val says. Default: 1 for each.

    Returns
    -------
    model : keras.Model
        (N, input_size, input_size, 3) float32 RGB 0..255 -> (N, 1) float32 logit.
    backbone : str
        Its name for :func:`redeepfake_nb.build_model`.

    Raises
    ------
    ValueError
        As for :func:`ensemble`, or no CLIPViTB16, fewer than two experts, or a gate for another number of
        them or for other features, or a logit_scale that is not one positive number for each.
    """
    if len(weights) < 2:
        raise ValueError("a gate needs at least two experts")
    shares = weights_per_expert(weights, len(classifiers))
    networks = distinct_networks(classifiers)
    if CLIP not in networks:
        raise ValueError(f"a gate reads the features of {CLIP}, and none of the networks is one")
    features = networks[CLIP].get_layer(FEATURES_LAYER).output.shape[-1]
    if gate.kernel.shape != (features, len(shares)) or gate.bias.shape != (len(shares),):
        raise ValueError(
            f"{len(shares)} experts need a gate of shape {(features, len(shares))}, not {gate.kernel.shape}"
        )
    factors = np.array(checked_scales(logit_scale, len(shares)))
    joint = _joint_network(classifiers, networks, input_size, len(shares))
    heads = [_joint_head(classifiers, row, joint) for row in shares]
    kernels, biases = zip(*heads, strict=True)
    joint.get_layer(EXPERTS_LAYER).set_weights([np.stack(kernels, axis=1) * factors, biases * factors])
    joint.get_layer(GATE_LAYER).set_weights([gate.kernel, gate.bias])
    return joint, "+".join(networks)


def distinct_networks(classifiers: Sequence[Classifier]) -> dict[str, keras.Model]:
    """Return each network once, by its name and in order, after checking that they can be joined."""
    inputs = {
        (
            c.preprocessing.color_order,
            c.preprocessing.value_range,
            c.preprocessing.mean,
            c.preprocessing.std,
            c.preprocessing.margin,
            c.preprocessing.align,
        )
        for c in classifiers
    }
    parts = [backbone_of(c.keras_model) for c in classifiers]
    if len(inputs) > 1:
        raise ValueError("an ensemble needs networks with the same preprocessing")
    networks: dict[str, keras.Model] = {}
    for part, classifier in zip(parts, classifiers, strict=True):
        if not _same_below_head(networks.setdefault(part, classifier.keras_model), classifier.keras_model):
            raise ValueError(f"two {part} differ below their heads, and only heads can be joined to one")
    if CLIP in list(networks)[:-1]:
        raise ValueError(f"{CLIP} comes last in an ensemble")
    return networks


def _joint_network(
    classifiers: Sequence[Classifier], networks: dict[str, keras.Model], input_size: int, experts: int
) -> keras.Model:
    """Return the networks side by side with their weights; logit, experts and gate are still random."""
    hidden = [
        c.keras_model.get_layer(HIDDEN_LAYER).get_weights() for c in classifiers if clip_units(c.keras_model)
    ]
    units = sum(kernel.shape[1] for kernel, _ in hidden)
    centre = any(reads_centre(c.keras_model) for c in classifiers)
    head = Head(units=(), dropout=0.2, experts=experts, clip_units=units, clip_centre=centre)
    joint = build_model("+".join(networks), head=head, input_size=input_size)
    sources = list(networks.values())
    for layer in joint.layers:
        if layer.weights and layer.name not in _HEAD_LAYERS:
            (source,) = (s for s in sources if layer.name in {other.name for other in s.layers})
            layer.set_weights(source.get_layer(layer.name).get_weights())
    if hidden:
        layer = joint.get_layer(HIDDEN_LAYER)
        # The centre's features, which not every hidden layer reads, are the last rows.
        rows = layer.kernel.shape[0]
        kernels = [np.pad(kernel, ((0, rows - len(kernel)), (0, 0))) for kernel, _ in hidden]
        layer.set_weights([np.concatenate(kernels, axis=1), np.concatenate([bias for _, bias in hidden])])
    return joint


def _joint_head(
    classifiers: Sequence[Classifier], shares: Sequence[float], joint: keras.Model
) -> tuple[np.ndarray, float]:
    """Return kernel (D,) and bias of the weighted mean of the classifiers' calibrated logits."""
    kernels: dict[str, np.ndarray] = {}
    hidden = [np.zeros(0, np.float32)]
    bias = 0.0
    for classifier, share in zip(classifiers, shares, strict=True):
        part = backbone_of(classifier.keras_model)
        kernel, own_bias = classifier.keras_model.get_layer(LOGIT_LAYER).get_weights()
        weight = share / (classifier.temperature or 1.0)
        scaled = kernel[:, 0] * np.float32(weight)
        own = len(scaled) - clip_units(classifier.keras_model)
        kernels[part] = kernels.get(part, 0) + scaled[:own]
        hidden.append(scaled[own:])
        bias += (float(own_bias[0]) + classifier.card.shift) * weight
    input_size = joint.input_shape[1]
    for part in kernels:
        if part != CLIP:
            grid, cells = (
                model.get_layer(EVIDENCE_LAYER).output.shape[1]
                for model in (joint, build_model(part, input_size=input_size))
            )
            # Cells that a network lacks count as zeros in the mean over the grid.
            kernels[part] *= (grid / cells) ** 2
    return np.concatenate([*kernels.values(), *hidden]), bias


def _same_below_head(a: keras.Model, b: keras.Model) -> bool:
    """Return whether two models of the same network differ in nothing but their heads."""
    if a is b:
        return True
    return all(
        np.array_equal(x, y)
        for layer in a.layers
        if layer.weights and layer.name not in _HEAD_LAYERS
        for x, y in zip(layer.get_weights(), b.get_layer(layer.name).get_weights(), strict=True)
    )
