"""What is to be scanned: paths, folders, CSV files and fsspec addresses -> one list, each file once."""

from __future__ import annotations

import csv
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import EmptyFile, InputError, UnsupportedMedia
from ..media.kinds import is_media

# Files with other endings are taken from a folder where their first bytes are those of media.
# Not .ts, which TypeScript has too.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".heic", ".heif", ".avif", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".flv", ".ogv", ".wmv", ".3gp", ".ivf", ".y4m", ".h264", ".hevc"),
)
_COLUMNS = ("path", "file", "url")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")

Inputs = str | os.PathLike | Iterable[str | os.PathLike]


def is_address(path: str) -> bool:
    """Whether this is an fsspec address such as ``s3://bucket/clip.mp4`` and no path."""
    return _ADDRESS.match(path) is not None


def list_files(inputs: Inputs) -> list[str]:
    """The files that ``inputs`` name, absolute, each once, in the order given.

    Parameters
    ----------
    inputs
        A path or several. A folder stands for the media below it, in the order of their names: files with an
        ending of :data:`SUFFIXES`, readable or not, and files that begin like a picture or a video. Hidden
        files and folders, and folders behind links, are left out. A ``.csv`` file stands for the files it
        lists in a column ``path``, ``file`` or ``url``, relative to its own folder. Anything else is a file,
        there or not. An fsspec address (``s3://...``) is one file.

    Raises
    ------
    InputError
        Nothing is named, or a CSV file cannot be read or has no such column.
    """
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    found: dict[str, None] = {}
    for item in given:
        text = os.fsdecode(os.fspath(item))
        if is_address(text):
            found[text] = None
        elif os.path.isdir(text):
            found.update(dict.fromkeys(_below(os.path.abspath(text))))
        elif text.lower().endswith(".csv"):
            found.update(dict.fromkeys(name for name, _ in listed_rows(text)))
        else:
            found[os.path.abspath(text)] = None
    if not found:
        what = ", ".join(os.fsdecode(os.fspath(item)) for item in given)
        raise EmptyFile(
            "there is no picture or video in it",
            subject=what or "(nothing)",
            next_step="Name a folder with pictures or videos, a CSV file that lists them, or the files.",
        )
    return list(found)


def _below(folder: str) -> Iterator[str]:
    """Media in a folder and its subfolders, sorted, whatever order the system gives."""
    try:
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(
            f"the folder cannot be read ({error.strerror or error})",
            subject=folder,
            next_step="Check that you may read it, and all folders inside.",
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _below(entry.path)
        elif os.path.splitext(entry.name)[1].lower() in SUFFIXES or is_media(entry.path):
            yield entry.path


def listed_rows(path: str | os.PathLike) -> Iterator[tuple[str, dict[str, str]]]:
    """The files that a CSV file lists, absolute, each with its row; column names in lower case.

    Raises
    ------
    InputError
        It cannot be read, or has no column ``path``, ``file`` or ``url``.
    """
    path = Path(path)
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            names = [(name or "").strip().lower() for name in rows.fieldnames or ()]
            column = next((name for name in _COLUMNS if name in names), None)
            if column is None:
                raise UnsupportedMedia(
                    "no column of it is called path, file or url",
                    subject=path,
                    next_step="Give the column that names the files one of these names.",
                )
            rows.fieldnames = names
            listed = [{key: (row[key] or "").strip() for key in names} for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(
            f"the list cannot be read ({getattr(error, 'strerror', None) or error})",
            subject=path,
            next_step="Check the path, and that it is a CSV file in UTF-8.",
        ) from error
    for row in listed:
        if name := row[column]:
            yield name if is_address(name) else os.path.abspath(path.parent / name), row
