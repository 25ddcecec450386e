"""The sample folder contains every kind of file, and is deterministic."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from redeepfake_nb import Classifier, OutputError, scan
from redeepfake_nb.datasets.synthetic import make_sample_folder


@pytest.mark.slow
def test_every_kind_of_outcome_is_in_it(classifier: Classifier, tmp_path: Path) -> None:
    folder = make_sample_folder(tmp_path / "files", 20)
    result = scan(folder, tmp_path / "j.sqlite", classifier, workers=0, frames=4)
    found = {Path(row.path).name: row for row in result.rows()}
    assert len(found) == 20
    status = {name: row.status for name, row in found.items()}
    assert status["0003-clip.mp4"] == "done"
    assert status["0012-no-face.png"] == "no face"
    assert status["0015-damaged-clip.mp4"] == "partial"
    assert found["0006-copy.jpg"].duplicate_of.endswith("0005-face.jpg")
    assert {name for name, s in status.items() if s == "failed"} == {"0009-damaged.jpg", "0018-empty.jpg"}
    assert sum(s == "done" for s in status.values()) == 16


def test_seed_determines_the_files(tmp_path: Path) -> None:
    def digests(name: str, seed: int, count: int = 7) -> list[str]:
        folder = make_sample_folder(tmp_path / name, count, seed)
        return [hashlib.sha256(p.read_bytes()).hexdigest() for p in sorted(folder.iterdir())]

    first = digests("a", 0)
    assert digests("b", 0) == first
    assert digests("d", 0, 5) == first[:5]
    assert not set(digests("c", 1)) & set(first)
    assert len(set(first)) == 6


def test_invalid_arguments(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        make_sample_folder(tmp_path / "file" / "x", 1)
    with pytest.raises(ValueError, match="1 to 9999"):
        make_sample_folder(tmp_path, 0)
