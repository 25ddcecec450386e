"""Metadata blocks of the formats, and limits on what hostile files may cost."""

from __future__ import annotations

import io
import struct
import time
import zlib

import pytest
from helpers.metadata_files import (
    box,
    picture,
    saved,
    tiff,
    with_chunk,
    with_exif,
    with_segment,
    with_xmp,
    xmp,
)
from helpers.small_pictures import png_chunk
from PIL import Image, PngImagePlugin

from redeepfake_nb.provenance.embedded import MAX_TEXT, MAX_TEXTS, Embedded, read_embedded
from redeepfake_nb.provenance.exif import read_exif

EXIF = tiff({0x010F: b"Canon"})
PACKET = xmp("<xmp:CreatorTool>Tool</xmp:CreatorTool>")
UUID = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")


def _read(data: bytes, kind: str) -> Embedded:
    return read_embedded(io.BytesIO(data), kind)


def _webp_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack("<4sI", kind, len(body)) + body + b"\0" * (len(body) % 2)


def test_jpeg_segments() -> None:
    jpeg = with_xmp(with_exif(saved(picture()), EXIF), PACKET)
    found = _read(with_segment(jpeg, 0xFE, b"CREATOR: gd-jpeg v1.0\0"), "JPEG")
    assert read_exif(found.exif).fields == {"Make": "Canon"}
    assert found.xmp == PACKET
    assert [text.content for text in found.texts] == ["CREATOR: gd-jpeg v1.0"]
    assert sorted(found.tables) == [0, 1]
    assert not found.credentials
    assert not found.unread


def test_png_chunks_in_front_of_and_behind_the_pixels() -> None:
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Software", "Tool")
    texts.add_text("Comment", "long " * 100, zip=True)
    texts.add_itxt("XML:com.adobe.xmp", PACKET.decode())
    png = saved(picture(), "PNG", pnginfo=texts, exif=EXIF)
    late = png[:-12] + png_chunk(b"tEXt", b"parameters\0Steps: 20") + png[-12:]
    found = _read(late, "PNG")
    assert [(t.keyword, t.content[:9]) for t in found.texts] == [
        ("Software", "Tool"), ("Comment", "long long"), ("parameters", "Steps: 20"),
    ]  # fmt: skip
    assert found.xmp == PACKET
    assert read_exif(found.exif).fields == {"Make": "Canon"}


def test_png_profiles_that_are_written_as_text() -> None:
    body = b"Exif\0\0" + EXIF
    text = b"Raw profile type exif\0\nexif\n%8d\n" % len(body) + body.hex().encode()
    found = _read(with_chunk(saved(picture(), "PNG"), b"tEXt", text), "PNG")
    assert read_exif(found.exif).fields == {"Make": "Canon"}
    damaged = _read(with_chunk(saved(picture(), "PNG"), b"tEXt", text[:-1] + b"~"), "PNG")
    assert damaged.unread == ["PNG text exif: its hexadecimal digits are damaged"]


def test_webp_gif_and_tiff() -> None:
    webp = saved(picture(), "WEBP")
    webp += _webp_chunk(b"EXIF", EXIF) + _webp_chunk(b"XMP ", PACKET) + _webp_chunk(b"C2PA", b"jumb")
    found = _read(webp, "WEBP")
    assert (found.exif, found.xmp, found.credentials) == (EXIF, PACKET, True)

    gif = saved(picture(), "GIF", comment=b"Made with a tool")
    assert [text.content for text in _read(gif, "GIF").texts] == ["Made with a tool"]

    found = _read(tiff({0x010F: b"Canon", 700: PACKET, 52545: b"jumb"}), "TIFF")
    assert (found.xmp, found.credentials) == (PACKET, True)


def test_items_of_heic_and_boxes_of_mp4() -> None:
    pytest.importorskip("pillow_heif").register_heif_opener()
    heic = saved(picture(size=(64, 64)), "HEIF", exif=b"Exif\0\0" + EXIF, xmp=PACKET)
    found = _read(heic, "HEIF")
    assert read_exif(found.exif).fields == {"Make": "Canon"}
    assert found.xmp == PACKET
    assert not found.credentials
    assert _read(heic + box(b"uuid", UUID + b"jumb"), "HEIF").credentials
    assert _read(box(b"ftyp", b"isom\0\0\0\0") + box(b"uuid", UUID + b"x"), "MP4").credentials


def test_credentials_are_noticed_in_jpeg_and_png() -> None:
    jumbf = b"JP\0\x01\0\0\0\x01" + box(b"jumb", box(b"jumd", b"c2pa\0\x11\0\x10" + bytes(8) + b"\x03c2pa\0"))
    assert _read(with_segment(saved(picture()), 0xEB, jumbf), "JPEG").credentials
    assert _read(with_chunk(saved(picture(), "PNG"), b"caBX", b"x"), "PNG").credentials


def test_a_bomb_of_text_costs_little_and_is_recorded() -> None:
    bomb = b"bomb\0\0" + zlib.compress(bytes(200 * 2**20), 9)
    png = saved(picture(), "PNG")
    chunks = png_chunk(b"zTXt", bomb) * 50 + png_chunk(b"tEXt", b"k\0v") * 1000
    began = time.monotonic()
    found = _read(png[:33] + chunks + png[33:], "PNG")
    assert time.monotonic() - began < 10
    assert len(found.texts) <= MAX_TEXTS
    assert sum(len(text.content) for text in found.texts) <= 5 * MAX_TEXT
    assert any("MiB" in words for words in found.unread)
    assert len(found.unread) <= 20


def test_a_huge_text_is_recorded_and_not_read() -> None:
    huge = with_chunk(saved(picture(), "PNG"), b"tEXt", b"k\0" + b"x" * (5 * 2**20))
    found = _read(huge, "PNG")
    assert not found.texts
    assert found.unread == ["PNG text: one has 5.0 MiB; the limit is 4 MiB"]


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "HEIF", "AVIF", "MP4", "AVI", "BMP", "PPM"]
)
@pytest.mark.parametrize(
    "data", [b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n\xff\xff\xff\xfftEXt", b"II*\0\x08", b"RIFF\0"]
)
def test_what_is_cut_off_gives_what_stands_before(kind: str, data: bytes) -> None:
    assert not _read(data, kind).credentials


def test_every_cut_of_a_file_can_be_read() -> None:
    image = Image.new("RGB", (8, 8))
    jpeg = with_xmp(with_exif(saved(image), EXIF), PACKET)
    for end in range(0, len(jpeg), 7):
        _read(jpeg[:end], "JPEG")
