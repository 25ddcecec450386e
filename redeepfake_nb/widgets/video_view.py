"""``VideoView``: show an analysed video in the controls, with one of its frames and that frame's heatmaps."""

from __future__ import annotations

from ..analysis.video_report import VideoReport
from ..errors import InputError
from .callbacks import Callbacks
from .controls import MAX_HEATMAPS
from .explanation_panel import ExplanationPanel
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

    Attributes
    ----------
    session : VideoSession or None
        What is shown.
    """

    def __init__(self, controls: VideoControls, callbacks: Callbacks, panel: ExplanationPanel) -> None:
        self.session: VideoSession | None = None
        self._controls, self._callbacks, self._panel = controls, callbacks, panel
        c, on = controls, callbacks.connect
        for control in (c.method, c.target):
            on(control, self._explain_again, "heatmap")
        on(c.strength, self._change_strength, "heatmap")
        on(c.time, self._change_time, "frames")
        on(c.previous, lambda: self._step(-1), "frames")
        on(c.next, lambda: self._step(1), "frames")
        self._show()

    @property
    def report(self) -> VideoReport | None:
        """The report at the chosen threshold and aggregation."""
        return None if self.session is None else self.session.report

    def open(self, session: VideoSession) -> None:
        """Show a session."""
        self.session = session
        self._show()

    def close(self) -> None:
        """Close the session's file and show nothing."""
        if self.session is not None:
            self.session.close()
        self.session = None
        self._show()

    def update_verdict(self) -> None:
        """Apply the chosen threshold and aggregation."""
        c = self._controls
        if self.session is not None:
            self.session.update_verdict(c.threshold.value, c.aggregation.value)
            c.show_report(self.session.report, self.session.time)
            self._show_frame()

    # -------------------------------------------------------------- what the controls do

    def _explain_again(self) -> None:
        self._callbacks.forget("heatmap")
        if self.session is not None:
            self.session.explain_evidence(self._controls.method.value, self._controls.target.value)
        self._change_strength()

    def _change_strength(self) -> None:
        self._controls.show_strongest(self.report)
        self._show_explanations()

    def _change_time(self) -> None:
        self._callbacks.forget("video", "frames", "heatmap")
        if self.session is not None:
            self.session.choose(self._controls.time.value)
            self._controls.show_timeline(self.session.report, self.session.time)
        self._show_frame()

    def _step(self, by: int) -> None:
        time = None if self.session is None else self.session.time_after(by)
        if time is not None:
            self._controls.time.value = time

    # -------------------------------------------------------------- showing

    def _show(self) -> None:
        c, report = self._controls, self.report
        time = None if self.session is None else self.session.time
        with self._callbacks.paused():
            c.show_navigation(report, time)
        c.show_strongest(report)
        c.show_report(report, time)
        self._show_frame()

    def _show_frame(self) -> None:
        """Show the chosen frame; where it cannot be decoded, the reason is shown."""
        session = self.session
        if session is None:
            self._controls.show_frame(None, (), None)
        else:
            try:
                session.load_frame()
            except InputError as error:
                self._callbacks.record(error, "video")
            sightings = () if session.time is None else session.report.nearest(session.time)
            self._controls.show_frame(session.frame, sightings, session.report)
        self._show_explanations()

    def _show_explanations(self) -> None:
        session, c = self.session, self._controls
        found = [] if session is None else session.explanations(c.method.value, c.target.value, MAX_HEATMAPS)
        if session is not None and session.heatmap_error is not None:
            self._callbacks.forget("heatmap")
            self._callbacks.record_at("heatmap", session.heatmap_error)
        c.show_explanations(found)
        classifier = None if session is None else session.classifier
        self._panel.set_heatmaps(classifier, [(person_name(e), e) for e in found], c.threshold.value)
