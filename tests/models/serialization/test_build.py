"""Graphs are built before their weights are allocated; a refused graph leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.hostile_models import archive, good_archive, good_model, with_setting
from keras.src.backend.common import global_state

from redeepfake_nb import NotAModel, UnsafeModel
from redeepfake_nb.models.serialization import build as build_module
from redeepfake_nb.models.serialization.archive import describe
from redeepfake_nb.models.serialization.build import check_layer_count, fill_weights, read_model


def pending_variables() -> list:
    return list(global_state.get_global_attribute("uninitialized_variables") or [])


def test_weights_equal_those_that_keras_loads(tmp_path: Path) -> None:
    path = good_archive(tmp_path)
    read, saved = read_model(path, describe(path)).model, keras.saving.load_model(path)
    assert [w.path for w in read.weights] == [w.path for w in saved.weights]
    for mine, theirs in zip(read.get_weights(), saved.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("units", [10**9, 2**62])
def test_missing_weights_are_never_allocated(tmp_path: Path, units: int) -> None:
    path = with_setting(tmp_path, "units", "out", units=units)
    with pytest.raises(NotAModel):
        read_model(path, describe(path))
    assert pending_variables() == []
    # Keras would make room for what is on its list as soon as anything else is built.
    assert good_model().count_params() == 133


def test_too_many_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = good_archive(tmp_path)
    monkeypatch.setattr(build_module, "MAX_WEIGHTS", 132)
    with pytest.raises(UnsafeModel, match="it has 133 weights; the limit is 132"):
        read_model(path, describe(path))
    assert pending_variables() == []


def test_too_many_layers(monkeypatch: pytest.MonkeyPatch) -> None:
    layer = {
        "class_name": "ReLU",
        "config": {"name": "r", "dtype": {"class_name": "DTypePolicy", "config": {"name": "f"}}},
    }
    config = {"class_name": "Sequential", "config": {"name": "s", "layers": [layer] * 4}}
    monkeypatch.setattr(build_module, "MAX_LAYERS", 5)
    check_layer_count(config, "m")
    monkeypatch.setattr(build_module, "MAX_LAYERS", 4)
    with pytest.raises(UnsafeModel, match="it has 5 layers; the limit is 4"):
        check_layer_count(config, "m")


def test_initializers_in_the_file_are_replaced_by_zeros(tmp_path: Path) -> None:
    """An orthogonal start of a large matrix takes minutes, and the weights are overwritten anyway."""
    start = {
        "class_name": "Orthogonal",
        "module": "keras.initializers",
        "config": {},
        "registered_name": None,
    }
    path = with_setting(tmp_path, "start", "out", kernel_initializer=start)
    model = read_model(path, describe(path)).model
    assert type(model.get_layer("out").kernel_initializer).__name__ == "Zeros"
    assert np.ptp(model.get_layer("out").get_weights()[0]) > 0


def test_error_of_keras_is_one_line(tmp_path: Path) -> None:
    path = with_setting(tmp_path, "groups", "conv", groups=7)
    with pytest.raises(NotAModel, match=r"Keras cannot load it \(.*evenly divisible.*\)") as caught:
        read_model(path, describe(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["only.weights.h5", "only.h5"])
def test_weights_only_file_with_either_suffix(tmp_path: Path, name: str) -> None:
    model, other = good_model(), good_model()
    model.save_weights(tmp_path / "only.weights.h5")
    (tmp_path / "only.weights.h5").rename(tmp_path / name)
    fill_weights(other, tmp_path / name)
    for mine, theirs in zip(model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_layer_instead_of_a_model_is_refused(tmp_path: Path) -> None:
    def change(parts: dict) -> None:
        parts["config.json"] = {"module": "keras.layers", "class_name": "ReLU", "config": {"name": "r"}}

    path = archive(tmp_path, "layer", change)
    with pytest.raises(NotAModel, match="it describes a ReLU, not a model"):
        read_model(path, describe(path))
