"""SHA-256 fingerprints of files, computed again only where a file may have changed."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import UNEXPECTED, InputError, RedeepfakeError, one_line_message
from ..media.file_types import is_video, video_format
from ..media.files import open_file
from .remote import file_system, is_address, unreadable

# A file modified less than this many seconds ago may change again within one tick of the file system's clock.
_SETTLED_AFTER = 2.0
_BLOCK_SIZE = 2**20


@dataclass(frozen=True)
class Fingerprint:
    """What identifies a file's content before it is scored.

    Parameters
    ----------
    path
        Path or address.
    sha256
        Of its bytes; ``None`` where it cannot be read.
    stamp
        Equal stamps mean equal bytes: size, modification times and inode, or what the remote system reports.
        ``None`` where that is not certain.
    size_bytes
        File size.
    video
        Whether its first bytes are those of a video.
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
class KnownFile:
    """A file to be fingerprinted, with the digest and stamp of its last fingerprint, if there was one."""

    path: str
    sha256: str | None = None
    stamp: str | None = None


def fingerprint_files(files: Sequence[KnownFile]) -> list[Fingerprint]:
    """Return fingerprints in the same order. A file whose stamp is unchanged is not read."""
    return [fingerprint(known) for known in files]


def fingerprint(known: KnownFile) -> Fingerprint:
    """Return the fingerprint of one file; a file that cannot be read gives one with its ``error``."""
    try:
        return _fingerprint_address(known) if is_address(known.path) else _fingerprint_path(known)
    except RedeepfakeError as error:
        return Fingerprint(known.path, error=error)
    except OSError as error:
        return Fingerprint(known.path, error=unreadable(known.path, error))
    except Exception as error:  # one file must not end a scan of thousands
        unexpected = InputError(one_line_message(error), subject=known.path, next_step=UNEXPECTED)
        return Fingerprint(known.path, error=unexpected)


def _fingerprint_path(known: KnownFile) -> Fingerprint:
    # Opened as the decoders open it, so that a named pipe does not block. They check its size.
    with open_file(known.path, max_bytes=sys.maxsize) as file:
        status = os.fstat(file.fileno())
        stamp = f"{status.st_size}:{status.st_mtime_ns}:{status.st_ctime_ns}:{status.st_ino}"
        settled = time.time() - max(status.st_mtime, status.st_ctime) > _SETTLED_AFTER
        if stamp == known.stamp and known.sha256:
            digest = known.sha256
        else:
            hasher = hashlib.sha256()
            while block := file.read(_BLOCK_SIZE):
                hasher.update(block)
            digest = hasher.hexdigest()
    return Fingerprint(
        known.path, digest, stamp if settled else None, status.st_size, video=is_video(known.path)
    )


def _fingerprint_address(known: KnownFile) -> Fingerprint:
    system, remote_path = file_system(known.path)
    head = b""
    try:
        info = system.info(remote_path)
        # Some systems report no more than a name and a size, which do not show a change.
        dated = any(info.get(key) for key in ("ETag", "etag", "mtime", "md5Hash", "LastModified", "created"))
        stamp = str(system.ukey(remote_path)) if dated else None
        size = info.get("size")
        if stamp and stamp == known.stamp and known.sha256:
            digest = known.sha256
        else:
            hasher = hashlib.sha256()
            with system.open(remote_path, "rb") as file:
                while block := file.read(_BLOCK_SIZE):
                    head = head or block[:4096]
                    hasher.update(block)
            digest = hasher.hexdigest()
    except Exception as error:  # each remote system has errors of its own
        raise unreadable(known.path, error) from error
    return Fingerprint(known.path, digest, stamp, size, video=bool(head) and video_format(head) is not None)
