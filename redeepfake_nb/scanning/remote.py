"""Files at fsspec addresses such as ``s3://bucket/clip.mp4``: recognised, opened and copied for reading."""

from __future__ import annotations

import contextlib
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import InputError, MissingExtra
from ..utils.writing import safe_name

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def is_address(path: str) -> bool:
    """Return whether this is an fsspec address such as ``s3://bucket/clip.mp4`` rather than a path."""
    return _ADDRESS.match(path) is not None


@contextlib.contextmanager
def local_copy(path: str) -> Iterator[str]:
    """Give a local path to read: the file itself, or a temporary copy of a remote file.

    Raises
    ------
    InputError
        The address cannot be read.
    MissingExtra
        fsspec, which reads addresses, is not installed.
    """
    if not is_address(path):
        yield path
        return
    system, remote_path = file_system(path)
    with tempfile.TemporaryDirectory(prefix="redeepfake-") as folder:
        copy = Path(folder) / safe_name(remote_path.rstrip("/").rsplit("/", 1)[-1])
        try:
            system.get_file(remote_path, str(copy))
        except Exception as error:  # each remote system has errors of its own
            raise unreadable(path, error) from error
        yield str(copy)


def file_system(address: str) -> tuple[AbstractFileSystem, str]:
    """Return the fsspec file system of an address, and the path within it.

    Raises
    ------
    InputError
        No installed file system reads such addresses, or the address is nested in another one.
    MissingExtra
        fsspec is not installed.
    """
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
            "addresses inside other addresses are not supported",
            subject=address,
            next_step="Unpack the archive, or copy the file to where it has an address of its own.",
        )
    try:
        return fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise InputError(
            f"no installed file system reads such addresses ({error})",
            subject=address,
            next_step="Install the fsspec package for that system, such as s3fs, gcsfs or adlfs.",
        ) from error


def unreadable(path: str, error: Exception) -> InputError:
    """Describe a system's error while reading a path or address as an :class:`InputError`."""
    if isinstance(error, FileNotFoundError):
        return InputError("there is no such file", subject=path, next_step="Check the path or address.")
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    return InputError(
        f"it cannot be read ({reason})", subject=path, next_step="Check the connection and the permissions."
    )
