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
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ..analysis.image import ImageReport, analyze_image
from ..errors import InputError, OutputError, RedeepfakeError, displayable
from ..explanation.heatmaps import Explanation
from ..explanation.methods import Target
from ..faces.detection import DEFAULT_DETECTOR
from ..hosts import may_name_files
from ..media.frames import Frame
from ..models.classifier import Classifier
from ..provenance.records import Provenance
from ..utils.jobs import Job
from ..utils.wording import pluralize
from .base import Inspector, expand_paths, model_name, source_name
from .callbacks import error_message
from .comparison_panel import Asked, comparable
from .controls import NO_METHOD
from .heatmap_queue import HeatmapQueue
from .image_controls import MAX_PICTURES, ImageControls, ImageSettings
from .upload_area import MAX_UPLOAD
from .wording import in_panel

# Why a picture has no result that *Cancel* left out, or that no model was there for.
_NOT_REACHED = "The analysis ended before it."


@dataclass(frozen=True, eq=False)
class NotAnalysed:
    """A picture without a result.

    Parameters
    ----------
    name
        Of its file.
    reason
        Why it has none.
    source
        What can be tried again; None where the file cannot be read.
    """

    name: str
    reason: str
    source: Any = None


class ImageInspector(Inspector):
    """Analyse a few pictures from uploads, paths or the sample: verdict, faces, heatmaps, saved reports.

    Buttons start the work in the background; :meth:`wait` waits for it, and *Cancel* keeps what was finished.
    A new threshold is applied to the known scores, and a new overlay strength only draws again. A heatmap is
    computed once for each face, method and target, and only for the faces that are shown. Another detector,
    margin or model makes the shown results stale, which the status says until *Analyse again* is pressed.
    Files that cannot be analysed leave the results before as they are.

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
    max_upload_mb
        Most megabytes of one upload; the browser says so and checks it. Paths have no limit.
    local_files
        Whether files on the kernel's machine may be named, opened and written. Default: yes, unless Voilà
        serves the notebook. Downloads are always there.

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
        max_upload_mb: int = MAX_UPLOAD // 1_000_000,
        local_files: bool | None = None,
    ) -> None:
        self.result: list[ImageReport] = []
        self.layer = layer
        self._used_classifier: Classifier | None = None  # the one that made the result
        self._used_options: tuple | None = None  # see _options
        self._sources: list[Any] = []  # frames, and sources that could be read but not analysed
        self._left: list[NotAnalysed] = []  # what was given together with the sources and has no result
        self._provenance: dict[Frame, Provenance | None] = {}  # of the files that the frames were read from
        self._ending = ""  # what the status says of an analysis without a new result
        settings = ImageSettings(
            model=model_name(classifier),
            detector=detector,
            margin=margin,
            threshold=threshold,
            method=method or NO_METHOD,
            target=target,
            strength=strength,
            folder=os.fspath(folder),
            max_upload=max_upload_mb * 1_000_000,
            local_files=may_name_files(local_files),
        )
        super().__init__(ImageControls(settings), classifier, follow_threshold=threshold is None)
        self._heatmaps = HeatmapQueue(
            self.controls,
            self._callbacks,
            self.controls.draw_explanation,
            self._heatmap_known,
            self._draw_ahead,
        )
        self._connect()
        self._show()
        self.controls.show_status(self._welcome)

    def __repr__(self) -> str:
        pictures, errors = pluralize(len(self.result), "picture"), pluralize(len(self.errors), "error")
        return f"ImageInspector({pictures}, {errors})"

    @property
    def _welcome(self) -> str:
        paths = ", enter paths," if self.controls.local_files else ""
        return f"Choose pictures{paths} or use the sample."

    @property
    def _shown_name(self) -> str:
        return _named([report.name for report in self.result])

    # -------------------------------------------------------------- work

    def analyze(self, sources: Any) -> list[ImageReport]:
        """Analyse pictures in place of those shown, and wait for it; for scripts.

        Parameters
        ----------
        sources
            One source or a list of them; a source is whatever :func:`redeepfake_nb.read_image` takes.

        Returns
        -------
        list of ImageReport
            Of those that could be analysed, in the order given, with heatmaps where all faces are shown.
            ``errors`` has the reasons of the others.

        Raises
        ------
        ModelError
            The model cannot be loaded.
        InputError
            More than 32 pictures.
        RedeepfakeError
            Other work is running.
        """
        return self._waited_for(self._start(lambda: _as_list(sources)))

    def start(self, sources: Any) -> None:
        """Start to analyse pictures in the background, in place of those shown.

        Errors are shown beside the controls and are in ``errors``.

        Raises
        ------
        RedeepfakeError
            Other work is running.
        """
        self._start(lambda: _as_list(sources))

    def analyze_again(self) -> list[ImageReport]:
        """Analyse the same pictures with the current settings; those that could not be read stay out.

        After *Cancel*, and where no setting has changed, only those without a result are analysed.
        """
        return self._waited_for(self._start_again())

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is analysed, explained or compared; return whether that is so.

        Parameters
        ----------
        timeout
            Seconds to wait at most for each; None for no limit.
        """
        parts = self._heatmaps, self.controls.comparison
        return super().wait(timeout) and all(part.wait(timeout) for part in parts)

    def save(self, folder: str | os.PathLike | None = None) -> list[Path]:
        """Write every report with its heatmaps, see :func:`redeepfake_nb.report.save_all`, and wait for it.

        Parameters
        ----------
        folder
            Default: the one in the folder box.

        Raises
        ------
        OutputError
            There is nothing to write, or it cannot be written.
        RedeepfakeError
            Other work is running.
        """
        return self._background.result(self._start_saving(folder))

    def clear(self) -> None:
        """Remove pictures, results and errors from the kernel and the browser; keep the settings."""
        with self._callbacks.lock:
            self._background.discard()
            self._ending = ""
            self._heatmaps.discard()
            self._heatmaps.keep(())
            self.result, self._sources, self._left = [], [], []
            self._used_classifier, self._used_options = None, None
            self._provenance.clear()
            self._arrived()
            self._callbacks.forget()
            self.controls.forget_downloads(drop=True)
            self.controls.show_saved("")
            self.controls.show_progress(1, 1)
            with self._callbacks.paused():
                self.controls.upload.forget()
                self.controls.paths.value = ""
            self._show()
            self.controls.comparison.clear()
            self.controls.drawings.clear()
            self._mark_stale()
            self.controls.show_status(f"Cleared. {self._welcome}")

    # -------------------------------------------------------------- in the background

    def _waited_for(self, job: Job) -> list[ImageReport]:
        """Wait for an analysis and the heatmaps shown; return its reports as they are then."""
        count = len(self._background.result(job))
        self.wait()
        return self.result[:count]

    def _start(self, get_sources: Callable[[], list[Any]]) -> Job:
        """Start an analysis. ``get_sources`` is called in the background, as it may take a while."""
        with self._callbacks.lock:
            if not self.running:
                self._callbacks.forget()
                self.controls.forget_downloads()
                self.controls.show_saved("")
            return self._begin("faces", lambda job: self._analyze(job, get_sources))

    def _start_again(self) -> Job:
        with self._callbacks.lock:
            if not self.running:
                self._callbacks.forget("model", "faces", "heatmap", "save")
                self.controls.forget_downloads()
            unreadable = [one for one in self._left if one.source is None]
            if self._stale:
                sources, before = self._sources, []
            else:
                sources, before = self._rest or self._sources, self._kept_reports if self._rest else []
            return self._begin("faces", lambda job: self._analyze(job, lambda: sources, before, unreadable))

    @property
    def _stale(self) -> bool:
        """Whether the shown pictures were analysed with other settings than those chosen now."""
        return bool(self._kept_reports) and self._used_options != self._options()

    @property
    def _rest(self) -> list[Any]:
        """The sources without a result."""
        return [one.source for one in self._left if one.source is not None]

    @property
    def _kept_reports(self) -> list[ImageReport]:
        """The shown reports, where they are of the sources that were given last."""
        kept = {id(source) for source in self._sources}
        return [report for report in self.result if id(report.frame) in kept]

    def _analyze(
        self,
        job: Job,
        get_sources: Callable[[], list[Any]],
        before: Sequence[ImageReport] = (),
        unreadable: Sequence[NotAnalysed] = (),
    ) -> list[ImageReport]:
        """Analyse one source after the other; a failure is recorded and the rest is analysed.

        Parameters
        ----------
        before
            Reports that stay, of pictures that were given together with the sources.
        unreadable
            What else was given and is not tried again.
        """
        sources = get_sources()
        if not before:
            self._expect(job, _named([source_name(source, "image") for source in sources]))
        if len(sources) > MAX_PICTURES:
            raise InputError(
                f"{len(sources)} pictures are too many for this view",
                next_step=f"Give at most {MAX_PICTURES} at once.",
            )
        earlier = self._sources, self._left
        with self._callbacks.lock:  # a model that cannot be loaded must not lose what was sent
            if not job.discarded and not before and sources is not self._sources:
                self._sources = list(sources)
                not_yet = [NotAnalysed(source_name(s, "image"), _NOT_REACHED, s) for s in sources]
                self._left = [*unreadable, *not_yet]
        # Before the model is loaded, which takes a while, in which another may be chosen.
        options, classifier = self._options(), self._model.classifier()
        done = list(before)
        kept: list[Any] = [report.frame for report in before]
        left = list(unreadable)
        if not sources:
            self._take(job, None, classifier, options, done)
        for i, source in enumerate(sources):
            name = source_name(source, "image")
            if job.cancel.is_set():
                kept += sources[i:]
                left += [NotAnalysed(source_name(s, "image"), _NOT_REACHED, s) for s in sources[i:]]
                break
            self._say(job, i, len(sources), f"Analysing {i + 1} of {len(sources)}: {name}")
            try:
                report = analyze_image(
                    source,
                    classifier,
                    detector=options[0],
                    margin=options[1],
                    threshold=self.controls.threshold.value,
                )
            except Exception as error:
                unreadable_file = isinstance(error, InputError)
                left.append(NotAnalysed(name, _reason(error), None if unreadable_file else source))
                if not unreadable_file:
                    kept.append(source)
                with self._callbacks.lock:
                    if not job.discarded:
                        self._callbacks.record(error, "faces", name)
            else:
                if isinstance(source, Frame):
                    report = report.with_provenance(self._provenance.get(source))
                kept.append(report.frame)
                self._take(job, report, classifier, options, done)
        with self._callbacks.lock:
            if not job.discarded:
                if kept or not sources:
                    self._sources, self._left = kept, left
                else:
                    self._sources, self._left = earlier
                self._end(job, done, len(sources))
        return done

    def _say(self, job: Job, done: int, total: int, sentence: str) -> None:
        if not job.discarded:
            self.controls.show_progress(done, total)
            self.controls.show_status(sentence)

    def _take(
        self,
        job: Job,
        report: ImageReport | None,
        classifier: Classifier,
        options: tuple,
        done: list[ImageReport],
    ) -> None:
        """Show a finished report; the first one replaces the results before."""
        with self._callbacks.lock:
            if job.discarded:
                return
            if report is not None:
                done.append(report)
            if len(done) <= 1:
                self._used_classifier, self._used_options = classifier, options
                self._heatmaps.discard()
                self._heatmaps.keep(())
                self.result = []
            if report is not None:
                # The threshold may have been moved in the meantime.
                self.result.append(self._with_known(report.at_threshold(self.controls.threshold.value)))
            if len(done) <= 1:
                self._arrived()
                self._show()
            else:
                with self._callbacks.paused():
                    self.controls.list_pictures(self.result, self.controls.picture.value)
                self._offer_comparison()

    def _end(self, job: Job, done: list[ImageReport], given: int) -> None:
        """Keep what is known of the files, and say how it ended where nothing new is shown."""
        self._ending = ""
        if done or not given:
            # Of pictures that were not analysed again, what is known of them stays.
            still = {id(one) for one in self._sources}
            self._provenance = {f: known for f, known in self._provenance.items() if id(f) in still}
            self._provenance |= {report.frame: report.provenance for report in done}
        elif job.cancel.is_set():
            self._ending = f"Stopped before the first picture. {self._still_shown}".strip()
        elif self.result:
            self._ending = f"Nothing new could be analysed. {self._still_shown}".strip()

    def _finished(self, job: Job) -> None:
        super()._finished(job)
        with self._callbacks.lock:
            if not job.discarded:
                self._mark_stale(ended=True, failed=job.error is not None)

    def _start_saving(self, folder: str | os.PathLike | None = None) -> Job:
        with self._callbacks.lock:
            self._callbacks.forget("save")
            self.controls.show_saved("")
            if not self.result:
                raise OutputError("there is nothing to save yet", next_step="Analyse a picture first.")
            if folder is None:
                folder = self.controls.folder.value.strip() or "results"
            where = Path(folder).expanduser()
            return self._begin("save", lambda job: self._write(job, where))

    def _write(self, job: Job, folder: Path) -> list[Path]:
        from .. import report as reports

        self._explain_all(job)
        if job.discarded:
            return []
        self.controls.show_status("Writing the reports …")
        saved = reports.save_all(self.result, folder)
        failed = len(self.result) - len(saved)
        note = f" {failed} could not be written; summary.csv has the reasons." if failed else ""
        with self._callbacks.lock:
            if not job.discarded:
                self.controls.show_saved(
                    f"Saved {pluralize(len(saved), 'report')} in {folder}.{note}", folder
                )
        return saved

    def _explain_all(self, job: Job) -> None:
        """Compute the heatmaps that no page has asked for, for the reports that are written."""
        classifier, method, target = self._used_classifier, *self._chosen_heatmap()
        if classifier is None or method == NO_METHOD:
            return
        known = self._heatmaps.known
        missing = [p for r in self.result for p in r.predictions if known(p, method, target) is None]
        for i, prediction in enumerate(missing):
            if job.cancel.is_set():
                break
            self._say(job, i, len(missing), f"Heatmap {i + 1} of {len(missing)} for the reports …")
            try:
                self._heatmaps.explain(classifier, prediction, method, target, self.layer)
            except Exception as error:
                with self._callbacks.lock:
                    self._callbacks.record_at("heatmap", error)
                break
        with self._callbacks.lock:
            if not job.discarded:
                self.result = [self._with_known(report) for report in self.result]

    def _files(self) -> dict[str, Callable[[Job], tuple[str, bytes, str]]]:
        return {"page": self._report_page, "picture": self._picture_file, "table": self._table_file}

    def _check_result(self) -> list[ImageReport]:
        if not self.result:
            raise OutputError("there is nothing to save yet", next_step="Analyse a picture first.")
        return self.result

    def _report_page(self, job: Job) -> tuple[str, bytes, str]:
        self._check_result()
        self._explain_all(job)
        left = self._left if self._kept_reports else []
        return self._page(self.result, not_analysed=[(one.name, one.reason) for one in left])

    def _picture_file(self, job: Job) -> tuple[str, bytes, str]:
        from .. import view

        report = self._current() or self._check_result()[0]
        name = displayable(report.name, 60).rpartition(".")[0] or "picture"
        return f"{name}-scored.png", view.to_png(view.plot_faces, report), "image/png"

    def _table_file(self, job: Job) -> tuple[str, bytes, str]:
        from ..report.files import to_csv

        return "scores.csv", to_csv(self._check_result()).encode(), "text/csv"

    # -------------------------------------------------------------- heatmaps

    def _chosen_heatmap(self) -> tuple[str, Target]:
        return self.controls.method.value, self.controls.target.value

    def _with_known(self, report: ImageReport, error: Exception | None = None) -> ImageReport:
        """Return the report with its heatmaps where those of all faces are known, else without."""
        method, target = self._chosen_heatmap()
        found = [self._heatmaps.known(p, method, target) for p in report.predictions]
        complete = method != NO_METHOD and all(e is not None for e in found) and error is None
        explanations = [e for e in found if e is not None] if complete else []
        settings = {
            **report.settings,
            "explain": method if complete else None,
            "target": target if complete else None,
            "layer": explanations[0].layer if explanations else None,
        }
        words = "" if error is None else error_message(error)
        return replace(report.with_explanations(explanations, words), settings=settings)

    def _heatmap_known(self) -> None:
        """Show one more heatmap of the picture that is shown, or why it cannot be computed."""
        report, error, index = self._current(), self._heatmaps.error, self.controls.picture.value
        if report is None or index is None:
            return
        if error is not None:
            self._callbacks.record_at("heatmap", error, report.name)
        self.result[index] = self._with_known(report, error)
        self._show_explanations()

    def _draw_ahead(self, job: Job) -> None:
        """Draw the pictures before and after the one shown, so that they appear at once."""
        index = self.controls.picture.value
        for i in () if index is None else (index + 1, index - 1):
            if 0 <= i < len(self.result) and not job.discarded:
                self.controls.draw_report(self.result[i])

    def _request_heatmaps(self) -> None:
        report, classifier = self._current(), self._used_classifier
        method, target = self._chosen_heatmap()
        if report is None or classifier is None or method == NO_METHOD:
            self._heatmaps.discard()
        else:
            shown = [report.predictions[i] for i in self.controls.chosen_faces(report)]
            self._heatmaps.request(classifier, shown, method, target, self.layer)

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
        on(c.analyze_again, self._start_again, "faces")
        for control in (c.method, c.target):
            on(control, self._explain_again, "heatmap")
        for control in (c.strength, c.scale):
            on(control, self._show_explanations, "heatmap")
        on(c.face, self._change_face, "heatmap")
        on(c.detail_heatmap, self._show_detail, "heatmap")
        c.image.on_choose(lambda i: self._callbacks.run(lambda: self._choose_face(i), "heatmap"))
        on(c.picture, self._show_report, "pictures")
        c.script.on_step(lambda by: self._callbacks.run(lambda: self._step(by), "pictures"))
        on(c.previous, lambda: self._step(-1), "pictures")
        on(c.next, lambda: self._step(1), "pictures")
        on(c.save, self._start_saving, "save")
        on(c.clear, self.clear, "save")

    def _open_upload(self) -> None:
        with self._callbacks.paused():
            found = self.controls.upload.take()
        if found:
            self.start(found)

    def _open_paths(self) -> None:
        self._callbacks.forget("pictures")
        sources = expand_paths(self.controls.paths.value)
        if not sources:
            raise InputError("no path is given", next_step="Write one path per line, then press Open paths.")
        self.controls.upload.forget_message()
        self.start(sources)

    def _open_samples(self) -> None:
        from ..datasets.samples import sample_image, sample_manipulated

        self.controls.upload.forget_message()
        self._start(lambda: [sample_image(), sample_manipulated()])

    def _draw_again(self) -> None:
        self._show_report()
        self.controls.comparison.draw_again()

    def _update_verdicts(self) -> None:
        threshold = self.controls.threshold.value
        self.result = [report.at_threshold(threshold) for report in self.result]
        with self._callbacks.paused():
            self.controls.list_pictures(self.result, self.controls.picture.value)
        self.controls.show_report(self._current())
        self.explanation_panel.set_threshold(threshold)
        self._mark_stale()

    def _explain_again(self) -> None:
        self._callbacks.forget("heatmap")
        self._heatmaps.discard()
        self.result = [self._with_known(report) for report in self.result]
        self._show_explanations()
        self._request_heatmaps()
        self._mark_stale()

    def _choose_face(self, index: int) -> None:
        """Look at one face; at all of them again where it was chosen before."""
        face = self.controls.face
        face.value = -1 if face.value == index else index

    def _change_face(self) -> None:
        self._show_explanations()
        self._request_heatmaps()

    def _mark_stale(self, ended: bool = False, failed: bool = False) -> None:
        """Say whether what is shown was made with the current settings, and what can be analysed again.

        ``ended``: the work is done. ``failed``: the status says so and stays.
        """
        c = self.controls
        c.margin.disabled = c.use_model_margin.value
        working, stale = self.running and not ended, self._stale
        c.analyze_again.disabled = working or not (stale or self._rest)
        c.analyze_again.button_style = "warning" if stale else ""
        c.analyze_again.description = (
            "Analyse the rest" if self._rest and self._kept_reports and not stale else "Analyse again"
        )
        if working or failed:
            return
        if stale:
            c.show_status(
                "The model, detector or margin changed after these results were made. Press Analyse again."
            )
        else:
            c.show_status(self._summary())

    def _step(self, by: int) -> None:
        index = self.controls.picture.value
        if index is not None and self.result:
            self.controls.picture.value = min(max(index + by, 0), len(self.result) - 1)

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
        """Show the chosen report; its parts appear at once, and heatmaps that are not known yet follow."""
        report, c = self._current(), self.controls
        with c.page_hidden():
            with self._callbacks.paused():
                c.update_navigation()
                c.list_faces(report)
            pictures = self._heatmap_pictures()
            if report is not None:
                c.draw_report(report)
            c.empty_pictures()
            c.show_report(report)
            self._show_explanations(pictures)
        self._request_heatmaps()

    def _heatmap_pictures(self) -> list[tuple[str, bytes]]:
        """Captions and PNGs of the chosen faces' heatmaps; no bytes where one is not known."""
        report, c = self._current(), self.controls
        method, target = self._chosen_heatmap()
        if report is None or method == NO_METHOD:
            return []
        found = []
        for i in c.chosen_faces(report):
            known = self._heatmaps.known(report.predictions[i], method, target)
            if known is not None:
                found.append((f"Face {i + 1}", c.draw_explanation(known)))
            elif self._heatmaps.error is None:
                found.append((f"Face {i + 1}: its heatmap is not computed yet", b""))
        return found

    def _show_explanations(self, pictures: Sequence[tuple[str, bytes]] | None = None) -> None:
        """Show the heatmaps of the chosen faces that are known."""
        report, c = self._current(), self.controls
        c.show_heatmaps(self._heatmap_pictures() if pictures is None else pictures)
        named: list[tuple[str, Explanation]] = []
        if report is not None:
            method, target = self._chosen_heatmap()
            for i in c.chosen_faces(report):
                known = self._heatmaps.known(report.predictions[i], method, target)
                if known is not None:
                    named.append((f"Face {i + 1}", known))
        self.explanation_panel.set_heatmaps(self._used_classifier, named, c.threshold.value)
        self._show_detail()
        self._offer_comparison()

    def _offer_comparison(self) -> None:
        """Tell the comparison which face is looked at, and which other pictures there are."""
        report, c = self._current(), self.controls
        asked = None
        if report is not None and report.predictions and self._used_classifier is not None:
            method, target = self._chosen_heatmap()
            face = c.chosen_faces(report)[0]
            asked = Asked(report, face, self._used_classifier, comparable(method), target, self.layer)
        c.comparison.set_pictures(asked, [other for other in self.result if other is not report])

    def _show_detail(self) -> None:
        """Show the face that is looked at alone, with its heatmap where that is wanted and known."""
        report, c = self._current(), self.controls
        method, target = self._chosen_heatmap()
        index, known = c.chosen_face, None
        c.detail_heatmap.disabled = method == NO_METHOD
        if report is not None and index is not None and c.detail_heatmap.value and method != NO_METHOD:
            known = self._heatmaps.known(report.predictions[index], method, target)
        c.show_face(report, known)

    def _summary(self) -> str:
        failed = sum(section in ("pictures", "faces") for section in self._callbacks.sections)
        note = f" {pluralize(failed, 'failure')}; see the message under Pictures." if failed else ""
        if self._ending:
            return f"{self._ending}{note}"
        if self._rest and not self._kept_reports:
            return f"Press Analyse again to analyse {_named([one.name for one in self._left])}.{note}"
        if self._used_options is None:
            return note.strip() or self._welcome
        done, rest = len(self.result), len(self._rest)
        seconds = sum(sum(report.timing.values()) for report in self.result)
        if not rest:
            return f"{pluralize(done, 'picture')} analysed in {seconds:.1f} s.{note}"
        were = "was" if rest == 1 else "were"
        return (
            f"{done} of {pluralize(done + len(self._left), 'picture')} analysed in {seconds:.1f} s; "
            f"{rest} {were} not. Press Analyse the rest.{note}"
        )


def _as_list(sources: Any) -> list[Any]:
    return list(sources) if isinstance(sources, (list, tuple)) else [sources]


def _named(names: Sequence[str]) -> str:
    """Name the first of several pictures and count the others; empty for none."""
    others = len(names) - 1
    first = displayable(names[0], 60) if names else ""
    return first if others < 1 else f"{first} and {pluralize(others, 'other')}"


def _reason(error: Exception) -> str:
    """Return why a picture has no result, without its name, which stands beside it."""
    if isinstance(error, RedeepfakeError):
        return in_panel(f"{error.cause}. {error.next_step}".strip())
    return error_message(error)
