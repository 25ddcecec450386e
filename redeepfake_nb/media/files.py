"""Regular files, opened without waiting and without side effects; what else a path may name is said."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import BinaryIO

from ..errors import EmptyFile, InputError, MediaTooLarge, UnsupportedMedia

MAX_BYTES = 256 * 2**20
_ADDRESS = re.compile(r"[a-z][a-z0-9+.-]+://|data:", re.IGNORECASE)


def read_file(path: str | os.PathLike, *, name: object = None, max_bytes: int = MAX_BYTES) -> bytes:
    """Content of a regular file.

    Raises
    ------
    InputError
        Not there, not allowed, no regular file, over ``max_bytes`` (:class:`MediaTooLarge`), or empty
        (:class:`EmptyFile`).
    """
    subject = name or os.fsdecode(os.fspath(path))
    with open_file(path, name=name, max_bytes=max_bytes) as file:
        try:
            data = file.read(max_bytes + 1)
        except OSError as error:
            raise _unreadable(error, subject) from error
        except MemoryError as error:
            raise out_of_memory("read", subject) from error
    check_bytes(len(data), max_bytes, subject)
    if not data:
        raise empty(subject)
    return data


def open_file(
    path: str | os.PathLike, *, name: object = None, max_bytes: int = MAX_BYTES, what: str = "picture"
) -> BinaryIO:
    """A regular file, open for reading. Never waits, whatever the path is of.

    Raises
    ------
    InputError
        As :func:`read_file`; a file of 0 bytes by its length is opened, since some systems' files have none.
    """
    path = os.fsdecode(os.fspath(path))
    subject = name or path or "(empty path)"
    if _ADDRESS.match(path) and not os.path.lexists(path):
        raise InputError(
            "this is a web address, not a file", subject=subject, next_step="Download it and name the file."
        )
    try:
        # Opening a pipe would wait for its writer and opening a device may do things, so look first.
        _check_regular(os.stat(path), subject, what)
        # The look again at what was opened, which may be another file by now, needs not to wait either.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
        file = open(descriptor, "rb")  # noqa: SIM115
    except (OSError, ValueError) as error:
        raise _unreadable(error, subject) from error
    try:
        status = os.fstat(file.fileno())
        _check_regular(status, subject, what)
        check_bytes(status.st_size, max_bytes, subject)
    except BaseException:
        file.close()
        raise
    return file


def out_of_memory(doing: str, subject: object) -> MediaTooLarge:
    """The error for what does not fit into memory; ``doing`` is "read", "decode" or "open"."""
    return MediaTooLarge(
        f"there is not enough memory to {doing} it", subject=subject, next_step="Make it smaller first."
    )


def empty(subject: object) -> EmptyFile:
    """The error for a file without content."""
    return EmptyFile(
        "it is empty (0 bytes)", subject=subject, next_step="Get the file again from where it came from."
    )


_KINDS = (
    (stat.S_ISDIR, "a folder", "Name one {} inside it."),
    (stat.S_ISFIFO, "a pipe", "Save what comes out of it to a file first."),
    (stat.S_ISSOCK, "a socket", "Name a {} file."),
    (stat.S_ISCHR, "a device", "Name a {} file."),
    (stat.S_ISBLK, "a device", "Name a {} file."),
)


def _check_regular(status: os.stat_result, subject: object, what: str) -> None:
    if stat.S_ISREG(status.st_mode):
        return
    for test, kind, step in _KINDS:
        if test(status.st_mode):
            raise UnsupportedMedia(
                f"this is {kind}, not a file", subject=subject, next_step=step.format(what)
            )
    raise UnsupportedMedia("this is not a regular file", subject=subject, next_step=f"Name a {what} file.")


def check_bytes(size: int, max_bytes: int, subject: object) -> None:
    """Refuse more than ``max_bytes``.

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
    elif isinstance(error, ValueError):  # a NUL character, or characters the file system has no bytes for
        cause, step = "no file can have this name", "Check the path for characters that do not belong in it."
    elif error.errno == errno.ENAMETOOLONG:
        cause, step = "the name is too long for this system", "Check that it is a path."
    else:
        cause, step = f"the system cannot read it ({error.strerror or error})", "Copy it to another place."
    return InputError(cause, subject=subject, next_step=step)
