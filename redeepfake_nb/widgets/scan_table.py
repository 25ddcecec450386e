"""``ScanTable``: show a scan's files in a table, the chosen one with its heatmaps, and take labels."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from ..analysis.report import Report
from ..errors import InputError, displayable
from ..faces.detection import Detector
from ..scanning.journal import Journal
from ..scanning.reanalysis import ReanalysisRequest, Reanalyzer, common_parent, custom_detector_of
from ..scanning.records import FileResult
from ..scanning.result import ScanResult, open_scan
from .base import ModelChoice
from .batch_controls import BatchControls
from .callbacks import Callbacks, error_message
from .explanation_panel import ExplanationPanel
from .file_table import said_of_all

# Key -> name of the button that does the same.
KEYS = {"r": "real", "f": "fake", "s": "skip", "b": "back", "x": "none"}


class ScanTable:
    """The part of a batch inspector that shows a scan, lets a file be chosen, and stores labels.

    Methods are called under the lock of the callbacks, since the scan and the analysis of the chosen file
    have threads of their own.

    Parameters
    ----------
    controls
        The widgets.
    callbacks
        Connects the controls, and shows errors.
    model
        Analyses the chosen file.
    panel
        Is told which heatmaps are shown.
    detector
        A custom detector, of which a journal stores only the name; None where there is none.
    shown
        Called when a file's report is shown.

    Attributes
    ----------
    result : ScanResult or None
        What is shown.
    row : FileResult or None
        The chosen file.
    """

    def __init__(
        self,
        controls: BatchControls,
        callbacks: Callbacks,
        model: ModelChoice,
        panel: ExplanationPanel,
        detector: Detector | None,
        shown: Callable[[], object],
    ) -> None:
        self.result: ScanResult | None = None
        self.row: FileResult | None = None
        self._controls, self._callbacks, self._model, self._panel = controls, callbacks, model, panel
        self._detector, self._shown = detector, shown
        self._reanalyzer = Reanalyzer(model.classifier, self._reanalyzed)
        self._first = 0  # index in the filtered list of the table's first row
        self._left: list[FileResult] = []  # files that were labelled, for the way back to them
        self._connect()

    def _connect(self) -> None:
        c, on = self._controls, self._callbacks.connect
        for control in (c.filter, c.order, c.text, c.page_size):
            on(control, self._list_again, "files")
        on(c.refresh, self._refresh, "files")
        on(c.previous_page, lambda: self._turn(-1), "files")
        on(c.next_page, lambda: self._turn(1), "files")
        for name, control in c.label_buttons.items():
            on(control, partial(self._press, name), "files")
        run = self._callbacks.run
        c.script.on_step(lambda by: run(lambda: self.step(by), "files"))
        c.key_pad.bind({key: partial(run, partial(self._press, name), "files") for key, name in KEYS.items()})
        c.file_table.on_click(lambda row: run(lambda: self._choose(row), "files"))

    # -------------------------------------------------------------- the chosen file

    def select(self, row: FileResult | None) -> None:
        """Choose a file: its row is shown at once, its faces and heatmaps when they are computed."""
        self._controls.file_table.mark(None if row is None else row.id)
        self._choose(row)

    def step(self, by: int = 1) -> None:
        """Choose the row that many places below the chosen one, at most the last; negative steps go up.

        Beyond the end of a page the next page is turned to, before its beginning the previous one.
        """
        c, index = self._controls, self._index()
        if not c.file_table.rows:
            return
        target = 0 if index is None else index + by
        if target >= len(c.file_table.rows) and not c.next_page.disabled:
            self._turn(1)
            target = 0
        elif target < 0 and not c.previous_page.disabled:
            self._turn(-1)
            target = len(c.file_table.rows) - 1
        rows = c.file_table.rows
        self.select(rows[min(max(target, 0), len(rows) - 1)])

    def label(self, label: str | None) -> None:
        """Store a label of the chosen file; see :meth:`redeepfake_nb.widgets.BatchInspector.label`."""
        self._callbacks.forget("files")
        row = self.row
        if row is None or self.result is None:
            raise InputError("no file is chosen", next_step="Click a row of the table first.")
        if row.sha256 is None:
            if label != "skip":
                raise InputError(
                    "it could not be read, so there is no content that a label could belong to",
                    subject=displayable(row.path, 200),
                    next_step="Skip it, or repair the file and scan again.",
                )
        else:
            with Journal(self.result.journal) as journal:
                journal.set_label(row.sha256, label, row.path)
            self._controls.file_table.relabel(row.sha256, label)
            self.row = replace(row, label=label)
            self._left = [*(r for r in self._left if r.id != row.id), self.row]
        if label is None:
            self._choose(self.row)
        else:
            self._next()

    def show_file(self) -> None:
        """Show the chosen file again, for instance with another model."""
        if self.row is not None:
            self._choose(self.row)

    def discard_reports(self) -> None:
        """Forget cached reports and give up the file that is being analysed."""
        self._reanalyzer.clear()

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no file is being analysed, at most ``timeout`` seconds; return whether that is so."""
        return self._reanalyzer.wait(timeout)

    def uses_chosen_model(self) -> bool:
        """Return whether the loaded model is the scan's, as far as that is known."""
        if self.result is None:
            return True
        used, loaded = self.result.scan.model_sha256, self._model.loaded
        found = None if loaded is None else loaded.sha256
        return None in (used, found) or used == found

    def _index(self) -> int | None:
        """Index of the chosen file in the table."""
        rows = self._controls.file_table.rows
        chosen = None if self.row is None else self.row.id
        return next((i for i, row in enumerate(rows) if row.id == chosen), None)

    def _next(self) -> None:
        """Choose the next row without a label, on the next page where this one has none."""
        table = self._controls.file_table
        index = self._index()
        after = -1 if index is None else index
        while True:
            left = [row for row in table.rows[after + 1 :] if row.label is None and row.sha256 is not None]
            if left:
                self.select(left[0])
                return
            if self._controls.filter.value == "review" and after >= 0:
                # Labelled rows drop out of this list when it is read again, so what comes next is at its
                # beginning.
                self._first = 0
            elif not self._controls.next_page.disabled:
                self._first += self._size
            else:
                break
            after = -1
            self._show_rows()
        self.select(self.row)
        self._controls.show_status("There is no further file without a label in this table.")

    def _choose(self, row: FileResult | None) -> None:
        self.row = row
        c = self._controls
        if row is None or self.result is None or row.status in ("failed", "waiting"):
            with c.page_hidden():
                c.show_file(row if self.result is not None else None, None, "")
                self._panel.set_heatmaps(None, (), 0.5)
            return
        request = self._request(row, self.result)
        report = self._reanalyzer.cached(request)
        if report is not None:
            self._show_report(row, report)
        else:
            first = "" if self._model.at_hand else "The model is loaded first, which takes a while. "
            with c.page_hidden():
                c.show_file(row, None, f"{first}Analysing the file again to show its faces and heatmaps …")
                self._panel.set_heatmaps(None, (), 0.5)
        rows, index = c.file_table.rows, self._index()
        below = [] if index is None else rows[index + 1 :]
        next_row = next((r for r in below if r.label is None and r.status in ("done", "partial")), None)
        prefetch = None if next_row is None else self._request(next_row, self.result)
        self._reanalyzer.request(request, prefetch)

    def _request(self, row: FileResult, result: ScanResult) -> ReanalysisRequest:
        settings = result.settings
        detector = custom_detector_of(settings, self._detector) or settings["detector"]
        return ReanalysisRequest(row, settings, detector)

    def _reanalyzed(self, request: ReanalysisRequest, report: Report | Exception) -> None:
        """Show a finished report; runs in the reanalyzer's thread."""
        with self._callbacks.lock:
            row = self.row
            if row is not None and row.id == request.row.id:
                self._callbacks.run(lambda: self._show_report(row, report), "files")

    def _show_report(self, row: FileResult, report: Report | Exception) -> None:
        c = self._controls
        if isinstance(report, Exception):
            c.show_file(row, None, f"The file cannot be analysed again. {error_message(report)}")
            return
        source = report.source
        note = ""
        if source is not None and row.sha256 not in (None, source.sha256):
            note = "The file has changed since the scan. What follows is about the file as it is now."
        elif not self.uses_chosen_model():
            note = "The scan used another model than the chosen one, which made what follows."
        with c.page_hidden():
            c.show_file(row, report, note)
            self._shown()
            self._panel.set_heatmaps(
                self._model.loaded,
                tuple(zip(report.explanation_names, report.explanations, strict=True)),
                report.threshold,
            )

    # -------------------------------------------------------------- the table

    def show(self, result: ScanResult, rows: bool = True) -> bool:
        """Show a scan and return whether it is another one than before.

        Parameters
        ----------
        rows
            Whether to update the rows of the table as well. Those of another scan are always updated.
        """
        shown = None if self.result is None else (self.result.journal, self.result.scan.id)
        other = shown != (result.journal, result.scan.id)
        self.result = result
        self._controls.show_summary(result)
        if other:
            self._first, self._left = 0, []
            self._choose(None)
        if rows or other:
            self._show_rows()
        return other

    def clear(self) -> None:
        """Show nothing, and forget the scan and its reports."""
        self._reanalyzer.clear()
        self._controls.drawings.clear()
        self.result, self._left = None, []
        self._controls.show_summary(None)
        self._show_rows()
        self._choose(None)

    def _show_rows(self) -> None:
        """Read the page that begins at ``_first`` from the journal and show it."""
        c = self._controls
        if self.result is None:
            c.file_table.show([])
            c.show_limits("")
            c.show_page(0, 0, 0)
            return
        where, scan = c.chosen_filter(), self.result.scan
        with Journal(self.result.journal) as journal:
            total = journal.count(scan, where)
            self._first = min(self._first, max(total - 1, 0) // self._size * self._size)
            rows = journal.page(scan, where, order=c.order.value, limit=self._size, offset=self._first)
        root = common_parent(row.path for row in rows)
        c.file_table.show(rows, root, None if self.row is None else self.row.id)
        c.show_limits(said_of_all(rows))
        c.show_page(self._first, len(rows), total)

    # -------------------------------------------------------------- what the controls do

    def _press(self, name: str) -> None:
        """Do what a button or a key of the review stands for."""
        if name == "back":
            self._back()
        else:
            self.label(None if name == "none" else name)

    def _back(self) -> None:
        """Choose the file above, or at the top the one that was labelled last, which the list may lack."""
        while self._left and self.row is not None and self._left[-1].id == self.row.id:
            self._left.pop()
        if self._left and self._index() in (None, 0) and self._controls.previous_page.disabled:
            self.select(self._left.pop())
        else:
            self.step(-1)

    def _list_again(self) -> None:
        self._callbacks.forget("files")
        self._first = 0
        self._show_rows()

    def _refresh(self) -> None:
        self._callbacks.forget("files")
        if self.result is not None:
            self.show(open_scan(self.result.journal, self.result.scan.id))

    @property
    def _size(self) -> int:
        """Most rows of a page."""
        return self._controls.page_size.value

    def _turn(self, pages: int) -> None:
        self._first = max(self._first + pages * self._size, 0)
        self._show_rows()
