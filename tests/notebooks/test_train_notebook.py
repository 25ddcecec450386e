"""The training notebook on a small set in the layout of Kaggle's."""

from __future__ import annotations

from pathlib import Path

from helpers.notebook_runs import check_outputs, run

from redeepfake_nb import load_model
from redeepfake_nb.datasets.synthetic import make_practice_set


def test_trains_on_a_folder_like_kaggles(tmp_path: Path) -> None:
    make_practice_set(tmp_path / "mounted", 24, seed=5)
    done = run(
        "05_train.ipynb",
        tmp_path,
        DATA=str(tmp_path / "mounted"),
        RECIPE="smoke",
        IDENTIFY=False,
        SELF_BLEND=0.5,
    )
    check_outputs("05_train.ipynb", done)
    assert load_model(tmp_path / "runs" / "train" / "smoke.keras").card.metrics["training"]["steps"] == 30
    assert (tmp_path / "runs" / "train" / "landmarks.npz").is_file()
