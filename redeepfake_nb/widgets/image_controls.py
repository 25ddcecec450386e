"""The image inspector's controls and result panes: widgets and their layout, no behaviour.

Works with ipywidgets 7.7 (Colab) and 8, see :mod:`redeepfake_nb.widgets.controls`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as ipw

from ..analysis.image import ImageReport
from ..analysis.verdict import VERDICT_WORDS
from ..errors import displayable
from ..explanation.heatmaps import Explanation
from ..explanation.methods import Target
from ..utils.wording import capitalized
from ..view.palette import SIGNS
from . import html as markup
from .comparison_panel import ComparisonPanel
from .controls import (
    ANY_SIZE,
    MAX_HEATMAPS,
    NO_METHOD,
    Controls,
    Group,
    InspectorSettings,
    button,
    hint,
)
from .strip import Strip, thumbnail
from .upload_area import UploadArea
from .viewer import PictureViewer

# Frames stay in memory for as long as their results are shown, and a photo takes 36 MB.
MAX_PICTURES = 32
ACCEPTED = "image/*,.heic,.heif,.avif"
SECTIONS = ("pictures", "model", "faces", "heatmap", "save")


@dataclass(frozen=True, kw_only=True)
class ImageSettings(InspectorSettings):
    """First values of an image inspector's controls.

    Parameters
    ----------
    method
        A name in :data:`redeepfake_nb.explanation.METHODS`, or :data:`NO_METHOD`.
    target
        Label that the heatmap explains.
    strength
        Opacity of the heatmap, 0 to 1.
    """

    method: str = "gradcam"
    target: Target = "fake"
    strength: float = 0.5


class ImageControls(Controls):
    """All widgets of an image inspector as attributes; ``root`` holds them.

    Parameters
    ----------
    settings
        First values.
    """

    def __init__(self, settings: ImageSettings) -> None:
        super().__init__(SECTIONS, settings.local_files)
        self.upload = UploadArea(
            "Choose pictures",
            "Read one or more picture files from this computer and analyse them",
            ACCEPTED,
            multiple=True,
            max_bytes=settings.max_upload,
            max_files=MAX_PICTURES,
        )
        self.sample = button(
            "Use the sample", "Analyse the project's portrait and a manipulated copy", "image"
        )
        self.paths = hint(
            ipw.Textarea(
                placeholder="One path per line",
                description="Paths",
                rows=2,
                layout={"width": "auto", "height": "56px"},
                style={"description_width": "40px"},
            ),
            "Pictures of any size on the notebook's machine: one path per line; * and ? match names",
        )
        self.paths.add_class("rdf-path")
        self.open_paths = button("Open paths", "Analyse the pictures named above", "folder-open")
        self._add_model_and_faces(settings, "pictures")
        self._add_heatmap_settings(settings.method, settings.target, settings.strength, [("None", NO_METHOD)])
        self._add_saving(settings.folder, "pictures")
        self.picture = Strip("Pictures")
        self.previous = button(
            "Previous", "Show the previous picture (K or left arrow)", "arrow-left", "110px"
        )
        self.next = button("Next", "Show the next picture (J or right arrow)", "arrow-right", "110px")
        self.navigation = ipw.VBox([self.picture, ipw.HBox([self.previous, self.next])])
        self.verdict = ipw.HTML()
        self.image = PictureViewer("The picture with a box around each face; the table has their scores")
        self.table = ipw.HTML()
        self._add_face("the picture")
        self.comparison = ComparisonPanel(self.drawings, ACCEPTED, settings.max_upload)
        self.root = self._arranged()
        self.starters = [self.upload, self.sample, self.open_paths, self.save]
        self.show_running(False)

    def _arranged(self) -> ipw.Widget:
        paths = self.local(ipw.HTML(markup.note(ANY_SIZE)), self.paths, self.open_paths)
        model = [self.reset_threshold, *self.local(self.model)]
        groups = [
            Group("Pictures", [self.upload, self.sample], paths, "Open by path"),
            Group("Model", [self.threshold, self.model_facts], model),
            Group("Faces", [self.analyze_again], [self.detector, self.use_model_margin, self.margin]),
            Group("Heatmap", [self.method, self.strength], [self.target, self.scale]),
            Group(
                "Results",
                [self.download_row, self.clear, self.saved],
                self.local(self.folder, self.save),
                "Save on the notebook's machine",
            ),
        ]
        self.page = ipw.VBox(
            [
                self.verdict,
                self.image,
                self.face,
                self.detail_box,
                self.table,
                self.heatmap_work,
                self.heatmaps,
                self.comparison.root,
                self.explanation_panel,
            ]
        )
        main = [self.navigation, self.page, self.log]
        return self._two_columns(groups, main)

    # -------------------------------------------------------------- showing

    def list_pictures(self, reports: Sequence[ImageReport], chosen: int | None) -> None:
        """Fill the strip of pictures; it is hidden where there is nothing to select."""
        shown = [(displayable(r.name, 60), _verdict(r), thumbnail(r.frame.image)) for r in reports]
        self.picture.show(shown, chosen)
        self.navigation.layout.display = "" if len(reports) > 1 else "none"
        self.update_navigation()

    def update_navigation(self) -> None:
        """Disable *Previous* at the first picture and *Next* at the last."""
        index, last = self.picture.value, len(self.picture.items) - 1
        self.previous.disabled = index is None or index <= 0
        self.next.disabled = index is None or index >= last

    def list_faces(self, report: ImageReport | None) -> None:
        """Fill the list of faces, the most suspicious first; their numbers are those in the picture."""
        order = () if report is None else report.most_suspicious
        crowded = len(order) > MAX_HEATMAPS
        everything = f"The {MAX_HEATMAPS} most suspicious of {len(order)} faces" if crowded else "All faces"
        names = [] if report is None else [_face_name(report, i) for i in order]
        self.face.options = [(everything, -1), *zip(names, order, strict=True)]
        self.face.value = -1
        self.face.layout.display = "" if len(order) > 1 else "none"

    def chosen_faces(self, report: ImageReport) -> tuple[int, ...]:
        """Return the indices of the faces whose heatmaps are shown, the most suspicious first."""
        chosen = self.chosen_face
        return report.most_suspicious[:MAX_HEATMAPS] if chosen is None else (chosen,)

    def show_report(self, report: ImageReport | None) -> None:
        """Show verdict, picture with boxes, and table; nothing for None."""
        drawn = b"" if report is None else self.draw_report(report)
        self.verdict.value = "" if report is None else markup.verdict(report)
        self.table.value = "" if report is None else markup.faces_table(report)
        self.image.show(drawn, chosen=self.chosen_face)

    def show_face(self, report: ImageReport | None, explanation: Explanation | None) -> None:
        """Show the chosen face in the pixels of the picture; ``explanation``: with this heatmap."""
        index = self.chosen_face
        if report is None or index is None:
            self.show_detail(None)
        else:
            self.show_detail(report.predictions[index], _face_name(report, index), explanation)
        self.image.chosen = index

    def draw_report(self, report: ImageReport) -> bytes:
        """Draw the picture with boxes, unless it is drawn already."""
        from .. import view

        shown = (report.frame, report.predictions)  # the heatmaps of a report are drawn by themselves
        return self.drawings.draw(
            view.plot_faces, report, parts=shown, variant=report.threshold, titled=False
        )


def _verdict(report: ImageReport) -> str:
    """Sign and words of a verdict, and on a second line what the file says against itself."""
    words = f"{SIGNS[report.verdict.label]} {capitalized(VERDICT_WORDS[report.verdict.label])}"
    if report.provenance is None:
        return words
    return "\n".join(filter(None, (words, report.provenance.warning)))


def _face_name(report: ImageReport, index: int) -> str:
    """Number and score of a face."""
    return f"Face {index + 1}, P(fake) {report.predictions[index].probability:.2f}"
