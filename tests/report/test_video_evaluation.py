"""The folder of an evaluation on labelled videos: complete, readable, and the same again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from redeepfake_nb.errors import OutputError
from redeepfake_nb.evaluation.video_assessment import VideoAssessment, assess_clips
from redeepfake_nb.report.video_evaluation import (
    save_video_evaluation,
    video_summary,
    write_video_evaluation,
)

# (file, label, P(fake), status, original)
ROWS = [
    ("r/=1.mp4", "REAL", 0.1, "done", "r1"),
    ("r/2.mp4", "REAL", 0.8, "partial", "r2"),
    ("f/1.mp4", "FAKE", 0.9, "done", "r1"),
    ("f/2.mp4", "FAKE", 0.4, "done", "r2"),
    ("f/3.mp4", "FAKE", np.nan, "no face", "r3"),
    ("f/4.mp4", "FAKE", np.nan, "failed", "r4"),
]


def assessment(copies: int = 1, **options: object) -> VideoAssessment:
    """Assess the rows, repeated with other names."""
    clips = pd.DataFrame(ROWS, columns=["file", "label", "probability", "status", "original"])
    verdict = np.where(clips["probability"] >= 0.5, "fake", "real")
    clips = clips.assign(
        identity=None,
        split=["test", "test", "test", "train", None, None],
        generator=["", "", "A|B", "A|B", "A|B", "A|B"],
        kind_of_file="video",
        content=[f"sha {i}" for i in range(5)] + [None],
        verdict=verdict,
        frames=2,
        frames_with_face=[2, 2, 2, 1, 0, None],
        frames_known=True,
        error=None,
        cause=[None] * 5 + ["it is damaged"],
        next_step=None,
    )
    clips["generator"] = clips["generator"].where(clips["generator"] != "", None)
    frames = pd.DataFrame(
        [(0, 0.1), (0, 0.1), (1, 0.9), (1, 0.7), (2, 0.9), (2, 0.9), (3, 0.4)], columns=["row", "probability"]
    )
    clips = pd.concat(
        [
            clips.assign(
                file=[f"{'' if i == 0 else i}{name}" for name in clips["file"]],
                original=clips["original"] + f" {i}",
                content=[None if name is None else f"{name} {i}" for name in clips["content"]],
            )
            for i in range(copies)
        ],
        ignore_index=True,
    )
    frames = pd.concat(
        [frames.assign(row=frames["row"] + i * len(ROWS)) for i in range(copies)], ignore_index=True
    )
    settings = {"threshold": 0.5, "aggregation": "mean_logit", "frames": 2}
    given = {"resamples": 10, "unlabelled": ("x.mp4",), **options}
    return assess_clips(
        clips, frames, name="toy 1", sha256="ab" * 32, temperature=None, settings=settings, **given
    )


def test_summary_in_words() -> None:
    text = video_summary(assessment())
    for words in (
        "6 labelled videos (2 real, 4 fake), of which 4 have a score.",
        "1 of the scored videos could be read in part only.",
        "Videos of the splits test, train were evaluated together.",
        "50.0% of the real and 50.0% of the fake ones are predicted fake",
        "No intervals were computed, since there are fewer than 5 source videos (2).",
        "Of one label only 2 videos have a score",
        "Threshold on P(fake): 0.5000, the model's own.",
        "| AUC | 0.7500 |",
        "| FAKE | 1 | 1 | 0 | 1 | 1 | 0 |",
        "- r/2.mp4, REAL: P(fake) 0.800",
        "Of 8 sampled frames 7 show a face",
        "| generator | A\\|B | FAKE | 2 | 50.0% |",
        "- f/4.mp4, FAKE: failed (it is damaged)",
        "- f/3.mp4, FAKE: no face\n",
        "Videos in the folder without a label: 1 (x.mp4).",
    ):
        assert words in text, words
    assert "stopped before the end" not in text
    assert "95 % of 10 bootstrap samples of source videos (6)." in video_summary(assessment(copies=3))
    assert "stopped before the end" in video_summary(assessment(cancelled=True, resamples=0))


def test_what_is_written(tmp_path: Path) -> None:
    found = assessment()
    out = write_video_evaluation(found, tmp_path / "out")
    names = ["confusion", "precision_recall", "reliability", "roc", "scores"]
    tables = ["frames", "left_out", "origins", "verdicts", "videos"]
    expected = [f"{name}.csv" for name in tables] + [f"{p}{n}.png" for p in ("", "frame_") for n in names]
    assert sorted(path.name for path in out.iterdir()) == sorted([*expected, "metrics.json", "summary.md"])
    assert json.loads((out / "metrics.json").read_text()) == found.to_dict()
    rows = (out / "videos.csv").read_text()
    assert '"r/=1.mp4","REAL",0.1' in rows
    assert pd.read_csv(out / "videos.csv")["frames_with_face"].tolist() == [2, 2, 2, 1]
    assert ",2.0" not in rows
    origins = pd.read_csv(out / "origins.csv")
    assert origins[["level", "count"]].to_numpy().tolist() == [["videos", 2], ["frames", 3]]
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".png"}
    write_video_evaluation(assessment(), out)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.suffix != ".png"} == before


def test_a_folder_with_something_else_is_refused_before_the_scan(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(OutputError, match="something other"):
        save_video_evaluation(None, None, tmp_path)  # type: ignore[arg-type]
