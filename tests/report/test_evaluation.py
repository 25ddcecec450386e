"""The folder of evaluation results: complete, reproducible, and written atomically."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers.grey_faces import grey_faces

from redeepfake_nb import Classifier
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.errors import OutputError
from redeepfake_nb.evaluation.assessment import assess
from redeepfake_nb.report import evaluation
from redeepfake_nb.report.evaluation import save_evaluation, summary

CHARTS = ["confusion", "faces", "precision_recall", "reliability", "roc", "scores", "slices"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    return grey_faces(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def results(faces: LabelledFaces, classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("results") / "deep" / "out"
    return save_evaluation(classifier, faces, out, sweep=4, resamples=20)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.slow
def test_what_is_written(results: Path, faces: LabelledFaces, classifier: Classifier) -> None:
    pictures = [f"{name}.png" for name in (*CHARTS, "robustness")]
    tables = ["metrics.json", "robustness.csv", "scores.csv", "slices.csv", "summary.md"]
    assert sorted(contents(results)) == sorted(pictures + tables)
    assert all(contents(results)[name].startswith(b"\x89PNG") for name in pictures)
    # The temporary folder is gone.
    assert [path.name for path in results.parent.iterdir()] == ["out"]
    found = assess(classifier, faces, resamples=20)
    values = json.loads((results / "metrics.json").read_text())
    assert values == {**found.to_dict(), "robustness_faces": 4}
    scores = pd.read_csv(results / "scores.csv")
    assert list(scores["file"]) == list(faces.table["file"])
    assert scores["probability"].to_list() == pytest.approx(list(found.probabilities), abs=1e-6)


@pytest.mark.slow
def test_the_same_bytes_again_over_itself(
    results: Path, faces: LabelledFaces, classifier: Classifier
) -> None:
    before = contents(results)
    save_evaluation(classifier, faces, results, sweep=4, resamples=20)
    assert contents(results) == before
    assert [path.name for path in results.parent.iterdir()] == ["out"]


def test_summary_in_words(faces: LabelledFaces, classifier: Classifier) -> None:
    text = summary(assess(classifier, faces, false_positive_rate=0.25, resamples=0))
    assert "8 faces (4 real, 4 fake), 0 more could not be read" in text
    # One real face of four may be predicted fake: the lowest score above the second highest real, 100, is
    # 150, a fake.
    assert "chosen on these faces for a false positive rate up to 25.0%." in text
    assert "At it, 25.0% of the real and 75.0% of the fake faces are predicted fake." in text
    assert "| AUC | 0.8125 | not computed |" in text
    assert "| brightness under 60 (grey levels) | 1 | 0 | n/a: one label | |" in text
    assert "perturbed" not in text


def test_what_is_not_known_is_not_shown_as_a_number(faces: LabelledFaces, classifier: Classifier) -> None:
    found = assess(classifier, faces, threshold=1 - 1e-12, resamples=20)
    assert not found.predicted_fake.any()
    text = summary(found)
    assert "predicted fakes | n/a | no face is predicted fake |" in text
    assert "0.0000 to 0.0000" not in text


def test_a_threshold_above_every_score_is_reported(
    faces: LabelledFaces, classifier: Classifier, tmp_path: Path
) -> None:
    """A real face with P(fake) = 1: no threshold below 1 keeps it real."""
    steep = classifier.with_card(replace(classifier.card, temperature=1e-3))
    found = assess(steep, faces, false_positive_rate=0.0, resamples=0)
    assert found.threshold > 1
    save_evaluation(steep, faces, tmp_path / "out", false_positive_rate=0.0, resamples=0, sweep=2)
    assert "Threshold on P(fake): 1.0000, chosen" in (tmp_path / "out" / "summary.md").read_text()


def test_sources_stand_in_the_summary(faces: LabelledFaces, classifier: Classifier) -> None:
    source = ["street" if label == "REAL" else "A|B" for label in faces.table["label"]]
    named = LabelledFaces(faces.table.assign(source=source), faces.root)
    found = assess(classifier, named, resamples=0)
    text = summary(found)
    # The same four fakes and four reals as a whole, so the same AUC as in the table of metrics.
    assert "| source | A\\|B | FAKE | 4 |" in text
    assert "| not computed | 0.8125 | not computed |" in text
    assert "| source | street | REAL | 4 |" in text
    assert {row["value"] for row in found.to_dict()["origins"]} == {"A|B", "street"}
    assert "## Sources" not in summary(assess(classifier, faces, resamples=0))


def test_annotated_groups_stand_in_the_summary(faces: LabelledFaces, classifier: Classifier) -> None:
    hats = LabelledFaces(faces.table.assign(hat=["yes", "no"] * 4), faces.root)
    found = assess(classifier, hats, by=["hat"], resamples=0)
    reals = found.y == 0
    for value, start in (("yes", 0), ("no", 1)):
        mine = reals & (np.arange(8) % 2 == start)
        share = found.predicted_fake[mine].mean()
        assert f"| hat | {value} | REAL | {mine.sum()} | {share:.1%} | not computed |" in summary(found)
    with pytest.raises(ValueError, match="no column scarf to group faces by"):
        assess(classifier, hats, by=["scarf"], resamples=0)


def test_unreadable_images_and_names_that_are_formulas(classifier: Classifier, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    faces = grey_faces(folder)
    (folder / "0.png").write_bytes(b"")
    (folder / "1.png").rename(folder / "=1+1.png")
    faces.table.loc[1, "file"] = "=1+1.png"
    out = save_evaluation(classifier, faces, tmp_path / "out", sweep=0, resamples=0)
    assert "robustness.csv" not in contents(out)
    assert (out / "unreadable.csv").read_text().splitlines()[1].startswith('"0.png","EmptyFile",')
    assert '\n"\'=1+1.png","REAL",' in (out / "scores.csv").read_text()


def test_a_folder_with_something_else_is_left_alone(
    faces: LabelledFaces, classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    # The folder is refused before the evaluation.
    monkeypatch.setattr(evaluation, "assess", lambda *_, **__: pytest.fail("the model was evaluated"))
    with pytest.raises(OutputError, match="something other than an earlier report"):
        save_evaluation(classifier, faces, tmp_path)
    assert contents(tmp_path) == {"thesis.txt": b"mine"}


@pytest.mark.slow
def test_a_failure_leaves_the_earlier_results(
    results: Path, faces: LabelledFaces, classifier: Classifier, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = contents(results)

    def full(*_: object) -> str:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(evaluation, "csv_text", full)
    with pytest.raises(OutputError, match="disk is full"):
        save_evaluation(classifier, faces, results, sweep=0, resamples=0)
    assert contents(results) == before
    assert [path.name for path in results.parent.iterdir()] == ["out"]
