"""Notebooks served by Voilà show their panels without the code, and the panels work, downloads included."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from helpers.app_server import voila_server
from helpers.jupyter_in_chromium import ANSWER, RUNNING, VIEWPORT, downloaded, upload

# Notebook, what it says after the sample was analysed, and the files that it gives.
PANELS = [
    ("01_image.ipynb", r"2 pictures analysed", {"report.html", "scores.csv"}),
    ("02_video.ipynb", r"\d+ frames analysed", {"report.html", "scores.csv"}),
]


@pytest.fixture(scope="module")
def served(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Serve the notebooks and return the server's address."""
    if importlib.util.find_spec("voila") is None:
        pytest.skip("voila is not installed")
    folder = tmp_path_factory.mktemp("voila")
    for name, *_ in PANELS:
        shutil.copy(root / "notebooks" / name, folder)
    with voila_server(folder, ".") as address:
        yield address


@pytest.mark.parametrize(("name", "said", "files"), PANELS)
def test_a_notebook_as_a_page(
    served: str, chrome, name: str, said: str, files: set[str], tmp_path: Path
) -> None:
    page = chrome.new_page(viewport=VIEWPORT)
    try:
        page.goto(f"{served}/voila/render/{name}", timeout=RUNNING)
        panel = page.locator(".rdf").last
        panel.wait_for(timeout=RUNNING)
        assert "load_model(" not in page.locator("body").inner_text()
        # Whoever looks at the page may not see the server's files.
        assert panel.locator(".rdf-path").count() == 0
        assert "Save on the notebook's machine" not in panel.inner_text()
        panel.get_by_role("button", name="Use the sample").click()
        panel.get_by_text(re.compile(said)).first.wait_for(timeout=ANSWER)
        panel.locator("img").first.wait_for(timeout=ANSWER)
        got = {path.name: path.read_bytes() for path in downloaded(page, panel, tmp_path)}
        assert files <= set(got)
        assert len(got) == 3
        assert b"<html" in got["report.html"][:500]
        assert all(str(Path.cwd()).encode() not in data for data in got.values())
        wrong = tmp_path / "wrong.png"
        wrong.write_bytes(b"no picture")
        upload(page, panel, wrong)
        panel.get_by_role("alert").filter(has_text="wrong.png").wait_for(timeout=ANSWER)
    finally:
        page.close()
