"""Files on which the HDF5 library hangs or crashes are refused; others pass."""

from __future__ import annotations

import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from redeepfake_nb import NotAModel
from redeepfake_nb.models.serialization import hdf5
from redeepfake_nb.models.serialization.hdf5 import check_in_subprocess, open_store


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as made:
        made.attrs["model_config"] = "{}"
        made.create_dataset("layers/dense/kernel", data=np.ones((4, 4)), chunks=(2, 2))
        made["again"] = made["layers"]
        made["layers"]["round"] = made["layers"]
        made["outside"] = h5py.ExternalLink("/etc/passwd", "/")
    return path


def test_valid_file_passes(file: Path) -> None:
    check_in_subprocess(file, "a.h5")


def test_other_files_are_not_judged(tmp_path: Path) -> None:
    path = tmp_path / "b.h5"
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))
    check_in_subprocess(path, "b.h5")
    check_in_subprocess(tmp_path / "missing.h5", "missing.h5")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("while True: pass", "does not finish reading it"),
        ("import os; os.kill(os.getpid(), 11)", "crashes on it"),
    ],
)
def test_hangs_and_crashes_are_reported(
    file: Path, monkeypatch: pytest.MonkeyPatch, code: str, words: str
) -> None:
    monkeypatch.setattr(hdf5, "_WALK_SCRIPT", code)
    monkeypatch.setattr(hdf5, "WALK_SECONDS", 1.0)
    with pytest.raises(NotAModel, match=f"a.h5: .*{words}"), open_store(file, "a.h5"):
        pass


def test_inspection_without_a_process(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    check_in_subprocess(file, "a.h5")
