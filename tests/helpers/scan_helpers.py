"""Small images with grey squares as faces, a detector that finds them, and images that crash their reader.

Worker processes import the detector from here.
"""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import numpy as np
from PIL import Image

from redeepfake_nb.faces.detection import Detection

BOX = (16, 16, 80, 80)
# Colour of the first pixel -> what happens to the process that looks for faces in the image.
CRASH, EXIT, KILL, HANG = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)


def square(image: np.ndarray) -> list[Detection]:
    """Detect one face where the image has a uniform square, after doing what the first pixel asks for."""
    first = tuple(image[0, 0])
    if first == CRASH:
        os.kill(os.getpid(), signal.SIGSEGV)
    if first == EXIT:
        os._exit(7)
    if first == KILL:
        os.kill(os.getpid(), signal.SIGKILL)
    if first == HANG:
        time.sleep(600)
    left, top, right, bottom = BOX
    return [Detection(BOX, 1.0)] if np.ptp(image[top:bottom, left:right]) == 0 else []


def slow(image: np.ndarray) -> list[Detection]:
    """Detect as ``square`` does, after a pause in which a test can act on the process."""
    time.sleep(0.2)
    return square(image)


def printing(image: np.ndarray) -> list[Detection]:
    """Detect as ``square`` does, after writing to standard output as some libraries do."""
    print("some text")
    os.write(1, b"some more")
    return square(image)


def worker_pids() -> list[int]:
    """Return the process IDs of the worker processes that this process started."""
    from redeepfake_nb.scanning import worker_pool

    groups = [*worker_pool._idle.values(), *worker_pool._busy.values()]
    return [worker.pid for group in groups for worker in group]


def write(path: Path, grey: int | None, first: tuple[int, int, int] = (9, 9, 9)) -> Path:
    """Write a PNG file of 96 x 96 px with a face of this grey value, or without a face."""
    image = np.arange(96 * 96 * 3).reshape(96, 96, 3).astype(np.uint8)
    if grey is not None:
        image[BOX[1] : BOX[3], BOX[0] : BOX[2]] = grey
    image[0, 0] = first
    Image.fromarray(image).save(path)
    return path


def probability(grey: int) -> float:
    """Return P(fake) of a grey value by the ``classifier`` fixture."""
    return float(1 / (1 + np.exp(4 - 8 * grey / 255)))


def folder(path: Path, count: int = 6) -> Path:
    """Write images 00.png, 01.png, ... with faces of different grey values."""
    path.mkdir(exist_ok=True)
    for i in range(count):
        write(path / f"{i:02d}.png", 20 + 200 * i // max(count - 1, 1))
    return path
