"""Photos that hold more than one picture: multi-picture files, motion photos, gain and depth maps."""

from __future__ import annotations

import io
import struct

import numpy as np
import pytest
from helpers.numbered_clips import clip, number_in, numbered
from PIL import Image

from redeepfake_nb.errors import UnsupportedMedia
from redeepfake_nb.media.appended import appended_to_heif, appended_to_jpeg
from redeepfake_nb.media.file_types import is_video
from redeepfake_nb.media.frames import read_image
from redeepfake_nb.media.image_containers import sanitize_jpeg
from redeepfake_nb.media.video import open_video

XMP = b"http://ns.adobe.com/xap/1.0/\0"


def jpeg(number: int = 0, segment: bytes = b"") -> bytes:
    out = io.BytesIO()
    Image.fromarray(numbered(number)).save(out, "JPEG", quality=90)
    data = out.getvalue()
    if segment:
        data = data[:2] + b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment + data[2:]
    return data


def notes(data: bytes) -> list[tuple[str, str]]:
    return [(note.kind, note.text) for note in read_image(data).source.notes]


def motion_photo() -> bytes:
    return jpeg(7) + b"trailer" + clip(range(6))


def test_a_photo_alone():
    assert notes(jpeg()) == []
    # What is no picture and no video does not matter.
    assert notes(jpeg() + b"\0" * 99 + b"\xff\xd8\xff" + b"SEFT" + jpeg()[:200]) == []


def test_a_motion_photo():
    data = motion_photo()
    assert notes(data) == [
        ("unseen", "the video appended to the picture was not looked at; analyze_video() does")
    ]
    assert number_in(read_image(data).image) == 7
    with open_video(data) as video:
        assert [number_in(f.image) for f in video.sample("all")] == [0, 1, 2, 3, 4, 5]
        assert [(n.kind, n.text) for n in video.source.notes] == [
            ("doubt", "the video appended to a picture looked at, and not the picture")
        ]
        assert video.source.sha256 == read_image(data).source.sha256
        assert video.completeness.complete


def test_a_motion_photo_is_read_as_a_picture(tmp_path):
    path = tmp_path / "photo.jpg"
    path.write_bytes(motion_photo())
    assert not is_video(path)
    with pytest.raises(UnsupportedMedia, match="picture, not a video"):
        open_video(jpeg())


def test_a_heic_motion_photo():
    pillow_heif = pytest.importorskip("pillow_heif")
    out = io.BytesIO()
    pillow_heif.from_pillow(Image.fromarray(numbered(7))).save(out, quality=90)
    film = clip(range(6))
    data = out.getvalue() + struct.pack(">I4s", len(film) + 8, b"mpvd") + film
    assert appended_to_heif(out.getvalue()).video is None
    assert ("unseen", "the video appended to the picture was not looked at; analyze_video() does") in notes(
        data
    )
    with open_video(data) as video:
        assert [number_in(f.image) for f in video.sample("all")] == [0, 1, 2, 3, 4, 5]


def test_a_second_picture():
    assert notes(jpeg() + jpeg(1)) == [("unseen", "1 of 2 pictures looked at")]
    assert notes(jpeg() + jpeg(1) + b"\0" * 9 + jpeg(2)) == [("unseen", "1 of 3 pictures looked at")]


def test_a_multi_picture_file_of_pillow():
    out = io.BytesIO()
    first, second = (Image.fromarray(numbered(n)) for n in (0, 1))
    first.save(out, "MPO", save_all=True, append_images=[second])
    assert notes(out.getvalue()) == [("unseen", "1 of 2 pictures looked at")]
    # The same file, whose index says that the second one is a preview.
    data = bytearray(out.getvalue())
    entry = data.index(b"\x00\x00\x00\x00", data.index(b"MPF\0") + 60)
    base = data.index(b"MPF\0") + 4
    order = "<" if data[base : base + 2] == b"II" else ">"
    for i in range(3):
        tag, _, _, value = struct.unpack_from(order + "HHII", data, base + 10 + 12 * i)
        if tag == 0xB002:
            entry = base + value + 16
    struct.pack_into(order + "I", data, entry, 0x010001)
    assert notes(bytes(data)) == [("information", "a preview in the file was not used")]


@pytest.mark.parametrize(
    ("first", "second", "kind"),
    [
        (b"", XMP + b'<x hdrgm:Version="1.0"/>', "gain map"),
        (b"", b"urn:iso:std:iso:ts:21496:-1\0", "gain map"),
        (b"", XMP + b"<apdi:AuxiliaryImageType>urn:com:apple:photo:2020:aux:hdrgainmap</a>", "gain map"),
        (b"", XMP + b"<apdi:AuxiliaryImageType>urn:mpeg:hevc:2015:auxid:2 depth</a>", "depth map"),
        (XMP + b'<i Item:Semantic="Primary"/><i Item:Semantic="GainMap"/>', b"", "gain map"),
        (XMP + b'<i Item:Semantic="Primary"/><i Item:Semantic="Depth"/>', b"", "depth map"),
    ],
)
def test_maps_are_no_pictures(first: bytes, second: bytes, kind: str):
    data = jpeg(0, first) + jpeg(1, second)
    assert notes(data) == [("information", f"a {kind} in the file was not used")]
    assert notes(data + jpeg(2))[0] == ("unseen", "1 of 2 pictures looked at")


def test_damaged_indexes_are_ignored(rng: np.random.Generator):
    out = io.BytesIO()
    Image.fromarray(numbered(0)).save(out, "MPO", save_all=True, append_images=[Image.fromarray(numbered(1))])
    good = np.frombuffer(out.getvalue(), np.uint8)
    place = out.getvalue().index(b"MPF\0")
    end = sanitize_jpeg(out.getvalue()).end
    for _ in range(60):
        bad = good.copy()
        bad[rng.integers(place, place + 80, 4)] = rng.integers(0, 256, 4)
        assert set(appended_to_jpeg(bad.tobytes(), end).kinds) <= {"picture", "preview"}
    for size in range(0, 60):
        appended_to_heif(b"\0\0\0\x18ftypheic" + rng.integers(0, 256, size).astype(np.uint8).tobytes())


def test_pages_of_a_tiff():
    first, second, small = (Image.fromarray(numbered(n)) for n in range(3))
    out = io.BytesIO()
    first.save(out, "TIFF", save_all=True, append_images=[second])
    assert notes(out.getvalue()) == [("unseen", "1 of 2 pages looked at")]
    out = io.BytesIO()
    small.encoderinfo = {"tiffinfo": {254: 1}}
    first.save(out, "TIFF", save_all=True, append_images=[small])
    assert notes(out.getvalue()) == []
