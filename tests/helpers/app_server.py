"""Run ``redeepfake-nb app`` as a person does, or Voilà with a notebook."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

# Seconds until a page is served; a busy machine takes long to import.
STARTING = 120


@contextlib.contextmanager
def app_server(folder: Path, *options: str) -> Iterator[tuple[subprocess.Popen, str]]:
    """Run the command and yield its process and the address that it prints.

    Its temporary files, and those of its visitors, are in ``folder/tmp``, its messages in ``folder/app.log``.
    """
    (folder / "tmp").mkdir(exist_ok=True)
    command = ["-m", "redeepfake_nb.cli", "app", "--no-browser", "--port", str(free_port()), *options]
    with _running(command, folder, folder / "app.log", TMPDIR=str(folder / "tmp")) as server:
        yield server, _until(server, folder / "app.log", lambda: _printed(folder / "app.log"))


@contextlib.contextmanager
def voila_server(folder: Path, notebook: str) -> Iterator[str]:
    """Run Voilà on a notebook of a folder and yield its address."""
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    command = ["-m", "voila", "--no-browser", "--Voila.ip=127.0.0.1", f"--port={port}", notebook]

    def answers() -> str | None:
        with contextlib.suppress(OSError):
            urllib.request.urlopen(f"{address}/voila/static/voila.js", timeout=2)
            return address
        return None

    with _running(command, folder, folder / "voila.log") as server:
        yield _until(server, folder / "voila.log", answers)


def free_port() -> int:
    """Return a port that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def _running(command: list[str], folder: Path, log: Path, **variables: str) -> Iterator[subprocess.Popen]:
    environment = {**os.environ, "JUPYTER_CONFIG_DIR": str(folder / "config")}
    environment |= {"JUPYTER_RUNTIME_DIR": str(folder / "runtime"), **variables}
    with log.open("wb") as file:
        server = subprocess.Popen(
            [sys.executable, *command], cwd=folder, env=environment, stdout=file, stderr=subprocess.STDOUT
        )
        try:
            yield server
        finally:
            server.terminate()
            try:
                server.wait(30)
            except subprocess.TimeoutExpired:
                server.kill()


def _printed(log: Path) -> str | None:
    found = re.search(r"The app is at (\S+)", log.read_text())
    return found and found[1]


def _until(server: subprocess.Popen, log: Path, answer) -> str:
    until = time.monotonic() + STARTING
    while time.monotonic() < until and server.poll() is None:
        if found := answer():
            return found
        time.sleep(0.2)
    raise RuntimeError(f"it did not start: {log.read_text()[-2000:]}")
