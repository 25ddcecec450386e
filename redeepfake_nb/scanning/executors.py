"""Where a scan's work is done: here, in processes of this machine, on any executor, on a Dask cluster."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from ..errors import MissingExtra, RedeepfakeError, displayable
from . import worker_pool as workers
from .file_scoring import FileScorer, Outcome
from .inputs import Fingerprint, Known, take_fingerprints
from .worker_pool import Job, close_workers, run_job

# What a process takes with the model that ships, and room for a large picture.
WORKER_BYTES = 1_600_000_000
# The interval at which a cluster is asked how large it is, in seconds.
_ASK_EVERY = 2.0


class Site(Protocol):
    """A place where files are looked at and scored."""

    @property
    def capacity(self) -> int:
        """How many jobs can run at a time, at least 1."""

    def look(self, files: Sequence[Known]) -> Future[list[Fingerprint]]:
        """Begin to take fingerprints."""

    def score(self, job: Job) -> Future[list[tuple[Outcome, bool]]]:
        """Begin a job."""

    def close(self) -> None:
        """Give up what has not ended, and leave no process behind."""


class Here:
    """This very process: nothing protects it from files that crash their reader."""

    capacity = 1

    def __init__(self, scorer: FileScorer) -> None:
        self._scorer = scorer

    def look(self, files: Sequence[Known]) -> Future:
        return _now(lambda: take_fingerprints(files))

    def score(self, job: Job) -> Future:
        return _now(lambda: self._score(job))

    def _score(self, job: Job) -> list[tuple[Outcome, bool]]:
        found = dict(self._scorer.score(job.paths, lambda place: None))
        return [(found[i], False) for i in range(len(job.paths))]

    def close(self) -> None:
        pass


def _now(work: Any) -> Future:
    future: Future = Future()
    try:
        future.set_result(work())
    except Exception as error:
        future.set_exception(error)
    return future


class Machine:
    """Processes of this machine, each driven by a thread of this process."""

    def __init__(self, scan: str, count: int) -> None:
        self._scan = scan
        self.capacity = count
        self._closing = False
        self._drivers = ThreadPoolExecutor(count, thread_name_prefix="redeepfake-scan")
        # Reading ahead of the processes, so that they never wait for a digest.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="redeepfake-look")

    def look(self, files: Sequence[Known]) -> Future:
        return self._reader.submit(self._look, files)

    def _look(self, files: Sequence[Known]) -> list[Fingerprint]:
        # One by one, so that closing has to wait for one at most.
        return [found for file in files if not self._closing for found in take_fingerprints([file])]

    def score(self, job: Job) -> Future:
        return self._drivers.submit(run_job, job)

    def close(self) -> None:
        self._closing = True
        self._drivers.shutdown(wait=False, cancel_futures=True)
        self._reader.shutdown(wait=False, cancel_futures=True)
        close_workers(self._scan)
        self._drivers.shutdown(wait=True)
        self._reader.shutdown(wait=True)


class Foreign:
    """Somebody's executor in the style of :mod:`concurrent.futures`. It is not shut down."""

    def __init__(self, scan: str, executor: Executor) -> None:
        self._scan, self._executor = scan, executor
        self._begun: list[Future] = []

    @property
    def capacity(self) -> int:
        return max(1, int(getattr(self._executor, "_max_workers", None) or os.cpu_count() or 1))

    def look(self, files: Sequence[Known]) -> Future:
        return self._keep(self._executor.submit(take_fingerprints, files))

    def score(self, job: Job) -> Future:
        return self._keep(self._executor.submit(run_job, job))

    def _keep(self, future: Future) -> Future:
        self._begun = [f for f in self._begun if not f.done()]
        self._begun.append(future)
        return future

    def close(self) -> None:
        for future in self._begun:
            future.cancel()
        # Those of an executor of threads; in other processes they end when they have nothing to do.
        close_workers(self._scan)


class DaskCluster(Foreign):
    """The workers of a ``distributed.Client``, which may come and go. The client stays open.

    A model that does not ship with the package is brought to every worker, also to those that join later.
    """

    def __init__(self, scan: str, client: Any, model: str | None, sha256: str) -> None:
        super().__init__(scan, client.get_executor(pure=False))
        self._client = client
        self._asked, self._threads = -_ASK_EVERY, 1
        self._plugin = f"redeepfake-model-{sha256[:16]}" if model else None
        if model:
            client.register_plugin(_model_plugin(Path(model), sha256), name=self._plugin)

    @property
    def capacity(self) -> int:
        now = time.monotonic()
        if now - self._asked >= _ASK_EVERY:
            self._asked, self._threads = now, sum(self._client.nthreads().values())
        return max(1, self._threads)

    def close(self) -> None:
        super().close()
        # What is lost with a cluster that went away needs no end.
        with contextlib.suppress(Exception):
            self._client.run(close_workers, self._scan, on_error="ignore")
        if self._plugin:
            with contextlib.suppress(Exception):
                self._client.unregister_worker_plugin(self._plugin)


def _model_plugin(model: Path, sha256: str) -> Any:
    from distributed import WorkerPlugin

    files = {path.name: path.read_bytes() for path in (model, model.with_suffix(".json")) if path.is_file()}

    class ModelFiles(WorkerPlugin):
        """Writes the model's files on each worker."""

        def setup(self, worker: Any) -> None:
            self.folder = tempfile.mkdtemp(prefix="redeepfake-model-", dir=worker.local_directory)
            for name, data in files.items():
                (Path(self.folder) / name).write_bytes(data)
            workers.MODEL_FILES[sha256] = str(Path(self.folder) / model.name)

        def teardown(self, worker: Any) -> None:
            workers.MODEL_FILES.pop(sha256, None)
            shutil.rmtree(self.folder, ignore_errors=True)

    return ModelFiles()


def is_dask(executor: Any) -> bool:
    """Whether this is a client of a Dask cluster."""
    return hasattr(executor, "get_executor") and hasattr(executor, "nthreads")


def connect(address: str) -> Any:
    """A client of the Dask scheduler at an address.

    Raises
    ------
    MissingExtra
        Dask is not installed.
    RedeepfakeError
        Nobody answers there.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtra(
            "a cluster is used through Dask, which is not installed",
            subject=address,
            next_step='Run `pip install "redeepfake-nb[cluster]"`.',
        ) from error
    try:
        return Client(address)
    except (OSError, ValueError) as error:
        raise RedeepfakeError(
            f"no Dask scheduler answers there ({displayable(error) or type(error).__name__})",
            subject=address,
            next_step="Check that it runs, and the address it printed when it started.",
        ) from error


def machine_size() -> tuple[int, int]:
    """How many processes this machine has cores and memory for, and how many threads each may use."""
    import joblib

    # Heeds affinity and the quota of a container, unlike os.cpu_count().
    cores = joblib.cpu_count()
    free = _free_memory()
    count = cores if free is None else max(1, min(cores, int(free // WORKER_BYTES)))
    return count, max(1, cores // count)


def _free_memory() -> int | None:
    """Bytes that may still be used, or None where that is not known."""
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable"))
        found.append(int(line.split()[1]) * 1024)
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        found.append(limit - used + int(stat.get("inactive_file", 0)))
    return min(found) if found else None
