"""SHA-256 digests of files."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import BinaryIO


def sha256_of(file: str | Path | BinaryIO) -> str:
    """Compute the SHA-256 of a file.

    Parameters
    ----------
    file
        A path, or a seekable file open for reading in binary mode: all of it is read, and it stays open.

    Returns
    -------
    str
        64 lower-case hexadecimal digits.
    """
    if isinstance(file, (str, Path)):
        with open(file, "rb") as opened:
            return sha256_of(opened)
    file.seek(0)
    # typeshed wants `readinto`, which every binary file has and `BinaryIO` does not declare.
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
