"""Connect an inspector's controls to its methods, and show errors beside the controls."""

from __future__ import annotations

import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ipywidgets as ipw

from ..errors import RedeepfakeError, displayable
from ..utils.jobs import Busy
from ..utils.wording import capitalized
from .controls import Controls
from .wording import in_panel

FAILED = "That did not work; see the message beside the control."


class Callbacks:
    """Run an inspector's methods when controls change, one at a time; errors are shown instead of raised.

    Parameters
    ----------
    controls
        Where errors and the status are shown.
    sections
        Pairs of error type and section. An error is shown at the section of the first type that it is an
        instance of, and otherwise at the section that its callback was connected with.

    Attributes
    ----------
    lock : threading.RLock
        Held while a callback runs. Background threads hold it while they change what is shown.
    """

    def __init__(self, controls: Controls, sections: Sequence[tuple[type[RedeepfakeError], str]]) -> None:
        self.lock = threading.RLock()
        self._controls = controls
        self._sections = tuple(sections)
        self._recorded: list[tuple[str, str, BaseException]] = []  # section, message, error
        self._waiting: list[tuple[str, str]] = []  # section and message of what was asked for during work
        # Per thread: one thread that pauses its callbacks must not swallow another's.
        self._local = threading.local()

    @property
    def errors(self) -> list[BaseException]:
        """The errors that are shown; most are :class:`RedeepfakeError`."""
        return [error for _, _, error in self._recorded]

    @property
    def sections(self) -> list[str]:
        """The section of each error."""
        return [section for section, _, _ in self._recorded]

    def connect(self, control: ipw.Widget, work: Callable[[], Any], section: str) -> None:
        """Call ``work`` when a button is pressed or a value changes; show its errors at ``section``.

        A press of a disabled button does nothing: it was on its way when the button was disabled, as the
        second half of a double click is.
        """

        def changed(_: Any) -> None:
            if not getattr(self._local, "paused", False):
                self.run(work, section)

        def pressed(button: ipw.Button) -> None:
            if not button.disabled:
                changed(button)

        if isinstance(control, ipw.Button):
            control.on_click(pressed)
        else:
            control.observe(changed, "value")

    def run(self, work: Callable[[], Any], section: str) -> None:
        """Call ``work`` under the lock and show what it raises at ``section``."""
        with self.lock:
            try:
                work()
            except KeyboardInterrupt:
                self._controls.show_status("Interrupted. What was finished before is shown.")
            except Busy as error:  # the status says what is going on, and that has not failed
                self._waiting.append((section, error_message(error)))
                self._show_errors()
            except Exception as error:
                self.record(error, section)
                self._controls.show_status(FAILED)

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Change controls from this thread without running their callbacks."""
        before = getattr(self._local, "paused", False)
        self._local.paused = True
        try:
            yield
        finally:
            self._local.paused = before

    def record(self, error: BaseException, section: str, subject: str = "") -> None:
        """Keep an error and show it; ``subject`` names what an unexpected error is about."""
        for kind, where in self._sections:
            if isinstance(error, kind):
                section = where
                break
        self.record_at(section, error, subject)

    def record_at(self, section: str, error: BaseException, subject: str = "") -> None:
        """Keep an error and show it at this section, whatever its type."""
        self._recorded.append((section, error_message(error, subject), error))
        self._show_errors()

    def forget(self, *sections: str) -> None:
        """Remove the errors at these sections; all errors where none is given."""
        self._recorded = [entry for entry in self._recorded if sections and entry[0] not in sections]
        self._show_errors()

    def work_ended(self) -> None:
        """Remove the requests to wait, which are no errors of what was done."""
        self._waiting = []
        self._show_errors()

    def _show_errors(self) -> None:
        unexpected = [error for error in self.errors if not isinstance(error, RedeepfakeError)]
        self._controls.show_errors(
            [*((section, message) for section, message, _ in self._recorded), *self._waiting],
            ["".join(traceback.format_exception(error)) for error in unexpected],
        )


def error_message(error: BaseException, subject: str = "") -> str:
    """Return the sentence that a person reads for an error."""
    if not isinstance(error, RedeepfakeError):
        message = f"Unexpected {type(error).__name__}: {displayable(error, 300)}"
        return f"{displayable(subject)}: {message}" if subject else message
    message = in_panel(str(error))
    return message if error.subject else capitalized(message)
