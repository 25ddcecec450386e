"""``HeatmapQueue``: heatmaps of the faces that are shown, computed in the background, face by face."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from ..explanation.heatmaps import Explanation, explain
from ..explanation.methods import METHODS, Target
from ..models.classifier import Classifier
from ..models.prediction import Prediction
from ..utils.jobs import Job, LatestRunner
from .callbacks import Callbacks
from .controls import Controls


class HeatmapQueue:
    """Heatmaps by face, method and target; each is computed once, and only for what is shown.

    Methods are called under the lock of the callbacks. A new request replaces the one before: its face is
    finished, since nothing stops in the middle of one, and the result is kept.

    Parameters
    ----------
    controls
        Where progress, *Cancel* and errors are shown.
    callbacks
        Its lock is held while ``shown`` is called.
    draw
        Draws a heatmap ahead, in the background.
    shown
        Called when another heatmap of the request is known.
    before
        Called in the background without the lock before the heatmaps of a request are computed, for what is
        quicker than they are.

    Attributes
    ----------
    error : Exception or None
        Why the heatmaps of the latest request could not be computed.
    """

    def __init__(
        self,
        controls: Controls,
        callbacks: Callbacks,
        draw: Callable[[Explanation], object],
        shown: Callable[[], object],
        before: Callable[[Job], object] = lambda job: None,
    ) -> None:
        self.error: Exception | None = None
        self._controls, self._callbacks = controls, callbacks
        self._draw, self._shown, self._before = draw, shown, before
        self._known: dict[tuple[Prediction, str, Target], Explanation] = {}
        self._cleared = 0
        self._runner = LatestRunner(self._finished)
        controls.heatmap_cancel.on_click(lambda _: self.cancel())
        controls.show_heatmap_progress(1, 1)

    def known(self, prediction: Prediction, method: str, target: Target) -> Explanation | None:
        """Return the heatmap of a face where it is computed already."""
        return self._known.get((prediction, method, target))

    def add(self, explanations: Sequence[Explanation]) -> None:
        """Add heatmaps that were computed elsewhere."""
        self._known.update({(e.prediction, e.method, e.target): e for e in explanations})

    def request(
        self,
        classifier: Classifier,
        predictions: Sequence[Prediction],
        method: str,
        target: Target,
        layer: str | None,
    ) -> None:
        """Compute the heatmaps of these faces that are not known, in place of those asked for before."""
        missing = [p for p in predictions if (p, method, target) not in self._known]
        self.error = None
        self._runner.discard()
        self._controls.show_heatmap_progress(1, 1)
        if missing:
            self._say(method, 0, len(missing))
        cleared = self._cleared
        self._runner.start(
            "heatmap", lambda job: self._work(job, cleared, classifier, missing, method, target, layer)
        )

    def explain(
        self, classifier: Classifier, prediction: Prediction, method: str, target: Target, layer: str | None
    ) -> Explanation:
        """Return the heatmap of one face, computed in this thread unless it is known."""
        found = self.known(prediction, method, target)
        if found is None:
            cleared = self._cleared
            found = explain(classifier, prediction, method, target, layer)
            with self._callbacks.lock:
                if self._cleared == cleared:  # else the picture was removed meanwhile
                    self._known[prediction, method, target] = found
        return found

    def cancel(self) -> None:
        """Stop; heatmaps that are finished stay."""
        if self._runner.discard():
            self._controls.show_heatmap_progress(
                1, 1, "Stopped. Choose the method again for the heatmaps that are missing."
            )

    def discard(self) -> None:
        """Stop computing what was asked for."""
        self.error = None
        self._runner.discard()
        self._controls.show_heatmap_progress(1, 1)

    def keep(self, predictions: Collection[Prediction]) -> None:
        """Forget the heatmaps of all other faces; where there are none, also those being computed."""
        self._cleared += not predictions
        self._known = {key: e for key, e in self._known.items() if key[0] in predictions}

    def wait(self, timeout: float | None = None) -> bool:
        """Wait at most ``timeout`` seconds until none is being computed; return whether that is so."""
        return self._runner.wait(timeout)

    # -------------------------------------------------------------- in the background

    def _say(self, method: str, done: int, total: int) -> None:
        words = METHODS.get(method, method)
        self._controls.show_heatmap_progress(
            done, total, f"Computing heatmaps by {words}: face {done + 1} of {total} …"
        )

    def _work(
        self,
        job: Job,
        cleared: int,
        classifier: Classifier,
        missing: Sequence[Prediction],
        method: str,
        target: Target,
        layer: str | None,
    ) -> None:
        self._before(job)
        for i, prediction in enumerate(missing):
            if job.discarded:
                return
            try:
                found = explain(classifier, prediction, method, target, layer)
            except Exception as error:
                with self._callbacks.lock:
                    if not job.discarded:
                        self.error = error
                        self._shown()
                return
            if not job.discarded:
                self._draw(found)
            with self._callbacks.lock:
                if self._cleared != cleared:  # the picture was removed meanwhile
                    return
                self._known[prediction, method, target] = found
                if not job.discarded:
                    self._shown()
                    if i + 1 < len(missing):
                        self._say(method, i + 1, len(missing))
                    else:
                        self._controls.show_heatmap_progress(1, 1)

    def _finished(self, job: Job) -> None:
        with self._callbacks.lock:
            if not job.discarded:
                self._controls.show_heatmap_progress(1, 1)
                if isinstance(job.error, Exception):
                    self._callbacks.record(job.error, "heatmap")
