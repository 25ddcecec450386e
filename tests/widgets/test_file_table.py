"""The grid shows rows as texts, harmless ones, and tells which one is clicked."""

from __future__ import annotations

import json

from redeepfake_nb.scanning.records import FileResult
from redeepfake_nb.widgets.file_table import FileGrid, frame_of


def row(i: int, **changes: object) -> FileResult:
    values: dict = dict.fromkeys(FileResult.__dataclass_fields__)
    values |= {"id": i, "path": f"/a/{i}.png", "status": "done", "reasons": "", "sha256": f"{i}" * 64}
    return FileResult(**(values | changes))


def test_what_a_row_shows() -> None:
    frame = frame_of(
        [
            row(1, verdict="fake", score=0.83456, faces=2, reasons="a small face", label="real"),
            row(2, status="failed", cause="it is empty", path="/b/2.png"),
        ],
        "/a/",
    )
    assert frame.to_dict("list") == {
        "file": ["1.png", "/b/2.png"],
        "status": ["done", "failed"],
        "verdict": ["fake", ""],
        "P(fake)": ["0.835", ""],
        "faces": ["2", ""],
        "label": ["real", ""],
        "why": ["a small face", "it is empty"],
    }


def test_hostile_names_are_text() -> None:
    grid = FileGrid(lambda row: None)
    grid.show([row(1, path='/a/<img src=x onerror="alert(1)">\u202egpj.exe')])
    cell = json.loads(grid.widget._dt_args["data_json"])[0][0]
    assert "<" not in cell
    assert "\u202e" not in cell
    assert "onerror" in cell


def test_all_rows_reach_the_browser() -> None:
    grid = FileGrid(lambda row: None)
    grid.show([row(i) for i in range(1000)])
    assert len(json.loads(grid.widget._dt_args["data_json"])) == 1000


def test_a_click_is_told_and_a_mark_is_not() -> None:
    told: list[int] = []
    grid = FileGrid(lambda row: told.append(row.id))
    grid.show([row(i) for i in (5, 6, 7)], chosen=6)
    assert grid.widget.selected_rows == [1]
    grid.mark(7)
    assert grid.widget.selected_rows == [2]
    assert told == []
    grid.widget.selected_rows = [0]
    grid.widget.selected_rows = [0, 2]  # with Ctrl: what is new counts
    grid.widget.selected_rows = []
    assert told == [5, 7]


def test_a_label_belongs_to_all_copies() -> None:
    grid = FileGrid(lambda row: None)
    grid.show([row(1, sha256="a"), row(2, sha256="b"), row(3, sha256="a")], chosen=2)
    grid.relabel("a", "fake")
    assert [r.label for r in grid.rows] == ["fake", None, "fake"]
    assert grid.widget.selected_rows == [1]
    grid.relabel("a", None)
    assert [r.label for r in grid.rows] == [None, None, None]
