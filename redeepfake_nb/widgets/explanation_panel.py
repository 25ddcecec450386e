"""The panel of questions about one heatmap: where it lies, how far to trust it, how fragile the score is.

Answers take seconds, so each is worked out in a thread when it is asked for, can be cancelled, and is kept as
long as its heatmap is shown. The panel belongs to an inspector, which tells it what is shown.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import ipywidgets as ipw

from ..errors import RedeepfakeError, displayable
from ..evaluation.perturbation import stress_test
from ..explanation.fidelity import faithfulness
from ..explanation.heatmaps import Explanation, compare_explanations
from ..models.classifier import Classifier
from ..utils.jobs import Background, Job, Pace
from . import html as markup
from .controls import STYLE, button, hint, show_png

# Question -> words on its button, its hint, its icon.
QUESTIONS = {
    "where": ("Where?", "Sum the heatmap over the parts of the face", "map-marker"),
    "trust": ("How far to trust it?", "Test the heatmap against random ones and random weights", "check"),
    "stress": ("How fragile?", "Score the face again under compression, blur, noise and more", "bolt"),
    "methods": ("Other methods?", "Compare heatmaps by all methods", "columns"),
}


class CloserLook:
    """Widgets and work of the panel.

    Attributes
    ----------
    root : ipywidgets.Widget
    answers : dict
        (question, explanation) -> record, for the heatmaps that are shown.
    """

    def __init__(self) -> None:
        self.face = hint(
            ipw.Dropdown(options=[], description="About", layout={"width": "220px"}, style=STYLE),
            "Which face's heatmap is asked about",
        )
        self.buttons = {
            question: button(words, tooltip, icon) for question, (words, tooltip, icon) in QUESTIONS.items()
        }
        self.progress = ipw.IntProgress(min=0, max=1, layout={"flex": "1 1 auto", "display": "none"})
        self.cancel = button("Cancel", "Stop working on this answer", "stop", "110px")
        self.status, self.note = ipw.HTML(), ipw.HTML()
        self.caption, self.picture = ipw.HTML(), ipw.Image(format="png")
        self.picture.layout.max_width = "100%"
        self.answers: dict[tuple[str, Explanation], Any] = {}
        self._classifier: Classifier | None = None
        self._offered: list[Explanation] = []
        self._threshold = 0.5
        self._shown: tuple[str, Explanation] | None = None
        self._lock = threading.RLock()
        self._background = Background(self._finished)
        for question, asked in self.buttons.items():
            asked.on_click(lambda _, question=question: self.ask(question))
        self.cancel.on_click(lambda _: self._background.cancel())
        self.face.observe(lambda _: self._choose(), "value")
        row = {"flex_flow": "row wrap", "align_items": "center"}
        self.root = ipw.VBox(
            [
                ipw.HTML(markup.group("A closer look at the heatmap")),
                ipw.HBox([self.face, *self.buttons.values()], layout=row),
                ipw.HBox([self.progress, self.cancel], layout={"align_items": "center"}),
                self.status,
                self.note,
                self.caption,
                self.picture,
            ]
        )
        self._show_running(False)
        self._show(None)
        self.offer(None, (), 0.5)

    # -------------------------------------------------------------- what the inspector tells

    def offer(
        self,
        classifier: Classifier | None,
        heatmaps: Sequence[tuple[str, Explanation]],
        threshold: float,
    ) -> None:
        """Say what is shown: pairs of a face's name and its heatmap, largest first; the panel hides at none.

        Answers about other heatmaps are forgotten, and work on them is given up.
        """
        with self._lock:
            found = [explanation for _, explanation in heatmaps]
            names = [name for name, _ in heatmaps]
            changed = [*map(id, found)] != [*map(id, self._offered)]
            self._classifier, self._threshold, self._offered = classifier, threshold, found
            self.root.layout.display = "" if found and classifier is not None else "none"
            if changed:
                self._background.drop()
                kept = {id(explanation) for explanation in found}
                self.answers = {key: a for key, a in self.answers.items() if id(key[1]) in kept}
                self.face.options = list(zip(names, range(len(names)), strict=True))
                # After there was nothing to choose from, ipywidgets leaves it at nothing.
                self.face.value = 0 if names else None
                self.face.layout.display = "" if len(names) > 1 else "none"
                if self._shown is not None and id(self._shown[1]) not in kept:
                    self._show(None)
            else:
                self.judge(threshold)

    def judge(self, threshold: float) -> None:
        """State what is shown at another threshold."""
        with self._lock:
            self._threshold = threshold
            if self._shown is not None and self._shown[0] == "stress":
                self._show(self._shown)

    def ask(self, question: str) -> None:
        """Answer a question about the chosen heatmap: at once where it is known, else in the background."""
        with self._lock:
            if not self._offered or self._classifier is None:
                return
            explanation = self._offered[self.face.value or 0]
            self.note.value = ""
            if (question, explanation) in self.answers:
                self._show((question, explanation))
                return
            classifier = self._classifier
            try:
                self._background.begin(
                    question, lambda job: self._work(job, question, classifier, explanation)
                )
            except RedeepfakeError as error:
                self.note.value = markup.errors([str(error)])
                return
            self._say("Working …")
            self._show_running(True)

    def wait(self, timeout: float | None = None) -> bool:
        """Wait until no answer is worked on, at most ``timeout`` seconds; whether that is so."""
        return self._background.wait(timeout)

    # -------------------------------------------------------------- in the background

    def _work(self, job: Job, question: str, classifier: Classifier, explanation: Explanation) -> None:
        pace = Pace(job, "Step", self._count, self._say)
        answer = _answer(question, classifier, explanation, pace, job.cancel)
        with self._lock:
            if not job.dropped:
                self.answers[question, explanation] = answer
                self._show((question, explanation))

    def _finished(self, job: Job) -> None:
        with self._lock:
            self._show_running(False)
            self.status.value = ""
            if job.error is not None and not job.dropped:
                error = job.error
                words = (
                    str(error)
                    if isinstance(error, RedeepfakeError)
                    else (f"unexpected {type(error).__name__}: {displayable(error, 300)}")
                )
                self.note.value = markup.errors([words])

    def _say(self, words: str) -> None:
        self.status.value = markup.status(words)

    def _count(self, done: int, total: int) -> None:
        self.progress.max, self.progress.value = max(total, 1), done

    def _show_running(self, running: bool) -> None:
        for widget in (self.progress, self.cancel):
            widget.layout.display = "" if running else "none"
        for asked in self.buttons.values():
            asked.disabled = running
        self._count(0, 1)

    # -------------------------------------------------------------- showing

    def _choose(self) -> None:
        """Another face: the same question about it, where the answer is known."""
        with self._lock:
            if self._shown is None or self.face.value is None or self.face.value >= len(self._offered):
                return
            key = self._shown[0], self._offered[self.face.value]
            self._show(key if key in self.answers else None)

    def _show(self, key: tuple[str, Explanation] | None) -> None:
        self._shown = key
        words, png = "", b""
        if key is not None:
            words, png = _drawn(key[0], self.answers[key], self._threshold)
        self.caption.value = markup.caption(words) if words else ""
        show_png(self.picture, png)


def _answer(
    question: str,
    classifier: Classifier,
    explanation: Explanation,
    progress: Callable[[int, int | None], None],
    cancel: threading.Event,
) -> Any:
    """The record that answers a question."""
    if question == "where":
        return explanation
    if question == "trust":
        return faithfulness(classifier, explanation, progress=progress, cancel=cancel)
    if question == "stress":
        return stress_test(classifier, explanation.prediction.face, progress=progress)
    return compare_explanations(classifier, explanation.prediction, target=explanation.target)


def _drawn(question: str, answer: Any, threshold: float) -> tuple[str, bytes]:
    """A sentence and a picture."""
    from .. import view

    if question == "where":
        regions = answer.regions
        return regions.sentence, view.to_png(view.plot_regions, answer)
    if question == "trust":
        words = f"This heatmap is {answer.badge}. {'; '.join(answer.reasons)}."
        return words, view.to_png(view.plot_faithfulness, answer)
    if question == "stress":
        tested = replace(answer, threshold=threshold)
        return tested.sentence, view.to_png(view.plot_stress, tested)
    words = "Methods that agree need not be right; where they disagree, a heatmap says more of its method."
    return words, view.to_png(view.plot_comparison, answer)
