"""What the plots of :mod:`redeepfake_nb.view.image` have in common: axes, pictures, boxes, tags, words."""

from __future__ import annotations

import textwrap
from functools import lru_cache
from typing import Any

import cv2
import matplotlib
import numpy as np
from matplotlib import font_manager, patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure, FigureBase
from matplotlib.patches import Rectangle

from .palette import COLORS, LINES

Canvas = Axes | FigureBase | None

# Figures are at most this wide and their pictures at most this high, in inches: a notebook's cell.
WIDTH, HEIGHT = 9.0, 5.5
# Longest side of a picture as it is drawn. More than a screen shows only costs time.
MAX_DRAWN = 1600
FONT = 9.0
# For text from outside: no `$...$` or `_` may be read as a formula, whatever the settings.
LITERAL = {"parse_math": False, "usetex": False}


def shade_doubt(ax: Axes, threshold: float, reach: float, *, upwards: bool) -> None:
    """Shade the scores so near to the threshold that they decide nothing, along the axis of P(fake)."""
    span = ax.axhspan if upwards else ax.axvspan
    low, high = max(threshold - reach, 0), min(threshold + reach, 1)
    span(low, high, color=COLORS["inconclusive"], alpha=0.22, lw=0)


def make_axes(ax: Canvas, size: tuple[float, float], columns: int = 1, rows: int = 1) -> tuple[Any, bool]:
    """What to draw on, and whether its figure has the size in inches that was asked for."""
    if isinstance(ax, Axes):
        return ax, False
    if ax is None:
        # Here, because importing pyplot chooses a backend.
        from matplotlib import pyplot

        return pyplot.subplots(rows, columns, figsize=size, layout="constrained")[1], True
    if isinstance(ax, Figure):
        ax.set_layout_engine("constrained")
        ax.set_size_inches(size)
    return ax.subplots(rows, columns), isinstance(ax, Figure)


def make_grid(ax: Canvas, size: tuple[float, float], rows: int, columns: int, **options: Any) -> np.ndarray:
    """(rows * columns,) Axes for a plot of several panels; single Axes raise ValueError."""
    if isinstance(ax, Axes):
        raise ValueError("this plot has several panels: give it a figure, or nothing")
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.figure(layout="constrained")
    if isinstance(ax, Figure):
        ax.set_layout_engine("constrained")
        ax.set_size_inches(size)
    return ax.subplots(rows, columns, squeeze=False, **options).ravel()


def fitted(width: int, height: int) -> tuple[float, float]:
    """Inches of a picture that is as large as a notebook allows, in its own proportions."""
    scale = min(WIDTH / width, HEIGHT / height)
    return width * scale, height * scale


def points_per_pixel(ax: Axes, width: int, height: int) -> float:
    """Typographic points (1/72 inch) that one pixel of a picture takes up on axes of somebody else's."""
    room = ax.get_window_extent()
    return min(room.width / width, room.height / height) * 72 / ax.figure.dpi


def shrunk(image: np.ndarray) -> np.ndarray:
    """The picture, with no more pixels than can be seen of it."""
    height, width = image.shape[:2]
    scale = MAX_DRAWN / max(height, width)
    if scale >= 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def draw_picture(ax: Axes, pixels: np.ndarray, width: int, height: int) -> None:
    """A picture on axes in units of ``width`` x ``height`` pixels, however many pixels are drawn."""
    # The corner of the first pixel is (0, 0), as in boxes, and not its centre, as matplotlib has it.
    ax.imshow(pixels, extent=(0, width, height, 0), aspect="equal")
    ax.set_axis_off()


def draw_box(ax: Axes, box: tuple[int, int, int, int], label: str) -> None:
    """A face's box in the colour and the line style of its label."""
    left, top, right, bottom = box
    # The white rim keeps a box visible on a background of its own colour.
    rim = patheffects.withStroke(linewidth=3.6, foreground="white", alpha=0.85)
    ax.add_patch(
        Rectangle(
            (left, top),
            right - left,
            bottom - top,
            fill=False,
            edgecolor=COLORS[label],
            linestyle=LINES[label],
            linewidth=1.8,
            path_effects=[rim],
            # A box at the picture's edge keeps its full line.
            clip_on=False,
        )
    )


def draw_tag(ax: Axes, corner: tuple[float, float], text: str, label: str, font: float) -> None:
    """Words on a white plate with its left upper corner there."""
    ax.annotate(
        text,
        corner,
        (0.25 * font, -0.25 * font),
        textcoords="offset points",
        ha="left",
        va="top",
        fontsize=font,
        color="black",
        bbox={"boxstyle": "square,pad=0.2", "fc": "white", "ec": COLORS[label], "lw": 1.0, "alpha": 0.9},
        annotation_clip=False,
    )


def draw_notice(ax: Axes, text: str) -> None:
    """Words in the middle."""
    ax.text(
        0.5,
        0.5,
        text,
        transform=ax.transAxes,
        ha="center",
        va="center",
        fontsize=FONT + 1,
        color="black",
        bbox={"boxstyle": "round,pad=0.4", "fc": "white", "ec": "0.6", "alpha": 0.9},
    )


def draw_title(ax: Axes, text: str, width: float | None = None) -> None:
    """A title broken into lines that fit ``width`` inches; None means the width of the axes."""
    if width is None:
        width = ax.get_window_extent().width / ax.figure.dpi
    ax.set_title(wrapped(text, width), fontsize=FONT + 1, **LITERAL)


def wrapped(text: str, width: float) -> str:
    """Text of a title's size in lines of at most ``width`` inches, each line of the text by itself."""
    room = max(int(width * 72 / ((FONT + 1) * 0.55)), 20)
    return "\n".join(textwrap.fill(line, room) for line in text.split("\n"))


def printable(text: str) -> str:
    """The text with a replacement sign for what the font lacks; matplotlib would warn of each character."""
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    return "".join(
        c if c == "\n" or font.get_char_index(ord(c)) else "\N{REPLACEMENT CHARACTER}" for c in text
    )


# Perceptually uniform, and over most of its range of hues that skin does not have.
HEAT = "viridis"


def overlay(image: np.ndarray, heatmap: np.ndarray, strength: float = 0.5) -> np.ndarray:
    """Lay a heatmap over a picture.

    Each pixel is mixed with its heat's colour by ``strength * heat``, so that a place without heat stays
    exactly as it is.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    heatmap
        (H, W) float, 0..1.
    strength
        0..1: 0 shows the picture alone, 1 hides it under the hottest places.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8 RGB, a new array.

    Raises
    ------
    ValueError
        Another shape or type, or values out of range.
    """
    strength = checked_strength(strength)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"image must be (H, W, 3) uint8, not {image.shape} {image.dtype}")
    if heatmap.shape != image.shape[:2]:
        raise ValueError(f"heatmap must have the image's shape {image.shape[:2]}, not {heatmap.shape}")
    # NaN fails this comparison too.
    if not np.all((heatmap >= 0) & (heatmap <= 1)):
        raise ValueError("heatmap must lie between 0 and 1")
    heat = heatmap.astype(np.float32)
    share = (strength * heat)[..., None]
    return np.rint(image * (1 - share) + heat_colors(heat) * share).astype(np.uint8)


@lru_cache(maxsize=1)
def _palette() -> np.ndarray:
    """(256, 3) float32 RGB, 0..255."""
    return (matplotlib.colormaps[HEAT](np.linspace(0, 1, 256))[:, :3] * 255).astype(np.float32)


def heat_colors(heat: np.ndarray) -> np.ndarray:
    """(H, W) 0..1 -> (H, W, 3) float32 RGB, 0..255."""
    return _palette()[np.rint(heat * 255).astype(np.uint8)]


def checked_strength(strength: float) -> float:
    if not 0 <= strength <= 1:
        raise ValueError(f"strength must lie between 0 and 1, not {strength}")
    return float(strength)
