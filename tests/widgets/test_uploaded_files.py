"""``UploadedFiles``: names that a browser sent, uploads that replace one another, and removal."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest

from redeepfake_nb import OutputError
from redeepfake_nb.media.frames import Upload
from redeepfake_nb.widgets.uploaded_files import UploadedFiles


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


@pytest.mark.parametrize(
    ("sent", "written"),
    [
        ("a.jpg", "a.jpg"),
        ("Müller 1.jpg", "Müller 1.jpg"),
        ("<b onmouseover=x>.png", "<b onmouseover=x>.png"),
        ("../../etc/passwd", "passwd"),
        ("C:\\Users\\me\\a.png", "a.png"),
        ("/", "file"),
        ("..", "file"),
        ("a\0b.png", "ab.png"),
        (f"{'ä' * 300}.jpeg", f"{'ä' * 97}.jpeg"),
        ("\udc80.png", "?.png"),
    ],
)
def test_a_name_stays_in_the_folder(sent: str, written: str) -> None:
    files = UploadedFiles().replace([Upload(sent, b"1")])
    # The folder is gone with its owner, which nobody holds any more.
    assert not files.exists()
    owner = UploadedFiles()
    assert names(owner.replace([Upload(sent, b"1")])) == [written]
    assert [path.name for path in owner.folder.iterdir()] == ["files"]


def test_equal_names_get_folders_and_the_next_upload_replaces_all() -> None:
    owner = UploadedFiles()
    files = owner.replace([Upload("a.png", b"1"), Upload("a.png", b"2"), Upload("b.png", b"3")])
    assert names(files) == ["2/a.png", "a.png", "b.png"]
    assert (
        owner.shown(f"{files}/2/a.png is one, {owner.folder}/results.sqlite")
        == "2/a.png is one, results.sqlite"
    )
    assert names(owner.replace([Upload("c.png", b"4")])) == ["c.png"]


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_nobody_else_can_read_it_and_it_goes_with_its_owner() -> None:
    owner = UploadedFiles()
    folder = owner.folder
    assert folder.stat().st_mode & 0o777 == 0o700
    owner.replace([Upload("a.png", b"1")])
    del owner
    gc.collect()
    assert not folder.exists()


def test_a_full_disk_is_an_error_that_leaves_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    owner = UploadedFiles()

    def full(path: Path, data: bytes) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OutputError, match="the disk is full"):
        owner.replace([Upload("a.png", b"1")])
    assert not (owner.folder / "files").exists()
