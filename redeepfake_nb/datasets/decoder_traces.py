"""Traces that the decoders of generators leave in a picture, without any change of its content.

Three kinds, each made from the picture itself:

- ``"transposed"``: a transposed convolution, that is zeros between the pixels and a small kernel. It repeats
  the spectrum around the Nyquist frequency and shows as a fine checkerboard (Odena et al., "Deconvolution and
  checkerboard artifacts", Distill 2016; Zhang et al., "Detecting and simulating artifacts in GAN fake
  images", WIFS 2019).
- ``"nearest"``: repeated pixels and a small convolution, with grain that was made at the low resolution, as
  in the decoders of StyleGAN and Stable Diffusion.
- ``"bottleneck"``: overlapping patches through few components, as in an autoencoder: edges stay, fine texture
  becomes smooth or is made up anew, chroma more than luma.
"""

from __future__ import annotations

import functools

import cv2
import numpy as np

from .blending import validated_image
from .image_operations import resize

TRACES: tuple[str, ...] = ("transposed", "nearest", "bottleneck")

_PATCH = 8


def generator_traces(
    image: np.ndarray, rng: np.random.Generator, *, kind: str | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Pass a whole picture through an imitation of a generator's decoder.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB. Not changed.
    rng
        Source of all randomness; the same state gives the same result.
    kind
        One of :data:`TRACES`; None draws one.

    Returns
    -------
    decoded : (H, W, 3) uint8
    mask : (H, W) float32
        All 1.

    Raises
    ------
    ValueError
        Wrong shape or dtype, or an unknown kind.
    """
    image = validated_image(image)
    drawn = TRACES[rng.integers(len(TRACES))]
    kind = drawn if kind is None else kind
    if kind not in TRACES:
        raise ValueError(f"kind must be one of {', '.join(TRACES)}, not {kind!r}")
    if kind == "bottleneck":
        decoded = _bottleneck(image, rng)
    else:
        decoded = _upsampled(image, rng, transposed=kind == "transposed")
    mask: np.ndarray = np.ones(image.shape[:2], np.float32)
    return np.rint(decoded).clip(0, 255).astype(np.uint8), mask


def _upsampled(image: np.ndarray, rng: np.random.Generator, *, transposed: bool) -> np.ndarray:
    """Return the picture after its detail was made by an upsampling layer, float32."""
    height, width = image.shape[:2]
    # Half of the time the picture was made larger and scaled down afterwards, so that the pattern's period
    # is not a whole number of pixels.
    scale = 1.0 if rng.random() < 0.5 else rng.uniform(1.0, 1.6)
    large = (round(width * scale), round(height * scale))
    whole = image if scale == 1 else cv2.resize(image, large, interpolation=cv2.INTER_CUBIC)
    doublings = 2 if rng.random() < 0.2 and min(large) >= 64 else 1
    # Whole pixels of the low resolution, so that nothing is shifted against the picture.
    right, bottom = (-side % 2**doublings for side in large)
    padded = cv2.copyMakeBorder(whole, 0, bottom, 0, right, cv2.BORDER_REPLICATE)
    small = resize(padded, *(-(-side // 2**doublings) for side in large))
    made = _with_invented_grain(small, padded, rng)
    for _ in range(doublings):
        made = _transposed_convolution(made, rng) if transposed else _repeated_pixels(made, rng)
    made = made[: large[1], : large[0]]
    # Detail that the low resolution cannot carry comes back from the picture, in part.
    amount = rng.uniform(0.3, 1.0) / (1.0, 1.6)[doublings - 1]
    made = cv2.addWeighted(whole.astype(np.float32), 1 - amount, made, amount, 0)
    sharper = rng.uniform(0, 0.5)
    made = cv2.addWeighted(made, 1 + sharper, cv2.GaussianBlur(made, (0, 0), 1.2), -sharper, 0)
    return made if scale == 1 else cv2.resize(made, (width, height), interpolation=cv2.INTER_AREA)


def _with_invented_grain(small: np.ndarray, whole: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return a small picture, float32, with noise as strong, place by place, as the detail it has lost.

    Without it the result would be a blurred picture, and genuine pictures are blurred as well.
    """
    height, width = small.shape[:2]
    lost = cv2.absdiff(whole, cv2.resize(small, whole.shape[1::-1])).mean(axis=2, dtype=np.float32)
    local = cv2.blur(cv2.resize(lost, (width, height), interpolation=cv2.INTER_AREA), (3, 3))
    follows, even = rng.uniform(0, 1.5, 2)
    noise = (np.float32(follows) * local + np.float32(even)) * rng.standard_normal(
        (height, width), np.float32
    )
    grainy: np.ndarray = small + noise[..., None]
    return grainy


def _transposed_convolution(small: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Enlarge twice: zeros between the pixels, then a smooth kernel with random deviations."""
    height, width = small.shape[:2]
    spread: np.ndarray = np.zeros((2 * height, 2 * width, small.shape[2]), np.float32)
    spread[::2, ::2] = small
    side = rng.uniform(0.05, 0.3)  # 0.25 interpolates linearly
    profile = np.array([side, 1 - side, 1 - side, side])
    kernel = np.outer(profile, profile)
    # Most patterns are faint, a few easily visible.
    kernel *= 1 + 10 ** rng.uniform(-2.5, -1.3) * rng.standard_normal(kernel.shape)
    kernel *= 4 / kernel.sum()
    return cv2.filter2D(spread, -1, kernel.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)


def _repeated_pixels(small: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Enlarge twice: every pixel four times, then a small convolution with random deviations."""
    large = np.repeat(np.repeat(small, 2, axis=0), 2, axis=1)
    side = rng.uniform(0.05, 0.3)
    profile = np.array([side, 1.0, side])
    kernel = np.outer(profile, profile)
    kernel *= 1 + 0.1 * rng.standard_normal(kernel.shape)
    kernel /= kernel.sum()
    return cv2.filter2D(large, -1, kernel.astype(np.float32), borderType=cv2.BORDER_REFLECT_101)


@functools.cache
def _cosines() -> np.ndarray:
    """Return the basis of the 8 x 8 DCT without its mean: (64 values, 63 components) from low to high."""
    k = np.arange(_PATCH)
    line = np.cos(np.pi * (k[:, None] + 0.5) * k / _PATCH) * np.sqrt(2 / _PATCH)
    line[:, 0] = np.sqrt(1 / _PATCH)
    basis = np.einsum("yv,xu->yxvu", line, line).reshape(64, 64)
    order = np.argsort(np.add.outer(k, k).ravel(), kind="stable")
    cosines: np.ndarray = np.ascontiguousarray(basis[:, order[1:]].astype(np.float32))
    return cosines


@functools.cache
def _window() -> np.ndarray:
    """Return the (64,) window whose copies, shifted by half a patch, add up to 1."""
    line = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(_PATCH) + 0.5) / _PATCH)
    window: np.ndarray = np.outer(line, line).ravel().astype(np.float32)
    return window


def _bottleneck(image: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the picture rebuilt from few components of overlapping patches, float32."""
    height, width = image.shape[:2]
    # In float: whole levels of chroma would show as a grid where colours change slowly.
    planes = 255 * cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_RGB2YCrCb)
    own = rng.random() < 0.5  # components of this picture instead of cosines
    kept, threshold = int(rng.integers(6, 24)), rng.uniform(0, 8)
    invented = rng.uniform(0, 1) if rng.random() < 0.6 else 0.0
    luma = _through_patches(planes[..., 0], kept, threshold, invented, own, rng)
    kept = int(rng.integers(2, 9))
    small = (-(-width // 2), -(-height // 2))  # chroma at half the resolution
    chroma = [
        cv2.resize(
            _through_patches(
                cv2.resize(np.ascontiguousarray(planes[..., c]), small, interpolation=cv2.INTER_AREA),
                kept,
                threshold,
                0.0,
                False,
                rng,
            ),
            (width, height),
            interpolation=cv2.INTER_LINEAR,
        )
        for c in (1, 2)
    ]
    made = np.stack([luma, *chroma], axis=-1)
    made = planes + np.float32(rng.uniform(0.5, 1.0)) * (made - planes)
    made[..., 0] += np.float32(rng.uniform(0, 0.5)) * (
        made[..., 0] - cv2.GaussianBlur(made[..., 0], (0, 0), 1.0)
    )
    return 255 * cv2.cvtColor(made / 255, cv2.COLOR_YCrCb2RGB)


def _through_patches(
    plane: np.ndarray, kept: int, threshold: float, invented: float, own: bool, rng: np.random.Generator
) -> np.ndarray:
    """Return a plane, (H, W) float32, rebuilt from the mean and ``kept`` components of overlapping patches.

    Components weaker than ``threshold`` are left out; ``invented`` is the share of the strength of the
    components left out that comes back with random signs: texture as strong as before, but not the same.
    """
    height, width = plane.shape
    half = _PATCH // 2
    rows, columns = -(-height // half) + 1, -(-width // half) + 1
    padded = cv2.copyMakeBorder(
        plane,
        half,
        (rows + 1) * half - height - half,
        half,
        (columns + 1) * half - width - half,
        cv2.BORDER_REFLECT_101 if min(plane.shape) > _PATCH else cv2.BORDER_REPLICATE,
    )
    windows = np.lib.stride_tricks.sliding_window_view(padded, (_PATCH, _PATCH))[::half, ::half]
    patches = windows.reshape(-1, _PATCH * _PATCH)
    # The mean is no component: a part of it that was left out would show as a grid.
    means = patches.mean(axis=1, keepdims=True)
    patches = patches - means
    basis = np.linalg.eigh(patches.T @ patches)[1][:, :0:-1].astype(np.float32) if own else _cosines()
    if invented == 0:
        basis = basis[:, :kept]
    parts = patches @ basis
    weak = parts.copy() if invented else parts
    parts[:, kept:] = 0
    # Strong components stay as they are, weak ones vanish without a step between the two.
    parts[:, :kept] *= np.maximum(1 - np.float32(threshold**2) / np.maximum(parts[:, :kept] ** 2, 1e-6), 0)
    if invented:
        weak -= parts
        weak *= np.float32(invented) * (2 * rng.integers(0, 2, weak.shape, np.int8) - 1)
        parts += weak
    made = (parts @ basis.T + means) * _window()
    made = made.reshape(rows, columns, _PATCH, _PATCH)
    whole: np.ndarray = np.zeros(((rows + 1) * half, (columns + 1) * half), np.float32)
    quarters = whole.reshape(rows + 1, half, columns + 1, half)
    for y in (0, 1):
        for x in (0, 1):
            block = made[:, :, y * half : (y + 1) * half, x * half : (x + 1) * half]
            quarters[y : y + rows, :, x : x + columns, :] += block.transpose(0, 2, 1, 3)
    return whole[half : half + height, half : half + width]
