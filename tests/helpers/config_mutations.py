"""Rewrite the configuration of a model file reproducibly by seed; the result is still valid JSON.

Randomly damaged bytes hardly ever leave a model file that can be unpacked, but an attacker can write any
configuration.
"""

from __future__ import annotations

import copy
import io
import json
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np

_VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2, 3, 7, 255, 10**6, 2**31, 2**63, 10**30, 0.5, -0.0, 1e308, float("nan"),
    float("inf"), "", "a", "same", "valid", "causal", "channels_first", "float16", "bfloat16", "int8",
    "string", "relu", "softmax", "tanh", "zeros", "../../x", "\x00", "\ud800", "x" * 5000, "__main__", [],
    [[]], [None], [0], [-1, -1], [0, 0], [1, 1], [2, 2], [3, 4], [10**5, 10**5], [[1, 2], [3, 4]], {},
    {"a": 1}, {"class_name": "Add"},
    {"class_name": "function", "config": "relu", "module": "keras.activations"},
    {"class_name": "__tuple__", "items": [1, 2]},
    {"class_name": "__numpy__", "config": {"value": [1], "dtype": "f"}},
    {"class_name": "__keras_tensor__",
     "config": {"shape": [None, 3], "dtype": "float32", "keras_history": ["x", 0, 0]}},
)  # fmt: skip
_CLASSES = (
    "Conv2D", "DepthwiseConv2D", "SeparableConv2D", "Conv2DTranspose", "Dense", "EinsumDense",
    "BatchNormalization", "GroupNormalization", "LayerNormalization", "Flatten", "Reshape", "Permute",
    "RepeatVector", "GlobalMaxPooling2D", "MaxPooling2D", "AveragePooling2D", "ZeroPadding2D", "Cropping2D",
    "UpSampling2D", "Resizing", "CenterCrop", "Rescaling", "Normalization", "RandomFlip", "RandomRotation",
    "Activation", "ReLU", "PReLU", "Softmax", "Dropout", "Add", "Multiply", "Concatenate", "Dot",
    "Attention", "MultiHeadAttention", "Embedding", "TimeDistributed", "InputLayer", "Identity", "Masking",
    "SpectralNormalization", "Functional", "Sequential", "Model",
)  # fmt: skip


def changed(config: Any, seed: int) -> Any:
    """Copy a configuration with one to four changes, which depend on the seed alone."""
    rng = np.random.default_rng(seed)
    whole = [copy.deepcopy(config)]
    for _ in range(int(rng.integers(1, 5))):
        if not (places := list(_places(whole))):
            break
        _CHANGES[int(rng.integers(len(_CHANGES)))](*places[int(rng.integers(len(places)))], places, rng)
    return whole[0] if whole else None


def _places(node: Any) -> Any:
    """Yield (holder, key) of every value below a node."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, value in list(pairs):
        yield node, key
        yield from _places(value)


def _set(holder: Any, key: Any, places: list, rng: np.random.Generator) -> None:
    holder[key] = copy.deepcopy(_VALUES[int(rng.integers(len(_VALUES)))])


def _number(holder: Any, key: Any, places: list, rng: np.random.Generator) -> None:
    """Change a number."""
    numbers = [(h, k) for h, k in places if type(h[k]) in (int, float)]
    if numbers:
        holder, key = numbers[int(rng.integers(len(numbers)))]
        holder[key] = _VALUES[int(rng.integers(3, 19))]


def _class(holder: Any, key: Any, places: list, rng: np.random.Generator) -> None:
    """Change the class of a layer and keep its settings."""
    named = [h for h, k in places if k == "class_name"]
    if named:
        node = named[int(rng.integers(len(named)))]
        name = _CLASSES[int(rng.integers(len(_CLASSES)))]
        node["class_name"] = name
        if "registered_name" in node:
            node["registered_name"] = None


def _remove(holder: Any, key: Any, places: list, rng: np.random.Generator) -> None:
    del holder[key]


def _swap(holder: Any, key: Any, places: list, rng: np.random.Generator) -> None:
    """Replace a value by a copy of another, possibly of one that contains it."""
    other, place = places[int(rng.integers(len(places)))]
    holder[key] = copy.deepcopy(other[place])


def _duplicate(holder: Any, key: Any, places: list, rng: np.random.Generator) -> None:
    """Duplicate an item of a list."""
    lists = [h[k] for h, k in places if isinstance(h[k], list) and h[k]]
    if lists:
        chosen = lists[int(rng.integers(len(lists)))]
        chosen.append(copy.deepcopy(chosen[int(rng.integers(len(chosen)))]))


_CHANGES: tuple[Callable[[Any, Any, list, np.random.Generator], None], ...] = (
    _set, _set, _number, _number, _class, _remove, _swap, _duplicate,
)  # fmt: skip


def valid_models(folder: Path) -> list[Path]:
    """Create models with many types of layers: Keras 3 in both formats, and Keras 2; all with 16 px input."""
    import keras

    from helpers.hostile_models import keras2_file

    layers = keras.layers
    keras.utils.set_random_seed(0)
    image = keras.Input((16, 16, 3), name="face")
    inner = [
        layers.Rescaling(1 / 255),
        layers.RandomFlip(),
        layers.Conv2D(4, 3, padding="same", name="first"),
    ]
    x = keras.Sequential([keras.Input((16, 16, 3)), *inner], name="inner")(image)
    y = layers.DepthwiseConv2D(3, padding="same", name="depth")(x)
    y = layers.ReLU(max_value=6.0, name="relu")(layers.BatchNormalization(name="norm")(y))
    x = layers.Add(name="add")([x, y])

    def ended(x: Any) -> keras.Model:
        x = layers.GlobalAveragePooling2D(name="mean")(layers.MaxPooling2D(2, name="pool")(x))
        return keras.Model(image, layers.Dense(1, activation="sigmoid", name="out")(layers.Dropout(0.2)(x)))

    # Keras writes operations into .h5 files as well, and cannot read them from there.
    ended(layers.Concatenate(name="both")([x, x[..., :2] * 2.0])).save(folder / "parts.keras")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ended(x).save(folder / "parts.h5")
    keras2_file(folder, "old", _old_config(), **_old_arrays())
    return [folder / "parts.keras", folder / "parts.h5", folder / "old.h5"]


def _old_config() -> dict:
    """Configuration of a small network with a branch, as written by Keras 2."""

    def layer(class_name: str, name: str, *before: str, **config: Any) -> dict:
        settings = {"name": name, "trainable": True, "dtype": "float32", **config}
        nodes = [[[other, 0, 0, {}] for other in before]] if before else []
        return {"class_name": class_name, "name": name, "config": settings, "inbound_nodes": nodes}

    spread = {"strides": [1, 1], "padding": "same", "data_format": "channels_last", "dilation_rate": [1, 1]}
    start = {"class_name": "GlorotUniform", "config": {"seed": None}}
    layers = [
        layer("InputLayer", "face", batch_input_shape=[None, 16, 16, 3], sparse=False, ragged=False),
        layer("Rescaling", "scale", "face", scale=1 / 255, offset=0.0),
        layer("Conv2D", "conv", "scale", filters=4, kernel_size=[3, 3], groups=1, activation="relu",
              use_bias=True, kernel_initializer=start, kernel_regularizer=None, **spread),
        layer("BatchNormalization", "norm", "conv", axis=[3], momentum=0.99, epsilon=1e-3, center=True,
              scale=True),
        layer("ReLU", "relu", "norm", max_value=6.0, negative_slope=0.0, threshold=0.0),
        layer("Add", "add", "conv", "relu"),
        layer("GlobalAveragePooling2D", "mean", "add", data_format="channels_last", keepdims=False),
        layer("Dense", "out", "mean", units=1, activation="sigmoid", use_bias=True),
    ]  # fmt: skip
    ends = {"input_layers": [["face", 0, 0]], "output_layers": [["out", 0, 0]]}
    return {"class_name": "Functional", "config": {"name": "old", "layers": layers, **ends}}


def _old_arrays() -> dict[str, np.ndarray]:
    shapes = {"conv__kernel": (3, 3, 3, 4), "conv__bias": (4,), "out__kernel": (4, 1), "out__bias": (1,)}
    shapes |= {f"norm__{name}": (4,) for name in ("gamma", "beta", "moving_mean", "moving_variance")}
    rng = np.random.default_rng(0)
    return {name: rng.random(shape, np.float32) for name, shape in shapes.items()}


def rewritten(good: Path, out: Path, seed: int) -> None:
    """Write a copy of a model file with a changed configuration and unchanged arrays."""
    if good.suffix == ".keras":
        with zipfile.ZipFile(good) as old, zipfile.ZipFile(out, "w") as new:
            for name in old.namelist():
                data = old.read(name)
                if name == "config.json":
                    data = json.dumps(changed(json.loads(data), seed)).encode()
                new.writestr(name, data)
        return
    buffer = io.BytesIO(good.read_bytes())
    with h5py.File(buffer, "r+") as file:
        file.attrs["model_config"] = json.dumps(changed(json.loads(file.attrs["model_config"]), seed))
    out.write_bytes(buffer.getvalue())
