"""Damaged and wrong files in the place of pictures: typed errors, or a note on what is missing."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from helpers.small_pictures import COLOURS, decode_image, encoded, photo, png, png_chunk
from PIL import Image, ImageFile

from redeepfake_nb.errors import EmptyFile, InputError, MediaTooLarge, TruncatedMedia, UnsupportedMedia
from redeepfake_nb.media.frames import read_image


@pytest.mark.parametrize("options", [{}, {"progressive": True}])
def test_a_truncated_jpeg_is_an_error(options):
    data = encoded(photo(), "JPEG", quality=90, **options)
    for share in (0.02, 0.1, 0.3, 0.5, 0.7, 0.9, 0.99):
        with pytest.raises(TruncatedMedia):
            decode_image(data[: int(len(data) * share)])
    with pytest.raises(TruncatedMedia):
        decode_image(data[:-1])


def test_a_truncated_jpeg_with_an_end_marker_is_an_error():
    data = encoded(photo(), "JPEG", quality=90)
    for share in (0.5, 0.7, 0.9, 0.97):
        with pytest.raises(TruncatedMedia, match=r"missing at the end|too little"):
            decode_image(data[: int(len(data) * share)].rstrip(b"\xff") + b"\xff\xd9")


def test_a_jpeg_with_a_false_size():
    data = bytearray(encoded(photo(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = struct.pack(">HH", 8000, 8000)
    with pytest.raises(TruncatedMedia, match="too little data"):
        decode_image(bytes(data))
    data[at : at + 4] = struct.pack(">HH", 65500, 65500)
    with pytest.raises(MediaTooLarge, match="65500 x 65500"):
        decode_image(bytes(data))


def test_trailing_and_hidden_data_of_a_jpeg_do_not_matter():
    data = encoded(photo(), "JPEG")
    expected = decode_image(data)[0]
    comment = b"\xff\xfe\xff\xff" + b"\xff\xd9" * 32766 + b"\0"
    for odd in (
        data + b"\0" * 5000 + data[:700],
        data[:2] + comment + data[2:],
        data[:-2] + b"\xff" * 9 + data[-2:],
    ):
        np.testing.assert_array_equal(decode_image(odd)[0], expected)


def test_png_damage():
    data = encoded(photo(), "PNG")
    for share in (0.001, 0.01, 0.5, 0.99):
        with pytest.raises((TruncatedMedia, UnsupportedMedia)):
            decode_image(data[: max(9, int(len(data) * share))])
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    with pytest.raises(TruncatedMedia, match="checksum"):
        decode_image(bytes(flipped))
    with pytest.raises(TruncatedMedia, match="no picture"):
        decode_image(data[:33])


@pytest.mark.parametrize("missing", [1, 2, 8, 12])
def test_a_png_without_its_end_chunk_is_read_with_a_note(missing):
    image, _, notes = decode_image(encoded(photo(), "PNG")[:-missing])
    np.testing.assert_array_equal(image, photo())
    assert notes == ("the end of the file is cut off, but all of the picture is there",)


def test_a_png_truncated_at_a_chunk_is_an_error():
    rows = zlib.compress(b"".join(b"\0" + row.tobytes() for row in photo()), 0)
    whole = png(128, 96, 8, 2, b"")
    begin = whole[:33] + png_chunk(b"IDAT", rows[: len(rows) // 2])
    for end in (b"", png_chunk(b"IEND", b"")):
        with pytest.raises(TruncatedMedia):
            decode_image(begin + end)


def test_text_in_a_png_is_not_decompressed():
    bomb = png_chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(50_000_000), 9)) * 3
    rows = b"\0" + COLOURS[0].tobytes() + b"\0" + COLOURS[1].tobytes()
    broken = bytearray(png_chunk(b"tEXt", b"key\0value"))
    broken[-1] ^= 1
    image, _, notes = decode_image(png(3, 2, 8, 2, rows, bomb))
    np.testing.assert_array_equal(image, COLOURS)
    assert notes == ()
    image, _, notes = decode_image(png(3, 2, 8, 2, rows, bytes(broken)))
    np.testing.assert_array_equal(image, COLOURS)
    assert notes == ("a damaged part that is not the picture was left out",)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_other_truncated_formats(kind):
    data = encoded(photo(), kind)
    for share in (0.1, 0.5, 0.9):
        with pytest.raises(TruncatedMedia):
            decode_image(data[: int(len(data) * share)])


def test_random_damage_gives_typed_errors_only():
    rng = np.random.default_rng(3)
    for kind in ("JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"):
        good = encoded(photo(24, 24), kind)
        for _ in range(40):
            bad = np.frombuffer(good, np.uint8).copy()
            places = rng.integers(4, len(bad), 6)
            bad[places] = rng.integers(0, 256, 6)
            try:
                image = decode_image(bad.tobytes())[0]
            except InputError:
                continue
            assert image.dtype == np.uint8


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"<!DOCTYPE html><html></html>", "web page"),
        (b"\xef\xbb\xbf\n <html>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 5\n", "git lfs pull"),
        (b"%PDF-1.7\n\xff", "PDF"),
        ("grüß dich".encode(), "plain text"),
        (b'{"a": 1}', "JSON"),
        (b"<svg xmlns=", "SVG"),
        (b"data:image/png;base64,AAAA", "data URL"),
        (b"\0\0\0\x18ftypisom\0\0\0\0isommp42", "analyze_video"),
        (b"RIFF\0\0\0\0AVI LIST", "analyze_video"),
        (b"\x1aE\xdf\xa3\0\0", "analyze_video"),
        (b"PK\x03\x04\0\0", "zip archive"),
        (b"\x89HDF\r\n", "load_model"),
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000"),
        (b"\0" * 100, "zero bytes"),
        (b"\x07", "unknown"),
        (bytes(range(1, 200)), "unknown"),
    ],
)
def test_wrong_files_are_named(data, words):
    with pytest.raises(UnsupportedMedia, match=words) as caught:
        decode_image(data, name="photo.jpg")
    assert str(caught.value).startswith("photo.jpg: this is ")
    assert caught.value.next_step


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF", "BMP", "PPM"])
def test_truncated_images_are_errors_even_if_pillow_accepts_them(monkeypatch, kind):
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)
    data = encoded(photo(), kind)
    np.testing.assert_array_equal(
        decode_image(data)[0], np.asarray(Image.open(io.BytesIO(data)).convert("RGB"))
    )
    for bad in (data[: len(data) // 2], data[: len(data) // 2] + data[-12:]):
        with pytest.raises(TruncatedMedia):
            decode_image(bad)
    assert ImageFile.LOAD_TRUNCATED_IMAGES is True


GOOD = (640, 360)

OUTCOMES = {
    "1bit.png": GOOD,
    "1x1.png": (1, 1),
    "anim.gif": GOOD,
    "anim.webp": GOOD,
    "bomb_12000x12000.png": MediaTooLarge,
    "bomb_30000x30000.png": MediaTooLarge,
    "cmyk.jpg": GOOD,
    "crc_bad.png": TruncatedMedia,
    "exif3.jpg": GOOD,
    "exif6.png": GOOD,
    "exif6_gps.jpg": GOOD,
    "exif_garbage.jpg": GOOD,
    "fake.heic": TruncatedMedia,
    "gray16.png": GOOD,
    "header_only.png": TruncatedMedia,
    "html.png": UnsupportedMedia,
    "icc_lab.jpg": GOOD,
    "la.png": GOOD,
    "lie_31000x31000.png": MediaTooLarge,
    "lie_60000x60000.png": MediaTooLarge,
    "lie_65500.jpg": MediaTooLarge,
    "lie_8000.jpg": TruncatedMedia,
    "mid_corrupt.jpg": TruncatedMedia,
    "ok.gif": GOOD,
    "ok.heic": GOOD,
    "ok.png": GOOD,
    "ok.ppm": GOOD,
    "ok.tiff": GOOD,
    "ok.webp": GOOD,
    "one_byte.jpg": UnsupportedMedia,
    "pdf_as.jpg": UnsupportedMedia,
    "prog.jpg": GOOD,
    "rgb16.png": GOOD,
    "rgba.png": GOOD,
    "soi_only.jpg": TruncatedMedia,
    "text.jpg": UnsupportedMedia,
    "trunc10.png": TruncatedMedia,
    "trunc50.jpg": TruncatedMedia,
    "trunc50.png": TruncatedMedia,
    "trunc95.jpg": TruncatedMedia,
    "trunc95.png": TruncatedMedia,
    "trunc_last2.png": GOOD,
    "zero.jpg": EmptyFile,
    "ztxt_bomb.png": GOOD,
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_collection(shared, name):
    path = shared / "bad_inputs" / "images" / name
    outcome = OUTCOMES[name]
    for source in (path, path.read_bytes()):
        if isinstance(outcome, tuple):
            frame = read_image(source)
            assert (frame.width, frame.height) == outcome
            if outcome == GOOD and name not in ("rgba.png", "1bit.png"):
                reference = read_image(shared / "bad_inputs" / "images" / "ok.png").image.mean(axis=2)
                # The same image, upright, in colour or grey.
                assert np.abs(frame.image.mean(axis=2) - reference).mean() < 12
        else:
            with pytest.raises(outcome) as caught:
                read_image(source, name=name)
            assert str(caught.value).startswith(f"{name}: ")
            assert caught.value.next_step


def test_collection_is_complete(shared):
    assert {p.name for p in (shared / "bad_inputs" / "images").iterdir()} == set(OUTCOMES)


def test_videos_are_not_pictures(shared):
    for path in sorted((shared / "bad_inputs" / "videos").glob("*.mp4")):
        if path.name != "jpg_as.mp4":
            with pytest.raises(UnsupportedMedia):
                read_image(path)
