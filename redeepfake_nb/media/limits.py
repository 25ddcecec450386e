"""Security limits for untrusted videos: allowed demuxers and decoders, a time budget, no external files.

The demuxer is chosen by the file's first bytes from a list of containers that do not follow references to
other files; a file that asks FFmpeg for another file or address all the same is refused. FFmpeg reads from a
Python file object and never gets a file name.
"""

from __future__ import annotations

import time
from typing import Any, BinaryIO

DEMUXERS = {
    "MP4": "mov",
    "HEIF": "mov",
    "Matroska": "matroska",
    "AVI": "avi",
    "MPEG-TS": "mpegts",
    "MPEG-PS": "mpeg",
    "MPEG-1/2": "mpegvideo",
    "MPEG-4": "m4v",
    "FLV": "flv",
    "Ogg": "ogg",
    "ASF": "asf",
    "IVF": "ivf",
    "Y4M": "yuv4mpegpipe",
    "GIF": "gif",
    "H.264": "h264",
    "HEVC": "hevc",
}
# Codecs in which each packet is one displayed frame; the others may contain frames that are never displayed.
ONE_FRAME_PER_PACKET = frozenset(
    {"h264", "hevc", "vvc", "av1", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg"}
)
_OTHER_DECODERS = """
    vp8 vp9 libvpx libvpx-vp9 libaom-av1 theora prores dnxhd cfhd h261 h263 h263i flv wmv1 wmv2 wmv3 vc1
    msmpeg4v1 msmpeg4v2 msmpeg4 svq1 svq3 cinepak indeo3 indeo4 indeo5 vp6 vp6f vp6a rv30 rv40 dvvideo ffv1
    huffyuv ffvhuff utvideo magicyuv qtrle rpza rawvideo wrapped_avframe v210 png gif webp jpeg2000
    mjpegb zmbv
"""
DECODERS = ONE_FRAME_PER_PACKET | frozenset(_OTHER_DECODERS.split())


class TimeLimitExceeded(Exception):
    """The time budget is spent. Never leaves the package."""


class TimeBudget:
    """Measures the seconds spent in the demuxer and decoder, and stops them at ``limit``.

    A context manager: only time inside ``with`` blocks counts.
    """

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._spent = 0.0
        self._since: float | None = None

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._spent += self._running()
        self._since = None

    def check(self) -> None:
        """Raise :class:`TimeLimitExceeded` if the limit is reached."""
        if self._spent + self._running() > self.limit:
            raise TimeLimitExceeded

    def _running(self) -> float:
        return 0.0 if self._since is None else time.monotonic() - self._since


class TimeLimitedInput:
    """File object for FFmpeg that checks the time budget at each read and stays open when FFmpeg closes it.

    Attributes
    ----------
    ended : bool
        Whether the end of the file was reached.
    """

    def __init__(self, file: BinaryIO, budget: TimeBudget) -> None:
        self._file = file
        self._budget = budget
        self.ended = False
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        """Read up to ``size`` bytes."""
        self._budget.check()
        data = self._file.read(size)
        self.ended = self.ended or len(data) < size
        return data


class ExternalReference(OSError):
    """A video refers to another file. Never leaves the package."""


def refuse_external_file(url: str, *_: Any) -> None:
    """Raise :class:`ExternalReference`; FFmpeg calls this to open further files."""
    raise ExternalReference(f"it asks for another file ({url[:80]})")
