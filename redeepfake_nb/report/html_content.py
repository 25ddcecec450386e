"""Convert reports into the values that the HTML templates show: rows, bars, facts, images.

All values are plain text and numbers; escaping and layout are left to the templates.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from PIL import Image

from ..analysis.aggregation import aggregation_clause
from ..analysis.false_alarms import false_alarms
from ..analysis.image import ImageReport
from ..analysis.report import Report, highest_probability
from ..analysis.segments import fake_segments, format_segments
from ..analysis.verdict import Verdict, inconclusive_band
from ..analysis.video_report import Sighting, VideoReport
from ..errors import displayable
from ..evaluation.metrics import MAIN_METRICS, METRIC_WORDS, Metric
from ..explanation.badge import Faithfulness
from ..explanation.heatmaps import Explanation
from ..media.frames import Source
from ..models.card import Card
from ..models.prediction import Prediction
from ..models.tested_kinds import blind_spots
from ..provenance.records import Provenance
from ..scanning.records import FileResult
from ..utils.numeric import is_finite_number
from ..utils.wording import pluralize

# At most so many heatmaps of one image or video are shown.
MAX_HEATMAPS = 8
# Side in pixels of the faces in the table at the top, and the surroundings that they are shown with.
_THUMBNAIL, _SURROUNDINGS = 96, 0.3
# Scores, and shares of fakes among all faces, of the table that shows what a score means at other base rates.
SCORES = (0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
BASE_RATES = (0.5, 0.1, 0.01, 0.001)


# ------------------------------------------------------------------ rows that the page and the widgets share


@dataclass(frozen=True)
class Bar:
    """P(fake) as a bar with the threshold and the inconclusive band around it; numbers are 0..1."""

    p: float
    label: str
    threshold: float
    low: float
    high: float


@dataclass(frozen=True)
class FaceRow:
    """One face of an image; ``sharpness`` is None where it was not measured."""

    number: int
    bar: Bar
    size: int
    sharpness: float | None
    doubts: str


@dataclass(frozen=True)
class PersonRow:
    """One person of a video. ``verdict`` is a label; ``extent`` the lowest and highest P(fake) of a frame."""

    number: int
    bar: Bar
    verdict: str
    extent: tuple[float, float]
    seen: int
    frames: int
    segments: str


@dataclass(frozen=True)
class SightingRow:
    """One face of one frame of a video; ``tracked`` where it was followed and not detected."""

    number: int
    bar: Bar
    size: int
    sharpness: float
    tracked: bool


@dataclass(frozen=True)
class ProvenanceView:
    """What a file says of itself; ``preview`` is a data URI where it shows something else.

    ``nothing`` is shown where there are no statements.
    """

    statements: tuple[str, ...]
    warning: bool
    rows: Sequence[tuple[str, str]]
    preview: str | None
    nothing: str = ""


@dataclass(frozen=True)
class MetricRow:
    """A metric in words, with its 95 % interval; ``low`` and ``high`` are None where there is none."""

    name: str
    value: float
    low: float | None
    high: float | None


def make_bar(p: float, threshold: float, temperature: float | None) -> Bar:
    """Return the bar of a score, for a model with this calibration temperature."""
    half = inconclusive_band(temperature)
    label = "fake" if p >= threshold else "real"
    return Bar(p, label, threshold, max(threshold - half, 0), min(threshold + half, 1))


def face_rows(report: ImageReport) -> list[FaceRow]:
    """One row per face of an image, the most suspicious first; numbers are those of the picture."""
    return [
        FaceRow(
            number=i + 1,
            bar=make_bar(report.predictions[i].probability, report.threshold, report.card.temperature),
            size=report.predictions[i].face.size,
            sharpness=report.predictions[i].face.sharpness,
            doubts="; ".join(report.doubts(i)) or "none of those checked",
        )
        for i in report.most_suspicious
    ]


def person_rows(report: VideoReport) -> list[PersonRow]:
    """One row per person of a video, the most suspicious first."""
    return [
        PersonRow(
            number=person.number + 1,
            bar=make_bar(person.probability, report.threshold, report.card.temperature),
            verdict=person.verdict.label,
            extent=person.extent,
            seen=len(person.sightings),
            frames=report.frames,
            segments=format_segments(fake_segments(report, person)),
        )
        for person in (report.persons[i] for i in report.most_suspicious)
    ]


def sighting_rows(
    sightings: Iterable[Sighting], threshold: float, temperature: float | None
) -> list[SightingRow]:
    """One row per face of one frame of a video."""
    return [
        SightingRow(
            number=sighting.person + 1,
            bar=make_bar(sighting.probability, threshold, temperature),
            size=sighting.size,
            sharpness=sighting.sharpness,
            tracked=sighting.bridged,
        )
        for sighting in sightings
    ]


def provenance_view(provenance: Provenance | None) -> ProvenanceView | None:
    """Return what a file says of itself, for the box above the verdict; None where there was no file."""
    if provenance is None:
        return None
    preview = None
    if provenance.thumbnail is not None and provenance.thumbnail.differs:
        buffer = io.BytesIO()
        Image.fromarray(provenance.thumbnail.image).save(buffer, "PNG")
        preview = data_uri(buffer.getvalue())
    loud = provenance.tampered or preview is not None
    nothing = provenance.nothing[:1].upper() + provenance.nothing[1:]
    return ProvenanceView(provenance.statements, loud, provenance.rows(), preview, nothing)


def metric_rows(metrics: Mapping[str, Any]) -> list[MetricRow]:
    """Return the known ones among metrics, given as :class:`Metric` or as the dicts that a card holds."""
    rows = []
    for name in MAIN_METRICS:
        found = metrics.get(name)
        if isinstance(found, Metric):
            found = {"value": found.value, "low": found.low, "high": found.high}
        if not isinstance(found, Mapping) or _number(found.get("value")) is None:
            continue
        low, high = (_number(found.get(end)) for end in ("low", "high"))
        known = low is not None and high is not None
        rows.append(
            MetricRow(METRIC_WORDS[name], found["value"], low if known else None, high if known else None)
        )
    return rows


def _number(value: object) -> float | None:
    """The value, where it is a number and not NaN."""
    return value if isinstance(value, (int, float)) and value == value else None


# ------------------------------------------------------------------ the page


@dataclass(frozen=True)
class Entry:
    """One file of the page.

    Parameters
    ----------
    name
        File name; of a scan, its path.
    report
        The analysis, or ``None`` where the file could not be analysed again.
    row
        The scan's result for the file.
    note
        Remark shown above the analysis.
    why
        Of a scan: why it was selected, ``"strongest"`` or ``"doubtful"``.
    checks
        Faithfulness of the report's heatmaps, by their index.
    """

    name: str
    report: Report | None
    row: FileResult | None = None
    note: str = ""
    why: str = ""
    checks: Mapping[int, Faithfulness] = field(default_factory=dict)


@dataclass(frozen=True)
class Summary:
    """One line of the table at the top; ``thumbnail`` is a data URI of the face with the highest P(fake)."""

    label: str | None
    score: float | None
    threshold: float | None
    count: str
    reasons: tuple[str, ...]
    thumbnail: str | None = None


@dataclass(frozen=True)
class Heatmap:
    """One heatmap of a file; ``image`` is a data URI, or None where the file's images show it already."""

    title: str
    p: float
    image: str | None
    caption: str
    sentence: str
    regions: Sequence[Any]
    check: Faithfulness | None


@dataclass(frozen=True)
class Section:
    """All that the page says of one file; ``images`` are (caption, data URI)."""

    name: str
    note: str
    why: str
    row: FileResult | None
    verdict: Verdict | None = None
    provenance: ProvenanceView | None = None
    facts: Sequence[tuple[str, str]] = ()
    images: Sequence[tuple[str, str]] = ()
    faces: Sequence[FaceRow] = ()
    persons: Sequence[PersonRow] = ()
    heatmaps: Sequence[Heatmap] = ()


def data_uri(png: bytes) -> str:
    """Encode an image for the page: the PNG, or a JPEG where that is smaller, as it is for photographs."""
    buffer = io.BytesIO()
    Image.open(io.BytesIO(png)).convert("RGB").save(buffer, "JPEG", quality=90, subsampling=0)
    kind, data = min((("png", png), ("jpeg", buffer.getvalue())), key=lambda pair: len(pair[1]))
    return f"data:image/{kind};base64,{base64.b64encode(data).decode('ascii')}"


def at_base_rate(p: float, base_rate: float, calibrated_at: float = 0.5) -> float:
    """Return P(fake) where ``base_rate`` of the faces are fake, for a score calibrated at another rate.

    Bayes' rule on the odds (Saerens, Latinne and Decaestecker 2002, "Adjusting the Outputs of a Classifier to
    New a Priori Probabilities"); it holds as far as fake and real faces look the same in both places.
    """
    odds = p / (1 - p) * base_rate / (1 - base_rate) * (1 - calibrated_at) / calibrated_at
    return odds / (1 + odds)


def calibration_rate(card: Card) -> tuple[float, str] | None:
    """Return the share of fakes among what a model was calibrated on, and what that is; None if unknown."""
    # A copy that was calibrated on reviewed files has the review's numbers, which count files.
    review = card.metrics.get("before calibration")
    measured, unit = (review, "files") if isinstance(review, dict) else (card.metrics, "faces")
    fake, total = measured.get("fake"), measured.get(unit)
    if card.temperature is None or not is_finite_number(fake) or not is_finite_number(total):
        return None
    return (fake / total, unit) if 0 < fake < total else None


def base_rate_table(cards: Sequence[Card]) -> dict[str, Any] | None:
    """Return what scores mean at lower base rates.

    Returns
    -------
    dict or None
        ``calibrated_at``, ``calibrated_on`` (``"faces"`` or ``"files"``), ``columns``, and ``rows`` of
        (score, P(fake) at each). None where the models were calibrated at different rates, or where that is
        not known.
    """
    found = {calibration_rate(card) for card in cards}
    (known,) = found if len(found) == 1 else (None,)
    if known is None:
        return None
    rate, unit = known
    return {
        "calibrated_at": rate,
        "calibrated_on": unit,
        "columns": [(f"if {100 * rate:g} % are fake", "number") for rate in BASE_RATES],
        "rows": [(score, [at_base_rate(score, base, rate) for base in BASE_RATES]) for score in SCORES],
    }


def describe_model(card: Card) -> dict[str, Any]:
    """Return what a model was trained on, and its metrics on held-out faces."""
    # A copy that was calibrated on reviewed files has the review's metrics only, which are not shown here.
    measured = card.metrics if "auc" in card.metrics else {}
    metrics = metric_rows(measured)
    accuracy = measured.get("accuracy", {}).get("value") if metrics else None
    return {
        "name": f"{card.name} {card.version}",
        "card": card,
        "metrics": metrics,
        "faces": measured.get("faces"),
        "collections": bool(measured.get("collections")),
        # Without the entry, as in older sidecars, the groups were people.
        "people": measured.get("groups") if measured.get("grouped_by", "identity") == "identity" else None,
        "split": measured.get("split"),
        "threshold": measured.get("threshold"),
        "errors_in_100": None if accuracy is None else round(100 * (1 - accuracy)),
        "failures": [str(words) for words in measured.get("known_failures", ())],
        "calibrated": card.temperature is not None,
        "blind_spots": blind_spots(card.tested_on),
        "false_alarms": false_alarms(card, card.threshold),
    }


def summarize(entry: Entry) -> Summary:
    """Return a file's line in the table at the top."""
    report, row = entry.report, entry.row
    if report is None:
        if row is None:
            return Summary(None, None, None, "", ())
        return Summary(row.verdict, row.score, row.threshold, "", tuple(filter(None, [row.reasons])))
    reasons = report.verdict.reasons
    if len(reasons) > 1 and reasons[0].startswith("P(fake)"):  # the table has a column for it
        reasons = reasons[1:]
    count, noun = len(report.scored), "face" if report.kind == "image" else "person"
    return Summary(
        report.verdict.label,
        highest_probability(report),
        report.threshold,
        f"{count} {noun if count == 1 else noun + 's'}",
        tuple(reasons),
        _thumbnail(report),
    )


def _thumbnail(report: Report) -> str | None:
    """The face with the highest P(fake); None where no pixels of it were kept."""
    kept: list[tuple[float, Prediction]] = []
    if isinstance(report, VideoReport):
        kept = [(p.probability, p.portrait) for p in report.persons if p.portrait is not None]
    elif isinstance(report, ImageReport):
        kept = [(p.probability, p) for p in report.predictions]
    if not kept:
        return None
    face = max(kept, key=lambda pair: pair[0])[1].face
    picture = Image.fromarray(face.crop(_SURROUNDINGS if face.margin is None else None))
    picture.thumbnail((_THUMBNAIL, _THUMBNAIL))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return data_uri(buffer.getvalue())


def describe(entry: Entry) -> Section:
    """Return a file's section, with its plots drawn."""
    report = entry.report
    if report is None:
        return Section(entry.name, entry.note, entry.why, entry.row)
    if isinstance(report, ImageReport):
        return _describe_image(entry, report)
    if isinstance(report, VideoReport):
        return _describe_video(entry, report)
    raise TypeError(f"no page for a report of kind {report.kind!r}")


def _describe_image(entry: Entry, report: ImageReport) -> Section:
    from .. import view

    frame, note = report.frame, entry.note
    left = len(report.explanations) - MAX_HEATMAPS
    if left > 0:
        note = f"{note} {pluralize(left, 'less suspicious face')} in the table without a heatmap.".strip()
    note = _with_heatmap_error(note, report)
    images = []
    if report.predictions:
        images = [("The image with its faces", data_uri(view.to_png(view.plot_faces, report, titled=False)))]
    return Section(
        entry.name,
        note,
        entry.why,
        entry.row,
        verdict=report.verdict,
        provenance=provenance_view(report.provenance),
        facts=[("size", f"{frame.width} x {frame.height} px"), *_source_facts(frame.source)],
        images=images,
        faces=face_rows(report),
        heatmaps=[
            _heatmap(
                f"Face {i + 1}", report.explanations[i].at_threshold(report.threshold), entry.checks.get(i)
            )
            for i in (report.most_suspicious[:MAX_HEATMAPS] if report.explanations else ())
        ],
    )


def _describe_video(entry: Entry, report: VideoReport) -> Section:
    from .. import view

    width, height = report.frame_size
    length = [] if report.duration is None else [("length", f"{report.duration:.1f} s")]
    images = []
    if report.frames:
        images.append(("P(fake) over time", data_uri(view.to_png(view.plot_timeline, report, titled=False))))
    if report.persons:
        images.append(("Persons", data_uri(view.to_png(view.plot_persons, report))))
    if report.evidence:
        strongest = view.to_png(view.plot_suspicious_frames, report)
        images.append(("The frames with the highest P(fake)", data_uri(strongest)))
    heatmaps = []
    for i, explanation in enumerate(report.explanations[:MAX_HEATMAPS]):
        time = explanation.prediction.face.frame.timestamp
        judged = explanation.at_threshold(report.threshold)
        heatmaps.append(_heatmap(f"Frame at {time:.2f} s", judged, entry.checks.get(i), draw=False))
    return Section(
        entry.name,
        _with_heatmap_error(entry.note, report),
        entry.why,
        entry.row,
        verdict=report.verdict,
        provenance=provenance_view(report.provenance),
        facts=[
            ("size", f"{width} x {height} px"),
            *length,
            ("frames looked at", f"{report.coverage.share}; {report.face_share:.0%} of these show a face"),
            ("score of a person", aggregation_clause(report.aggregation)),
            ("read", report.completeness.summary),
            *_source_facts(report.source),
        ],
        images=images,
        persons=person_rows(report),
        heatmaps=heatmaps,
    )


def _with_heatmap_error(note: str, report: Report) -> str:
    return f"{note} No heatmaps: {report.heatmap_error}".strip() if report.heatmap_error else note


def _source_facts(source: Source | None) -> list[tuple[str, str]]:
    if source is None:
        return []
    size = None if source.size_bytes is None else f"{source.size_bytes:,}"
    facts = [("format", source.format), ("bytes", size), ("SHA-256", source.sha256)]
    if source.warnings:
        facts.append(("while reading", "; ".join(source.warnings)))
    return [(name, displayable(value, 2000)) for name, value in facts if value is not None]


def _heatmap(title: str, explanation: Explanation, check: Faithfulness | None, draw: bool = True) -> Heatmap:
    from .. import view

    regions = explanation.regions
    rows = list(regions.table.itertuples()) if regions.reason is None and not explanation.empty else []
    return Heatmap(
        title=title,
        p=explanation.prediction.probability,
        image=data_uri(view.to_png(view.plot_explanation, explanation)) if draw else None,
        caption=explanation.title,
        sentence=regions.sentence,
        regions=[row for row in rows if row.area > 0],
        check=check,
    )
