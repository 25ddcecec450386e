"""The batch inspector's controls and panes: widgets, their hints and their places, and no behaviour."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import ipywidgets as ipw

from ..analysis.image import ImageReport
from ..analysis.video_report import VideoReport
from ..scanning.records import FileResult, Filter
from ..scanning.result import ScanResult
from ..scanning.review import Review
from . import html as markup
from .controls import STYLE, WIDE, Controls, button, hint, show_png
from .file_table import FileGrid
from .keyboard import KeyPad

PLACES = ("files", "model", "faces", "figures", "save")
# Name -> words and which rows. Files without a score have nothing that could be reviewed.
_SCORED = ("done", "partial")
VIEWS: dict[str, tuple[str, dict[str, Any]]] = {
    "all": ("all files", {}),
    "review": ("scored, without a label", {"statuses": _SCORED, "labels": (None,), "lowest": 0.0}),
    "fake": ("labelled fake by the model", {"verdicts": "fake"}),
    "real": ("labelled real by the model", {"verdicts": "real"}),
    "inconclusive": ("inconclusive", {"verdicts": "inconclusive"}),
    "no face": ("without a face", {"statuses": "no face"}),
    "partial": ("read in part", {"statuses": "partial"}),
    "failed": ("failed", {"statuses": "failed"}),
    "waiting": ("waiting", {"statuses": "waiting"}),
    "labelled": ("with a label of a person", {"labels": ("real", "fake", "skip")}),
}
_ORDERS = {
    "listed": "as listed",
    "doubtful": "most doubtful first",
    "strongest": "highest P(fake) first",
    "path": "by path",
    "time": "as they were done",
}
KEYS = (
    "Click here, or press Tab until this has a frame. Then R: real, F: fake, S: skip, B: back, X: no label."
)


class BatchControls(Controls):
    """All widgets of a batch inspector as attributes; ``root`` holds them.

    Parameters
    ----------
    model, models
        What the model box says at first, and what it suggests.
    journal, detectors, detector, margin, threshold, frames, folder
        First values, see :class:`redeepfake_nb.widgets.image.BatchInspector`.
    chosen
        Called with a row that is clicked.
    keys
        The keys of :data:`KEYS` in lower case, and what they do.
    """

    def __init__(
        self,
        model: str,
        models: Sequence[str],
        *,
        journal: str,
        detector: str,
        margin: float | None,
        threshold: float | None,
        frames: int,
        folder: str,
        chosen: Any,
        keys: Any,
    ) -> None:
        super().__init__(PLACES)
        box = {"layout": WIDE, "style": STYLE}
        self.paths = hint(
            ipw.Textarea(
                placeholder="a folder, a CSV file, or files: one per line",
                description="Files",
                rows=2,
                layout={"width": "auto", "height": "56px"},
                style=STYLE,
            ),
            "On the notebook's machine. A CSV file has a column path; labels in a column label are kept",
        )
        self.journal = hint(
            ipw.Text(value=journal, description="Journal", continuous_update=False, **box),
            "The SQLite file that keeps results and labels. With one that exists already a scan goes on",
        )
        self.start = button("Scan", "Score the files; what the journal knows already is kept", "play")
        self.open = button("Open journal", "Show what is in the journal, without scanning", "folder-open")
        self.sample = button("Sample folder", "Make a folder of small files here and scan it", "image")

        self._add_model_and_faces(model, models, detector, margin, threshold, "files")
        self.again.layout.display = "none"
        self.frames = hint(
            ipw.BoundedIntText(value=frames, min=1, max=1_000_000, description="Frames", **box),
            "How many frames of each video to look at",
        )

        self.false_alarm = hint(
            ipw.BoundedFloatText(
                value=0.05,
                min=0.0,
                max=1.0,
                step=0.01,
                description="False alarms",
                layout=WIDE,
                style={"description_width": "90px"},
            ),
            "The share of real files that may be called fake; the threshold is chosen by it",
        )
        self.judge = button("Judge by my labels", "Figures of the model on the files you labelled", "check")
        self.own = hint(
            ipw.Text(value="my-model", description="Name", **box),
            "Name of the calibrated model that is written into the folder",
        )
        self.calibrate = button(
            "Save calibrated model",
            "Write the model with a sidecar that has the calibration and threshold fitted on your labels",
            "save",
        )
        self.calibrate.disabled = True
        self._add_saving(folder, "what is shown")
        self.page = button(
            "Save report",
            "Write report.html into the folder: the highest and the most doubtful scores, with heatmaps",
            "file-text",
        )
        self.keep.tooltip = "Write the table as CSV and, where pyarrow is there, as Parquet into the folder"
        self.forget.tooltip = "Forget what is shown, here and in the browser. The journal stays as it is"

        self.progress.layout.flex = "1 1 auto"
        self.cancel = button("Cancel", "Stop; what was done so far is in the journal", "stop", "110px")
        self.summary = ipw.HTML()
        narrow = {"width": "auto", "flex": "1 1 190px"}
        self.view = hint(
            ipw.Dropdown(
                options=[(words, name) for name, (words, _) in VIEWS.items()],
                value="all",
                description="Show",
                layout=narrow,
                style={"description_width": "40px"},
            ),
            "Which files the table has",
        )
        self.order = hint(
            ipw.Dropdown(
                options=[(words, name) for name, words in _ORDERS.items()],
                value="listed",
                description="Order",
                layout=narrow,
                style={"description_width": "44px"},
            ),
            "In which order; the arrows in the table's head sort only what the table holds",
        )
        self.text = hint(
            ipw.Text(
                description="Path has",
                placeholder="part of a path",
                continuous_update=False,
                layout=narrow,
                style={"description_width": "64px"},
            ),
            "Only files whose path contains this",
        )
        self.refresh = button("Refresh", "Read the journal again", "refresh", "100px")
        self.page_words = ipw.HTML()
        self.back = button("Previous rows", "The part of the list before", "arrow-left", "130px")
        self.forth = button("Next rows", "The next part of the list", "arrow-right", "130px")
        self.pages = ipw.HBox([self.page_words, self.back, self.forth], layout={"align_items": "center"})
        self.grid = FileGrid(chosen)
        self.buttons = {
            "real": button("Real", "Label this file real and go to the next (R)", "check", "90px"),
            "fake": button("Fake", "Label this file fake and go to the next (F)", "exclamation", "90px"),
            "skip": button("Skip", "Say nothing of this file and go to the next (S)", "forward", "90px"),
            "back": button("Back", "Go to the file before (B)", "arrow-up", "90px"),
            "none": button("No label", "Take this file's label back (X)", "undo", "105px"),
        }
        self.keys = KeyPad(KEYS, keys)
        self.label = ipw.HTML()
        self.review = ipw.VBox(
            [
                ipw.HBox(
                    [*self.buttons.values(), self.label],
                    layout={"flex_flow": "row wrap", "align_items": "center"},
                ),
                self.keys,
            ]
        )
        self.file_name = ipw.HTML()
        self.verdict = ipw.HTML()
        self.image = ipw.Image(format="png")
        self.image.add_class("rdf-picture")
        self.table = ipw.HTML()
        self.figures = ipw.HTML()
        self.charts = ipw.Image(format="png", layout={"max_width": "100%"})
        self.root = self._arranged()
        self.show_running(False)
        self.show_file(None, None, "")
        self.show_figures(None)

    def _arranged(self) -> ipw.Widget:
        groups = [
            ("Files", self.paths, self.journal, ipw.HBox([self.start, self.open]), self.sample),
            ("Model", self.model, self.model_facts, self.threshold, self.reset),
            ("Faces", self.detector, self.own_margin, self.margin, self.frames),
            ("Figures by your labels", self.false_alarm, self.judge, self.own, self.calibrate),
            ("Save", self.folder, ipw.HBox([self.keep, self.forget]), self.page, self.saved),
        ]
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        main = [
            self.status,
            ipw.HBox([self.progress, self.cancel], layout={"align_items": "center"}),
            self.summary,
            ipw.HBox([self.view, self.order, self.text, self.refresh], layout=wrap),
            self.grid.widget,
            self.pages,
            self.review,
            self.file_name,
            self.verdict,
            self.image,
            self.table,
            self.maps,
            self.closer,
            self.figures,
            self.charts,
            self.log,
        ]
        return self._two_columns(groups, main)

    # -------------------------------------------------------------- showing

    def wanted(self) -> Filter:
        """Which rows the controls ask for."""
        return Filter(**VIEWS[self.view.value][1], text=self.text.value.strip() or None)

    def show_running(self, running: bool) -> None:
        """What can be pressed while a scan goes on, and what cannot."""
        self.cancel.layout.display = "" if running else "none"
        self.cancel.disabled = not running
        for control in (self.start, self.open, self.sample, self.journal, self.page):
            control.disabled = running

    def show_summary(self, result: ScanResult | None) -> None:
        """How many files came to what, in a line."""
        if result is None:
            self.summary.value = ""
            return
        counts = [f"{n} {status}" for status, n in result.counts.items() if n]
        model = f"{result.model['name']} {result.model['version']}"
        cut = result.settings["threshold"]
        self.summary.value = markup.quiet(
            f"{', '.join(counts) or 'no files'}. Judged by {model} at threshold {cut:.2f}."
        )

    def show_page(self, first: int, shown: int, total: int) -> None:
        """Which part of the list the table holds."""
        several = shown < total
        words = f"Rows {first + 1} to {first + shown} of {total:,}" if several else ""
        self.page_words.value = markup.quiet(words) if words else ""
        self.pages.layout.display = "" if several else "none"
        self.back.disabled, self.forth.disabled = first <= 0, first + shown >= total

    def show_file(
        self,
        row: FileResult | None,
        report: ImageReport | VideoReport | None,
        note: str,
        strength: float = 0.5,
    ) -> None:
        """A row, and its report where there is one by now; ``note`` says what else is to know."""
        from .. import view

        self.review.layout.display = "none" if row is None else ""
        if row is None:
            self.file_name.value = self.label.value = ""
        else:
            self.file_name.value = markup.caption(row.path) + (markup.quiet(note) if note else "")
            words = f"Labelled {row.label}." if row.label else "Not labelled yet."
            if row.sha256 is None:
                words = "This file was never read, so it cannot have a label."
            self.label.value = markup.quiet(words)
        for name, pressed in self.buttons.items():
            pressed.disabled = row is None or (row.sha256 is None and name in ("real", "fake", "none"))
        if report is None:
            self.verdict.value = "" if row is None else markup.file_outcome(row)
            self.table.value = ""
            show_png(self.image, b"")
            self.fill_maps(())
            return
        if isinstance(report, ImageReport):
            self.verdict.value = markup.verdict(report)
            self.table.value = markup.faces_table(report)
            show_png(self.image, view.to_png(view.plot_faces, report))
            self.fill_maps(
                [
                    (f"Face {i + 1}", view.to_png(view.plot_explanation, e, strength=strength))
                    for i, e in enumerate(report.explanations[:4])
                ]
            )
            return
        self.verdict.value = markup.video_verdict(report)
        self.table.value = markup.persons_table(report)
        show_png(self.image, view.to_png(view.plot_timeline, report))
        strongest = [("Strongest frames", view.to_png(view.plot_suspicious_frames, report))]
        self.fill_maps(strongest if report.evidence else ())

    def show_figures(self, review: Review | None) -> None:
        """What the labels say of the model."""
        from .. import view

        self.calibrate.disabled = review is None or review.calibration is None
        self.figures.value = "" if review is None else markup.figures(review)
        show_png(self.charts, b"" if review is None else view.to_png(view.plot_review, review))
