"""Which bytes a file holds, without reading it again where nothing can have changed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import InputError, MissingExtra, RedeepfakeError
from ..media.files import open_file
from ..media.kinds import is_video
from ..utils.writing import safe_name
from .inputs import is_address

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
