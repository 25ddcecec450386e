"""Addresses are recognised, and remote files are copied for reading and removed afterwards."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from redeepfake_nb import InputError, MissingExtra
from redeepfake_nb.scanning.remote import is_address, local_copy


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("s3://b/x", True),
        ("file:///x", True),
        ("/x/y", False),
        ("C:\\x", False),
        ("C://x", False),
        ("a:b", False),
    ],
)
def test_is_address(text: str, expected: bool) -> None:
    assert is_address(text) is expected


def test_remote_file_is_copied_and_removed() -> None:
    fsspec = pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    fsspec.filesystem("memory").pipe("/remote/x.png", b"abc")
    with local_copy("memory://remote/x.png") as copy:
        assert Path(copy).read_bytes() == b"abc"
        assert copy.endswith("x.png")
    assert not os.path.exists(copy)


def test_unknown_protocol() -> None:
    pytest.importorskip("fsspec", reason="the extra cluster is not installed")
    with pytest.raises(InputError, match="no installed file system reads"), local_copy("nonsense://x"):
        pass


def test_without_fsspec_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtra, match=r"redeepfake-nb\[cluster\]"), local_copy("s3://bucket/x.png"):
        pass


def test_local_path_is_returned_unchanged(tmp_path: Path) -> None:
    with local_copy(str(tmp_path / "x")) as copy:
        assert copy == str(tmp_path / "x")
