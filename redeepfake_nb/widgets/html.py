"""HTML for the inspectors' text: records and errors -> strings.

File names, error texts and model names come from strangers. Every one of them goes through :func:`text`
here, and nowhere else is HTML put together. Colours follow JupyterLab's theme, light or dark, and have
fallbacks for front ends without its variables; no colour stands alone, a word and a sign say the same.
"""

from __future__ import annotations

import html
from collections.abc import Iterable

from ..analysis.image import ImageReport
from ..analysis.segments import in_words, stretches
from ..analysis.verdict import Verdict, doubt
from ..analysis.video_report import Person, Sighting, VideoReport
from ..errors import displayable
from ..models.card import Card
from ..scanning.records import FileResult
from ..scanning.review import Review
from ..view.palette import FIGURES, SIGNS

STYLE = """<style>
.rdf { --rdf-fake: #D55E00; --rdf-real: #0072B2; --rdf-doubt: #767676; }
.rdf .rdf-text, .rdf .rdf-text * { line-height: 1.4; }
.rdf .rdf-text { color: var(--jp-ui-font-color1, inherit); font-size: var(--jp-ui-font-size1, 13px);
  overflow-wrap: anywhere; }
.rdf .rdf-group { font-weight: 600; border-bottom: 1px solid var(--jp-border-color2, #bbb); margin-top: 4px; }
.rdf .rdf-quiet { color: var(--jp-ui-font-color2, #555); font-size: 12px; }
.rdf .rdf-verdict { border-left: 6px solid var(--rdf-doubt); padding: 2px 0 2px 12px; }
.rdf .rdf-verdict.rdf-fake { border-left-color: var(--rdf-fake); }
.rdf .rdf-verdict.rdf-real { border-left-color: var(--rdf-real); border-left-style: dashed; }
.rdf .rdf-verdict.rdf-inconclusive { border-left-style: dotted; }
.rdf .rdf-headline { font-size: 18px; font-weight: 600; }
.rdf .rdf-verdict ul { margin: 2px 0; padding-left: 18px; }
.rdf .rdf-error { border-left: 4px solid #c62828; padding: 2px 0 2px 8px; margin: 2px 0;
  background: rgba(198, 40, 40, 0.10); }
.rdf .rdf-scroll { max-height: 260px; overflow: auto; }
.rdf table.rdf-faces { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums;
  color: inherit; font-size: inherit; }
.rdf .rdf-faces th, .rdf .rdf-faces td { padding: 3px 8px; text-align: right; vertical-align: middle;
  border-bottom: 1px solid var(--jp-border-color2, #ccc); background: none; white-space: nowrap; }
.rdf .rdf-faces td.rdf-words { white-space: normal; min-width: 140px; }
.rdf .rdf-faces .rdf-left { text-align: left; }
.rdf .rdf-bar { position: relative; width: 130px; height: 12px;
  border: 1px solid var(--jp-border-color1, #888); }
.rdf .rdf-bar i { position: absolute; top: 0; bottom: 0; display: block; }
.rdf .rdf-bar .rdf-band { background: rgba(128, 128, 128, 0.30); }
.rdf .rdf-bar .rdf-fill { left: 0; top: 3px; bottom: 3px; background: var(--rdf-real); }
.rdf .rdf-bar .rdf-fill.rdf-fake { background: var(--rdf-fake); }
.rdf .rdf-bar .rdf-cut { width: 2px; margin-left: -1px; top: -3px; bottom: -3px;
  background: var(--jp-ui-font-color1, #222); }
.rdf details pre { max-height: 220px; overflow: auto; font-size: 11px; color: inherit;
  background: var(--jp-layout-color2, #eee); padding: 6px; }
.rdf img.rdf-picture { width: auto; height: auto; max-width: 100%; max-height: 470px;
  align-self: flex-start; }
</style>"""


def text(value: object, limit: int = 400) -> str:
    """Any value as one harmless printable line, also inside an attribute."""
    return html.escape(displayable(value, limit), quote=True)


def group(title: str) -> str:
    """The heading of a group of controls."""
    return f'<div class="rdf-text rdf-group">{text(title)}</div>'


def quiet(*sentences: object) -> str:
    """Small print."""
    return f'<div class="rdf-text rdf-quiet">{" ".join(text(s) for s in sentences)}</div>'


def caption(words: str) -> str:
    """What the picture below shows."""
    return f'<div class="rdf-text"><b>{text(words)}</b></div>'


def status(sentence: object) -> str:
    """What is going on, for eyes and for screen readers."""
    return f'<div class="rdf-text" role="status" aria-live="polite">{text(sentence)}</div>'


def errors(messages: Iterable[str]) -> str:
    """One box for each message; nothing where there is none."""
    boxes = (f'<div class="rdf-text rdf-error" role="alert">⚠ {text(m, 600)}</div>' for m in messages)
    return "".join(boxes)


def log(tracebacks: Iterable[str]) -> str:
    """Tracebacks, folded away; nothing where there is none."""
    found = "\n".join(tracebacks)
    if not found:
        return ""
    return (
        '<details class="rdf-text"><summary>Technical details of unexpected errors</summary>'
        f"<pre>{html.escape(found)}</pre></details>"
    )


def verdict(report: ImageReport) -> str:
    """Headline and reasons, then what was read and by which model it was judged."""
    frame = report.frame
    notes = [f"{displayable(report.name, 100)}, {frame.width} x {frame.height} px."]
    if frame.source and frame.source.warnings:
        notes.append(f"While reading: {'; '.join(frame.source.warnings)}.")
    return _verdict(report.verdict, [*notes, *_judge(report.card)])


def video_verdict(report: VideoReport) -> str:
    """Headline and reasons, then what was read and by which model it was judged."""
    width, height = report.frame_size
    length = "" if report.duration is None else f", {report.duration:.1f} s"
    notes = [f"{displayable(report.name, 100)}, {width} x {height} px{length}."]
    notes.append(f"{report.frames} frames were looked at, a face was in {report.face_share:.0%} of them.")
    if report.source.warnings:
        notes.append(f"While reading: {'; '.join(report.source.warnings)}.")
    notes.append(f"Frames become one score by {report.aggregation}.")
    return _verdict(report.verdict, [*notes, *_judge(report.card)])


def _judge(card: Card) -> list[str]:
    calibration = "calibrated" if card.temperature else "never calibrated"
    return [f"Judged by {card.name} {card.version} ({calibration}).", "A score is a hint, not proof."]


def _verdict(found: Verdict, notes: Iterable[str]) -> str:
    reasons = "".join(f"<li>{text(reason)}</li>" for reason in found.reasons)
    return (
        f'<div class="rdf-text rdf-verdict rdf-{found.label}" role="status">'
        f'<div class="rdf-headline">{SIGNS[found.label]} {text(found.headline)}</div>'
        f"<ul>{reasons}</ul>{quiet(*notes)}</div>"
    )


def file_outcome(row: FileResult) -> str:
    """What the journal says of a file, without looking at it again."""
    score = "" if row.score is None else f" P(fake) = {row.score:.2f} at threshold {row.threshold:.2f}."
    if row.status == "failed":
        words = [f"{row.cause}.", row.next_step]
        return errors([f"{row.error}: {' '.join(filter(None, words))}"])
    sign = f"{SIGNS[row.verdict]} {row.verdict}." if row.verdict else "Not looked at yet."
    return f'<div class="rdf-text">{text(sign + score)}{quiet(row.reasons, f"Status: {row.status}.")}</div>'


def figures(review: Review) -> str:
    """What labelled files say of a model: figures with intervals, threshold, calibration, cautions."""
    rows = []
    for name, words in FIGURES.items():
        metric = review.metrics[name]
        span = "" if metric.low != metric.low else f"{metric.low:.3f} to {metric.high:.3f}"
        rows.append(
            f'<tr><td class="rdf-left">{text(words)}</td><td>{metric.value:.3f}</td><td>{span}</td></tr>'
        )
    fakes = int(review.y.sum())
    lines = [
        f"{len(review)} labelled files: {len(review) - fakes} real, {fakes} fake; {review.skipped} skipped."
    ]
    if review.point is not None:
        lines.append(
            f"Threshold {review.threshold:.3f}: {review.point.false_alarm_rate:.0%} of the real files and "
            f"{review.point.hit_rate:.0%} of the fake ones reach it."
        )
    if review.calibration is not None:
        fit = review.calibration
        lines.append(
            f"Calibrated on these files: temperature {fit.temperature:.2f}, shift {fit.shift:+.2f}. "
            f"Log loss on files it was not fitted on: {fit.before:.3f} before, {fit.after:.3f} after."
        )
    items = "".join(f"<li>{text(line)}</li>" for line in (*lines, *review.cautions))
    return (
        f'{group("The model on the files you labelled")}<div class="rdf-text"><ul>{items}</ul></div>'
        + _table("<figure|value|95 % interval", rows)
    )


def faces_table(report: ImageReport) -> str:
    """One row per face, with a bar for P(fake), the threshold and the band of doubt around it."""
    rows = [_face_row(report, i) for i in range(len(report.predictions))]
    return _table("<face|P(fake)|<from 0 to 1|<label|size, px|sharpness|<reasons for doubt", rows)


def persons_table(report: VideoReport) -> str:
    """One row per person: P(fake), verdict, and in which seconds frames reach the threshold."""
    rows = [_person_row(report, person) for person in report.persons]
    head = "<person|P(fake)|<from 0 to 1|<verdict|frames from|to|frames seen|<frames reach the threshold at"
    return _table(head, rows)


def sightings_table(sightings: Iterable[Sighting], threshold: float, temperature: float | None) -> str:
    """One row per face of one frame of a video."""
    rows = [_sighting_row(sighting, threshold, temperature) for sighting in sightings]
    return _table("<person|P(fake)|<from 0 to 1|<label|size, px|sharpness|<how it was found", rows)


def _table(head: str, rows: list[str]) -> str:
    """A table with these headings, ``<`` for those on the left; nothing where there are no rows."""
    if not rows:
        return ""
    cells = "".join(
        f'<th class="rdf-left">{text(name[1:])}</th>' if name.startswith("<") else f"<th>{text(name)}</th>"
        for name in head.split("|")
    )
    return (
        '<div class="rdf-text rdf-scroll"><table class="rdf-faces">'
        f"<thead><tr>{cells}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
    )


def _face_row(report: ImageReport, index: int) -> str:
    prediction, cut = report.predictions[index], report.threshold
    face, label = prediction.face, prediction.label(cut)
    sharpness = "" if face.sharpness is None else f"{face.sharpness:.0f}"
    doubts = "; ".join(report.doubts(index)) or "none"
    return (
        f'<tr><td class="rdf-left">{index + 1}</td><td>{prediction.probability:.2f}</td>'
        f'<td class="rdf-left">{_bar(prediction.probability, label, cut, report.card.temperature)}</td>'
        f'<td class="rdf-left">{SIGNS[label]} {label}</td><td>{face.size}</td>'
        f'<td>{sharpness}</td><td class="rdf-left rdf-words">{text(doubts)}</td></tr>'
    )


def _person_row(report: VideoReport, person: Person) -> str:
    p, cut, label = person.probability, report.threshold, person.verdict.label
    side = "fake" if p >= cut else "real"
    seconds = in_words(stretches(report, person))
    return (
        f'<tr><td class="rdf-left">{person.number + 1}</td><td>{p:.2f}</td>'
        f'<td class="rdf-left">{_bar(p, side, cut, report.card.temperature)}</td>'
        f'<td class="rdf-left">{SIGNS[label]} {label}</td>'
        f"<td>{person.spread[0]:.2f}</td><td>{person.spread[1]:.2f}</td>"
        f"<td>{len(person.sightings)} of {report.frames}</td>"
        f'<td class="rdf-left rdf-words">{text(seconds)}</td></tr>'
    )


def _sighting_row(sighting: Sighting, threshold: float, temperature: float | None) -> str:
    p, label = sighting.probability, sighting.label(threshold)
    how = "followed from the frame before" if sighting.bridged else "detected"
    return (
        f'<tr><td class="rdf-left">{sighting.person + 1}</td><td>{p:.2f}</td>'
        f'<td class="rdf-left">{_bar(p, label, threshold, temperature)}</td>'
        f'<td class="rdf-left">{SIGNS[label]} {label}</td><td>{sighting.size}</td>'
        f'<td>{sighting.sharpness:.0f}</td><td class="rdf-left rdf-words">{how}</td></tr>'
    )


def _bar(probability: float, label: str, threshold: float, temperature: float | None) -> str:
    near = doubt(temperature)
    low, high = max(threshold - near, 0), min(threshold + near, 1)
    title = text(
        f"P(fake) {probability:.2f}, threshold {threshold:.2f}, in doubt from {low:.2f} to {high:.2f}"
    )
    return (
        f'<div class="rdf-bar" title="{title}">'
        f'<i class="rdf-band" style="left:{low:.1%};width:{high - low:.1%}"></i>'
        f'<i class="rdf-fill rdf-{label}" style="width:{probability:.1%}"></i>'
        f'<i class="rdf-cut" style="left:{threshold:.1%}"></i></div>'
    )
