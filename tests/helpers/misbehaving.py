"""Functions that fail in ways that the sandbox must detect."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path


def succeed() -> int:
    return 5


def crash() -> None:
    os.kill(os.getpid(), signal.SIGSEGV)


def hang() -> None:
    time.sleep(100)


def fail() -> None:
    raise KeyError("marker")


def write() -> None:
    Path("marker").touch()


def grow() -> int:
    return len(bytes(3 * 2**30))
