"""Reading videos: packet index, sampling, seeking, limits, damage, completeness and colours."""

from __future__ import annotations

import gc
import hashlib
import io
import json
import os
import struct
import threading
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from helpers.numbered_clips import clip, number_in, numbered, several_streams
from PIL import Image

from redeepfake_nb.errors import (
    EmptyFile,
    InputError,
    MediaTooLarge,
    NoVideoFrames,
    TruncatedMedia,
    UnsupportedMedia,
)
from redeepfake_nb.media.color import _apply_display_matrix, _quarter_turn, square_pixel_size
from redeepfake_nb.media.file_types import video_format
from redeepfake_nb.media.frames import Upload
from redeepfake_nb.media.packet_index import DISPLAYED, KEYFRAME, NO_PTS, PacketIndex
from redeepfake_nb.media.tone_mapping import PQ, to_sdr
from redeepfake_nb.media.video import open_video

X264 = {"g": "20", "bf": "3"}
OPEN_GOP = {"x264-params": "open-gop=1:keyint=20:bframes=3:scenecut=0"}


@pytest.fixture(scope="session")
def h264() -> bytes:
    """100 numbered frames, 4 s, a keyframe every 20, B-frames."""
    return clip(range(100), options=X264)


def sampled(source, *args, **options) -> tuple[list[int], list[int], list[float]]:
    """Numbers shown in the frames, their indices and timestamps."""
    with open_video(source) as video:
        frames = list(video.sample(*args, **options))
    return [number_in(f.image) for f in frames], [f.index for f in frames], [f.timestamp for f in frames]


# ------------------------------------------------------------------ selection of frames


def table(pts, *, keys=(0,), hidden=(), unit=1.0, last=0) -> PacketIndex:
    flags = np.full(len(pts), DISPLAYED, np.uint8)
    flags[list(hidden)] = 0
    flags[list(keys)] |= KEYFRAME
    stamps = np.array(pts, np.int64)
    return PacketIndex.from_packets(stamps, stamps, flags, unit=unit, rate=25.0, last=last)


def test_packet_index_by_hand():
    # Decode order I P B B, display order I B B P; from PTS 10 on, half a second apart.
    found = table([10, 13, 11, 12], unit=0.5)
    assert found.times.tolist() == [0, 0.5, 1, 1.5]
    assert (found.duration, found.has_timestamps, len(found), found.packets) == (2.0, True, 4, 4)
    assert [found.rank(s, -1) for s in (10, 11, 13, 14, None)] == [0, 1, 3, None, None]
    assert found.evenly_spaced(2, 0, 2).tolist() == [1, 3]
    assert found.evenly_spaced(4, 0, 2).tolist() == [0, 1, 2, 3]
    assert found.evenly_spaced(100, 0, 2).tolist() == [0, 1, 2, 3]
    assert found.evenly_spaced(1, 0, 2).tolist() == [2]
    assert found.at_interval(1.0, 0, 2).tolist() == [0, 2]
    assert found.at_interval(0.75, 0, 2).tolist() == [0, 1, 3]
    assert found.at_interval(9.0, 0.6, 2).tolist() == [1]  # what is shown at 0.6 s began at 0.5 s
    assert found.at_interval(0.001, 0, 2).tolist() == [0, 1, 2, 3]
    assert list(found.between(0.5, 1.5)) == [1, 2]


def test_packet_index_of_irregular_timestamps():
    found = table([0, 1, 2, 10], last=4)
    assert found.duration == 14
    assert found.evenly_spaced(7, 0, 14).tolist() == [1, 2, 3]  # at 1, 3, 5, 7, 9, 11 and 13 s
    assert table([0, 1, 2, 10], last=10**9).duration == 11  # the header's last length is absurd


def test_packet_index_of_keyframes_and_hidden_frames():
    found = table([0, 1, 2, 3, 4, 5], keys=(0, 3), hidden=(1,))
    assert found.times.tolist() == [0, 2, 3, 4, 5]
    assert [found.keyframe_before(rank) for rank in range(5)] == [0, 0, 1, 1, 1]
    assert found.keyframe(1) == (3, 3, 3)
    # A recording that begins between keyframes: what comes before the first cannot be decoded.
    cut = table([0, 1, 2, 3, 4], keys=(2,))
    assert (cut.times.tolist(), cut.skipped_leading) == ([0, 1, 2], 2)


@pytest.mark.parametrize(
    "pts",
    [
        [0, 1, NO_PTS, 3],
        [5, 5, 5, 5],
        [*range(100), *range(100)],  # time begins anew
        [0, 2**62, -(2**62), 3],
    ],
)
def test_without_usable_timestamps_frames_are_counted(pts):
    found = table(pts, keys=(0,))
    assert not found.has_timestamps
    assert found.times.tolist() == [i / 25 for i in range(len(pts))]
    assert found.duration == len(pts) / 25


# ------------------------------------------------------------------ seeking

KINDS = {
    "h264": {"options": X264},
    "h264 open gop": {"options": OPEN_GOP},
    "h264 open gop, ts": {"container": "mpegts", "options": OPEN_GOP},
    "h264 fragments": {"options": X264, "muxer": {"movflags": "frag_keyframe+empty_moov"}},
    "h264 bare": {"container": "h264", "options": X264},
    "hevc open gop": {
        "codec": "libx265",
        "options": {"x265-params": "keyint=20:open-gop=1:bframes=3:log-level=none"},
    },
    "vp8 live": {
        "codec": "libvpx",
        "container": "webm",
        "options": {"g": "20", "deadline": "realtime", "cpu-used": "8"},
        "muxer": {"live": "1"},
    },
    "vp9": {
        "codec": "libvpx-vp9",
        "container": "webm",
        "options": {"g": "20", "lag-in-frames": "16", "cpu-used": "5"},
    },
    "mpeg4 avi": {"codec": "mpeg4", "container": "avi", "options": {"g": "20", "bf": "2"}},
    "mpeg2 ps": {"codec": "mpeg2video", "container": "mpeg", "options": {"g": "20", "bf": "2"}},
    "mjpeg": {"codec": "mjpeg", "container": "avi", "pix_fmt": "yuvj420p"},
    "flv": {"codec": "flv", "container": "flv", "options": {"g": "20"}},
    "wmv": {"codec": "wmv2", "container": "asf", "options": {"g": "20"}},
    "ffv1": {"codec": "ffv1", "container": "matroska"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_seeking_yields_the_same_frames_as_decoding_everything(kind):
    with open_video(clip(range(100), **KINDS[kind])) as video:
        every = list(video.sample("all"))
        assert video.completeness.complete
        assert [number_in(f.image) for f in every] == [f.index for f in every] == list(range(100))
        np.testing.assert_allclose([f.timestamp for f in every], np.arange(100) / 25, atol=6e-4)
        assert video.duration == pytest.approx(4.0, abs=0.01)
        for options, wanted in (
            ({"frames": 5}, [10, 30, 50, 70, 90]),
            ({"every": 1.0, "start": 0.5}, [12, 37, 62, 87]),
            ({"frames": "all", "start": 3.0, "end": 3.2}, [75, 76, 77, 78, 79]),
            ({"frames": "all", "start": 0.8, "end": 0.88}, [20, 21]),
        ):
            some = list(video.sample(**options))
            assert [f.index for f in some] == wanted
            for frame in some:
                assert np.array_equal(frame.image, every[frame.index].image)
            assert video.completeness.complete
        # Decoding begins at the keyframe before 3 s; the 60 frames before it are not decoded.
        list(video.sample("all", start=3.0, end=3.1))
        decoded = video.completeness.decoded
        assert decoded <= 35 or kind == "h264 bare"
        assert decoded < 100


def test_only_needed_frames_are_decoded(h264):
    with open_video(h264) as video:
        list(video.sample(2, start=0.0, end=0.2))
        assert video.completeness.decoded < 20


def test_false_keyframes_fall_back_to_decoding_everything(h264):
    """A container that marks every frame as a keyframe: decoding cannot begin at most of them."""
    place = h264.index(b"stss")
    lying = h264[:place] + b"free" + h264[place + 4 :]
    with open_video(lying) as video:
        every = {f.index: f.image for f in video.sample("all")}
        some = list(video.sample(5))
    assert [f.index for f in some] == [10, 30, 50, 70, 90]
    for frame in some:
        assert number_in(frame.image) == frame.index
        assert np.array_equal(frame.image, every[frame.index])


def test_sampling_by_hand(h264):
    assert sampled(h264, 1)[0] == [50]
    assert sampled(h264, 4)[2] == [0.48, 1.48, 2.48, 3.48]
    assert sampled(h264, 200)[0] == list(range(100))
    assert len(sampled(h264)[0]) == 32
    assert sampled(h264, every=2)[0] == [0, 50]
    assert sampled(h264, 2, start=1, end=2)[0] == [31, 43]


def test_variable_frame_rate():
    stamps = [0, 1, 2, 50, 51, 99]
    data = clip(range(6), stamps=stamps, options={"bf": "2"})
    numbers, _, times = sampled(data, "all")
    assert (numbers, times) == (list(range(6)), pytest.approx([s / 25 for s in stamps]))
    assert sampled(data, every=1.0)[0] == [0, 2, 3, 4]  # at 0, 1, 2 and 3 s
    late = clip(range(6), stamps=[s + 500 for s in stamps], container="matroska")
    assert sampled(late, "all")[2] == pytest.approx([s / 25 for s in stamps], abs=2e-3)


def test_invalid_options(h264):
    with open_video(h264) as video:
        for options in (
            {"frames": 0},
            {"frames": 1.5},
            {"frames": "some"},
            {"every": 0},
            {"every": float("nan")},
            {"every": 1, "frames": 3},
            {"start": -1},
            {"start": 2, "end": 2},
            {"end": float("nan")},
        ):
            with pytest.raises(ValueError, match=r"frames|every|start|number"):
                video.sample(**options)
        with pytest.raises(InputError, match=r"it lasts 4.00 s and has no frames from 4.1 s on"):
            video.sample(start=4.1)


# ------------------------------------------------------------------ sources and records


def test_path_bytes_and_uploads(h264, tmp_path):
    path = tmp_path / "clip.txt"
    path.write_bytes(h264)
    eight = {"name": "a.mp4", "type": "video/mp4", "size": len(h264), "content": memoryview(h264)}
    seven = {"a.mp4": {"metadata": {"name": "a.mp4"}, "content": h264}}
    for source, name in (
        (path, "clip.txt"),
        (str(path), "clip.txt"),
        (h264, "video bytes"),
        (bytearray(h264), "video bytes"),
        (Upload("a.mp4", h264), "a.mp4"),
        ((eight,), "a.mp4"),
        (seven, "a.mp4"),
    ):
        with open_video(source) as video:
            assert number_in(next(video.sample()).image) == 1
            assert (video.name, video.source.name) == (name, name)
            assert video.source.sha256 == hashlib.sha256(h264).hexdigest()
            assert (video.source.format, video.source.size_bytes) == ("MP4", len(h264))
    assert (video.width, video.height, video.codec, video.frame_count) == (128, 64, "h264", 100)
    assert (video.duration, video.claimed_duration, video.average_rate) == (4.0, 4.0, 25.0)
    with open_video(path, name="mine") as video:
        assert video.name == "mine"
    assert list(tmp_path.iterdir()) == [path]


def test_completeness_is_plain_json(h264):
    with open_video(h264) as video:
        assert not video.completeness.complete
        sample = video.sample(8)
        assert (sample.expected, len(sample)) == (8, 8)
        next(sample)
        early = video.completeness
        assert (early.read, early.finished, early.complete) == (1, False, False)
        assert "stopped before the end" in early.summary
        list(sample)
        done = video.completeness
    assert done.complete
    assert json.loads(json.dumps(done.to_dict()))["last_timestamp"] == pytest.approx(3.72)
    assert (done.read, done.expected, done.pictures, done.claimed) == (8, 8, 100, 100)
    assert done.summary == "8 of 8 frames read"
    assert video.completeness == done


def test_name_that_is_not_utf8_and_a_link(h264, tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9 \n%d.mp4")
    try:
        Path(path).write_bytes(h264)
    except OSError:
        pytest.skip("this file system refuses the name")
    with open_video(path) as video:
        assert video.name.isprintable() or video.source.name.isprintable()
        assert video.source.name.isprintable()
    os.symlink(path, tmp_path / "link")
    assert sampled(tmp_path / "link", 1)[0] == [50]


@pytest.mark.timeout(20)
def test_only_regular_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "empty.mp4").touch()
    for path, error, words in (
        (tmp_path / "pipe.mp4", UnsupportedMedia, "a pipe"),
        (tmp_path, UnsupportedMedia, "Name one video inside it"),
        (tmp_path / "none.mp4", InputError, "no such file"),
        (tmp_path / "empty.mp4", EmptyFile, "0 bytes"),
        ("http://localhost/a.mp4", InputError, "web address"),
        ("rtsp://localhost/a", InputError, "web address"),
        ("/dev/zero", UnsupportedMedia, "a device"),
        (b"", EmptyFile, "0 bytes"),
        (5, UnsupportedMedia, "a video cannot be read from an object of type int"),
    ):
        with pytest.raises(error, match=words):
            open_video(path)


# ------------------------------------------------------------------ other files, playlists, limits


def picture_bytes(kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(numbered(3)).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"#EXTM3U\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n", UnsupportedMedia, "playlist"),
        (b"\xef\xbb\xbf\n#EXTM3U\nfile:///etc/passwd\n", UnsupportedMedia, "playlist"),
        (b"ffconcat version 1.0\nfile '/etc/hostname'\n", UnsupportedMedia, "list of videos"),
        (b"<?xml version='1.0'?><MPD><BaseURL>http://127.0.0.1/</BaseURL></MPD>", UnsupportedMedia, "DASH"),
        (b"v=0\no=- 0 0 IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\n", UnsupportedMedia, "playlist"),
        (b"[playlist]\nFile1=/etc/hostname\n", UnsupportedMedia, "playlist"),
        (b"1\n00:00:01,000 --> 00:00:02,000\nHello\n", UnsupportedMedia, "plain text"),
        (picture_bytes("JPEG"), UnsupportedMedia, "read_image"),
        (picture_bytes("PNG"), UnsupportedMedia, "read_image"),
        (b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(40), NoVideoFrames, "audio"),
        (b"ID3\x03" + bytes(100), NoVideoFrames, "audio"),
        (bytes(5000), UnsupportedMedia, "zero bytes"),
        (b"PK\x03\x04" + bytes(100), UnsupportedMedia, "zip"),
        (bytes(range(255, 100, -1)), UnsupportedMedia, "MP4"),
    ],
)
def test_other_files(data, error, words):
    with pytest.raises(error, match=words) as caught:
        open_video(data, name="x.mp4")
    assert str(caught.value).startswith("x.mp4: ")


def test_no_container_opens_another_file(monkeypatch, tmp_path):
    """Even if the demuxer for playlists were allowed by mistake, it could not open another file."""
    from redeepfake_nb.media import limits, video
    from redeepfake_nb.media import video_stream as streams

    (tmp_path / "secret.ts").write_bytes(clip(range(3), container="mpegts"))
    opened = []

    def refuse(url: str, *_: object) -> None:
        opened.append(url)
        limits.refuse_external_file(url)

    monkeypatch.setattr(streams, "refuse_external_file", refuse)
    monkeypatch.setitem(streams.DEMUXERS, "HLS", "hls")
    monkeypatch.setattr(video, "video_format", lambda head: "HLS")
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path}/secret.ts\n#EXT-X-ENDLIST\n"
    with pytest.raises(InputError):
        open_video(playlist.encode())
    assert opened  # it did ask


def test_audio_only():
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as file:
        stream = file.add_stream("aac", rate=44100)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 4096), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 44100
        for packet in (*stream.encode(frame), *stream.encode()):
            file.mux(packet)
    with pytest.raises(NoVideoFrames, match="only sound"):
        open_video(out.getvalue())


def test_limits(h264, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(h264)
    with pytest.raises(MediaTooLarge, match="128 x 64"):
        open_video(h264, max_pixels=128 * 64 - 1)
    open_video(h264, max_pixels=128 * 64).close()
    with pytest.raises(MediaTooLarge, match="hours"):
        open_video(h264, max_seconds=3.9)
    for source in (h264, path):
        with pytest.raises(MediaTooLarge, match="MiB"):
            open_video(source, max_bytes=1000)
    with pytest.raises(MediaTooLarge, match="longer than 0 s"):
        open_video(h264, time_limit=0.0)


def test_time_limit_ends_a_sample(h264):
    with open_video(h264) as video:
        sample = video.sample("all")
        frames = [next(sample) for _ in range(3)]
        video._budget.limit = 0.0
        frames += list(sample)
        done = video.completeness
    assert 3 <= len(frames) < 100
    assert not done.complete
    assert "took longer" in done.first_error


def test_signatures():
    assert video_format(b"\x00\x00\x00\x18ftypisom" + bytes(16)) == "MP4"
    assert video_format(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(16)) is None
    assert video_format(b"\x00\x00\x00\x01\x67\x64") == "H.264"
    assert video_format(b"\x00\x00\x00\x01\x40\x01\x0c") == "HEVC"
    assert video_format((b"\x47" + bytes(187)) * 3) == "MPEG-TS"
    assert video_format((bytes(4) + b"\x47" + bytes(187)) * 3) == "MPEG-TS"
    assert video_format(b"\x47" + bytes(600)) is None
    assert video_format(b"") is None


# ------------------------------------------------------------------ damage


def test_damage_in_the_middle(h264):
    """300 bytes are lost at 40 % of the file, between two keyframes."""
    with av.open(io.BytesIO(h264)) as file:
        packets = [(p.pos, p.size) for p in file.demux(video=0) if p.size]
    position, _ = packets[44]
    broken = bytearray(h264)
    broken[position + 4 : position + 304] = bytes(300)
    with open_video(bytes(broken)) as video:
        frames = list(video.sample("all"))
        done = video.completeness
    shown = {f.index: number_in(f.image) for f in frames}
    # All frames before the damage, and all from the next keyframe on.
    for number in (*range(38), *range(60, 100)):
        assert shown[number] == number
    assert not done.complete
    assert done.damaged > 0
    assert done.read == 100 - done.damaged
    assert "cannot be decoded" in done.first_error
    assert done.first_error in done.summary
    marked = {f.index for f in frames if any("damaged" in w for w in f.source.warnings)}
    assert len(marked) == done.doubtful
    assert marked <= set(range(38, 60))
    with open_video(bytes(broken)) as video:
        later = list(video.sample("all", start=2.5))
        assert video.completeness.complete  # of the part that was asked for
    assert [f.index for f in later] == list(range(63, 100))


def test_a_frame_before_the_damage_is_not_yielded_twice():
    data = clip(range(40), options={"g": "40", "bf": "0"})
    with av.open(io.BytesIO(data)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    broken = bytearray(data)
    for place, size in packets[3:]:
        broken[place : place + size] = bytes(size)
    with open_video(bytes(broken)) as video:
        # Of the frames 2, 6, 10, ... only the first can be decoded, and it is the last one before the damage.
        assert [frame.index for frame in video.sample(10)] == [2]
        assert not video.completeness.complete


def test_truncated_mp4(tmp_path):
    # The index comes first, so that truncation leaves it complete.
    clip(range(100), options=X264, muxer={"movflags": "faststart"}, path=tmp_path / "a.mp4")
    data = (tmp_path / "a.mp4").read_bytes()
    with open_video(data[: len(data) * 6 // 10]) as video:
        frames = list(video.sample("all"))
        done = video.completeness
    assert 20 < len(frames) < 90
    assert [number_in(f.image) for f in frames] == [round(f.timestamp * 25) for f in frames]
    assert (done.claimed, done.complete) == (100, False)
    assert "the header claims 100 frames" in done.summary
    ordinary = clip(range(30), options=X264)
    for size, error in ((20, TruncatedMedia), (600, TruncatedMedia), (len(ordinary) - 100, NoVideoFrames)):
        with pytest.raises(error, match=r"truncated|missing|Invalid"):
            open_video(ordinary[:size])


def test_truncated_matroska():
    data = clip(range(100), container="matroska", options=X264)
    with open_video(data[: len(data) // 2]) as video:
        frames = list(video.sample("all"))
        done = video.completeness
    assert 10 < len(frames) < 90
    assert not done.complete
    assert "claims 4 s" in done.missing


def test_nothing_decodable(h264):
    start, end = h264.index(b"mdat") + 4, h264.index(b"moov") - 4
    with pytest.raises(TruncatedMedia, match="none of its 100 frames"):
        open_video(h264[:start] + bytes(end - start) + h264[end:])


# ------------------------------------------------------------------ orientation and colours


def test_quarter_turns_by_hand():
    grid = np.arange(6, dtype=np.uint8).reshape(2, 3, 1).repeat(3, axis=2)
    for matrix, expected in (
        (((1, 0), (0, 1)), [[0, 1, 2], [3, 4, 5]]),
        (((0, 1), (-1, 0)), [[3, 0], [4, 1], [5, 2]]),  # (x, y) goes to (-y, x): a quarter clockwise
        (((-1, 0), (0, -1)), [[5, 4, 3], [2, 1, 0]]),
        (((0, -1), (1, 0)), [[2, 5], [1, 4], [0, 3]]),
        (((-1, 0), (0, 1)), [[2, 1, 0], [5, 4, 3]]),
        (((0, 1), (1, 0)), [[0, 3], [1, 4], [2, 5]]),
    ):
        turned = _apply_display_matrix(grid, np.array(matrix, np.int32) * 65536)
        assert turned[..., 0].tolist() == expected
        assert turned.flags.c_contiguous
    assert _quarter_turn(np.array([[1, 1], [-1, 1]])) is None


def test_rotation_in_the_container():
    plain = clip(range(3))
    unity = b"\x00\x01\x00\x00" + bytes(12) + b"\x00\x01\x00\x00" + bytes(12) + b"\x40\x00\x00\x00"
    quarter = (
        bytes(4) + b"\x00\x01\x00\x00" + bytes(4) + b"\xff\xff\x00\x00" + bytes(16) + b"\x00\x00\x00\x00"
    )
    quarter = quarter[:32] + b"\x40\x00\x00\x00"
    place = plain.index(unity, plain.index(b"tkhd"))
    with open_video(plain) as video:
        upright = next(video.sample("all")).image
    with open_video(plain[:place] + quarter + plain[place + 36 :]) as video:
        turned = next(video.sample("all")).image
        assert (video.width, video.height, video.rotation) == (64, 128, 90)
    np.testing.assert_array_equal(turned, np.rot90(upright, -1))


@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize(("matrix", "red"), [(1, (63, 102, 240)), (5, (82, 90, 240)), (9, (74, 97, 240))])
def test_colour_tags_are_applied(matrix, red, full):
    """Red in BT.709, BT.601 and BT.2020, by their own formulas: Y = Kr, Cb and Cr from it."""
    kr, kb = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}[matrix]
    luma, cb = kr, -kr / (2 * (1 - kb))
    y, u, v = (255 * luma, 128 + 255 * cb, 255) if full else (16 + 219 * luma, 128 + 224 * cb, 128 + 112)
    y, u, v = (round(min(c, 255)) for c in (y, u, v))
    if not full:
        assert (y, u, v) == pytest.approx(red, abs=1)

    def picture(number: int, width: int, height: int) -> av.VideoFrame:
        frame = av.VideoFrame(width, height, "yuv420p")
        for plane, value in zip(frame.planes, (y, u, v), strict=True):
            plane.update(bytes([value]) * (plane.line_size * plane.height))
        return frame

    def mark(stream) -> None:
        stream.codec_context.colorspace = matrix
        stream.codec_context.color_range = 2 if full else 1

    data = clip(range(2), picture=picture, prepare=mark, options={"qp": "0"})
    with open_video(data) as video:
        image = next(video.sample("all")).image
    np.testing.assert_allclose(image[32, 64], (255, 0, 0), atol=5)


def test_ten_bits_and_hdr():
    with open_video(clip(range(4), pix_fmt="yuv420p10le")) as video:
        assert [number_in(f.image) for f in video.sample("all")] == [0, 1, 2, 3]
        assert video.source.warnings == ()

    def hdr(stream) -> None:
        stream.codec_context.color_trc = 16

    with open_video(clip(range(2), pix_fmt="yuv420p10le", prepare=hdr)) as video:
        (note,) = video.source.notes
        assert note.kind == "doubt"
        assert note.text.startswith("high dynamic range (PQ) converted to SDR")
        image = next(video.sample("all")).image
    with open_video(clip(range(2), pix_fmt="yuv420p10le")) as video:
        stored = next(video.sample("all")).image
    assert np.abs(image.astype(int) - to_sdr(stored, PQ, 2)).mean() < 2


def test_changing_size_and_restarting_timestamps():
    parts = [
        clip(range(30), container="mpegts", options=X264),
        clip(range(30, 60), container="mpegts", options=X264, size=(160, 96)),
    ]
    with open_video(b"".join(parts)) as video:
        frames = list(video.sample("all"))
        assert "no usable timestamps" in video.source.warnings[0]
    assert [number_in(f.image) for f in frames] == list(range(60))
    assert {f.image.shape[:2] for f in frames} == {(64, 128), (96, 160)}
    with open_video(b"".join(parts), max_pixels=128 * 64) as video:
        assert len(list(video.sample("all"))) == 30
        assert "160 x 96" in video.completeness.first_error


@pytest.mark.parametrize(
    ("aspect", "size", "kind"),
    [
        (Fraction(2), (256, 64), "information"),
        (Fraction(1, 2), (128, 128), "information"),
        (Fraction(64, 45), (182, 64), "information"),
        (Fraction(40), (128, 64), "doubt"),
    ],
)
def test_frames_are_shown_with_square_pixels(aspect: Fraction, size: tuple[int, int], kind: str):
    def stretch(stream) -> None:
        stream.codec_context.sample_aspect_ratio = aspect

    with open_video(clip(range(2), prepare=stretch)) as video:
        (note,) = video.source.notes
        frames = list(video.sample("all"))
        assert (video.width, video.height) == size
    assert note.kind == kind
    assert f"pixels are {float(aspect):.3g} times as wide as high" in note.text
    for frame in frames:
        assert (frame.width, frame.height) == size
        stored = cv2.resize(frame.image, (128, 64), interpolation=cv2.INTER_AREA)
        assert number_in(stored) == frame.index


def test_the_size_with_square_pixels_by_hand():
    limit = 10**6
    assert square_pixel_size(720, 576, 16 / 15, limit) == (768, 576)
    assert square_pixel_size(720, 480, 8 / 9, limit) == (720, 540)
    assert square_pixel_size(100, 100, None, limit) == square_pixel_size(100, 100, 1.005, limit) == (100, 100)
    # Where enlarging would exceed the limit, the longer side of the pixels is reduced.
    assert square_pixel_size(1000, 1000, 2.0, limit) == (1000, 500)
    assert square_pixel_size(1000, 1000, 0.5, limit) == (500, 1000)


@pytest.mark.parametrize("container", ["mp4", "matroska", "mpegts"])
def test_one_of_several_streams(container: str):
    data = several_streams([6, 8], container)
    with open_video(data) as video:
        (note,) = video.source.notes
        assert (note.kind, note.text) == (
            "unseen",
            "only video stream 1 of 2 looked at; choose another with stream=",
        )
        assert [number_in(f.image) for f in video.sample("all")] == list(range(6))
    with open_video(data, stream=2) as video:
        assert [(n.kind, n.text) for n in video.source.notes] == [
            ("doubt", "only video stream 2 of 2 looked at, as chosen")
        ]
        assert [number_in(f.image) for f in video.sample("all")] == list(range(32, 40))
    with pytest.raises(InputError, match="there is no video stream 3 in it, the last is 2"):
        open_video(data, stream=3)
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(ValueError, match="stream must be a number from 1"):
            open_video(data, stream=wrong)


@pytest.mark.parametrize("lengths", [[1, 6], [6, 1], [1, 6, 1]])
def test_a_cover_is_told_apart_from_the_film(lengths: list[int]):
    film = lengths.index(6)
    with open_video(several_streams(lengths)) as video:
        assert [number_in(f.image) for f in video.sample("all")] == list(range(32 * film, 32 * film + 6))
        (note,) = video.source.notes
        assert (note.kind, note.text) == (
            "information",
            f"cover pictures in the file, not looked at: {len(lengths) - 1}",
        )


def test_pictures_alone_are_no_covers():
    with open_video(several_streams([1, 1])) as video:
        assert video.frame_count == 1
        assert [note.kind for note in video.source.notes] == ["unseen"]


def test_animated_gif():
    out = io.BytesIO()
    first, *rest = (Image.fromarray(numbered(n)) for n in range(4))
    first.save(out, "GIF", save_all=True, append_images=rest, duration=100)
    numbers, _, times = sampled(out.getvalue(), "all")
    assert (numbers, times) == ([0, 1, 2, 3], pytest.approx([0, 0.1, 0.2, 0.3]))


# ------------------------------------------------------------------ one decoder


def test_a_second_sample_ends_the_first_and_closing_ends_all(h264):
    video = open_video(h264)
    one = video.sample("all")
    next(one)
    two = video.sample("all")
    with pytest.raises(ValueError, match="ended"):
        next(one)
    assert number_in(next(two).image) == 0
    video.close()
    video.close()
    with pytest.raises(ValueError, match="ended"):
        next(two)
    with pytest.raises(ValueError, match="closed"):
        video.sample()


def test_many_threads_read_one_sample(h264):
    seen: list[int] = []
    with open_video(h264) as video:
        sample = video.sample("all")

        def read() -> None:
            seen.extend(number_in(frame.image) for frame in sample)

        threads = [threading.Thread(target=read) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert video.completeness.read == 100
    assert sorted(seen) == list(range(100))


def test_files_are_closed(h264, tmp_path):
    path = tmp_path / "a.mp4"
    path.write_bytes(h264)
    before = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    for _ in range(3):
        with open_video(path) as video:
            next(video.sample())
        with pytest.raises(MediaTooLarge):
            open_video(path, max_pixels=10)
    del video
    gc.collect()
    assert not before or len(os.listdir("/proc/self/fd")) <= before


# ------------------------------------------------------------------ the shared files

OUTCOMES = {
    "anim.gif": 3,
    "audio_only.mp4": NoVideoFrames,
    "av1.mp4": 50,
    "bitflips.mp4": None,
    "h264_10bit.mp4": 25,
    "hls_http.m3u8": UnsupportedMedia,
    "hls_http.mp4": UnsupportedMedia,
    "huge_16000.avi": MediaTooLarge,
    "jpg_as.mp4": UnsupportedMedia,
    "live.webm": 100,
    "moov_flips.mp4": None,
    "ok.avi": 100,
    "ok.mp4": 100,
    "ok_audio.mp4": 100,
    "one_frame.mp4": 1,
    "raw.h264": 100,
    "res_change.ts": 100,
    "rot270.mp4": 100,
    "rot90.mp4": 100,
    "timescale1.mp4": 100,
    "trunc10.mp4": TruncatedMedia,
    "trunc50_faststart.mp4": None,
    "trunc95.mp4": TruncatedMedia,
    "vfr.mp4": 35,
}


@pytest.mark.parametrize("name", OUTCOMES)
def test_shared_videos(shared, name):
    """Expected: a number of frames, complete; ``None`` for a partial result; or the class of an error."""
    path, outcome = shared / "bad_inputs" / "videos" / name, OUTCOMES[name]
    data = path.read_bytes()
    for source in (path, data, {"name": name, "content": memoryview(data)}):
        if isinstance(outcome, type):
            with pytest.raises(outcome, match=r"\."):
                open_video(source)
            continue
        with open_video(source) as video:
            read = len(list(video.sample("all")))
            done = video.completeness
        assert done.complete == (outcome is not None)
        assert read == outcome or (outcome is None and read >= 1 and done.first_error)


@pytest.mark.slow
def test_an_hour_in_constant_memory(shared):
    path = shared / "bad_inputs" / "videos" / "long_1h.mp4"
    statm = Path("/proc/self/statm")
    if not statm.exists():
        pytest.skip("memory is measured by /proc")

    def resident() -> float:
        return int(statm.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    with open_video(path) as video:
        before = resident()
        assert len(list(video.sample(32))) == 32
        for frame in video.sample("all", end=600.0):
            last = frame
        assert last.index == 17999
        assert resident() - before < 100
        assert video.completeness.complete


# ------------------------------------------------------------------ faults of PyAV


class _Erring:
    """PyAV's container, whose ``demux`` ends with an IndexError where further streams appeared."""

    def __init__(self, container, packets: int) -> None:
        self._container, self._left = container, packets

    def __getattr__(self, name):
        return getattr(self._container, name)

    def demux(self, stream):
        for packet in self._container.demux(stream):
            if not self._left:
                break
            self._left -= 1
            yield packet
        raise IndexError("list index out of range")


@pytest.mark.parametrize(("kept", "at_the_end"), [(200, True), (40, False)])
def test_a_stream_that_appears_late(monkeypatch, kept, at_the_end):
    """Found by damaging transport streams: PyAV counts the streams before it reads, and again after.

    Behind the last packet nothing is lost. Were it ever raised before, the rest would be, and that is said.
    """
    # 12 KB per frame, so that FFmpeg has not read to the end at frame 40.
    data = clip(range(100), container="yuv4mpegpipe", codec="rawvideo")
    real = av.open
    monkeypatch.setattr(av, "open", lambda *a, **k: _Erring(real(*a, **k), kept))
    with open_video(data) as video:
        frames = list(video.sample("all"))
        done = video.completeness
    assert [number_in(f.image) for f in frames] == list(range(min(kept, 100)))
    assert done.complete == at_the_end
    assert at_the_end or "the file holds 1.6 s" in done.first_error


def test_an_edit_list_that_hides_frames_is_noted(h264):
    """Its edit list begins at keyframe 40; the 40 frames before it are in the file but not displayed."""
    place = h264.index(b"elst") + 4
    out = bytearray(h264)
    scale = struct.unpack_from(">I", h264, h264.index(b"mdhd") + 16)[0]
    struct.pack_into(">I", out, place + 12, struct.unpack_from(">I", h264, place + 12)[0] + 40 * scale // 25)
    with open_video(bytes(out)) as video:
        assert video.frame_count < 100
        assert any("edit list hides" in text for text in video.source.warnings)


def test_small_files_get_little_time(h264, tmp_path, monkeypatch):
    with open_video(h264) as video:
        assert 25 < video._budget.limit < 26
    with open_video(h264, time_limit=100) as video:
        assert video._budget.limit == 100
    path = tmp_path / "large.mp4"
    path.write_bytes(h264)
    with open(path, "ab") as file:
        file.truncate(8 * 2**20)
    with open_video(path) as video:
        assert video._budget.limit == 25 + 8 * 8
    monkeypatch.setattr("redeepfake_nb.media.video.TIME_LIMIT", 40.0)
    with open_video(path) as video:
        assert video._budget.limit == 40


def test_a_missing_index_is_named(h264):
    start = h264.index(b"moov") - 4
    with pytest.raises(TruncatedMedia, match="the box moov, is missing") as caught:
        open_video(h264[:start])
    assert "repair" in caught.value.next_step
