"""One piece of work at a time in a thread of its own, which can be waited for, cancelled and given up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from ..errors import RedeepfakeError

# An event that is set, or a function that says yes, when work is to stop.
Cancel = threading.Event | Callable[[], bool] | None
# Called with (done, of how many, None where that is not known).
Progress = Callable[[int, int | None], None]

# Seconds between two movements of a bar, and between two sentences, which screen readers read out.
_BAR_EVERY, _WORDS_EVERY = 0.2, 2.0


def stopper(cancel: Cancel) -> Callable[[], bool]:
    """Whether work is to stop, as a function whatever it was given as."""
    if cancel is None:
        return lambda: False
    return cancel.is_set if isinstance(cancel, threading.Event) else cancel


@dataclass
class Job:
    """Work that goes on.

    Attributes
    ----------
    place
        Beside which control its error belongs.
    cancel
        Set when it is to stop and to give what it has.
    dropped
        Set when nobody wants its result any more.
    error, value
        What came of it, once it is over.
    """

    place: str
    cancel: threading.Event = field(default_factory=threading.Event)
    dropped: bool = False
    error: BaseException | None = None
    value: Any = None
    over: threading.Event = field(default_factory=threading.Event)


class Background:
    """Runs one job at a time.

    Parameters
    ----------
    finished
        Called with each job in the job's thread when its work is over, before it counts as over.
    """

    def __init__(self, finished: Callable[[Job], None]) -> None:
        self.job: Job | None = None
        self._finished = finished
        self._lock = threading.Lock()

    def begin(self, place: str, work: Callable[[Job], Any]) -> Job:
        """Start ``work(job)``.

        Raises
        ------
        RedeepfakeError
            Another job goes on.
        """
        with self._lock:
            if self.job is not None:
                raise RedeepfakeError(
                    "something else goes on already",
                    next_step="Wait until it is done, or press Cancel.",
                )
            self.job = job = Job(place)
        # A daemon, so that a kernel can be shut down at any time.
        threading.Thread(
            target=self._carry_out, args=(job, work), name="redeepfake-background", daemon=True
        ).start()
        return job

    def _carry_out(self, job: Job, work: Callable[[Job], Any]) -> None:
        try:
            job.value = work(job)
        except BaseException as error:
            job.error = error
        try:
            self._finished(job)
        finally:
            self.job = None
            job.over.set()

    def cancel(self) -> bool:
        """Ask the job to stop; whether there is one."""
        job = self.job
        if job is not None:
            job.cancel.set()
        return job is not None

    def drop(self) -> None:
        """Ask the job to stop and give up its result."""
        job = self.job
        if job is not None:
            job.dropped = True
            job.cancel.set()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no job goes on any more, at most ``timeout`` seconds; whether that is so."""
        job = self.job
        return job is None or job.over.wait(timeout)

    def outcome(self, job: Job) -> Any:
        """Wait for a job and return its value or raise its error. An interrupt cancels it first."""
        try:
            job.over.wait()
        except KeyboardInterrupt:
            job.cancel.set()
            job.over.wait()
        if job.error is not None:
            raise job.error
        return job.value


class Pace:
    """Tells of a job's progress often enough for eyes and seldom enough for screen readers.

    Parameters
    ----------
    job
        Once it is cancelled there are no more words, once it is dropped nothing at all.
    doing
        What the sentences begin with, such as ``"Frame"``.
    count, say
        Called with ``(done, total)`` to move a bar, and with a sentence.
    """

    def __init__(
        self, job: Job, doing: str, count: Callable[[int, int], None], say: Callable[[str], None]
    ) -> None:
        self._job, self._doing, self._count, self._say = job, doing, count, say
        self._began: float | None = None
        self._moved = self._spoke = -1e9

    def __call__(self, done: int, total: int | None) -> None:
        """A frame is done."""
        now = time.monotonic()
        if self._began is None:  # opening, and what the first frame needs, say nothing of the others
            self._began = now
        if self._job.dropped or now - self._moved < _BAR_EVERY:
            return
        self._moved = now
        if total:
            # Never full: what comes after the last frame takes its time as well.
            self._count(min(done, total), total + 1)
        if now - self._spoke >= _WORDS_EVERY and not self._job.cancel.is_set():
            self._spoke = now
            self._say(f"{self._doing} {in_words(done, total, now - self._began)}")


def in_words(done: int, total: int | None, seconds: float) -> str:
    """``"7 of 32, about 12 s left."``, from the seconds between the first and the latest."""
    if not total:
        return f"{done}."
    words = f"{done} of {total}"
    if 1 < done < total:
        left = seconds / (done - 1) * (total - done)
        words += f", about {left / 60:.0f} min left" if left >= 90 else f", about {left:.0f} s left"
    return words + "."
