"""Find what follows or accompanies the main picture in a JPEG or HEIC: more pictures, maps, a short video.

Phones append a video of some seconds to a photo ("motion photo", "live photo"), a gain map for HDR screens or
a depth map; cameras append further views or previews. Layouts follow CIPA DC-007 (multi-picture format),
Google's Motion Photo format 1.0 and Ultra HDR image format 1.1, and ISO/IEC 14496-12.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

from .image_containers import DamagedContainer, sanitize_jpeg

Kind = Literal["picture", "gain map", "depth map", "preview"]

_MAX_PICTURES = 64
# The header of an MP4 or QuickTime file: the box ftyp with a known brand.
_VIDEO = re.compile(rb"\x00\x00\x00[\x10-\x80]ftyp(?:mp4|iso|avc|qt  |3gp|M4V|MSNV|heic|hvc)", re.DOTALL)
_JPEG = b"\xff\xd8\xff"
_HEAD = 2**17
# How a gain map and a depth map describe themselves, or the picture describes the parts that follow it.
_GAIN_MAP = re.compile(rb"hdrgm:|urn:iso:std:iso:ts:21496|hdrgainmap", re.IGNORECASE)
_DEPTH_MAP = re.compile(
    rb"AuxiliaryImageType[^<]{0,200}(?:depth|disparity|auxid:2)|GDepth:|depthmap", re.IGNORECASE
)
_SEMANTIC = re.compile(rb"""Item:Semantic\s*=\s*["']([A-Za-z]{1,40})["']""")
_MAPS = {b"GainMap": "gain map", b"Depth": "depth map", b"Confidence": "depth map"}
# Types of pictures in the index of a multi-picture file (DC-007, table 4).
_PREVIEWS = (0x010001, 0x010002)


@dataclass(frozen=True)
class Appended:
    """What a file holds besides its main picture.

    Parameters
    ----------
    kinds
        Of the further pictures, in the order of the file.
    video
        Position of a video that was appended; ``None`` if there is none.
    """

    kinds: tuple[Kind, ...] = ()
    video: int | None = None


def appended_to_jpeg(data: bytes, end: int) -> Appended:
    """Find what follows the end of a JPEG's main picture; ``end`` is the position after its end marker."""
    if end >= len(data):
        return Appended()
    found = _VIDEO.search(data, end)
    video = None if found is None else found.start()
    stop = len(data) if video is None else video
    listed = _multi_picture_types(data, end)
    semantics = [_MAPS.get(name) for name in _SEMANTIC.findall(data[: min(end, _HEAD)])]
    kinds: list[Kind] = []
    place = data.find(_JPEG, end, stop)
    for _ in range(_MAX_PICTURES):
        if place < 0:
            break
        try:
            part = sanitize_jpeg(data[place:stop])
        except DamagedContainer:
            place = data.find(_JPEG, place + 3, stop)
            continue
        # The first item that the main picture lists is itself.
        named = semantics[len(kinds) + 1] if len(kinds) + 1 < len(semantics) else None
        kinds.append(_kind(data[place : place + min(part.end, _HEAD)], named, listed.get(place)))
        place = data.find(_JPEG, place + part.end, stop)
    return Appended(tuple(kinds), video)


def _kind(head: bytes, named: str | None, listed: int | None) -> Kind:
    if named == "gain map" or _GAIN_MAP.search(head):
        return "gain map"
    if named == "depth map" or _DEPTH_MAP.search(head):
        return "depth map"
    return "preview" if listed in _PREVIEWS else "picture"


def _multi_picture_types(data: bytes, end: int) -> dict[int, int]:
    """Read the index of a multi-picture file: position of each picture -> its type; empty without one."""
    head = data[: min(end, _HEAD)]
    start = head.find(b"MPF\x00")
    if start < 0:
        return {}
    base = start + 4
    order = {b"II": "<", b"MM": ">"}.get(head[base : base + 2])
    if order is None:
        return {}
    types: dict[int, int] = {}
    try:
        (first,) = struct.unpack_from(order + "I", head, base + 4)
        (count,) = struct.unpack_from(order + "H", head, base + first)
        for i in range(min(count, 100)):
            tag, _, size, value = struct.unpack_from(order + "HHII", head, base + first + 2 + 12 * i)
            if tag != 0xB002:
                continue
            for k in range(min(size // 16, _MAX_PICTURES)):
                kind, _, offset = struct.unpack_from(order + "III", head, base + value + 16 * k)
                types[base + offset if offset else 0] = kind & 0xFFFFFF
    except struct.error:
        pass
    return types


def appended_to_heif(data: bytes) -> Appended:
    """Find the video in the box mpvd of a HEIC or AVIF motion photo."""
    pos = 0
    for _ in range(1000):
        if pos + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, pos)
        start = pos + 8
        if length == 1 and pos + 16 <= len(data):
            (length,) = struct.unpack_from(">Q", data, pos + 8)
            start += 8
        if kind == b"mpvd":
            found = _VIDEO.search(data, start)
            return Appended(video=None if found is None else found.start())
        if length < 8:
            break
        pos += length
    return Appended()


def nclx_coding(data: bytes) -> tuple[int, int] | None:
    """Read primaries and transfer (ITU-T H.273) of a HEIC or AVIF from its first colour box, if it has one.

    The box colr lies in the properties of the box meta, which comes before the pixels.
    """
    place = data.find(b"colrnclx", 0, _HEAD)
    if place < 0 or place + 12 > len(data):
        return None
    primaries, transfer = struct.unpack_from(">HH", data, place + 8)
    return primaries, transfer
