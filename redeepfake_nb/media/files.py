"""Open regular files without blocking or side effects, and explain why any other path cannot be read."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import BinaryIO

from ..errors import EmptyFile, InputError, MediaTooLarge, UnsupportedMedia

MAX_BYTES = 256 * 2**20
_URL = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)


def read_file(path: str | os.PathLike, *, name: object = None, max_bytes: int = MAX_BYTES) -> bytes:
    """Read a regular file.

    Parameters
    ----------
    path
        Path of the file.
    name
        Name of the file in error messages; default: the path.
    max_bytes
        Largest file size.

    Raises
    ------
    InputError
        The file does not exist, may not be read, is not a regular file, is larger than ``max_bytes``
        (:class:`MediaTooLarge`) or is empty (:class:`EmptyFile`).
    """
    subject = name or os.fsdecode(os.fspath(path))
    with open_file(path, name=name, max_bytes=max_bytes) as file:
        try:
            data = file.read(max_bytes + 1)
        except OSError as error:
            raise _unreadable(error, subject) from error
        except MemoryError as error:
            raise memory_error("read", subject) from error
    check_file_size(len(data), max_bytes, subject)
    if not data:
        raise empty_file_error(subject)
    return data


def open_file(
    path: str | os.PathLike, *, name: object = None, max_bytes: int = MAX_BYTES, what: str = "picture"
) -> BinaryIO:
    """Open a regular file for reading; never blocks, whatever the path refers to.

    Raises
    ------
    InputError
        As :func:`read_file`, but a file whose length is 0 is opened: some file systems report no length.
    """
    path = os.fsdecode(os.fspath(path))
    subject = name or path or "(empty path)"
    if _URL.match(path) and not os.path.lexists(path):
        raise InputError(
            "this is a web address, not a file", subject=subject, next_step="Download it and name the file."
        )
    try:
        # Opening a pipe would wait for its writer and opening a device may have side effects, so check first.
        _check_regular(os.stat(path), subject, what)
        # The path may refer to another file by now: do not block here either, and check again below.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = open(descriptor, "rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise _unreadable(error, subject) from error
    try:
        status = os.fstat(file.fileno())
        _check_regular(status, subject, what)
        check_file_size(status.st_size, max_bytes, subject)
    except BaseException:
        file.close()
        raise
    return file


def memory_error(doing: str, subject: object) -> MediaTooLarge:
    """Create the error for input that does not fit into memory; ``doing`` is "read", "decode" or "open"."""
    return MediaTooLarge(
        f"there is not enough memory to {doing} it", subject=subject, next_step="Make it smaller first."
    )


def empty_file_error(subject: object) -> EmptyFile:
    """Create the error for a file of 0 bytes."""
    return EmptyFile(
        "it is empty (0 bytes)", subject=subject, next_step="Get the file again from where it came from."
    )


_NOT_REGULAR = (
    (stat.S_ISDIR, "a folder", "Name one {} inside it."),
    (stat.S_ISFIFO, "a pipe", "Save what comes out of it to a file first."),
    (stat.S_ISSOCK, "a socket", "Name a {} file."),
    (stat.S_ISCHR, "a device", "Name a {} file."),
    (stat.S_ISBLK, "a device", "Name a {} file."),
)


def _check_regular(status: os.stat_result, subject: object, what: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    for test, kind, step in _NOT_REGULAR:
        if test(status.st_mode):
            raise UnsupportedMedia(
                f"this is {kind}, not a file", subject=subject, next_step=step.format(what)
            )
    raise UnsupportedMedia("this is not a regular file", subject=subject, next_step=f"Name a {what} file.")


def check_file_size(size: int, max_bytes: int, subject: object) -> None:
    """Check that a file has at most ``max_bytes`` bytes.

    Raises
    ------
    MediaTooLarge
        ``size`` is larger.
    """
    if size > max_bytes:
        raise MediaTooLarge(
            f"the file has {size / 2**20:.1f} MiB; the limit is {max_bytes / 2**20:g} MiB",
            subject=subject,
            next_step="Make it smaller first, or raise max_bytes if you trust it.",
        )


def _unreadable(error: OSError | ValueError, subject: object) -> InputError:
    if isinstance(error, FileNotFoundError):
        cause, step = "there is no such file", "Check the path and the folder the notebook runs in."
    elif isinstance(error, PermissionError):
        cause, step = "reading it is not allowed", "Ask its owner for permission to read, or copy it."
    elif isinstance(error, NotADirectoryError):
        cause, step = "a folder on the way to it is a file", "Check the path."
    elif isinstance(error, ValueError):  # a NUL character, or characters that the file system cannot encode
        cause, step = "no file can have this name", "Check the path for characters that do not belong in it."
    elif error.errno == errno.ENAMETOOLONG:
        cause, step = "the name is too long for this system", "Check that it is a path."
    else:
        cause, step = f"the system cannot read it ({error.strerror or error})", "Copy it to another place."
    return InputError(cause, subject=subject, next_step=step)
