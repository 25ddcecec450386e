"""Read each hostile file in a child process limited to 2 GB and 60 s, and compare the outcome with
corpus.json.

There must be no signal, no timeout, no untyped exception, no file left behind, no network connection, and no
silent error: a complete image has the expected content, a complete video its frames in order.

An entry of ``corpus.json`` states an outcome (``whole``, ``partial``, or the name of an error) and optionally
notes, number of frames, size, and content. ``either`` allows a second outcome that depends on memory.
"""

from __future__ import annotations

import json
import os
import re
import select
import socket
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from helpers import hostile_pictures, hostile_videos
from helpers.reading import grid
from helpers.sandbox import Sandbox, SandboxResult

from redeepfake_nb import errors

EXPECTED = json.loads(Path(__file__).with_name("corpus.json").read_text(encoding="utf-8"))
FOLDERS = {"pictures": "images", "videos": "videos"}
MADE = {"pictures": hostile_pictures.CASES, "videos": hostile_videos.CASES}
# Reading them from each kind of source would take minutes.
LARGE = {"many_large_pictures.mp4", "huge_8192x4320.mp4", "long_1h.mp4"}


@pytest.fixture(scope="module")
def sandbox() -> Iterator[Sandbox]:
    with Sandbox("helpers.reading") as server:
        yield server


@pytest.fixture(scope="module")
def listener() -> Iterator[socket.socket]:
    """Detects readers that follow an address in a playlist."""
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", hostile_videos.PORT))
        except OSError:
            pytest.skip("another program listens where the test would")
        server.listen()
        yield server


def read(sandbox: Sandbox, kind: str, path: Path) -> SandboxResult:
    function = {"pictures": "picture", "videos": "video_by_path" if path.name in LARGE else "video"}[kind]
    return sandbox.call(f"helpers.reading:{function}", str(path))


def check(result: SandboxResult, expected: dict, shown: dict[str, list[list[int]]]) -> None:
    assert not result.violation
    found = result.value
    assert found["outcome"] in (expected["outcome"], expected.get("either"))
    if "grid" not in found:
        assert issubclass(getattr(errors, found["outcome"]), errors.InputError)
        assert re.search(r"\.$", found["message"])
        assert found["step"]
        return
    assert found["notes"] == expected.get("notes", [])
    if "size" in expected:
        assert found["size"] == expected["size"]
    if "frames" in expected:
        assert found["frames"] == expected["frames"]
    if "shows" in expected:
        assert np.abs(np.subtract(found["grid"], shown[expected["shows"]])).max() <= 6
    if found["outcome"] == "whole":
        assert found.get("wrong", 0) == 0
    else:
        # A partial result tells what is missing. Frames without timestamps are numbered consecutively.
        assert re.search(r"damaged|missing|claims|stopped|cannot|took", found["why"])


def named(group: str) -> list:
    return [
        pytest.param(kind, name, id=f"{kind}-{name}") for kind in EXPECTED for name in EXPECTED[kind][group]
    ]


@pytest.fixture(scope="module")
def shown_by_shared(shared: Path, sandbox: Sandbox) -> dict[str, dict]:
    """Content of the valid image and the valid video."""
    good = {"pictures": "images/ok.png", "videos": "videos/ok.mp4"}
    return {
        kind: {"ok": read(sandbox, kind, shared / "bad_inputs" / path).value["grid"]}
        for kind, path in good.items()
    }


@pytest.mark.parametrize(("kind", "name"), named("shared"))
def test_shared(shared, sandbox, listener, shown_by_shared, kind, name):
    result = read(sandbox, kind, shared / "bad_inputs" / FOLDERS[kind] / name)
    check(result, EXPECTED[kind]["shared"][name], shown_by_shared[kind])
    assert not select.select([listener], [], [], 0)[0]


@pytest.mark.parametrize(("kind", "name"), named("made"))
def test_made(sandbox, listener, tmp_path, kind, name):
    path = tmp_path / name
    path.write_bytes(MADE[kind][name]())
    scene = hostile_pictures.scene()
    shown = {"scene": grid(scene), "green": grid(scene[..., [1, 1, 1]])}
    check(read(sandbox, kind, path), EXPECTED[kind]["made"][name], shown)
    assert not select.select([listener], [], [], 0)[0]


def test_the_list_is_complete(shared):
    for kind, folder in FOLDERS.items():
        assert set(EXPECTED[kind]["shared"]) == set(os.listdir(shared / "bad_inputs" / folder))


def test_the_list_of_made_cases_is_complete():
    for kind, cases in MADE.items():
        assert set(EXPECTED[kind]["made"]) == set(cases)


# ------------------------------------------------------------------ names with a meaning for some readers

NAMES = (
    "concat:{good}|{good}",
    "subfile,,start,0,end,0,,:{good}",
    "img%03d.jpg",
    "*.mp4",
    "file://{good}",
    "http://127.0.0.1:{port}/a.mp4",
    "rtsp://127.0.0.1:{port}/a",
    "tcp://127.0.0.1:{port}",
    "data:image/png;base64,iVBORw0KGgo=",
    "pipe:0",
    "-",
    "|touch marker",
    "$(touch marker).png",
    "{good};touch marker",
    "{good}\0.png",
    "",
)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", EXPECTED)
def test_a_path_is_nothing_but_a_path(sandbox, listener, tmp_path, kind, name):
    good = tmp_path / "img001.jpg"
    good.write_bytes(MADE[kind]["plain.png" if kind == "pictures" else "plain.mp4"]())
    path = name.format(good=good, port=hostile_videos.PORT)
    result = sandbox.call(f"helpers.reading:{kind[:-1]}_by_path", path)
    assert not result.violation
    assert result.value["outcome"] in ("InputError", "UnsupportedMedia")
    assert not select.select([listener], [], [], 0)[0]


@pytest.mark.parametrize("name", ["img%03d", "concat:a", "a;touch marker", "-rf", "a b\nc", "é\u202e", "*"])
@pytest.mark.parametrize("kind", EXPECTED)
def test_a_file_may_have_any_name(sandbox, tmp_path, kind, name):
    path = tmp_path / name
    path.write_bytes(MADE[kind]["plain.png" if kind == "pictures" else "plain.mp4"]())
    result = sandbox.call(f"helpers.reading:{kind[:-1]}", str(path))
    assert not result.violation
    assert result.value["outcome"] == "whole"


# ------------------------------------------------------------------ the sandbox itself


def test_the_sandbox_detects_violations(sandbox):
    assert sandbox.call("helpers.misbehaving:succeed").value == 5
    assert not sandbox.call("helpers.misbehaving:succeed").violation
    assert "SIGSEGV" in sandbox.call("helpers.misbehaving:crash").violation
    assert "still running" in sandbox.call("helpers.misbehaving:hang", seconds=0.3).violation
    assert "KeyError" in sandbox.call("helpers.misbehaving:fail").violation
    assert "wrote marker" in sandbox.call("helpers.misbehaving:write").violation
    assert "MemoryError" in sandbox.call("helpers.misbehaving:grow").violation
