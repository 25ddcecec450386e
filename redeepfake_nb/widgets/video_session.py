"""Revisit an analysed video: new threshold, single frames decoded again, heatmaps computed on request."""

from __future__ import annotations

import weakref
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..analysis.segments import nearest_time
from ..analysis.video_report import VideoReport
from ..errors import InputError
from ..explanation.heatmaps import Explanation
from ..explanation.methods import Target
from ..faces.detection import find_landmarks
from ..faces.face import Face
from ..media.frames import Frame
from ..media.video import Video
from ..models.classifier import Classifier
from ..models.prediction import Prediction
from .callbacks import error_message


class FrameReader:
    """Decode single frames of an analysed video again, from where it was read.

    The video is opened for the first frame and stays open, since opening it reads the whole file. It is
    closed by :meth:`close`, or when the reader is garbage collected. For one thread at a time.
    """

    def __init__(self, report: VideoReport) -> None:
        self._report = report
        self._frame: Frame | None = None
        self._video: Video | None = None
        self._close: weakref.finalize | None = None

    def frame(self, time: float) -> Frame:
        """Return the frame that is shown at ``time`` seconds; the latest one is cached.

        Raises
        ------
        InputError
            The video can no longer be read, or it has changed.
        """
        if self._frame is not None and self._frame.timestamp == time:
            return self._frame
        if self._video is None:
            video = self._report.open_again()
            self._video, self._close = video, weakref.finalize(self, video.close)
        # One frame only: the next one would come after the end.
        sample = self._video.sample(every=2 * self._video.duration + 1, start=time)
        frame = next(sample, None)
        if frame is None:
            raise InputError(
                f"the frame at {time:.2f} s cannot be decoded again",
                subject=self._report.name,
                next_step="Choose another time.",
            )
        self._frame = frame
        return frame

    def close(self) -> None:
        """Close the file and drop the cached frame."""
        self._frame = None
        if self._close is not None:
            self._close()
        self._video = self._close = None


def predictions_at(report: VideoReport, frame: Frame, classifier: Classifier) -> list[Prediction]:
    """Return an analysed frame's known scores as predictions, highest first; nothing is scored again.

    Parameters
    ----------
    frame
        Decoded again, see :class:`FrameReader`.
    classifier
        The one that made the report.
    """
    found = []
    sightings = report.nearest(frame.timestamp)
    # Not for the score, which is known, but for heatmaps summed over the parts of the face.
    landmarks = find_landmarks(frame.image, [s.box for s in sightings])
    for s, points in zip(sightings, landmarks, strict=True):
        face = Face(
            frame,
            s.box,
            points,
            s.confidence,
            report.settings.get("margin"),
            s.sharpness,
            track=s.track,
            person=s.person,
            detector=report.settings.get("detector"),
        )
        found.append(Prediction(face, s.logit, s.temperature, classifier.threshold))
    return sorted(found, key=lambda p: -p.logit)


class VideoSession:
    """A report, the classifier that made it, and the analysed frame that is chosen.

    Attributes
    ----------
    report : VideoReport
    time : float or None
        Seconds of the chosen frame, which is one of the analysed frames; None where there is none.
    frame : Frame or None
        The chosen frame, where it could be decoded.
    predictions : list of Prediction
        Its faces, the most suspicious first.
    classifier : Classifier
        The one that made the report.
    """

    def __init__(self, report: VideoReport, classifier: Classifier) -> None:
        self.report = report
        self.frame: Frame | None = None
        self.predictions: list[Prediction] = []
        self.classifier = classifier
        self._reader = FrameReader(report)
        self.time: float | None = None
        if report.evidence:
            self.time = report.evidence[0].face.frame.timestamp
        elif report.frames:
            self.time = float(report.frame_times[0])

    def choose(self, time: float) -> None:
        """Choose the analysed frame that is nearest to ``time`` seconds."""
        self.time = nearest_time(self.report, time)

    def time_after(self, steps: int) -> float | None:
        """Return the time of the analysed frame that many steps after the chosen one, at most the last.

        Negative steps go back, at most to the first. None where no frame was analysed.
        """
        times = self.report.frame_times
        if self.time is None:
            return None
        index = int(np.abs(times - self.time).argmin()) + steps
        return float(times[min(max(index, 0), len(times) - 1)])

    def load_frame(self) -> None:
        """Decode the chosen frame, unless it is decoded already.

        Raises
        ------
        InputError
            See :meth:`FrameReader.frame`; ``frame`` is None then.
        """
        before, self.frame = self.frame, None
        if self.time is not None and before is not None and before.timestamp == self.time:
            self.frame = before
            return
        self.predictions = []
        if self.time is not None:
            self.frame = self._reader.frame(self.time)
            self.predictions = predictions_at(self.report, self.frame, self.classifier)

    def update_verdict(self, threshold: float, aggregation: str) -> None:
        """Apply another threshold and aggregation to the report's scores."""
        self.report = self.report.at_threshold(threshold).aggregated(aggregation)

    def set_evidence(
        self, explanations: Sequence[Explanation], method: str, target: Target, error: Exception | None
    ) -> None:
        """Replace the heatmaps of the report's strongest frames, all or none, and why there are none."""
        settings = {
            **self.report.settings,
            "explain": method if explanations else None,
            "target": target if explanations else None,
            "layer": explanations[0].layer if explanations else None,
        }
        words = "" if error is None else error_message(error)
        self.report = replace(
            self.report, explanations=tuple(explanations), settings=settings, heatmap_error=words
        )

    def close(self) -> None:
        """Close the file."""
        self._reader.close()
