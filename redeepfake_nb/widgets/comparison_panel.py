"""``ComparisonPanel``: the face that is looked at beside the same face in another picture.

Of an original and a suspect it shows both scores, both heatmaps on the same crop, and their difference. It is
computed in the background when another picture is chosen or uploaded.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import ipywidgets as ipw

from ..analysis.image import ImageReport
from ..errors import InputError, displayable
from ..explanation.matching import matching_face
from ..explanation.methods import LOGIT_METHODS, METHODS, Target
from ..explanation.pairs import FaceComparison, compare_faces
from ..faces.face import find_faces
from ..media.frames import Frame, Upload, read_image
from ..models.classifier import Classifier
from ..utils.jobs import Job, LatestRunner
from . import html as markup
from .callbacks import error_message
from .controls import WIDE, button, hint
from .drawings import Drawings
from .upload_area import UploadArea
from .viewer import PictureViewer

# Used where the chosen method's values are no parts of the score.
_METHOD = "gradcam"
_STYLE = {"description_width": "120px"}


@dataclass(frozen=True, eq=False)
class Asked:
    """What is compared.

    Parameters
    ----------
    report, face
        The picture that is shown, and the index of the face that is looked at.
    classifier
        The one that made the report.
    method, target, layer
        Of the heatmaps; ``method`` is one whose values are parts of the logit.
    """

    report: ImageReport
    face: int
    classifier: Classifier
    method: str
    target: Target
    layer: str | None


class ComparisonPanel:
    """The panel's widgets and its background job.

    Parameters
    ----------
    drawings
        Draws the comparison.
    accept, max_bytes
        Of uploads, see :class:`UploadArea`.

    Attributes
    ----------
    root : ipywidgets.Widget
    result : FaceComparison or None
        What is shown.
    """

    def __init__(self, drawings: Drawings, accept: str, max_bytes: int) -> None:
        self.result: FaceComparison | None = None
        self._drawings = drawings
        self.opener = hint(
            ipw.ToggleButton(description="Compare with another picture", icon="columns", layout=WIDE),
            "Show this face beside the same face in another picture, an original or a suspect",
        )
        self.other = hint(
            ipw.Dropdown(options=[], description="Other picture", layout=WIDE, style=_STYLE),
            "The picture that the one above is compared with",
        )
        self.role = hint(
            ipw.Dropdown(
                options=[("the original", "original"), ("the suspect", "suspect")],
                description="The other one is",
                layout=WIDE,
                style=_STYLE,
            ),
            "Differences are those of the suspect minus those of the original",
        )
        self.upload = UploadArea(
            "Choose a picture",
            "Read a picture file from this computer and compare with it",
            accept,
            multiple=False,
            max_bytes=max_bytes,
            whole_panel=False,
        )
        self.cancel = button("Cancel the comparison", "Stop comparing", "stop", "180px")
        self.status, self.error_box, self.caption = ipw.HTML(), ipw.HTML(), ipw.HTML()
        self.picture = PictureViewer("Original, suspect, and how they differ; the text says it in words")
        self._work = ipw.VBox([self.status, self.cancel])
        self._work.add_class("rdf-live")
        self._box = ipw.VBox(
            [self.other, self.role, self.upload, self._work, self.error_box, self.caption, self.picture],
            layout={"display": "none"},
        )
        self.root = ipw.VBox([self.opener, self._box])
        self._asked: Asked | None = None
        self._listed: list[ImageReport] = []  # other pictures of the panel
        self._sent: list[Upload] = []  # those that were uploaded here
        self._picked: ImageReport | Upload | None = None
        self._lock = threading.RLock()
        self._quiet = False
        self._runner = LatestRunner(self._finished)
        self.opener.observe(self._open, "value")
        self.other.observe(lambda _: self._pick(), "value")
        self.role.observe(lambda _: self.compare(), "value")
        self.upload.observe(self._take, "value")
        self.cancel.on_click(lambda _: self._stop())
        self._show_working("")
        self.set_pictures(None, ())

    # -------------------------------------------------------------- what the inspector calls

    def set_pictures(self, asked: Asked | None, others: Sequence[ImageReport]) -> None:
        """Set the face that is looked at and the other pictures; the panel hides where there is no face."""
        with self._lock:
            before, self._asked = self._asked, asked
            self.root.layout.display = "none" if asked is None else ""
            self._listed = list(others)
            self._list()
            if asked is None or before is None or _key(asked) != _key(before):
                same = asked is not None and before is not None and asked.report.frame is before.report.frame
                if not same:
                    self._choose(None)
                self.compare()

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._sent, self._listed = [], []
            self.upload.forget()
            self._list()
            self.set_pictures(None, ())

    def draw_again(self) -> None:
        """Draw the comparison for another page, light or dark."""
        with self._lock:
            self._show(self.result)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until nothing is being compared, at most ``timeout`` seconds; return whether that is so."""
        return self._runner.wait(timeout)

    def compare(self) -> None:
        """Compare with the chosen picture in the background; nothing is shown where none is chosen."""
        with self._lock:
            self._runner.discard()
            self._show(None)
            self.error_box.value = ""
            self._show_working("")
            asked, other = self._asked, self._picked
            if asked is None or other is None:
                return
            role = self.role.value
            self._show_working("Comparing the two pictures …")
            self._runner.start("comparison", lambda job: self._compute(job, asked, other, role))

    # -------------------------------------------------------------- in the background

    def _compute(self, job: Job, asked: Asked, other: ImageReport | Upload, role: str) -> None:
        face = asked.report.predictions[asked.face].face
        if isinstance(other, Upload):
            settings, frame = asked.report.settings, read_image(other)
            found = find_faces(frame, settings["detector"], margin=settings.get("margin"))
            frame = found[0].frame if found else frame  # it may have been turned
        else:
            frame, found = other.frame, [p.face for p in other.predictions]
        match = matching_face(face, frame, found)
        if match is None:
            raise InputError(
                "no face was found in it",
                subject=displayable(other.name, 60),
                next_step="Choose another picture, or another detector under Faces.",
            )
        original, suspect = (match, face) if role == "original" else (face, match)
        compared = compare_faces(asked.classifier, original, suspect, asked.method, asked.target, asked.layer)
        with self._lock:
            if not job.discarded:
                self._show(compared)

    def _finished(self, job: Job) -> None:
        with self._lock:
            self._show_working("")
            if job.error is not None:
                self.error_box.value = markup.errors([error_message(job.error)])

    # -------------------------------------------------------------- what the controls do

    def _open(self, change: dict) -> None:
        self._box.layout.display = "" if change["new"] else "none"

    def _take(self, _: dict) -> None:
        with self._lock:
            for sent in self.upload.take():
                self._sent.append(sent)
                self._picked = sent
                self._list()
                self.compare()

    def _stop(self) -> None:
        with self._lock:
            self._runner.discard()
            self._choose(None)
            self._show_working("")

    # -------------------------------------------------------------- showing

    def _pictures(self) -> list[ImageReport | Upload]:
        return [*self._listed, *self._sent]

    def _choose(self, picture: ImageReport | Upload | None) -> None:
        """Choose a picture without comparing."""
        self._picked = picture
        self._list()

    def _list(self) -> None:
        """Fill the list of pictures; the chosen one stays chosen where it is still there."""
        found = self._pictures()
        frames = [getattr(picture, "frame", picture) for picture in found]
        wanted = getattr(self._picked, "frame", self._picked)  # a report changes with its threshold
        index = next((i for i, frame in enumerate(frames) if frame is wanted), -1)
        self._quiet = True
        try:
            names = [(displayable(picture.name, 60), i) for i, picture in enumerate(found)]
            self.other.options = [("Choose one, or upload one below", -1), *names]
            self.other.value = index
        finally:
            self._quiet = False
        self._picked = found[index] if index >= 0 else None

    def _pick(self) -> None:
        if not self._quiet:
            index = self.other.value
            self._picked = None if index is None or index < 0 else self._pictures()[index]
            self.compare()

    def _show_working(self, sentence: str) -> None:
        self.status.value = markup.status(sentence) if sentence else ""
        self.cancel.layout.display = "" if sentence else "none"

    def _show(self, compared: FaceComparison | None) -> None:
        self.result = compared
        if compared is None:
            self.caption.value = ""
            self.picture.show(b"")
            return
        from .. import view

        names = [
            f"{role.capitalize()}: {_named(face.prediction.face.frame)}"
            for role, face in (("original", compared.original), ("suspect", compared.suspect))
        ]
        method = f"Heatmaps by {METHODS[compared.suspect.method]}; {compared.crops}."
        self.caption.value = markup.caption(". ".join([*names, f"{compared.sentence} {method}"]))
        self.picture.show(self._drawings.draw(view.plot_face_comparison, compared, titled=False))


def comparable(method: str) -> str:
    """Return the method, or the usual one where its values are no parts of the score."""
    return method if method in LOGIT_METHODS else _METHOD


def _key(asked: Asked) -> tuple[object, ...]:
    face = asked.report.predictions[asked.face]
    return id(face), id(asked.classifier), asked.method, asked.target


def _named(frame: Frame) -> str:
    return displayable(frame.source.name, 60) if frame.source else "picture"
