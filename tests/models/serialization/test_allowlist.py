"""Only Keras classes that compute are allowed; what trust allows in addition is reported."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest

from redeepfake_nb import Preprocessing, UnsafeModel, load_model
from redeepfake_nb.models.serialization.allowlist import check_config
from redeepfake_nb.models.serialization.archive import read_config


def nested(node: dict) -> dict:
    return {
        "class_name": "Sequential",
        "config": {"layers": [{"class_name": "Dense", "config": {"units": [node]}}]},
    }


def own_loss(labels, logits):
    """Somebody's own; it is saved by name and never loaded."""
    return logits - labels


def test_what_keras_writes_is_allowed(tmp_path: Path) -> None:
    """Layers, operations, regularisers, constraints, wrappers, slices, a policy: and it loads."""
    layers = keras.layers
    image = keras.Input((16, 16, 3))
    x = layers.Conv2D(
        3,
        3,
        activation="swish",
        kernel_regularizer=keras.regularizers.L2(1e-4),
        kernel_constraint=keras.constraints.MaxNorm(2),
        dtype="mixed_bfloat16",
    )(image)
    x = keras.ops.relu(x)[:, 1:-1] * 2.0
    x = layers.TimeDistributed(layers.Dense(3))(layers.LeakyReLU()(layers.RandomFlip()(x)))
    x = layers.Activation(keras.activations.hard_sigmoid)(layers.Normalization(mean=0, variance=1)(x))
    model = keras.Model(image, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))
    model.compile(optimizer="adam", loss=own_loss)
    model.save(tmp_path / "m.keras")
    check_config(read_config(tmp_path / "m.keras"), "m.keras")
    assert load_model(
        tmp_path / "m.keras", preprocessing=Preprocessing(input_size=16), positive_class="fake"
    ).logits(np.zeros((2, 16, 16, 3))).shape == (2,)


@pytest.mark.parametrize(
    ("node", "named"),
    [
        ({"class_name": "Lambda"}, "Lambda"),
        ({"class_name": "__lambda__", "config": {"value": "4w=="}}, "__lambda__"),
        ({"module": "keras.layers", "class_name": "Lambda"}, "keras.layers.Lambda"),
        ({"module": "keras.src.layers.core.lambda_layer", "class_name": "Lambda"}, "Lambda"),
        ({"module": "keras", "class_name": "layers.Lambda"}, "keras.layers.Lambda"),
        ({"module": "keras", "class_name": "config.set_floatx"}, "set_floatx"),
        ({"module": "keras", "class_name": "utils.get_file"}, "get_file"),
        ({"module": "keras.models", "class_name": "load_model"}, "load_model"),
        ({"module": "keras", "class_name": "function", "config": "config.set_floatx"}, "set_floatx"),
        ({"module": "keras.models", "class_name": "function", "config": "load_model"}, "load_model"),
        ({"module": "keras.ops", "class_name": "function", "config": "a.b"}, "a.b"),
        ({"class_name": "function", "config": "relu"}, "relu"),
        ({"module": "keras.layers", "class_name": "TFSMLayer"}, "TFSMLayer"),
        ({"module": "keras.layers", "class_name": "TorchModuleWrapper"}, "TorchModuleWrapper"),
        ({"module": "keras.layers", "class_name": "StringLookup"}, "StringLookup"),
        ({"class_name": "TypeSpec", "type_spec": "x"}, "TypeSpec"),
        ({"class_name": "__typespec__", "spec_name": "x"}, "__typespec__"),
        ({"class_name": ["Dense"]}, "Dense"),
        ({"class_name": None}, "None"),
        ({"class_name": "pkg>Mine"}, "pkg>Mine"),
        ({"module": "keras.layers", "class_name": "Dense", "registered_name": "pkg>Mine"}, "pkg>Mine"),
        ({"module": "os", "class_name": "System"}, "os.System"),
        ({"module": "keras.layers\n", "class_name": "Dense"}, "Dense"),
        ({"module": "keras.src.saving", "class_name": "Saver"}, "Saver"),
        ({"module": "keras_hub.layers", "class_name": "Dense"}, "keras_hub"),
        ({"module": ["keras"], "class_name": "Dense"}, "Dense"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_everything_else_is_refused_by_name(node: dict, named: str) -> None:
    check_config(nested({"class_name": "Dense", "module": "keras.layers"}), "m.keras")
    with pytest.raises(UnsafeModel) as caught:
        check_config(nested(node), "m.keras")
    assert named in caught.value.cause


def test_optimizer_of_a_nested_model_is_checked() -> None:
    """Keras does build that one, whatever the caller says about compiling."""
    inner = {"class_name": "Sequential", "compile_config": {"loss": {"module": "mine", "class_name": "Loss"}}}
    with pytest.raises(UnsafeModel, match=r"mine\.Loss"):
        check_config(nested(inner), "m.keras")
