"""The results of a scan as tables: read from the journal, filtered, and exported as CSV or Parquet."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from ..utils.writing import check_not_input, csv_text, staging_folder
from .journal import Journal, ScanRecord
from .records import COLUMNS, STATUSES, FileResult, Filter

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ScanResult:
    """The current results of one scan in a journal.

    Parameters
    ----------
    journal
        Path of the journal.
    scan
        The scan within the journal.
    cancelled
        Whether the call that returned this result was stopped before the end.
    seconds
        Duration of that call.
    """

    journal: Path
    scan: ScanRecord
    cancelled: bool = False
    seconds: float = 0.0

    def __repr__(self) -> str:
        counts = ", ".join(f"{n} {status}" for status, n in self.counts.items() if n) or "no files"
        return f"<ScanResult {self.journal.name!r}: {counts}>"

    @property
    def counts(self) -> dict[str, int]:
        """Number of files by status; ``"waiting"`` are those not processed yet."""
        with Journal(self.journal) as journal:
            count_outcomes = journal.count_outcomes(self.scan)
        return {status: sum(n for s, *_, n in count_outcomes if s == status) for status in STATUSES}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that all files share."""
        return json.loads(self.scan.settings)

    @property
    def model(self) -> dict[str, Any]:
        """The fields of the model's card that identify it."""
        return json.loads(self.scan.model)

    def summary(self) -> pd.DataFrame:
        """Return the numbers of files and of duplicates among them for each status, verdict and error."""
        import pandas as pd

        with Journal(self.journal) as journal:
            count_outcomes = journal.count_outcomes(self.scan)
        order = {status: i for i, status in enumerate((*STATUSES[1:], STATUSES[0]))}
        groups: dict[tuple, list[int]] = {}
        for status, verdict, error, copy, n in sorted(count_outcomes, key=lambda row: order[row[0]]):
            group = groups.setdefault((status, verdict, error), [0, 0])
            group[0] += n
            group[1] += n if copy else 0
        rows = [(*key, *numbers) for key, numbers in groups.items()]
        return pd.DataFrame(rows, columns=["status", "verdict", "error", "files", "duplicates"])

    def rows(
        self,
        where: Filter | None = None,
        *,
        order: str = "listed",
        descending: bool = False,
        limit: int | None = None,
        offset: int = 0,
    ) -> list[FileResult]:
        """Return the rows of some files; see :meth:`redeepfake_nb.scanning.journal.Journal.page`."""
        with Journal(self.journal) as journal:
            return journal.page(
                self.scan, where, order=order, descending=descending, limit=limit, offset=offset
            )

    def detail(self, row: FileResult) -> dict[str, Any] | None:
        """Return the report on a file (each face or person, reasons) as plain JSON; None where it failed."""
        if row.sha256 is None:
            return None
        with Journal(self.journal) as journal:
            text = journal.detail(self.scan, row.sha256)
        return None if text is None else json.loads(text)

    def to_frame(
        self,
        where: Filter | None = None,
        *,
        order: str = "listed",
        columns: Sequence[str] | None = None,
        limit: int | None = None,
    ) -> pd.DataFrame:
        """Return one row per file.

        Parameters
        ----------
        where, order, limit
            Which files, in which order, and at most how many; see
            :meth:`redeepfake_nb.scanning.journal.Journal.page`.
        columns
            Default: the fields of :class:`FileResult`, the model, and its SHA-256. There is also ``file``,
            the last part of the path.

        Raises
        ------
        ValueError
            An unknown order or column.
        """
        import pandas as pd

        known = (*self._columns, "file")
        chosen = self._columns if columns is None else list(columns)
        if unknown := [column for column in chosen if column not in known]:
            raise ValueError(f"unknown columns {', '.join(unknown)}; there are {', '.join(known)}")
        frame = pd.DataFrame(self._records(where, order, limit), columns=self._columns)
        # Explicit types, since pandas cannot infer one for a column without values.
        texts = dict.fromkeys((column for column in frame if column not in _NUMBERS), "string")
        frame = frame.astype(texts | _NUMBERS)
        frame["file"] = frame["path"].str.split("/").str[-1].astype("string")
        return frame[chosen]

    @property
    def _columns(self) -> list[str]:
        return [*COLUMNS, "model", "model_sha256"]

    def _records(self, where: Filter | None, order: str, limit: int | None = None) -> list[dict[str, Any]]:
        model = self.model
        common = {
            "model": f"{model['name']} {model['version']}",
            "model_sha256": self.scan.model_sha256,
        }
        return [vars(row) | common for row in self.rows(where, order=order, limit=limit)]

    def to_csv(self, path: str | os.PathLike, where: Filter | None = None, *, order: str = "listed") -> Path:
        """Write the table as CSV, atomically; text cells are escaped so that spreadsheets run no formula.

        Raises
        ------
        OutputError
            The file cannot be written, or is the journal.
        """
        check_not_input(path, self.journal, "the journal")
        path = Path(path)
        text = csv_text(self._columns, self._records(where, order))
        with staging_folder(path.parent) as staging:
            made = staging / path.name
            made.write_text(text, encoding="utf-8", newline="")
            made.replace(path)
        return path

    def to_parquet(
        self, path: str | os.PathLike, where: Filter | None = None, *, order: str = "listed"
    ) -> Path:
        """Write the table as a Parquet file, atomically.

        Raises
        ------
        MissingExtra
            pyarrow is not installed.
        OutputError
            The file cannot be written, or is the journal.
        """
        check_parquet(path)
        check_not_input(path, self.journal, "the journal")
        path = Path(path)
        frame = self.to_frame(where, order=order)
        with staging_folder(path.parent) as staging:
            made = staging / path.name
            frame.to_parquet(made, engine="pyarrow", index=False)
            made.replace(path)
        return path


_NUMBERS = {
    **dict.fromkeys(("score", "threshold", "duration_s", "seconds"), "float64"),
    **dict.fromkeys(("faces", "width", "height", "size_bytes"), "Int64"),
}


def check_parquet(path: str | os.PathLike) -> None:
    """Check that a Parquet file can be written to this path later.

    Raises
    ------
    MissingExtra
        pyarrow is not installed.
    """
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise MissingExtra(
            "Parquet files are written with pyarrow, which is not installed",
            subject=path,
            next_step='Run `pip install "redeepfake-nb[parquet]"`, or write a CSV table.',
        ) from error


def open_scan(journal: str | os.PathLike, number: int | None = None) -> ScanResult:
    """Open a scan of an existing journal, by default the one added last.

    Raises
    ------
    JournalError
        The journal cannot be used, or has no such scan.
    """
    with Journal(journal) as opened:
        scan = opened.scan(number)
        return ScanResult(opened.path, scan, cancelled=scan.state == "stopped")
