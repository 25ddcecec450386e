"""Models of which it is known where they look, to see whether heatmaps find it and whether checks notice.

They are for trying explanations on, and know nothing about manipulation.
"""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np

from ..faces.face import Face
from ..faces.preprocessing import Preprocessing
from ..media.frames import Frame
from ..models.card import Card
from ..models.classifier import Classifier
from ..utils.keras_backend import import_keras
from .sanity_checks import randomise

SIZE = 64
# Rows and columns of the patch that counts, in the model's input: the cheek on the picture's right.
PATCH = (slice(34, 48), slice(40, 54))


def patch_classifier(size: int = SIZE, patch: tuple[slice, slice] = PATCH, **card: object) -> Classifier:
    """A classifier that looks at one patch of its input and nowhere else.

    The logit is 16 times the mean red (0 to 1) of the patch, less 6.

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
    # Weighed before the map that heatmaps come from, so that this is 0 elsewhere.
    edges = (rows.start, size - rows.stop), (columns.start, size - columns.stop)
    x = layers.ZeroPadding2D(edges)(layers.Cropping2D(edges)(x))
    conv = layers.Conv2D(2, 1, use_bias=False, name="conv")
    dense = layers.Dense(1, name="logit")
    model = keras.Model(image, dense(layers.GlobalAveragePooling2D()(conv(x))))
    conv.set_weights([np.float32([[1, 0], [0, 1], [0, 0]])[None, None]])
    cells = (rows.stop - rows.start) * (columns.stop - columns.start)
    dense.set_weights([np.float32([[16 * size * size / cells], [0]]), np.float32([-6])])
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=size), temperature=1.0, **card))


def with_patch(face: Face, size: int = SIZE, patch: tuple[slice, slice] = PATCH) -> Face:
    """The face with red paint where :func:`patch_classifier` looks, and its other colours muted."""
    rows, columns = patch
    left, top, right, bottom = face.box
    image = np.rint(face.frame.image * 0.4).astype(np.uint8)
    scale = np.array([(right - left) / size, (bottom - top) / size])
    low = np.rint(np.array([columns.start, rows.start]) * scale + (left, top)).astype(int)
    high = np.rint(np.array([columns.stop, rows.stop]) * scale + (left, top)).astype(int)
    cv2.rectangle(image, low.tolist(), (high - 1).tolist(), (235, 40, 40), thickness=-1)
    return replace(face, frame=Frame(image))


def random_classifier(classifier: Classifier, seed: int = 0) -> Classifier:
    """A copy of a classifier that has unlearned everything: all of its layers have random weights.

    Kernels keep the size of their numbers, see Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS
    2018. The original stays as it is.
    """
    copy = Classifier(classifier.keras_model, replace(classifier.card, output="logit", positive_class="fake"))
    rng = np.random.default_rng(seed)
    for layer in copy.keras_model.layers:
        if layer.weights:
            randomise(layer, rng)
    return copy
