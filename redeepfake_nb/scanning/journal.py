"""The journal of scans: what was to be done, what came of it, and what people say of it."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, Self

from ..errors import JournalError
from .records import LABELS, FileResult, Filter, select, select_page, to_json, to_row

VERSION = 1
_APPLICATION = 0x52444A31  # "RDJ1" in the file's header says whose file it is
_WAIT = 30.0  # seconds for another one's transaction
_SCHEMA = """
CREATE TABLE settings (
    id INTEGER PRIMARY KEY, digest TEXT NOT NULL UNIQUE, settings TEXT NOT NULL, model TEXT NOT NULL,
    model_sha256 TEXT, made_at TEXT NOT NULL
);
CREATE TABLE scans (
    id INTEGER PRIMARY KEY, settings_id INTEGER NOT NULL REFERENCES settings, inputs TEXT NOT NULL,
    versions TEXT NOT NULL, began_at TEXT NOT NULL, ended_at TEXT, state TEXT NOT NULL,
    UNIQUE (settings_id, inputs)
);
CREATE TABLE files (
    id INTEGER PRIMARY KEY, settings_id INTEGER NOT NULL REFERENCES settings, path TEXT NOT NULL, raw BLOB,
    status TEXT NOT NULL DEFAULT 'waiting', sha256 TEXT, stamp TEXT, kind TEXT, format TEXT,
    size_bytes INTEGER, width INTEGER, height INTEGER, duration_s REAL, faces INTEGER, score REAL,
    doubt REAL, threshold REAL, verdict TEXT, reasons TEXT NOT NULL DEFAULT '', error TEXT, cause TEXT,
    next_step TEXT, duplicate_of TEXT, seconds REAL, scored_at TEXT,
    UNIQUE (settings_id, path)
);
CREATE INDEX files_by_bytes ON files (settings_id, sha256);
CREATE INDEX files_by_score ON files (settings_id, score);
CREATE INDEX files_by_doubt ON files (settings_id, doubt);
CREATE INDEX files_by_status ON files (settings_id, status, verdict, error, (duplicate_of IS NOT NULL));
CREATE INDEX files_by_verdict ON files (settings_id, verdict, score);
CREATE TABLE listed (
    scan_id INTEGER NOT NULL REFERENCES scans, file_id INTEGER NOT NULL REFERENCES files,
    position INTEGER NOT NULL, PRIMARY KEY (scan_id, file_id)
) WITHOUT ROWID;
CREATE INDEX listed_in_order ON listed (scan_id, position, file_id);
CREATE TABLE details (
    settings_id INTEGER NOT NULL REFERENCES settings, sha256 TEXT NOT NULL, detail TEXT NOT NULL,
    PRIMARY KEY (settings_id, sha256)
) WITHOUT ROWID;
CREATE TABLE labels (
    sha256 TEXT PRIMARY KEY, label TEXT NOT NULL CHECK (label IN ('real', 'fake', 'skip')),
    path TEXT NOT NULL, labelled_at TEXT NOT NULL
) WITHOUT ROWID;
CREATE VIEW results AS
    SELECT f.path, f.sha256, s.model_sha256, s.digest AS settings_sha256, s.settings, f.status, f.verdict,
        f.score, f.threshold, f.faces, f.reasons, f.error, f.cause, f.next_step, f.duplicate_of, b.label,
        f.seconds, f.scored_at, d.detail
    FROM files f JOIN settings s ON s.id = f.settings_id
    LEFT JOIN labels b ON b.sha256 = f.sha256
    LEFT JOIN details d ON d.settings_id = f.settings_id AND d.sha256 = f.sha256;
"""


class JournalFile:
    """A journal, open. To be used as a context manager, or closed; any thread may use it.

    Parameters
    ----------
    path
        The SQLite file.
    create
        Make it if it is not there.

    Raises
    ------
    JournalError
        It is not there, is something else, was made by a newer version, is damaged, or cannot be opened.
    """

    def __init__(self, path: str | os.PathLike, *, create: bool = False) -> None:
        self.path = Path(os.path.abspath(path))
        self._lock = threading.RLock()
        self._check_file(create)
        with self._speaking():
            # Transactions are begun by hand; autocommit keeps Python from beginning its own.
            self._base = sqlite3.connect(
                self.path, timeout=_WAIT, isolation_level=None, check_same_thread=False
            )
        try:
            with self._speaking():
                self._prepare()
        except BaseException:
            self._base.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the file."""
        with self._lock:
            self._base.close()

    def _check_file(self, create: bool) -> None:
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            if not create and not self.path.exists():
                raise self._error("there is no such journal", "Check the path, or run scan() first.")
            if self.path.exists():
                if not self.path.is_file():
                    raise self._error("this is no file", "Name the journal's file.")
                with open(self.path, "rb") as file:
                    head = file.read(16)
                if head and head != b"SQLite format 3\0":
                    raise self._foreign()
        except OSError as error:
            raise self._error(
                f"it cannot be opened ({error.strerror or error})", "Choose a folder that you may write to."
            ) from error

    def _foreign(self) -> JournalError:
        return self._error(
            "this file is no journal of redeepfake_nb", "Name another file; this one was not changed."
        )

    def _prepare(self) -> None:
        (application,) = self._base.execute("PRAGMA application_id").fetchone()
        (version,) = self._base.execute("PRAGMA user_version").fetchone()
        (tables,) = self._base.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION:
            raise self._foreign()
        if version > VERSION:
            raise self._error(
                f"it has version {version}, and this package knows versions up to {VERSION}",
                "Update redeepfake_nb, or name another file.",
            )
        # Another one's setting would outlast it, as the mode is kept in the file.
        self._base.execute("PRAGMA journal_mode = DELETE")
        self._base.execute("PRAGMA synchronous = FULL")
        if not tables:
            with self.transaction():
                (tables,) = self._base.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
                if not tables:  # nobody was quicker
                    for statement in _SCHEMA.split(";\n"):
                        self._base.execute(statement)
                    self._base.execute(f"PRAGMA application_id = {_APPLICATION}")
                    self._base.execute(f"PRAGMA user_version = {VERSION}")

    def _error(self, cause: str, next_step: str) -> JournalError:
        return JournalError(cause, subject=self.path, next_step=next_step)

    @contextlib.contextmanager
    def _speaking(self) -> Iterator[None]:
        """SQLite's errors become ours; one thread at a time."""
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as error:
                text = str(error)
                if "locked" in text or "busy" in text:
                    step = "Wait until the other program is done with it, and try again."
                elif "full" in text:
                    step = "Free some space; what was written before is kept."
                else:
                    step = "Check the folder's permissions, and that the disk is there."
                raise self._error(f"it cannot be used ({text})", step) from error
            except sqlite3.ProgrammingError as error:
                if "closed" not in str(error):
                    raise
                raise self._error("it is closed", "Open it again: Journal(path).") from error
            except sqlite3.DatabaseError as error:
                raise self._error(
                    f"it is damaged ({error})", "Restore it from a copy, or begin a new one."
                ) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is written inside comes to be, or nothing of it. One inside another is a part of it."""
        with self._speaking():
            if self._base.in_transaction:
                yield
                return
            self._base.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._base.execute("COMMIT")
            except BaseException:
                if self._base.in_transaction:
                    self._base.execute("ROLLBACK")
                raise

    def _fetch(self, query: str, values: Any = ()) -> list[tuple]:
        with self._speaking():
            return self._base.execute(query, values).fetchall()

    @contextlib.contextmanager
    def scanning(self) -> Iterator[None]:
        """Be the only one that scans with this journal; reading and labelling go on beside it.

        The system takes the lock back when its process ends, in whatever way.

        Raises
        ------
        JournalError
            Somebody else scans.
        """
        path = self.path.with_name(f".{self.path.name}.lock")
        try:
            descriptor = _locked(path)
        except OSError as error:
            raise self._error(
                f"its lock cannot be written ({error.strerror or error})",
                "Choose a folder that you may write to.",
            ) from error
        if descriptor is None:
            raise self._error(
                "another scan is writing to it",
                "Wait until that one is done, stop it, or name another journal.",
            )
        try:
            yield
        finally:
            # While it is still locked, so that nobody locks a file which is about to go.
            with contextlib.suppress(OSError):
                path.unlink()
            os.close(descriptor)


def _locked(path: Path) -> int | None:
    """A descriptor of the file, locked, or None where somebody else has it."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        try:
            if os.name == "nt":
                import msvcrt

                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                import fcntl

                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # The one before may have removed the file in between; then this lock holds nobody off.
            if os.path.exists(path) and os.path.samestat(os.fstat(descriptor), os.stat(path)):
                return descriptor
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return None
        except FileNotFoundError:
            pass
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


_COPIED = [
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
]


@dataclass(frozen=True)
class Entry:
    """A file of a scan as the journal knows it before it is looked at again."""

    id: int
    path: str
    status: str
    sha256: str | None
    stamp: str | None


@dataclass(frozen=True)
class ScanRecord:
    """One scan: the files of one list under one model and settings, however often it was stopped."""

    id: int
    settings_id: int
    settings: str
    model: str
    model_sha256: str | None
    state: str
    began_at: str
    ended_at: str | None


class Journal(JournalFile):
    """A journal of scans: files, outcomes and labels; see :class:`redeepfake_nb.scanning.journal.JournalFile`."""

    # -- scans

    def begin(
        self,
        paths: Sequence[str],
        digest: str,
        settings: Mapping[str, Any],
        model: Mapping[str, Any],
        versions: Mapping[str, str],
    ) -> ScanRecord:
        """Enter a scan with all its files; the one there is, if the same files were begun before.

        Files that are new to these settings get a row with the status ``waiting``. ``digest`` identifies
        settings and model together.
        """
        names = [_name(path) for path in paths]
        inputs = sha256("\0".join(name for name, _ in names).encode()).hexdigest()
        now = _now()
        with self.transaction():
            run = self._base.execute
            run(
                "INSERT INTO settings (digest, settings, model, model_sha256, made_at) "
                "VALUES (?, ?, ?, ?, ?) ON CONFLICT DO NOTHING",
                (digest, to_json(settings), to_json(model), model.get("sha256"), now),
            )
            (group,) = run("SELECT id FROM settings WHERE digest = ?", (digest,)).fetchone()
            run(
                "INSERT INTO scans (settings_id, inputs, versions, began_at, state) "
                "VALUES (?, ?, ?, ?, 'begun') "
                "ON CONFLICT DO UPDATE SET state = 'begun', versions = excluded.versions, ended_at = NULL",
                (group, inputs, to_json(versions), now),
            )
            (scan,) = run(
                "SELECT id FROM scans WHERE settings_id = ? AND inputs = ?", (group, inputs)
            ).fetchone()
            self._base.executemany(
                "INSERT INTO files (settings_id, path, raw) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                ((group, name, raw) for name, raw in names),
            )
            self._base.executemany(
                "INSERT INTO listed (scan_id, file_id, position) "
                "SELECT ?, id, ? FROM files WHERE settings_id = ? AND path = ? ON CONFLICT DO NOTHING",
                ((scan, position, group, name) for position, (name, _) in enumerate(names)),
            )
        return self.scan(scan)

    def end(self, scan: ScanRecord, state: str) -> None:
        """Note how a scan ended: ``"finished"`` or ``"stopped"``."""
        with self.transaction():
            self._base.execute(
                "UPDATE scans SET state = ?, ended_at = ? WHERE id = ?", (state, _now(), scan.id)
            )

    def scans(self) -> list[ScanRecord]:
        """All scans, the latest begun last."""
        rows = self._fetch(
            "SELECT c.id, s.id, s.settings, s.model, s.model_sha256, c.state, c.began_at, c.ended_at "
            "FROM scans c JOIN settings s ON s.id = c.settings_id ORDER BY c.id"
        )
        return [ScanRecord(*row) for row in rows]

    def scan(self, number: int | None = None) -> ScanRecord:
        """One scan, by default the one begun last.

        Raises
        ------
        JournalError
            There is none.
        """
        found = [scan for scan in self.scans() if number in (None, scan.id)]
        if not found:
            raise self._error("there is no such scan in it", "Run scan() with this journal first.")
        return found[-1]

    # -- writing

    def entries(self, scan: ScanRecord) -> list[Entry]:
        """All files of a scan in the order listed."""
        rows = self._fetch(
            "SELECT f.id, f.path, f.raw, f.status, f.sha256, f.stamp FROM listed l JOIN files f "
            "ON f.id = l.file_id WHERE l.scan_id = ? ORDER BY l.position",
            (scan.id,),
        )
        return [Entry(i, path if raw is None else os.fsdecode(raw), *rest) for i, path, raw, *rest in rows]

    def reset_failed(self, scan: ScanRecord) -> int:
        """Make the failed files of a scan wait again; how many there were."""
        with self.transaction():
            return self._base.execute(
                "UPDATE files SET status = 'waiting' WHERE status = 'failed' AND "
                "id IN (SELECT file_id FROM listed WHERE scan_id = ?)",
                (scan.id,),
            ).rowcount

    def stamp(self, stamps: Iterable[tuple[int, str | None]]) -> None:
        """Note the stamps of rows whose bytes are as before."""
        with self.transaction():
            self._base.executemany(
                "UPDATE files SET stamp = ? WHERE id = ?", ((stamp, row) for row, stamp in stamps)
            )

    def record(
        self,
        scan: ScanRecord,
        outcome: Mapping[str, Any],
        rows: Sequence[tuple[int, str | None]],
    ) -> None:
        """Enter what came of a file: :meth:`Outcome.to_dict`, and id and stamp of each row with its bytes.

        The first row is the file that was scored; the others are duplicates of it.
        """
        (first, _), *_ = rows
        values = {**to_row(outcome), "scored_at": _now()}
        changes = ", ".join(f"{column} = :{column}" for column in values)
        with self.transaction():
            (path,) = self._base.execute("SELECT path FROM files WHERE id = ?", (first,)).fetchone()
            for row, stamp in rows:
                extra = {"id": row, "stamp": stamp, "duplicate_of": None if row == first else path}
                extra |= {} if row == first else {"seconds": 0.0}
                self._base.execute(
                    f"UPDATE files SET {changes}, stamp = :stamp, duplicate_of = :duplicate_of "
                    "WHERE id = :id",
                    {**values, **extra},
                )
            if outcome["detail"] and outcome["sha256"]:
                self._base.execute(
                    "INSERT INTO details (settings_id, sha256, detail) VALUES (?, ?, ?) "
                    "ON CONFLICT DO UPDATE SET detail = excluded.detail",
                    (scan.settings_id, outcome["sha256"], to_json(outcome["detail"])),
                )

    def copy_known(
        self, scan: ScanRecord, row: int, digest: str, stamp: str | None, *, failed: bool = True
    ) -> bool:
        """Give a row the outcome of another with the same bytes and settings; whether there is one.

        ``failed`` says whether a failure counts as an outcome here.
        """
        with self.transaction():
            known = self._base.execute(
                "SELECT id, path FROM files WHERE settings_id = ? AND sha256 = ? AND status != 'waiting' "
                "AND id != ? AND (? OR status != 'failed') ORDER BY duplicate_of IS NOT NULL, id LIMIT 1",
                (scan.settings_id, digest, row, failed),
            ).fetchone()
            if known is None:
                return False
            columns = ", ".join(_COPIED)
            self._base.execute(
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
        """Some rows of a scan.

        Parameters
        ----------
        where
            Which; default all.
        order, descending
            A name in :data:`redeepfake_nb.scanning.records.ORDERS`, and whether to turn it round.
        limit, offset
            How many at most (``None``: all), and how many to leave out before them.
        """
        condition, values = (where or Filter()).where()
        query = select_page(condition, order, descending)
        values |= {"scan": scan.id, "settings": scan.settings_id, "offset": offset}
        values["limit"] = -1 if limit is None else limit
        return [FileResult(*row) for row in self._fetch(query, values)]

    def count(self, scan: ScanRecord, where: Filter | None = None) -> int:
        """How many rows of a scan there are."""
        condition, values = (where or Filter()).where()
        values |= {"scan": scan.id, "settings": scan.settings_id}
        return self._fetch(select("COUNT(*)", condition), values)[0][0]

    def tally(self, scan: ScanRecord) -> list[tuple[str, str | None, str | None, bool, int]]:
        """Status, verdict, error, whether a duplicate, and how many such files there are."""
        columns = "f.status, f.verdict, f.error, f.duplicate_of IS NOT NULL"
        query = f"{select(f'{columns}, COUNT(*)', '')} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4"
        rows = self._fetch(query, {"scan": scan.id, "settings": scan.settings_id})
        return [(status, verdict, error, bool(copy), n) for status, verdict, error, copy, n in rows]

    def detail(self, scan: ScanRecord, digest: str) -> str | None:
        """The full report on a file with these bytes as JSON text, if it was scored."""
        rows = self._fetch(
            "SELECT detail FROM details WHERE settings_id = ? AND sha256 = ?", (scan.settings_id, digest)
        )
        return rows[0][0] if rows else None

    # -- labels

    def set_label(self, digest: str, label: str | None, path: str = "") -> None:
        """Keep what a person says of the file with these bytes; ``None`` takes it back.

        Raises
        ------
        ValueError
            The label is none of ``"real"``, ``"fake"`` and ``"skip"``.
        """
        self.set_labels([(digest, label, path)])

    def set_labels(self, labels: Iterable[tuple[str, str | None, str]]) -> None:
        """Several at once, all or none: SHA-256, label and path; see :meth:`set_label`."""
        labels = list(labels)
        wrong = [label for _, label, _ in labels if label is not None and label not in LABELS]
        if wrong:
            raise ValueError(f"a label is one of {', '.join(LABELS)} or None, not {wrong[0]!r}")
        now = _now()
        with self.transaction():
            for digest, label, path in labels:
                if label is None:
                    self._base.execute("DELETE FROM labels WHERE sha256 = ?", (digest,))
                else:
                    self._base.execute(
                        "INSERT INTO labels VALUES (?, ?, ?, ?) ON CONFLICT DO UPDATE SET "
                        "label = excluded.label, path = excluded.path, labelled_at = excluded.labelled_at",
                        (digest, label, _name(path)[0], now),
                    )

    def labels(self) -> dict[str, tuple[str, str, str]]:
        """SHA-256 -> label, path at that time, and when (UTC, ISO 8601)."""
        rows = self._fetch("SELECT sha256, label, path, labelled_at FROM labels ORDER BY labelled_at, sha256")
        return {digest: tuple(rest) for digest, *rest in rows}


def _name(path: str) -> tuple[str, bytes | None]:
    """The path as text for a row, and its bytes where that text is not all."""
    try:
        path.encode()
        return path, None
    except UnicodeEncodeError:
        raw = os.fsencode(path)
        return f"{path.encode(errors='backslashreplace').decode()} [{sha256(raw).hexdigest()[:8]}]", raw


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
