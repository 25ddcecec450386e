"""The page of the panels: options, what is said before it is served, limits, folders that go with a visit."""

from __future__ import annotations

import importlib.util
import os
import re
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path

import nbformat
import psutil
import pytest
from helpers.app_server import app_server

from redeepfake_nb import MissingExtra, RedeepfakeError
from redeepfake_nb.cli import main
from redeepfake_nb.serving import ServingOptions, serve
from redeepfake_nb.serving.server import page_notebook

voila = pytest.mark.skipif(importlib.util.find_spec("voila") is None, reason="voila is not installed")


def fetch(address: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"port": 0}, "port"),
        ({"port": 70000}, "port"),
        ({"upload_limit": 0}, "upload limit"),
        ({"visitors": 0}, "visitors"),
        ({"idle_minutes": 0}, "idle minutes"),
        ({"idle_minutes": float("nan")}, "idle minutes"),
        ({"base_url": "faces"}, "begin with /"),
    ],
)
def test_options_out_of_range(wrong: dict, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        ServingOptions(**wrong)


@pytest.mark.parametrize(
    ("ip", "token", "asks"),
    [
        ("127.0.0.1", None, False),
        ("localhost", None, False),
        ("::1", None, False),
        ("127.0.0.1", True, True),
        ("0.0.0.0", None, True),
        ("192.0.2.1", None, True),
        ("0.0.0.0", False, False),
    ],
)
def test_a_token_is_asked_for_where_others_reach_the_page(ip: str, token: bool | None, asks: bool) -> None:
    assert ServingOptions(ip=ip, token=token).asks_for_token is asks


def test_the_notebook_of_the_page(tmp_path: Path) -> None:
    model = tmp_path / "a 'model'.keras"
    made = page_notebook(ServingOptions(model=model, upload_limit=7))
    nbformat.validate(nbformat.from_dict(made))
    source = made["cells"][0]["source"]
    compile(source, "page", "exec")
    assert repr(str(model)) in source
    assert "max_upload_mb=7" in source
    assert "local_files=False" in source


def test_without_voila_the_extra_is_named(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"redeepfake-nb\[app\]"):
        serve()
    assert main(["app", "--no-browser"]) == 1
    assert "pip install" in capsys.readouterr().err


@voila
def test_what_cannot_be_served_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert main(["app", "--visitors", "0"]) == 2
    assert main(["app", "--no-browser", "--model", str(tmp_path / "none.keras")]) == 1
    assert "none.keras" in capsys.readouterr().err
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(["app", "--no-browser", "--port", str(port)]) == 1
        assert f"port {port} is taken" in capsys.readouterr().err
    with pytest.raises(RedeepfakeError, match=r"cannot listen at 203\.0\.113\.9"):
        serve(ServingOptions(ip="203.0.113.9"))


@voila
def test_folders_of_servers_that_were_killed_are_removed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from redeepfake_nb.serving.sessions import PREFIX, new_folder

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    left, alive, other = (
        tmp_path / f"{PREFIX}{name}" for name in (f"{ended.pid}-x", f"{os.getpid()}-x", "x")
    )
    for folder in (left, alive, other):
        folder.mkdir()
    made = new_folder()
    assert sorted(tmp_path.iterdir()) == sorted([alive, other, made])


@voila
@pytest.mark.slow
def test_a_page_within_its_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Served over HTTP: one visitor, no source, no files, no other page; and nothing is left at the end.

    The user who runs the server has no home that could be written to, as in a container.
    """
    (tmp_path / "file").touch()
    monkeypatch.setenv("HOME", str(tmp_path / "file" / "home"))
    with app_server(tmp_path, "--visitors", "1", "--token", "--base-url", "/faces/") as (server, address):
        base, token = address.split("?token=")
        assert base.endswith("/faces/")
        status, page = fetch(base)
        assert "kernelId" not in page  # the login
        status, page = fetch(address)
        served = page
        assert status == 200
        assert "jupyter-widgets" in page or "widget-view" in page
        assert "from redeepfake_nb" not in page
        assert not re.findall(r'(?:src|href)="(?:https?:)?//', page)
        until = time.monotonic() + 60
        while len(visits := list(tmp_path.glob("tmp/*/visits/*"))) < 2 and time.monotonic() < until:
            time.sleep(0.2)  # the next visitor's
        status, page = fetch(address)
        assert (status, "All places are taken" in page) == (503, True)
        for path in (
            "voila/files/app.ipynb",
            "app.ipynb",
            "voila/api/contents",
            "api/kernels",
            "../app.ipynb",
        ):
            assert fetch(f"{base}{path}?token={token}")[0] == 404, path
        # A visit whose process is killed is over, and its folder is deleted.
        kernel = re.search(r'"kernelId": "([^"]+)"', served)[1]
        (process,) = [p for p in psutil.Process(server.pid).children() if kernel in " ".join(p.cmdline())]
        process.kill()
        until = time.monotonic() + 60
        while fetch(f"{base}api/kernels/{kernel}?token={token}")[0] != 404 and time.monotonic() < until:
            time.sleep(0.2)
        assert set(tmp_path.glob("tmp/*/visits/*")) < set(visits)
        server.send_signal(signal.SIGTERM)
        server.wait(30)
    until = time.monotonic() + 20
    while (left := list(tmp_path.glob("tmp/*"))) and time.monotonic() < until:
        time.sleep(0.2)
    assert left == []
