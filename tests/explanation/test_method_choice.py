"""Which layer and method explain a model where one is asked for, and which methods are the same for it."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from redeepfake_nb import Card, Classifier, Preprocessing
from redeepfake_nb.errors import UnsuitableModel
from redeepfake_nb.explanation import method_choice as m
from redeepfake_nb.explanation.methods import GENERAL_METHODS


def classifier_of(model: keras.Model, **card: object) -> Classifier:
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=model.inputs[0].shape[1], **card)))


def test_default_layers(rng: np.random.Generator) -> None:
    image = keras.Input((8, 8, 3), name="picture")
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="map")(image))
    classifier = classifier_of(keras.Model(image, keras.layers.Dense(1)(x)))
    for method in GENERAL_METHODS:
        assert m.default_layer(classifier, method) == ("picture" if method == "saliency" else "map")
        assert m.network_for(classifier, method).layer == m.default_layer(classifier, method)


def test_methods_that_are_the_same_by_construction(rng: np.random.Generator) -> None:
    """A linear head on one map: what is cut at 0 is the same, and without negative weights nothing is cut."""

    def classifier(weights: list[float]) -> Classifier:
        image = keras.Input((8, 8, 3))
        x = keras.layers.Conv2D(2, 3, activation="relu", padding="same")(image)
        dense = keras.layers.Dense(1)
        model = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(x)))
        dense.set_weights([np.float32(weights)[:, None], np.zeros(1, np.float32)])
        return classifier_of(model)

    positive, mixed = classifier([2, 1]), classifier([2, -1])
    both = {"hirescam": "gradcam", "gradcam++": "gradcam", "layercam": "gradcam"}
    assert m.alike_methods(positive, "fake") == both
    nothing = {"hirescam": "gradcam", "gradcam++": "", "layercam": ""}
    assert m.alike_methods(positive, "real") == nothing
    assert m.alike_methods(mixed, "fake") == {"hirescam": "gradcam", "layercam": "gradcam++"}
    assert m.distinct_methods(mixed, "fake") == ("gradcam", "gradcam++", "scorecam", "saliency")
    batch = rng.integers(0, 256, (2, 8, 8, 3)).astype(np.float32)
    for network, same in ((positive, both), (mixed, {"layercam": "gradcam++"})):
        for one, other in same.items():
            maps = [
                np.maximum(m.network_for(network, name).maps(batch, name, "fake"), 0) for name in (one, other)
            ]
            np.testing.assert_allclose(*maps, rtol=1e-3, atol=1e-5)


def test_different_methods_differ(rng: np.random.Generator) -> None:
    """No method is a copy of another one where the head is not linear: each has its own layer and weights."""
    keras.utils.set_random_seed(3)  # before the layers are built
    image = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(6, 3, activation="relu", padding="same")(keras.layers.Rescaling(1 / 255)(image))
    x = keras.layers.Dense(8, activation="relu")(keras.layers.Flatten()(x))
    classifier = classifier_of(keras.Model(image, keras.layers.Dense(1)(x)))
    methods = m.distinct_methods(classifier, "fake")
    # One weight for all places means nothing where the map is flattened.
    assert methods == ("hirescam", "layercam", "saliency")
    assert m.alike_methods(classifier, "fake") == {"gradcam": "hirescam"}
    assert m.method_for(classifier, "gradcam") == "hirescam"
    for method in ("gradcam++", "scorecam"):
        with pytest.raises(UnsuitableModel, match="does not treat all places alike"):
            m.method_for(classifier, method)
    batch = rng.integers(0, 256, (1, 16, 16, 3)).astype(np.float32)
    drawn = [m.network_for(classifier, name).on_input(batch, name, "fake").ravel() for name in methods]
    correlations = np.corrcoef(drawn)[np.triu_indices(len(methods), 1)]
    assert np.nanmax(correlations) < 0.99


def test_a_model_without_a_common_feature_map() -> None:
    image = keras.Input((8, 8, 3), name="picture")
    classifier = classifier_of(keras.Model(image, keras.layers.Dense(1)(keras.layers.Flatten()(image))))
    assert m.default_layer(classifier, "saliency") == "picture"
    with pytest.raises(UnsuitableModel, match="Choose saliency, which needs none"):
        m.default_layer(classifier, "gradcam")
