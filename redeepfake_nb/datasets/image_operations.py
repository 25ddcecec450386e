"""Image degradations that training augmentation, self-blending and robustness tests have in common.

Images are (H, W, 3) uint8 RGB; every function returns a new array of the same shape and dtype.
"""

from __future__ import annotations

from fractions import Fraction

import av
import cv2
import numpy as np

_H264_FRAMES = 4


def compress_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Encode as JPEG at libjpeg ``quality`` (1..100) and decode again."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:  # only if memory runs out: OpenCV has just encoded it
        raise MemoryError("OpenCV could not decode a JPEG")
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


def compress_h264(image: np.ndarray, crf: int, drift: tuple[int, int] = (0, 0)) -> np.ndarray:
    """Return the last of four frames of an H.264 stream that ends with ``image``.

    Unlike a single frame, which is coded much as a JPEG is, it is mostly predicted from those before it.

    Parameters
    ----------
    image
        Of any size; odd sides are padded by one pixel and cropped again.
    crf
        x264's constant rate factor, 0 to 51; higher is stronger.
    drift
        Motion of the picture in x and y, in pixels per frame.
    """
    height, width = image.shape[:2]
    even = cv2.copyMakeBorder(image, 0, height % 2, 0, width % 2, cv2.BORDER_REPLICATE)
    encoder = av.CodecContext.create("libx264", "w")
    encoder.height, encoder.width = even.shape[:2]
    encoder.pix_fmt, encoder.time_base = "yuv420p", Fraction(1, 25)
    # One thread and no macroblock trees: with either, x264's output differs from run to run.
    encoder.options = {"crf": str(crf), "preset": "veryfast", "bf": "0", "mbtree": "0"}
    encoder.thread_count = 1
    packets = []
    for number in range(_H264_FRAMES):
        to_come = _H264_FRAMES - 1 - number
        shift = np.array([[1, 0, -to_come * drift[0]], [0, 1, -to_come * drift[1]]], np.float32)
        moved = cv2.warpAffine(even, shift, even.shape[1::-1], borderMode=cv2.BORDER_REPLICATE)
        frame = av.VideoFrame.from_ndarray(moved.astype(np.uint8, copy=False), format="rgb24")
        frame = frame.reformat(format="yuv420p")
        frame.pts = number
        packets += encoder.encode(frame)
    packets += encoder.encode(None)
    decoder = av.CodecContext.create("h264", "r")
    decoder.thread_count = 1
    frames = [frame for packet in [*packets, None] for frame in decoder.decode(packet)]
    return np.ascontiguousarray(frames[-1].to_ndarray(format="rgb24")[:height, :width])


def unsharp_mask(image: np.ndarray, amount: float, sigma: float = 1.0) -> np.ndarray:
    """Add ``amount`` times the difference from the blurred image, and clip to 0..255."""
    return cv2.addWeighted(image, 1 + amount, gaussian_blur(image, sigma), -amount, 0)


def gaussian_blur(image: np.ndarray, sigma: float) -> np.ndarray:
    """Blur with a Gaussian of standard deviation ``sigma`` in pixels."""
    return cv2.GaussianBlur(image, (0, 0), sigma)


def add_noise(
    image: np.ndarray, deviation: float, rng: np.random.Generator, *, truncate: bool = False
) -> np.ndarray:
    """Add white Gaussian noise with a standard deviation of ``deviation`` grey levels.

    Values are rounded, or cut off towards 0 with ``truncate``, and clipped to 0..255.
    """
    noisy = image + np.float32(deviation) * rng.standard_normal(image.shape, np.float32)
    return (noisy if truncate else np.rint(noisy)).clip(0, 255).astype(np.uint8)


def rescale(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize to ``width`` x ``height`` pixels and back: area averages down, linear interpolation up."""
    small = resize(image, width, height)
    return resize(small, image.shape[1], image.shape[0])


def resize(image: np.ndarray, width: int, height: int) -> np.ndarray:
    """Resize by area averages if either side shrinks, else by linear interpolation."""
    shrinks = image.shape[0] > height or image.shape[1] > width
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
