"""The app in a browser: two visitors apart, uploads within the limit, downloads, widths, keys and themes."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from helpers.app_server import app_server
from helpers.jupyter_in_chromium import (
    ANSWER,
    RUNNING,
    VIEWPORT,
    downloaded,
    drop,
    paste,
    unnamed_controls,
    upload,
)
from playwright.sync_api import Error, Locator, Page

WAIT = 60  # seconds until something is deleted


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """Serve the app; return its address, and the folder of all its temporary files."""
    if importlib.util.find_spec("voila") is None:
        pytest.skip("voila is not installed")
    folder = tmp_path_factory.mktemp("app")
    with app_server(folder, "--upload-limit", "40", "--visitors", "3") as (_, address):
        yield address, folder / "tmp"


@pytest.fixture
def visit(served: tuple[str, Path], chrome) -> Iterator[Callable[..., Page]]:
    """Return a function that opens the page as another person does."""
    contexts = []

    def opened(**options) -> Page:
        contexts.append(chrome.new_context(**{"viewport": VIEWPORT, **options}))
        page = contexts[-1].new_page()
        page.goto(served[0], timeout=RUNNING)
        panel(page).wait_for(timeout=RUNNING)
        return page

    yield opened
    for context in contexts:
        for page in context.pages:
            with contextlib.suppress(Error):  # it is closing already
                page.close(run_before_unload=True)
        context.close()
    gone(lambda: list(served[1].glob("*/visits/*"))[1:])  # one waits for the next visitor


def gone(left: Callable[[], list]) -> None:
    """Wait until nothing is left."""
    until = time.monotonic() + WAIT
    while left():
        assert time.monotonic() < until, left()
        time.sleep(0.3)


def panel(page: Page, tab: str | None = None) -> Locator:
    """The panel of a tab, which is opened."""
    if tab is not None:
        page.get_by_role("tab", name=tab).click()
    return page.locator(".rdf:visible").first


def photo(megabytes: float = 0.0) -> bytes:
    """The portrait as a PNG, with noise below it that makes the file as large as wished."""
    from PIL import Image

    from redeepfake_nb.datasets.samples import sample_image

    image = sample_image().image
    rows = int(megabytes * 1e6 / 3 / image.shape[1])
    noise = np.random.default_rng(0).integers(0, 256, (rows, image.shape[1], 3), np.uint8)
    out = io.BytesIO()
    Image.fromarray(np.vstack([image, noise])).save(out, "PNG")
    return out.getvalue()


def test_two_visitors_are_apart(visit, served: tuple[str, Path], tmp_path: Path) -> None:
    first, second = visit(), visit()
    asked: list[str] = []
    first.on("request", lambda request: asked.append(request.url))
    mine, theirs = panel(first), panel(second)
    large = photo(12)
    assert len(large) > 12e6
    drop(first, mine, [("private-photo.png", large)])
    mine.locator(".rdf-verdict", has_text="private-photo.png").wait_for(timeout=ANSWER)
    # A wrong file by the other, who sees nothing of the first.
    paste(second, theirs, [("wrong.png", b"no picture")])
    theirs.get_by_role("alert").filter(has_text="wrong.png").wait_for(timeout=ANSWER)
    assert "private-photo" not in second.content()
    assert "wrong.png" not in first.content()
    # What is over the limit is not sent, and the next upload works.
    heavy = tmp_path / "heavy.png"
    heavy.write_bytes(bytes(41_000_000))
    upload(second, theirs, heavy)
    theirs.get_by_text("may have up to 40 MB at once").wait_for(timeout=ANSWER)
    assert "path" not in theirs.locator(".rdf-drop").first.inner_text().lower()
    drop(second, theirs, [("next.png", photo())])
    theirs.locator(".rdf-verdict", has_text="next.png").wait_for(timeout=ANSWER)
    # A folder: its files are scored, shown and given back, and are on the disk of the server until Clear.
    folder = panel(first, "Folder")
    drop(first, folder, [("in-folder.png", photo()), ("broken.png", b"no picture")])
    folder.get_by_text(re.compile(r"2 files in \d+ s")).wait_for(timeout=RUNNING)
    assert list(served[1].glob("*/visits/*/*/files/in-folder.png"))
    folder.locator("table.dataTable td", has_text="in-folder.png").first.click()
    folder.locator("img:visible").first.wait_for(timeout=ANSWER)
    assert str(served[1]) not in first.content()
    (table,) = downloaded(first, folder, tmp_path, "table")
    assert table.name == "results.csv"
    assert "in-folder.png" in table.read_text()
    assert str(served[1]) not in table.read_text()
    assert "in-folder" not in second.content()
    folder.get_by_role("button", name="Clear").click()
    gone(lambda: list(served[1].rglob("in-folder.png")))
    drop(first, folder, [("again.png", photo())])
    folder.get_by_text(re.compile(r"1 file in \d+ s")).wait_for(timeout=RUNNING)
    assert list(served[1].rglob("again.png"))
    # Nothing came from elsewhere, and nothing stays of a page that is closed.
    own = (served[0], served[0].replace("http", "ws", 1), "data:", "blob:")
    assert [url for url in asked if not url.startswith(own)] == []
    first.close(run_before_unload=True)
    gone(lambda: list(served[1].rglob("again.png")))


def test_what_is_asked_for_during_work_leaves_nothing_behind(visit, tmp_path: Path) -> None:
    page = visit()
    image = panel(page)
    image.get_by_role("button", name="Use the sample").dblclick()
    image.get_by_text("2 pictures analysed").wait_for(timeout=RUNNING)
    assert image.get_by_role("alert").count() == 0
    assert "failure" not in image.locator(".rdf-status").inner_text()
    # A file that is dropped meanwhile is told to wait until there is nothing to wait for.
    drop(page, image, [(f"{i}.png", photo()) for i in range(30)])
    image.get_by_text(re.compile(r"Analysing \d+ of 30")).wait_for(timeout=ANSWER)
    drop(page, image, [("late.png", photo())])
    said = image.locator(".rdf-drop-said").first
    assert "Wait until the work" in said.inner_text()
    assert image.locator(".rdf-download button:enabled").count() == 0
    image.locator(".rdf-status button").click()
    image.get_by_text("Press Analyse the rest").wait_for(timeout=ANSWER)
    page.wait_for_function("said => !said.innerText", arg=said.element_handle(), timeout=ANSWER)
    # The report names what was left out, and the page forgets the names of files.
    (report,) = downloaded(page, image, tmp_path, "report")
    assert "29.png" in report.read_text()
    image.get_by_text("report.html").wait_for(timeout=ANSWER)
    image.get_by_role("button", name="Clear").click()
    image.get_by_text("report.html").wait_for(state="detached", timeout=ANSWER)


def test_a_video(visit, tmp_path: Path) -> None:
    from redeepfake_nb.datasets.samples import sample_clip

    page = visit()
    video = panel(page, "Video")
    drop(page, video, [("holiday.mp4", sample_clip())])
    video.get_by_text(re.compile(r"\d+ frames analysed")).wait_for(timeout=RUNNING)
    video.locator(".rdf-verdict", has_text="holiday.mp4").wait_for(timeout=ANSWER)
    (annotated,) = downloaded(page, video, tmp_path, "video")
    assert annotated.name == "holiday-scored.mp4"
    assert b"ftyp" in annotated.read_bytes()[:12]


@pytest.mark.parametrize(("width", "scheme"), [(1366, "light"), (900, "dark"), (390, "light"), (390, "dark")])
def test_every_width_and_theme(visit, width: int, scheme: str) -> None:
    page = visit(viewport={"width": width, "height": 844}, color_scheme=scheme)
    for tab in ("Image", "Video", "Folder"):
        shown = panel(page, tab)
        shown.get_by_role("button", name=re.compile("Use the sample|Sample folder")).wait_for(timeout=ANSWER)
        assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0, tab
        assert unnamed_controls(page, shown) == [], tab
    luminance = """() => getComputedStyle(document.body).backgroundColor.match(/[0-9.]+/g).slice(0, 3)
      .reduce((sum, part) => sum + Number(part) / 3, 0)"""
    assert (page.evaluate(luminance) < 128) == (scheme == "dark")


def test_by_keys_alone(visit) -> None:
    page = visit()

    def until(reached: str, most: int = 40) -> None:
        for _ in range(most):
            page.keyboard.press("Tab")
            if page.evaluate("(document.activeElement.innerText || '').trim()") == reached:
                return
        raise AssertionError(f"{reached} was not reached")

    until("Image", 3)
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Choose a video").wait_for(timeout=ANSWER)
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    page.get_by_role("button", name="Choose pictures").wait_for(timeout=ANSWER)
    until("Use the sample")
    page.keyboard.press("Enter")
    panel(page).get_by_text("2 pictures analysed").wait_for(timeout=RUNNING)
    until("Next")
    page.keyboard.press("Enter")
    # It can be reached once the second picture is shown.
    panel(page).locator("button:not([disabled])", has_text="Previous").wait_for(timeout=ANSWER)
    until("Previous")


def test_the_page_says_when_its_visit_has_ended(visit) -> None:
    page = visit()
    config = "JSON.parse(document.getElementById('jupyter-config-data').textContent)"
    end = f"navigator.sendBeacon('/voila/api/shutdown/' + {config}.kernelId, form)"
    token = "form.append('_xsrf', document.cookie.match('_xsrf=([^;]*)')[1])"
    page.evaluate(f"() => {{ const form = new FormData(); {token}; return {end}; }}")
    page.get_by_text("This visit has ended").wait_for(timeout=ANSWER)
    page.get_by_role("button", name="Start again").click()
    panel(page).wait_for(timeout=RUNNING)
