"""Find out whether a picture or a video lies on its side, and turn it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ..media.frames import Frame, Source, turned_pixels
from ..media.notes import Note, doubt
from .blazeface import BlazeFaceDetector
from .detection import Detection, validate_detections
from .pose import is_upright

TURNS = (90, 270, 180)
# With no upright face of at least this confidence of BlazeFace's, which sees lying faces too, a picture is
# turned; it stays so only if a face is more confident by this much then.
_CERTAINLY_UPRIGHT = 0.5
_CLEARLY_MORE_CERTAIN = 0.15
# A video is turned by what its first sampled frames show, and if at least so many of them agree.
_FIRST_FRAMES = 4
_AGREEING_FRAMES = 2


def turn_note(degrees: int) -> Note:
    """Say in the notes of a source that it was turned."""
    how = "upside down" if degrees == 180 else f"{degrees} degrees clockwise"
    return doubt(f"turned {how}, because faces are upright only so")


def turned_by(source: Source | None) -> int:
    """Return by how many degrees clockwise a source was turned, as its notes say; 0 if it was not."""
    notes = () if source is None else source.notes
    return next((degrees for degrees in TURNS if turn_note(degrees) in notes), 0)


def turned_frame(frame: Frame, degrees: int) -> Frame:
    """Turn a frame clockwise; the notes of its source say so."""
    source = frame.source
    if source is not None:
        source = replace(source, notes=(*source.notes, turn_note(degrees)))
    return replace(frame, image=turned_pixels(frame.image, degrees), source=source)


def best_turn(
    image: np.ndarray, detector: Callable[[np.ndarray], Iterable[Any]], found: list[Detection]
) -> tuple[int, list[Detection]]:
    """Find by how much an image has to be turned so that its faces are upright.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    detector
        Only with :class:`BlazeFaceDetector` is anything but 0 returned.
    found
        What it finds in the image as it is.

    Returns
    -------
    int
        Degrees clockwise: 0, 90, 180 or 270.
    list of Detection
        The faces in the turned image.
    """
    best, chosen = _certainty(found), 0
    if not isinstance(detector, BlazeFaceDetector) or best >= _CERTAINLY_UPRIGHT:
        return 0, found
    best += _CLEARLY_MORE_CERTAIN
    for degrees in TURNS:
        turned = turned_pixels(image, degrees)
        size = turned.shape[1], turned.shape[0]
        seen = validate_detections(detector.for_turned(turned), *size, detector.name)
        if _certainty(seen) > best:
            best, chosen, found = _certainty(seen), degrees, seen
    return chosen, found


def turn_of_frames(frames: Iterable[Frame], detector: Callable) -> tuple[list[Frame], int]:
    """Find out from a video's first frames whether it lies on its side.

    Parameters
    ----------
    frames
        Sampled frames, in order. As many are taken as are needed: one where it shows an upright face, at most
        four.
    detector
        As for :func:`best_turn`.

    Returns
    -------
    list of Frame
        Those that were taken, as they are.
    int
        Degrees clockwise by which all frames have to be turned: 0 unless those with a face agree, which are
        at least two where there are as many.
    """
    taken: list[Frame] = []
    turns: list[int] = []
    if not isinstance(detector, BlazeFaceDetector):
        return taken, 0
    for frame in frames:
        taken.append(frame)
        degrees, found = best_turn(frame.image, detector, detector(frame.image))
        if found:
            turns.append(degrees)
        if (found and not degrees) or len(taken) == _FIRST_FRAMES:
            break
    return taken, _agreed(turns, len(taken))


def _agreed(turns: Sequence[int], frames: int) -> int:
    """Return the only turn that enough frames ask for; 0 where they disagree."""
    enough = len(turns) >= min(_AGREEING_FRAMES, frames)
    return turns[0] if enough and len(set(turns)) == 1 else 0


def _certainty(detections: Sequence[Detection]) -> float:
    """Return the highest confidence of an upright face; 0 where there is none."""
    return max((d.confidence or 0.0 for d in detections if is_upright(d.key_points)), default=0.0)
