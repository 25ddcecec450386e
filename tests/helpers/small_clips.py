"""Small videos with grey squares for faces, and a detector that sees them."""

from __future__ import annotations

import io
from fractions import Fraction

import av
import numpy as np

from redeepfake_nb.faces.detection import Detection

RATE = 10
SIZE = (160, 120)  # width, height
LEFT, RIGHT = (20, 30, 68, 78), (100, 30, 148, 78)


def level(probability: float) -> int:
    """The brightness for which the ``classifier`` fixture predicts this P(fake)."""
    return round((np.log(probability / (1 - probability)) + 4) / 8 * 255)


def picture(left: int | None, right: int | None = None) -> np.ndarray:
    """A textured scene with squares of these brightnesses where the faces are."""
    colours = np.random.default_rng(5).integers(80, 110, (12, 16, 3)).astype(np.uint8)
    image = colours.repeat(10, 0).repeat(10, 1)
    for box, brightness in ((LEFT, left), (RIGHT, right)):
        if brightness is not None:
            image[box[1] : box[3], box[0] : box[2]] = brightness
    return image


def detect_squares(image: np.ndarray) -> list[Detection]:
    """Detect a face where one of the squares is, that is, where the brightness is nearly constant."""
    boxes = [box for box in (LEFT, RIGHT) if np.ptp(image[box[1] : box[3], box[0] : box[2]][8:-8, 8:-8]) < 12]
    return [Detection(box, 1.0) for box in boxes]


def clip(pictures: list[np.ndarray]) -> bytes:
    """Encode a lossless video of these frames, ten per second."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        stream = container.add_stream("ffv1", rate=RATE)
        height, width = pictures[0].shape[:2]
        stream.width, stream.height, stream.pix_fmt = width, height, "bgr0"
        for pixels in pictures:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(stream.encode(None))
    return buffer.getvalue()


def three_seconds() -> bytes:
    """Left face: real, but fake from 1 s to 2 s. Right face: real, visible from 1 s on."""
    return clip(
        [
            picture(level(0.95) if 10 <= i < 20 else level(0.05), level(0.1) if i >= 10 else None)
            for i in range(30)
        ]
    )


def with_tone(pictures: list[np.ndarray], codec: str, hertz: float = 440.0) -> bytes:
    """Encode a Matroska video of these frames with a sine tone of equal length, mono, 16 kHz."""
    rate = 16_000
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="matroska") as container:
        video = container.add_stream("ffv1", rate=RATE)
        height, width = pictures[0].shape[:2]
        video.width, video.height, video.pix_fmt = width, height, "bgr0"
        sound = container.add_stream(codec, rate=rate)
        sound.layout = "mono"
        resampler = av.AudioResampler(
            format=sound.codec_context.format or "s16", layout="mono", rate=rate, frame_size=1024
        )
        for pixels in pictures:
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode(None))
        count = rate * len(pictures) // RATE
        wave = np.sin(2 * np.pi * hertz * np.arange(count) / rate)
        frame = av.AudioFrame.from_ndarray(
            (20_000 * wave).astype(np.int16)[None], format="s16", layout="mono"
        )
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        for piece in [*resampler.resample(frame), *resampler.resample(None)]:
            container.mux(sound.encode(piece))
        container.mux(sound.encode(None))
    return buffer.getvalue()
