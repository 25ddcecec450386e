"""Layers that Keras does not list: of a file's author, of keras.applications, copies for several GPUs."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest
from helpers.hostile_models import keras2_config, keras2_file, keras2_layer

from redeepfake_nb import Card, Classifier, NotAModel, Preprocessing, UnsafeModel, load_model
from redeepfake_nb.models.serialization.archive import describe
from redeepfake_nb.models.serialization.build import read_model
from redeepfake_nb.utils.hashing import sha256_of

layers = keras.layers
INPUT = {"preprocessing": Preprocessing(input_size=8, value_range=(0, 1)), "positive_class": "fake"}


def save_quietly(model: keras.Model, path: Path) -> Path:
    """Keras warns that HDF5 is a legacy format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)
    return path


def read(path: Path) -> keras.Model:
    return read_model(path, describe(path)).model


def run(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(model(x, training=False))


@pytest.fixture
def batch(rng: np.random.Generator) -> np.ndarray:
    return rng.random((3, 8, 8, 3)).astype(np.float32)


class Scale(layers.Layer):
    """A layer of somebody's own, with a weight and a setting."""

    def __init__(self, factor: float = 1.0, **options: object) -> None:
        super().__init__(**options)
        self.factor = factor

    def build(self, shape: tuple) -> None:
        self.scale = self.add_weight(name="scale", shape=(shape[-1],), initializer="ones")

    def call(self, x):
        return x * self.scale * self.factor

    def get_config(self) -> dict:
        return {**super().get_config(), "factor": self.factor}


@pytest.fixture
def registered() -> Iterator[None]:
    keras.saving.register_keras_serializable("ours")(Scale)
    yield
    keras.saving.get_custom_objects().pop("ours>Scale")


def with_scale() -> keras.Model:
    model = keras.Sequential([keras.Input((8, 8, 3)), Scale(0.5), layers.Flatten(), layers.Dense(1)])
    model.layers[0].scale.assign([1.0, -2.0, 3.0])
    return model


# ------------------------------------------------------------------ classes of an author's own


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_registered_layers_load_on_trust(
    tmp_path: Path, ending: str, registered: None, batch: np.ndarray
) -> None:
    model = with_scale()
    path = save_quietly(model, tmp_path / f"m{ending}")
    with pytest.raises(UnsafeModel, match=r"ours>Scale.*trust=True.*Classifier\(model, Card\(\.\.\.\)\)"):
        load_model(path, **INPUT)
    loaded = load_model(path, trust=True, sha256=sha256_of(path), **INPUT)
    assert loaded.card.trusted == ("ours>Scale",)
    np.testing.assert_allclose(loaded.logits(batch), run(model, batch)[:, 0], rtol=1e-5, atol=1e-6)
    # What the message offers as well.
    built = Classifier(model, Card(preprocessing=INPUT["preprocessing"]))
    np.testing.assert_allclose(built.logits(batch), loaded.logits(batch), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", ["ours>Scale", "Scale"])
def test_registered_layers_of_keras_2(tmp_path: Path, name: str, registered: None, batch: np.ndarray) -> None:
    """Keras 2 writes the package only where the class was registered there, too."""
    own = {
        "class_name": name,
        "config": {"name": "scale", "factor": 0.5, "dtype": "float32", "trainable": True},
    }
    config = keras2_config(own, keras2_layer("Flatten"), keras2_layer("Dense", units=1))
    arrays = {
        "scale__scale": np.float32([1, -2, 3]),
        "dense__kernel": np.full((192, 1), 0.01, np.float32),
        "dense__bias": np.zeros(1, np.float32),
    }
    path = keras2_file(tmp_path, "m", config, **arrays)
    with pytest.raises(UnsafeModel, match="If it is yours: register its class"):
        load_model(path, **INPUT)
    loaded = load_model(path, trust=True, sha256=sha256_of(path), **INPUT)
    expected = (batch * [1, -2, 3] * 0.5).sum(axis=(1, 2, 3)) * 0.01
    np.testing.assert_allclose(loaded.logits(batch), expected, rtol=1e-4)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_trust_does_not_cover_classes_that_are_not_registered(tmp_path: Path, ending: str) -> None:
    keras.saving.register_keras_serializable("ours")(Scale)
    path = save_quietly(with_scale(), tmp_path / f"m{ending}")
    keras.saving.get_custom_objects().pop("ours>Scale")
    with pytest.raises(UnsafeModel, match="trust=True does not cover that"):
        load_model(path, trust=True, sha256=sha256_of(path), **INPUT)


# ------------------------------------------------------------------ .h5 files of Keras 3


def test_operations_in_hdf5_files(tmp_path: Path, batch: np.ndarray) -> None:
    """Keras names them without their modules, as it does layers; MobileNetV3 has such ones."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3)(image)
    x = layers.Multiply()([keras.ops.relu(x + 3.0) * (1 / 6), x])
    x = keras.ops.softmax(keras.ops.add(x, x) - keras.ops.maximum(x, 0.1), axis=-1)
    model = keras.Model(image, layers.Dense(1)(keras.ops.mean(x, axis=[1, 2])))
    path = save_quietly(model, tmp_path / "m.h5")
    np.testing.assert_array_equal(run(read(path), batch), run(model, batch))


def test_preprocessing_layers_in_hdf5_files(tmp_path: Path, batch: np.ndarray) -> None:
    parts = [
        layers.RandomFlip(),
        layers.RandomRotation(0.1),
        layers.Rescaling(1 / 255),
        layers.Normalization(mean=0.1, variance=2.0),
        layers.Resizing(6, 6),
        layers.CenterCrop(4, 4),
    ]
    model = keras.Sequential([keras.Input((8, 8, 3)), *parts, layers.Flatten(), layers.Dense(1)])
    path = save_quietly(model, tmp_path / "m.h5")
    np.testing.assert_array_equal(run(read(path), batch), run(model, batch))


# ------------------------------------------------------------------ keras.applications


def application_layers() -> keras.Model:
    """The layers that ConvNeXt and InceptionResNetV2 have of their own."""
    from keras.src.applications.convnext import LayerScale
    from keras.src.applications.inception_resnet_v2 import CustomScaleLayer

    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same")(image)
    x = CustomScaleLayer(0.17, name="block35_1")([image, LayerScale(0.5, 3, name="scale")(x)])
    model = keras.Model(image, layers.Dense(1)(layers.Flatten()(x)))
    model.get_layer("scale").gamma.assign([1.0, -2.0, 3.0])
    return model


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_layers_of_applications(tmp_path: Path, ending: str, batch: np.ndarray) -> None:
    model = application_layers()
    path = save_quietly(model, tmp_path / f"m{ending}")
    np.testing.assert_array_equal(run(read(path), batch), run(model, batch))
    loaded = load_model(path, **INPUT)
    assert loaded.card.trusted == ()
    np.testing.assert_allclose(loaded.logits(batch), run(model, batch)[:, 0], rtol=1e-5)


def functional(*entries: dict, output: list) -> dict:
    """Make the configuration of a functional Keras 2 model with an input of 8 px called face."""
    first = {
        "class_name": "InputLayer",
        "name": "face",
        "config": {"name": "face", "batch_input_shape": [None, 8, 8, 3]},
        "inbound_nodes": [],
    }
    named = [{"name": entry["config"]["name"], **entry} for entry in entries]
    config = {
        "name": "old",
        "layers": [first, *named],
        "input_layers": [["face", 0, 0]],
        "output_layers": [output],
    }
    return {"class_name": "Functional", "config": config}


def call(*origins: str) -> list:
    return [[[origin, 0, 0, {}] for origin in origins]]


def lambda_layer(name: str, arguments: dict, *origins: str) -> dict:
    config = {"name": name, "function": ["4wEAAAA=", None, None], "arguments": arguments}
    return {"class_name": "Lambda", "config": config, "inbound_nodes": call(*origins)}


DENSE = {"dense__kernel": np.full((192, 1), 0.01, np.float32), "dense__bias": np.float32([0.5])}


@pytest.mark.parametrize(("name", "reads"), [("block35_1", True), ("block8_10", True), ("mine", False)])
def test_lambda_that_scales_a_residual(tmp_path: Path, name: str, reads: bool, batch: np.ndarray) -> None:
    """As InceptionResNetV2 had it before Keras 2.13; any other Lambda stays refused."""
    config = functional(
        {**keras2_layer("Rescaling", scale=2.0, offset=0.0), "inbound_nodes": call("face")},
        lambda_layer(name, {"scale": 0.25}, "face", "rescaling"),
        {**keras2_layer("Flatten"), "inbound_nodes": call(name)},
        {**keras2_layer("Dense", units=1), "inbound_nodes": call("flatten")},
        output=["dense", 0, 0],
    )
    path = keras2_file(tmp_path, "m", config, **DENSE)
    if reads:
        expected = 1.5 * batch.sum(axis=(1, 2, 3)) * 0.01 + 0.5
        np.testing.assert_allclose(load_model(path, **INPUT).logits(batch), expected, rtol=1e-5)
    else:
        with pytest.raises(
            UnsafeModel, match=r"Lambda.*If you made the file, load_model\(\.\.\., trust=True"
        ):
            load_model(path, **INPUT)


# ------------------------------------------------------------------ activations and several GPUs


def test_layers_as_activations_of_keras_2(tmp_path: Path, batch: np.ndarray) -> None:
    leaky = {"class_name": "LeakyReLU", "config": {"name": "leaky_re_lu", "alpha": 0.5}}
    config = keras2_config(
        keras2_layer("Flatten"),
        keras2_layer("Dense", units=1, activation=leaky),
        keras2_layer("Activation", activation={"class_name": "ReLU", "config": {"max_value": 1.0}}),
        {"class_name": "Dense", "config": {"name": "last", "units": 1}},
    )
    kernel = np.random.default_rng(0).normal(0, 0.2, (192, 1)).astype(np.float32)
    arrays = {
        "dense__kernel": kernel, "dense__bias": np.zeros(1, np.float32),
        "last__kernel": np.float32([[2]]), "last__bias": np.float32([1]),
    }  # fmt: skip
    path = keras2_file(tmp_path, "m", config, **arrays)
    z = batch.reshape(3, -1) @ kernel[:, 0]
    expected = 2 * np.clip(np.where(z > 0, z, z / 2), 0, 1) + 1
    np.testing.assert_allclose(run(read(path), batch)[:, 0], expected, rtol=1e-5)


def test_activations_with_weights_are_refused(tmp_path: Path) -> None:
    config = keras2_config(keras2_layer("Dense", units=1, activation={"class_name": "PReLU", "config": {}}))
    with pytest.raises(NotAModel, match="activation of its layer dense is a PReLU"):
        load_model(keras2_file(tmp_path, "m", config), **INPUT)


@pytest.mark.parametrize("kind", ["SyncBatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2"])
def test_other_names_of_batch_normalisation(tmp_path: Path, kind: str, batch: np.ndarray) -> None:
    own = {"class_name": kind, "config": {"name": "norm", "axis": [3], "epsilon": 0.0}}
    config = keras2_config(own, keras2_layer("Flatten"), keras2_layer("Dense", units=1))
    arrays = {
        "norm__gamma": np.full(3, 2.0), "norm__beta": np.zeros(3),
        "norm__moving_mean": np.full(3, 0.5), "norm__moving_variance": np.full(3, 4.0),
    }  # fmt: skip
    path = keras2_file(tmp_path, "m", config, **arrays, **DENSE)
    expected = (batch - 0.5).sum(axis=(1, 2, 3)) * 0.01 + 0.5
    np.testing.assert_allclose(load_model(path, **INPUT).logits(batch), expected, rtol=1e-4, atol=1e-6)


def test_copies_for_several_gpus_are_one_model(tmp_path: Path, batch: np.ndarray) -> None:
    """multi_gpu_model splits the batch by Lambda layers, and joins the scores."""
    inner = keras2_config(keras2_layer("Flatten"), keras2_layer("Dense", units=1))
    inner["config"]["name"] = "net"
    slices = [lambda_layer(f"lambda_{i}", {"i": i, "parts": 2}, "face") for i in range(2)]
    config = functional(
        *slices,
        {**inner, "name": "net", "inbound_nodes": call("lambda_0") + call("lambda_1")},
        {**keras2_layer("Concatenate", axis=0), "inbound_nodes": [[["net", 1, 0, {}], ["net", 2, 0, {}]]]},
        output=["concatenate", 0, 0],
    )
    path = keras2_file(tmp_path, "m", config)
    with h5py.File(path, "r+") as file:
        for name, array in (("kernel", DENSE["dense__kernel"]), ("bias", DENSE["dense__bias"])):
            file["model_weights"].create_dataset(f"net/dense/{name}:0", data=array)
    loaded = load_model(path, **INPUT)
    expected = batch.sum(axis=(1, 2, 3)) * 0.01 + 0.5
    np.testing.assert_allclose(loaded.logits(batch), expected, rtol=1e-5)
    assert loaded.card.trusted == ()


def test_models_of_an_own_class(tmp_path: Path) -> None:
    path = keras2_file(tmp_path, "m", {"class_name": "FaceNet", "config": {"layers": []}})
    with pytest.raises(
        NotAModel, match=r"saved from a class of its author's own, FaceNet.*Classifier\(model"
    ):
        load_model(path, **INPUT)


def test_messages_end_in_sentences(tmp_path: Path) -> None:
    config = keras2_config(keras2_layer("Lambda", function=["x", None, None]))
    with pytest.raises(UnsafeModel) as caught:
        load_model(keras2_file(tmp_path, "m", config), **INPUT)
    assert re.fullmatch(r".*\. If you made the file, .* runs its code\.", caught.value.next_step)
