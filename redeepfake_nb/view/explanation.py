"""Plots of an :class:`Explanation` and of several: the heatmap, its parts of the face, methods side by side.

They follow the rules of :mod:`redeepfake_nb.view.image`, where they can be had from too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import Normalize

from ..errors import displayable
from ..evaluation.perturbation import StressCurve, StressTest
from ..explanation.fidelity import SAME, Faithfulness
from ..explanation.heatmaps import Explanation, MethodComparison
from ..explanation.methods import METHODS
from ..explanation.regions import BACKGROUND
from .palette import COLORS, LINES, MARKERS
from .style import (
    FONT,
    HEAT,
    HEIGHT,
    LITERAL,
    WIDTH,
    Canvas,
    checked_strength,
    draw_notice,
    draw_picture,
    draw_title,
    heat_colors,
    make_axes,
    make_grid,
    overlay,
    printable,
    wrapped,
)

PARTS = ("crop", "overlay", "heatmap")
# Two colours for two directions, told apart by people with colour vision deficiencies.
_AGREEMENT = "PuOr_r"
_COLUMNS = 4


def plot_explanation(
    explanation: Explanation,
    ax: Canvas = None,
    *,
    strength: float = 0.5,
    parts: Sequence[str] = PARTS,
    regions: bool = False,
) -> Axes | np.ndarray:
    """A face crop, the heatmap over it, and the heatmap alone.

    Where nothing on the face speaks for the target, this is said and no heat is drawn.

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
        Draw the outlines of the parts of the face over overlay and heatmap, and put into the title where the
        evidence lies, or why that cannot be said.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        An array with one Axes per part; a single Axes where there is one part only.

    Raises
    ------
    ValueError
        No part or an unknown one, or a strength outside 0..1.
    """
    strength = checked_strength(strength)
    chosen = ("overlay",) if isinstance(ax, Axes) else tuple(parts)
    if not chosen or not set(chosen) <= set(PARTS):
        raise ValueError(f"parts are some of {', '.join(PARTS)}, not {parts!r}")
    crop = explanation.prediction.face.crop(explanation.margin)
    title = printable(f"P(fake) {explanation.prediction.probability:.2f}; {explanation.title}")
    if regions:
        title += f"\n{explanation.regions.sentence}"
    width = max(WIDTH * len(chosen) / 3, 4.5)
    height = min(width / len(chosen) * crop.shape[0] / crop.shape[1], HEIGHT)
    axes, own = make_axes(ax, (width, height + (0.8 if regions else 0.6)), len(chosen))
    if len(chosen) == 1:
        _draw_part(axes, explanation, crop, chosen[0], strength, regions)
        draw_title(axes, title, width if own else None)
        return axes
    for part, axis in zip(chosen, axes, strict=True):
        _draw_part(axis, explanation, crop, part, strength, regions)
        name = f"overlay, strength {strength:.2f}" if part == "overlay" else part
        axis.set_title(name, fontsize=FONT)
    axes[0].figure.suptitle(wrapped(title, width), fontsize=FONT + 1, **LITERAL)
    return axes


def plot_regions(explanation: Explanation, ax: Canvas = None) -> Axes:
    """How much of the evidence lies on each part of the face, beside how much of the area it takes.

    The upper bar of each pair is the share of evidence, in its target's colour; the lower one, grey and
    hatched, the share of the area. The figure behind them is the ratio of the two.

    Parameters
    ----------
    explanation
        From :func:`redeepfake_nb.explain`.
    ax
        Axes, Figure or SubFigure to draw on, or None for a new pyplot figure.

    Returns
    -------
    matplotlib.axes.Axes
        Shares in per cent from left to right; without landmarks, the words why there are none.
    """
    regions = explanation.regions
    size = (WIDTH * 0.75, 4.2 if regions.reason is None else 1.6)
    ax, own = make_axes(ax, size)
    title = printable(explanation.title)
    if regions.reason is not None:
        ax.set_axis_off()
        width = size[0] if own else ax.get_window_extent().width / ax.figure.dpi
        draw_notice(ax, wrapped(regions.reason, width * 0.9))
        draw_title(ax, title, size[0] if own else None)
        return ax
    table = regions.table[regions.table["area"] > 0]
    place = np.arange(len(table))
    evidence = f"share of evidence for {explanation.target}"
    ax.barh(place - 0.19, table["evidence"] * 100, 0.36, color=COLORS[explanation.target], label=evidence)
    ax.barh(
        place + 0.19, table["area"] * 100, 0.36, color="0.85", ec="0.4", hatch="////", label="share of area"
    )
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
    ax.set_yticks(place, table["region"], fontsize=FONT)
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
    """The crop, every method's heatmap over it, and how far their heatmaps agree.

    Parameters
    ----------
    comparison
        From :func:`redeepfake_nb.compare_explanations`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure. On Axes the agreement alone is drawn.
    strength
        0..1, see :func:`overlay`.

    Returns
    -------
    matplotlib.axes.Axes or numpy.ndarray
        An array with the Axes of the crop, of each method in turn, and of the agreement; a single Axes where
        Axes were given.

    Raises
    ------
    ValueError
        A strength outside 0..1.
    """
    strength = checked_strength(strength)
    if isinstance(ax, Axes):
        _draw_agreement(ax, comparison)
        return ax
    first = comparison.explanations[0]
    crop = first.prediction.face.crop(first.margin)
    count = len(comparison.methods) + 2
    columns = min(count, _COLUMNS)
    rows = -(-count // columns)
    captions = [_method_caption(row, comparison) for row in comparison.table.to_dict("records")]
    lines = max(caption.count("\n") + 1 for caption in captions)
    side = min(WIDTH / columns * crop.shape[0] / crop.shape[1], HEIGHT / 2)
    # Below the agreement stand the methods' names, upright.
    size = (WIDTH, rows * (side + 0.15 * lines + 0.2) + 1.2)
    axes, _ = make_axes(ax, size, columns, rows)
    axes = np.ravel(axes)
    for axis in axes[count:]:
        axis.remove()
    draw_picture(axes[0], crop, crop.shape[1], crop.shape[0])
    axes[0].set_title("crop", fontsize=FONT - 1)
    for axis, explanation, caption in zip(axes[1:], comparison.explanations, captions, strict=False):
        _draw_part(axis, explanation, crop, "overlay", strength, False)
        axis.set_title(printable(caption), fontsize=FONT - 1, **LITERAL)
    _draw_agreement(axes[count - 1], comparison)
    title = (
        f"P(fake) {comparison.prediction.probability:.2f}; methods for {comparison.target}, strength "
        f"{strength:.2f}, each heatmap as a share of its own peak"
    )
    axes[0].figure.suptitle(wrapped(title, WIDTH), fontsize=FONT + 1, **LITERAL)
    return axes[:count]


def _method_caption(row: dict, comparison: MethodComparison) -> str:
    """Name, peak, where most lies, time, and whatever else was measured."""
    peak = f"peak {row['peak']:.3g}" if row["peak"] > 0 else "no evidence"
    lines = [METHODS[row["method"]], f"{peak}, {_seconds(row['seconds'])}"]
    if row["region"]:
        lines.append(row["region"])
    lines += [f"{k} {v:.2g}" for k, v in comparison.scores.get(row["method"], {}).items()]
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


def _draw_part(
    ax: Axes, explanation: Explanation, crop: np.ndarray, part: str, strength: float, regions: bool
) -> None:
    """One of the pictures of :func:`plot_explanation`."""
    height, width = crop.shape[:2]
    if part == "crop":
        pixels = crop
    elif explanation.empty:
        pixels = crop if part == "overlay" else np.full_like(crop, 235)
        draw_notice(ax, "not found by this method" if explanation.missed else "no positive evidence")
    elif part == "overlay":
        pixels = overlay(crop, explanation.heatmap, strength)
    else:
        pixels = np.rint(heat_colors(explanation.heatmap)).astype(np.uint8)
        bar = ax.figure.colorbar(ScalarMappable(Normalize(0, 1), HEAT), ax=ax, fraction=0.05, pad=0.03)
        bar.set_label("share of peak", fontsize=FONT)
        bar.ax.tick_params(labelsize=FONT - 1)
    draw_picture(ax, pixels, width, height)
    if regions and part != "crop" and explanation.regions.labels is not None:
        _draw_outlines(ax, explanation.regions.labels)


def _draw_outlines(ax: Axes, labels: np.ndarray) -> None:
    """The borders between the parts of a face, white with a dark rim, on axes in the crop's pixels."""
    height, width = labels.shape
    if min(height, width) < 2:
        return
    x, y = np.arange(width) + 0.5, np.arange(height) + 0.5
    for part in np.unique(labels):
        if part == BACKGROUND:
            continue
        lines = ax.contour(x, y, labels == part, levels=[0.5], colors="white", linewidths=0.9)
        lines.set_path_effects([patheffects.withStroke(linewidth=2.2, foreground="black", alpha=0.6)])


def _draw_agreement(ax: Axes, comparison: MethodComparison) -> None:
    """Rank correlations as numbers on colours."""
    names = [METHODS[m].replace(" ", "\n") for m in comparison.methods]
    count = len(names)
    ax.imshow(comparison.agreement, cmap=_AGREEMENT, vmin=-1, vmax=1)
    font = FONT - 1 if count <= 3 else FONT - 2.5
    for i in range(count):
        for j in range(count):
            value = comparison.agreement[i, j]
            text = f"{value:.2f}" if np.isfinite(value) else "none"
            color = "white" if abs(value) > 0.6 else "black"
            ax.text(j, i, text, ha="center", va="center", fontsize=font, color=color)
    # Only below: names on the left would push the column of pictures above apart.
    ax.set_xticks(range(count), names, rotation=90, fontsize=font)
    ax.set_yticks([])
    ax.tick_params(length=0)
    ax.set_title("rank correlation,\nin the same order", fontsize=FONT - 1)


_INK = "0.2"
_HEATMAP = "#009E73"  # bluish green: neither fake nor real
_PERCENT = np.arange(0, 101, 25)


def plot_faithfulness(checked: Faithfulness, ax: Canvas = None) -> np.ndarray:
    """Deletion, insertion and the randomised-weights check, with the badge and its numbers as the title.

    A good heatmap's line falls faster than the random maps' band in the first panel, and rises faster in the
    second. In the third its points fall away from 1 as layers become random.

    Parameters
    ----------
    checked
        From :func:`redeepfake_nb.faithfulness`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure.

    Returns
    -------
    numpy.ndarray
        Three Axes. P(target) over the share of the face in per cent; rank correlation over random layers.

    Raises
    ------
    ValueError
        Single Axes.
    """
    axes = make_grid(ax, (WIDTH * 1.15, 3.9), 1, 3)
    table = checked.to_frame()
    for panel, name, words in zip(
        axes, ("deletion", "insertion"), ("hottest places removed", "hottest places put back"), strict=False
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
            panel.plot(percent, table[name], "o-", color=_HEATMAP, lw=2, ms=4, label="heatmap", clip_on=False)
        else:
            draw_notice(panel, "nothing to remove")
        panel.set_xlim(0, 100)
        panel.set_ylim(0, 1)
        panel.set_xticks(_PERCENT)
        panel.set_xlabel(f"{words} (% of the face)", fontsize=FONT)
    axes[0].set_ylabel(f"P({checked.target})", fontsize=FONT)
    _draw_stages(axes[2], checked)
    for panel in axes:
        _tidy(panel)
    if len(table):
        handles, labels = axes[0].get_legend_handles_labels()
        axes[0].figure.legend(
            handles, labels, loc="outside lower center", ncols=3, frameon=False, fontsize=FONT - 1
        )
    what = printable(displayable(checked.explanation.title, 110))
    removed = f"removed places show {checked.neutral}" if checked.neutral else ""
    title = f"{checked.headline}\n{'; '.join(filter(None, (what, removed)))}"
    axes[0].figure.suptitle(wrapped(title, WIDTH * 1.1), fontsize=FONT + 1, **LITERAL)
    return axes


def _draw_stages(ax: Axes, checked: Faithfulness) -> None:
    """Rank correlation with the heatmap over the share of layers with random weights."""
    ax.set_title("Random weights", fontsize=FONT)
    if checked.stages:
        shares = [0.0, *(100 * s.share for s in checked.stages)]
        means = [checked.reproduced, *(s.mean for s in checked.stages)]
        ax.plot(shares, means, "o-", color=_HEATMAP, lw=2, ms=4, clip_on=False)
        for stage in checked.stages:
            values = stage.correlations
            ax.plot([100 * stage.share] * len(values), values, "x", color="0.4", ms=5, clip_on=False)
        ax.axhline(SAME, color=_INK, lw=1.1, ls=":")
        ax.annotate(
            "from here on unchanged",
            (100, SAME),
            (0, -3),
            textcoords="offset points",
            ha="right",
            va="top",
            fontsize=FONT - 2,
            color=_INK,
        )
    else:
        draw_notice(ax, "not made")
    ax.axhline(0, color="0.8", lw=0.8)
    ax.set_xlim(0, 100)
    ax.set_ylim(-1, 1.03)
    ax.set_xticks(_PERCENT)
    ax.set_xlabel("random layers, from the output (%)", fontsize=FONT)
    ax.set_ylabel("rank correlation with the heatmap", fontsize=FONT)


def plot_stress(tested: StressTest, ax: Canvas = None) -> np.ndarray:
    """A panel for each kind of change: P(fake) over its levels, with the threshold and the unchanged score.

    Vermilion diamonds reach the threshold, blue circles do not. The mildest change that turns the label
    stands in the title.

    Parameters
    ----------
    tested
        From :func:`redeepfake_nb.stress_test`.
    ax
        A Figure or SubFigure to fill, or None for a new pyplot figure.

    Returns
    -------
    numpy.ndarray
        One Axes per kind of change, P(fake) from 0 to 1 upwards.

    Raises
    ------
    ValueError
        Single Axes.
    """
    columns = 4
    rows = -(-len(tested.curves) // columns)
    axes = make_grid(ax, (WIDTH * 1.15, 2.25 * rows + 0.7), rows, columns, sharey=True)
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
    title = wrapped(f"{sentence}\n{lines}", WIDTH * 1.1)
    axes[0].figure.suptitle(title, fontsize=FONT + 1, **LITERAL)
    return axes[: len(tested.curves)]


def _draw_curve(ax: Axes, curve: StressCurve, tested: StressTest) -> None:
    # Evenly spaced, in the order of the scale where levels lie on both sides of an unchanged picture.
    order = range(len(curve.levels))
    if len(set(curve.steps)) < len(curve.steps):
        order = np.argsort(curve.levels).tolist()
    values = [curve.probabilities[i] for i in order]
    ax.plot(range(len(values)), values, "-", color="0.45", lw=1.4)
    for place, value in enumerate(values):
        label = "fake" if value >= tested.threshold else "real"
        ax.plot(place, value, MARKERS[label], color=COLORS[label], ms=5, clip_on=False)
    ax.axhline(tested.threshold, color=_INK, lw=1.1, ls=":")
    ax.axhline(tested.prediction.probability, color="0.55", lw=1.0, ls=LINES["real"])
    if curve.change == "flip":
        ax.set_xticks([0], ["mirrored"])
    else:
        ax.set_xticks(range(len(values)), [f"{curve.levels[i]:g}" for i in order])
        ax.set_xlabel(curve.unit, fontsize=FONT - 1)
    ax.set_xlim(-0.5, max(len(values) - 0.5, 0.5))
    ax.set_ylim(0, 1)
    ax.set_title(curve.change, fontsize=FONT)
    _tidy(ax)
    # Up to nine levels stand under a panel of two inches.
    ax.tick_params(axis="x", labelsize=FONT - 2)


def _tidy(ax: Axes) -> None:
    ax.tick_params(labelsize=FONT - 1)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(axis="y", color="0.92")
    ax.set_axisbelow(True)
