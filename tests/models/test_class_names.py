"""Which class a high output means, by the names of the classes in the order of the model's columns."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from helpers.hostile_models import good_archive

from redeepfake_nb import ModelIncomplete, Preprocessing, load_model
from redeepfake_nb.cli import main
from redeepfake_nb.models.class_names import find_class_names, positive_class_of

INPUT = Preprocessing(input_size=8, value_range=(0, 1))


@pytest.mark.parametrize(
    ("names", "positive"),
    [
        (("fake", "real"), "real"),
        (["REAL", "FAKE"], "fake"),
        (("training_fake", "training_real"), "real"),
        (("original", "Deepfakes"), "fake"),
    ],
)
def test_the_second_class_is_the_positive_one(names: tuple[str, str], positive: str) -> None:
    assert positive_class_of(names) == positive


@pytest.mark.parametrize(
    "names", [("cat", "dog"), ("fake",), ("fake", "deepfake"), ("real fake", "real"), "fake"]
)
def test_other_names_are_refused(names: object) -> None:
    with pytest.raises(ValueError, match=r"such as \('fake', 'real'\)"):
        positive_class_of(names)


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("labels.txt", "0 fake\n1 real\n"),
        ("classes.txt", "fake\nreal"),
        ("class_indices.json", '{"real": 1, "fake": 0}'),
        ("class_names.json", '["fake", "real"]'),
        ("labels.json", '{"0": "fake", "1": "real"}'),
    ],
)
def test_names_beside_a_model_are_found_but_not_used(tmp_path: Path, file: str, text: str) -> None:
    path = good_archive(tmp_path)
    (tmp_path / file).write_text(text)
    assert find_class_names(path) == (file, ("fake", "real"))
    with pytest.raises(ModelIncomplete, match=f"{file} beside it lists fake, real"):
        load_model(path, preprocessing=INPUT)


@pytest.mark.parametrize("text", ["cat\ndog", "{", '{"a": "b"}', "[1", "\xff", "fake\n" * 2000])
def test_other_files_are_not_taken_for_names(tmp_path: Path, text: str) -> None:
    for name in ("labels.txt", "labels.json"):
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    assert find_class_names(tmp_path / "m.keras") is None


def test_alphabetical_folders(tmp_path: Path) -> None:
    """A softmax trained on the folders fake and real: its second column means real."""
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), keras.layers.Flatten(), keras.layers.Dense(2, activation="softmax")]
    )
    path = tmp_path / "m.keras"
    model.save(path)
    with pytest.raises(ModelIncomplete) as caught:
        load_model(path, preprocessing=INPUT)
    assert "the second of two columns" in caught.value.next_step
    assert "alphabetical order" in caught.value.next_step
    loaded = load_model(path, preprocessing=INPUT, class_names=("fake", "real"))
    assert loaded.card.positive_class == "real"
    x = np.random.default_rng(0).random((3, 8, 8, 3)).astype(np.float32)
    fake, real = np.asarray(model(x), np.float64).T
    np.testing.assert_allclose(loaded.logits(x), np.log(fake / real), atol=1e-5)
    with pytest.raises(ValueError, match="positive_class is fake, but class_names ends in 'real'"):
        load_model(path, preprocessing=INPUT, class_names=("fake", "real"), positive_class="fake")


@pytest.mark.slow
def test_convert_shows_the_samples_where_the_class_is_not_given(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    source, out = str(good_archive(tmp_path)), tmp_path / "new.keras"
    settings = ["--input-size", "8", "--color-order", "RGB", "--value-range", "0", "1"]
    assert main(["convert", source, str(out), *settings]) == 1
    said = capsys.readouterr().err
    assert "P(fake) of the sample photograph is 0." in said
    assert "with its face manipulated" in said
    assert not out.exists()
    assert main(["convert", source, str(out), *settings, "--class-names", "fake", "real"]) == 0
    x = np.random.default_rng(0).random((2, 8, 8, 3)).astype(np.float32)
    given = {"preprocessing": INPUT, "positive_class": "real"}
    np.testing.assert_allclose(load_model(out).logits(x), load_model(source, **given).logits(x), atol=1e-5)
