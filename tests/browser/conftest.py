"""One server and one browser for all browser tests; a picture of the page where one fails."""

from __future__ import annotations

import importlib.util
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest


def _missing() -> str | None:
    if importlib.util.find_spec("playwright") is None:
        return "playwright is not installed; `pip install playwright` runs the browser tests"
    from helpers.jupyter_in_chromium import chromium

    if chromium() is None:
        return "no Chromium is installed; Debian's package `chromium` runs the browser tests"
    return None


@pytest.fixture(scope="session")
def lab(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """(server, its folder with the notebooks)."""
    if reason := _missing():
        pytest.skip(reason)
    from helpers.jupyter_in_chromium import jupyter_lab

    scratch = tmp_path_factory.mktemp("jupyter")
    folder = tmp_path_factory.mktemp("notebooks")
    for notebook in (root / "notebooks").glob("*.ipynb"):
        shutil.copy(notebook, folder)
    with jupyter_lab(folder, scratch) as server:
        yield server, folder


@pytest.fixture(scope="session")
def chrome():
    """Chromium; the whole of a test that asks for it is skipped where there is none."""
    if reason := _missing():
        pytest.skip(reason)
    from helpers.jupyter_in_chromium import browser

    with browser() as made:
        yield made


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo):
    report = yield
    if call.when == "call":
        item.failed_here = report.failed
    return report


@pytest.fixture
def opened(lab, chrome, request: pytest.FixtureRequest, root: Path) -> Iterator[Callable]:
    """Opens a notebook in a new page: ``opened("01_image.ipynb")``."""
    from helpers.jupyter_in_chromium import VIEWPORT, Notebook

    server, _ = lab
    context = chrome.new_context(viewport=VIEWPORT)
    pages = []

    def open_notebook(name: str) -> Notebook:
        pages.append(context.new_page())
        return Notebook(pages[-1], server, name)

    yield open_notebook
    if getattr(request.node, "failed_here", False):
        folder = root / "build"
        folder.mkdir(exist_ok=True)
        for i, page in enumerate(pages):
            page.screenshot(path=folder / f"{re.sub(r'[^a-z0-9_]+', '-', request.node.name)}-{i}.png")
    context.close()
