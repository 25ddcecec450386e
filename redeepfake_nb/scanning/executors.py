"""Where a scan's jobs run: in this process, in local worker processes, on any executor, on a Dask cluster."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from ..errors import MissingExtra, RedeepfakeError, displayable
from ..models.runtimes import Runtime, has_gpu, litert_installed
from ..utils.memory import free_memory
from ..utils.threads import cores
from . import worker_pool
from .file_scoring import FileScorer
from .fingerprints import Fingerprint, KnownFile, fingerprint_files
from .worker_pool import Job, JobResult, close_workers, run_job

if TYPE_CHECKING:
    from distributed import Client, Worker, WorkerPlugin
    from typing_extensions import TypeIs

# Memory of one worker process with the default model, with room for a large image.
WORKER_BYTES = 2_000_000_000
# The same of one that LiteRT scores in, without TensorFlow.
LITERT_WORKER_BYTES = 900_000_000
# Seconds between two requests for the size of a cluster.
_CAPACITY_INTERVAL = 2.0

_T = TypeVar("_T")


class SupportsSubmit(Protocol):
    """An executor in the style of :mod:`concurrent.futures`."""

    def submit(self, fn: Callable[..., _T], /, *args: Any) -> Future[_T]:
        """Schedule ``fn(*args)``."""


class ExecutorBackend(Protocol):
    """Computes fingerprints and runs scoring jobs."""

    @property
    def capacity(self) -> int:
        """Number of jobs that can run at a time, at least 1."""

    def fingerprint(self, files: Sequence[KnownFile]) -> Future[list[Fingerprint]]:
        """Submit files to be fingerprinted."""

    def score(self, job: Job) -> Future[JobResult]:
        """Submit a job."""

    def close(self) -> None:
        """Cancel what has not finished, and end all worker processes."""


class InProcess:
    """Runs everything in this process, unprotected from files that crash their decoder."""

    capacity = 1

    def __init__(self, scorer: FileScorer) -> None:
        self._scorer = scorer

    def fingerprint(self, files: Sequence[KnownFile]) -> Future[list[Fingerprint]]:
        return _completed(lambda: fingerprint_files(files))

    def score(self, job: Job) -> Future[JobResult]:
        return _completed(lambda: self._score(job))

    def _score(self, job: Job) -> JobResult:
        outcomes = dict(self._scorer.score(job.paths, lambda index: None))
        return [(outcomes[i], False) for i in range(len(job.paths))]

    def close(self) -> None:
        pass


def _completed(call: Callable[[], _T]) -> Future[_T]:
    """Call a function now, and return its result or exception as a future."""
    future: Future[_T] = Future()
    try:
        future.set_result(call())
    except Exception as error:
        future.set_exception(error)
    return future


class LocalProcesses:
    """Runs jobs in worker processes of this machine, each driven by a thread of this process."""

    def __init__(self, scan: str, count: int) -> None:
        self._scan = scan
        self.capacity = count
        self._closing = False
        self._drivers = ThreadPoolExecutor(count, thread_name_prefix="redeepfake-scan")
        # Files are fingerprinted ahead of the workers, so that these never wait for a digest.
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="redeepfake-fingerprint")

    def fingerprint(self, files: Sequence[KnownFile]) -> Future[list[Fingerprint]]:
        return self._reader.submit(self._fingerprint, files)

    def _fingerprint(self, files: Sequence[KnownFile]) -> list[Fingerprint]:
        # One by one, so that close() waits for at most one file.
        return [found for file in files if not self._closing for found in fingerprint_files([file])]

    def score(self, job: Job) -> Future[JobResult]:
        return self._drivers.submit(run_job, job)

    def close(self) -> None:
        self._closing = True
        self._drivers.shutdown(wait=False, cancel_futures=True)
        self._reader.shutdown(wait=False, cancel_futures=True)
        close_workers(self._scan)
        self._drivers.shutdown(wait=True)
        self._reader.shutdown(wait=True)


class FuturesExecutor:
    """Runs jobs on the caller's :mod:`concurrent.futures` executor, which is not shut down."""

    def __init__(self, scan: str, executor: SupportsSubmit) -> None:
        self._scan, self._executor = scan, executor
        self._submitted: list[Future] = []

    @property
    def capacity(self) -> int:
        return max(1, int(getattr(self._executor, "_max_workers", None) or os.cpu_count() or 1))

    def fingerprint(self, files: Sequence[KnownFile]) -> Future[list[Fingerprint]]:
        return self._track(self._executor.submit(fingerprint_files, files))

    def score(self, job: Job) -> Future[JobResult]:
        return self._track(self._executor.submit(run_job, job))

    def _track(self, future: Future[_T]) -> Future[_T]:
        self._submitted = [f for f in self._submitted if not f.done()]
        self._submitted.append(future)
        return future

    def close(self) -> None:
        for future in self._submitted:
            future.cancel()
        # Ends what an executor of threads started; in other processes, worker processes end when idle.
        close_workers(self._scan)


class DaskCluster(FuturesExecutor):
    """Runs jobs on the workers of a ``distributed.Client``, which may join and leave. The client stays open.

    A model that does not ship with the package is copied to every worker, also to those that join later.
    """

    def __init__(self, scan: str, client: Client, model: str | None, sha256: str) -> None:
        super().__init__(scan, client.get_executor(pure=False))
        self._client = client
        self._asked, self._threads = -_CAPACITY_INTERVAL, 1
        self._plugin = f"redeepfake-model-{sha256[:16]}" if model else None
        if model:
            client.register_plugin(_model_plugin(Path(model), sha256), name=self._plugin)

    @property
    def capacity(self) -> int:
        now = time.monotonic()
        if now - self._asked >= _CAPACITY_INTERVAL:
            self._asked, self._threads = now, sum(self._client.nthreads().values())
        return max(1, self._threads)

    def close(self) -> None:
        super().close()
        # On a cluster that is gone there is nothing left to end.
        with contextlib.suppress(Exception):
            self._client.run(close_workers, self._scan, on_error="ignore")
        if self._plugin:
            with contextlib.suppress(Exception):
                self._client.unregister_worker_plugin(self._plugin)


def _model_plugin(model: Path, sha256: str) -> WorkerPlugin:
    from distributed import WorkerPlugin

    files = {path.name: path.read_bytes() for path in (model, model.with_suffix(".json")) if path.is_file()}

    class ModelFiles(WorkerPlugin):
        """Writes the model's files on each worker."""

        def setup(self, worker: Worker) -> None:
            self.folder = tempfile.mkdtemp(prefix="redeepfake-model-", dir=worker.local_directory)
            for name, data in files.items():
                (Path(self.folder) / name).write_bytes(data)
            worker_pool.MODEL_FILES[sha256] = str(Path(self.folder) / model.name)

        def teardown(self, worker: Worker) -> None:
            worker_pool.MODEL_FILES.pop(sha256, None)
            shutil.rmtree(self.folder, ignore_errors=True)

    return ModelFiles()


def is_dask_client(executor: object) -> TypeIs[Client]:
    """Return whether an executor is a client of a Dask cluster."""
    return hasattr(executor, "get_executor") and hasattr(executor, "nthreads")


def connect_dask(address: str) -> Client:
    """Connect to the Dask scheduler at an address.

    Raises
    ------
    MissingExtra
        Dask is not installed.
    RedeepfakeError
        No scheduler answers.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise MissingExtra(
            "scanning on a cluster needs Dask, which is not installed",
            subject=address,
            next_step='Run `pip install "redeepfake-nb[cluster]"`.',
        ) from error
    try:
        return Client(address)
    except (OSError, ValueError) as error:
        raise RedeepfakeError(
            f"no Dask scheduler answers there ({displayable(error) or type(error).__name__})",
            subject=address,
            next_step="Check that it is running, and the address that it printed when it started.",
        ) from error


def local_capacity(runtime: Runtime = "auto") -> tuple[int, int]:
    """Return how many worker processes this machine has cores and memory for, and the threads of each."""
    needed = LITERT_WORKER_BYTES
    if runtime == "tensorflow" or not litert_installed() or (runtime == "auto" and has_gpu()):
        needed = WORKER_BYTES
    free = free_memory()
    count = cores() if free is None else max(1, min(cores(), int(free // needed)))
    return count, max(1, cores() // count)
