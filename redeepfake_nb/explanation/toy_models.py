"""Classifiers whose evidence is known in advance, to test heatmaps and the checks of heatmaps.

One looks at a single patch of its input and nowhere else; its heatmap must lie there. The other has random
weights in all layers; its heatmaps must not be called supported.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import cv2
import numpy as np

from ..faces.face import Face
from ..faces.preprocessing import Preprocessing
from ..media.frames import Frame
from ..models.card import Card
from ..models.classifier import Classifier
from ..utils.keras_backend import import_keras
from .sanity_checks import copy_classifier, randomize_weights

INPUT_SIZE = 64
# Rows and columns of the patch in the model's input: the cheek on the right of the picture.
PATCH = (slice(34, 48), slice(40, 54))


def patch_classifier(size: int = INPUT_SIZE, patch: tuple[slice, slice] = PATCH, **card: Any) -> Classifier:
    """Build a classifier that looks at one patch of its input and nowhere else.

    The logit is 16 times the mean red (0 to 1) of the patch, minus 6.

    Parameters
    ----------
    size
        Side of the input in pixels.
    patch
        Rows and columns of the patch.
    card
        Further fields of its :class:`redeepfake_nb.Card`.
    """
    import_keras()
    import keras

    layers = keras.layers
    rows, columns = patch
    image = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 255)(image)
    # Cropped before the feature map that heatmaps come from, so that the map is 0 outside the patch.
    edges = (rows.start, size - rows.stop), (columns.start, size - columns.stop)
    x = layers.ZeroPadding2D(edges)(layers.Cropping2D(edges)(x))
    conv = layers.Conv2D(2, 1, use_bias=False, name="conv")
    dense = layers.Dense(1, name="logit")
    model = keras.Model(image, dense(layers.GlobalAveragePooling2D()(conv(x))))
    # Channel 0 is red, channel 1 green.
    conv.set_weights([np.array([[1, 0], [0, 1], [0, 0]], np.float32)[None, None]])
    cells = (rows.stop - rows.start) * (columns.stop - columns.start)
    weights = np.array([[16 * size * size / cells], [0]], np.float32)
    dense.set_weights([weights, np.array([-6], np.float32)])
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=size), temperature=1.0, **card))


def with_patch(face: Face, size: int = INPUT_SIZE, patch: tuple[slice, slice] = PATCH) -> Face:
    """Return the face darkened, with a red rectangle where :func:`patch_classifier` looks."""
    rows, columns = patch
    left, top, right, bottom = face.box
    image = np.rint(face.frame.image * 0.4).astype(np.uint8)
    scale = np.array([(right - left) / size, (bottom - top) / size])
    low = np.rint(np.array([columns.start, rows.start]) * scale + (left, top)).astype(int)
    high = np.rint(np.array([columns.stop, rows.stop]) * scale + (left, top)).astype(int)
    cv2.rectangle(image, low.tolist(), (high - 1).tolist(), (235, 40, 40), thickness=-1)
    return replace(face, frame=Frame(image))


def random_classifier(classifier: Classifier, seed: int = 0) -> Classifier:
    """Copy a classifier and randomise all of its layers; see :func:`randomize_weights`.

    The original is not changed.
    """
    copy = copy_classifier(classifier)
    rng = np.random.default_rng(seed)
    for layer in copy.keras_model.layers:
        if layer.weights:
            randomize_weights(layer, rng)
    return copy
