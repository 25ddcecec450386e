"""Measure how much of a face is really there: the resolution behind enlarged pixels, and covered parts.

The number of pixels of a face says little about its detail. A small face that was enlarged has many pixels
and the detail of few; a mosaic consists of blocks; a bar hides what a model looks at. Neither measure needs
the original.

How often each leads to a doubt, on faces as they come and on the same faces degraded, is in
``docs/reliability.md``.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

# Larger crops are reduced to this shorter side first. Smaller ones than the second have too few frequencies.
_LARGEST = 256
_SMALLEST = 32

# Spectrum: a quarter of an octave per band, from 3 cycles per face; the coarse detail that fine detail is
# compared with; how far fine detail may fall below it, both in decades of energy. Chosen on genuine and
# generated faces and on the same faces reduced to a half to an eighth and enlarged again.
_LOWEST_CYCLES = 3.0
_BAND = 2**0.25
_BANDS = 25
_COARSE = slice(1, 6)
_COARSE_WEIGHT = 0.55
_FLOOR = -1.6
# An enlarged face has some energy beyond its own pixels, so the frequency at which detail ends is too high.
_RESOLVED_SHARE = 0.65
# Decades of energy in grey levels squared; a box without any texture says nothing about resolution.
_MIN_TEXTURE = 0.0

# Blocks: the change between neighbouring columns (rows) on a regular grid, divided by that elsewhere. The
# blocks of JPEG and of video compression, 8 and 16 px, make such a grid too, if a much weaker one.
_BLOCK_CONTRAST = 1.9
_COMPRESSION_PERIODS = (8.0, 16.0)
_COMPRESSION_WEIGHT = 0.6
_FEWEST_BLOCKS = 6.0
_NARROWEST_BLOCK = 2.2

# Flat areas: shorter side at which they are looked for, largest range of a colour in a window and deviation
# over an area, contrast with the surroundings and the share of the outline that shows it.
_FLAT_SIDE = 128
_WINDOW = np.ones((5, 5), np.uint8)
_OUTLINE = np.ones((9, 9), np.uint8)
_FLAT_RANGE = 6
_FLAT_DEVIATION = 3.0
_FLAT_CONTRAST = 12
_OUTLINE_SHARE = 0.3


@dataclass(frozen=True)
class Detail:
    """The resolution of a face that is really there.

    Parameters
    ----------
    size
        Shorter side in pixels that would hold the face's detail, at most that of the crop.
    blocks
        Whether the face consists of visible blocks, as after nearest-neighbour enlargement or a mosaic.
    """

    size: float
    blocks: bool = False


def measure_detail(crop: np.ndarray) -> Detail:
    """Measure the resolution of a face that is really there.

    The energy of natural images falls slowly with frequency (Field, "Relations between the statistics of
    natural images and the response properties of cortical cells", JOSA A 4, 1987); that of an enlarged one
    breaks off where the pixels of the small one ended. The result is the frequency at which the energy falls
    under a floor that depends on the face's coarse detail. Blocks have sharp edges and no such break, so they
    are looked for as a grid in the differences of neighbouring columns and rows.

    Parameters
    ----------
    crop
        (H, W, 3) uint8 RGB, the face's box.

    Returns
    -------
    Detail
        Its size is the crop's own where nothing is missing, where the crop is under 32 px, and where it has
        no texture at all.
    """
    size = min(crop.shape[:2])
    grey = _reduced(cv2.cvtColor(np.ascontiguousarray(crop), cv2.COLOR_RGB2GRAY), _LARGEST)
    if min(grey.shape) < _SMALLEST:
        return Detail(float(size))
    grey = grey.astype(np.float64)
    blocks, resolved = _blocks(grey), _resolved(grey) or float(size)
    return Detail(resolved) if blocks is None or blocks > resolved else Detail(blocks, blocks=True)


def flat_share(crop: np.ndarray) -> float:
    """Measure the largest part of a face that is of one colour, as under a bar, a sticker or a mask.

    Parameters
    ----------
    crop
        (H, W, 3) uint8 RGB, the face's box.

    Returns
    -------
    float
        Share of the ellipse inside the box, 0..1. Areas that fade into their surroundings, such as shadows
        and highlights, do not count; nor does a crop of one colour throughout.
    """
    crop = _reduced(np.ascontiguousarray(crop), _FLAT_SIDE)
    height, width = crop.shape[:2]
    change = (cv2.dilate(crop, _WINDOW).astype(np.int16) - cv2.erode(crop, _WINDOW)).max(axis=2)
    count, labels, statistics, _ = cv2.connectedComponentsWithStats(
        (change <= _FLAT_RANGE).astype(np.uint8), connectivity=4
    )
    y, x = np.mgrid[0:height, 0:width] + 0.5
    ellipse = ((x / width - 0.5) / 0.42) ** 2 + ((y / height - 0.5) / 0.48) ** 2 <= 1
    largest = 0.0
    for i in range(1, count):
        if statistics[i, cv2.CC_STAT_AREA] < 0.01 * height * width:
            continue
        core = labels == i
        if crop[core].std(axis=0).max() > _FLAT_DEVIATION:
            continue
        colour = np.median(crop[core], axis=0)
        # The window keeps a margin from the area's edge.
        area = cv2.dilate(core.astype(np.uint8), _WINDOW) > 0
        outline = (cv2.dilate(area.astype(np.uint8), _OUTLINE) > 0) & ~area
        contrast = np.abs(crop[outline] - colour).max(axis=1) if outline.any() else np.zeros(1)
        if (contrast > _FLAT_CONTRAST).mean() >= _OUTLINE_SHARE:
            largest = max(largest, float(area[ellipse].mean()))
    return largest


def _reduced(image: np.ndarray, side: int) -> np.ndarray:
    """Reduce an image to this shorter side; smaller ones stay as they are."""
    factor = side / min(image.shape[:2])
    if factor >= 1:
        return image
    size = max(round(image.shape[1] * factor), 1), max(round(image.shape[0] * factor), 1)
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


@lru_cache(maxsize=8)
def _frequencies(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Return a Hann window and, for each frequency of the spectrum, its band (0 and the last: outside)."""
    window = np.hanning(height)[:, None] * np.hanning(width)
    side = min(height, width)
    cycles = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)) * side
    edges = _LOWEST_CYCLES * _BAND ** np.arange(_BANDS + 1)
    return window, np.digitize(cycles, edges)


def _resolved(grey: np.ndarray) -> float | None:
    """Return the shorter side in pixels that holds the detail of a (H, W) float64 image; None for its own."""
    height, width = grey.shape
    side = min(height, width)
    window, bands = _frequencies(height, width)
    centred = (grey - (grey * window).sum() / window.sum()) * window
    power = np.abs(np.fft.fft2(centred)) ** 2 / ((window**2).sum() * height * width)
    energy = np.bincount(bands.ravel(), power.ravel(), _BANDS + 2)[1 : _BANDS + 1]
    level = np.log10(energy + 1e-9)
    coarse = level[_COARSE].mean()
    if coarse < _MIN_TEXTURE:
        return None
    level = level - _COARSE_WEIGHT * coarse
    level = np.convolve(np.pad(level, 1, mode="edge"), [0.25, 0.5, 0.25], "valid")
    for i in range(_COARSE.stop, _BANDS):
        if _LOWEST_CYCLES * _BAND ** (i + 1) > side / 2:
            break
        if level[i] < _FLOOR:
            before = level[i - 1]
            part = float(np.clip((before - _FLOOR) / (before - level[i]), 0, 1)) if before > level[i] else 0.0
            cycles = _LOWEST_CYCLES * _BAND ** (i - 0.5 + part)
            return float(2 * cycles * _RESOLVED_SHARE)
    return None


@lru_cache(maxsize=8)
def _grids(length: int, side: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return regular grids of edges between the pixels of a line: masks, index and size of their periods."""
    periods = side / np.arange(_FEWEST_BLOCKS, side / _NARROWEST_BLOCK, 0.5)
    phases = np.ceil(periods).astype(int)
    index = np.repeat(np.arange(len(periods)), phases)
    phase = np.concatenate([np.arange(count) / count for count in phases])
    block = np.floor(np.arange(length) / periods[index, None] + phase[:, None])
    return (block[:, 1:] != block[:, :-1]).astype(np.float32), index, periods


def _blocks(grey: np.ndarray) -> float | None:
    """Return how many blocks the shorter side of a (H, W) float64 image consists of; None without blocks."""
    side = min(grey.shape)
    found = []
    for lines in (grey, grey.T):
        masks, index, periods = _grids(lines.shape[1], side)
        change = np.abs(np.diff(lines, axis=1)).mean(axis=0).astype(np.float32)
        # Relative to the neighbourhood, so that the edges of eyes and mouth count no more than others.
        change /= cv2.blur(change[None], (len(change) // 4 | 1, 1), borderType=cv2.BORDER_REFLECT)[0] + 0.05
        on, edges = masks @ change, masks.sum(axis=1)
        elsewhere = (change.sum() - on) / (len(change) - edges)
        best = np.zeros(len(periods))
        # As if six more edges were ordinary, since a few columns may be strong by chance.
        np.maximum.at(best, index, (on + 6 * change.mean()) / (edges + 6) / (elsewhere + 0.02))
        found.append(best)
    contrast = np.sqrt(found[0] * found[1])
    for period in _COMPRESSION_PERIODS:
        contrast = np.where(np.abs(periods / period - 1) < 0.04, contrast * _COMPRESSION_WEIGHT, contrast)
    chosen = int(contrast.argmax())
    return float(side / periods[chosen]) if contrast[chosen] > _BLOCK_CONTRAST else None
