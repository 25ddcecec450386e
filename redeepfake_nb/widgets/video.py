"""``VideoInspector``: upload, path or sample -> timeline, persons, single moments, files.

The work is done in a thread, so that the kernel keeps answering: *Cancel* is pressed, sliders move and other
cells run while it goes on. Widgets are changed from both threads, which ipywidgets allows; a lock keeps what
belongs together in one piece. *Cancel* does without the lock and so is never kept waiting.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from ..analysis.aggregation import DEFAULT as DEFAULT_AGGREGATION
from ..analysis.video import analyze_video
from ..analysis.video_report import VideoReport
from ..errors import InputError, ModelError, OutputError, displayable
from ..explanation.methods import Target
from ..models.classifier import Classifier
from ..utils.jobs import Background, Job, Pace
from .base import Inspector, counted, model_name
from .controls import DEFAULT, MAX_MAPS, empty_upload
from .video_controls import VideoControls, whose
from .video_state import Viewing


class VideoBoard(Inspector):
    """Shows a :class:`~redeepfake_nb.widgets.video_state.Viewing` in the controls.

    Callbacks and the thread that works hold the lock while they change what is shown.
    """

    places = ((InputError, "video"), (ModelError, "model"), (OutputError, "save"))
    controls: VideoControls

    def __init__(
        self, controls: VideoControls, classifier: Classifier | str | os.PathLike | None, own_threshold: bool
    ) -> None:
        super().__init__(controls, classifier, own_threshold)
        self._lock = threading.RLock()
        self._viewing: Viewing | None = None  # the result and what is looked at in it

    @property
    def result(self) -> VideoReport | None:
        """The latest report, at the threshold and under the aggregation that are chosen."""
        return None if self._viewing is None else self._viewing.report

    def _guarded(self, work: Callable[[], Any], place: str) -> None:
        with self._lock:
            super()._guarded(work, place)

    def _connect(self) -> None:
        c, on = self.controls, self._on
        on(c.model, self._load_chosen, "model")
        on(c.threshold, self._move_threshold, "model")
        on(c.reset, self._reset_threshold, "model")
        on(c.aggregation, self._judge_again, "model")
        for control in (c.method, c.target):
            on(control, self._explain_again, "heatmap")
        on(c.strength, self._show_heat, "heatmap")
        on(c.moment, self._choose_moment, "frames")
        on(c.back, lambda: self._step(-1), "frames")
        on(c.forth, lambda: self._step(1), "frames")

    def _judge_again(self) -> None:
        c = self.controls
        if self._viewing is not None:
            self._viewing.judge(c.threshold.value, c.aggregation.value)
            c.show_report(self.result, self._viewing.time)
            self._show_moment()
            self._mark_stale()

    def _explain_again(self) -> None:
        self._forget("heatmap")
        if self._viewing is not None:
            self._viewing.explain_evidence(self.controls.method.value, self.controls.target.value)
        self._show_heat()

    def _choose_moment(self) -> None:
        self._forget("video", "frames", "heatmap")
        if self._viewing is not None:
            self._viewing.choose(self.controls.moment.value)
            self.controls.show_timeline(self.result, self._viewing.time)
        self._show_moment()

    def _step(self, by: int) -> None:
        time = None if self._viewing is None else self._viewing.step(by)
        if time is not None:
            self.controls.moment.value = time

    def _drop_result(self) -> None:
        if self._viewing is not None:
            self._viewing.close()
        self._viewing = self._settings = None

    def _show(self) -> None:
        """All of it, at the chosen moment."""
        viewing = self._viewing
        with self._silence():
            self.controls.show_moments(viewing.report if viewing else None, viewing.time if viewing else None)
        self.controls.show_strongest(self.result)
        self.controls.show_report(self.result, viewing.time if viewing else None)
        self._show_moment()

    def _show_moment(self) -> None:
        viewing = self._viewing
        try:
            if viewing is not None:
                viewing.load()
        except InputError as error:
            self._record(error, "video")
        if viewing is None:
            self.controls.show_moment(None, (), None)
        else:
            shown = () if viewing.time is None else viewing.report.nearest(viewing.time)
            self.controls.show_moment(viewing.frame, shown, viewing.report)
        self._show_moment_heat()

    def _show_heat(self) -> None:
        """What depends on heatmaps."""
        self.controls.show_strongest(self.result)
        self._show_moment_heat()

    def _show_moment_heat(self) -> None:
        viewing, c = self._viewing, self.controls
        found = () if viewing is None else viewing.heatmaps(c.method.value, c.target.value, MAX_MAPS)
        c.show_maps(found)
        classifier = None if viewing is None else viewing.classifier
        self.closer.offer(classifier, [(whose(e).lower(), e) for e in found], c.threshold.value)


WELCOME = "Choose a video, name a path, or use the sample."
ANNOTATED = "annotated.mp4"


class VideoInspector(VideoBoard):
    """Look at a video: which person scores high, in which seconds.

    Buttons start the analysis in the background; :meth:`wait` waits for it. Moving the threshold and choosing
    another aggregation judge the known scores anew. Choosing a moment decodes one frame. Another sampling,
    detector, margin or model makes the shown result stale, which is said until *Analyse again* is pressed.

    Parameters
    ----------
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships. Files are loaded when
        the first video is analysed.
    frames
        How many frames to look at, or ``"all"``. Ignored where ``every`` is given.
    every
        Seconds between frames.
    start, end
        Seconds; only this part is looked at. ``None``: to the end of the video.
    detector
        A name that :func:`redeepfake_nb.find_faces` knows.
    margin
        Crop margin, 0 to 4, or ``None`` for the model's own.
    threshold
        Cut on P(fake) between 0 and 1, or ``None`` for the model's.
    aggregation
        A name in :data:`redeepfake_nb.analysis.aggregation.STRATEGIES`.
    method
        One of ``"gradcam"``, ``"gradcam++"``, ``"layercam"``.
    target
        What heatmaps speak for, ``"fake"`` or ``"real"``.
    strength
        Of the overlay, 0 to 1.
    top
        How many of the strongest frames to keep.
    folder
        Where *Save* writes.

    Attributes
    ----------
    controls : VideoControls
        The widgets, by name.
    """

    def __init__(
        self,
        classifier: Classifier | str | os.PathLike | None = None,
        *,
        frames: int | Literal["all"] = 32,
        every: float | None = None,
        start: float = 0.0,
        end: float | None = None,
        detector: str = "hog",
        margin: float | None = None,
        threshold: float | None = None,
        aggregation: str = DEFAULT_AGGREGATION,
        method: str = "gradcam",
        target: Target = "fake",
        strength: float = 0.5,
        top: int = 4,
        folder: str | os.PathLike = "results",
    ) -> None:
        self.top = top
        self._background = Background(self._finished)
        self._source: Any = None
        self._settings: tuple | None = None  # what the result was made with
        name = model_name(classifier)
        controls = VideoControls(
            name,
            list(dict.fromkeys([name, DEFAULT])),
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
        )
        super().__init__(controls, classifier, own_threshold=threshold is None)
        self._connect()
        if self._given:
            self._classifier()
        self.controls.show_sampling()
        self._show()
        self.controls.say(WELCOME)

    def __repr__(self) -> str:
        shown = "nothing" if self.result is None else displayable(self.result.name, 60)
        state = ", running" if self.running else ""
        return f"VideoInspector({shown}, {counted(len(self.errors), 'error')}{state})"

    # -------------------------------------------------------------- work

    @property
    def running(self) -> bool:
        """Whether an analysis or saving goes on in the background."""
        return self._background.job is not None

    def analyze(self, source: Any) -> VideoReport:
        """Analyse a video in place of the one shown, and wait for it; for scripts.

        In a notebook other cells wait too and buttons do nothing meanwhile: :meth:`start` returns at once.
        Interrupting ends the analysis; what was done by then is the result.

        Parameters
        ----------
        source
            Whatever :func:`redeepfake_nb.open_video` takes.

        Raises
        ------
        InputError
            It cannot be read.
        ModelError
            The model cannot be loaded or used.
        RedeepfakeError
            Something else goes on.
        """
        return self._background.outcome(self._start(lambda: source))

    def start(self, source: Any) -> None:
        """Begin to analyse a video in the background, in place of the one shown.

        Errors are shown beside the controls and are in ``errors``.

        Raises
        ------
        RedeepfakeError
            Something else goes on.
        """
        self._start(lambda: source)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing goes on any more, at most ``timeout`` seconds; whether that is so."""
        return self._background.wait(timeout)

    def cancel(self) -> None:
        """Ask what goes on to stop. What was analysed by then is kept; half-written files are not."""
        if self._background.cancel():
            self.controls.cancel.disabled = True
            self.controls.say("Stopping …")

    def save(self, folder: str | os.PathLike | None = None, annotated: bool | None = None) -> Path:
        """Write the report into a new folder, see :func:`redeepfake_nb.report.files.save`, and wait for it.

        Parameters
        ----------
        folder
            Made if need be. Default: what stands in the box.
        annotated
            Whether to put ``annotated.mp4`` into it as well, the video with boxes and scores drawn in.
            Default: what the box says.

        Raises
        ------
        OutputError
            There is nothing to write, or it cannot be written.
        InputError
            The video for the annotated copy cannot be read any more.
        RedeepfakeError
            Something else goes on.
        """
        return self._background.outcome(self._start_saving(folder, annotated))

    def clear(self) -> None:
        """Forget video, result, heatmaps and errors, here and in the browser. Settings and model stay."""
        with self._lock:
            self._background.drop()
            self._source = self._settings = None
            self._drop_result()
            self._forget()
            self.controls.show_saved("")
            self.controls.count(1, 1)
            with self._silence():
                empty_upload(self.controls.upload)
                self.controls.path.value = ""
            self._show()
            self._mark_stale()
            self.controls.say(f"Cleared. {WELCOME}")

    # -------------------------------------------------------------- in the background

    def _finished(self, job: Job) -> None:
        """In the job's thread: whatever went wrong in it is shown beside the control."""
        with self._lock:
            self.controls.count(1, 1)
            self.controls.show_running(False)
            if job.error is not None and not job.dropped:
                self._record(job.error, job.place)
                self.controls.say("That did not work; see the message beside the control.")
                self.controls.again.disabled = self._source is None

    def _begin(self, place: str, work: Callable[[Job], Any]) -> Job:
        # Held until the buttons are set: the job may be over before this thread goes on.
        with self._lock:
            job = self._background.begin(place, work)
            self.controls.show_running(True)
        return job

    def _start(self, get: Callable[[], Any]) -> Job:
        """``get`` gives the source, in the background, as it may take a while itself."""
        with self._lock:
            if not self.running:
                self._forget()
                self.controls.show_saved("")
            return self._begin("frames", lambda job: self._analyze(job, get))

    def _analyze(self, job: Job, get: Callable[[], Any]) -> VideoReport | None:
        c = self.controls
        with self._lock:
            self._source = None
            self._drop_result()
            self._show()
        source = get()
        with self._lock:
            self._source = None if job.dropped else source
        classifier = self._classifier()
        settings = self._chosen()
        sampling, detector, margin, _ = settings
        if not job.dropped:
            c.say("Opening the video …")
        if sampling["end"] is not None and sampling["end"] <= sampling["start"]:
            raise InputError(
                f"{sampling['end']:g} s does not come after {sampling['start']:g} s",
                subject="the part to look at",
                next_step="Choose other seconds under Frames; as the second one, 0 means the end.",
            )
        report = analyze_video(
            source,
            classifier,
            **sampling,
            detector=detector,
            margin=margin,
            aggregation=c.aggregation.value,
            threshold=c.threshold.value,
            explain_top=self.top,
            explain=c.method.value,
            progress=self._progress(job, "Frame"),
            cancel=job.cancel,
        )
        viewing = Viewing(report, classifier)
        with contextlib.suppress(InputError):  # it is told when the frame is shown
            viewing.load()
        with self._lock:
            if job.dropped:
                viewing.close()
                return None
            if report.cancelled and not report.frames:
                c.say("Stopped before the first frame.")
                c.again.disabled = False
                return None
            # They may have been moved in the meantime.
            viewing.judge(c.threshold.value, c.aggregation.value)
            if report.evidence and (report.settings["explain"], "fake") != (c.method.value, c.target.value):
                viewing.explain_evidence(c.method.value, c.target.value)
            self._viewing, self._settings = viewing, settings
            self._show()
            self._mark_stale()
            return self.result

    def _start_saving(self, folder: str | os.PathLike | None = None, annotated: bool | None = None) -> Job:
        with self._lock:
            c, report = self.controls, self.result
            self._forget("save")
            c.show_saved("")
            if report is None:
                raise OutputError("there is nothing to save yet", next_step="Analyse a video first.")
            where = Path(c.folder.value.strip() or "results" if folder is None else folder).expanduser()
            also = c.annotated.value if annotated is None else annotated
            return self._begin("save", lambda job: self._write(job, report, where, also))

    def _write(self, job: Job, report: VideoReport, folder: Path, annotated: bool) -> Path:
        from .. import report as reports

        self.controls.say("Writing the report …")
        made = reports.save(report, folder)
        what = f"Saved {made}."
        if annotated:
            try:
                reports.annotate_video(
                    report,
                    made / ANNOTATED,
                    progress=self._progress(job, "Drawing frame"),
                    cancel=job.cancel.is_set,
                )
                what = f"Saved {made}, with {ANNOTATED}."
            except OutputError:
                if not job.cancel.is_set():
                    raise
                what = f"Saved {made}; the annotated video was cancelled."
        with self._lock:
            if not job.dropped:
                self.controls.show_saved(what)
                self._mark_stale()
        return made

    def _progress(self, job: Job, doing: str) -> Pace:
        return Pace(job, doing, self.controls.count, self.controls.say)

    def _chosen(self) -> tuple[dict[str, Any], str, float | None, str]:
        """Sampling, detector, margin and model: what results depend on."""
        c = self.controls
        kind = c.sampling.value
        sampling: dict[str, Any] = {"frames": "all" if kind == "all" else c.frames.value}
        if kind == "every":
            sampling = {"every": c.every.value}
        sampling |= {"start": c.start.value, "end": c.end.value or None}
        margin = None if c.own_margin.value else c.margin.value
        return sampling, c.detector.value, margin, c.model.value.strip() or DEFAULT

    # -------------------------------------------------------------- what the controls do

    def _connect(self) -> None:
        c, on = self.controls, self._on
        super()._connect()
        c.cancel.on_click(lambda _: self.cancel())  # without the lock
        on(c.upload, self._open_upload, "video")
        on(c.open, self._open_path, "video")
        on(c.sample, self._open_sample, "video")
        on(c.sampling, self._change_sampling, "frames")
        for control in (c.frames, c.every, c.start, c.end, c.detector, c.own_margin, c.margin):
            on(control, self._mark_stale, "faces")
        on(c.again, self._analyze_again, "faces")
        on(c.keep, self._start_saving, "save")
        on(c.forget, self.clear, "save")

    def _open_upload(self) -> None:
        if found := self._take_upload():
            self.start(found[-1])

    def _open_path(self) -> None:
        self._forget("video")
        path = self.controls.path.value.strip()
        if not path:
            raise InputError("no path is given", next_step="Write one, then press Open path.")
        self.start(os.path.expanduser(path))

    def _open_sample(self) -> None:
        from ..datasets.samples import sample_video

        self._start(sample_video)

    def _analyze_again(self) -> None:
        self.start(self._source)

    def _change_sampling(self) -> None:
        self.controls.show_sampling()
        self._mark_stale()

    def _mark_stale(self) -> None:
        """Say whether what is shown was made with the settings as they are now."""
        c = self.controls
        c.margin.disabled = c.own_margin.value
        stale = self.result is not None and self._settings != self._chosen()
        c.again.disabled = self._source is None or (self.result is not None and not stale)
        c.again.button_style = "warning" if stale else ""
        if self.running and self.result is None:
            return
        if stale:
            c.say("Settings changed; this result is from before. Press Analyse again.")
        else:
            c.say(self._summary())

    def _summary(self) -> str:
        report = self.result
        if report is None:
            return WELCOME if self._source is None else "Press Analyse again."
        seconds = report.timing.get("total", 0.0)
        if report.cancelled:
            return f"Stopped after {counted(report.frames, 'frame')}; what was done is shown."
        return f"{counted(report.frames, 'frame')} analysed in {seconds:.1f} s."
