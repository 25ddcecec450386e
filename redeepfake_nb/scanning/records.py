"""Rows of a journal as records, and the SQL that filters, sorts and pages them."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from typing import Any

STATUSES = ("waiting", "done", "no face", "partial", "failed")
LABELS = ("real", "fake", "skip")
# What a file declares: made by AI, verified or merely claimed; changed after its credentials were signed.
DECLARED_WORDS = {"verified": "AI, verified", "claimed": "AI, claimed", "tampered": "TAMPERED"}
# Sort order -> SQL. "doubtful": nearest to the threshold first; "strongest": highest score first.
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
_RESULT_COLUMNS = """
    f.id, f.path, f.raw, f.status, f.verdict, f.score, f.threshold, f.faces, f.reasons, f.kind, f.format,
    f.width, f.height, f.duration_s, f.size_bytes, f.error, f.cause, f.next_step, f.duplicate_of, b.label,
    f.sha256, f.seconds, f.scored_at, f.declared
"""


@dataclass(frozen=True)
class FileResult:
    """The result for one file of a scan.

    Parameters
    ----------
    id
        Of the row in the journal.
    path
        Absolute path, or address. Bytes that are not valid UTF-8 are written as escapes; ``raw`` then has the
        original bytes.
    status
        ``"waiting"``, ``"done"``, ``"no face"``, ``"partial"`` or ``"failed"``.
    verdict
        ``"fake"``, ``"real"`` or ``"inconclusive"``; ``None`` where it failed or is waiting.
    score
        Highest P(fake) among its faces or persons, 0..1; ``None`` without any.
    threshold
        Decision threshold on P(fake) of the verdict.
    faces
        Number of faces in an image, of persons in a video.
    reasons
        Reasons of the verdict, joined by semicolons.
    duration_s
        Duration of a video in seconds.
    error, cause, next_step
        Class and texts of the typed error.
    duplicate_of
        Path of the file with the same bytes that was scored instead.
    label
        Label given by a reviewer: ``"real"``, ``"fake"``, ``"skip"``, or ``None``.
    sha256
        Of the bytes that were scored.
    seconds, scored_at
        Processing time, and when it was scored (UTC, ISO 8601). These two differ from run to run.
    declared
        ``"verified"`` or ``"claimed"`` where the file says that generative AI made it or a part of it,
        ``"tampered"`` where it was changed after its Content Credentials were signed, ``None`` elsewhere.
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
    declared: str | None = None


# Columns of exported tables.
COLUMNS = tuple(field.name for field in fields(FileResult) if field.name not in ("id", "raw"))


@dataclass(frozen=True)
class Filter:
    """Conditions that rows must meet, all of them. ``None``: no condition.

    Parameters
    ----------
    statuses, verdicts, kinds, labels, errors
        Allowed values, or a single one; among ``labels``, ``None`` stands for files without a label.
    text
        Part of the path; ASCII letters match in upper and lower case.
    min_score, max_score
        Range of the score, both ends included.
    declared
        Allowed values of :attr:`FileResult.declared`, or a single one.
    """

    statuses: Collection[str] | None = None
    verdicts: Collection[str] | None = None
    kinds: Collection[str] | None = None
    labels: Collection[str | None] | None = None
    errors: Collection[str] | None = None
    text: str | None = None
    min_score: float | None = None
    max_score: float | None = None
    declared: Collection[str] | None = None

    def to_sql(self) -> tuple[str, dict[str, Any]]:
        """Return an SQL condition that begins with ``AND``, or an empty string, and its parameters."""
        parts: list[str] = []
        values: dict[str, Any] = {}
        for column, wanted in (
            ("f.status", self.statuses),
            ("f.verdict", self.verdicts),
            ("f.kind", self.kinds),
            ("f.error", self.errors),
            ("f.declared", self.declared),
        ):
            if wanted is not None:
                parts.append(f"{column} IN ({_placeholders(column[2:], wanted, values)})")
        if self.errors is not None:
            parts.append("f.status = 'failed'")  # lets SQLite use an index
        if self.labels is not None:
            labels = (self.labels,) if isinstance(self.labels, str) else self.labels
            chosen = _placeholders("label", labels, values)
            either = [f"f.sha256 IN (SELECT sha256 FROM labels WHERE label IN ({chosen}))"]
            if None in labels:
                either += ["f.sha256 IS NULL", "f.sha256 NOT IN (SELECT sha256 FROM labels)"]
            parts.append(f"({' OR '.join(either)})")
        if self.text:
            parts.append("f.path LIKE :text ESCAPE '\\'")
            plain = self.text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
            values["text"] = f"%{plain}%"
        if self.min_score is not None:
            parts.append("f.score >= :min_score")
            values["min_score"] = self.min_score
        if self.max_score is not None:
            parts.append("f.score <= :max_score")
            values["max_score"] = self.max_score
        return "".join(f" AND {part}" for part in parts), values


def _placeholders(column: str, wanted: Collection[str | None], values: dict[str, Any]) -> str:
    """Add parameters for the wanted values to ``values``, and return their names separated by commas."""
    wanted = (wanted,) if isinstance(wanted, str) else wanted
    names = {f"{column}{i}": value for i, value in enumerate(wanted) if value is not None}
    values.update(names)
    return ", ".join(f":{name}" for name in names)


def order_by(order: str, descending: bool) -> str:
    """Return the ORDER BY clause of a name in :data:`ORDERS`; missing values always come last.

    Raises
    ------
    ValueError
        The name is unknown.
    """
    if order not in ORDERS:
        raise ValueError(f"order must be one of {', '.join(ORDERS)}, not {order!r}")
    column, _, reverse = ORDERS[order].partition(" ")
    direction = "DESC" if bool(reverse) != descending else "ASC"
    return f"ORDER BY {column} {direction} NULLS LAST, f.id {direction}"


# CROSS JOIN fixes the join order, whatever the query planner estimates.
_FILES_FIRST = "files f CROSS JOIN listed l ON l.scan_id = :scan AND l.file_id = f.id"
_LIST_FIRST = "listed l CROSS JOIN files f ON f.id = l.file_id"


def select(expressions: str, condition: str) -> str:
    """Return a query over the files of one scan."""
    return f"SELECT {expressions} FROM {_FILES_FIRST} WHERE f.settings_id = :settings{condition}"


def select_page(condition: str, order: str, descending: bool) -> str:
    """Return a query for the fields of :class:`FileResult`, with the parameters ``limit`` and ``offset``."""
    ordered = order_by(order, descending)
    if order == "listed" and not condition:
        chosen = f"SELECT f.id FROM {_LIST_FIRST} WHERE l.scan_id = :scan"
    else:
        chosen = select("f.id", condition)
    # Skipped rows are read from indexes alone; whole rows are fetched for the page only.
    return f"""
        SELECT {_RESULT_COLUMNS} FROM ({chosen} {ordered} LIMIT :limit OFFSET :offset) p
        JOIN files f ON f.id = p.id JOIN listed l ON l.scan_id = :scan AND l.file_id = f.id
        LEFT JOIN labels b ON b.sha256 = f.sha256 {ordered}
    """


def to_row(outcome: Mapping[str, Any]) -> dict[str, Any]:
    """Convert an outcome's plain values to the columns of the table ``files``."""
    score, threshold = outcome["score"], outcome["threshold"]
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
        "doubt": None if score is None else abs(score - threshold),
        "threshold": threshold,
        "verdict": outcome["verdict"],
        "reasons": "; ".join(outcome["reasons"]),
        "error": outcome["error"],
        "cause": outcome["cause"],
        "next_step": outcome["next_step"],
        "seconds": outcome["seconds"],
        "declared": outcome["declared"],
    }


def to_json(values: Mapping[str, Any]) -> str:
    """Convert to compact JSON with sorted keys, so that equal values give equal text."""
    return json.dumps(values, sort_keys=True, separators=(",", ":"))
