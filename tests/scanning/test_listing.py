"""Folders, CSV lists and single files are combined into one list that has each file once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.scan_helpers import write

from redeepfake_nb import EmptyFile, InputError, UnsupportedMedia
from redeepfake_nb.scanning.listing import list_files


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    (tmp_path / "b" / "deep").mkdir(parents=True)
    (tmp_path / ".hidden").mkdir()
    for name in ("b/2.png", "b/deep/1.PNG", "a.png", ".hidden/x.png", ".y.png"):
        write(tmp_path / name, 5)
    write(tmp_path / "picture.png", 7).rename(tmp_path / "picture")
    (tmp_path / "damaged.jpg").write_bytes(b"")
    (tmp_path / "notes.txt").write_text("text")
    return tmp_path


def names(found: list[str], folder: Path) -> list[str]:
    return [os.path.relpath(path, folder) for path in found]


def test_folder_gives_its_media_sorted(tree: Path) -> None:
    found = list_files(tree)
    assert names(found, tree) == ["a.png", "b/2.png", "b/deep/1.PNG", "damaged.jpg", "picture"]
    assert all(os.path.isabs(path) for path in found)


def test_links_to_files_are_followed_links_to_folders_are_not(tree: Path) -> None:
    (tree / "loop").symlink_to(tree)
    (tree / "z.png").symlink_to(tree / "a.png")
    (tree / "broken.png").symlink_to(tree / "nothing")
    os.mkfifo(tree / "pipe.png")
    os.mkfifo(tree / "pipe")
    found = names(list_files(tree), tree)
    assert "loop" not in " ".join(found)
    assert {"z.png", "broken.png", "pipe.png"} <= set(found)
    assert "pipe" not in found


def test_named_files_are_listed_once_without_checks(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    found = list_files(["notes.txt", tree / "a.png", "a.png", "b", "absent.png", "s3://bucket/x.png"])
    assert names(found[:-1], tree) == ["notes.txt", "a.png", "b/2.png", "b/deep/1.PNG", "absent.png"]
    assert found[-1] == "s3://bucket/x.png"


@pytest.mark.parametrize("header", ["file,label", "label,Path ", "\ufeffurl"])
def test_csv_list_is_relative_to_its_folder(tree: Path, header: str) -> None:
    place = [column.strip().lower() in ("file", "path", "\ufeffurl") for column in header.split(",")]
    lines = [
        ",".join(name if here else "REAL" for here in place)
        for name in ("b/2.png", '"with, comma.png"', str(tree / "a.png"), "memory://x/y.png", "")
    ]
    (tree / "list.csv").write_text("\n".join([header, *lines]), encoding="utf-8")
    found = list_files(tree / "list.csv")
    assert found == [
        str(tree / "b/2.png"),
        str(tree / "with, comma.png"),
        str(tree / "a.png"),
        "memory://x/y.png",
    ]


def test_empty_or_unreadable_inputs_raise(tmp_path: Path) -> None:
    with pytest.raises(EmptyFile, match="no image or video"):
        list_files(tmp_path)
    with pytest.raises(EmptyFile, match="nothing"):
        list_files([])
    (tmp_path / "other.csv").write_text("name,label\nx,REAL\n")
    with pytest.raises(UnsupportedMedia, match="it has no column"):
        list_files(tmp_path / "other.csv")
    with pytest.raises(InputError, match="the list cannot be read"):
        list_files(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"path\n\xff\xfe\n")
    with pytest.raises(InputError, match="the list cannot be read"):
        list_files(tmp_path / "binary.csv")
