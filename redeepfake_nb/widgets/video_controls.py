"""The video inspector's controls and result panes: widgets and their layout, no behaviour.

Works with ipywidgets 7.7 (Colab) and 8, see :mod:`redeepfake_nb.widgets.controls`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import ipywidgets as ipw
import numpy as np

from ..analysis.aggregation import DEFAULT as DEFAULT_AGGREGATION
from ..analysis.aggregation import STRATEGIES
from ..analysis.video_report import Sighting, VideoReport
from ..explanation.heatmaps import Explanation
from ..explanation.methods import Target
from ..media.frames import Frame
from ..models.prediction import Prediction
from ..report.annotated_video import draw_tracks
from ..view.regions import Region
from . import html as markup
from .controls import (
    ANY_SIZE,
    STYLE,
    WIDE,
    Controls,
    Group,
    InspectorSettings,
    button,
    hint,
    show_png,
    stream_box,
)
from .upload_area import UploadArea
from .viewer import MAX_HEIGHT, PictureViewer, encode_png
from .wording import AGGREGATION_WORDS

# Animated pictures are read, too.
ACCEPTED = "video/*,.mkv,.ts,.mts,.gif,.png,.apng,.webp,.avif"
SECTIONS = ("video", "frames", "model", "faces", "heatmap", "save")
# Longest side of the frame that is shown, in pixels. Frames are analysed and explained in full size.
MAX_SHOWN = 1280
# Smaller frames are enlarged before boxes and letters are drawn, and letters larger than in annotated videos,
# since frames are shown small.
_MIN_SHOWN, _LETTERS = 960, 1.35
_DAY = 86_400.0
_SAMPLINGS = (("A number of frames", "frames"), ("One frame every", "every"), ("All frames", "all"))


@dataclass(frozen=True, kw_only=True)
class VideoSettings(InspectorSettings):
    """First values of a video inspector's controls.

    Parameters
    ----------
    frames
        How many frames to analyse, or ``"all"``. Ignored where ``every`` is given.
    every
        Seconds between frames.
    start, end
        Seconds; only this part is analysed. ``None``: to the end of the video.
    aggregation
        A name in :data:`redeepfake_nb.analysis.aggregation.STRATEGIES`.
    method
        A name in :data:`redeepfake_nb.explanation.METHODS`.
    target
        Label that the heatmap explains.
    strength
        Opacity of the heatmap, 0 to 1.
    """

    frames: int | Literal["all"] = 32
    every: float | None = None
    start: float = 0.0
    end: float | None = None
    aggregation: str = DEFAULT_AGGREGATION
    method: str = "gradcam"
    target: Target = "fake"
    strength: float = 0.5

    @property
    def sampling(self) -> str:
        """Which of the three ways of sampling is chosen."""
        if self.every is not None:
            return "every"
        return "all" if self.frames == "all" else "frames"


class VideoControls(Controls):
    """All widgets of a video inspector as attributes; ``root`` holds them.

    Parameters
    ----------
    settings
        First values.
    """

    def __init__(self, settings: VideoSettings) -> None:
        super().__init__(SECTIONS, settings.local_files)
        self._add_source(settings.max_upload)
        self._add_sampling(settings)
        self._add_model_and_faces(settings, "video")
        self.aggregation = hint(
            ipw.Dropdown(
                options=[(AGGREGATION_WORDS.get(name, name), name) for name in STRATEGIES],
                value=settings.aggregation,
                description="Score by",
                layout=WIDE,
                style=STYLE,
            ),
            "How the scores of a person's frames are combined into one. Nothing is scored again",
        )
        self._add_heatmap_settings(settings.method, settings.target, settings.strength)
        self._add_saving(settings.folder, "the video")
        self.downloads["picture"].label = "Download video"
        self.downloads["picture"].hint = "Download the video with boxes and scores drawn in"
        self.annotated = hint(
            ipw.Checkbox(value=False, description="With annotated video", indent=False, layout=WIDE),
            "Also write the video with boxes and scores drawn in, for which all its frames are decoded",
        )
        self._add_results()
        self.root = self._arranged()
        self.starters = [self.upload, self.sample, self.open_path, self.save]
        self.show_running(False)

    def _add_source(self, max_upload: int) -> None:
        self.upload = UploadArea(
            "Choose a video",
            "Read a video file from this computer and analyse it",
            ACCEPTED,
            multiple=False,
            max_bytes=max_upload,
        )
        self.sample = button(
            "Use the sample", "Analyse a generated clip that is manipulated in its middle", "film"
        )
        self.path = hint(
            ipw.Text(description="Path", layout=WIDE, style={"description_width": "40px"}),
            "A video of any size on the notebook's machine",
        )
        self.path.add_class("rdf-path")
        self.open_path = button("Open path", "Analyse the video named above", "folder-open")

    def _add_sampling(self, settings: VideoSettings) -> None:
        box = {"layout": WIDE, "style": STYLE}
        frames, every = settings.frames, settings.every
        self.sampling = hint(
            ipw.Dropdown(options=_SAMPLINGS, value=settings.sampling, description="Analyse", **box),
            "More frames take longer and miss less; all frames of a long video can take hours",
        )
        self.frames = hint(
            ipw.BoundedIntText(
                value=32 if frames == "all" else frames, min=1, max=1_000_000, description="Frames", **box
            ),
            "How many frames to analyse, spread evenly over the video",
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
            "Seconds between the analysed frames",
        )
        self.start = hint(
            ipw.BoundedFloatText(value=settings.start, max=_DAY, step=1.0, description="From second", **box),
            "Where the analysed part of the video begins",
        )
        self.end = hint(
            ipw.BoundedFloatText(
                value=settings.end or 0.0, max=_DAY, step=1.0, description="To second", **box
            ),
            "Where the analysed part of the video ends; 0 is the end of the video",
        )
        self.stream = stream_box()

    def _add_results(self) -> None:
        self.verdict = ipw.HTML()
        self.timeline = PictureViewer("P(fake) over time; the tables below have the scores")
        self.time = hint(
            ipw.FloatSlider(
                value=0.0,
                min=0.0,
                max=1.0,
                step=0.01,
                description="Time (s)",
                continuous_update=False,
                readout_format=".2f",
                layout={"flex": "1 1 auto", "width": "auto"},
                style=STYLE,
            ),
            "Show the analysed frame that is nearest to this time",
        )
        self.previous = button("Previous", "Show the previous analysed frame", "arrow-left", "110px")
        self.next = button("Next", "Show the next analysed frame", "arrow-right", "110px")
        self.navigation = ipw.HBox([self.time, self.previous, self.next])
        self.frame_caption = ipw.HTML()
        self.frame = PictureViewer("The frame with a box around each face; the table has their scores")
        self._add_face("the frame")
        self.frame_table = ipw.HTML()
        self.persons_caption, self.persons_table = ipw.HTML(), ipw.HTML()
        self.persons = PictureViewer("The persons; a click shows the frame of the portrait")
        self.strongest_caption = ipw.HTML()
        self.strongest = PictureViewer("The frames with the highest scores; a click shows the frame")

    def _arranged(self) -> ipw.Widget:
        paths = self.local(ipw.HTML(markup.note(ANY_SIZE)), self.path, self.open_path)
        model = [self.reset_threshold, self.aggregation, *self.local(self.model)]
        groups = [
            Group("Video", [self.upload, self.sample], paths, "Open by path"),
            Group("Frames", [self.sampling, self.frames, self.every], [self.start, self.end, self.stream]),
            Group("Model", [self.threshold, self.model_facts], model),
            Group("Faces", [self.analyze_again], [self.detector, self.use_model_margin, self.margin]),
            Group("Heatmap", [self.method, self.strength], [self.target, self.scale]),
            Group(
                "Results",
                [self.download_row, self.clear, self.saved],
                self.local(self.folder, self.annotated, self.save),
                "Save on the notebook's machine",
            ),
        ]
        parts = [
            self.verdict,
            self.timeline,
            self.navigation,
            self.frame_caption,
            self.frame,
            self.face,
            self.detail_box,
            self.frame_table,
            self.heatmap_work,
            self.heatmaps,
            self.explanation_panel,
            self.persons_caption,
            self.persons,
            self.persons_table,
            self.strongest_caption,
            self.strongest,
        ]
        self.page = ipw.VBox(parts)
        main = [self.page, self.log]
        return self._two_columns(groups, main)

    # -------------------------------------------------------------- showing

    def show_sampling(self) -> None:
        """Show only the number that the chosen way of sampling uses."""
        self.frames.layout.display = "" if self.sampling.value == "frames" else "none"
        self.every.layout.display = "" if self.sampling.value == "every" else "none"

    def show_navigation(self, report: VideoReport | None, time: float | None) -> None:
        """Set the time slider to ``time`` seconds; it is hidden where there is nothing to choose."""
        self.navigation.layout.display = "none" if time is None else ""
        if report is not None and time is not None:
            self.time.max = max(report.duration or 0.0, float(report.frame_times[-1]), 0.01)
            self.time.value = time

    def show_report(self, report: VideoReport | None, time: float | None) -> None:
        """Show verdict, timeline and persons; nothing for None."""
        from .. import view

        self.verdict.value = "" if report is None else markup.video_verdict(report)
        self.show_timeline(report, time)
        if report is None or not report.persons:
            self.persons_caption.value = self.persons_table.value = ""
            show_png(self.persons, b"")
            return
        self.persons_caption.value = markup.caption("Persons")
        show_png(self.persons, self.drawings.draw(view.plot_persons, report))
        self.persons_table.value = markup.persons_table(report)

    def show_timeline(self, report: VideoReport | None, time: float | None) -> None:
        """Show P(fake) over time with a line at ``time`` seconds."""
        drawn = b"" if report is None else self._draw_timeline(report, time)
        self.timeline.show(drawn, time=time)

    def _draw_timeline(self, report: VideoReport, time: float | None) -> bytes:
        from .. import view

        return self.drawings.draw(view.plot_timeline, report, time=time, titled=False)

    def show_strongest(self, report: VideoReport | None) -> None:
        """Show the frames with the highest P(fake); nothing where none was kept."""
        from .. import view

        if report is None or not report.evidence:
            self.strongest_caption.value = ""
            show_png(self.strongest, b"")
            return
        self.strongest_caption.value = markup.caption(
            "Strongest frames: the highest scores of the video, even where they are low"
        )
        strength = self.strength.value
        show_png(self.strongest, self.drawings.draw(view.plot_suspicious_frames, report, strength=strength))

    def show_frame(
        self,
        frame: Frame | None,
        sightings: Sequence[Sighting],
        predictions: Sequence[Prediction],
        report: VideoReport | None,
    ) -> None:
        """Show a frame with the boxes of its faces, and their scores; nothing for None.

        ``predictions`` are the same faces as ``sightings``, the most suspicious first.
        """
        self.face.options = [("All faces", -1), *((_with_score(p), i) for i, p in enumerate(predictions))]
        self.face.value = -1
        self.face.layout.display = "" if len(predictions) > 1 else "none"
        if frame is None or report is None:
            self.frame_caption.value = self.frame_table.value = ""
            self.frame.show(b"")
            return
        faces = "no face" if not sightings else "1 face" if len(sightings) == 1 else f"{len(sightings)} faces"
        self.frame_caption.value = markup.caption(
            f"Frame {frame.index} at {frame.timestamp:.2f} s, {faces}. Thick boxes reach the threshold."
        )
        size = np.array([frame.width, frame.height] * 2)
        regions = [Region(person_name(p), tuple((p.face.box / size).tolist())) for p in predictions]
        drawn = _frame_png(frame.image, sightings, report.threshold)
        self.frame.show(drawn, regions, width=round(MAX_HEIGHT * frame.width / frame.height))
        ordered = sorted(sightings, key=lambda s: -s.logit)
        self.frame_table.value = markup.sightings_table(ordered, report.threshold, report.card.temperature)

    def show_face(self, prediction: Prediction | None, explanation: Explanation | None) -> None:
        """Show the chosen face in the pixels of the frame; ``explanation``: with this heatmap."""
        name = "" if prediction is None else _with_score(prediction)
        self.show_detail(prediction, name, explanation)
        self.frame.chosen = None if prediction is None else self.chosen_face

    def draw_ahead(self, report: VideoReport, time: float | None) -> None:
        """Draw what :meth:`show_report` and :meth:`show_strongest` show."""
        from .. import view

        self._draw_timeline(report, time)
        if report.persons:
            self.drawings.draw(view.plot_persons, report)
        if report.evidence:
            self.drawings.draw(view.plot_suspicious_frames, report, strength=self.strength.value)


def person_name(prediction: Prediction) -> str:
    """Return the name of the person that a face belongs to: ``"Person 1"``."""
    person = prediction.face.person
    return "Face" if person is None else f"Person {person + 1}"


def _with_score(prediction: Prediction) -> str:
    return f"{person_name(prediction)}, P(fake) {prediction.probability:.2f}"


def _frame_png(image: np.ndarray, sightings: Sequence[Sighting], threshold: float) -> bytes:
    """Draw boxes and scores on a (H, W, 3) uint8 RGB frame; return a PNG that fits the panel."""
    height, width = image.shape[:2]
    longest = max(height, width)
    scale = min(MAX_SHOWN / longest, max(1.0, -(-_MIN_SHOWN // longest)))
    if scale != 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    found = [(np.array(s.box, float) * scale, s.person, s.probability) for s in sightings]
    return encode_png(draw_tracks(image, found, threshold, _LETTERS))
