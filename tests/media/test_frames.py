"""Reading images: file types, containers, decoding and frames."""

from __future__ import annotations

import hashlib
import io
import json
import os
import pickle
import socket
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFile, features

from redeepfake_nb.errors import EmptyFile, InputError, MediaTooLarge, TruncatedMedia, UnsupportedMedia
from redeepfake_nb.media import image_containers as containers
from redeepfake_nb.media import image_decoding
from redeepfake_nb.media.frames import Frame, Source, Upload, read_image, uploads
from redeepfake_nb.media.notes import Note
from redeepfake_nb.media.tone_mapping import to_sdr

# 2 rows, 3 columns and six colours, so that all transformations differ.
COLOURS = np.array(
    [
        [[255, 0, 0], [0, 255, 0], [0, 0, 255]],
        [[255, 255, 0], [0, 255, 255], [255, 0, 255]],
    ],
    np.uint8,
)


def decode_image(data: bytes, **options) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Pixels, format and the texts of the notes."""
    pixels, kind, notes = image_decoding.decode_image(data, **options)
    return pixels, kind, tuple(note.text for note in notes)


def encoded(pixels: np.ndarray, kind: str, mode: str | None = None, **options) -> bytes:
    image = Image.fromarray(pixels)
    out = io.BytesIO()
    (image.convert(mode) if mode else image).save(out, kind, **options)
    return out.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: bytes = b"") -> bytes:
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


# ------------------------------------------------------------------ records


def test_frame_is_read_only_and_leaves_the_callers_array_alone():
    image = COLOURS.copy()
    frame = Frame(image)
    assert (frame.width, frame.height, frame.index, frame.timestamp) == (3, 2, 0, 0.0)
    with pytest.raises(ValueError, match="read-only"):
        frame.image[0, 0, 0] = 1
    image[0, 0, 0] = 7


def test_frame_makes_contiguous():
    frame = Frame(COLOURS[:, ::-1])
    assert frame.image.flags.c_contiguous
    np.testing.assert_array_equal(frame.image[0, 0], [0, 0, 255])


@pytest.mark.parametrize(
    ("image", "index", "timestamp"),
    [
        (np.zeros((2, 2), np.uint8), 0, 0.0),
        (np.zeros((2, 2, 4), np.uint8), 0, 0.0),
        (np.zeros((0, 2, 3), np.uint8), 0, 0.0),
        (np.zeros((2, 2, 3), np.float32), 0, 0.0),
        ([[[1, 2, 3]]], 0, 0.0),
        (COLOURS, -1, 0.0),
        (COLOURS, 0, float("nan")),
    ],
)
def test_invalid_frames(image, index, timestamp):
    with pytest.raises(ValueError, match=r"must|frame"):
        Frame(image, index, timestamp)


def test_source_is_plain_json():
    source = Source("a\udcff\n.png", None, "PNG", 3, [Note("note")])
    assert json.loads(json.dumps(source.to_dict())) == {
        "name": "a\\udcff\\n.png",
        "sha256": None,
        "format": "PNG",
        "size_bytes": 3,
        "warnings": ["note"],
    }
    assert pickle.loads(pickle.dumps(source)) == source


# ------------------------------------------------------------------ sources


def test_path_bytes_and_uploads_give_the_same_frame(tmp_path):
    data = encoded(COLOURS, "PNG")
    path = tmp_path / "a.png"
    path.write_bytes(data)
    eight = {"name": "a.png", "type": "image/png", "size": len(data), "content": memoryview(data)}
    seven = {"a.png": {"metadata": {"name": "a.png", "size": len(data)}, "content": data}}
    named = [path, str(path), Upload("a.png", data), eight, (eight,), seven, seven["a.png"]]
    unnamed = [data, bytearray(data), memoryview(data)]
    for source in named + unnamed:
        frame = read_image(source)
        np.testing.assert_array_equal(frame.image, COLOURS)
        assert frame.source.sha256 == hashlib.sha256(data).hexdigest()
        assert (frame.source.format, frame.source.size_bytes) == ("PNG", len(data))
        assert frame.source.name == ("image bytes" if source in unnamed else "a.png")
        assert read_image(frame) is frame
    assert read_image(path, name="other").source.name == "other"


def test_arrays():
    frame = read_image(COLOURS)
    np.testing.assert_array_equal(frame.image, COLOURS)
    assert not np.shares_memory(frame.image, COLOURS)
    assert frame.source.to_dict() == {
        "name": "array",
        "sha256": hashlib.sha256(b"2x3x3:" + COLOURS.tobytes()).hexdigest(),
        "format": "array",
        "size_bytes": None,
        "warnings": [],
    }
    turned = read_image(COLOURS[..., ::-1])
    assert turned.image.flags.c_contiguous
    np.testing.assert_array_equal(turned.image[0, 0], [0, 0, 255])
    assert turned.source.sha256 == hashlib.sha256(b"2x3x3:" + COLOURS[..., ::-1].tobytes()).hexdigest()


@pytest.mark.parametrize("shape", [(2, 3), (2, 3, 1)])
def test_grey_arrays(shape):
    grey = np.arange(6, dtype=np.uint8).reshape(shape)
    frame = read_image(grey)
    assert frame.image[1, 2].tolist() == [5, 5, 5]
    assert frame.source.warnings == ("grey array converted to RGB",)


@pytest.mark.parametrize(
    ("array", "error", "words"),
    [
        (np.zeros((4, 4, 3), np.float32), UnsupportedMedia, "image * 255"),
        (np.zeros((4, 4), bool), UnsupportedMedia, "* 255"),
        (np.zeros((4, 4, 3), np.uint16), UnsupportedMedia, "0 to 255"),
        (np.zeros((4, 4, 4), np.uint8), UnsupportedMedia, ":3"),
        (np.zeros((2, 4, 4, 3), np.uint8), UnsupportedMedia, "images[0]"),
        (np.zeros((3, 4, 5), np.uint8), UnsupportedMedia, "transpose"),
        (np.zeros(5, np.uint8), UnsupportedMedia, "(5,)"),
        (np.array("x"), UnsupportedMedia, "<U1"),
        (np.zeros((0, 4, 3), np.uint8), EmptyFile, "(0, 4, 3)"),
        (np.broadcast_to(np.uint8(0), (9000, 9000, 3)), MediaTooLarge, "9000 x 9000"),
    ],
)
def test_wrong_arrays_say_what_to_do(array, error, words):
    with pytest.raises(error) as caught:
        read_image(array, name="mine")
    assert words in str(caught.value)
    assert str(caught.value).startswith("mine: ")


@pytest.mark.parametrize("thing", [None, 3, object(), [], {}, {"a": 1}, {"content": 5}, {"a": {}, "b": {}}])
def test_other_types_are_refused(thing):
    with pytest.raises(UnsupportedMedia):
        read_image(thing)


def test_uploads_of_both_ipywidgets_versions():
    eight = ({"name": "a", "content": memoryview(b"x")}, {"name": "b", "content": memoryview(b"yz")})
    seven = {
        "a": {"metadata": {"name": "a"}, "content": b"x"},
        "b": {"metadata": {"name": "b"}, "content": b"yz"},
    }
    expected = [Upload("a", b"x"), Upload("b", b"yz")]
    for value in (eight, list(eight), seven, expected):
        assert uploads(value) == expected
    assert uploads(eight[0]) == expected[:1]
    for empty in ((), [], {}, None):
        assert uploads(empty) == []
    for wrong in (5, "abc", b"abc", (1,), {"a": b"x"}):
        with pytest.raises(UnsupportedMedia):
            uploads(wrong)


def test_an_incomplete_upload():
    data = encoded(COLOURS, "BMP")
    eight = {"name": "a.bmp", "size": len(data), "content": memoryview(data)[:-5]}
    seven = {"a.bmp": {"metadata": {"name": "a.bmp", "size": len(data)}, "content": data[:-5]}}
    for upload in (eight, seven):
        with pytest.raises(TruncatedMedia, match=f"only {len(data) - 5} of its {len(data)} bytes"):
            read_image(upload)


def test_uploads_take_a_real_widget_value():
    widgets = pytest.importorskip("ipywidgets")
    widget = widgets.FileUpload()
    data = encoded(COLOURS, "PNG")
    item = {"name": "a.png", "type": "image/png", "size": len(data), "content": memoryview(data)}
    if isinstance(widget.value, dict):
        pytest.skip("ipywidgets 7 fills its value in another way")
    widget.value = ({**item, "last_modified": __import__("datetime").datetime.now()},)
    (upload,) = uploads(widget.value)
    np.testing.assert_array_equal(read_image(upload).image, COLOURS)
    widget.close()


# ------------------------------------------------------------------ files


@pytest.mark.parametrize(
    "name",
    [
        "mit Leerzeichen.png",
        "ünï 中文 🙂.png",
        "-rf.png",
        "a'b\"c;$(x).png",
        "line\nbreak.png",
        "%d_%s{0}.jpg",
        "x" * 250,
    ],
)
def test_unusual_names(tmp_path, name):
    path = tmp_path / name
    try:
        path.write_bytes(encoded(COLOURS, "PNG"))
    except OSError:
        pytest.skip("this file system refuses the name")
    frame = read_image(path)
    np.testing.assert_array_equal(frame.image, COLOURS)
    assert frame.source.name.isprintable()


def test_name_that_is_not_utf8(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png")
    try:
        Path(path).write_bytes(encoded(COLOURS, "PNG"))
    except OSError:
        pytest.skip("this file system refuses the name")
    assert read_image(path).source.name == "caf\\udce9.png"
    Path(path).write_bytes(b"")
    with pytest.raises(EmptyFile) as caught:
        read_image(path)
    str(caught.value).encode("utf-8")


def test_paths_that_are_not_regular_files(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "loop").symlink_to(tmp_path / "loop")
    table = [
        (tmp_path, "a folder"),
        (tmp_path / "pipe", "a pipe"),
        ("/dev/zero", "a device"),
        (tmp_path / "missing.png", "no such file"),
        (tmp_path / "file" / "x.png", "a folder on the way"),
        (tmp_path / "loop", "cannot read it"),
        ("", "no such file"),
        ("a\0b.png", "no file can have this name"),
        ("x" * 5000, "too long"),
        ("https://example.org/a.jpg", "web address"),
    ]
    for path, words in table:
        with pytest.raises(InputError) as caught:
            read_image(path)
        assert words in caught.value.cause
        assert caught.value.next_step


def test_socket(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # socket addresses are short
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind("s")
        with pytest.raises(UnsupportedMedia, match="a socket"):
            read_image("s")


def test_no_permission(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(COLOURS, "PNG"))

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)  # the superuser, whom containers run as, may read everything
    with pytest.raises(InputError, match="not allowed"):
        read_image(path)


def test_file_size_limit(tmp_path):
    path = tmp_path / "big.png"
    with open(path, "wb") as file:
        file.truncate(300 * 2**20)
    with pytest.raises(MediaTooLarge, match=r"300\.0 MiB; the limit is 256 MiB"):
        read_image(path)
    data = encoded(COLOURS, "PNG")
    for source in (data, Upload("a", data)):
        with pytest.raises(MediaTooLarge):
            read_image(source, max_bytes=len(data) - 1)
        assert read_image(source, max_bytes=len(data)).width == 3


# ------------------------------------------------------------------ formats and modes

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


# ------------------------------------------------------------------ damage


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


def test_a_grey_jpeg_is_read():
    grey = np.full((64, 64, 3), 128, np.uint8)
    np.testing.assert_array_equal(decode_image(encoded(grey, "JPEG"))[0], grey)
    half = photo(64, 64)
    half[32:] = 128
    image = decode_image(encoded(half, "JPEG", quality=95))[0]
    assert (image[48:] == 128).all()


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


# ------------------------------------------------------------------ the collection of bad inputs

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


# ------------------------------------------------------------------ larger than the limit


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


# ------------------------------------------------------------------ HDR


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
