"""Classifiers side by side, source by source."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.evaluation import source_comparison
from redeepfake_nb.evaluation.scoring import Scores
from redeepfake_nb.evaluation.source_comparison import compare_sources

# source, label, logit of the first model, logit of the second
ROWS = [
    ("studio", "REAL", -1.0, -1.0),
    ("studio", "REAL", 1.0, -3.0),
    ("street", "REAL", 2.0, -2.0),
    ("swaps", "FAKE", 3.0, 3.0),
    ("swaps", "FAKE", 0.0, 3.0),
    ("portraits", "FAKE", 1.5, 2.0),
]
FIRST, SECOND = (SimpleNamespace(temperature=None, threshold=t) for t in (0.5, 0.99))


@pytest.fixture
def faces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LabelledFaces:
    Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    table = pd.DataFrame([row[:2] for row in ROWS], columns=["source", "label"])
    table = table.assign(file="a.png", original=None, identity=None, split=None)
    columns = np.array([row[2:] for row in ROWS], np.float32).T

    def score_all(classifiers, faces, progress):
        times = len(faces) // len(ROWS)
        logits = [np.tile(columns[0 if c is FIRST else 1], times) for c in classifiers]
        nothing = np.zeros(len(faces))
        return Scores(faces, logits, nothing, nothing, nothing, pd.DataFrame())

    monkeypatch.setattr(source_comparison, "score_all", score_all)
    return LabelledFaces(table, tmp_path)


def test_by_hand(faces: LabelledFaces) -> None:
    table = compare_sources({"a": FIRST, "b": SECOND}, faces, resamples=0).set_index(["value", "model"])
    auc = table["auc"]
    # Against -1, 1, 2: 3 beats all, 0 beats one; 1.5 beats two.
    assert auc["swaps", "a"] == pytest.approx(4 / 6)
    assert auc["portraits", "a"] == pytest.approx(2 / 3)
    assert auc["swaps", "b"] == auc["portraits", "b"] == 1
    assert table.loc[("swaps", "b"), "auc_difference"] == pytest.approx(1 / 3)
    assert np.isnan(table.loc[("swaps", "a"), "auc_difference"])
    assert auc[["studio", "street"]].isna().all()
    rate = table["predicted_fake"]
    assert rate["studio", "a"] == 0.5
    assert rate["street", "a"] == 1
    assert rate["swaps", "a"] == 1  # a logit of 0 is at the threshold of 0.5
    assert rate["swaps", "b"] == 0  # 0.95 is under its threshold
    assert table["faces"].tolist() == [2, 2, 1, 1, 2, 2, 1, 1]


def test_fakes_are_compared_with_real_faces_of_the_same_making(faces: LabelledFaces) -> None:
    table = compare_sources({"a": FIRST}, faces, against={"swaps": ["studio"]}, resamples=0)
    auc = table.set_index("value")["auc"]
    assert auc["swaps"] == pytest.approx(3 / 4)  # against -1 and 1
    assert auc["portraits"] == pytest.approx(2 / 3)


def test_intervals_hold_the_value(faces: LabelledFaces) -> None:
    many = faces.with_table(pd.concat([faces.table] * 5, ignore_index=True))
    table = compare_sources({"a": FIRST, "b": SECOND}, many, resamples=200)
    for name in ("predicted_fake", "auc", "auc_difference"):
        rated = table.dropna(subset=[f"{name}_low"])
        assert len(rated)
        assert (rated[f"{name}_low"] <= rated[name]).all()
        assert (rated[name] <= rated[f"{name}_high"]).all()


def test_few_faces_have_no_interval(faces: LabelledFaces) -> None:
    table = compare_sources({"a": FIRST, "b": SECOND}, faces, resamples=50)
    assert table.filter(regex="_(low|high)$").isna().all(axis=None)
    assert table["predicted_fake"].notna().all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"by": "split"}, "by must be a column of the table among kind, generator, source, not 'split'"),
        ({"by": "kind"}, "not 'kind'"),
        ({"against": {"swaps": ["moon"]}}, "no real faces to compare the fakes of swaps with"),
    ],
)
def test_what_cannot_be_compared(faces: LabelledFaces, options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        compare_sources({"a": FIRST}, faces, **options)
    with pytest.raises(ValueError, match="at least one classifier"):
        compare_sources({}, faces)
