"""What is known about a video: every sighting of every face, persons, verdicts, and how complete it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InputError
from ..explanation.heatmaps import Explanation
from ..faces.detection import Box
from ..media.frames import Source
from ..models.card import Card, model_to_dict
from ..models.prediction import Label, Prediction
from ..utils.numeric import check_threshold, sigmoid
from ..utils.versions import package_versions
from .aggregation import DEFAULT, aggregate
from .verdict import Verdict, judge_person, judge_video

if TYPE_CHECKING:
    import pandas as pd

    from ..media.video import Completeness

_COLUMNS = (
    "file person track frame time_s left top right bottom size_px confidence sharpness logit probability "
    "label threshold bridged"
)


@dataclass(frozen=True)
class Sighting:
    """One face in one frame, without its pixels.

    Parameters
    ----------
    frame
        Zero-based index in decode order.
    timestamp
        Seconds from the video's start.
    box
        (left, top, right, bottom) in frame pixels, right and bottom exclusive.
    track, person
        Counted from 0.
    logit
        The model's output; positive means fake.
    temperature
        The model's, or None.
    bridged
        Whether the face was followed from the frame before because no detector saw it.
    """

    frame: int
    timestamp: float
    box: Box
    track: int
    person: int
    logit: float
    temperature: float | None
    confidence: float | None
    sharpness: float
    bridged: bool = False

    @property
    def size(self) -> int:
        """The box's shorter side in pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def calibrated(self) -> float:
        """The logit divided by the temperature, where there is one."""
        return self.logit / (self.temperature or 1.0)

    @property
    def probability(self) -> float:
        """P(fake), 0..1."""
        return sigmoid(self.calibrated)

    def label(self, threshold: float) -> Label:
        """``"fake"`` where P(fake) reaches the threshold, else ``"real"``."""
        return "fake" if self.probability >= threshold else "real"


@dataclass(frozen=True, eq=False)
class Person:
    """One person of a video.

    ``portrait`` is the best view: a large, sharp face that a detector saw, with its picture around it.
    ``probability`` is P(fake) over all sightings by the report's aggregation; ``spread`` the 10th and the
    90th percentile of the single frames' P(fake).
    """

    number: int
    sightings: tuple[Sighting, ...]
    probability: float
    spread: tuple[float, float]
    verdict: Verdict
    portrait: Prediction | None = None

    @property
    def name(self) -> str:
        """For people: counted from 1."""
        return f"person {self.number + 1}"

    @property
    def tracks(self) -> tuple[int, ...]:
        """The tracks that show this person."""
        return tuple(sorted({s.track for s in self.sightings}))


@dataclass(frozen=True, eq=False)
class VideoReport:
    """Everything that is known about one video.

    Parameters
    ----------
    source
        Name, SHA-256, size and format of the file.
    sightings
        Every face of every sampled frame, by time; ``person`` and ``track`` say whose.
    frame_times
        (F,) float64, seconds of all frames that were looked at, with or without a face.
    frame_size
        (width, height) in pixels of the first frame.
    duration
        Seconds.
    card
        The model's card.
    threshold
        Cut on P(fake).
    aggregation
        How frames become one score; see :mod:`redeepfake_nb.analysis.aggregation`.
    completeness
        What was read of what the file promises, and the first error.
    cancelled
        Whether a person stopped it; the report holds what was done by then.
    evidence
        The faces that speak loudest for ``fake``, strongest first, each on a cut-out of its frame.
    explanations
        Heatmaps of ``evidence`` in the same order, or empty.
    portraits
        Person -> best view.
    origin
        Where the video was read from, so that it can be looked at again; in no file that is written.
    """

    source: Source
    sightings: tuple[Sighting, ...]
    frame_times: np.ndarray
    frame_size: tuple[int, int]
    duration: float | None
    card: Card
    threshold: float
    completeness: Completeness
    aggregation: str = DEFAULT
    cancelled: bool = False
    evidence: tuple[Prediction, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    portraits: Mapping[int, Prediction] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    origin: Any = field(default=None, repr=False)

    def __repr__(self) -> str:
        scores = ", ".join(f"{p.name} {p.probability:.2f}" for p in self.persons) or "no face"
        return (
            f"<VideoReport {self.name!r}: {self.verdict.label} at threshold {self.threshold:.2f}, {scores}>"
        )

    @property
    def name(self) -> str:
        """The file's name."""
        return self.source.name

    @property
    def frames(self) -> int:
        """How many frames were looked at."""
        return len(self.frame_times)

    @property
    def face_share(self) -> float:
        """Share of the frames looked at in which a face was found, 0..1."""
        return len({s.frame for s in self.sightings}) / self.frames if self.frames else 0.0

    @cached_property
    def persons(self) -> tuple[Person, ...]:
        """Everybody in it, in the order of appearance."""
        found = []
        for number in sorted({s.person for s in self.sightings}):
            mine = tuple(s for s in self.sightings if s.person == number)
            probability = aggregate([s.calibrated for s in mine], self.aggregation)
            single = np.array([s.probability for s in mine])
            low, high = np.percentile(single, [10, 90])
            verdict = judge_person(
                probability,
                single,
                sizes=[s.size for s in mine],
                sharpness=[s.sharpness for s in mine],
                frames=self.frames,
                card=self.card,
                threshold=self.threshold,
            )
            portrait = self.portraits.get(number)
            found.append(Person(number, mine, probability, (float(low), float(high)), verdict, portrait))
        return tuple(found)

    @cached_property
    def verdict(self) -> Verdict:
        """Over all persons, with what is missing of the video."""
        missing = []
        if self.cancelled:
            missing.append(f"stopped after {self.frames} frames")
        # A sample that somebody ended is incomplete without any fault of the file.
        if not self.completeness.complete and not (self.cancelled and self.completeness.first_error is None):
            missing.append(self.completeness.summary)
        return judge_video([(p.name, p.verdict) for p in self.persons], missing, self.card, self.threshold)

    def check_same(self, source: Source) -> None:
        """Raise InputError where another file stands in the place of the one this report is about."""
        if source.sha256 != self.source.sha256:
            raise InputError(
                "this is not the file that was analysed (its SHA-256 differs)",
                subject=source.name,
                next_step="Analyse it anew.",
            )

    def nearest(self, time: float) -> tuple[Sighting, ...]:
        """The sightings of the looked-at frame that is closest to ``time`` seconds; empty without frames."""
        if not self.frames:
            return ()
        chosen = self.frame_times[np.abs(self.frame_times - time).argmin()]
        return tuple(s for s in self.sightings if s.timestamp == chosen)

    def at_threshold(self, threshold: float) -> VideoReport:
        """The same scores judged at another threshold; nothing is computed anew.

        Raises
        ------
        ValueError
            A threshold outside (0, 1).
        """
        check_threshold(threshold)
        return replace(self, threshold=threshold, settings={**self.settings, "threshold": threshold})

    def aggregated(self, strategy: str) -> VideoReport:
        """The same scores under another aggregation; nothing is computed anew."""
        aggregate([0.0], strategy)  # an unknown name is told at once
        return replace(self, aggregation=strategy, settings={**self.settings, "aggregation": strategy})

    def compare_aggregations(self, *strategies: str) -> pd.DataFrame:
        """P(fake) and label of each person under several aggregations, one row per person and aggregation.

        Returns
        -------
        pandas.DataFrame
            Columns ``person, aggregation, probability, verdict``.
        """
        import pandas as pd

        rows = [
            (person.name, strategy, person.probability, person.verdict.label)
            for strategy in strategies
            for person in self.aggregated(strategy).persons
        ]
        columns = ["person", "aggregation", "probability", "verdict"]
        return pd.DataFrame(rows, columns=columns).sort_values("person", kind="stable", ignore_index=True)

    def to_frame(self) -> pd.DataFrame:
        """One row per sighting. Empty, with the same columns, without faces."""
        import pandas as pd

        rows = []
        for s in self.sightings:
            left, top, right, bottom = s.box
            rows.append(
                {
                    "file": self.name,
                    "person": s.person + 1,
                    "track": s.track,
                    "frame": s.frame,
                    "time_s": s.timestamp,
                    "left": left,
                    "top": top,
                    "right": right,
                    "bottom": bottom,
                    "size_px": s.size,
                    "confidence": s.confidence,
                    "sharpness": s.sharpness,
                    "logit": s.logit,
                    "probability": s.probability,
                    "label": s.label(self.threshold),
                    "threshold": self.threshold,
                    "bridged": s.bridged,
                }
            )
        return pd.DataFrame(rows, columns=_COLUMNS.split())

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, without the single frames' rows (they are in :meth:`to_frame`)."""
        persons = [
            {
                "person": p.number + 1,
                "probability": p.probability,
                "spread": list(p.spread),
                "frames": len(p.sightings),
                "first_s": p.sightings[0].timestamp,
                "last_s": p.sightings[-1].timestamp,
                "tracks": list(p.tracks),
                "verdict": p.verdict.to_dict(),
            }
            for p in self.persons
        ]
        evidence = [
            {"frame": e.face.frame.index, "time_s": e.face.frame.timestamp, "probability": e.probability}
            for e in self.evidence
        ]
        return {
            "source": self.source.to_dict(),
            "width": self.frame_size[0],
            "height": self.frame_size[1],
            "duration_s": self.duration,
            "frames": self.frames,
            "face_share": self.face_share,
            "aggregation": self.aggregation,
            "verdict": self.verdict.to_dict(),
            "persons": persons,
            "evidence": evidence,
            "completeness": self.completeness.to_dict(),
            "cancelled": self.cancelled,
            "model": model_to_dict(self.card),
            "settings": dict(self.settings),
            "versions": package_versions(),
            "timing": dict(self.timing),
        }
