"""A notebook served by Voilà shows the panel without the code, and the panel works."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from helpers.jupyter_in_chromium import ANSWER, RUNNING, VIEWPORT


@pytest.fixture
def app(root: Path, tmp_path: Path) -> Iterator[str]:
    """Serve the image notebook and return the server's address."""
    if importlib.util.find_spec("voila") is None:
        pytest.skip("voila is not installed")
    shutil.copy(root / "notebooks" / "01_image.ipynb", tmp_path)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = ["--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}", "01_image.ipynb"]
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(tmp_path / "config")}
    environment["JUPYTER_RUNTIME_DIR"] = str(tmp_path / "runtime")
    with (tmp_path / "voila.log").open("wb") as log:
        server = subprocess.Popen(
            [sys.executable, "-m", "voila", *options], cwd=tmp_path, env=environment, stdout=log, stderr=log
        )
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()
            server.wait(20)


def test_image_inspector_as_an_app(app: str, chrome) -> None:
    until = time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(f"{app}/voila/static/none", timeout=2)
        except urllib.error.HTTPError:
            break  # the server answers
        except OSError:
            assert time.monotonic() < until, "Voilà did not start"
            time.sleep(0.3)
    page = chrome.new_page(viewport=VIEWPORT)
    try:
        page.goto(app, timeout=RUNNING)
        panel = page.locator(".rdf").last
        panel.wait_for(timeout=RUNNING)
        assert "import " not in page.locator("body").inner_text()
        panel.get_by_role("button", name="Use the sample").click()
        panel.get_by_text(re.compile(r"\(threshold 0\.50\)")).first.wait_for(timeout=ANSWER)
        panel.locator("img").first.wait_for(timeout=ANSWER)
    finally:
        page.close()
