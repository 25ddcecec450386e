"""Lists the media files to scan from paths, folders, CSV files and fsspec addresses, each file once."""

from __future__ import annotations

import csv
import io
import os
from collections import deque
from collections.abc import Iterable, Iterator
from pathlib import Path

from ..errors import EmptyFile, InputError, UnsupportedMedia
from ..media.file_types import is_media
from ..utils.text_tables import read_table_text
from .remote import is_address

# In a folder, files with other endings are listed where their first bytes are those of media.
# Not .ts, which TypeScript uses too.
SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".tif", ".tiff", ".gif"),
    *(".heic", ".heif", ".avif", ".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts"),
    *(".mpg", ".mpeg", ".flv", ".ogv", ".wmv", ".3gp", ".ivf", ".y4m", ".h264", ".hevc"),
)
_PATH_COLUMNS = ("path", "file", "url")

Inputs = str | os.PathLike | Iterable[str | os.PathLike]


def list_files(inputs: Inputs) -> list[str]:
    """Return the absolute paths and addresses of all files that ``inputs`` name, each once, in order.

    Parameters
    ----------
    inputs
        A path or several. A folder stands for the media files below it, sorted by name: files with one of the
        :data:`SUFFIXES`, readable or not, files whose first bytes are those of an image or a video, and links
        that lead nowhere. Folders behind links follow after all others, each folder once. Hidden files and
        folders are left out. A ``.csv`` file stands for the files in its column ``path``, ``file`` or
        ``url``, relative to the CSV file's folder. Any other path is a file, whether it exists or not. An
        fsspec address (``s3://...``) is one file.

    Raises
    ------
    EmptyFile
        No file is named.
    InputError
        A folder or CSV file cannot be read, or the CSV file has no such column.
    """
    given = [inputs] if isinstance(inputs, (str, os.PathLike)) else list(inputs)
    found: dict[str, None] = {}
    for item in given:
        text = os.fsdecode(os.fspath(item))
        if is_address(text):
            found[text] = None
        elif os.path.isdir(text):
            found.update(dict.fromkeys(_media_below(os.path.abspath(text))))
        elif text.lower().endswith(".csv"):
            found.update(dict.fromkeys(name for name, _ in read_file_list(text)))
        else:
            found[os.path.abspath(text)] = None
    if not found:
        names = ", ".join(os.fsdecode(os.fspath(item)) for item in given)
        raise EmptyFile(
            "there is no image or video in it",
            subject=names or "(nothing)",
            next_step="Name a folder with images or videos, a CSV file that lists them, or the files; in a "
            "folder, hidden files do not count.",
        )
    return list(found)


def check_existence(inputs: Iterable[str]) -> None:
    """Check that each of these paths leads to a file or a folder; addresses are not looked up.

    Raises
    ------
    InputError
        One leads nowhere.
    """
    for path in inputs:
        if is_address(path):
            continue
        try:
            os.stat(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise InputError(
                "there is no such file or folder", subject=path, next_step="Check the path."
            ) from error
        except (OSError, ValueError):
            continue  # reading the file says what is wrong with it


def is_listed(path: str) -> bool:
    """Return whether the list of a folder has this file: by its suffix, or by its first bytes."""
    return os.path.splitext(path)[1].lower() in SUFFIXES or is_media(path)


def _media_below(folder: str) -> Iterator[str]:
    """Yield the media files in a folder and its subfolders, sorted by name on every file system.

    Folders behind links come last, so that a file's path leads through a link only where no other path leads
    to it. Each folder is entered once, whatever links form a loop.
    """
    entered: set[tuple[int, int]] = set()
    waiting = deque([folder])
    while waiting:
        yield from _media_in(waiting.popleft(), entered, waiting)


def _media_in(folder: str, entered: set[tuple[int, int]], links: deque[str]) -> Iterator[str]:
    """Yield the media files of a folder unless it is among those ``entered``; add its links to ``links``."""
    try:
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in entered:
            return
        entered.add((status.st_dev, status.st_ino))
        entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
    except OSError as error:
        raise InputError(
            f"the folder cannot be read ({error.strerror or error})",
            subject=folder,
            next_step="Check that you have permission to read it and all folders inside.",
        ) from error
    for entry in entries:
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            if entry.is_symlink():
                links.append(entry.path)
            else:
                yield from _media_in(entry.path, entered, links)
        # A link that leads nowhere may have led to a folder of media: it is listed, and fails by its name.
        elif is_listed(entry.path) or not os.path.exists(entry.path):
            yield entry.path


def read_file_list(path: str | os.PathLike) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield the absolute path or address of each file in a CSV list, with its row (lower-case column names).

    Separators and encodings are those of :func:`redeepfake_nb.utils.text_tables.read_table_text`.

    Raises
    ------
    InputError
        The CSV file cannot be read, or has no column ``path``, ``file`` or ``url``.
    """
    path = Path(path)
    try:
        text, separator = read_table_text(path, {*_PATH_COLUMNS, "label"})
        rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True)
        names = [(name or "").strip().lower() for name in rows.fieldnames or ()]
        column = next((name for name in _PATH_COLUMNS if name in names), None)
        if column is None:
            raise UnsupportedMedia(
                "it has no column called path, file or url",
                subject=path,
                next_step="Give the column that names the files one of these names.",
            )
        rows.fieldnames = names
        listed = [{key: (row[key] or "").strip() for key in names} for row in rows]
    except (OSError, ValueError, csv.Error) as error:
        raise InputError(
            f"the list cannot be read ({getattr(error, 'strerror', None) or error})",
            subject=path,
            next_step="Check the path, and that it is a table saved as CSV.",
        ) from error
    for row in listed:
        if name := row[column]:
            yield name if is_address(name) else os.path.abspath(path.parent / name), row
