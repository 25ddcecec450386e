"""The SQLite file of a journal: opening and checking it, transactions, and the lock that scans hold."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..errors import JournalError

VERSION = 2
# The SQLite application ID that marks a file as a journal of this package: "RDJ1".
_APPLICATION_ID = 0x52444A31
# Seconds to wait for another connection's transaction.
_BUSY_TIMEOUT = 30.0
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
    next_step TEXT, duplicate_of TEXT, seconds REAL, scored_at TEXT, declared TEXT,
    UNIQUE (settings_id, path)
);
CREATE INDEX files_by_bytes ON files (settings_id, sha256);
CREATE INDEX files_by_score ON files (settings_id, score);
CREATE INDEX files_by_doubt ON files (settings_id, doubt);
CREATE INDEX files_by_status ON files (settings_id, status, verdict, error, (duplicate_of IS NOT NULL));
CREATE INDEX files_by_verdict ON files (settings_id, verdict, score);
CREATE INDEX files_by_declaration ON files (settings_id, declared) WHERE declared IS NOT NULL;
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
        f.seconds, f.scored_at, f.declared, d.detail
    FROM files f JOIN settings s ON s.id = f.settings_id
    LEFT JOIN labels b ON b.sha256 = f.sha256
    LEFT JOIN details d ON d.settings_id = f.settings_id AND d.sha256 = f.sha256;
"""

# Version 2 stores what files declare of themselves; that of files scored before is not known.
_FROM_VERSION_1 = (
    "ALTER TABLE files ADD COLUMN declared TEXT",
    "DROP VIEW results",
    *(
        part
        for part in _SCHEMA.split(";\n")
        if part.startswith(("CREATE VIEW results", "CREATE INDEX files_by_declaration"))
    ),
)

Parameters = Sequence[Any] | Mapping[str, Any]


class JournalDatabase:
    """An open connection to a journal's file, usable from any thread.

    Parameters and errors are those of :class:`redeepfake_nb.scanning.journal.Journal`.
    """

    def __init__(self, path: str | os.PathLike, *, create: bool = False) -> None:
        self.path = Path(os.path.abspath(path))
        self._lock = threading.RLock()
        self._check_file(create)
        with self._translated_errors():
            # Transactions are explicit; autocommit keeps Python from starting its own.
            self._connection = sqlite3.connect(
                self.path, timeout=_BUSY_TIMEOUT, isolation_level=None, check_same_thread=False
            )
        try:
            with self._translated_errors():
                self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        with self._lock:
            self._connection.close()

    def _check_file(self, create: bool) -> None:
        try:
            if create:
                self.path.parent.mkdir(parents=True, exist_ok=True)
            if not create and not self.path.exists():
                raise self.error("there is no such journal", "Check the path, or run scan() first.")
            if self.path.exists():
                if not self.path.is_file():
                    raise self.error("this is not a file", "Give the path of the journal's file.")
                with open(self.path, "rb") as file:
                    head = file.read(16)
                if head and head != b"SQLite format 3\0":
                    raise self._not_a_journal()
        except OSError as error:
            raise self.error(
                f"it cannot be opened ({error.strerror or error})",
                "Choose a folder that you have permission to write to.",
            ) from error

    def _not_a_journal(self) -> JournalError:
        return self.error(
            "this file is not a journal of redeepfake_nb", "Choose another file; this one was not changed."
        )

    def _prepare(self) -> None:
        (application,) = self._connection.execute("PRAGMA application_id").fetchone()
        (version,) = self._connection.execute("PRAGMA user_version").fetchone()
        (tables,) = self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
        if tables and application != _APPLICATION_ID:
            raise self._not_a_journal()
        if version > VERSION:
            raise self.error(
                f"it has version {version}, and this package knows versions up to {VERSION}",
                "Update redeepfake_nb, or choose another file.",
            )
        # The journal mode is stored in the file, so another program's choice would persist.
        self._connection.execute("PRAGMA journal_mode = DELETE")
        self._connection.execute("PRAGMA synchronous = FULL")
        if not tables:
            with self.transaction():
                (tables,) = self._connection.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()
                if not tables:  # no other process was faster
                    for statement in _SCHEMA.split(";\n"):
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                    self._connection.execute(f"PRAGMA user_version = {VERSION}")
        elif version < VERSION:
            with self.transaction():
                (version,) = self._connection.execute("PRAGMA user_version").fetchone()
                if version < VERSION:
                    for statement in _FROM_VERSION_1:
                        self._connection.execute(statement)
                    self._connection.execute(f"PRAGMA user_version = {VERSION}")

    def error(self, cause: str, next_step: str) -> JournalError:
        """Make an error that names this file."""
        return JournalError(cause, subject=self.path, next_step=next_step)

    @contextlib.contextmanager
    def _translated_errors(self) -> Iterator[None]:
        """Turn SQLite's errors into :class:`JournalError`; one thread at a time."""
        with self._lock:
            try:
                yield
            except sqlite3.OperationalError as error:
                text = str(error)
                if "locked" in text or "busy" in text:
                    step = "Wait until the other program has finished with it, and try again."
                elif "full" in text:
                    step = "Free some disk space; everything written before is kept."
                else:
                    step = "Check the folder's permissions, and that the disk is available."
                raise self.error(f"it cannot be used ({text})", step) from error
            except sqlite3.ProgrammingError as error:
                if "closed" not in str(error):
                    raise
                raise self.error("it is closed", "Open it again: Journal(path).") from error
            except sqlite3.DatabaseError as error:
                raise self.error(
                    f"it is damaged ({error})", "Restore it from a copy, or start a new one."
                ) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit everything written inside, or nothing of it. A nested transaction joins the outer one."""
        with self._translated_errors():
            if self._connection.in_transaction:
                yield
                return
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    def execute(self, statement: str, parameters: Parameters = ()) -> sqlite3.Cursor:
        """Run one statement."""
        with self._translated_errors():
            return self._connection.execute(statement, parameters)

    def execute_many(self, statement: str, parameters: Iterable[Parameters]) -> None:
        """Run one statement for each set of parameters."""
        with self._translated_errors():
            self._connection.executemany(statement, parameters)

    def fetch(self, query: str, parameters: Parameters = ()) -> list[tuple]:
        """Return all rows of a query."""
        with self._translated_errors():
            return self._connection.execute(query, parameters).fetchall()

    @contextlib.contextmanager
    def scan_lock(self) -> Iterator[None]:
        """Hold the lock that allows one scan at a time; reading and labelling do not need it.

        The operating system releases it when the process ends, however it ends.

        Raises
        ------
        JournalError
            Another scan holds the lock, or the lock file cannot be written.
        """
        path = self.path.with_name(f".{self.path.name}.lock")
        lock = FileLock(path, timeout=0, thread_local=False)
        try:
            lock.acquire()
        except Timeout:
            raise self.error(
                "another scan is writing to it",
                "Wait until it has finished, stop it, or choose another journal.",
            ) from None
        except OSError as error:
            raise self.error(
                f"its lock file cannot be written ({error.strerror or error})",
                "Choose a folder that you have permission to write to.",
            ) from error
        try:
            yield
        finally:
            # Removed while still locked, so that no other process locks a file that is about to go.
            with contextlib.suppress(OSError):
                path.unlink()
            lock.release()
