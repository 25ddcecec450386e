"""Readers for the tests of hostile files, which call them in child processes: they return plain values."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from helpers.numbered_clips import HEIGHT, WIDTH, number_in
from redeepfake_nb.errors import RedeepfakeError
from redeepfake_nb.faces.face import find_faces
from redeepfake_nb.media.frames import read_image
from redeepfake_nb.media.video import open_video

GRID = 8


def grid(image: np.ndarray) -> list[list[int]]:
    """Mean luma of 8 x 8 parts of (H, W, 3) uint8, which changes with any rotation or missing part."""
    step = max(min(image.shape[:2]) // 500, 1)
    image = image[::step, ::step]
    height, width = image.shape[:2]
    rows = np.linspace(0, height, GRID + 1).astype(int)
    columns = np.linspace(0, width, GRID + 1).astype(int)
    grey = image @ np.array([0.299, 0.587, 0.114], np.float32)
    return [
        [
            round(float(grey[top : max(bottom, top + 1), left : max(right, left + 1)].mean()))
            for left, right in pairwise(columns)
        ]
        for top, bottom in pairwise(rows)
    ]


def picture(path: str) -> dict[str, Any]:
    """Call :func:`redeepfake_nb.read_image` with each kind of source."""
    return _from_each_source(path, _picture)


def video(path: str, frames: int | str = "all") -> dict[str, Any]:
    """Call :func:`redeepfake_nb.open_video` with each kind of source, and read a sample."""
    return _from_each_source(path, lambda source: _video(source, frames))


def picture_by_path(path: str) -> dict[str, Any]:
    """As :func:`picture`, by path only."""
    return _picture(path)


def video_by_path(path: str) -> dict[str, Any]:
    """As :func:`video`, by path only."""
    return _video(path, "all")


def faces(path: str) -> dict[str, Any]:
    """As :func:`picture`, with face detection."""
    found = picture(path)
    if "size" in found:
        found["faces"] = len(find_faces(read_image(path)))
    return found


def _from_each_source(path: str, read: Callable[[Any], dict[str, Any]]) -> dict[str, Any]:
    """Read a path, bytes and both kinds of uploads; the results must be equal."""
    found = read(path)
    if not Path(path).is_file():
        return found
    data, name = Path(path).read_bytes(), Path(path).name
    uploads = (
        ({"name": name, "type": "", "size": len(data), "content": memoryview(data)},),
        {name: {"metadata": {"name": name, "size": len(data)}, "content": data}},
    )
    for other in map(read, (data, *uploads)):
        if _without_names(other) != _without_names(found):
            raise AssertionError(f"by path {found}, otherwise {other}")
    return found


def _without_names(found: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in found.items() if key not in ("message", "subject")}


def _picture(source: Any) -> dict[str, Any]:
    try:
        frame = read_image(source)
    except RedeepfakeError as error:
        return _refused(error)
    return {
        "outcome": "whole",
        "size": [frame.width, frame.height],
        "grid": grid(frame.image),
        "notes": list(frame.source.warnings),
    }


def _video(source: Any, frames: int | str) -> dict[str, Any]:
    try:
        with open_video(source) as opened:
            first, wrong = None, 0
            for frame in opened.sample(frames):
                first = grid(frame.image) if first is None else first
                # Frames predicted from damaged ones have an additional warning.
                if (frame.width, frame.height) == (WIDTH, HEIGHT) and len(frame.source.warnings) == len(
                    opened.source.warnings
                ):
                    wrong += number_in(frame.image) != frame.index
            done = opened.completeness
    except RedeepfakeError as error:
        return _refused(error)
    return {
        "outcome": "whole" if done.complete else "partial",
        "size": [opened.width, opened.height],
        "frames": done.read,
        "grid": first,
        "wrong": wrong,
        "notes": list(opened.source.warnings),
        "why": done.summary,
    }


def _refused(error: RedeepfakeError) -> dict[str, Any]:
    return {"outcome": type(error).__name__, "message": str(error), "step": error.next_step}
