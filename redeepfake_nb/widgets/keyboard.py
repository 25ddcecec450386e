"""Keys that do something while their panel has the focus, in any front end.

ipywidgets has no keys of its own, and a notebook's own shortcuts must not see these: "r" would turn the cell
into raw text.
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
  // JupyterLab leaves keys alone below an element with this mark.
  pad.setAttribute("data-lm-suppress-shortcuts", "true");
  const show = () => {
    pad.textContent = model.get("words");
    pad.setAttribute("aria-label", model.get("words"));
  };
  show();
  model.on("change:words", show);
  pad.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
    const key = event.key.toLowerCase();
    if (!model.get("heard").includes(key)) return;
    event.preventDefault();
    event.stopPropagation();
    model.send({ key });
  });
  el.appendChild(pad);
  return () => model.off("change:words", show);
}
export default { render };
"""
_CSS = """
.rdf-keys { margin: 4px; padding: 6px 10px; border: 1px solid currentColor; border-radius: 4px; opacity: 0.8;
  cursor: pointer; font-size: var(--jp-ui-font-size1, 13px); color: var(--jp-ui-font-color1, inherit); }
.rdf-keys:focus { outline: 3px solid #1f77b4; outline-offset: 1px; opacity: 1; }
"""


class KeyPad(anywidget.AnyWidget):
    """A line of words that can have the focus; keys pressed then are told.

    Parameters
    ----------
    words
        What it says.
    actions
        Key in lower case, as browsers call it -> what to do.
    """

    _esm = _ESM
    _css = _CSS
    words = traitlets.Unicode().tag(sync=True)
    heard = traitlets.List(traitlets.Unicode()).tag(sync=True)

    def __init__(self, words: str, actions: Mapping[str, Callable[[], object]]) -> None:
        super().__init__(words=words, heard=list(actions))
        self._actions = dict(actions)
        self.on_msg(self._told)

    def _told(self, _: object, content: object, __: object) -> None:
        key = content.get("key") if isinstance(content, dict) else None
        if isinstance(key, str) and key in self._actions:
            self._actions[key]()
