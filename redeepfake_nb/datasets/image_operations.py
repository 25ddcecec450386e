"""Image degradations that training augmentation, self-blending and robustness tests have in common.

Images are (H, W, 3) uint8 RGB; every function returns a new array of the same shape and dtype.
"""

from __future__ import annotations

import cv2
import numpy as np


def compress_jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """Encode as JPEG at libjpeg ``quality`` (1..100) and decode again."""
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    _, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if decoded is None:  # only if memory runs out: OpenCV has just encoded it
        raise MemoryError("OpenCV could not decode a JPEG")
    return cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB)


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
