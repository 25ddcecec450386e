"""FaceResNet: build dlib's face recognition network in Keras as a backbone, and read its weights.

A network of residual blocks of plain convolutions. King 2017, "High Quality Face Recognition with Deep Metric
Learning"; dlib's ``anet_type``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ModelIncomplete, NotAModel
from ...faces.dlib_backend import model_file
from ...faces.tflite_reader import Layer, Network
from .evidence_map import pad_to, statistics

if TYPE_CHECKING:
    import keras


CONVOLUTIONS = 29
FILE_NAME = "dlib_face_recognition_resnet_model_v1.dat"


@dataclass(frozen=True, eq=False)
class Convolution:
    """One convolution and the affine layer after it: ``scale * (kernel * x + bias) + shift``.

    ``kernel`` is (height, width, in, out) float32, as Keras stores it; ``bias``, ``scale`` and ``shift`` are
    (out,) float32.
    """

    kernel: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    stride: int
    padding: int


@dataclass(frozen=True, eq=False)
class FaceNetwork:
    """Weights of the file: ``mean`` (3,) RGB float32, convolutions in order, ``embedding`` (256, 128)."""

    mean: np.ndarray
    convolutions: tuple[Convolution, ...]
    embedding: np.ndarray


class _Stream:
    """Reads values one after another from dlib's serialisation format."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def take(self, count: int) -> bytes:
        chunk = self.data[self.position : self.position + count]
        if len(chunk) != count:
            raise ValueError("the file ends inside a record")
        self.position += count
        return chunk

    def integer(self) -> int:
        """Read a control byte (low four bits: number of bytes, top bit: sign) and a little-endian integer."""
        control = self.take(1)[0]
        magnitude = int.from_bytes(self.take(control & 0x0F), "little")
        return -magnitude if control & 0x80 else magnitude

    def string(self) -> str:
        return self.take(self.integer()).decode("latin-1")

    def real(self) -> float:
        """Read a mantissa and a binary exponent, two packed integers."""
        mantissa, exponent = self.integer(), self.integer()
        if exponent >= 32000:
            raise ValueError("a constant is not finite")
        return float(mantissa) * 2.0**exponent

    def shape(self) -> list[int]:
        """Read the shape of an alias tensor (samples, channels, rows, columns)."""
        if self.integer() != 1:
            raise ValueError("unknown alias tensor version")
        return [self.integer() for _ in range(4)]

    def tensor(self) -> np.ndarray:
        if self.integer() != 2:
            raise ValueError("unknown tensor version")
        shape = [self.integer() for _ in range(4)]
        count = int(np.prod(shape))
        return np.frombuffer(self.take(4 * count), "<f4").reshape(shape)


def _offsets(data: bytes, record: str) -> list[int]:
    """Return the offsets of all records that begin with this version string."""
    token = bytes([1, len(record)]) + record.encode()
    found, at = [], data.find(token)
    while at >= 0:
        found.append(at)
        at = data.find(token, at + len(token))
    return found


def _convolution(stream: _Stream) -> tuple[np.ndarray, np.ndarray, int, int]:
    values = stream.tensor().ravel()
    filters, _rows, _columns, stride, _stride_x, padding, _padding_x = (stream.integer() for _ in range(7))
    shape = stream.shape()
    stream.shape()
    count = int(np.prod(shape))
    if shape[0] != filters or values.size != count + filters:
        raise ValueError("a convolution's weights do not fit its shape")
    kernel = values[:count].reshape(shape).transpose(2, 3, 1, 0)  # dlib: out, in, rows, columns
    return np.ascontiguousarray(kernel), values[count:], stride, padding


def read_face_network(path: str | Path | None = None) -> FaceNetwork:
    """Read the network's weights from ``path``, by default from the installed ``face_recognition_models``.

    Raises
    ------
    ModelIncomplete
        No such file, or the package is not installed.
    NotAModel
        Another file, or a damaged one.
    """
    path = Path(model_file(FILE_NAME) if path is None else path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelIncomplete(
            f"the file cannot be read ({error.strerror})",
            subject=path,
            next_step="Install face_recognition_models again, or give the .dat file.",
        ) from error
    try:
        return _parse(data)
    except (ValueError, IndexError) as error:
        raise NotAModel(
            f"this is not dlib's face recognition network: {error}",
            subject=path,
            next_step=f"Use {FILE_NAME} from face_recognition_models 0.3.",
        ) from error


def _parse(data: bytes) -> FaceNetwork:
    start = _offsets(data, "input_rgb_image_sized")
    if not start:
        raise ValueError("it has no RGB input layer")
    stream = _Stream(data, start[0])
    stream.string()
    mean = np.array([stream.real() for _ in range(3)], np.float32)

    records = sorted((at, kind) for kind in ("con_4", "affine_", "fc_2") for at in _offsets(data, kind))
    convolutions: list[Convolution] = []
    pending: tuple[np.ndarray, np.ndarray, int, int] | None = None
    embedding = None
    for at, kind in records:
        stream = _Stream(data, at)
        stream.string()
        if kind == "con_4":
            pending = _convolution(stream)
        elif kind == "affine_":
            if pending is None:
                raise ValueError("an affine layer has no convolution before it")
            values = stream.tensor().ravel()
            channels = stream.shape()[1]
            if values.size != 2 * channels or channels != pending[1].size:
                raise ValueError("an affine layer's weights do not fit its shape")
            kernel, bias, stride, padding = pending
            convolutions.append(
                Convolution(kernel, bias, values[:channels], values[channels:], stride, padding)
            )
            pending = None
        else:
            outputs, inputs = stream.integer(), stream.integer()
            embedding = stream.tensor().reshape(inputs, outputs)
    if len(convolutions) != CONVOLUTIONS or embedding is None:
        raise ValueError(f"it has {len(convolutions)} of {CONVOLUTIONS} convolutions")
    return FaceNetwork(mean, tuple(convolutions), embedding)


MIN_INPUT_SIZE = 67  # px
# (filters, whether the size is halved) of the residual blocks in forward order. The last block, whose map has
# 2 x 2 cells, is used for the embedding only.
_STAGES: tuple[tuple[tuple[int, bool], ...], ...] = (
    ((32, False),) * 3,
    ((64, True),) + ((64, False),) * 3,
    ((128, True),) + ((128, False),) * 2,
    ((256, True),) + ((256, False),) * 2,
)
_EMBEDDING_BLOCK = (256, True)
_EPSILON = 1e-3
_GRID_STAGE = 2
# dlib subtracts this mean and divides by 256; a network with random weights does so too.
_MEAN = (122.782, 117.001, 104.298)


class _Backbone:
    """Applies the layers of dlib's face recognition network, numbered as in its file, to a tensor."""

    def __init__(self) -> None:
        self.count = 0

    def convolve(
        self, x: keras.KerasTensor, filters: int, size: int, stride: int, padding: str, relu: bool = True
    ) -> keras.KerasTensor:
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
        # A low momentum, because trainings on two cores have few steps.
        x = layers.BatchNormalization(momentum=0.97, epsilon=_EPSILON, name=f"norm_{index}")(x)
        return layers.Activation("relu", name=f"relu_{index}")(x) if relu else x

    def stem(self, inputs: keras.KerasTensor) -> keras.KerasTensor:
        import keras

        layers = keras.layers
        offset = [-m / 256 for m in _MEAN]
        x = layers.Rescaling(1 / 256, offset=offset, name="centre")(inputs)
        x = self.convolve(x, 32, 7, 2, "valid")
        return layers.MaxPooling2D(3, 2, name="stem")(x)

    def block(self, x: keras.KerasTensor, filters: int, halve: bool, name: str) -> keras.KerasTensor:
        """Apply a residual block; as in dlib, missing rows, columns and channels are filled with zeros."""
        import keras

        layers = keras.layers
        y = self.convolve(x, filters, 3, 2 if halve else 1, "valid" if halve else "same")
        y = self.convolve(y, filters, 3, 1, "same", relu=False)
        shortcut = layers.AveragePooling2D(2, 2, name=f"{name}_halved")(x) if halve else x
        y = pad_to(y, shortcut, f"{name}_pad")
        if shortcut.shape[-1] != filters:
            # _set_weights() makes this "copy these channels, zeros for the rest": initially equal to dlib's
            # zero filling, then trainable, and made of layers that any Keras 3 can load.
            shortcut = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(shortcut)
        total = layers.Add(name=f"{name}_add")([y, shortcut])
        return layers.Activation("relu", name=name)(total)


def feature_maps(inputs: keras.KerasTensor, weights: str | None) -> list[keras.KerasTensor]:
    """Return statistics of all stages on the grid of the third: 11 x 11 cells and 960 channels for 198 px."""
    import keras

    backbone = _Backbone()
    x = backbone.stem(inputs)
    outputs = []
    for s, blocks in enumerate(_STAGES):
        for b, (filters, halve) in enumerate(blocks):
            x = backbone.block(x, filters, halve, f"stage_{s}_{b}")
        outputs.append(x)
    _set_weights(keras.Model(inputs, x), read_face_network() if weights else None)
    return statistics(outputs, grid=_GRID_STAGE, window=3)


def face_embedding_model(network: FaceNetwork, input_size: int = 150) -> keras.Model:
    """Build dlib's face recognition network in Keras: (N, size, size, 3) RGB 0..255 -> (N, 128) float32.

    Equal to ``dlib.face_recognition_model_v1`` to about 1e-6 at 150 px, which proves that the pretrained
    weights of FaceResNet are read correctly.
    """
    import keras

    layers = keras.layers
    inputs = keras.Input((input_size, input_size, 3), name="face")
    backbone = _Backbone()
    x = backbone.stem(inputs)
    for s, blocks in enumerate((*_STAGES, (_EMBEDDING_BLOCK,))):
        for b, (filters, halve) in enumerate(blocks):
            x = backbone.block(x, filters, halve, f"stage_{s}_{b}")
    x = layers.GlobalAveragePooling2D(name="mean_features")(x)
    x = layers.Dense(network.embedding.shape[1], use_bias=False, name="embedding")(x)
    model = keras.Model(inputs, x, name="face_embedding")
    _set_weights(model, network)
    model.get_layer("embedding").set_weights([network.embedding])
    return model


def feature_network(weights: FaceNetwork, input_size: int = 150) -> Network:
    """Return the layers of :func:`face_embedding_model` up to its last feature map, for other runtimes.

    The input is (N, 3, size, size), RGB 0..255 minus ``weights.mean``, divided by 256; the output is (N, 256,
    h, w).
    """
    layers: list[Layer] = []
    convolutions = iter(weights.convolutions)

    def add(kind: str, *inputs: int, **options: Any) -> int:
        layers.append(Layer(kind, inputs, len(layers) + 1, **options))
        return len(layers)

    def convolve(x: int, size: int, relu: bool = True) -> tuple[int, int]:
        c = next(convolutions)
        made = add(
            "convolution",
            x,
            stride=c.stride,
            kernel=c.kernel.shape[0],
            padding=(c.padding, c.padding),
            weights=np.ascontiguousarray((c.kernel * c.scale).transpose(3, 2, 0, 1)),
            bias=c.bias * c.scale + c.shift,
        )
        size = (size + 2 * c.padding - c.kernel.shape[0]) // c.stride + 1
        return (add("relu", made) if relu else made), size

    x, size = convolve(0, input_size)
    x, size = add("maximum", x, kernel=3, stride=2), (size - 3) // 2 + 1
    channels = len(layers[0].bias) if layers[0].bias is not None else 0
    for filters, halve in (block for stage in (*_STAGES, (_EMBEDDING_BLOCK,)) for block in stage):
        y, side = convolve(x, size)
        y, side = convolve(y, side, relu=False)
        if halve:
            x, size = add("average", x, kernel=2, stride=2), size // 2
        if side < size:
            y = add("extend", y, padding=(0, size - side))
        if channels < filters:
            x = add("pad", x, padding=(0, filters - channels))
        x, channels = add("relu", add("add", y, x)), filters
    return Network(input_size, tuple(layers), 0, ((x, channels),))


def _set_weights(model: keras.Model, network: FaceNetwork | None) -> None:
    """Initialize the projections of a :class:`_Backbone`, and set dlib's weights if ``network`` is given.

    dlib's affine layer becomes a batch normalisation whose moving statistics are neutral (mean 0, variance
    1 - epsilon), so that inference computes the same function.
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
