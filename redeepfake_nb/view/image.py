"""Plot the report on an image: boxes with scores, heatmaps over the faces, P(fake) of every face."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from ..analysis.image import ImageReport
from ..analysis.verdict import inconclusive_band
from ..errors import displayable
from ..explanation.methods import METHODS
from .heatmap import check_strength, overlay
from .label_layout import place_labels
from .palette import COLORS, LINES, MARKERS
from .style import (
    FONT,
    Canvas,
    downscale,
    draw_box,
    draw_image,
    draw_label,
    draw_message,
    draw_title,
    figure_width,
    fit_size,
    font_size,
    is_narrow,
    make_axes,
    mark_region,
    points_per_pixel,
    reading_line,
    replace_missing_glyphs,
    shade_inconclusive,
    wrap_text,
)


def plot_faces(report: ImageReport, ax: Canvas = None, *, strength: float = 0.0, titled: bool = True) -> Axes:
    """Draw an image with a box around every face, and the verdict as its title.

    A box is vermilion and solid where the face's P(fake) reaches the threshold, else blue and dashed. Its
    label gives the face's number and P(fake), or less where faces are crowded; a question mark marks a
    doubtful score (``report.doubts``).

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_image`.
    ax
        Axes, Figure or SubFigure to draw on, or None for a new pyplot figure.
    strength
        0..1: how strongly the report's heatmaps are laid over the faces. Their colours mean the same for all
        faces, see :func:`plot_explanation`; the title says what they carry of the scores.
    titled
        False leaves the title out, where its words stand beside the picture already.

    Returns
    -------
    matplotlib.axes.Axes
        Axes in frame pixels, at whatever size the image is drawn.

    Raises
    ------
    ValueError
        A strength outside 0..1.
    """
    strength = check_strength(strength)
    frame, predictions = report.frame, report.predictions
    with_heatmaps = strength > 0 and bool(report.explanations)
    title = [report.verdict.headline, replace_missing_glyphs(displayable(report.name, 70))]
    title += reading_line(report.source)
    if with_heatmaps:
        title.append(replace_missing_glyphs(_heatmap_line(report, strength)))

    width, height = fit_size(frame.width, frame.height)
    title_width = max(width, min(6.5, figure_width()))
    lines = titled and 1 + wrap_text("\n".join(title), title_width).count("\n")
    ax, own = make_axes(ax, (title_width, height + 0.18 * lines + 0.5))
    points = width * 72 / frame.width if own else points_per_pixel(ax, frame.width, frame.height)

    pixels = downscale(frame.image)
    if with_heatmaps:
        pixels = overlay(pixels, _merge_heatmaps(report, pixels.shape[:2]), strength)
    draw_image(ax, pixels, frame.width, frame.height)

    boxes = [p.face.box for p in predictions]
    labels = [p.label(report.threshold) for p in predictions]
    marks = ["?" if report.doubts(i) else "" for i in range(len(predictions))]
    for i, (box, label) in enumerate(zip(boxes, labels, strict=True)):
        mark_region(draw_box(ax, box, label), f"Face {i + 1}")
    variants = _label_variants([p.probability for p in predictions], marks)
    font = font_size(0 if len(predictions) <= 12 else -1)
    variant, corners = place_labels(boxes, variants, (frame.width, frame.height), font / points)
    for text, corner, label in zip(variants[variant], corners, labels, strict=True):
        draw_label(ax, corner, text, label, font)

    if predictions:
        _legend(ax, labels, any(marks), report.threshold, variant)
    else:
        draw_message(ax, "no face was found")
    if titled:
        draw_title(ax, "\n".join(title), title_width if own else None)
    return ax


def plot_probabilities(report: ImageReport, ax: Canvas = None) -> Axes:
    """Plot P(fake) of every face with the threshold and the inconclusive band around it, highest first.

    Diamonds on solid lines reach the threshold, circles on dashed lines do not; a hollow marker and a
    question mark mean a doubtful score.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_image`.
    ax
        Axes, Figure or SubFigure to draw on, or None for a new pyplot figure.

    Returns
    -------
    matplotlib.axes.Axes
        P(fake) on the x axis; the face with the highest P(fake) is at y = 0, at the top.
    """
    count = len(report.predictions)
    more_lines = wrap_text(report.verdict.headline, figure_width(0.65)).count("\n")
    ax, own = make_axes(ax, (figure_width(0.75), 1.3 + 0.28 * max(count, 2) + 0.17 * more_lines))
    # Given axes may be too low for a line of text per face.
    row_height = ax.get_window_extent().height * 72 / ax.figure.dpi / max(count, 1)
    font = FONT if own else min(FONT, max(row_height * 0.8, 4))
    ax.set_xlim(0, 1)
    ax.set_ylim(max(count, 1) - 0.5, -0.5)
    ax.set_xlabel("P(fake)" if report.card.temperature else "P(fake), never calibrated", fontsize=FONT)
    ax.set_yticks(range(count), [f"face {i + 1}" for i in report.most_suspicious], fontsize=font)
    ax.tick_params(axis="x", labelsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    _draw_threshold(ax, report)
    for y, index in enumerate(report.most_suspicious):
        prediction = report.predictions[index]
        probability, label, doubtful = (
            prediction.probability,
            prediction.label(report.threshold),
            report.doubts(index),
        )
        color = COLORS[label]
        ax.hlines(y, 0, probability, color=color, lw=2, ls=LINES[label])
        fill = "white" if doubtful else color
        # Clipping would cut markers at 0 and 1 in half.
        ax.plot(probability, y, MARKERS[label], color=color, mfc=fill, ms=font * 0.75, clip_on=False)
        ax.annotate(
            f"{probability:.2f}{' ?' if doubtful else ''}",
            (1, y),
            (10, 0),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            va="center",
            fontsize=font,
        )
    if not count:
        draw_message(ax, "no face was found")
    draw_title(ax, report.verdict.headline, pad=20)
    return ax


def _merge_heatmaps(report: ImageReport, shape: tuple[int, int]) -> np.ndarray:
    """Merge the heatmaps of all faces into one (h, w) map, 0..1, by the maximum where faces overlap."""
    merged = np.zeros(shape, np.float32)
    scale = np.array([shape[1] / report.frame.width, shape[0] / report.frame.height] * 2)
    for explanation in report.explanations:
        box = explanation.prediction.face.crop_box(explanation.margin)
        left, top, right, bottom = np.rint(np.array(box) * scale).astype(int).tolist()
        if explanation.empty or left == right or top == bottom:
            continue
        resized = cv2.resize(explanation.shaded(), (right - left, bottom - top), interpolation=cv2.INTER_AREA)
        region = merged[top:bottom, left:right]
        # Resampling may exceed 1 by a rounding error.
        np.maximum(region, np.clip(resized, 0, 1), out=region)
    return merged


def _label_variants(probabilities: list[float], marks: list[str]) -> list[list[str]]:
    """The labels of all faces, from the longest variant to the shortest."""
    faces = list(enumerate(zip(probabilities, marks, strict=True), start=1))
    return [
        [f"{i}  P(fake) {p:.2f}{mark}" for i, (p, mark) in faces],
        [f"{i}  {p:.2f}{mark}" for i, (p, mark) in faces],
        [f"{i}{mark}" for i, (_, mark) in faces],
    ]


def _legend(ax: Axes, labels: Sequence[str], doubtful: bool, threshold: float, variant: int) -> None:
    """Explain below the image the line styles and labels that occur."""
    words = {"fake": f"P(fake) at or over {threshold:.2f}", "real": f"P(fake) under {threshold:.2f}"}
    handles = [
        Line2D([], [], color=COLORS[label], ls=LINES[label], lw=1.8, label=words[label])
        for label in words
        if label in labels
    ]
    meaning = ("", "labels: face, P(fake)", "labels: face")[variant]
    notes = [meaning] * bool(meaning) + ["?: score in doubt"] * doubtful
    if notes:
        handles.append(Line2D([], [], ls="none", label="; ".join(notes)))
    ax.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, 0),
        ncols=min(len(handles), 2) if is_narrow() else len(handles),
        frameon=False,
        fontsize=FONT,
        borderaxespad=0.2,
        columnspacing=1.5,
    )


def _draw_threshold(ax: Axes, report: ImageReport) -> None:
    """Draw the threshold, annotated above the axes, and the inconclusive band around it."""
    threshold = report.threshold
    margin = inconclusive_band(report.card.temperature)
    shade_inconclusive(ax, threshold, margin, vertical=False)
    ax.axvline(threshold, color="0.25", lw=1.2, ls=":")
    ax.annotate(
        f"threshold {threshold:.2f}, inconclusive within {margin:.2f}",
        (threshold, 1),
        (0, 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        ha="left" if threshold < 0.25 else "right" if threshold > 0.75 else "center",
        fontsize=FONT,
    )


def _heatmap_line(report: ImageReport, strength: float) -> str:
    """Method, target, layer, and what the heatmaps carry of the scores."""
    first = report.explanations[0]
    line = (
        f"{METHODS[first.method]} for {first.target} at {displayable(first.layer, 40)}, "
        f"strength {strength:.2f}"
    )
    peaks = [e.peak for e in report.explanations if not e.empty]
    if not peaks:
        return f"{line}; no positive evidence"
    if len(report.explanations) == 1:
        return f"{line}; {first.amount}"
    if len(report.explanations) <= 4:
        each = (f"{e.amount} (face {i})" for i, e in enumerate(report.explanations, start=1))
        return f"{line}; {', '.join(each)}"
    carried = [e.evidence for e in report.explanations if e.evidence is not None]
    if len(carried) == len(report.explanations):
        return f"{line}; {min(carried):+.1f} to {max(carried):+.1f} log-odds"
    missing = len(report.explanations) - len(peaks)
    return f"{line}; peaks {min(peaks):.3g} to {max(peaks):.3g}" + (f", 0 for {missing}" if missing else "")
