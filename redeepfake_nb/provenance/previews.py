"""Compare the preview that is embedded in EXIF with the picture itself.

A program that edits the picture and copies the metadata leaves the preview of the original behind, which then
shows what was there before.
"""

from __future__ import annotations

import numpy as np
from PIL import Image

from ..media.image_decoding import decode_image
from .records import Thumbnail

# Both are compared at this many pixels on the longer side; previews are 160 pixels wide by the standard.
_SIZE = 64
_MAX_PREVIEW_PIXELS = 2_000_000
# Mean difference of grey values above which it shows something else; docs/provenance.md has the error rates.
DIFFERENT = 14.0
# Black bars that cameras add to a preview of another aspect ratio.
_BAR_LEVEL = 24


def compare_preview(preview: bytes, orientation: int, pixels: np.ndarray) -> Thumbnail:
    """Decode an embedded preview and compare it with the picture.

    Parameters
    ----------
    preview
        A JPEG.
    orientation
        EXIF orientation of the picture, which holds for its preview, too.
    pixels
        (H, W, 3) uint8 RGB, upright.

    Raises
    ------
    InputError
        The preview cannot be decoded.
    """
    image, _, _ = decode_image(preview, name="embedded preview", max_pixels=_MAX_PREVIEW_PIXELS)
    image = _upright(image, orientation)
    wanted = pixels.shape[1] / pixels.shape[0]
    difference = min(_difference(candidate, pixels) for candidate in (image, _without_bars(image, wanted)))
    return Thumbnail(image, difference, difference > DIFFERENT)


_TURNS = {3: 2, 4: 2, 5: 1, 6: 3, 7: 3, 8: 1}
_MIRRORED = (2, 4, 5, 7)


def _upright(image: np.ndarray, orientation: int) -> np.ndarray:
    turned = np.rot90(image, _TURNS.get(orientation, 0))
    return np.ascontiguousarray(turned[:, ::-1] if orientation in _MIRRORED else turned)


def _without_bars(image: np.ndarray, aspect: float) -> np.ndarray:
    """Crop to the picture's aspect ratio where the rest is black on both sides."""
    height, width = image.shape[:2]
    if width / height < aspect:
        rows = (height - round(width / aspect)) // 2
        bars, inner = (image[:rows], image[height - rows :]), image[rows : height - rows]
    else:
        columns = (width - round(height * aspect)) // 2
        bars = (image[:, :columns], image[:, width - columns :])
        inner = image[:, columns : width - columns]
    dark = all(bar.size and bar.mean() < _BAR_LEVEL for bar in bars)
    return inner if dark and min(inner.shape[:2]) > 8 else image


def _difference(preview: np.ndarray, pixels: np.ndarray) -> float:
    height, width = pixels.shape[:2]
    scale = _SIZE / max(height, width)
    size = max(round(width * scale), 8), max(round(height * scale), 8)
    first, second = (
        np.asarray(Image.fromarray(image).convert("L").resize(size, Image.Resampling.BOX), float)
        for image in (preview, pixels)
    )
    # Raw developers change brightness and contrast; what is shown stays the same.
    centred = first - first.mean()
    variance = float((centred**2).mean())
    slope = float((centred * (second - second.mean())).mean()) / variance if variance > 1 else 0.0
    matched = second.mean() + max(slope, 0.0) * centred
    return float(np.abs(matched - second).mean())
