"""The journal of scans: the files to score, their outcomes, and the labels that reviewers gave them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, Self

from .database import JournalDatabase
from .records import LABELS, FileResult, Filter, select, select_page, to_json, to_row

# Columns that duplicates of a file share.
_OUTCOME_COLUMNS = [
    "sha256",
    "status",
    "kind",
    "format",
    "size_bytes",
    "width",
    "height",
    "duration_s",
    "faces",
    "score",
    "doubt",
    "threshold",
    "verdict",
    "reasons",
    "error",
    "cause",
    "next_step",
    "declared",
]


@dataclass(frozen=True)
class FileEntry:
    """A file of a scan, with the status and fingerprint that the journal has of it."""

    id: int
    path: str
    status: str
    sha256: str | None
    stamp: str | None


@dataclass(frozen=True)
class ScanRecord:
    """One scan: a list of files scored by one model with one set of settings, in one run or several."""

    id: int
    settings_id: int
    settings: str
    model: str
    model_sha256: str | None
    state: str
    began_at: str
    ended_at: str | None


class Journal:
    """A journal of scans in a SQLite file. Close it, or use it as a context manager; any thread may use it.

    Parameters
    ----------
    path
        The SQLite file.
    create
        Create it if it does not exist.

    Raises
    ------
    JournalError
        The file does not exist, is something else, was made by a newer version, is damaged, or cannot be
        opened.
    """

    def __init__(self, path: str | os.PathLike, *, create: bool = False) -> None:
        self._database = JournalDatabase(path, create=create)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def path(self) -> Path:
        """The SQLite file."""
        return self._database.path

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def transaction(self) -> contextlib.AbstractContextManager[None]:
        """Write everything inside the ``with`` block, or nothing of it. Transactions can be nested."""
        return self._database.transaction()

    def scan_lock(self) -> contextlib.AbstractContextManager[None]:
        """Hold the journal for one scan at a time; reading and labelling remain possible.

        Raises
        ------
        JournalError
            Another scan is writing to the journal.
        """
        return self._database.scan_lock()

    # -- scans

    def start_scan(
        self,
        paths: Sequence[str],
        digest: str,
        settings: Mapping[str, Any],
        model: Mapping[str, Any],
        versions: Mapping[str, str],
    ) -> ScanRecord:
        """Add a scan with all its files, or return to the scan that has the same files and settings.

        Files that are new under these settings get a row with the status ``waiting``. ``digest`` identifies
        settings and model together.
        """
        names = [_storable(path) for path in paths]
        inputs = sha256("\0".join(name for name, _ in names).encode()).hexdigest()
        now = _now()
        run = self._database.execute
        with self.transaction():
            run(
                "INSERT INTO settings (digest, settings, model, model_sha256, made_at) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (digest, to_json(settings), to_json(model), model.get("sha256"), now),
            )
            (settings_id,) = run("SELECT id FROM settings WHERE digest = ?", (digest,)).fetchone()
            run(
                "INSERT INTO scans (settings_id, inputs, versions, began_at, state) "
                "VALUES (?, ?, ?, ?, 'begun') "
                "ON CONFLICT DO UPDATE SET state = 'begun', versions = excluded.versions, ended_at = NULL",
                (settings_id, inputs, to_json(versions), now),
            )
            (scan_id,) = run(
                "SELECT id FROM scans WHERE settings_id = ? AND inputs = ?", (settings_id, inputs)
            ).fetchone()
            # Only one scan runs at a time; what a killed process has left is not running.
            run("UPDATE scans SET state = 'stopped' WHERE state = 'begun' AND id <> ?", (scan_id,))
            self._database.execute_many(
                "INSERT INTO files (settings_id, path, raw) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                ((settings_id, name, raw) for name, raw in names),
            )
            self._database.execute_many(
                "INSERT INTO listed (scan_id, file_id, position) "
                "SELECT ?, id, ? FROM files WHERE settings_id = ? AND path = ? ON CONFLICT DO NOTHING",
                ((scan_id, position, settings_id, name) for position, (name, _) in enumerate(names)),
            )
        return self.scan(scan_id)

    def end_scan(self, scan: ScanRecord, state: Literal["finished", "stopped"]) -> None:
        """Record how a scan ended."""
        with self.transaction():
            self._database.execute(
                "UPDATE scans SET state = ?, ended_at = ? WHERE id = ?", (state, _now(), scan.id)
            )

    def scans(self) -> list[ScanRecord]:
        """Return all scans, the latest added last."""
        rows = self._database.fetch(
            "SELECT c.id, s.id, s.settings, s.model, s.model_sha256, c.state, c.began_at, c.ended_at "
            "FROM scans c JOIN settings s ON s.id = c.settings_id ORDER BY c.id"
        )
        return [ScanRecord(*row) for row in rows]

    def scan(self, number: int | None = None) -> ScanRecord:
        """Return one scan, by default the one added last.

        Raises
        ------
        JournalError
            There is no such scan.
        """
        found = [scan for scan in self.scans() if number in (None, scan.id)]
        if not found:
            raise self._database.error("there is no such scan in it", "Run scan() with this journal first.")
        return found[-1]

    # -- writing

    def entries(self, scan: ScanRecord) -> list[FileEntry]:
        """Return all files of a scan in the order listed."""
        rows = self._database.fetch(
            "SELECT f.id, f.path, f.raw, f.status, f.sha256, f.stamp FROM listed l JOIN files f "
            "ON f.id = l.file_id WHERE l.scan_id = ? ORDER BY l.position",
            (scan.id,),
        )
        return [
            FileEntry(i, path if raw is None else os.fsdecode(raw), *rest) for i, path, raw, *rest in rows
        ]

    def reset_failed(self, scan: ScanRecord) -> int:
        """Set the failed files of a scan back to ``waiting``, and return their number."""
        with self.transaction():
            return self._database.execute(
                "UPDATE files SET status = 'waiting' WHERE status = 'failed' AND "
                "id IN (SELECT file_id FROM listed WHERE scan_id = ?)",
                (scan.id,),
            ).rowcount

    def update_stamps(self, stamps: Iterable[tuple[int, str | None]]) -> None:
        """Store the new stamps of rows (ID, stamp) whose bytes are unchanged."""
        with self.transaction():
            self._database.execute_many(
                "UPDATE files SET stamp = ? WHERE id = ?", ((stamp, row) for row, stamp in stamps)
            )

    def record_outcome(
        self,
        scan: ScanRecord,
        outcome: Mapping[str, Any],
        rows: Sequence[tuple[int, str | None]],
    ) -> None:
        """Store the outcome of a file and its duplicates.

        Parameters
        ----------
        outcome
            From :meth:`redeepfake_nb.scanning.file_scoring.Outcome.to_dict`.
        rows
            ID and stamp of each row with these bytes: first the file that was scored, then its duplicates.
        """
        (first, _), *_ = rows
        values = {**to_row(outcome), "scored_at": _now()}
        changes = ", ".join(f"{column} = :{column}" for column in values)
        with self.transaction():
            (path,) = self._database.execute("SELECT path FROM files WHERE id = ?", (first,)).fetchone()
            for row, stamp in rows:
                extra = {"id": row, "stamp": stamp, "duplicate_of": None if row == first else path}
                extra |= {} if row == first else {"seconds": 0.0}
                self._database.execute(
                    f"UPDATE files SET {changes}, stamp = :stamp, duplicate_of = :duplicate_of "
                    "WHERE id = :id",
                    {**values, **extra},
                )
            if outcome["detail"] and outcome["sha256"]:
                self._database.execute(
                    "INSERT INTO details (settings_id, sha256, detail) VALUES (?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET detail = excluded.detail",
                    (scan.settings_id, outcome["sha256"], to_json(outcome["detail"])),
                )

    def copy_outcome(
        self, scan: ScanRecord, row: int, digest: str, stamp: str | None, *, failed: bool = True
    ) -> bool:
        """Copy the outcome of another row with the same bytes and settings, and return whether there is one.

        ``failed`` says whether the outcome of a failed file may be copied.
        """
        with self.transaction():
            known = self._database.execute(
                "SELECT id, path FROM files WHERE settings_id = ? AND sha256 = ? AND status != 'waiting' "
                "AND id != ? AND (? OR status != 'failed') ORDER BY duplicate_of IS NOT NULL, id LIMIT 1",
                (scan.settings_id, digest, row, failed),
            ).fetchone()
            if known is None:
                return False
            columns = ", ".join(_OUTCOME_COLUMNS)
            self._database.execute(
                f"UPDATE files SET ({columns}) = (SELECT {columns} FROM files WHERE id = :known), "
                "duplicate_of = :path, stamp = :stamp, seconds = 0, scored_at = :now WHERE id = :row",
                {"known": known[0], "path": known[1], "stamp": stamp, "row": row, "now": _now()},
            )
            return True

    # -- reading

    def page(
        self,
        scan: ScanRecord,
        where: Filter | None = None,
        *,
        order: str = "listed",
        descending: bool = False,
        limit: int | None = 100,
        offset: int = 0,
    ) -> list[FileResult]:
        """Return one page of the rows of a scan.

        Parameters
        ----------
        where
            Conditions on the rows; default: all rows.
        order, descending
            A name in :data:`redeepfake_nb.scanning.records.ORDERS`, and whether to reverse it.
        limit, offset
            Maximum number of rows (``None``: all), and number of rows to skip.
        """
        condition, values = (where or Filter()).to_sql()
        query = select_page(condition, order, descending)
        values |= {"scan": scan.id, "settings": scan.settings_id, "offset": offset}
        values["limit"] = -1 if limit is None else limit
        return [FileResult(*row) for row in self._database.fetch(query, values)]

    def count(self, scan: ScanRecord, where: Filter | None = None) -> int:
        """Return the number of rows of a scan that meet the conditions."""
        condition, values = (where or Filter()).to_sql()
        values |= {"scan": scan.id, "settings": scan.settings_id}
        return self._database.fetch(select("COUNT(*)", condition), values)[0][0]

    def count_outcomes(self, scan: ScanRecord) -> list[tuple[str, str | None, str | None, bool, int]]:
        """Count the files of a scan by (status, verdict, error, whether it is a duplicate)."""
        columns = "f.status, f.verdict, f.error, f.duplicate_of IS NOT NULL"
        query = f"{select(f'{columns}, COUNT(*)', '')} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        rows = self._database.fetch(query, {"scan": scan.id, "settings": scan.settings_id})
        return [(status, verdict, error, bool(copy), n) for status, verdict, error, copy, n in rows]

    def detail(self, scan: ScanRecord, digest: str) -> str | None:
        """Return the report on a file with this SHA-256 as JSON text, if it was scored."""
        rows = self._database.fetch(
            "SELECT detail FROM details WHERE settings_id = ? AND sha256 = ?", (scan.settings_id, digest)
        )
        return rows[0][0] if rows else None

    # -- labels

    def set_label(self, digest: str, label: str | None, path: str = "") -> None:
        """Store a reviewer's label for the file with this SHA-256; ``None`` removes it.

        Raises
        ------
        ValueError
            The label is not ``"real"``, ``"fake"``, ``"skip"`` or ``None``.
        """
        self.set_labels([(digest, label, path)])

    def set_labels(self, labels: Iterable[tuple[str, str | None, str]]) -> None:
        """Store several labels (SHA-256, label, path), all or none; see :meth:`set_label`."""
        labels = list(labels)
        wrong = [label for _, label, _ in labels if label is not None and label not in LABELS]
        if wrong:
            raise ValueError(f"a label must be one of {', '.join(LABELS)} or None, not {wrong[0]!r}")
        now = _now()
        with self.transaction():
            for digest, label, path in labels:
                if label is None:
                    self._database.execute("DELETE FROM labels WHERE sha256 = ?", (digest,))
                else:
                    self._database.execute(
                        "INSERT INTO labels VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                        "label = excluded.label, path = excluded.path, labelled_at = excluded.labelled_at",
                        (digest, label, _storable(path)[0], now),
                    )

    def labels(self) -> dict[str, tuple[str, str, str]]:
        """Return a mapping from SHA-256 to label, path at the time of labelling, and time (UTC, ISO 8601)."""
        rows = self._database.fetch(
            "SELECT sha256, label, path, labelled_at FROM labels ORDER BY labelled_at, sha256"
        )
        return {digest: (label, path, when) for digest, label, path, when in rows}


def _storable(path: str) -> tuple[str, bytes | None]:
    """Return the path as valid Unicode, and its original bytes where that text does not determine them."""
    try:
        path.encode()
        return path, None
    except UnicodeEncodeError:
        raw = os.fsencode(path)
        return f"{path.encode(errors='backslashreplace').decode()} [{sha256(raw).hexdigest()[:8]}]", raw


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
