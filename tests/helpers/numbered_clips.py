"""Small test videos in which every frame shows its own number as a row of bars."""

from __future__ import annotations

import io
from collections.abc import Sequence
from fractions import Fraction

import av
import numpy as np

from redeepfake_nb.media.video import open_video

BITS = 8
WIDTH, HEIGHT = 128, 64
# Options of x264: a keyframe every 20 frames, B-frames.
X264 = {"g": "20", "bf": "3"}


def numbered(number: int, width: int = WIDTH, height: int = HEIGHT) -> np.ndarray:
    """Draw (height, width, 3) uint8: a moving gradient, and above it ``number`` as 8 bars, white for 1."""
    x = np.arange(width)
    row = (np.abs((x + 3 * number) % 128 - 64) + 60).astype(np.uint8)
    image = np.repeat(np.repeat(row[None, :, None], height, axis=0), 3, axis=2)
    for bit in range(BITS):
        left, right = bit * width // BITS, (bit + 1) * width // BITS
        image[: height // 2, left:right] = 235 if number >> bit & 1 else 16
    return image


def number_in(image: np.ndarray) -> int:
    """Read the number that a frame shows, also after lossy compression."""
    height, width = image.shape[:2]
    bars = image[: height // 3].mean(axis=(0, 2)).reshape(BITS, width // BITS).mean(axis=1)
    return int(((bars > 126) << np.arange(BITS)).sum())


def clip(
    numbers,
    *,
    container: str = "mp4",
    codec: str = "libx264",
    rate: int = 25,
    stamps=None,
    pix_fmt: str = "yuv420p",
    options: dict[str, str] | None = None,
    muxer: dict[str, str] | None = None,
    size: tuple[int, int] = (WIDTH, HEIGHT),
    picture=numbered,
    prepare=None,
    path=None,
) -> bytes:
    """Encode a video of the frames ``picture(number, width, height)`` with the PTS ``stamps`` in units of 1 /
    rate.

    With ``path`` it is written to that file, and the result is empty.
    """
    out = io.BytesIO()
    with av.open(out if path is None else str(path), "w", format=container, options=muxer or {}) as file:
        stream = file.add_stream(codec, rate=rate, options=options or {})
        stream.width, stream.height = size
        stream.pix_fmt = pix_fmt
        stream.codec_context.time_base = Fraction(1, rate)
        if prepare is not None:
            prepare(stream)
        for place, number in enumerate(numbers):
            pixels = picture(number, *size)
            if isinstance(pixels, av.VideoFrame):
                frame = pixels
            else:
                frame = av.VideoFrame.from_ndarray(pixels).reformat(format=pix_fmt)
            frame.pts = place if stamps is None else stamps[place]
            frame.time_base = Fraction(1, rate)
            for packet in stream.encode(frame):
                file.mux(packet)
        for packet in stream.encode():
            file.mux(packet)
    return out.getvalue()


def several_streams(lengths: Sequence[int], container: str = "matroska") -> bytes:
    """A file with streams of so many frames; those of the second begin at number 32, and so on."""
    out = io.BytesIO()
    with av.open(out, "w", format=container) as made:
        streams = [made.add_stream("libx264", rate=25, options={"bf": "0"}) for _ in lengths]
        for stream in streams:
            stream.width, stream.height, stream.pix_fmt = 128, 64, "yuv420p"
        for i in range(max(lengths)):
            for k, (stream, length) in enumerate(zip(streams, lengths, strict=True)):
                if i < length:
                    picture = av.VideoFrame.from_ndarray(numbered(32 * k + i), format="rgb24")
                    picture.pts = i
                    made.mux(stream.encode(picture))
        for stream in streams:
            made.mux(stream.encode(None))
    return out.getvalue()


def sampled(source, *args, **options) -> tuple[list[int], list[int], list[float]]:
    """Numbers shown in the frames, their indices and timestamps."""
    with open_video(source) as video:
        frames = list(video.sample(*args, **options))
    return [number_in(f.image) for f in frames], [f.index for f in frames], [f.timestamp for f in frames]
