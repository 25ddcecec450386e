"""Exported models: metrics of the written weights, slices and robustness, model card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import keras
import numpy as np
import pandas as pd
import pytest
from helpers.light_and_dark import light_and_dark_faces

from redeepfake_nb import Classifier, evaluate, load_model
from redeepfake_nb.datasets.joining import join_faces
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.evaluation.assessment import assess
from redeepfake_nb.evaluation.calibration import fit_calibration
from redeepfake_nb.evaluation.metrics import METRIC_WORDS
from redeepfake_nb.evaluation.scoring import score_all
from redeepfake_nb.report.html_content import describe_model
from redeepfake_nb.training.exporter import (
    About,
    _trained_limits,
    calibrate_and_save,
    card_text,
)


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    return light_and_dark_faces(tmp_path_factory.mktemp("faces"))


def published(
    model: Classifier, faces: LabelledFaces, path: Path, by: tuple[str, ...] = (), **about
) -> Classifier:
    training = {"recipe": "by hand", "recipe_digest": "0" * 16, "steps": 3}
    card = replace(model.card, architecture="brightness", temperature=None)
    about = About(**{"name": "bright", **about})
    parts = faces.part("train"), faces.part("val")
    # Publishing rounds the weights in place, and the fixture's are shared.
    copy = keras.models.clone_model(model.keras_model)
    copy.set_weights(model.keras_model.get_weights())
    return load_model(calibrate_and_save(copy, card, path, about, training, *parts, by=by, resamples=30))


def test_metrics_are_those_of_the_written_file(
    classifier: Classifier, faces: LabelledFaces, tmp_path: Path
) -> None:
    written = published(classifier, faces, tmp_path / "m.keras", licence="MIT", training_data="Noise.")
    found = assess(written, faces.part("val"), resamples=0)
    metrics = written.card.metrics
    for name in ("auc", "log_loss", "ece"):
        assert metrics[name]["value"] == pytest.approx(found.metrics[name].value, abs=1e-4)
    before = score_all([classifier], faces.part("val")).logits[0].astype(float)
    raw = evaluate(found.y, 1 / (1 + np.exp(-before)), resamples=0)
    temperature, shift = fit_calibration(found.y, before)
    np.testing.assert_allclose(found.logits, before + shift, atol=0.02)  # weights are rounded too
    assert written.temperature == pytest.approx(temperature, abs=0.01)
    assert metrics["before_calibration"]["log_loss"] == pytest.approx(raw["log_loss"].value, abs=5e-3)
    assert {row["feature"] for row in metrics["slices"]} == {"native width", "brightness", "sharpness"}
    swapped = [row for row in metrics["robustness"] if row["change"] == "colours swapped"]
    # The fixture's model knows brightness alone; colours do not matter to it.
    assert swapped[0]["flipped"] == 0
    assert (metrics["split"].split(";")[0], metrics["grouped_by"]) == (
        "val: people without any training face",
        "identity",
    )
    assert describe_model(written.card)["people"] == 6
    assert metrics["training"] == {
        "recipe": "by hand",
        "recipe_digest": "0" * 16,
        "steps": 3,
        "faces": 12,
        "identities": 6,
        "shared_with_val": 0,
    }
    assert json.loads((tmp_path / "m.json").read_text())["licence"] == "MIT"


@pytest.mark.slow
def test_model_card_text(classifier: Classifier, faces: LabelledFaces, tmp_path: Path) -> None:
    published(classifier, faces, tmp_path / "m.keras")
    text = (tmp_path / "m.md").read_text()
    assert "Recipe `by hand` (settings `0000000000000000`), 3 steps on 12 faces of 6 people." in text
    assert "| native width (px) | 156 to under 224 |" in text
    assert "| unchanged |  |" in text
    assert "| colours swapped | 1 BGR fed as RGB |" in text
    metrics = json.loads((tmp_path / "m.json").read_text())["metrics"]
    for name in ("auc", "log_loss", "eer"):
        stated = " ({low:.4f} to {high:.4f})".format_map(metrics[name])
        assert f"| {METRIC_WORDS[name]} | {metrics[name]['value']:.4f}{stated} |" in text
    assert "None" not in text
    assert "nan" not in text


def damaged(faces: LabelledFaces, folder: Path) -> LabelledFaces:
    """A copy in which every training picture but two is cut off."""
    for row, name in enumerate(faces.table["file"]):
        data = (faces.root / name).read_bytes()
        (folder / name).write_bytes(data[:100] if row < 10 else data)
    return LabelledFaces(faces.table, folder)


def test_limits_are_those_of_readable_training_faces(faces: LabelledFaces, tmp_path: Path) -> None:
    size, sharpness = _trained_limits(damaged(faces, tmp_path).part("train"))
    assert size == _trained_limits(faces.part("train"))[0]
    assert sharpness == _trained_limits(faces.take([10, 11]))[1] > 0
    assert _trained_limits(damaged(faces, tmp_path).take([0, 1]))[1] is None


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shared", "words"),
    [
        (False, "unknown people, whose source videos are not in the training data"),
        (True, "unknown people, who may be in the training data"),
    ],
)
def test_nothing_is_claimed_of_unknown_people(
    classifier: Classifier, faces: LabelledFaces, tmp_path: Path, shared: bool, words: str
) -> None:
    table = faces.table.assign(identity=None)
    if shared:
        table.loc[12:13, "original"] = "v0"
    card = published(classifier, LabelledFaces(table, faces.root), tmp_path / "m.keras").card
    assert card.metrics["split"] == f"val: {words}; also used for model selection and calibration"
    assert card.metrics["training"]["identities"] is None
    assert card.metrics["grouped_by"] == "original"
    text = (tmp_path / "m.md").read_text()
    assert f"On 12 faces (val: {words}; " in text
    assert "people without" not in text
    assert describe_model(card)["people"] is None


@pytest.mark.slow
def test_card_says_which_kinds_were_tested(
    classifier: Classifier, faces: LabelledFaces, tmp_path: Path
) -> None:
    fake = faces.table["label"] == "FAKE"
    third = faces.table.index % 3 == 1
    kind = np.where(third, "generated", "swapped")
    table = faces.table.assign(
        kind=pd.Series(kind, faces.table.index).where(fake),
        generator=pd.Series(np.where(third, "B", "A"), faces.table.index).where(fake),
    )
    table = table[~(third & fake & (table["split"] == "train"))].reset_index(drop=True)
    named = LabelledFaces(table, faces.root)
    written = published(classifier, named, tmp_path / "m.keras")
    found = {entry.kind: entry for entry in written.card.tested_on}
    assert [(found[k].generator, found[k].trained_on) for k in ("swapped", "generated")] == [
        ("A", True),
        ("B", False),
    ]
    val = named.part("val")
    scores = score_all([written], val).logits[0]
    of_kind = (val.table["kind"] == "generated").to_numpy()
    real = val.y == 0
    wins = scores[of_kind][:, None] > scores[real][None]
    assert found["generated"].auc == pytest.approx(wins.mean(), abs=1e-4)
    text = (tmp_path / "m.md").read_text()
    assert "| swapped faces | A | yes |" in text
    assert "was not tested on re-enacted faces or faces edited by hand. Lip-sync" in text


@pytest.mark.slow
def test_card_shows_false_positives_of_annotated_groups(
    classifier: Classifier, faces: LabelledFaces, tmp_path: Path
) -> None:
    hats = ["yes" if person % 2 else None for person in faces.table["identity"]]
    written = published(
        classifier, faces.with_table(faces.table.assign(hat=hats)), tmp_path / "m.keras", ("hat",)
    )
    (real,) = (row for row in written.card.metrics["annotated"] if row["label"] == "REAL")
    val = assess(written, faces.part("val"), resamples=0)
    mine = (val.y == 0) & (val.faces.table["identity"] % 2 == 1).to_numpy()
    assert (real["origin"], real["value"], real["faces"]) == ("hat", "yes", mine.sum())
    assert real["predicted_fake"] == pytest.approx(val.predicted_fake[mine].mean(), abs=1e-4)
    text = (tmp_path / "m.md").read_text()
    assert (
        f"| hat: yes | {mine.sum()} | {real['predicted_fake']:.3f}" in text.split("### By annotated group")[1]
    )
    assert "annotated" not in card_text(
        replace(written.card, metrics={**written.card.metrics, "annotated": []}), grouped=True
    )


@pytest.mark.slow
def test_card_shows_each_collection_and_source(
    classifier: Classifier, faces: LabelledFaces, tmp_path: Path
) -> None:
    """Two collections; a person of the second one is on both sides."""
    second = faces.table[faces.table["identity"].isin([0, 1, 7, 8])].copy()
    second.loc[second["identity"] == 7, "identity"] = 0
    source = np.where(second["label"] == "FAKE", "painted", "studio")
    both = join_faces({"one": faces, "two": faces.with_table(second.assign(source=source))})
    written = published(classifier, both, tmp_path / "m.keras")
    metrics = written.card.metrics
    assert [(row["collection"], row["faces"]) for row in metrics["collections"]] == [("one", 12), ("two", 4)]
    alone = assess(written, faces.part("val"), resamples=0)
    assert metrics["collections"][0]["auc"]["value"] == pytest.approx(alone.metrics["auc"].value, abs=1e-4)
    assert {(row["value"], row["label"]) for row in metrics["sources"]} == {
        ("one", "FAKE"),
        ("one", "REAL"),
        ("painted", "FAKE"),
        ("studio", "REAL"),
    }
    assert metrics["training"]["shared_with_val"] == 1
    assert "people, 1 of whom have faces in the training data, too;" in metrics["split"]
    text = (tmp_path / "m.md").read_text()
    assert "people, 1 of whom have faces in the training data, too, at threshold" in text
    assert "| faces, fakes | 12, 6 | 4, 2 |" in text
    assert "| studio, real | 2 | " in text
    assert "None" not in text
    assert "nan" not in text
