"""What keeps a stranger's video from doing harm: which demuxers and decoders are used, and for how long.

Containers are chosen by first bytes out of a list in which none follows references to other files,
and one that asks for another file or address all the same is refused. FFmpeg reads
a Python file object and gets no name.
"""

from __future__ import annotations

import time
from typing import Any, BinaryIO

DEMUXERS = {
    "MP4": "mov",
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
# One packet is one picture in these; the others may hold pictures that are never shown.
ONE_TO_ONE = frozenset(
    {"h264", "hevc", "vvc", "av1", "libdav1d", "mpeg4", "mpeg1video", "mpeg2video", "mjpeg"}
)
_OTHER_DECODERS = """
    vp8 vp9 libvpx libvpx-vp9 libaom-av1 theora prores dnxhd cfhd h261 h263 h263i flv wmv1 wmv2 wmv3 vc1
    msmpeg4v1 msmpeg4v2 msmpeg4 svq1 svq3 cinepak indeo3 indeo4 indeo5 vp6 vp6f vp6a rv30 rv40 dvvideo ffv1
    huffyuv ffvhuff utvideo magicyuv qtrle rpza rawvideo wrapped_avframe v210 png gif webp jpeg2000
    mjpegb zmbv
"""
DECODERS = ONE_TO_ONE | frozenset(_OTHER_DECODERS.split())


class OutOfTime(Exception):
    """The clock's limit is reached. Never leaves the package."""


class Clock:
    """Counts the seconds that demuxer and decoder take, and stops them at ``limit``."""

    def __init__(self, limit: float) -> None:
        self.limit = limit
        self._spent = 0.0
        self._since: float | None = None

    def __enter__(self) -> None:
        self._since = time.monotonic()

    def __exit__(self, *_: object) -> None:
        self._spent += time.monotonic() - self._since
        self._since = None

    def check(self) -> None:
        """Raise :class:`OutOfTime` at the limit."""
        running = 0.0 if self._since is None else time.monotonic() - self._since
        if self._spent + running > self.limit:
            raise OutOfTime


class GuardedInput:
    """What FFmpeg reads from: a file object that looks at the clock, and stays open when FFmpeg closes.

    ``ended`` says whether it was read to its end.
    """

    def __init__(self, file: BinaryIO, clock: Clock) -> None:
        self._file = file
        self._clock = clock
        self.ended = False
        self.seek, self.tell = file.seek, file.tell

    def read(self, size: int) -> bytes:
        self._clock.check()
        data = self._file.read(size)
        self.ended = self.ended or len(data) < size
        return data


class Outside(OSError):
    """A file asked for another file. Never leaves the package."""


def refuse(url: str, *_: Any) -> None:
    """Raise :class:`Outside`: what FFmpeg is told to open further files with."""
    raise Outside(f"it asks for another file ({url[:80]})")
