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

from ..explanation.comparison import MethodComparison
from ..explanation.heatmaps import Explanation
from ..explanation.methods import METHODS
from ..explanation.regions import BACKGROUND
from .heat import HEAT, checked_strength, heat_colors, overlay
from .palette import COLORS
from .style import (
    FONT,
    HEIGHT,
    LITERAL,
    WIDTH,
    Canvas,
    draw_notice,
    draw_picture,
    draw_title,
    make_axes,
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
