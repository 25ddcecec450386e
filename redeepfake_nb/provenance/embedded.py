"""Take metadata blocks out of files without decoding a pixel, within limits on size and number.

Layouts follow ITU T.81 and CIPA DC-008 (JPEG), the PNG specification (third edition, W3C), RFC 9649 (WebP),
GIF 89a, and for the places of XMP and of Content Credentials XMP part 3 (Adobe) and C2PA 2.2, appendix A.
"""

from __future__ import annotations

import os
import re
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from . import boxes
from .exif import DamagedExif, read_exif
from .iptc import find_iptc

# Per text after decompression, for all texts of a file, and the number of texts.
MAX_TEXT = 2**20
MAX_ALL_TEXTS = 4 * 2**20
MAX_TEXTS = 200
MAX_BLOCK = 4 * 2**20
# As in redeepfake_nb.media.image_containers: far above what programs write.
_MAX_PARTS = 200_000

_XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


@dataclass(frozen=True)
class Text:
    """A text of a file: where it stands, its keyword (empty for a comment), and its content."""

    where: str
    keyword: str
    content: str


@dataclass
class Embedded:
    """The metadata blocks of a file.

    Parameters
    ----------
    exif
        The EXIF block; empty if there is none. Likewise ``xmp`` and ``iptc``.
    texts
        Comments and text chunks.
    credentials
        Whether Content Credentials are embedded.
    tables
        Quantisation tables of a JPEG by their number, 64 values each in zigzag order.
    unread
        What was found and not read, with the reason.
    """

    exif: bytes = b""
    xmp: bytes = b""
    iptc: bytes = b""
    texts: list[Text] = field(default_factory=list)
    credentials: bool = False
    tables: dict[int, tuple[int, ...]] = field(default_factory=dict)
    unread: list[str] = field(default_factory=list)
    _text_size: int = 0
    _unpacked: int = 0

    def add_text(self, where: str, keyword: str, content: str) -> None:
        """Keep a text within the limits; what exceeds them is cut or left out, and recorded."""
        if len(self.texts) >= MAX_TEXTS or self._text_size >= MAX_ALL_TEXTS:
            self.note(f"{where}: more than {MAX_TEXTS} texts or {MAX_ALL_TEXTS // 2**20} MiB of text")
            return
        if len(content) > MAX_TEXT:
            self.note(f"{where}: a text was cut at {MAX_TEXT // 2**20} MiB")
            content = content[:MAX_TEXT]
        self._text_size += len(content)
        self.texts.append(Text(where, keyword, content))

    def unpack(self, packed: bytes, where: str) -> bytes | None:
        """Decompress a text, at most ``MAX_TEXT`` bytes, and ``MAX_ALL_TEXTS`` bytes of a file."""
        if self._unpacked >= MAX_ALL_TEXTS:
            self.note(f"compressed texts: more than {MAX_ALL_TEXTS // 2**20} MiB")
            return None
        try:
            content = zlib.decompressobj().decompress(packed, MAX_TEXT + 1)
        except zlib.error:
            self.note(f"{where}: it cannot be decompressed")
            return None
        # A text that is short after decompression has its cost, too.
        self._unpacked += max(len(content), 1024)
        return content

    def keep(self, name: str, block: bytes, where: str) -> None:
        """Keep the first EXIF, XMP or IPTC block that is not too large."""
        if len(block) > MAX_BLOCK:
            self.note(f"{where}: it has {len(block) / 2**20:.1f} MiB; the limit is {MAX_BLOCK // 2**20} MiB")
        elif not getattr(self, name):
            setattr(self, name, block)

    def note(self, words: str) -> None:
        """Record what was found and not read."""
        if words not in self.unread and len(self.unread) < 20:
            self.unread.append(words)


def read_embedded(file: BinaryIO, kind: str) -> Embedded:
    """Take the metadata blocks out of a file.

    Parameters
    ----------
    file
        Open for reading; of a picture all is read, of a video little.
    kind
        Format of :func:`redeepfake_nb.media.file_types.image_format` or ``video_format``.

    Returns
    -------
    Embedded
        Where the file is damaged, what stands before the damage.
    """
    found = Embedded()
    file.seek(0)
    if kind in ("HEIF", "AVIF", "MP4"):
        found.xmp, found.credentials = boxes.read_uuid_boxes(file, MAX_BLOCK)
        if kind != "MP4":
            exif, xmp = boxes.read_items(file, MAX_BLOCK)
            found.exif, found.xmp = exif, found.xmp or xmp
    elif kind in ("WEBP", "AVI"):
        _read_riff(file, found)
    elif kind in _PICTURES:
        _PICTURES[kind](file.read(), found)
    return found


# ------------------------------------------------------------------ JPEG


def _read_jpeg(data: bytes, found: Embedded) -> None:
    place = 2
    for _ in range(_MAX_PARTS):
        match = _MARKER.search(data, place)
        if match is None:
            return
        place = match.start()
        marker = data[place + 1]
        if marker == 0xD9:
            return
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        body = data[place + 4 : place + 2 + length]
        if length < 2 or len(body) < length - 2:
            return
        if marker == 0xE1 and body.startswith((b"Exif\0\0", b"Exif\0\xff")):
            found.keep("exif", body, "EXIF")
        elif marker == 0xE1 and body.startswith(_XMP_HEADER):
            found.keep("xmp", body[len(_XMP_HEADER) :], "XMP")
        elif marker == 0xED and body.startswith(b"Photoshop 3.0\0"):
            found.keep("iptc", find_iptc(body[14:]), "IPTC")
        elif marker == 0xEB and body.startswith(b"JP") and b"jumb" in body[:32]:
            found.credentials = found.credentials or b"c2pa" in body[:64]
        elif marker == 0xFE:
            found.add_text("JPEG comment", "", _text(body))
        elif marker == 0xDB:
            _read_tables(body, found)
        place += 2 + length


def _read_tables(body: bytes, found: Embedded) -> None:
    place = 0
    while place < len(body):
        wide, number = body[place] >> 4, body[place] & 15
        size = 128 if wide else 64
        values = body[place + 1 : place + 1 + size]
        if wide > 1 or len(values) < size:
            return
        found.tables.setdefault(number, struct.unpack(">64H", values) if wide else tuple(values))
        place += 1 + size


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8").strip("\0 \r\n")
    except UnicodeDecodeError:
        return data.decode("latin-1").strip("\0 \r\n")


# ------------------------------------------------------------------ PNG


def _read_png(data: bytes, found: Embedded) -> None:
    place = 8
    for _ in range(_MAX_PARTS):
        if place + 8 > len(data):
            return
        length, kind = struct.unpack_from(">I4s", data, place)
        end = place + 12 + length
        if kind == b"IEND" or end > len(data):
            return
        if kind == b"caBX":
            found.credentials = True
        elif kind == b"eXIf":
            found.keep("exif", data[place + 8 : end - 4], "EXIF")
        elif kind in (b"tEXt", b"zTXt", b"iTXt"):
            if length > MAX_BLOCK:
                found.note(
                    f"PNG text: one has {length / 2**20:.1f} MiB; the limit is {MAX_BLOCK // 2**20} MiB"
                )
            else:
                _read_png_text(kind, data[place + 8 : end - 4], found)
        place = end


def _read_png_text(kind: bytes, body: bytes, found: Embedded) -> None:
    key, _, rest = body.partition(b"\0")
    keyword = key.decode("latin-1")[:79]
    encoding = "latin-1"
    if kind == b"iTXt":
        encoding = "utf-8"
        packed, rest = rest[:1] == b"\1", rest[2:]
        rest = rest.partition(b"\0")[2].partition(b"\0")[2]
    else:
        packed, rest = kind == b"zTXt", rest[1:] if kind == b"zTXt" else rest
    if packed:
        unpacked = found.unpack(rest, f"PNG text {keyword}")
        if unpacked is None:
            return
        rest = unpacked
    if keyword == "XML:com.adobe.xmp":
        found.keep("xmp", rest, "XMP")
    elif keyword.startswith("Raw profile type "):
        _read_raw_profile(keyword.removeprefix("Raw profile type "), rest, found)
    else:
        # tEXt is Latin-1 by the standard; many generators write UTF-8 into it all the same.
        text = rest.decode("utf-8", "replace") if encoding == "utf-8" else _text(rest)
        found.add_text("PNG text", keyword, text)


def _read_raw_profile(name: str, text: bytes, found: Embedded) -> None:
    """Read a block that ImageMagick has written as hexadecimal text: name, length, digits."""
    words = text.split(None, 2)
    if len(words) < 3:
        return
    try:
        block = bytes.fromhex(b"".join(words[2].split()).decode("ascii"))
    except ValueError:
        found.note(f"PNG text {name}: its hexadecimal digits are damaged")
        return
    if name in ("exif", "APP1") and block.startswith(b"Exif"):
        found.keep("exif", block, "EXIF")
    elif name in ("xmp", "APP1"):
        found.keep("xmp", block.removeprefix(_XMP_HEADER), "XMP")
    elif name in ("iptc", "8bim"):
        found.keep("iptc", find_iptc(block) or block, "IPTC")


# ------------------------------------------------------------------ WebP, AVI, GIF, TIFF


def _riff_chunks(file: BinaryIO) -> Iterator[tuple[bytes, int, int]]:
    size = file.seek(0, os.SEEK_END)
    place = 12
    for _ in range(_MAX_PARTS):
        file.seek(place)
        head = file.read(8)
        if len(head) < 8:
            return
        kind, length = struct.unpack("<4sI", head)
        if place + 8 + length > size:
            return
        yield kind, place + 8, length
        place += 8 + length + length % 2


def _read_riff(file: BinaryIO, found: Embedded) -> None:
    names = {b"EXIF": "exif", b"XMP ": "xmp", b"_PMX": "xmp"}
    for kind, place, length in _riff_chunks(file):
        if kind == b"C2PA":
            found.credentials = True
        elif kind in names:
            file.seek(place)
            found.keep(names[kind], file.read(min(length, MAX_BLOCK + 1)), names[kind].upper())


def _read_gif(data: bytes, found: Embedded) -> None:
    if len(data) < 13:
        return
    place = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    for _ in range(_MAX_PARTS):
        kind = data[place : place + 1]
        if kind == b",":
            flags = data[place + 9] if place + 9 < len(data) else 0
            place = _skip_blocks(data, place + 11 + (3 << (flags & 7) + 1 if flags & 0x80 else 0))
        elif kind == b"!":
            label, start = data[place + 1 : place + 2], place + 2
            place = _skip_blocks(data, start)
            if label == b"\xfe":
                found.add_text("GIF comment", "", _text(_joined_blocks(data[start:place])))
            elif label == b"\xff" and data[start + 1 : start + 12] == b"XMP DataXMP":
                # Stored as it is; a trailer of 257 bytes makes decoders find its end.
                found.keep("xmp", data[start + 12 : max(place - 258, start + 12)], "XMP")
            elif label == b"\xff" and data[start + 1 : start + 9] == b"C2PA_GIF":
                found.credentials = True
        else:
            return


def _skip_blocks(data: bytes, place: int) -> int:
    while place < len(data) and data[place]:
        place += 1 + data[place]
    return place + 1


def _joined_blocks(data: bytes) -> bytes:
    parts, place = [], 0
    while place < len(data) and data[place]:
        parts.append(data[place + 1 : place + 1 + data[place]])
        place += 1 + data[place]
    return b"".join(parts)


def _read_tiff(data: bytes, found: Embedded) -> None:
    try:
        exif = read_exif(data)
    except DamagedExif:
        return
    found.exif = data
    found.keep("xmp", exif.xmp, "XMP")
    found.keep("iptc", exif.iptc, "IPTC")
    found.credentials = exif.credentials


_PICTURES = {
    "JPEG": _read_jpeg,
    "PNG": _read_png,
    "GIF": _read_gif,
    "TIFF": _read_tiff,
}
