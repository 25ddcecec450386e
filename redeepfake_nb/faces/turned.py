"""Turn a picture that lies on its side."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from ..media.frames import Frame
from ..media.notes import doubt


def turned_frames(frame: Frame) -> Iterator[Frame]:
    """Yield a frame turned clockwise by 90, 270 and 180 degrees; the warnings of its source say so."""
    for degrees in (90, 270, 180):
        source = frame.source
        if source is not None:
            how = "upside down" if degrees == 180 else f"{degrees} degrees clockwise"
            note = doubt(f"turned {how}, because faces are upright only so")
            source = replace(source, notes=(*source.notes, note))
        yield replace(frame, image=np.ascontiguousarray(np.rot90(frame.image, -degrees // 90)), source=source)
