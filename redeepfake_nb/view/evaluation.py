"""Assessments -> pictures: curves, confusion, calibration, kinds of faces, robustness, single faces.

As in :mod:`redeepfake_nb.view.image`, every plot takes a record and ``ax``, which is None for a new pyplot figure,
Axes, or a Figure or SubFigure to fill, and returns what it drew on. Plots of several panels need a figure.
Colours are Okabe and Ito's; none is ever the only sign.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes

from ..errors import displayable
from ..evaluation.assessment import Assessment
from ..evaluation.metrics import resampled_rows
from ..evaluation.perturbation import UNCHANGED
from ..evaluation.slices import FIGURES, span_in_words
from ..scanning.review import Review
from ..utils.numeric import sigmoid
from .palette import COLORS, LINES
from .style import FONT, LITERAL, WIDTH, Canvas, draw_notice, make_axes, make_grid, printable

_SQUARE = (WIDTH * 0.58, WIDTH * 0.52)
_INK = "0.2"
_MODEL = "#009E73"  # bluish green: neither fake nor real
_BEFORE = "#CC79A7"  # reddish purple
# Curves of this many bootstrap samples make a band; its edge moves little with more.
_BAND_SAMPLES = 200


def plot_roc(assessment: Assessment, ax: Canvas = None) -> Axes:
    """Hit rate over false-alarm rate, with a band of 95 % and the threshold that was used.

    The band holds, at each false-alarm rate, the hit rates of 95 % of the bootstrap samples.
    """
    from sklearn.metrics import roc_curve

    ax = _square(ax, "false-alarm rate: share of real faces called fake", "hit rate: share of fakes found")
    y, p = assessment.y, assessment.probabilities
    grid = np.linspace(0, 1, 201)
    curves = []
    for rows in _samples(assessment):
        false_alarm, hit, _ = roc_curve(y[rows], p[rows])
        curves.append(np.interp(grid, false_alarm, hit))
    whom = {"identity": "people", "original": "videos"}.get(assessment.group or "", "faces")
    if curves:
        low, high = np.percentile(curves, [2.5, 97.5], axis=0)
        ax.fill_between(grid, low, high, color=_MODEL, alpha=0.18, lw=0, label=f"95 % of samples of {whom}")
    false_alarm, hit, _ = roc_curve(y, p)
    ax.plot(false_alarm, hit, color=_MODEL, lw=2, label=f"AUC {_words(assessment, 'auc')}")
    ax.plot([0, 1], [0, 1], color="0.55", lw=1, ls=":", label="guessing")
    at = assessment.called_fake[y == 0].mean(), assessment.called_fake[y == 1].mean()
    words = f"threshold {assessment.threshold:.3f}: {at[0]:.1%} false alarms, {at[1]:.1%} hits"
    ax.plot(*at, "D", color=_INK, ms=7, clip_on=False, label=words, ls="none")
    return _finish(ax, "Receiver operating characteristic", "lower right")


def plot_precision_recall(assessment: Assessment, ax: Canvas = None) -> Axes:
    """Precision over recall, with the threshold that was used and the share of fakes as the level to beat."""
    from sklearn.metrics import precision_recall_curve

    ax = _square(ax, "recall: share of fakes found", "precision: share of alarms that are fakes")
    y, p = assessment.y, assessment.probabilities
    precision, recall, _ = precision_recall_curve(y, p)
    label = f"average precision {_words(assessment, 'average_precision')}"
    # Steps, as between two scores there is no threshold with a precision in between.
    ax.step(recall, precision, where="post", color=_MODEL, lw=2, label=label)
    ax.axhline(y.mean(), color="0.55", lw=1, ls=":", label=f"guessing: {y.mean():.0%} of the faces are fakes")
    called = assessment.called_fake
    if called.any():
        at = called[y == 1].mean(), y[called].mean()
        words = f"threshold {assessment.threshold:.3f}: recall {at[0]:.1%}, precision {at[1]:.1%}"
        ax.plot(*at, "D", color=_INK, ms=7, clip_on=False, label=words, ls="none")
    return _finish(ax, "Precision and recall", "lower left")


def plot_confusion(assessment: Assessment, ax: Canvas = None) -> Axes:
    """Faces by truth and call: counts, and shares of each row."""
    ax, _ = make_axes(ax, (WIDTH * 0.5, WIDTH * 0.42))
    counts = assessment.confusion().to_numpy()
    shares = counts / counts.sum(axis=1, keepdims=True)
    ax.imshow(shares, cmap="Greys", vmin=0, vmax=1)
    for row in range(2):
        for column in range(2):
            share = shares[row, column]
            words = f"{counts[row, column]:,}\n{share:.1%}"
            color = "white" if share > 0.5 else "black"
            ax.text(column, row, words, ha="center", va="center", fontsize=FONT + 4, color=color)
    ax.set_xticks([0, 1], ["real", "fake"], fontsize=FONT)
    ax.set_yticks([0, 1], ["real", "fake"], fontsize=FONT)
    ax.set_xlabel(f"called, at threshold {assessment.threshold:.3f}", fontsize=FONT)
    ax.set_ylabel("truth", fontsize=FONT)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title("Confusion: faces, and shares of each row", fontsize=FONT + 1)
    return ax


def plot_reliability(assessment: Assessment, ax: Canvas = None, *, bins: int = 10) -> Axes:
    """Share of fakes over P(fake), before and after calibration, with the number of faces in each bin.

    A point below the diagonal is a bin where P(fake) promises more fakes than there are. Bars and numbers at
    the foot count the faces of each bin after calibration.
    """
    ax = _square(ax, "mean P(fake) of the faces in a bin", "share of fakes among them")
    ax.plot([0, 1], [0, 1], color="0.55", lw=1, ls=":", label="perfectly calibrated")
    edges = np.linspace(0, 1, bins + 1)
    count = np.bincount(_bin(assessment.probabilities, bins), minlength=bins)
    ax.bar(edges[:-1], 0.14 * count / count.max(), width=1 / bins, align="edge", color="0.88", ec="white")
    for left, faces in zip(edges[:-1], count, strict=True):
        if faces:
            ax.text(left + 0.5 / bins, 0.008, f"{faces:,}", ha="center", fontsize=FONT - 2, color=_INK)
    if assessment.temperature is None:
        curves = [("never calibrated", assessment.logits, assessment.uncalibrated, _MODEL, "o", "-")]
    else:
        after = assessment.logits / assessment.temperature
        words = f"after (temperature {assessment.temperature:.2f})"
        curves = [
            ("before calibration", assessment.logits, assessment.uncalibrated, _BEFORE, "s", "--"),
            (words, after, assessment.metrics, _MODEL, "o", "-"),
        ]
    for words, logits, metrics, color, marker, line in curves:
        p = sigmoid(logits)
        index = _bin(p, bins)
        total = np.bincount(index, minlength=bins)
        held = total > 0
        mean = np.bincount(index, p, bins)[held] / total[held]
        share = np.bincount(index, assessment.y, bins)[held] / total[held]
        fill = "white" if line == "--" else color
        label = f"{words}: ECE {metrics['ece'].value:.3f}, log loss {metrics['log_loss'].value:.3f}"
        ax.plot(mean, share, marker, ls=line, color=color, mfc=fill, lw=1.6, ms=6, label=label, clip_on=False)
    _finish(ax, "Reliability", None)
    # Below the axes, as points may lie anywhere in them.
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False, fontsize=FONT - 1)
    return ax


def plot_scores(assessment: Assessment, ax: Canvas = None, *, bins: int = 20) -> Axes:
    """How many real and fake faces have which P(fake), with the threshold."""
    ax, _ = make_axes(ax, (WIDTH * 0.75, WIDTH * 0.36))
    p, y = assessment.probabilities, assessment.y
    edges = np.linspace(0, 1, bins + 1)
    for label, name, hatch in ((0, "real", "//"), (1, "fake", None)):
        options: dict[str, Any] = {"color": COLORS[name], "lw": 1.8, "ls": LINES[name]}
        count = int((y == label).sum())
        heights = np.histogram(p[y == label], edges)[0]
        shade = {"fc": COLORS[name], "ec": COLORS[name], "alpha": 0.22, "lw": 0, "hatch": hatch}
        ax.stairs(heights, edges, fill=True, **shade)
        ax.stairs(heights, edges, label=f"{name} ({count:,} faces)", **options)
    ax.axvline(
        assessment.threshold, color=_INK, lw=1.3, ls=":", label=f"threshold {assessment.threshold:.3f}"
    )
    ax.set_xlim(0, 1)
    ax.set_xlabel("P(fake)" if assessment.temperature else "P(fake), never calibrated", fontsize=FONT)
    ax.set_ylabel("faces", fontsize=FONT)
    return _finish(ax, "Scores of real and fake faces", "best")


def plot_slices(assessment: Assessment, ax: Canvas = None, *, figure: str = "auc") -> Axes:
    """A figure with its interval for each kind of face; the line is that of all faces.

    ``figure`` is ``"auc"``, ``"accuracy"`` or ``"log_loss"``; any other raises ValueError.
    """
    if figure not in FIGURES:
        raise ValueError(f"a figure of slices is one of {', '.join(FIGURES)}, not {figure!r}")
    table = assessment.slices
    ax, _ = make_axes(ax, (WIDTH * 0.85, 1.2 + 0.27 * (len(table) + 3)))
    height, ticks, words = 0.0, [], []
    for (feature, unit), part in table.groupby(["feature", "unit"], sort=False):
        ax.text(0.0, height, f" {feature}, {unit}", transform=ax.get_yaxis_transform(), va="center",
                fontsize=FONT, fontweight="bold")  # fmt: skip
        for row in part.to_dict("records"):
            height += 1
            ticks.append(height)
            span = span_in_words(row["from"], row["below"])
            words.append(f"{span}  ({row['faces']:,} faces)")
            value, low, high = (row[name] for name in (figure, f"{figure}_low", f"{figure}_high"))
            if np.isnan(value):
                ax.text(0.5, height, row["note"], transform=ax.get_yaxis_transform(), ha="center",
                        va="center", fontsize=FONT)  # fmt: skip
                continue
            bare = np.isnan(low)
            if not bare:
                ax.hlines(height, low, high, color=_MODEL, lw=2)
            ax.plot(value, height, "o", color=_MODEL, mfc="white" if bare else _MODEL, ms=6)
            ax.annotate(f"{value:.3f}", (value, height), (0, 5), textcoords="offset points", ha="center",
                        fontsize=FONT - 2)  # fmt: skip
        height += 1.3
    overall = assessment.metrics[figure].value
    name = figure.replace("_", " ").replace("auc", "AUC")
    ax.axvline(overall, color=_INK, lw=1.2, ls=":")
    ax.set_ylim(max(height - 0.6, 1), -0.7)
    ax.set_yticks(ticks, words, fontsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"{name}, with 95 % interval (hollow: without)", fontsize=FONT)
    return _finish(ax, f"{name} by kind of face; dotted: all faces, {overall:.3f}", None)


def plot_robustness(table: pd.DataFrame, ax: Canvas = None, *, figure: str = "auc") -> np.ndarray:
    """A panel for each kind of change: a figure over its levels, and that of the unchanged faces as a line.

    Parameters
    ----------
    table
        From :func:`redeepfake_nb.evaluation.perturbation.robustness`.
    figure
        ``"auc"``, ``"accuracy"``, ``"log_loss"``, ``"logit_shift"`` or ``"flipped"``.

    Returns
    -------
    numpy.ndarray
        One Axes per change, in the table's order.

    Raises
    ------
    ValueError
        An unknown figure, or single Axes.
    """
    known = ("auc", "accuracy", "log_loss", "logit_shift", "flipped")
    if figure not in known:
        raise ValueError(f"a figure of robustness is one of {', '.join(known)}, not {figure!r}")
    changes = [name for name in table["change"].unique() if name != UNCHANGED]
    base = float(table.loc[table["change"] == UNCHANGED, figure].iloc[0])
    columns = min(4, max(len(changes), 1))
    rows = -(-len(changes) // columns)
    axes = make_grid(ax, (WIDTH * 1.15, 2.25 * rows + 0.4), rows, columns, sharey=True)
    name = {"auc": "AUC", "logit_shift": "mean shift of the logit", "flipped": "share of labels flipped"}
    for panel, change in zip(axes, changes, strict=False):
        part = table[table["change"] == change]
        # Evenly spaced: levels of one change often double from one to the next.
        panel.plot(range(len(part)), part[figure], "o-", color=_MODEL, lw=1.8, ms=5)
        panel.axhline(base, color=_INK, lw=1.1, ls=":")
        panel.set_xticks(range(len(part)), [f"{level:g}" for level in part["level"]], fontsize=FONT - 1)
        if len(part) == 1:
            panel.set_xticks(
                [0], ["swapped" if change == "colours swapped" else f"{part['level'].iloc[0]:g}"]
            )
        panel.set_xlim(-0.4, max(len(part) - 0.6, 0.4))
        panel.set_xlabel(part["unit"].iloc[0].replace(", ", ",\n"), fontsize=FONT - 1)
        panel.set_title(change, fontsize=FONT)
        panel.tick_params(labelsize=FONT - 1)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color="0.92")
    for panel in axes[len(changes) :]:
        panel.set_visible(False)
    for panel in axes[::columns]:
        panel.set_ylabel(name.get(figure, figure.replace("_", " ")), fontsize=FONT)
    faces = int(table["faces"].iloc[0])
    title = f"The same {faces:,} faces changed; dotted: unchanged, {base:.3f}"
    axes[0].figure.suptitle(title, fontsize=FONT + 1)
    return axes[: len(changes)]


def plot_face_grid(
    assessment: Assessment, ax: Canvas = None, *, count: int = 20, seed: int = 0, columns: int = 5
) -> np.ndarray:
    """Random faces with truth and P(fake).

    A face that is called wrongly has a thick frame and the words "missed" or "false alarm" in its title.

    Returns
    -------
    numpy.ndarray
        One Axes per face; the same seed draws the same faces.

    Raises
    ------
    ValueError
        Single Axes, or a count or columns under 1.
    """
    if count < 1 or columns < 1:
        raise ValueError("a grid has at least one face and one column")
    chosen = np.random.default_rng(seed).permutation(len(assessment))[:count]
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    axes = make_grid(ax, (WIDTH, WIDTH / 5 * 1.22 * rows + 0.5), rows, columns)
    p, y, called = assessment.probabilities, assessment.y, assessment.called_fake
    for panel, i in zip(axes, chosen, strict=False):
        truth = "fake" if y[i] else "real"
        wrong = bool(called[i]) != bool(y[i])
        panel.imshow(assessment.faces.image(int(i)))
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_color(_INK if wrong else "0.8")
        panel.spines[:].set_linewidth(4 if wrong else 0.8)
        mistake = "missed" if y[i] else "false alarm"
        words = f"{mistake if wrong else ''}\n{truth}, P(fake) {p[i]:.2f}"
        weight = "bold" if wrong else "normal"
        panel.set_title(words, fontsize=FONT, color=COLORS[truth], fontweight=weight)
    for panel in axes[len(chosen) :]:
        panel.set_visible(False)
    name = printable(displayable(assessment.name, 60))
    title = f"{len(chosen)} random faces, truth and score by {name}; threshold {assessment.threshold:.3f}"
    axes[0].figure.suptitle(title, fontsize=FONT + 1, **LITERAL)
    return axes[: len(chosen)]


def _square(ax: Canvas, x: str, y: str) -> Axes:
    """Axes from 0 to 1 both ways."""
    ax, _ = make_axes(ax, _SQUARE)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel(x, fontsize=FONT)
    ax.set_ylabel(y, fontsize=FONT)
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    return ax


def _finish(ax: Axes, title: str, place: str | None) -> Axes:
    ax.set_title(title, fontsize=FONT + 1)
    ax.tick_params(labelsize=FONT)
    ax.spines[["top", "right"]].set_visible(False)
    if place is not None:
        ax.legend(loc=place, fontsize=FONT - 1, framealpha=0.9, edgecolor="0.85")
    return ax


def _samples(assessment: Assessment) -> Iterator[np.ndarray]:
    """Rows of bootstrap samples, or none where the assessment was made without."""
    resamples = min(_BAND_SAMPLES, assessment.metrics.resamples)
    return resampled_rows(assessment.y, assessment.groups, resamples, seed=0)


def _bin(p: np.ndarray, bins: int) -> np.ndarray:
    return np.minimum((p * bins).astype(int), bins - 1)


def _words(assessment: Assessment, name: str) -> str:
    metric = assessment.metrics[name]
    if np.isnan(metric.low):
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"


_BINS = 20


def plot_review(review: Review | None, ax: Canvas = None) -> Axes:
    """How many files labelled real and fake have which P(fake), with the threshold.

    Real files count upwards and fake ones downwards from the middle line, so that neither hides the other.
    Without a review (None) the Axes say that no files are labelled yet.
    """
    ax, _ = make_axes(ax, (WIDTH * 0.75, WIDTH * 0.3))
    if review is None:
        draw_notice(ax, "no files are labelled yet")
        return ax
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
