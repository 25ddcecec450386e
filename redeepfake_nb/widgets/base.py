"""What all inspectors do alike: choose a model, follow its threshold, show errors, display themselves."""

from __future__ import annotations

import contextlib
import glob
import os
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import ipywidgets as ipw
import numpy as np

from ..errors import InputError, ModelError, OutputError, RedeepfakeError, displayable
from ..faces.face import Face
from ..media.frames import Frame
from ..models.classifier import Classifier
from ..models.loading import default_classifier, load_model
from ..models.prediction import predict
from ..utils.jobs import Job, JobRunner
from .callbacks import FAILED, Callbacks
from .controls import DEFAULT, Controls
from .explanation_panel import ExplanationPanel


class ModelChoice:
    """The model that the model box names. A file is loaded when it is first needed.

    Parameters
    ----------
    controls
        Model box, threshold and margin; they show what was loaded.
    callbacks
        Paused while the threshold and the margin are set to the model's own.
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships.
    follow_threshold
        Whether the threshold is the model's own.

    Attributes
    ----------
    follow_threshold : bool
    """

    def __init__(
        self,
        controls: Controls,
        callbacks: Callbacks,
        classifier: Classifier | str | os.PathLike | None,
        follow_threshold: bool,
    ) -> None:
        self.follow_threshold = follow_threshold
        self._controls, self._callbacks = controls, callbacks
        self._given: dict[str, Classifier] = {}
        if classifier is not None and not isinstance(classifier, (str, os.PathLike)):
            self._given[model_name(classifier)] = classifier
        self._loaded: tuple[str, Classifier] | None = None
        if self._given:
            self.classifier()

    @property
    def name(self) -> str:
        """What the model box says."""
        return self._controls.model.value.strip() or DEFAULT

    @property
    def loaded(self) -> Classifier | None:
        """The model that was loaded last."""
        return None if self._loaded is None else self._loaded[1]

    def unloaded(self) -> Classifier | Path | None:
        """Return the chosen model as :func:`redeepfake_nb.scan` takes it, without loading a file."""
        name = self.name
        return self._given.get(name, None if name == DEFAULT else Path(name).expanduser())

    @property
    def at_hand(self) -> bool:
        """Whether the chosen model is there without a file being read."""
        return self.name in self._given or (self._loaded is not None and self._loaded[0] == self.name)

    def classifier(self) -> Classifier:
        """Return the chosen model, loaded if need be; the controls show its name, threshold and margin.

        Raises
        ------
        ModelError
            The file cannot be loaded.
        """
        c, name = self._controls, self.name
        loaded = self._loaded  # another thread may change it while a file is read
        if loaded is None or loaded[0] != name:
            self._loaded = None
            c.show_model(None)
            found = self._given[name] if name in self._given else self._read(name)
            self._loaded = loaded = (name, found)
        found = loaded[1]
        c.show_model(found)
        if self.follow_threshold:
            self._set(c.threshold, found.threshold)
        if c.use_model_margin.value:
            self._set(c.margin, found.preprocessing.margin)
        return found

    def _read(self, name: str) -> Classifier:
        """Read a model file and compute one score, which is slow the first time; both are told as steps."""
        c = self._controls
        try:
            c.show_progress(0, 2)
            c.show_status(
                f"Loading the model {name}, step 1 of 2: reading its file. "
                "The first time on a machine it is also compiled, which may take a minute …"
            )
            found = default_classifier() if name == DEFAULT else load_model(Path(name).expanduser())
            c.show_progress(1, 2)
            c.show_status(f"Loading the model {name}, step 2 of 2: a first score, which takes longest …")
            side = found.preprocessing.input_size
            with contextlib.suppress(Exception):  # the analysis says what is wrong with its scores
                black = Face.whole(Frame(np.zeros((side, side, 3), np.uint8)))
                frames = found.preprocessing.frames
                predict(found, [black] if frames == 1 else [[black] * frames])
        finally:
            c.show_progress(1, 1)
        return found

    def _set(self, slider: ipw.FloatSlider, value: float) -> None:
        """Move a slider, beyond its ends if need be, without its callback."""
        with self._callbacks.paused():
            slider.min, slider.max = min(slider.min, value), max(slider.max, value)
            slider.value = value


class Inspector:
    """Base of the inspectors: a plain object over a set of controls.

    Parameters
    ----------
    controls
        The widgets.
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships.
    follow_threshold
        Whether the threshold is the model's own.

    Attributes
    ----------
    explanation_panel : ExplanationPanel
        Answers questions about the heatmaps that are shown.
    """

    # Where errors of a type are shown, see Callbacks.
    error_sections: Sequence[tuple[type[RedeepfakeError], str]] = (
        (InputError, "pictures"),
        (ModelError, "model"),
        (OutputError, "save"),
    )
    controls: Controls

    def __init__(
        self,
        controls: Controls,
        classifier: Classifier | str | os.PathLike | None,
        follow_threshold: bool,
    ) -> None:
        self.controls = controls
        self.explanation_panel = ExplanationPanel(controls.drawings)
        controls.explanation_panel.children = [self.explanation_panel.root]
        controls.script.describe(controls.root)
        self._callbacks = Callbacks(controls, self.error_sections)
        self._background = JobRunner(self._finished)
        self._model = ModelChoice(controls, self._callbacks, classifier, follow_threshold)
        self._expected = ""  # what is being analysed and not shown yet

    @property
    def widget(self) -> ipw.Widget:
        """The root of the controls. Displaying the inspector shows it."""
        return self.controls.root

    @property
    def errors(self) -> list[BaseException]:
        """The errors that are shown; most are :class:`RedeepfakeError`."""
        return self._callbacks.errors

    @property
    def running(self) -> bool:
        """Whether work is running in the background."""
        return self._background.job is not None

    @property
    def _welcome(self) -> str:
        """What to do where nothing is shown."""
        raise NotImplementedError

    @property
    def _shown_name(self) -> str:
        """What the shown result is of; empty where nothing is shown."""
        return ""

    @property
    def _still_shown(self) -> str:
        """That an earlier result is shown, where what is being analysed has none yet; otherwise empty."""
        shown = self._shown_name
        return f"The result of {shown} is still shown." if self._expected and shown else ""

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no work is running, at most ``timeout`` seconds; return whether that is so."""
        return self._background.wait(timeout)

    def cancel(self) -> None:
        """Stop the work that is running; what was finished by then is kept."""
        if self._background.cancel():
            self.controls.cancel.disabled = True
            self.controls.show_status("Stopping …")

    def _begin(self, section: str, work: Callable[[Job], Any]) -> Job:
        """Start work in the background; its error is shown at ``section``."""
        # Locked until the buttons are set, since the job may end before this thread continues.
        with self._callbacks.lock:
            job = self._background.start(section, work)
            self.controls.show_running(True)
        return job

    def _finished(self, job: Job) -> None:
        """Show how a job ended; runs in the job's thread."""
        with self._callbacks.lock:
            self.controls.show_progress(1, 1)
            self.controls.show_running(False)
            self._callbacks.work_ended()
            still_shown = "" if job.discarded else self._say_still_shown()
            if job.error is not None and not job.discarded:
                self._callbacks.record(job.error, job.section)
                self.controls.show_status(f"{FAILED} {still_shown}".strip())
            elif job.discarded:  # it may have said what it was doing after all was cleared
                self.controls.show_status(f"Cleared. {self._welcome}")

    def _expect(self, job: Job, name: str) -> None:
        """Say, until :meth:`_arrived`, that the shown result is not that of what is being analysed."""
        with self._callbacks.lock:
            if job.discarded:
                return
            self._expected = name
            if shown := self._shown_name:
                again = shown == name
                words = f"{name} is being analysed again." if again else f"{name} is being analysed."
                self.controls.show_outdated(f"This is the result of {shown}. {words}", fading=True)

    def _arrived(self) -> None:
        """The shown result is that of what was asked for."""
        self._expected = ""
        self.controls.show_outdated("")

    def _say_still_shown(self) -> str:
        """Mark the shown result where what was asked for last has none; return what the status says of it."""
        expected, shown, sentence = self._expected, self._shown_name, self._still_shown
        if expected:
            self._arrived()
        if sentence and shown == expected:
            self.controls.show_outdated(f"This is the earlier result of {shown}; it was not analysed again.")
        elif sentence:
            self.controls.show_outdated(f"This is still the result of {shown}; {expected} was not analysed.")
        return sentence

    def _ipython_display_(self) -> None:
        display_panel(self, self.widget)

    def _files(self) -> dict[str, Callable[[Job], tuple[str, bytes, str]]]:
        """What the download buttons give: kind -> function that returns name, content and media type."""
        return {}

    def _download(self, kind: str) -> None:
        """Make a file in the background and send it to the browser."""
        download, make = self.controls.downloads[kind], self._files()[kind]

        def work(job: Job) -> None:
            try:
                self.controls.show_status("Preparing the download …")
                made = make(job)
            except BaseException:
                download.fail()
                raise
            download.deliver(*made)

        try:
            self._callbacks.forget("save")
            self._begin("save", work)
        except BaseException:
            download.fail()
            raise

    def _page(self, reports: Any, **options: Any) -> tuple[str, bytes, str]:
        """Return the HTML page about reports as a file."""
        from ..report.html_page import html

        with tempfile.TemporaryDirectory(prefix="redeepfake-") as folder:
            page = html(reports, Path(folder) / "report.html", **options)
            return page.name, page.read_bytes(), "text/html"

    def _connect(self) -> None:
        """Connect the controls to methods."""
        c, on = self.controls, self._callbacks.connect
        c.cancel.on_click(lambda _: self.cancel())  # without the lock
        for kind, download in c.downloads.items():
            download.on_press(partial(self._callbacks.run, partial(self._download, kind), "save"))
        c.script.observe(lambda change: self._callbacks.run(self._change_theme, "model"), "dark")
        on(c.model, self._change_model, "model")
        on(c.threshold, self._change_threshold, "model")
        on(c.reset_threshold, self._reset_threshold, "model")

    def _change_theme(self) -> None:
        """Draw what is shown for a dark or a light page."""
        drawings = self.controls.drawings
        if drawings.dark != self.controls.script.dark:
            drawings.dark = self.controls.script.dark
            self._draw_again()
            self.explanation_panel.draw_again()

    def _draw_again(self) -> None:
        """Draw what is shown again; nothing is computed."""
        raise NotImplementedError

    def _change_model(self) -> None:
        self._callbacks.forget("model")
        self._load_model()

    def _load_model(self) -> None:
        """Load the chosen model, in the background where a file is read, and apply its threshold."""
        if self._model.at_hand:
            self._model.classifier()
            self._model_changed()
        elif self.running:  # the next analysis loads it
            self._mark_stale()
        else:
            self._begin("model", self._loaded)

    def _loaded(self, job: Job) -> None:
        self._model.classifier()
        with self._callbacks.lock:
            if not job.discarded:
                self._model_changed()

    def _model_changed(self) -> None:
        """Apply the threshold of the model that was loaded."""
        self._update_verdicts()

    def _change_threshold(self) -> None:
        self._model.follow_threshold = False
        self._update_verdicts()

    def _reset_threshold(self) -> None:
        self._model.follow_threshold = True
        self._load_model()

    def _update_verdicts(self) -> None:
        """Apply the chosen threshold to what is shown; nothing is scored again."""
        raise NotImplementedError

    def _mark_stale(self) -> None:
        """Say whether what is shown was made with the current settings, and what can be analysed again."""
        raise NotImplementedError


def display_panel(panel: object, widget: ipw.Widget) -> None:
    """Show a widget in a notebook; of what it shows, only ``repr(panel)`` is saved with the notebook."""
    from IPython.display import display

    # Not display(widget): its plain text quotes what is shown.
    view = {"version_major": 2, "version_minor": 0, "model_id": widget.model_id}
    display({"text/plain": repr(panel), "application/vnd.jupyter.widget-view+json": view}, raw=True)


def model_name(classifier: Classifier | str | os.PathLike | None) -> str:
    """Return what the model box says for a classifier, a path, or None."""
    if classifier is None:
        return DEFAULT
    if isinstance(classifier, (str, os.PathLike)):
        return os.fspath(classifier) or DEFAULT
    return displayable(classifier.name)


def source_name(source: object, otherwise: str) -> str:
    """Return what to call a source before it is read; ``otherwise`` where it has no name."""
    if isinstance(source, Frame):
        return displayable(source.source.name) if source.source else otherwise
    if isinstance(source, (str, os.PathLike)):
        return displayable(os.path.basename(os.fsdecode(os.fspath(source))))
    return displayable(getattr(source, "name", None) or otherwise)


def expand_paths(lines: str) -> list[str]:
    """Return the paths in a text box: one per line, ``~`` for the home folder, patterns expanded.

    ``*``, ``?`` and ``[...]`` match names, except where a file has exactly this name.

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
