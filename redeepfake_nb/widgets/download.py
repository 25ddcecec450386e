"""``Download``: a button that brings a file from the kernel to the person's own computer.

It works where the browser and the kernel are on different machines, and where nobody may see the kernel's
folders.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import traitlets

# Bytes of one message, and milliseconds between two: Jupyter servers drop what a kernel sends at more than
# 1 MB a second.
_PART, _PAUSE = 256 * 1024, 300
_HERE = Path(__file__).parent


class Download(anywidget.AnyWidget):
    """A button for one kind of file.

    Parameters
    ----------
    label, hint
        Of the button.
    """

    _esm = _HERE / "download.js"
    label = traitlets.Unicode().tag(sync=True)
    # Not `tooltip`: ipywidgets' own trait of that name wants a trait `description` beside it.
    hint = traitlets.Unicode().tag(sync=True)
    disabled = traitlets.Bool(False).tag(sync=True)

    def __init__(self, label: str, hint: str) -> None:
        super().__init__(label=label, hint=hint)
        self._pressed: Callable[[], object] = lambda: None
        self._name, self._kind, self._data = "", "", b""
        self.on_msg(self._receive)

    @property
    def description(self) -> str:
        """The words on the button."""
        return self.label

    def on_press(self, pressed: Callable[[], object]) -> None:
        """Set the function that makes the file; it, or a thread that it starts, calls :meth:`deliver`."""
        self._pressed = pressed

    def deliver(self, name: str, data: bytes, kind: str = "application/octet-stream") -> None:
        """Send a file of this name and media type to the browser, which fetches it part by part."""
        self._name, self._kind, self._data = name, kind, data
        self.send({"type": "file"})

    def forget(self) -> None:
        """Take the name of a file that arrived off the page; one that is on its way arrives."""
        self.send({"type": "forget"})

    def fail(self) -> None:
        """Say that there will be no file; the reason is shown elsewhere."""
        self._data = b""
        self.send({"type": "failed"})

    def _receive(self, _: object, content: Any, __: object) -> None:
        message = content if isinstance(content, dict) else {}
        offset = message.get("offset")
        if message.get("type") == "press":
            # A press may have been on its way when the button was disabled.
            self.fail() if self.disabled else self._pressed()
        elif message.get("type") == "next" and isinstance(offset, int) and offset >= 0:
            part, size = self._data[offset : offset + _PART], len(self._data)
            about = {"type": "part", "name": self._name, "kind": self._kind, "size": size, "pause": _PAUSE}
            if offset + len(part) >= size:
                self._data = b""
            self.send(about, [part])
