"""The file of a journal: opened, checked whose it is, written in transactions; and the lock of who scans.

SQLite's rollback journal is used rather than its write-ahead log: the log needs memory shared between all who
read and write, which folders on a network do not give, and keeps recent rows in files of their own, which a
person who copies ``results.sqlite`` would leave behind. Few and short transactions make the price small. On
a network folder SQLite is as safe as that folder's locks.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

from ..errors import JournalError

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
