"""Write reports as one self-contained HTML page, to be read, printed and handed over.

The page has no script and loads nothing, and its Content-Security-Policy lets a browser do neither.
"""

from __future__ import annotations

import base64
import hashlib
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import count, islice
from pathlib import Path
from typing import Any

from markupsafe import Markup

from ..analysis.image import ImageReport
from ..analysis.report import Report
from ..analysis.video_report import VideoReport
from ..errors import InputError, RedeepfakeError, displayable
from ..explanation.badge import Faithfulness
from ..explanation.fidelity import faithfulness
from ..faces.detection import Detector
from ..models.card import Card
from ..models.classifier import Classifier
from ..models.loading import default_classifier
from ..models.tested_kinds import DETECTED, KINDS
from ..scanning.reanalysis import ReanalysisRequest, common_parent, reanalyze
from ..scanning.records import FileResult, Filter
from ..scanning.result import ScanResult
from ..utils.jobs import Cancel, Progress, as_cancel_check
from ..utils.versions import package_versions
from ..utils.writing import check_not_input, staging_folder
from ..view.palette import SIGNS
from .html_content import Entry, base_rate_table, describe, describe_model, summarize
from .html_templates import render, stylesheet
from .setting_words import in_plain_words

# Statuses of files without a verdict, or analysed only in part; at most so many of them are listed.
_UNJUDGED = ("failed", "partial", "no face")
_MAX_UNJUDGED = 200
# Rows of a journal that are read at once.
_PAGE = 200
_STATUS_WORDS = {
    "waiting": "not looked at yet",
    "done": "scored",
    "no face": "without a face",
    "partial": "read in part",
    "failed": "failed",
}


def html(
    reports: ImageReport | VideoReport | ScanResult | Iterable[Report],
    out: str | os.PathLike,
    *,
    checks: Iterable[Faithfulness] = (),
    not_analysed: Iterable[tuple[str, str]] = (),
    title: str = "Were these faces manipulated?",
    date: datetime | None = None,
    classifier: Classifier | None = None,
    detector: Detector | None = None,
    top: int = 12,
    check_top: int = 4,
    progress: Progress | None = None,
    cancel: Cancel = None,
) -> Path:
    """Write reports as one self-contained HTML file.

    The page shows for each file the verdict with its reasons, the faces or persons with their scores,
    heatmaps with the evidence per part of the face, timelines, and the SHA-256; and once, what the model was
    trained on and its metrics, how to read a probability, settings and versions. A scan's journal keeps no
    images: the files with the highest scores and the most doubtful ones are analysed again, and files without
    a verdict are listed with the reason.

    Parameters
    ----------
    reports
        One or several reports, or the result of a scan.
    out
        The file, such as ``report.html``; an existing one is replaced.
    checks
        From :func:`redeepfake_nb.faithfulness`, for heatmaps of these very reports; each adds a badge.
    not_analysed
        Pairs of a name and a reason: what was given together with the files of the reports and has none.
    title
        Title of the page.
    date
        Date shown on the page, UTC where it has no time zone; default: now. All else is the same for the same
        reports, byte by byte.
    classifier
        Of a scan: its model. Default: the model that ships.
    detector
        Of a scan that was made with a custom detector: that detector.
    top
        Of a scan: how many files are shown of those with the highest scores, and how many of the most
        doubtful.
    check_top
        Of a scan: for how many of the highest scores the heatmap's faithfulness is checked, which takes about
        ten seconds each on two processor cores.
    progress
        Of a scan: called as ``progress(done, total)`` with the numbers of files analysed again.
    cancel
        Of a scan: a callable or an object with ``is_set()``; when true, the page is written with the files
        analysed by then.

    Returns
    -------
    pathlib.Path
        ``out``.

    Raises
    ------
    InputError
        There is no report, or the classifier is not the model of the scan.
    OutputError
        The file cannot be written, or is the journal of the scan or a video that a report is on.
    """
    # What a person was given and what was looked at need not be the same, and a report must not hide it.
    left = [(displayable(name, 200), displayable(reason, 300)) for name, reason in not_analysed]
    values: dict[str, Any] = {"counts": {}, "unjudged": [], "unjudged_left": 0, "scan": None, "verdicts": {}}
    values["not_analysed"] = left
    if isinstance(reports, ScanResult):
        check_not_input(out, reports.journal, "the journal")
        classifier = classifier or default_classifier()
        entries = _scan_entries(
            reports, classifier, detector, top, check_top, progress, as_cancel_check(cancel)
        )
        values |= _scan_values(reports)
        # The page does not name folders of the machine that made it.
        root = common_parent([*(entry.name for entry in entries), *(row.path for row in values["unjudged"])])
        entries = [replace(entry, name=entry.name.removeprefix(root)) for entry in entries]
        values["unjudged"] = [replace(row, path=row.path.removeprefix(root)) for row in values["unjudged"]]
        cards = [classifier.card]
        settings = in_plain_words([reports.settings])
    else:
        listed: list[Report] = [reports] if isinstance(reports, (ImageReport, VideoReport)) else list(reports)
        if not listed:
            raise InputError("there is no report", next_step="Analyse an image or video first.")
        for report in listed:
            if isinstance(report, VideoReport):
                check_not_input(out, report.origin, "the video")
        found = list(checks)
        entries = [Entry(report.name, report, checks=_checks_of(report, found)) for report in listed]
        cards = [report.card for report in listed]
        settings = in_plain_words([report.settings for report in listed])
    values |= {
        "title": title,
        "date": f"{_utc(date):%Y-%m-%d %H:%M} UTC",
        "models": [describe_model(card) for card in _distinct(cards)],
        "entries": [(summarize(entry), describe(entry)) for entry in entries],
        "flagged": "fake" in values["verdicts"]
        or any(entry.report is not None and entry.report.verdict.label == "fake" for entry in entries),
        "settings": settings,
        "versions": package_versions(),
        "base_rates": base_rate_table(cards),
        "kinds": KINDS,
        "detected": DETECTED,
    }
    out = Path(out)
    page = _render_page(values).encode("utf-8")
    with staging_folder(out.parent) as staging:
        made = staging / "page.html"
        made.write_bytes(page)
        made.replace(out)
    return out


def _render_page(values: Mapping[str, Any]) -> str:
    style = stylesheet("parts.css", "report.css")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    return render("report.html.j2", style=Markup(style), style_hash=Markup(digest), **values)


def _utc(date: datetime | None) -> datetime:
    if date is None:
        return datetime.now(UTC)
    return date.astimezone(UTC) if date.tzinfo else date


def _checks_of(report: Report, checks: Sequence[Faithfulness]) -> dict[int, Faithfulness]:
    """The checks of a report's heatmaps, by the heatmap's index."""
    return {
        i: check
        for i, explanation in enumerate(report.explanations)
        for check in checks
        if check.explanation is explanation
    }


def _distinct(cards: Sequence[Card]) -> list[Card]:
    return list({(card.name, card.version, card.sha256): card for card in cards}.values())


# ------------------------------------------------------------------ scans


def _scan_entries(
    result: ScanResult,
    classifier: Classifier,
    detector: Detector | None,
    top: int,
    check_top: int,
    progress: Progress | None,
    cancelled: Callable[[], bool],
) -> list[Entry]:
    """Analyse the files with the highest scores and the most doubtful ones again."""
    used, given = result.scan.model_sha256, classifier.sha256
    if None not in (used, given) and used != given:
        raise InputError(
            "the scan was made with another model",
            subject=classifier.name,
            next_step="Give the model of the scan as classifier.",
        )
    with_score = Filter(statuses=("done", "partial"), min_score=0.0)
    chosen: dict[str, tuple[FileResult, str]] = {}
    for why in ("strongest", "doubtful"):
        for row in islice(_by_content(result, with_score, why, chosen), top):
            chosen[row.sha256 or row.path] = row, why
    entries = []
    for i, (row, why) in enumerate(chosen.values()):
        if cancelled():
            break
        if progress is not None:
            progress(i, len(chosen))
        entries.append(_scan_entry(result, row, why, classifier, detector, i < check_top, cancelled))
    if progress is not None:
        progress(len(chosen), len(chosen))
    return entries


def _by_content(
    result: ScanResult, where: Filter, order: str, known: Mapping[str, object]
) -> Iterator[FileResult]:
    """Yield files in order, each content once and none that is known; a picture may have many copies."""
    seen = set(known)
    for offset in count(0, _PAGE):
        rows = result.rows(where, order=order, limit=_PAGE, offset=offset)
        for row in rows:
            if (row.sha256 or row.path) not in seen:
                seen.add(row.sha256 or row.path)
                yield row
        if len(rows) < _PAGE:
            return


def _scan_entry(
    result: ScanResult,
    row: FileResult,
    why: str,
    classifier: Classifier,
    detector: Detector | None,
    check: bool,
    cancelled: Callable[[], bool],
) -> Entry:
    settings = result.settings
    try:
        request = ReanalysisRequest(row, settings, detector or settings["detector"])
        report = reanalyze(request, classifier, cancelled)
    except (RedeepfakeError, ValueError) as error:
        # Without the subject, which names folders of this machine.
        cause = f"{error.cause}. {error.next_step}".strip() if isinstance(error, RedeepfakeError) else error
        return Entry(row.path, None, row, f"The file could not be analysed again: {cause}", why)
    note = ""
    if report.source is not None and row.sha256 not in (None, report.source.sha256):
        note = "The file has changed since the scan; the following describes the file as it is now."
    checks = {}
    if check and report.explanations:
        scores = [explanation.prediction.probability for explanation in report.explanations]
        strongest = max(range(len(scores)), key=scores.__getitem__)
        checks[strongest] = faithfulness(classifier, report.explanations[strongest])
    return Entry(row.path, report, row, note, why, checks)


def _scan_values(result: ScanResult) -> dict[str, Any]:
    rows = result.rows(Filter(statuses=_UNJUDGED), order="status", limit=_MAX_UNJUDGED)
    counts = result.counts
    total = sum(counts[status] for status in _UNJUDGED)
    summary = result.summary()
    with_score = summary[summary["status"].isin(["done", "partial"])]
    verdicts = with_score.groupby("verdict")["files"].sum()
    return {
        "scan": {"files": sum(counts.values()), "stopped": result.cancelled},
        "counts": {_STATUS_WORDS[status]: n for status, n in counts.items() if n},
        "verdicts": {label: int(verdicts[label]) for label in SIGNS if label in verdicts},
        "unjudged": [replace(row, status=_STATUS_WORDS[row.status]) for row in rows],
        "unjudged_left": max(total - _MAX_UNJUDGED, 0),
    }
