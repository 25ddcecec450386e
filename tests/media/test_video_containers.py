"""film_walks: whether a video's end is there, and whether it points elsewhere."""

from __future__ import annotations

import io
import struct

import pytest
from helpers.hostile_videos import box, boxes, index_first, plain, with_reference

from redeepfake_nb.media.video_containers import Film, walk_film


def walk(data: bytes, format: str = "MP4") -> Film:
    return walk_film(io.BytesIO(data), format)


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("MP4", plain()),
        ("MP4", index_first()),
        ("MP4", plain(faststart=True)),
        ("MP4", plain("mov")),
        ("Matroska", plain("matroska")),
        ("Matroska", plain("webm", "libvpx")),
        ("AVI", plain("avi", "mpeg4")),
        ("MPEG-TS", plain("mpegts")),
        ("FLV", plain("flv")),
    ],
)
def test_whole_files(format, data):
    assert walk(data, format) == Film()
    assert walk(data + b"appended", format).index


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("MP4", index_first()),
        ("Matroska", plain("matroska")),
        ("AVI", plain("avi", "mpeg4")),
        ("MPEG-TS", plain("mpegts")),
    ],
)
def test_a_missing_end(format, data):
    assert walk(data[:-1], format).cut.startswith("the end of the file is missing")
    assert walk(data[: len(data) * 2 // 3 + 1], format).cut.startswith("the end of the file is missing")


def test_live_recordings_state_no_length():
    data = plain("matroska")
    place = data.index(b"\x18\x53\x80\x67") + 4
    live = data[:place] + b"\x01" + b"\xff" * 7 + data[place + 8 :]
    assert walk(live[:-500], "Matroska") == Film()
    avi = plain("avi", "mpeg4")
    assert walk(avi[:4] + bytes(4) + avi[8:-500], "AVI") == Film()


def test_boxes_by_hand():
    assert walk(box(b"ftyp", b"isom")) == Film(index=False)
    assert walk(box(b"ftyp", b"isom") + box(b"moov")) == Film()
    assert walk(struct.pack(">I4sQ", 1, b"mdat", 20) + bytes(4) + box(b"moov")) == Film()
    assert walk(struct.pack(">I4s", 0, b"mdat") + bytes(400)) == Film(index=False)
    assert walk(box(b"moov") + struct.pack(">I4s", 108, b"mdat") + bytes(60)).cut.endswith("40 bytes more")
    # What is no box is left to the demuxer.
    for junk in (b"", b"\0\0\0", struct.pack(">I4s", 3, b"moov"), box(b"moov") + b"touch marker\n" * 9):
        assert walk(junk).cut == ""


def test_pictures_that_lie_elsewhere():
    assert (
        walk(with_reference(b"url ", b"file:///etc/hostname\0")).elsewhere == "its data lie in another file"
    )
    assert walk(with_reference(b"alis", bytes(60))).elsewhere == "its data lie in another file"
    assert walk(box(b"moov", box(b"rmra"))).elsewhere == "it only refers to other films"
    assert walk(box(b"moov", box(b"cmov"))).elsewhere == "its index is compressed"
    parts = boxes(plain())
    assert walk(parts[b"moov"]).elsewhere == ""


@pytest.mark.parametrize("format", ["MP4", "Matroska", "AVI", "MPEG-TS", "Ogg"])
def test_anything_is_walked(format, rng):
    data = plain() + plain("matroska")
    for _ in range(100):
        start = int(rng.integers(len(data)))
        assert isinstance(walk(data[start : start + int(rng.integers(300))], format), Film)
