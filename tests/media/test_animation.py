"""Animated pictures read as videos: all frames, with their times, whatever the format."""

from __future__ import annotations

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from helpers.numbered_clips import clip, number_in, numbered
from helpers.small_pictures import png_chunk
from PIL import Image, features

from redeepfake_nb.errors import InputError, MediaTooLarge, RedeepfakeError, TruncatedMedia, UnsupportedMedia
from redeepfake_nb.media.file_types import is_video
from redeepfake_nb.media.frames import read_image
from redeepfake_nb.media.video import open_video

FORMATS = ["PNG", "WEBP", *(["AVIF"] if features.check("avif") else [])]


@pytest.mark.parametrize("kind", [name for name in FORMATS if name != "WEBP"])
def test_hdr_is_converted_as_in_still_pictures(kind: str) -> None:
    data = bytearray(animated(kind))
    if kind == "PNG":
        data[33:33] = png_chunk(b"cICP", bytes([9, 16, 0, 1]))
    else:
        for place in [i for i in range(len(data)) if data[i : i + 8] == b"colrnclx"]:
            data[place + 8 : place + 12] = struct.pack(">HH", 9, 16)
    still = read_image(bytes(data))
    with open_video(bytes(data)) as video:
        first = next(iter(video.sample(1, end=0.05)))
        (note,) = [n for n in video.source.notes if "PQ" in n.text]
    assert note.kind == "doubt"
    np.testing.assert_array_equal(first.image, still.image)
    assert "PQ" in "; ".join(still.source.warnings)


def animated(kind: str, count: int = 6, **options) -> bytes:
    """An animated picture whose frames show 0, 1, ..., for 100 ms each but the second."""
    out = io.BytesIO()
    first, *rest = (Image.fromarray(numbered(n)) for n in range(count))
    durations = [100, 250, *[100] * (count - 2)][:count]
    lossless = {"lossless": True} if kind == "WEBP" else {}
    first.save(out, kind, save_all=True, append_images=rest, duration=durations, **lossless, **options)
    return out.getvalue()


@pytest.mark.parametrize("kind", FORMATS)
def test_every_frame_is_read_with_its_time(kind: str, tmp_path):
    data = animated(kind)
    path = tmp_path / "picture.jpg"  # whatever its name says
    path.write_bytes(data)
    assert is_video(path)
    with open_video(path) as video:
        frames = list(video.sample("all"))
        assert (video.width, video.height, video.frame_count) == (128, 64, 6)
        assert video.source.format == kind
        assert video.source.notes == ()
        assert video.completeness.complete
        assert video.duration == pytest.approx(0.75)
        few = [frame.index for frame in video.sample(3)]
        late = next(video.sample(1, start=0.6))
    assert [number_in(f.image) for f in frames] == [0, 1, 2, 3, 4, 5]
    assert [f.timestamp for f in frames] == pytest.approx([0, 0.1, 0.35, 0.45, 0.55, 0.65])
    assert (few, number_in(late.image)) == ([1, 2, 4], 5)


@pytest.mark.parametrize("kind", FORMATS)
def test_read_as_a_picture_it_says_what_was_not_looked_at(kind: str):
    (note,) = read_image(animated(kind)).source.notes
    assert (note.kind, note.text) == ("unseen", "1 of 6 frames looked at; analyze_video() looks at more")


@pytest.mark.parametrize("kind", FORMATS)
def test_still_pictures_are_no_videos(kind: str, tmp_path):
    out = io.BytesIO()
    Image.fromarray(numbered(3)).save(out, kind)
    path = tmp_path / "still"
    path.write_bytes(out.getvalue())
    assert not is_video(path)
    with pytest.raises(UnsupportedMedia, match="picture, not a video"):
        open_video(path)
    assert read_image(path).source.notes == ()


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_limits(kind: str):
    data = animated(kind)
    with pytest.raises(MediaTooLarge, match="128 x 64"):
        open_video(data, max_pixels=128 * 64 - 1)
    with pytest.raises(InputError, match="no video stream 2"):
        open_video(data, stream=2)
    with open_video(data, stream=1) as video:
        assert video.frame_count == 6


def chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    found, pos = [], 8
    while pos < len(data):
        length, kind = struct.unpack_from(">I4s", data, pos)
        found.append((kind, data[pos + 8 : pos + 8 + length]))
        pos += 12 + length
    return found


def png_of(parts: list[tuple[bytes, bytes]]) -> bytes:
    body = (struct.pack(">I4s", len(b), k) + b + struct.pack(">I", zlib.crc32(k + b)) for k, b in parts)
    return b"\x89PNG\r\n\x1a\n" + b"".join(body)


def test_a_picture_outside_of_the_animation_is_looked_at_too():
    data = animated("PNG", default_image=True)
    with open_video(data) as video:
        assert [number_in(f.image) for f in video.sample("all")] == [0, 1, 2, 3, 4, 5]


def test_frames_that_the_header_hides_or_invents():
    parts = chunks(animated("PNG"))
    assert [kind for kind, _ in parts].count(b"fcTL") == 6
    hidden = png_of([(k, struct.pack(">II", 1, 0) if k == b"acTL" else b) for k, b in parts])
    with open_video(hidden) as video:
        assert [number_in(f.image) for f in video.sample("all")] == [0, 1, 2, 3, 4, 5]
    invented = png_of([(k, struct.pack(">II", 2**31 - 1, 0) if k == b"acTL" else b) for k, b in parts])
    with open_video(invented) as video:
        assert len(list(video.sample("all"))) == 6
        assert not video.completeness.complete
        assert "the header claims 2147483647 frames, the file holds 6" in video.completeness.summary


def test_damage_in_the_middle_is_said():
    data = bytearray(animated("PNG"))
    fourth = [m for m in range(len(data)) if data[m : m + 4] == b"fdAT"][3]
    data[fourth + 20] ^= 255
    with open_video(bytes(data)) as video:
        numbers = [number_in(f.image) for f in video.sample("all")]
        assert numbers == [0, 1, 2, 3]
        assert not video.completeness.complete
        assert "6 frames, the file holds" in video.completeness.summary
    # A correct checksum over wrong data.
    parts = chunks(animated("PNG"))
    place = [i for i, (kind, _) in enumerate(parts) if kind == b"fdAT"][2]
    parts[place] = b"fdAT", parts[place][1][:4] + b"\0" * 30
    with open_video(png_of(parts)) as video:
        numbers = [number_in(f.image) for f in video.sample("all")]
        assert numbers == [0, 1, 2]
        assert not video.completeness.complete
        assert "frame 3 at 0.45 s cannot be decoded" in video.completeness.summary


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_truncation_is_never_silent(kind: str, share: float):
    data = animated(kind)
    with contextlib.suppress(TruncatedMedia), open_video(data[: int(len(data) * share)]) as video:
        list(video.sample("all"))
        assert not video.completeness.complete


def test_random_damage_gives_typed_errors_only(rng: np.random.Generator):
    for kind in FORMATS:
        good = np.frombuffer(animated(kind), np.uint8)
        for _ in range(12):
            bad = good.copy()
            bad[rng.integers(12, len(bad), 6)] = rng.integers(0, 256, 6)
            with contextlib.suppress(RedeepfakeError), open_video(bad.tobytes()) as video:
                list(video.sample("all"))


def test_transparency_orientation_and_short_frames():
    pictures = [Image.fromarray(numbered(n)).convert("RGBA") for n in range(3)]
    pictures[1].putalpha(Image.new("L", (128, 64), 0))
    out = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = 6
    first, *rest = pictures
    first.save(out, "WEBP", save_all=True, append_images=rest, duration=5, lossless=True, exif=exif)
    with open_video(out.getvalue()) as video:
        frames = list(video.sample("all"))
        # Frames of 10 ms or less are shown for 100 ms, as browsers do.
        assert [f.timestamp for f in frames] == pytest.approx([0, 0.1, 0.2])
        assert (video.width, video.height) == (64, 128)
    assert number_in(np.rot90(frames[2].image)) == 2


def test_a_heic_sequence_is_read_as_a_video():
    data = clip(range(6), codec="libx265", options={"x265-params": "log-level=none"})
    brand = data.index(b"ftyp") + 4
    data = data[:brand] + b"hevc" + data[brand + 4 :]
    data = data.replace(b"isomiso2", b"msf1hevc", 1)
    with open_video(data) as video:
        assert video.source.format == "HEIF"
        assert [number_in(f.image) for f in video.sample("all")] == [0, 1, 2, 3, 4, 5]
