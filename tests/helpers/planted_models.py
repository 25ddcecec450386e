"""Toy classifiers with known evidence, and faces that contain it, at a size that is quick to test with."""

from __future__ import annotations

import keras
import numpy as np

from redeepfake_nb import Card, Classifier, Face, Frame, Preprocessing
from redeepfake_nb.explanation import toy_models

SIZE = 32
# Rows and columns of the patch.
PATCH = (slice(4, 12), slice(18, 26))


def patch_classifier(size: int = SIZE, patch: tuple[slice, slice] = PATCH, **card: object) -> Classifier:
    """The package's patch classifier at a small input size."""
    return toy_models.patch_classifier(size, patch, **card)


def colour_classifier(size: int = SIZE) -> Classifier:
    """A classifier of strong red anywhere in the image, relu(red - green - 0.4), by its weights alone."""
    layers = keras.layers
    image = keras.Input((size, size, 3))
    conv = layers.Conv2D(4, 3, padding="same", activation="relu", name="conv")
    dense = layers.Dense(1, name="logit")
    x = conv(layers.Rescaling(1 / 255)(image))
    model = keras.Model(image, dense(layers.GlobalAveragePooling2D()(x)))
    kernel = np.zeros((3, 3, 3, 4), np.float32)
    kernel[..., 0, 0], kernel[..., 1, 0] = 1 / 9, -1 / 9
    kernel[..., 1, 1:] = 1 / 9
    conv.set_weights([kernel, np.float32([-0.4, 0, 0, 0])])
    dense.set_weights([np.float32([[300], [0], [0], [0]]), np.float32([-3])])
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=size), temperature=1.0))


def planted_face(
    rng: np.random.Generator, size: int = SIZE, patch: tuple[slice, slice] = PATCH, red: int = 230
) -> Face:
    """A face of grey noise with a red patch."""
    image = rng.integers(40, 90, (size, size, 1), dtype=np.uint8).repeat(3, axis=2)
    image[patch] = (red, 30, 30)
    return Face.whole(Frame(image))


def random_classifier(seed: int, size: int = SIZE) -> Classifier:
    """A small untrained network."""
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    image = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255)(image)
    for width in (8, 8, 16):
        x = layers.Conv2D(width, 3, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
    x = layers.Dense(1)(layers.GlobalAveragePooling2D()(layers.MaxPooling2D()(x)))
    return Classifier(
        keras.Model(image, x), Card(preprocessing=Preprocessing(input_size=size), temperature=1.0)
    )


def classifier_without_map(branches: bool, size: int = SIZE) -> Classifier:
    """A network without a feature map that the whole score passes through: of two branches, or an MLP."""
    layers = keras.layers
    image = keras.Input((size, size, 3))
    if branches:
        maps = [layers.Conv2D(4, 3, name=f"branch_{name}")(image) for name in "ab"]
        x = layers.Concatenate()([layers.GlobalAveragePooling2D()(found) for found in maps])
    else:
        x = layers.Dense(4, activation="relu")(layers.Flatten()(image))
    model = keras.Model(image, layers.Dense(1)(x), name="no_map")
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=size), temperature=1.0))
