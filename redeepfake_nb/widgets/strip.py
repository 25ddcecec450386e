"""``Strip``: thumbnails with verdicts, of which one is chosen."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import anywidget
import cv2
import numpy as np
import traitlets

# Longest side of a thumbnail, in pixels: twice what is shown, for screens of high resolution.
_SIDE = 216
_HERE = Path(__file__).parent


class Strip(anywidget.AnyWidget):
    """Thumbnails in a row; arrow keys are the panel's.

    Parameters
    ----------
    label
        What is chosen, for screen readers.

    Attributes
    ----------
    value : int or None
        Index of the chosen one.
    """

    _esm = _HERE / "strip.js"
    _css = _HERE / "strip.css"
    label = traitlets.Unicode().tag(sync=True)
    items: traitlets.List = traitlets.List().tag(sync=True)
    thumbnails = traitlets.List(traitlets.Bytes()).tag(sync=True)
    value = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(self, label: str) -> None:
        super().__init__(label=label)

    def show(self, items: Sequence[tuple[str, str, bytes]], chosen: int | None) -> None:
        """Show (name, verdict, JPEG) triples and choose one of them."""
        with self.hold_sync():
            self.thumbnails = [jpeg for *_, jpeg in items]
            self.items = [[name, verdict] for name, verdict, _ in items]
            self.value = chosen

    @traitlets.validate("value")
    def _check(self, proposal: dict) -> int | None:
        index = proposal["value"]
        if index is not None and not 0 <= index < len(self.items):
            raise traitlets.TraitError(f"there is no item {index}")
        return index


def thumbnail(image: np.ndarray) -> bytes:
    """Return an (H, W, 3) uint8 RGB image as a small JPEG."""
    height, width = image.shape[:2]
    scale = min(_SIDE / max(height, width), 1.0)
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    encoded = cv2.imencode(".jpg", cv2.cvtColor(small, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 85])[1]
    return encoded.tobytes()
