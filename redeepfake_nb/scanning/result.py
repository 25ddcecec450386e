"""What came of a scan: a table of files out of the journal, and how it is written."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import MissingExtra
from ..utils.writing import csv_text, writing_into
from .journal import Journal, ScanRecord
from .records import COLUMNS, STATUSES, FileResult, Filter

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class ScanResult:
    """The files of one scan as its journal has them now.

    Parameters
    ----------
    journal
        Path of the journal.
    scan
        Which of its scans.
    cancelled
        Whether the call that gave this result was stopped before the end.
    seconds
        How long that call took.
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
        """Status -> number of files; ``"waiting"`` are those not looked at yet."""
        with Journal(self.journal) as journal:
            tally = journal.tally(self.scan)
        return {status: sum(n for s, *_, n in tally if s == status) for status in STATUSES}

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that all files share."""
        return json.loads(self.scan.settings)

    @property
    def model(self) -> dict[str, Any]:
        """What identifies the model."""
        return json.loads(self.scan.model)

    def summary(self) -> pd.DataFrame:
        """One row per status, verdict and error: how many files, and how many of them are duplicates."""
        import pandas as pd

        with Journal(self.journal) as journal:
            tally = journal.tally(self.scan)
        order = {status: i for i, status in enumerate((*STATUSES[1:], STATUSES[0]))}
        groups: dict[tuple, list[int]] = {}
        for status, verdict, error, copy, n in sorted(tally, key=lambda row: order[row[0]]):
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
        """Some of the files; see :meth:`redeepfake_nb.scanning.journal.Journal.page`."""
        with Journal(self.journal) as journal:
            return journal.page(
                self.scan, where, order=order, descending=descending, limit=limit, offset=offset
            )

    def detail(self, row: FileResult) -> dict[str, Any] | None:
        """The report on a file as plain JSON: each face or person, with reasons; None where it failed."""
        if row.sha256 is None:
            return None
        with Journal(self.journal) as journal:
            text = journal.detail(self.scan, row.sha256)
        return None if text is None else json.loads(text)

    def to_frame(self, where: Filter | None = None, *, order: str = "listed") -> pd.DataFrame:
        """One row per file, with the fields of :class:`FileResult` and the model's SHA-256 and version."""
        import pandas as pd

        frame = pd.DataFrame(self._records(where, order), columns=self._columns)
        # A column without any value has no type of its own, and all tables are to have the same.
        texts = dict.fromkeys((column for column in frame if column not in _NUMBERS), "string")
        return frame.astype(texts | _NUMBERS)

    @property
    def _columns(self) -> list[str]:
        return [*COLUMNS, "model", "model_sha256"]

    def _records(self, where: Filter | None, order: str) -> list[dict[str, Any]]:
        model = self.model
        common = {
            "model": f"{model['name']} {model['version']}",
            "model_sha256": self.scan.model_sha256,
        }
        return [vars(row) | common for row in self.rows(where, order=order)]

    def to_csv(self, path: str | os.PathLike, where: Filter | None = None, *, order: str = "listed") -> Path:
        """Write the table as CSV, whole or not at all; text in it cannot become a spreadsheet's formula.

        Raises
        ------
        OutputError
            It cannot be written.
        """
        path = Path(path)
        text = csv_text(self._columns, self._records(where, order))
        with writing_into(path.parent) as workshop:
            made = workshop / path.name
            made.write_text(text, encoding="utf-8", newline="")
            made.replace(path)
        return path

    def to_parquet(
        self, path: str | os.PathLike, where: Filter | None = None, *, order: str = "listed"
    ) -> Path:
        """Write the table as a Parquet file, whole or not at all.

        Raises
        ------
        MissingExtra
            pyarrow is not installed.
        OutputError
            It cannot be written.
        """
        path = Path(path)
        try:
            import pyarrow  # noqa: F401
        except ImportError as error:
            raise MissingExtra(
                "Parquet files are written with pyarrow, which is not installed",
                subject=path,
                next_step='Run `pip install "redeepfake-nb[parquet]"`, or use to_csv().',
            ) from error
        frame = self.to_frame(where, order=order)
        with writing_into(path.parent) as workshop:
            made = workshop / path.name
            frame.to_parquet(made, engine="pyarrow", index=False)
            made.replace(path)
        return path


_NUMBERS = {
    **dict.fromkeys(("score", "threshold", "duration_s", "seconds"), "float64"),
    **dict.fromkeys(("faces", "width", "height", "size_bytes"), "Int64"),
}


def open_scan(journal: str | os.PathLike, number: int | None = None) -> ScanResult:
    """A scan that is in a journal already, by default the one that was added last.

    Raises
    ------
    JournalError
        The journal cannot be used, or has no such scan.
    """
    with Journal(journal) as opened:
        scan = opened.scan(number)
        return ScanResult(opened.path, scan, cancelled=scan.state == "stopped")
