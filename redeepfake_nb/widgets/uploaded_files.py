"""``UploadedFiles``: a private folder for files that came through the browser, removed with its owner."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from collections.abc import Iterable
from pathlib import Path

from ..media.frames import Upload
from ..utils.writing import output_error, safe_name

# Bytes of a file's name; file systems take 255.
_MAX_NAME = 200


class UploadedFiles:
    """A folder that only this user of the machine can read; it is removed with this object or at exit.

    Attributes
    ----------
    folder : Path
        Where other files of the same session may be written, too.
    """

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="redeepfake-session-")).resolve()
        self._remove = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)

    def replace(self, uploads: Iterable[Upload]) -> Path:
        """Write these files in place of those before, and return their folder.

        A name that occurs twice is written into a folder of its own.

        Raises
        ------
        OutputError
            They cannot be written, for example because the disk is full.
        """
        files = self.folder / "files"
        shutil.rmtree(files, ignore_errors=True)
        try:
            for upload in uploads:
                _write(files, upload)
        except OSError as error:
            shutil.rmtree(files, ignore_errors=True)
            raise output_error(error, "the upload") from error
        return files

    def shown(self, text: str) -> str:
        """Return a text without the place of this folder, which is nobody's business."""
        return text.replace(f"{self.folder / 'files'}/", "").replace(f"{self.folder}/", "")

    def remove(self) -> None:
        """Remove the folder now."""
        self._remove()


def _write(files: Path, upload: Upload) -> None:
    name, folder, number = _file_name(upload.name), files, 1
    while (folder / name).exists():
        number += 1
        folder = files / str(number)
    folder.mkdir(parents=True, exist_ok=True)
    try:
        (folder / name).write_bytes(upload.data)
    except (ValueError, FileNotFoundError):  # a name that this file system does not take
        (folder / safe_name(upload.name)).write_bytes(upload.data)


def _file_name(name: str) -> str:
    """Return the last part of a name that a browser sent, short enough for a file system."""
    last = name.replace("\\", "/").rpartition("/")[2].replace("\0", "")
    last = last.encode("utf-8", "replace").decode()
    if last in ("", ".", ".."):
        return "file"
    stem, dot, suffix = last.rpartition(".")
    if not stem or len(suffix) > 10:
        stem, dot, suffix = last, "", ""
    kept = stem.encode()[: _MAX_NAME - len(suffix.encode()) - 1].decode("utf-8", "ignore")
    return f"{kept}{dot}{suffix}"
