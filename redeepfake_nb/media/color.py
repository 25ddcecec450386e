"""Convert decoded video frames to upright RGB according to their colour tags and display matrix.

* The YUV matrix (BT.601, BT.709, BT.2020) and the range (full or limited) are those the frame is tagged with.
  An untagged frame is taken as BT.601 with limited range, as FFmpeg and OpenCV do, whatever its size.
* More than 8 bits are rounded to 8. HDR (PQ, HLG) is not tone-mapped; a note says so.
* Rotation by multiples of 90 degrees and mirroring are applied; other angles are only noted.
* Frames with non-square pixels are not resized; a note says so.
* Transparent parts are composited on white.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .notes import Note, doubt

if TYPE_CHECKING:
    import av

_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2


class FrameConverter:
    """Converts the frames of one video to RGB. Not thread-safe."""

    def __init__(self) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._reformatter = VideoReformatter()
        # The fast mode: within 2 of 255 of exact arithmetic, and bit-identical to OpenCV, with which most
        # training faces were extracted. swscale's exact mode takes four times as long.
        self._flags = int(Interpolation.BILINEAR)

    def rgb(self, picture: av.VideoFrame) -> np.ndarray:
        """Convert a frame to (H, W, 3) uint8 RGB, upright.

        Raises
        ------
        av.FFmpegError
            The pixel format cannot be converted.
        """
        alpha = _has_alpha(picture)
        pixels = self._reformat(picture, "rgba" if alpha else "rgb24").to_ndarray()
        if alpha:
            pixels = composite_on_white(pixels)
        return _apply_display_matrix(pixels, display_matrix(picture))

    def _reformat(self, picture: av.VideoFrame, pixel_format: str) -> av.VideoFrame:
        import av

        try:
            return self._reformatter.reformat(
                picture, format=pixel_format, interpolation=self._flags, threads=1
            )
        except (av.FFmpegError, ValueError):
            # Tagged with a matrix that swscale does not know (mostly a wrong tag): treat it as untagged.
            picture.colorspace = _UNSPECIFIED
            return self._reformatter.reformat(
                picture, format=pixel_format, interpolation=self._flags, threads=1
            )


def conversion_notes(picture: av.VideoFrame, pixel_aspect: float | None) -> tuple[Note, ...]:
    """Describe in which respects the converted frame differs from what its producer intended.

    ``pixel_aspect`` is the width of a pixel divided by its height, if known.
    """
    found = []
    if picture.color_trc in _HDR:
        found.append(
            doubt(f"high dynamic range ({_HDR[picture.color_trc]}) is not tone-mapped; colours look flat")
        )
    if pixel_aspect and not 0.99 < pixel_aspect < 1.01:
        found.append(doubt(f"pixels are {pixel_aspect:.3g} times as wide as high; frames are not resized"))
    if picture.interlaced_frame:
        found.append(doubt("interlaced; moving edges may look combed"))
    matrix = display_matrix(picture)
    if matrix is not None and _quarter_turn(matrix) is None:
        found.append(doubt(f"a rotation by {rotation(picture):g} degrees is not applied"))
    if _has_alpha(picture):
        found.append(Note("transparent parts are shown on white"))
    return tuple(found)


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
