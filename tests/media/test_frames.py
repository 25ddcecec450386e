"""Records of frames, and what a picture may come from: paths, bytes, arrays, uploads."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import socket
from pathlib import Path

import numpy as np
import pytest
from helpers.small_pictures import COLOURS, encoded

from redeepfake_nb.errors import EmptyFile, InputError, MediaTooLarge, TruncatedMedia, UnsupportedMedia
from redeepfake_nb.media.frames import Frame, Source, Upload, read_image, uploads
from redeepfake_nb.media.notes import Note


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
