"""Damaged and wrong files in the place of videos: typed errors, or what was not read."""

from __future__ import annotations

import io
import struct

import av
import numpy as np
import pytest
from helpers.numbered_clips import X264, clip, number_in, numbered
from PIL import Image

from redeepfake_nb.errors import InputError, MediaTooLarge, NoVideoFrames, TruncatedMedia, UnsupportedMedia
from redeepfake_nb.media import video_stream
from redeepfake_nb.media.video import open_video


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

    PyAV gives no packet of the further stream, which is said. Were the error ever raised before the last
    packet, the rest would be lost, and that is said, too.
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
    late = [note for note in video.source.notes if "begins later" in note.text]
    assert [note.kind for note in late] == ["unseen"]
    assert at_the_end or "the file holds 1.6 s" in done.first_error


def test_a_programme_that_begins_later_is_said():
    """Two transport streams, joined: FFmpeg reads the second one's packets and PyAV passes none on."""
    first = clip(range(30), container="mpegts", codec="mpeg2video")
    ids = {"mpegts_start_pid": "300", "mpegts_service_id": "2", "mpegts_pmt_start_pid": "5000"}
    second = clip(range(30), container="mpegts", codec="mpeg2video", muxer=ids)
    with open_video(first) as video:
        assert not video.source.notes
        alone = video.frame_count
    with open_video(first + second) as video:
        seen = video.frame_count
        assert seen >= 2 * alone - 2 or any(note.kind == "unseen" for note in video.source.notes)


def test_damage_met_while_frames_are_listed_is_not_forgotten(monkeypatch):
    """A sample that ends before the damage does not make the file whole."""
    data = clip(range(100), container="mpegts", codec="mpeg2video")
    with open_video(data) as video:
        list(video.sample(5))
        assert video.completeness.complete
    listed = video_stream.Stream._index_packets

    def damaged(self):
        self.note_error("the file is damaged (by hand)")
        return listed(self)

    monkeypatch.setattr(video_stream.Stream, "_index_packets", damaged)
    with open_video(data) as video:
        list(video.sample(5))
        assert (video.completeness.first_error, video.completeness.complete) == (
            "the file is damaged (by hand)",
            False,
        )


def test_an_edit_list_that_hides_frames_is_noted(h264):
    """Its edit list begins at keyframe 40; the 40 frames before it are in the file but not displayed."""
    place = h264.index(b"elst") + 4
    out = bytearray(h264)
    scale = struct.unpack_from(">I", h264, h264.index(b"mdhd") + 16)[0]
    struct.pack_into(">I", out, place + 12, struct.unpack_from(">I", h264, place + 12)[0] + 40 * scale // 25)
    with open_video(bytes(out)) as video:
        assert video.frame_count < 100
        assert any("edit list hides" in text for text in video.source.warnings)


def test_a_missing_index_is_named(h264):
    start = h264.index(b"moov") - 4
    with pytest.raises(TruncatedMedia, match="the box moov, is missing") as caught:
        open_video(h264[:start])
    assert "repair" in caught.value.next_step
