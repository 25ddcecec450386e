"""FaceResNet: dlib's face recognition network, residual blocks of plain convolutions, as a trunk.

King 2017, "High Quality Face Recognition with Deep Metric Learning"; dlib's ``anet_type``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .dlib_weights import FaceNetwork, read_face_network
from .evidence_map import pad_to, statistics

if TYPE_CHECKING:
    import keras

SMALLEST = 67
# (filters, halves the size) of the residual blocks in forward order. The last block, which leaves 2 x 2
# cells, only serves the embedding.
_STAGES: tuple[tuple[tuple[int, bool], ...], ...] = (
    ((32, False),) * 3,
    ((64, True),) + ((64, False),) * 3,
    ((128, True),) + ((128, False),) * 2,
    ((256, True),) + ((256, False),) * 2,
)
_EMBEDDING_BLOCK = (256, True)
_EPSILON = 1e-3
_GRID_STAGE = 2
# dlib subtracts this mean and divides by 256; it is fixed by the format, so a random start uses it too.
_MEAN = (122.782, 117.001, 104.298)


class _Trunk:
    """Lays dlib's face recognition network onto a tensor, with layers numbered as in its file."""

    def __init__(self) -> None:
        self.count = 0

    def convolve(self, x, filters: int, size: int, stride: int, padding: str, relu: bool = True):
        import keras

        layers = keras.layers
        index, self.count = self.count, self.count + 1
        x = layers.Conv2D(
            filters,
            size,
            stride,
            padding=padding,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv_{index}",
        )(x)
        # A short memory, since runs on two cores are short.
        x = layers.BatchNormalization(momentum=0.97, epsilon=_EPSILON, name=f"norm_{index}")(x)
        return layers.Activation("relu", name=f"relu_{index}")(x) if relu else x

    def stem(self, inputs):
        import keras

        layers = keras.layers
        offset = [-m / 256 for m in _MEAN]
        x = layers.Rescaling(1 / 256, offset=offset, name="centre")(inputs)
        x = self.convolve(x, 32, 7, 2, "valid")
        return layers.MaxPooling2D(3, 2, name="stem")(x)

    def block(self, x, filters: int, halve: bool, name: str):
        """Residual block. Where sizes differ dlib fills the missing rows, columns and channels with zeros."""
        import keras

        layers = keras.layers
        y = self.convolve(x, filters, 3, 2 if halve else 1, "valid" if halve else "same")
        y = self.convolve(y, filters, 3, 1, "same", relu=False)
        shortcut = layers.AveragePooling2D(2, 2, name=f"{name}_halved")(x) if halve else x
        y = pad_to(y, shortcut, f"{name}_pad")
        if shortcut.shape[-1] != filters:
            # Set by _start() to "copy these channels, zeros for the rest": equal to dlib's filling at the
            # start, trainable afterwards, and made of layers that any Keras 3 can load.
            shortcut = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(shortcut)
        total = layers.Add(name=f"{name}_add")([y, shortcut])
        return layers.Activation("relu", name=name)(total)


def feature_maps(inputs, weights: str | None) -> list:
    """Statistics of all four stages on the third one's grid: 11 x 11 cells and 960 channels for 198 px."""
    import keras

    trunk = _Trunk()
    x = trunk.stem(inputs)
    outputs = []
    for s, blocks in enumerate(_STAGES):
        for b, (filters, halve) in enumerate(blocks):
            x = trunk.block(x, filters, halve, f"stage_{s}_{b}")
        outputs.append(x)
    _start(keras.Model(inputs, x), read_face_network() if weights else None)
    return statistics(outputs, grid=_GRID_STAGE, window=3)


def face_embedding_model(network: FaceNetwork, input_size: int = 150) -> keras.Model:
    """dlib's face recognition network in Keras: (N, size, size, 3) RGB 0..255 -> (N, 128) float32.

    Equal to ``dlib.face_recognition_model_v1`` to about 1e-6 at 150 px, which is the proof that the
    start weights of FaceResNet are read and laid out correctly.
    """
    import keras

    layers = keras.layers
    inputs = keras.Input((input_size, input_size, 3), name="face")
    trunk = _Trunk()
    x = trunk.stem(inputs)
    for s, blocks in enumerate((*_STAGES, (_EMBEDDING_BLOCK,))):
        for b, (filters, halve) in enumerate(blocks):
            x = trunk.block(x, filters, halve, f"stage_{s}_{b}")
    x = layers.GlobalAveragePooling2D(name="mean_features")(x)
    x = layers.Dense(network.embedding.shape[1], use_bias=False, name="embedding")(x)
    model = keras.Model(inputs, x, name="face_embedding")
    _start(model, network)
    model.get_layer("embedding").set_weights([network.embedding])
    return model


def _start(model: keras.Model, network: FaceNetwork | None) -> None:
    """Set the projections of a :class:`_Trunk`, and put dlib's weights into its layers where given.

    dlib's affine layer becomes a batch normalisation whose moving statistics are neutral (mean 0,
    variance 1 - epsilon), so that inference computes the same function.
    """
    names = {layer.name for layer in model.layers}
    for name in names:
        if name.endswith("_project"):
            layer = model.get_layer(name)
            layer.set_weights([np.eye(*layer.kernel.shape[2:], dtype=np.float32)[None, None]])
    if network is None:
        return
    for index, part in enumerate(network.convolutions):
        if f"conv_{index}" not in names:
            break
        model.get_layer(f"conv_{index}").set_weights([part.kernel])
        neutral = np.zeros_like(part.scale), np.full_like(part.scale, 1 - _EPSILON)
        shift = part.shift + part.scale * part.bias
        model.get_layer(f"norm_{index}").set_weights([part.scale, shift, *neutral])
