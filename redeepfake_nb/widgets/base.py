"""What every inspector does around its work: run callbacks, record errors, count, keep quiet."""

from __future__ import annotations

import glob
import os
import threading
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import ipywidgets as ipw

from ..errors import InputError, ModelError, OutputError, RedeepfakeError, displayable
from ..media.frames import uploads
from ..models.classifier import Classifier
from ..models.loading import default_classifier, load_model
from .controls import DEFAULT, Controls, empty_upload
from .explanation_panel import CloserLook

T = TypeVar("T")


class Inspector:
    """Base of inspectors: a plain object over a set of controls.

    Parameters
    ----------
    controls
        The widgets. Errors go to ``controls.show_errors``, words to ``controls.say``.
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships. A file is loaded when it
        is first needed.
    own_threshold
        Whether the threshold follows the model's.
    """

    # Where an error is shown, whatever was going on when it came up.
    places: tuple[tuple[type[RedeepfakeError], str], ...] = (
        (InputError, "pictures"),
        (ModelError, "model"),
        (OutputError, "save"),
    )

    def __init__(
        self,
        controls: Controls,
        classifier: Classifier | str | os.PathLike | None,
        own_threshold: bool,
    ) -> None:
        self.controls = controls
        self.closer = CloserLook()
        controls.closer.children = [self.closer.root]
        self._recorded: list[tuple[str, str, Exception]] = []  # place, message, error
        # Of each thread its own: what one thread changes quietly must not swallow another's callbacks.
        self._here = threading.local()
        self._given: dict[str, Classifier] = {}
        if classifier is not None and not isinstance(classifier, (str, os.PathLike)):
            self._given[model_name(classifier)] = classifier
        self._loaded: tuple[str, Classifier] | None = None
        self._own_threshold = own_threshold

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

    def _take_upload(self) -> list[Any]:
        """What the person chose; the control's copy of it is let go of at once."""
        upload = self.controls.upload
        try:
            return uploads(upload.value) if upload.value else []
        finally:
            with self._silence():
                empty_upload(upload)

    def _on(self, control: ipw.Widget, work: Callable[[], Any], place: str) -> None:
        """Do ``work`` when a button is pressed or a value changes; its errors are shown at ``place``."""

        def changed(_: Any) -> None:
            if not getattr(self._here, "silent", False):
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
            place = next((where for kind, where in self.places if isinstance(error, kind)), place)
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
        before = getattr(self._here, "silent", False)
        self._here.silent = True
        try:
            yield
        finally:
            self._here.silent = before

    def _classifier(self) -> Classifier:
        """The model that is chosen, loaded if need be; the controls then show its name and threshold."""
        c = self.controls
        name = c.model.value.strip() or DEFAULT
        loaded = self._loaded  # may be changed by another thread while a file is read
        if loaded is None or loaded[0] != name:
            self._loaded = None
            c.show_model(None)
            if name in self._given:
                found = self._given[name]
            else:
                c.say(f"Loading the model {name} …")
                found = default_classifier() if name == DEFAULT else load_model(Path(name).expanduser())
            self._loaded = loaded = (name, found)
        found = loaded[1]
        c.show_model(found)
        if self._own_threshold:
            self._set(c.threshold, found.threshold)
        if c.own_margin.value:
            self._set(c.margin, found.preprocessing.margin)
        return found

    def _load_chosen(self) -> None:
        self._forget("model")
        self._classifier()
        self._judge_again()

    def _move_threshold(self) -> None:
        self._own_threshold = False
        self._judge_again()

    def _reset_threshold(self) -> None:
        self._own_threshold = True
        self._classifier()
        self._judge_again()

    def _judge_again(self) -> None:
        """State what is shown at the threshold that is chosen; nothing is computed anew."""
        raise NotImplementedError

    def _mark_stale(self) -> None:
        """Say whether what is shown was made with the settings as they are now."""
        raise NotImplementedError

    def _set(self, slider: ipw.FloatSlider, value: float) -> None:
        """Move a slider, beyond its ends if need be, without its callback."""
        with self._silence():
            slider.min, slider.max = min(slider.min, value), max(slider.max, value)
            slider.value = value


def model_name(classifier: Classifier | str | os.PathLike | None) -> str:
    """What the model box says for a classifier, a path, or None."""
    if classifier is None:
        return DEFAULT
    if isinstance(classifier, (str, os.PathLike)):
        return os.fspath(classifier) or DEFAULT
    return displayable(classifier.name)


def counted(number: int, noun: str) -> str:
    """``1 picture``, ``2 pictures``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
