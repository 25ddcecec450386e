"""Merge several trained networks of this package into one model whose logit is a mean of theirs.

Networks that start from different pretrained weights make different mistakes, and the mean of their logits is
better than either. As each network is linear after its evidence map, the mean is such a network again:
Grad-CAM at the joint map accounts for the whole score, and one forward pass runs all of them. What CLIP's
encoder adds comes from no place in the face; it adds to the logit beside the map.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .architectures.builder import LOGIT_LAYER, OWN, build_model
from .architectures.clip_vit import CLIP, FEATURES_LAYER
from .architectures.evidence_map import EVIDENCE_LAYER
from .classifier import Classifier

if TYPE_CHECKING:
    import keras


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
    if model.get_layer(LOGIT_LAYER).kernel.shape[0] != model.get_layer(layer).output.shape[-1]:
        raise ValueError(f"the head of {model.name!r} is not linear")
    return names[model.name]


def resized(classifier: Classifier, input_size: int) -> Classifier:
    """Return a network of this package with the same weights and another input size, without temperature.

    Raises
    ------
    ValueError
        Another network; see :func:`backbone_of`.
    """
    model = build_model(backbone_of(classifier.keras_model), input_size=input_size)
    model.set_weights(classifier.keras_model.get_weights())
    preprocessing = replace(classifier.preprocessing, input_size=input_size)
    return Classifier(model, replace(classifier.card, preprocessing=preprocessing, temperature=None))


def normalized_weights(weights: Sequence[float] | None, count: int) -> list[float]:
    """Return ``count`` weights that add up to 1, all alike where none are given.

    Raises
    ------
    ValueError
        They are not ``count`` positive numbers.
    """
    shares = np.ones(count) if weights is None else np.array(weights, np.float64)
    if shares.shape != (count,) or not (np.isfinite(shares) & (shares > 0)).all():
        raise ValueError(f"an ensemble needs a positive weight for each classifier, not {weights}")
    return [float(share) for share in shares / shares.sum()]


def ensemble(
    classifiers: Sequence[Classifier], input_size: int, weights: Sequence[float] | None = None
) -> tuple[keras.Model, str]:
    """Build one flat model that returns the weighted mean of several classifiers' calibrated logits.

    Parameters
    ----------
    classifiers
        Networks of this package with linear heads and the same preprocessing except for the size. They are
        different ones, or the same one with nothing but another head (a frozen encoder's, say): such heads
        become one, at no cost. The first gives the grid of the joint evidence map, which must be the finest:
        EfficientNet-Lite before FaceResNet. CLIPViTB16, which has no map, comes last.
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
    parts = [backbone_of(c.keras_model) for c in classifiers]
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
    if len(inputs) > 1:
        raise ValueError("an ensemble needs networks with the same preprocessing")
    networks: dict[str, keras.Model] = {}
    for part, classifier in zip(parts, classifiers, strict=True):
        if not _same_below_head(networks.setdefault(part, classifier.keras_model), classifier.keras_model):
            raise ValueError(f"two {part} differ below their heads, and only heads can be joined to one")
    if CLIP in list(networks)[:-1]:
        raise ValueError(f"{CLIP} comes last in an ensemble")
    backbone = "+".join(networks)
    joint = build_model(backbone, input_size=input_size)
    sources = list(networks.values())
    for layer in joint.layers:
        if layer.weights and layer.name != LOGIT_LAYER:
            (source,) = (s for s in sources if layer.name in {other.name for other in s.layers})
            layer.set_weights(source.get_layer(layer.name).get_weights())
    kernels: dict[str, np.ndarray] = {}
    bias = np.zeros(1, np.float32)
    for part, classifier, share in zip(parts, classifiers, shares, strict=True):
        kernel, own_bias = classifier.keras_model.get_layer(LOGIT_LAYER).get_weights()
        weight = share / (classifier.temperature or 1.0)
        kernels[part] = kernels.get(part, 0) + kernel * weight
        bias += (own_bias + np.float32(classifier.card.shift)) * weight
    for part in kernels:
        if part != CLIP:
            grid, cells = (
                model.get_layer(EVIDENCE_LAYER).output.shape[1]
                for model in (joint, build_model(part, input_size=input_size))
            )
            # Cells that a network lacks count as zeros in the mean over the grid.
            kernels[part] *= (grid / cells) ** 2
    joint.get_layer(LOGIT_LAYER).set_weights([np.concatenate(list(kernels.values())), bias])
    return joint, backbone


def _same_below_head(a: keras.Model, b: keras.Model) -> bool:
    """Return whether two models of the same network differ in nothing but the weights of their logit."""
    if a is b:
        return True
    return all(
        np.array_equal(x, y)
        for layer in a.layers
        if layer.weights and layer.name != LOGIT_LAYER
        for x, y in zip(layer.get_weights(), b.get_layer(layer.name).get_weights(), strict=True)
    )
