"""Check the outermost structure of video files: truncation, and references to data in other files.

FFmpeg reads a truncated file as far as it goes and reports nothing if the cut lies between two packets.
Containers state their length, which is compared here with that of the file. No picture data are read.

Layouts follow ISO/IEC 14496-12 and Apple's QuickTime File Format (MP4), RFC 8794 and RFC 9559 (Matroska),
Microsoft's RIFF with OpenDML (AVI), and ISO/IEC 13818-1 (transport streams).
"""

from __future__ import annotations

import io
import os
import struct
from collections.abc import Iterator
from typing import BinaryIO, NamedTuple

_MAX_BOXES = 10_000
_MAX_INDEX = 64 * 2**20
_TOP_LEVEL_BOXES = frozenset(
    {b"mdat", b"moov", b"moof", b"free", b"skip", b"wide", b"uuid", b"sidx", b"mfra", b"meta"}
)
_TRUNCATED = "the end of the file is missing"


class ContainerFindings(NamedTuple):
    """Problems found in the structure of a container.

    Parameters
    ----------
    truncation
        How the file is truncated, as a clause; empty if it is not.
    has_index
        Whether the file has an index; False only for an MP4 without one.
    external_data
        Why the video cannot be read from this file alone (data in another file, compressed index), as a
        clause; empty if it can.
    """

    truncation: str = ""
    has_index: bool = True
    external_data: str = ""


def inspect_container(file: BinaryIO, format: str) -> ContainerFindings:
    """Check a file of a format that :func:`redeepfake_nb.media.file_types.video_format` detected.

    Structures that cannot be parsed are not reported, because the demuxer finds them. Changes the position in
    the file.
    """
    size = file.seek(0, os.SEEK_END)
    try:
        if format in ("MP4", "HEIF"):
            return _mp4(file, size)
        if format == "Matroska":
            return ContainerFindings(_matroska(file, size))
        if format == "AVI":
            return ContainerFindings(_avi(file, size))
        if format == "MPEG-TS":
            return ContainerFindings(_transport_stream(file, size))
    except (struct.error, IndexError):
        pass
    return ContainerFindings()


# ------------------------------------------------------------------ MP4


def _mp4(file: BinaryIO, size: int) -> ContainerFindings:
    has_index, truncation, external_data = False, "", ""
    for kind, start, end in _boxes(file, 0, size):
        if kind in (b"moov", b"moof"):
            has_index = True
        if end > size and kind in _TOP_LEVEL_BOXES:  # other names belong to appended data
            truncation = f"{_TRUNCATED}: it should have {end - size:,} bytes more"
            break
        if kind == b"moov" and not external_data:
            external_data = _external_data(file, start, end)
    return ContainerFindings(truncation, has_index, external_data)


def has_index(file: BinaryIO) -> bool:
    """Tell whether an ISO base media file has the index of a video or sequence, the box moov."""
    size = file.seek(0, os.SEEK_END)
    try:
        return any(kind == b"moov" for kind, _, _ in _boxes(file, 0, size))
    except (struct.error, IndexError):
        return False


def _boxes(file: BinaryIO, pos: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield (kind, start of the content, end) of the boxes in a range; the last may claim to end later."""
    for _ in range(_MAX_BOXES):
        if pos + 8 > end:
            return
        file.seek(pos)
        length, kind = struct.unpack(">I4s", file.read(8))
        start = pos + 8
        if length == 1:
            (length,) = struct.unpack(">Q", file.read(8))
            start += 8
        elif length == 0:
            length = end - pos
        if length < start - pos:
            return
        pos += length
        yield kind, start, pos


def _external_data(file: BinaryIO, start: int, end: int) -> str:
    """Describe data that the index (the box moov) places outside of this file."""
    if end - start > _MAX_INDEX:
        return ""
    file.seek(start)
    moov = io.BytesIO(file.read(end - start))
    path = [(0, end - start)]
    for name in (b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        # A box ends with the one around it, as in FFmpeg. If boxes might share bytes, a small file could make
        # the list grow with the square of their number.
        inside = [
            (kind, start_, min(stop, last))
            for first, last in path
            for kind, start_, stop in _boxes(moov, first, last)
        ]
        if name == b"trak":
            kinds = {kind for kind, _, _ in inside}
            if b"cmov" in kinds:
                return "its index is compressed"
            if b"rmra" in kinds and b"trak" not in kinds:
                return "it only refers to other videos"
        path = [(first, last) for kind, first, last in inside if kind == name]
    for first, last in path:
        for kind, at, stop in _boxes(moov, first + 8, last):
            moov.seek(at)
            head = moov.read(4)
            # The lowest flag means that the data are in this file.
            if len(head) == 4 and not head[3] & 1 and stop - at > 5 and kind in (b"url ", b"urn ", b"alis"):
                return "its data lie in another file"
    return ""


# ------------------------------------------------------------------ other containers


def _matroska(file: BinaryIO, size: int) -> str:
    pos = 0
    for _ in range(16):
        file.seek(pos)
        head = file.read(16)
        id_length, length_bytes = 9 - head[0].bit_length(), 9 - head[4].bit_length()
        if id_length != 4:
            # Padding elements with IDs of one byte may stand between header and segment.
            length_bytes = 9 - head[id_length].bit_length()
        value = (
            int.from_bytes(head[id_length : id_length + length_bytes], "big") & (1 << 7 * length_bytes) - 1
        )
        start = pos + id_length + length_bytes
        if head[:4] == b"\x18\x53\x80\x67":
            unknown = value == (1 << 7 * length_bytes) - 1
            missing = 0 if unknown else start + value - size
            return f"{_TRUNCATED}: it should have {missing:,} bytes more" if missing > 0 else ""
        pos = start + value
    return ""


def _avi(file: BinaryIO, size: int) -> str:
    pos = 0
    for _ in range(_MAX_BOXES):
        file.seek(pos)
        head = file.read(12)
        if len(head) < 12 or head[:4] != b"RIFF":
            return ""
        (length,) = struct.unpack_from("<I", head, 4)
        # Interrupted recordings have 0 or the largest number here.
        if length in (0, 2**32 - 1):
            return ""
        pos += 8 + length + length % 2
        if pos - length % 2 > size:
            return f"{_TRUNCATED}: it should have {pos - size:,} bytes more"
    return ""


def _transport_stream(file: BinaryIO, size: int) -> str:
    file.seek(0)
    packet = 188 if file.read(1) == b"\x47" else 192
    rest = size % packet
    if not rest:
        return ""
    file.seek(size - rest)
    begins = file.read(8)[packet - 188 :][:1]
    return f"{_TRUNCATED}: it ends inside a packet" if begins in (b"\x47", b"") else ""
