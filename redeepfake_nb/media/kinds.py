"""Whether a file holds a picture or moving pictures, by its content alone."""

from __future__ import annotations

import os
import sys

from ..errors import RedeepfakeError
from .file_types import picture_format, video_format
from .files import MAX_BYTES, open_file
from .page_walks import is_animated


def is_video(path: str | os.PathLike) -> bool:
    """Whether the file's first bytes are those of moving pictures; False where it cannot be read."""
    try:
        with open_file(path, max_bytes=sys.maxsize) as opened:
            kind = video_format(opened.read(4096))
            if kind == "GIF":
                # Stills and moving pictures begin alike.
                opened.seek(0)
                return is_animated(opened.read(MAX_BYTES))
            return kind is not None
    except (RedeepfakeError, OSError):
        return False  # the reader of pictures says what is wrong with it


def is_media(path: str | os.PathLike) -> bool:
    """Whether the file's first bytes are those of a picture or of moving pictures."""
    try:
        with open_file(path, max_bytes=sys.maxsize) as opened:
            head = opened.read(4096)
    except (RedeepfakeError, OSError):
        return False
    return picture_format(head) is not None or video_format(head) is not None
