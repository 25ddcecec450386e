"""An assessment and a robustness sweep -> a folder of tables, pictures and a page that sums them up."""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from ..datasets.labelled_faces import LabelledFaces
from ..errors import OutputError, displayable
from ..evaluation.assessment import Assessment, assess
from ..evaluation.perturbation import robustness
from ..evaluation.slices import span_in_words
from ..models.classifier import Classifier
from ..utils.jobs import Progress
from ..utils.writing import escape_cell

# What judge_model() writes, and so all that a folder may hold which it replaces.
_OURS = re.compile(
    r"(metrics\.json|summary\.md|(scores|slices|robustness|unreadable)\.csv|"
    r"(roc|precision_recall|confusion|reliability|scores|slices|robustness|faces)\.png)"
)
# One table for all readers: figures in no more places than mean anything, the same on every run.
_PLACES = "%.6f"
_SHOWN = ("auc", "average_precision", "eer", "accuracy", "balanced_accuracy", "precision", "recall", "f1")
_CALIBRATION = ("log_loss", "brier", "ece")


def judge_model(
    classifier: Classifier,
    faces: LabelledFaces,
    out: str | os.PathLike,
    *,
    limit: int | None = None,
    false_alarm: float | None = None,
    sweep: int = 200,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Path:
    """Assess a model, sweep its robustness, and write all of it into one folder.

    The folder holds ``summary.md``, ``metrics.json``, ``scores.csv`` (one row per face), ``slices.csv``,
    ``robustness.csv``, ``unreadable.csv`` where there was something to list, and a PNG of each chart. Same
    model, faces, options and machine give the same bytes in the tables.

    Parameters
    ----------
    out
        The folder, which appears whole or not at all. An earlier one of this function's is replaced.
    limit, false_alarm, resamples, seed
        As for :func:`redeepfake_nb.evaluation.assessment.assess`.
    sweep
        At most this many faces for the sweep, which scores each of them some thirty times; 0 for no sweep.
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
        Nothing can be written there, or the folder holds something else.
    """
    out = Path(out)
    # Before the work, which may take an hour, rather than after it.
    _check_place(out)
    found = assess(
        classifier,
        faces,
        limit=limit,
        false_alarm=false_alarm,
        resamples=resamples,
        seed=seed,
        progress=progress,
    )
    table = None
    if sweep:
        options = {"threshold": found.threshold, "limit": sweep, "seed": seed, "progress": progress}
        table = robustness(classifier, found.faces, **options)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=".saving-", dir=out.parent) as workshop:
            made = Path(workshop) / "made"
            made.mkdir()
            for name, content in _files(found, table):
                (made / name).write_bytes(content)
            _put(made, out, Path(workshop) / "replaced")
    except OSError as error:
        raise OutputError(
            f"the results cannot be written ({error.strerror or error})",
            subject=out,
            next_step="Choose a folder you may write to, on a disk with room.",
        ) from error
    return out


def summary(assessment: Assessment, table: pd.DataFrame | None = None) -> str:
    """The figures in Markdown: what was judged, how well, at which threshold, and what changes it."""
    a, report = assessment, assessment.to_dict()
    counts, cut = report["faces"], report["threshold"]
    whom = {"identity": "people", "original": "source videos"}.get(a.group or "", "single faces")
    lines = [
        f"# {displayable(a.name)} on labelled faces",
        "",
        f"{counts['read']:,} faces ({counts['real']:,} real, {counts['fake']:,} fake), "
        f"{counts['unreadable']:,} more could not be read. Model {(a.sha256 or 'not on disk')[:12]}.",
        f"Intervals hold 95 % of {a.metrics.resamples:,} bootstrap samples of {whom} ({a.metrics.groups:,}).",
        "",
        f"Threshold on P(fake): {a.threshold:.4f}"
        + (
            f", chosen on these very faces so that at most {a.false_alarm:.1%} of the reals reach it."
            if a.chosen is not None
            else ", given beforehand."
        ),
        f"At it, {cut['false_alarm_rate']:.1%} of the reals are called fake and {cut['hit_rate']:.1%} of the "
        "fakes are found.",
        "",
        "| figure | value | 95 % interval |",
        "|---|---|---|",
    ]
    for name in _SHOWN:
        lines.append(f"| {name.replace('_', ' ')} | {a.metrics[name].value:.4f} | {_interval(a, name)} |")
    temperature = "never calibrated" if a.temperature is None else f"temperature {a.temperature:.4f}"
    lines += [
        "",
        f"## Calibration ({temperature}; {a.temperature_here:.4f} would suit these faces best)",
        "",
        "| figure | before | after | 95 % interval |",
        "|---|---|---|---|",
    ]
    for name in _CALIBRATION:
        before, after = a.uncalibrated[name].value, a.metrics[name].value
        lines.append(f"| {name.replace('_', ' ')} | {before:.4f} | {after:.4f} | {_interval(a, name)} |")
    lines += ["", "## Kinds of faces", ""]
    lines += ["| kind | faces | fakes | AUC | 95 % interval |", "|---|---|---|---|---|"]
    for row in a.slices.to_dict("records"):
        kind = f"{row['feature']} {span_in_words(row['from'], row['below'])} ({row['unit']})"
        if pd.isna(row["auc"]):
            figures = f"{row['note']} |"
        else:
            figures = f"{row['auc']:.4f} | {row['note'] or _span(row['auc_low'], row['auc_high'])}"
        lines.append(f"| {kind} | {row['faces']:,} | {row['fakes']:,} | {figures} |")
    if table is not None:
        lines += _sweep_lines(table)
    return "\n".join(lines) + "\n"


def _sweep_lines(table: pd.DataFrame) -> list[str]:
    lines = [
        "",
        f"## The same {int(table['faces'].iloc[0]):,} faces, changed",
        "",
        "| change | level | AUC | accuracy | log loss | mean shift of the logit | labels flipped |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in table.to_dict("records"):
        level = "" if pd.isna(row["level"]) else f"{row['level']:g} ({row['unit']})"
        figures = " | ".join(f"{row[name]:.4f}" for name in ("auc", "accuracy", "log_loss"))
        moved = f"{row['logit_shift']:+.3f} | {row['flipped']:.1%}"
        lines.append(f"| {row['change']} | {level} | {figures} | {moved} |")
    return lines


def _interval(assessment: Assessment, name: str) -> str:
    metric = assessment.metrics[name]
    return _span(metric.low, metric.high)


def _span(low: float, high: float) -> str:
    return "not asked for" if pd.isna(low) else f"{low:.4f} to {high:.4f}"


def _files(assessment: Assessment, table: pd.DataFrame | None) -> Iterator[tuple[str, bytes]]:
    """Name and content of everything."""
    # Here, so that an assessment can be had without matplotlib.
    from .. import view

    values = assessment.to_dict()
    if table is not None:
        values["robustness_faces"] = int(table["faces"].iloc[0])
    yield "metrics.json", (json.dumps(values, indent=2, allow_nan=False) + "\n").encode("ascii")
    yield "summary.md", summary(assessment, table).encode()
    yield "scores.csv", _csv(assessment.to_frame())
    yield "slices.csv", _csv(assessment.slices)
    if len(assessment.unreadable):
        yield "unreadable.csv", _csv(assessment.unreadable)
    plots = {
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
        yield "robustness.csv", _csv(table)
        yield "robustness.png", view.to_png(view.plot_robustness, table)


def _csv(table: pd.DataFrame) -> bytes:
    """File names come from strangers, and no spreadsheet is to take one for a formula."""
    table = table.copy()
    for column in table:
        if not pd.api.types.is_numeric_dtype(table[column]):
            table[column] = [escape_cell(v) if isinstance(v, str) else v for v in table[column]]
    out = io.StringIO(newline="")
    table.to_csv(out, index=False, float_format=_PLACES, lineterminator="\n")
    return out.getvalue().encode()


def _check_place(out: Path) -> None:
    if not os.path.lexists(out):
        return
    if out.is_symlink() or not out.is_dir() or not all(_OURS.fullmatch(p.name) for p in out.iterdir()):
        raise OutputError(
            "it exists and holds something other than earlier results",
            subject=out,
            next_step="Choose another folder, or move it away.",
        )


def _put(made: Path, out: Path, aside: Path) -> None:
    """Put the new folder in its place; an earlier one comes back if that fails."""
    _check_place(out)
    if not os.path.lexists(out):
        made.rename(out)
        return
    out.rename(aside)
    try:
        made.rename(out)
    except BaseException:
        aside.rename(out)
        raise
    shutil.rmtree(aside)
