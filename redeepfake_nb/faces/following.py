"""A patch followed from one frame to the next by its pattern, for faces that are hidden for a moment."""

from __future__ import annotations

import numpy as np

from .detection import Box
from .dlib_backend import LOCK, load_dlib


def follow(before: np.ndarray, after: np.ndarray, box: Box) -> tuple[tuple[float, ...], float]:
    """Where the patch in ``box`` of one frame lies in the next.

    dlib's correlation tracker (Danelljan et al., "Accurate Scale Estimation for Robust Visual Tracking", BMVC
    2014); about 6 ms.

    Parameters
    ----------
    before, after
        (H, W, 3) uint8 RGB, of one size.
    box
        (left, top, right, bottom) in ``before``, pixels, right and bottom exclusive.

    Returns
    -------
    box : tuple of float
        In ``after``; it may reach outside.
    strength : float
        Peak to side-lobe ratio of the correlation; under about 7 the patch is hidden or lost.
    """
    with LOCK:
        library = load_dlib()
        tracker = library.correlation_tracker()
        left, top, right, bottom = (int(v) for v in box)
        # dlib's right and bottom are inclusive.
        tracker.start_track(np.ascontiguousarray(before), library.rectangle(left, top, right - 1, bottom - 1))
        strength = tracker.update(np.ascontiguousarray(after))
        place = tracker.get_position()
    return (place.left(), place.top(), place.right() + 1, place.bottom() + 1), float(strength)
