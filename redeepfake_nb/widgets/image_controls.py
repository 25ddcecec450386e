"""The image inspector's controls and result panes: widgets and their layout, no behaviour.

Works with ipywidgets 7.7 (Colab) and 8, see :mod:`redeepfake_nb.widgets.controls`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as ipw

from ..analysis.image import ImageReport
from ..explanation.heatmaps import Explanation
from ..explanation.methods import Target
from . import html as markup
from .controls import (
    MAX_HEATMAPS,
    NO_METHOD,
    UPLOAD_LIMIT,
    WIDE,
    Controls,
    InspectorSettings,
    button,
    hint,
    show_png,
)

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
        super().__init__(SECTIONS)
        self.upload = hint(
            ipw.FileUpload(accept=ACCEPTED, multiple=True, description="Choose pictures", layout=WIDE),
            "Read one or more picture files from this computer and analyse them",
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
        self.open_paths = button("Open paths", "Analyse the pictures named above", "folder-open")
        self._add_model_and_faces(settings, "pictures")
        self._add_heatmap_settings(settings.method, settings.target, settings.strength, [("None", NO_METHOD)])
        self._add_saving(settings.folder, "pictures")
        self.picture = hint(
            ipw.Dropdown(options=[], description="Picture", layout={"flex": "1 1 auto", "width": "auto"}),
            "The picture that is shown",
        )
        self.previous = button("Previous", "Show the previous picture", "arrow-left", "110px")
        self.next = button("Next", "Show the next picture", "arrow-right", "110px")
        self.navigation = ipw.HBox([self.picture, self.previous, self.next])
        self.verdict = ipw.HTML()
        self.image = ipw.Image(format="png")
        self.image.add_class("rdf-picture")
        self.table = ipw.HTML()
        self.face = hint(
            ipw.Dropdown(options=[], description="Heatmaps of", style={"description_width": "initial"}),
            "The faces whose heatmaps are shown",
        )
        self.root = self._arranged()

    def _arranged(self) -> ipw.Widget:
        limit = ipw.HTML(markup.note(UPLOAD_LIMIT))
        groups = [
            ("Pictures", [self.upload, self.sample, limit, self.paths, self.open_paths]),
            ("Model", [self.model, self.model_facts, self.threshold, self.reset_threshold]),
            ("Faces", [self.detector, self.use_model_margin, self.margin, self.analyze_again]),
            ("Heatmap", [self.method, self.target, self.strength]),
            ("Save", [self.folder, ipw.HBox([self.save, self.clear]), self.saved]),
        ]
        main = [self.status, self.progress, self.navigation, self.verdict, self.image, self.table]
        main += [self.face, self.heatmaps, self.explanation_panel, self.log]
        return self._two_columns(groups, main)

    # -------------------------------------------------------------- showing

    def list_pictures(self, reports: Sequence[ImageReport], chosen: int | None) -> None:
        """Fill the selector of pictures; it is hidden where there is nothing to select."""
        self.picture.options = [(f"{i + 1} of {len(reports)}: {r.name}", i) for i, r in enumerate(reports)]
        self.picture.value = chosen
        self.navigation.layout.display = "" if len(reports) > 1 else "none"
        self.update_navigation()

    def update_navigation(self) -> None:
        """Disable *Previous* at the first picture and *Next* at the last."""
        index, last = self.picture.value, len(self.picture.options) - 1
        self.previous.disabled = index is None or index <= 0
        self.next.disabled = index is None or index >= last

    def list_faces(self, count: int) -> None:
        """Fill the selector of heatmaps; it is hidden where all heatmaps fit."""
        crowded = count > MAX_HEATMAPS
        everything = f"The {MAX_HEATMAPS} largest faces of {count}" if crowded else "All faces"
        self.face.options = [(everything, -1), *((f"Face {i + 1}", i) for i in range(count))]
        self.face.value = -1
        self.face.layout.display = "" if crowded else "none"

    def show_report(self, report: ImageReport | None) -> None:
        """Show verdict, picture with boxes, and table; nothing for None."""
        from .. import view

        self.verdict.value = "" if report is None else markup.verdict(report)
        self.table.value = "" if report is None else markup.faces_table(report)
        show_png(self.image, b"" if report is None else view.to_png(view.plot_faces, report))

    def show_explanations(self, explanations: Sequence[Explanation]) -> None:
        """Show the heatmaps of the chosen faces."""
        from .. import view

        first, last = 0, MAX_HEATMAPS
        if self.face.value is not None and self.face.value >= 0:
            first, last = self.face.value, self.face.value + 1
        strength = self.strength.value
        self.show_heatmaps(
            [
                (f"Face {i + 1}", view.to_png(view.plot_explanation, explanations[i], strength=strength))
                for i in range(first, min(last, len(explanations)))
            ]
        )
