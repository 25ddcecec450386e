"""Small pictures, encoded by Pillow or written byte by byte."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image

from redeepfake_nb.media import image_decoding

# 2 rows, 3 columns and six colours, so that all transformations differ.
COLOURS = np.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]],
        [[255, 255, 0], [0, 255, 255], [255, 0, 255]],
    ],
    np.uint8,
)


def encoded(pixels: np.ndarray, kind: str, mode: str | None = None, **options) -> bytes:
    """A file of the pixels, written by Pillow with the options."""
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    """One chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
    """A PNG of the rows, each with its filter byte in front; ``extra`` stands before them."""
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + png_chunk(b"IHDR", header)
        + extra
        + png_chunk(b"IDAT", zlib.compress(rows))
        + png_chunk(b"IEND", b"")
    )


def photo(height: int = 96, width: int = 128) -> np.ndarray:
    """A smooth image with some grain, which JPEG preserves well enough for a comparison."""
    y, x = np.mgrid[:height, :width]
    grain = np.random.default_rng(1).integers(0, 20, (height, width, 3))
    return (np.stack([x, y, 200 - x], -1) + grain).clip(0, 255).astype(np.uint8)


def decode_image(data: bytes, **options) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Pixels, format and the texts of the notes."""
    pixels, kind, notes = image_decoding.decode_image(data, **options)
    return pixels, kind, tuple(note.text for note in notes)
