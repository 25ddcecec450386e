"""Tables of text are read with the separators and encodings that spreadsheets save."""

from __future__ import annotations

from pathlib import Path

import pytest

from redeepfake_nb.utils.text_tables import read_table_text


@pytest.mark.parametrize(
    ("data", "separator"),
    [
        (b"path,label\n\xc3\xa9.png,real\n", ","),
        (b"\xef\xbb\xbfpath;label\n\xc3\xa9.png;real\n", ";"),
        (b"path;label\n\xe9.png;real\n", ";"),
        ("path\tlabel\né.png\treal\n".encode("utf-16"), "\t"),
        ("path|label\né.png|real\n".encode("utf-16-le"), "|"),
        ("path|label\né.png|real\n".encode("utf-16-be"), "|"),
    ],
)
def test_separators_and_encodings(data: bytes, separator: str, tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(data)
    text, found = read_table_text(tmp_path / "list.csv", {"path", "label"})
    assert found == separator
    assert text.splitlines() == [f"path{separator}label", f"é.png{separator}real"]


def test_the_header_follows_blank_lines_and_excels_own(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("\nsep=;\npath;a,b,c,d\n")
    assert read_table_text(tmp_path / "list.csv", {"path"}) == ("path;a,b,c,d\n", ";")


def test_what_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_bytes(b"path\n" + b"x" * 300 + b"\0")
    with pytest.raises(ValueError, match="no text"):
        read_table_text(tmp_path / "list.csv", {"path"})
    (tmp_path / "list.csv").write_bytes(b"")
    assert read_table_text(tmp_path / "list.csv", {"path"}) == ("", ",")
