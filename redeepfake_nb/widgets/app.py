"""``App``: the panels for pictures, videos and folders in tabs, and nothing else."""

from __future__ import annotations

import os
from typing import Any

import ipywidgets as ipw

from ..faces.detection import DEFAULT_DETECTOR
from ..hosts import may_name_files
from ..models.classifier import Classifier
from . import html as markup
from .base import Inspector, display_panel
from .batch import BatchInspector
from .image import ImageInspector
from .upload_area import MAX_UPLOAD
from .video import VideoInspector

TITLE = "Was a face manipulated?"
_HINT = "A score is a hint where to look, never proof."
_SENT = "What you send goes to the machine that serves this page and nowhere else."
_GONE = "It is deleted when you press Clear, close the page, or leave it unused."
_HERE = "Files are processed on the machine that runs this notebook and sent nowhere else."


class App:
    """Panels for pictures, for a video and for many files, in tabs.

    Parameters
    ----------
    classifier
        A classifier, the path of a model file, or ``None`` for the model that ships.
    detector
        Name of a face detector, see :func:`redeepfake_nb.find_faces`.
    threshold
        Threshold on P(fake), between 0 and 1, or ``None`` for the model's own.
    max_upload_mb
        Most megabytes of one upload; the browser says so, and the kernel holds to it.
    local_files
        Whether files on the kernel's machine may be named, opened and written. Default: yes, unless Voilà
        serves the notebook; then files are sent by the browser and results downloaded.

    Attributes
    ----------
    image : ImageInspector
    video : VideoInspector
    folder : BatchInspector
        Scans with one worker process where ``local_files`` is False, since others use the machine, too.
    widget : ipywidgets.Widget
        What a notebook shows.
    """

    def __init__(
        self,
        classifier: Classifier | str | os.PathLike | None = None,
        *,
        detector: str = DEFAULT_DETECTOR,
        threshold: float | None = None,
        max_upload_mb: int = MAX_UPLOAD // 1_000_000,
        local_files: bool | None = None,
    ) -> None:
        local = may_name_files(local_files)
        alike: dict[str, Any] = {
            "detector": detector,
            "threshold": threshold,
            "max_upload_mb": max_upload_mb,
            "local_files": local,
        }
        self.image = ImageInspector(classifier, **alike)
        self.video = VideoInspector(classifier, **alike)
        self.folder = BatchInspector(classifier, workers=None if local else 1, **alike)
        panels: dict[str, Inspector] = {"Image": self.image, "Video": self.video, "Folder": self.folder}
        tabs = ipw.Tab([panel.widget for panel in panels.values()])
        for i, title in enumerate(panels):
            tabs.set_title(i, title)
        sentences = [_HERE] if local else [_SENT, _GONE]
        heading = ipw.HTML(markup.app_heading(TITLE, [_HINT, *sentences]))
        self.widget = ipw.VBox([heading, tabs])
        self.widget.add_class("rdf-app")

    def __repr__(self) -> str:
        return f"App({self.image}, {self.video}, {self.folder})"

    def clear(self) -> None:
        """Remove files and results from all panels."""
        for panel in (self.image, self.video, self.folder):
            panel.clear()

    def _ipython_display_(self) -> None:
        display_panel(self, self.widget)
