"""Tables of a journal have the same columns and types whatever it holds, and are exported atomically."""

from __future__ import annotations

import csv
import importlib.util
import os
import sys
from pathlib import Path

import pandas as pd
import pytest
from helpers.scan_helpers import folder, square, write

from redeepfake_nb import (
    Classifier,
    FileResult,
    Journal,
    JournalError,
    MissingExtra,
    OutputError,
    ScanResult,
    open_scan,
    scan,
)
from redeepfake_nb.report import html
from redeepfake_nb.scanning.records import Filter


@pytest.fixture
def result(classifier: Classifier, tmp_path: Path) -> ScanResult:
    files = folder(tmp_path / "files", 4)
    write(files / "=cmd|'x'!A1,.png", None)
    (files / "empty.jpg").write_bytes(b"")
    return scan(files, tmp_path / "j.sqlite", classifier, workers=0, detector=square)


def test_summary_and_counts(result: ScanResult) -> None:
    assert result.counts == {"waiting": 0, "done": 4, "no face": 1, "partial": 0, "failed": 1}
    rows = [tuple(row) for row in result.summary().fillna("").itertuples(index=False)]
    assert rows == [
        ("done", "fake", "", 1, 0),
        ("done", "inconclusive", "", 1, 0),  # 0.69, near the threshold
        ("done", "real", "", 2, 0),
        ("no face", "inconclusive", "", 1, 0),
        ("failed", "", "EmptyFile", 1, 0),
    ]
    assert repr(result) == "<ScanResult 'j.sqlite': 4 done, 1 no face, 1 failed>"
    assert result.settings == {
        "aggregation": "mean_logit",
        "detector": "helpers.scan_helpers.square",
        "frames": 32,
        "margin": None,
        "threshold": 0.6,
    }
    assert result.model["name"] == "brightness"


def test_data_frame_has_fixed_types(result: ScanResult) -> None:
    whole = result.to_frame()
    nothing = result.to_frame(Filter(text="there is no such path"))
    assert len(whole) == 6
    assert nothing.empty
    assert list(whole.columns) == list(nothing.columns)
    assert list(whole.dtypes) == list(nothing.dtypes)
    assert set(whole["model"]) == {"brightness 1"}
    assert (whole["model_sha256"] == result.scan.model_sha256).all()
    assert list(result.to_frame(Filter(statuses=["done"]), order="strongest")["score"]) == sorted(
        whole["score"].dropna(), reverse=True
    )


def test_columns_and_number_of_rows_can_be_chosen(result: ScanResult) -> None:
    best = result.to_frame(order="strongest", columns=["file", "score"], limit=1)
    whole = result.to_frame(order="strongest")
    assert list(best.columns) == ["file", "score"]
    assert best["file"][0] == Path(whole["path"][0]).name
    assert list(best["score"]) == list(whole["score"][:1])
    with pytest.raises(ValueError, match="unknown columns nose; there are path, "):
        result.to_frame(columns=["file", "nose"])


def test_csv_is_atomic_and_runs_no_formula(result: ScanResult, tmp_path: Path) -> None:
    path = result.to_csv(tmp_path / "out" / "table.csv")
    with open(path, encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["status"] for row in rows] == ["done"] * 4 + ["no face", "failed"]
    assert os.listdir(path.parent) == ["table.csv"]
    assert path.read_text() == result.to_csv(path).read_text()
    # A path is absolute, so a formula can begin only elsewhere: in an address, for example.
    with Journal(result.journal) as journal:
        other = journal.start_scan(["=1+1"], "d", {}, {"name": "=m", "version": "1"}, {})
    text = ScanResult(result.journal, other).to_csv(path).read_text()
    assert '\n"\'=1+1",' in text
    assert '"\'=m 1"' in text
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        result.to_csv(tmp_path / "file" / "table.csv")


def test_parquet_round_trip(result: ScanResult, tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="the extra parquet is not installed")
    path = result.to_parquet(tmp_path / "table.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(path, engine="pyarrow"), result.to_frame())


def test_the_journal_is_kept(result: ScanResult, tmp_path: Path) -> None:
    before = result.journal.read_bytes()
    (tmp_path / "link.csv").symlink_to(result.journal)
    writers = [result.to_csv, lambda out: html(result, out)]
    if importlib.util.find_spec("pyarrow"):
        writers.append(result.to_parquet)
    for write_to in writers:
        for out in (result.journal, tmp_path / "link.csv"):
            with pytest.raises(OutputError, match="it is the journal itself"):
                write_to(out)
    assert result.journal.read_bytes() == before


def test_without_pyarrow_the_extra_is_named(
    result: ScanResult, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"redeepfake-nb\[parquet\]"):
        result.to_parquet(tmp_path / "table.parquet")
    assert not (tmp_path / "table.parquet").exists()


def test_detail_of_a_row(result: ScanResult) -> None:
    (best,) = result.rows(order="strongest", limit=1)
    assert isinstance(best, FileResult)
    assert result.detail(best)["faces"][0]["probability"] == best.score
    (failed,) = result.rows(Filter(statuses=["failed"]))
    assert result.detail(failed) is None


def test_labels_are_in_the_table(result: ScanResult) -> None:
    (best,) = result.rows(order="strongest", limit=1)
    with Journal(result.journal) as journal:
        journal.set_label(best.sha256, "real", best.path)
    assert result.to_frame()["label"].value_counts().to_dict() == {"real": 1}


def test_journal_without_scan_raises(tmp_path: Path) -> None:
    Journal(tmp_path / "new.sqlite", create=True).close()
    with pytest.raises(JournalError, match="no such scan"):
        open_scan(tmp_path / "new.sqlite")
    with pytest.raises(JournalError, match="no such journal"):
        open_scan(tmp_path / "absent.sqlite")
