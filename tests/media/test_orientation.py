"""Pictures are shown upright, whatever their EXIF or HEIF rotation says."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from helpers.small_pictures import COLOURS, decode_image, encoded, png, png_chunk
from PIL import Image, features

from redeepfake_nb.media import image_containers as containers

# How a stored 2 x 3 image must be displayed, written as letters.
SHOWN = {
    1: ["RGB", "YCM"],
    2: ["BGR", "MCY"],
    3: ["MCY", "BGR"],
    4: ["YCM", "RGB"],
    5: ["RY", "GC", "BM"],
    6: ["YR", "CG", "MB"],
    7: ["MB", "CG", "YR"],
    8: ["BM", "GC", "RY"],
}

LETTERS = dict(zip("RGBYCM", COLOURS.reshape(6, 3), strict=True))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_orientation(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    image = decode_image(encoded(COLOURS, kind, exif=exif, **options))[0]
    expected = np.array([[LETTERS[c] for c in row] for row in SHOWN[orientation]])
    np.testing.assert_array_equal(image, expected)
    assert image.flags.c_contiguous


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "AVIF", "HEIF"])
def test_orientation_of_lossy_formats(kind, orientation, monkeypatch):
    big = np.kron(COLOURS, np.ones((32, 32, 1), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = orientation
    if kind == "HEIF":
        pillow_heif = pytest.importorskip("pillow_heif")
        for registry in ("OPEN", "SAVE", "SAVE_ALL", "MIME", "EXTENSION", "ID"):
            monkeypatch.setattr(Image, registry, getattr(Image, registry).copy())
        pillow_heif.register_heif_opener()  # its writer turns the EXIF value into HEIF's own rotation
        data = encoded(big, "HEIF", quality=95, exif=exif.tobytes())
    elif kind == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow has no AVIF")
    else:
        data = encoded(big, kind, quality=95, exif=exif)
    image = decode_image(data)[0]
    expected = np.array([[LETTERS[c] for c in row] for row in SHOWN[orientation]])
    middle = image[16::32, 16::32].astype(int)
    assert middle.shape == expected.shape
    assert np.abs(middle - expected).max() < 40


def tiff_structure(value: int, kind: int = 3, count: int = 1, order: str = "<") -> bytes:
    packed = struct.pack(order + ("HH" if kind == 3 else "I"), *((value, 0) if kind == 3 else (value,)))
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + struct.pack(order + "HHHI", 1, 0x0112, kind, count) + packed


@pytest.mark.parametrize(
    ("exif", "expected"),
    [
        (tiff_structure(6), 6),
        (b"Exif\0\0" + tiff_structure(6, order=">"), 6),
        (tiff_structure(8, kind=4), 8),
        (tiff_structure(0), 1),
        (b"II*\0\x08\0\0\0\0\0", 1),
    ],
)
def test_exif_orientation(exif, expected):
    assert containers.exif_orientation(exif) == expected


@pytest.mark.parametrize(
    "exif",
    [
        b"",
        b"Exif\0\0",
        b"XX*\0\x08\0\0\0",
        b"II*\0\xff\xff\xff\xff",
        tiff_structure(9),
        tiff_structure(6, kind=2),
        tiff_structure(6, count=2),
        tiff_structure(6)[:-6],
    ],
)
def test_broken_exif_is_ignored_with_a_note(exif):
    with pytest.raises(containers.DamagedContainer):
        containers.exif_orientation(exif)
    rows = b"\0" + COLOURS[0].tobytes() + b"\0" + COLOURS[1].tobytes()
    image, _, notes = decode_image(png(3, 2, 8, 2, rows, png_chunk(b"eXIf", exif or b"?")))
    np.testing.assert_array_equal(image, COLOURS)
    assert len(notes) == 1
    assert "EXIF" in notes[0]
