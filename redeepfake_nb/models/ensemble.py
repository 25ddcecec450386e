"""Two trained networks of ours as one: side by side, one map of evidence, one linear logit.

Networks that start from different knowledge make different mistakes, and the mean of their logits is better
than either. As each of ours is linear after its map of evidence, the mean of several is again such a network:
Grad-CAM on the joint map accounts for all of the score, and one forward pass runs both.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from .architectures.builder import LOGIT_LAYER, OWN, build_model
from .architectures.evidence_map import EVIDENCE_LAYER
from .classifier import Classifier

if TYPE_CHECKING:
    import keras


def backbone_of(model: keras.Model) -> str:
    """Which of our own networks a model is, by its name.

    Raises
    ------
    ValueError
        None of them, or one whose head is not linear.
    """
    names = {name.lower(): name for name in OWN}
    if model.name not in names:
        raise ValueError(f"{model.name!r} is not one of {', '.join(OWN)}")
    if model.get_layer(LOGIT_LAYER).kernel.shape[0] != model.get_layer(EVIDENCE_LAYER).output.shape[-1]:
        raise ValueError(f"the head of {model.name!r} is not linear")
    return names[model.name]


def at_size(classifier: Classifier, input_size: int) -> Classifier:
    """One of our own networks with the same weights and another input size, not calibrated.

    Raises
    ------
    ValueError
        Not one of ours; see :func:`backbone_of`.
    """
    model = build_model(backbone_of(classifier.keras_model), input_size=input_size)
    model.set_weights(classifier.keras_model.get_weights())
    habits = replace(classifier.preprocessing, input_size=input_size)
    return Classifier(model, replace(classifier.card, preprocessing=habits, temperature=None))


def join(classifiers: Sequence[Classifier], input_size: int) -> tuple[keras.Model, str]:
    """The mean of several classifiers' calibrated logits as one flat model.

    Parameters
    ----------
    classifiers
        Different ones of our own networks, with linear heads, fed alike but for their size. The first gives
        the grid of the joint map, which must be the finest: EfficientNet-Lite before FaceResNet.
    input_size
        Side of the joint model's input in pixels; each network runs at this size.

    Returns
    -------
    model : keras.Model
        (N, input_size, input_size, 3) float32 RGB 0..255 -> (N, 1) float32 logit.
    backbone : str
        Its name for :func:`redeepfake_nb.build_model`.

    Raises
    ------
    ValueError
        Fewer than two, the same network twice, another head, or habits that differ.
    """
    if len(classifiers) < 2:
        raise ValueError("joining takes at least two classifiers")
    parts = [backbone_of(c.keras_model) for c in classifiers]
    habits = {
        (c.preprocessing.color_order, c.preprocessing.value_range, c.preprocessing.margin)
        for c in classifiers
    }
    if len(habits) > 1 or len(set(parts)) < len(parts):
        raise ValueError("joined networks must be different ones that are fed alike")
    backbone = "+".join(parts)
    joint = build_model(backbone, input_size=input_size)
    sources = [c.keras_model for c in classifiers]
    for layer in joint.layers:
        if layer.weights and layer.name != LOGIT_LAYER:
            (source,) = (s for s in sources if layer.name in {other.name for other in s.layers})
            layer.set_weights(source.get_layer(layer.name).get_weights())
    kernels, bias = [], np.zeros(1, np.float32)
    grid = joint.get_layer(EVIDENCE_LAYER).output.shape[1]
    for part, source, classifier in zip(parts, sources, classifiers, strict=True):
        kernel, own_bias = source.get_layer(LOGIT_LAYER).get_weights()
        cells = build_model(part, input_size=input_size).get_layer(EVIDENCE_LAYER).output.shape[1]
        share = 1 / (len(classifiers) * (classifier.temperature or 1.0))
        # Cells that a network lacks count as zeros in the mean.
        kernels.append(kernel * share * (grid / cells) ** 2)
        bias += own_bias * share
    joint.get_layer(LOGIT_LAYER).set_weights([np.concatenate(kernels), bias])
    return joint, backbone
