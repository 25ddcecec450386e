"""Convert decoded video frames to upright RGB according to their colour tags and display matrix.

* The YUV matrix (BT.601, BT.709, BT.2020) and the range (full or limited) are those the frame is tagged with.
  An untagged frame is taken as BT.601 with limited range, as FFmpeg and OpenCV do, whatever its size.
* More than 8 bits are rounded to 8. HDR (PQ, HLG) and BT.2020 are converted to SDR; a note says so. See
  :mod:`redeepfake_nb.media.tone_mapping`.
* Rotation by multiples of 90 degrees and mirroring are applied; other angles are only noted.
* Frames whose pixels are not square are enlarged along their shorter side until they are; a note says so.
* Transparent parts are composited on white.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from .notes import Note, doubt
from .tone_mapping import HLG, PQ, describe, to_sdr

if TYPE_CHECKING:
    import av

_UNSPECIFIED = 2
# Ratios of pixel sides outside this range are taken as wrong.
_PLAUSIBLE_ASPECT = (0.2, 5.0)


def square_pixel_size(
    width: int, height: int, pixel_aspect: float | None, max_pixels: int
) -> tuple[int, int]:
    """Return the size of a stored frame with square pixels.

    Parameters
    ----------
    width, height
        Stored size in pixels.
    pixel_aspect
        Width of a pixel divided by its height; ``None`` for unknown.
    max_pixels
        Where enlarging the shorter side of the pixels gives more than this, the longer one is reduced.
    """
    if not pixel_aspect or not _is_stretched(pixel_aspect):
        return width, height
    wide, high = round(width * max(pixel_aspect, 1)), round(height / min(pixel_aspect, 1))
    if wide * high <= max_pixels:
        return wide, high
    return max(round(width * min(pixel_aspect, 1)), 1), max(round(height / max(pixel_aspect, 1)), 1)


def _is_stretched(pixel_aspect: float) -> bool:
    low, high = _PLAUSIBLE_ASPECT
    return low <= pixel_aspect <= high and not 0.99 < pixel_aspect < 1.01


class FrameConverter:
    """Converts the frames of one video to RGB with square pixels. Not thread-safe.

    Parameters
    ----------
    pixel_aspect
        Width of a pixel divided by its height; ``None`` for unknown.
    max_pixels
        Largest width x height of a frame that was enlarged to have square pixels.
    """

    def __init__(self, pixel_aspect: float | None = None, max_pixels: int = 2**26) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._pixel_aspect = pixel_aspect
        self._max_pixels = max_pixels
        self._reformatter = VideoReformatter()
        # The fast mode: within 2 of 255 of exact arithmetic, and bit-identical to OpenCV, with which most
        # training faces were extracted. swscale's exact mode takes four times as long.
        self._flags = int(Interpolation.BILINEAR)
        self._resizing_flags = int(Interpolation.BICUBIC)

    def rgb(self, picture: av.VideoFrame) -> np.ndarray:
        """Convert a frame to (H, W, 3) uint8 RGB, upright.

        Raises
        ------
        av.FFmpegError
            The pixel format cannot be converted.
        """
        alpha = _has_alpha(picture)
        if describe(picture.color_trc, picture.color_primaries):
            # Read first: a matrix that is not known is replaced by none.
            tags = picture.color_trc, picture.color_primaries
            pixels = to_sdr(self._reformat(picture, "rgb48le").to_ndarray(), *tags)
        else:
            pixels = self._reformat(picture, "rgba" if alpha else "rgb24").to_ndarray()
            if alpha:
                pixels = composite_on_white(pixels)
        return _apply_display_matrix(pixels, display_matrix(picture))

    def _reformat(self, picture: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
        import av

        stored = picture.width, picture.height
        width, height = square_pixel_size(*stored, self._pixel_aspect, self._max_pixels)
        options: dict[str, Any] = {
            "width": width,
            "height": height,
            "format": pixel_format,
            "interpolation": self._flags if (width, height) == stored else self._resizing_flags,
            "threads": 1,
        }
        try:
            return self._reformatter.reformat(picture, **options)
        except (av.FFmpegError, ValueError):
            # Tagged with a matrix that swscale does not know (mostly a wrong tag): treat it as untagged.
            picture.colorspace = _UNSPECIFIED
            return self._reformatter.reformat(picture, **options)


def conversion_notes(
    picture: av.VideoFrame, pixel_aspect: float | None, shown: tuple[int, int]
) -> tuple[Note, ...]:
    """Describe in which respects the converted frame differs from what its producer intended.

    Parameters
    ----------
    picture
        The first frame.
    pixel_aspect
        Width of a pixel divided by its height, if known.
    shown
        Width and height of the converted frame.
    """
    found = []
    found += tone_mapping_notes(picture.color_trc, picture.color_primaries)
    if pixel_aspect and not 0.99 < pixel_aspect < 1.01:
        wide = f"pixels are {pixel_aspect:.3g} times as wide as high"
        if _is_stretched(pixel_aspect):
            size = f"{shown[0]} x {shown[1]}"
            found.append(Note(f"{wide}; frames are resized to {size} with square pixels"))
        else:
            found.append(doubt(f"{wide}, which is taken as an error"))
    if picture.interlaced_frame:
        found.append(doubt("interlaced; moving edges may look combed"))
    matrix = display_matrix(picture)
    if matrix is not None and _quarter_turn(matrix) is None:
        found.append(doubt(f"a rotation by {rotation(picture):g} degrees is not applied"))
    if _has_alpha(picture):
        found.append(Note("transparent parts are shown on white"))
    return tuple(found)


def tone_mapping_notes(transfer: int, primaries: int) -> list[Note]:
    """Say that a picture was converted to SDR; see :func:`redeepfake_nb.media.tone_mapping.to_sdr`."""
    kind = describe(transfer, primaries)
    if transfer in (PQ, HLG):
        return [
            doubt(f"high dynamic range ({kind}) converted to SDR by BT.2390; scores may differ from SDR's")
        ]
    return [Note(f"{kind} colours converted to BT.709")] if kind else []


def display_matrix(picture: av.VideoFrame) -> np.ndarray | None:
    """Get ((a, b), (c, d)) int32 from a frame's display matrix; ``None`` if it has none.

    A point (x, y) of the stored frame is displayed at (a x + c y, b x + d y), up to scale.
    """
    try:
        # PyAV's stub declares a dict of other keys; this is its container of side data, keyed by type.
        data = picture.side_data["DISPLAYMATRIX"]  # type: ignore[typeddict-item]
    except KeyError:
        return None
    values = np.frombuffer(bytes(data), np.int32)
    return values[:9].reshape(3, 3)[:2, :2] if len(values) >= 9 else None


def rotation(picture: av.VideoFrame) -> int:
    """Get the clockwise rotation, in whole degrees from 0 to 359, that brings the stored frame upright.

    PyAV's ``VideoFrame.rotation`` truncates the angle instead of rounding it.
    """
    matrix = display_matrix(picture)
    if matrix is None or not matrix.any():
        return 0
    (a, b), _ = matrix.astype(float)
    return round(np.degrees(np.arctan2(b, a))) % 360


def _quarter_turn(matrix: np.ndarray) -> tuple[bool, bool, bool] | None:
    """Split into (transpose, flip left-right, flip top-bottom), in this order; ``None`` for other angles."""
    (a, b), (c, d) = matrix.astype(float)
    largest = max(abs(v) for v in (a, b, c, d))
    small = 0.01 * largest
    if largest == 0:
        return False, False, False
    if max(abs(b), abs(c)) <= small and min(abs(a), abs(d)) > small:
        return False, a < 0, d < 0
    if max(abs(a), abs(d)) <= small and min(abs(b), abs(c)) > small:
        return True, c < 0, b < 0
    return None


def _apply_display_matrix(pixels: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
    turn = None if matrix is None else _quarter_turn(matrix)
    if turn is None:
        return pixels
    swap, left_right, top_bottom = turn
    if swap:
        pixels = pixels.transpose(1, 0, 2)
    if left_right:
        pixels = pixels[:, ::-1]
    if top_bottom:
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


def _has_alpha(picture: av.VideoFrame) -> bool:
    return picture.format.name.startswith(
        ("yuva", "rgba", "bgra", "argb", "abgr", "gbrap", "ya8", "ya16", "pal8")
    )


def composite_on_white(rgba: np.ndarray) -> np.ndarray:
    """Composite (H, W, 4) uint8 RGBA on white; returns (H, W, 3) uint8 RGB, C-contiguous."""
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    # At most 65152, which fits 16 bits.
    return ((rgba[..., :3] * alpha + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)
