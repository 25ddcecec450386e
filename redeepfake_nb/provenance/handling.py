"""Traces that saving and sending leave in a file. Each has stated error rates, and none is a verdict.

Only what held up in a test is here; docs/provenance.md has the figures, and what was tried and left out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from .records import Trace

# ITU T.81, annex K, tables K.1 and K.2, in the zigzag order in which files store them.
_LUMA = (
    16, 11, 12, 14, 12, 10, 16, 14, 13, 14, 18, 17, 16, 19, 24, 40, 26, 24, 22, 22, 24, 49, 35, 37, 29, 40,
    58, 51, 61, 60, 57, 51, 56, 55, 64, 72, 92, 78, 64, 68, 87, 69, 55, 56, 80, 109, 81, 87, 95, 98, 103, 104,
    103, 62, 77, 113, 121, 112, 100, 120, 92, 101, 103, 99,
)  # fmt: skip
_CHROMA = (17, 18, 18, 24, 21, 24, 47, 26, 26, 47, 99, 66, 56, 66, *[99] * 50)

# Row by row, as Pillow lists tables: the places in the order of the zigzag (T.81, figure 5).
_ZIGZAG = sorted(
    range(64),
    key=lambda place: (sum(divmod(place, 8)), place // 8 if sum(divmod(place, 8)) % 2 else place % 8),
)


def libjpeg_quality(tables: Mapping[int, Sequence[int]]) -> int | None:
    """Return the quality, 1 to 100, at which libjpeg writes exactly these quantisation tables.

    libjpeg scales the tables of annex K (``jpeg_set_quality``); Pillow, OpenCV, FFmpeg's MJPEG writer aside,
    and most programs that build on it do the same.

    Parameters
    ----------
    tables
        Number of the table -> 64 values in zigzag order; 0 is that of brightness, 1 that of colour.

    Returns
    -------
    int or None
        None for other tables: those of cameras, of Photoshop, or of another program.
    """
    luma, chroma = tables.get(0), tables.get(1)
    if luma is None:
        return None
    for quality in range(1, 101):
        if tuple(luma) == _scaled(_LUMA, quality) and (
            chroma is None or tuple(chroma) == _scaled(_CHROMA, quality)
        ):
            return quality
    return None


def _scaled(table: Sequence[int], quality: int) -> tuple[int, ...]:
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return tuple(min(max((value * scale + 50) // 100, 1), 255) for value in table)


def photoshop_preset(tables: Mapping[int, Sequence[int]]) -> str:
    """Return the name of the Photoshop setting with these quantisation tables, as Pillow lists them."""
    from PIL.JpegPresets import presets

    for name, preset in presets.items():
        wanted: Any = preset["quantization"]
        ordered = [tuple(wanted[number][place] for place in _ZIGZAG) for number in range(2)]
        if all(tuple(tables.get(number, ())) == ordered[number] for number in range(2)):
            return name.replace("_", " ")
    return ""


def jpeg_traces(tables: Mapping[int, Sequence[int]]) -> list[Trace]:
    """Say what the quantisation tables of a JPEG tell of the program that wrote it last."""
    if not tables:
        return []
    quality = libjpeg_quality(tables)
    if quality is not None:
        finding = f"libjpeg's tables at quality {quality}"
        caution = "as most programs, messengers and websites write them, few cameras"
    elif preset := photoshop_preset(tables):
        finding, caution = f"Photoshop's tables, setting “{preset}”", "says which program saved it last"
    else:
        finding, caution = "tables of their own", "as cameras, phones and some programs use"
    return [Trace("JPEG tables", finding, caution)]
