"""A fingerprint says which bytes a file holds; it reads again what may have changed, and nothing else."""

from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from redeepfake_nb import InputError, MissingExtra, UnsupportedMedia
from redeepfake_nb.datasets.samples import sample_clip
from redeepfake_nb.scanning.inputs import Known, local_copy, take_fingerprints

DIGEST = hashlib.sha256(b"abc").hexdigest()


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """Files count as written long ago."""
    monkeypatch.setattr("redeepfake_nb.scanning.inputs._SETTLED", -1.0)


def test_bytes_are_read_unless_nothing_can_have_changed(tmp_path: Path, settled: None) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"abc")
    (first,) = take_fingerprints([Known(str(path))])
    assert (first.sha256, first.size_bytes, first.video, first.error) == (DIGEST, 3, False, None)

    # A digest that is wrong on purpose comes back only where the file was not read.
    (same,) = take_fingerprints([Known(str(path), "wrong", first.stamp)])
    assert same.sha256 == "wrong"
    (unsure,) = take_fingerprints([Known(str(path), "wrong", None)])
    assert unsure.sha256 == DIGEST

    times = os.stat(path)
    time.sleep(0.02)
    path.write_bytes(b"xyz")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))  # as long and as old as before
    (changed,) = take_fingerprints([Known(str(path), "wrong", first.stamp)])
    assert changed.sha256 == hashlib.sha256(b"xyz").hexdigest()


def test_a_file_just_written_is_not_trusted_yet(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    path.write_bytes(b"abc")
    (seen,) = take_fingerprints([Known(str(path))])
    assert seen.stamp is None


def test_what_cannot_be_read_says_why_and_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "clip").write_bytes(sample_clip())
    os.mkfifo(tmp_path / "pipe")
    files = [Known(str(tmp_path / name)) for name in ("absent", "pipe", "", "clip")]
    absent, pipe, folder, clip = take_fingerprints(files)
    assert "no such file" in absent.error.cause
    assert isinstance(pipe.error, UnsupportedMedia)
    assert "a folder" in folder.error.cause
    assert clip.video
    assert clip.error is None


def test_addresses_are_read_with_fsspec() -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    system = fsspec.filesystem("memory")
    system.pipe("/scan/x.png", b"abc")
    address = "memory://scan/x.png"
    (first,) = take_fingerprints([Known(address)])
    assert (first.sha256, first.size_bytes) == (DIGEST, 3)
    assert take_fingerprints([Known(address, "wrong", first.stamp)])[0].sha256 == "wrong"
    with local_copy(address) as copy:
        assert Path(copy).read_bytes() == b"abc"
        assert copy.endswith("x.png")
    assert not os.path.exists(copy)
    (absent,) = take_fingerprints([Known("memory://scan/absent.png")])
    assert "no such file" in absent.error.cause
    (chained,) = take_fingerprints([Known("zip://x::memory://scan/x.zip")])
    assert "inside other addresses" in chained.error.cause
    with pytest.raises(InputError, match="nothing here reads such addresses"), local_copy("nonsense://x"):
        pass


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "fsspec", None)
    with pytest.raises(MissingExtra, match=r"redeepfake-nb\[cluster\]"), local_copy("s3://bucket/x.png"):
        pass


def test_a_path_is_its_own_copy(tmp_path: Path) -> None:
    with local_copy(str(tmp_path / "x")) as copy:
        assert copy == str(tmp_path / "x")
