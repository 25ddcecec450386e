"""Parse image containers without decoding: size, completeness, orientation, colour profile, number of frames.

JPEG, PNG and GIF files are also rewritten with only the parts that the decoder needs: comments, text,
thumbnails, maker notes and trailing data are dropped, so that they cannot harm it. The coded pixels stay
unchanged.

Layouts follow ITU T.81 (JPEG), the PNG specification (third edition, W3C), RFC 9649 (WebP), TIFF 6.0
(the structure inside EXIF) and ICC.1 (profiles).
"""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass

from .notes import Note, doubt, unseen

_MAX_PROFILE = 4 * 2**20
# Far above what programs write: a photo of 256 MB has some 30,000 segments or chunks.
_MAX_SEGMENTS = 200_000


class DamagedContainer(ValueError):
    """The structure of a file is damaged; the message says how. Never leaves the decoder."""


# ------------------------------------------------------------------ EXIF and ICC


def exif_orientation(exif: bytes) -> int:
    """Read the orientation, 1 to 8, from an EXIF block; 1 if it is not set.

    Raises
    ------
    DamagedContainer
        The EXIF structure cannot be read, or the value is above 8. (Some programs write 0 for "not set".)
    """
    tiff = exif.removeprefix(b"Exif\x00\x00")
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    try:
        if order is None or struct.unpack_from(order + "H", tiff, 2)[0] != 42:
            raise DamagedContainer("not an EXIF structure")
        (start,) = struct.unpack_from(order + "I", tiff, 4)
        (count,) = struct.unpack_from(order + "H", tiff, start)
        for i in range(count):
            tag, kind, number = struct.unpack_from(order + "HHI", tiff, start + 2 + 12 * i)
            if tag == 0x0112:
                if kind not in (3, 4) or number != 1:
                    raise DamagedContainer("its orientation is of the wrong type")
                (value,) = struct.unpack_from(order + ("H" if kind == 3 else "I"), tiff, start + 10 + 12 * i)
                if value > 8:
                    raise DamagedContainer(f"its orientation is {value}")
                return max(1, value)
    except struct.error as error:
        raise DamagedContainer("it is truncated") from error
    return 1


# Red, green and blue primaries of sRGB in the profile connection space (D50), as X, Y, Z.
_SRGB = {
    b"rXYZ": (0.4361, 0.2225, 0.0139),
    b"gXYZ": (0.3851, 0.7169, 0.0971),
    b"bXYZ": (0.1431, 0.0606, 0.7141),
}


def is_srgb_like(profile: bytes) -> bool:
    """Tell whether an ICC profile has the primaries of sRGB within 0.01; ``False`` if it cannot be read."""
    try:
        if profile[16:20] != b"RGB ":
            return False
        (count,) = struct.unpack_from(">I", profile, 128)
        tags = {}
        for i in range(min(count, 200)):
            name, offset, _ = struct.unpack_from(">4sII", profile, 132 + 12 * i)
            tags[name] = offset
        for name, wanted in _SRGB.items():
            found = struct.unpack_from(">3i", profile, tags[name] + 8)
            if any(abs(f / 65536 - w) > 0.01 for f, w in zip(found, wanted, strict=True)):
                return False
    except (struct.error, KeyError):
        return False
    return True


# ------------------------------------------------------------------ JPEG


@dataclass(frozen=True)
class JpegInfo:
    """Properties of a JPEG.

    ``data`` is the file with only the segments that decoding needs, ``end`` the position after its end marker
    in the whole file. ``fully_refined`` tells whether the scans
    of a progressive file transmit all coefficients that they begin down to the last bit.
    """

    data: bytes
    width: int
    height: int
    precision: int
    huffman: bool
    progressive: bool
    scans: int
    fully_refined: bool
    scan_bytes: int
    exif: bytes | None
    profile: bytes | None
    end: int


_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_HUFFMAN_SOF = frozenset({0xC0, 0xC1, 0xC2})
_PROGRESSIVE_SOF = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
_SOS, _EOI, _APP0, _APP1, _APP2, _APP14, _COM = 0xDA, 0xD9, 0xE0, 0xE1, 0xE2, 0xEE, 0xFE
# Inside entropy-coded data FF is followed by 00 (an escape), D0 to D7 (restart) or FF (fill).
_MARKER_IN_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_MARKER = re.compile(rb"\xff[^\x00\x01\xd0-\xd8\xff]")


def sanitize_jpeg(data: bytes) -> JpegInfo:
    """Parse a JPEG up to its first end-of-image marker and drop all segments that decoding does not need.

    Raises
    ------
    DamagedContainer
        The file is truncated or contains no image. A missing end marker counts as truncated, because without
        it there is no telling whether the last rows are there.
    """
    kept = [data[:2]]
    frame: tuple[int, int, int, int] | None = None
    exif: bytes | None = None
    profile: list[bytes] = []
    scan_bytes = scans = 0
    missing_bits: dict[tuple[int, int], int] = {}
    pos = 2
    for _ in range(_MAX_SEGMENTS):
        found = _MARKER.search(data, pos)
        if found is None:
            raise DamagedContainer(
                "it ends before the picture does" if frame else "it ends before the picture begins"
            )
        pos = found.start()
        marker = data[pos + 1]
        if marker == _EOI:
            kept.append(data[pos : pos + 2])
            break
        length = int.from_bytes(data[pos + 2 : pos + 4], "big")
        end = pos + 2 + length
        if length < 2 or end > len(data):
            raise DamagedContainer("it ends inside a header")
        body = data[pos + 4 : end]
        if marker in _SOF:
            if len(body) < 6 or frame is not None:
                raise DamagedContainer("its frame header is wrong")
            frame = (marker, *struct.unpack_from(">BHH", body))
        elif marker == _APP1 and body.startswith(b"Exif\x00") and exif is None:
            exif = body
        elif marker == _APP2 and body.startswith(b"ICC_PROFILE\x00"):
            profile.append(body[14:])
        if not (_APP1 <= marker <= 0xEF or marker == _COM) or marker == _APP14:
            kept.append(data[pos:end])
        pos = end
        if marker == _SOS:
            if frame is None:
                raise DamagedContainer("it has no frame header")
            found = _MARKER_IN_SCAN.search(data, pos)
            if found is None:
                raise DamagedContainer("it ends before the picture does")
            kept.append(data[pos : found.start()])
            scan_bytes += found.start() - pos
            scans += 1
            _record_refinement(body, missing_bits)
            pos = found.start()
    else:
        raise DamagedContainer("it has too many parts")
    if frame is None or not scan_bytes:
        raise DamagedContainer("there is no picture in it")
    sof, precision, height, width = frame
    return JpegInfo(
        b"".join(kept),
        width,
        height,
        precision,
        sof in _HUFFMAN_SOF,
        sof in _PROGRESSIVE_SOF,
        scans,
        not any(missing_bits.values()),
        scan_bytes,
        exif,
        b"".join(profile) or None,
        pos + 2,
    )


def _record_refinement(body: bytes, missing_bits: dict[tuple[int, int], int]) -> None:
    """Record how many low bits of each coefficient are still missing after a scan (T.81, G.1.1.1)."""
    count = body[0] if body else 0
    if len(body) < 2 * count + 4:
        raise DamagedContainer("the header of a scan is wrong")
    first, last, bits = body[2 * count + 1 : 2 * count + 4]
    for component in body[1 : 2 * count + 1 : 2]:
        for coefficient in range(first, min(last, 63) + 1):
            missing_bits[component, coefficient] = bits & 15


def append_scan_data(clean: bytes) -> bytes:
    """Insert some kilobytes of arbitrary coded data before the end marker of a sanitized JPEG."""
    # Any bits decode to something; these contain no 0xFF and so no marker.
    return clean[:-2] + bytes((37 * i * i + 91 * i) % 251 for i in range(4096)) + clean[-2:]


# ------------------------------------------------------------------ PNG


@dataclass(frozen=True)
class PngInfo:
    """Properties of a PNG.

    ``data`` is the file with only the chunks that the image consists of, ``frames`` the number of frames in
    it, counted, and ``coding`` the numbers of ITU-T H.273 for primaries and transfer, where it states them.
    """

    data: bytes
    frames: int
    exif: bytes | None
    profile: bytes | None
    notes: tuple[Note, ...]
    coding: tuple[int, int] | None = None


_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_PNG_CRITICAL = frozenset({b"IHDR", b"PLTE", b"IDAT", b"tRNS"})
# How ImageMagick stored EXIF data before PNG had a chunk for it; browsers do not read it.
_EXIF_AS_TEXT = (b"Raw profile type exif\0", b"Raw profile type APP1\0")
_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"


def sanitize_png(data: bytes, check_size: Callable[[int, int], None]) -> PngInfo:
    """Parse a PNG, verify the checksum of each chunk and drop the chunks that decoding does not need.

    A wrong checksum is an error in a chunk of the image; other chunks with a wrong checksum are dropped with
    a note. A file that lacks only its end chunk is repaired with a note; the decoder then finds out whether
    the image data are complete.

    Parameters
    ----------
    data
        Content of the file.
    check_size
        Called with width and height as soon as they are known; may raise.

    Raises
    ------
    DamagedContainer
        The file is truncated inside the image, a checksum is wrong, or it contains no image.
    """
    view = memoryview(data)
    kept: list[bytes | memoryview] = [_PNG_SIGNATURE]
    notes: list[Note] = []
    exif = profile = None
    claimed = frames = alone = 0
    seen_data = complete = False
    coding: tuple[int, int] | None = None
    pos = len(_PNG_SIGNATURE)
    for _ in range(_MAX_SEGMENTS):
        if pos + 8 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, pos)
        body, end = view[pos + 8 : pos + 8 + length], pos + 12 + length
        if len(kept) == 1 and kind != b"IHDR":
            raise DamagedContainer("its header is missing")
        if kind == b"IEND":
            complete = end <= len(data)
            break
        if end > len(data):
            if kind in _PNG_CRITICAL or not seen_data:
                raise DamagedContainer("it ends before the picture does")
            break
        (stored,) = struct.unpack_from(">I", data, end - 4)
        if zlib.crc32(view[pos + 4 : end - 4]) != stored:
            if kind in _PNG_CRITICAL:
                raise DamagedContainer(f"the checksum of its {kind.decode()} part is wrong")
            notes.append(Note("a damaged part that is not the picture was left out"))
        elif kind in _PNG_CRITICAL:
            if kind == b"IHDR":
                if length != 13 or len(kept) > 1:
                    raise DamagedContainer("its header is wrong")
                check_size(*struct.unpack_from(">II", body))
            if kind == b"IDAT" and not seen_data:
                seen_data, alone = True, not frames  # an image outside of the animation
            kept.append(view[pos:end])
        elif kind == b"fcTL":
            frames += 1
        elif kind == b"cICP" and length >= 2:
            coding = body[0], body[1]
        elif kind == b"eXIf":
            exif = bytes(body)
        elif kind == b"iCCP":
            profile = _png_profile(bytes(body))
        elif kind == b"acTL" and length >= 4:
            claimed = int.from_bytes(body[:4], "big")
        elif kind in (b"tEXt", b"zTXt") and bytes(body[:24]).startswith(_EXIF_AS_TEXT):
            notes.append(doubt("EXIF data stored as text ignored; the picture may lie on its side"))
        pos = end
    else:
        raise DamagedContainer("it has too many parts")
    if not seen_data:
        raise DamagedContainer("there is no picture in it")
    if not complete:
        notes.append(Note("the end of the file is cut off, but all of the picture is there"))
    if claimed > max(frames, 1):
        notes.append(unseen(f"its header claims {claimed} frames, the file holds {frames or 1}"))
    kept.append(_PNG_END)
    return PngInfo(b"".join(kept), frames + alone, exif, profile, tuple(notes), coding)


@dataclass(frozen=True)
class PngAnimation:
    """Properties of an animated PNG.

    ``data`` is the file with only the chunks that decoding needs, ``durations`` are the seconds of its frames
    up to the end or the first damage, ``claimed`` is their number according to the header, and ``coding`` is
    as in :class:`PngInfo`.
    """

    data: bytes
    durations: list[float]
    claimed: int
    exif: bytes | None
    profile: bytes | None
    coding: tuple[int, int] | None = None


_APNG = _PNG_CRITICAL | {b"acTL", b"fcTL", b"fdAT"}


def png_animation(data: bytes, check_size: Callable[[int, int], None]) -> PngAnimation:
    """Parse an animated PNG up to its end or the first damaged part, and drop what decoding does not need.

    An image that is not part of the animation, but shown by programs that know no animations, counts as its
    first frame.

    Parameters
    ----------
    data
        Content of the file.
    check_size
        Called with width and height as soon as they are known; may raise.

    Raises
    ------
    DamagedContainer
        Not even the first frame is there.
    """
    still = sanitize_png(data, check_size)  # of the first image nothing may be missing
    view = memoryview(data)
    kept: list[bytes | memoryview] = [_PNG_SIGNATURE]
    durations: list[float] = []
    place, claimed, seen_data = None, 0, False
    pos = len(_PNG_SIGNATURE)
    for _ in range(_MAX_SEGMENTS):
        if pos + 12 > len(data):
            break
        length, kind = struct.unpack_from(">I4s", data, pos)
        body, end = view[pos + 8 : pos + 8 + length], pos + 12 + length
        if kind == b"IEND" or end > len(data):
            break
        (stored,) = struct.unpack_from(">I", data, end - 4)
        if kind in _APNG and zlib.crc32(view[pos + 4 : end - 4]) != stored:
            break
        if kind == b"acTL" and length == 8 and place is None:
            place, claimed = len(kept), int.from_bytes(body[:4], "big")
            kept.append(b"")
        elif kind in _APNG and kind != b"acTL":
            if kind == b"fcTL" and length == 26:
                numerator, denominator = struct.unpack_from(">HH", body, 20)
                durations.append(numerator / (denominator or 100))
            if kind == b"IDAT" and not seen_data:
                seen_data = True
                if not durations:  # an image outside of the animation
                    durations.append(0.0)
                    claimed += 1
            kept.append(view[pos:end])
        pos = end
    if place is not None:
        # The decoder gets the true number of frames, whatever the header claims.
        frames = sum(bytes(part[4:8]) == b"fcTL" for part in kept)
        content = b"acTL" + struct.pack(">II", max(frames, 1), 0)
        kept[place] = struct.pack(">I", 8) + content + struct.pack(">I", zlib.crc32(content))
    kept.append(_PNG_END)
    return PngAnimation(b"".join(kept), durations, claimed, still.exif, still.profile, still.coding)


def _png_profile(body: bytes) -> bytes:
    """Decompress the profile in an iCCP chunk; ``b"?"``, which is no profile, if that fails."""
    _, _, packed = body.partition(b"\x00")
    try:
        return zlib.decompressobj().decompress(packed[1:], _MAX_PROFILE) or b"?"
    except zlib.error:
        return b"?"


# ------------------------------------------------------------------ WebP


def webp_size(data: bytes) -> tuple[int, int]:
    """Read width and height of a WebP.

    Raises
    ------
    DamagedContainer
        The file is shorter than its header says, or does not begin with an image.
    """
    if len(data) < 30 or len(data) < int.from_bytes(data[4:8], "little") + 8:
        raise DamagedContainer("it ends before the picture does")
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return int.from_bytes(data[26:28], "little") & 0x3FFF, int.from_bytes(data[28:30], "little") & 0x3FFF
    raise DamagedContainer("it holds no picture")


def webp_durations(data: bytes) -> list[float]:
    """Read the seconds of each frame of an animated WebP; empty for a still one."""
    durations = []
    pos = 12
    for _ in range(_MAX_SEGMENTS):
        if pos + 8 > len(data):
            break
        kind, length = struct.unpack_from("<4sI", data, pos)
        if kind == b"ANMF" and pos + 23 <= len(data):
            durations.append(int.from_bytes(data[pos + 20 : pos + 23], "little") / 1000)
        pos += 8 + length + length % 2
    return durations


def is_animated_webp(data: bytes) -> bool:
    """Tell whether a WebP that says so is animated; True too if it is cut off."""
    return len(webp_durations(data)) > 1 or len(data) < int.from_bytes(data[4:8], "little") + 8


# ------------------------------------------------------------------ GIF

_MAX_BLOCKS = 1_000_000


@dataclass(frozen=True)
class GifInfo:
    """Properties of a GIF. ``data`` is its first frame as a GIF; ``frames`` is ``None`` for too many."""

    data: bytes
    frames: int | None
    damaged: bool


def sanitize_gif(data: bytes, check_size: Callable[[int, int], None]) -> GifInfo:
    """Parse a GIF and reduce it to its first frame.

    Parameters
    ----------
    data
        Content of the file.
    check_size
        Called with width and height of the canvas, and with those that the first frame needs; may raise.

    Raises
    ------
    DamagedContainer
        The first frame is incomplete.
    """
    if len(data) < 13:
        raise DamagedContainer("it ends inside its header")
    check_size(*struct.unpack_from("<HH", data, 6))
    pos = 13 + _color_table_size(data[10])
    kept = [data[:pos]]
    control = b""
    frames = 0
    for _ in range(_MAX_BLOCKS):
        kind = data[pos : pos + 1]
        if kind in (b";", b""):
            return _gif(kept, frames, damaged=not kind and frames > 1)
        end: int | None = pos + 1  # decoders skip bytes between blocks too
        if kind == b"!":
            end = _end_of_sub_blocks(data, pos + 2)
            if end is not None and data[pos + 1] == 0xF9:
                control = data[pos:end]
        elif kind == b",":
            flags = data[pos + 9] if pos + 9 < len(data) else 0
            end = _end_of_sub_blocks(data, pos + 11 + _color_table_size(flags))
            if end is None and not frames:
                raise DamagedContainer("it ends before the picture does")
            if not frames:
                left, top, width, height = struct.unpack_from("<HHHH", data, pos + 1)
                check_size(left + width, top + height)
                kept += [control, data[pos:end]]
            frames += 1
        if end is None:
            return _gif(kept, frames, damaged=True)
        pos = end
    return _gif(kept, None if frames else 0, damaged=False)


def is_animated(data: bytes) -> bool:
    """Tell whether a GIF contains more than one frame; False if it is damaged."""
    try:
        return sanitize_gif(data, lambda *_: None).frames != 1
    except DamagedContainer:
        return False


def _gif(kept: list[bytes], frames: int | None, *, damaged: bool) -> GifInfo:
    if frames == 0:
        raise DamagedContainer("there is no picture in it")
    return GifInfo(b"".join(kept) + b";", frames, damaged)


def _color_table_size(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _end_of_sub_blocks(data: bytes, pos: int) -> int | None:
    """Find the end of the chain of data sub-blocks at ``pos``; ``None`` if it is truncated."""
    while pos < len(data):
        size = data[pos]
        pos += 1 + size
        if not size:
            return pos
    return None


# ------------------------------------------------------------------ TIFF


@dataclass(frozen=True)
class TiffInfo:
    """Properties of a TIFF. ``pages`` is ``None`` for too many; smaller copies and masks do not count.

    ``preview`` says what the file contains if its first page is not the image itself; empty for ordinary
    files.
    """

    pages: int | None
    damaged: bool
    preview: str


_MAX_PAGES = 10_000
_MAX_TIFF_ENTRIES = 200
_TYPE_BYTES = {2: 1, 3: 2, 4: 4, 5: 8, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
_SUBFILE, _PHOTOMETRIC, _DNG_VERSION = 254, 262, 50706
_SENSOR_PHOTOMETRIC = (32803, 34892)


def inspect_tiff(data: bytes) -> TiffInfo:
    """Parse the directories of a TIFF or BigTIFF.

    Raises
    ------
    DamagedContainer
        The first directory is incomplete, or refers to more data than the file contains.
    """
    order = "<" if data[:2] == b"II" else ">"
    big = struct.unpack_from(order + "H", data, 2)[0] == 43 if len(data) >= 4 else False
    # Position of the first offset; struct formats of an offset, of the number of entries, and of an entry.
    first, offset, number, entry = (8, "Q", "Q", "HHQ8s") if big else (4, "I", "H", "HHI4s")
    entry_size = struct.calcsize("<" + entry)
    preview = "a camera raw file" if data[8:10] == b"CR" and not big else ""
    seen: set[int] = set()
    others = 0
    try:
        (place,) = struct.unpack_from(order + offset, data, first)
        while place and place not in seen:
            if len(seen) == _MAX_PAGES:
                return TiffInfo(None, False, preview)
            (count,) = struct.unpack_from(order + number, data, place)
            start = place + struct.calcsize("<" + number)
            if not seen:
                if start + count * entry_size > len(data):
                    raise DamagedContainer("it ends inside its directory")
                entries = _tiff_entries(data, order + entry, start, count)
                preview = preview or _preview(entries, order)
                _check_data_size(entries, len(data))
            elif count <= _MAX_TIFF_ENTRIES and _is_no_page(
                _tiff_entries(data, order + entry, start, count), order
            ):
                others += 1
            seen.add(place)
            (place,) = struct.unpack_from(order + offset, data, start + count * entry_size)
    except struct.error as error:
        if not seen:
            raise DamagedContainer("it ends inside its header") from error
        return TiffInfo(len(seen) + 1, True, preview)
    return TiffInfo(len(seen) - others, False, preview)


def _tiff_entries(data: bytes, entry: str, start: int, count: int) -> list[tuple[int, int, int, bytes]]:
    return [
        struct.unpack_from(entry, data, start + i * struct.calcsize("<" + entry[1:])) for i in range(count)
    ]


def _is_no_page(entries: list[tuple[int, int, int, bytes]], order: str) -> bool:
    """Tell whether a directory is that of a smaller copy or a mask of another page (TIFF 6.0, tag 254)."""
    kinds = [
        struct.unpack(order + "I", value[:4])[0]
        for tag, kind, _, value in entries
        if (tag, kind) == (_SUBFILE, 4)
    ]
    return any(kind & 5 for kind in kinds)


def _preview(entries: list[tuple[int, int, int, bytes]], order: str) -> str:
    numbers = {
        tag: struct.unpack(order + "I", value[:4])[0]
        if kind == 4
        else struct.unpack(order + "H", value[:2])[0]
        for tag, kind, _, value in entries
    }
    if _DNG_VERSION in numbers or numbers.get(_PHOTOMETRIC) in _SENSOR_PHOTOMETRIC:
        return "a camera raw file"
    if numbers.get(_SUBFILE, 0) & 1:
        return "a file whose first page is a small preview, as in camera raw files"
    return ""


def _check_data_size(entries: list[tuple[int, int, int, bytes]], size: int) -> None:
    # A reader copies what each entry refers to, and all entries may refer to the same data.
    amount = sum(_TYPE_BYTES.get(kind, 1) * count for _, kind, count, _ in entries)
    if amount > 2 * size + 2**16:
        raise DamagedContainer("its directory refers to more data than there are")


# ------------------------------------------------------------------ PPM

_MAX_HEADER = 2**16


def check_ppm_header(data: bytes) -> None:
    """Check that the header of a PPM, PGM or PBM is valid and ends within 64 KiB.

    Raises
    ------
    DamagedContainer
        It does not.
    """
    numbers = 2 if data[1:2] in b"14" else 3
    pos = 2
    head = data[:_MAX_HEADER]
    for _ in range(numbers):
        while head[pos : pos + 1].isspace() or head[pos : pos + 1] == b"#":
            if head[pos : pos + 1] == b"#":
                pos = head.find(b"\n", pos)
                if pos < 0:
                    raise DamagedContainer("its header does not end")
            pos += 1
        start = pos
        while head[pos : pos + 1].isdigit():
            pos += 1
        if pos == start or pos >= len(data):
            raise DamagedContainer("its header is wrong")
        if pos == len(head):
            raise DamagedContainer("its header does not end")
