"""Background jobs: one at a time, each in its own thread, with progress, cancellation and results."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import RedeepfakeError

# An event that is set, or a function that returns True, when the work is to stop; None: never.
Cancel = threading.Event | Callable[[], bool] | None
# Called with (number done, total number or None where it is unknown).
Progress = Callable[[int, int | None], None]

# Seconds between two updates of a progress bar, and between two messages, which screen readers read aloud.
_BAR_INTERVAL, _MESSAGE_INTERVAL = 0.2, 2.0


def as_cancel_check(cancel: Cancel) -> Callable[[], bool]:
    """Convert any form of :data:`Cancel` to a function that tells whether the work is to stop."""
    if cancel is None:
        return lambda: False
    return cancel.is_set if isinstance(cancel, threading.Event) else cancel


class Busy(RedeepfakeError):
    """Work was asked for while other work is going on."""


@dataclass
class Job:
    """A running or finished job.

    Attributes
    ----------
    section
        Name of the part of the user interface in which its error is shown.
    cancel
        Set when the job is to stop and to return what it has so far.
    discarded
        Whether its result is no longer wanted.
    error, value
        The exception or the return value, once the job is done.
    done
        Set when the job has ended.
    """

    section: str
    cancel: threading.Event = field(default_factory=threading.Event)
    discarded: bool = False
    error: BaseException | None = None
    value: Any = None
    done: threading.Event = field(default_factory=threading.Event)


class JobRunner:
    """Runs one job at a time in a daemon thread.

    Parameters
    ----------
    finished
        Called with each job, in the job's thread, when its work has ended and before ``job.done`` is set.
    """

    def __init__(self, finished: Callable[[Job], None]) -> None:
        self.job: Job | None = None
        self._finished = finished
        self._lock = threading.Lock()

    def start(self, section: str, work: Callable[[Job], Any]) -> Job:
        """Start ``work(job)``.

        Raises
        ------
        Busy
            Another job is running.
        """
        with self._lock:
            if self.job is not None:
                raise Busy(
                    "another job is still running",
                    next_step="Wait until it is done, or press Cancel.",
                )
            self.job = job = Job(section)
        # A daemon thread, so that the kernel can be shut down at any time.
        threading.Thread(
            target=self._run, args=(job, work), name="redeepfake-background", daemon=True
        ).start()
        return job

    def _run(self, job: Job, work: Callable[[Job], Any]) -> None:
        try:
            job.value = work(job)
        except BaseException as error:
            job.error = error
        try:
            self._finished(job)
        finally:
            self.job = None
            job.done.set()

    def cancel(self) -> bool:
        """Ask the running job to stop; return whether there is one."""
        job = self.job
        if job is not None:
            job.cancel.set()
        return job is not None

    def discard(self) -> None:
        """Ask the running job to stop and discard its result."""
        job = self.job
        if job is not None:
            job.discarded = True
            job.cancel.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds until no job is running; return whether none is."""
        job = self.job
        return job is None or job.done.wait(timeout)

    def result(self, job: Job) -> Any:
        """Wait for a job, then return its value or raise its error. A keyboard interrupt cancels the job."""
        try:
            job.done.wait()
        except KeyboardInterrupt:
            job.cancel.set()
            job.done.wait()
        if job.error is not None:
            raise job.error
        return job.value


class LatestRunner:
    """Runs the latest job in a daemon thread; a new one discards the one before and begins after its end.

    Parameters
    ----------
    finished
        Called with each job that was not discarded, in the job's thread, when its work has ended and before
        ``job.done`` is set.
    """

    def __init__(self, finished: Callable[[Job], None]) -> None:
        self.job: Job | None = None
        self._finished = finished
        self._waiting: tuple[Job, Callable[[Job], Any]] | None = None
        self._running = False
        self._changed = threading.Condition()

    def start(self, section: str, work: Callable[[Job], Any]) -> Job:
        """Start ``work(job)`` as soon as the job before has ended."""
        with self._changed:
            self.discard()
            self.job = job = Job(section)
            self._waiting = job, work
            if not self._running:
                self._running = True
                threading.Thread(target=self._run, name="redeepfake-latest", daemon=True).start()
        return job

    def discard(self) -> bool:
        """Ask the job to stop and discard its result; return whether there is one."""
        with self._changed:
            job, self.job = self.job, None
            if job is not None:
                job.discarded = True
                job.cancel.set()
            return job is not None

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds until no thread is running; return whether none is."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._running, timeout)

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._waiting is None:
                    self._running = False
                    self._changed.notify_all()
                    return
                (job, work), self._waiting = self._waiting, None
            try:
                job.value = None if job.discarded else work(job)
            except BaseException as error:
                job.error = error
            try:
                if not job.discarded:
                    self._finished(job)
            except BaseException:
                with self._changed:
                    self._running = False
                    self._changed.notify_all()
                raise
            finally:
                with self._changed:
                    if self.job is job:
                        self.job = None
                job.done.set()


class ThrottledProgress:
    """A :data:`Progress` callback that updates a bar often and a message seldom enough for screen readers.

    Parameters
    ----------
    job
        Once it is cancelled no more messages are shown; once it is discarded the bar stops too.
    unit
        First word of the messages, such as ``"Frame"``.
    update_bar, show_message
        Called with ``(done, total)`` and with a sentence.
    """

    def __init__(
        self,
        job: Job,
        unit: str,
        update_bar: Callable[[int, int], None],
        show_message: Callable[[str], None],
    ) -> None:
        self._job, self._unit, self._update_bar, self._show_message = job, unit, update_bar, show_message
        self._first: float | None = None
        self._first_done = 0
        self._last_bar = self._last_message = -math.inf

    def __call__(self, done: int, total: int | None) -> None:
        """Report that ``done`` of ``total`` units are done."""
        now = time.monotonic()
        # The time left is estimated from the first finished unit on: opening and warm-up are not repeated.
        if self._first is None and done:
            self._first, self._first_done = now, done
        if self._job.discarded or now - self._last_bar < _BAR_INTERVAL:
            return
        self._last_bar = now
        if total:
            # Never quite full, because work remains after the last unit.
            self._update_bar(min(done, total), total + 1)
        if self._first is None:
            return
        if now - self._last_message >= _MESSAGE_INTERVAL and not self._job.cancel.is_set():
            self._last_message = now
            words = describe_progress(done, total, now - self._first, self._first_done)
            self._show_message(f"{self._unit} {words}")


def describe_progress(done: int, total: int | None, seconds: float, first: int = 1) -> str:
    """Format progress as ``"7 of 32, about 12 s left."``.

    ``seconds`` is the time between the first finished units, ``first`` in number, and the latest.
    """
    if not total:
        return f"{done}."
    words = f"{done} of {total}"
    if first < done < total:
        left = seconds / (done - first) * (total - done)
        words += f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"
    return words + "."
