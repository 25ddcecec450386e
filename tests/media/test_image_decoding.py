"""Pixels of every format and mode: grey, palettes, transparency, CMYK, profiles, HDR, reduced sizes."""

from __future__ import annotations

import io
import struct
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers.small_pictures import COLOURS, decode_image, encoded, photo, png, png_chunk
from PIL import Image, ImageFile, features

from redeepfake_nb.errors import MediaTooLarge, TruncatedMedia, UnsupportedMedia
from redeepfake_nb.media.frames import read_image
from redeepfake_nb.media.tone_mapping import to_sdr

LOSSLESS = [
    ("PNG", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("BMP", {}),
    ("PPM", {}),
    ("WEBP", {"lossless": True}),
]


@pytest.mark.parametrize(("kind", "options"), LOSSLESS)
def test_lossless_formats_are_exact(kind, options):
    image, name, notes = decode_image(encoded(COLOURS, kind, **options))
    np.testing.assert_array_equal(image, COLOURS)
    assert (name, notes) == (kind, ())
    assert image.flags.c_contiguous
    assert image.dtype == np.uint8


@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"restart_marker_blocks": 1}])
def test_jpeg_is_what_pillow_decodes(options):
    data = encoded(photo(), "JPEG", quality=90, **options)
    image, name, notes = decode_image(data)
    np.testing.assert_array_equal(image, np.asarray(Image.open(io.BytesIO(data))))
    assert (name, notes) == ("JPEG", ())


def test_heif_and_avif():
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(photo())).save(out, quality=95)
    image, name, _ = decode_image(out.getvalue())
    assert name == "HEIF"
    assert np.abs(image.astype(int) - photo()).mean() < 8
    if features.check("avif"):
        image, name, _ = decode_image(encoded(photo(), "AVIF", quality=95))
        assert name == "AVIF"
        assert np.abs(image.astype(int) - photo()).mean() < 8


GREY16 = np.array([[0, 255, 256], [32768, 65279, 65535]], np.uint16)

GREY16_AS_8 = [[0, 0, 1], [128, 254, 255]]


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (png(3, 2, 16, 0, b"".join(b"\0" + row.astype(">u2").tobytes() for row in GREY16)), "16-bit"),
        (encoded(GREY16, "TIFF"), "16-bit"),
        (b"P5 3 2 65535\n" + GREY16.astype(">u2").tobytes(), "8 bits"),
        (encoded(GREY16.astype(np.int32), "TIFF"), "8 bits"),
        (encoded(np.array(GREY16_AS_8, np.float32) / 255, "TIFF"), "1 as white"),
        (encoded(np.array(GREY16_AS_8, np.float32), "TIFF"), "255 as white"),
    ],
)
def test_16_bit_grey_is_scaled_and_not_saturated(data, note):
    image, _, notes = decode_image(data)
    np.testing.assert_array_equal(image, np.repeat(np.array(GREY16_AS_8)[..., None], 3, 2))
    assert note in notes[0]


@pytest.mark.parametrize(
    "values", [[[-1.0, 0.5]], [[1e9, 0.0]], [[float("nan"), 0.0]], [[float("inf"), 0.0]]]
)
def test_grey_without_a_known_white_is_refused(values):
    with pytest.raises(UnsupportedMedia):
        decode_image(encoded(np.array(values, np.float32), "TIFF"))


def test_rgb16_keeps_the_high_byte():
    deep = (COLOURS.astype(np.uint16) << 8) | 0x7F
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in deep)
    np.testing.assert_array_equal(decode_image(png(3, 2, 16, 2, rows))[0], COLOURS)


def test_grey_palette_and_bilevel():
    grey = np.array([[0, 100, 255]], np.uint8)
    for kind in ("PNG", "TIFF", "BMP", "PPM", "GIF"):
        np.testing.assert_array_equal(decode_image(encoded(grey, kind))[0], np.repeat(grey[..., None], 3, 2))
    for kind in ("PNG", "TIFF", "BMP", "PPM", "GIF"):
        image = decode_image(encoded(grey, kind, mode="1"))[0]
        assert set(np.unique(image)) <= {0, 255}
        assert image.shape == (1, 3, 3)
    for kind in ("PNG", "GIF", "TIFF", "BMP"):
        np.testing.assert_array_equal(decode_image(encoded(COLOURS, kind, mode="P"))[0], COLOURS)


def test_transparency_is_shown_on_white():
    # Red at three opacities: 1, 128/255 and 0. By hand: 0 x 128/255 + 255 x 127/255 = 127.
    rgba = np.array([[[255, 0, 0, 255], [255, 0, 0, 128], [255, 0, 0, 0]]], np.uint8)
    expected = [[[255, 0, 0], [255, 127, 127], [255, 255, 255]]]
    for kind in ("PNG", "TIFF"):
        image, _, notes = decode_image(encoded(rgba, kind))
        assert image.tolist() == expected
        assert notes == ("transparent parts are shown on white",)
    rgba[..., 3] = 255
    image, _, notes = decode_image(encoded(rgba, "PNG"))
    assert (image.tolist(), notes) == ([[[255, 0, 0]] * 3], ())


def test_transparency_of_other_kinds():
    grey_alpha = np.array([[[10, 255], [10, 0]]], np.uint8)
    assert decode_image(encoded(grey_alpha, "PNG"))[0].tolist() == [[[10] * 3, [255] * 3]]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([255, 0, 0, 0, 255, 0])
    for kind, transparency in (("PNG", 1), ("PNG", b"\xff\x00"), ("GIF", 1)):
        out = io.BytesIO()
        palette.save(out, kind, transparency=transparency)
        image, _, notes = decode_image(out.getvalue())
        assert image.tolist() == [[[255, 0, 0], [255, 255, 255]]]
        assert notes == ("transparent parts are shown on white",)
    rows = b"\0" + bytes([1, 2, 3, 4, 5, 6])
    colour_key = png_chunk(b"tRNS", struct.pack(">HHH", 4, 5, 6))
    assert decode_image(png(2, 1, 8, 2, rows, colour_key))[0].tolist() == [[[1, 2, 3], [255, 255, 255]]]


def test_cmyk():
    # No ink is white, full black is black, full cyan has no red.
    ink = np.zeros((16, 48, 4), np.uint8)
    ink[:, 16:32, 3] = 255
    ink[:, 32:, 0] = 255
    for kind in ("JPEG", "TIFF"):
        out = io.BytesIO()
        Image.fromarray(ink, "CMYK").save(out, kind, **({"quality": 95} if kind == "JPEG" else {}))
        image = decode_image(out.getvalue())[0].astype(int)
        found = [image[8, 8], image[8, 24], image[8, 40]]
        np.testing.assert_allclose(found, [[255, 255, 255], [0, 0, 0], [0, 255, 255]], atol=6)


def test_animations_give_the_first_frame():
    frames = [Image.fromarray(np.full((4, 4, 3), value, np.uint8)) for value in (0, 255, 100)]
    for kind, options in (("GIF", {}), ("PNG", {}), ("WEBP", {"lossless": True}), ("TIFF", {})):
        out = io.BytesIO()
        frames[0].save(out, kind, save_all=True, append_images=frames[1:], **options)
        image, _, notes = decode_image(out.getvalue())
        assert image.max() == 0, kind
        assert len(notes) == 1
        assert notes[0].startswith("1 of 3 ")


def profile(red: tuple[float, float, float]) -> bytes:
    """A minimal ICC profile with the primaries of sRGB, except for red."""
    primaries = [(b"rXYZ", red), (b"gXYZ", (0.3851, 0.7169, 0.0971)), (b"bXYZ", (0.1431, 0.0606, 0.7141))]
    table, values, start = b"", b"", 132 + 12 * 3
    for i, (name, xyz) in enumerate(primaries):
        table += struct.pack(">4sII", name, start + 20 * i, 20)
        values += b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(v * 65536) for v in xyz))
    return b"\0" * 16 + b"RGB XYZ " + b"\0" * 104 + struct.pack(">I", 3) + table + values


@pytest.mark.parametrize(
    ("icc", "noted"),
    [
        (profile((0.4361, 0.2225, 0.0139)), False),
        (profile((0.5151, 0.2412, -0.0011)), True),  # Display P3
        (b"no profile", True),
    ],
)
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "TIFF", "WEBP"])
def test_profiles_are_ignored_and_others_than_srgb_are_noted(kind, icc, noted):
    data = encoded(photo(), kind, icc_profile=icc)
    image, _, notes = decode_image(data)
    np.testing.assert_array_equal(image, decode_image(encoded(photo(), kind))[0])
    assert (len(notes) == 1 and "profile" in notes[0]) if noted else notes == ()


def test_a_grey_jpeg_is_read():
    grey = np.full((64, 64, 3), 128, np.uint8)
    np.testing.assert_array_equal(decode_image(encoded(grey, "JPEG"))[0], grey)
    half = photo(64, 64)
    half[32:] = 128
    image = decode_image(encoded(half, "JPEG", quality=95))[0]
    assert (image[48:] == 128).all()


HEADERS = {
    "PNG": b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", struct.pack(">IIBBBBB", 60000, 60000, 8, 2, 0, 0, 0)),
    "GIF": b"GIF89a" + struct.pack("<HHBBB", 60000, 60000, 0, 0, 0),
    "BMP": b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60000, 60000, 1, 24, *[0] * 6),
    "PPM": b"P6 60000 60000 255\n",
    "WEBP VP8X": b"RIFF"
    + struct.pack("<I", 22)
    + b"WEBPVP8X"
    + struct.pack("<II", 10, 0)
    + b"\xff\xff\x3f" * 2,
    "WEBP VP8L": b"RIFF"
    + struct.pack("<I", 30)
    + b"WEBPVP8L"
    + struct.pack("<IBI", 18, 0x2F, 2**28 - 1)
    + bytes(13),
}


@pytest.mark.parametrize("kind", HEADERS)
def test_size_is_checked_in_the_header(kind):
    with pytest.raises(MediaTooLarge, match="million; the limit is 64 million"):
        decode_image(HEADERS[kind] + bytes(100))


@pytest.mark.parametrize("kind", ["PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_max_pixels_is_exact(kind):
    data = encoded(photo(), kind)
    assert decode_image(data, max_pixels=128 * 96)[0].shape == (96, 128, 3)
    with pytest.raises(MediaTooLarge):
        decode_image(data, max_pixels=128 * 96 - 1)


def test_heif_without_its_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pillow_heif", None)
    with pytest.raises(UnsupportedMedia, match="pip install pillow-heif"):
        decode_image(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic")


def test_out_of_memory_is_typed(monkeypatch):
    def fail(self):
        raise MemoryError

    monkeypatch.setattr(ImageFile.ImageFile, "load", fail)
    with pytest.raises(MediaTooLarge, match="memory"):
        decode_image(encoded(COLOURS, "BMP"), name="x")


def test_pillows_settings_have_no_effect(monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1)
    monkeypatch.setattr(Image, "OPEN", {})
    np.testing.assert_array_equal(decode_image(encoded(COLOURS, "PNG"))[0], COLOURS)
    with pytest.raises(MediaTooLarge, match="MAX_IMAGE_PIXELS"):  # Pillow's reader of TIFF insists
        decode_image(encoded(COLOURS, "TIFF"))


def test_large_pictures_are_copied_in_strips_without_a_seam(monkeypatch):
    from redeepfake_nb.media import image_decoding as decoding

    monkeypatch.setattr(decoding, "_STRIP_PIXELS", 128 * 7)
    np.testing.assert_array_equal(decode_image(encoded(photo(), "PNG"))[0], photo())
    np.testing.assert_array_equal(decode_image(encoded(photo(), "PNG", mode="RGBA"))[0], photo())


def test_threads_agree():
    files = [encoded(photo(), kind) for kind in ("JPEG", "PNG", "WEBP", "GIF", "TIFF")] * 8
    expected = [decode_image(data)[0] for data in files]
    with ThreadPoolExecutor(8) as pool:
        for image, wanted in zip(pool.map(lambda d: decode_image(d)[0], files), expected, strict=True):
            np.testing.assert_array_equal(image, wanted)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize(("limit", "scale"), [(12_288, 1), (12_287, 2), (6_144, 2)])
def test_a_large_jpeg_is_read_at_a_reduced_size(progressive: bool, limit: int, scale: int):
    pixels = photo()  # 128 x 96
    data = encoded(pixels, "JPEG", quality=95, progressive=progressive)
    frame = read_image(data, max_pixels=limit)
    assert (frame.width, frame.height) == (128 // scale, 96 // scale)
    if scale == 1:
        assert frame.source.notes == ()
        return
    (note,) = frame.source.notes
    assert note.kind == "doubt"
    assert "128 x 96 pixels are over the limit" in note.text
    assert note.text.endswith("read at 64 x 48")
    expected = pixels.reshape(48, 2, 64, 2, 3).mean(axis=(1, 3))
    assert np.abs(frame.image - expected).mean() < 4


def test_sizes_that_do_not_divide_and_files_that_are_too_large_even_so():
    data = encoded(photo(97, 131), "JPEG", quality=95)
    frame = read_image(data, max_pixels=66 * 49)
    assert (frame.width, frame.height) == (66, 49)
    assert frame.source.warnings[0].endswith("read at 66 x 49")
    quarter = read_image(data, max_pixels=66 * 49 - 1)
    assert (quarter.width, quarter.height) == (33, 25)
    for kind, limit in (("JPEG", 97 * 131 // 4 - 1), ("PNG", 97 * 131 - 1)):
        with pytest.raises(MediaTooLarge, match="131 x 97") as caught:
            read_image(encoded(photo(97, 131), kind), max_pixels=limit)
        assert "--max-pixels" in caught.value.next_step


def test_a_truncated_large_jpeg_is_an_error():
    data = encoded(photo(), "JPEG", quality=95)
    for share in (0.3, 0.6, 0.9):
        with pytest.raises(TruncatedMedia):
            read_image(data[: int(len(data) * share)] + b"\xff\xd9", max_pixels=6_144)


def test_hdr_pictures_are_converted():
    pixels = photo()
    coding = png_chunk(b"cICP", bytes([9, 16, 0, 1]))
    plain = encoded(pixels, "PNG")
    frame = read_image(plain[:33] + coding + plain[33:])
    np.testing.assert_array_equal(frame.image, to_sdr(pixels, 16, 9))
    (note,) = frame.source.notes
    assert (note.kind, "(PQ)" in note.text) == ("doubt", True)
    sdr = read_image(plain[:33] + png_chunk(b"cICP", bytes([1, 13, 0, 1])) + plain[33:])
    np.testing.assert_array_equal(sdr.image, pixels)
    assert sdr.source.notes == ()


def test_frames_of_a_heic_sequence_are_said():
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(photo())).save(out)
    assert read_image(out.getvalue()).source.notes == ()
    sequence = out.getvalue() + struct.pack(">I4s", 16, b"moov") + bytes(8)
    (note,) = read_image(sequence).source.notes
    assert (note.kind, "looked at" in note.text) == ("unseen", True)


def test_the_coding_of_a_heic():
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    picture = pillow_heif.from_pillow(Image.fromarray(photo()))
    picture.save(out, quality=95, color_primaries=9, transfer_characteristics=18, matrix_coefficients=9)
    data = out.getvalue()
    place = data.find(b"colrnclx")
    if place < 0:
        pytest.skip("this pillow-heif writes no colour box")
    hlg = data[: place + 8] + struct.pack(">HH", 9, 18) + data[place + 12 :]
    (note,) = read_image(hlg).source.notes
    assert "(HLG)" in note.text
