"""Reports -> one web page that needs nothing but itself, to be read, printed and handed over.

Everything that comes from outside (names, errors, cards) is shown as one printable line and escaped, by the
template's environment and not by whoever writes a template. The page has no script, asks no server for
anything, and its Content-Security-Policy lets a browser do neither.
"""

from __future__ import annotations

import base64
import hashlib
import io
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from PIL import Image

from ..analysis.image import ImageReport
from ..analysis.segments import in_words, stretches
from ..analysis.verdict import doubt
from ..analysis.video_report import VideoReport
from ..errors import InputError, RedeepfakeError, displayable
from ..explanation.fidelity import Faithfulness
from ..explanation.heatmaps import Explanation
from ..faces.detection import Detector
from ..models.card import Card
from ..models.classifier import Classifier
from ..models.loading import default_classifier
from ..scanning.reanalysis import Wish, common_folder, look_at
from ..scanning.records import FileResult, Filter
from ..scanning.result import ScanResult
from ..utils.jobs import stopper
from ..utils.versions import package_versions
from ..utils.writing import writing_into
from ..view.palette import SIGNS

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


# Of files that were not judged, those with an error of their own first; the journal has the others.
_LISTED = 200


def html(
    reports: ImageReport | VideoReport | ScanResult | Iterable[ImageReport | VideoReport],
    out: str | os.PathLike,
    *,
    checks: Iterable[Faithfulness] = (),
    title: str = "Were these faces manipulated?",
    date: datetime | None = None,
    classifier: Classifier | None = None,
    detector: Detector | None = None,
    most: int = 12,
    check: int = 4,
    progress: Callable[[int, int], None] | None = None,
    cancel: Any = None,
) -> Path:
    """Write reports as one self-contained HTML file.

    For each file verdict and reasons, its faces or persons with their scores, heatmaps, the parts of the face
    they lie on, timelines, SHA-256; and for all what the model was trained on and how it does there, how to
    read a probability, settings and versions. Of a scan, whose journal keeps no pictures, the files with the
    highest scores and the most doubtful ones are looked at again; those that were not judged are listed with
    the reason.

    Parameters
    ----------
    reports
        One or several, or the result of a scan.
    out
        The file, such as ``report.html``; one that exists is replaced.
    checks
        From :func:`redeepfake_nb.faithfulness`, for heatmaps of these very reports; each gives a badge.
    title
        Of the page.
    date
        What the page gives as its date, UTC where it has no time zone; default: now. All else is the same
        for the same reports, byte by byte.
    classifier
        Of a scan: its model, for looking again. Default: the model that ships.
    detector
        Of a scan that was made with a detector of one's own: that detector.
    most
        Of a scan: how many of the highest and how many of the most doubtful scores are shown.
    check
        Of a scan: for how many of the highest scores the heatmap is checked too, which takes about ten
        seconds each on two processor cores.
    progress
        Of a scan: called with how many files have been looked at again, and of how many.
    cancel
        Of a scan: a callable or an object with ``is_set()``; when true, the page has what was done by then.

    Returns
    -------
    pathlib.Path
        ``out``.

    Raises
    ------
    InputError
        There is no report, or the classifier is not the model of the scan.
    OutputError
        It cannot be written.
    """
    values: dict[str, Any] = {"counts": {}, "unjudged": [], "unjudged_left": 0, "scan": None, "verdicts": {}}
    if isinstance(reports, ScanResult):
        classifier = classifier or default_classifier()
        entries = _again(reports, classifier, detector, most, check, progress, stopper(cancel))
        values |= _scan_values(reports)
        # Whoever gets the page has no use for folders of the machine that made it.
        root = common_folder([*(entry.name for entry in entries), *(row.path for row in values["unjudged"])])
        entries = [replace(entry, name=entry.name.removeprefix(root)) for entry in entries]
        values["unjudged"] = [replace(row, path=row.path.removeprefix(root)) for row in values["unjudged"]]
        cards = [classifier.card]
        settings = reports.settings
    else:
        single = isinstance(reports, (ImageReport, VideoReport))
        listed = [reports] if single else list(reports)
        if not listed:
            raise InputError("there is no report", next_step="Analyse a picture or video first.")
        found = list(checks)
        entries = [Entry(report.name, report, checks=_matching(report, found)) for report in listed]
        cards = [report.card for report in listed]
        settings = _common([dict(report.settings) for report in listed])
    when = (date or datetime.now(UTC)).astimezone(UTC) if date is None or date.tzinfo else date
    values |= {
        "title": title,
        "date": f"{when:%Y-%m-%d %H:%M} UTC",
        "models": [model_part(card) for card in _different(cards)],
        "entries": [(summary_part(entry), entry_part(entry)) for entry in entries],
        "settings": settings,
        "versions": package_versions(),
        "base_rates": base_rates(),
        "signs": SIGNS,
    }
    out = Path(out)
    page = _render(values).encode("utf-8")
    with writing_into(out.parent) as workshop:
        made = workshop / "page.html"
        made.write_bytes(page)
        made.replace(out)
    return out


def _render(values: dict[str, Any]) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    def shown(value: Any) -> Any:
        return displayable(value, 6000) if isinstance(value, str) and not isinstance(value, Markup) else value

    templates = Environment(
        loader=PackageLoader("redeepfake_nb.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=shown,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters["short"] = displayable
    # Text of ours that is as long as a picture; nothing else may pass unescaped.
    templates.filters["own_picture"] = Markup
    style, _, _ = templates.loader.get_source(templates, "report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    page = templates.get_template("report.html.j2")
    return page.render(style=Markup(style), style_hash=Markup(digest), **values)


# ------------------------------------------------------------------ reports


def _matching(report: ImageReport | VideoReport, checks: Sequence[Faithfulness]) -> dict[int, Faithfulness]:
    return {
        i: check
        for i, explanation in enumerate(report.explanations)
        for check in checks
        if check.explanation is explanation
    }


def _different(cards: Sequence[Card]) -> list[Card]:
    return list({(card.name, card.version, card.sha256): card for card in cards}.values())


def _common(settings: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Settings that all share, and the values of the others."""
    found: dict[str, list[Any]] = {}
    for one in settings:
        for key, value in one.items():
            if value not in found.setdefault(key, []):
                found[key].append(value)
    return {key: ", ".join(map(str, values)) for key, values in found.items()}


# ------------------------------------------------------------------ scans


def _again(
    result: ScanResult,
    classifier: Classifier,
    detector: Detector | None,
    most: int,
    check: int,
    progress: Callable[[int, int], None] | None,
    stopped: Callable[[], bool],
) -> list[Entry]:
    used, given = result.scan.model_sha256, classifier.sha256
    if None not in (used, given) and used != given:
        raise InputError(
            "the scan was made with another model",
            subject=classifier.name,
            next_step="Give the model of the scan as classifier.",
        )
    scored = Filter(statuses=("done", "partial"), lowest=0.0)
    chosen: dict[str, tuple[FileResult, str]] = {}
    for why in ("strongest", "doubtful"):
        # Of equal files one is enough.
        for row in result.rows(scored, order=why, limit=4 * most):
            taken = sum(kind == why for _, kind in chosen.values())
            if taken < most:
                chosen.setdefault(row.sha256 or row.path, (row, why))
    entries = []
    for i, (row, why) in enumerate(chosen.values()):
        if stopped():
            break
        if progress is not None:
            progress(i, len(chosen))
        entries.append(_look(result, row, why, classifier, detector, i < check, stopped))
    if progress is not None:
        progress(len(chosen), len(chosen))
    return entries


def _look(
    result: ScanResult,
    row: FileResult,
    why: str,
    classifier: Classifier,
    detector: Detector | None,
    check: bool,
    stopped: Callable[[], bool],
) -> Entry:
    from ..explanation.fidelity import faithfulness

    settings = result.settings
    try:
        report = look_at(Wish(row, settings, detector or settings["detector"]), classifier, stopped)
    except (RedeepfakeError, ValueError) as error:
        return Entry(row.path, None, row, f"It could not be looked at again: {error}", why)
    source = report.frame.source if isinstance(report, ImageReport) else report.source
    note = ""
    if source is not None and row.sha256 not in (None, source.sha256):
        note = "The file has changed since it was scanned; what follows is of the file as it is now."
    found = {}
    strongest = _strongest(report)
    if check and strongest is not None:
        found[strongest] = faithfulness(classifier, report.explanations[strongest])
    return Entry(row.path, report, row, note, why, found)


def _strongest(report: ImageReport | VideoReport) -> int | None:
    scores = [explanation.prediction.probability for explanation in report.explanations]
    return max(range(len(scores)), key=scores.__getitem__) if scores else None


def _scan_values(result: ScanResult) -> dict[str, Any]:
    rows = result.rows(Filter(statuses=("failed", "partial", "no face")), order="status", limit=_LISTED + 1)
    counts = result.counts
    left = sum(counts[status] for status in ("failed", "partial", "no face")) - _LISTED
    return {
        "scan": {"files": sum(counts.values()), "began": result.scan.began_at, "stopped": result.cancelled},
        "counts": {status: n for status, n in counts.items() if n},
        "verdicts": _verdicts(result),
        "unjudged": rows[:_LISTED],
        "unjudged_left": max(left, 0),
    }


def _verdicts(result: ScanResult) -> dict[str, int]:
    summary = result.summary()
    found = summary[summary["status"].isin(["done", "partial"])].groupby("verdict")["files"].sum()
    return {label: int(found[label]) for label in SIGNS if label in found}
