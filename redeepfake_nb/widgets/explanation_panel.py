"""``ExplanationPanel``: questions about one heatmap, answered in the background.

Which parts of the face does it point to, how far can it be trusted, how robust is the score, what do other
methods show? An answer takes seconds, so it is computed in a thread on request, can be cancelled, and is kept
for as long as its heatmap is shown.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

import ipywidgets as ipw

from ..errors import RedeepfakeError
from ..evaluation.stress_curves import StressTest, stress_test
from ..explanation.badge import Badge, Faithfulness
from ..explanation.fidelity import faithfulness
from ..explanation.heatmaps import Explanation, MethodComparison, compare_explanations
from ..models.classifier import Classifier
from ..utils.jobs import Cancel, Job, JobRunner, Progress, ThrottledProgress
from ..utils.wording import capitalized
from . import html as markup
from .callbacks import error_message
from .controls import STYLE, button, hint
from .drawings import Drawings
from .viewer import PictureViewer

Answer = Explanation | Faithfulness | StressTest | MethodComparison

# Question -> words on its button, its hint, its icon.
QUESTIONS = {
    "where": ("Where?", "Sum the heatmap over the parts of the face", "map-marker"),
    "trust": ("How far to trust it?", "Test the heatmap against random ones and random weights", "check"),
    "stress": ("How fragile?", "Score the face again under compression, blur, noise and more", "bolt"),
    "methods": ("Other methods?", "Compare heatmaps by all methods", "columns"),
}

_BADGE_WORDS: dict[Badge, str] = {
    "supported": "This heatmap is supported. That does not say that the score is right",
    "weak": "This heatmap is weak. That does not say that the score is wrong",
    "not supported": "This heatmap is not supported. That does not say that the score is wrong",
}


class ExplanationPanel:
    """The panel's widgets and its background job.

    Parameters
    ----------
    drawings
        Draws the answers.

    Attributes
    ----------
    root : ipywidgets.Widget
    answers : dict
        (question, explanation) -> record, for the heatmaps that are shown.
    """

    def __init__(self, drawings: Drawings) -> None:
        self._drawings = drawings
        self.face = hint(
            ipw.Dropdown(options=[], description="About", layout={"width": "220px"}, style=STYLE),
            "The face whose heatmap the questions are about",
        )
        self.buttons = {
            question: button(words, tooltip, icon) for question, (words, tooltip, icon) in QUESTIONS.items()
        }
        self.progress = ipw.IntProgress(min=0, max=1, layout={"flex": "1 1 auto", "display": "none"})
        self.cancel = button("Cancel", "Stop computing this answer", "stop", "110px")
        self.status, self.error_box = ipw.HTML(), ipw.HTML()
        self.caption, self.picture = ipw.HTML(), PictureViewer("The answer; the text above says it in words")
        self.answers: dict[tuple[str, Explanation], Answer] = {}
        self._classifier: Classifier | None = None
        self._explanations: list[Explanation] = []
        self._asked: Explanation | None = None  # what the running job is about
        self._threshold = 0.5
        self._shown: tuple[str, Explanation] | None = None  # key of ``answers``
        self._lock = threading.RLock()
        self._background = JobRunner(self._finished)
        for question, asked in self.buttons.items():
            asked.on_click(partial(self._press, question))
        self.cancel.on_click(lambda _: self._background.cancel())
        self.face.observe(lambda _: self._change_face(), "value")
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.root = ipw.VBox(
            [
                ipw.HTML(markup.heading("A closer look at the heatmap")),
                ipw.HBox([self.face, *self.buttons.values()], layout=row),
                ipw.HBox([self.progress, self.cancel], layout={"align_items": "center"}),
                self.status,
                self.error_box,
                self.caption,
                self.picture,
            ]
        )
        self._show_running(False)
        self._show(None)
        self.set_heatmaps(None, (), 0.5)

    # -------------------------------------------------------------- what the inspector calls

    def set_heatmaps(
        self,
        classifier: Classifier | None,
        heatmaps: Sequence[tuple[str, Explanation]],
        threshold: float,
    ) -> None:
        """Set the heatmaps that can be asked about; the panel hides where there are none.

        Answers about other heatmaps are dropped, and a job for them is cancelled.

        Parameters
        ----------
        classifier
            The one that the heatmaps explain.
        heatmaps
            Pairs of a face's name and its heatmap, largest face first.
        threshold
            On P(fake).
        """
        with self._lock:
            found = [explanation for _, explanation in heatmaps]
            names = [name for name, _ in heatmaps]
            changed = [*map(id, found)] != [*map(id, self._explanations)]
            before, self._explanations = self._chosen(), found
            self._classifier, self._threshold = classifier, threshold
            self.root.layout.display = "" if found and classifier is not None else "none"
            if not changed:
                self.set_threshold(threshold)
                return
            kept = {id(explanation) for explanation in found}
            if id(self._asked) not in kept:
                self._background.discard()
            self.answers = {key: a for key, a in self.answers.items() if id(key[1]) in kept}
            shown = self._shown  # choosing another face, if only for a moment, hides it
            self.face.options = list(zip(names, range(len(names)), strict=True))
            # ipywidgets keeps the value None when options appear where there were none.
            self.face.value = 0 if names else None
            if id(before) in kept:  # more faces have been added
                self.face.value = [*map(id, found)].index(id(before))
            self.face.layout.display = "" if len(names) > 1 else "none"
            self._show(shown if shown is not None and id(shown[1]) in kept else None)

    def set_threshold(self, threshold: float) -> None:
        """Show the answer at another threshold; nothing is computed again."""
        with self._lock:
            self._threshold = threshold
            if self._shown is not None and self._shown[0] in ("where", "stress"):
                self._show(self._shown)

    def draw_again(self) -> None:
        """Draw the answer for another page, light or dark."""
        with self._lock:
            self._show(self._shown)

    def ask(self, question: str) -> None:
        """Answer a question about the chosen heatmap, in the background unless the answer is known.

        Parameters
        ----------
        question
            A key of :data:`QUESTIONS`.
        """
        with self._lock:
            if not self._explanations or self._classifier is None:
                return
            explanation = self._explanations[self.face.value or 0]
            self._asked = explanation
            self.error_box.value = ""
            if (question, explanation) in self.answers:
                self._show((question, explanation))
                return
            classifier = self._classifier
            try:
                self._background.start(
                    question, lambda job: self._compute(job, question, classifier, explanation)
                )
            except RedeepfakeError as error:
                self.error_box.value = markup.errors([error_message(error)])
                return
            self._show_status("Working …")
            self._show_running(True)

    def _press(self, question: str, pressed: ipw.Button) -> None:
        if not pressed.disabled:  # the second half of a double click comes when it is
            self.ask(question)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no answer is being computed, at most ``timeout`` seconds; return whether that is so."""
        return self._background.wait(timeout)

    # -------------------------------------------------------------- in the background

    def _compute(self, job: Job, question: str, classifier: Classifier, explanation: Explanation) -> None:
        progress = ThrottledProgress(job, "Step", self._show_progress, self._show_status)
        answer = _answer(question, classifier, explanation, progress, job.cancel)
        with self._lock:
            if not job.discarded:
                self.answers[question, explanation] = answer
                self._show((question, explanation))

    def _finished(self, job: Job) -> None:
        with self._lock:
            self._show_running(False)
            self.status.value = ""
            error = None if job.discarded else job.error
            # A request to wait has no meaning any more.
            self.error_box.value = markup.errors([] if error is None else [error_message(error)])

    def _show_status(self, sentence: str) -> None:
        self.status.value = markup.status(sentence)

    def _show_progress(self, done: int, total: int) -> None:
        self.progress.max, self.progress.value = max(total, 1), done

    def _show_running(self, running: bool) -> None:
        for widget in (self.progress, self.cancel):
            widget.layout.display = "" if running else "none"
        for asked in self.buttons.values():
            asked.disabled = running
        self._show_progress(0, 1)

    # -------------------------------------------------------------- showing

    def _chosen(self) -> Explanation | None:
        index = self.face.value
        return None if index is None or index >= len(self._explanations) else self._explanations[index]

    def _change_face(self) -> None:
        """Show the same question's answer for another face, where it is known."""
        with self._lock:
            if self._shown is None or self.face.value is None or self.face.value >= len(self._explanations):
                return
            key = self._shown[0], self._explanations[self.face.value]
            self._show(key if key in self.answers else None)

    def _show(self, key: tuple[str, Explanation] | None) -> None:
        self._shown = key
        words, png = "", b""
        if key is not None:
            words, png = _drawn(self._drawings, self.answers[key], self._threshold)
        self.caption.value = markup.caption(words) if words else ""
        self.picture.show(png)


def _answer(
    question: str, classifier: Classifier, explanation: Explanation, progress: Progress, cancel: Cancel
) -> Answer:
    """Compute the record that answers a question."""
    if question == "where":
        return explanation
    if question == "trust":
        return faithfulness(classifier, explanation, progress=progress, cancel=cancel)
    if question == "stress":
        return stress_test(classifier, explanation.prediction.face, progress=progress, cancel=cancel)
    return compare_explanations(
        classifier, explanation.prediction, target=explanation.target, progress=progress, cancel=cancel
    )


def _drawn(drawings: Drawings, answer: Answer, threshold: float) -> tuple[str, bytes]:
    """Return an answer in sentences and as a PNG."""
    from .. import view

    draw = drawings.draw

    if isinstance(answer, Explanation):
        judged = answer.at_threshold(threshold)
        return capitalized(judged.regions.sentence), draw(view.plot_regions, judged, layer=False)
    if isinstance(answer, Faithfulness):
        sentences = [_BADGE_WORDS[answer.badge], *map(capitalized, answer.reasons)]
        return f"{'. '.join(sentences)}.", draw(view.plot_faithfulness, answer, layer=False)
    if isinstance(answer, StressTest):
        tested = replace(answer, threshold=threshold)
        return capitalized(tested.sentence), draw(view.plot_stress, tested)
    words = (
        "Methods that agree can still be wrong. Where they disagree, a heatmap says more about its method "
        "than about the model."
    )
    words = f"{words} {answer.note}".strip()
    return words, draw(view.plot_comparison, answer)
