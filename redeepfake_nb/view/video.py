"""Plot a :class:`VideoReport`: P(fake) over time, the persons, and the frames with the highest scores."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba
from matplotlib.typing import LineStyleType

from ..analysis.intervals import MAX_GAP
from ..analysis.verdict import VERDICT_WORDS, inconclusive_band
from ..analysis.video_report import Person, VideoReport
from ..errors import displayable
from ..explanation.methods import METHODS
from .heatmap import overlay
from .palette import BLUISH_GREEN, COLORS, MARKERS, ORANGE, REDDISH_PURPLE, SKY_BLUE
from .style import (
    FONT,
    LITERAL,
    Canvas,
    draw_box,
    draw_image,
    draw_message,
    draw_title,
    figure_width,
    font_size,
    is_narrow,
    make_axes,
    make_grid,
    mark_region,
    mark_time_axis,
    reading_line,
    replace_missing_glyphs,
    shade_inconclusive,
    wrap_text,
)

# Colours that no label has, each with its own line style; they repeat after the last.
_PERSON_STYLES: tuple[tuple[str, LineStyleType], ...] = (
    ("#000000", "-"),
    (BLUISH_GREEN, "--"),
    (REDDISH_PURPLE, "-."),
    (ORANGE, ":"),
    (SKY_BLUE, (0, (5, 1, 1, 1, 1, 1))),
)

# What the band around a person's line is.
_RANGE = "range of two frames before and after"


def plot_timeline(
    report: VideoReport,
    ax: Canvas = None,
    *,
    time: float | None = None,
    manipulated: tuple[float, float] | None = None,
    titled: bool = True,
) -> Axes:
    """Plot P(fake) over time, one line per person.

    Points are single frames: vermilion diamonds at or over the threshold, blue circles under it, hollow where
    the face was tracked and not detected. A line joins the points of one person, and breaks where the person
    is absent. The band around a line is the range of its neighbouring frames, the one across the axes the
    inconclusive scores. Ticks below the axis are analysed frames without a face.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_video`.
    ax
        Axes, Figure or SubFigure to draw on, or None for a new pyplot figure.
    time
        Time in seconds to mark by a vertical line.
    manipulated
        First and last second of an interval that is known to be manipulated; hatched.
    titled
        False leaves the title out, where its words stand beside the plot already.

    Returns
    -------
    matplotlib.axes.Axes
        Seconds on the x axis, P(fake) on the y axis.
    """
    ax, _ = make_axes(ax, (figure_width(), 3.6 if titled else 3.1))
    mark_time_axis(ax)
    end = max(report.duration or 0.0, float(report.frame_times.max(initial=0.0)))
    threshold = report.threshold
    band, undecided = inconclusive_band(report.card.temperature), "inconclusive scores"
    shade_inconclusive(ax, threshold, band, vertical=True, label=undecided)
    ax.axhline(threshold, color="0.25", lw=1.0, ls=":")
    ax.annotate(
        f"threshold {threshold:.2f}",
        (1, threshold),
        (-3, 2),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        fontsize=font_size(-1),
        color="0.25",
    )
    step = float(np.median(np.diff(report.frame_times))) if report.frames > 1 else 1.0
    for person in report.persons:
        _draw_person(ax, person, threshold, step)
    empty = np.setdiff1d(report.frame_times, [s.timestamp for s in report.sightings])
    if len(empty):
        ax.plot(
            empty, np.full(len(empty), -0.03), "|", color="0.5", ms=5, clip_on=False, label="no face found"
        )
    if manipulated is not None:
        known = "known to be manipulated"
        ax.axvspan(*manipulated, fill=False, hatch="//", edgecolor="0.8", zorder=0, label=known)
    if time is not None:
        ax.axvline(time, color="0.1", lw=1.2, alpha=0.7)
    ax.set_xlim(0, max(end, 1e-3))
    ax.set_ylim(-0.05, 1.05)
    ax.set_yticks(np.linspace(0, 1, 6))
    ax.set_xlabel("time (s)", fontsize=FONT)
    ax.set_ylabel("P(fake)" if report.card.temperature else "P(fake), never calibrated", fontsize=FONT)
    ax.tick_params(labelsize=FONT)
    ax.spines[["top", "right"]].set_visible(False)
    if report.sightings:
        _add_marker_legend(ax, report)
        ax.legend(
            loc="upper center",
            bbox_to_anchor=(0.5, -0.2),
            ncols=2 if is_narrow() else 3,
            frameon=False,
            fontsize=FONT,
        )
    else:
        draw_message(ax, report.no_face.replace(": ", "\n"))
    if titled:
        name = replace_missing_glyphs(displayable(report.name, 70))
        draw_title(ax, "\n".join([report.verdict.headline, name, *reading_line(report.source)]))
    return ax


def _add_marker_legend(ax: Axes, report: VideoReport) -> None:
    """Add legend entries for the markers that occur; the points themselves are not labelled."""
    words = {
        "fake": f"frame at or over {report.threshold:.2f}",
        "real": f"frame under {report.threshold:.2f}",
    }
    for label, text in words.items():
        if any(s.label(report.threshold) == label for s in report.sightings):
            ax.plot([], [], MARKERS[label], color=COLORS[label], ms=5, label=text)
    if any(len(p.sightings) > 1 for p in report.persons):
        ax.fill_between([], [], [], **_band(_PERSON_STYLES[0][0]), label=_RANGE)
    if any(s.bridged for s in report.sightings):
        ax.plot([], [], "o", color="0.4", mfc="white", ms=5, label="hollow: tracked, not detected")


def _band(color: str) -> dict[str, Any]:
    """How the range around a person's line looks: outlined, as other bands are grey, too."""
    return {"facecolor": to_rgba(color, 0.1), "edgecolor": to_rgba(color, 0.45), "lw": 0.6}


def _draw_person(ax: Axes, person: Person, threshold: float, step: float) -> None:
    color, style = _PERSON_STYLES[person.number % len(_PERSON_STYLES)]
    times = np.array([s.timestamp for s in person.sightings])
    values = np.array([s.probability for s in person.sightings])
    label = f"{person.name}: {person.probability:.2f}"
    for i, run in enumerate(
        np.split(np.arange(len(times)), np.flatnonzero(np.diff(times) > MAX_GAP * step) + 1)
    ):
        low, high = _neighbours(values[run])
        ax.fill_between(times[run], low, high, **_band(color))
        ax.plot(times[run], values[run], color=color, ls=style, lw=1.2, label=label if i == 0 else None)
    size = 5.0 if len(times) <= 80 else 2.5
    for name in ("fake", "real"):
        for bridged in (False, True):
            rows = [
                i
                for i, s in enumerate(person.sightings)
                if s.label(threshold) == name and s.bridged is bridged
            ]
            ax.plot(
                times[rows],
                values[rows],
                MARKERS[name],
                color=COLORS[name],
                ms=size,
                mfc="white" if bridged else COLORS[name],
                clip_on=False,
                ls="none",
            )


def _neighbours(values: np.ndarray, reach: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Minimum and maximum over each value and ``reach`` values before and after it."""
    padded = np.pad(values, reach, mode="edge")
    windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1)
    return windows.min(axis=1), windows.max(axis=1)


def plot_persons(report: VideoReport, ax: Canvas = None, *, columns: int = 4) -> np.ndarray:
    """Draw each person of a video: the best view of the face, P(fake) over all frames, and the verdict.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_video`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure.
    columns
        Persons per row.

    Returns
    -------
    numpy.ndarray
        One Axes per person, the most suspicious first; a single one with a message where there is none.
    """
    people = [report.persons[i] for i in report.most_suspicious]
    if not people:
        return _message(ax, report.no_face.replace(": ", "\n"))
    captions = [
        [
            f"{p.name}: {VERDICT_WORDS[p.verdict.label]}",
            f"P(fake) {p.probability:.2f} (single frames {p.extent[0]:.2f} to {p.extent[1]:.2f})",
            f"{len(p.sightings)} of {report.frames} sampled frames",
        ]
        for p in people
    ]
    columns = _fitting(columns)
    axes = _grid(ax, len(people), columns, lines=5)
    for axis, person, caption in zip(axes, people, captions, strict=True):
        _draw_portrait(axis, person, report)
        _caption(axis, caption, figure_width() / columns)
        mark_region(axis, person.name)
    return axes


def plot_suspicious_frames(
    report: VideoReport, ax: Canvas = None, *, strength: float = 0.5, columns: int = 4
) -> np.ndarray:
    """Draw the faces with the highest P(fake) of a video, with their heatmaps, highest first.

    They are the highest whatever their value: a real video has some too.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_video`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure.
    strength
        0..1, how strongly heatmaps are laid over the faces.
    columns
        Frames per row.

    Returns
    -------
    numpy.ndarray
        One Axes per frame; a single one with a message where there is none.
    """
    if not report.evidence:
        return _message(ax, "no frames were kept")
    columns = _fitting(columns)
    axes = _grid(ax, len(report.evidence), columns, lines=5)
    for i, (axis, prediction) in enumerate(zip(axes, report.evidence, strict=True)):
        face = prediction.face
        explanation = report.explanations[i] if report.explanations else None
        # What the model saw.
        margin = report.card.preprocessing.margin if face.margin is None else face.margin
        image = face.crop(margin if explanation is None else explanation.margin)
        caption = [f"P(fake) {prediction.probability:.2f} at {face.frame.timestamp:.2f} s"]
        if face.person is not None:
            caption.append(f"person {face.person + 1}, {face.size} px")
        if explanation is not None:
            image = image if explanation.empty else overlay(image, explanation.shaded(), strength)
            caption.append(f"{METHODS[explanation.method]}, {explanation.amount}")
        draw_image(axis, image, image.shape[1], image.shape[0])
        _caption(axis, caption, figure_width() / columns)
        mark_region(axis, f"Frame at {face.frame.timestamp:.2f} s")
    return axes


def _draw_portrait(ax: Axes, person: Person, report: VideoReport) -> None:
    if person.portrait is None:
        ax.set_axis_off()
        draw_message(ax, "no image was kept")
        return
    face = person.portrait.face
    left, top, right, bottom = face.crop_box(0.4)
    image = face.frame.image[top:bottom, left:right]
    draw_image(ax, image, image.shape[1], image.shape[0])
    label = "fake" if person.probability >= report.threshold else "real"
    x0, y0, x1, y1 = face.box
    draw_box(ax, (x0 - left, y0 - top, x1 - left, y1 - top), label)


def _caption(ax: Axes, lines: list[str], width: float) -> None:
    ax.set_title("\n".join(wrap_text(line, width) for line in lines), fontsize=FONT, **LITERAL)


def _message(ax: Canvas, text: str) -> np.ndarray:
    ax, _ = make_axes(ax, (figure_width(0.5), 1.2))
    ax.set_axis_off()
    draw_message(ax, text)
    return np.array([ax])


def _fitting(columns: int) -> int:
    """Return how many pictures stand side by side, of at most so many."""
    return min(columns, 3) if is_narrow() else columns


def _grid(ax: Canvas, count: int, columns: int, lines: int) -> np.ndarray:
    """Make ``count`` Axes in rows of ``columns``, with room for a title of so many lines above each."""
    if columns < 1:
        raise ValueError(f"columns must be at least 1, not {columns}")
    rows, width = -(-count // columns), figure_width()
    axes = make_grid(ax, (width, rows * (width / columns + 0.17 * lines) + 0.15), rows, columns)
    for spare in axes[count:]:
        spare.set_axis_off()
    return axes[:count]
