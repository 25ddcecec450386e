"""``BatchInspector``: scan many files, look at single ones, label them, and evaluate and calibrate the model.

A scan runs in one thread and the chosen file is analysed in another; the table can be used while a scan is
running.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import InputError, JournalError, MissingExtra, ModelError, OutputError
from ..faces.detection import DEFAULT_DETECTOR, Detector
from ..hosts import may_name_files
from ..models.classifier import Classifier
from ..models.runtimes import chosen_runtime
from ..report.html_page import html
from ..scanning import review
from ..scanning.executors import local_capacity
from ..scanning.journal import Journal
from ..scanning.reanalysis import custom_detector_of
from ..scanning.records import FileResult
from ..scanning.result import ScanResult, open_scan
from ..scanning.scheduler import scan
from ..utils.jobs import Job, ThrottledProgress
from ..utils.wording import pluralize
from .base import Inspector, expand_paths, model_name
from .batch_controls import BatchControls, BatchSettings
from .callbacks import FAILED
from .scan_table import ScanTable
from .upload_area import MAX_UPLOAD
from .uploaded_files import UploadedFiles

# Seconds between two readings of the journal while a scan is running.
_READ_INTERVAL = 3.0


class BatchInspector(Inspector):
    """Scan many files, look at single ones, label them, and evaluate the model on the labels.

    Buttons start the scan in the background; :meth:`wait` waits for it. Files are scored by worker processes
    as in :func:`redeepfake_nb.scan`, and every result is in the journal: a scan that was stopped, on purpose
    or by a crash, is resumed with the same files and journal. Labels belong to a file's content and are in
    the journal as well. Files that are sent by the browser are copied into a private folder, which
    :meth:`clear` deletes.

    Parameters
    ----------
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships.
    journal
        Path of the journal.
    detector
        Name of a face detector, see :func:`redeepfake_nb.find_faces`, or a custom detector, which worker
        processes must be able to import.
    margin
        Crop margin, 0 to 4, or ``None`` for the model's own.
    threshold
        Threshold on P(fake), between 0 and 1, or ``None`` for the model's own.
    frames
        How many frames of each video to analyse.
    workers, executor
        See :func:`redeepfake_nb.scan`.
    folder
        Where tables, reports and calibrated models are written.
    max_upload_mb
        Most megabytes of one upload.
    local_files
        Whether files on the kernel's machine may be named, opened and written. Default: yes, unless Voilà
        serves the notebook. If not, files are sent by the browser and results downloaded; files and journal
        are in a private folder that is deleted with the session, and ``journal`` and ``folder`` are ignored.

    Attributes
    ----------
    review : Review or None
        The model's metrics on the labelled files, after :meth:`judge`.
    controls : BatchControls
        The widgets, by name.
    """

    error_sections = ((JournalError, "files"), (ModelError, "model"), (OutputError, "save"))
    controls: BatchControls

    def __init__(
        self,
        classifier: Classifier | str | os.PathLike | None = None,
        *,
        journal: str | os.PathLike = "results.sqlite",
        detector: str | Detector = DEFAULT_DETECTOR,
        margin: float | None = None,
        threshold: float | None = None,
        frames: int = 32,
        workers: int | None = None,
        executor: Any = None,
        folder: str | os.PathLike = "results",
        max_upload_mb: int = MAX_UPLOAD // 1_000_000,
        local_files: bool | None = None,
    ) -> None:
        self._local = may_name_files(local_files)
        self._uploaded: UploadedFiles | None = None  # made when it is needed
        self._workers, self._executor = workers, executor
        self._custom_detector = None if isinstance(detector, str) else detector
        self.review: review.Review | None = None
        settings = BatchSettings(
            model=model_name(classifier),
            journal=os.fspath(journal),
            detector=detector if isinstance(detector, str) else DEFAULT_DETECTOR,
            margin=margin,
            threshold=threshold,
            frames=frames,
            folder=os.fspath(folder),
            max_upload=max_upload_mb * 1_000_000,
            local_files=self._local,
        )
        controls = BatchControls(settings)
        super().__init__(controls, classifier, follow_threshold=threshold is None)
        self._table = ScanTable(
            controls,
            self._callbacks,
            self._model,
            self.explanation_panel,
            self._custom_detector,
            shown=self._show_summary,
        )
        self._connect()
        controls.show_status(self._welcome)

    def __repr__(self) -> str:
        shown = "nothing" if self.result is None else repr(self.result)
        state = ", running" if self.running else ""
        return f"BatchInspector({shown}, {pluralize(len(self.errors), 'error')}{state})"

    @property
    def _welcome(self) -> str:
        named = "name them," if self._local else ""
        return " ".join(f"Choose files or a folder, {named} or use the sample folder.".split())

    @property
    def result(self) -> ScanResult | None:
        """The scan that is shown."""
        return self._table.result

    @property
    def row(self) -> FileResult | None:
        """The chosen file."""
        return self._table.row

    # -------------------------------------------------------------- scanning

    def scan(self, paths: Any) -> ScanResult:
        """Scan files and wait; see :func:`redeepfake_nb.scan` for ``paths`` and the errors raised."""
        return self._background.result(self.start(paths))

    def start(self, paths: Any) -> Job:
        """Start to scan files in the background."""
        return self._start(lambda: paths)

    def open(self, journal: str | os.PathLike | None = None) -> ScanResult:
        """Show the last scan of a journal without scanning.

        Parameters
        ----------
        journal
            Default: the one in the journal box.

        Raises
        ------
        JournalError
            There is no such journal, or no scan in it.
        """
        if journal is not None:
            with self._callbacks.paused():
                self.controls.journal.value = os.fspath(journal)
        result = open_scan(self._journal())
        self._show_result(result)
        self.controls.show_status(self._summary())
        return result

    def wait(self, timeout: float | None = None) -> bool:
        """Wait for the scan, then for the chosen file; return whether both ended.

        Parameters
        ----------
        timeout
            Seconds to wait at most for each; None for no limit.
        """
        return self._background.wait(timeout) and self._table.wait(timeout)

    def clear(self) -> None:
        """Remove what is shown from the kernel and the browser; keep journal, settings and model."""
        self._background.discard()
        c = self.controls
        with self._callbacks.lock:
            self._callbacks.forget()
            c.forget_downloads(drop=True)
            self.review = None
            c.show_saved("")
            c.show_review(None)
            with self._callbacks.paused():
                c.upload.forget()
                c.paths.value = c.text.value = ""
            self._table.clear()
            # A scan that is still ending has the old folder, which is removed after it.
            self._uploaded, c.shown_path = None, str
            c.show_status(f"Cleared. {self._welcome}")

    def _start(self, get_paths: Callable[[], Any]) -> Job:
        """Start a scan. ``get_paths`` is called in the background, as it may take a while."""
        c = self.controls
        if not self.running:
            self._callbacks.forget()
            c.forget_downloads()
            c.show_saved("")
        options = {
            "detector": self._custom_detector or c.detector.value,
            "margin": None if c.use_model_margin.value else c.margin.value,
            "threshold": None if self._model.follow_threshold else c.threshold.value,
            "frames": c.frames.value,
            "max_pixels": c.megapixels.value * 1_000_000 or None,
            "stream": c.stream.value or None,
        }
        return self._begin("files", lambda job: self._scan(job, get_paths, self._journal(), options))

    def _scan(
        self, job: Job, get_paths: Callable[[], Any], journal: Path, options: dict[str, Any]
    ) -> ScanResult:
        c = self.controls
        c.show_status("Preparing the files …")
        paths = get_paths()
        update = self._progress(job)
        last_read = time.monotonic()

        def progress(done: int, total: int | None) -> None:
            nonlocal last_read
            update(done, total)
            if time.monotonic() - last_read >= _READ_INTERVAL and not job.discarded:
                if (partial := _running_scan(journal)) is not None:
                    # Rows must not move while a file is chosen.
                    self._show_result(partial, rows=self.row is None)
                last_read = time.monotonic()

        c.show_status(self._starting())
        result = scan(
            paths,
            journal,
            self._model.unloaded(),
            workers=self._workers,
            executor=self._executor,
            progress=progress,
            cancel=job.cancel,
            **options,
        )
        # Before the labels of a list are read, among which an unknown one is an error.
        if not job.discarded:
            self._show_result(result)
        added = 0
        for listed in [paths] if isinstance(paths, (str, os.PathLike)) else paths:
            if os.fspath(listed).lower().endswith(".csv") and review.has_labels(listed):
                # A reviewer may have corrected those that are there already.
                added += review.import_labels(result, listed, replace=False)
        if added and not job.discarded:
            self._show_result(result)
        return result

    def _starting(self) -> str:
        """What happens before the first file is scored, which takes longer than all files after it."""
        loads = "and the first score takes longest; the first time on a machine, a minute more …"
        if self._executor is not None:
            return f"Waiting for the executor's workers; each loads the model, {loads}"
        workers = local_capacity(chosen_runtime(None))[0] if self._workers is None else self._workers
        if workers == 0:
            return f"Loading the model, {loads}"
        processes = "1 worker process; it" if workers == 1 else f"{workers} worker processes; each"
        return f"Starting {processes} loads the model, {loads}"

    def _progress(self, job: Job) -> ThrottledProgress:
        return ThrottledProgress(job, "File", self.controls.show_progress, self.controls.show_status)

    def _finished(self, job: Job) -> None:
        super()._finished(job)
        if not job.discarded and job.error is None:
            if isinstance(job.value, Path):
                self.controls.show_saved(f"Saved {job.value}.", job.value)
            self.controls.show_status(self._summary())
        elif not job.discarded and job.section == "files" and self.result is not None:
            self.controls.show_status(f"{FAILED} The scan before is still shown.")

    def _show_result(self, result: ScanResult, rows: bool = True) -> None:
        with self._callbacks.lock:
            if self._table.show(result, rows):
                self.review = None
                self.controls.show_review(None)

    # -------------------------------------------------------------- labels

    def select(self, row: FileResult | None) -> None:
        """Choose a file: its row is shown at once, its faces and heatmaps when they are computed."""
        with self._callbacks.lock:
            self._table.select(row)

    def step(self, by: int = 1) -> None:
        """Choose the row that many places below the chosen one, at most the last; negative steps go up."""
        with self._callbacks.lock:
            self._table.step(by)

    def label(self, label: str | None) -> None:
        """Store a label of the chosen file and choose the next one; ``None`` removes the label and stays.

        Parameters
        ----------
        label
            ``"real"``, ``"fake"``, ``"skip"`` or ``None``.

        Raises
        ------
        InputError
            No file is chosen, or it could not be read.
        """
        with self._callbacks.lock:
            self._table.label(label)

    def judge(self, false_positive_rate: float | None = None) -> review.Review:
        """Evaluate the scan's model on the labels; see :func:`redeepfake_nb.scanning.review.evaluate_labels`.

        Parameters
        ----------
        false_positive_rate
            The largest share of real files that may be predicted fake, 0 to 1. Default: the one in the box.

        Raises
        ------
        InputError
            There is no scan, or there are not labels of both kinds.
        """
        self._callbacks.forget("metrics")
        if self.result is None:
            raise InputError("there is no scan yet", next_step="Scan files or open a journal first.")
        rate = self.controls.false_positive_rate.value if false_positive_rate is None else false_positive_rate
        found = review.evaluate_labels(self.result, false_positive_rate=rate)
        with self._callbacks.lock:
            self.review = found
            self.controls.show_review(found)
        return found

    # -------------------------------------------------------------- writing files

    def save_calibrated(self, path: str | os.PathLike | None = None) -> Path:
        """Write the scan's model with the calibration and threshold of :attr:`review`.

        Parameters
        ----------
        path
            Ends in ``.keras``. Default: the name and folder in the boxes.

        Raises
        ------
        InputError
            The labels were not evaluated yet, or the scan used another model than the chosen one.
        OutputError
            The file cannot be written.
        """
        c = self.controls
        self._callbacks.forget("metrics", "save")
        if self.review is None:
            raise InputError(
                "the model was not evaluated yet", next_step="Press Evaluate on my labels first."
            )
        if path is None:
            path = self._folder() / f"{c.calibrated_name.value.strip() or 'my-model'}.keras"
        classifier = self._model.classifier()
        if not self._table.uses_chosen_model():
            raise InputError(
                "the scan used another model than the chosen one",
                subject=classifier.name,
                next_step="Choose the scan's model, or scan again.",
            )
        made = review.save_calibrated(classifier, self.review, path)
        sidecar = made.with_suffix(".json").name
        c.show_saved(f"Saved {made} and its sidecar {sidecar}.", made.parent)
        return made

    def save(self, folder: str | os.PathLike | None = None) -> list[Path]:
        """Write the rows of the table as ``results.csv`` and, with pyarrow installed, ``results.parquet``.

        All rows that pass the filter are written, on whichever page they are.

        Parameters
        ----------
        folder
            Default: the one in the folder box.

        Raises
        ------
        OutputError
            There is nothing to write, or it cannot be written.
        """
        self._callbacks.forget("save")
        result, where = self._saved_result(), self._folder(folder)
        c = self.controls
        rows, order = c.chosen_filter(), c.order.value
        made = [result.to_csv(where / "results.csv", rows, order=order)]
        try:
            made.append(result.to_parquet(where / "results.parquet", rows, order=order))
            note = ""
        except MissingExtra:
            note = " There is no Parquet file because pyarrow is not installed."
        names = " and ".join(path.name for path in made)
        c.show_saved(f"Saved {names} in {where}.{note}", where)
        return made

    def save_report(self, path: str | os.PathLike | None = None) -> Path:
        """Write an HTML report of the scan and wait for it; see :func:`redeepfake_nb.report.html`.

        Parameters
        ----------
        path
            Default: ``report.html`` in the folder of the folder box.
        """
        return self._background.result(self._start_report(path))

    def _start_report(self, path: str | os.PathLike | None = None) -> Job:
        self._callbacks.forget("save")
        self.controls.show_saved("")
        result = self._saved_result()
        out = self._folder() / "report.html" if path is None else Path(path).expanduser()

        def write(job: Job) -> Path:
            self.controls.show_status("Analysing files again for the report …")
            return html(
                result,
                out,
                classifier=self._model.classifier(),
                detector=custom_detector_of(result.settings, self._custom_detector),
                progress=self._progress(job),
                cancel=job.cancel,
            )

        return self._begin("save", write)

    def _files(self) -> dict[str, Callable[[Job], tuple[str, bytes, str]]]:
        return {"page": self._report_page, "table": self._table_file}

    def _report_page(self, job: Job) -> tuple[str, bytes, str]:
        self.controls.show_status("Analysing files again for the report …")
        result = self._saved_result()
        name, page, kind = self._page(
            result,
            classifier=self._model.classifier(),
            detector=custom_detector_of(result.settings, self._custom_detector),
            progress=self._progress(job),
            cancel=job.cancel,
        )
        return name, self._without_folder(page), kind

    def _table_file(self, job: Job) -> tuple[str, bytes, str]:
        c = self.controls
        with tempfile.TemporaryDirectory(prefix="redeepfake-") as folder:
            path = Path(folder) / "results.csv"
            self._saved_result().to_csv(path, c.chosen_filter(), order=c.order.value)
            return path.name, self._without_folder(path.read_bytes()), "text/csv"

    def _without_folder(self, content: bytes) -> bytes:
        """Return a file that is downloaded without the place of the session's folder."""
        if self._uploaded is None:
            return content
        return self._uploaded.shown(content.decode()).encode()

    def _saved_result(self) -> ScanResult:
        """Return the scan that is to be written."""
        if self.result is None:
            raise OutputError("there is nothing to save yet", next_step="Scan files or open a journal first.")
        return self.result

    # -------------------------------------------------------------- what the controls do

    def _connect(self) -> None:
        super()._connect()
        c, on = self.controls, self._callbacks.connect
        on(c.upload, self._open_upload, "files")
        on(c.start, self._start_named, "files")
        on(c.open_journal, self._open_named, "files")
        on(c.sample, self._start_sample, "files")
        on(c.use_model_margin, self._mark_stale, "faces")
        on(c.evaluate, self.judge, "metrics")
        on(c.save_calibrated, self.save_calibrated, "metrics")
        on(c.save, self.save, "save")
        on(c.save_report, self._start_report, "save")
        on(c.clear, self.clear, "save")

    def _open_upload(self) -> None:
        with self._callbacks.paused():
            found = self.controls.upload.take()
        if found:
            uploaded = self._private_folder()
            self._start(lambda: uploaded.replace(found))

    def _start_named(self) -> None:
        paths = expand_paths(self.controls.paths.value)
        if not paths:
            raise InputError(
                "no file is named", next_step="Enter a folder, a CSV file or files, one per line."
            )
        self.controls.upload.forget_message()
        self.start(paths)

    def _open_named(self) -> None:
        self._callbacks.forget("files")
        self.open()

    def _start_sample(self) -> None:
        from ..datasets.synthetic import make_sample_folder

        self.controls.upload.forget_message()
        beside = Path() if self._local else self._private_folder().folder
        folder = (beside / "sample-files").absolute()
        with self._callbacks.paused():
            self.controls.paths.value = str(folder)
        self._start(lambda: make_sample_folder(folder))

    def _change_model(self) -> None:
        self._table.discard_reports()
        super()._change_model()

    def _model_changed(self) -> None:
        super()._model_changed()
        self._table.show_file()

    def _draw_again(self) -> None:
        self._table.show_file()
        self.controls.show_review(self.review)

    def _update_verdicts(self) -> None:
        self._mark_stale()

    def _mark_stale(self) -> None:
        c = self.controls
        c.margin.disabled = c.use_model_margin.value
        if self.result is not None and not self.running:
            c.show_status(
                "The new settings apply to the next scan. The results shown were made with the old ones."
            )

    def _private_folder(self) -> UploadedFiles:
        """The folder of files that were sent; their names are shown without it."""
        if self._uploaded is None:
            self._uploaded = UploadedFiles()
            self.controls.shown_path = self._uploaded.shown
        return self._uploaded

    def _journal(self) -> Path:
        if not self._local:
            return self._private_folder().folder / "results.sqlite"
        return Path(self.controls.journal.value.strip() or "results.sqlite").expanduser()

    def _folder(self, given: str | os.PathLike | None = None) -> Path:
        return Path(self.controls.folder.value.strip() or "results" if given is None else given).expanduser()

    def _show_summary(self) -> None:
        if not self.running:
            self.controls.show_status(self._summary())

    def _summary(self) -> str:
        result = self.result
        if result is None:
            return self._welcome
        if result.cancelled:
            if not self._local:
                return "Stopped. Send the same files to resume; those that are scored are not scored again."
            return "Stopped. Scan or send the same files with the same journal to resume."
        seconds = f" in {result.seconds:.0f} s" if result.seconds else ""
        total = sum(result.counts.values())
        return f"{pluralize(total, 'file')}{seconds}. Click a row to see its faces and heatmaps."


def _running_scan(journal: Path) -> ScanResult | None:
    """Return the journal's scan that is running now."""
    with Journal(journal) as opened:
        begun = [record for record in opened.scans() if record.state == "begun"]
        return ScanResult(opened.path, begun[-1]) if begun else None
