"""``BatchInspector``: a folder or a list -> a scan, single files, labels, figures, a calibrated model.

Scans run in a thread, single files are looked at in another, and the table can be used while a scan goes on.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError, JournalError, MissingExtra, ModelError, OutputError
from ..faces.detection import Detector
from ..models.classifier import Classifier
from ..report.html_page import html
from ..scanning import review
from ..scanning.journal import Journal
from ..scanning.result import ScanResult, open_scan
from ..scanning.scheduler import scan
from ..utils.jobs import Background, Job, Pace
from .base import counted, expand_paths, model_name
from .batch_controls import BatchControls
from .batch_table import BatchBoard
from .controls import DEFAULT

WELCOME = "Name a folder, a CSV file or files, or use the sample folder."
# Seconds between two looks at the journal while a scan goes on.
_LOOK_EVERY = 3.0


class BatchInspector(BatchBoard):
    """Scan many files, look at single ones, label them, and see how the model does on them.

    Buttons start the scan in the background; :meth:`wait` waits for it. Files are scored by processes as
    :func:`redeepfake_nb.scan` does it, and everything that is known stands in the journal: a scan that was
    stopped, here or by the machine, goes on with the same files and journal. Labels belong to a file's
    content and stay in the journal.

    Parameters
    ----------
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships.
    journal
        Path of the journal.
    detector
        A name that :func:`redeepfake_nb.find_faces` knows, or a detector of your own, which other processes
        must be able to import.
    margin
        Crop margin, 0 to 4, or ``None`` for the model's own.
    threshold
        Cut on P(fake) between 0 and 1, or ``None`` for the model's.
    frames
        How many frames of each video to look at.
    workers, executor
        See :func:`redeepfake_nb.scan`.
    folder
        Where tables and calibrated models are written.

    Attributes
    ----------
    result : ScanResult or None
        What is shown.
    row : FileResult or None
        The file that is chosen.
    figures : Review or None
        What the labels say of the model, when it was asked for.
    controls : BatchControls
        The widgets, by name.
    """

    places = ((JournalError, "files"), (ModelError, "model"), (OutputError, "save"))

    def __init__(
        self,
        classifier: Classifier | str | os.PathLike | None = None,
        *,
        journal: str | os.PathLike = "results.sqlite",
        detector: str | Detector = "hog",
        margin: float | None = None,
        threshold: float | None = None,
        frames: int = 32,
        workers: int | None = None,
        executor: Any = None,
        folder: str | os.PathLike = "results",
    ) -> None:
        self._workers, self._executor = workers, executor
        self._background = Background(self._finished)
        name = model_name(classifier)

        def controls(chosen: Callable, keys: dict[str, Callable]) -> BatchControls:
            return BatchControls(
                name,
                list(dict.fromkeys([name, DEFAULT])),
                journal=os.fspath(journal),
                detector=detector if isinstance(detector, str) else "hog",
                margin=margin,
                threshold=threshold,
                frames=frames,
                folder=os.fspath(folder),
                chosen=chosen,
                keys=keys,
            )

        own = None if isinstance(detector, str) else detector
        super().__init__(controls, classifier, threshold is None, own)
        self._connect()
        if self._given:
            self._classifier()
        self.controls.say(WELCOME)

    def __repr__(self) -> str:
        shown = "nothing" if self.result is None else repr(self.result)
        state = ", running" if self.running else ""
        return f"BatchInspector({shown}, {counted(len(self.errors), 'error')}{state})"

    # -------------------------------------------------------------- scanning

    @property
    def running(self) -> bool:
        """Whether a scan goes on."""
        return self._background.job is not None

    def scan(self, paths: Any) -> ScanResult:
        """Scan files and wait for it; see :func:`redeepfake_nb.scan` for ``paths`` and for what is raised."""
        return self._background.outcome(self.start(paths))

    def start(self, paths: Any) -> Job:
        """Scan files in the background."""
        return self._begin(lambda: paths)

    def open(self, journal: str | os.PathLike | None = None) -> ScanResult:
        """Show the last scan of a journal without scanning.

        Raises
        ------
        JournalError
            There is no such journal, or no scan in it.
        """
        if journal is not None:
            with self._silence():
                self.controls.journal.value = os.fspath(journal)
        result = open_scan(self._journal())
        self._show_result(result)
        self.controls.say(self._summary())
        return result

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no scan goes on and no file is looked at, at most ``timeout`` seconds for each."""
        return self._background.wait(timeout) and self._looker.wait(timeout)

    def cancel(self) -> None:
        """Ask the scan to stop. What was done is in the journal."""
        if self._background.cancel():
            self.controls.cancel.disabled = True
            self.controls.say("Stopping …")

    def clear(self) -> None:
        """Forget what is shown, here and in the browser. Journal, settings and model stay."""
        self._background.drop()
        self._looker.forget()
        self.result = self.figures = None
        self._forget()
        c = self.controls
        c.show_saved("")
        c.show_summary(None)
        c.show_figures(None)
        with self._silence():
            c.paths.value = c.text.value = ""
        self._show_rows()
        self._choose(None)
        c.say(f"Cleared. {WELCOME}")

    def _begin(self, get: Callable[[], Any]) -> Job:
        self._forget()
        self.controls.show_saved("")
        c = self.controls
        detector = self._own_detector or c.detector.value
        margin = None if c.own_margin.value else c.margin.value
        threshold = None if self._own_threshold else c.threshold.value
        options = {"detector": detector, "margin": margin, "threshold": threshold, "frames": c.frames.value}
        job = self._background.begin("files", lambda job: self._scan(job, get, self._journal(), options))
        c.show_running(True)
        if job.over.is_set():
            c.show_running(False)
        return job

    def _scan(self, job: Job, get: Callable[[], Any], journal: Path, options: dict[str, Any]) -> ScanResult:
        c = self.controls
        c.say("Getting the files ready …")
        paths = get()
        name = c.model.value.strip() or DEFAULT
        model = self._given.get(name, None if name == DEFAULT else Path(name).expanduser())
        pace = Pace(job, "File", c.count, c.say)
        looked = time.monotonic()

        def progress(done: int, total: int | None) -> None:
            nonlocal looked
            pace(done, total)
            if time.monotonic() - looked >= _LOOK_EVERY and not job.dropped:
                # Rows would jump from under the hand of somebody who has chosen one.
                if (begun := _begun(journal)) is not None:
                    self._show_result(begun, rows=self.row is None)
                looked = time.monotonic()

        c.say("Starting processes, each of which loads the model …")
        result = scan(
            paths,
            journal,
            model,
            workers=self._workers,
            executor=self._executor,
            progress=progress,
            cancel=job.cancel,
            **options,
        )
        for listed in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
            if os.fspath(listed).lower().endswith(".csv") and review.has_labels(listed):
                review.take_labels(result, listed)
        if not job.dropped:
            self._show_result(result)
        return result

    def _finished(self, job: Job) -> None:
        c = self.controls
        c.count(1, 1)
        c.show_running(False)
        if job.dropped:
            return
        if job.error is not None:
            self._record(job.error, job.place)
            c.say("That did not work; see the message beside the control.")
        else:
            if isinstance(job.value, Path):
                c.show_saved(f"Saved {job.value}.")
            c.say(self._summary())

    # -------------------------------------------------------------- figures, files

    def judge(self, false_alarm: float | None = None) -> review.Review:
        """Judge the scan's model by the labels; see :func:`redeepfake_nb.scanning.review.judge_labels`.

        Parameters
        ----------
        false_alarm
            Default: what stands in the box.
        """
        self._forget("figures")
        if self.result is None:
            raise InputError("there is no scan yet", next_step="Scan files or open a journal first.")
        rate = self.controls.false_alarm.value if false_alarm is None else false_alarm
        self.figures = review.judge_labels(self.result, false_alarm=rate)
        self.controls.show_figures(self.figures)
        return self.figures

    def save_calibrated(self, path: str | os.PathLike | None = None) -> Path:
        """Write the scan's model with the calibration and threshold of :attr:`figures`.

        Parameters
        ----------
        path
            Ends in ``.keras``. Default: the name and folder in the boxes.
        """
        c = self.controls
        self._forget("figures", "save")
        if self.figures is None:
            raise InputError("the labels were not judged yet", next_step="Press Judge by my labels first.")
        if path is None:
            path = self._folder() / f"{c.own.value.strip() or 'my-model'}.keras"
        classifier = self._classifier()
        if not self._same_model():
            raise InputError(
                "the scan was made with another model than the one that is chosen now",
                subject=classifier.name,
                next_step="Choose the scan's model, or scan again.",
            )
        made = review.save_calibrated(classifier, self.figures, path)
        c.show_saved(f"Saved {made} and its sidecar {made.with_suffix('.json').name}.")
        return made

    def save(self, folder: str | os.PathLike | None = None) -> list[Path]:
        """Write the rows that are wanted as ``results.csv`` and, where pyarrow is there, ``results.parquet``.

        Raises
        ------
        OutputError
            There is nothing to write, or it cannot be written.
        """
        self._forget("save")
        if self.result is None:
            raise OutputError("there is nothing to save yet", next_step="Scan files or open a journal first.")
        where = self._folder() if folder is None else Path(folder).expanduser()
        c = self.controls
        options = {"where": c.wanted(), "order": c.order.value}
        made = [self.result.to_csv(where / "results.csv", **options)]
        try:
            made.append(self.result.to_parquet(where / "results.parquet", **options))
            note = ""
        except MissingExtra:
            note = " pyarrow is not installed, so there is no Parquet file."
        names = " and ".join(path.name for path in made)
        c.show_saved(f"Saved {names} in {where}.{note}")
        return made

    def save_report(self, path: str | os.PathLike | None = None) -> Path:
        """Write a page on the scan and wait for it; see :func:`redeepfake_nb.report.files.html`.

        Parameters
        ----------
        path
            Default: ``report.html`` in the folder of the box.
        """
        return self._background.outcome(self._begin_report(path))

    def _begin_report(self, path: str | os.PathLike | None = None) -> Job:
        self._forget("save")
        self.controls.show_saved("")
        result = self.result
        if result is None:
            raise OutputError("there is nothing to save yet", next_step="Scan files or open a journal first.")
        out = self._folder() / "report.html" if path is None else Path(path).expanduser()

        def write(job: Job) -> Path:
            c = self.controls
            c.say("Looking at files again for the report …")
            pace = Pace(job, "File", c.count, c.say)
            return html(
                result,
                out,
                classifier=self._classifier(),
                detector=self._own_detector,
                progress=pace,
                cancel=job.cancel,
            )

        job = self._background.begin("save", write)
        self.controls.show_running(True)
        if job.over.is_set():
            self.controls.show_running(False)
        return job

    # -------------------------------------------------------------- what the controls do

    def _connect(self) -> None:
        c, on = self.controls, self._on
        super()._connect()
        c.cancel.on_click(lambda _: self.cancel())
        on(c.start, self._start_named, "files")
        on(c.open, self._open_named, "files")
        on(c.sample, self._start_sample, "files")
        on(c.model, self._load_chosen, "model")
        on(c.threshold, self._move_threshold, "model")
        on(c.reset, self._reset_threshold, "model")
        on(c.own_margin, self._mark_stale, "faces")
        on(c.judge, self.judge, "figures")
        on(c.calibrate, self.save_calibrated, "figures")
        on(c.keep, self.save, "save")
        on(c.page, self._begin_report, "save")
        on(c.forget, self.clear, "save")

    def _start_named(self) -> None:
        paths = expand_paths(self.controls.paths.value)
        if not paths:
            raise InputError(
                "no file is named", next_step="Write a folder, a CSV file or files, one per line."
            )
        self.start(paths)

    def _open_named(self) -> None:
        self._forget("files")
        self.open()

    def _start_sample(self) -> None:
        from ..datasets.synthetic import write_sample_folder

        folder = Path("sample-files").absolute()
        with self._silence():
            self.controls.paths.value = str(folder)
        self._begin(lambda: write_sample_folder(folder))

    def _judge_again(self) -> None:
        self._mark_stale()

    def _mark_stale(self) -> None:
        c = self.controls
        c.margin.disabled = c.own_margin.value
        if self.result is not None and not self.running:
            c.say("Settings count from the next scan on. What is shown was scored as its summary says.")

    def _journal(self) -> Path:
        return Path(self.controls.journal.value.strip() or "results.sqlite").expanduser()

    def _folder(self) -> Path:
        return Path(self.controls.folder.value.strip() or "results").expanduser()

    def _tell(self) -> None:
        if not self.running:
            self.controls.say(self._summary())

    def _summary(self) -> str:
        if self.result is None:
            return WELCOME
        if self.result.cancelled:
            return "Stopped. Scan again with the same files and journal to go on."
        seconds = f" in {self.result.seconds:.0f} s" if self.result.seconds else ""
        total = sum(self.result.counts.values())
        return f"{counted(total, 'file')}{seconds}. Click a row for its faces and heatmaps."


def _begun(journal: Path) -> ScanResult | None:
    """The scan of a journal that goes on now."""
    with Journal(journal) as opened:
        going = [record for record in opened.scans() if record.state == "begun"]
        return ScanResult(opened.path, going[-1]) if going else None
