"""Generated hostile image files: name -> function that returns the bytes. corpus.json states their outcomes.

The images show :func:`scene`, which changes with any rotation, mirroring or missing part.
"""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
from PIL import Image

from helpers.small_pictures import png_chunk

WIDTH, HEIGHT = 128, 96
CASES: dict[str, Callable[[], bytes]] = {}


def case(name: str) -> Callable:
    def add(make: Callable[[], bytes]) -> Callable[[], bytes]:
        CASES[name] = make
        return make

    return add


def scene(height: int = HEIGHT, width: int = WIDTH) -> np.ndarray:
    """(height, width, 3) uint8: dark at the top left, light at the bottom right, a bright patch."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([40 + 140 * x / width, 30 + 150 * y / height, 60 + 60 * (x + y) / (width + height)], -1)
    image[height // 8 : height // 3, width // 8 : width // 4] = (240, 230, 200)
    image += np.random.default_rng(1).integers(0, 12, image.shape)
    return image.clip(0, 255).astype(np.uint8)


def encoded(kind: str, mode: str | None = None, pixels: np.ndarray | None = None, **options) -> bytes:
    image = Image.fromarray(scene() if pixels is None else pixels)
    out = io.BytesIO()
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def png(width: int, height: int, data: bytes, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunks = (png_chunk(b"IHDR", header), *extra, png_chunk(b"IDAT", data), png_chunk(b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def scene_png(*extra: bytes) -> bytes:
    rows = b"".join(b"\0" + row.tobytes() for row in scene())
    return png(WIDTH, HEIGHT, zlib.compress(rows), *extra)


def turned(orientation: int) -> np.ndarray:
    """The scene as stored with an EXIF orientation that makes it upright."""
    image = scene()
    if orientation >= 5:
        image = image.transpose(1, 0, 2)
    if orientation in (2, 3, 7, 8):
        image = image[:, ::-1]
    if orientation in (3, 4, 6, 7):
        image = image[::-1]
    return np.ascontiguousarray(image)


def exif(orientation: int, order: str = "<") -> bytes:
    mark = b"II*\0" if order == "<" else b"MM\0*"
    entry = struct.pack(order + "HHIHH", 0x0112, 3, 1, orientation, 0)
    return b"Exif\0\0" + mark + struct.pack(order + "IH", 8, 1) + entry + bytes(4)


def segment(marker: int, body: bytes) -> bytes:
    return bytes((0xFF, marker)) + struct.pack(">H", len(body) + 2) + body


def jpeg_with(*segments: bytes, data: bytes | None = None) -> bytes:
    data = encoded("JPEG", quality=90) if data is None else data
    return data[:2] + b"".join(segments) + data[2:]


# ------------------------------------------------------------------ one image in many formats

for kind, options in {
    "plain.png": ("PNG", {}),
    "plain.bmp": ("BMP", {}),
    "plain.gif": ("GIF", {}),
    "plain.ppm": ("PPM", {}),
    "plain.tiff": ("TIFF", {}),
    "plain.jpg": ("JPEG", {"quality": 95}),
    "restarts.jpg": ("JPEG", {"quality": 95, "restart_marker_blocks": 1}),
    "progressive.jpg": ("JPEG", {"quality": 95, "progressive": True}),
    "lossless.webp": ("WEBP", {"lossless": True}),
    "lossy.webp": ("WEBP", {"quality": 95}),
    "deflate.tiff": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "lzw.tiff": ("TIFF", {"compression": "tiff_lzw"}),
    "jpeg.tiff": ("TIFF", {"compression": "jpeg"}),
    "big.tiff": ("TIFF", {"big_tiff": True}),
    "avif.avif": ("AVIF", {"quality": 95}),
    "wrong_name.jpg": ("PNG", {}),
}.items():
    CASES[kind] = lambda kind=options[0], options=options[1]: encoded(kind, **options)

for kind, mode in (
    ("JPEG", "L"),
    ("JPEG", "CMYK"),
    ("PNG", "P"),
    ("PNG", "LA"),
    ("TIFF", "CMYK"),
    ("WEBP", "RGBA"),
):
    CASES[f"{mode.lower()}.{kind.lower()}"] = lambda kind=kind, mode=mode: encoded(kind, mode)

for orientation in range(2, 9):
    for order, name in (("<", "little"), (">", "big")):
        CASES[f"exif{orientation}_{name}.jpg"] = lambda o=orientation, e=order: jpeg_with(
            segment(0xE1, exif(o, e)), data=encoded("JPEG", pixels=turned(o), quality=95)
        )
    CASES[f"exif{orientation}.webp"] = lambda o=orientation: encoded(
        "WEBP", pixels=turned(o), lossless=True, exif=exif(o)[6:]
    )
    CASES[f"exif{orientation}.tiff"] = lambda o=orientation: encoded(
        "TIFF", pixels=turned(o), tiffinfo={0x0112: o}
    )


def heic(**options) -> bytes:
    import pillow_heif

    out = io.BytesIO()
    picture = pillow_heif.from_pillow(Image.fromarray(scene()))
    picture.save(out, quality=95, **options)
    return out.getvalue()


CASES["phone.heic"] = heic
CASES["cut.heic"] = lambda: heic()[:-800]
CASES["flipped.heic"] = lambda: flipped(heic(), 200, seed=3)


def flipped(data: bytes, count: int, *, seed: int, start: int = 64) -> bytes:
    """Flip ``count`` bits of ``data`` after ``start``."""
    rng = np.random.default_rng(seed)
    out = bytearray(data)
    for place in rng.integers(start, len(data), count):
        out[place] ^= 1 << int(rng.integers(8))
    return bytes(out)


def claims(data: bytes, old: bytes, new: bytes) -> bytes:
    assert old in data
    return data.replace(old, new)


CASES["lie.heic"] = lambda: claims(
    heic(),
    b"ispe" + bytes(4) + struct.pack(">II", WIDTH, HEIGHT),
    b"ispe" + bytes(4) + struct.pack(">II", 60000, 60000),
)
CASES["lie.avif"] = lambda: claims(
    encoded("AVIF"),
    b"ispe" + bytes(4) + struct.pack(">II", WIDTH, HEIGHT),
    b"ispe" + bytes(4) + struct.pack(">II", 30000, 30000),
)
CASES["cut.avif"] = lambda: encoded("AVIF")[:-200]


# ------------------------------------------------------------------ orientation in unusual places


@case("exif_twice.jpg")
def _() -> bytes:
    """The first block counts, as in browsers."""
    data = encoded("JPEG", pixels=turned(6), quality=95)
    return jpeg_with(segment(0xE1, exif(6)), segment(0xE1, exif(3)), data=data)


CASES["exif9.jpg"] = lambda: jpeg_with(segment(0xE1, exif(9)))
CASES["exif_far_away.jpg"] = lambda: jpeg_with(segment(0xE1, b"Exif\0\0II*\0\xff\xff\xff\x7f"))
CASES["exif_many_entries.jpg"] = lambda: jpeg_with(
    segment(0xE1, b"Exif\0\0II*\0\x08\0\0\0\xff\xff" + bytes(60000))
)


@case("exif_as_text.png")
def _() -> bytes:
    """As older ImageMagick versions store it: hexadecimal in a text chunk; browsers ignore it."""
    block = exif(6)
    text = b"\nexif\n%8d\n" % len(block) + block.hex().encode() + b"\n"
    rows = b"".join(b"\0" + row.tobytes() for row in turned(6))
    chunk = png_chunk(b"tEXt", b"Raw profile type exif\0" + text)
    return png(HEIGHT, WIDTH, zlib.compress(rows), chunk)


# ------------------------------------------------------------------ bombs

CASES["idat_bomb.png"] = lambda: png(1, 1, zlib.compress(bytes(300 * 2**20), 9))
CASES["itxt_bomb.png"] = lambda: scene_png(
    png_chunk(b"iTXt", b"a\0\1\0\0\0" + zlib.compress(bytes(200 * 2**20), 9))
)
CASES["iccp_bomb.png"] = lambda: scene_png(
    png_chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(200 * 2**20), 9))
)
CASES["many_frames_claimed.png"] = lambda: scene_png(png_chunk(b"acTL", struct.pack(">II", 2**31 - 1, 0)))
CASES["wide.png"] = lambda: png(2**31 - 1, 1, zlib.compress(bytes(1000)))
CASES["negative.png"] = lambda: png(2**32 - 1, 2**32 - 1, zlib.compress(bytes(10)))
CASES["none.png"] = lambda: png(0, 5, zlib.compress(bytes(10)))
CASES["depth7.png"] = lambda: png(5, 5, zlib.compress(bytes(100)), depth=7)
CASES["chunk_length_lie.png"] = lambda: scene_png(struct.pack(">I4s", 2**32 - 1, b"tEXt"))
CASES["small_chunks.png"] = lambda: scene_png(*[png_chunk(b"tEXt", b"a\0")] * 200_000)


@case("many_scans.jpg")
def _() -> bytes:
    """A progressive JPEG of 8000 x 7900 whose last scan is repeated two thousand times."""
    data = encoded("JPEG", "L", np.full((7900, 8000, 3), 90, np.uint8), progressive=True, quality=30)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 2000 + data[-2:]


@case("many_frames.gif")
def _() -> bytes:
    """Three hundred thousand frames of one pixel."""
    data = encoded("GIF")[:-1]
    frame = b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return data + frame * 300_000 + b";"


@case("many_pages.tiff")
def _() -> bytes:
    """A page, followed by a hundred thousand pages without an image."""
    data = bytearray(encoded("TIFF"))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    place = first + 2 + 12 * count
    start = len(data) + len(data) % 2
    data += bytes(start - len(data))
    struct.pack_into("<I", data, place, start)
    for i in range(100_000):
        data += struct.pack("<HHHIII", 1, 256, 4, 1, 1, start + 18 * (i + 1))
    return bytes(data + bytes(2))


@case("page_loop.tiff")
def _() -> bytes:
    data = bytearray(encoded("TIFF"))
    (first,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, first)
    struct.pack_into("<I", data, first + 2 + 12 * count, first)
    return bytes(data)


@case("strip_bomb.tiff")
def _() -> bytes:
    """8 x 8 pixels whose data decompress to 300 MB."""
    return tiff(8, 8, zlib.compress(bytes(300 * 2**20), 9), 8)


def tiff(width: int, height: int, data: bytes, compression: int = 1, extra: tuple = ()) -> bytes:
    """A little-endian TIFF of one strip, 8-bit grey."""
    entries = sorted(
        [
            (256, 4, 1, width),
            (257, 4, 1, height),
            (258, 3, 1, 8),
            (259, 3, 1, compression),
            (262, 3, 1, 1),
            (273, 4, 1, 8),
            (277, 3, 1, 1),
            (278, 4, 1, height),
            (279, 4, 1, len(data)),
            *extra,
        ]
    )
    body = data + bytes(len(data) % 2)
    table = b"".join(struct.pack("<HHII", *entry) for entry in entries)
    return (
        b"II*\0"
        + struct.pack("<I", 8 + len(body))
        + body
        + struct.pack("<H", len(entries))
        + table
        + bytes(4)
    )


CASES["grey.tiff"] = lambda: tiff(WIDTH, HEIGHT, scene()[..., 1].tobytes())
CASES["huge_claim.tiff"] = lambda: tiff(60000, 60000, bytes(100))
CASES["strip_outside.tiff"] = lambda: tiff(WIDTH, HEIGHT, bytes(100))
# A camera's raw file begins like a TIFF whose first page is a small preview.
CASES["raw.dng"] = lambda: tiff(
    WIDTH, HEIGHT, scene()[..., 1].tobytes(), extra=((50706, 1, 4, 0x0401), (254, 4, 1, 1))
)
CASES["raw.cr2"] = lambda: claims_cr2(tiff(WIDTH, HEIGHT, scene()[..., 1].tobytes()))
CASES["preview_first.tiff"] = lambda: tiff(
    WIDTH, HEIGHT, scene()[..., 1].tobytes(), extra=((254, 4, 1, 1), (330, 4, 1, 8))
)


def claims_cr2(data: bytes) -> bytes:
    """A TIFF with the signature of a Canon raw file at the position of its pixels."""
    return data[:8] + b"CR\x02\x00" + data[12:]


CASES["huge_canvas.gif"] = lambda: b"GIF89a" + struct.pack("<HH", 65535, 65535) + encoded("GIF")[10:]
CASES["frame_outside.gif"] = lambda: (
    b"GIF89a"
    + struct.pack("<HHBBB", 4, 4, 0x80, 0, 0)
    + bytes(6)
    + (b"\x2c" + struct.pack("<HHHHB", 0, 0, 65535, 65535, 0) + b"\x02\x02\x44\x01\x00;")
)
CASES["huge_canvas.webp"] = lambda: (
    b"RIFF"
    + struct.pack("<I", 22)
    + b"WEBPVP8X"
    + struct.pack("<II", 10, 2)
    + b"\xff\x3f\x00" * 2
    + bytes(20)
)
CASES["animated.webp"] = lambda: animated("WEBP")
CASES["animated.png"] = lambda: animated("PNG")
CASES["animated.gif"] = lambda: animated("GIF")


def animated(kind: str) -> bytes:
    frames = [Image.fromarray(pixels) for pixels in (scene(), scene()[::-1], scene()[:, ::-1])]
    out = io.BytesIO()
    frames[0].save(out, kind, save_all=True, append_images=frames[1:], duration=50)
    return out.getvalue()


CASES["deep.bmp"] = lambda: (
    b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60000, -60000, 1, 24, *[0] * 6)
)
CASES["lowest.bmp"] = lambda: (
    b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 5, -(2**31), 1, 24, *[0] * 6)
)
CASES["rle_short.bmp"] = lambda: (
    b"BM"
    + struct.pack("<IHHIIiiHHIIiiII", 90, 0, 0, 66, 40, 64, 64, 1, 8, 1, 0, 0, 0, 3, 0)
    + bytes(12)
    + b"\x05\x01" * 4
)
CASES["comment_bomb.ppm"] = lambda: b"P6\n" + b"# nothing\n" * 2_000_000 + b"2 2 255\n" + bytes(12)
CASES["digits.ppm"] = lambda: b"P6 " + b"9" * 10_000 + b" 1 255\n"
CASES["ascii_bomb.ppm"] = lambda: b"P3 7000 7000 255\n" + b"1 " * 1000
CASES["ascii_long_token.ppm"] = lambda: b"P3 2 2 255\n" + b"1" * 5_000_000
CASES["deep.ppm"] = lambda: b"P6 %d %d 65535\n" % (WIDTH, HEIGHT) + (scene().astype(">u2") * 257).tobytes()
CASES["plain.pgm"] = lambda: b"P5 %d %d 255\n" % (WIDTH, HEIGHT) + scene()[..., 1].tobytes()
CASES["none.pbm"] = lambda: b"P4 0 0\n"

# ------------------------------------------------------------------ damage

CASES["end_missing.jpg"] = lambda: encoded("JPEG")[:-2]
CASES["half_progressive.jpg"] = lambda: encoded("JPEG", progressive=True)[:-600] + b"\xff\xd9"
CASES["no_height.jpg"] = lambda: claims(
    encoded("JPEG"), struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", 0, WIDTH)
)
CASES["taller.jpg"] = lambda: claims(
    encoded("JPEG", quality=95), struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", HEIGHT * 2, WIDTH)
)
CASES["shorter.jpg"] = lambda: claims(
    encoded("JPEG", quality=95), struct.pack(">HH", HEIGHT, WIDTH), struct.pack(">HH", HEIGHT // 2, WIDTH)
)
CASES["twelve_bits.jpg"] = lambda: claims(encoded("JPEG"), b"\xff\xc0\x00\x11\x08", b"\xff\xc0\x00\x11\x0c")
CASES["lossless_mark.jpg"] = lambda: claims(encoded("JPEG"), b"\xff\xc0\x00\x11", b"\xff\xc3\x00\x11")
CASES["no_tables.jpg"] = lambda: without(encoded("JPEG"), 0xC4)
CASES["no_quantization.jpg"] = lambda: without(encoded("JPEG"), 0xDB)
CASES["two_pictures.jpg"] = lambda: encoded("JPEG", quality=95) + encoded("JPEG", pixels=scene()[::-1])
CASES["film_behind.jpg"] = lambda: encoded("JPEG", quality=95) + b"\0\0\0\x18ftypmp42" + bytes(5000)
CASES["archive_behind.png"] = lambda: encoded("PNG") + b"PK\x03\x04" + bytes(100)
CASES["swapped_rows.png"] = lambda: flipped(encoded("PNG"), 1, seed=1, start=3000)
CASES["bits.webp"] = lambda: flipped(encoded("WEBP", lossless=True), 200, seed=2)
CASES["bits.tiff"] = lambda: flipped(encoded("TIFF", compression="tiff_lzw"), 200, seed=2)
CASES["bits.gif"] = lambda: flipped(encoded("GIF"), 300, seed=2, start=900)
CASES["half.webp"] = lambda: encoded("WEBP")[:300]
CASES["half.tiff"] = lambda: encoded("TIFF", compression="tiff_lzw")[:6000]
CASES["half.bmp"] = lambda: encoded("BMP")[:20000]
CASES["half.gif"] = lambda: encoded("GIF")[:5000]
CASES["riff_length.webp"] = lambda: b"RIFF\xff\xff\xff\x7f" + encoded("WEBP")[8:]


def without(data: bytes, marker: int) -> bytes:
    """A JPEG without its segments of one type."""
    place = data.index(bytes((0xFF, marker)))
    while place >= 0:
        (length,) = struct.unpack_from(">H", data, place + 2)
        data = data[:place] + data[place + 2 + length :]
        place = data.find(bytes((0xFF, marker)))
    return data


# ----------------------------------------------------------- other types of files with the name of an image

for name, data in {
    "drawing.png": b'<?xml version="1.0"?>\n<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>',
    "late_drawing.png": b'<?xml version="1.0"?>\n<!--' + b"x" * 2000 + b"-->\n<svg/>",
    "packed_drawing.jpg": b"\x1f\x8b\x08\0" + bytes(40),
    "postscript.jpg": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
    "dos_eps.jpg": b"\xc5\xd0\xd3\xc6" + bytes(60),
    "paper.png": b"%PDF-1.4\n1 0 obj\n",
    "late_paper.png": b"\n\n%PDF-1.4\n1 0 obj\n",
    "icon.png": b"\0\0\x01\0\x01\0\x10\x10\0\0\x01\0\x20\0\x68\x04\0\0\x16\0\0\0" + bytes(100),
    "cursor.png": b"\0\0\x02\0\x01\0\x10\x10\0\0\x01\0\x20\0\x68\x04\0\0\x16\0\0\0" + bytes(100),
    "apple_icon.png": b"icns\0\0\x01\0" + bytes(100),
    "photoshop.jpg": b"8BPS\0\x01" + bytes(100),
    "gimp.png": b"gimp xcf v011\0" + bytes(100),
    "texture.png": b"DDS \x7c\0\0\0" + bytes(100),
    "radiance.png": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 4 +X 4\n" + bytes(64),
    "film.jpg": b"\0\0\0\x18ftypisom\0\0\0\0isommp42" + bytes(100),
    "canon3.jpg": b"\0\0\0\x18ftypcrx \0\0\0\x01crx isom" + bytes(100),
    "jpeg2000.jpg": b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(60),
    "jpegxl.jpg": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(60),
    "wdp.jpg": b"II\xbc\x01" + bytes(60),
    "qoi.png": b"qoif" + struct.pack(">II", 4, 4) + bytes(40),
    "targa.png": bytes((0, 0, 2)) + bytes(9) + struct.pack("<HHBB", 4, 4, 24, 0) + bytes(48),
    "xpm.png": b'/* XPM */\nstatic char *a[] = {"1 1 1 1", "a c #000", "a"};\n',
    "script.png": b"#!/bin/sh\ntouch marker\n",
    "svg_magick.png": b"push graphic-context\nviewbox 0 0 9 9\nfill 'url(https://x\"|touch marker\")'\n",
    "medical.jpg": bytes(128) + b"DICM" + bytes(100),
    "playlist.jpg": b"#EXTM3U\nhttp://127.0.0.1:18999/a.ts\n",
    "pointer.jpg": b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"0" * 64 + b"\nsize 28592\n",
    "model.png": b"\x89HDF\r\n\x1a\n" + bytes(100),
    "pickle.png": b"\x80\x04\x95\x1e\0\0\0\0\0\0\0\x8c\x02os\x94\x8c\x06system\x94\x93\x94"
    b"\x8c\x0ctouch marker\x94\x85\x94R\x94.",
    "array.png": b"\x93NUMPY\x01\0v\0{'descr': '|O', 'fortran_order': False, 'shape': (1,)}" + bytes(60),
    "utf16.png": "﻿<html></html>".encode("utf-16-le"),
    "zeros.jpg": bytes(5000),
    "two_bytes.jpg": b"\xff\xd8",
    "three_bytes.jpg": b"\xff\xd8\xff",
    "magic_only.png": b"\x89PNG\r\n\x1a\n",
    "magic_only.gif": b"GIF89a",
    "magic_only.bmp": b"BM" + bytes(12) + b"\x28\0\0\0",
    "magic_only.tiff": b"II*\0",
    "magic_only.webp": b"RIFF\0\0\0\0WEBP",
    "magic_only.heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic",
    "magic_only.avif": b"\0\0\0\x18ftypavif\0\0\0\0mif1avif",
    "magic_only.ppm": b"P6",
}.items():
    CASES[name] = lambda data=data: data


@case("table_bomb.tiff")
def _() -> bytes:
    """60,000 entries that each refer to the whole file."""
    data = bytes(2**20)
    return tiff(64, 64, data, extra=tuple((i, 7, 2**20, 8) for i in range(700, 60_000)))


CASES["comments.gif"] = lambda: (
    encoded("GIF")[: 13 + 768] + b"\x21\xfe" + b"\x01a" * 1_000_000 + b"\0" + encoded("GIF")[13 + 768 :]
)
CASES["many_segments.jpg"] = lambda: jpeg_with(segment(0xFE, b"") * 1_000_000)
CASES["fill_bytes.jpg"] = lambda: jpeg_with(b"\xff" * 20_000_000)
CASES["last_scan_missing.jpg"] = lambda: (lambda d: d[: d.rindex(b"\xff\xda")] + b"\xff\xd9")(
    encoded("JPEG", progressive=True, quality=95)
)
