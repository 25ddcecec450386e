"""The inspector's controls and panes: widgets, their hints and their places, and no behaviour.

Works with ipywidgets 7.7 (Colab) and 8; the differences are kept to :func:`hint` and :func:`empty_upload`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import ipywidgets as ipw

from . import markup
from .analysis import ImageReport
from .explanation import METHODS, Explanation
from .faces import detector_names
from .models import Classifier

DEFAULT = "default"
NO_METHOD = "none"
ACCEPTED = "image/*,.heic,.heif,.avif"
# Heatmaps drawn at once; of more faces each can be chosen by itself.
MAX_MAPS = 4
PLACES = ("pictures", "model", "faces", "heatmap", "save")


def hint(widget: ipw.Widget, words: str) -> ipw.Widget:
    """Give a widget a tooltip, whatever this version of ipywidgets calls it; returns the widget."""
    for name in ("tooltip", "description_tooltip"):
        if widget.has_trait(name):
            setattr(widget, name, words)
            break
    return widget


def empty_upload(upload: ipw.FileUpload) -> None:
    """Take the uploaded bytes out of a widget's state, here and in the browser."""
    if upload.has_trait("data"):  # ipywidgets 7: the value follows from these three
        upload.data = []
        upload.metadata = []
        upload._counter = 0
        upload.set_trait("value", {})
    else:
        upload.value = ()


class ImageControls:
    """All widgets of an image inspector as attributes; ``root`` holds them.

    Parameters
    ----------
    model, models
        What the model box says at first, and what it suggests.
    detector, margin, threshold, method, target, strength, folder
        First values, see :class:`redeepfake_nb.widgets.ImageInspector`.
    """

    def __init__(
        self,
        model: str,
        models: Sequence[str],
        *,
        detector: str,
        margin: float | None,
        threshold: float | None,
        method: str,
        target: str,
        strength: float,
        folder: str,
    ) -> None:
        wide = {"width": "auto"}
        style = {"description_width": "76px"}
        slider = {"layout": wide, "style": style, "continuous_update": False, "readout_format": ".2f"}

        self.upload = hint(
            ipw.FileUpload(accept=ACCEPTED, multiple=True, description="Choose pictures", layout=wide),
            "Read one or more picture files from this computer and analyse them",
        )
        self.sample = _button(
            "Use the sample", "Analyse the project's portrait and a manipulated copy", "image"
        )
        self.paths = hint(
            ipw.Textarea(
                placeholder="one per line",
                description="Paths",
                rows=2,
                layout={"width": "auto", "height": "56px"},
                style={"description_width": "40px"},
            ),
            "Pictures on the notebook's machine, of any size: one path per line; * and ? match names",
        )
        self.open = _button("Open paths", "Analyse the pictures named above", "folder-open")

        self.model = hint(
            ipw.Combobox(
                value=model,
                options=tuple(models),
                ensure_option=False,
                continuous_update=False,
                description="Model",
                layout=wide,
                style=style,
            ),
            f'"{DEFAULT}" for the model that ships, or the path of a .keras file with its .json beside it',
        )
        self.model_facts = ipw.HTML()
        self.threshold = hint(
            ipw.FloatSlider(
                value=0.5 if threshold is None else threshold,
                min=min(0.01, threshold or 1),
                max=max(0.99, threshold or 0),
                step=0.01,
                description="Threshold",
                **slider,
            ),
            "From this P(fake) on a face is labelled fake. Scores stay, they are only judged anew",
        )
        self.reset = _button("Model's own threshold", "Put the threshold back to the model's own", "undo")

        self.detector = hint(
            ipw.Dropdown(
                options=detector_names(), value=detector, description="Detector", layout=wide, style=style
            ),
            "hog is fast and finds upright faces; cnn is slow without a GPU and finds more poses",
        )
        self.own_margin = hint(
            ipw.Checkbox(
                value=margin is None, description="The model's own margin", indent=False, layout=wide
            ),
            "Cut faces out as the model was trained; other margins make scores less reliable",
        )
        self.margin = hint(
            ipw.FloatSlider(
                value=0.0 if margin is None else margin,
                min=0.0,
                max=max(1.0, margin or 0),
                step=0.05,
                description="Margin",
                disabled=margin is None,
                **slider,
            ),
            "Added on each side of a face, as a share of the longer side of its box",
        )
        self.again = _button("Analyse again", "Analyse the same pictures with these settings", "refresh")
        self.again.disabled = True

        self.method = hint(
            ipw.Dropdown(
                options=[NO_METHOD, *METHODS], value=method, description="Method", layout=wide, style=style
            ),
            "How the heatmap is computed",
        )
        self.target = hint(
            ipw.Dropdown(
                options=[("what speaks for fake", "fake"), ("what speaks for real", "real")],
                value=target,
                description="Shows",
                layout=wide,
                style=style,
            ),
            "What the warm places of the heatmap speak for",
        )
        self.strength = hint(
            ipw.FloatSlider(value=strength, min=0.0, max=1.0, step=0.05, description="Overlay", **slider),
            "How strongly the heatmap covers the face; nothing is computed anew",
        )

        self.folder = hint(
            ipw.Text(value=folder, description="Folder", layout=wide, style=style),
            "Folder on the notebook's machine that reports are written to",
        )
        self.keep = _button("Save", "Write JSON, CSV and pictures of all results into the folder", "save")
        self.forget = _button(
            "Clear",
            "Forget pictures and results, here and in the browser. Press before saving a notebook",
            "trash",
        )
        self.saved = ipw.HTML()

        self.progress = ipw.IntProgress(min=0, max=1, layout={"width": "auto", "display": "none"})
        self.status = ipw.HTML()
        self.picture = hint(
            ipw.Dropdown(options=[], description="Picture", layout={"flex": "1 1 auto", "width": "auto"}),
            "Which of the analysed pictures is shown",
        )
        self.back = _button("Previous", "Show the picture before", "arrow-left", "110px")
        self.forth = _button("Next", "Show the next picture", "arrow-right", "110px")
        self.choice = ipw.HBox([self.picture, self.back, self.forth])
        self.verdict = ipw.HTML()
        self.image = ipw.Image(format="png")
        self.image.add_class("rdf-picture")
        self.table = ipw.HTML()
        self.face = hint(
            ipw.Dropdown(options=[], description="Heatmaps of", style={"description_width": "initial"}),
            "Which faces' heatmaps are shown",
        )
        self.captions: list[ipw.HTML] = []
        self.panes: list[ipw.Image] = []
        self.maps = ipw.VBox([])
        self.notes = {place: ipw.HTML() for place in PLACES}
        self.log = ipw.HTML()
        self.root = self._arranged()

    def _arranged(self) -> ipw.Widget:
        limit = markup.quiet("Uploads up to about 10 MB; larger ones by path:")
        groups = [
            ("Pictures", self.upload, self.sample, ipw.HTML(limit), self.paths, self.open),
            ("Model", self.model, self.model_facts, self.threshold, self.reset),
            ("Faces", self.detector, self.own_margin, self.margin, self.again),
            ("Heatmap", self.method, self.target, self.strength),
            ("Save", self.folder, ipw.HBox([self.keep, self.forget]), self.saved),
        ]
        column = [ipw.HTML(markup.STYLE, layout={"display": "none"})]
        for (title, *controls), place in zip(groups, PLACES, strict=True):
            column += [ipw.HTML(markup.group(title)), *controls, self.notes[place]]
        left = ipw.VBox(column, layout={"flex": "0 0 300px", "width": "300px", "overflow": "hidden"})
        main = [self.status, self.progress, self.choice, self.verdict, self.image, self.table]
        main += [self.face, self.maps, self.log]
        right = ipw.VBox(main, layout={"flex": "1 1 340px", "min_width": "0", "padding": "0 0 0 16px"})
        root = ipw.HBox([left, right], layout={"flex_flow": "row wrap", "align_items": "flex-start"})
        root.add_class("rdf")
        return root

    # -------------------------------------------------------------- showing

    def say(self, sentence: str) -> None:
        """What is going on."""
        self.status.value = markup.status(sentence)

    def count(self, done: int, total: int) -> None:
        """Move the progress bar; it is gone when all is done."""
        self.progress.max, self.progress.value = max(total, 1), done
        self.progress.layout.display = "none" if done >= total else ""

    def show_saved(self, sentence: str) -> None:
        """What was written where."""
        self.saved.value = markup.quiet(sentence) if sentence else ""

    def show_model(self, classifier: Classifier | None) -> None:
        """Which model is loaded, in a line."""
        if classifier is None:
            self.model_facts.value = ""
            return
        calibrated = "calibrated" if classifier.calibrated else "never calibrated"
        size = classifier.preprocessing.input_size
        self.model_facts.value = markup.quiet(f"Loaded: {classifier.name}, {size} px, {calibrated}.")

    def show_errors(self, messages: Iterable[tuple[str, str]], tracebacks: Iterable[str]) -> None:
        """Pairs of place and message, each message beside its controls; tracebacks below the results."""
        messages = list(messages)
        for place, note in self.notes.items():
            # dict: each message once, in order.
            note.value = markup.errors(dict.fromkeys(words for where, words in messages if where == place))
        self.log.value = markup.log(tracebacks)

    def list_pictures(self, reports: Sequence[ImageReport], chosen: int | None) -> None:
        """Fill the selector; it is hidden where there is nothing to select."""
        self.picture.options = [(f"{i + 1} of {len(reports)}: {r.name}", i) for i, r in enumerate(reports)]
        self.picture.value = chosen
        self.choice.layout.display = "" if len(reports) > 1 else "none"
        self.mark_ends()

    def mark_ends(self) -> None:
        """Previous and Next are disabled where they lead nowhere."""
        index, last = self.picture.value, len(self.picture.options) - 1
        self.back.disabled = index is None or index <= 0
        self.forth.disabled = index is None or index >= last

    def list_faces(self, count: int) -> None:
        """Fill the selector of heatmaps; it is hidden where all fit."""
        several = (
            [(f"the {MAX_MAPS} largest faces of {count}", -1)] if count > MAX_MAPS else [("all faces", -1)]
        )
        self.face.options = several + [(f"face {i + 1}", i) for i in range(count)]
        self.face.value = -1
        self.face.layout.display = "" if count > MAX_MAPS else "none"

    def show_report(self, report: ImageReport | None) -> None:
        """Verdict, picture with boxes, table; all empty for None."""
        from . import view

        self.verdict.value = "" if report is None else markup.verdict(report)
        self.table.value = "" if report is None else markup.faces_table(report)
        _show_png(self.image, b"" if report is None else view.to_png(view.plot_faces, report))

    def show_maps(self, explanations: Sequence[Explanation]) -> None:
        """The heatmaps of the faces chosen; widgets are used again, so that no old picture stays behind."""
        from . import view

        first, last = 0, MAX_MAPS
        if self.face.value is not None and self.face.value >= 0:
            first, last = self.face.value, self.face.value + 1
        strength = self.strength.value
        pictures = [
            view.to_png(view.plot_explanation, e, strength=strength) for e in explanations[first:last]
        ]
        while len(self.panes) < len(pictures):
            self.panes.append(ipw.Image(format="png", layout={"max_width": "100%"}))
            self.captions.append(ipw.HTML())
        for i, (caption, pane) in enumerate(zip(self.captions, self.panes, strict=True)):
            _show_png(pane, pictures[i] if i < len(pictures) else b"")
            caption.value = markup.caption(f"Face {first + i + 1}") if i < len(pictures) else ""
        self.maps.children = [w for pair in zip(self.captions, self.panes, strict=True) for w in pair]


def _show_png(pane: ipw.Image, png: bytes) -> None:
    pane.value = png
    pane.layout.display = "" if png else "none"


def _button(words: str, tooltip: str, icon: str, width: str = "auto") -> ipw.Button:
    return hint(ipw.Button(description=words, icon=icon, layout={"width": width}), tooltip)
