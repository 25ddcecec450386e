"""Training logs: TensorBoard event files with and without TensorFlow, history and progress bar."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import pandas as pd
import pytest

from redeepfake_nb.training.logs import ProgressBar, ScalarLog, write_history


def scalars(folder: Path) -> list[tuple[str, int, float]]:
    """(tag, step, value) of all event files of a folder, read by TensorFlow."""
    import tensorflow as tf

    found = []
    for path in sorted(folder.iterdir()):
        for record in tf.data.TFRecordDataset(str(path)):
            event = tf.compat.v1.Event.FromString(record.numpy())
            found += [(value.tag, event.step, value.simple_value) for value in event.summary.value]
    return found


def test_event_files_hold_the_scalars(tmp_path: Path) -> None:
    log = ScalarLog(tmp_path / "tb")
    assert not (tmp_path / "tb").exists()
    log.add(10, {"loss": 1.5, "auc": 0.5})
    log.add(20, {"loss": 0.25})
    (file,) = (tmp_path / "tb").iterdir()
    assert file.name.startswith("events.out.tfevents.")
    assert scalars(tmp_path / "tb") == [("loss", 10, 1.5), ("auc", 10, 0.5), ("loss", 20, 0.25)]


def test_a_resumed_run_adds_a_file(tmp_path: Path) -> None:
    for loss in (1.0, -1.0):
        ScalarLog(tmp_path / "tb").add(20, {"loss": loss})
    assert len(list((tmp_path / "tb").iterdir())) == 2
    assert sorted(scalars(tmp_path / "tb")) == [("loss", 20, -1.0), ("loss", 20, 1.0)]


def test_without_tensorflow_one_sentence_is_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    log = ScalarLog(tmp_path / "tb")
    with caplog.at_level(logging.WARNING):
        log.add(10, {"loss": 1.5})
        log.add(20, {"loss": 1.0})
    (message,) = [record.getMessage() for record in caplog.records]
    assert message.startswith("TensorFlow cannot be imported")
    assert message.endswith("no TensorBoard event file is written.")
    assert not (tmp_path / "tb").exists()


def test_tensorboard_reads_the_event_files(tmp_path: Path) -> None:
    reader = pytest.importorskip(
        "tensorboard.backend.event_processing.event_accumulator", reason="tensorboard is not installed"
    )
    log = ScalarLog(tmp_path / "tb")
    for step in (10, 20):
        log.add(step, {"loss": step / 10, "auc": 0.5})
    accumulator = reader.EventAccumulator(str(tmp_path / "tb"))
    accumulator.Reload()
    assert [(s.step, s.value) for s in accumulator.Scalars("loss")] == [(10, 1.0), (20, 2.0)]
    assert [s.step for s in accumulator.Scalars("auc")] == [10, 20]


def test_history_gains_columns(tmp_path: Path) -> None:
    path = tmp_path / "out" / "history.csv"
    write_history(path, [{"step": 1, "auc": 0.5}])
    write_history(path, [{"step": 1, "auc": 0.5}, {"step": 2, "auc": 0.75, "start": "random"}])
    read = pd.read_csv(path)
    assert list(read.columns) == ["step", "auc", "start"]
    assert list(read["auc"]) == [0.5, 0.75]
    assert [p.name for p in path.parent.iterdir()] == ["history.csv"]


def test_progress_bar_writes_to_standard_output(capsys: pytest.CaptureFixture[str]) -> None:
    with ProgressBar(every=0) as progress:
        for step in range(5, 9):  # a resumed run
            progress(step, 8, 0.25)
        progress.say("Calibrating")
    out, err = capsys.readouterr()
    assert "8/8" in out
    assert "loss=0.2500" in out
    assert "Calibrating\n" in out
    assert err == ""
