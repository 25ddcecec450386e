"""Plot a labelled data set (class balance, face sizes, brightness) and the history of a training run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from ..datasets.labelled_faces import LabelledFaces
from ..errors import InputError, displayable
from ..faces.face import crop_brightness
from .palette import BLUISH_GREEN, COLORS, LINES, ORANGE
from .style import FONT, WIDTH, Canvas, draw_message, make_axes, make_grid, replace_missing_glyphs

_SIZE = (WIDTH * 0.7, WIDTH * 0.38)
_HATCHES = {"fake": "///", "real": ""}
_UNSPLIT = "not split"


def plot_balance(faces: LabelledFaces, ax: Canvas = None) -> Axes:
    """Plot the number of real and fake faces in each split."""
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
    ax.set_xticks(places, [replace_missing_glyphs(displayable(name, 24)) for name in order], fontsize=FONT)
    ax.set_ylim(0, counts.to_numpy().max() * 1.15)
    return _finish(ax, "split", "faces", f"Labels of {len(faces):,} faces")


def plot_sizes(faces: LabelledFaces, ax: Canvas = None) -> Axes:
    """Plot the faces' original widths in pixels, before they were resized for storage, where known."""
    ax, _ = make_axes(ax, _SIZE)
    width = pd.to_numeric(faces.table.get("original_width", pd.Series(np.nan, faces.table.index)))
    width = width.where(width > 0)
    known = int(width.notna().sum())
    if known:
        # The largest 1 % share the last bin: they would squeeze all others into the first ones.
        low, high = np.floor(width.min()), np.ceil(np.percentile(width.dropna(), 99)) + 1
        _histograms(ax, faces, width.clip(upper=high).to_numpy(), np.linspace(low, high, 31))
        median = float(width.median())
        ax.axvline(median, color="0.3", lw=1, ls=":", label=f"median, {median:.0f} px")
        title = f"Original widths of {known:,} of {len(faces):,} faces; the last bar holds the largest 1 %"
    else:
        draw_message(ax, "The original sizes of these faces are not known\n(column original_width).")
        title = "Original widths"
    return _finish(ax, "original width in pixels", "share of the label's faces", title)


def plot_brightness(faces: LabelledFaces, ax: Canvas = None, *, limit: int = 1000, seed: int = 0) -> Axes:
    """Plot the mean grey level, 0 to 255, of the crops of a random sample of at most ``limit`` faces.

    The title counts images that cannot be read.
    """
    rows = np.sort(np.random.default_rng(seed).permutation(len(faces))[:limit])
    brightness = np.full(len(faces), np.nan)
    failed = 0
    for row in rows:
        try:
            brightness[row] = crop_brightness(faces.image(row))
        except InputError:
            failed += 1
    ax, _ = make_axes(ax, _SIZE)
    _histograms(ax, faces, brightness, np.linspace(0, 255, 31))
    title = f"Brightness of {len(rows) - failed:,} of {len(faces):,} faces"
    title += f"; {failed:,} more could not be read" if failed else ""
    return _finish(ax, "mean grey level (0 black, 255 white)", "share of the label's faces", title)


def _histograms(ax: Axes, faces: LabelledFaces, values: np.ndarray, edges: np.ndarray) -> None:
    """Plot the histograms of both labels' finite values, each normalised to sum to 1, as outlines."""
    for label, y in (("real", 0), ("fake", 1)):
        found = values[(faces.y == y) & np.isfinite(values)]
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


_TRAIN_COLOR, _VAL_COLOR, _BEST_COLOR = ORANGE, BLUISH_GREEN, "0.3"


def plot_history(history: Sequence[dict], figure: FigureBase | None = None) -> np.ndarray:
    """Plot losses and AUC over training steps, and mark the evaluation whose weights were kept.

    Parameters
    ----------
    history
        One dict per evaluation, as :attr:`redeepfake_nb.training.trainer.TrainingResult.history` or the lines
        of ``history.csv`` (``table.to_dict("records")``) give them.
    figure
        A Figure or SubFigure to fill, or None for a new pyplot figure.

    Returns
    -------
    numpy.ndarray
        (2,) Axes: losses, AUC.

    Raises
    ------
    ValueError
        The history is empty.
    """
    if not len(history):
        raise ValueError("the history has no evaluation yet")
    axes = make_grid(figure, (WIDTH, WIDTH * 0.44), 1, 2)
    column = {name: np.array([line[name] for line in history]) for name in history[0] if name != "start"}
    steps, best_row = column["step"], int(np.argmax(column["val_auc"]))
    losses, auc = axes
    losses.plot(
        steps, column["train_loss"], "o-", color=_TRAIN_COLOR, ms=4, label="train loss, augmented faces"
    )
    losses.plot(
        steps, column["val_log_loss"], "s--", color=_VAL_COLOR, ms=4, label="val log loss, averaged weights"
    )
    auc.plot(steps, column["val_auc"], "s--", color=_VAL_COLOR, ms=4, label="val AUC, averaged weights")
    auc.axhline(0.5, color="0.55", lw=1, ls=":", label="guessing")
    best = f"kept: step {steps[best_row]:,}, AUC {column['val_auc'][best_row]:.3f}"
    sizes = column["input_size"]
    for ax, y, title in ((losses, "loss", "Losses"), (auc, "AUC", "AUC on val faces")):
        ax.axvline(steps[best_row], color=_BEST_COLOR, lw=1, ls="-.", label=best if ax is auc else None)
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
        # Below the axes, where no curve is.
        ax.legend(fontsize=FONT - 1, frameon=False, loc="upper left", bbox_to_anchor=(0, -0.2))
    return axes
