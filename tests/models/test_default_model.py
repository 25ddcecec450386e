"""The model that ships matches its card and meets the requirements on size and metrics."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from redeepfake_nb import analyze_image, analyze_video, load_model
from redeepfake_nb.datasets import samples
from redeepfake_nb.evaluation.metrics import METRIC_WORDS
from redeepfake_nb.training.recipes import Recipe


@pytest.fixture(scope="module")
def sidecar(root: Path) -> dict:
    return json.loads((root / "models" / "default.json").read_text())


def test_file_size(root: Path) -> None:
    assert (root / "models" / "default.keras").stat().st_size <= 60 * 10**6


def test_recipes_are_those_of_the_repository(root: Path, sidecar: dict) -> None:
    training = sidecar["metrics"]["training"]
    for part in training.get("parts", [training]):
        recipe = Recipe.read(root / "models" / "recipes" / f"{part['recipe']}.toml")
        assert part["recipe_digest"] == recipe.digest()
        assert part["steps"] == recipe.steps


def test_metrics_meet_the_requirements(sidecar: dict) -> None:
    metrics = sidecar["metrics"]
    assert metrics["auc"]["value"] >= 0.90
    assert metrics["log_loss"]["value"] <= 0.40
    assert metrics["ece"]["value"] < 0.04
    collections = {row["collection"]: row["auc"]["value"] for row in metrics["collections"]}
    assert collections["dfdc_faces"] >= 0.88
    assert collections["other_faces"] >= 0.90
    generated = [entry for entry in sidecar["tested_on"] if entry["kind"] == "generated"]
    assert len(generated) == 5
    assert all(entry["low"] > 0.9 for entry in generated)
    rates = {row["value"]: row["predicted_fake"] for row in metrics["sources"] if row["label"] == "REAL"}
    assert rates["utkface"] <= 0.10
    assert rates["street"] <= 0.10
    sizes = [row for row in metrics["slices"] if row["feature"] == "native width"]
    assert len(sizes) == 4
    assert all(row["auc_low"] > 0.7 for row in sizes)


def test_card_and_readme_state_the_same_metrics(root: Path, sidecar: dict) -> None:
    card, readme = (root / "models" / "default.md").read_text(), (root / "README.md").read_text()
    for name, label in (("auc", "AUC"), ("log_loss", "log loss"), ("eer", "equal error rate")):
        value = sidecar["metrics"][name]
        interval = " ({low:.4f} to {high:.4f})".format_map(value)
        assert f"| {METRIC_WORDS[name]} | {value['value']:.4f}{interval} |" in card
        assert f"| {label} | {value['value']:.3f} | {value['low']:.3f} to {value['high']:.3f} |" in readme
    for failure in sidecar["metrics"]["known_failures"]:
        assert f"* {failure}\n" in card


@pytest.mark.slow
def test_one_sample_is_found_and_one_is_missed() -> None:
    """Notebook 01 shows them and says so."""
    classifier = load_model()
    verdicts = {
        make.__name__: analyze_image(make(), classifier).verdict.label
        for make in (samples.sample_image, samples.sample_manipulated, samples.sample_edited)
    }
    assert verdicts == {"sample_image": "real", "sample_manipulated": "real", "sample_edited": "fake"}


@pytest.mark.slow
def test_manipulated_middle_of_the_sample_video_is_found() -> None:
    """Notebook 02 shows it; the clip was chosen so."""
    report = analyze_video(samples.sample_video(), load_model(), frames=18, explain_top=0)
    (person,) = report.persons
    over = [s.timestamp for s in person.sightings if s.probability >= report.threshold]
    assert over == [t for t in report.frame_times if samples.is_manipulated_at(t)]
