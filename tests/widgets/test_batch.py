"""``BatchInspector``, driven through its traits as a browser does."""

from __future__ import annotations

import csv
import os
import shutil
import sqlite3
import threading
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.reports import make_report
from helpers.scan_helpers import folder, probability, square, write
from helpers.widget_trees import HOSTILE, all_widgets, html_of, put

from redeepfake_nb import (
    Classifier,
    InputError,
    JournalError,
    RedeepfakeError,
    UnsupportedMedia,
    load_model,
    view,
)
from redeepfake_nb.scanning.reanalysis import custom_detector_of
from redeepfake_nb.scanning.records import FileResult
from redeepfake_nb.widgets import batch_controls
from redeepfake_nb.widgets.batch import BatchInspector
from redeepfake_nb.widgets.batch_controls import PAGE_SIZES

SECONDS = 60  # longest wait for work that takes about one second


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace drawings by a description, for tests that do not examine pictures."""
    monkeypatch.setattr(view, "to_png", lambda plot, record, **options: plot.__name__.encode())


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """Six faces from dark to bright, one picture without a face, one that is empty."""
    made = folder(tmp_path / "files")
    write(made / "none.png", None)
    (made / "empty.png").touch()
    return made


@pytest.fixture
def inspector(classifier: Classifier, tmp_path: Path):
    made = BatchInspector(
        classifier, journal=tmp_path / "j.sqlite", detector=square, workers=0, folder=tmp_path / "out"
    )
    yield made
    made.clear()
    assert made.wait(SECONDS)


def shown(inspector: BatchInspector) -> list[str]:
    return [Path(row.path).name for row in inspector.controls.file_table.rows]


def row_of(inspector: BatchInspector, name: str) -> FileResult:
    return next(row for row in inspector.controls.file_table.rows if Path(row.path).name == name)


def click(inspector: BatchInspector, name: str) -> None:
    """Click a row, as the table's side in the browser does."""
    inspector.controls.file_table.widget.selected_rows = [shown(inspector).index(name)]


def press(inspector: BatchInspector, key: str) -> None:
    """Press a key, as the key pad's side in the browser does."""
    inspector.controls.key_pad._handle_custom_msg({"key": key}, [])


def labels(inspector: BatchInspector) -> dict[str, str | None]:
    return {Path(row.path).name: row.label for row in inspector.result.rows() if row.label is not None}


# ------------------------------------------------------------------ scanning


def test_a_scan_is_shown(inspector: BatchInspector, files: Path, quick: None) -> None:
    result = inspector.scan(files)
    assert inspector.result is result
    assert inspector.errors == []
    assert not inspector.running
    c = inspector.controls
    assert "Files: 6 done, 1 no face, 1 failed. Scored by" in c.summary.value
    assert "threshold 0.60" in c.summary.value
    assert "8 files" in c.status.value
    assert sorted(shown(inspector)) == [*(f"0{i}.png" for i in range(6)), "empty.png", "none.png"]
    assert c.pages.layout.display == "none"
    assert c.cancel.layout.display == "none"
    assert not c.start.disabled
    assert repr(inspector) == (
        "BatchInspector(<ScanResult 'j.sqlite': 6 done, 1 no face, 1 failed>, 0 errors)"
    )


def test_the_button_scans_the_files_in_the_box(inspector: BatchInspector, files: Path, quick: None) -> None:
    c = inspector.controls
    c.paths.value = f"  {files}/0[01].png \n\n{files}/none.png"
    c.start.click()
    assert inspector.wait(SECONDS)
    assert shown(inspector) == ["00.png", "01.png", "none.png"]


def test_an_empty_box_is_reported_beside_it(inspector: BatchInspector) -> None:
    inspector.controls.start.click()
    [error] = inspector.errors
    assert isinstance(error, InputError)
    assert "No file is named" in inspector.controls.error_boxes["files"].value


def test_a_missing_folder_is_a_failed_row(inspector: BatchInspector, tmp_path: Path) -> None:
    inspector.controls.paths.value = str(tmp_path / HOSTILE)
    inspector.controls.start.click()
    assert inspector.wait(SECONDS)
    assert not inspector.running
    # As in every scan it is a row of its own, and other files are scored.
    assert "1 failed" in inspector.controls.summary.value
    inspector.step()
    assert "no such file" in inspector.controls.verdict.value
    assert "<img" not in html_of(inspector.widget)


def test_labels_of_a_csv_file_are_imported(inspector: BatchInspector, files: Path, tmp_path: Path) -> None:
    listed = tmp_path / "list.csv"
    with listed.open("w", newline="") as file:
        rows = [("path", "label"), ("files/00.png", "real"), ("files/05.png", "fake"), ("files/01.png", "")]
        csv.writer(file).writerows(rows)
    inspector.scan(listed)
    assert shown(inspector) == ["00.png", "05.png", "01.png"]
    assert labels(inspector) == {"00.png": "real", "05.png": "fake"}
    # What a reviewer has set is not overwritten by the next scan.
    inspector.select(inspector.result.rows()[0])
    inspector.label("fake")
    inspector.scan(listed)
    assert labels(inspector) == {"00.png": "fake", "05.png": "fake"}


def test_an_unknown_label_in_a_list_does_not_hide_the_scan(
    inspector: BatchInspector, files: Path, tmp_path: Path
) -> None:
    listed = tmp_path / "list.csv"
    listed.write_text("path,label\nfiles/00.png,genuine\nfiles/05.png,fake\n")
    with pytest.raises(UnsupportedMedia, match="'genuine' is not a label"):
        inspector.scan(listed)
    assert shown(inspector) == ["00.png", "05.png"]
    assert labels(inspector) == {}


def test_a_scan_can_be_stopped_and_resumed(
    classifier: Classifier, files: Path, tmp_path: Path, quick: None
) -> None:
    reached, go = threading.Event(), threading.Event()

    def waits(image: np.ndarray):
        reached.set()
        assert go.wait(SECONDS)
        return square(image)

    inspector = BatchInspector(classifier, journal=tmp_path / "j.sqlite", detector=waits, workers=0)
    c = inspector.controls
    inspector.start(files)
    assert reached.wait(SECONDS)
    assert inspector.running
    assert c.start.disabled
    assert not c.cancel.disabled
    c.cancel.click()
    assert c.cancel.disabled
    go.set()
    assert inspector.wait(SECONDS)
    assert inspector.result.cancelled
    assert "resume" in c.status.value
    assert inspector.errors == []
    assert not c.start.disabled
    # With the same journal finished files are not scored again.
    again = inspector.scan(files)
    assert again.counts["done"] == 6
    assert not again.cancelled


def test_files_can_be_sent_as_well_as_named(inspector: BatchInspector, files: Path, quick: None) -> None:
    c = inspector.controls
    assert {c.upload, c.paths} <= set(all_widgets(inspector.widget))
    sent = [(path.name, path.read_bytes()) for path in sorted(files.iterdir())]
    put(c.upload, sent[:2], part=100_000)
    assert inspector.wait(SECONDS)
    assert inspector.errors == []
    assert inspector.result.journal == Path(c.journal.value), "the one in the box"
    assert shown(inspector) == [name for name, _ in sent[:2]]
    copies = Path(c.file_table.rows[0].path).parent
    click(inspector, sent[0][0])
    assert inspector.wait(SECONDS)
    assert sent[0][0] in c.file_name.value
    assert str(copies) not in html_of(inspector.widget)
    # The same files sent again are not scored again.
    put(c.upload, sent[:2], part=100_000)
    assert inspector.wait(SECONDS)
    assert shown(inspector) == [name for name, _ in sent[:2]]
    inspector.clear()
    assert not copies.exists()
    assert inspector._uploaded is None


def test_a_second_press_of_scan_does_nothing(inspector: BatchInspector, files: Path, quick: None) -> None:
    gate = threading.Event()
    inspector._begin("files", lambda job: gate.wait(SECONDS))
    inspector.controls.paths.value = str(files)
    inspector.controls.start.click()
    assert inspector.controls.error_boxes["files"].value == ""
    assert inspector.errors == []
    gate.set()
    assert inspector.wait(SECONDS)


def test_a_scan_that_fails_says_that_the_one_before_is_shown(
    inspector: BatchInspector, files: Path, monkeypatch: pytest.MonkeyPatch, quick: None
) -> None:
    def failing(*args: object, **options: object) -> None:
        raise JournalError("the disk is full", next_step="Make room.")

    inspector.scan(files)
    monkeypatch.setattr("redeepfake_nb.widgets.batch.scan", failing)
    inspector.start(files)
    assert inspector.wait(SECONDS)
    assert "The disk is full" in inspector.controls.error_boxes["files"].value
    assert "The scan before is still shown" in inspector.controls.status.value


def test_one_scan_at_a_time(inspector: BatchInspector, files: Path) -> None:
    gate = threading.Event()
    first = inspector._background.start("files", lambda job: gate.wait(SECONDS))
    with pytest.raises(RedeepfakeError, match="still running"):
        inspector.scan(files)
    gate.set()
    assert first.done.wait(SECONDS)


def test_a_journal_is_opened_without_scanning(
    classifier: Classifier, inspector: BatchInspector, files: Path, quick: None
) -> None:
    result = inspector.scan(files)
    shutil.rmtree(files)
    other = BatchInspector(classifier)
    other.controls.journal.value = str(result.journal)
    other.controls.open_journal.click()
    assert other.errors == []
    assert shown(other) == shown(inspector)
    assert "8 files" in other.controls.status.value
    # The file is gone: its row in the journal is shown, with the reason why there is no more.
    click(other, "03.png")
    assert other.wait(SECONDS)
    assert "The file cannot be analysed again" in other.controls.file_name.value
    assert "P(fake)" in other.controls.verdict.value


def test_a_file_that_is_not_a_journal_is_reported(inspector: BatchInspector, tmp_path: Path) -> None:
    with pytest.raises(JournalError):
        inspector.open(tmp_path / "missing.sqlite")
    bad = tmp_path / "bad.sqlite"
    bad.write_bytes(b"no database" * 100)
    inspector.controls.journal.value = str(bad)
    inspector.controls.open_journal.click()
    assert isinstance(inspector.errors[-1], JournalError)
    assert inspector.controls.error_boxes["files"].value
    assert bad.read_bytes() == b"no database" * 100


# ------------------------------------------------------------------ the table


def test_filters_orders_and_search(inspector: BatchInspector, files: Path) -> None:
    inspector.scan(files)
    c = inspector.controls
    c.filter.value = "failed"
    assert shown(inspector) == ["empty.png"]
    c.filter.value = "no face"
    assert shown(inspector) == ["none.png"]
    c.filter.value, c.order.value = "review", "strongest"
    assert shown(inspector) == [f"0{i}.png" for i in reversed(range(6))]
    # Greys 20, 60, ... 220; the threshold 0.6 lies between 140 (0.60) and the others.
    c.order.value = "doubtful"
    greys = {f"0{i}.png": 20 + 40 * i for i in range(6)}
    assert shown(inspector)[0] == "03.png"
    assert abs(probability(greys["03.png"]) - 0.6) < 0.01
    c.text.value = "/04."
    assert shown(inspector) == ["04.png"]
    c.text.value, c.filter.value = "", "fake"
    assert set(shown(inspector)) <= {"04.png", "05.png"}
    assert inspector.errors == []


def test_a_long_list_is_paged(inspector: BatchInspector, files: Path) -> None:
    result, size = inspector.scan(files / "00.png"), PAGE_SIZES[0]
    # Add rows as if as many copies had been listed.
    with closing(sqlite3.connect(result.journal)) as db, db:
        for i in range(1, size + 5):
            row = db.execute(
                "INSERT INTO files (settings_id, path, status, sha256, score, doubt, threshold, verdict) "
                "SELECT settings_id, path || ?, status, sha256, score, doubt, threshold, verdict "
                "FROM files WHERE id = 1",
                (f".{i:05d}",),
            )
            db.execute("INSERT INTO listed VALUES (1, ?, ?)", (row.lastrowid, i))
    inspector.open()
    c = inspector.controls
    assert len(c.file_table.rows) == size
    assert "Rows 1 to 10 of 15" in c.page_caption.value
    assert c.previous_page.disabled
    c.next_page.click()
    assert len(c.file_table.rows) == 5
    assert c.next_page.disabled
    assert shown(inspector)[0] == f"00.png.{size:05d}"
    c.previous_page.click()
    assert shown(inspector)[0] == "00.png"
    # Steps beyond the end of a page turn it, and so does the way back.
    inspector.select(c.file_table.rows[-1])
    inspector.step()
    assert (inspector.row, "Rows 11 to 15" in c.page_caption.value) == (c.file_table.rows[0], True)
    inspector.step(-1)
    assert (inspector.row, "Rows 1 to 10" in c.page_caption.value) == (c.file_table.rows[-1], True)
    c.page_size.value = 25
    assert len(c.file_table.rows) == size + 5


# ------------------------------------------------------------------ one file


@pytest.mark.slow
def test_a_click_shows_faces_and_heatmaps(inspector: BatchInspector, files: Path) -> None:
    inspector.scan(files)
    click(inspector, "05.png")
    assert inspector.row.id == row_of(inspector, "05.png").id
    assert inspector.wait(SECONDS)
    c = inspector.controls
    assert "05.png" in c.file_name.value
    assert f"{probability(220):.2f}" in c.verdict.value
    assert bytes(c.image.value).startswith(b"\x89PNG")
    assert bytes(c.heatmap_images[0].value).startswith(b"\x89PNG")
    assert "Not labelled yet" in c.label.value
    # The panel of questions about the heatmap is offered for it.
    assert inspector.explanation_panel.root.layout.display != "none"


def test_heatmaps_are_those_of_the_most_suspicious_faces(
    inspector: BatchInspector, quick: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last of four faces is the reason for the verdict."""
    monkeypatch.setattr(batch_controls, "MAX_HEATMAPS", 2)
    report = make_report([-3.0, -2.0, -1.0, 2.0], heat=True)
    _, *heatmaps = inspector.controls._drawn(report, 0.5)
    assert [caption for caption, _ in heatmaps] == ["Face 4", "Face 3"]
    _, *none = inspector.controls._drawn(make_report([1.0]), 0.5)
    assert none == []


def test_files_without_a_score_say_why(inspector: BatchInspector, files: Path, quick: None) -> None:
    inspector.scan(files)
    c = inspector.controls
    click(inspector, "empty.png")
    assert "empty" in c.verdict.value
    assert c.image.layout.display == "none"
    click(inspector, "none.png")
    assert inspector.wait(SECONDS)
    assert "no face" in c.verdict.value.lower()


def test_a_changed_file_is_reported(inspector: BatchInspector, files: Path, quick: None) -> None:
    inspector.scan(files)
    write(files / "00.png", 230)
    click(inspector, "00.png")
    assert inspector.wait(SECONDS)
    assert "has changed since the scan" in inspector.controls.file_name.value


def test_a_detector_of_your_own_is_used_for_its_own_scans_only() -> None:
    """A journal may be opened that was made with another detector; its page must not show other faces."""
    mine = {"detector": f"{square.__module__}.{square.__qualname__}"}
    assert custom_detector_of(mine, square) is square
    assert custom_detector_of({"detector": "blazeface"}, square) is None
    assert custom_detector_of(mine, None) is None


@pytest.mark.slow
def test_another_model_is_reported(classifier: Classifier, files: Path, tmp_path: Path, quick: None) -> None:
    journal = tmp_path / "j.sqlite"
    first, second = (classifier.with_card(replace(classifier.card, sha256=digit * 64)) for digit in "01")
    one = BatchInspector(first, journal=journal, detector=square, workers=0)
    one.scan(files)
    other = BatchInspector(second, journal=journal, detector=square)
    other.open()
    for inspector, expected in ((one, False), (other, True)):
        click(inspector, "00.png")
        assert inspector.wait(SECONDS)
        assert ("another model" in inspector.controls.file_name.value) is expected


# ------------------------------------------------------------------ review


def test_keys_label_and_choose_the_next_file(inspector: BatchInspector, files: Path, quick: None) -> None:
    inspector.scan(files)
    c = inspector.controls
    c.filter.value, c.order.value = "review", "strongest"
    click(inspector, "05.png")
    for key in ("f", "s", "r"):
        press(inspector, key)
    assert labels(inspector) == {"05.png": "fake", "04.png": "skip", "03.png": "real"}
    assert Path(inspector.row.path).name == "02.png"
    press(inspector, "b")
    assert Path(inspector.row.path).name == "03.png"
    press(inspector, "x")
    assert labels(inspector) == {"05.png": "fake", "04.png": "skip"}
    # A file whose label was removed stays chosen.
    assert Path(inspector.row.path).name == "03.png"
    assert inspector.errors == []


def test_buttons_do_what_keys_do(inspector: BatchInspector, files: Path, quick: None) -> None:
    inspector.scan(files)
    c = inspector.controls
    click(inspector, "00.png")
    c.label_buttons["real"].click()
    c.label_buttons["fake"].click()
    c.label_buttons["back"].click()
    assert labels(inspector) == {"00.png": "real", "01.png": "fake"}
    assert "Labelled fake" in c.label.value
    c.label_buttons["none"].click()
    assert labels(inspector) == {"00.png": "real"}
    assert "Not labelled yet" in c.label.value


def test_the_end_of_the_review_is_reported(inspector: BatchInspector, files: Path, quick: None) -> None:
    inspector.scan(files)
    c = inspector.controls
    c.filter.value = "review"
    inspector.step()
    for _ in range(6):
        inspector.label("real")
    assert "no further file without a label" in c.status.value
    assert len(labels(inspector)) == 6
    c.refresh.click()
    assert shown(inspector) == []


def test_the_way_back_leads_to_files_that_the_list_has_dropped(
    inspector: BatchInspector, files: Path, quick: None
) -> None:
    inspector.scan(files)
    c = inspector.controls
    c.filter.value = "review"
    inspector.step()
    for key in ("r", "f"):
        press(inspector, key)
    c.refresh.click()
    assert len(shown(inspector)) == 4
    inspector.select(c.file_table.rows[0])
    for name, label in (("01.png", "fake"), ("00.png", "real")):
        press(inspector, "b")
        assert (Path(inspector.row.path).name, inspector.row.label) == (name, label)


def test_the_start_says_how_many_processes(classifier: Classifier) -> None:
    words = {0: "Loading the model,", 1: "1 worker process; it loads", 2: "2 worker processes; each loads"}
    for workers, expected in words.items():
        assert expected in BatchInspector(classifier, workers=workers)._starting()
    assert "worker process" in BatchInspector(classifier)._starting()


@pytest.mark.parametrize("act", [lambda i: i.step(), lambda i: i.select(None), lambda i: i.label("real")])
def test_a_change_waits_until_a_background_thread_has_drawn(
    inspector: BatchInspector, files: Path, quick: None, act: Callable[[BatchInspector], None]
) -> None:
    inspector.scan(files)
    click(inspector, "00.png")
    assert inspector.wait(SECONDS)
    changing = threading.Thread(target=act, args=(inspector,))
    with inspector._callbacks.lock:  # as a background thread holds it while it draws
        changing.start()
        changing.join(0.2)
        assert changing.is_alive()
        assert Path(inspector.row.path).name == "00.png"
    changing.join(SECONDS)
    assert not changing.is_alive()
    assert inspector.row is None or Path(inspector.row.path).name != "00.png"


def test_an_unreadable_file_takes_no_label(inspector: BatchInspector, files: Path, tmp_path: Path) -> None:
    gone = files / "gone.png"
    os.symlink(tmp_path / "nowhere", gone)
    inspector.scan(files)
    click(inspector, "gone.png")
    press(inspector, "f")
    [error] = inspector.errors
    assert "could not be read" in str(error)
    assert "could not be read" in inspector.controls.error_boxes["files"].value
    assert labels(inspector) == {}


def test_a_label_without_a_chosen_file_is_an_error(inspector: BatchInspector) -> None:
    with pytest.raises(InputError, match="no file is chosen"):
        inspector.label("real")


def test_labels_belong_to_file_contents(inspector: BatchInspector, files: Path, quick: None) -> None:
    shutil.copy(files / "00.png", files / "copy.png")
    inspector.scan(files)
    click(inspector, "00.png")
    press(inspector, "f")
    assert labels(inspector) == {"00.png": "fake", "copy.png": "fake"}
    assert {row_of(inspector, name).label for name in ("00.png", "copy.png")} == {"fake"}


# ------------------------------------------------------------------ metrics, files


@pytest.fixture
def labelled(inspector: BatchInspector, tmp_path: Path) -> BatchInspector:
    """24 faces; bright ones are fake, but for two."""
    made = tmp_path / "many"
    made.mkdir()
    greys = [int(grey) for grey in np.linspace(70, 180, 24)]
    listed = tmp_path / "many.csv"
    with listed.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(("path", "label"))
        for i, grey in enumerate(greys):
            write(made / f"{i:02d}.png", grey)
            rows.writerow((f"many/{i:02d}.png", "fake" if (i >= 12) != (i in (10, 13)) else "real"))
    inspector.scan(listed)
    return inspector


@pytest.mark.slow
def test_metrics_and_a_calibrated_model(labelled: BatchInspector, tmp_path: Path) -> None:
    c = labelled.controls
    assert c.save_calibrated.disabled
    c.false_positive_rate.value = 0.1
    c.evaluate.click()
    assert labelled.errors == []
    assert len(labelled.review) == 24
    assert "AUC" in c.metrics.value
    assert bytes(c.charts.value).startswith(b"\x89PNG")
    assert not c.save_calibrated.disabled
    c.calibrated_name.value = "mine"
    c.save_calibrated.click()
    assert labelled.errors == []
    made = load_model(tmp_path / "out" / "mine.keras")
    assert made.card.metrics["before calibration"]["files"] == 24
    assert "mine.keras" in c.saved.value


def test_metrics_need_labels(inspector: BatchInspector, files: Path) -> None:
    inspector.controls.evaluate.click()
    assert "no scan" in str(inspector.errors[0])
    inspector.scan(files)
    inspector.controls.evaluate.click()
    [error] = inspector.errors
    assert isinstance(error, InputError)
    assert inspector.controls.error_boxes["metrics"].value
    assert inspector.controls.save_calibrated.disabled


def test_tables_are_saved(inspector: BatchInspector, files: Path, tmp_path: Path) -> None:
    inspector.controls.save.click()
    assert "first" in str(inspector.errors[0])
    inspector.scan(files)
    inspector.controls.filter.value = "no face"
    inspector.controls.save.click()
    assert inspector.errors == []
    with (tmp_path / "out" / "results.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == ["none.png"]
    assert "results.csv" in inspector.controls.saved.value


@pytest.mark.slow
def test_a_report_is_saved(inspector: BatchInspector, files: Path, tmp_path: Path) -> None:
    inspector.controls.save_report.click()
    assert "first" in str(inspector.errors[0])
    inspector.scan(files)
    inspector.controls.save_report.click()
    assert inspector.wait(SECONDS)
    assert inspector.errors == []
    assert "report.html" in inspector.controls.saved.value
    assert not inspector.controls.save_report.disabled
    page = (tmp_path / "out" / "report.html").read_text()
    assert "05.png" in page
    assert inspector.save_report(tmp_path / "other.html") == tmp_path / "other.html"


# ------------------------------------------------------------------ clearing, hostile names


def test_clear_removes_everything_but_the_journal(inspector: BatchInspector, files: Path) -> None:
    inspector.scan(files)
    click(inspector, "05.png")
    assert inspector.wait(SECONDS)
    inspector.controls.clear.click()
    assert inspector.result is None
    assert inspector.row is None
    state = repr([w.get_state() for w in all_widgets(inspector.widget)])
    assert "05.png" not in state
    assert "PNG" not in state
    assert inspector.open().counts["done"] == 6


def test_hostile_names_are_text(inspector: BatchInspector, tmp_path: Path, quick: None) -> None:
    made = tmp_path / "hostile"
    made.mkdir()
    for i, name in enumerate((HOSTILE, "</script><script>alert(1)<", "\u202egpj.exe", "a\nb")):
        write(made / f"{i}.png", 100 + i).rename(made / (name.replace("/", "_") + ".png"))
    (made / f"empty{HOSTILE}").touch()
    inspector.scan(made)
    for row in list(inspector.controls.file_table.rows):
        inspector.select(row)
        assert inspector.wait(SECONDS)
        inspector.label("real" if row.sha256 and row.status == "done" else "skip")
        page = html_of(inspector.widget)
        assert "<img" not in page
        assert "<script" not in page
        assert "\u202e" not in page
    grid = inspector.controls.file_table.widget._dt_args["data_json"]
    assert "<" not in grid
    assert inspector.errors == []


def test_controls_have_tooltips(inspector: BatchInspector) -> None:
    import ipywidgets as ipw

    kinds = (ipw.Button, ipw.Text, ipw.Textarea, ipw.Dropdown, ipw.FloatSlider, ipw.BoundedIntText)
    for widget in all_widgets(inspector.widget):
        if isinstance(widget, kinds):
            tip = widget.tooltip if widget.has_trait("tooltip") else widget.description_tooltip
            assert tip, widget
