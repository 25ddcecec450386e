"""Where things lie in a picture; without matplotlib, so that panels load at once."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Region:
    """A named part of a picture.

    Parameters
    ----------
    name
        What it shows, such as ``"Face 1"``.
    box
        (left, top, right, bottom) in fractions of the picture's width and height, 0..1.
    """

    name: str
    box: tuple[float, float, float, float]


@dataclass(frozen=True)
class TimeAxis:
    """Where the time axis of a picture lies.

    Parameters
    ----------
    box
        The area of the plot, as in :class:`Region`.
    first, last
        Seconds at its left and right edge.
    """

    box: tuple[float, float, float, float]
    first: float
    last: float


class Png(bytes):
    """The bytes of a PNG, and what is known of the picture.

    Attributes
    ----------
    width : float or None
        Inches; letters have their stated size where an inch is 100 px on the screen.
    regions : tuple of Region
        Faces, persons or frames, in the order of the record.
    time_axis : TimeAxis or None
        Of a plot over time.
    """

    width: float | None = None
    regions: tuple[Region, ...] = ()
    time_axis: TimeAxis | None = None
