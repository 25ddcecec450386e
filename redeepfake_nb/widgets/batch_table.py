"""The part of the batch inspector that shows: the table of a scan, one file of it, and labels."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from ..analysis.image import ImageReport
from ..analysis.video_report import VideoReport
from ..errors import InputError, displayable
from ..faces.detection import Detector
from ..faces.face import detector_name
from ..models.classifier import Classifier
from ..scanning import review
from ..scanning.journal import Journal
from ..scanning.reanalysis import Looker, Wish, common_folder
from ..scanning.records import FileResult
from ..scanning.result import ScanResult, open_scan
from .base import Inspector
from .batch_controls import BatchControls
from .file_table import MOST


class BatchBoard(Inspector):
    """Base of the batch inspector: shows a scan, lets a file be chosen, and takes labels.

    Parameters
    ----------
    make_controls
        Makes the controls from what is to be called with a clicked row, and from keys and what they do.
    classifier
        See :class:`redeepfake_nb.widgets.base.Inspector`.
    own_threshold
        Whether the threshold follows the model's.
    detector
        A detector of the person's own, which a journal has only the name of.
    """

    controls: BatchControls

    def __init__(
        self,
        make_controls: Callable[[Callable, dict[str, Callable]], BatchControls],
        classifier: Classifier | str | os.PathLike | None,
        own_threshold: bool,
        detector: Detector | None,
    ) -> None:
        self.result: ScanResult | None = None
        self.row: FileResult | None = None
        self.figures: review.Review | None = None
        self._own_detector = detector
        # Of everything that is shown: the scan, the looker and callbacks have threads of their own.
        self._lock = threading.RLock()
        self._looker = Looker(self._classifier, self._looked)
        self._first = 0  # of the rows in the table
        names = {"r": "real", "f": "fake", "s": "skip", "b": "back", "x": "none"}
        keys = {
            key: lambda name=name: self._guarded(lambda: self._press(name), "files")
            for key, name in names.items()
        }
        super().__init__(make_controls(self._clicked, keys), classifier, own_threshold)

    # -------------------------------------------------------------- the table

    def select(self, row: FileResult | None) -> None:
        """Choose a file: the journal's word is shown at once, faces and heatmaps when they are ready."""
        self.controls.grid.mark(None if row is None else row.id)
        self._choose(row)

    def step(self, by: int = 1) -> None:
        """Choose the row so many places below the one that is chosen, as far as there are any."""
        rows = self.controls.grid.rows
        places = [i for i, row in enumerate(rows) if self.row is not None and row.id == self.row.id]
        if rows:
            place = places[0] + by if places else 0
            self.select(rows[min(max(place, 0), len(rows) - 1)])

    def label(self, label: str | None) -> None:
        """Keep your label of the chosen file, ``"real"``, ``"fake"`` or ``"skip"``, and choose the next one.

        ``None`` takes the label back and stays.

        Raises
        ------
        InputError
            No file is chosen, or it was never read.
        """
        self._forget("files")
        row = self.row
        if row is None or self.result is None:
            raise InputError("no file is chosen", next_step="Click a row of the table first.")
        if row.sha256 is None:
            if label != "skip":
                raise InputError(
                    "it was never read, so there is no content that a label could belong to",
                    subject=displayable(row.path, 200),
                    next_step="Skip it, or mend the file and scan again.",
                )
        else:
            with Journal(self.result.journal) as journal:
                journal.set_label(row.sha256, label, row.path)
            grid = self.controls.grid
            grid.relabel(row.sha256, label)
            self.row = replace(row, label=label)
        if label is None:
            self._choose(self.row)
        else:
            self._next()

    def _next(self) -> None:
        """Choose the next row without a label; the next part of the list where this one has no more."""
        grid = self.controls.grid
        place = next((i for i, row in enumerate(grid.rows) if self.row and row.id == self.row.id), -1)
        while True:
            left = [row for row in grid.rows[place + 1 :] if row.label is None and row.sha256 is not None]
            if left:
                self.select(left[0])
                return
            if self.controls.view.value == "review" and place >= 0:
                # Those with a label are no longer in this list, so its beginning has what comes next.
                self._first = 0
            elif not self.controls.forth.disabled:
                self._first += MOST
            else:
                break
            place = -1
            self._show_rows()
        self.select(self.row)
        self.controls.say("There is no further file without a label in this table.")

    def _guarded(self, work: Callable[[], Any], place: str) -> None:
        with self._lock:
            super()._guarded(work, place)

    def _load_chosen(self) -> None:
        self._looker.forget()
        super()._load_chosen()
        if self.row is not None:
            self._choose(self.row)

    def _clicked(self, row: FileResult) -> None:
        self._guarded(lambda: self._choose(row), "files")

    def _choose(self, row: FileResult | None) -> None:
        self.row = row
        c = self.controls
        if row is None or self.result is None:
            c.show_file(None, None, "")
            self.closer.offer(None, (), 0.5)
            return
        if row.status in ("failed", "waiting"):
            c.show_file(row, None, "")
            self.closer.offer(None, (), 0.5)
            return
        wish = self._wish(row)
        report = self._looker.known(wish)
        if report is not None:
            self._show_report(wish, report)
        else:
            c.show_file(row, None, "Looking for its faces again …")
            self.closer.offer(None, (), 0.5)
        rows = c.grid.rows
        place = next((i for i, other in enumerate(rows) if other.id == row.id), len(rows))
        after = [r for r in rows[place + 1 :] if r.label is None and r.status in ("done", "partial")]
        self._looker.ask(wish, self._wish(after[0]) if after else None)

    def _wish(self, row: FileResult) -> Wish:
        settings = self.result.settings
        detector = settings["detector"]
        own = self._own_detector
        if own is not None and detector.rpartition(".")[2] == detector_name(own).rpartition(".")[2]:
            detector = own
        return Wish(row, settings, detector)

    def _looked(self, wish: Wish, report: ImageReport | VideoReport | Exception) -> None:
        """In the looker's thread."""
        with self._lock:
            if self.row is not None and self.row.id == wish.row.id:
                self._guarded(lambda: self._show_report(wish, report), "files")

    def _show_report(self, wish: Wish, report: ImageReport | VideoReport | Exception) -> None:
        c, row = self.controls, self.row
        if isinstance(report, Exception):
            c.show_file(row, None, f"It cannot be looked at again: {displayable(report, 300)}")
            return
        image = isinstance(report, ImageReport)
        source = report.frame.source if image else report.source
        note = ""
        if source is not None and row.sha256 not in (None, source.sha256):
            note = "The file has changed since it was scanned; what follows is of the file as it is now."
        elif not self._same_model():
            note = "The scan was made with another model than the one that is chosen now, which this is by."
        c.show_file(row, report, note)
        self._tell()
        if image:
            heatmaps = [(f"face {i + 1}", e) for i, e in enumerate(report.explanations)]
        else:
            heatmaps = [
                (f"frame at {e.prediction.face.frame.timestamp:.2f} s", e) for e in report.explanations
            ]
        classifier = self._loaded[1] if self._loaded is not None else None
        self.closer.offer(classifier, heatmaps, report.threshold)

    def _show_result(self, result: ScanResult, rows: bool = True) -> None:
        with self._lock:
            shown = None if self.result is None else (self.result.journal, self.result.scan.id)
            other = shown != (result.journal, result.scan.id)
            self.result = result
            self.controls.show_summary(result)
            if other:
                self._first = 0
                self.figures = None
                self.controls.show_figures(None)
                self._choose(None)
            if rows or other:
                self._show_rows()

    def _show_rows(self) -> None:
        """The part of the list that begins at ``_first``, out of the journal."""
        c = self.controls
        if self.result is None:
            c.grid.show([])
            c.show_page(0, 0, 0)
            return
        where = c.wanted()
        with Journal(self.result.journal) as journal:
            total = journal.count(self.result.scan, where)
            self._first = min(self._first, max(total - 1, 0) // MOST * MOST)
            rows = journal.page(self.result.scan, where, order=c.order.value, limit=MOST, offset=self._first)
        root = common_folder(row.path for row in rows)
        c.grid.show(rows, root, None if self.row is None else self.row.id)
        c.show_page(self._first, len(rows), total)

    def _tell(self) -> None:
        """Say what is shown, in a sentence, unless something goes on that says more."""
        raise NotImplementedError

    def _same_model(self) -> bool:
        """Whether the model that is loaded is the one of the scan, as far as that is known."""
        used = self.result.scan.model_sha256
        found = None if self._loaded is None else self._loaded[1].sha256
        return None in (used, found) or used == found

    # -------------------------------------------------------------- what the controls do

    def _connect(self) -> None:
        c, on = self.controls, self._on
        for control in (c.view, c.order, c.text):
            on(control, self._list_again, "files")
        on(c.refresh, self._refresh, "files")
        on(c.back, lambda: self._turn(-MOST), "files")
        on(c.forth, lambda: self._turn(MOST), "files")
        for name, pressed in c.buttons.items():
            on(pressed, lambda name=name: self._press(name), "files")

    def _press(self, name: str) -> None:
        """A button or key of the review."""
        if name == "back":
            self.step(-1)
        else:
            self.label(None if name == "none" else name)

    def _list_again(self) -> None:
        self._forget("files")
        self._first = 0
        self._show_rows()

    def _refresh(self) -> None:
        self._forget("files")
        if self.result is not None:
            self._show_result(open_scan(self.result.journal, self.result.scan.id))

    def _turn(self, by: int) -> None:
        self._first = max(self._first + by, 0)
        self._show_rows()
