"""The scores of files that people labelled, in a picture."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes

from ..scanning.review import Review
from .palette import COLORS, LINES
from .style import FONT, WIDTH, Canvas, make_axes

_BINS = 20


def plot_review(review: Review, ax: Canvas = None) -> Axes:
    """How many files labelled real and fake have which P(fake), with the threshold.

    Real files count upwards and fake ones downwards from the middle line, so that neither hides the other.
    """
    ax, _ = make_axes(ax, (WIDTH * 0.75, WIDTH * 0.3))
    edges = np.linspace(0, 1, _BINS + 1)
    for label, name, sign in ((0, "real", 1), (1, "fake", -1)):
        heights = sign * np.histogram(review.p[review.y == label], edges)[0]
        count = int((review.y == label).sum())
        ax.stairs(heights, edges, fill=True, color=COLORS[name], alpha=0.25)
        words = f"labelled {name} ({count:,} {'file' if count == 1 else 'files'})"
        ax.stairs(heights, edges, color=COLORS[name], lw=1.8, ls=LINES[name], label=words)
    ax.axhline(0, color="0.2", lw=0.8)
    ax.axvline(review.threshold, color="0.2", lw=1.3, ls=":", label=f"threshold {review.threshold:.3f}")
    most = max(abs(bound) for bound in ax.get_ylim())
    ax.set(xlim=(0, 1), ylim=(-most, most))
    ax.set_xlabel("P(fake) in the scan", fontsize=FONT)
    ax.set_ylabel("files (fake ones downwards)", fontsize=FONT)
    ax.yaxis.get_major_locator().set_params(integer=True)
    ax.yaxis.set_major_formatter(lambda y, _: f"{abs(y):.0f}")
    ax.set_title("Scores of the files you labelled", fontsize=FONT + 1)
    ax.legend(frameon=False, fontsize=FONT - 1, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    return ax
