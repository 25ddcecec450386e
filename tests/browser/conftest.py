"""One JupyterLab server and one browser for all browser tests, and a screenshot where a test fails."""

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
    """Start JupyterLab over a copy of the notebooks; return the server's address and the folder."""
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
    """Start Chromium; tests that use it are skipped where it is not installed."""
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
    """Return a function that opens a notebook in a new page: ``opened("01_image.ipynb")``."""
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
