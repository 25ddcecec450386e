"""Leave-one-source-out: each source is judged by a model that was trained without it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.training import leave_one_out
from redeepfake_nb.training.leave_one_out import leave_one_source_out
from redeepfake_nb.training.recipes import Recipe, Source, Stage
from redeepfake_nb.training.trainer import TrainingResult


class ByLevel:
    """A model whose logit is the mean grey level."""

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        return x.mean((1, 2, 3))


@pytest.fixture
def trained(monkeypatch: pytest.MonkeyPatch) -> list[Recipe]:
    """The recipes that were trained, without any training."""
    recipes: list[Recipe] = []

    def train(recipe, train_faces, val_faces, out, *, progress, workers):
        recipes.append(recipe)
        progress(recipe.steps, recipe.steps, 0.5)
        return TrainingResult(ByLevel(), [{"val_auc": 0.6}, {"val_auc": 0.8}], recipe.steps)

    monkeypatch.setattr(leave_one_out, "train", train)
    return recipes


@pytest.fixture
def mixed(faces: LabelledFaces) -> LabelledFaces:
    names = np.where(faces.table["identity"] % 2 == 0, "swaps", "portraits")
    return faces.with_table(faces.table.assign(source=names))


RECIPE = Recipe(
    "r",
    "FaceResNet",
    (Stage(67, 5, 0.1, leave_out=("street",)), Stage(67, 5, 0.1)),
    sources=(Source("swaps"), Source("portraits"), Source("street", real=("swaps",))),
)


def test_each_source_is_left_out_once(mixed: LabelledFaces, trained: list[Recipe], tmp_path: Path) -> None:
    seen = []
    table = leave_one_source_out(
        RECIPE, mixed, tmp_path, resamples=20, progress=lambda step, steps, loss: seen.append((step, steps))
    )
    assert table["source"].tolist() == ["swaps", "portraits"]  # street has no fakes here
    assert [recipe.name for recipe in trained] == ["r-without-swaps", "r-without-portraits"]
    assert [set(stage.leave_out) for stage in trained[0].stages] == [{"street", "swaps"}, {"swaps"}]
    assert seen == [(10, 20), (20, 20)]
    # All fakes of the source, of both splits, against the real faces of val.
    assert table[["fakes", "reals"]].to_numpy().tolist() == [[6, 2], [6, 2]]
    assert (table["val_auc"] == 0.8).all()
    assert table["auc"].between(0, 1).all()
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "leave_one_out.csv"), table)


def test_the_auc_is_that_of_the_unseen_source(
    mixed: LabelledFaces, trained: list[Recipe], tmp_path: Path
) -> None:
    levels = np.array([mixed.image(i).mean() for i in range(len(mixed))])
    fakes = ((mixed.table["source"] == "swaps") & (mixed.table["label"] == "FAKE")).to_numpy()
    reals = (
        (mixed.table["source"] == "swaps")
        & (mixed.table["label"] == "REAL")
        & (mixed.table["split"] == "val")
    ).to_numpy()
    above = levels[fakes][:, None] > levels[reals][None]
    table = leave_one_source_out(RECIPE, mixed, tmp_path, sources=["swaps"], resamples=0)
    assert table["auc"].iloc[0] == pytest.approx(above.mean(), abs=0.09)  # resized pictures: near ties


def test_sources_that_cannot_be_judged(mixed: LabelledFaces, trained: list[Recipe], tmp_path: Path) -> None:
    for name in ("moon", "street"):
        with pytest.raises(ValueError, match=f"{name} cannot be left out; sources are swaps, portraits"):
            leave_one_source_out(RECIPE, mixed, tmp_path, sources=[name])
    plain = replace(RECIPE, sources=(), stages=RECIPE.stages[1:])
    with pytest.raises(ValueError, match="no source has both"):
        leave_one_source_out(plain, mixed, tmp_path)
    assert trained == []
