"""``VideoView``: show an analysed video in the controls, with one of its frames and that frame's heatmaps."""

from __future__ import annotations

from typing import Any

from ..analysis.video_report import VideoReport
from ..errors import InputError
from ..explanation.heatmaps import Explanation
from ..explanation.methods import Target
from ..models.prediction import Prediction
from .callbacks import Callbacks
from .controls import MAX_HEATMAPS
from .explanation_panel import ExplanationPanel
from .heatmap_queue import HeatmapQueue
from .video_controls import VideoControls, person_name
from .video_session import VideoSession


class VideoView:
    """The part of a video inspector that shows a :class:`~redeepfake_nb.widgets.video_session.VideoSession`.

    Methods are called under the lock of the callbacks.

    Parameters
    ----------
    controls
        The widgets.
    callbacks
        Connects the controls, and shows errors.
    panel
        Is told which heatmaps are shown.
    layer
        Layer that heatmaps are taken from; ``None`` for the model's own.

    Attributes
    ----------
    session : VideoSession or None
        What is shown.
    heatmaps : HeatmapQueue
        Of the chosen frame and of the strongest frames.
    """

    def __init__(
        self,
        controls: VideoControls,
        callbacks: Callbacks,
        panel: ExplanationPanel,
        layer: str | None = None,
    ) -> None:
        self.session: VideoSession | None = None
        self.layer = layer
        self.heatmaps = HeatmapQueue(controls, callbacks, draw=self._draw_ahead, shown=self._heatmap_known)
        self._controls, self._callbacks, self._panel = controls, callbacks, panel
        c, on = controls, callbacks.connect
        for control in (c.method, c.target):
            on(control, self._explain_again, "heatmap")
        for control in (c.strength, c.scale):
            on(control, self._change_strength, "heatmap")
        on(c.time, self._change_time, "frames")
        on(c.previous, lambda: self._step(-1), "frames")
        on(c.next, lambda: self._step(1), "frames")
        c.script.on_step(lambda by: callbacks.run(lambda: self._step(by), "frames"))
        on(c.face, self._change_face, "heatmap")
        on(c.detail_heatmap, self._show_detail, "heatmap")
        c.timeline.on_time(
            lambda time: callbacks.run(lambda: self._go_to(time), "frames"),
            lambda by: callbacks.run(lambda: self._step(by), "frames"),
        )
        c.frame.on_choose(lambda i: callbacks.run(lambda: self._choose_face(i), "heatmap"))
        c.persons.on_choose(lambda i: callbacks.run(lambda: self._go_to_person(i), "frames"))
        c.strongest.on_choose(lambda i: callbacks.run(lambda: self._go_to_strongest(i), "frames"))
        self.show()

    @property
    def report(self) -> VideoReport | None:
        """The report at the chosen threshold and aggregation."""
        return None if self.session is None else self.session.report

    def open(self, session: VideoSession) -> None:
        """Show a session, in place of the one before."""
        if self.session is not None:
            self.session.close()
        self.session = session
        self.heatmaps.discard()
        self.take_evidence()
        self.show()

    def close(self) -> None:
        """Close the session's file and show nothing."""
        if self.session is not None:
            self.session.close()
        self.session = None
        self.heatmaps.discard()
        self.heatmaps.keep(())
        self.show()
        self._controls.drawings.clear()

    def update_verdict(self) -> None:
        """Apply the chosen threshold and aggregation."""
        c = self._controls
        if self.session is not None:
            self.session.update_verdict(c.threshold.value, c.aggregation.value)
            c.draw_ahead(self.session.report, self.session.time)
            c.show_report(self.session.report, self.session.time)
            self._show_frame(new=False)

    # -------------------------------------------------------------- what the controls do

    def _explain_again(self) -> None:
        self._callbacks.forget("heatmap")
        self.heatmaps.discard()
        self.take_evidence()
        self._change_strength()
        self._request()

    def _change_strength(self) -> None:
        self._controls.show_strongest(self.report)
        self._show_explanations()

    def _change_time(self) -> None:
        self._callbacks.forget("video", "frames", "heatmap")
        if self.session is not None:
            self.session.choose(self._controls.time.value)
        self._show_frame()

    def _change_face(self) -> None:
        self._show_explanations()
        self._request()

    def _step(self, by: int) -> None:
        time = None if self.session is None else self.session.time_after(by)
        if time is not None:
            self._controls.time.value = time

    def _go_to(self, time: float, person: int | None = None) -> None:
        """Show the analysed frame nearest to a time, and one of its persons closely."""
        if self.session is None:
            return
        self.session.choose(time)
        if self.session.time is not None and self._controls.time.value != self.session.time:
            self._controls.time.value = self.session.time
        for i, prediction in enumerate(self.session.predictions):
            if person is not None and prediction.face.person == person:
                self._controls.face.value = i

    def _go_to_person(self, index: int) -> None:
        """Show the frame of a person's portrait; ``index``: as they are drawn."""
        if self.report is not None and index < len(self.report.persons):
            person = self.report.persons[self.report.most_suspicious[index]]
            if person.portrait is not None:
                self._go_to(person.portrait.face.frame.timestamp, person.number)

    def _go_to_strongest(self, index: int) -> None:
        if self.report is not None and index < len(self.report.evidence):
            face = self.report.evidence[index].face
            self._go_to(face.frame.timestamp, face.person)

    def _choose_face(self, index: int) -> None:
        """Look at one face; at all of them again where it was chosen before."""
        face = self._controls.face
        face.value = -1 if face.value == index else index

    # -------------------------------------------------------------- showing

    def show(self) -> None:
        """Show another report; its parts appear at once."""
        c, report = self._controls, self.report
        time = None if self.session is None else self.session.time
        with c.page_hidden():
            if report is not None:
                c.draw_ahead(report, time)
            c.empty_pictures()
            with self._callbacks.paused():
                c.show_navigation(report, time)
            c.show_strongest(report)
            c.show_report(report, time)
            self._show_frame(new=False)

    def _show_frame(self, new: bool = True) -> None:
        """Show the chosen frame; where it cannot be decoded, the reason is shown.

        ``new``: another frame than before, whose parts are to appear at once.
        """
        session, c = self.session, self._controls
        if new:
            with c.page_hidden():
                if session is not None:
                    c.show_timeline(session.report, session.time)
                self._show_frame(new=False)
            return
        if session is None:
            with self._callbacks.paused():
                c.show_frame(None, (), (), None)
        else:
            try:
                session.load_frame()
            except InputError as error:
                self._callbacks.record(error, "video")
            # Each heatmap refers to its frame, and there may be thousands.
            self.heatmaps.keep({*session.predictions, *session.report.evidence})
            sightings = () if session.time is None else session.report.nearest(session.time)
            with self._callbacks.paused():
                c.show_frame(session.frame, sightings, session.predictions, session.report)
        self._show_explanations()
        self._request()

    # -------------------------------------------------------------- heatmaps

    def _chosen(self) -> tuple[str, Target]:
        return self._controls.method.value, self._controls.target.value

    def _known(self, predictions: Any) -> list[Explanation | None]:
        return [self.heatmaps.known(p, *self._chosen()) for p in predictions]

    def take_evidence(self) -> None:
        """Give the report the heatmaps of its strongest frames where all are known."""
        session = self.session
        if session is None:
            return
        self.heatmaps.add(session.report.explanations)
        found = [e for e in self._known(session.report.evidence) if e is not None]
        complete = len(found) == len(session.report.evidence)
        session.set_evidence(found if complete else (), *self._chosen(), self.heatmaps.error)

    def _draw_ahead(self, explanation: Explanation) -> None:
        if self.session is not None and explanation.prediction in self.session.predictions:
            self._controls.draw_explanation(explanation)

    def _request(self) -> None:
        session = self.session
        if session is None:
            self.heatmaps.discard()
            return
        wanted: list[Prediction] = [*self._shown(), *session.report.evidence]
        self.heatmaps.request(session.classifier, wanted, *self._chosen(), self.layer)

    def _heatmap_known(self) -> None:
        """Show one more heatmap, or why there is none."""
        had = self.report.explanations if self.report is not None else ()
        if self.heatmaps.error is not None:
            self._callbacks.forget("heatmap")
            self._callbacks.record_at("heatmap", self.heatmaps.error)
        self.take_evidence()
        if self.report is not None and self.report.explanations != had:
            self._controls.show_strongest(self.report)
        self._show_explanations()

    def _show_explanations(self) -> None:
        session, c = self.session, self._controls
        shown = self._shown()
        pictures, named = [], []
        for prediction, known in zip(shown, self._known(shown), strict=True):
            if known is not None:
                named.append((person_name(prediction), known))
                pictures.append((person_name(prediction), c.draw_explanation(known)))
            elif self.heatmaps.error is None:
                pictures.append((f"{person_name(prediction)}: the heatmap is not computed yet", b""))
        c.show_heatmaps(pictures)
        classifier = None if session is None else session.classifier
        self._panel.set_heatmaps(classifier, named, c.threshold.value)
        self._show_detail()

    def _shown(self) -> list[Prediction]:
        """The faces whose heatmaps are shown."""
        index = self._controls.chosen_face
        if self.session is None:
            return []
        found = self.session.predictions
        return found[:MAX_HEATMAPS] if index is None else found[index : index + 1]

    def _show_detail(self) -> None:
        """Show the face that is looked at alone, with its heatmap where that is wanted and known."""
        c = self._controls
        chosen = self._shown() if c.chosen_face is not None else []
        known = self._known(chosen) if c.detail_heatmap.value else []
        c.show_face(chosen[0] if chosen else None, known[0] if known else None)
