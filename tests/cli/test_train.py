"""Training from the command line: which faces reach it, and what is printed."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest
from helpers.grey_faces import grey_faces

from redeepfake_nb.cli import main


def test_a_recipe_that_is_not_there_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    missing = str(tmp_path / "mine.toml")
    assert main(["train", missing, "--data", str(tmp_path), "--out", str(tmp_path / "out")]) != 0
    assert "mine.toml: the recipe cannot be read" in capsys.readouterr().err


def test_train_joins_collections_and_leaves_sources_out(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Training itself is replaced: which faces reach it, and what is printed of its results."""
    given = []
    table = pd.DataFrame({"source": ["a"], "fakes": [4], "auc": [0.75]})

    def train(recipe, faces, out, *, progress, workers, log=print, by=()):
        log("written")
        progress(1, recipe.steps, 0.5)
        given.append((recipe.name, faces, out, workers, list(by)))
        return Path(out) / "made.keras"

    monkeypatch.setattr("redeepfake_nb.training.exporter.train_and_export", train)
    monkeypatch.setattr(
        "redeepfake_nb.training.leave_one_out.leave_one_source_out",
        lambda *args, **options: (train(*args, **options), table)[1],
    )
    paths = []
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        paths.append(str(tmp_path / name / f"{name}.csv"))
        grey_faces(tmp_path / name).table.to_csv(paths[-1], index=False)
    out, recipe = str(tmp_path / "out"), str(root / "models" / "recipes" / "smoke.toml")
    assert main(["train", recipe, "--data", *paths, "--out", out, "--by", "hat", "beard"]) == 0
    assert "made.keras" in capsys.readouterr().out
    leave_out = ["--leave-one-out", "--workers", "3"]
    assert main(["train", recipe, "--data", paths[0], "--out", out, *leave_out]) == 0
    assert re.search(r"a +4 +0\.750", capsys.readouterr().out)
    (name, both, where, workers, by), (_, alone, _, more_workers, _) = given
    assert (name, where, workers, more_workers, by) == ("smoke", out, 0, 3, ["hat", "beard"])
    assert main(["train", recipe, "--data", paths[0], "--out", out, *leave_out, "--by", "hat"]) == 2
    assert "--by is for the card" in capsys.readouterr().err
    assert set(both.table["collection"]) == {"one", "two"}
    assert len(both) == 2 * len(alone)


def test_join_hands_experts_and_gate_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Joining itself is replaced: one list of weights alone, and one for each expert with a gate."""
    given: list[dict] = []

    def join(classifiers, size, faces, out, **options):
        given.append(options)
        return Path(out)

    monkeypatch.setattr("redeepfake_nb.training.joining.join_and_export", join)
    monkeypatch.setattr("redeepfake_nb.models.loading.load_model", lambda path: path)
    grey_faces(tmp_path).table.to_csv(tmp_path / "faces.csv", index=False)
    command = ["join", "a.keras", "b.keras", "--size", "64", "--data", str(tmp_path / "faces.csv")]
    command += ["--out", str(tmp_path / "m.keras")]
    assert main([*command, "--weights", "2", "1"]) == 0
    experts = ["--weights", "2", "0", "--weights", "1", "3", "--gate", "a.npz", "b.npz", "--prior", "3", "1"]
    experts += ["--logit-scale", "1", "0.75", "--degraded-faces", "9", "--by", "hat"]
    assert main([*command, *experts]) == 0
    found = [
        (o["weights"], list(o["gate"]), o["prior"], o["logit_scale"], o["degraded_faces"], list(o["by"]))
        for o in given
    ]
    alone = ([2, 1], [], None, None, 0, [])
    mixed = ([[2, 0], [1, 3]], ["a.npz", "b.npz"], [3, 1], [1, 0.75], 9, ["hat"])
    assert found == [alone, mixed]
    capsys.readouterr()
    assert main([*command, "--weights", "2", "1", "--weights", "1", "3"]) != 0
    assert "more than once needs --gate" in capsys.readouterr().err
    assert len(given) == 2
