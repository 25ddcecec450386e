"""A decoded video picture -> upright RGB pixels, with what the stream says about its colours and position.

* The matrix (BT.601, BT.709, BT.2020) and the range (full or limited) are those the picture is marked with.
  An unmarked picture is taken as BT.601 of limited range, as FFmpeg and OpenCV do, whatever its size.
* More than 8 bits are rounded to 8. HDR (PQ, HLG) is not tone-mapped: said, not changed.
* Rotation and mirroring by quarter turns, as the display matrix says, are applied; other angles are said.
* Pictures of pixels that are not square are not stretched: said.
* Transparent parts are shown on white.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import av

_HDR = {16: "PQ", 18: "HLG"}
_UNSPECIFIED = 2


class Converter:
    """Turns the pictures of one video into RGB. Not for two threads at a time."""

    def __init__(self) -> None:
        from av.video.reformatter import Interpolation, VideoReformatter

        self._reformatter = VideoReformatter()
        # The fast way: within 2 of 255 of exact arithmetic, and to the last bit what OpenCV gives, by which
        # most training faces were cut out. swscale's exact way takes four times as long.
        self._flags = int(Interpolation.BILINEAR)

    def rgb(self, picture: av.VideoFrame) -> np.ndarray:
        """(H, W, 3) uint8 RGB, upright.

        Raises
        ------
        av.FFmpegError
            Its pixel format is not one that can be converted.
        """
        alpha = _has_alpha(picture)
        wanted = "rgba" if alpha else "rgb24"
        pixels = self._reformat(picture, wanted).to_ndarray()
        if alpha:
            pixels = _on_white(pixels)
        return _turned(pixels, display_matrix(picture))

    def _reformat(self, picture: av.VideoFrame, wanted: str) -> av.VideoFrame:
        import av

        try:
            return self._reformatter.reformat(picture, format=wanted, interpolation=self._flags, threads=1)
        except (av.FFmpegError, ValueError):
            # Marked with a matrix that swscale does not know (a wrong mark, mostly): take it as unmarked.
            picture.colorspace = _UNSPECIFIED
            return self._reformatter.reformat(picture, format=wanted, interpolation=self._flags, threads=1)


def notes(picture: av.VideoFrame, pixel_aspect: float | None) -> tuple[str, ...]:
    """What of ``picture`` is shown otherwise than its maker meant, as clauses."""
    found = []
    if picture.color_trc in _HDR:
        found.append(f"high dynamic range ({_HDR[picture.color_trc]}) is not tone-mapped; colours look flat")
    if pixel_aspect and not 0.99 < pixel_aspect < 1.01:
        found.append(f"pixels are {pixel_aspect:.3g} times as wide as high; pictures are not stretched")
    if picture.interlaced_frame:
        found.append("interlaced; moving edges may look combed")
    matrix = display_matrix(picture)
    if matrix is not None and _quarter_turn(matrix) is None:
        found.append(f"a rotation by {rotation(picture):g} degrees is not applied")
    if _has_alpha(picture):
        found.append("transparent parts are shown on white")
    return tuple(found)


def display_matrix(picture: av.VideoFrame) -> np.ndarray | None:
    """((a, b), (c, d)) int32 of the picture's display matrix, ``None`` where it has none.

    A point (x, y) of the stored picture is shown at (a x + c y, b x + d y), up to scale.
    """
    from av.sidedata.sidedata import Type

    for data in picture.side_data:
        if data.type is Type.DISPLAYMATRIX:
            values = np.frombuffer(bytes(data), np.int32)
            return values[:9].reshape(3, 3)[:2, :2] if len(values) >= 9 else None
    return None


def rotation(picture: av.VideoFrame) -> int:
    """Degrees clockwise that the stored picture is turned to be upright: 0, 90, 180, 270, or an odd angle."""
    matrix = display_matrix(picture)
    if matrix is None or not matrix.any():
        return 0
    (a, b), _ = matrix.astype(float)
    return round(np.degrees(np.arctan2(b, a))) % 360


def _quarter_turn(matrix: np.ndarray) -> tuple[bool, bool, bool] | None:
    """(swap axes, mirror left-right, mirror top-bottom), in this order; ``None`` for other turns."""
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


def _turned(pixels: np.ndarray, matrix: np.ndarray | None) -> np.ndarray:
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


def _on_white(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:].astype(np.uint16)
    if alpha.min() == 255:
        return np.ascontiguousarray(rgba[..., :3])
    # At most 65152, which fits 16 bits.
    return ((rgba[..., :3] * alpha + (255 - alpha) * 255 + 127) // 255).astype(np.uint8)
