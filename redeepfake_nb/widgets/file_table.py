"""Rows of a scan in a grid that sorts, searches and is clicked."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import pandas as pd
from itables.widget import ITable

from ..errors import displayable
from ..scanning.records import FileResult

# Rows that a browser is given at once: a second's work for a slow one. The others are a page away.
MOST = 1000
_SHOWN = 10
# For every table anew: by itself itables leaves rows out of larger tables, and has two more buttons for pages
# than a notebook is wide.
_EACH = {
    "maxBytes": 0,
    "maxRows": 0,
    "maxColumns": 0,
    "layout": {
        "topStart": "pageLength",
        "topEnd": "search",
        "bottomStart": "info",
        "bottomEnd": {"paging": {"firstLast": False, "buttons": 5}},
    },
}


def frame_of(rows: Sequence[FileResult], root: str = "") -> pd.DataFrame:
    """What the grid shows of rows: short names where all files lie below ``root``."""
    return pd.DataFrame(
        {
            "file": [displayable(row.path.removeprefix(root), 200) for row in rows],
            "status": [row.status for row in rows],
            "verdict": [row.verdict or "" for row in rows],
            # As texts, which sort alike: a missing number is an empty cell.
            "P(fake)": ["" if row.score is None else f"{row.score:.3f}" for row in rows],
            "faces": ["" if row.faces is None else str(row.faces) for row in rows],
            "label": [row.label or "" for row in rows],
            "why": [displayable(row.cause or row.reasons or "", 200) for row in rows],
        }
    )


class FileGrid:
    """A table widget over some rows.

    Attributes
    ----------
    widget : itables.widget.ITable
    rows : list of FileResult
        What it shows.
    """

    def __init__(self, chosen: Callable[[FileResult], object]) -> None:
        self.rows: list[FileResult] = []
        self._root = ""
        self._quiet = False
        self._chosen = chosen
        self.widget = ITable(
            frame_of([]),
            select=True,
            selected_rows=[],
            showIndex=False,
            **_EACH,
            pageLength=_SHOWN,
            lengthMenu=[10, 25, 50, 100],
            order=[],
            classes="display compact nowrap",
            style="width:100%;table-layout:auto",
            scrollX=True,
            text_in_header_can_be_selected=False,
        )
        self.widget.observe(self._selected, "selected_rows")

    def show(self, rows: Sequence[FileResult], root: str = "", chosen: int | None = None) -> None:
        """Show rows in this order; ``chosen`` is the id of the one that is marked."""
        self.rows, self._root = list(rows), root
        marked = [i for i, row in enumerate(self.rows) if row.id == chosen]
        self._update(marked)

    def relabel(self, sha256: str, label: str | None) -> None:
        """Show another label for a content, in all rows that have it."""
        self.rows = [replace(row, label=label) if row.sha256 == sha256 else row for row in self.rows]
        self._update(self.widget.selected_rows)

    def mark(self, row_id: int | None) -> None:
        """Mark a row, without telling anybody."""
        self._quiet = True
        try:
            self.widget.selected_rows = [i for i, row in enumerate(self.rows) if row.id == row_id]
        finally:
            self._quiet = False

    def _update(self, marked: Sequence[int]) -> None:
        self._quiet = True
        try:
            self.widget.update(frame_of(self.rows, self._root), selected_rows=list(marked), **_EACH)
        finally:
            self._quiet = False

    def _selected(self, change: dict) -> None:
        places = [i for i in change["new"] if i not in change["old"]] or change["new"]
        if not self._quiet and places and places[-1] < len(self.rows):
            self._chosen(self.rows[places[-1]])
