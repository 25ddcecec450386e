"""The image inspector's controls and panes, and what all inspectors' controls share; no behaviour.

Works with ipywidgets 7.7 (Colab) and 8; the differences are kept to :func:`hint` and :func:`empty_upload`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import ipywidgets as ipw

from ..explanation.methods import METHODS
from ..faces.detection import detector_names
from ..models.classifier import Classifier
from . import html as markup

DEFAULT = "default"
NO_METHOD = "none"
ACCEPTED = "image/*,.heic,.heif,.avif"
# Heatmaps drawn at once; of more faces each can be chosen by itself.
MAX_MAPS = 4
PLACES = ("pictures", "model", "faces", "heatmap", "save")


# Of controls in the left column.
WIDE = {"width": "auto"}
STYLE = {"description_width": "76px"}
SLIDER = {"layout": WIDE, "style": STYLE, "continuous_update": False, "readout_format": ".2f"}


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


class Controls:
    """What every inspector's controls share: status, progress, errors, the model's box, saving.

    Parameters
    ----------
    places
        Where errors are shown: names of the groups of controls, in order.
    """

    root: ipw.Widget

    def __init__(self, places: Sequence[str]) -> None:
        self.status = ipw.HTML()
        self.progress = ipw.IntProgress(min=0, max=1, layout={"width": "auto", "display": "none"})
        self.model_facts = ipw.HTML()
        self.saved = ipw.HTML()
        self.notes = {place: ipw.HTML() for place in places}
        self.log = ipw.HTML()
        self.captions: list[ipw.HTML] = []
        self.panes: list[ipw.Image] = []
        self.maps = ipw.VBox([])
        self.closer = ipw.VBox([])  # for the panel of questions about a heatmap

    def _add_model_and_faces(
        self,
        model: str,
        models: Sequence[str],
        detector: str,
        margin: float | None,
        threshold: float | None,
        what: str,
    ) -> None:
        """Boxes for model, threshold, detector and margin; ``what`` they are applied to."""
        self.model = hint(
            ipw.Combobox(
                value=model,
                options=tuple(models),
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
            "From this P(fake) on a face is labelled fake. Scores stay, they are only judged anew",
        )
        self.reset = button("Model's own threshold", "Put the threshold back to the model's own", "undo")

        self.detector = hint(
            ipw.Dropdown(
                options=detector_names(), value=detector, description="Detector", layout=WIDE, style=STYLE
            ),
            "hog is fast and finds upright faces; cnn is slow without a GPU and finds more poses",
        )
        self.own_margin = hint(
            ipw.Checkbox(
                value=margin is None, description="The model's own margin", indent=False, layout=WIDE
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
                **SLIDER,
            ),
            "Added on each side of a face, as a share of the longer side of its box",
        )
        self.again = button("Analyse again", f"Analyse the same {what} with these settings", "refresh")
        self.again.disabled = True

    def _add_heatmaps(
        self, others: Sequence[tuple[str, str]], method: str, target: str, strength: float
    ) -> None:
        """How heatmaps are made and shown; ``others`` are choices besides the methods, words and value."""
        methods = [*others, *((words, name) for name, words in METHODS.items())]
        self.method = hint(
            ipw.Dropdown(options=methods, value=method, description="Method", layout=WIDE, style=STYLE),
            "How the heatmaps are computed",
        )
        self.target = hint(
            ipw.Dropdown(
                options=[("what speaks for fake", "fake"), ("what speaks for real", "real")],
                value=target,
                description="Shows",
                layout=WIDE,
                style=STYLE,
            ),
            "What the warm places of the heatmap speak for",
        )
        self.strength = hint(
            ipw.FloatSlider(value=strength, min=0.0, max=1.0, step=0.05, description="Overlay", **SLIDER),
            "How strongly the heatmap covers the face; nothing is computed anew",
        )

    def _add_saving(self, folder: str, what: str) -> None:
        """Folder, *Save* and *Clear*."""
        self.folder = hint(
            ipw.Text(value=folder, description="Folder", layout=WIDE, style=STYLE),
            "Folder on the notebook's machine that reports are written to",
        )
        self.keep = button("Save", "Write JSON, CSV and pictures of all results into the folder", "save")
        self.forget = button(
            "Clear",
            f"Forget {what} and results, here and in the browser. Press before saving a notebook",
            "trash",
        )

    def _two_columns(self, groups: Sequence[Sequence], main: Sequence[ipw.Widget]) -> ipw.Widget:
        """Groups of controls with their errors on the left, results on the right.

        A group is its title and its widgets; groups stand for the places in order.
        """
        column = [ipw.HTML(markup.STYLE, layout={"display": "none"})]
        for (title, *controls), note in zip(groups, self.notes.values(), strict=True):
            column += [ipw.HTML(markup.group(title)), *controls, note]
        left = ipw.VBox(column, layout={"flex": "0 0 300px", "width": "300px", "overflow": "hidden"})
        right = ipw.VBox(list(main), layout={"flex": "1 1 340px", "min_width": "0", "padding": "0 0 0 16px"})
        root = ipw.HBox([left, right], layout={"flex_flow": "row wrap", "align_items": "flex-start"})
        root.add_class("rdf")
        return root

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

    def fill_maps(self, pictures: Sequence[tuple[str, bytes]]) -> None:
        """Pairs of caption and PNG; widgets are used again, so that no old picture stays behind."""
        while len(self.panes) < len(pictures):
            self.panes.append(ipw.Image(format="png", layout={"max_width": "100%"}))
            self.captions.append(ipw.HTML())
        for i, (caption, pane) in enumerate(zip(self.captions, self.panes, strict=True)):
            words, png = pictures[i] if i < len(pictures) else ("", b"")
            show_png(pane, png)
            caption.value = markup.caption(words) if words else ""
        self.maps.children = [w for pair in zip(self.captions, self.panes, strict=True) for w in pair]


def show_png(pane: ipw.Image, png: bytes) -> None:
    """A picture, or none at all where there are no bytes."""
    pane.value = png
    pane.layout.display = "" if png else "none"


def button(words: str, tooltip: str, icon: str, width: str = "auto") -> ipw.Button:
    """A button with words, an icon and a hint."""
    return hint(ipw.Button(description=words, icon=icon, layout={"width": width}), tooltip)
