"""Records -> pictures. Only this module and its helper ``drawing`` touch matplotlib.

Every plot takes a record and an optional ``ax`` and returns what it drew on:

* ``ax=None`` makes a figure with ``pyplot``, so that a notebook shows it under the cell. Whoever makes many
  of them closes them: ``matplotlib.pyplot.close(ax.figure)``.
* ``Axes`` are drawn on where they are.
* A ``Figure`` or ``SubFigure`` is filled, and a ``Figure`` is given a fitting size. ``pyplot`` does not know
  it, so nothing has to be closed; :func:`to_png` works this way.

No plot shows anything by itself, changes matplotlib's settings, or alters the record it was given. Colour is
never the only sign: labels also differ in line style or marker. The colours are those of Okabe and Ito
("Color Universal Design", 2008), which people with colour vision deficiencies can tell apart.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from typing import Any

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ..analysis.image import ImageReport
from ..analysis.verdict import doubt
from ..errors import displayable
from ..explanation.heatmaps import Explanation, MethodComparison
from .explanation import (
    PARTS,
    plot_comparison,
    plot_explanation,
    plot_faithfulness,
    plot_regions,
    plot_stress,
)
from .label_layout import place_labels
from .palette import COLORS, LINES, MARKERS
from .style import (
    FONT,
    HEAT,
    LITERAL,
    WIDTH,
    Canvas,
    checked_strength,
    draw_box,
    draw_notice,
    draw_picture,
    draw_tag,
    draw_title,
    fitted,
    make_axes,
    overlay,
    points_per_pixel,
    printable,
    shade_doubt,
    shrunk,
    wrapped,
)
from .video import plot_persons, plot_suspicious_frames, plot_timeline

__all__ = [
    "HEAT",
    "PARTS",
    "overlay",
    "plot_comparison",
    "plot_explanation",
    "plot_faces",
    "plot_faithfulness",
    "plot_persons",
    "plot_probabilities",
    "plot_regions",
    "plot_stress",
    "plot_suspicious_frames",
    "plot_timeline",
    "to_png",
]


def plot_faces(report: ImageReport, ax: Canvas = None, *, strength: float = 0.0) -> Axes:
    """The picture with a box around every face, and the verdict as its title.

    A box is vermilion and solid where the face's P(fake) reaches the threshold, blue and dashed where it does
    not. Its tag gives the face's number and P(fake), or less where many faces crowd each other; a question
    mark follows where there is a reason not to rely on the score (``report.doubts``).

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_image`.
    ax
        Axes, Figure or SubFigure to draw on, or None for a new pyplot figure.
    strength
        0..1: how strongly the report's heatmaps are laid over the faces. Each is a share of its own peak; the
        peaks stand in the title.

    Returns
    -------
    matplotlib.axes.Axes
        In units of frame pixels, at whatever size the picture is drawn.

    Raises
    ------
    ValueError
        A strength outside 0..1.
    """
    strength = checked_strength(strength)
    frame, predictions = report.frame, report.predictions
    heated = strength > 0 and bool(report.explanations)
    title = [report.verdict.headline, printable(displayable(report.name, 70))]
    if heated:
        title.append(printable(_heat_line(report, strength)))

    width, height = fitted(frame.width, frame.height)
    room = max(width, 6.5)
    lines = 1 + wrapped("\n".join(title), room).count("\n")
    ax, own = make_axes(ax, (room, height + 0.18 * lines + 0.5))
    points = width * 72 / frame.width if own else points_per_pixel(ax, frame.width, frame.height)

    pixels = shrunk(frame.image)
    if heated:
        pixels = overlay(pixels, _frame_heat(report, pixels.shape[:2]), strength)
    draw_picture(ax, pixels, frame.width, frame.height)

    boxes = [p.face.box for p in predictions]
    labels = [p.label(report.threshold) for p in predictions]
    marks = ["?" if report.doubts(i) else "" for i in range(len(predictions))]
    for box, label in zip(boxes, labels, strict=True):
        draw_box(ax, box, label)
    forms = _tag_forms([p.probability for p in predictions], marks)
    font = FONT if len(predictions) <= 12 else FONT - 1
    form, corners = place_labels(boxes, forms, (frame.width, frame.height), font / points)
    for text, corner, label in zip(forms[form], corners, labels, strict=True):
        draw_tag(ax, corner, text, label, font)

    if predictions:
        _legend(ax, labels, any(marks), report.threshold, form)
    else:
        draw_notice(ax, "no face was found")
    draw_title(ax, "\n".join(title), room if own else None)
    return ax


def plot_probabilities(report: ImageReport, ax: Canvas = None) -> Axes:
    """P(fake) of every face beside the threshold and the band in which a score decides nothing.

    Diamonds on solid lines reach the threshold, circles on dashed lines do not; a hollow marker and a
    question mark stand for a doubtful score.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_image`.
    ax
        Axes, Figure or SubFigure to draw on, or None for a new pyplot figure.

    Returns
    -------
    matplotlib.axes.Axes
        P(fake) from left to right; face 1 lies at 0, at the top.
    """
    count = len(report.predictions)
    ax, own = make_axes(ax, (WIDTH * 0.75, 1.3 + 0.28 * max(count, 2)))
    # Axes of somebody else's may be too low for a line of text per face.
    rows = ax.get_window_extent().height * 72 / ax.figure.dpi / max(count, 1)
    font = FONT if own else min(FONT, max(rows * 0.8, 4))
    ax.set_xlim(0, 1)
    ax.set_ylim(max(count, 1) - 0.5, -0.5)
    ax.set_xlabel("P(fake)" if report.card.temperature else "P(fake), never calibrated", fontsize=FONT)
    ax.set_yticks(range(count), [f"face {i + 1}" for i in range(count)], fontsize=font)
    ax.tick_params(axis="x", labelsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    _draw_threshold(ax, report)
    for i, prediction in enumerate(report.predictions):
        probability, label, doubtful = (
            prediction.probability,
            prediction.label(report.threshold),
            report.doubts(i),
        )
        color = COLORS[label]
        ax.hlines(i, 0, probability, color=color, lw=2, ls=LINES[label])
        inside = "white" if doubtful else color
        # Not clipped: markers at 0 and 1 would be cut in half.
        ax.plot(probability, i, MARKERS[label], color=color, mfc=inside, ms=font * 0.75, clip_on=False)
        ax.annotate(
            f"{probability:.2f}{' ?' if doubtful else ''}",
            (1, i),
            (10, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=font,
        )
    if not count:
        draw_notice(ax, "no face was found")
    ax.set_title(report.verdict.headline, fontsize=FONT + 1, pad=20, **LITERAL)
    return ax


def to_png(
    plot: Callable[..., Any],
    record: ImageReport | Explanation | MethodComparison,
    *,
    dpi: float = 100,
    **options: Any,
) -> bytes:
    """Draw a record without pyplot, as a PNG that says nothing of the program or machine that made it.

    Parameters
    ----------
    plot
        One of the plots above: ``to_png(plot_faces, report, strength=0.5)``.
    record
        What ``plot`` draws.
    dpi
        Pixels per inch; the figures are at most 9 inches wide.
    options
        For ``plot``.
    """
    figure = Figure(facecolor="white")
    plot(record, figure, **options)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()


def _frame_heat(report: ImageReport, shape: tuple[int, int]) -> np.ndarray:
    """All heatmaps of a report on one (h, w) picture, 0..1; where faces overlap, the larger value counts."""
    heat = np.zeros(shape, np.float32)
    scale = np.array([shape[1] / report.frame.width, shape[0] / report.frame.height] * 2)
    for explanation in report.explanations:
        box = explanation.prediction.face.crop_box(explanation.margin)
        left, top, right, bottom = np.rint(np.array(box) * scale).astype(int).tolist()
        if explanation.empty or left == right or top == bottom:
            continue
        small = cv2.resize(explanation.heatmap, (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        region = heat[top:bottom, left:right]
        # Averaging may step over 1 by a rounding error.
        np.maximum(region, np.clip(small, 0, 1), out=region)
    return heat


def _tag_forms(probabilities: list[float], marks: list[str]) -> list[list[str]]:
    """Tags from long to short."""
    faces = list(enumerate(zip(probabilities, marks, strict=True), start=1))
    return [
        [f"{i}  P(fake) {p:.2f}{mark}" for i, (p, mark) in faces],
        [f"{i}  {p:.2f}{mark}" for i, (p, mark) in faces],
        [f"{i}{mark}" for i, (_, mark) in faces],
    ]


def _legend(ax: Axes, labels: list[str], doubtful: bool, threshold: float, form: int) -> None:
    """Below the picture: what line styles and tags mean, as far as they occur."""
    words = {"fake": f"P(fake) at or over {threshold:.2f}", "real": f"P(fake) under {threshold:.2f}"}
    handles = [
        Line2D([], [], color=COLORS[label], ls=LINES[label], lw=1.8, label=words[label])
        for label in words
        if label in labels
    ]
    tags = ("", "tags: face, P(fake)", "tags: face")[form]
    notes = [tags] * bool(tags) + ["?: score in doubt"] * doubtful
    if notes:
        handles.append(Line2D([], [], ls="none", label="; ".join(notes)))
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        ncols=len(handles),
        frameon=False,
        fontsize=FONT,
        borderaxespad=0.2,
        columnspacing=1.5,
    )


def _draw_threshold(ax: Axes, report: ImageReport) -> None:
    """The threshold with its words above the axes, and the band of doubt around it."""
    threshold = report.threshold
    band = doubt(report.card.temperature)
    shade_doubt(ax, threshold, band, upwards=False)
    ax.axvline(threshold, color="0.25", lw=1.2, ls=":")
    ax.annotate(
        f"threshold {threshold:.2f}, in doubt within {band:.2f}",
        (threshold, 1),
        (0, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if threshold < 0.25 else "right" if threshold > 0.75 else "center",
        fontsize=FONT,
    )


def _heat_line(report: ImageReport, strength: float) -> str:
    """Method, target, layer, and the peaks that the colours are shares of."""
    first = report.explanations[0]
    line = f"{first.method} for {first.target} at {displayable(first.layer, 40)}, strength {strength:.2f}"
    peaks = [e.peak for e in report.explanations if not e.empty]
    if not peaks:
        return f"{line}; no positive evidence"
    if len(report.explanations) == 1:
        return f"{line}; peak {peaks[0]:.3g}"
    if len(report.explanations) <= 4:
        each = (f"{e.peak:.3g} (face {i})" for i, e in enumerate(report.explanations, start=1))
        return f"{line}; peaks {', '.join(each)}"
    missing = len(report.explanations) - len(peaks)
    return f"{line}; peaks {min(peaks):.3g} to {max(peaks):.3g}" + (f", 0 for {missing}" if missing else "")
