"""Write an evaluation on labelled videos as a folder of tables, plots and a Markdown summary."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ..datasets.labelled_videos import LabelledVideos
from ..errors import displayable
from ..evaluation.metrics import METRIC_WORDS
from ..evaluation.scored_labels import ScoredLabels, describe_intervals
from ..evaluation.video_assessment import OUTCOMES, LevelScores, VideoAssessment
from ..models.classifier import Classifier
from ..scanning.video_evaluation import assess_videos
from ..utils.writing import check_replaceable, replace_folder, staging_folder
from .evaluation import metric_rows, origin_lines, table_csv

# The files that save_video_evaluation() writes; a folder with any other file is not replaced.
_OURS = re.compile(
    r"(metrics\.json|summary\.md|(videos|frames|origins|verdicts|left_out)\.csv|"
    r"(frame_)?(roc|precision_recall|confusion|reliability|scores)\.png)"
)
# Names of videos that the summary lists; the tables have all of them.
_NAMED, _WORST = 20, 10
# With fewer videos of a label, the summary says that metrics are rough.
_FEW = 30


def save_video_evaluation(
    classifier: Classifier | str | os.PathLike | None,
    videos: LabelledVideos,
    out: str | os.PathLike,
    journal: str | os.PathLike | None = None,
    **options: Any,
) -> Path:
    """Evaluate a model on labelled videos, and write all results into one folder.

    The folder holds ``summary.md``, ``metrics.json``, ``videos.csv`` (one row per scored video),
    ``frames.csv`` (one row per sampled frame with a face), ``verdicts.csv``, a PNG of each plot,
    ``origins.csv`` where kinds, generators or sources are known, and ``left_out.csv`` where a video has no
    part in the metrics. The same model, videos, options and machine give the same bytes in the tables.

    Parameters
    ----------
    classifier, videos, options
        As for :func:`redeepfake_nb.scanning.assess_videos`.
    out
        The folder, written completely or not at all. Earlier results of this function are replaced.
    journal
        The scan's SQLite file, with which an interrupted call resumes. Default: beside ``out``, with the
        ending ``.sqlite``.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    InputError
        No real video, or no fake one, has a score.
    JournalError, ModelError, RedeepfakeError
        See :func:`redeepfake_nb.scan`.
    OutputError
        The folder cannot be written, or holds other files.
    ValueError
        An option out of range.
    """
    out = Path(os.path.abspath(out))
    # Before the scan, which may take a day.
    check_replaceable(out, _OURS)
    if journal is None:
        journal = out.with_name(f"{out.name}.sqlite")
    return write_video_evaluation(assess_videos(classifier, videos, journal, **options), out)


def write_video_evaluation(assessment: VideoAssessment, out: str | os.PathLike) -> Path:
    """Write an assessment as :func:`save_video_evaluation` does, and return the folder.

    Raises
    ------
    OutputError
        The folder cannot be written, or holds other files.
    """
    out = Path(os.path.abspath(out))
    check_replaceable(out, _OURS)
    with staging_folder(out.parent) as staging:
        made = staging / "made"
        made.mkdir()
        for name, content in _files(assessment):
            (made / name).write_bytes(content)
        return replace_folder(made, out, staging, _OURS)


def video_summary(assessment: VideoAssessment) -> str:
    """Format an assessment on videos as Markdown: videos, frames, origins, and what was left out."""
    a = assessment
    labels = a.clips["label"].value_counts()
    lines = [
        f"# {displayable(a.name)} on labelled videos",
        "",
        f"{len(a):,} labelled videos ({labels.get('REAL', 0):,} real, {labels.get('FAKE', 0):,} fake), of "
        f"which {len(a.videos):,} have a score. Model {(a.sha256 or 'not on disk')[:12]}; {_sampling(a)}; a "
        f"person's score is the `{a.settings['aggregation']}` of the person's frames, and a video's is that "
        "of its most suspicious person.",
    ]
    lines += _caveats(a)
    chosen = (
        f"chosen on these videos for a false positive rate up to {a.target_false_positive_rate:.1%}"
        if a.operating_point is not None
        else "the model's own"
        if a.threshold == a.settings["threshold"]
        else "given"
    )
    lines += ["", f"Threshold on P(fake): {a.threshold:.4f}, {chosen}.", "", "## Videos", ""]
    lines += _level_lines(a.videos)
    lines += ["", "Verdicts, at the model's own threshold "]
    lines[-1] += f"({a.settings['threshold']:.4f}; each distinct video once):"
    lines += ["", f"| label | {' | '.join(OUTCOMES)} |", f"|---|{'---|' * len(OUTCOMES)}"]
    for label, row in a.verdicts().iterrows():
        lines.append(f"| {label} | {' | '.join(f'{row[name]:,}' for name in OUTCOMES)} |")
    worst = a.worst(_WORST)
    if len(worst):
        lines += ["", "The most confident errors; `videos.csv` has all:", ""]
        for row in worst.to_dict("records"):
            lines.append(f"- {displayable(row['file'])}, {row['label']}: P(fake) {row['probability']:.3f}")
    lines += ["", "## Frames", ""]
    if a.frames is None:
        lines.append("The journal has no scores of frames of both labels; scan into a new journal for them.")
    else:
        scored = a.videos.table
        sampled, found = int(scored["frames"].sum()), int(scored["frames_with_face"].sum())
        lines.append(
            f"Of {sampled:,} sampled frames {found:,} show a face; such a frame's score is its highest "
            "P(fake), and its label that of the video, also where only a part of the video is manipulated."
        )
        if a.without_frames:
            lines.append(f"Of {a.without_frames:,} videos an older journal has no scores of frames.")
        lines += ["", *_level_lines(a.frames)]
    if len(a.videos.origins):
        lines += origin_lines(a.videos.origins, "videos")
    lines += _left_out_lines(a)
    return "\n".join(lines) + "\n"


def _sampling(a: VideoAssessment) -> str:
    frames = a.settings.get("frames")
    return "every frame was scored" if frames == "all" else f"up to {frames} frames of each were scored"


def _caveats(a: VideoAssessment) -> list[str]:
    found = []
    if a.cancelled:
        found.append(
            "The analysis was stopped before the end; the same call with the same journal resumes it."
        )
    y = a.videos.y
    fewest = min(int(y.sum()), int((y == 0).sum()))
    if fewest < _FEW:
        found.append(
            f"Of one label only {fewest:,} videos have a score, so that the metrics are rough, and their "
            "intervals may be too narrow."
        )
    if a.partial:
        found.append(f"{a.partial:,} of the scored videos could be read in part only.")
    splits = sorted(str(name) for name in a.clips["split"].dropna().unique())
    if len(splits) > 1:
        found.append(f"Videos of the splits {', '.join(splits)} were evaluated together.")
    if a.videos.group is None:
        found.append(
            "Neither people nor original videos are known of all videos, so that each counts as independent: "
            "where several show one person, the intervals are too narrow."
        )
    if a.operating_point is not None:
        found.append("The threshold was chosen on the same videos, so the metrics are slightly optimistic.")
    return ["", *found] if found else []


def _level_lines(level: LevelScores) -> list[str]:
    y, predicted, m = level.y, level.predicted_fake, level.metrics
    return [
        f"{len(level):,} {level.unit} ({int((y == 0).sum()):,} real, {int(y.sum()):,} fake). At the "
        f"threshold, {predicted[y == 0].mean():.1%} of the real and {predicted[y == 1].mean():.1%} of the "
        f"fake ones are predicted fake. {describe_intervals(level)}",
        "",
        "| metric | value | 95 % interval |",
        "|---|---|---|",
        *metric_rows(m, METRIC_WORDS),
    ]


def _left_out_lines(a: VideoAssessment) -> list[str]:
    left_out = a.left_out()
    lines = []
    if len(left_out):
        lines = [
            "",
            "## Left out of the metrics",
            "",
            f"{len(left_out):,} labelled videos; `left_out.csv` has all:",
            "",
        ]
        for row in left_out.head(_NAMED).to_dict("records"):
            cause = f" ({displayable(row['cause'])})" if isinstance(row["cause"], str) else ""
            lines.append(f"- {displayable(row['file'])}, {row['label']}: {displayable(row['reason'])}{cause}")
        if len(left_out) > _NAMED:
            lines.append(f"- and {len(left_out) - _NAMED:,} more")
    if a.unlabelled:
        names = ", ".join(displayable(name) for name in a.unlabelled[:_NAMED])
        more = f" and {len(a.unlabelled) - _NAMED:,} more" if len(a.unlabelled) > _NAMED else ""
        lines += ["", f"Videos in the folder without a label: {len(a.unlabelled):,} ({names}{more})."]
    return lines


def _files(assessment: VideoAssessment) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file."""
    # Imported late, because matplotlib is slow to import.
    from .. import view

    a = assessment
    yield "metrics.json", (json.dumps(a.to_dict(), indent=2, allow_nan=False) + "\n").encode("ascii")
    yield "summary.md", video_summary(a).encode()
    yield "videos.csv", table_csv(a.videos.to_frame())
    yield "verdicts.csv", table_csv(a.verdicts().reset_index())
    levels: list[tuple[str, LevelScores]] = [("", a.videos)]
    if a.frames is not None:
        yield "frames.csv", table_csv(a.frames.to_frame())
        levels.append(("frame_", a.frames))
    origins = [_of_level(level) for _, level in levels if len(level.origins)]
    if origins:
        yield "origins.csv", table_csv(pd.concat(origins, ignore_index=True))
    if len(left_out := a.left_out()):
        yield "left_out.csv", table_csv(left_out)
    plots: dict[str, Callable[[ScoredLabels], Any]] = {
        "roc": view.plot_roc,
        "precision_recall": view.plot_precision_recall,
        "confusion": view.plot_confusion,
        "reliability": view.plot_reliability,
        "scores": view.plot_scores,
    }
    for prefix, level in levels:
        for name, plot in plots.items():
            yield f"{prefix}{name}.png", view.to_png(plot, level)


def _of_level(level: LevelScores) -> pd.DataFrame:
    table = level.origins.rename(columns={level.unit: "count"})
    table.insert(0, "level", level.unit)
    return table
