"""Copy of a classifier whose weights can be randomised layer by layer, for sanity checks of heatmaps.

After Adebayo et al., "Sanity Checks for Saliency Maps", NeurIPS 2018: weights are randomised from the output
layer down. A heatmap that stays the same does not show what the network has learned.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..models.classifier import Classifier

if TYPE_CHECKING:
    import keras


class RandomizedCopy:
    """A copy of a classifier for cascading randomisation; the original is only read.

    There is one per classifier, because Keras and TensorFlow never free all memory of a model.

    Attributes
    ----------
    classifier
        The copy.
    single : Classifier
        The same network without the mirror image, which takes half the time.
    lock
        Held while somebody uses the copy.
    """

    def __init__(self, original: Classifier) -> None:
        self.classifier = copy_classifier(original)
        self.single = self.classifier
        if original.card.mirror:
            self.single = self.classifier.with_card(replace(self.classifier.card, mirror=False))
        self.lock = threading.Lock()

    def restore(self, original: Classifier) -> None:
        """Set the copy's weights to the original's current ones."""
        self.classifier.keras_model.set_weights(original.keras_model.get_weights())

    def cascade(self, seed: int, stages: int) -> Iterator[float]:
        """Randomise the layers that have weights, from the output down.

        The first stage randomises the last layer alone, each further one equally many more layers, until
        after
        ``stages`` stages none is left. Small networks have fewer stages.

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
                randomize_weights(layer, rng)
            done = until
            yield done / len(layers)


def copy_classifier(original: Classifier) -> Classifier:
    """Copy a classifier with its own weights, so that they can be changed without changing the original's."""
    # Classifier clones the layers it is given. This model's output is already a logit whose high values mean
    # fake.
    return Classifier(original.keras_model, replace(original.card, output="logit", positive_class="fake"))


def randomize_weights(layer: keras.layers.Layer, rng: np.random.Generator) -> None:
    """Randomise a layer's weights in place, and keep their scale.

    Kernels are drawn from a normal distribution with mean 0 and the root mean square of the old kernel,
    because a network of many layers would otherwise over- or underflow. Biases and all weights of
    normalisation layers are permuted between channels, by one permutation per layer.
    """
    is_normalization = "Normalization" in type(layer).__name__
    permutations: dict[int, np.ndarray] = {}
    randomized = []
    for weights in layer.get_weights():
        values = np.asarray(weights)
        if values.ndim == 0 or not np.issubdtype(values.dtype, np.floating):
            randomized.append(values)
        elif is_normalization or values.ndim == 1:
            count = values.shape[-1]
            randomized.append(values[..., permutations.setdefault(count, rng.permutation(count))])
        else:
            scale = np.float32(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
            randomized.append(scale * rng.standard_normal(values.shape, np.float32))
    layer.set_weights(randomized)


_copies: weakref.WeakKeyDictionary[Classifier, RandomizedCopy] = weakref.WeakKeyDictionary()
_copying = threading.Lock()


@contextmanager
def randomized_copy(original: Classifier) -> Iterator[RandomizedCopy]:
    """Lend the copy of a classifier, with the original's weights, to one user at a time."""
    with _copying:
        if original not in _copies:
            _copies[original] = RandomizedCopy(original)
        copy = _copies[original]
    with copy.lock:
        copy.restore(original)
        yield copy
