"""Frames are shown upright, with square pixels and in the colours that the stream is tagged with."""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np
import pytest
from helpers.numbered_clips import clip, number_in

from redeepfake_nb.media.color import _apply_display_matrix, _quarter_turn, square_pixel_size
from redeepfake_nb.media.tone_mapping import PQ, to_sdr
from redeepfake_nb.media.video import open_video


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
