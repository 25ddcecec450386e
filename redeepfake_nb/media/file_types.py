"""Detect file types from the first bytes; file names and extensions are never trusted."""

from __future__ import annotations

import io
import os
import struct
import sys
from typing import BinaryIO

from ..errors import RedeepfakeError
from .files import MAX_BYTES, open_file
from .image_containers import is_animated, is_animated_webp
from .video_containers import has_index

# Supported image formats: (offset, signature, format).
_IMAGES: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"\x89PNG\r\n\x1a\n", "PNG"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"II*\x00", "TIFF"),
    (0, b"MM\x00*", "TIFF"),
    (0, b"II+\x00", "TIFF"),
    (0, b"MM\x00+", "TIFF"),
    *((0, b"P%d" % digit, "PPM") for digit in range(1, 7)),
)
_HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1", b"miaf", b"mif2"}
_AVIF_BRANDS = {b"avif", b"avis"}

# Supported video containers: (offset, signature, format).
_VIDEOS: tuple[tuple[int, bytes, str], ...] = (
    *((4, box, "MP4") for box in (b"ftyp", b"moov", b"mdat", b"wide", b"pnot", b"styp", b"moof", b"sidx")),
    (4, b"free", "MP4"),
    (4, b"skip", "MP4"),
    (0, b"\x1aE\xdf\xa3", "Matroska"),
    (0, b"FLV\x01", "FLV"),
    (0, b"OggS", "Ogg"),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "ASF"),
    (0, b"DKIF\x00\x00", "IVF"),
    (0, b"YUV4MPEG2 ", "Y4M"),
    (0, b"GIF87a", "GIF"),
    (0, b"GIF89a", "GIF"),
    (0, b"\x00\x00\x01\xba", "MPEG-PS"),
    (0, b"\x00\x00\x01\xb3", "MPEG-1/2"),
    (0, b"\x00\x00\x01\xb0", "MPEG-4"),
)
# First bytes after the start code of an elementary stream: parameter set, access unit delimiter or SEI
# message.
_HEVC_STARTS = (b"\x40\x01", b"\x42\x01", b"\x44\x01", b"\x46\x01", b"\x4e\x01")
_H264_STARTS = (b"\x67", b"\x47", b"\x27", b"\x09", b"\x06")

_CONVERT = "Convert it to PNG or JPEG first."
_VIDEO = "Use analyze_video() or open_video() for videos."
_ARCHIVE = "Unpack it and name a picture inside."
_PLAYLIST = "Download the video itself; playlists are not followed."
_WRONG_FILE = "Check that the right file was chosen."
DOWNLOAD = "Download the picture itself; this is the page that a browser got instead."

# Other formats that users pass by mistake: (offset, signature, description, next step).
_UNSUPPORTED: tuple[tuple[int, bytes, str, str], ...] = (
    (
        0,
        b"version https://git-lfs.github.com/spec",
        "a Git LFS pointer",
        "Run `git lfs pull` to get the file.",
    ),
    (0, b"%PDF", "a PDF document", "Export the picture from it as PNG or JPEG."),
    (0, b"#EXTM3U", "a video playlist", _PLAYLIST),
    (0, b"ffconcat version", "a list of videos to join", _PLAYLIST),
    (0, b"\x1aE\xdf\xa3", "a Matroska or WebM video", _VIDEO),
    (0, b"FLV\x01", "an FLV video", _VIDEO),
    (0, b"\x00\x00\x01\xba", "an MPEG video", _VIDEO),
    (0, b"\x00\x00\x01\xb3", "an MPEG video", _VIDEO),
    (0, b"OggS", "an Ogg audio or video file", _VIDEO),
    (0, b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "a Windows Media file", _VIDEO),
    (4, b"moov", "a QuickTime video", _VIDEO),
    (4, b"mdat", "a QuickTime video", _VIDEO),
    (4, b"jP  ", "a JPEG 2000 picture", _CONVERT),
    (0, b"\xff\x4f\xff\x51", "a JPEG 2000 picture", _CONVERT),
    (4, b"JXL ", "a JPEG XL picture", _CONVERT),
    (0, b"\xff\x0a", "a JPEG XL picture", _CONVERT),
    (0, b"8BPS", "a Photoshop document", _CONVERT),
    (0, b"\x76\x2f\x31\x01", "an OpenEXR picture", _CONVERT),
    (0, b"FUJIFILM", "a camera raw file", _CONVERT),
    (8, b"CR\x02\x00", "a camera raw file", _CONVERT),
    (0, b"\x00\x00\x01\x00", "an icon", _CONVERT),
    (0, b"\x00\x00\x02\x00", "a mouse pointer", _CONVERT),
    (0, b"icns", "an icon", _CONVERT),
    (0, b"gimp xcf", "a GIMP document", _CONVERT),
    (0, b"DDS ", "a texture (DDS)", _CONVERT),
    (0, b"qoif", "a QOI picture", _CONVERT),
    (0, b"II\xbc", "a JPEG XR picture", _CONVERT),
    (0, b"#?RADIANCE", "a Radiance HDR picture", _CONVERT),
    (128, b"DICM", "a medical picture (DICOM)", _CONVERT),
    (0, b"\x8aMNG", "an MNG animation", _CONVERT),
    (4, b"ftypcrx", "a camera raw file", _CONVERT),
    (0, b"%!PS", "a PostScript document", _CONVERT),
    (0, b"\xc5\xd0\xd3\xc6", "a PostScript document", _CONVERT),
    (0, b"\x06\x0e\x2b\x34", "an MXF video", _CONVERT),
    (0, b"nut/multimedia container", "a NUT video", _CONVERT),
    (0, b".RMF", "a RealMedia video", _CONVERT),
    *((0, start + b"WS", "a Flash film", _CONVERT) for start in (b"F", b"C", b"Z")),
    (0, b"PK\x03\x04", "a zip archive (or a document or model stored as one)", _ARCHIVE),
    (0, b"PK\x05\x06", "an empty zip archive", _WRONG_FILE),
    (0, b"\x1f\x8b", "a gzip archive", _ARCHIVE),
    (0, b"7z\xbc\xaf\x27\x1c", "a 7z archive", _ARCHIVE),
    (0, b"Rar!", "a RAR archive", _ARCHIVE),
    (257, b"ustar", "a tar archive", _ARCHIVE),
    (0, b"\x89HDF", "an HDF5 file, perhaps a Keras model", "Models go to load_model()."),
    (0, b"\x93NUMPY", "a NumPy array file", "Load it with numpy.load() and hand over the array."),
    (0, b"ID3", "an MP3 file", _WRONG_FILE),
    (0, b"fLaC", "a FLAC audio file", _WRONG_FILE),
    (0, b"\x7fELF", "a program", _WRONG_FILE),
    (0, b"MZ", "a program", _WRONG_FILE),
)


def image_format(data: bytes) -> str | None:
    """Detect the image format of ``data`` ("JPEG", "PNG", ...); ``None`` if it is not a supported image."""
    for offset, magic, name in _IMAGES:
        if data.startswith(magic, offset):
            return name
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP":
        return "WEBP"
    # Two letters are a weak signature, so the size of the BMP info header is checked as well.
    if data.startswith(b"BM") and int.from_bytes(data[14:18], "little") in (12, 16, 40, 52, 56, 64, 108, 124):
        return "BMP"
    if data[4:8] == b"ftyp":
        brands = _brands(data)
        if brands & _AVIF_BRANDS:
            return "AVIF"
        if brands & _HEIF_BRANDS:
            return "HEIF"
    return None


def video_format(data: bytes) -> str | None:
    """Detect the video container of a file from its first 512 or more bytes; ``None`` if it is not supported.

    ``"MP4"`` stands for its whole family (QuickTime, 3GP), ``"Matroska"`` also for WebM, ``"ASF"`` for
    Windows Media. Formats that refer to other files are not supported.
    """
    if image_format(data) not in (None, "GIF"):
        return None
    for offset, magic, name in _VIDEOS:
        if data.startswith(magic, offset):
            return name
    if data.startswith(b"RIFF") and data[8:11] == b"AVI":
        return "AVI"
    # Packets of 188 bytes begin with 0x47; on discs and in cameras each is preceded by four bytes.
    for first, size in ((0, 188), (4, 192)):
        if all(data[i : i + 1] == b"\x47" for i in (first, first + size)):
            return "MPEG-TS"
    body = data.lstrip(b"\x00")
    if data.startswith((b"\x00\x00\x01", b"\x00\x00\x00\x01")):
        if body[1:].startswith(_HEVC_STARTS):
            return "HEVC"
        if body[1:].startswith(_H264_STARTS):
            return "H.264"
    return None


def is_audio(data: bytes) -> bool:
    """Tell whether ``data`` begins like a file that contains audio only."""
    if data.startswith((b"ID3", b"fLaC", b"#!AMR", b"ADIF")):
        return True
    if data.startswith(b"RIFF") and data[8:12] == b"WAVE":
        return True
    # Frames of MP3 and of AAC begin with eleven set bits.
    return data[:1] == b"\xff" and data[1:2] in (b"\xfb", b"\xfa", b"\xf3", b"\xf2", b"\xf1", b"\xf9")


def _brands(data: bytes) -> set[bytes]:
    """Return the major and the compatible brands of an ISO base media file."""
    end = min(int.from_bytes(data[:4], "big"), 256, len(data))
    return {data[8:12], *(data[i : i + 4] for i in range(16, end - 3, 4))}


def describe_unsupported(data: bytes) -> tuple[str, str]:
    """Describe data of an unsupported format ("a PDF document"), and tell the user's next step."""
    for offset, magic, what, step in _UNSUPPORTED:
        if data.startswith(magic, offset):
            return what, step
    if data[4:8] == b"ftyp":
        return "an MP4 or QuickTime file", _VIDEO
    if data.startswith(b"RIFF"):
        return ("an AVI video", _VIDEO) if data[8:11] == b"AVI" else ("a RIFF file", _WRONG_FILE)
    if data[:1] == b"\x47" and data[188:189] == b"\x47":
        return "an MPEG transport stream", _VIDEO
    if b"%PDF-" in data[:1024]:
        return "a PDF document", "Export the picture from it as PNG or JPEG."
    head = data[:512]
    if not head.strip(b"\x00"):
        return "a file that begins with zero bytes only", "Copy or download it again; the copy is damaged."
    text = _as_text(head)
    if text is not None:
        return _describe_text(text)
    return "a file of an unknown type", _CONVERT


# Playlists, edit lists and stream addresses; the files they name are never opened.
_PLAYLIST_STARTS = (
    "#extm3u", "[playlist]", "[reference]", "<asx", "<smil", "<playlist", "v=0", "file '", "# mpv edl",
    "mplayer edl", "rtsp://", "rtmp://", "mms://", "http://", "https://",
    "avisource", "directshowsource", "ffmpegsource",
)  # fmt: skip


def _as_text(head: bytes) -> str | None:
    """Decode ``head`` as text; ``None`` if it is binary. A single byte counts as binary."""
    if len(head) < 2:
        return None
    try:
        # A multi-byte character may be cut off at the end of ``head``.
        text = head.decode("utf-8", "strict" if len(head) < 512 else "ignore")
    except UnicodeDecodeError:
        return None
    return text if all(c.isprintable() or c in "\t\r\n\f\ufeff" for c in text) else None


def _describe_text(text: str) -> tuple[str, str]:
    start = text.lstrip("\ufeff \t\r\n").lower()
    if start.startswith("<svg") or (start.startswith("<?xml") and "<svg" in start):
        return "an SVG drawing", _CONVERT
    if start.startswith(("<!doctype html", "<html", "<head", "<body", "<script")):
        return "a web page (HTML)", DOWNLOAD
    if start.startswith("<mpd") or (start.startswith("<?xml") and "<mpd" in start):
        return "a video playlist (DASH)", _PLAYLIST
    if start.startswith(_PLAYLIST_STARTS) or (start.startswith("<?xml") and "<playlist" in start):
        return "a video playlist", _PLAYLIST
    if start.startswith(";ffmetadata"):
        return "a list of chapters and titles (FFmpeg metadata)", _WRONG_FILE
    if start.startswith("push graphic-context"):
        return "a drawing in text (MVG)", _CONVERT
    if start.startswith("<?xml"):
        return "an XML file", DOWNLOAD
    if start.startswith(("{", "[")):
        return "a text file, perhaps JSON", _WRONG_FILE
    if start.startswith("data:image"):
        return "a data URL written out as text", "Decode its base64 part to bytes first."
    return "plain text", _WRONG_FILE


def moving_format(file: BinaryIO) -> str | None:
    """Detect the format of a file that is to be read as a video; ``None`` for any other.

    That is a video, or a picture with several frames: an animated GIF, PNG, WebP or AVIF, or a HEIC sequence.
    Changes the position in the file.
    """
    file.seek(0)
    head = file.read(4096)
    picture = image_format(head)
    if picture is None:
        return video_format(head)
    test = {
        "GIF": lambda: is_animated(_whole(file)),
        "PNG": lambda: _png_frames(file) > 1,
        "WEBP": lambda: _says_animated(head) and is_animated_webp(_whole(file)),
        "AVIF": lambda: has_index(file),
        "HEIF": lambda: has_index(file),
    }.get(picture)
    return picture if test is not None and test() else None


def _whole(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(MAX_BYTES)


# Chunks of a PNG that are looked through for a second frame, as many as are decoded.
_MAX_CHUNKS = 200_000


def _says_animated(webp: bytes) -> bool:
    """Whether the extended header of a WebP, which may be cut off, says that there is an animation."""
    return webp[12:16] == b"VP8X" and len(webp) > 20 and webp[20] & 2 > 0


def _png_frames(file: BinaryIO) -> int:
    """Count the frames of a PNG up to two, by its chunks; an image outside of the animation counts."""
    size, pos, frames, seen_data = file.seek(0, io.SEEK_END), 8, 0, False
    for _ in range(_MAX_CHUNKS):
        if pos + 8 > size or frames > 1:
            break
        file.seek(pos)
        length, kind = struct.unpack(">I4s", file.read(8))
        frames += kind == b"fcTL" or (kind == b"IDAT" and not seen_data and not frames)
        seen_data = seen_data or kind == b"IDAT"
        pos += 12 + length
    return frames


def is_video(path: str | os.PathLike) -> bool:
    """Tell whether a file is a video or an animated picture, by its content; False if it cannot be read."""
    try:
        with open_file(path, max_bytes=sys.maxsize) as opened:
            return moving_format(opened) is not None
    except (RedeepfakeError, OSError):
        return False  # reading it as an image then reports what is wrong with it


def is_media(path: str | os.PathLike) -> bool:
    """Tell whether a file is an image or a video, by its first bytes; False if it cannot be read."""
    try:
        with open_file(path, max_bytes=sys.maxsize) as opened:
            head = opened.read(4096)
    except (RedeepfakeError, OSError):
        return False
    return image_format(head) is not None or video_format(head) is not None
