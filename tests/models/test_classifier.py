"""Classifiers, their cards, and their files: nothing but a plain Keras classifier is loaded."""

from __future__ import annotations

import datetime
import json
import shutil
import warnings
import zipfile
from dataclasses import replace
from pathlib import Path

import h5py
import keras
import numpy as np
import pytest

from redeepfake_nb import (
    Card,
    Classifier,
    Face,
    Frame,
    HashMismatch,
    ModelIncomplete,
    NotAModel,
    OutputError,
    Preprocessing,
    UnsafeModel,
    UnsuitableModel,
    load_model,
    predict,
    save_model,
)
from redeepfake_nb.models import loading
from redeepfake_nb.models.classifier import probe_images
from redeepfake_nb.models.graph import is_cut
from redeepfake_nb.models.linear_head import linear_head

INPUT = {"preprocessing": Preprocessing(input_size=8), "positive_class": "fake"}


def tiny(activation: str | None = None) -> keras.Model:
    return keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Conv2D(3, 3),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(1, activation=activation),
        ]
    )


def save_quietly(model: keras.Model, path: Path) -> None:
    """Keras warns that HDF5 is a legacy format."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.save(path)


@pytest.fixture
def batch(rng: np.random.Generator) -> np.ndarray:
    return rng.uniform(0, 255, (33, 32, 32, 3)).astype(np.float32)


@pytest.fixture
def saved(classifier: Classifier, tmp_path: Path) -> Path:
    return save_model(classifier, tmp_path / "model.keras")


# ------------------------------------------------------------------ card


def test_card_survives_json() -> None:
    card = Card(
        name="a", preprocessing=Preprocessing(32, "BGR", (-1, 1), 0.3), temperature=1.5, metrics={"auc": 0.9}
    )
    assert Card.from_dict(json.loads(json.dumps(card.to_dict()))) == card


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"colour": "RGB"}, "unknown keys: colour"),
        ({"output": "score"}, "output must be"),
        ({"positive_class": "yes"}, "positive_class must be"),
        ({"temperature": 0}, "temperature must be positive"),
        ({"temperature": float("nan")}, "temperature must be positive"),
        ({"threshold": 1.0}, "threshold must lie"),
        ({"preprocessing": {"size": 3}}, "unknown preprocessing keys: size"),
    ],
)
def test_invalid_cards_are_refused(values: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Card.from_dict(values)


# ------------------------------------------------------------------ scores


def test_scores_do_not_depend_on_the_batch(classifier: Classifier, batch: np.ndarray) -> None:
    whole = classifier.logits(batch)
    assert whole.shape == (33,)
    assert whole.dtype == np.float32
    for size in (1, 3, 32):
        np.testing.assert_allclose(classifier.logits(batch[:size]), whole[:size], rtol=1e-5)
    assert classifier.logits(batch[:0]).shape == (0,)


def test_scores_by_hand(classifier: Classifier) -> None:
    """The fixture's logit is 8 x mean brightness - 4."""
    grey = np.full((1, 32, 32, 3), 0.75 * 255, np.float32)
    assert classifier.logits(grey)[0] == pytest.approx(2)


def test_a_mirrored_score_is_the_mean_of_both_sides() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
    card = Card(preprocessing=Preprocessing(input_size=8))
    x = np.random.default_rng(0).random((3, 8, 8, 3)).astype(np.float32)
    plain, mirrored = Classifier(model, card), Classifier(model, replace(card, mirror=True))
    expected = (plain.logits(x) + plain.logits(x[:, :, ::-1])) / 2
    np.testing.assert_allclose(mirrored.logits(x), expected, rtol=1e-5)


@pytest.mark.parametrize("shape", [(32, 32, 3), (1, 31, 32, 3), (1, 32, 32, 1)])
def test_batches_of_another_shape(classifier: Classifier, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"\(N, 32, 32, 3\)"):
        classifier.logits(np.zeros(shape))


def test_pixels_that_are_not_finite_are_refused(classifier: Classifier) -> None:
    pixels = np.zeros((2, 32, 32, 3), np.float32)
    pixels[1, 4, 4] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        classifier.logits(pixels)


def test_scores_that_are_not_finite(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(classifier, "_score", lambda x: np.array([[0.5], [np.inf]], np.float32))
    with pytest.raises(UnsuitableModel, match="1 of 2 scores are not finite"):
        classifier.logits(np.zeros((2, 32, 32, 3), np.float32))


def test_weights_that_are_not_finite() -> None:
    model = tiny()
    model.layers[-1].set_weights([np.full((3, 1), np.nan), np.zeros(1)])
    with pytest.raises(UnsuitableModel, match="not finite"):
        Classifier(model, Card(preprocessing=Preprocessing(input_size=8)))


@pytest.mark.parametrize("lost", [False, True])
def test_unresponsive_model(lost: bool, tmp_path: Path) -> None:
    model = tiny()
    if lost:
        model.layers[0].set_weights([np.zeros_like(w) for w in model.layers[0].get_weights()])
    # What a sidecar says of it counts for nothing.
    classifier = Classifier(model, Card(preprocessing=Preprocessing(input_size=8), unresponsive=not lost))
    assert classifier.card.unresponsive is lost
    assert load_model(save_model(classifier, tmp_path / "m.keras")).card.unresponsive is lost


@pytest.mark.parametrize("size", [8, 13])
def test_probe_images_differ_and_lie_in_range(size: int) -> None:
    images = probe_images(Preprocessing(input_size=size, value_range=(-1, 1)))
    assert images.shape == (6, size, size, 3)
    assert (images.min(), images.max()) == (-1, 1)
    assert len({image.tobytes() for image in images}) == 6


def test_with_card_changes_only_the_card(classifier: Classifier, batch: np.ndarray) -> None:
    card = replace(classifier.card, name="other", threshold=0.9, temperature=2.0, sha256="0" * 64, shift=1.0)
    other = classifier.with_card(card)
    assert other.card == card
    assert (other.name, other.threshold, other.temperature) == ("other 1", 0.9, 2.0)
    assert other.sha256 == "0" * 64
    assert other.keras_model is classifier.keras_model
    np.testing.assert_array_equal(other.logits(batch), classifier.logits(batch) + np.float32(1))
    assert (classifier.name, classifier.threshold, classifier.card.shift) == ("brightness 1", 0.6, 0.0)
    (prediction,) = predict(other, [Face.whole(Frame(np.zeros((40, 40, 3), np.uint8)))])
    assert (prediction.threshold, prediction.temperature) == (0.9, 2.0)


@pytest.mark.parametrize("name", ["card", "name", "preprocessing", "threshold", "temperature", "sha256"])
def test_properties_of_the_card_cannot_be_assigned(classifier: Classifier, name: str) -> None:
    with pytest.raises(AttributeError):
        setattr(classifier, name, getattr(classifier, name))


def test_with_card_can_turn_on_mirror() -> None:
    model = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(1)])
    plain = Classifier(model, Card(preprocessing=Preprocessing(input_size=8)))
    mirrored = plain.with_card(replace(plain.card, mirror=True))
    x = np.random.default_rng(0).random((3, 8, 8, 3)).astype(np.float32)
    expected = (plain.logits(x) + plain.logits(x[:, :, ::-1])) / 2
    np.testing.assert_allclose(mirrored.logits(x), expected, rtol=1e-5)


def test_with_card_refuses_what_does_not_match_the_network(classifier: Classifier) -> None:
    with pytest.raises(UnsuitableModel, match="its preprocessing says 16"):
        classifier.with_card(replace(classifier.card, preprocessing=Preprocessing(input_size=16)))
    for change in ({"output": "probability"}, {"positive_class": "real"}):
        with pytest.raises(ValueError, match="output and positive_class"):
            classifier.with_card(replace(classifier.card, **change))


def test_with_card_accepts_the_output_of_the_network(batch: np.ndarray) -> None:
    card = Card(preprocessing=Preprocessing(input_size=8), output="probability", positive_class="real")
    classifier = Classifier(tiny("sigmoid"), card)
    other = classifier.with_card(replace(card, output="logit", positive_class="fake"))
    x = batch[:2, :8, :8]
    np.testing.assert_array_equal(other.logits(x), classifier.logits(x))


def test_input_size_that_does_not_match() -> None:
    with pytest.raises(UnsuitableModel, match="takes 8 x 8 px, but its preprocessing says 16"):
        Classifier(tiny(), Card(preprocessing=Preprocessing(input_size=16)))


# ------------------------------------------------------------------ files


def test_saved_and_loaded_is_the_same(classifier: Classifier, saved: Path, batch: np.ndarray) -> None:
    loaded = load_model(saved)
    np.testing.assert_array_equal(loaded.logits(batch), classifier.logits(batch))
    assert (loaded.threshold, loaded.temperature, loaded.name) == (0.6, 1.0, "brightness 1")
    assert loaded.preprocessing == classifier.preprocessing
    sidecar = json.loads(saved.with_suffix(".json").read_text())
    assert loaded.sha256 == loading.sha256_of(saved) == sidecar["sha256"]


@pytest.mark.parametrize(
    "change", [{"preprocessing": Preprocessing(input_size=32, color_order="BGR")}, {"positive_class": "real"}]
)
def test_used_otherwise_than_its_sidecar_states_it_is_not_calibrated(saved: Path, change: dict) -> None:
    """Temperature, shift and metrics were measured as the sidecar states."""
    sidecar = json.loads(saved.with_suffix(".json").read_text())
    sidecar |= {"shift": 0.5, "metrics": {"auc": {"value": 0.9}}}
    saved.with_suffix(".json").write_text(json.dumps(sidecar))
    card = load_model(saved).card
    assert (card.temperature, card.shift, bool(card.metrics)) == (1.0, 0.5, True)
    same = load_model(saved, preprocessing=card.preprocessing, positive_class=card.positive_class).card
    assert (same.temperature, same.shift, bool(same.metrics)) == (1.0, 0.5, True)
    other = load_model(saved, **change).card
    assert (other.temperature, other.shift, other.metrics) == (None, 0.0, {})


def test_the_same_weights_give_the_same_file(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However far apart they are saved; Keras notes the time."""
    again = save_model(load_model(saved), tmp_path / "b" / "model.keras")

    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> datetime.datetime:
            return super().now(tz) + datetime.timedelta(hours=1)

    monkeypatch.setattr(datetime, "datetime", Later)
    later = save_model(load_model(again), tmp_path / "c.keras")
    with zipfile.ZipFile(later) as archive:
        assert set(json.loads(archive.read("metadata.json"))) == {"keras_version", "date_saved"}
    assert loading.sha256_of(again) == loading.sha256_of(later)


def test_saved_model_returns_a_logit_for_fake(tmp_path: Path) -> None:
    model = tiny("sigmoid")
    card = Card(preprocessing=Preprocessing(input_size=8), output="probability", positive_class="real")
    x = np.random.default_rng(0).random((4, 8, 8, 3)).astype(np.float32)
    p = np.asarray(model(x))[:, 0]
    classifier = Classifier(model, card)
    np.testing.assert_allclose(classifier.logits(x), np.log((1 - p) / p), atol=1e-5)
    loaded = load_model(save_model(classifier, tmp_path / "m.keras"))
    np.testing.assert_allclose(loaded.logits(x), classifier.logits(x), atol=1e-6)


def test_hdf5_with_preprocessing_from_the_call(tmp_path: Path) -> None:
    model, path = tiny("sigmoid"), tmp_path / "model.h5"
    save_quietly(model, path)
    loaded = load_model(path, output="probability", **INPUT)
    x = np.ones((1, 8, 8, 3), np.float32)
    p = float(np.asarray(model(x))[0, 0])
    assert loaded.logits(x)[0] == pytest.approx(np.log(p / (1 - p)), abs=1e-5)


def test_changed_file_is_refused(saved: Path) -> None:
    data = bytearray(saved.read_bytes())
    data[-1] ^= 1
    saved.write_bytes(data)
    with pytest.raises(HashMismatch, match="its sidecar says"):
        load_model(saved)


def test_an_expected_hash_is_checked(saved: Path) -> None:
    assert load_model(saved, sha256=loading.sha256_of(saved).upper()).name == "brightness 1"
    with pytest.raises(HashMismatch, match="the call says 000000000000"):
        load_model(saved, sha256="0" * 64)


def test_missing_sidecar_is_reported(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    with pytest.raises(ModelIncomplete, match=r"input_size=32.*positive_class=") as caught:
        load_model(saved)
    assert "no sidecar" in caught.value.cause


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"colour": 1}', '{"threshold": 7}', '{"threshold": "a"}'])
def test_invalid_sidecar(saved: Path, text: str) -> None:
    saved.with_suffix(".json").write_text(text)
    with pytest.raises(ModelIncomplete, match="sidecar cannot be read"):
        load_model(saved)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n", "Git LFS pointer"),
        (b"\n <!DOCTYPE html><html></html>", "web page"),
        (b"hello", "neither"),
        (b"PK\x03\x04 and then nothing", "damaged"),
        (b"\x89HDF\r\n\x1a\n and then nothing", "damaged"),
    ],
)
def test_other_files_are_recognised(tmp_path: Path, data: bytes, message: str) -> None:
    path = tmp_path / ("model.h5" if b"HDF" in data else "model.keras")
    path.write_bytes(data)
    with pytest.raises(NotAModel, match=message):
        load_model(path, **INPUT)


def test_folders_and_missing_files(tmp_path: Path) -> None:
    with pytest.raises(NotAModel, match="folder"):
        load_model(tmp_path)
    with pytest.raises(ModelIncomplete, match="no such file"):
        load_model(tmp_path / "absent.keras")


def test_archive_without_a_model(tmp_path: Path) -> None:
    path = tmp_path / "model.keras"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(NotAModel, match="without a Keras configuration"):
        load_model(path, **INPUT)


def test_truncated_file(saved: Path) -> None:
    saved.with_suffix(".json").unlink()
    saved.write_bytes(saved.read_bytes()[:-200])
    with pytest.raises(NotAModel, match="damaged or cut short"):
        load_model(saved, **INPUT)


def test_weights_only_file_without_architecture(tmp_path: Path) -> None:
    path = tmp_path / "model.weights.h5"
    tiny().save_weights(path)
    with pytest.raises(ModelIncomplete, match="without an architecture"):
        load_model(path, **INPUT)


@pytest.mark.parametrize("ending", [".keras", ".h5"])
def test_code_in_a_file_is_refused_and_not_run(tmp_path: Path, ending: str) -> None:
    marker, path = tmp_path / "ran", tmp_path / f"model{ending}"
    code = f"lambda x: (open({str(marker)!r}, 'w').close(), x)[1]"
    model = keras.Sequential(
        [
            keras.Input((8, 8, 3)),
            keras.layers.Lambda(eval(code)),
            keras.layers.Flatten(),
            keras.layers.Dense(1),
        ]
    )
    save_quietly(model, path)
    marker.unlink(missing_ok=True)
    with pytest.raises(UnsafeModel, match="Lambda"):
        load_model(path, **INPUT)
    assert not marker.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"module": "os", "class_name": "system"}, r"os\.system"),
        ({"module": "keras.src.utils", "class_name": "get_file"}, "get_file"),
        ({"module": "keras.saving", "class_name": "load_model"}, "load_model"),
        ({"module": None, "class_name": "Mine", "registered_name": "pkg>Mine"}, "pkg>Mine"),
        ({"module": "builtins", "class_name": "function"}, "function"),
    ],
)
def test_classes_outside_keras_are_refused(tmp_path: Path, change: dict, message: str) -> None:
    source, path = tmp_path / "good.keras", tmp_path / "bad.keras"
    tiny().save(source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                config["config"]["layers"][1].update(change)
                data = json.dumps(config).encode()
            new.writestr(name, data)
    with pytest.raises(UnsafeModel, match=message):
        load_model(path, **INPUT)


@pytest.mark.parametrize(("on", "reads"), [(False, True), (None, True), (True, False)])
def test_options_of_a_later_keras(tmp_path: Path, on: bool | None, reads: bool) -> None:
    """One that is off changes nothing; one that is on cannot be left out."""
    source, path = tmp_path / "good.keras", tmp_path / "later.keras"
    tiny().save(source)
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            data = old.read(name)
            if name == "config.json":
                config = json.loads(data)
                for layer in config["config"]["layers"]:
                    if layer["class_name"] == "Dense":
                        layer["config"] |= {"tilted": on, "tilted_by": 0.5}
                data = json.dumps(config).encode()
            new.writestr(name, data)
    if reads:
        batch = np.ones((2, 8, 8, 3), np.float32)
        np.testing.assert_array_equal(
            load_model(path, **INPUT).logits(batch), load_model(source, **INPUT).logits(batch)
        )
    else:
        with pytest.raises(NotAModel, match="tilted"):
            load_model(path, **INPUT)


def test_hdf5_that_names_code_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.h5"
    save_quietly(tiny(), path)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"][1]["module"] = "subprocess"
        file.attrs["model_config"] = json.dumps(config)
    with pytest.raises(UnsafeModel, match="subprocess"):
        load_model(path, **INPUT)


def test_failed_save_leaves_nothing(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(loading, "sha256_of", full)
    with pytest.raises(OutputError, match="No space left"):
        save_model(classifier, tmp_path / "model.keras")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("overwrites", [False, True])
def test_a_sidecar_that_cannot_be_written(classifier: Classifier, tmp_path: Path, overwrites: bool) -> None:
    """The model beside it stays what it was."""
    path = tmp_path / "model.keras"
    if overwrites:
        path.write_bytes(b"an older model")
    path.with_suffix(".json").mkdir()
    with pytest.raises(OutputError, match="cannot be written"):
        save_model(classifier, path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["model.json"] + ["model.keras"] * overwrites
    assert not overwrites or path.read_bytes() == b"an older model"


def test_folder_of_the_same_name_is_kept(classifier: Classifier, tmp_path: Path) -> None:
    kept = tmp_path / "model.keras" / "kept.txt"
    kept.parent.mkdir()
    kept.write_text("here")
    with pytest.raises(OutputError, match="cannot be written"):
        save_model(classifier, kept.parent)
    assert kept.read_text() == "here"
    assert list(tmp_path.iterdir()) == [kept.parent]


def test_saving_over_a_model_replaces_both_files(classifier: Classifier, saved: Path) -> None:
    other = Classifier(tiny(), Card(name="other", preprocessing=Preprocessing(input_size=8)))
    assert save_model(other, saved) == saved
    assert load_model(saved).card.name == "other"
    assert sorted(p.name for p in saved.parent.iterdir()) == ["model.json", "model.keras"]


def test_models_are_saved_as_keras_files(classifier: Classifier, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"\.keras"):
        save_model(classifier, tmp_path / "model.h5")


def test_batches_on_a_gpu_are_sized_to_its_memory(
    classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("redeepfake_nb.models.classifier.gpu_memory", lambda: None)
    assert classifier.gpu_batch_size is None
    monkeypatch.setattr("redeepfake_nb.models.classifier.gpu_memory", lambda: 2**34)
    assert classifier.gpu_batch_size == 128


# ------------------------------------------------------------------ the model that ships


@pytest.mark.slow
def test_the_model_that_ships_loads_and_is_small() -> None:
    path = loading.default_model_path()
    assert path.stat().st_size < 60 * 10**6
    shipped = load_model()
    assert shipped.calibrated
    assert shipped.sha256 == loading.sha256_of(path)
    # CLIP adds to the logit beside the map.
    assert not is_cut(shipped.keras_model, shipped.card.explain_layer)
    assert linear_head(shipped.keras_model).layer == shipped.card.explain_layer
    auc = shipped.card.metrics["auc"]
    assert 0.5 < auc["low"] <= auc["value"] <= auc["high"] <= 1
    assert loading.default_classifier() is loading.default_classifier()


def test_the_model_that_ships_is_found_in_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed = tmp_path / "site" / "redeepfake_nb"
    (installed / "_models").mkdir(parents=True)
    shutil.copy(loading.default_model_path(), installed / "_models" / "default.keras")
    monkeypatch.setattr(loading, "_PACKAGE", installed)
    assert loading.default_model_path() == installed / "_models" / "default.keras"
    (installed / "_models" / "default.keras").unlink()
    with pytest.raises(ModelIncomplete, match="not there"):
        loading.default_model_path()
