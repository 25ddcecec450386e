"""``PanelScript``: what a panel needs in the browser and ipywidgets does not do.

Names and tooltips of all controls, which ipywidgets 8 leaves out for most kinds; keys for next and previous;
a status that stays in the window when its place is scrolled away; the focus kept when a pressed button is
disabled; and whether the page is dark.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import anywidget
import ipywidgets as ipw
import traitlets

_HERE = Path(__file__).parent


class PanelScript(anywidget.AnyWidget):
    """A widget without a face, somewhere in the panel that it serves.

    Attributes
    ----------
    dark : bool
        Whether the page is dark, as the browser says.
    """

    _esm = _HERE / "panel_script.js"
    _css = _HERE / "panel_script.css"
    hints = traitlets.Dict().tag(sync=True)
    dark = traitlets.Bool(False).tag(sync=True)

    def __init__(self) -> None:
        super().__init__()
        self.layout.display = "none"
        self._step: Callable[[int], object] = lambda by: None
        self.on_msg(self._receive)

    def describe(self, root: ipw.Widget) -> None:
        """Put the names and tooltips of all controls below ``root`` into the page."""
        hints = {}
        for widget in _below(root):
            named = [name for name in ("tooltip", "description_tooltip") if widget.has_trait(name)]
            tip = getattr(widget, named[0]) if named else ""
            words = widget.description if widget.has_trait("description") else ""
            if tip and words:
                name = f"rdf-hint-{widget.model_id}"
                widget.add_class(name)
                hints[name] = [words, tip]
        self.hints = hints

    def on_step(self, step: Callable[[int], object]) -> None:
        """Set the function that the keys for next and previous call with 1 or -1."""
        self._step = step

    def _receive(self, _: object, content: Any, __: object) -> None:
        by = content.get("step") if isinstance(content, dict) else None
        if by in (1, -1):
            self._step(by)


def _below(root: ipw.Widget) -> list[ipw.Widget]:
    return [w for child in getattr(root, "children", ()) for w in (child, *_below(child))]
