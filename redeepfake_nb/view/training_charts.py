"""The course of a training run -> pictures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from .style import FONT, WIDTH, make_axes

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
