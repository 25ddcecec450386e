"""``App``: three panels in tabs, and no way to the files of the machine that serves them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from helpers.scan_helpers import folder, square
from helpers.widget_trees import Tags, all_widgets, html_of, put
from PIL import Image

from redeepfake_nb import Classifier
from redeepfake_nb.hosts import may_name_files
from redeepfake_nb.widgets import App, BatchInspector

SECONDS = 60
# What names, opens or writes files on the kernel's machine, by panel.
LOCAL = {
    "image": ("paths", "open_paths", "model", "folder", "save"),
    "video": ("path", "open_path", "model", "folder", "annotated", "save"),
    "folder": (
        *("paths", "start", "journal", "open_journal", "model", "folder", "save", "save_report"),
        *("calibrated_name", "save_calibrated"),
    ),
}


@pytest.fixture
def served(classifier: Classifier) -> App:
    return App(classifier, local_files=False, max_upload_mb=3)


def test_three_tabs(served: App) -> None:
    heading, tabs = served.widget.children
    assert [tabs.get_title(i) for i in range(3)] == ["Image", "Video", "Folder"]
    assert list(tabs.children) == [served.image.widget, served.video.widget, served.folder.widget]
    assert "never proof" in heading.value
    assert "deleted" in heading.value
    assert Tags(heading.value).tags == {"div", "h1", "p"}


@pytest.mark.parametrize("panel", LOCAL)
def test_a_served_panel_has_no_control_that_names_files(
    served: App, classifier: Classifier, panel: str
) -> None:
    controls = getattr(served, panel).controls
    there = all_widgets(controls.root)
    for name in LOCAL[panel]:
        control = getattr(controls, name)
        assert control not in there, name
        # Not even a message made by hand reaches it.
        assert control.comm is None, name
    assert controls.upload in there
    assert controls.upload.max_bytes == 3_000_000
    mine = getattr(App(classifier, local_files=True), panel).controls
    for name in LOCAL[panel]:
        assert getattr(mine, name).comm is not None, name
        assert getattr(mine, name) in all_widgets(mine.root), name


@pytest.mark.parametrize("panel", LOCAL)
def test_a_served_panel_speaks_of_no_path(served: App, panel: str) -> None:
    words = html_of(getattr(served, panel).widget).lower()
    assert "path" not in words.split("</style>")[-1]
    assert "notebook's machine" not in words


def test_by_default_voila_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("VOILA_BASE_URL", raising=False)
    assert may_name_files()
    assert not may_name_files(False)
    monkeypatch.setenv("VOILA_BASE_URL", "/")
    assert not may_name_files()
    assert may_name_files(True)


def test_an_unexpected_error_is_in_the_servers_log_and_not_on_the_page(
    served: App, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("inner trouble")

    monkeypatch.setattr("redeepfake_nb.widgets.image.analyze_image", broken)
    put(served.image.controls.upload, [("a.png", png(100))])
    assert served.image.wait(SECONDS)
    assert "inner trouble" in served.image.controls.error_boxes["faces"].value
    assert "Traceback" not in html_of(served.image.widget)
    assert "Traceback" in capfd.readouterr().err


def png(grey: int) -> bytes:
    """A picture on whose middle ``square`` finds a face."""
    image = np.full((96, 96, 3), 255, np.uint8)
    image[24:72, 24:72] = grey
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG")
    return out.getvalue()


def test_files_are_sent_scored_and_deleted(classifier: Classifier, tmp_path: Path) -> None:
    inspector = BatchInspector(
        classifier, detector=square, workers=0, local_files=False, journal=tmp_path / "j"
    )
    files = [(path.name, path.read_bytes()) for path in sorted(folder(tmp_path / "sent").iterdir())]
    put(inspector.controls.upload, files[:3], part=100_000)
    assert inspector.wait(SECONDS)
    assert inspector.errors == []
    place = inspector.result.journal.parent
    assert not (tmp_path / "j").exists()
    assert [Path(row.path).name for row in inspector.controls.file_table.rows] == [n for n, _ in files[:3]]
    inspector.step(1)
    assert inspector.wait(SECONDS)
    assert files[0][0] in html_of(inspector.widget)
    assert str(place) not in html_of(inspector.widget)
    sent: list = []
    for download in inspector.controls.downloads.values():
        download.deliver = lambda name, data, kind: sent.append((name, data))
        download._receive(download, {"type": "press"}, [])
        assert inspector.wait(SECONDS)
    assert sorted(name for name, _ in sent) == ["report.html", "results.csv"]
    assert all(str(place).encode() not in data for _, data in sent)
    # The next upload takes the place of this one.
    put(inspector.controls.upload, files[3:4], part=100_000)
    assert inspector.wait(SECONDS)
    assert [path.name for path in (place / "files").iterdir()] == [files[3][0]]
    inspector.clear()
    assert inspector.wait(SECONDS)
    assert not place.exists()


def test_two_visitors_share_no_folder(classifier: Classifier) -> None:
    first, second = (App(classifier, local_files=False).folder for _ in range(2))
    assert first._journal().parent != second._journal().parent
    assert first._workers == second._workers == 1


def test_clear_empties_all_panels(served: App) -> None:
    served.image.analyze(np.full((64, 64, 3), 90, np.uint8))
    served.clear()
    assert served.image.result == []
