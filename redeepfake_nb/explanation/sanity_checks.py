"""A copy of a classifier whose weights may be spoilt: what becomes of a heatmap when nothing is learned.

After Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: weights are randomised layer by layer
from the output down. A heatmap that stays as it was does not show what the network has learned.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..faces.face import Face
from ..faces.preprocessing import Preprocessing
from ..media.frames import Frame
from ..models.card import Card
from ..models.classifier import Classifier
from ..utils.keras_backend import import_keras

if TYPE_CHECKING:
    import keras


class StandIn:
    """One copy per classifier, made once: Keras and TensorFlow keep memory for every model made.

    The classifier it was copied from is only ever read.
    """

    def __init__(self, original: Classifier) -> None:
        # A classifier copies the layers it is given. Its own model already gives a logit that means fake.
        card = replace(original.card, output="logit", positive_class="fake")
        self.classifier = Classifier(original.keras_model, card)
        self.lock = threading.Lock()

    def restore(self, original: Classifier) -> None:
        """Give it the original's weights as they are now."""
        self.classifier.keras_model.set_weights(original.keras_model.get_weights())

    def cascade(self, seed: int, stages: int) -> Iterator[float]:
        """Randomise the layers that have weights from the output down.

        First the last layer alone, then as many more each time, so that after ``stages`` stages nothing is
        left.

        Yields
        ------
        float
            Share of the layers with weights that are random now, over 0 to 1.
        """
        rng = np.random.default_rng(seed)
        layers = [layer for layer in reversed(self.classifier.keras_model.layers) if layer.weights]
        done = 0
        for stage in range(stages):
            until = max(1, round(len(layers) * stage / (stages - 1))) if stages > 1 else len(layers)
            if until == done:
                continue
            for layer in layers[done:until]:
                randomise(layer, rng)
            done = until
            yield done / len(layers)


def randomise(layer: keras.layers.Layer, rng: np.random.Generator) -> None:
    """Take from a layer what it has learned and leave the size of its numbers.

    Kernels are drawn anew from a normal distribution around 0 with their own root mean square: a network of
    many layers would else over- or underflow. Biases, and all that belongs to normalisation, change places
    between channels, by the same permutation for one layer.
    """
    weights = layer.get_weights()
    vectors = "Normalization" in type(layer).__name__
    places: dict[int, np.ndarray] = {}
    spoilt = []
    for values in weights:
        values = np.asarray(values)
        if values.ndim == 0 or not np.issubdtype(values.dtype, np.floating):
            spoilt.append(values)
        elif vectors or values.ndim == 1:
            count = values.shape[-1]
            spoilt.append(values[..., places.setdefault(count, rng.permutation(count))])
        else:
            size = np.float32(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
            spoilt.append(size * rng.standard_normal(values.shape, np.float32))
    layer.set_weights(spoilt)


_stand_ins: weakref.WeakKeyDictionary[Classifier, StandIn] = weakref.WeakKeyDictionary()
_making = threading.Lock()


@contextmanager
def stand_in(original: Classifier) -> Iterator[StandIn]:
    """The copy of a classifier, with its weights, for one user at a time."""
    with _making:
        if original not in _stand_ins:
            _stand_ins[original] = StandIn(original)
        copy = _stand_ins[original]
    with copy.lock:
        copy.restore(original)
        yield copy


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
