"""Find metadata in ISO base media files: HEIC and AVIF pictures, MP4 and QuickTime videos.

Only boxes at the top level and the item tables of pictures are read (ISO/IEC 14496-12, 23008-12); a box is
skipped by its length, so that a large video costs a few reads.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

CREDENTIALS_UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
XMP_UUID = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_MAX_BOXES = 10_000
_MAX_META = 4 * 2**20


def top_level_boxes(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, place of the content and end of each box; ends where a length makes no sense."""
    size = file.seek(0, os.SEEK_END)
    place = 0
    for _ in range(_MAX_BOXES):
        file.seek(place)
        head = file.read(16)
        if len(head) < 8:
            return
        length, kind = struct.unpack_from(">I4s", head)
        start = place + 8
        if length == 1 and len(head) == 16:
            (length,) = struct.unpack_from(">Q", head, 8)
            start = place + 16
        end = size if length == 0 else place + length
        if end < start or end > size:
            return
        yield kind, start, end
        place = end


def read_uuid_boxes(file: BinaryIO, limit: int) -> tuple[bytes, bool]:
    """Return the XMP packet of a file, at most ``limit`` bytes, and whether it holds Content Credentials."""
    xmp, credentials = b"", False
    for kind, start, end in top_level_boxes(file):
        if kind != b"uuid" or end - start < 16:
            continue
        file.seek(start)
        name = file.read(16)
        credentials = credentials or name == CREDENTIALS_UUID
        if name == XMP_UUID and not xmp and end - start - 16 <= limit:
            xmp = file.read(end - start - 16)
    return xmp, credentials


def read_items(file: BinaryIO, limit: int) -> tuple[bytes, bytes]:
    """Return the EXIF block and the XMP packet of a HEIC or AVIF picture; empty where they are missing."""
    for kind, start, end in top_level_boxes(file):
        if kind == b"meta" and end - start <= _MAX_META:
            file.seek(start)
            found = _wanted_items(file.read(end - start)[4:])
            exif = _item(file, found.get("exif"), limit)
            # Four bytes in front give the place of the TIFF header behind them.
            skip = 4 + int.from_bytes(exif[:4], "big") if len(exif) > 4 else 0
            return exif[skip:], _item(file, found.get("xmp"), limit)
    return b"", b""


def _boxes(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    place = 0
    while place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if length < 8 or place + length > len(data):
            return
        yield kind, data[place + 8 : place + length]
        place += length


_Extents = list[tuple[int, int]]


def _wanted_items(meta: bytes) -> dict[str, _Extents]:
    """Find where the EXIF and XMP items are; a damaged table gives what was read before the damage."""
    children = dict(_boxes(meta))
    names: dict[int, str] = {}
    try:
        info = children.get(b"iinf", b"")
        entries = info[6:] if info[:1] == b"\0" else info[8:]
        for kind, body in _boxes(entries):
            if kind == b"infe" and body[:1] in (b"\2", b"\3"):
                wide = body[0] == 3
                number = int.from_bytes(body[4 : 8 if wide else 6], "big")
                rest = body[(10 if wide else 8) :]
                if rest[:4] == b"Exif":
                    names.setdefault(number, "exif")
                elif rest[:4] == b"mime" and b"application/rdf+xml" in rest[:200]:
                    names.setdefault(number, "xmp")
        places = _locations(children.get(b"iloc", b""))
    except (struct.error, IndexError):
        return {}
    found: dict[str, _Extents] = {}
    for number, name in names.items():
        if number in places:
            found.setdefault(name, places[number])
    return found


def _locations(table: bytes) -> dict[int, _Extents]:
    version = table[0] if table else 3
    if version > 2:
        return {}
    sizes, base_sizes = table[4], table[5]
    offset_size, length_size = sizes >> 4, sizes & 15
    base_size, index_size = base_sizes >> 4, base_sizes & 15 if version else 0
    place = 6

    def number(size: int) -> int:
        nonlocal place
        if place + size > len(table):
            raise IndexError
        place += size
        return int.from_bytes(table[place - size : place], "big")

    found: dict[int, _Extents] = {}
    for _ in range(min(number(4 if version == 2 else 2), _MAX_BOXES)):
        item = number(4 if version == 2 else 2)
        method = number(2) & 15 if version else 0
        number(2)
        base = number(base_size)
        extents = []
        for _ in range(number(2)):
            number(index_size)
            extents.append((base + number(offset_size), number(length_size)))
        if method == 0:
            found.setdefault(item, extents)
    return found


def _item(file: BinaryIO, extents: _Extents | None, limit: int) -> bytes:
    if not extents or sum(length for _, length in extents) > limit:
        return b""
    parts = []
    for place, length in extents:
        file.seek(place)
        parts.append(file.read(length))
    return b"".join(parts)
