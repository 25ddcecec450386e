"""Worker processes that score files: started, supervised and replaced by the thread that submits a job.

A file may crash its decoder, exhaust the memory or never finish. So wherever a scan runs, files are decoded
in a process of their own. If that process is lost, its files are retried one by one, and the file whose
process is lost again has failed.

Processes are spawned, not forked: TensorFlow does not survive a fork, and a script that calls ``scan`` needs
no ``__main__`` guard.
"""

from __future__ import annotations

import atexit
import contextlib
import json
import os
import pickle
import queue
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO

from .. import errors
from ..errors import ModelIncomplete, RedeepfakeError, TookTooLong, WorkerLost, displayable
from ..models.runtimes import Runtime
from ..utils.threads import thread_environment
from .file_scoring import Outcome
from .worker_process import HEADER, receive

# Seconds for loading the model, on a machine that is busy with other work.
_STARTUP_TIMEOUT = 300.0
# Started with the parent's import path, from which a custom detector may have to be imported.
_BOOTSTRAP = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from redeepfake_nb.scanning.worker_process import main; main()"
)

# Of each file: its outcome, and whether to retry it when nothing else runs.
JobResult = list[tuple[Outcome, bool]]


@dataclass(frozen=True)
class Job:
    """Files to be scored, with everything needed to score them. Can be pickled and sent to another machine.

    Parameters
    ----------
    scan
        Name of the scan; worker processes serve one scan only.
    model
        Path of the model, or ``None`` for the default model.
    sha256
        Of the model's file.
    settings
        Pickled :class:`redeepfake_nb.scanning.file_scoring.ScanSettings`.
    paths
        Paths or addresses.
    time_limit
        Seconds for one file.
    threads
        CPU threads for inference.
    isolated
        Whether these files lost their process before and are now scored while nothing else runs.
    runtime
        What computes scores; see :func:`redeepfake_nb.load_model`.
    """

    scan: str
    model: str | None
    sha256: str
    settings: bytes
    paths: tuple[str, ...]
    time_limit: float
    threads: int
    isolated: bool = False
    runtime: Runtime = "auto"


class ProcessLost(Exception):
    """A worker process ended, or was ended, before its files were scored. Never leaves the package.

    Parameters
    ----------
    error
        What to report of the file that caused it.
    outcomes
        Of the files scored before, by index.
    culprit
        Index of the file that caused it, where that is known.
    killed
        Whether the process was killed from outside.
    """

    def __init__(
        self, error: RedeepfakeError, outcomes: dict[int, Outcome], culprit: int | None, killed: bool
    ) -> None:
        super().__init__(str(error))
        self.error, self.outcomes, self.culprit, self.killed = error, outcomes, culprit, killed


# Model files that were copied to this machine, by SHA-256.
MODEL_FILES: dict[str, str] = {}

_lock = threading.Lock()
_idle: dict[str, list[Worker]] = {}
_busy: dict[str, set[Worker]] = {}
_closed: set[str] = set()
# Scans of which a worker has loaded the model, and the lock under which the first one does so: the network
# of a new model is compiled once, by a process that then needs much memory.
_loaded: set[str] = set()
_first_load = threading.Lock()


def run_job(job: Job) -> JobResult:
    """Score a job's files in a worker process.

    Returns
    -------
    list of (Outcome, bool)
        In the order of the paths: the outcome, and whether the file should be retried when nothing else runs,
        because its process was killed from outside, perhaps on account of another file.

    Raises
    ------
    ModelError
        The model cannot be loaded.
    RedeepfakeError
        A process cannot be started, or the scan is over.
    """
    try:
        outcomes = _score(job, job.paths)
        return [(outcomes[i], False) for i in range(len(job.paths))]
    except ProcessLost as error:
        lost = error
    results: JobResult = []
    for index, path in enumerate(job.paths):
        if index in lost.outcomes:
            results.append((lost.outcomes[index], False))
        elif index == lost.culprit:
            results.append((Outcome.from_error(lost.error), False))
        else:
            results.append(_score_one(job, path))
    return results


def _score_one(job: Job, path: str) -> tuple[Outcome, bool]:
    try:
        return _score(job, [path])[0], False
    except ProcessLost as lost:
        return Outcome.from_error(lost.error), lost.killed and not job.isolated


def _score(job: Job, paths: Sequence[str]) -> dict[int, Outcome]:
    worker = _acquire_worker(job)
    try:
        outcomes = worker.score(paths, job.time_limit)
    except BaseException:
        _discard(job.scan, worker)
        raise
    with _lock:
        _busy[job.scan].discard(worker)
        closed = job.scan in _closed
        if not closed:
            _idle.setdefault(job.scan, []).append(worker)
    if closed:
        worker.end()
    return outcomes


def _acquire_worker(job: Job) -> Worker:
    """Take an idle worker of the scan, or start one."""
    with _lock:
        if job.scan in _closed:
            raise RedeepfakeError("the scan is over")
        idle = _idle.get(job.scan, [])
        worker = idle.pop() if idle else None
        if worker is not None:
            _busy.setdefault(job.scan, set()).add(worker)
    if worker is not None and worker.alive:
        return worker
    if worker is not None:
        _discard(job.scan, worker)
    worker, compiled_now = _start_worker(job)
    if compiled_now:
        # The next process finds the compiled network, and does without TensorFlow.
        _discard(job.scan, worker)
        worker, _ = _start_worker(job)
    return worker


def _start_worker(job: Job) -> tuple[Worker, bool]:
    """Start a worker and load the model; return also whether the network was compiled for it."""
    worker = Worker(job.threads)
    with _lock:
        closed = job.scan in _closed
        if not closed:
            _busy.setdefault(job.scan, set()).add(worker)
    if closed:
        worker.end()
        raise RedeepfakeError("the scan is over")
    try:
        with contextlib.nullcontext() if job.scan in _loaded else _first_load:
            compiled_now = worker.load_model(job)
            _loaded.add(job.scan)
    except BaseException:
        _discard(job.scan, worker)
        raise
    return worker, compiled_now


def _discard(scan: str, worker: Worker) -> None:
    with _lock:
        _busy.get(scan, set()).discard(worker)
    worker.end()


def close_workers(scan: str | None = None) -> None:
    """End the worker processes of a scan, or all of them, whatever they are doing."""
    with _lock:
        names = [scan] if scan is not None else [*_idle, *_busy]
        _closed.update(names)
        workers = [w for name in names for w in (*_idle.pop(name, ()), *_busy.pop(name, ()))]
    for worker in workers:
        worker.end()


atexit.register(close_workers)


class Worker:
    """One process with one model."""

    def __init__(self, threads: int) -> None:
        environment = (
            os.environ
            | thread_environment(threads)
            | {
                "TF_CPP_MIN_LOG_LEVEL": "3",
                # Several processes share one accelerator.
                "TF_FORCE_GPU_ALLOW_GROWTH": "true",
            }
        )
        self._stderr = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed by end()
        self._ending = threading.Lock()
        self._ended = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOTSTRAP, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._stderr,
                env=environment,
            )
        except OSError as error:
            self._stderr.close()
            raise RedeepfakeError(
                f"no process can be started ({error.strerror or error})",
                next_step="Close other programs, or use fewer workers.",
            ) from error
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._stdin: IO[bytes] = self._process.stdin
        self._stdout: IO[bytes] = self._process.stdout
        self._messages: queue.SimpleQueue = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, name="redeepfake-worker", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (message := receive(self._stdout)) is not None:
                self._messages.put(json.loads(message))
        self._messages.put(None)

    @property
    def pid(self) -> int:
        """Process ID."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the process is running."""
        return self._process.poll() is None

    def load_model(self, job: Job) -> bool:
        """Have the process load the model of a job; return whether it compiled its network for LiteRT.

        Raises
        ------
        ModelError
            It cannot be loaded.
        RedeepfakeError
            The process ended, or took too long.
        """
        self._send(
            {
                "model": _model_path(job),
                "sha256": job.sha256,
                "runtime": job.runtime,
                "settings": job.settings,
            }
        )
        try:
            message = self._messages.get(timeout=_STARTUP_TIMEOUT)
        except queue.Empty:
            message = None
        if message is None:
            raise RedeepfakeError(
                f"a worker process did not start ({self._exit_reason()}{self._last_stderr_line()})",
                next_step="Run `redeepfake-nb doctor`; if memory is short, use fewer workers.",
            )
        if "fatal" in message:
            fatal = message["fatal"]
            kind = getattr(errors, fatal["error"], RedeepfakeError)
            raise kind(fatal["cause"], subject=fatal["subject"], next_step=fatal["next_step"])
        return bool(message["compiled_now"])

    def score(self, paths: Sequence[str], time_limit: float) -> dict[int, Outcome]:
        """Score files, and return their outcomes by index.

        Raises
        ------
        ProcessLost
            The process ended, or a file took longer than ``time_limit`` seconds.
        """
        outcomes: dict[int, Outcome] = {}
        current: int | None = None
        with contextlib.suppress(OSError, ValueError):
            self._stderr.truncate(0)
        self._send(list(paths))
        while True:
            try:
                message = self._messages.get(timeout=time_limit)
            except queue.Empty:
                timeout = TookTooLong(
                    f"it was not finished after {time_limit:g} s and was given up",
                    next_step="Scan it again with a higher time limit, or fewer frames.",
                )
                raise ProcessLost(timeout, outcomes, current, killed=False) from None
            if message is None:
                reason = self._exit_reason()
                lost = WorkerLost(
                    f"the process that read it ended before it was finished ({reason})",
                    next_step="If memory ran out, use fewer workers; otherwise the file may be damaged.",
                )
                raise ProcessLost(lost, outcomes, None, killed=self._was_killed())
            if "started" in message:
                current = None if message["started"] < 0 else message["started"]
            elif "outcome" in message:
                outcomes[message["index"]] = Outcome.from_dict(message["outcome"])
            else:
                return outcomes

    def _send(self, task: object) -> None:
        data = pickle.dumps(task)
        # A process that is gone is noticed where its result is waited for.
        with contextlib.suppress(OSError, ValueError):
            self._stdin.write(HEADER.pack(len(data)) + data)
            self._stdin.flush()

    def _was_killed(self) -> bool:
        return self._process.returncode == -getattr(signal, "SIGKILL", 9)

    def _exit_reason(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        if code is None:
            return "no answer"
        if code >= 0:
            return f"exit status {code}"
        try:
            reason = signal.Signals(-code).name
        except ValueError:
            reason = f"signal {-code}"
        return reason + (", perhaps because memory ran out" if self._was_killed() else "")

    def _last_stderr_line(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            self._stderr.seek(0)
            lines = self._stderr.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
            return f": {displayable(lines[-1], 160)}" if lines else ""
        return ""

    def end(self) -> None:
        """Kill the process and wait for its end. May be called from any thread, and repeatedly."""
        with self._ending:
            if self._ended:
                return
            self._ended = True
            self._process.kill()
            self._process.wait()
            self._listener.join(timeout=5)
            for pipe in (self._stdin, self._stdout, self._stderr):
                with contextlib.suppress(OSError, ValueError):
                    pipe.close()


def _model_path(job: Job) -> str | None:
    if job.model is None or os.path.isfile(job.model):
        return job.model
    if job.sha256 in MODEL_FILES:
        return MODEL_FILES[job.sha256]
    raise ModelIncomplete(
        "the model is not on the machine that is to score with it",
        subject=job.model,
        next_step="Put it where all machines find it under the same path.",
    )
