"""Truncation of video files, and references to data outside of them."""

from __future__ import annotations

import io
import struct

import pytest
from helpers.hostile_videos import box, boxes, index_first, plain, with_reference

from redeepfake_nb.media import video_containers
from redeepfake_nb.media.video_containers import ContainerFindings, inspect_container


def inspect(data: bytes, format: str = "MP4") -> ContainerFindings:
    return inspect_container(io.BytesIO(data), format)


def test_boxes_that_claim_each_others_bytes_are_read_once():
    """Each ``mdia`` claims to reach the end: with 400 of them, lists of boxes once grew to 80,000 entries."""
    count, seen = 400, []
    tail = box(b"minf", b"") * count
    inner = b"".join(
        struct.pack(">I4sI4s", 16, b"trak", 16 * (count - i) + len(tail) - 8, b"mdia") for i in range(count)
    )
    real = video_containers._boxes

    def counted(*args):
        for found in real(*args):
            seen.append(found)
            yield found

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video_containers, "_boxes", counted)
        inspect(box(b"ftyp", b"isom\0\0\0\0isom") + box(b"moov", inner + tail))
    assert len(seen) < 5 * count


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
def test_complete_files(format, data):
    assert inspect(data, format) == ContainerFindings()
    assert inspect(data + b"appended", format).has_index


@pytest.mark.parametrize(
    ("format", "data"),
    [
        ("MP4", index_first()),
        ("Matroska", plain("matroska")),
        ("AVI", plain("avi", "mpeg4")),
        ("MPEG-TS", plain("mpegts")),
    ],
)
def test_truncated_files(format, data):
    for size in (len(data) - 1, len(data) * 2 // 3 + 1):
        assert inspect(data[:size], format).truncation.startswith("the end of the file is missing")


def test_live_recordings_have_no_length():
    data = plain("matroska")
    place = data.index(b"\x18\x53\x80\x67") + 4
    live = data[:place] + b"\x01" + b"\xff" * 7 + data[place + 8 :]
    assert inspect(live[:-500], "Matroska") == ContainerFindings()
    avi = plain("avi", "mpeg4")
    assert inspect(avi[:4] + bytes(4) + avi[8:-500], "AVI") == ContainerFindings()


def test_boxes_by_hand():
    assert inspect(box(b"ftyp", b"isom")) == ContainerFindings(has_index=False)
    assert inspect(box(b"ftyp", b"isom") + box(b"moov")) == ContainerFindings()
    assert inspect(struct.pack(">I4sQ", 1, b"mdat", 20) + bytes(4) + box(b"moov")) == ContainerFindings()
    assert inspect(struct.pack(">I4s", 0, b"mdat") + bytes(400)) == ContainerFindings(has_index=False)
    cut = inspect(box(b"moov") + struct.pack(">I4s", 108, b"mdat") + bytes(60))
    assert cut.truncation.endswith("40 bytes more")
    # Anything that is not a box is left to the demuxer.
    for junk in (b"", b"\0\0\0", struct.pack(">I4s", 3, b"moov"), box(b"moov") + b"touch marker\n" * 9):
        assert inspect(junk).truncation == ""


def test_external_data():
    for kind, target in ((b"url ", b"file:///etc/hostname\0"), (b"alis", bytes(60))):
        assert inspect(with_reference(kind, target)).external_data == "its data lie in another file"
    assert inspect(box(b"moov", box(b"rmra"))).external_data == "it only refers to other videos"
    assert inspect(box(b"moov", box(b"cmov"))).external_data == "its index is compressed"
    parts = boxes(plain())
    assert inspect(parts[b"moov"]).external_data == ""


@pytest.mark.parametrize("format", ["MP4", "Matroska", "AVI", "MPEG-TS", "Ogg"])
def test_arbitrary_bytes_raise_nothing(format, rng):
    data = plain() + plain("matroska")
    for _ in range(100):
        start = int(rng.integers(len(data)))
        assert isinstance(inspect(data[start : start + int(rng.integers(300))], format), ContainerFindings)
