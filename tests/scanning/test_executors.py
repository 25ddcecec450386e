"""Every executor gives the same table, and workers may join, leave and be lost."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import BrokenExecutor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from helpers.scan_helpers import CRASH, folder, slow, square, worker_pids, write

from redeepfake_nb import Classifier, MissingExtra, RedeepfakeError, ScanResult, open_scan, save_model, scan
from redeepfake_nb.scanning import executors, scheduler
from redeepfake_nb.scanning.executors import connect_dask, local_capacity

pytestmark = pytest.mark.slow


def table(result: ScanResult) -> pd.DataFrame:
    return result.to_frame().drop(columns=["seconds", "scored_at"])


def test_local_capacity() -> None:
    processes, threads = local_capacity()
    assert 1 <= processes <= (os.cpu_count() or 1)
    assert threads >= 1
    assert processes * threads <= max(os.cpu_count() or 1, processes)


def test_little_memory_means_fewer_processes_with_more_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "cores", lambda: 8)
    for free, expected in ((None, (8, 1)), (10**12, (8, 1)), (4_500_000_000, (2, 4)), (10**8, (1, 8))):
        monkeypatch.setattr(executors, "free_memory", lambda free=free: free)
        assert local_capacity("tensorflow") == expected
    # With LiteRT a process needs less memory.
    monkeypatch.setattr(executors, "free_memory", lambda: 3_700_000_000)
    monkeypatch.setattr(executors, "has_gpu", lambda: False)
    monkeypatch.setattr(executors, "litert_installed", lambda: True)
    assert local_capacity() == (4, 2)


def test_any_executor_is_used_and_stays_open(classifier: Classifier, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", 4)
    write(files / "crash.png", 9, CRASH)
    expected = table(scan(files, tmp_path / "a.sqlite", classifier, workers=1, detector=square))
    with ThreadPoolExecutor(2) as executor:
        result = scan(files, tmp_path / "b.sqlite", classifier, executor=executor, detector=square)
        assert executor.submit(int, "5").result() == 5
    pd.testing.assert_frame_equal(table(result), expected)
    assert list(expected["error"].dropna()) == ["WorkerLost"]


class Breaking:
    """An executor that fingerprints files, and breaks when a job is submitted."""

    def __init__(self, error: Exception) -> None:
        self.error = error

    def submit(self, work: Any, *arguments: Any) -> Future:
        future: Future = Future()
        if work.__name__ == "run_job":
            future.set_exception(self.error)
        else:
            future.set_result(work(*arguments))
        return future


def test_broken_executor_raises_and_files_keep_waiting(classifier: Classifier, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", 3)
    with pytest.raises(RedeepfakeError, match="the executor ended before the scan did"):
        scan(files, tmp_path / "j.sqlite", classifier, executor=Breaking(BrokenExecutor()), detector=square)
    assert open_scan(tmp_path / "j.sqlite").counts["waiting"] == 3
    assert open_scan(tmp_path / "j.sqlite").scan.state == "stopped"


def test_an_executor_that_was_closed_raises_and_files_keep_waiting(
    classifier: Classifier, tmp_path: Path
) -> None:
    executor = ThreadPoolExecutor(1)
    executor.shutdown()
    files = folder(tmp_path / "files", 3)
    with pytest.raises(RedeepfakeError, match="the executor ended before the scan did"):
        scan(files, tmp_path / "j.sqlite", classifier, executor=executor, detector=square)
    assert open_scan(tmp_path / "j.sqlite").counts["waiting"] == 3
    assert open_scan(tmp_path / "j.sqlite").scan.state == "stopped"


def test_a_scan_whose_workers_cannot_be_made_counts_as_stopped(
    classifier: Classifier, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise MemoryError

    monkeypatch.setattr(scheduler, "_create_backend", fail)
    with pytest.raises(MemoryError):
        scan(folder(tmp_path / "files", 3), tmp_path / "j.sqlite", classifier, workers=0, detector=square)
    assert open_scan(tmp_path / "j.sqlite").scan.state == "stopped"


def test_file_whose_task_is_lost_again_in_isolation_fails(classifier: Classifier, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", 3)
    result = scan(
        files, tmp_path / "j.sqlite", classifier, executor=Breaking(OSError("worker gone")), detector=square
    )
    assert {row.error for row in result.rows()} == {"WorkerLost"}
    assert "OSError: worker gone" in result.rows()[0].cause


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingExtra, match=r"redeepfake-nb\[cluster\]"):
        connect_dask("tcp://head:8786")


# -- Dask: a cluster of two processes on this machine


@pytest.fixture(scope="module")
def client() -> Iterator[Any]:
    distributed = pytest.importorskip("distributed", reason="the extra cluster is not installed")
    with (
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            processes=True,
            dashboard_address=None,
            silence_logs=False,
        ) as cluster,
        distributed.Client(cluster) as client,
    ):
        yield client


def children(client: Any) -> dict[str, list[int]]:
    """Process IDs of the worker processes on each Dask worker."""
    return client.run(worker_pids)


@pytest.fixture(scope="module")
def model(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_model(classifier, tmp_path_factory.mktemp("model") / "tiny.keras")


def test_a_cluster_gives_the_same_table(client: Any, classifier: Classifier, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", 8)
    write(files / "crash.png", 9, CRASH)
    (files / "empty.jpg").write_bytes(b"")
    expected = table(scan(files, tmp_path / "a.sqlite", classifier, workers=1, detector=square))
    result = scan(files, tmp_path / "b.sqlite", classifier, executor=client, detector=square)
    pd.testing.assert_frame_equal(table(result), expected)
    assert all(not pids for pids in children(client).values())
    assert client.submit(int, "5").result() == 5


def test_the_model_is_loaded_once_per_worker(client: Any, model: Path, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", 24)
    seen: list[dict[str, list[int]]] = []

    def note_processes(done: int, total: int | None) -> None:
        seen.append(children(client))

    scan(files, tmp_path / "j.sqlite", model, executor=client, detector=slow, progress=note_processes)
    pids = {worker: {pid for at in seen for pid in at.get(worker, ())} for worker in children(client)}
    assert [len(found) for found in pids.values()] == [1, 1]


def test_model_is_copied_to_workers_that_cannot_read_its_path(
    client: Any, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that do not see this machine's files get the model with the plugin."""
    files = folder(tmp_path / "files", 2)
    hidden = tmp_path / "here-only" / "tiny.keras"
    hidden.parent.mkdir()
    for suffix in (".keras", ".json"):
        hidden.with_suffix(suffix).write_bytes(model.with_suffix(suffix).read_bytes())
    plain = executors._model_plugin

    def and_gone(path: Path, sha256: str) -> Any:
        plugin = plain(path, sha256)
        path.unlink()
        return plugin

    monkeypatch.setattr(executors, "_model_plugin", and_gone)
    result = scan(files, tmp_path / "j.sqlite", hidden, executor=client, detector=square)
    assert result.counts["done"] == 2


def test_lost_dask_worker_is_replaced(client: Any, model: Path, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", 24)
    expected = table(scan(files, tmp_path / "a.sqlite", model, workers=2, detector=slow))
    first = next(iter(client.run(os.getpid).values()))
    killed: list[int] = []

    def kill(done: int, total: int | None) -> None:
        if done >= 4 and not killed:
            os.kill(first, signal.SIGKILL)
            killed.append(first)

    result = scan(files, tmp_path / "b.sqlite", model, executor=client, detector=slow, progress=kill)
    assert killed
    pd.testing.assert_frame_equal(table(result), expected)
    client.wait_for_workers(2, timeout=60)
    assert first not in client.run(os.getpid).values()


def test_cancelling_leaves_no_process_on_the_cluster(client: Any, model: Path, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", 24)
    stop = threading.Event()

    def progress(done: int, total: int | None) -> None:
        if done >= 2:
            stop.set()

    result = scan(
        files, tmp_path / "j.sqlite", model, executor=client, detector=slow, progress=progress, cancel=stop
    )
    assert result.cancelled
    assert 2 <= result.counts["done"] < 24
    deadline = time.monotonic() + 30
    while any(children(client).values()) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not any(children(client).values())


def test_addresses_are_read_by_the_workers(client: Any, model: Path, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", 3)
    addresses = [f"file://{path}" for path in sorted(files.iterdir())]
    result = scan(
        [*addresses, f"file://{files}/absent.png"],
        tmp_path / "j.sqlite",
        model,
        executor=client,
        detector=square,
    )
    local = scan(files, tmp_path / "j.sqlite", model, workers=0, detector=square)
    assert [row.score for row in result.rows()][:3] == [row.score for row in local.rows()]
    assert result.rows()[3].error == "InputError"
    assert result.rows()[0].path == addresses[0]
