"""Small files with metadata, made by Pillow or written byte by byte."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Mapping

import numpy as np
from PIL import Image

from helpers.small_pictures import png_chunk

XMP_HEADER = b"http://ns.adobe.com/xap/1.0/\0"


def picture(seed: int = 0, size: tuple[int, int] = (48, 32)) -> Image.Image:
    """A smooth random picture."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def saved(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    """The picture as a file."""
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def tiff(
    entries: Mapping[int, bytes | int], *, then: bytes = b"", thumbnail: bytes = b"", order: str = "<"
) -> bytes:
    """A TIFF structure whose one directory has texts and numbers, and perhaps a second one with a preview."""
    count = len(entries)
    place = 8 + 2 + 12 * count + 4
    body, rest = struct.pack(order + "H", count), b""
    for tag, value in sorted(entries.items()):
        if isinstance(value, int):
            body += struct.pack(order + "HHII", tag, 4, 1, value)
        else:
            padded = value.ljust(5, b"\0")
            body += struct.pack(order + "HHII", tag, 7, len(padded), place + len(rest))
            rest += padded
    following = place + len(rest) + len(then) if thumbnail else 0
    body += struct.pack(order + "I", following)
    second = b""
    if thumbnail:
        start = following + 2 + 24 + 4
        second = struct.pack(order + "H", 2)
        second += struct.pack(order + "HHII", 0x0201, 4, 1, start)
        second += struct.pack(order + "HHII", 0x0202, 4, 1, len(thumbnail)) + bytes(4) + thumbnail
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + body + rest + then + second


def located(latitude: tuple[int, ...], south: bytes = b"N\0\0\0", limit: int = 1) -> bytes:
    """An EXIF block with a GPS directory behind the first; the longitude is 9.51 degrees west."""
    start = 8 + 2 + 12 + 4
    body = struct.pack("<H", 4) + struct.pack("<HHI4s", 1, 2, 2, south)
    values = start + 2 + 48 + 4
    body += struct.pack("<HHII", 2, 5, 3, values) + struct.pack("<HHI4s", 3, 2, 2, b"W\0\0\0")
    body += struct.pack("<HHII", 4, 5, 3, values + 24) + bytes(4)
    body += struct.pack("<6I", *latitude) + struct.pack("<6I", 9, 1, 30, 1, 36, limit)
    return tiff({0x8825: start}, then=body)


def with_segment(jpeg: bytes, marker: int, body: bytes) -> bytes:
    """A JPEG with one more segment in front."""
    return jpeg[:2] + bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body + jpeg[2:]


def with_exif(jpeg: bytes, block: bytes) -> bytes:
    """A JPEG with an EXIF block."""
    return with_segment(jpeg, 0xE1, b"Exif\0\0" + block)


def xmp(properties: str, prolog: str = "") -> bytes:
    """An XMP packet with the properties, given as XML elements."""
    return f"""{prolog}<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF
        xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
        xmlns:xmp="http://ns.adobe.com/xap/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/"
        xmlns:xmpMM="http://ns.adobe.com/xap/1.0/mm/" xmlns:dcterms="http://purl.org/dc/terms/"
        xmlns:stEvt="http://ns.adobe.com/xap/1.0/sType/ResourceEvent#"
        xmlns:photoshop="http://ns.adobe.com/photoshop/1.0/"
        xmlns:TC260="http://www.tc260.org.cn/ns/AIGC/1.0/"
        xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/">
        <rdf:Description rdf:about="">{properties}</rdf:Description></rdf:RDF></x:xmpmeta>""".encode()


def with_xmp(jpeg: bytes, packet: bytes) -> bytes:
    """A JPEG with an XMP packet."""
    return with_segment(jpeg, 0xE1, XMP_HEADER + packet)


def with_chunk(png: bytes, kind: bytes, body: bytes) -> bytes:
    """A PNG with one more chunk behind its header."""
    return png[:33] + png_chunk(kind, body) + png[33:]


def box(kind: bytes, body: bytes) -> bytes:
    """One box of an ISO base media file."""
    return struct.pack(">I4s", 8 + len(body), kind) + body


def rich_files() -> dict[str, bytes]:
    """Files with much metadata, signed ones among them, to be damaged."""
    from redeepfake_nb.datasets.signed_samples import SOURCE_TYPES, TestSigner, make_manifest

    image = picture(3, (96, 64))
    preview = saved(image.resize((48, 32)))
    tags = {0x010F: b"Maker", 0x0131: b"Tool 1", 0x010E: b"Steps: 20, Sampler: Euler a, Seed: 1"}
    packet = xmp(
        "<xmp:CreatorTool>Tool</xmp:CreatorTool><photoshop:Credit>Made with Google AI</photoshop:Credit>"
        "<dc:creator><rdf:Seq><rdf:li>A</rdf:li></rdf:Seq></dc:creator>"
    )
    block = tiff(tags, thumbnail=preview)
    jpeg = with_segment(with_xmp(with_exif(saved(image), block), packet), 0xFE, b"Comment")
    png = saved(image, "PNG")
    for text in (
        b"parameters\0a face\nSteps: 2, Sampler: E, Seed: 1, Size: 1x1",
        b'prompt\0{"1": {"class_type": "K"}}',
    ):
        png = with_chunk(png, b"tEXt", text)
    png = with_chunk(png, b"zTXt", b"Comment\0\0" + zlib.compress(b"long " * 500))
    png = with_chunk(png, b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + packet)
    webp = saved(image, "WEBP", exif=b"Exif\0\0" + block, xmp=packet)
    signer = TestSigner.make()
    made = {"action": "c2pa.created", "digitalSourceType": SOURCE_TYPES + "trainedAlgorithmicMedia"}
    manifest = make_manifest("a", "A generator", made)
    signed = {f"signed.{kind}": signer.sign(data, kind, manifest)
              for kind, data in (("JPEG", jpeg), ("PNG", png), ("WEBP", webp))}  # fmt: skip
    return {"a.jpg": jpeg, "a.png": png, "a.webp": webp, "a.tiff": tiff({**tags, 700: packet}), **signed}
