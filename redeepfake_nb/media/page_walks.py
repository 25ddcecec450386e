"""Walks through GIF, TIFF and PPM files without decoding: the first picture, and how many more there are.

As in :mod:`containers`, a decoder gets to see only what the first picture needs: a million later frames or
pages, comments of many megabytes and tables that point to the whole file again and again cost nothing.

Layouts follow the GIF89a specification (CompuServe), TIFF 6.0 with the BigTIFF design, and Netpbm's manual
pages.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from .image_containers import Damaged

_MAX_PAGES = 10_000
_MAX_BLOCKS = 1_000_000
_MAX_HEADER = 2**16


# ------------------------------------------------------------------ GIF


@dataclass(frozen=True)
class Gif:
    """``data`` is a GIF of the first frame alone. ``frames`` is ``None`` where too many are in the file."""

    data: bytes
    frames: int | None
    damaged: bool


def clean_gif(data: bytes, check_size: Callable[[int, int], None]) -> Gif:
    """Walk through a GIF.

    Parameters
    ----------
    check_size
        Called with width and height of the canvas, and with those that the first frame needs; may raise.

    Raises
    ------
    Damaged
        The first frame is not all there.
    """
    if len(data) < 13:
        raise Damaged("it ends inside its header")
    check_size(*struct.unpack_from("<HH", data, 6))
    pos = 13 + _color_table(data[10])
    kept = [data[:pos]]
    control = b""
    frames = 0
    for _ in range(_MAX_BLOCKS):
        kind = data[pos : pos + 1]
        if kind in (b";", b""):
            return _gif(kept, frames, damaged=not kind and frames > 1)
        start = pos
        if kind == b"!":
            pos = _behind_blocks(data, pos + 2)
            if pos is not None and data[start + 1] == 0xF9:
                control = data[start:pos]
        elif kind == b",":
            flags = data[pos + 9] if pos + 9 < len(data) else 0
            pos = _behind_blocks(data, pos + 11 + _color_table(flags))
            if pos is None and not frames:
                raise Damaged("it ends before the picture does")
            if not frames:
                left, top, width, height = struct.unpack_from("<HHHH", data, start + 1)
                check_size(left + width, top + height)
                kept += [control, data[start:pos]]
            frames += 1
        else:
            pos += 1  # decoders pass over bytes between blocks too
        if pos is None:
            return _gif(kept, frames, damaged=True)
    return _gif(kept, None if frames else 0, damaged=False)


def is_animated(data: bytes) -> bool:
    """Whether a GIF holds more than one frame; False for anything damaged."""
    try:
        return clean_gif(data, lambda *_: None).frames != 1
    except Damaged:
        return False


def _gif(kept: list[bytes], frames: int | None, *, damaged: bool) -> Gif:
    if frames == 0:
        raise Damaged("there is no picture in it")
    return Gif(b"".join(kept) + b";", frames, damaged)


def _color_table(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _behind_blocks(data: bytes, pos: int) -> int | None:
    """Where the chain of data blocks that begins at ``pos`` ends; ``None`` where it breaks off."""
    while pos < len(data):
        size = data[pos]
        pos += 1 + size
        if not size:
            return pos
    return None


# ------------------------------------------------------------------ TIFF


@dataclass(frozen=True)
class Tiff:
    """What the directories of a TIFF say. ``pages`` is ``None`` where there are more than were counted.

    ``preview`` says what the first page is instead of the picture; empty for an ordinary file.
    """

    pages: int | None
    damaged: bool
    preview: str


_TYPE_BYTES = {2: 1, 3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SUBFILE, _PHOTOMETRIC, _DNG_VERSION = 254, 262, 50706
_SENSOR_COLOURS = (32803, 34892)


def walk_tiff(data: bytes) -> Tiff:
    """Walk through the directories of a TIFF or BigTIFF.

    Raises
    ------
    Damaged
        The first directory is not all there, or points to more data than there are.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43 if len(data) >= 4 else False
    # Where the first offset stands; formats of an offset, of the number of entries, and of an entry.
    first, offset, number, entry = (8, "Q", "Q", "HHQ8s") if big else (4, "I", "H", "HHI4s")
    entry_size = struct.calcsize("<" + entry)
    preview = "a camera raw file" if data[8:10] == b"CR" and not big else ""
    seen: set[int] = set()
    try:
        (place,) = struct.unpack_from(order + offset, data, first)
        while place and place not in seen:
            if len(seen) == _MAX_PAGES:
                return Tiff(None, False, preview)
            (count,) = struct.unpack_from(order + number, data, place)
            start = place + struct.calcsize("<" + number)
            if not seen:
                if start + count * entry_size > len(data):
                    raise Damaged("it ends inside its directory")
                entries = [
                    struct.unpack_from(order + entry, data, start + i * entry_size) for i in range(count)
                ]
                preview = preview or _preview(entries, order)
                _check_amount(entries, len(data))
            seen.add(place)
            (place,) = struct.unpack_from(order + offset, data, start + count * entry_size)
    except struct.error as error:
        if not seen:
            raise Damaged("it ends inside its header") from error
        return Tiff(len(seen) + 1, True, preview)
    return Tiff(len(seen), False, preview)


def _preview(entries: list[tuple[int, int, int, bytes]], order: str) -> str:
    numbers = {
        tag: struct.unpack(order + "I", value[:4])[0]
        if kind == 4
        else struct.unpack(order + "H", value[:2])[0]
        for tag, kind, _, value in entries
    }
    if _DNG_VERSION in numbers or numbers.get(_PHOTOMETRIC) in _SENSOR_COLOURS:
        return "a camera raw file"
    if numbers.get(_SUBFILE, 0) & 1:
        return "a file whose first page is a small preview, as in camera raw files"
    return ""


def _check_amount(entries: list[tuple[int, int, int, bytes]], size: int) -> None:
    # A reader copies what each entry points to, and entries may all point to the same.
    amount = sum(_TYPE_BYTES.get(kind, 1) * count for _, kind, count, _ in entries)
    if amount > 2 * size + 2**16:
        raise Damaged("its directory points to more data than there are")


# ------------------------------------------------------------------ PPM


def check_ppm(data: bytes) -> None:
    """Look whether the header of a PPM, PGM or PBM ends within 64 KiB.

    Raises
    ------
    Damaged
        It does not.
    """
    wanted = 2 if data[1:2] in b"14" else 3
    pos = 2
    head = data[:_MAX_HEADER]
    for _ in range(wanted):
        while head[pos : pos + 1].isspace() or head[pos : pos + 1] == b"#":
            if head[pos : pos + 1] == b"#":
                pos = head.find(b"\n", pos)
                if pos < 0:
                    raise Damaged("its header does not end")
            pos += 1
        start = pos
        while head[pos : pos + 1].isdigit():
            pos += 1
        if pos == start or pos >= len(data):
            raise Damaged("its header is wrong")
        if pos == len(head):
            raise Damaged("its header does not end")
