"""Controls and result panes that all inspectors share: widgets and their layout, no behaviour.

Works with ipywidgets 7.7 (Colab) and 8; the differences are confined to :func:`hint`.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import ipywidgets as ipw

from ..explanation.heatmaps import Explanation
from ..explanation.methods import METHODS
from ..faces.detection import DEFAULT_DETECTOR, detector_names
from ..models.classifier import Classifier
from ..models.prediction import Prediction
from ..models.tested_kinds import blind_spots
from . import html as markup
from .download import Download
from .drawings import Drawings
from .panel_script import PanelScript
from .upload_area import MAX_UPLOAD
from .viewer import MAX_HEIGHT, PictureViewer, encode_png

W = TypeVar("W", bound=ipw.Widget)


@dataclass(frozen=True)
class Group:
    """A group of controls.

    Parameters
    ----------
    title
        Its heading.
    controls
        Always shown.
    rare
        Folded away until they are asked for.
    more
        The words on the button that shows them.
    """

    title: str
    controls: Sequence[ipw.Widget]
    rare: Sequence[ipw.Widget] = ()
    more: str = "More settings"


# What stands above the box for paths.
ANY_SIZE = "A file of any size on the notebook's machine, by its path:"
ANY_NUMBER = "Any number of files on the notebook's machine, by their path:"
# What the model box says for the model that ships.
DEFAULT = "default"
NO_METHOD = "none"
# Heatmaps drawn at once; of more faces each can be chosen by itself.
MAX_HEATMAPS = 4

# Layout and style of the controls in the left column.
WIDE = {"width": "auto"}
STYLE = {"description_width": "76px"}
SLIDER = {"layout": WIDE, "style": STYLE, "continuous_update": False, "readout_format": ".2f"}
# What the built-in detectors are for; others stand in the menu by their names.
_DETECTORS = {
    "blazeface": "fast, finds turned faces (BlazeFace)",
    "hog": "faces from the front (face_recognition, HOG)",
    "cnn": "slow without a GPU (face_recognition, CNN)",
}


@dataclass(frozen=True, kw_only=True)
class InspectorSettings:
    """First values of the controls that all inspectors share.

    Parameters
    ----------
    model
        What the model box says: :data:`DEFAULT`, a path, or the name of a classifier.
    detector
        Name of a face detector.
    margin
        Crop margin as a share of the face's longer side, or ``None`` for the model's own.
    threshold
        Threshold on P(fake), or ``None`` for the model's own.
    folder
        Where results are written.
    max_upload
        Most bytes of one upload.
    local_files
        Whether files on the kernel's machine may be named, opened and written.
    """

    model: str = DEFAULT
    detector: str = DEFAULT_DETECTOR
    margin: float | None = None
    threshold: float | None = None
    folder: str = "results"
    max_upload: int = MAX_UPLOAD
    local_files: bool = True


def hint(widget: W, words: str) -> W:
    """Set a widget's tooltip under the name that this version of ipywidgets uses, and return the widget."""
    for name in ("tooltip", "description_tooltip"):
        if widget.has_trait(name):
            setattr(widget, name, words)
            break
    return widget


class Controls:
    """Controls that every inspector has: status, progress, errors, model, detector, saving.

    Parameters
    ----------
    sections
        Names of the groups of controls in the left column, in order. Each group shows its own errors.
    local_files
        See :meth:`local`.
    """

    root: ipw.Widget

    def __init__(self, sections: Sequence[str], local_files: bool = True) -> None:
        self.local_files = local_files
        self.status = ipw.HTML()
        self.progress = _progress_bar()
        self.cancel = button("Cancel", "Stop; what was finished so far is kept and shown", "stop", "110px")
        self.work = ipw.HBox([self.progress, self.cancel], layout={"align_items": "center"})
        self.model_facts = ipw.HTML()
        self.saved = ipw.HTML()
        self.error_boxes = {section: ipw.HTML() for section in sections}
        self.log = ipw.HTML()
        self.heatmap_captions: list[ipw.HTML] = []
        self.heatmap_images: list[PictureViewer] = []
        self.heatmaps = ipw.VBox([])
        self.heatmap_status = ipw.HTML()
        self.heatmap_progress = _progress_bar()
        self.heatmap_cancel = button(
            "Cancel heatmaps", "Stop computing heatmaps; those that are finished stay", "stop", "150px"
        )
        self.heatmap_work = ipw.VBox(
            [
                self.heatmap_status,
                ipw.HBox([self.heatmap_progress, self.heatmap_cancel], layout={"align_items": "center"}),
            ]
        )
        self.drawings = Drawings()
        self.script = PanelScript()
        self.outdated = ipw.HTML()  # see :meth:`show_outdated`
        self.page: ipw.VBox  # what belongs to one report; see :meth:`page_hidden`
        self.starters: list[ipw.Widget] = []  # what starts work, and is disabled while other work goes on
        self.explanation_panel = ipw.VBox([])  # the inspector puts its ExplanationPanel here

    def local(self, *widgets: ipw.Widget) -> list[ipw.Widget]:
        """Return controls that name, open or write files on the kernel's machine, if that is allowed.

        Otherwise they are closed: hidden ones could still be reached by messages of somebody's own making.
        """
        if self.local_files:
            return list(widgets)
        for widget in widgets:
            widget.close()
        return []

    def _add_model_and_faces(self, settings: InspectorSettings, what: str) -> None:
        """Create the controls of model, threshold, detector and margin; ``what`` names what is analysed."""
        threshold, margin = settings.threshold, settings.margin
        self.model = hint(
            ipw.Combobox(
                value=settings.model,
                options=tuple(dict.fromkeys([settings.model, DEFAULT])),
                ensure_option=False,
                continuous_update=False,
                description="Model",
                layout=WIDE,
                style=STYLE,
            ),
            f'"{DEFAULT}" for the model that ships, or the path of a .keras file with its .json beside it',
        )
        self.threshold = hint(
            ipw.FloatSlider(
                value=0.5 if threshold is None else threshold,
                min=min(0.01, threshold or 1),
                max=max(0.99, threshold or 0),
                step=0.01,
                description="Threshold",
                **SLIDER,
            ),
            "A face is labelled fake when its P(fake) reaches this value. Scores do not change",
        )
        self.reset_threshold = button(
            "Model's own threshold", "Reset the threshold to the model's own", "undo"
        )

        self.detector = hint(
            ipw.Dropdown(
                options=[(_DETECTORS.get(name, name), name) for name in detector_names()],
                value=settings.detector,
                description="Detector",
                layout=WIDE,
                style=STYLE,
            ),
            "The first finds turned, covered and small faces, and looks at pictures on their side; the "
            "others are those of face_recognition",
        )
        self.use_model_margin = hint(
            ipw.Checkbox(
                value=margin is None, description="The model's own margin", indent=False, layout=WIDE
            ),
            "Crop faces as in the model's training; other margins make scores less reliable",
        )
        self.margin = hint(
            ipw.FloatSlider(
                value=0.0 if margin is None else margin,
                min=0.0,
                max=max(1.0, margin or 0),
                step=0.05,
                description="Margin",
                disabled=margin is None,
                **SLIDER,
            ),
            "Added on each side of a face, as a share of the longer side of its box",
        )
        self.analyze_again = button(
            "Analyse again", f"Analyse the same {what} with the current settings", "refresh"
        )
        self.analyze_again.disabled = True

    def _add_heatmap_settings(
        self, method: str, target: str, strength: float, extra_methods: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Create the controls of heatmaps; ``extra_methods`` are (words, value) that come before METHODS."""
        methods = [*extra_methods, *((words, name) for name, words in METHODS.items())]
        self.method = hint(
            ipw.Dropdown(options=methods, value=method, description="Method", layout=WIDE, style=STYLE),
            "How the heatmaps are computed",
        )
        self.target = hint(
            ipw.Dropdown(
                options=[("Evidence for fake", "fake"), ("Evidence against fake", "real")],
                value=target,
                description="Shows",
                layout=WIDE,
                style=STYLE,
            ),
            "Which label the warm regions of the heatmap are evidence for",
        )
        self.strength = hint(
            ipw.FloatSlider(value=strength, min=0.0, max=1.0, step=0.05, description="Overlay", **SLIDER),
            "Opacity of the heatmap over the face; nothing is computed again",
        )
        self.scale = hint(
            ipw.Dropdown(
                options=[("Same for all faces", "logit"), ("Each to its own peak", "peak")],
                description="Colours",
                layout=WIDE,
                style=STYLE,
            ),
            "On the same scale weak evidence looks weak; to its own peak every heatmap is bright",
        )

    def _add_face(self, what: str) -> None:
        """Create what shows one face closely; ``what`` names what it is part of."""
        self.face = hint(
            ipw.Dropdown(
                options=[],
                description="Look at",
                layout={"width": "auto", "max_width": "420px"},
                style={"description_width": "60px"},
            ),
            f"Show one face closely, with its heatmap; a click on its box in {what} does the same",
        )
        self.detail_caption = ipw.HTML()
        self.detail = PictureViewer(f"One face in the pixels that {what} has", sharp=True)
        self.detail_heatmap = hint(
            ipw.Checkbox(value=False, description="With its heatmap", indent=False, layout=WIDE),
            "Lay the heatmap over the enlarged face, or take it away; the place and the zoom stay",
        )
        self.detail_box = ipw.VBox([self.detail_caption, self.detail, self.detail_heatmap])

    def _add_saving(self, folder: str, what: str) -> None:
        """Create the folder box, *Save* and *Clear*."""
        self.folder = hint(
            ipw.Text(value=folder, description="Folder", layout=WIDE, style=STYLE),
            "Folder on the notebook's machine that reports are written to",
        )
        self.save = button("Save", "Write JSON, CSV and pictures of all results into the folder", "save")
        self.downloads = {
            "page": Download("Download report", f"One page about {what}, with pictures, to read or print"),
            "picture": Download("Download picture", "What is shown, with boxes and scores drawn in"),
            "table": Download("Download table", "All scores as CSV, for a spreadsheet"),
        }
        self.download_row = ipw.HBox(list(self.downloads.values()), layout={"flex_flow": "row wrap"})
        self.clear = button(
            "Clear",
            f"Remove {what} and results from the kernel and the browser. Press it before you save a notebook",
            "trash",
        )

    def _two_columns(self, groups: Sequence[Group], main: Sequence[ipw.Widget]) -> ipw.Widget:
        """Lay out groups of controls with their errors on the left and results on the right.

        Groups come in the order of the sections. Where there is no room for two columns, the controls are
        above the results, and all groups but the first are folded away.
        """
        boxes = []
        for group, errors in zip(groups, self.error_boxes.values(), strict=True):
            rare = _folded(group.more, group.rare) if group.rare else []
            heading = ipw.HTML(markup.heading(group.title))
            boxes.append(_classed(ipw.VBox([heading, *group.controls, *rare, errors]), "rdf-group"))
            errors.add_class("rdf-live")
        self.saved.add_class("rdf-live")
        self.fold = hint(
            ipw.ToggleButton(description="Settings and saving", icon="sliders", layout=WIDE),
            "Show or hide the settings",
        )
        self.fold.add_class("rdf-fold-toggle")
        rest = _classed(ipw.VBox(boxes[1:]), "rdf-fold")
        self.fold.observe(lambda change: _set_class(rest, "rdf-open", change["new"]), "value")
        left = _classed(ipw.VBox([boxes[0], self.fold, rest]), "rdf-left")
        status = _classed(ipw.VBox([self.status, self.work]), "rdf-live rdf-status")
        self.heatmap_work.add_class("rdf-live")
        right = _classed(ipw.VBox([status, self.outdated, *main]), "rdf-right")
        style = ipw.HTML(markup.style(), layout={"display": "none"})
        columns = _classed(ipw.HBox([left, right]), "rdf-columns")
        root = _classed(ipw.VBox([style, self.script, columns]), "rdf")
        return root

    def show_status(self, sentence: str) -> None:
        """Show what the inspector is doing."""
        self.status.value = markup.status(sentence)

    def show_progress(self, done: int, total: int) -> None:
        """Move the progress bar; it is hidden when all is done."""
        _move(self.progress, done, total)

    def show_running(self, running: bool) -> None:
        """Show *Cancel* while work goes on, and disable what would start other work."""
        self.cancel.layout.display = "" if running else "none"
        self.cancel.disabled = not running
        for control in (*self.starters, *self.downloads.values()):
            control.disabled = running
        if running:  # whether there is something to analyse again is known when the work has ended
            self.analyze_again.disabled = True

    def show_outdated(self, sentence: str, fading: bool = False) -> None:
        """Say above the page that it is not of what was asked for last; nothing for an empty string.

        ``fading``: the page is about to be replaced, and is dimmed until then.
        """
        self.outdated.value = markup.outdated(sentence) if sentence else ""
        _set_class(self.page, "rdf-fading", fading)

    def forget_downloads(self, drop: bool = False) -> None:
        """Take the names of downloads off the page; one that is on its way arrives, or is dropped."""
        for download in self.downloads.values():
            if drop:
                download.fail()
            else:
                download.forget()

    def show_heatmap_progress(self, done: int, total: int, sentence: str = "") -> None:
        """Show how many heatmaps are computed; the bar and *Cancel* are hidden when all are."""
        _move(self.heatmap_progress, done, total)
        self.heatmap_cancel.layout.display = self.heatmap_progress.layout.display
        self.heatmap_status.value = markup.status(sentence) if sentence else ""

    @contextmanager
    def page_hidden(self) -> Iterator[None]:
        """Hide the page while it is drawn and filled; then its parts appear all at once.

        Its place is kept, so that nothing below moves. A browser shows an old picture until the new one is
        decoded, so pictures are emptied first, see :meth:`empty_pictures`.
        """
        if self.page.layout.visibility == "hidden":
            yield
            return
        self.page.layout.visibility = "hidden"
        try:
            yield
        finally:
            self.page.layout.visibility = "visible"

    def empty_pictures(self) -> None:
        """Remove the pictures of the page from the browser; the explanation panel removes its own."""
        for part in self.page.children:
            if part is not self.explanation_panel:
                for widget in (part, *_descendants(part)):
                    if isinstance(widget, (ipw.Image, PictureViewer)):
                        widget.value = b""

    def show_saved(self, sentence: str, place: Path | None = None) -> None:
        """Show what was written where, with a link to the file or folder where the page can open it."""
        self.saved.value = markup.saved(sentence, place) if sentence else ""

    def show_model(self, classifier: Classifier | None) -> None:
        """Show in one line which model is loaded; nothing for None."""
        if classifier is None:
            self.model_facts.value = ""
            return
        calibrated = "calibrated" if classifier.calibrated else "not calibrated"
        facts = [f"Loaded: {classifier.name}, {calibrated}. Input: {classifier.preprocessing.summary}."]
        if limits := blind_spots(classifier.card.tested_on):
            facts.append(f"{limits[0].upper()}{limits[1:]}.")
        self.model_facts.value = markup.note(*facts)

    def show_errors(self, messages: Iterable[tuple[str, str]], tracebacks: Iterable[str]) -> None:
        """Show (section, message) pairs beside their controls, and tracebacks below the results."""
        messages = list(messages)
        for section, box in self.error_boxes.items():
            # dict: each message once, in order.
            box.value = markup.errors(dict.fromkeys(words for where, words in messages if where == section))
        if self.local_files:
            self.log.value = markup.log(tracebacks)
        else:  # they name places on the server, whose own log shows them
            print(*tracebacks, file=sys.__stderr__, end="", flush=True)

    @property
    def chosen_face(self) -> int | None:
        """Index of the face that is looked at alone; None for all of them."""
        chosen = self.face.value
        return None if chosen is None or chosen < 0 else chosen

    def show_detail(
        self, prediction: Prediction | None, name: str = "", explanation: Explanation | None = None
    ) -> None:
        """Show a face in the pixels that its picture has; nothing for None.

        Parameters
        ----------
        prediction
            The face.
        name
            What it is called.
        explanation
            The heatmap over it; None for the pixels alone.
        """
        self.detail_box.layout.display = "none" if prediction is None else ""
        if prediction is None:
            self.detail_caption.value = ""
            self.detail.show(b"")
            return
        from .. import view

        pixels = view.face_detail(
            prediction, explanation, strength=self.strength.value, scale=self.scale.value
        )
        height, width = pixels.shape[:2]
        face = prediction.face
        words = f"{name}: {face.width} x {face.height} px, in the picture's own pixels"
        if self.detail_heatmap.value and explanation is None:
            words += "; there is no heatmap yet"
        self.detail_caption.value = markup.caption(words)
        self.detail.show(encode_png(pixels), width=round(MAX_HEIGHT * width / height))

    def draw_explanation(self, explanation: Explanation) -> bytes:
        """Draw a heatmap with the chosen strength and scale, unless it is drawn already."""
        from .. import view

        return self.drawings.draw(
            view.plot_explanation,
            explanation,
            strength=self.strength.value,
            scale=self.scale.value,
            layer=False,
        )

    def show_heatmaps(self, pictures: Sequence[tuple[str, bytes]]) -> None:
        """Show (caption, PNG) pairs. Widgets are reused, so that no old picture stays in their state."""
        while len(self.heatmap_images) < len(pictures):
            self.heatmap_images.append(PictureViewer("A face, its heatmap over it, and the heatmap alone"))
            self.heatmap_captions.append(ipw.HTML())
        shown = list(zip(self.heatmap_captions, self.heatmap_images, strict=True))
        for i, (caption, image) in enumerate(shown):
            words, png = pictures[i] if i < len(pictures) else ("", b"")
            show_png(image, png)
            caption.value = markup.caption(words) if words else ""
        self.heatmaps.children = [widget for pair in shown for widget in pair]


def _classed(widget: W, names: str) -> W:
    for name in names.split():
        widget.add_class(name)
    return widget


def _set_class(widget: ipw.Widget, name: str, there: bool) -> None:
    if there:
        widget.add_class(name)
    else:
        widget.remove_class(name)


def _folded(words: str, controls: Sequence[ipw.Widget]) -> list[ipw.Widget]:
    """Return a button and what it shows when it is pressed."""
    box = ipw.VBox(list(controls), layout={"display": "none"})
    opener = hint(
        ipw.ToggleButton(description=words, icon="chevron-down", layout=WIDE),
        "Show or hide settings that are seldom changed",
    )
    _classed(opener, "rdf-more")

    def toggle(change: dict) -> None:
        box.layout.display = "" if change["new"] else "none"
        opener.icon = "chevron-up" if change["new"] else "chevron-down"

    opener.observe(toggle, "value")
    return [opener, box]


def _progress_bar() -> ipw.IntProgress:
    return ipw.IntProgress(min=0, max=1, layout={"flex": "1 1 auto", "width": "auto", "display": "none"})


def _move(bar: ipw.IntProgress, done: int, total: int) -> None:
    bar.max, bar.value = max(total, 1), done
    bar.layout.display = "none" if done >= total else ""


def _descendants(root: ipw.Widget) -> Iterator[ipw.Widget]:
    for child in getattr(root, "children", ()):
        yield child
        yield from _descendants(child)


def show_png(image: ipw.Image | PictureViewer, png: bytes) -> None:
    """Show a picture; hide the widget where there are no bytes."""
    if isinstance(image, PictureViewer):
        image.show(png)
        return
    image.value = png
    image.layout.display = "" if png else "none"


def button(words: str, tooltip: str, icon: str, width: str = "auto") -> ipw.Button:
    """Create a button with words, an icon and a tooltip."""
    return hint(ipw.Button(description=words, icon=icon, layout={"width": width}), tooltip)


def stream_box() -> ipw.BoundedIntText:
    """Create the control that chooses among the video streams of a file."""
    return hint(
        ipw.BoundedIntText(value=0, min=0, max=99, description="Stream", layout=WIDE, style=STYLE),
        "Which video stream of files with several, from 1; 0 for the one that is chosen by itself",
    )
