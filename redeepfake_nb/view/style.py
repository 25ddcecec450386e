"""Draw what several plots share: axes, images, face boxes, labels, titles."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import cv2
import numpy as np
from matplotlib import font_manager, patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import Collection
from matplotlib.colors import to_rgb, to_rgba_array
from matplotlib.figure import Figure, FigureBase
from matplotlib.legend import Legend
from matplotlib.lines import Line2D
from matplotlib.patches import Patch, Rectangle
from matplotlib.spines import Spine
from matplotlib.text import Text

from ..errors import displayable
from ..media.frames import Source
from .palette import COLORS, LINES

Canvas = Axes | FigureBase | None

# Largest width of a figure and height of an image in it, in inches: what fits a notebook's cell.
WIDTH, HEIGHT = 9.0, 5.5
# Longest side of a drawn image in pixels; more than a screen shows only costs time.
MAX_PIXELS = 1600
FONT = 9.0
# For text from outside: no `$...$` or `_` is read as a formula, whatever the settings.
LITERAL: dict[str, Any] = {"parse_math": False, "usetex": False}
# What group ids of artists begin with that :func:`redeepfake_nb.view.to_png` tells the place of.
REGION, TIME_AXIS = "region ", "time axis"
# Inches of the widest figure; None where no place is narrow. A context variable, since threads draw, too.
_narrow: ContextVar[float | None] = ContextVar("narrow", default=None)


@contextmanager
def narrowed(width: float | None) -> Iterator[None]:
    """Draw for a place of ``width`` inches; None changes nothing."""
    token = _narrow.set(_narrow.get() if width is None else width)
    try:
        yield
    finally:
        _narrow.reset(token)


def is_narrow() -> bool:
    """Whether figures are drawn for a narrow place."""
    return _narrow.get() is not None


def figure_width(share: float = 1.0) -> float:
    """Return this share of :data:`WIDTH` in inches, or less in a narrow place."""
    narrow = _narrow.get()
    return WIDTH * share if narrow is None else min(WIDTH * share, narrow)


def font_size(change: float = 0.0) -> float:
    """Return :data:`FONT` changed by some points; never smaller in a narrow place."""
    return FONT + (max(change, 0.0) if is_narrow() else change)


def mark_region(artist: Artist, name: str) -> None:
    """Have :func:`redeepfake_nb.view.to_png` tell where an artist lies."""
    artist.set_gid(f"{REGION}{name}")


def mark_time_axis(ax: Axes) -> None:
    """Have :func:`redeepfake_nb.view.to_png` tell where the seconds of a plot over time lie."""
    ax.set_gid(TIME_AXIS)


def shade_inconclusive(
    ax: Axes, threshold: float, margin: float, *, vertical: bool, label: str | None = None
) -> None:
    """Shade the inconclusive scores within ``margin`` of the threshold; vertical: P(fake) is the y axis."""
    span = ax.axhspan if vertical else ax.axvspan
    low, high = max(threshold - margin, 0), min(threshold + margin, 1)
    span(low, high, color=COLORS["inconclusive"], alpha=0.22, lw=0, label=label)


def make_axes(ax: Canvas, size: tuple[float, float]) -> tuple[Axes, bool]:
    """Return the Axes to draw on, and whether their figure has the given size in inches."""
    if isinstance(ax, Axes):
        return ax, False
    figure = _sized(ax, size)
    return figure.subplots(), isinstance(figure, Figure)


def make_grid(ax: Canvas, size: tuple[float, float], rows: int, columns: int, **options: Any) -> np.ndarray:
    """Return (rows * columns,) Axes for a plot with several panels; single Axes raise ValueError."""
    if isinstance(ax, Axes):
        raise ValueError("this plot has several panels: give a Figure, a SubFigure or None, not Axes")
    return _sized(ax, size).subplots(rows, columns, squeeze=False, **options).ravel()


def _sized(figure: FigureBase | None, size: tuple[float, float]) -> FigureBase:
    """The figure, or a new one of pyplot for None, with this size in inches; a SubFigure keeps its own."""
    if figure is None:
        # Imported here, because importing pyplot chooses a backend.
        from matplotlib import pyplot

        figure = pyplot.figure()
    if isinstance(figure, Figure):
        figure.set_layout_engine("constrained")
        figure.set_size_inches(size)
    return figure


def fit_size(width: int, height: int) -> tuple[float, float]:
    """Return the largest size in inches with an image's aspect ratio, at most ``figure_width()`` wide."""
    room = figure_width()
    scale = min(room / width, HEIGHT * room / WIDTH / height)
    return width * scale, height * scale


def points_per_pixel(ax: Axes, width: int, height: int) -> float:
    """Return the typographic points (1/72 inch) per pixel of an image of this size drawn on ``ax``."""
    room = ax.get_window_extent()
    return min(room.width / width, room.height / height) * 72 / ax.figure.dpi


def downscale(image: np.ndarray) -> np.ndarray:
    """Shrink an image whose longer side exceeds :data:`MAX_PIXELS`; return any other unchanged."""
    height, width = image.shape[:2]
    scale = MAX_PIXELS / max(height, width)
    if scale >= 1:
        return image
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA)


def draw_image(ax: Axes, pixels: np.ndarray, width: int, height: int) -> None:
    """Draw an image on axes of ``width`` x ``height`` units, whatever its number of pixels."""
    # (0, 0) is the corner of the first pixel, as in boxes, not its centre, as is matplotlib's default.
    ax.imshow(pixels, extent=(0, width, height, 0), aspect="equal")
    ax.set_axis_off()


def draw_box(ax: Axes, box: tuple[int, int, int, int], label: str) -> Rectangle:
    """Draw a face box in the colour and line style of its label, and return it."""
    left, top, right, bottom = box
    # The white rim keeps the box visible on a background of the same colour.
    rim = patheffects.withStroke(linewidth=3.6, foreground="white", alpha=0.85)
    rectangle = Rectangle(
        (left, top),
        right - left,
        bottom - top,
        fill=False,
        edgecolor=COLORS[label],
        linestyle=LINES[label],
        linewidth=1.8,
        path_effects=[rim],
        # A box at the image's edge keeps its full line width.
        clip_on=False,
    )
    ax.add_patch(rectangle)
    return rectangle


def draw_label(ax: Axes, corner: tuple[float, float], text: str, label: str, font: float) -> None:
    """Write text on a white background with its upper left corner at ``corner``."""
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


def draw_message(ax: Axes, text: str) -> None:
    """Write a message in the middle of the axes."""
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


def draw_title(ax: Axes, text: str, width: float | None = None, pad: float | None = None) -> None:
    """Write a title, wrapped to ``width`` inches (None: the axes' width), ``pad`` points above the axes."""
    if width is None:
        width = ax.get_window_extent().width / ax.figure.dpi
    ax.set_title(wrap_text(text, width), fontsize=FONT + 1, pad=pad, **LITERAL)


def reading_line(source: Source | None) -> list[str]:
    """Return a title line that says what was ignored, assumed or not looked at; none for ordinary files."""
    if source is None or not source.warnings:
        return []
    return [replace_missing_glyphs(displayable(f"While reading: {'; '.join(source.warnings)}", 300))]


def wrap_text(text: str, width: float) -> str:
    """Wrap each line of a text of title size to ``width`` inches."""
    room = max(int(width * 72 / ((FONT + 1) * 0.55)), 20)
    return "\n".join(textwrap.fill(line, room) for line in text.split("\n"))


def replace_missing_glyphs(text: str) -> str:
    """Replace characters that the font lacks; matplotlib would warn about each of them."""
    font = font_manager.get_font(font_manager.findfont(font_manager.FontProperties()))
    return "".join(
        c if c == "\n" or font.get_char_index(ord(c)) else "\N{REPLACEMENT CHARACTER}" for c in text
    )


# Ink for a dark page, and the luminance (0 to 1) up to which something counts as dark.
_LIGHT_INK, _DARK = "#e6e6e6", 0.45
_DARK_GRID = "#3d3d3d"


def make_dark(figure: Figure) -> None:
    """Recolour a drawn figure for a dark page: light words and lines, and no background.

    Done to the artists and not by matplotlib's settings, which other threads would see. What lies in a box or
    has an outline of its own, such as labels in a picture, is legible on anything and stays as it is.
    """
    figure.set_facecolor("none")
    for ax in figure.axes:
        ax.set_facecolor("none")
    on_pictures = {text for ax in figure.axes if ax.images for text in ax.texts}
    grid = {line for ax in figure.axes for line in (*ax.get_xgridlines(), *ax.get_ygridlines())}
    for line in grid:
        line.set_color(_DARK_GRID)
    for artist in figure.findobj(lambda found: found not in grid):
        if isinstance(artist, Text):
            outlined = bool(artist.get_path_effects()) or artist.get_bbox_patch() is not None
            if not outlined and artist not in on_pictures and _is_dark(artist.get_color()):
                artist.set_color(_LIGHT_INK)
        elif isinstance(artist, Line2D):
            if _is_dark(artist.get_color()) and not artist.get_path_effects():
                artist.set_color(_LIGHT_INK)
        elif isinstance(artist, Spine):
            if _is_dark(artist.get_edgecolor()):
                artist.set_edgecolor(_LIGHT_INK)
        elif isinstance(artist, Legend):
            artist.get_frame().set_facecolor("#222222")
        elif isinstance(artist, (Patch, Collection)):
            _lighten(artist)


def _lighten(artist: Patch | Collection) -> None:
    """Make a dark band that lets the ground through a light one."""
    colors = np.atleast_2d(to_rgba_array(artist.get_facecolor()))
    if len(colors) and 0 < colors[0, 3] < 1 and _is_dark(colors[0, :3]):
        artist.set_facecolor((*to_rgb(_LIGHT_INK), float(colors[0, 3])))


def _is_dark(color: Any) -> bool:
    """Whether a colour is black or a dark grey; colours that stand for something stay."""
    red, green, blue = to_rgb(color)
    grey = max(red, green, blue) - min(red, green, blue) < 0.2
    return grey and 0.299 * red + 0.587 * green + 0.114 * blue < _DARK
