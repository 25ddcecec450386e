"""EfficientNet-Lite has the published number of weights and one evidence map."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from redeepfake_nb import build_model
from redeepfake_nb.models.architectures.efficientnet_lite import (
    VARIANTS,
    FoldedConvolution,
    LiteNetwork,
    imagenet_model,
)
from redeepfake_nb.models.graph import spatial_cut_layer

# Parameters of the published models (1,000 classes) less those of their batch normalisations, of which one
# bias for each convolution's output stays.
PUBLISHED = {"EfficientNetLite0": 4_652_008, "EfficientNetLite1": 5_416_680, "EfficientNetLite2": 6_092_072}


def blank(kind: str) -> LiteNetwork:
    """Weights of the right shapes, all 0.01."""
    shapes = [
        (w.shape for w in layer.weights)
        for layer in build_model(kind, input_size=64).layers
        if isinstance(layer, (keras.layers.Conv2D, keras.layers.DepthwiseConv2D))
    ]
    parts = [FoldedConvolution(*(np.full(s, 0.01, np.float32) for s in pair)) for pair in shapes]
    return LiteNetwork(tuple(parts), np.zeros((1280, 1000), np.float32), np.zeros(1000, np.float32))


@pytest.mark.parametrize("kind", VARIANTS)
def test_the_published_number_of_weights(kind: str) -> None:
    model = imagenet_model(blank(kind), kind, 64)
    # A normalisation has a scale and a shift for each output; folded, the shift alone is left.
    convolutions = [layer for layer in model.layers if "conv" in type(layer).__name__.lower()]
    outputs = sum(layer.bias.shape[0] for layer in convolutions)
    assert model.count_params() + outputs == PUBLISHED[kind]


@pytest.mark.parametrize("kind", VARIANTS)
def test_evidence_map_of_one_network(kind: str) -> None:
    model = build_model(kind, input_size=96)
    assert spatial_cut_layer(model) == "evidence"
    width = {"EfficientNetLite2": 24 + 48 + 120}.get(kind, 24 + 40 + 112)
    assert model.get_layer("evidence").output.shape[1:] == (6, 6, 2 * (width + 1280))


def test_the_size_must_be_a_multiple_of_32() -> None:
    with pytest.raises(ValueError, match="multiple of 32"):
        build_model("EfficientNetLite0", input_size=200)


def test_evidence_map_of_parallel_networks() -> None:
    model = build_model("EfficientNetLite0+FaceResNet", input_size=128)
    assert model.name == "efficientnetlite0_faceresnet"
    assert spatial_cut_layer(model) == "evidence"
    assert model.get_layer("evidence").output.shape[1:] == (8, 8, 2912 + 960)
    with pytest.raises(ValueError, match='starts from None or "imagenet"'):
        build_model("EfficientNetLite0", weights="face_recognition", input_size=96)
