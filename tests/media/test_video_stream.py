"""Non-reference frames of H.264, detected in packets written byte by byte."""

from __future__ import annotations

import struct

import numpy as np
import pytest
from helpers.numbered_clips import clip, number_in

from redeepfake_nb import open_video
from redeepfake_nb.media.video_stream import non_reference_frame_test

AVCC = bytes([1, 100, 0, 31, 0xFF])  # lengths of four bytes
# First bytes of NAL units: nal_ref_idc in bits 5 and 6, type in bits 0 to 4.
B_SLICE, P_SLICE, IDR_SLICE, SEI, DELIMITER = 0x01, 0x41, 0x65, 0x06, 0x09


def by_length(*headers: int) -> memoryview:
    return memoryview(b"".join(struct.pack(">IB2x", 3, h) for h in headers))


def by_start_code(*headers: int) -> memoryview:
    return memoryview(b"".join(b"\0\0\1" + bytes([h, 7, 7]) for h in headers))


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ((B_SLICE,), True),
        ((P_SLICE,), False),
        ((IDR_SLICE,), False),
        ((SEI, B_SLICE, B_SLICE), True),
        ((DELIMITER, B_SLICE, P_SLICE), False),  # two fields, the second one is a reference
        ((SEI,), False),  # no slice: must not be skipped
        ((), False),
    ],
)
def test_by_hand(headers: tuple, expected: bool) -> None:
    assert non_reference_frame_test("h264", AVCC)(by_length(*headers)) is expected
    for extradata in (None, b"", b"\0\0\0\1gd"):
        assert non_reference_frame_test("h264", extradata)(by_start_code(*headers)) is expected


def test_damaged_lengths_are_never_skipped() -> None:
    test = non_reference_frame_test("h264", AVCC)
    assert not test(memoryview(struct.pack(">IB2x", 900, B_SLICE)))
    assert not test(memoryview(struct.pack(">IB2x", 0, B_SLICE)))
    assert (
        test(memoryview(struct.pack(">HB2x", 3, B_SLICE))) is False
    )  # lengths of two bytes in a file of four
    assert non_reference_frame_test("h264", AVCC[:4] + b"\xfd")(memoryview(struct.pack(">HB2x", 3, B_SLICE)))


def test_other_codecs_are_decoded_completely() -> None:
    assert non_reference_frame_test("hevc", AVCC) is None


@pytest.mark.parametrize(
    ("container", "parameters"),
    [
        ("mp4", "keyint=40:bframes=3:b-pyramid=none"),
        ("mp4", "keyint=40:bframes=5:b-pyramid=normal:open-gop=1"),
        ("matroska", "keyint=40:bframes=2:slices=4"),
        ("mpegts", "keyint=40:bframes=3"),
    ],
)
def test_skipping_does_not_change_the_other_frames(container: str, parameters: str) -> None:
    options = {"x264-params": parameters + ":scenecut=0:log-level=none"}
    with open_video(clip(range(100), container=container, options=options)) as video:
        every = [frame.image for frame in video.sample("all")]
        for wanted in (3, 7, 20):
            some = list(video.sample(wanted))
            assert video.completeness.complete
            assert video.completeness.decoded <= 80
            for frame in some:
                assert number_in(frame.image) == frame.index
                assert np.array_equal(frame.image, every[frame.index])
