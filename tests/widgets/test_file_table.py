"""``FileTable``: rows as harmless text, all of them in the browser, and clicks."""

from __future__ import annotations

import json

from redeepfake_nb.scanning.records import FileResult
from redeepfake_nb.widgets.file_table import FileTable, said_of_all, to_dataframe


def row(i: int, **changes: object) -> FileResult:
    values: dict = dict.fromkeys(FileResult.__dataclass_fields__)
    values |= {"id": i, "path": f"/a/{i}.png", "status": "done", "reasons": "", "sha256": f"{i}" * 64}
    return FileResult(**(values | changes))


def test_cells_of_a_row() -> None:
    cells = to_dataframe(
        [
            row(
                1,
                verdict="fake",
                score=0.83456,
                faces=2,
                reasons="a small face",
                label="real",
                declared="claimed",
            ),
            row(2, status="failed", cause="it is empty", path="/b/2.png"),
        ],
        "/a/",
    )
    assert cells.to_dict("list") == {
        "file": ["1.png", "/b/2.png"],
        "result": ["◆ points to manipulation", "failed"],
        "P(fake)": ["0.83", ""],
        "faces": ["2", ""],
        "declares": ["AI, claimed", ""],
        "label": ["real", ""],
        "why": ["A small face", "It is empty"],
    }


def test_what_holds_for_all_files_is_said_once() -> None:
    limits = "this model was not tested on swapped faces"
    rows = [
        row(1, reasons=f"P(fake) at or over 0.50 for 0 of 1 face, highest 0.14; {limits}"),
        row(2, reasons=f"P(fake) at or over 0.50 for 1 of 1 face, highest 0.54; score within 0.10; {limits}"),
        row(3, status="failed", cause="it is empty"),
    ]
    why = ["P(fake) at or over 0.50 for 0 of 1 face, highest 0.14", "Score within 0.10", "It is empty"]
    assert list(to_dataframe(rows)["why"]) == why
    assert said_of_all(rows) == limits
    assert said_of_all(rows[2:]) == ""


def test_files_that_were_read_in_part_say_so_and_reasons_are_whole() -> None:
    reasons = "; ".join(f"reason number {i}" for i in range(300))
    rows = [row(1, status="partial", verdict="real", reasons=reasons), row(2, status="no face")]
    cells = to_dataframe(rows)
    assert list(cells["result"]) == ["● no sign found (read in part)", "no face"]
    assert cells["why"][0] == reasons.capitalize()
    # Nothing declares anything, so that there is no column for it.
    assert "declares" not in cells


def test_hostile_names_are_text() -> None:
    table = FileTable()
    table.show([row(1, path='/a/<img src=x onerror="alert(1)">\u202egpj.exe')])
    cell = json.loads(table.widget._dt_args["data_json"])[0][0]
    assert "<" not in cell
    assert "\u202e" not in cell
    assert "onerror" in cell


def test_all_rows_reach_the_browser() -> None:
    table = FileTable()
    table.show([row(i) for i in range(1000)])
    assert len(json.loads(table.widget._dt_args["data_json"])) == 1000


def test_a_click_calls_back_and_a_mark_does_not() -> None:
    clicked: list[int] = []
    table = FileTable()
    table.on_click(lambda row: clicked.append(row.id))
    table.show([row(i) for i in (5, 6, 7)], chosen=6)
    assert table.widget.selected_rows == [1]
    table.mark(7)
    assert table.widget.selected_rows == [2]
    assert clicked == []
    table.widget.selected_rows = [0]
    table.widget.selected_rows = [0, 2]  # with Ctrl: the added row counts
    table.widget.selected_rows = []
    assert clicked == [5, 7]


def test_a_label_applies_to_all_copies_of_a_file() -> None:
    table = FileTable()
    table.show([row(1, sha256="a"), row(2, sha256="b"), row(3, sha256="a")], chosen=2)
    table.relabel("a", "fake")
    assert [r.label for r in table.rows] == ["fake", None, "fake"]
    assert table.widget.selected_rows == [1]
    table.relabel("a", None)
    assert [r.label for r in table.rows] == [None, None, None]
