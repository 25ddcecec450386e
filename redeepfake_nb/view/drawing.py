"""Draw a record as a PNG that says where its faces and its time axis lie."""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from .regions import Png, Region, TimeAxis
from .style import REGION, TIME_AXIS, make_dark, narrowed


def to_png(
    plot: Callable[..., Any],
    record: object,
    *,
    dpi: float = 100,
    dark: bool = False,
    width: float | None = None,
    **options: Any,
) -> Png:
    """Draw a record without pyplot, as a PNG without metadata about the program or machine.

    Parameters
    ----------
    plot
        Any plot of this sub-package: ``to_png(plot_faces, report, strength=0.5)``.
    record
        What ``plot`` draws.
    dpi
        Pixels per inch; most figures are at most 9 inches wide.
    dark
        Whether it is for a dark page: light words and lines on no background.
    width
        Inches of the widest figure, for a narrow place: letters keep their size, and several pictures stand
        below each other. Default: 9, and for a few plots more.
    options
        Keyword arguments of ``plot``.

    Returns
    -------
    Png
        Bytes; ``regions`` and ``time_axis`` say where faces, persons, frames and seconds are drawn.
    """
    figure = Figure(facecolor="white")
    with narrowed(width):
        plot(record, figure, **options)
        if dark:
            make_dark(figure)
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    png = Png(buffer.getvalue())
    png.width = float(figure.get_figwidth())
    png.regions, png.time_axis = _regions(figure)
    return png


def _regions(figure: Figure) -> tuple[tuple[Region, ...], TimeAxis | None]:
    """Find what was marked by :func:`mark_region` and :func:`mark_time_axis` in a figure that is drawn."""
    regions, time_axis = [], None
    for artist in figure.findobj(lambda a: str(a.get_gid() or "").startswith((REGION, TIME_AXIS))):
        area, whole = artist.get_window_extent(), figure.bbox
        left, right = (float((x - whole.x0) / whole.width) for x in (area.x0, area.x1))
        top, bottom = (float(1 - (y - whole.y0) / whole.height) for y in (area.y1, area.y0))
        box = max(left, 0.0), max(top, 0.0), min(right, 1.0), min(bottom, 1.0)
        gid = str(artist.get_gid())
        if isinstance(artist, Axes) and gid == TIME_AXIS:
            first, last = artist.get_xlim()
            time_axis = TimeAxis(box, float(first), float(last))
        else:
            regions.append(Region(gid.removeprefix(REGION), box))
    return tuple(regions), time_axis
