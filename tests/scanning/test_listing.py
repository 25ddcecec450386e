"""Folders, CSV lists and single files are combined into one list that has each file once."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from helpers.scan_helpers import write

from redeepfake_nb import EmptyFile, InputError, UnsupportedMedia
from redeepfake_nb.scanning.listing import check_existence, list_files, read_file_list


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


def test_links_and_pipes_in_a_folder(tree: Path) -> None:
    (tree / "z.png").symlink_to(tree / "a.png")
    (tree / "broken.png").symlink_to(tree / "nothing")
    (tree / "unmounted").symlink_to(tree / "disk")
    os.mkfifo(tree / "pipe.png")
    os.mkfifo(tree / "pipe")
    found = names(list_files(tree), tree)
    assert {"z.png", "broken.png", "unmounted", "pipe.png"} <= set(found)
    assert "pipe" not in found


def test_folders_behind_links_follow_and_are_entered_once(tree: Path) -> None:
    before = list_files(tree)
    elsewhere = tree.parent / f"{tree.name} elsewhere"
    (elsewhere / "more").mkdir(parents=True)
    write(elsewhere / "more" / "5.png", 5)
    (elsewhere / "more" / "loop").symlink_to(elsewhere)
    (elsewhere / "back").symlink_to(tree)
    (tree / "0 media").symlink_to(elsewhere)
    (tree / "b" / "again").symlink_to(elsewhere / "more")
    (tree / "a copy of b").symlink_to(tree / "b")
    (tree / "itself").symlink_to(tree)
    found = list_files(tree)
    # Known paths stay as they were, whatever the links' names are sorted to.
    assert found[: len(before)] == before
    assert names(found[len(before) :], tree) == ["0 media/more/5.png"]
    # The folder that is named may be a link, too.
    assert names(list_files(tree / "0 media"), tree)[0] == "0 media/more/5.png"


def test_paths_that_lead_nowhere_are_told(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tree)
    check_existence(["b", "a.png", "s3://bucket/x.png", "memory://absent.png"])
    (tree / "broken").symlink_to(tree / "nothing")
    for path in ("absent", "a.png/x.png", "broken", ""):
        with pytest.raises(InputError, match="there is no such file or folder"):
            check_existence(["b", path])


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


def test_csv_lists_are_read_as_spreadsheets_save_them(tree: Path) -> None:
    listed = tree / "list.csv"
    listed.write_bytes("sep=;\r\nPath;Label\r\nb/2.png;real\r\né, 1.png;fake\r\n".encode("utf-16"))
    assert list(read_file_list(listed)) == [
        (str(tree / "b/2.png"), {"path": "b/2.png", "label": "real"}),
        (str(tree / "é, 1.png"), {"path": "é, 1.png", "label": "fake"}),
    ]


def test_empty_or_unreadable_inputs_raise(tmp_path: Path) -> None:
    with pytest.raises(EmptyFile, match=r"no image or video.*hidden files do not count"):
        list_files(tmp_path)
    with pytest.raises(EmptyFile, match="nothing"):
        list_files([])
    (tmp_path / "other.csv").write_text("name,label\nx,REAL\n")
    with pytest.raises(UnsupportedMedia, match="it has no column"):
        list_files(tmp_path / "other.csv")
    with pytest.raises(InputError, match="the list cannot be read"):
        list_files(tmp_path / "absent.csv")
    (tmp_path / "binary.csv").write_bytes(b"path\n" + b"x" * 300 + b"\0")
    with pytest.raises(InputError, match="the list cannot be read"):
        list_files(tmp_path / "binary.csv")
