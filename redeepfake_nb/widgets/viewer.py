"""``PictureViewer``: a picture that can be zoomed, whose faces, persons, frames and seconds can be chosen."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import anywidget
import cv2
import numpy as np
import traitlets

from ..view.regions import Png, Region

_HERE = Path(__file__).parent
# CSS pixels per inch of a drawn figure at its largest: a little more than its letters' stated size.
_PER_INCH = 125
# CSS pixels of the height of a photograph, so that it fits a window with what belongs to it.
MAX_HEIGHT = 470


class PictureViewer(anywidget.AnyWidget):
    """A picture with buttons, Ctrl and wheel, pinch and keys to zoom, and parts that can be clicked.

    Parameters
    ----------
    label
        What the picture shows, for screen readers and tooltips.
    sharp
        Whether single pixels are shown as squares where they are enlarged.

    Attributes
    ----------
    value : bytes
        The PNG; empty for none. See :meth:`show`.
    chosen : int or None
        Index of the region that is marked.
    """

    _esm = _HERE / "viewer.js"
    _css = _HERE / "viewer.css"
    label = traitlets.Unicode().tag(sync=True)
    value = traitlets.Bytes(b"").tag(sync=True)
    # Name, then left, top, right and bottom in fractions of the picture.
    regions: traitlets.List = traitlets.List().tag(sync=True)
    # Left, top, right, bottom as above, then the first and the last second; empty for a picture without time.
    time_axis: traitlets.List = traitlets.List().tag(sync=True)
    time = traitlets.Float(None, allow_none=True).tag(sync=True)
    chosen = traitlets.Int(None, allow_none=True).tag(sync=True)
    # CSS pixels; 0: as wide as there is room.
    max_width = traitlets.Int(0).tag(sync=True)
    sharp = traitlets.Bool(False).tag(sync=True)

    def __init__(self, label: str, *, sharp: bool = False) -> None:
        super().__init__(label=label, sharp=sharp)
        self._choose: Callable[[int], object] = lambda index: None
        self._go_to: Callable[[float], object] = lambda time: None
        self._step: Callable[[int], object] = lambda by: None
        self.layout.display = "none"
        self.on_msg(self._receive)

    def show(
        self,
        png: bytes,
        regions: Sequence[Region] | None = None,
        *,
        chosen: int | None = None,
        time: float | None = None,
        width: int | None = None,
    ) -> None:
        """Show a picture; no bytes hide the viewer.

        Parameters
        ----------
        png
            From :func:`redeepfake_nb.view.to_png`, or any other PNG.
        regions
            What can be chosen. Default: those of the drawing, where a function for them is set.
        chosen
            Index of the region that is marked.
        time
            Seconds at which the time axis is marked.
        width
            CSS pixels of the picture at most. Default: what makes the letters of a drawing legible.
        """
        drawn = png if isinstance(png, Png) else Png(png)
        axis = drawn.time_axis
        if width is None:
            width = 0 if drawn.width is None else round(drawn.width * _PER_INCH)
        with self.hold_sync():
            self.regions = [[r.name, *r.box] for r in (drawn.regions if regions is None else regions)]
            self.time_axis = [] if axis is None else [*axis.box, axis.first, axis.last]
            self.time, self.max_width = time, width
            self.chosen = chosen
            self.value = bytes(drawn)
        self.layout.display = "" if png else "none"

    def on_choose(self, choose: Callable[[int], object]) -> None:
        """Set the function that is called with the index of a region that was chosen."""
        self._choose = choose

    def on_time(self, go_to: Callable[[float], object], step: Callable[[int], object]) -> None:
        """Set the functions called with the seconds that were clicked, and with 1 or -1 for arrow keys."""
        self._go_to, self._step = go_to, step

    @traitlets.validate("chosen")
    def _check(self, proposal: dict) -> int | None:
        index = proposal["value"]
        return index if index is None or 0 <= index < len(self.regions) else None

    def _receive(self, _: object, content: Any, __: object) -> None:
        message = content if isinstance(content, dict) else {}
        index, time, by = message.get("region"), message.get("time"), message.get("step")
        if type(index) is int and 0 <= index < len(self.regions):
            self._choose(index)
        elif isinstance(time, (int, float)) and math.isfinite(time) and self.time_axis:
            self._go_to(min(max(float(time), self.time_axis[4]), self.time_axis[5]))
        elif type(by) is int and by in (1, -1):
            self._step(by)


def encode_png(image: np.ndarray) -> bytes:
    """Return a (H, W, 3) uint8 RGB image as a PNG."""
    return cv2.imencode(".png", cv2.cvtColor(image, cv2.COLOR_RGB2BGR))[1].tobytes()
