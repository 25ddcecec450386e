"""Make training batches ahead of the steps that use them: in a thread, or in processes of their own.

A batch of 64 faces takes a processor core about a quarter of a second. That keeps up with a network that
trains on the same processor; an accelerator waits for it, unless several cores make batches.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np

from ..datasets.labelled_faces import LabelledFaces
from ..datasets.landmarks import LandmarkStore
from .batches import PairBatches
from .recipes import Recipe

# Batches that one thread is ahead; each process is as many ahead, less one.
_AHEAD = 3

Batch = tuple[np.ndarray, np.ndarray]
_T = TypeVar("_T")


def prefetched(
    pairs: PairBatches, start: int, stop: int, size: int, workers: int = 0
) -> Iterator[tuple[int, Batch]]:
    """Yield ``(step, batch)`` from ``start`` up to ``stop``, made ahead of time.

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
        Number of processes; 0 for a thread of this one.

    Raises
    ------
    ValueError
        ``workers`` is negative, or not a single pair can be made.
    """
    if workers < 0:
        raise ValueError(f"workers must be 0 or more, not {workers}")
    if not workers:
        with ThreadPoolExecutor(1) as thread:
            yield from _in_order(thread, pairs.make, start, stop, size, _AHEAD)
        return
    # A forked copy of a process that runs TensorFlow or JAX can hang in their locks.
    context = multiprocessing.get_context("spawn")
    known = pairs.landmarks.path
    with ProcessPoolExecutor(workers, context, _start_worker, (pairs.faces, pairs.recipe, known)) as pool:
        ahead = _in_order(pool, _make_in_worker, start, stop, size, (_AHEAD - 1) * workers)
        for step, (x, y, landmarks, unreadable) in ahead:
            pairs.landmarks.add(landmarks)
            pairs.unreadable.update(unreadable)
            yield step, (x.astype(np.float32), y)


def _in_order(
    pool: Executor, make: Callable[[int, int], _T], start: int, stop: int, size: int, ahead: int
) -> Iterator[tuple[int, _T]]:
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

    global _worker
    cv2.setNumThreads(1)  # there is a process for each core already
    _worker = PairBatches(faces, recipe, LandmarkStore(faces, landmarks))


def _make_in_worker(
    step: int, size: int
) -> tuple[np.ndarray, np.ndarray, dict[str, np.ndarray | None], dict[str, str]]:
    """Make a batch, with its images as uint8: a quarter of the bytes to send, and nothing is lost."""
    assert _worker is not None
    x, y = _worker.make(step, size)
    return x.astype(np.uint8), y, _worker.landmarks.take_new(), _worker.unreadable
