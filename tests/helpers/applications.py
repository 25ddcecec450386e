"""Networks of ``keras.applications`` as people save them, by Keras 2 or 3: with a head, in both formats."""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import numpy as np

# Smallest network of each family, whose members differ in size alone -> side of a small input.
FAMILIES = {
    "VGG16": 32,
    "ResNet50": 32,
    "ResNet50V2": 32,
    "InceptionV3": 75,
    "InceptionResNetV2": 75,
    "Xception": 71,
    "MobileNet": 32,
    "MobileNetV2": 32,
    "MobileNetV3Small": 32,
    "DenseNet121": 32,
    "NASNetMobile": 32,
    "EfficientNetB0": 32,
    "EfficientNetV2B0": 32,
    "ConvNeXtTiny": 32,
}
# Only in Keras 2.
KERAS_2_FAMILIES = {"RegNetX002": 32, "ResNetRS50": 32}


def side_of(name: str) -> int:
    """Return the side of a small input of a network."""
    return {**FAMILIES, **KERAS_2_FAMILIES}[name]


def build(keras: Any, name: str, head: str, seed: int = 0) -> Any:
    """Build a network with a head: ``"pooled"``, nested in a functional model, or ``"flat"``, one graph.

    Weights are random, and statistics are not at their defaults.
    """
    side, layers = side_of(name), keras.layers
    make = getattr(keras.applications, name)
    if head == "pooled":
        image = keras.Input((side, side, 3))
        trunk = make(include_top=False, weights=None, input_shape=(side, side, 3), pooling="avg")
        x = trunk(image, training=False)
    else:
        trunk = make(include_top=False, weights=None, input_shape=(side, side, 3))
        image, x = trunk.input, layers.Flatten()(trunk.output)
    x = layers.Dropout(0.3)(layers.Dense(8, activation="relu")(x))
    model = keras.Model(image, layers.Dense(1, activation="sigmoid")(x))
    rng = np.random.default_rng(seed)
    new = []
    for weight in model.weights:
        kind = weight.name.split("/")[-1].split(":")[0]
        value = np.asarray(weight)
        if kind in ("moving_variance", "variance", "gamma"):
            value = rng.uniform(0.6, 1.4, value.shape)
        elif kind in ("moving_mean", "mean", "beta", "bias"):
            value = value + rng.normal(0, 0.1, value.shape)
        elif kind == "kernel" and value.ndim == 2:
            value = rng.normal(0, 1 / np.sqrt(len(value)), value.shape)
        new.append(value)
    model.set_weights(new)
    for layer in trunk.layers:
        if hasattr(layer, "finalize_state"):  # Normalization keeps what it derives from its weights
            layer.finalize_state()
    _set_statistics(trunk, _coloured_noise(side, 8, seed))
    return model


def _coloured_noise(side: int, count: int, seed: int) -> np.ndarray:
    """Make images that differ in colour, not in noise alone, of which a deep network sees only the mean."""
    rng = np.random.default_rng(seed)
    colour = rng.uniform(0, 180, (count, 1, 1, 3))
    return (colour + rng.uniform(0, 75, (count, side, side, 3))).astype(np.float32)


def _set_statistics(trunk: Any, x: np.ndarray) -> None:
    """Set moving statistics from real activations, so that the output depends on the image."""
    norms = [layer for layer in trunk.layers if type(layer).__name__ == "BatchNormalization"]
    before = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
    trunk(x, training=True)
    for norm, momentum in zip(norms, before, strict=True):
        norm.momentum = momentum


def images(name: str) -> np.ndarray:
    """Make two images for a network: (2, side, side, 3) float32, 0 to 255."""
    return _coloured_noise(side_of(name), 2, seed=7)


def logits(keras: Any, model: Any, x: np.ndarray) -> np.ndarray:
    """Return the inputs of the last sigmoid, (N,) float64; probabilities would round to 0 and 1."""
    dense = model.layers[-1]
    kernel, bias = (np.asarray(w, np.float64) for w in dense.get_weights())
    before = np.asarray(keras.Model(model.input, dense.input)(x, training=False), np.float64)
    return (before @ kernel + bias)[:, 0]


def save(keras: Any, folder: str, name: str, head: str) -> None:
    """Save a network as ``<name>-<head>.keras``, ``.h5``, and its images and logits as ``.npz``."""
    keras.backend.clear_session()
    keras.utils.set_random_seed(0)
    model, x = build(keras, name, head), images(name)
    path = os.path.join(folder, f"{name}-{head}")
    np.savez(path, x=x, y=logits(keras, model, x))
    model.save(f"{path}.h5")
    model.save(f"{path}.keras")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    import tf_keras

    for task in sys.argv[2:]:
        save(tf_keras, sys.argv[1], *task.split("-"))
