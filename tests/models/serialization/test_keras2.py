"""Keras 2 models have the same outputs in Keras 3, from every file format."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.hostile_models import keras2_config, keras2_file, keras2_layer
from helpers.keras2_models import MODELS
from helpers.sequence_architectures import ARCHITECTURES

from redeepfake_nb import ModelError, NotAModel, Preprocessing, UnsafeModel, load_model
from redeepfake_nb.models.serialization.archive import describe
from redeepfake_nb.models.serialization.build import read_model
from redeepfake_nb.models.serialization.keras2_graph import snake_case, translate
from redeepfake_nb.models.serialization.keras2_layers import translate_layer, unwrap
from redeepfake_nb.models.serialization.keras2_operations import translate_operation

pytestmark = pytest.mark.slow


def input_of(size: int, high: float = 255) -> dict:
    return {
        "preprocessing": Preprocessing(input_size=size, value_range=(0, high)),
        "positive_class": "fake",
    }


# ------------------------------------------------------------------ by hand


def test_dense_layer_by_hand(tmp_path: Path) -> None:
    """Logit = 2 x sum of all pixels - 1."""
    config = keras2_config(keras2_layer("Flatten"), keras2_layer("Dense", units=1, activation="linear"))
    kernel, bias = np.full((192, 1), 2, np.float32), np.float32([-1])
    path = keras2_file(tmp_path, "m", config, dense__kernel=kernel, dense__bias=bias)
    logits = load_model(path, **input_of(8)).logits(np.full((1, 8, 8, 3), 0.5, np.float32))
    assert logits[0] == pytest.approx(191)


def test_group_names() -> None:
    names = {"DepthwiseConv2D": "depthwise_conv2d", "PReLU": "p_re_lu", "TFOpLambda": "tf_op_lambda"}
    assert {name: snake_case(name) for name in names} == names


def test_renamed_settings() -> None:
    def translated(class_name: str, **config) -> dict:
        return translate_layer(class_name, {"name": "a", **config}, "m", trust=False)["config"]

    assert translated("LeakyReLU", alpha=0.25) == {"name": "a", "negative_slope": 0.25}
    assert translated("BatchNormalization", axis=[3])["axis"] == 3
    assert "groups" not in translated("DepthwiseConv2D", kernel_size=[3, 3], groups=1)
    assert translated("ThresholdedReLU", theta=0.5) == {"name": "a", "threshold": 0.5}
    policy = {"class_name": "Policy", "config": {"name": "mixed_float16"}}
    assert translated("Dropout", rate=0.5, dtype=policy)["dtype"] == "mixed_float16"
    assert translated("RandomFlip", mode="horizontal") == {"name": "a", "activation": "linear"}


def test_hard_sigmoid_keeps_its_slope(tmp_path: Path) -> None:
    """Keras 2: clip(0.2 x + 0.5, 0, 1); Keras 3 has a slope of 1/6 under that name."""
    last = [keras2_layer("Dense", units=1), keras2_layer("Activation", activation="hard_sigmoid")]
    config = keras2_config(keras2_layer("Flatten"), *last)
    path = keras2_file(tmp_path, "m", config, dense__kernel=np.ones((192, 1)), dense__bias=np.zeros(1))
    model = read_model(path, describe(path)).model
    x = np.zeros((4, 8, 8, 3), np.float32)
    x[:, 0, 0, 0] = [-10, -1, 1, 10]
    np.testing.assert_allclose(np.asarray(model(x))[:, 0], [0, 0.3, 0.7, 1], atol=1e-6)


def test_serialised_arrays_in_settings() -> None:
    assert unwrap({"class_name": "__tensor__", "config": {"dtype": "float32", "value": [1.5, 2]}}) == [1.5, 2]
    assert unwrap({"class_name": "__tuple__", "items": [1, 2]}) == [1, 2]
    assert unwrap([{"type": "ndarray", "value": [3]}]) == [[3]]


@pytest.mark.parametrize(
    ("function", "options", "class_name", "config"),
    [
        ("math.add", {"y": 3.0}, "Rescaling", {"scale": 1.0, "offset": 3.0}),
        ("__operators__.add", {"y": 3.0, "name": None}, "Rescaling", {"scale": 1.0, "offset": 3.0}),
        ("math.truediv", {"y": 127.5}, "Rescaling", {"scale": 1 / 127.5, "offset": 0.0}),
        ("math.subtract", {"y": [1.0, 2.0, 3.0]}, "Rescaling", {"scale": 1.0, "offset": [-1.0, -2.0, -3.0]}),
        ("nn.bias_add", {"bias": [1.0, 2.0]}, "Rescaling", {"scale": 1.0, "offset": [1.0, 2.0]}),
        ("math.multiply", {"y": ["b", 0, 0]}, "Multiply", {}),
        ("nn.relu6", {}, "Relu6", {}),
        ("math.reduce_mean", {"axis": [1, 2]}, "Mean", {"axis": [1, 2], "keepdims": False}),
        ("nn.gelu", {}, "Gelu", {"approximate": False}),
        ("identity", {}, "Activation", {"activation": "linear"}),
    ],
)
def test_operations(function: str, options: dict, class_name: str, config: dict) -> None:
    new = translate_operation({"name": "op", "function": function}, [[["a", 0, 0, options]]], set(), "m")
    assert new["class_name"] == class_name
    assert new["config"] == {"name": "op", **config}


def test_constant_minus_tensor() -> None:
    node = [["_CONSTANT_VALUE", -1, 1.0, {"y": ["a", 0, 0]}]]
    new = translate_operation({"name": "op", "function": "math.subtract"}, [node], set(), "m")
    assert (new["config"]["scale"], new["config"]["offset"]) == (-1.0, 1.0)


@pytest.mark.parametrize(
    "function", ["io.read_file", "py_function", "numpy_function", "load_op_library", "eval"]
)
def test_other_functions_are_refused(function: str) -> None:
    with pytest.raises(UnsafeModel, match=function):
        translate_operation({"name": "op", "function": function}, [[["a", 0, 0, {}]]], set(), "m")


@pytest.mark.parametrize(
    ("layer", "error", "message"),
    [
        (keras2_layer("BatchNormalization", renorm=True), NotAModel, "renorm"),
        (keras2_layer("Conv2D", filters=3, kernel_size=3, surprise=1), NotAModel, "surprise"),
        (keras2_layer("LocallyConnected2D"), UnsafeModel, "LocallyConnected2D"),
        (
            keras2_layer("Dense", units=1, activation={"class_name": "Mine", "config": {}}),
            UnsafeModel,
            "Mine",
        ),
        ({**keras2_layer("Dense", units=1), "registered_name": "pkg>Dense"}, UnsafeModel, "pkg>Dense"),
    ],
)
def test_untranslatable_layers_are_refused(layer: dict, error: type[ModelError], message: str) -> None:
    with pytest.raises(error, match=message):
        translate(keras2_config(layer), "m")


# ------------------------------------------------------------------ against Keras 2


@pytest.fixture(scope="session")
def old_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Save the models of tests/helpers/keras2_models.py in every format with Keras 2, in another process."""
    if importlib.util.find_spec("tf_keras") is None:
        pytest.skip("tf_keras, which makes Keras 2 files, is not installed")
    folder = tmp_path_factory.mktemp("old")
    script = Path(__file__).resolve().parents[2] / "helpers" / "keras2_models.py"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "PYTHONWARNINGS": "ignore"}
    run = subprocess.run([sys.executable, script, folder], capture_output=True, text=True, env=environment)
    assert run.returncode == 0, run.stderr[-3000:]
    return folder


def logit(p: np.ndarray) -> np.ndarray:
    p = p.astype(np.float64)
    return np.log(p[:, -1] / (1 - p[:, -1] if p.shape[1] == 1 else p[:, 0]))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_sequence_models_of_keras2(old_files: Path, name: str) -> None:
    """Recurrent layers, wrappers and Conv3D; some gates have the hard sigmoid of Keras 2."""
    saved = np.load(old_files / f"{name}.npz")
    assert np.ptp(saved["y"]) > 1e-3
    for suffix in (".h5", ".keras"):
        path = old_files / f"{name}{suffix}"
        model = read_model(path, describe(path)).model
        found = np.asarray(model(saved["x"], training=False))
        np.testing.assert_allclose(found, saved["y"], rtol=1e-5, atol=1e-5)


def test_hard_gates_by_hand(tmp_path: Path) -> None:
    """One LSTM unit without recurrence, whose gates are 0.2 * 0.5 + 0.5: tanh(tanh(1) * 0.6) * 0.6."""
    inner = {"class_name": "Flatten", "config": {"name": "flat"}}
    config = keras2_config(
        keras2_layer("Reshape", target_shape=[1, 192]),
        keras2_layer("TimeDistributed", layer=inner),
        keras2_layer("LSTM", units=1, activation="tanh", recurrent_activation="hard_sigmoid", use_bias=True),
    )
    weights = {"kernel": np.zeros((192, 4)), "recurrent_kernel": np.zeros((1, 4)), "bias": [0.5, 0.5, 1, 0.5]}
    path = keras2_file(tmp_path, "m", config, **{f"lstm__{key}": np.float32(v) for key, v in weights.items()})
    model = read_model(path, describe(path)).model
    expected = 0.6 * np.tanh(0.6 * np.tanh(1))
    np.testing.assert_allclose(np.asarray(model(np.zeros((1, 8, 8, 3)))), [[expected]], rtol=1e-6)


def test_recurrent_layers_that_cannot_be_translated() -> None:
    def translated(**settings) -> None:
        translate_layer("LSTM", {"name": "a", "units": 1, **settings}, "m", trust=False)

    with pytest.raises(NotAModel, match=r"the activation of its layer a .* is hard_sigmoid"):
        translated(activation="hard_sigmoid")
    with pytest.raises(NotAModel, match="the setting return_state of its layer a"):
        translated(return_state=True)
    with pytest.raises(UnsafeModel, match="CuDNNLSTM"):
        translate_layer("CuDNNLSTM", {"name": "a", "units": 1}, "m", trust=False)


@pytest.mark.parametrize("ending", [".h5", ".keras"])
@pytest.mark.parametrize("name", MODELS)
def test_outputs_equal_those_of_keras_2(old_files: Path, name: str, ending: str) -> None:
    path = old_files / f"{name}{ending}".replace(" ", "_")
    if not path.exists():
        assert name == "operations", "Keras 2 could not write it"
        pytest.skip("Keras 2 cannot save such operations as .keras")
    reference = np.load(path.with_suffix(".npz"))
    x, expected = reference["x"], reference["y"]
    assert np.ptp(expected, axis=0).max() > 1e-4, "the output does not depend on the picture"
    model = read_model(path, describe(path)).model
    # Logits of different pictures are about 1 apart. A model trained in half precision is scored in full.
    tolerance = 5e-3 if name == "mixed" else 1e-3
    scale = max(1.0, float(np.abs(expected).max()))
    found = np.asarray(model(x, training=False), np.float32)
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)

    classifier = load_model(path, **input_of(x.shape[1], MODELS[name][1]))
    if name == "resnet50":
        assert classifier.card.output == "logit"
        np.testing.assert_allclose(classifier.logits(x), expected[:, 0], atol=tolerance)
    elif expected.min() > 1e-3:
        np.testing.assert_allclose(classifier.logits(x), logit(expected), atol=tolerance * 10)


@pytest.mark.parametrize("layout", ["weights.h5", "old_weights.h5"])
@pytest.mark.parametrize("name", ["meso4", "build_model"])
def test_weights_only_files_of_keras_2(old_files: Path, name: str, layout: str) -> None:
    path = old_files / f"{name}.{layout}"
    reference = np.load(old_files / f"{name}.npz")
    architecture = {"meso4": "Meso4", "build_model": "MobileNetV2"}[name]
    high = MODELS["meso4"][1] if name == "meso4" else 255
    # So that the network's own layers are numbered otherwise than in the file.
    keras.layers.Conv2D(1, 1), keras.layers.Dense(1)
    loaded = load_model(path, architecture=architecture, **input_of(reference["x"].shape[1], high))
    found = loaded.logits(reference["x"])
    if name == "meso4":
        # Compared as probabilities: near 0 and 1 a logit of a float32 has few digits left.
        found = 1 / (1 + np.exp(-found.astype(np.float64)))
    np.testing.assert_allclose(found, reference["y"][:, 0], atol=1e-5 if name == "meso4" else 1e-4)
    assert loaded.card.architecture == architecture


def test_optimizer_is_not_read(old_files: Path) -> None:
    with zipfile.ZipFile(old_files / "sequential.keras") as archive:
        assert "compile_config" in json.loads(archive.read("config.json"))
    assert "compile_config" not in describe(old_files / "sequential.keras").config
