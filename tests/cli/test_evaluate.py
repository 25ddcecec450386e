"""Evaluation from the command line, on faces and on videos."""

from __future__ import annotations

import json
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from helpers.grey_faces import grey_faces
from PIL import Image

from redeepfake_nb.cli import main
from redeepfake_nb.datasets.samples import clip_frames, encode_clip


@pytest.mark.slow
def test_evaluate(model: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data, out = tmp_path / "data", tmp_path / "out"
    data.mkdir()
    faces = grey_faces(data)
    faces.table.to_csv(data / "faces.csv", index=False)
    common = ["evaluate", "--model", model, "--data", str(data / "faces.csv"), "--resamples", "10"]
    assert (
        main([*common, "--split", "val", "--sweep", "4", "--false-positive-rate", "0.25", "--out", str(out)])
        == 0
    )
    printed = capsys.readouterr().out
    assert str(out) in printed
    assert str(out / "summary.md") in printed
    assert json.loads((out / "metrics.json").read_text())["threshold"]["target_false_positive_rate"] == 0.25
    assert len((out / "robustness.csv").read_text().splitlines()) > 20

    faces.table.assign(hat=["yes", "no"] * (len(faces) // 2)).to_csv(data / "faces.csv", index=False)
    assert main([*common, "--by", "hat", "--sweep", "0", "--out", str(out)]) == 0
    assert {row.split(",")[0] for row in (out / "origins.csv").read_text().splitlines()[1:]} == {'"hat"'}
    assert main([*common, "--by", "scarf", "--out", str(out)]) == 2
    assert "no column scarf to group faces by" in capsys.readouterr().err

    assert main([*common, "--split", "test", "--out", str(out)]) == 2
    assert "no face is in the split test; there are val" in capsys.readouterr().err
    assert main([*common, "--out", str(data)]) == 1
    assert "something other than an earlier report" in capsys.readouterr().err


def test_evaluate_on_videos(model: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    shown = list(islice(clip_frames(), 2))
    bright = [np.clip(frame.astype(int) + 60, 0, 255).astype(np.uint8) for frame in shown]
    for name, data in (
        ("real/a.mp4", encode_clip(shown)),
        ("fake/b.mp4", encode_clip(bright)),
        ("fake/c.mp4", b""),
    ):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / name).write_bytes(data)
    out = tmp_path / "out"
    common = ["evaluate", "--model", model, "--data", str(tmp_path / "data"), "--out", str(out)]
    assert main([*common, "--workers", "0", "--frames", "2", "--resamples", "0"]) == 0
    printed = capsys.readouterr().out
    assert str(out / "summary.md") in printed
    assert str(out / "left_out.csv") in printed
    values = json.loads((out / "metrics.json").read_text())
    assert (values["scored"], values["left_out"], values["frames"]["frames"]) == (2, {"failed": 1}, 4)
    assert values["videos"]["auc"]["value"] == 1
    assert (tmp_path / "out.sqlite").is_file()

    assert main([*common, "--sweep", "4"]) == 2
    assert "--sweep is for faces" in capsys.readouterr().err
    assert main([*common, "--by", "hat"]) == 2
    assert "--by is for faces" in capsys.readouterr().err
    Image.new("RGB", (64, 64)).save(tmp_path / "data" / "real" / "face.png")
    assert main(common) == 1
    assert "--as faces or --as videos" in capsys.readouterr().err
    assert main([*common, "--as", "faces", "--frames", "4"]) == 2
    assert "--frames is for videos" in capsys.readouterr().err
    assert main([*common, "--as", "videos", "--split", "test"]) == 2
    assert "no video is in the split test; there are no splits" in capsys.readouterr().err
