"""Processes that score files, started, watched and replaced by the thread that wants a file scored.

A file may crash its reader, use up all memory or never end. So files are read in a process of their own,
wherever a scan runs, on this machine or in a task on another one. If that process is lost, the files it had
are tried again one by one, and the one that is lost again has failed.

The processes are started afresh, not forked: TensorFlow does not survive a fork, and a script that calls
``scan`` without a ``__main__`` guard works as well.
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
from typing import Any

from .. import errors
from ..errors import ModelIncomplete, RedeepfakeError, TookTooLong, WorkerLost, displayable
from .file_scoring import Outcome
from .worker_process import _HEAD, receive

# Seconds until the model is loaded, on a machine that has other things to do.
_START_LIMIT = 300.0
# How a process starts: with the parent's import path, which may hold the detector of a test or a notebook.
_BOOT = (
    "import json, sys; sys.path[:] = json.loads(sys.argv[1]); "
    "from redeepfake_nb.scanning.worker_process import main; main()"
)


@dataclass(frozen=True)
class Job:
    """Some files to be scored, and all that is needed for it. Can be pickled and sent to another machine.

    Parameters
    ----------
    scan
        Name of the scan; its processes serve no other.
    model
        Path of the model, or ``None`` for the one that ships.
    sha256
        What the model's file hashes to.
    settings
        See :class:`redeepfake_nb.scanning.file_scoring.ScanSettings`; pickled.
    paths
        Paths or addresses.
    time_limit
        Seconds for one file.
    threads
        For the model's arithmetic.
    alone
        Whether these files lost their process before and now have the machine to themselves.
    """

    scan: str
    model: str | None
    sha256: str
    settings: bytes
    paths: tuple[str, ...]
    time_limit: float
    threads: int
    alone: bool = False


class Lost(Exception):
    """A process ended, or was ended, before its files were done. Never leaves the package."""

    def __init__(
        self, error: RedeepfakeError, done: dict[int, Outcome], guilty: int | None, killed: bool
    ) -> None:
        super().__init__(str(error))
        self.error, self.done, self.guilty, self.killed = error, done, guilty, killed


# Model files that were brought to this machine, by SHA-256.
MODEL_FILES: dict[str, str] = {}

_lock = threading.Lock()
_idle: dict[str, list[Worker]] = {}
_busy: dict[str, set[Worker]] = {}
_closed: set[str] = set()


def run_job(job: Job) -> list[tuple[Outcome, bool]]:
    """Score a job's files in a process of their own.

    Returns
    -------
    list of (Outcome, bool)
        In the order of the paths; and whether the process was killed from outside, which may have been
        another one's fault: the file is worth another try when nothing else runs.

    Raises
    ------
    ModelError
        The model cannot be loaded.
    RedeepfakeError
        A process cannot be started, or the scan is over.
    """
    try:
        found = _scored(job, job.paths)
        return [(found[i], False) for i in range(len(job.paths))]
    except Lost as lost:
        first = lost
    results: list[tuple[Outcome, bool]] = []
    for place, path in enumerate(job.paths):
        if place in first.done:
            results.append((first.done[place], False))
        elif place == first.guilty:
            results.append((Outcome.failure(first.error), False))
        else:
            results.append(_scored_alone(job, path))
    return results


def _scored_alone(job: Job, path: str) -> tuple[Outcome, bool]:
    try:
        return _scored(job, [path])[0], False
    except Lost as lost:
        return Outcome.failure(lost.error), lost.killed and not job.alone


def _scored(job: Job, paths: Sequence[str]) -> dict[int, Outcome]:
    worker = _borrow(job)
    try:
        found = worker.score(paths, job.time_limit)
    except BaseException:
        _drop(job.scan, worker)
        raise
    with _lock:
        _busy[job.scan].discard(worker)
        closed = job.scan in _closed
        if not closed:
            _idle.setdefault(job.scan, []).append(worker)
    if closed:
        worker.end()
    return found


def _borrow(job: Job) -> Worker:
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
        _drop(job.scan, worker)
    worker = Worker(job.threads)
    with _lock:
        closed = job.scan in _closed
        if not closed:
            _busy.setdefault(job.scan, set()).add(worker)
    if closed:
        worker.end()
        raise RedeepfakeError("the scan is over")
    try:
        worker.set_up(job)
    except BaseException:
        _drop(job.scan, worker)
        raise
    return worker


def _drop(scan: str, worker: Worker) -> None:
    with _lock:
        _busy.get(scan, set()).discard(worker)
    worker.end()


def close_workers(scan: str | None = None) -> None:
    """End the processes of a scan, or all, whatever they are doing."""
    with _lock:
        names = [scan] if scan is not None else [*_idle, *_busy]
        _closed.update(names)
        mine = [w for name in names for w in (*_idle.pop(name, ()), *_busy.pop(name, ()))]
    for worker in mine:
        worker.end()


atexit.register(close_workers)


class Worker:
    """One process with one model."""

    def __init__(self, threads: int) -> None:
        environment = os.environ | {
            "OMP_NUM_THREADS": str(threads),
            "OPENBLAS_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "TF_NUM_INTRAOP_THREADS": str(threads),
            "TF_NUM_INTEROP_THREADS": "1",
            "TF_CPP_MIN_LOG_LEVEL": "3",
            # Several processes share what accelerator there is.
            "TF_FORCE_GPU_ALLOW_GROWTH": "true",
        }
        self._words = tempfile.TemporaryFile("a+b")  # noqa: SIM115 - closed by end()
        self._ending = threading.Lock()
        self._ended = False
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _BOOT, json.dumps(sys.path)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._words,
                env=environment,
            )
        except OSError as error:
            self._words.close()
            raise RedeepfakeError(
                f"no process can be started ({error.strerror or error})",
                next_step="Close other programs, or use fewer workers.",
            ) from error
        self._messages: queue.SimpleQueue = queue.SimpleQueue()
        self._listener = threading.Thread(target=self._listen, name="redeepfake-worker", daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            while (message := receive(self._process.stdout)) is not None:
                self._messages.put(json.loads(message))
        self._messages.put(None)

    @property
    def alive(self) -> bool:
        """Whether the process goes on."""
        return self._process.poll() is None

    def set_up(self, job: Job) -> None:
        """Load the model.

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
                "threads": job.threads,
                "settings": job.settings,
            }
        )
        try:
            message = self._messages.get(timeout=_START_LIMIT)
        except queue.Empty:
            message = None
        if message is None:
            raise RedeepfakeError(
                f"a process for scoring did not start ({self._how_it_ended()}{self._last_words()})",
                next_step="Run `redeepfake-nb doctor`; if memory is short, use fewer workers.",
            )
        if "fatal" in message:
            said = message["fatal"]
            kind = getattr(errors, said["error"], RedeepfakeError)
            raise kind(said["cause"], subject=said["subject"], next_step=said["next_step"])

    def score(self, paths: Sequence[str], time_limit: float) -> dict[int, Outcome]:
        """Outcomes by place.

        Raises
        ------
        Lost
            The process ended or a file took too long.
        """
        done: dict[int, Outcome] = {}
        place: int | None = None
        with contextlib.suppress(OSError, ValueError):
            self._words.truncate(0)
        self._send(list(paths))
        while True:
            try:
                message = self._messages.get(timeout=time_limit)
            except queue.Empty:
                cause = f"it was not done after {time_limit:g} s and was given up"
                error = TookTooLong(
                    cause, next_step="Scan it again with a higher time limit, or fewer frames."
                )
                raise Lost(error, done, place, killed=False) from None
            if message is None:
                how = self._how_it_ended()
                error = WorkerLost(
                    f"the process that read it ended in the middle ({how})",
                    next_step="If memory ran out, use fewer workers; else the file may be damaged.",
                )
                raise Lost(error, done, None, killed=self._was_killed())
            if "began" in message:
                place = None if message["began"] < 0 else message["began"]
            elif "outcome" in message:
                done[message["place"]] = Outcome.from_dict(message["outcome"])
            else:
                return done

    def _send(self, task: Any) -> None:
        data = pickle.dumps(task)
        # A process that is gone is noticed where its answer is waited for.
        with contextlib.suppress(OSError, ValueError):
            self._process.stdin.write(_HEAD.pack(len(data)) + data)
            self._process.stdin.flush()

    def _was_killed(self) -> bool:
        return self._process.returncode == -getattr(signal, "SIGKILL", 9)

    def _how_it_ended(self) -> str:
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)
        code = self._process.returncode
        if code is None:
            return "no answer"
        if code < 0:
            try:
                how = signal.Signals(-code).name
            except ValueError:
                how = f"signal {-code}"
            how += ", perhaps because memory ran out" if self._was_killed() else ""
        else:
            how = f"exit status {code}"
        return how

    def _last_words(self) -> str:
        with contextlib.suppress(OSError, ValueError):
            self._words.seek(0)
            lines = self._words.read()[-2000:].decode("utf-8", "replace").strip().splitlines()
            return f": {displayable(lines[-1], 160)}" if lines else ""
        return ""

    def end(self) -> None:
        """End the process and wait for it. Any thread may call this, also twice."""
        with self._ending:
            if self._ended:
                return
            self._ended = True
            self._process.kill()
            self._process.wait()
            self._listener.join(timeout=5)
            for pipe in (self._process.stdin, self._process.stdout, self._words):
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
