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
        Different networks of this package with linear heads and the same preprocessing except for the size.
        The first gives the grid of the joint evidence map, which must be the finest: EfficientNet-Lite before
        FaceResNet. CLIPViTB16, which has no map, comes last.
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
        Fewer than two, the same network twice, another head, another order, different preprocessing, or
        weights that are not one positive number for each.
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
    if len(inputs) > 1 or len(set(parts)) < len(parts):
        raise ValueError("an ensemble needs different networks with the same preprocessing")
    if CLIP in parts[:-1]:
        raise ValueError(f"{CLIP} comes last in an ensemble")
    backbone = "+".join(parts)
    joint = build_model(backbone, input_size=input_size)
    sources = [c.keras_model for c in classifiers]
    for layer in joint.layers:
        if layer.weights and layer.name != LOGIT_LAYER:
            (source,) = (s for s in sources if layer.name in {other.name for other in s.layers})
            layer.set_weights(source.get_layer(layer.name).get_weights())
    kernels, bias = [], np.zeros(1, np.float32)
    grid = joint.get_layer(EVIDENCE_LAYER).output.shape[1]
    for part, source, classifier, share in zip(parts, sources, classifiers, shares, strict=True):
        kernel, own_bias = source.get_layer(LOGIT_LAYER).get_weights()
        weight = share / (classifier.temperature or 1.0)
        padding = 1.0
        if part != CLIP:
            cells = build_model(part, input_size=input_size).get_layer(EVIDENCE_LAYER).output.shape[1]
            # Cells that a network lacks count as zeros in the mean over the grid.
            padding = (grid / cells) ** 2
        kernels.append(kernel * weight * padding)
        bias += (own_bias + np.float32(classifier.card.shift)) * weight
    joint.get_layer(LOGIT_LAYER).set_weights([np.concatenate(kernels), bias])
    return joint, backbone
