"""EfficientNet-Lite without normalisations, as a trunk for detectors that two CPU cores can train.

Tan and Le 2019, "EfficientNet"; the Lite variants (tensorflow/tpu, ``models/official/efficientnet/lite``)
leave out squeeze-and-excitation and use ReLU6. Here each batch normalisation is folded into its convolution,
for training too: on a CPU a step then takes less than half the time, and no face depends on its batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .evidence_map import statistics
from .lite_weights import LiteNetwork, read_lite_network

if TYPE_CHECKING:
    import keras

# Width and depth of each variant relative to B0.
KINDS = {"EfficientNetLite0": (1.0, 1.0), "EfficientNetLite1": (1.0, 1.1), "EfficientNetLite2": (1.1, 1.2)}
# The input's side must be a multiple, so that cells of all stages line up.
STEP = 32
# (kernel, stride, expansion, filters, repeats) of B0.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
_STEM, _HEAD = 32, 1280  # Lite does not scale these two
# Stages whose features are used: the last of each resolution, 1/4 to 1/16; the head's stand for 1/32.
_USED = (1, 2, 4)
_GRID = 2
PREFIX = "lite_"


def _width(filters: int, factor: float) -> int:
    """``filters`` scaled and rounded to a multiple of 8, never below 90 %."""
    scaled = filters * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


class _Trunk:
    """Lays the network onto a tensor; ``names`` lists its convolutions in forward order."""

    def __init__(self) -> None:
        self.names: list[str] = []

    def convolve(self, x, filters: int | None, size: int, stride: int, name: str, relu: bool = True):
        """A convolution with bias; depthwise where ``filters`` is None."""
        import keras

        layers = keras.layers
        name = PREFIX + name
        self.names.append(name)
        options = {"padding": "same", "name": name}
        if filters is None:
            x = layers.DepthwiseConv2D(size, stride, depthwise_initializer="he_normal", **options)(x)
        else:
            x = layers.Conv2D(filters, size, stride, kernel_initializer="he_normal", **options)(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x

    def build(self, inputs, kind: str) -> tuple[list, object]:
        """(outputs of the stages, output of the head)."""
        import keras

        layers = keras.layers
        width, depth = KINDS[kind]
        x = layers.Rescaling(1 / 128, offset=-127 / 128, name=f"{PREFIX}centre")(inputs)
        x = self.convolve(x, _STEM, 3, 2, "stem")
        stages, index = [], 0
        for s, (size, stride, expansion, filters, repeats) in enumerate(_STAGES):
            # Lite does not repeat the first and the last stage more often either.
            if s not in (0, len(_STAGES) - 1):
                repeats = math.ceil(repeats * depth)
            for r in range(repeats):
                y, name = x, f"block_{index}"
                if expansion > 1:
                    y = self.convolve(y, expansion * x.shape[-1], 1, 1, f"{name}_expand")
                y = self.convolve(y, None, size, stride if r == 0 else 1, f"{name}_depthwise")
                y = self.convolve(y, _width(filters, width), 1, 1, f"{name}_project", relu=False)
                x = y if r == 0 else layers.Add(name=f"{PREFIX}{name}")([y, x])
                index += 1
            stages.append(x)
        return stages, self.convolve(x, _HEAD, 1, 1, "head")


def feature_maps(inputs, kind: str, weights: str | None) -> list:
    """Statistics of the stages at 1/4 to 1/32 of the input's side, on the grid of 1/16."""
    import keras

    trunk = _Trunk()
    stages, head = trunk.build(inputs, kind)
    if weights:
        _start(keras.Model(inputs, head), trunk.names, read_lite_network(kind))
    return statistics([*(stages[s] for s in _USED), head], grid=_GRID, window=2, prefix=PREFIX)


def imagenet_model(
    network: LiteNetwork, kind: str = "EfficientNetLite0", input_size: int = 224
) -> keras.Model:
    """The ImageNet classifier: (N, size, size, 3) float32 RGB 0..255 -> (N, 1000) logits.

    That it knows a cat and a cup of espresso proves that the start weights are read and laid out correctly.
    """
    import keras

    inputs = keras.Input((input_size, input_size, 3), name="picture")
    trunk = _Trunk()
    _, x = trunk.build(inputs, kind)
    x = keras.layers.GlobalAveragePooling2D(name="mean_features")(x)
    model = keras.Model(
        inputs, keras.layers.Dense(network.classes.shape[1], name="classes")(x), name="imagenet"
    )
    _start(model, trunk.names, network)
    model.get_layer("classes").set_weights([network.classes, network.bias])
    return model


def _start(model: keras.Model, names: list[str], network: LiteNetwork) -> None:
    for name, convolution in zip(names, network.convolutions, strict=True):
        model.get_layer(name).set_weights([convolution.kernel, convolution.bias])
