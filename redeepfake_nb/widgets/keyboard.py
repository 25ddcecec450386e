"""Keyboard shortcuts that work while their panel has the focus, in every notebook front end.

ipywidgets has no keyboard events, and the notebook's own shortcuts must not see these keys: "r" would turn
the cell into raw text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import anywidget
import traitlets

_ESM = """
function render({ model, el }) {
  const pad = document.createElement("div");
  pad.className = "rdf-keys";
  pad.tabIndex = 0;
  pad.setAttribute("role", "group");
  // JupyterLab ignores keys below an element with this attribute.
  pad.setAttribute("data-lm-suppress-shortcuts", "true");
  const show = () => {
    pad.textContent = model.get("label");
    pad.setAttribute("aria-label", model.get("label"));
  };
  show();
  model.on("change:label", show);
  pad.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.toLowerCase();
    if (!model.get("bound_keys").includes(key)) return;
    event.preventDefault();
    event.stopPropagation();
    model.send({ key });
  });
  el.appendChild(pad);
  return () => model.off("change:label", show);
}
export default { render };
"""
_CSS = """
.rdf-keys { margin: 4px; padding: 6px 10px; border: 1px solid currentColor; border-radius: 4px; opacity: 0.8;
  cursor: pointer; font-size: var(--jp-ui-font-size1, 13px); color: var(--jp-ui-font-color1, inherit); }
.rdf-keys:focus { outline: 3px solid #1f77b4; outline-offset: 1px; opacity: 1; }
"""


class KeyPad(anywidget.AnyWidget):
    """A box that can have the focus; keys pressed there call functions.

    Parameters
    ----------
    label
        The text in the box.
    """

    _esm = _ESM
    _css = _CSS
    label = traitlets.Unicode().tag(sync=True)
    bound_keys = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self, label: str) -> None:
        super().__init__(label=label)
        self._actions: dict[str, Callable[[], object]] = {}
        self.on_msg(self._receive)

    def bind(self, actions: Mapping[str, Callable[[], object]]) -> None:
        """Set the functions that keys call, in place of earlier ones.

        Parameters
        ----------
        actions
            Key in lower case, as in JavaScript's ``KeyboardEvent.key`` -> function.
        """
        self._actions = dict(actions)
        self.bound_keys = list(actions)

    def _receive(self, _: object, content: object, __: object) -> None:
        key = content.get("key") if isinstance(content, dict) else None
        if isinstance(key, str) and key in self._actions:
            self._actions[key]()
