"""The half of the video inspector that shows a result and judges it anew; the other half makes it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from ..analysis.video_report import VideoReport
from ..errors import InputError, ModelError, OutputError
from ..models.classifier import Classifier
from .base import Inspector
from .controls import MAX_MAPS
from .video_controls import VideoControls, whose
from .video_state import Viewing


class VideoBoard(Inspector):
    """Shows a :class:`~redeepfake_nb.widgets.video_state.Viewing` in the controls.

    Callbacks and the thread that works hold the lock while they change what is shown.
    """

    places = ((InputError, "video"), (ModelError, "model"), (OutputError, "save"))
    controls: VideoControls

    def __init__(
        self, controls: VideoControls, classifier: Classifier | str | os.PathLike | None, own_threshold: bool
    ) -> None:
        super().__init__(controls, classifier, own_threshold)
        self._lock = threading.RLock()
        self._viewing: Viewing | None = None  # the result and what is looked at in it

    @property
    def result(self) -> VideoReport | None:
        """The latest report, at the threshold and under the aggregation that are chosen."""
        return None if self._viewing is None else self._viewing.report

    def _guarded(self, work: Callable[[], Any], place: str) -> None:
        with self._lock:
            super()._guarded(work, place)

    def _connect(self) -> None:
        c, on = self.controls, self._on
        on(c.model, self._load_chosen, "model")
        on(c.threshold, self._move_threshold, "model")
        on(c.reset, self._reset_threshold, "model")
        on(c.aggregation, self._judge_again, "model")
        for control in (c.method, c.target):
            on(control, self._explain_again, "heatmap")
        on(c.strength, self._show_heat, "heatmap")
        on(c.moment, self._choose_moment, "frames")
        on(c.back, lambda: self._step(-1), "frames")
        on(c.forth, lambda: self._step(1), "frames")

    def _judge_again(self) -> None:
        c = self.controls
        if self._viewing is not None:
            self._viewing.judge(c.threshold.value, c.aggregation.value)
            c.show_report(self.result, self._viewing.time)
            self._show_moment()
            self._mark_stale()

    def _explain_again(self) -> None:
        self._forget("heatmap")
        if self._viewing is not None:
            self._viewing.explain_evidence(self.controls.method.value, self.controls.target.value)
        self._show_heat()

    def _choose_moment(self) -> None:
        self._forget("video", "frames", "heatmap")
        if self._viewing is not None:
            self._viewing.choose(self.controls.moment.value)
            self.controls.show_timeline(self.result, self._viewing.time)
        self._show_moment()

    def _step(self, by: int) -> None:
        time = None if self._viewing is None else self._viewing.step(by)
        if time is not None:
            self.controls.moment.value = time

    def _drop_result(self) -> None:
        if self._viewing is not None:
            self._viewing.close()
        self._viewing = self._settings = None

    def _show(self) -> None:
        """All of it, at the chosen moment."""
        viewing = self._viewing
        with self._silence():
            self.controls.show_moments(viewing.report if viewing else None, viewing.time if viewing else None)
        self.controls.show_strongest(self.result)
        self.controls.show_report(self.result, viewing.time if viewing else None)
        self._show_moment()

    def _show_moment(self) -> None:
        viewing = self._viewing
        try:
            if viewing is not None:
                viewing.load()
        except InputError as error:
            self._record(error, "video")
        if viewing is None:
            self.controls.show_moment(None, (), None)
        else:
            shown = () if viewing.time is None else viewing.report.nearest(viewing.time)
            self.controls.show_moment(viewing.frame, shown, viewing.report)
        self._show_moment_heat()

    def _show_heat(self) -> None:
        """What depends on heatmaps."""
        self.controls.show_strongest(self.result)
        self._show_moment_heat()

    def _show_moment_heat(self) -> None:
        viewing, c = self._viewing, self.controls
        found = () if viewing is None else viewing.heatmaps(c.method.value, c.target.value, MAX_MAPS)
        c.show_maps(found)
        classifier = None if viewing is None else viewing.classifier
        self.closer.offer(classifier, [(whose(e).lower(), e) for e in found], c.threshold.value)
