"""What a page about reports says: records -> plain values and pictures, for the template to lay out.

No HTML is put together here. Words from strangers leave this module as they are; the template's environment
shows every value as one printable line and escapes it, see :mod:`redeepfake_nb.report.html_page`.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ..analysis.image import ImageReport
from ..analysis.segments import in_words, stretches
from ..analysis.verdict import doubt
from ..analysis.video_report import VideoReport
from ..errors import displayable
from ..explanation.fidelity import Faithfulness
from ..explanation.heatmaps import Explanation
from ..models.card import Card
from ..scanning.records import FileResult

# Faces of one picture, or frames of one video, that are shown large.
MOST_FACES = 8
# What a score means where fewer files are fake than where the model was calibrated.
SCORES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
SHARES = (0.5, 0.1, 0.01, 0.001)
_FIGURES = {
    "auc": "AUC: chance that a fake scores above a real",
    "accuracy": "accuracy: right labels",
    "precision": "precision: fakes among those called fake",
    "recall": "recall: fakes that are called fake",
    "log_loss": "log loss",
    "ece": "calibration error (ECE)",
}


@dataclass(frozen=True)
class Entry:
    """One file of a page.

    Parameters
    ----------
    name
        As people know it; of a scan its path.
    report
        What was found, or ``None`` where the file could not be looked at (again).
    row
        The journal's word, of a file of a scan.
    note
        What else is to know.
    why
        Why it is shown: ``"strongest"``, ``"doubtful"``, or nothing.
    """

    name: str
    report: ImageReport | VideoReport | None
    row: FileResult | None = None
    note: str = ""
    why: str = ""
    checks: Mapping[int, Faithfulness] = field(default_factory=dict)


def data_uri(png: bytes) -> str:
    """A picture as part of the page: PNG, or JPEG where that is smaller, as it is for photographs."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "JPEG", quality=90, subsampling=0)
    kind, data = min((("png", png), ("jpeg", buffer.getvalue())), key=lambda pair: len(pair[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def with_share(p: float, share: float) -> float:
    """P(fake) where ``share`` of the faces are fake, for a score that was calibrated where half were.

    Bayes' rule on the odds (Saerens, Latinne and Decaestecker 2002, "Adjusting the Outputs of a Classifier to
    New a Priori Probabilities"); it holds as far as fakes and reals look the same in both places.
    """
    odds = p / (1 - p) * share / (1 - share)
    return odds / (1 + odds)


def base_rates() -> dict[str, Any]:
    """A small table: score by score what it means where fakes are rarer."""
    rows = [(score, [with_share(score, share) for share in SHARES]) for score in SCORES]
    return {"shares": SHARES, "rows": rows}


def model_part(card: Card) -> dict[str, Any]:
    """What a model was trained on, and how it did on faces held out."""
    metrics = dict(card.metrics)
    # A calibrated copy has the figures of the model it was made of one level below.
    measured = metrics if "auc" in metrics else {}
    figures = []
    for name, words in _FIGURES.items():
        found = measured.get(name)
        if isinstance(found, Mapping) and isinstance(found.get("value"), (int, float)):
            low, high = found.get("low"), found.get("high")
            span = f"{low:.3f} to {high:.3f}" if None not in (low, high) else ""
            figures.append((words, f"{found['value']:.3f}", span))
    wrong = measured.get("accuracy", {}).get("value") if figures else None
    return {
        "name": f"{card.name} {card.version}",
        "card": card,
        "figures": figures,
        "faces": measured.get("faces"),
        "people": measured.get("groups"),
        "split": measured.get("split"),
        "threshold": measured.get("threshold"),
        "wrong_in_100": None if wrong is None else round(100 * (1 - wrong)),
        "failures": [str(words) for words in measured.get("known_failures", ())],
        "calibrated": card.temperature is not None,
    }


def entry_part(entry: Entry) -> dict[str, Any]:
    """All that the page says of one file."""
    made: dict[str, Any] = {
        "name": entry.name,
        "note": entry.note,
        "why": entry.why,
        "label": None if entry.row is None else entry.row.label,
        "pictures": [],
        "faces": [],
        "persons": [],
        "heatmaps": [],
        "facts": [],
        "verdict": None,
        "row": entry.row,
    }
    report = entry.report
    if report is None:
        return made
    made["verdict"] = report.verdict
    made["card"] = report.card
    if isinstance(report, ImageReport):
        _image(made, report, entry.checks)
    else:
        _video(made, report, entry.checks)
    return made


def summary_part(entry: Entry) -> dict[str, Any]:
    """One line of the summary."""
    report, row = entry.report, entry.row
    if report is None:
        score, label = row.score if row else None, row.verdict if row else None
        return {"label": label, "score": score, "threshold": row.threshold if row else None, "what": "",
                "reasons": row.reasons if row else ""}  # fmt: skip
    scored = report.predictions if isinstance(report, ImageReport) else report.persons
    noun = "face" if isinstance(report, ImageReport) else "person"
    plural = {"face": "faces", "person": "persons"}[noun]
    return {
        "label": report.verdict.label,
        "score": max((one.probability for one in scored), default=None),
        "threshold": report.threshold,
        "what": f"{len(scored)} {noun if len(scored) == 1 else plural}",
        "reasons": "; ".join(report.verdict.reasons[1:] or report.verdict.reasons),
    }


def bar(p: float, threshold: float, temperature: float | None) -> dict[str, float]:
    """Per cent, for a bar with the threshold and the band of doubt around it."""
    near = doubt(temperature)
    low, high = max(threshold - near, 0), min(threshold + near, 1)
    return {"p": 100 * p, "low": 100 * low, "width": 100 * (high - low), "cut": 100 * threshold}


def _image(made: dict[str, Any], report: ImageReport, checks: Mapping[int, Faithfulness]) -> None:
    from .. import view

    frame, source = report.frame, report.frame.source
    made["kind"] = "picture"
    made["facts"] = [("size", f"{frame.width} x {frame.height} px"), *_source_facts(source)]
    if report.predictions:
        picture = view.to_png(view.plot_faces, report)
        made["pictures"] = [("The picture with its faces", data_uri(picture))]
    for i, prediction in enumerate(report.predictions):
        made["faces"].append(
            {
                "number": i + 1,
                "p": prediction.probability,
                "label": prediction.label(report.threshold),
                "size": prediction.face.size,
                "sharpness": prediction.face.sharpness,
                "doubts": "; ".join(report.doubts(i)) or "none",
                "bar": bar(prediction.probability, report.threshold, report.card.temperature),
            }
        )
    for i, explanation in enumerate(report.explanations[:MOST_FACES]):
        made["heatmaps"].append(_heatmap(f"Face {i + 1}", explanation, checks.get(i)))
    left = len(report.explanations) - MOST_FACES
    if left > 0:
        made["note"] = f"{made['note']} {left} smaller faces are in the table and not shown large.".strip()


def _video(made: dict[str, Any], report: VideoReport, checks: Mapping[int, Faithfulness]) -> None:
    from .. import view

    width, height = report.frame_size
    length = [] if report.duration is None else [("length", f"{report.duration:.1f} s")]
    made["kind"] = "video"
    made["facts"] = [
        ("size", f"{width} x {height} px"),
        *length,
        ("frames looked at", f"{report.frames}, a face in {report.face_share:.0%} of them"),
        ("frames become one score by", report.aggregation),
        ("read", report.completeness.summary),
        *_source_facts(report.source),
    ]
    if report.frames:
        made["pictures"].append(("P(fake) over time", data_uri(view.to_png(view.plot_timeline, report))))
    if report.persons:
        made["pictures"].append(("Who is in it", data_uri(view.to_png(view.plot_persons, report))))
    if report.evidence:
        strongest = view.to_png(view.plot_suspicious_frames, report)
        made["pictures"].append(("The frames that speak loudest for fake", data_uri(strongest)))
    for person in report.persons:
        label = "fake" if person.probability >= report.threshold else "real"
        made["persons"].append(
            {
                "number": person.number + 1,
                "p": person.probability,
                "label": label,
                "verdict": person.verdict,
                "spread": person.spread,
                "seen": f"{len(person.sightings)} of {report.frames}",
                "when": in_words(stretches(report, person)),
                "bar": bar(person.probability, report.threshold, report.card.temperature),
            }
        )
    for i, explanation in enumerate(report.explanations[:MOST_FACES]):
        frame = explanation.prediction.face.frame
        made["heatmaps"].append(
            _heatmap(f"Frame at {frame.timestamp:.2f} s", explanation, checks.get(i), drawn=False)
        )


def _source_facts(source: Any) -> list[tuple[str, str]]:
    if source is None:
        return []
    facts = [("format", source.format), ("bytes", f"{source.size_bytes:,}"), ("SHA-256", source.sha256)]
    if source.warnings:
        facts.append(("while reading", "; ".join(source.warnings)))
    return [(name, displayable(value, 2000)) for name, value in facts if value is not None]


def _heatmap(
    title: str, explanation: Explanation, check: Faithfulness | None, drawn: bool = True
) -> dict[str, Any]:
    from .. import view

    regions = explanation.regions
    rows: Sequence[Any] = regions.table.itertuples() if regions.reason is None else ()
    return {
        "title": title,
        "p": explanation.prediction.probability,
        "picture": data_uri(view.to_png(view.plot_explanation, explanation)) if drawn else None,
        "how": explanation.title,
        "sentence": regions.sentence,
        "regions": [] if explanation.empty else [row for row in rows if row.area > 0],
        "check": check,
    }
