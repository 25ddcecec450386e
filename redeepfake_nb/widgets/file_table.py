"""``FileTable``: a page of a scan's rows in a table that can be clicked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pandas as pd
from itables.widget import ITable

from ..analysis.verdict import VERDICT_WORDS
from ..errors import displayable
from ..scanning.records import DECLARED_WORDS, FileResult
from ..view.palette import SIGNS
from .wording import in_panel

# Needed for every update: by itself itables leaves rows out of larger tables. Its own paging, search and
# sorting would know the rows of one page alone; the panel's know the whole list.
_OPTIONS: dict[str, Any] = {
    "maxBytes": 0,
    "maxRows": 0,
    "maxColumns": 0,
    "paging": False,
    "ordering": False,
    "layout": dict.fromkeys(("topStart", "topEnd", "bottomStart", "bottomEnd")),
    "columnDefs": [{"targets": -1, "width": "45%"}],
}
# How reasons begin that are the same for all files: what the model does not see.
_OF_ALL_FILES = ("this model ", "nothing is known about which kinds")
# Far more than a file's reasons have; they are shown whole.
_MAX_REASONS = 20_000


def to_dataframe(rows: Sequence[FileResult], root: str = "") -> pd.DataFrame:
    """Return the table's cells as text; paths below ``root`` are shown relative to it.

    There is a column for what files declare only where one does.
    """
    columns = {
        "file": [displayable(row.path.removeprefix(root), 200) for row in rows],
        "result": [_result(row) for row in rows],
        # As text: a missing number is an empty cell.
        "P(fake)": ["" if row.score is None else f"{row.score:.2f}" for row in rows],
        "faces": ["" if row.faces is None else str(row.faces) for row in rows],
        "declares": [DECLARED_WORDS[row.declared] if row.declared else "" for row in rows],
        "label": [row.label or "" for row in rows],
        "why": [_reasons(row) for row in rows],
    }
    if not any(columns["declares"]):
        del columns["declares"]
    return pd.DataFrame(columns)


def _result(row: FileResult) -> str:
    """The verdict with its sign, or the status of a file without one."""
    if row.verdict is None or row.status in ("failed", "no face", "waiting"):
        return row.status
    part = " (read in part)" if row.status == "partial" else ""
    return f"{SIGNS[row.verdict]} {VERDICT_WORDS[row.verdict]}{part}"


def _reasons(row: FileResult) -> str:
    """What is said of this file and not in another column, or beside the table."""
    reasons = [r for r in row.reasons.split("; ") if not r.startswith(_OF_ALL_FILES)]
    if len(reasons) > 1 and reasons[0].startswith("P(fake) at or over"):
        del reasons[0]
    words = displayable(in_panel(row.cause or "; ".join(reasons)), _MAX_REASONS)
    return f"{words[:1].upper()}{words[1:]}"


def said_of_all(rows: Sequence[FileResult]) -> str:
    """What the reasons of rows say of the model and not of a file, once; empty where they do not."""
    found = (r for row in rows for r in row.reasons.split("; ") if r.startswith(_OF_ALL_FILES))
    return "; ".join(dict.fromkeys(displayable(reason, _MAX_REASONS) for reason in found))


class FileTable:
    """A table widget over the rows of a scan.

    Attributes
    ----------
    widget : itables.widget.ITable
    rows : list of FileResult
        What it shows.
    """

    def __init__(self) -> None:
        self.rows: list[FileResult] = []
        self._root = ""
        self._quiet = False
        self._clicked: Callable[[FileResult], object] = lambda row: None
        self.widget = ITable(
            to_dataframe([]),
            select=True,
            selected_rows=[],
            showIndex=False,
            **_OPTIONS,
            classes="display compact",
            style="width:100%;table-layout:auto",
            text_in_header_can_be_selected=False,
        )
        self.widget.observe(self._selected, "selected_rows")

    def on_click(self, clicked: Callable[[FileResult], object]) -> None:
        """Set the function that is called with a clicked row."""
        self._clicked = clicked

    def show(self, rows: Sequence[FileResult], root: str = "", chosen: int | None = None) -> None:
        """Show rows in this order; ``chosen`` is the id of the row that is marked."""
        self.rows, self._root = list(rows), root
        self._update([i for i, row in enumerate(self.rows) if row.id == chosen])

    def relabel(self, sha256: str, label: str | None) -> None:
        """Show another label in all rows whose file has this content."""
        self.rows = [replace(row, label=label) if row.sha256 == sha256 else row for row in self.rows]
        self._update(self.widget.selected_rows)

    def mark(self, row_id: int | None) -> None:
        """Mark the row with this id; does not count as a click."""
        self._quiet = True
        try:
            self.widget.selected_rows = [i for i, row in enumerate(self.rows) if row.id == row_id]
        finally:
            self._quiet = False

    def _update(self, marked: Sequence[int]) -> None:
        self._quiet = True
        try:
            self.widget.update(to_dataframe(self.rows, self._root), selected_rows=list(marked), **_OPTIONS)
        finally:
            self._quiet = False

    def _selected(self, change: dict) -> None:
        indices = [i for i in change["new"] if i not in change["old"]] or change["new"]
        if not self._quiet and indices and indices[-1] < len(self.rows):
            self._clicked(self.rows[indices[-1]])
