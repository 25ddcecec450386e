"""``VideoInspector``: analyse a video in a notebook and see timeline, persons and single frames.

The analysis runs in a thread, so that the kernel keeps answering: *Cancel* can be pressed, sliders move and
other cells run meanwhile. Both threads change widgets, which ipywidgets allows; the lock of the callbacks
keeps changes that belong together in one piece. *Cancel* does not take the lock and so never has to wait.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ..analysis.aggregation import DEFAULT as DEFAULT_AGGREGATION
from ..analysis.video import analyze_video
from ..analysis.video_report import VideoReport
from ..errors import (
    EmptyFile,
    InputError,
    MediaTooLarge,
    ModelError,
    NoVideoFrames,
    OutputError,
    TruncatedMedia,
    UnsupportedMedia,
    displayable,
)
from ..explanation.methods import Target
from ..faces.detection import DEFAULT_DETECTOR
from ..hosts import may_name_files
from ..models.classifier import Classifier
from ..utils.jobs import Job, ThrottledProgress
from ..utils.wording import pluralize
from .base import Inspector, model_name, source_name
from .upload_area import MAX_UPLOAD
from .video_controls import VideoControls, VideoSettings
from .video_session import VideoSession
from .video_view import VideoView

ANNOTATED = "annotated.mp4"
# Errors that no other setting or model helps against.
_UNREADABLE = (EmptyFile, UnsupportedMedia, TruncatedMedia, MediaTooLarge, NoVideoFrames)


class VideoInspector(Inspector):
    """Analyse a video: which person scores high, and in which seconds.

    Buttons start the analysis in the background; :meth:`wait` waits for it. Another threshold or aggregation
    is applied to the known scores. Choosing a time decodes one frame. Another sampling, stream, detector,
    margin or model makes the shown result stale, which the status says until *Analyse again* is pressed.

    Parameters
    ----------
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships. Files are loaded when
        the first video is analysed.
    frames
        How many frames to analyse, or ``"all"``. Ignored where ``every`` is given.
    every
        Seconds between frames.
    start, end
        Seconds; only this part is analysed. ``None``: to the end of the video.
    detector
        Name of a face detector, see :func:`redeepfake_nb.find_faces`.
    margin
        Crop margin, 0 to 4, or ``None`` for the model's own.
    threshold
        Threshold on P(fake), between 0 and 1, or ``None`` for the model's own.
    aggregation
        A name in :data:`redeepfake_nb.analysis.aggregation.STRATEGIES`.
    method
        A name in :data:`redeepfake_nb.explanation.METHODS`.
    target
        Label that heatmaps explain, ``"fake"`` or ``"real"``.
    layer
        Layer that heatmaps are taken from, or ``None`` for the model's own.
    strength
        Opacity of the heatmap, 0 to 1.
    top
        How many of the strongest frames to keep.
    folder
        Where *Save* writes.
    max_upload_mb
        Most megabytes of one upload; the browser says so and checks it. Paths have no limit.
    local_files
        Whether files on the kernel's machine may be named, opened and written. Default: yes, unless Voilà
        serves the notebook. Downloads are always there.

    Attributes
    ----------
    controls : VideoControls
        The widgets, by name.
    """

    error_sections = ((InputError, "video"), (ModelError, "model"), (OutputError, "save"))
    controls: VideoControls

    def __init__(
        self,
        classifier: Classifier | str | os.PathLike | None = None,
        *,
        frames: int | Literal["all"] = 32,
        every: float | None = None,
        start: float = 0.0,
        end: float | None = None,
        detector: str = DEFAULT_DETECTOR,
        margin: float | None = None,
        threshold: float | None = None,
        aggregation: str = DEFAULT_AGGREGATION,
        method: str = "gradcam",
        target: Target = "fake",
        layer: str | None = None,
        strength: float = 0.5,
        top: int = 4,
        folder: str | os.PathLike = "results",
        max_upload_mb: int = MAX_UPLOAD // 1_000_000,
        local_files: bool | None = None,
    ) -> None:
        self.top = top
        self._ending = ""  # what the status says in place of the summary
        self._source: Any = None  # what *Analyse again* analyses
        self._used_source: Any = None  # the one that the result is of
        self._used_options: tuple | None = None  # those that made the result, see _options
        settings = VideoSettings(
            model=model_name(classifier),
            frames=frames,
            every=every,
            start=start,
            end=end,
            detector=detector,
            margin=margin,
            threshold=threshold,
            aggregation=aggregation,
            method=method,
            target=target,
            strength=strength,
            folder=os.fspath(folder),
            max_upload=max_upload_mb * 1_000_000,
            local_files=may_name_files(local_files),
        )
        controls = VideoControls(settings)
        super().__init__(controls, classifier, follow_threshold=threshold is None)
        self._view = VideoView(controls, self._callbacks, self.explanation_panel, layer)
        self._connect()
        controls.show_sampling()
        controls.show_status(self._welcome)

    def __repr__(self) -> str:
        shown = "nothing" if self.result is None else displayable(self.result.name, 60)
        state = ", running" if self.running else ""
        return f"VideoInspector({shown}, {pluralize(len(self.errors), 'error')}{state})"

    @property
    def _welcome(self) -> str:
        path = ", enter a path," if self.controls.local_files else ""
        return f"Choose a video{path} or use the sample."

    # -------------------------------------------------------------- work

    @property
    def result(self) -> VideoReport | None:
        """The latest report, at the chosen threshold and aggregation."""
        return self._view.report

    @property
    def _shown_name(self) -> str:
        return "" if self.result is None else displayable(self.result.name, 60)

    def analyze(self, source: Any) -> VideoReport | None:
        """Analyse a video in place of the one shown, and wait for it; for scripts.

        In a notebook this blocks other cells and buttons; :meth:`start` returns at once. An interrupt ends
        the analysis; what was finished by then is the result.

        Parameters
        ----------
        source
            Whatever :func:`redeepfake_nb.open_video` takes.

        Returns
        -------
        VideoReport or None
            None where the analysis was cancelled before the first frame.

        Raises
        ------
        InputError
            The video cannot be read.
        ModelError
            The model cannot be loaded or used.
        RedeepfakeError
            Other work is running.
        """
        found = self._background.result(self._start(lambda: source))
        self.wait()
        return None if found is None else self.result

    def start(self, source: Any) -> None:
        """Start to analyse a video in the background, in place of the one shown.

        Errors are shown beside the controls and are in ``errors``.

        Raises
        ------
        RedeepfakeError
            Other work is running.
        """
        self._start(lambda: source)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no work is running and no heatmap is computed; return whether that is so.

        Parameters
        ----------
        timeout
            Seconds to wait at most for each; None for no limit.
        """
        return super().wait(timeout) and self._view.heatmaps.wait(timeout)

    def save(self, folder: str | os.PathLike | None = None, annotated: bool | None = None) -> Path:
        """Write the report into a new folder, see :func:`redeepfake_nb.report.save`, and wait for it.

        Parameters
        ----------
        folder
            Created if need be. Default: the one in the folder box.
        annotated
            Whether to add ``annotated.mp4``, the video with boxes and scores drawn in. Default: the check
            box.

        Raises
        ------
        OutputError
            There is nothing to write, or it cannot be written.
        InputError
            The video for the annotated copy can no longer be read.
        RedeepfakeError
            Other work is running.
        """
        return self._background.result(self._start_saving(folder, annotated))

    def clear(self) -> None:
        """Remove video, result, heatmaps and errors from the kernel and the browser; keep the settings."""
        with self._callbacks.lock:
            self._background.discard()
            self._source, self._ending = None, ""
            self._close_result()
            self._arrived()
            self._callbacks.forget()
            self.controls.forget_downloads(drop=True)
            self.controls.show_saved("")
            self.controls.show_progress(1, 1)
            with self._callbacks.paused():
                self.controls.upload.forget()
                self.controls.path.value = ""
            self._mark_stale()
            self.controls.show_status(f"Cleared. {self._welcome}")

    # -------------------------------------------------------------- in the background

    def _finished(self, job: Job) -> None:
        super()._finished(job)
        with self._callbacks.lock:
            if not job.discarded:
                self._mark_stale(ended=True, failed=job.error is not None)

    def _start(self, get_source: Callable[[], Any]) -> Job:
        """Start an analysis. ``get_source`` is called in the background, as it may take a while."""
        with self._callbacks.lock:
            if not self.running:
                self._callbacks.forget()
                self.controls.forget_downloads()
                self.controls.show_saved("")
                self._ending = ""
            return self._begin("frames", lambda job: self._analyze(job, get_source))

    def _analyze(self, job: Job, get_source: Callable[[], Any]) -> VideoReport | None:
        c = self.controls
        source = get_source()
        name = source_name(source, "video")
        self._expect(job, name)
        with self._callbacks.lock:
            before = self._source
            if not job.discarded:
                self._source = source
        # Before the model is loaded, which takes a while, in which another may be chosen.
        options, classifier = self._options(), self._model.classifier()
        sampling, detector, margin, _ = options
        if not job.discarded:
            c.show_status(f"Opening {name} …")
        if sampling["end"] is not None and sampling["end"] <= sampling["start"]:
            raise InputError(
                f"the end, {sampling['end']:g} s, is not after the start, {sampling['start']:g} s",
                subject="part to analyse",
                next_step="Change From and To under Frames; 0 in To means the end of the video.",
            )
        try:
            report = analyze_video(
                source,
                classifier,
                **sampling,
                detector=detector,
                margin=margin,
                aggregation=c.aggregation.value,
                threshold=c.threshold.value,
                explain_top=self.top,
                progress=self._progress(job, f"{name}: frame"),
                cancel=job.cancel,
            )
        except _UNREADABLE:
            with self._callbacks.lock:
                if self.result is not None and not job.discarded:
                    self._source = before
            raise
        session = VideoSession(report, classifier)
        with contextlib.suppress(InputError):  # it is shown with the frame
            session.load_frame()
        with self._callbacks.lock:
            if job.discarded:
                session.close()
                return None
            if report.cancelled and not report.frames:
                self._ending = f"Stopped before the first frame. {self._still_shown}".strip()
                return None
            # The controls may have changed in the meantime.
            session.update_verdict(c.threshold.value, c.aggregation.value)
            self._used_source, self._used_options = source, options
            self._view.open(session)
            self._arrived()
            return self.result

    def _close_result(self) -> None:
        self._used_source = self._used_options = None
        self._view.close()

    def _start_saving(self, folder: str | os.PathLike | None = None, annotated: bool | None = None) -> Job:
        with self._callbacks.lock:
            c, report = self.controls, self.result
            self._callbacks.forget("save")
            c.show_saved("")
            if report is None:
                raise OutputError("there is nothing to save yet", next_step="Analyse a video first.")
            where = Path(c.folder.value.strip() or "results" if folder is None else folder).expanduser()
            also = c.annotated.value if annotated is None else annotated
            return self._begin("save", lambda job: self._write(job, report, where, also))

    def _write(self, job: Job, report: VideoReport, folder: Path, annotated: bool) -> Path:
        from .. import report as reports

        report = self._explained(job, report)
        self.controls.show_status("Writing the report …")
        made = reports.save(report, folder)
        sentence = f"Saved {made}."
        if annotated:
            try:
                reports.annotate_video(
                    report,
                    made / ANNOTATED,
                    progress=self._progress(job, "Drawing frame"),
                    cancel=job.cancel.is_set,
                )
                sentence = f"Saved {made}, with {ANNOTATED}."
            except OutputError:
                if not job.cancel.is_set():
                    raise
                sentence = f"Saved {made}; the annotated video was cancelled."
        with self._callbacks.lock:
            if not job.discarded:
                self.controls.show_saved(sentence, made)
        return made

    def _files(self) -> dict[str, Callable[[Job], tuple[str, bytes, str]]]:
        return {"page": self._report_page, "picture": self._annotated_file, "table": self._table_file}

    def _check_result(self) -> VideoReport:
        if self.result is None:
            raise OutputError("there is nothing to save yet", next_step="Analyse a video first.")
        return self.result

    def _report_page(self, job: Job) -> tuple[str, bytes, str]:
        return self._page(self._explained(job, self._check_result()))

    def _annotated_file(self, job: Job) -> tuple[str, bytes, str]:
        from ..report.annotated_video import annotate_video

        report = self._check_result()
        name = displayable(report.name, 60).rpartition(".")[0] or "video"
        with tempfile.TemporaryDirectory(prefix="redeepfake-") as folder:
            path = Path(folder) / ANNOTATED
            progress = self._progress(job, "Drawing frame")
            annotate_video(report, path, progress=progress, cancel=job.cancel.is_set)
            return f"{name}-scored.mp4", path.read_bytes(), "video/mp4"

    def _table_file(self, job: Job) -> tuple[str, bytes, str]:
        from ..report.files import to_csv

        return "scores.csv", to_csv(self._check_result()).encode(), "text/csv"

    def _explained(self, job: Job, report: VideoReport) -> VideoReport:
        """Return the report with the heatmaps of its strongest frames, which may still be missing."""
        session, c = self._view.session, self.controls
        if session is None or session.report is not report or report.explanations or report.heatmap_error:
            return report
        for i, prediction in enumerate(report.evidence):
            if job.cancel.is_set():
                return report
            c.show_progress(i, len(report.evidence))
            c.show_status(f"Heatmap {i + 1} of {len(report.evidence)} for the report …")
            try:
                self._view.heatmaps.explain(
                    session.classifier, prediction, c.method.value, c.target.value, self._view.layer
                )
            except Exception as error:
                with self._callbacks.lock:
                    self._callbacks.record_at("heatmap", error)
                return report
        with self._callbacks.lock:
            if self._view.session is session:
                self._view.take_evidence()
        return session.report

    def _progress(self, job: Job, doing: str) -> ThrottledProgress:
        return ThrottledProgress(job, doing, self.controls.show_progress, self.controls.show_status)

    def _options(self) -> tuple[dict[str, Any], str, float | None, str]:
        """Return sampling, detector, margin and model as chosen now: a result with other ones is stale."""
        c = self.controls
        kind = c.sampling.value
        sampling: dict[str, Any] = {"frames": "all" if kind == "all" else c.frames.value}
        if kind == "every":
            sampling = {"every": c.every.value}
        sampling |= {"start": c.start.value, "end": c.end.value or None, "stream": c.stream.value or None}
        margin = None if c.use_model_margin.value else c.margin.value
        return sampling, c.detector.value, margin, self._model.name

    # -------------------------------------------------------------- what the controls do

    def _connect(self) -> None:
        super()._connect()
        c, on = self.controls, self._callbacks.connect
        on(c.upload, self._open_upload, "video")
        on(c.open_path, self._open_path, "video")
        on(c.sample, self._open_sample, "video")
        on(c.sampling, self._change_sampling, "frames")
        on(c.aggregation, self._update_verdicts, "model")
        for control in (c.frames, c.every, c.start, c.end, c.stream):
            on(control, self._mark_stale, "frames")
        for control in (c.detector, c.use_model_margin, c.margin):
            on(control, self._mark_stale, "faces")
        on(c.analyze_again, self._analyze_again, "faces")
        on(c.save, self._start_saving, "save")
        on(c.clear, self.clear, "save")

    def _open_upload(self) -> None:
        with self._callbacks.paused():
            found = self.controls.upload.take()
        if found:
            self.start(found[-1])

    def _open_path(self) -> None:
        self._callbacks.forget("video")
        path = self.controls.path.value.strip()
        if not path:
            raise InputError("no path is given", next_step="Enter one, then press Open path.")
        self.controls.upload.forget_message()
        self.start(os.path.expanduser(path))

    def _open_sample(self) -> None:
        from ..datasets.samples import sample_video

        self.controls.upload.forget_message()
        self._start(sample_video)

    def _analyze_again(self) -> None:
        self.start(self._source)

    def _change_sampling(self) -> None:
        self.controls.show_sampling()
        self._mark_stale()

    def _draw_again(self) -> None:
        self._view.show()

    def _update_verdicts(self) -> None:
        self._view.update_verdict()
        self._mark_stale()

    def _mark_stale(self, ended: bool = False, failed: bool = False) -> None:
        """Say whether what is shown was made with the current settings.

        ``ended``: the work is done. ``failed``: the status says so and stays.
        """
        c = self.controls
        c.margin.disabled = c.use_model_margin.value
        working = self.running and not ended
        stale = self.result is not None and self._used_options != self._options()
        waiting = self._source is not None and self._source is not self._used_source
        c.analyze_again.disabled = working or not (waiting or (stale and self._source is not None))
        c.analyze_again.button_style = "warning" if stale else ""
        if working or failed:
            return
        if waiting and not self._ending:
            c.show_status(f"Press Analyse again to analyse {source_name(self._source, 'the video')}.")
        elif stale:
            c.show_status("Settings changed after this result was made. Press Analyse again.")
        else:
            c.show_status(self._summary())

    def _summary(self) -> str:
        report = self.result
        if self._ending:
            return self._ending
        if report is None:
            return self._welcome
        frames = pluralize(report.frames, "frame")
        if report.cancelled:
            return f"Stopped after {frames}; what was analysed until then is shown."
        return f"{frames} analysed in {report.timing.get('total', 0.0):.1f} s."
