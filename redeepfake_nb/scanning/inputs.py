"""What is to be scanned: paths, folders, CSV files and fsspec addresses -> one list, each file once."""

from __future__ import annotations

import contextlib
import csv
import hashlib
import os
import re
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import EmptyFile, InputError, MissingExtra, RedeepfakeError, UnsupportedMedia
from ..media.file_types import is_media, is_video
from ..media.files import open_file
from ..utils.writing import safe_name

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


# A file changed this many seconds before it was read may change again within one tick of the system's clock.
_SETTLED = 2.0
_BLOCK = 2**20


@dataclass(frozen=True)
class Fingerprint:
    """What is known of a file before it is scored.

    Parameters
    ----------
    path
        Path or address.
    sha256
        Of its bytes; ``None`` where it cannot be read.
    stamp
        Equal stamps, equal bytes: length, times and place on the disk, or what the remote system says.
        ``None`` where that is not sure.
    size_bytes
        Length.
    video
        Whether it begins like moving pictures.
    error
        Why it cannot be read.
    """

    path: str
    sha256: str | None = None
    stamp: str | None = None
    size_bytes: int | None = None
    video: bool = False
    error: RedeepfakeError | None = None


@dataclass(frozen=True)
class Known:
    """A file to be looked at, and what an earlier look found, if there was one."""

    path: str
    sha256: str | None = None
    stamp: str | None = None


def take_fingerprints(files: Sequence[Known]) -> list[Fingerprint]:
    """Fingerprints in the same order. A file whose stamp is as before is not read."""
    return [_fingerprint(known) for known in files]


def _fingerprint(known: Known) -> Fingerprint:
    try:
        if is_address(known.path):
            return _of_address(known)
        return _of_path(known)
    except RedeepfakeError as error:
        return Fingerprint(known.path, error=error)
    except OSError as error:
        return Fingerprint(known.path, error=_unreadable(known.path, error))


def _of_path(known: Known) -> Fingerprint:
    # Opened as the readers do it, so that a pipe is not waited for. Its size is for them to judge.
    with open_file(known.path, max_bytes=sys.maxsize) as file:
        status = os.fstat(file.fileno())
        stamp = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
        settled = time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED
        if stamp == known.stamp and known.sha256:
            digest = known.sha256
        else:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    return Fingerprint(
        known.path, digest, stamp if settled else None, status.st_size, video=is_video(known.path)
    )


def _of_address(known: Known) -> Fingerprint:
    system, place = _file_system(known.path)
    try:
        # Not every system can say more than a name and a size.
        info = system.info(place)
        said = any(info.get(key) for key in ("ETag", "etag", "mtime", "md5Hash", "LastModified", "created"))
        stamp = str(system.ukey(place)) if said else None
        size = info.get("size")
        if stamp and stamp == known.stamp and known.sha256:
            digest, head = known.sha256, b""
        else:
            hasher, head = hashlib.sha256(), b""
            with system.open(place, "rb") as file:
                while block := file.read(_BLOCK):
                    head = head or block[:4096]
                    hasher.update(block)
            digest = hasher.hexdigest()
    except Exception as error:  # each remote system has errors of its own
        raise _unreadable(known.path, error) from error
    from ..media.file_types import video_format

    return Fingerprint(known.path, digest, stamp, size, video=bool(head) and video_format(head) is not None)


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """A path to read: of the file itself, or of a copy that is gone afterwards.

    Raises
    ------
    InputError
        An address cannot be read.
    MissingExtra
        There is no fsspec, which reads addresses.
    """
    if not is_address(path):
        yield path
        return
    system, place = _file_system(path)
    with tempfile.TemporaryDirectory(prefix="redeepfake-") as folder:
        copy = Path(folder) / safe_name(place.rstrip("/").rsplit("/", 1)[-1])
        try:
            system.get_file(place, str(copy))
        except Exception as error:  # each remote system has errors of its own
            raise _unreadable(path, error) from error
        yield str(copy)


def _file_system(address: str) -> tuple[Any, str]:
    try:
        import fsspec
    except ImportError as error:
        raise MissingExtra(
            "files at addresses are read with fsspec, which is not installed",
            subject=address,
            next_step='Run `pip install "redeepfake-nb[cluster]"`.',
        ) from error
    if "::" in address:
        raise InputError(
            "addresses inside other addresses are not read",
            subject=address,
            next_step="Unpack the archive, or copy the file to where it has an address of its own.",
        )
    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"nothing here reads such addresses ({error})",
            subject=address,
            next_step="Install the fsspec package for that system, such as s3fs, gcsfs or adlfs.",
        ) from error


def _unreadable(path: str, error: Exception) -> InputError:
    if isinstance(error, FileNotFoundError):
        return InputError("there is no such file", subject=path, next_step="Check the path or address.")
    why = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return InputError(
        f"it cannot be read ({why})", subject=path, next_step="Check the connection and the permissions."
    )
