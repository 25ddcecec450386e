"""Random training augmentation of face crops: framing, light, optics, scaling, noise, compression, erasing.

A change is drawn once (:func:`draw`) and can then be applied to several faces (:func:`apply`): a fake and its
own original get exactly the same change, so that the manipulation remains the only difference in the pair.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from .image_operations import add_noise, compress_h264, compress_jpeg, gaussian_blur, resize, unsharp_mask


@dataclass(frozen=True)
class Augmentation:
    """Strength of the random changes. Probabilities lie in 0..1; ranges are (lowest, highest).

    Parameters
    ----------
    crop
        Side of the random crop as a share of the face's side.
    flip, rotate, colour, blur, rescale, noise, jpeg, erase, sharpen, video
        Probability of each change. ``sharpen``, an unsharp mask, is what cameras and photo editors do;
        ``video`` makes the face a frame of an H.264 stream, at the size it is downscaled to.
    max_angle
        Largest rotation in degrees, to either side.
    jpeg_quality
        libjpeg quality, 1 to 100.
    rescale_to
        Side to which a face is downscaled before it is enlarged again, as a share of its size.
    video_crf
        x264's constant rate factor, 1 to 51; higher is stronger. 23 is its default.
    """

    crop: tuple[float, float] = (0.7, 1.0)
    flip: float = 0.5
    rotate: float = 0.3
    max_angle: float = 12.0
    colour: float = 0.7
    blur: float = 0.15
    rescale: float = 0.2
    rescale_to: tuple[float, float] = (0.45, 0.9)
    noise: float = 0.1
    jpeg: float = 0.6
    jpeg_quality: tuple[int, int] = (40, 95)
    erase: float = 0.2
    sharpen: float = 0.0
    video: float = 0.0
    video_crf: tuple[int, int] = (20, 34)

    def __post_init__(self) -> None:
        low, high = self.video_crf
        if not 1 <= low <= high <= 51:
            raise ValueError(f"video_crf must be two rate factors from 1 to 51, not {self.video_crf}")


@dataclass(frozen=True, eq=False)
class Change:
    """Parameters of one drawn change. ``None`` or 0 skips a step; lengths are shares of the side."""

    crop: tuple[float, float, float]  # left, top, side
    flip: bool
    angle: float
    gain: np.ndarray | None  # (3,) factor per channel
    offset: float
    gamma: float
    saturation: float
    blur: float  # sigma in pixels
    rescale: float
    noise: float  # standard deviation in grey levels
    noise_seed: int
    jpeg: int
    erase: tuple[float, float, float, float] | None  # left, top, width, height
    erase_value: int
    sharpen: float = 0.0  # amount of the unsharp mask
    crf: int = 0
    drift: tuple[int, int] = (0, 0)  # x, y in pixels per frame


def draw(rng: np.random.Generator, strength: Augmentation) -> Change:
    """Draw the parameters of one change at random."""

    def happens(probability: float) -> bool:
        return bool(rng.random() < probability)

    s = strength
    side = rng.uniform(*s.crop)
    left, top = rng.uniform(0, 1 - side, 2)
    coloured = happens(s.colour)
    erase = None
    if happens(s.erase):
        width, height = rng.uniform(0.1, 0.4, 2)
        erase = (rng.uniform(0, 1 - width), rng.uniform(0, 1 - height), width, height)
    change = Change(
        crop=(left, top, side),
        flip=happens(s.flip),
        angle=float(rng.uniform(-s.max_angle, s.max_angle)) if happens(s.rotate) else 0.0,
        gain=rng.uniform(0.85, 1.15) * rng.uniform(0.94, 1.06, 3) if coloured else None,
        offset=float(rng.uniform(-20, 20)) if coloured else 0.0,
        gamma=float(np.exp(rng.uniform(-0.3, 0.3))) if coloured else 1.0,
        saturation=float(rng.uniform(0.6, 1.3)) if coloured else 1.0,
        blur=float(rng.uniform(0.4, 1.2)) if happens(s.blur) else 0.0,
        rescale=float(rng.uniform(*s.rescale_to)) if happens(s.rescale) else 0.0,
        noise=float(rng.uniform(1, 8)) if happens(s.noise) else 0.0,
        noise_seed=int(rng.integers(2**31)),
        jpeg=int(rng.integers(s.jpeg_quality[0], s.jpeg_quality[1] + 1)) if happens(s.jpeg) else 0,
        erase=erase,
        erase_value=int(rng.integers(256)),
    )
    # Drawn only where asked for, so that recipes without them see the same batches as before these existed.
    if s.sharpen and happens(s.sharpen):
        change = replace(change, sharpen=float(rng.uniform(0.3, 1.5)))
    if s.video and happens(s.video):
        crf = int(rng.integers(s.video_crf[0], s.video_crf[1] + 1))
        x, y = rng.integers(-2, 3, 2).tolist()
        change = replace(change, crf=crf, drift=(x, y))
    return change


def _resize_square(image: np.ndarray, size: int) -> np.ndarray:
    shrinks = image.shape[0] > size
    return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _tone_curve(gain: np.ndarray, offset: float, gamma: float) -> np.ndarray:
    """Return a (256, 3) uint8 look-up table that applies gamma, then gain and offset, to each channel."""
    level = (np.arange(256) / 255.0) ** gamma * 255.0
    return np.clip(level[:, None] * gain[None] + offset, 0, 255).astype(np.uint8)


def apply(image: np.ndarray, change: Change, size: int) -> np.ndarray:
    """Apply ``change`` to a face.

    The steps follow the life of a picture: framing, light, optics, scaling, sensor noise, compression. Random
    erasing comes last.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB. Not changed.
    change
        From :func:`draw`.
    size
        Side of the result in pixels.

    Returns
    -------
    numpy.ndarray
        (size, size, 3) uint8 RGB.
    """
    height, width = image.shape[:2]
    if change.angle:
        rotation = cv2.getRotationMatrix2D((width / 2, height / 2), change.angle, 1.0)
        image = cv2.warpAffine(
            image, rotation, (width, height), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
    left, top, side = change.crop
    x, y = round(left * width), round(top * height)
    image = image[y : y + max(8, round(side * height)), x : x + max(8, round(side * width))]
    image = _resize_square(image, size)
    if change.flip:
        image = image[:, ::-1]
    image = np.ascontiguousarray(image)
    if change.gain is not None:
        image = cv2.LUT(image, _tone_curve(change.gain, change.offset, change.gamma)[None])
        grey = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
        image = cv2.addWeighted(image, change.saturation, grey, 1 - change.saturation, 0)
    if change.blur:
        image = gaussian_blur(image, change.blur)
    if change.sharpen:
        image = unsharp_mask(image, change.sharpen)
    if change.rescale or change.crf:
        small = max(24, round(size * change.rescale)) if change.rescale else size
        image = resize(image, small, small)
        if change.crf:
            image = compress_h264(image, change.crf, change.drift)
        image = resize(image, size, size)
    if change.noise:
        image = add_noise(image, change.noise, np.random.default_rng(change.noise_seed), truncate=True)
    if change.jpeg:
        image = compress_jpeg(image, change.jpeg)
    if change.erase:
        left, top, w, h = change.erase
        x, y = int(left * size), int(top * size)
        image[y : y + int(h * size), x : x + int(w * size)] = change.erase_value
    return image
