"""Make training batches ahead of the steps that use them: in a thread, or in processes of their own.

A batch of 64 faces takes a processor core about a fifth of a second. One thread keeps up with a network that
trains on the same two cores; an accelerator would wait for it.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..datasets.labelled_faces import LabelledFaces
from ..datasets.landmarks import LandmarkStore
from ..errors import RedeepfakeError
from .batches import PairBatches
from .recipes import Recipe

# Batches that one thread is ahead; each process is as many ahead, less one.
_AHEAD = 3

Batch = tuple[np.ndarray, np.ndarray]
_T = TypeVar("_T")


def prefetched(
    pairs: PairBatches, start: int, stop: int, size: int, workers: int = 0
) -> Iterator[tuple[int, Batch]]:
    """Return an iterator over ``(step, batch)`` from ``start`` up to ``stop``, made ahead of time.

    The batches are those of :meth:`PairBatches.make`, whoever makes them.

    Parameters
    ----------
    pairs
        Makes the batches. What processes find out meanwhile (landmarks, unreadable pictures) is added to it.
    start, stop
        Numbers of the first step, and of the one after the last.
    size
        Side of the images in pixels.
    workers
        Number of processes; 0 for a thread of this one. Processes import the script that started this one,
        which therefore has to begin its work under ``if __name__ == "__main__":``; notebooks need nothing.

    Raises
    ------
    ValueError
        ``workers`` is negative, or not a single pair can be made.
    RedeepfakeError
        A process could not start, or ended.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, not {workers}")
    return (
        _by_processes(pairs, start, stop, size, workers) if workers else _by_thread(pairs, start, stop, size)
    )


def _by_thread(pairs: PairBatches, start: int, stop: int, size: int) -> Iterator[tuple[int, Batch]]:
    with (
        ThreadPoolExecutor(1) as thread,
        closing(_in_order(thread, pairs.make, start, stop, size, _AHEAD)) as ahead,
    ):
        yield from ahead


def _by_processes(
    pairs: PairBatches, start: int, stop: int, size: int, workers: int
) -> Iterator[tuple[int, Batch]]:
    # A forked copy of a process that runs TensorFlow or JAX can hang in their locks.
    context = multiprocessing.get_context("spawn")
    known = pairs.landmarks.path
    try:
        with (
            ProcessPoolExecutor(workers, context, _start_worker, (pairs.faces, pairs.recipe, known)) as pool,
            closing(_in_order(pool, _make_in_worker, start, stop, size, (_AHEAD - 1) * workers)) as ahead,
        ):
            for step, (x, y, landmarks, unreadable) in ahead:
                pairs.landmarks.add(landmarks)
                pairs.unreadable.update(unreadable)
                yield step, (x.astype(np.float32), y)
    except BrokenProcessPool as error:
        raise RedeepfakeError(
            "a process that makes batches could not start, or ended (short of memory, or started by a script "
            'without if __name__ == "__main__")',
            subject=f"{workers} workers",
            next_step="Use fewer workers, or none.",
        ) from error


def _in_order(
    pool: Executor, make: Callable[[int, int], _T], start: int, stop: int, size: int, ahead: int
) -> Generator[tuple[int, _T], None, None]:
    waiting: deque[Future[_T]] = deque()
    try:
        for step in range(start, stop):
            while len(waiting) < min(ahead, stop - step):
                waiting.append(pool.submit(make, step + len(waiting), size))
            yield step, waiting.popleft().result()
    finally:
        for future in waiting:  # of a run that ends early
            future.cancel()


# In a worker process: what it makes batches with.
_worker: PairBatches | None = None


def _start_worker(faces: LabelledFaces, recipe: Recipe, landmarks: Path | None) -> None:
    import cv2

    # Ctrl-C in a terminal reaches all of its processes; stopping is the parent's decision.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    global _worker
    cv2.setNumThreads(1)  # there is a process for each core already
    _worker = PairBatches(faces, recipe, LandmarkStore(faces, landmarks))


def _end_with_parent() -> None:
    """End this process once its parent is gone: a parent that was killed cannot do it."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


def _make_in_worker(
    step: int, size: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray | None], dict[str, str]]:
    """Make a batch, with its images as uint8: a quarter of the bytes to send, and nothing is lost."""
    assert _worker is not None
    x, y = _worker.make(step, size)
    unreadable, _worker.unreadable = _worker.unreadable, {}
    return x.astype(np.uint8), y, _worker.landmarks.take_new(), unreadable
