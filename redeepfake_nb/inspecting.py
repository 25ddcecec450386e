"""What every inspector does around its work: run callbacks, record errors, count, keep quiet."""

from __future__ import annotations

import glob
import os
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import ipywidgets as ipw

from .controls import ImageControls
from .errors import InputError, ModelError, OutputError, RedeepfakeError, displayable

T = TypeVar("T")
_PLACE_OF = ((InputError, "pictures"), (ModelError, "model"), (OutputError, "save"))


class Inspector:
    """Base of inspectors: a plain object over a set of controls.

    Parameters
    ----------
    controls
        The widgets. Errors go to ``controls.show_errors``, words to ``controls.say``.
    """

    def __init__(self, controls: ImageControls) -> None:
        self.controls = controls
        self._recorded: list[tuple[str, str, Exception]] = []  # place, message, error
        self._silent = False

    @property
    def widget(self) -> ipw.Widget:
        """The root of the controls. Displaying the inspector shows it."""
        return self.controls.root

    @property
    def errors(self) -> list[Exception]:
        """What went wrong with what is shown; most are :class:`RedeepfakeError`."""
        return [error for _, _, error in self._recorded]

    def _ipython_display_(self) -> None:
        from IPython.display import display

        # Not display(self.widget): its plain text, which is saved with the notebook, quotes what is shown.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        display({"text/plain": repr(self), "application/vnd.jupyter.widget-view+json": view}, raw=True)

    def _on(self, control: ipw.Widget, work: Callable[[], Any], place: str) -> None:
        """Do ``work`` when a button is pressed or a value changes; its errors are shown at ``place``."""

        def changed(_: Any) -> None:
            if not self._silent:
                self._guarded(work, place)

        if isinstance(control, ipw.Button):
            control.on_click(changed)
        else:
            control.observe(changed, "value")

    def _guarded(self, work: Callable[[], Any], place: str) -> None:
        """Run a callback; whatever it raises is shown beside the control instead of being lost in a log."""
        try:
            work()
        except KeyboardInterrupt:
            self.controls.say("Interrupted; what was done before is shown.")
        except Exception as error:
            self._record(error, place)
            self.controls.say("That did not work; see the message beside the control.")

    def _record(self, error: Exception, place: str, subject: str = "") -> None:
        """Keep an error and show it beside the control that it concerns."""
        if isinstance(error, RedeepfakeError):
            place = next((where for kind, where in _PLACE_OF if isinstance(error, kind)), place)
            message = str(error)
        else:
            about = f"{displayable(subject)}: " if subject else ""
            message = f"{about}unexpected {type(error).__name__}: {displayable(error, 300)}"
        self._recorded.append((place, message, error))
        self._show_errors()

    def _forget(self, *places: str) -> None:
        """Forget the errors at some controls, or all."""
        self._recorded = [entry for entry in self._recorded if places and entry[0] not in places]
        self._show_errors()

    def _show_errors(self) -> None:
        unexpected = [e for e in self.errors if not isinstance(e, RedeepfakeError)]
        self.controls.show_errors(
            [(place, message) for place, message, _ in self._recorded],
            ["".join(traceback.format_exception(e)) for e in unexpected],
        )

    def _counted(self, items: Sequence[T], doing: str, name: Callable[[T], str]) -> Iterator[T]:
        """The items, with a word and a bar for each."""
        try:
            for i, item in enumerate(items):
                self.controls.count(i, len(items))
                self.controls.say(f"{doing} {i + 1} of {len(items)}: {name(item)}")
                yield item
        finally:
            self.controls.count(1, 1)

    @contextmanager
    def _silence(self) -> Iterator[None]:
        """Change controls without their callbacks."""
        before, self._silent = self._silent, True
        try:
            yield
        finally:
            self._silent = before


def expand_paths(lines: str) -> list[str]:
    """Paths out of a text box: one per line, ``~`` for the home folder.

    ``*``, ``?`` and ``[...]`` stand for names, except where a file is really called so.

    Raises
    ------
    InputError
        A pattern that nothing matches.
    """
    found: list[str] = []
    for line in filter(None, map(str.strip, lines.splitlines())):
        path = os.path.expanduser(line)
        if not glob.has_magic(path) or os.path.lexists(path):
            found.append(path)
            continue
        matches = sorted(glob.glob(path, recursive=True))
        if not matches:
            raise InputError("no file matches", subject=line, next_step="Check the pattern.")
        found += matches
    return found
