"""``ImageInspector``: analyse a few pictures in a notebook and see verdict, faces and heatmaps.

An inspector is a plain object: its methods do the work and return values, its controls call the methods, and
``.widget`` is what a notebook shows. It works with ipywidgets 7.7 (Colab) and 8.

What is saved with a notebook: nothing is written to cell outputs, and uploaded bytes leave the widget's state
as soon as they are read. But what is on the screen (pictures with boxes, heatmaps, file names) is widget
state while it is shown, and some front ends save that with the notebook: Colab and nbclient always,
JupyterLab only with "Save Widget State Automatically". Press *Clear* before saving there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from ..analysis.image import ImageReport, analyze_image
from ..errors import InputError, OutputError, displayable
from ..explanation.heatmaps import Explanation, explain
from ..explanation.methods import Target, default_layer
from ..faces.detection import DEFAULT_DETECTOR
from ..media.frames import Frame
from ..models.classifier import Classifier
from ..models.prediction import Prediction
from ..provenance.records import Provenance
from .base import Inspector, expand_paths, model_name, pluralize
from .callbacks import error_message
from .controls import NO_METHOD, empty_upload
from .image_controls import ImageControls, ImageSettings

# Frames stay in memory for as long as their results are shown, and a photo takes 36 MB.
MAX_PICTURES = 32
WELCOME = "Choose pictures, enter paths, or use the sample."


class ImageInspector(Inspector):
    """Analyse a few pictures from uploads, paths or the sample: verdict, faces, heatmaps, saved reports.

    A new threshold is applied to the known scores, and a new overlay strength only draws again. A heatmap is
    computed once for each face, method, target and layer. Another detector, margin or model makes the shown
    results stale, which the status says until *Analyse again* is pressed.

    Parameters
    ----------
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships. Files are loaded when
        the first picture is analysed.
    detector
        Name of a face detector, see :func:`redeepfake_nb.find_faces`.
    margin
        Crop margin, 0 to 4, or ``None`` for the model's own.
    threshold
        Threshold on P(fake), between 0 and 1, or ``None`` for the model's own.
    method
        A name in :data:`redeepfake_nb.explanation.METHODS`, or ``None`` for no heatmaps.
    target
        Label that the heatmap explains, ``"fake"`` or ``"real"``.
    layer
        Layer that heatmaps are taken from, or ``None`` for the model's own.
    strength
        Opacity of the heatmap, 0 to 1.
    folder
        Where *Save* writes.

    Attributes
    ----------
    result : list of ImageReport
        One for each picture that could be analysed.
    controls : ImageControls
        The widgets, by name.
    """

    controls: ImageControls

    def __init__(
        self,
        classifier: Classifier | str | os.PathLike | None = None,
        *,
        detector: str = DEFAULT_DETECTOR,
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
        self._used_classifier: Classifier | None = None  # the one that made the result
        self._used_options: tuple | None = None  # see _options
        self._sources: list[Any] = []  # frames, and sources that could be read but not analysed
        self._provenance: dict[Frame, Provenance | None] = {}  # of the files that the frames were read from
        self._explanations: dict[tuple[Prediction, str, Target, str], Explanation] = {}
        settings = ImageSettings(
            model=model_name(classifier),
            detector=detector,
            margin=margin,
            threshold=threshold,
            method=method or NO_METHOD,
            target=target,
            strength=strength,
            folder=os.fspath(folder),
        )
        super().__init__(ImageControls(settings), classifier, follow_threshold=threshold is None)
        self._connect()
        self._show()
        self.controls.show_status(WELCOME)

    def __repr__(self) -> str:
        pictures, errors = pluralize(len(self.result), "picture"), pluralize(len(self.errors), "error")
        return f"ImageInspector({pictures}, {errors})"

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
            Of those that could be analysed, in the order given. ``errors`` has the reasons of the others.

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
        self._callbacks.forget()
        self.controls.show_saved("")
        return self._analyze(chosen)

    def analyze_again(self) -> list[ImageReport]:
        """Analyse the same pictures with the current settings; those that could not be read stay out."""
        self._callbacks.forget("model", "faces", "heatmap", "save")
        return self._analyze(self._sources)

    def save(self, folder: str | os.PathLike | None = None) -> list[Path]:
        """Write every report, see :func:`redeepfake_nb.report.save_all`.

        Parameters
        ----------
        folder
            Default: the one in the folder box.

        Raises
        ------
        OutputError
            There is nothing to write, or it cannot be written.
        """
        from .. import report as reports

        self._callbacks.forget("save")
        self.controls.show_saved("")
        if not self.result:
            raise OutputError("there is nothing to save yet", next_step="Analyse a picture first.")
        if folder is None:
            folder = self.controls.folder.value.strip() or "results"
        where = Path(folder).expanduser()
        saved = reports.save_all(self.result, where)
        failed = len(self.result) - len(saved)
        note = f" {failed} could not be written; summary.csv has the reasons." if failed else ""
        self.controls.show_saved(f"Saved {pluralize(len(saved), 'report')} in {where}.{note}")
        return saved

    def clear(self) -> None:
        """Remove pictures, results and errors from the kernel and the browser; keep the settings."""
        self.result, self._sources, self._used_classifier, self._used_options = [], [], None, None
        self._explanations.clear()
        self._provenance.clear()
        self._callbacks.forget()
        self.controls.show_saved("")
        with self._callbacks.paused():
            empty_upload(self.controls.upload)
            self.controls.paths.value = ""
        self._show()
        self._mark_stale()
        self.controls.show_status(f"Cleared. {WELCOME}")

    def _analyze(self, sources: list[Any]) -> list[ImageReport]:
        """Analyse one source after the other; a failure is recorded and the rest is analysed."""
        self.result, self._sources, self._used_options = [], sources, None
        self._explanations.clear()
        self._show()
        self._used_classifier = classifier = self._model.classifier()
        detector, margin, _ = self._used_options = self._options()
        kept: list[Any] = []
        provenance: dict[Frame, Provenance | None] = {}
        try:
            for source in self._with_progress(sources, "Analysing", [_name_of(s) for s in sources]):
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
                    self._callbacks.record(error, "faces", _name_of(source))
                else:
                    if isinstance(source, Frame):
                        report = report.with_provenance(self._provenance.get(source))
                    kept.append(report.frame)
                    provenance[report.frame] = report.provenance
                    self.result.append(self._explained(report, classifier))
            self._sources, self._provenance = kept, provenance
        finally:
            self._show()
            self._mark_stale()
        return self.result

    def _with_progress(self, items: Sequence[Any], doing: str, names: Sequence[str]) -> Iterator[Any]:
        """Yield the items and show the progress with each."""
        try:
            for i, (item, name) in enumerate(zip(items, names, strict=True)):
                self.controls.show_progress(i, len(items))
                self.controls.show_status(f"{doing} {i + 1} of {len(items)}: {name}")
                yield item
        finally:
            self.controls.show_progress(1, 1)

    def _explained(self, report: ImageReport, classifier: Classifier) -> ImageReport:
        """Return the report with the chosen heatmaps, or without where they cannot be computed."""
        method, target = self.controls.method.value, self.controls.target.value
        if method == NO_METHOD:
            return _with_heatmaps(report, [], None, None, None)
        known = self._explanations
        try:
            layer = self.layer or default_layer(classifier, method)
            missing = [p for p in report.predictions if (p, method, target, layer) not in known]
            made = explain(classifier, missing, method, target, layer) if missing else []
            known.update({(e.prediction, method, target, layer): e for e in made})
            found = [known[p, method, target, layer] for p in report.predictions]
        except Exception as error:
            self._callbacks.record_at("heatmap", error, report.name)
            return _with_heatmaps(report, [], None, None, None, error_message(error))
        return _with_heatmaps(report, found, method, target, layer)

    def _options(self) -> tuple[str, float | None, str]:
        """Return detector, margin and model name as chosen now: a result with other ones is stale."""
        c = self.controls
        return c.detector.value, None if c.use_model_margin.value else c.margin.value, self._model.name

    # -------------------------------------------------------------- what the controls do

    def _connect(self) -> None:
        super()._connect()
        c, on = self.controls, self._callbacks.connect
        on(c.upload, self._open_upload, "pictures")
        on(c.open_paths, self._open_paths, "pictures")
        on(c.sample, self._open_samples, "pictures")
        for control in (c.detector, c.use_model_margin, c.margin):
            on(control, self._mark_stale, "faces")
        on(c.analyze_again, self.analyze_again, "faces")
        for control in (c.method, c.target):
            on(control, self._explain_again, "heatmap")
        for control in (c.strength, c.face):
            on(control, self._show_explanations, "heatmap")
        on(c.picture, self._show_report, "pictures")
        on(c.previous, lambda: self._step(-1), "pictures")
        on(c.next, lambda: self._step(1), "pictures")
        on(c.save, self.save, "save")
        on(c.clear, self.clear, "save")

    def _open_upload(self) -> None:
        if found := self._take_upload(self.controls.upload):
            self.analyze(found)

    def _open_paths(self) -> None:
        self._callbacks.forget("pictures")
        sources = expand_paths(self.controls.paths.value)
        if not sources:
            raise InputError("no path is given", next_step="Write one path per line, then press Open paths.")
        self.analyze(sources)

    def _open_samples(self) -> None:
        from ..datasets.samples import sample_image, sample_manipulated

        self.controls.show_status("Preparing the samples …")
        self.analyze([sample_image(), sample_manipulated()])

    def _update_verdicts(self) -> None:
        threshold = self.controls.threshold.value
        self.result = [report.at_threshold(threshold) for report in self.result]
        self.controls.show_report(self._current())
        self.explanation_panel.set_threshold(threshold)
        self._mark_stale()

    def _explain_again(self) -> None:
        self._callbacks.forget("heatmap")
        classifier, names = self._used_classifier, [report.name for report in self.result]
        if classifier is not None:
            reports = self._with_progress(self.result, "Computing heatmaps", names)
            self.result = [self._explained(report, classifier) for report in reports]
        self._show_explanations()
        self._mark_stale()

    def _mark_stale(self) -> None:
        c = self.controls
        c.margin.disabled = c.use_model_margin.value
        stale = bool(self._sources) and self._used_options != self._options()
        c.analyze_again.disabled = not stale
        c.analyze_again.button_style = "warning" if stale else ""
        if stale:
            c.show_status(
                "The model, detector or margin changed after these results were made. Press Analyse again."
            )
        else:
            c.show_status(self._summary())

    def _step(self, by: int) -> None:
        if self.result:
            self.controls.picture.value = min(max(self.controls.picture.value + by, 0), len(self.result) - 1)

    # -------------------------------------------------------------- showing

    def _current(self) -> ImageReport | None:
        index = self.controls.picture.value
        return None if index is None or index >= len(self.result) else self.result[index]

    def _show(self) -> None:
        """Show all results, beginning with the first picture."""
        with self._callbacks.paused():
            self.controls.list_pictures(self.result, 0 if self.result else None)
        self._show_report()

    def _show_report(self) -> None:
        report = self._current()
        with self._callbacks.paused():
            self.controls.update_navigation()
            self.controls.list_faces(0 if report is None else len(report.predictions))
        self.controls.show_report(report)
        self._show_explanations()

    def _show_explanations(self) -> None:
        report = self._current()
        found = () if report is None else report.explanations
        self.controls.show_explanations(found)
        named = [(f"Face {i + 1}", explanation) for i, explanation in enumerate(found)]
        self.explanation_panel.set_heatmaps(self._used_classifier, named, self.controls.threshold.value)

    def _summary(self) -> str:
        if self._used_options is None:
            return WELCOME
        failed = sum(section in ("pictures", "faces") for section in self._callbacks.sections)
        seconds = sum(sum(report.timing.values()) for report in self.result)
        note = f" {pluralize(failed, 'failure')}; see the message on the left." if failed else ""
        return f"{pluralize(len(self.result), 'picture')} analysed in {seconds:.1f} s.{note}"


def _with_heatmaps(
    report: ImageReport,
    explanations: Sequence[Explanation],
    method: str | None,
    target: str | None,
    layer: str | None,
    heatmap_error: str = "",
) -> ImageReport:
    settings = {**report.settings, "explain": method, "target": target, "layer": layer}
    return replace(report.with_explanations(list(explanations), heatmap_error), settings=settings)


def _name_of(source: Any) -> str:
    """Return what to call a source before it is read."""
    if isinstance(source, Frame):
        return source.source.name if source.source else "image"
    if isinstance(source, (str, os.PathLike)):
        return displayable(os.path.basename(os.fsdecode(os.fspath(source))))
    return displayable(getattr(source, "name", None) or "image")
