"""Render the HTML that the inspectors show, with the templates of :mod:`redeepfake_nb.report`.

The templates escape every string, so that nothing else may put HTML together. Colours follow JupyterLab's
theme, light or dark, and have fallbacks for front ends without its variables; no colour stands alone, a word
and a sign say the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from ..analysis.aggregation import aggregation_clause
from ..analysis.image import ImageReport
from ..analysis.video_report import Sighting, VideoReport
from ..errors import displayable
from ..media.frames import Source
from ..models.card import Card
from ..report import html_content
from ..report.html_templates import render_macro, stylesheet
from ..scanning.records import FileResult
from ..scanning.review import Review
from ..utils.wording import capitalized
from .wording import in_panel

_PARTS, _WIDGET = "parts.html.j2", "widget.html.j2"


def style() -> str:
    """The ``<style>`` element that all the rest needs."""
    return f"<style>{stylesheet('parts.css', 'widget.css')}</style>"


def heading(title: str) -> str:
    """The heading of a group of controls."""
    return render_macro(_WIDGET, "heading", title)


def app_heading(title: str, sentences: Iterable[str]) -> str:
    """What stands above all panels of the app."""
    return render_macro(_WIDGET, "app_heading", title, list(sentences))


def note(*sentences: object) -> str:
    """Sentences in small print."""
    return render_macro(_PARTS, "note", sentences)


def saved(sentence: str, place: Path | None = None) -> str:
    """What was written where; ``panel_script.js`` makes a link to it where the page can open it."""
    if place is None:
        return note(sentence)
    return render_macro(_WIDGET, "saved", sentence, str(place.absolute()), place.is_dir(), str(Path.home()))


def caption(words: str) -> str:
    """What the image below shows."""
    return render_macro(_WIDGET, "caption", words)


def status(sentence: object) -> str:
    """What is being done; screen readers announce it."""
    return render_macro(_WIDGET, "status", sentence)


def outdated(sentence: str) -> str:
    """That what is below belongs to something else than what was asked for last."""
    return render_macro(_WIDGET, "outdated", sentence)


def errors(messages: Iterable[str]) -> str:
    """One box per message; empty without messages."""
    return render_macro(_WIDGET, "errors", list(messages))


def log(tracebacks: Iterable[str]) -> str:
    """Tracebacks, folded away; empty without tracebacks."""
    lines = "\n".join(tracebacks).splitlines()
    return render_macro(_WIDGET, "log", lines) if lines else ""


def verdict(report: ImageReport) -> str:
    """Verdict and reasons, what was read, and which model judged it."""
    frame = report.frame
    notes = [f"{displayable(report.name, 100)}, {frame.width} x {frame.height} px."]
    notes += _while_reading(frame.source, report.verdict.reasons)
    return _judged(report, notes)


def _judged(report: ImageReport | VideoReport, notes: list[str]) -> str:
    """What the file says of itself, then the verdict."""
    view = html_content.provenance_view(report.provenance)
    declared, without = "", tuple[str, ...]()
    if view is not None:
        declared, without = render_macro(_PARTS, "provenance_box", view), view.statements
    notes = [*notes, *_about_model(report.card)]
    verdict = replace(report.verdict, reasons=tuple(map(in_panel, report.verdict.reasons)))
    return declared + render_macro(_PARTS, "verdict_box", verdict, notes, live=True, without=without)


def video_verdict(report: VideoReport) -> str:
    """Verdict and reasons, what was read, and which model judged it."""
    width, height = report.frame_size
    length = "" if report.duration is None else f", {report.duration:.1f} s"
    notes = [f"{displayable(report.name, 100)}, {width} x {height} px{length}."]
    frames = f"{capitalized(report.coverage.summary)}."
    notes.append(f"{frames} {report.face_share:.0%} of the frames looked at show a face.")
    notes += _while_reading(report.source, report.verdict.reasons)
    notes.append(f"The score of a person is {aggregation_clause(report.aggregation)}.")
    return _judged(report, notes)


def _while_reading(source: Source | None, reasons: Sequence[str]) -> list[str]:
    """What was noted while a file was read, and is no reason of the verdict."""
    warnings = [] if source is None else [warning for warning in source.warnings if warning not in reasons]
    return [f"While reading: {in_panel('; '.join(warnings))}."] if warnings else []


def _about_model(card: Card) -> list[str]:
    calibration = "calibrated" if card.temperature else "never calibrated"
    return [f"Scored by {card.name} {card.version} ({calibration}).", "A score is a hint, not proof."]


def file_result(row: FileResult) -> str:
    """What a scan recorded for a file."""
    cause, step = (None if words is None else in_panel(words) for words in (row.cause, row.next_step))
    shown = replace(row, reasons=in_panel(row.reasons), cause=cause, next_step=step)
    return render_macro(_WIDGET, "file_result", shown)


def review_metrics(review: Review) -> str:
    """How the model does on labelled files: metrics with intervals, threshold, calibration, caveats."""
    fakes = int(review.y.sum())
    sentences = [
        f"{len(review)} labelled files: {len(review) - fakes} real, {fakes} fake; {review.skipped} skipped."
    ]
    if review.operating_point is not None:
        point = review.operating_point
        sentences.append(
            f"Threshold {review.threshold:.3f}: {point.false_positive_rate:.0%} of the real files and "
            f"{point.true_positive_rate:.0%} of the fake ones reach it."
        )
    if review.calibration is not None:
        fit = review.calibration
        sentences.append(
            f"Calibrated on these files: temperature {fit.temperature:.2f}, shift {fit.shift:+.2f}. "
            f"Log loss on files it was not fitted on: {fit.before:.3f} before, {fit.after:.3f} after."
        )
    metrics = html_content.metric_rows(review.metrics.values)
    return render_macro(_WIDGET, "review", [*sentences, *review.caveats], metrics)


def faces_table(report: ImageReport) -> str:
    """One row per face, with a bar for P(fake), the threshold and the inconclusive band around it."""
    rows = [replace(row, doubts=in_panel(row.doubts)) for row in html_content.face_rows(report)]
    return _table("faces_table", rows)


def persons_table(report: VideoReport) -> str:
    """One row per person: P(fake), verdict, and in which seconds frames reach the threshold."""
    return _table("persons_table", html_content.person_rows(report))


def sightings_table(sightings: Iterable[Sighting], threshold: float, temperature: float | None) -> str:
    """One row per face of one frame of a video."""
    return _table("sightings_table", html_content.sighting_rows(sightings, threshold, temperature))


def _table(macro: str, rows: list) -> str:
    """The table; empty without rows."""
    return render_macro(_PARTS, macro, rows) if rows else ""
