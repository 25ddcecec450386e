"""The journal's rows as records, and which of them are wanted, in which order, as SQL."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

STATUSES = ("waiting", "done", "no face", "partial", "failed")
LABELS = ("real", "fake", "skip")
# Name -> SQL. "doubtful" begins with what lies nearest to the threshold, "strongest" with the highest score.
ORDERS = {
    "listed": "l.position",
    "path": "f.path",
    "status": "f.status",
    "verdict": "f.verdict",
    "score": "f.score",
    "strongest": "f.score DESC",
    "doubtful": "f.doubt",
    "faces": "f.faces",
    "size": "f.size_bytes",
    "seconds": "f.seconds",
    "time": "f.scored_at",
}
_SELECT = """
    f.id, f.path, f.raw, f.status, f.verdict, f.score, f.threshold, f.faces, f.reasons, f.kind, f.format,
    f.width, f.height, f.duration_s, f.size_bytes, f.error, f.cause, f.next_step, f.duplicate_of, b.label,
    f.sha256, f.seconds, f.scored_at
"""


@dataclass(frozen=True)
class FileResult:
    """One file of a scan.

    Parameters
    ----------
    id
        Of the row in the journal.
    path
        Absolute path, or address; characters that are no Unicode as escapes. ``raw`` has the very bytes then.
    status
        ``"waiting"``, ``"done"``, ``"no face"``, ``"partial"`` or ``"failed"``.
    verdict
        ``"fake"``, ``"real"`` or ``"inconclusive"``; ``None`` where it failed or waits.
    score
        Highest P(fake) among its faces or persons, 0..1; ``None`` without any.
    threshold
        The cut on P(fake) of the verdict.
    faces
        Faces of a picture, persons of a video.
    reasons
        The verdict's, joined by semicolons.
    duration_s
        Seconds, of a video.
    error, cause, next_step
        Class and words of the typed error.
    duplicate_of
        Path of the file with the same bytes that was scored in its place.
    label
        What a person said of it: ``"real"``, ``"fake"``, ``"skip"``, or ``None``.
    sha256
        Of the bytes that were scored.
    seconds, scored_at
        How long it took and when (UTC, ISO 8601). These two differ from run to run.
    """

    id: int
    path: str
    raw: bytes | None
    status: str
    verdict: str | None
    score: float | None
    threshold: float | None
    faces: int | None
    reasons: str
    kind: str | None
    format: str | None
    width: int | None
    height: int | None
    duration_s: float | None
    size_bytes: int | None
    error: str | None
    cause: str | None
    next_step: str | None
    duplicate_of: str | None
    label: str | None
    sha256: str | None
    seconds: float | None
    scored_at: str | None


# What tables that people get show of a row.
COLUMNS = tuple(field.name for field in fields(FileResult) if field.name not in ("id", "raw"))


@dataclass(frozen=True)
class Filter:
    """Which rows are wanted. What is ``None`` does not matter.

    Parameters
    ----------
    statuses, verdicts, kinds, labels, errors
        Allowed values, or one; among the labels ``None`` stands for files without one.
    text
        Part of the path; upper and lower case of ASCII letters are the same.
    lowest, highest
        Of the score, both included.
    """

    statuses: Collection[str] | None = None
    verdicts: Collection[str] | None = None
    kinds: Collection[str] | None = None
    labels: Collection[str | None] | None = None
    errors: Collection[str] | None = None
    text: str | None = None
    lowest: float | None = None
    highest: float | None = None

    def where(self) -> tuple[str, dict[str, Any]]:
        """A condition that begins with ``AND``, or nothing, and its parameters."""
        parts: list[str] = []
        values: dict[str, Any] = {}
        for column, wanted in (
            ("f.status", self.statuses),
            ("f.verdict", self.verdicts),
            ("f.kind", self.kinds),
            ("f.error", self.errors),
        ):
            if wanted is not None:
                parts.append(f"{column} IN ({_names(column[2:], wanted, values)})")
        if self.errors is not None:
            parts.append("f.status = 'failed'")  # has an index
        if self.labels is not None:
            labels = (self.labels,) if isinstance(self.labels, str) else self.labels
            chosen = _names("label", labels, values)
            either = [f"f.sha256 IN (SELECT sha256 FROM labels WHERE label IN ({chosen}))"]
            if None in labels:
                either += ["f.sha256 IS NULL", "f.sha256 NOT IN (SELECT sha256 FROM labels)"]
            parts.append(f"({' OR '.join(either)})")
        if self.text:
            parts.append("f.path LIKE :text ESCAPE '\\'")
            plain = self.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            values["text"] = f"%{plain}%"
        if self.lowest is not None:
            parts.append("f.score >= :lowest")
            values["lowest"] = self.lowest
        if self.highest is not None:
            parts.append("f.score <= :highest")
            values["highest"] = self.highest
        return "".join(f" AND {part}" for part in parts), values


def _names(column: str, wanted: Collection[str | None], values: dict[str, Any]) -> str:
    """Parameters for these values, separated by commas, which are added to ``values``."""
    wanted = (wanted,) if isinstance(wanted, str) else wanted
    names = {f"{column}{i}": value for i, value in enumerate(wanted) if value is not None}
    values.update(names)
    return ", ".join(f":{name}" for name in names)


def order_by(order: str, descending: bool) -> str:
    """The ORDER BY clause of a name in :data:`ORDERS`; what is not known comes last either way.

    Raises
    ------
    ValueError
        No such name.
    """
    if order not in ORDERS:
        raise ValueError(f"order is one of {', '.join(ORDERS)}, not {order!r}")
    column, _, backwards = ORDERS[order].partition(" ")
    direction = "DESC" if bool(backwards) != descending else "ASC"
    return f"ORDER BY {column} {direction} NULLS LAST, f.id {direction}"


# CROSS JOIN keeps the tables in this order, whatever the statistics say.
_FILES_FIRST = "files f CROSS JOIN listed l ON l.scan_id = :scan AND l.file_id = f.id"
_LIST_FIRST = "listed l CROSS JOIN files f ON f.id = l.file_id"


def select(what: str, condition: str) -> str:
    """A query over the files of one scan."""
    return f"SELECT {what} FROM {_FILES_FIRST} WHERE f.settings_id = :settings{condition}"


def select_page(condition: str, order: str, descending: bool) -> str:
    """A query for the fields of :class:`FileResult` with the parameters ``limit`` and ``offset``."""
    ordered = order_by(order, descending)
    if order == "listed" and not condition:
        chosen = f"SELECT f.id FROM {_LIST_FIRST} WHERE l.scan_id = :scan"
    else:
        chosen = select("f.id", condition)
    # What is passed over is told by indexes alone; whole rows are fetched only for the page.
    return f"""
        SELECT {_SELECT} FROM ({chosen} {ordered} LIMIT :limit OFFSET :offset) p
        JOIN files f ON f.id = p.id JOIN listed l ON l.scan_id = :scan AND l.file_id = f.id
        LEFT JOIN labels b ON b.sha256 = f.sha256 {ordered}
    """


def to_row(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Columns of the table ``files`` from an outcome's plain values."""
    score, cut = outcome["score"], outcome["threshold"]
    return {
        "sha256": outcome["sha256"],
        "status": outcome["status"],
        "kind": outcome["kind"],
        "format": outcome["format"],
        "size_bytes": outcome["size_bytes"],
        "width": outcome["width"],
        "height": outcome["height"],
        "duration_s": outcome["duration"],
        "faces": outcome["faces"],
        "score": score,
        "doubt": None if score is None else abs(score - cut),
        "threshold": cut,
        "verdict": outcome["verdict"],
        "reasons": "; ".join(outcome["reasons"]),
        "error": outcome["error"],
        "cause": outcome["cause"],
        "next_step": outcome["next_step"],
        "seconds": outcome["seconds"],
    }


def to_json(values: Mapping[str, Any]) -> str:
    """Compact JSON with sorted keys: equal values, equal text."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
