"""Initial networks: converted weights keep their function; random weights only where the recipe allows."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pytest

from redeepfake_nb import Card, Classifier, Head, Preprocessing, build_model, save_model
from redeepfake_nb.errors import ModelIncomplete
from redeepfake_nb.training import network_start
from redeepfake_nb.training.network_start import freeze, initial_network, measure_batchnorm
from redeepfake_nb.training.recipes import Recipe, Stage


@pytest.mark.slow
def test_measured_statistics_keep_the_function(rng: np.random.Generator) -> None:
    model = build_model("FaceResNet", input_size=83, weights="face_recognition")
    x = rng.uniform(0, 255, (8, 83, 83, 3)).astype(np.float32)
    before = model.predict_on_batch(x)
    neutral = model.get_layer("norm_3").get_weights()[2]
    measure_batchnorm(model, x, batch=4)
    np.testing.assert_allclose(model.predict_on_batch(x), before, rtol=1e-3, atol=1e-3)
    layer = model.get_layer("norm_3")
    assert not np.array_equal(layer.get_weights()[2], neutral)
    inputs = keras.Model(model.inputs, layer.input).predict_on_batch(x)
    np.testing.assert_allclose(layer.get_weights()[2], inputs.mean((0, 1, 2)), rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(layer.get_weights()[3], inputs.var((0, 1, 2)), rtol=1e-2, atol=1e-3)


def three_layers() -> keras.Model:
    """A dense layer, batch normalisation, and a logit."""
    image = keras.Input((3,))
    x = keras.layers.Dense(2, name="dense")(image)
    x = keras.layers.BatchNormalization(name="norm_0")(x)
    return keras.Model(image, keras.layers.Dense(1, name="logit")(x), name="small")


def test_layers_are_trained_by_parts_of_their_names() -> None:
    model = three_layers()
    before = [weight.name for weight in model.weights]
    freeze(model, ("norm", "logit"))
    trained = [weight.path.split("/")[-2:] for weight in model.trainable_weights]
    assert trained == [["norm_0", "gamma"], ["norm_0", "beta"], ["logit", "kernel"], ["logit", "bias"]]
    assert [weight.name for weight in model.weights] == before  # checkpoints hold them in this order


def test_without_names_all_layers_are_trained() -> None:
    model = three_layers()
    freeze(model, ())
    assert len(model.trainable_weights) == 6


def test_a_part_that_names_no_layer_is_an_error() -> None:
    model = three_layers()
    model.get_layer("norm_0").trainable = False
    with pytest.raises(ValueError, match="no layer to train that is named like 'norm'"):
        freeze(model, ("norm",))
    with pytest.raises(ValueError, match="trainable: small has no layer to train that is named like 'head'"):
        freeze(three_layers(), ("logit", "head"))


RECIPE = Recipe("mine", "EfficientNetB4", (Stage(67, 4, 0.1),), weights="imagenet", mixed_precision=False)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras raises a bare Exception if a download fails."""

    def build(backbone: str, *, head: Head | None, input_size: int, weights: str | None) -> keras.Model:
        if weights:
            raise Exception("URL fetch failure on https://example.org: None")
        image = keras.Input((input_size, input_size, 3))
        return keras.Model(image, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(image)))

    monkeypatch.setattr(network_start, "build_model", build)


def test_unavailable_weights_are_an_error(offline: None) -> None:
    with pytest.raises(ModelIncomplete, match=r"URL fetch failure.*fallback_random = true"):
        initial_network(RECIPE, 67)


def test_fallback_to_random_weights(offline: None) -> None:
    with pytest.warns(UserWarning, match=r"weights imagenet are not available \(URL fetch failure"):
        model, start = initial_network(replace(RECIPE, fallback_random=True), 67)
    assert start == "random, since imagenet was not available"
    assert model.input_shape == (None, 67, 67, 3)


def test_no_fallback_for_invalid_weights() -> None:
    with pytest.raises(ValueError, match="starts from None"):
        initial_network(replace(RECIPE, weights="dreams", fallback_random=True), 67)


@pytest.mark.slow
def test_start_is_described() -> None:
    assert initial_network(replace(RECIPE, backbone="FaceResNet", weights=None), 67)[1] == "random"
    known = replace(RECIPE, backbone="FaceResNet", weights="face_recognition", fallback_random=True)
    assert initial_network(known, 67)[1] == "face_recognition"


# ------------------------------------------------------------------ the weights of another run


def test_a_run_continues_the_weights_of_a_model_file(tmp_path: Path, classifier: Classifier) -> None:
    recipe = Recipe("more", "EfficientNetLite0", (Stage(64, 4, 0.1),), mixed_precision=False, seed=3)
    before = build_model("EfficientNetLite0", input_size=96)
    path = save_model(
        Classifier(before, Card(preprocessing=Preprocessing(input_size=96))), tmp_path / "a.keras"
    )
    model, start = initial_network(replace(recipe, weights=str(path)), 64)
    assert start == "the weights of a.keras"
    assert model.input_shape == (None, 64, 64, 3)
    for a, b in zip(before.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
    other = save_model(classifier, tmp_path / "other.keras")
    with pytest.raises(ValueError, match=r"other\.keras does not hold the weights of EfficientNetLite0"):
        initial_network(replace(recipe, weights=str(other)), 64)
    with pytest.raises(ModelIncomplete, match=r"absent\.keras.*does not exist.*Train it first"):
        initial_network(replace(recipe, weights=str(tmp_path / "absent.keras")), 64)
