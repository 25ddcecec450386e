"""Decide how many threads each library gets, in one place, so that they do not fight for the same cores.

By default the libraries share all cores that this process may use. ``REDEEPFAKE_NB_THREADS`` sets another
number; a scan sets it for its worker processes, which share the cores among them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import lru_cache
from pathlib import Path

THREADS_VARIABLE = "REDEEPFAKE_NB_THREADS"
# Frames that are searched at a time each hold their pixels, so more threads would cost memory.
_MOST_SEARCHERS = 4


@lru_cache(maxsize=1)
def cores() -> int:
    """Count the processors that this process may use: its affinity, and the quota of its container."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    with suppress(OSError, ValueError):  # "max 100000" where there is no quota
        quota, period = map(int, Path("/sys/fs/cgroup/cpu.max").read_text().split())
        affinity = min(affinity, max(1, -(-quota // period)))
    return affinity


def scoring_threads() -> int:
    """Return the number of threads for the forward pass of the network."""
    with suppress(ValueError):
        return max(1, int(os.environ.get(THREADS_VARIABLE, "")))
    return cores()


def search_threads() -> int:
    """Return the number of threads that search whole frames of a video for faces."""
    return min(scoring_threads(), _MOST_SEARCHERS)


def thread_environment(threads: int) -> dict[str, str]:
    """Return the environment variables that limit a new process and its libraries to so many threads."""
    return {
        THREADS_VARIABLE: str(threads),
        "OMP_NUM_THREADS": str(threads),
        "OPENBLAS_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TF_NUM_INTRAOP_THREADS": str(threads),
        "TF_NUM_INTEROP_THREADS": "1",
    }


def scoring_jobs() -> int:
    """Return how many batches of a video are prepared, scored and measured at a time."""
    return min(scoring_threads(), 2)


@contextmanager
def opencv_in_one_thread() -> Iterator[None]:
    """Keep OpenCV from using threads of its own while threads of this package share the cores.

    Where each of them waited for more threads, they would wait for each other. The setting belongs to the
    whole process; whoever leaves last restores it.
    """
    import cv2

    with _opencv.lock:
        if not _opencv.users:
            _opencv.threads = cv2.getNumThreads()
            cv2.setNumThreads(1)
        _opencv.users += 1
    try:
        yield
    finally:
        with _opencv.lock:
            _opencv.users -= 1
            if not _opencv.users:
                cv2.setNumThreads(_opencv.threads)


class _OpenCVUsers:
    """Who keeps OpenCV in one thread, and the number of threads that it had before."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.users = self.threads = 0


_opencv = _OpenCVUsers()


def limit_opencv() -> None:
    """Limit OpenCV, which reads no environment variable, to the number that this process was given."""
    if os.environ.get(THREADS_VARIABLE):
        import cv2

        cv2.setNumThreads(scoring_threads())
