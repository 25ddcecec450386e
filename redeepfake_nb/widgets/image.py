"""Inspectors for people who would rather click than call.

An inspector is a plain object: its methods do the work and return values, its buttons call the methods, and
``.widget`` is what a notebook shows. It works with ipywidgets 7.7 (Colab) and 8.

What stays in a notebook: nothing is put into cell outputs, and an upload leaves the widget's state as soon
as it is read. But what is on the screen (the picture with its boxes, heatmaps, file names) is widget state
while it is shown, and some front ends save that with the notebook: Colab and nbclient always, JupyterLab
only with "Save Widget State Automatically". Press *Clear* before saving there.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ipywidgets as ipw

from ..analysis.image import ImageReport, analyze_image
from ..errors import InputError, OutputError, displayable
from ..explanation.heatmaps import Explanation, explain
from ..explanation.methods import Target
from ..media.frames import Frame
from ..models.classifier import Classifier
from ..models.prediction import Prediction
from . import html as markup
from .base import Inspector, counted, expand_paths, model_name
from .batch import BatchInspector
from .controls import (
    ACCEPTED,
    DEFAULT,
    MAX_MAPS,
    NO_METHOD,
    PLACES,
    WIDE,
    Controls,
    button,
    empty_upload,
    hint,
    show_png,
)
from .video import VideoInspector

__all__ = ["BatchInspector", "ImageInspector", "VideoInspector"]

# Frames are kept for as long as their results are shown, and a photo is 36 MB in memory.
MAX_PICTURES = 32
WELCOME = "Choose pictures, name paths, or use the sample."


class ImageInspector(Inspector):
    """Look at a few pictures: upload, path or sample -> verdict, faces, heatmaps, files.

    Moving the threshold judges the known scores anew; moving the overlay only draws. A heatmap is computed
    once for each face, method, target and layer. Another detector, margin or model makes the shown results
    stale, which is said until *Analyse again* is pressed.

    Parameters
    ----------
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships. Files are loaded when
        the first picture is analysed.
    detector
        A name that :func:`redeepfake_nb.find_faces` knows.
    margin
        Crop margin, 0 to 4, or ``None`` for the model's own.
    threshold
        Cut on P(fake) between 0 and 1, or ``None`` for the model's.
    method
        One of ``"gradcam"``, ``"gradcam++"``, ``"layercam"``, or ``None`` for no heatmaps.
    target
        ``"fake"`` or ``"real"``: what the heatmap speaks for.
    layer
        The layer heatmaps are taken from, or ``None`` for the model's.
    strength
        Of the overlay, 0 to 1.
    folder
        Where *Save* writes.

    Attributes
    ----------
    result : list of ImageReport
        One for each picture that could be analysed.
    controls : ImageControls
        The widgets, by name.
    """

    def __init__(
        self,
        classifier: Classifier | str | os.PathLike | None = None,
        *,
        detector: str = "hog",
        margin: float | None = None,
        threshold: float | None = None,
        method: str | None = "gradcam",
        target: Target = "fake",
        layer: str | None = None,
        strength: float = 0.5,
        folder: str | os.PathLike = "results",
    ) -> None:
        self.result: list[ImageReport] = []
        self.layer = layer
        self._used: Classifier | None = None  # the one that made the result
        self._settings: tuple | None = None  # what the result was made with
        self._sources: list[Any] = []  # frames, and what could be read but not analysed
        self._heatmaps: dict[tuple[Prediction, str, Target, str], Explanation] = {}
        name = model_name(classifier)
        controls = ImageControls(
            name,
            list(dict.fromkeys([name, DEFAULT])),
            detector=detector,
            margin=margin,
            threshold=threshold,
            method=method or NO_METHOD,
            target=target,
            strength=strength,
            folder=os.fspath(folder),
        )
        super().__init__(controls, classifier, own_threshold=threshold is None)
        self._connect()
        if self._given:
            self._classifier()
        self._show()
        self.controls.say(WELCOME)

    def __repr__(self) -> str:
        return f"ImageInspector({counted(len(self.result), 'picture')}, {counted(len(self.errors), 'error')})"

    # -------------------------------------------------------------- work

    def analyze(self, sources: Any) -> list[ImageReport]:
        """Analyse pictures in place of those shown.

        Parameters
        ----------
        sources
            One source or a list of them; a source is whatever :func:`redeepfake_nb.read_image` takes.

        Returns
        -------
        list of ImageReport
            Of those that could be analysed, in the order given. ``errors`` says why the others could not.

        Raises
        ------
        ModelError
            The model cannot be loaded.
        InputError
            More than 32 pictures.
        """
        chosen = list(sources) if isinstance(sources, (list, tuple)) else [sources]
        if len(chosen) > MAX_PICTURES:
            raise InputError(
                f"{len(chosen)} pictures are too many for this view",
                next_step=f"Give at most {MAX_PICTURES} at once.",
            )
        self._forget()
        self.controls.show_saved("")
        return self._run(chosen)

    def analyze_again(self) -> list[ImageReport]:
        """Analyse the same pictures with the settings as they are now; those that cannot be read stay out."""
        self._forget("model", "faces", "heatmap", "save")
        return self._run(self._sources)

    def save(self, folder: str | os.PathLike | None = None) -> list[Path]:
        """Write every report, see :func:`redeepfake_nb.report.files.save_all`.

        Parameters
        ----------
        folder
            Default: what stands in the box.

        Raises
        ------
        OutputError
            There is nothing to write, or it cannot be written.
        """
        from .. import report as reports

        self._forget("save")
        self.controls.show_saved("")
        if not self.result:
            raise OutputError("there is nothing to save yet", next_step="Analyse a picture first.")
        if folder is None:
            folder = self.controls.folder.value.strip() or "results"
        where = Path(folder).expanduser()
        saved = reports.save_all(self.result, where)
        failed = len(self.result) - len(saved)
        note = f" {failed} could not be written; summary.csv says why." if failed else ""
        self.controls.show_saved(f"Saved {counted(len(saved), 'report')} in {where}.{note}")
        return saved

    def clear(self) -> None:
        """Forget pictures, results, heatmaps and errors, here and in the browser. Settings and model stay."""
        self.result, self._sources, self._used, self._settings = [], [], None, None
        self._heatmaps.clear()
        self._forget()
        self.controls.show_saved("")
        with self._silence():
            empty_upload(self.controls.upload)
            self.controls.paths.value = ""
        self._show()
        self._mark_stale()
        self.controls.say(f"Cleared. {WELCOME}")

    def _run(self, sources: list[Any]) -> list[ImageReport]:
        """Analyse one after the other; what fails is recorded and the rest carries on."""
        self.result, self._sources, self._settings = [], sources, None
        self._heatmaps.clear()
        self._show()
        self._used = classifier = self._classifier()
        detector, margin, _ = self._settings = self._chosen()
        kept: list[Any] = []
        try:
            for source in self._counted(sources, "Analysing", _name_of):
                try:
                    report = analyze_image(
                        source,
                        classifier,
                        detector=detector,
                        margin=margin,
                        threshold=self.controls.threshold.value,
                    )
                except Exception as error:
                    if not isinstance(error, InputError):
                        kept.append(source)
                    self._record(error, "faces", _name_of(source))
                else:
                    kept.append(report.frame)
                    self.result.append(self._explained(report))
            self._sources = kept
        finally:
            self._show()
            self._mark_stale()
        return self.result

    def _explained(self, report: ImageReport) -> ImageReport:
        """The report with the heatmaps asked for, or without where they cannot be made."""
        method, target = self.controls.method.value, self.controls.target.value
        if method == NO_METHOD:
            return _with_heatmaps(report, [], None, None, None)
        try:
            layer = self.layer or self._used.explain_layer
            missing = [p for p in report.predictions if (p, method, target, layer) not in self._heatmaps]
            made = explain(self._used, missing, method, target, layer) if missing else []
            self._heatmaps.update({(e.prediction, method, target, layer): e for e in made})
            found = [self._heatmaps[p, method, target, layer] for p in report.predictions]
        except Exception as error:
            self._record(error, "heatmap", report.name)
            return _with_heatmaps(report, [], None, None, None)
        return _with_heatmaps(report, found, method, target, layer)

    def _chosen(self) -> tuple[str, float | None, str]:
        """Detector, margin and model: what results depend on."""
        c = self.controls
        margin = None if c.own_margin.value else c.margin.value
        return c.detector.value, margin, c.model.value.strip() or DEFAULT

    # -------------------------------------------------------------- what the controls do

    def _connect(self) -> None:
        c = self.controls
        on = self._on
        on(c.upload, self._open_upload, "pictures")
        on(c.open, self._open_paths, "pictures")
        on(c.sample, self._open_samples, "pictures")
        on(c.model, self._load_chosen, "model")
        on(c.threshold, self._move_threshold, "model")
        on(c.reset, self._reset_threshold, "model")
        for control in (c.detector, c.own_margin, c.margin):
            on(control, self._mark_stale, "faces")
        on(c.again, self.analyze_again, "faces")
        for control in (c.method, c.target):
            on(control, self._explain_again, "heatmap")
        for control in (c.strength, c.face):
            on(control, self._show_maps, "heatmap")
        on(c.picture, self._show_report, "pictures")
        on(c.back, lambda: self._step(-1), "pictures")
        on(c.forth, lambda: self._step(1), "pictures")
        on(c.keep, self.save, "save")
        on(c.forget, self.clear, "save")

    def _open_upload(self) -> None:
        if found := self._take_upload():
            self.analyze(found)

    def _open_paths(self) -> None:
        self._forget("pictures")
        sources = expand_paths(self.controls.paths.value)
        if not sources:
            raise InputError("no path is given", next_step="Write one path per line, then press Open paths.")
        self.analyze(sources)

    def _open_samples(self) -> None:
        from ..datasets.samples import sample_image, sample_manipulated

        self.controls.say("Making the samples …")
        self.analyze([sample_image(), sample_manipulated()])

    def _judge_again(self) -> None:
        self.result = [report.at_threshold(self.controls.threshold.value) for report in self.result]
        self.controls.show_report(self._current())
        self.closer.judge(self.controls.threshold.value)
        self._mark_stale()

    def _explain_again(self) -> None:
        self._forget("heatmap")
        reports = self._counted(self.result, "Heatmaps for", lambda report: report.name)
        self.result = [self._explained(report) for report in reports]
        self._show_maps()
        self._mark_stale()

    def _mark_stale(self) -> None:
        """Say whether what is shown was made with the settings as they are now."""
        c = self.controls
        c.margin.disabled = c.own_margin.value
        stale = bool(self._sources) and self._settings != self._chosen()
        c.again.disabled = not stale
        c.again.button_style = "warning" if stale else ""
        if stale:
            c.say("Model, detector or margin changed; these results are from before. Press Analyse again.")
        else:
            c.say(self._summary())

    def _step(self, by: int) -> None:
        if self.result:
            self.controls.picture.value = min(max(self.controls.picture.value + by, 0), len(self.result) - 1)

    # -------------------------------------------------------------- showing

    def _current(self) -> ImageReport | None:
        index = self.controls.picture.value
        return None if index is None or index >= len(self.result) else self.result[index]

    def _show(self) -> None:
        """All of it, from the first picture on."""
        with self._silence():
            self.controls.list_pictures(self.result, 0 if self.result else None)
        self._show_report()

    def _show_report(self) -> None:
        report = self._current()
        with self._silence():
            self.controls.mark_ends()
            self.controls.list_faces(0 if report is None else len(report.predictions))
        self.controls.show_report(report)
        self._show_maps()

    def _show_maps(self) -> None:
        report = self._current()
        found = () if report is None else report.explanations
        self.controls.show_maps(found)
        named = [(f"face {i + 1}", explanation) for i, explanation in enumerate(found)]
        self.closer.offer(self._used, named, self.controls.threshold.value)

    def _summary(self) -> str:
        if self._settings is None:
            return WELCOME
        failed = sum(place in ("pictures", "faces") for place, _, _ in self._recorded)
        seconds = sum(sum(report.timing.values()) for report in self.result)
        note = f", {counted(failed, 'failure')}, see the message" if failed else ""
        return f"{counted(len(self.result), 'picture')} analysed in {seconds:.1f} s{note}."


def _with_heatmaps(
    report: ImageReport,
    explanations: Sequence[Explanation],
    method: str | None,
    target: str | None,
    layer: str | None,
) -> ImageReport:
    settings = {**report.settings, "explain": method, "target": target, "layer": layer}
    return replace(report.with_explanations(list(explanations)), settings=settings)


def _name_of(source: Any) -> str:
    """What to call a source before it is read."""
    if isinstance(source, Frame):
        return source.source.name if source.source else "image"
    if isinstance(source, (str, os.PathLike)):
        return displayable(os.path.basename(os.fsdecode(os.fspath(source))))
    return displayable(getattr(source, "name", None) or "image")


class ImageControls(Controls):
    """All widgets of an image inspector as attributes; ``root`` holds them.

    Parameters
    ----------
    model, models
        What the model box says at first, and what it suggests.
    detector, margin, threshold, method, target, strength, folder
        First values, see :class:`redeepfake_nb.widgets.image.ImageInspector`.
    """

    def __init__(
        self,
        model: str,
        models: Sequence[str],
        *,
        detector: str,
        margin: float | None,
        threshold: float | None,
        method: str,
        target: str,
        strength: float,
        folder: str,
    ) -> None:
        super().__init__(PLACES)
        self.upload = hint(
            ipw.FileUpload(accept=ACCEPTED, multiple=True, description="Choose pictures", layout=WIDE),
            "Read one or more picture files from this computer and analyse them",
        )
        self.sample = button(
            "Use the sample", "Analyse the project's portrait and a manipulated copy", "image"
        )
        self.paths = hint(
            ipw.Textarea(
                placeholder="one per line",
                description="Paths",
                rows=2,
                layout={"width": "auto", "height": "56px"},
                style={"description_width": "40px"},
            ),
            "Pictures on the notebook's machine, of any size: one path per line; * and ? match names",
        )
        self.open = button("Open paths", "Analyse the pictures named above", "folder-open")

        self._add_model_and_faces(model, models, detector, margin, threshold, "pictures")

        self._add_heatmaps([(NO_METHOD, NO_METHOD)], method, target, strength)
        self._add_saving(folder, "pictures")
        self.picture = hint(
            ipw.Dropdown(options=[], description="Picture", layout={"flex": "1 1 auto", "width": "auto"}),
            "Which of the analysed pictures is shown",
        )
        self.back = button("Previous", "Show the picture before", "arrow-left", "110px")
        self.forth = button("Next", "Show the next picture", "arrow-right", "110px")
        self.choice = ipw.HBox([self.picture, self.back, self.forth])
        self.verdict = ipw.HTML()
        self.image = ipw.Image(format="png")
        self.image.add_class("rdf-picture")
        self.table = ipw.HTML()
        self.face = hint(
            ipw.Dropdown(options=[], description="Heatmaps of", style={"description_width": "initial"}),
            "Which faces' heatmaps are shown",
        )
        self.root = self._arranged()

    def _arranged(self) -> ipw.Widget:
        limit = markup.quiet("Uploads up to about 10 MB; larger ones by path:")
        groups = [
            ("Pictures", self.upload, self.sample, ipw.HTML(limit), self.paths, self.open),
            ("Model", self.model, self.model_facts, self.threshold, self.reset),
            ("Faces", self.detector, self.own_margin, self.margin, self.again),
            ("Heatmap", self.method, self.target, self.strength),
            ("Save", self.folder, ipw.HBox([self.keep, self.forget]), self.saved),
        ]
        main = [self.status, self.progress, self.choice, self.verdict, self.image, self.table]
        main += [self.face, self.maps, self.closer, self.log]
        return self._two_columns(groups, main)

    # -------------------------------------------------------------- showing

    def list_pictures(self, reports: Sequence[ImageReport], chosen: int | None) -> None:
        """Fill the selector; it is hidden where there is nothing to select."""
        self.picture.options = [(f"{i + 1} of {len(reports)}: {r.name}", i) for i, r in enumerate(reports)]
        self.picture.value = chosen
        self.choice.layout.display = "" if len(reports) > 1 else "none"
        self.mark_ends()

    def mark_ends(self) -> None:
        """Previous and Next are disabled where they lead nowhere."""
        index, last = self.picture.value, len(self.picture.options) - 1
        self.back.disabled = index is None or index <= 0
        self.forth.disabled = index is None or index >= last

    def list_faces(self, count: int) -> None:
        """Fill the selector of heatmaps; it is hidden where all fit."""
        several = (
            [(f"the {MAX_MAPS} largest faces of {count}", -1)] if count > MAX_MAPS else [("all faces", -1)]
        )
        self.face.options = several + [(f"face {i + 1}", i) for i in range(count)]
        self.face.value = -1
        self.face.layout.display = "" if count > MAX_MAPS else "none"

    def show_report(self, report: ImageReport | None) -> None:
        """Verdict, picture with boxes, table; all empty for None."""
        from .. import view

        self.verdict.value = "" if report is None else markup.verdict(report)
        self.table.value = "" if report is None else markup.faces_table(report)
        show_png(self.image, b"" if report is None else view.to_png(view.plot_faces, report))

    def show_maps(self, explanations: Sequence[Explanation]) -> None:
        """The heatmaps of the faces chosen."""
        from .. import view

        first, last = 0, MAX_MAPS
        if self.face.value is not None and self.face.value >= 0:
            first, last = self.face.value, self.face.value + 1
        strength = self.strength.value
        self.fill_maps(
            [
                (f"Face {i + 1}", view.to_png(view.plot_explanation, explanations[i], strength=strength))
                for i in range(first, min(last, len(explanations)))
            ]
        )
