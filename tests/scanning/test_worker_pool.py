"""A file that crashes or hangs its worker process fails alone, and no process is left behind."""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
import types
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.scan_helpers import CRASH, EXIT, HANG, KILL, printing, probability, square, write

from redeepfake_nb import Classifier, HashMismatch, ModelIncomplete, RedeepfakeError, save_model
from redeepfake_nb.scanning import worker_pool, worker_process
from redeepfake_nb.scanning.file_scoring import Outcome, ScanSettings
from redeepfake_nb.scanning.worker_pool import Job, close_workers, run_job
from redeepfake_nb.utils.hashing import sha256_of

pytestmark = pytest.mark.slow

SETTINGS = pickle.dumps(ScanSettings(detector=square, threshold=0.6))


class ImportsTensorFlow:
    """A detector that puts a module of that name in place when it is unpickled."""

    def __call__(self, image: np.ndarray) -> list:
        return square(image)

    def __setstate__(self, state: object) -> None:
        sys.modules["tensorflow"] = types.ModuleType("tensorflow")

    def __getstate__(self) -> dict:
        return {"anything": True}


@pytest.fixture(scope="module")
def model(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(classifier, tmp_path_factory.mktemp("model") / "tiny.keras")


@pytest.fixture
def job(model: Path) -> Iterator[Job]:
    scan = uuid.uuid4().hex
    yield Job(scan, str(model), sha256_of(model), SETTINGS, (), time_limit=60.0, threads=1)
    close_workers(scan)
    assert not worker_pool._idle.get(scan)


def score(job: Job, paths: list[Path], **changes: object) -> list[tuple[Outcome, bool]]:
    return run_job(replace(job, paths=tuple(map(str, paths)), **changes))


def running(job: Job) -> list[int]:
    return [w.pid for w in (*worker_pool._idle.get(job.scan, ()), *worker_pool._busy.get(job.scan, ()))]


def test_worker_process_is_reused(job: Job, tmp_path: Path) -> None:
    paths = [write(tmp_path / f"{grey}.png", grey) for grey in (50, 150, 250)]
    found = score(job, paths)
    assert [o.score for o, _ in found] == pytest.approx([probability(g) for g in (50, 150, 250)], abs=1e-4)
    assert [retry for _, retry in found] == [False] * 3
    (first,) = running(job)
    assert [o.score for o, _ in score(job, paths[1:])] == [o.score for o, _ in found[1:]]
    assert running(job) == [first]
    close_workers(job.scan)
    assert not os.path.exists(f"/proc/{first}")


@pytest.mark.parametrize(
    ("first", "message"),
    [(CRASH, "SIGSEGV"), (EXIT, "exit status 7"), (KILL, "SIGKILL, perhaps because memory")],
)
def test_file_that_ends_its_process_fails_alone(job: Job, tmp_path: Path, first: tuple, message: str) -> None:
    paths = [write(tmp_path / f"{i}.png", 40 * i) for i in range(3)]
    paths.insert(1, write(tmp_path / "bad.png", 100, first))
    found = score(job, paths)
    assert [o.status for o, _ in found] == ["done", "failed", "done", "done"]
    outcome, retry = found[1]
    assert outcome.error == "WorkerLost"
    assert message in outcome.cause
    # A process may be killed on account of another one, so such a file is retried in isolation.
    assert retry is (first == KILL)
    if retry:
        assert score(job, [paths[1]], isolated=True)[0][1] is False


def test_file_that_hangs_times_out(job: Job, tmp_path: Path) -> None:
    score(job, [write(tmp_path / "warm.png", 10)])
    paths = [
        write(tmp_path / "a.png", 10),
        write(tmp_path / "b.png", 10, HANG),
        write(tmp_path / "c.png", 10),
    ]
    found = score(job, paths, time_limit=3.0)
    assert [o.status for o, _ in found] == ["done", "failed", "done"]
    assert found[1][0].error == "TookTooLong"
    assert "after 3 s" in found[1][0].cause
    assert len(running(job)) == 1


def test_output_of_libraries_does_not_mix_with_results(job: Job, tmp_path: Path) -> None:
    settings = pickle.dumps(ScanSettings(detector=printing, threshold=0.6))
    ((outcome, _),) = score(job, [write(tmp_path / "a.png", 90)], settings=settings)
    assert outcome.status == "done"


def test_a_process_is_replaced_once_after_its_network_was_compiled(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where each process says so, as with a detector that needs TensorFlow."""
    started, ended = [], []

    class Compiling:
        def __init__(self, threads: int) -> None:
            started.append(self)

        def load_model(self, job: Job) -> bool:
            return True

        def end(self) -> None:
            ended.append(self)

    monkeypatch.setattr(worker_pool, "Worker", Compiling)
    assert worker_pool._acquire_worker(job) is started[1]
    assert (len(started), ended) == (2, started[:1])


def test_what_a_detector_imports_is_not_taken_for_compiling(
    model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    setup = {"model": str(model), "sha256": sha256_of(model), "runtime": "auto"}
    # This detector puts the module there when it is unpickled.
    settings = pickle.dumps(ScanSettings(detector=ImportsTensorFlow()))
    _, compiled = worker_process._create_scorer({**setup, "settings": SETTINGS})
    monkeypatch.delitem(sys.modules, "tensorflow", raising=False)
    scorer, compiled = worker_process._create_scorer({**setup, "settings": settings})
    assert scorer.uses_litert
    assert "tensorflow" in sys.modules
    assert not compiled


def test_unavailable_model_is_a_typed_error(job: Job, tmp_path: Path) -> None:
    path = [write(tmp_path / "a.png", 90)]
    with pytest.raises(HashMismatch, match="the call says"):
        score(job, path, sha256="0" * 64)
    with pytest.raises(ModelIncomplete, match="not on the machine"):
        score(job, path, model=str(tmp_path / "absent.keras"), sha256="0" * 64)
    assert running(job) == []


def test_close_workers_ends_a_running_job(job: Job, tmp_path: Path) -> None:
    path = write(tmp_path / "b.png", 10, HANG)
    raised: list[BaseException] = []

    def drive() -> None:
        try:
            score(job, [path])
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=drive)
    thread.start()
    deadline = time.monotonic() + 60
    while not running(job) and time.monotonic() < deadline:
        time.sleep(0.05)
    (process,) = running(job)
    close_workers(job.scan)
    thread.join(60)
    assert not thread.is_alive()
    assert not os.path.exists(f"/proc/{process}")
    assert isinstance(raised[0], RedeepfakeError)
    assert running(job) == []
