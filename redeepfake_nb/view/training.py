"""What a labelled set is made of -> pictures: balance of the labels, native sizes, brightness.

As in :mod:`redeepfake_nb.view.image`, ``ax`` is None for a new pyplot figure, Axes, or a Figure to fill. Colours
are Okabe and Ito's; none is ever the only sign.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ..datasets.labelled_faces import LabelledFaces
from ..errors import InputError, displayable
from ..faces.face import crop_brightness
from .palette import COLORS, LINES
from .style import FONT, WIDTH, Canvas, draw_notice, make_axes, printable

_SIZE = (WIDTH * 0.7, WIDTH * 0.38)
_HATCHES = {"fake": "///", "real": ""}
_UNSPLIT = "not split"


def plot_balance(faces: LabelledFaces, ax: Canvas = None) -> Axes:
    """Faces of each label in each split, with their numbers."""
    ax, _ = make_axes(ax, _SIZE)
    table = faces.table
    splits = table["split"].astype(object).where(table["split"].notna(), _UNSPLIT).astype(str)
    usual = {"train": 0, "val": 1, "test": 2}
    order = sorted(splits.unique(), key=lambda name: (usual.get(name, 3), name))
    counts = pd.crosstab(splits, table["label"]).reindex(index=order, fill_value=0)
    places = np.arange(len(order))
    for offset, label in ((-0.2, "real"), (0.2, "fake")):
        heights = counts.get(label.upper(), pd.Series(0, index=order)).to_numpy()
        bars = ax.bar(
            places + offset,
            heights,
            0.38,
            color=COLORS[label],
            hatch=_HATCHES[label],
            edgecolor="white",
            label=label,
        )
        ax.bar_label(bars, [f"{n:,}" for n in heights], fontsize=FONT)
    ax.set_xticks(places, [printable(displayable(name, 24)) for name in order], fontsize=FONT)
    ax.set_ylim(0, counts.to_numpy().max() * 1.15)
    return _finish(ax, "split", "faces", f"Labels of {len(faces):,} faces")


def plot_sizes(faces: LabelledFaces, ax: Canvas = None) -> Axes:
    """Native widths, in pixels before a face was resized for storage; a notice where they are not known."""
    ax, _ = make_axes(ax, _SIZE)
    width = pd.to_numeric(faces.table.get("original_width", pd.Series(np.nan, faces.table.index)))
    width = width.where(width > 0)
    known = int(width.notna().sum())
    if known:
        # The few largest faces would squeeze all others into the first bins; they go into the last one.
        low, high = np.floor(width.min()), np.ceil(np.percentile(width.dropna(), 99)) + 1
        _histograms(ax, faces, width.clip(upper=high).to_numpy(), np.linspace(low, high, 31))
        median = float(width.median())
        ax.axvline(median, color="0.3", lw=1, ls=":", label=f"median, {median:.0f} px")
        title = f"Native widths of {known:,} of {len(faces):,} faces; the last bar holds the largest 1 %"
    else:
        draw_notice(ax, "The table does not say how large these faces were\n(column original_width).")
        title = "Native widths"
    return _finish(ax, "native width in pixels", "share of the label's faces", title)


def plot_brightness(faces: LabelledFaces, ax: Canvas = None, *, limit: int = 1000, seed: int = 0) -> Axes:
    """Mean grey level of the stored crops, 0 to 255, of a random sample of at most ``limit`` faces.

    Pictures that cannot be read are counted in the title.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(faces))[:limit])
    light = np.full(len(faces), np.nan)
    failed = 0
    for row in rows:
        try:
            light[row] = crop_brightness(faces.image(row))
        except InputError:
            failed += 1
    ax, _ = make_axes(ax, _SIZE)
    _histograms(ax, faces, light, np.linspace(0, 255, 31))
    title = f"Brightness of {len(rows) - failed:,} of {len(faces):,} faces"
    title += f"; {failed:,} more cannot be read" if failed else ""
    return _finish(ax, "mean grey level (0 black, 255 white)", "share of the label's faces", title)


def _histograms(ax: Axes, faces: LabelledFaces, values: np.ndarray, edges: np.ndarray) -> None:
    """Share of each label's known values in each bin, as outlines that do not hide each other."""
    for label, side in (("real", 0), ("fake", 1)):
        found = values[(faces.y == side) & np.isfinite(values)]
        if not len(found):
            continue
        shares = np.histogram(found, edges)[0] / len(found)
        ax.stairs(
            shares, edges, color=COLORS[label], ls=LINES[label], lw=1.8, label=f"{label} ({len(found):,})"
        )


def _finish(ax: Axes, x: str, y: str, title: str) -> Axes:
    ax.set_xlabel(x, fontsize=FONT)
    ax.set_ylabel(y, fontsize=FONT)
    ax.tick_params(labelsize=FONT)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_title(title, fontsize=FONT + 1)
    if ax.get_legend_handles_labels()[0]:
        ax.legend(fontsize=FONT, frameon=False)
    return ax


_TRAIN, _VAL, _BEST = "#E69F00", "#009E73", "0.3"


def plot_history(history: Sequence[dict], figure: Figure | None = None) -> np.ndarray:
    """Losses and AUC over steps, with the evaluation whose weights were kept.

    Parameters
    ----------
    history
        One dict per evaluation, as :attr:`redeepfake_nb.training.trainer.TrainingResult.history` or the lines of
        ``history.csv`` (``table.to_dict("records")``) give them.
    figure
        A Figure or SubFigure to fill; None makes a new one with pyplot.

    Returns
    -------
    numpy.ndarray
        (2,) Axes: losses, AUC.

    Raises
    ------
    ValueError
        No evaluation in it.
    """
    if not len(history):
        raise ValueError("there is no evaluation in the history yet")
    axes, _ = make_axes(figure, (WIDTH, WIDTH * 0.44), columns=2)
    column = {name: np.array([line[name] for line in history]) for name in history[0] if name != "start"}
    steps, kept = column["step"], int(np.argmax(column["val_auc"]))
    losses, auc = axes
    losses.plot(steps, column["train_loss"], "o-", color=_TRAIN, ms=4, label="train loss, changed faces")
    losses.plot(
        steps, column["val_log_loss"], "s--", color=_VAL, ms=4, label="val log loss, averaged weights"
    )
    auc.plot(steps, column["val_auc"], "s--", color=_VAL, ms=4, label="val AUC, averaged weights")
    auc.axhline(0.5, color="0.55", lw=1, ls=":", label="guessing")
    best = f"kept: step {steps[kept]:,}, AUC {column['val_auc'][kept]:.3f}"
    sizes = column["input_size"]
    for ax, y, title in ((losses, "loss", "Losses"), (auc, "AUC", "Ranking of val faces")):
        ax.axvline(steps[kept], color=_BEST, lw=1, ls="-.", label=best if ax is auc else None)
        for i in np.flatnonzero(np.diff(sizes)):
            ax.axvline((steps[i] + steps[i + 1]) / 2, color="0.8", lw=1)
            ax.text(
                (steps[i] + steps[i + 1]) / 2,
                0.01,
                f" {sizes[i + 1]} px",
                transform=ax.get_xaxis_transform(),
                fontsize=FONT - 1,
                color="0.4",
            )
        ax.set_xlabel("step", fontsize=FONT)
        ax.set_ylabel(y, fontsize=FONT)
        ax.set_title(title, fontsize=FONT + 1)
        ax.tick_params(labelsize=FONT)
        ax.spines[["top", "right"]].set_visible(False)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        # Below the axes: a curve may go anywhere.
        ax.legend(fontsize=FONT - 1, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2))
    return axes
