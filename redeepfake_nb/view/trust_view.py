"""Plots of how far a heatmap and a score can be relied on: :class:`Faithfulness` and :class:`StressTest`.

They follow the rules of :mod:`redeepfake_nb.view.image`, where they can be had from too.
"""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ..errors import displayable
from ..evaluation.stress import StressCurve, StressTest
from ..explanation.fidelity import SAME, Faithfulness
from .palette import COLORS, LINES, MARKERS
from .style import FONT, LITERAL, WIDTH, Canvas, draw_notice, make_grid, printable, wrapped

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
