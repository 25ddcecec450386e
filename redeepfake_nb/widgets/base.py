"""What all inspectors do alike: choose a model, follow its threshold, show errors, display themselves."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from pathlib import Path

import ipywidgets as ipw

from ..errors import InputError, ModelError, OutputError, RedeepfakeError, displayable
from ..media.frames import Upload, uploads
from ..models.classifier import Classifier
from ..models.loading import default_classifier, load_model
from .callbacks import Callbacks
from .controls import DEFAULT, Controls, empty_upload
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
            if name in self._given:
                found = self._given[name]
            else:
                c.show_status(f"Loading the model {name} …")
                found = default_classifier() if name == DEFAULT else load_model(Path(name).expanduser())
            self._loaded = loaded = (name, found)
        found = loaded[1]
        c.show_model(found)
        if self.follow_threshold:
            self._set(c.threshold, found.threshold)
        if c.use_model_margin.value:
            self._set(c.margin, found.preprocessing.margin)
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
        self.explanation_panel = ExplanationPanel()
        controls.explanation_panel.children = [self.explanation_panel.root]
        self._callbacks = Callbacks(controls, self.error_sections)
        self._model = ModelChoice(controls, self._callbacks, classifier, follow_threshold)

    @property
    def widget(self) -> ipw.Widget:
        """The root of the controls. Displaying the inspector shows it."""
        return self.controls.root

    @property
    def errors(self) -> list[BaseException]:
        """The errors that are shown; most are :class:`RedeepfakeError`."""
        return self._callbacks.errors

    def _ipython_display_(self) -> None:
        from IPython.display import display

        # Not display(self.widget): its plain text, which is saved with the notebook, quotes what is shown.
        view = {"version_major": 2, "version_minor": 0, "model_id": self.widget.model_id}
        display({"text/plain": repr(self), "application/vnd.jupyter.widget-view+json": view}, raw=True)

    def _connect(self) -> None:
        """Connect the controls to methods."""
        c, on = self.controls, self._callbacks.connect
        on(c.model, self._change_model, "model")
        on(c.threshold, self._change_threshold, "model")
        on(c.reset_threshold, self._reset_threshold, "model")

    def _take_upload(self, upload: ipw.FileUpload) -> list[Upload]:
        """Return the uploaded files and remove them from the control at once."""
        try:
            return uploads(upload.value) if upload.value else []
        finally:
            with self._callbacks.paused():
                empty_upload(upload)

    def _change_model(self) -> None:
        self._callbacks.forget("model")
        self._model.classifier()
        self._update_verdicts()

    def _change_threshold(self) -> None:
        self._model.follow_threshold = False
        self._update_verdicts()

    def _reset_threshold(self) -> None:
        self._model.follow_threshold = True
        self._model.classifier()
        self._update_verdicts()

    def _update_verdicts(self) -> None:
        """Apply the chosen threshold to what is shown; nothing is scored again."""
        raise NotImplementedError

    def _mark_stale(self) -> None:
        """Say whether what is shown was made with the current settings."""
        raise NotImplementedError


def model_name(classifier: Classifier | str | os.PathLike | None) -> str:
    """Return what the model box says for a classifier, a path, or None."""
    if classifier is None:
        return DEFAULT
    if isinstance(classifier, (str, os.PathLike)):
        return os.fspath(classifier) or DEFAULT
    return displayable(classifier.name)


def pluralize(number: int, noun: str) -> str:
    """Return ``"1 picture"``, ``"2 pictures"``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


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
