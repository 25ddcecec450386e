"""The video inspector's controls and panes: widgets, their hints and their places, and no behaviour.

Works with ipywidgets 7.7 (Colab) and 8, see :mod:`redeepfake_nb.widgets.controls`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import cv2
import ipywidgets as ipw
import numpy as np

from ..analysis.aggregation import STRATEGIES
from ..analysis.video_report import Sighting, VideoReport
from ..explanation.heatmaps import Explanation
from ..media.frames import Frame
from ..report.annotated_video import draw_tracks
from . import html as markup
from .controls import STYLE, WIDE, Controls, button, hint, show_png

ACCEPTED = "video/*,.mkv,.gif,.ts,.mts"
PLACES = ("video", "frames", "model", "faces", "heatmap", "save")
# Longest side of the frame that is shown. What is judged and explained is always the whole frame.
MAX_SHOWN = 1280
_DAY = 86_400.0
_SAMPLINGS = (("a number of frames", "frames"), ("a frame every", "every"), ("all frames", "all"))
_AGGREGATIONS = {
    "mean_logit": "mean logit",
    "mean_probability": "mean P(fake)",
    "median": "median P(fake)",
    "top_k_mean": "highest quarter",
    "confident": "the sure frames",
}


class VideoControls(Controls):
    """All widgets of a video inspector as attributes; ``root`` holds them.

    Parameters
    ----------
    model, models
        What the model box says at first, and what it suggests.
    frames, every, start, end, detector, margin, threshold, aggregation, method, target, strength, folder
        First values, see :class:`redeepfake_nb.widgets.image.VideoInspector`.
    """

    def __init__(
        self,
        model: str,
        models: Sequence[str],
        *,
        frames: int | Literal["all"],
        every: float | None,
        start: float,
        end: float | None,
        detector: str,
        margin: float | None,
        threshold: float | None,
        aggregation: str,
        method: str,
        target: str,
        strength: float,
        folder: str,
    ) -> None:
        super().__init__(PLACES)
        box = {"layout": WIDE, "style": STYLE}
        self.upload = hint(
            ipw.FileUpload(accept=ACCEPTED, multiple=False, description="Choose a video", layout=WIDE),
            "Read a video file from this computer and analyse it",
        )
        self.sample = button("Use the sample", "Analyse a clip made here, manipulated in its middle", "film")
        self.path = hint(
            ipw.Text(description="Path", layout=WIDE, style={"description_width": "40px"}),
            "A video on the notebook's machine, of any size",
        )
        self.open = button("Open path", "Analyse the video named above", "folder-open")

        self.sampling = hint(
            ipw.Dropdown(
                options=_SAMPLINGS,
                value="every" if every is not None else "all" if frames == "all" else "frames",
                description="Look at",
                **box,
            ),
            "More frames take longer and miss less; all frames of a long video can take hours",
        )
        self.frames = hint(
            ipw.BoundedIntText(
                value=32 if frames == "all" else frames, min=1, max=1_000_000, description="Frames", **box
            ),
            "How many frames to look at, spread evenly over the video",
        )
        self.every = hint(
            ipw.BoundedFloatText(
                value=0.5 if every is None else every,
                min=0.001,
                max=_DAY,
                step=0.1,
                description="Seconds",
                **box,
            ),
            "Seconds between the frames that are looked at",
        )

        self.start = hint(
            ipw.BoundedFloatText(value=start, max=_DAY, step=1.0, description="From, s", **box),
            "Where in the video to begin",
        )
        self.end = hint(
            ipw.BoundedFloatText(value=end or 0.0, max=_DAY, step=1.0, description="To, s", **box),
            "Where in the video to stop; 0 is its end",
        )

        self._add_model_and_faces(model, models, detector, margin, threshold, "video")
        self.aggregation = hint(
            ipw.Dropdown(
                options=[(_AGGREGATIONS.get(name, name), name) for name in STRATEGIES],
                value=aggregation,
                description="Score by",
                **box,
            ),
            "How the scores of a person's frames become one. Nothing is computed anew",
        )
        self._add_heatmaps([], method, target, strength)
        self._add_saving(folder, "the video")
        self.annotated = hint(
            ipw.Checkbox(value=False, description="With annotated video", indent=False, layout=WIDE),
            "Also write the video with boxes and scores drawn in; all its frames are decoded for that",
        )

        self.progress.layout.flex = "1 1 auto"
        self.cancel = button("Cancel", "Stop; what was done so far is kept and shown", "stop", "110px")
        self.verdict = ipw.HTML()
        self.timeline = _picture()
        self.moment = hint(
            ipw.FloatSlider(
                value=0.0,
                min=0.0,
                max=1.0,
                step=0.01,
                description="Moment, s",
                continuous_update=False,
                readout_format=".2f",
                layout={"flex": "1 1 auto", "width": "auto"},
                style=STYLE,
            ),
            "Show the looked-at frame that is nearest to this second",
        )
        self.back = button("Previous", "Show the looked-at frame before", "arrow-left", "110px")
        self.forth = button("Next", "Show the next looked-at frame", "arrow-right", "110px")
        self.choice = ipw.HBox([self.moment, self.back, self.forth])
        self.moment_caption = ipw.HTML()
        self.frame = _picture()
        self.moment_table = ipw.HTML()
        self.persons_caption, self.persons, self.persons_table = ipw.HTML(), _picture(), ipw.HTML()
        self.strongest_caption, self.strongest = ipw.HTML(), _picture()
        self.root = self._arranged()
        self.show_running(False)

    def _arranged(self) -> ipw.Widget:
        limit = markup.quiet("Uploads up to about 10 MB; larger ones by path:")
        groups = [
            ("Video", self.upload, self.sample, ipw.HTML(limit), self.path, self.open),
            ("Frames", self.sampling, self.frames, self.every, self.start, self.end),
            ("Model", self.model, self.model_facts, self.threshold, self.reset, self.aggregation),
            ("Faces", self.detector, self.own_margin, self.margin, self.again),
            ("Heatmap", self.method, self.target, self.strength),
            ("Save", self.folder, self.annotated, ipw.HBox([self.keep, self.forget]), self.saved),
        ]
        main = [
            self.status,
            ipw.HBox([self.progress, self.cancel], layout={"align_items": "center"}),
            self.verdict,
            self.timeline,
            self.choice,
            self.moment_caption,
            self.frame,
            self.moment_table,
            self.maps,
            self.closer,
            self.persons_caption,
            self.persons,
            self.persons_table,
            self.strongest_caption,
            self.strongest,
            self.log,
        ]
        return self._two_columns(groups, main)

    # -------------------------------------------------------------- showing

    def show_running(self, running: bool) -> None:
        """What can be pressed while work goes on, and what cannot."""
        self.cancel.layout.display = "" if running else "none"
        self.cancel.disabled = not running
        for control in (self.upload, self.sample, self.open, self.keep):
            control.disabled = running

    def show_sampling(self) -> None:
        """Only the number that counts."""
        self.frames.layout.display = "" if self.sampling.value == "frames" else "none"
        self.every.layout.display = "" if self.sampling.value == "every" else "none"

    def show_moments(self, report: VideoReport | None, moment: float | None) -> None:
        """Set the slider of moments to this one; it is gone where there is nothing to choose."""
        self.choice.layout.display = "none" if moment is None else ""
        if report is not None and moment is not None:
            self.moment.max = max(report.duration or 0.0, float(report.frame_times[-1]), 0.01)
            self.moment.value = moment

    def show_report(self, report: VideoReport | None, moment: float | None) -> None:
        """Verdict, timeline and persons; all empty for None."""
        from .. import view

        self.verdict.value = "" if report is None else markup.video_verdict(report)
        self.show_timeline(report, moment)
        people = report is not None and bool(report.persons)
        self.persons_caption.value = markup.caption("Persons") if people else ""
        show_png(self.persons, view.to_png(view.plot_persons, report) if people else b"")
        self.persons_table.value = markup.persons_table(report) if people else ""

    def show_timeline(self, report: VideoReport | None, moment: float | None) -> None:
        """P(fake) over time with a line at the moment."""
        from .. import view

        drawn = b"" if report is None else view.to_png(view.plot_timeline, report, moment=moment)
        show_png(self.timeline, drawn)

    def show_strongest(self, report: VideoReport | None) -> None:
        """The frames that speak loudest for fake; nothing where none was kept."""
        from .. import view

        kept = report is not None and bool(report.evidence)
        words = "Strongest frames: the highest scores of the video, whatever their height"
        self.strongest_caption.value = markup.caption(words) if kept else ""
        strength = self.strength.value
        drawn = view.to_png(view.plot_suspicious_frames, report, strength=strength) if kept else b""
        show_png(self.strongest, drawn)

    def show_moment(
        self, frame: Frame | None, sightings: Sequence[Sighting], report: VideoReport | None
    ) -> None:
        """A frame with the boxes of its faces, and their scores; all empty for None."""
        if frame is None or report is None:
            self.moment_caption.value = self.moment_table.value = ""
            show_png(self.frame, b"")
            return
        faces = "no face" if not sightings else "1 face" if len(sightings) == 1 else f"{len(sightings)} faces"
        self.moment_caption.value = markup.caption(
            f"Frame {frame.index} at {frame.timestamp:.2f} s, {faces}. Thick boxes reach the threshold."
        )
        show_png(self.frame, _frame_png(frame.image, sightings, report.threshold))
        self.moment_table.value = markup.sightings_table(sightings, report.threshold, report.card.temperature)

    def show_maps(self, explanations: Sequence[Explanation]) -> None:
        """Heatmaps of the moment's faces, the largest first."""
        from .. import view

        strength = self.strength.value
        self.fill_maps(
            [(whose(e), view.to_png(view.plot_explanation, e, strength=strength)) for e in explanations]
        )


def whose(explanation: Explanation) -> str:
    """``Person 1``."""
    person = explanation.prediction.face.person
    return "Face" if person is None else f"Person {person + 1}"


def _picture() -> ipw.Image:
    image = ipw.Image(format="png")
    image.add_class("rdf-picture")
    image.layout.display = "none"
    return image


def _frame_png(image: np.ndarray, sightings: Sequence[Sighting], threshold: float) -> bytes:
    """A frame in the size of a screen with boxes and scores, as a PNG."""
    height, width = image.shape[:2]
    scale = min(MAX_SHOWN / max(height, width), 1.0)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    found = [(np.array(s.box, float) * scale, s.person, s.probability) for s in sightings]
    drawn = draw_tracks(image, found, threshold)
    return cv2.imencode(".png", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR))[1].tobytes()
