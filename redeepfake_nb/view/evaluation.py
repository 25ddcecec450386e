"""Plot an assessment on labelled faces or videos: ROC, confusion, calibration, slices, robustness."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ..errors import displayable
from ..evaluation.assessment import Assessment
from ..evaluation.metrics import resampled_rows
from ..evaluation.robustness_sweep import UNCHANGED
from ..evaluation.scored_labels import ScoredLabels
from ..evaluation.slices import FALSE_POSITIVES, SLICE_METRICS, format_range
from ..scanning.review import Review
from ..utils.numeric import sigmoid
from .palette import BLUISH_GREEN, COLORS, LINES, REDDISH_PURPLE
from .style import FONT, LITERAL, WIDTH, Canvas, draw_message, make_axes, make_grid, replace_missing_glyphs

_SQUARE = (WIDTH * 0.58, WIDTH * 0.52)
_INK = "0.2"
_MODEL_COLOR = BLUISH_GREEN
_BEFORE_COLOR = REDDISH_PURPLE
# Bootstrap samples of a confidence band; its edges change little with more.
_BAND_SAMPLES = 200
# Behind words that a line would cross.
_BLANK = {"fc": "white", "ec": "none", "pad": 1.0}
# Between the ticks of a count.
_WHOLE_STEPS = [1, 2, 5, 10]


def plot_roc(assessment: ScoredLabels, ax: Canvas = None) -> Axes:
    """Plot the ROC curve of faces, videos or frames with a 95 % band and the point of the threshold.

    At each false positive rate, the band contains the true positive rates of 95 % of the bootstrap samples.
    """
    from sklearn.metrics import roc_curve

    ax = _unit_axes(ax, "false positive rate", "true positive rate")
    y, p = assessment.y, assessment.probabilities
    grid = np.linspace(0, 1, 201)
    curves = []
    for rows in _samples(assessment):
        fpr, tpr, _ = roc_curve(y[rows], p[rows])
        curves.append(np.interp(grid, fpr, tpr))
    alone = "faces" if assessment.unit == "faces" else "videos"
    unit = {"identity": "people", "original": "videos"}.get(assessment.group or "", alone)
    if curves:
        low, high = np.percentile(curves, [2.5, 97.5], axis=0)
        ax.fill_between(
            grid, low, high, color=_MODEL_COLOR, alpha=0.18, lw=0, label=f"95 % of samples of {unit}"
        )
    fpr, tpr, _ = roc_curve(y, p)
    ax.plot(fpr, tpr, color=_MODEL_COLOR, lw=2, label=f"AUC {_format_metric(assessment, 'auc')}")
    ax.plot([0, 1], [0, 1], color="0.55", lw=1, ls=":", label="chance")
    point = assessment.predicted_fake[y == 0].mean(), assessment.predicted_fake[y == 1].mean()
    words = f"threshold {assessment.threshold:.3f}: FPR {point[0]:.1%}, TPR {point[1]:.1%}"
    ax.plot(*point, "D", color=_INK, ms=7, clip_on=False, label=words, ls="none")
    return _finish(ax, "Receiver operating characteristic", "lower right")


def plot_precision_recall(assessment: ScoredLabels, ax: Canvas = None) -> Axes:
    """Plot precision over recall, with the point of the threshold and the share of fakes as chance level."""
    from sklearn.metrics import precision_recall_curve

    ax = _unit_axes(
        ax, "recall: share of fakes predicted fake", "precision: share of true fakes among predicted fakes"
    )
    y, p = assessment.y, assessment.probabilities
    precision, recall, _ = precision_recall_curve(y, p)
    label = f"average precision {_format_metric(assessment, 'average_precision')}"
    # Steps: precision cannot be interpolated between two thresholds.
    ax.step(recall, precision, where="post", color=_MODEL_COLOR, lw=2, label=label)
    words = f"chance: {y.mean():.0%} of the {assessment.unit} are fakes"
    ax.axhline(y.mean(), color="0.55", lw=1, ls=":", label=words)
    predicted = assessment.predicted_fake
    if predicted.any():
        point = predicted[y == 1].mean(), y[predicted].mean()
        words = f"threshold {assessment.threshold:.3f}: recall {point[0]:.1%}, precision {point[1]:.1%}"
        ax.plot(*point, "D", color=_INK, ms=7, clip_on=False, label=words, ls="none")
    return _finish(ax, "Precision and recall", "lower left")


def plot_confusion(assessment: ScoredLabels, ax: Canvas = None) -> Axes:
    """Plot the confusion matrix: counts, and shares of each row."""
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
    ax.set_xlabel(f"predicted label, at threshold {assessment.threshold:.3f}", fontsize=FONT)
    ax.set_ylabel("true label", fontsize=FONT)
    ax.spines[:].set_visible(False)
    ax.tick_params(length=0)
    ax.set_title(f"Confusion matrix: {assessment.unit}, and shares of each row", fontsize=FONT + 1)
    return ax


def plot_reliability(assessment: ScoredLabels, ax: Canvas = None, *, bins: int = 10) -> Axes:
    """Plot the share of fakes over P(fake) in bins, of faces before and after calibration.

    A point below the diagonal is a bin where P(fake) is too high. Bars and numbers at the bottom count the
    faces, videos or frames of each bin after calibration.
    """
    from sklearn.calibration import calibration_curve

    ax = _unit_axes(ax, f"mean P(fake) of the {assessment.unit} in a bin", "share of fakes among them")
    ax.plot([0, 1], [0, 1], color="0.55", lw=1, ls=":", label="perfectly calibrated")
    edges = np.linspace(0, 1, bins + 1)
    # The bins of calibration_curve: open below, closed above.
    count = np.bincount(np.searchsorted(edges[1:-1], assessment.probabilities), minlength=bins)
    ax.bar(edges[:-1], 0.14 * count / count.max(), width=1 / bins, align="edge", color="0.88", ec="white")
    for left, inside in zip(edges[:-1], count, strict=True):
        if inside:
            ax.text(left + 0.5 / bins, 0.008, f"{inside:,}", ha="center", fontsize=FONT - 1, color=_INK)
    temperature = assessment.temperature
    # Scores before calibration are known of single faces only.
    both = temperature is not None and isinstance(assessment, Assessment)
    when = "after" if both else "calibrated"
    words = "never calibrated" if temperature is None else f"{when} (temperature {temperature:.2f})"
    curves = [(words, assessment.probabilities, assessment.metrics, _MODEL_COLOR, "o", "-")]
    if temperature is not None and isinstance(assessment, Assessment):
        before = sigmoid(assessment.logits)
        curves.insert(0, ("before calibration", before, assessment.uncalibrated, _BEFORE_COLOR, "s", "--"))
    for words, p, metrics, color, marker, line in curves:
        share, mean = calibration_curve(assessment.y, p, n_bins=bins)
        fill = "white" if line == "--" else color
        label = f"{words}: ECE {metrics['ece'].value:.3f}, log loss {metrics['log_loss'].value:.3f}"
        ax.plot(mean, share, marker, ls=line, color=color, mfc=fill, lw=1.6, ms=6, label=label, clip_on=False)
    _finish(ax, "Reliability", None)
    # Below the axes, because points may lie anywhere in them.
    ax.legend(loc="upper center", bbox_to_anchor=(0.5, -0.13), frameon=False, fontsize=FONT - 1)
    return ax


def plot_scores(assessment: ScoredLabels, ax: Canvas = None, *, bins: int = 20) -> Axes:
    """Plot histograms of P(fake) of the real and the fake faces, videos or frames, with the threshold."""
    ax, _ = make_axes(ax, (WIDTH * 0.75, WIDTH * 0.36))
    p, y, unit = assessment.probabilities, assessment.y, assessment.unit
    edges = np.linspace(0, 1, bins + 1)
    for label, name, hatch in ((0, "real", "//"), (1, "fake", None)):
        count = int((y == label).sum())
        heights = np.histogram(p[y == label], edges)[0]
        color = COLORS[name]
        ax.stairs(heights, edges, fill=True, fc=color, ec=color, alpha=0.22, lw=0, hatch=hatch)
        ax.stairs(heights, edges, color=color, lw=1.8, ls=LINES[name], label=f"{name} ({count:,} {unit})")
    ax.axvline(
        assessment.threshold, color=_INK, lw=1.3, ls=":", label=f"threshold {assessment.threshold:.3f}"
    )
    ax.set_xlim(0, 1)
    ax.set_xlabel("P(fake)" if assessment.temperature else "P(fake), never calibrated", fontsize=FONT)
    ax.set_ylabel(unit, fontsize=FONT)
    ax.yaxis.set_major_locator(MaxNLocator("auto", steps=_WHOLE_STEPS, integer=True))
    return _finish(ax, f"Scores of real and fake {unit}", "best")


def plot_slices(assessment: Assessment, ax: Canvas = None, *, metric: str = "auc") -> Axes:
    """Plot a metric with its interval for each slice of the faces; the line is the metric of all faces.

    ``metric`` is ``"auc"``, ``"accuracy"``, ``"log_loss"`` or ``"false_positive_rate"``, the share of real
    faces that are predicted fake; any other raises ValueError.
    """
    known = (*SLICE_METRICS, FALSE_POSITIVES)
    if metric not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, not {metric!r}")
    table = assessment.slices
    ax, _ = make_axes(ax, (WIDTH * 0.85, 1.2 + 0.27 * (len(table) + 3)))
    height, ticks, words = 0.0, [], []
    for (feature, unit), part in table.groupby(["feature", "unit"], sort=False):
        ax.text(0.015, height, f"{feature}, {unit}", transform=ax.get_yaxis_transform(), va="center",
                fontsize=FONT, fontweight="bold", bbox=_BLANK)  # fmt: skip
        for row in part.to_dict("records"):
            height += 1
            ticks.append(height)
            span = format_range(row["from"], row["below"])
            words.append(f"{span}  ({row['faces']:,} faces)")
            value, low, high = (row[name] for name in (metric, f"{metric}_low", f"{metric}_high"))
            if np.isnan(value):
                ax.text(0.5, height, row["note"], transform=ax.get_yaxis_transform(), ha="center",
                        va="center", fontsize=FONT, bbox=_BLANK)  # fmt: skip
                continue
            has_interval = not np.isnan(low)
            if has_interval:
                ax.hlines(height, low, high, color=_MODEL_COLOR, lw=2)
            ax.plot(
                value, height, "o", color=_MODEL_COLOR, mfc=_MODEL_COLOR if has_interval else "white", ms=6
            )
            # Beside the axes, where no line crosses it.
            ax.text(1.02, height, f"{value:.3f}", transform=ax.get_yaxis_transform(), va="center",
                    fontsize=FONT)  # fmt: skip
        height += 1.3
    if metric == FALSE_POSITIVES:
        overall = float(assessment.predicted_fake[assessment.y == 0].mean())
    else:
        overall = assessment.metrics[metric].value
    name = metric.replace("_", " ").replace("auc", "AUC")
    ax.axvline(overall, color=_INK, lw=1.2, ls=":")
    ax.set_ylim(max(height - 0.6, 1), -0.7)
    ax.set_yticks(ticks, words, fontsize=FONT)
    ax.tick_params(axis="y", length=0)
    ax.set_xlabel(f"{name}, with 95 % interval (hollow: without)", fontsize=FONT)
    return _finish(ax, f"{name} by face property; dotted: all faces, {overall:.3f}", None)


def plot_robustness(table: pd.DataFrame, ax: Canvas = None, *, metric: str = "auc") -> np.ndarray:
    """Plot a metric over the levels of each perturbation, and that of the unchanged faces as a line.

    Parameters
    ----------
    table
        From :func:`redeepfake_nb.evaluation.robustness_sweep.robustness`.
    metric
        ``"auc"``, ``"accuracy"``, ``"log_loss"``, ``"logit_shift"`` or ``"flipped"``.

    Returns
    -------
    numpy.ndarray
        One Axes per perturbation, in the table's order.

    Raises
    ------
    ValueError
        An unknown metric, or single Axes.
    """
    known = ("auc", "accuracy", "log_loss", "logit_shift", "flipped")
    if metric not in known:
        raise ValueError(f"metric must be one of {', '.join(known)}, not {metric!r}")
    changes = [name for name in table["change"].unique() if name != UNCHANGED]
    base = float(table.loc[table["change"] == UNCHANGED, metric].iloc[0])
    columns = min(4, max(len(changes), 1))
    rows = -(-len(changes) // columns)
    axes = make_grid(ax, (WIDTH * 1.15, 2.25 * rows + 0.4), rows, columns, sharey=True)
    name = {"auc": "AUC", "logit_shift": "mean shift of the logit", "flipped": "share of labels flipped"}
    for panel, change in zip(axes, changes, strict=False):
        part = table[table["change"] == change]
        # Evenly spaced: the levels of a perturbation often double from one to the next.
        panel.plot(range(len(part)), part[metric], "o-", color=_MODEL_COLOR, lw=1.8, ms=5)
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
        panel.set_ylabel(name.get(metric, metric.replace("_", " ")), fontsize=FONT)
    faces = int(table["faces"].iloc[0])
    title = f"The same {faces:,} faces perturbed; dotted: unchanged, {base:.3f}"
    axes[0].figure.suptitle(title, fontsize=FONT + 1)
    return axes[: len(changes)]


def plot_face_grid(
    assessment: Assessment, ax: Canvas = None, *, count: int = 20, seed: int = 0, columns: int = 5
) -> np.ndarray:
    """Draw random faces with their true label and P(fake).

    A misclassified face has a thick frame and "false negative" or "false positive" in its title.

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
        raise ValueError("count and columns must be at least 1")
    chosen = np.random.default_rng(seed).permutation(len(assessment))[:count]
    columns = min(columns, len(chosen))
    rows = -(-len(chosen) // columns)
    axes = make_grid(ax, (WIDTH, WIDTH / 5 * 1.22 * rows + 0.5), rows, columns)
    p, y, predicted = assessment.probabilities, assessment.y, assessment.predicted_fake
    for panel, i in zip(axes, chosen, strict=False):
        truth = "fake" if y[i] else "real"
        wrong = bool(predicted[i]) != bool(y[i])
        panel.imshow(assessment.faces.image(int(i)))
        panel.set_xticks([])
        panel.set_yticks([])
        panel.spines[:].set_color(_INK if wrong else "0.8")
        panel.spines[:].set_linewidth(4 if wrong else 0.8)
        error = "false negative" if y[i] else "false positive"
        words = f"{error if wrong else ''}\n{truth}, P(fake) {p[i]:.2f}"
        weight = "bold" if wrong else "normal"
        panel.set_title(words, fontsize=FONT, color=COLORS[truth], fontweight=weight)
    for panel in axes[len(chosen) :]:
        panel.set_visible(False)
    name = replace_missing_glyphs(displayable(assessment.name, 60))
    title = f"{len(chosen)} random faces with label and score by {name}; threshold {assessment.threshold:.3f}"
    axes[0].figure.suptitle(title, fontsize=FONT + 1, **LITERAL)
    return axes[: len(chosen)]


def _unit_axes(ax: Canvas, x: str, y: str) -> Axes:
    """Make Axes from 0 to 1 in both directions."""
    ax, _ = make_axes(ax, _SQUARE)
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel(x, fontsize=FONT)
    ax.set_ylabel(y, fontsize=FONT)
    ax.grid(color="0.92")
    ax.set_axisbelow(True)
    return ax


def _finish(ax: Axes, title: str, legend: Literal["best", "lower left", "lower right"] | None) -> Axes:
    ax.set_title(title, fontsize=FONT + 1)
    ax.tick_params(labelsize=FONT)
    ax.spines[["top", "right"]].set_visible(False)
    if legend is not None:
        ax.legend(loc=legend, fontsize=FONT - 1, framealpha=0.9, edgecolor="0.85")
    return ax


def _samples(assessment: ScoredLabels) -> Iterator[np.ndarray]:
    """Row indices of bootstrap samples; none where the assessment has no intervals."""
    resamples = min(_BAND_SAMPLES, assessment.metrics.resamples)
    return resampled_rows(assessment.y, assessment.groups, resamples, seed=0)


def _format_metric(assessment: ScoredLabels, name: str) -> str:
    metric = assessment.metrics[name]
    if np.isnan(metric.value):
        return "n/a"
    if np.isnan(metric.low):
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} ({metric.low:.3f} to {metric.high:.3f})"


_REVIEW_BINS = 20


def plot_review(review: Review | None, ax: Canvas = None) -> Axes:
    """Plot histograms of P(fake) of the files labelled real and fake, with the threshold.

    Real files count upwards and fake ones downwards from the middle line, so that neither hides the other.
    Without a review (None) the Axes say that no files are labelled yet.
    """
    ax, _ = make_axes(ax, (WIDTH * 0.75, WIDTH * 0.3))
    if review is None:
        draw_message(ax, "no files are labelled yet")
        return ax
    edges = np.linspace(0, 1, _REVIEW_BINS + 1)
    for label, name, sign in ((0, "real", 1), (1, "fake", -1)):
        heights = sign * np.histogram(review.p[review.y == label], edges)[0]
        count = int((review.y == label).sum())
        ax.stairs(heights, edges, fill=True, color=COLORS[name], alpha=0.25)
        words = f"labelled {name} ({count:,} {'file' if count == 1 else 'files'})"
        ax.stairs(heights, edges, color=COLORS[name], lw=1.8, ls=LINES[name], label=words)
    ax.axhline(0, color="0.2", lw=0.8)
    ax.axvline(review.threshold, color="0.2", lw=1.3, ls=":", label=f"threshold {review.threshold:.3f}")
    limit = max(abs(bound) for bound in ax.get_ylim())
    ax.set(xlim=(0, 1), ylim=(-limit, limit))
    ax.set_xlabel("P(fake) in the scan", fontsize=FONT)
    ax.set_ylabel("files (fake ones downwards)", fontsize=FONT)
    ax.yaxis.set_major_locator(MaxNLocator("auto", steps=_WHOLE_STEPS, integer=True))
    ax.yaxis.set_major_formatter(lambda y, _: f"{abs(y):.0f}")
    ax.set_title("Scores of the files you labelled", fontsize=FONT + 1)
    ax.legend(frameon=False, fontsize=FONT - 1, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3)
    return ax
