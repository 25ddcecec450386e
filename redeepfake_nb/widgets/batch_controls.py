"""The batch inspector's controls and result panes: widgets and their layout, no behaviour.

Works with ipywidgets 7.7 (Colab) and 8, see :mod:`redeepfake_nb.widgets.controls`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import ipywidgets as ipw

from ..analysis.image import ImageReport
from ..analysis.report import Report
from ..analysis.video_report import VideoReport
from ..scanning.records import FileResult, Filter
from ..scanning.result import ScanResult
from ..scanning.review import Review
from . import html as markup
from .controls import (
    ANY_NUMBER,
    MAX_HEATMAPS,
    STYLE,
    WIDE,
    Controls,
    Group,
    InspectorSettings,
    button,
    hint,
    show_png,
    stream_box,
)
from .file_table import FileTable
from .image_controls import ACCEPTED as PICTURES
from .keyboard import KeyPad
from .upload_area import UploadArea
from .video_controls import ACCEPTED as VIDEOS

SECTIONS = ("files", "model", "faces", "metrics", "save")
# Of one upload.
MAX_FILES = 1000
# Name -> words, and the filter of the rows. Files without a score cannot be reviewed.
_SCORED = ("done", "partial")
FILTERS: dict[str, tuple[str, dict[str, Any]]] = {
    "all": ("All files", {}),
    "review": ("Scored, without a label", {"statuses": _SCORED, "labels": (None,), "min_score": 0.0}),
    "fake": ("Points to manipulation", {"verdicts": "fake"}),
    "real": ("No sign found", {"verdicts": "real"}),
    "inconclusive": ("Inconclusive", {"verdicts": "inconclusive"}),
    "declared": ("Declared AI", {"declared": ("verified", "claimed")}),
    "tampered": ("Changed after signing", {"declared": "tampered"}),
    "no face": ("Without a face", {"statuses": "no face"}),
    "partial": ("Read in part", {"statuses": "partial"}),
    "failed": ("Failed", {"statuses": "failed"}),
    "waiting": ("Waiting", {"statuses": "waiting"}),
    "labelled": ("With a reviewer's label", {"labels": ("real", "fake", "skip")}),
}
_ORDERS = {
    "listed": "As listed",
    "doubtful": "Most doubtful first",
    "strongest": "Highest P(fake) first",
    "path": "By path",
    "verdict": "By verdict",
    "status": "By status",
    "time": "By time of scoring",
}
# How many rows of the list the table may have at once.
PAGE_SIZES = (10, 25, 50, 100)
# What the key pad says; ScanTable binds the keys.
KEY_HELP = (
    "Click here or press Tab until this box is outlined. Then press R for real, F for fake, S to skip, "
    "B to go back, or X to remove the label."
)


@dataclass(frozen=True, kw_only=True)
class BatchSettings(InspectorSettings):
    """First values of a batch inspector's controls.

    Parameters
    ----------
    journal
        Path of the journal.
    frames
        How many frames of each video to analyse.
    """

    journal: str = "results.sqlite"
    frames: int = 32


class BatchControls(Controls):
    """All widgets of a batch inspector as attributes; ``root`` holds them.

    Parameters
    ----------
    settings
        First values.
    """

    def __init__(self, settings: BatchSettings) -> None:
        super().__init__(SECTIONS, settings.local_files)
        self._add_files(settings.journal, settings.max_upload)
        self._add_model_and_faces(settings, "files")
        self.analyze_again.layout.display = "none"
        self.frames = hint(
            ipw.BoundedIntText(
                value=settings.frames,
                min=1,
                max=1_000_000,
                description="Frames",
                layout=WIDE,
                style=STYLE,
            ),
            "How many frames of each video to analyse",
        )
        self.megapixels = hint(
            ipw.BoundedIntText(value=0, min=0, max=4000, description="Megapixels", layout=WIDE, style=STYLE),
            "The largest picture or frame that is read; 0 for the usual limits, 64 and 35. "
            "Larger ones need much memory",
        )
        self.stream = stream_box()
        self._add_metrics()
        self._add_saving(settings.folder, "what is shown")
        hint(self.save, "Write the table as CSV, and as Parquet if pyarrow is installed, into the folder")
        kept = (
            "The journal is not changed; copies of files that were sent are deleted"
            if self.local_files
            else "Your files and their results are deleted"
        )
        hint(self.clear, f"Remove what is shown from the kernel and the browser. {kept}")
        del self.downloads["picture"]
        self.download_row.children = list(self.downloads.values())
        self.save_report = button(
            "Save report",
            "Write report.html into the folder: the highest and the most doubtful scores, with heatmaps",
            "file-text",
        )
        self._add_table()
        self._add_review()
        self._add_results()
        self.shown_path: Callable[[str], str] = str  # how a file's path is shown
        self.root = self._arranged()
        self.starters = [self.upload, self.start, self.open_journal, self.sample, self.journal]
        self.starters.append(self.save_report)
        self.show_running(False)
        self.show_page(0, 0, 0)
        self.show_file(None, None, "")
        self.show_review(None)

    def _add_files(self, journal: str, max_upload: int) -> None:
        self.upload = UploadArea(
            "Choose files",
            "Send pictures and videos from this computer, or a folder of them, and score them",
            f"{PICTURES},{VIDEOS}",
            multiple=True,
            max_bytes=max_upload,
            max_files=MAX_FILES,
        )
        self.paths = hint(
            ipw.Textarea(
                placeholder="A folder, a CSV file, or files, one per line",
                description="Files",
                rows=2,
                layout={"width": "auto", "height": "56px"},
                style=STYLE,
            ),
            "On the notebook's machine. A CSV file has a column path and may have labels in a column label",
        )
        self.paths.add_class("rdf-path")
        self.journal = hint(
            ipw.Text(value=journal, description="Journal", continuous_update=False, layout=WIDE, style=STYLE),
            "The SQLite file that stores results and labels. A scan into an existing journal is resumed",
        )
        self.start = button("Scan", "Score the files, except those that the journal has already", "play")
        self.open_journal = button("Open journal", "Show the journal without scanning", "folder-open")
        self.sample = button("Sample folder", "Create a folder of small files here and scan it", "image")

    def _add_metrics(self) -> None:
        self.false_positive_rate = hint(
            ipw.BoundedFloatText(
                value=0.05,
                min=0.0,
                max=1.0,
                step=0.01,
                description="False positive rate",
                layout=WIDE,
                style={"description_width": "initial"},
            ),
            "The largest share of real files that may be predicted fake; it determines the threshold",
        )
        self.evaluate = button("Evaluate on my labels", "Compute metrics on the files you labelled", "check")
        self.calibrated_name = hint(
            ipw.Text(value="my-model", description="Name", layout=WIDE, style=STYLE),
            "Name of the calibrated model that is written into the folder",
        )
        self.save_calibrated = button(
            "Save calibrated model",
            "Write the model with a sidecar that has the calibration and threshold fitted on your labels",
            "save",
        )
        self.save_calibrated.disabled = True

    def _add_table(self) -> None:
        hint(self.cancel, "Stop; what was finished so far is in the journal")
        self.summary = ipw.HTML()
        narrow = {"width": "auto", "flex": "1 1 190px"}
        self.filter = hint(
            ipw.Dropdown(
                options=[(words, name) for name, (words, _) in FILTERS.items()],
                value="all",
                description="Show",
                layout=narrow,
                style={"description_width": "40px"},
            ),
            "Which files the table shows",
        )
        self.order = hint(
            ipw.Dropdown(
                options=[(words, name) for name, words in _ORDERS.items()],
                value="listed",
                description="Order",
                layout=narrow,
                style={"description_width": "44px"},
            ),
            "Order of the whole list",
        )
        self.text = hint(
            ipw.Text(
                description="Path has",
                placeholder="Part of a path",
                continuous_update=False,
                layout=narrow,
                style={"description_width": "64px"},
            ),
            "Show only files whose path contains this text",
        )
        self.refresh = button("Refresh", "Read the journal again", "refresh", "100px")
        self.page_caption = ipw.HTML()
        self.previous_page = button(
            "Previous rows", "Show the previous part of the list", "arrow-left", "130px"
        )
        self.next_page = button("Next rows", "Show the next part of the list", "arrow-right", "130px")
        self.page_size = hint(
            ipw.Dropdown(
                options=PAGE_SIZES,
                value=PAGE_SIZES[0],
                description="Rows",
                layout={"width": "110px"},
                style={"description_width": "40px"},
            ),
            "How many rows of the list the table has at once",
        )
        self.pages = ipw.HBox(
            [self.page_caption, self.previous_page, self.next_page, self.page_size],
            layout={"align_items": "center", "flex_flow": "row wrap"},
        )
        self.limits = ipw.HTML()
        self.file_table = FileTable()

    def _add_review(self) -> None:
        self.label_buttons = {
            "real": button("Real", "Label this file real and go to the next (R)", "check", "90px"),
            "fake": button("Fake", "Label this file fake and go to the next (F)", "exclamation", "90px"),
            "skip": button("Skip", "Leave this file undecided and go to the next (S)", "forward", "90px"),
            "back": button("Back", "Go to the previous file (B)", "arrow-up", "90px"),
            "none": button("No label", "Remove this file's label (X)", "undo", "105px"),
        }
        self.key_pad = KeyPad(KEY_HELP)
        self.label = ipw.HTML()
        row = ipw.HBox(
            [*self.label_buttons.values(), self.label],
            layout={"flex_flow": "row wrap", "align_items": "center"},
        )
        self.review = ipw.VBox([row, self.key_pad])

    def _add_results(self) -> None:
        self.file_name = ipw.HTML()
        self.verdict = ipw.HTML()
        self.image = ipw.Image(format="png")
        self.image.add_class("rdf-picture")
        self.table = ipw.HTML()
        self.metrics = ipw.HTML()
        self.charts = ipw.Image(format="png", layout={"max_width": "100%"})

    def _arranged(self) -> ipw.Widget:
        metrics = [
            self.false_positive_rate,
            *self.local(self.calibrated_name, self.save_calibrated),
        ]
        model = [self.reset_threshold, *self.local(self.model)]
        named = self.local(ipw.HTML(markup.note(ANY_NUMBER)), self.paths, self.start)
        files = [self.upload, *named, self.sample]
        faces = [self.detector, self.use_model_margin, self.margin]
        faces += [*self.local(self.megapixels), self.stream]
        groups = [
            Group("Files", files, self.local(self.journal, self.open_journal)),
            Group("Model", [self.threshold, self.model_facts], model),
            Group("Faces", [self.frames], faces),
            Group("Metrics on your labels", [self.evaluate], metrics),
            Group(
                "Results",
                [self.download_row, self.clear, self.saved],
                self.local(self.folder, self.save, self.save_report),
                "Save on the notebook's machine",
            ),
        ]
        wrap = {"flex_flow": "row wrap", "align_items": "center"}
        parts = [self.file_name, self.verdict, self.image, self.table, self.heatmaps]
        self.page = ipw.VBox([*parts, self.explanation_panel])
        main = [
            self.summary,
            ipw.HBox([self.filter, self.order, self.text, self.refresh], layout=wrap),
            self.file_table.widget,
            self.limits,
            self.pages,
            self.review,
            self.page,
            self.metrics,
            self.charts,
            self.log,
        ]
        return self._two_columns(groups, main)

    # -------------------------------------------------------------- showing

    def chosen_filter(self) -> Filter:
        """Return the filter of the rows that the controls ask for."""
        return Filter(**FILTERS[self.filter.value][1], text=self.text.value.strip() or None)

    def show_summary(self, result: ScanResult | None) -> None:
        """Show in one line how many files have which status, and the scan's model; nothing for None."""
        if result is None:
            self.summary.value = ""
            return
        counts = [f"{n} {status}" for status, n in result.counts.items() if n]
        model = f"{result.model['name']} {result.model['version']}"
        threshold = result.settings["threshold"]
        files = ", ".join(counts) or "none"
        self.summary.value = markup.note(f"Files: {files}. Scored by {model} at threshold {threshold:.2f}.")

    def show_limits(self, words: str) -> None:
        """Show below the table what holds for all files; nothing for an empty string."""
        self.limits.value = markup.note(f"For all files: {words}.") if words else ""

    def show_page(self, first: int, shown: int, total: int) -> None:
        """Show which part of the list the table has: ``shown`` of ``total`` rows, from index ``first`` on."""
        words = f"Rows {first + 1:,} to {first + shown:,} of {total:,}" if shown else ""
        self.page_caption.value = markup.note(words) if words else ""
        self.pages.layout.display = "" if total > PAGE_SIZES[0] else "none"
        self.previous_page.disabled, self.next_page.disabled = first <= 0, first + shown >= total

    def show_file(
        self,
        row: FileResult | None,
        report: Report | None,
        note: str,
        strength: float = 0.5,
    ) -> None:
        """Show a file: its row, its report as soon as there is one, and a note; nothing for None."""
        with self.page_hidden():
            drawn = self._drawn(report, strength)
            self.empty_pictures()
            self._show_file(row, report, note, drawn)

    def _drawn(self, report: Report | None, strength: float) -> list[tuple[str, bytes]]:
        """Draw a report: its picture or timeline first, then heatmaps with their captions."""
        from .. import view

        draw = self.drawings.draw
        if isinstance(report, VideoReport):
            strongest = [("Strongest frames", draw(view.plot_suspicious_frames, report, strength=strength))]
            return [("", draw(view.plot_timeline, report)), *(strongest if report.evidence else ())]
        if not isinstance(report, ImageReport):
            return [("", b"")]
        heatmap = partial(draw, view.plot_explanation, strength=strength, layer=False)
        heatmaps = [
            (f"Face {i + 1}", heatmap(report.explanations[i]))
            for i in report.most_suspicious[: MAX_HEATMAPS if report.explanations else 0]
        ]
        return [("", draw(view.plot_faces, report, titled=False)), *heatmaps]

    def _show_file(
        self, row: FileResult | None, report: Report | None, note: str, drawn: list[tuple[str, bytes]]
    ) -> None:
        self.review.layout.display = "none" if row is None else ""
        if row is None:
            self.file_name.value = self.label.value = ""
        else:
            self.file_name.value = markup.caption(self.shown_path(row.path)) + (
                markup.note(note) if note else ""
            )
            words = f"Labelled {row.label}." if row.label else "Not labelled yet."
            if row.sha256 is None:
                words = "This file could not be read, so it cannot have a label."
            self.label.value = markup.note(words)
        for name, control in self.label_buttons.items():
            control.disabled = row is None or (row.sha256 is None and name in ("real", "fake", "none"))
        if report is None:
            self.verdict.value = "" if row is None else markup.file_result(row)
            self.table.value = ""
        elif isinstance(report, ImageReport):
            self.verdict.value = markup.verdict(report)
            self.table.value = markup.faces_table(report)
        elif isinstance(report, VideoReport):
            self.verdict.value = markup.video_verdict(report)
            self.table.value = markup.persons_table(report)
        show_png(self.image, drawn[0][1])
        self.show_heatmaps(drawn[1:])
        if report is not None and report.heatmap_error:
            self.table.value += markup.note(f"No heatmaps: {report.heatmap_error}")

    def show_review(self, review: Review | None) -> None:
        """Show the metrics on the labelled files; nothing for None."""
        from .. import view

        self.save_calibrated.disabled = review is None or review.calibration is None
        self.metrics.value = "" if review is None else markup.review_metrics(review)
        show_png(self.charts, b"" if review is None else view.to_png(view.plot_review, review))
