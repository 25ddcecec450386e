"""Fingerprints identify a file's bytes; files are read again only where they may have changed."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from redeepfake_nb import UnsupportedMedia
from redeepfake_nb.datasets.samples import sample_clip
from redeepfake_nb.scanning.fingerprints import KnownFile, fingerprint_files

DIGEST = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as written long ago."""
    monkeypatch.setattr("redeepfake_nb.scanning.fingerprints._SETTLED_AFTER", -1.0)


def test_one_unexpected_error_costs_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def is_video(path: str) -> bool:
        if path.endswith("bad.png"):
            raise IndexError("index out of range")
        return False

    monkeypatch.setattr("redeepfake_nb.scanning.fingerprints.is_video", is_video)
    paths = [tmp_path / name for name in ("bad.png", "good.png")]
    for path in paths:
        path.write_bytes(b"abc")
    bad, good = fingerprint_files([KnownFile(str(path)) for path in paths])
    assert (good.sha256, good.error) == (DIGEST, None)
    assert bad.error.cause == "index out of range"
    assert "report it" in bad.error.next_step


def test_unchanged_file_is_not_read(tmp_path: Path, settled: None) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"abc")
    (first,) = fingerprint_files([KnownFile(str(path))])
    assert (first.sha256, first.size_bytes, first.video, first.error) == (DIGEST, 3, False, None)

    # A digest that is wrong on purpose comes back only where the file was not read.
    (same,) = fingerprint_files([KnownFile(str(path), "wrong", first.stamp)])
    assert same.sha256 == "wrong"
    (without_stamp,) = fingerprint_files([KnownFile(str(path), "wrong", None)])
    assert without_stamp.sha256 == DIGEST

    times = os.stat(path)
    time.sleep(0.02)
    path.write_bytes(b"xyz")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # size and modification time as before
    (changed,) = fingerprint_files([KnownFile(str(path), "wrong", first.stamp)])
    assert changed.sha256 == hashlib.sha256(b"xyz").hexdigest()


def test_recently_written_file_has_no_stamp(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"abc")
    (found,) = fingerprint_files([KnownFile(str(path))])
    assert found.stamp is None


def test_unreadable_files_have_an_error(tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(sample_clip())
    os.mkfifo(tmp_path / "pipe")
    files = [KnownFile(str(tmp_path / name)) for name in ("absent", "pipe", "", "clip")]
    absent, pipe, folder, clip = fingerprint_files(files)
    assert "no such file" in absent.error.cause
    assert isinstance(pipe.error, UnsupportedMedia)
    assert "a folder" in folder.error.cause
    assert clip.video
    assert clip.error is None


def test_addresses_are_read_with_fsspec() -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    fsspec.filesystem("memory").pipe("/scan/x.png", b"abc")
    address = "memory://scan/x.png"
    (first,) = fingerprint_files([KnownFile(address)])
    assert (first.sha256, first.size_bytes) == (DIGEST, 3)
    assert fingerprint_files([KnownFile(address, "wrong", first.stamp)])[0].sha256 == "wrong"
    (absent,) = fingerprint_files([KnownFile("memory://scan/absent.png")])
    assert "no such file" in absent.error.cause
    (nested,) = fingerprint_files([KnownFile("zip://x::memory://scan/x.zip")])
    assert "inside other addresses" in nested.error.cause
