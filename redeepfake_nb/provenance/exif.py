"""Read the fields of an EXIF block that say where a picture comes from.

Only the tags that are named here are read, each at most once, and nothing of it is trusted: offsets, counts
and lengths are checked against the block, so that a hostile one costs no more than its own size. The layout
is that of TIFF 6.0 and of EXIF 3.0 (CIPA DC-008).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

_MAX_ENTRIES = 1000
# Longest text that is kept of one tag; generators write their parameters into UserComment.
_MAX_TEXT = 256 * 1024
_MAX_THUMBNAIL = 512 * 1024
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4}

_IMAGE_TAGS = {
    0x010E: "ImageDescription",
    0x010F: "Make",
    0x0110: "Model",
    0x0131: "Software",
    0x0132: "DateTime",
    0x013B: "Artist",
    0x013C: "HostComputer",
    0x8298: "Copyright",
    0x000B: "ProcessingSoftware",
    0x9C9C: "XPComment",
}
_EXIF_TAGS = {
    0x9003: "DateTimeOriginal",
    0x9286: "UserComment",
    0xA434: "LensModel",
    0xA433: "LensMake",
    0xA436: "ImageTitle",
    0xA438: "ImageEditor",
    0xA43A: "RAWDevelopingSoftware",
    0xA43B: "ImageEditingSoftware",
    0xA43C: "MetadataEditingSoftware",
}
_EXIF_POINTER, _GPS_POINTER = 0x8769, 0x8825
_THUMBNAIL_OFFSET, _THUMBNAIL_LENGTH = 0x0201, 0x0202
# Tags by which a TIFF file holds other metadata.
XMP_TAG, IPTC_TAG, CREDENTIALS_TAG = 700, 33723, 52545


class DamagedExif(ValueError):
    """The structure cannot be read; the message says how. Never leaves the sub-package."""


@dataclass
class Exif:
    """The fields of an EXIF block.

    Parameters
    ----------
    fields
        Name of the tag -> text.
    thumbnail
        Bytes of the embedded JPEG; empty if there is none.
    orientation
        1 to 8.
    location
        (latitude, longitude) in degrees; ``None`` where none is stored or it is not asked for.
    has_location
        Whether a position is stored.
    xmp, iptc
        The blocks that a TIFF file refers to; empty elsewhere.
    credentials
        Whether a TIFF file holds Content Credentials.
    """

    fields: dict[str, str] = field(default_factory=dict)
    thumbnail: bytes = b""
    orientation: int = 1
    location: tuple[float, float] | None = None
    has_location: bool = False
    xmp: bytes = b""
    iptc: bytes = b""
    credentials: bool = False


def read_exif(block: bytes, *, location: bool = False) -> Exif:
    """Read an EXIF block, with or without its ``Exif`` prefix, or a whole TIFF file.

    Parameters
    ----------
    block
        The bytes.
    location
        Whether to read the GPS position.

    Raises
    ------
    DamagedExif
        It does not begin like one, or its first directory is incomplete.
    """
    data = block[6:] if block[:6] in (b"Exif\0\0", b"Exif\0\xff") else block
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        raise DamagedExif("it is not an EXIF structure")
    version, first = struct.unpack_from(order + "HI", data, 2)
    if version != 42:
        raise DamagedExif("metadata of a BigTIFF are not read" if version == 43 else "it is damaged")
    found = Exif()
    entries, following = _directory(data, first, order)
    if entries is None:
        raise DamagedExif("its directory is incomplete")
    for tag, name in _IMAGE_TAGS.items():
        _keep_text(found, name, _value(data, entries, tag, order))
    orientation = _number(data, entries, 0x0112, order)
    found.orientation = orientation if orientation is not None and 1 <= orientation <= 8 else 1
    found.xmp = _value(data, entries, XMP_TAG, order)
    found.iptc = _value(data, entries, IPTC_TAG, order)
    found.credentials = CREDENTIALS_TAG in entries
    if (place := _number(data, entries, _EXIF_POINTER, order)) is not None:
        inner, _ = _directory(data, place, order)
        for tag, name in _EXIF_TAGS.items():
            _keep_text(found, name, _value(data, inner or {}, tag, order), order)
    if (place := _number(data, entries, _GPS_POINTER, order)) is not None:
        _read_location(found, data, place, order, location)
    if following:
        second, _ = _directory(data, following, order)
        found.thumbnail = _thumbnail(data, second or {}, order)
    return found


_Entries = dict[int, tuple[int, int, int]]  # tag -> type, count, position of the value field


def _directory(data: bytes, place: int, order: str) -> tuple[_Entries | None, int]:
    """Return the entries of a directory and the place of the next; None where it is incomplete."""
    if place < 8 or place + 2 > len(data):
        return None, 0
    (count,) = struct.unpack_from(order + "H", data, place)
    end = place + 2 + 12 * count
    if count > _MAX_ENTRIES or end > len(data):
        return None, 0
    entries: _Entries = {}
    for start in range(place + 2, end, 12):
        tag, kind, number = struct.unpack_from(order + "HHI", data, start)
        entries.setdefault(tag, (kind, number, start + 8))
    following = struct.unpack_from(order + "I", data, end)[0] if end + 4 <= len(data) else 0
    return entries, following


def _value(data: bytes, entries: _Entries, tag: int, order: str) -> bytes:
    """Return the bytes of a tag's value; empty where it is missing, too long, or outside of the block."""
    if tag not in entries:
        return b""
    kind, count, place = entries[tag]
    size = _SIZES.get(kind, 0) * count
    if size > 4:
        (place,) = struct.unpack_from(order + "I", data, place)
    return data[place : place + size] if place + size <= len(data) else b""


def _number(data: bytes, entries: _Entries, tag: int, order: str) -> int | None:
    kind = entries[tag][0] if tag in entries else 0
    value = _value(data, entries, tag, order)
    code = {3: "H", 4: "I", 13: "I"}.get(kind)
    if code is None or len(value) != struct.calcsize(code):
        return None
    return struct.unpack(order + code, value)[0]


def _keep_text(found: Exif, name: str, value: bytes, order: str = "<") -> None:
    text = decode_text(name, value[:_MAX_TEXT], order)
    if text:
        found.fields[name] = text


def decode_text(name: str, value: bytes, order: str = "<") -> str:
    """Decode the text of a tag: UserComment has its character code in front, XP tags are UTF-16."""
    if name == "UserComment":
        code, value = value[:8], value[8:]
        if code == b"UNICODE\0":
            # Programs differ in the byte order; that of Latin text shows in where its zero bytes are.
            big = value[0:64:2].count(0) > value[1:64:2].count(0)
            big = big if value[:64].count(0) else order == ">"
            return value.decode("utf-16-be" if big else "utf-16-le", "replace").strip("\0 \ufeff")
    if name.startswith("XP"):
        return value.decode("utf-16-le", "replace").strip("\0 ")
    value = value.split(b"\0", 1)[0] if name != "UserComment" else value.strip(b"\0")
    try:
        return value.decode("utf-8").strip()
    except UnicodeDecodeError:
        return value.decode("latin-1").strip()


def _thumbnail(data: bytes, entries: _Entries, order: str) -> bytes:
    start = _number(data, entries, _THUMBNAIL_OFFSET, order)
    length = _number(data, entries, _THUMBNAIL_LENGTH, order)
    if start is None or length is None or not 0 < length <= _MAX_THUMBNAIL or start + length > len(data):
        return b""
    return data[start : start + length]


def _read_location(found: Exif, data: bytes, place: int, order: str, wanted: bool) -> None:
    entries, _ = _directory(data, place, order)
    if not entries or not {2, 4} <= set(entries):
        return
    found.has_location = True
    if not wanted:
        return
    degrees = []
    for letter_tag, value_tag, negative, limit in ((1, 2, b"S", 90), (3, 4, b"W", 180)):
        numbers = _value(data, entries, value_tag, order)
        if len(numbers) != 24 or entries[value_tag][0] != 5:
            return
        parts = struct.unpack(order + "6I", numbers)
        if not all(parts[1::2]):
            return
        angle = sum(parts[i] / parts[i + 1] / 60 ** (i // 2) for i in (0, 2, 4))
        if angle > limit:
            return
        sign = -1 if _value(data, entries, letter_tag, order)[:1] == negative else 1
        degrees.append(sign * angle)
    found.location = degrees[0], degrees[1]
