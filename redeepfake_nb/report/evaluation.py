"""Evaluate a model and write a folder of tables, plots and a Markdown summary."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces
from ..errors import displayable
from ..evaluation.assessment import Assessment, assess
from ..evaluation.metrics import CALIBRATION_METRICS, METRIC_WORDS, NO_INTERVAL, Metrics
from ..evaluation.robustness_sweep import robustness
from ..evaluation.scored_labels import Unit, describe_intervals
from ..evaluation.slices import FALSE_POSITIVES, format_range
from ..models.classifier import Classifier
from ..utils.jobs import Progress
from ..utils.writing import check_replaceable, csv_text, replace_folder, staging_folder

# The files that save_evaluation() writes; a folder with any other file is not replaced.
_OURS = re.compile(
    r"(metrics\.json|summary\.md|(scores|slices|origins|robustness|unreadable)\.csv|"
    r"(roc|precision_recall|confusion|reliability|scores|slices|robustness|faces)\.png)"
)
# Decimal places of numbers in tables.
_DECIMALS = 6


def save_evaluation(
    classifier: Classifier,
    faces: LabelledFaces,
    out: str | os.PathLike,
    *,
    limit: int | None = None,
    false_positive_rate: float | None = None,
    by: Sequence[str] = (),
    sweep: int = 200,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Evaluate a model and its robustness on labelled faces, and write all results into one folder.

    The folder holds ``summary.md``, ``metrics.json``, ``scores.csv`` (one row per face), ``slices.csv``,
    ``robustness.csv``, a PNG of each plot, ``origins.csv`` where the faces' sources, kinds or groups
    are known, and ``unreadable.csv`` where a file could not be read. The same model, faces, options and
    machine give the same bytes in the tables.

    Parameters
    ----------
    out
        The folder, written completely or not at all. Earlier results of this function are replaced.
    limit, false_positive_rate, by, resamples, seed
        As for :func:`redeepfake_nb.evaluation.assessment.assess`.
    sweep
        At most this many faces for the robustness sweep, which scores each about 36 times; 0: no sweep.
    progress
        Called as ``progress(done, faces)`` while faces are scored, and then as ``progress(done, levels)``.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    ValueError
        An option out of range, or faces of one label alone.
    OutputError
        The folder cannot be written, or holds other files.
    """
    out = Path(out)
    # Before the evaluation, which may take an hour.
    check_replaceable(out, _OURS)
    assessment = assess(
        classifier,
        faces,
        limit=limit,
        false_positive_rate=false_positive_rate,
        by=by,
        resamples=resamples,
        seed=seed,
        progress=progress,
    )
    table = None
    if sweep:
        # One that was chosen by saturated scores may be 0, 1, or the next number above 1.
        smallest = np.finfo(np.float64).tiny
        table = robustness(
            classifier,
            assessment.faces,
            threshold=float(np.clip(assessment.threshold, smallest, np.nextafter(1, 0))),
            limit=sweep,
            seed=seed,
            progress=progress,
        )
    with staging_folder(out.parent) as staging:
        made = staging / "made"
        made.mkdir()
        for name, content in _files(assessment, table):
            (made / name).write_bytes(content)
        return replace_folder(made, out, staging, _OURS)


def summary(assessment: Assessment, table: pd.DataFrame | None = None) -> str:
    """Format an assessment as Markdown: metrics, calibration, face properties, origins, robustness."""
    a, report = assessment, assessment.to_dict()
    counts, at_threshold = report["faces"], report["threshold"]
    lines = [
        f"# {displayable(a.name)} on labelled faces",
        "",
        f"{counts['read']:,} faces ({counts['real']:,} real, {counts['fake']:,} fake), "
        f"{counts['unreadable']:,} more could not be read. Model {(a.sha256 or 'not on disk')[:12]}.",
        describe_intervals(a),
        "",
        f"Threshold on P(fake): {a.threshold:.4f}"
        + (
            f", chosen on these faces for a false positive rate up to {a.target_false_positive_rate:.1%}."
            if a.operating_point is not None
            else ", given."
        ),
        f"At it, {at_threshold['false_positive_rate']:.1%} of the real and "
        f"{at_threshold['true_positive_rate']:.1%} of the fake faces are predicted fake.",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
    ]
    lines += metric_rows(a.metrics, [name for name in METRIC_WORDS if name not in CALIBRATION_METRICS])
    temperature = "never calibrated" if a.temperature is None else f"temperature {a.temperature:.4f}"
    lines += [
        "",
        f"## Calibration ({temperature}; {a.fitted_temperature:.4f} fits these faces best)",
        "",
        "| metric | before | after | 95 % interval |",
        "|---|---|---|---|",
    ]
    for name in CALIBRATION_METRICS:
        cells = (f"{a.uncalibrated[name].value:.4f}", *_cells(a.metrics, name))
        lines.append(f"| {METRIC_WORDS[name]} | {' | '.join(cells)} |")
    lines += ["", "## By face properties", ""]
    lines += [
        "| slice | faces | fakes | AUC | 95 % interval | real faces predicted fake | 95 % interval |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in a.slices.to_dict("records"):
        kind = f"{row['feature']} {format_range(row['from'], row['below'])} ({row['unit']})"
        if pd.isna(row["auc"]):
            metrics = f"{row['note']} |"
        else:
            metrics = f"{row['auc']:.4f} | {row['note'] or format_interval(row['auc_low'], row['auc_high'])}"
        lines.append(
            f"| {kind} | {row['faces']:,} | {row['fakes']:,} | {metrics} | {_false_positives(row)} |"
        )
    if len(a.origins):
        lines += origin_lines(a.origins)
    if table is not None:
        lines += _robustness_lines(table)
    return "\n".join(lines) + "\n"


def _false_positives(row: Mapping[str, Any]) -> str:
    """Format the false positive rate of a slice and its interval as two cells."""
    rate, low, high = (row[f"{FALSE_POSITIVES}{end}"] for end in ("", "_low", "_high"))
    if pd.isna(rate):
        return "no real faces |"
    return f"{rate:.4f} | {'' if pd.isna(low) else format_interval(low, high)}"


def origin_lines(table: pd.DataFrame, unit: Unit = "faces") -> list[str]:
    """Format a table of :func:`redeepfake_nb.evaluation.kinds.origin_table` as a section of Markdown."""
    lines = [
        "",
        "## Sources, kinds and groups",
        "",
        f"The AUC is that of a source's fakes against all real {unit}.",
        "",
        f"| by | value | label | {unit} | predicted fake | 95 % interval | AUC | 95 % interval |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        cells = [
            row["origin"],
            displayable(row["value"]).replace("|", "\\|"),
            row["label"],
            f"{row[unit]:,}",
            f"{row['predicted_fake']:.1%}",
            format_rates(row["predicted_fake_low"], row["predicted_fake_high"]),
        ]
        known = not pd.isna(row["auc"])
        cells += (
            [f"{row['auc']:.4f}", format_interval(row["auc_low"], row["auc_high"])] if known else ["", ""]
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _robustness_lines(table: pd.DataFrame) -> list[str]:
    lines = [
        "",
        f"## Robustness: the same {int(table['faces'].iloc[0]):,} faces, perturbed",
        "",
        "| perturbation | level | AUC | accuracy | log loss | mean shift of the logit | labels flipped |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        level = "" if pd.isna(row["level"]) else f"{row['level']:g} ({row['unit']})"
        metrics = " | ".join(f"{row[name]:.4f}" for name in ("auc", "accuracy", "log_loss"))
        change = f"{row['logit_shift']:+.3f} | {row['flipped']:.1%}"
        lines.append(f"| {row['change']} | {level} | {metrics} | {change} |")
    return lines


def metric_rows(metrics: Metrics, names: Iterable[str]) -> list[str]:
    """Format metrics as rows of a Markdown table: name in words, value, interval."""
    return [f"| {METRIC_WORDS[name]} | {' | '.join(_cells(metrics, name))} |" for name in names]


def _cells(metrics: Metrics, name: str) -> tuple[str, str]:
    """Format a metric and its interval, or why it has none."""
    metric = metrics[name]
    if pd.isna(metric.value):
        return "n/a", "no face is predicted fake"
    if metrics.resamples and pd.isna(metric.low):
        return f"{metric.value:.4f}", NO_INTERVAL
    return f"{metric.value:.4f}", format_interval(metric.low, metric.high)


def format_rates(low: float, high: float) -> str:
    """Write the interval of a rate, 0..1, in per cent."""
    return "not computed" if pd.isna(low) else f"{low:.1%} to {high:.1%}"


def format_interval(low: float, high: float) -> str:
    """Write the interval of a metric."""
    return "not computed" if pd.isna(low) else f"{low:.4f} to {high:.4f}"


def _files(assessment: Assessment, table: pd.DataFrame | None) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file."""
    # Imported late, because matplotlib is slow to import.
    from .. import view

    values = assessment.to_dict()
    if table is not None:
        values["robustness_faces"] = int(table["faces"].iloc[0])
    yield "metrics.json", (json.dumps(values, indent=2, allow_nan=False) + "\n").encode("ascii")
    yield "summary.md", summary(assessment, table).encode()
    yield "scores.csv", table_csv(assessment.to_frame())
    yield "slices.csv", table_csv(assessment.slices)
    if len(assessment.origins):
        yield "origins.csv", table_csv(assessment.origins)
    if len(assessment.unreadable):
        yield "unreadable.csv", table_csv(assessment.unreadable)
    plots: dict[str, Callable[..., Any]] = {
        "roc": view.plot_roc,
        "precision_recall": view.plot_precision_recall,
        "confusion": view.plot_confusion,
        "reliability": view.plot_reliability,
        "scores": view.plot_scores,
        "slices": view.plot_slices,
        "faces": view.plot_face_grid,
    }
    for name, plot in plots.items():
        yield f"{name}.png", view.to_png(plot, assessment)
    if table is not None:
        yield "robustness.csv", table_csv(table)
        yield "robustness.png", view.to_png(view.plot_robustness, table)


def table_csv(table: pd.DataFrame) -> bytes:
    """Format a table as CSV, with no more decimal places than are meaningful and equal on every run."""
    rows = table.round(_DECIMALS).to_dict("records")
    return csv_text(table.columns, rows).encode()
