"""Named models are downloaded once, verified, converted and cached; failures leave nothing behind."""

from __future__ import annotations

import hashlib
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile_models import keras2_config, keras2_file, keras2_layer

from redeepfake_nb import (
    Card,
    HashMismatch,
    ModelError,
    ModelIncomplete,
    NotAModel,
    OutputError,
    Preprocessing,
    load_model,
)
from redeepfake_nb.models import hub
from redeepfake_nb.models.hub import CACHE_VARIABLE, HUB_MODELS, HubModel

CARD = Card(
    name="Tiny",
    version="1",
    preprocessing=Preprocessing(input_size=8, color_order="BGR", value_range=(0, 1)),
    output="probability",
)


class Answers(BaseHTTPRequestHandler):
    """Serves what the test put into ``server.answers``: path -> function of the handler."""

    def do_GET(self) -> None:
        self.server.asked.append(self.path)
        self.server.answers[self.path](self)

    def log_message(self, *_: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    answers: dict[str, Callable]
    asked: list[str]

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


def whole(data: bytes, *, announced: int | None = None, pause: float = 0) -> Callable:
    """Send the data; ``announced`` is the length that is promised."""

    def answer(handler: Answers) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data) if announced is None else announced))
        handler.end_headers()
        for start in range(0, len(data), 4096):
            handler.wfile.write(data[start : start + 4096])
            time.sleep(pause)

    return answer


def error(code: int) -> Callable:
    return lambda handler: handler.send_error(code)


def moved(to: str) -> Callable:
    def answer(handler: Answers) -> None:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.end_headers()

    return answer


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server(("127.0.0.1", 0), Answers)
    server.answers, server.asked = {}, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def original(tmp_path: Path) -> bytes:
    """A Keras 2 file: P(fake) is the sigmoid of the sum of all pixels minus 3."""
    config = keras2_config(keras2_layer("Flatten"), keras2_layer("Dense", units=1, activation="sigmoid"))
    kernel, bias = np.ones((192, 1), np.float32), np.float32([-3])
    return keras2_file(tmp_path, "original", config, dense__kernel=kernel, dense__bias=bias).read_bytes()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cache"
    monkeypatch.setenv(CACHE_VARIABLE, str(folder))
    monkeypatch.setattr(hub, "KAGGLE", tmp_path / "kaggle")
    return folder


@pytest.fixture
def known(original: bytes, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch) -> HubModel:
    named = HubModel(
        "tiny-v1",
        (server.url("/first"), server.url("/second")),
        len(original),
        hashlib.sha256(original).hexdigest(),
        ".h5",
        CARD,
    )
    monkeypatch.setitem(HUB_MODELS, named.name, named)
    server.answers = {"/first": whole(original), "/second": error(404)}
    return named


def names(folder: Path) -> list[str]:
    """What lies in the cache, the lock aside."""
    return sorted(p.name for p in folder.iterdir() if p.suffix != ".lock") if folder.exists() else []


KEPT = ["tiny-v1.json", "tiny-v1.keras"]


@pytest.mark.slow
def test_downloaded_once(known: HubModel, server: Server, cache: Path) -> None:
    first = load_model("tiny-v1")
    x = np.full((1, 8, 8, 3), 1 / 96, np.float32)
    assert first.logits(x)[0] == pytest.approx(2 - 3, abs=1e-4)
    assert first.card.name == "Tiny"
    assert first.card.converted_from == known.sha256
    assert first.preprocessing.color_order == "BGR"
    assert names(cache) == KEPT
    second = load_model("tiny-v1", sha256=known.sha256)
    np.testing.assert_array_equal(second.logits(x), first.logits(x))
    assert server.asked == ["/first"]


@pytest.mark.slow
def test_second_address_is_tried(known: HubModel, server: Server, original: bytes, cache: Path) -> None:
    server.answers = {"/first": error(503), "/second": moved("/third"), "/third": whole(original)}
    assert load_model("tiny-v1").name == "Tiny 1"
    assert server.asked == ["/first", "/second", "/third"]


def cut(data: bytes) -> Callable:
    return whole(data[: len(data) // 2], announced=len(data))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("answer", "kind", "message"),
    [
        (lambda data: error(404), ModelIncomplete, "could not be downloaded.*404"),
        (cut, ModelIncomplete, "could not be downloaded"),
        (lambda data: whole(data[:-9]), NotAModel, "bytes, not the"),
        (lambda data: whole(data + bytes(9)), NotAModel, "more than"),
        (lambda data: whole(bytes([data[0]]) + data[:-1]), HashMismatch, "SHA-256"),
        (lambda data: whole(b"version https://git-lfs.github.com/spec/v1\n"), NotAModel, "Git LFS pointer"),
        (lambda data: whole(b"<!doctype html>"), NotAModel, "web page"),
        (lambda data: moved("/first"), ModelIncomplete, "could not be downloaded"),
    ],
    ids=["absent", "interrupted", "short", "long", "another", "pointer", "page", "circle"],
)
def test_failed_download_leaves_nothing(
    known: HubModel, server: Server, original: bytes, cache: Path, answer: Callable, kind: type, message: str
) -> None:
    server.answers["/first"] = answer(original)
    with pytest.raises(kind, match=message) as caught:
        load_model("tiny-v1")
    assert isinstance(caught.value, ModelError)
    assert names(cache) == []
    server.answers["/first"] = whole(original)
    assert load_model("tiny-v1").name == "Tiny 1"


def test_server_that_does_not_answer(
    known: HubModel, server: Server, original: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub, "TIMEOUT", 0.2)
    server.answers["/first"] = lambda handler: time.sleep(1)
    with pytest.raises(ModelIncomplete, match="Timeout"):
        load_model("tiny-v1")
    assert names(cache) == []


def test_interrupted_download_leaves_nothing(
    known: HubModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(hub._ProgressBar, "update", stop)
    with pytest.raises(KeyboardInterrupt):
        load_model("tiny-v1")
    assert names(cache) == []


@pytest.mark.slow
@pytest.mark.parametrize("place", ["cache", "kaggle"])
def test_existing_copy_is_used(
    known: HubModel, server: Server, original: bytes, cache: Path, place: str
) -> None:
    """Under any name; a pointer file of the right name beside it does not matter."""
    folder = cache.parent / place / "some" / "data set"
    folder.mkdir(parents=True)
    (folder / "model.h5").write_bytes(b"version https://git-lfs.github.com/spec/v1\n")
    (folder / "weights (1).h5").write_bytes(original)
    (folder / "z.h5").write_bytes(bytes(len(original)))
    assert load_model("tiny-v1").name == "Tiny 1"
    assert server.asked == []
    assert (folder / "weights (1).h5").read_bytes() == original


@pytest.mark.slow
def test_model_converted_from_another_file_is_replaced(known: HubModel, server: Server, cache: Path) -> None:
    load_model("tiny-v1")
    sidecar = cache / "tiny-v1.json"
    sidecar.write_text(sidecar.read_text().replace(known.sha256, "0" * 64))
    load_model("tiny-v1")
    assert server.asked == ["/first", "/first"]


def test_leftovers_of_a_killed_process_are_deleted(known: HubModel, cache: Path) -> None:
    left = cache / ".tiny-v1-abc"
    left.mkdir(parents=True)
    (left / "model.h5").write_bytes(b"half")
    load_model("tiny-v1")
    assert names(cache) == KEPT


def test_other_hash_than_that_of_the_name(known: HubModel, server: Server) -> None:
    with pytest.raises(HashMismatch, match="the call says"):
        load_model("tiny-v1", sha256="0" * 64)
    assert server.asked == []


def test_cache_folder_that_cannot_be_created(
    known: HubModel, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache.write_text("a file where the folder should be")
    with pytest.raises(OutputError, match=CACHE_VARIABLE):
        load_model("tiny-v1")


def test_path_is_not_a_name(known: HubModel) -> None:
    with pytest.raises(ModelIncomplete, match="no such file"):
        load_model(Path("tiny-v1"))


def test_the_platforms_folder_is_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    import pooch

    monkeypatch.delenv(CACHE_VARIABLE, raising=False)
    assert hub.cache_folder() == Path(pooch.os_cache("redeepfake_nb"))


@pytest.mark.slow
def test_two_processes_download_once(known: HubModel, server: Server, original: bytes, cache: Path) -> None:
    """They download once, the second waits for the first."""
    server.answers["/first"] = whole(original, pause=0.05)
    code = f"""
        from pathlib import Path
        from redeepfake_nb.models import hub
        from redeepfake_nb.models.card import Card
        url, size, digest = {known.urls[0]!r}, {known.size}, {known.sha256!r}
        named = hub.HubModel("tiny-v1", (url,), size, digest, ".h5", Card())
        def convert(original, card, path):
            path.write_bytes(original.read_bytes())
            path.with_suffix(".json").write_text('{{"converted_from": "{known.sha256}"}}')
        print(hub.cached_model(named, convert))
    """
    command = [sys.executable, "-c", textwrap.dedent(code)]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [process.communicate(timeout=120)[0].strip() for process in both] == [str(cache / KEPT[1])] * 2
    assert server.asked == ["/first"]
    assert names(cache) == KEPT


def test_card_of_redeepfake() -> None:
    named = HUB_MODELS["redeepfake-v1.3"]
    assert named.size == 142659864
    assert named.sha256 == "fb4e1fa685eb428a175ef758cb6b80cb73632d1f8112b94404b73840ecac5ad1"
    assert named.card.preprocessing == Preprocessing(224, "BGR", (0, 255), 0)
    assert (named.card.output, named.card.positive_class) == ("probability", "fake")
    assert replace(named.card, sha256="0").to_dict()["preprocessing"]["color_order"] == "BGR"
