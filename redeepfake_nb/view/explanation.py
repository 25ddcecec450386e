"""Plot heatmaps: on the face, by part of the face, methods side by side, faithfulness, stress tests."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from ..errors import displayable
from ..evaluation.stress_curves import StressCurve, StressTest
from ..explanation.badge import SAME, Faithfulness
from ..explanation.heatmaps import FULL_COLOUR, Explanation, MethodComparison, Scale
from ..explanation.methods import METHODS
from ..explanation.pairs import FaceComparison
from ..explanation.regions import BACKGROUND
from .heatmap import COLORMAP, check_strength, colorize, overlay
from .palette import BLUISH_GREEN, COLORS, LINES, MARKERS
from .style import (
    FONT,
    HEIGHT,
    LITERAL,
    Canvas,
    draw_image,
    draw_message,
    draw_title,
    figure_width,
    font_size,
    is_narrow,
    make_axes,
    make_grid,
    replace_missing_glyphs,
    wrap_text,
)

PARTS = ("crop", "overlay", "heatmap")
# Diverging, and safe for people with colour vision deficiencies.
_CORRELATION_MAP = "PuOr_r"
_MAX_COLUMNS = 4
# Characters of all tick labels below a panel that have room in a narrow place.
_NARROW_TICKS = 24


def plot_explanation(
    explanation: Explanation,
    ax: Canvas = None,
    *,
    strength: float = 0.5,
    parts: Sequence[str] = PARTS,
    regions: bool = False,
    scale: Scale = "logit",
    layer: bool = True,
) -> Axes | np.ndarray:
    """Draw a face crop, the heatmap laid over it, and the heatmap alone.

    A heatmap without positive evidence for the target is replaced by a message.

    Parameters
    ----------
    explanation
        From :func:`redeepfake_nb.explain`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure. On Axes the overlay alone is drawn.
    strength
        0..1, see :func:`overlay`.
    parts
        Any of ``"crop"``, ``"overlay"`` and ``"heatmap"``, from left to right.
    regions
        Outline the parts of the face on overlay and heatmap, and say in the title which parts have the most
        evidence, or why that is not known.
    scale
        ``"logit"``: colours mean the same for all faces, full colour from 4 log-odds on, so that weak
        evidence looks weak. ``"peak"``: full colour at the heatmap's own peak.
    layer
        Whether the title names the layer.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        An array with one Axes per part; a single Axes for one part.

    Raises
    ------
    ValueError
        No part, an unknown part or scale, or a strength outside 0..1.
    """
    strength = check_strength(strength)
    chosen = ("overlay",) if isinstance(ax, Axes) else tuple(parts)
    if not chosen or not set(chosen) <= set(PARTS):
        raise ValueError(f"parts are some of {', '.join(PARTS)}, not {parts!r}")
    crop = explanation.prediction.face.crop(explanation.margin)
    words = explanation.title if layer else explanation.plain_title
    title = replace_missing_glyphs(f"P(fake) {explanation.prediction.probability:.2f}; {words}")
    if regions:
        title += f"\n{explanation.regions.sentence}"
    width = max(figure_width(len(chosen) / 3), 4.5)
    height = min(width / len(chosen) * crop.shape[0] / crop.shape[1], HEIGHT)
    size = (width, height + (0.8 if regions else 0.6))
    if len(chosen) == 1:
        single, own = make_axes(ax, size)
        _draw_part(single, explanation, crop, chosen[0], strength, regions, scale)
        draw_title(single, title, width if own else None)
        return single
    axes = make_grid(ax, size, 1, len(chosen))
    for part, axis in zip(chosen, axes, strict=True):
        _draw_part(axis, explanation, crop, part, strength, regions, scale)
        name = f"overlay, strength {strength:.2f}" if part == "overlay" else part
        axis.set_title(name, fontsize=FONT)
    axes[0].figure.suptitle(wrap_text(title, width), fontsize=FONT + 1, **LITERAL)
    return axes


def plot_explanations(explanations: Sequence[Explanation], *, limit: int = 4, strength: float = 0.5) -> None:
    """Draw several heatmaps, a new pyplot figure for each.

    Parameters
    ----------
    explanations
        As in ``report.explanations``; may be empty.
    limit
        Draw at most this many, the first ones.
    strength
        0..1, see :func:`overlay`.
    """
    for explanation in explanations[:limit]:
        plot_explanation(explanation, strength=strength)


def plot_regions(explanation: Explanation, ax: Canvas = None, *, layer: bool = True) -> Axes:
    """Plot each part's share of the evidence and of the area of the face.

    The upper bar of each pair is the share of evidence, in its target's colour; the lower one, grey and
    hatched, the share of the area. The number beside them is the ratio of the two.

    Parameters
    ----------
    explanation
        From :func:`redeepfake_nb.explain`.
    ax
        Axes, Figure or SubFigure to draw on, or None for a new pyplot figure.
    layer
        Whether the title names the layer.

    Returns
    -------
    matplotlib.axes.Axes
        Shares in per cent on the x axis; without landmarks, a message that says why there are none.
    """
    regions = explanation.regions
    size = (figure_width(0.75), 4.2 if regions.reason is None else 1.6)
    ax, own = make_axes(ax, size)
    title = replace_missing_glyphs(explanation.title if layer else explanation.plain_title)
    if regions.reason is not None:
        ax.set_axis_off()
        width = size[0] if own else ax.get_window_extent().width / ax.figure.dpi
        draw_message(ax, wrap_text(regions.reason, width * 0.9))
        draw_title(ax, title, size[0] if own else None)
        return ax
    table = regions.table[regions.table["area"] > 0]
    y = np.arange(len(table))
    evidence = f"share of evidence for {explanation.target}"
    ax.barh(y - 0.19, table["evidence"] * 100, 0.36, color=COLORS[explanation.target], label=evidence)
    ax.barh(y + 0.19, table["area"] * 100, 0.36, color="0.85", ec="0.4", hatch="////", label="share of area")
    largest = float(table[["evidence", "area"]].to_numpy().max()) * 100
    for i, row in enumerate(table.itertuples()):
        ax.annotate(
            "" if explanation.empty else f"{row.ratio:.1f} x",
            (max(row.evidence, row.area) * 100, i),
            (5, 0),
            textcoords="offset points",
            va="center",
            fontsize=FONT,
        )
    ax.set_xlim(0, largest * 1.12)
    ax.set_yticks(y, table["region"], fontsize=FONT)
    ax.invert_yaxis()
    ax.set_xlabel("share in %; beside the bars: evidence / area", fontsize=FONT)
    ax.tick_params(axis="x", labelsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.spines[["top", "right", "left"]].set_visible(False)
    ax.legend(loc="lower right", frameon=False, fontsize=FONT)
    draw_title(ax, f"{title}\n{regions.sentence}", size[0] * 0.75 if own else None)
    return ax


def plot_comparison(
    comparison: MethodComparison, ax: Canvas = None, *, strength: float = 0.5
) -> Axes | np.ndarray:
    """Draw the crop, the heatmap of each method over it, and the rank correlations of the heatmaps.

    Parameters
    ----------
    comparison
        From :func:`redeepfake_nb.compare_explanations`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure. On Axes the correlations alone are
        drawn.
    strength
        0..1, see :func:`overlay`.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        An array with the Axes of the crop, of each method, and of the correlations; a single Axes where Axes
        were given.

    Raises
    ------
    ValueError
        A strength outside 0..1.
    """
    strength = check_strength(strength)
    if isinstance(ax, Axes):
        _draw_correlations(ax, comparison)
        return ax
    first = comparison.explanations[0]
    crop = first.prediction.face.crop(first.margin)
    count = len(comparison.methods) + 2
    columns = min(count, _MAX_COLUMNS - is_narrow())
    rows, width = -(-count // columns), figure_width()
    rows_of_table = comparison.table.to_dict("records")
    room = width / columns * 0.9
    captions = [
        wrap_text(replace_missing_glyphs(_method_caption(row, explanation, comparison)), room)
        for row, explanation in zip(rows_of_table, comparison.explanations, strict=True)
    ]
    lines = max(caption.count("\n") + 1 for caption in captions)
    side = min(width / columns * crop.shape[0] / crop.shape[1], HEIGHT / 2)
    # The methods' names are written vertically below the correlations.
    size = (width, rows * (side + 0.15 * lines + 0.2) + 1.2)
    axes = make_grid(ax, size, rows, columns)
    # The correlations stand at the right end, where their names have room.
    for axis in axes[count - 1 : -1]:
        axis.remove()
    axes = np.append(axes[: count - 1], axes[-1])
    draw_image(axes[0], crop, crop.shape[1], crop.shape[0])
    axes[0].set_title("crop", fontsize=font_size(-1))
    for axis, explanation, caption in zip(axes[1:-1], comparison.explanations, captions, strict=False):
        _draw_part(axis, explanation, crop, "overlay", strength, False, "peak")
        axis.set_title(caption, fontsize=font_size(-1), **LITERAL)
    _draw_correlations(axes[-1], comparison)
    title = (
        f"P(fake) {comparison.prediction.probability:.2f}; methods for {comparison.target}, strength "
        f"{strength:.2f}, each heatmap normalised to its own peak"
    )
    title += f"\n{comparison.note}" if comparison.note else ""
    axes[0].figure.suptitle(wrap_text(title, width), fontsize=FONT + 1, **LITERAL)
    return axes


def _method_caption(row: dict, explanation: Explanation, comparison: MethodComparison) -> str:
    """Name, what the heatmap carries, the part with the most evidence, and further scores."""
    lines = [METHODS[row["method"]], "no evidence" if explanation.empty else explanation.amount]
    if row["region"]:
        lines.append(row["region"])
    lines += [f"{k} {v:.2g}" for k, v in comparison.scores.get(row["method"], {}).items()]
    return "\n".join(lines)


def _draw_part(
    ax: Axes,
    explanation: Explanation,
    crop: np.ndarray,
    part: str,
    strength: float,
    regions: bool,
    scale: Scale,
) -> None:
    """Draw one part of :func:`plot_explanation`."""
    height, width = crop.shape[:2]
    shaded = explanation.shaded(scale)
    if part == "crop":
        pixels = crop
    elif explanation.empty:
        pixels = crop if part == "overlay" else np.full_like(crop, 235)
        draw_message(ax, "not found by this method" if explanation.missed else "no positive evidence")
    elif part == "overlay":
        pixels = overlay(crop, shaded, strength)
    else:
        pixels = np.rint(colorize(shaded)).astype(np.uint8)
        _draw_scale(ax, explanation, scale)
    draw_image(ax, pixels, width, height)
    if regions and part != "crop" and explanation.regions.labels is not None:
        _draw_outlines(ax, explanation.regions.labels)


def _draw_scale(ax: Axes, explanation: Explanation, scale: Scale) -> None:
    """Draw the colour scale of a heatmap beside it."""
    logit = scale == "logit" and explanation.intensity is not None
    colours = ScalarMappable(Normalize(0, FULL_COLOUR if logit else 1), COLORMAP)
    bar = ax.figure.colorbar(colours, ax=ax, fraction=0.05, pad=0.03, extend="max" if logit else "neither")
    bar.set_label(f"log-odds for {explanation.target}" if logit else "share of peak", fontsize=FONT)
    bar.ax.tick_params(labelsize=font_size(-1))


def _draw_outlines(ax: Axes, labels: np.ndarray) -> None:
    """Outline the parts of the face in white with a dark rim, on axes in crop pixels."""
    height, width = labels.shape
    if min(height, width) < 2:
        return
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    for part in np.unique(labels):
        if part == BACKGROUND:
            continue
        lines = ax.contour(x, y, labels == part, levels=[0.5], colors="white", linewidths=0.9)
        lines.set_path_effects([patheffects.withStroke(linewidth=2.2, foreground="black", alpha=0.6)])


def _draw_correlations(ax: Axes, comparison: MethodComparison) -> None:
    """Draw the matrix of rank correlations with its numbers."""
    names = [METHODS[m].replace(" ", "\n") for m in comparison.methods]
    count = len(names)
    ax.imshow(comparison.agreement, cmap=_CORRELATION_MAP, vmin=-1, vmax=1)
    font = font_size(-1) if count <= 3 else font_size(-1.5)
    for i in range(count):
        for j in range(count):
            value = comparison.agreement[i, j]
            text = f"{value:.2f}" if np.isfinite(value) else "none"
            color = "white" if abs(value) > 0.6 else "black"
            ax.text(j, i, text, ha="center", va="center", fontsize=font, color=color)
    # On the right: names on the left would widen the gaps between the images.
    ax.yaxis.tick_right()
    ax.set_xticks(range(count), names, rotation=90, fontsize=font)
    ax.set_yticks(range(count), names, fontsize=font)
    ax.tick_params(length=0)
    ax.set_title("rank correlation", fontsize=font_size(-1))


def plot_face_comparison(
    compared: FaceComparison, ax: Canvas = None, *, strength: float = 0.5, titled: bool = True
) -> np.ndarray:
    """Draw two pictures of one face with their heatmaps, and the difference of the heatmaps.

    Heatmaps have the scale of :func:`plot_explanation`. In the difference orange is more evidence in the
    suspect, purple more in the original.

    Parameters
    ----------
    compared
        From :func:`redeepfake_nb.explanation.compare_faces`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure.
    strength
        0..1, see :func:`overlay`.
    titled
        False leaves the title out, where its words stand beside the figure already.

    Returns
    -------
    numpy.ndarray
        (4,) Axes: original, suspect, difference, and the change on each part of the face.

    Raises
    ------
    ValueError
        Single Axes, or a strength outside 0..1.
    """
    strength = check_strength(strength)
    rows, width = (2, figure_width()) if is_narrow() else (1, figure_width(1.4))
    axes = make_grid(ax, (width, 3.5 if rows == 1 else 5.6), rows, 4 // rows)
    pairs = (("original", compared.original), ("suspect", compared.suspect))
    for axis, (name, explanation) in zip(axes[:2], pairs, strict=True):
        crop = explanation.prediction.face.crop(explanation.margin)
        _draw_part(axis, explanation, crop, "overlay", strength, False, "logit")
        caption = f"{name}: P(fake) {explanation.prediction.probability:.2f},\n{explanation.amount}"
        axis.set_title(caption, fontsize=FONT)
    rows_there, columns_there = compared.difference.shape
    axes[2].set_axis_off()
    colours = Normalize(-FULL_COLOUR, FULL_COLOUR)
    axes[2].imshow(
        compared.difference, cmap=_CORRELATION_MAP, norm=colours, extent=(0, columns_there, rows_there, 0)
    )
    bar = axes[2].figure.colorbar(
        ScalarMappable(colours, _CORRELATION_MAP), ax=axes[2], fraction=0.05, pad=0.03, extend="both"
    )
    bar.ax.tick_params(labelsize=font_size(-1))
    axes[2].set_title(f"suspect minus original,\nlog-odds for {compared.suspect.target}", fontsize=FONT)
    table = compared.regions
    if len(table):
        target = compared.suspect.target
        other = "real" if target == "fake" else "fake"
        colors = [COLORS[target if change > 0 else other] for change in table["change"]]
        axes[3].barh(range(len(table)), table["change"], color=colors)
        axes[3].set_yticks(range(len(table)), table["region"], fontsize=FONT)
        axes[3].invert_yaxis()
        axes[3].axvline(0, color="0.4", lw=0.8)
        axes[3].set_title(f"change on each part,\nlog-odds for {target}", fontsize=FONT)
        axes[3].tick_params(axis="x", labelsize=font_size(-1))
        axes[3].spines[["top", "right"]].set_visible(False)
    else:
        axes[3].set_axis_off()
        draw_message(axes[3], wrap_text(compared.suspect.regions.reason or "", 3))
    if titled:
        crops = compared.crops[0].upper() + compared.crops[1:]
        title = wrap_text(f"{compared.sentence} {crops}.", width * 0.93)
        axes[0].figure.suptitle(title, fontsize=FONT + 1, **LITERAL)
    return axes


_INK = "0.2"
_HEATMAP_COLOR = BLUISH_GREEN
_PERCENT_TICKS = np.arange(0, 101, 25)


def plot_faithfulness(checked: Faithfulness, ax: Canvas = None, *, layer: bool = True) -> np.ndarray:
    """Plot the deletion, insertion and weight randomisation tests, with the badge in the title.

    The curve of a faithful heatmap falls faster than the band of random maps in the first panel, and rises
    faster in the second. In the third panel its points fall below 1 as more layers have random weights.

    Parameters
    ----------
    checked
        From :func:`redeepfake_nb.faithfulness`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure.
    layer
        Whether the title names the layer that the heatmap was taken from.

    Returns
    -------
    numpy.ndarray
        (3,) Axes: P(target) over the share of the face in per cent, twice; rank correlation over the share of
        layers with random weights.

    Raises
    ------
    ValueError
        Single Axes.
    """
    rows, width = (2, figure_width()) if is_narrow() else (1, figure_width(1.15))
    axes = make_grid(ax, (width, 3.3 * rows + 0.6), rows, 3 if rows == 1 else 2)
    for spare in axes[3:]:
        spare.set_visible(False)
    axes = axes[:3]
    table = checked.to_frame()
    for panel, name, words in zip(
        axes,
        ("deletion", "insertion"),
        ("most important pixels removed", "most important pixels restored"),
        strict=False,
    ):
        value = getattr(checked, f"{name}_area")
        panel.set_title(f"{name.capitalize()}: area {value:.2f}" if len(table) else name.capitalize(),
                        fontsize=FONT)  # fmt: skip
        if len(table):
            percent = 100 * table["share"]
            low, middle, high = (table[f"{name}_{word}"] for word in ("low", "median", "high"))
            band = f"{len(checked.random_deletion)} random maps, 90 %"
            panel.fill_between(percent, low, high, color="0.8", lw=0, label=band)
            panel.plot(percent, middle, color="0.45", lw=1.2, ls="--", label="their median")
            style = {"color": _HEATMAP_COLOR, "lw": 2, "ms": 4}
            panel.plot(percent, table[name], "o-", label="heatmap", clip_on=False, **style)
        else:
            draw_message(panel, "nothing to remove")
        panel.set_xlim(0, 100)
        panel.set_ylim(0, 1)
        panel.set_xticks(_PERCENT_TICKS)
        panel.set_xlabel(_wrapped(f"{words} (%)"), fontsize=FONT)
    axes[0].set_ylabel(f"P({checked.target})", fontsize=FONT)
    _draw_stages(axes[2], checked)
    for panel in axes:
        _style_axes(panel)
    if len(table):
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(
            handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=font_size(-1)
        )
    explanation = checked.explanation
    what = replace_missing_glyphs(displayable(explanation.title if layer else explanation.plain_title, 220))
    removed = f"removed pixels are replaced by {checked.neutral}" if checked.neutral else ""
    title = f"{checked.headline}\n{'; '.join(filter(None, (what, removed)))}"
    axes[0].figure.suptitle(wrap_text(title, width * 0.95), fontsize=FONT + 1, **LITERAL)
    return axes


def _wrapped(words: str) -> str:
    """Break the words of an axis in a narrow place."""
    return textwrap.fill(words, 32) if is_narrow() else words


def _draw_stages(ax: Axes, checked: Faithfulness) -> None:
    """Plot the rank correlation with the heatmap over the share of layers with random weights."""
    ax.set_title("Random weights", fontsize=FONT)
    if checked.stages:
        shares = [0.0, *(100 * s.share for s in checked.stages)]
        means = [checked.reproduced, *(s.mean for s in checked.stages)]
        ax.plot(shares, means, "o-", color=_HEATMAP_COLOR, lw=2, ms=4, clip_on=False)
        for stage in checked.stages:
            values = stage.correlations
            ax.plot([100 * stage.share] * len(values), values, "x", color="0.4", ms=5, clip_on=False)
        ax.axhline(SAME, color=_INK, lw=1.1, ls=":")
        ax.annotate(
            "unchanged at or above this line",
            (100, SAME),
            (0, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=font_size(-2),
            color=_INK,
        )
    else:
        draw_message(ax, "not computed")
    ax.axhline(0, color="0.8", lw=0.8)
    ax.set_xlim(0, 100)
    ax.set_ylim(-1, 1.03)
    ax.set_xticks(_PERCENT_TICKS)
    ax.set_xlabel(_wrapped("layers with random weights, from the output (%)"), fontsize=FONT)
    ax.set_ylabel(_wrapped("rank correlation with the heatmap"), fontsize=FONT)


def plot_stress(tested: StressTest, ax: Canvas = None) -> np.ndarray:
    """Plot P(fake) over the levels of each perturbation, with the threshold and the unchanged score.

    Vermilion diamonds reach the threshold, blue circles do not. The title gives the mildest perturbation that
    changes the label.

    Parameters
    ----------
    tested
        From :func:`redeepfake_nb.stress_test`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure.

    Returns
    -------
    numpy.ndarray
        One Axes per perturbation, P(fake) on the y axis.

    Raises
    ------
    ValueError
        Single Axes.
    """
    columns, width = (2, figure_width()) if is_narrow() else (4, figure_width(1.15))
    rows = -(-len(tested.curves) // columns)
    axes = make_grid(ax, (width, 2.25 * rows + 0.7), rows, columns, sharey=True)
    for panel, curve in zip(axes, tested.curves, strict=False):
        _draw_curve(panel, curve, tested)
    for panel in axes[len(tested.curves) :]:
        panel.set_visible(False)
    calibrated = tested.prediction.temperature
    for panel in axes[::columns]:
        panel.set_ylabel("P(fake)" if calibrated else "P(fake), uncalibrated", fontsize=FONT)
    sentence = tested.sentence[0].upper() + tested.sentence[1:]
    lines = (
        f"unchanged {tested.prediction.probability:.2f} (dashed), threshold {tested.threshold:.2f} (dotted)"
    )
    title = wrap_text(f"{sentence}\n{lines}", width * 0.95)
    axes[0].figure.suptitle(title, fontsize=FONT + 1, **LITERAL)
    return axes[: len(tested.curves)]


def _draw_curve(ax: Axes, curve: StressCurve, tested: StressTest) -> None:
    # Evenly spaced; sorted where levels lie on both sides of the unchanged image.
    order = list(range(len(curve.levels)))
    if len(set(curve.steps)) < len(curve.steps):
        order = np.argsort(curve.levels).tolist()
    values = [curve.probabilities[i] for i in order]
    ax.plot(range(len(values)), values, "-", color="0.45", lw=1.4)
    for x, value in enumerate(values):
        label = "fake" if value >= tested.threshold else "real"
        ax.plot(x, value, MARKERS[label], color=COLORS[label], ms=5, clip_on=False)
    ax.axhline(tested.threshold, color=_INK, lw=1.1, ls=":")
    ax.axhline(tested.prediction.probability, color="0.55", lw=1.0, ls=LINES["real"])
    if curve.change == "flip":
        ax.set_xticks([0], ["mirrored"])
    else:
        words = [f"{curve.levels[i]:g}" for i in order]
        if is_narrow() and len("".join(words)) > _NARROW_TICKS:
            words = [word if k % 2 == 0 else "" for k, word in enumerate(words)]
        ax.set_xticks(range(len(values)), words)
        ax.set_xlabel(curve.unit, fontsize=font_size(-1))
    ax.set_xlim(-0.5, max(len(values) - 0.5, 0.5))
    ax.set_ylim(0, 1)
    ax.set_title(curve.change, fontsize=FONT)
    _style_axes(ax)
    # Up to nine levels share a panel two inches wide.
    ax.tick_params(axis="x", labelsize=font_size(-2))


def _style_axes(ax: Axes) -> None:
    ax.tick_params(labelsize=font_size(-1))
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
