"""The result of analysing a video: sightings of faces, persons, verdicts, and how much could be read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from ..errors import InputError
from ..explanation.heatmaps import Explanation
from ..faces.detail import Detail
from ..faces.detection import Box
from ..faces.turned import turn_note, turned_by
from ..media.frames import Source
from ..media.notes import unseen
from ..models.card import Card, model_to_dict
from ..models.likely_kind import kinds_in_words, mean_kinds
from ..models.prediction import Label, Prediction
from ..provenance.records import Provenance
from ..utils.numeric import check_threshold, sigmoid
from ..utils.versions import package_versions
from ..utils.wording import pluralize
from .aggregation import DEFAULT, aggregate, check_strategy
from .coverage import Coverage
from .face_columns import FACE_COLUMNS, face_facts, kind_columns, kind_facts
from .intervals import sampling_interval
from .verdict import (
    VERDICT_WORDS,
    Verdict,
    WindowUse,
    judge_person,
    judge_video,
    no_face_in_frames,
    with_provenance,
    without_face_in_frames,
)

if TYPE_CHECKING:
    import pandas as pd

    from ..media.video import Completeness, Video

_COLUMNS = (
    "file person track frame time_s left top right bottom size_px confidence sharpness logit probability "
    f"label threshold kind bridged {FACE_COLUMNS} warnings provenance"
)


@dataclass(frozen=True)
class Sighting:
    """One face in one sampled frame, without its pixels.

    Parameters
    ----------
    frame
        Zero-based index in decode order.
    timestamp
        Seconds from the video's start.
    box
        (left, top, right, bottom) in pixels of the upright frame with square pixels, which is as large as
        ``frame_size`` of the report; right and bottom exclusive.
    track, person
        Numbers from 0.
    logit
        The model's output; positive means fake.
    temperature
        The model's calibration temperature, or ``None``.
    confidence
        On the detector's own scale, or ``None``.
    sharpness
        Variance of the Laplacian; see :func:`redeepfake_nb.faces.face.crop_sharpness`.
    bridged
        Whether the face was tracked from the frame before because the detector missed it.
    detail, covered
        The resolution that is really there, and the largest flat part, 0..1; see :class:`redeepfake_nb.Face`.
        ``None`` where they were not measured.
    mouth_covered, uncertain, profile
        As in :class:`redeepfake_nb.Face`; ``None`` where there are no key points.
    window
        Number of the window of frames whose score this is, from 0; ``None`` where the model scores single
        frames. All sightings with one number have one score; see :mod:`redeepfake_nb.analysis.windows`.
    repeated
        How many frames of that window repeat its last sighting, because there were no more.
    kinds
        Probability of each of the card's ``kinds``, given that the face is fake; empty where the model does
        not tell kinds apart.
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
    detail: Detail | None = None
    covered: float | None = None
    mouth_covered: bool | None = None
    uncertain: bool | None = None
    profile: bool | None = None
    window: int | None = None
    repeated: int = 0
    kinds: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """The box's shorter side in pixels."""
        return min(self.box[2] - self.box[0], self.box[3] - self.box[1])

    @property
    def calibrated(self) -> float:
        """The logit divided by the temperature, if there is one."""
        return self.logit / (self.temperature or 1.0)

    @property
    def probability(self) -> float:
        """P(fake), 0..1."""
        return sigmoid(self.calibrated)

    def label(self, threshold: float) -> Label:
        """Return ``"fake"`` if P(fake) reaches the threshold, else ``"real"``."""
        return "fake" if self.probability >= threshold else "real"


@dataclass(frozen=True, eq=False)
class Person:
    """One person of a video.

    Parameters
    ----------
    number
        From 0, in the order of appearance.
    sightings
        The person's faces, by time.
    probability
        P(fake) over all sightings by the report's aggregation, 0..1.
    spread
        10th and 90th percentile of the single sightings' P(fake).
    verdict
        On this person.
    portrait
        A large, sharp, detected face with its surroundings; ``None`` where no pixels were kept.
    kinds
        Kind of fake -> probability given that the person is fake: the mean over the sightings by their
        P(fake). Empty where the model does not tell kinds apart.
    """

    number: int
    sightings: tuple[Sighting, ...]
    probability: float
    spread: tuple[float, float]
    verdict: Verdict
    portrait: Prediction | None = None
    kinds: Mapping[str, float] = field(default_factory=dict)

    @property
    def extent(self) -> tuple[float, float]:
        """Lowest and highest P(fake) of the single sightings."""
        probabilities = [s.probability for s in self.sightings]
        return min(probabilities), max(probabilities)

    @property
    def name(self) -> str:
        """``"person 1"`` and so on."""
        return _person_name(self.number)

    @property
    def tracks(self) -> tuple[int, ...]:
        """The tracks that show this person."""
        return tuple(sorted({s.track for s in self.sightings}))


def _person_name(number: int) -> str:
    return f"person {number + 1}"


@dataclass(frozen=True, eq=False)
class VideoReport:
    """The result of analysing one video; see also :class:`redeepfake_nb.analysis.report.Report`.

    Parameters
    ----------
    source
        Name, SHA-256, size and format of the file.
    sightings
        Every face of every sampled frame, by time.
    frame_times
        (F,) float64, times of all sampled frames in seconds, with or without a face.
    frame_size
        (width, height) of the first frame in square pixels, upright.
    duration
        Seconds.
    card
        The model's card.
    threshold
        Threshold on P(fake), 0..1.
    aggregation
        How a person's frames become one score; see :mod:`redeepfake_nb.analysis.aggregation`.
    completeness
        How much of the file could be read, and the first error.
    cancelled
        Whether the analysis was stopped; the report covers what was done by then.
    evidence
        The faces with the highest P(fake), highest first, each on a crop of its frame.
    checked
        The faces with the highest P(fake) of each person, at most four, scored again after mild changes; see
        :mod:`redeepfake_nb.analysis.fragility`.
    explanations
        Heatmaps of ``evidence`` in the same order, or empty.
    heatmap_error
        Why there are no explanations although some were asked for; empty otherwise.
    portraits
        Number of a person -> best view.
    settings
        The options of the analysis as plain values.
    timing
        Seconds of each step. Differs from run to run; everything else does not.
    origin
        What the video was read from, so that it can be opened again; never written to a file.
    provenance
        What the file says of itself; ``None`` where it was not read.
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
    checked: tuple[Prediction, ...] = ()
    explanations: tuple[Explanation, ...] = ()
    heatmap_error: str = ""
    portraits: Mapping[int, Prediction] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    origin: Any = field(default=None, repr=False)
    provenance: Provenance | None = None

    def __repr__(self) -> str:
        scores = ", ".join(f"{p.name} {p.probability:.2f}" for p in self.persons) or "no face"
        verdict = f"{VERDICT_WORDS[self.verdict.label]} at threshold {self.threshold:.2f}"
        return f"<VideoReport {self.name!r}: {verdict}, {scores}>"

    @property
    def kind(self) -> Literal["video"]:
        """``"video"``."""
        return "video"

    @property
    def name(self) -> str:
        """The file's name."""
        return self.source.name

    @property
    def scored(self) -> tuple[Person, ...]:
        """The persons: a video is scored person by person."""
        return self.persons

    @property
    def most_suspicious(self) -> tuple[int, ...]:
        """Indices of the persons by P(fake), highest first; of equal ones the earlier one first."""
        return tuple(sorted(range(len(self.persons)), key=lambda i: -self.persons[i].probability))

    @property
    def explanation_names(self) -> tuple[str, ...]:
        """``"Frame at 2.00 s"`` and so on, one per explanation."""
        return tuple(f"Frame at {e.prediction.face.frame.timestamp:.2f} s" for e in self.explanations)

    @property
    def frames(self) -> int:
        """Number of sampled frames."""
        return len(self.frame_times)

    @property
    def coverage(self) -> Coverage:
        """How many of the file's frames were sampled, and how far apart they are."""
        return Coverage(self.frames, self.completeness.pictures, sampling_interval(self.frame_times))

    @property
    def face_share(self) -> float:
        """Share of the sampled frames in which a face was found, 0..1."""
        return len({s.frame for s in self.sightings}) / self.frames if self.frames else 0.0

    @property
    def no_face(self) -> str:
        """How many frames, and how far apart, show no face, for a report without persons."""
        return no_face_in_frames(self.frame_times, self.completeness.pictures)

    @cached_property
    def persons(self) -> tuple[Person, ...]:
        """All persons, in the order of appearance."""
        persons = []
        for number in sorted({s.person for s in self.sightings}):
            every = tuple(s for s in self.sightings if s.person == number)
            # Windows that repeat a frame count only where a person has no others.
            sightings = tuple(s for s in every if not s.repeated) or every
            probability = aggregate([s.calibrated for s in sightings], self.aggregation)
            probabilities = [s.probability for s in sightings]
            low, high = np.percentile(probabilities, [10, 90])
            told_apart: list[Mapping[str, float]] = [
                dict(zip(self.card.kinds, s.kinds, strict=True)) for s in sightings if s.kinds
            ]
            kinds = mean_kinds(told_apart, probabilities) if len(told_apart) == len(sightings) else {}
            verdict = judge_person(
                probability,
                probabilities,
                sizes=[s.size for s in sightings],
                sharpness=[s.sharpness for s in sightings],
                frames=self.frames,
                card=self.card,
                threshold=self.threshold,
                details=[s.detail for s in sightings if s.detail is not None],
                covered=[s.covered for s in sightings if s.covered is not None],
                mouth_covered=[s.mouth_covered for s in sightings if s.mouth_covered is not None],
                uncertain=[s.uncertain for s in sightings if s.uncertain is not None],
                profile=[s.profile for s in sightings if s.profile is not None],
                times=[s.timestamp for s in sightings],
                interval=sampling_interval(self.frame_times),
                pictures=self.completeness.pictures,
                name=_person_name(number),
                strongest=[p for p in self.checked if p.face.person == number],
                windows=self._windows(every, sightings),
                kinds=kinds,
            )
            portrait = self.portraits.get(number)
            spread = float(low), float(high)
            persons.append(Person(number, every, probability, spread, verdict, portrait, kinds))
        return tuple(persons)

    def _windows(self, every: Sequence[Sighting], counted: Sequence[Sighting]) -> WindowUse | None:
        """Say in which windows a person was scored; ``None`` where the model scores single frames."""
        length = self.card.preprocessing.frames
        if length == 1:
            return None
        return WindowUse(
            length=length,
            count=len({s.window for s in counted}),
            interval=sampling_interval(self.frame_times),
            longest_run=min(length, max(length - s.repeated for s in counted)),
            left_out=len(every) - len(counted),
        )

    @cached_property
    def verdict(self) -> Verdict:
        """The verdict over all persons, with what is missing of the video."""
        notes = []
        if self.cancelled:
            notes.append(unseen(f"stopped after {pluralize(self.frames, 'frame')}"))
        # A cancelled analysis is incomplete without any fault of the file.
        if not self.completeness.complete and not (self.cancelled and self.completeness.first_error is None):
            notes.append(unseen(self.completeness.summary))
        notes += self.source.notes
        no_face = without_face_in_frames(
            self.frame_times,
            self.completeness.pictures,
            self.settings.get("detector", ""),
            self.settings.get("min_size"),
        )
        persons = [(p.name, p.verdict) for p in self.persons]
        verdict = judge_video(
            persons, notes, self.card, self.threshold, no_face=no_face, coverage=self.coverage
        )
        return with_provenance(verdict, self.provenance)

    def check_same(self, source: Source) -> None:
        """Raise InputError unless ``source`` is the analysed file."""
        if source.sha256 != self.source.sha256:
            raise InputError(
                "this is not the file that was analysed (its SHA-256 differs)",
                subject=source.name,
                next_step="Analyse it again.",
            )

    def open_again(self, source: Any = None, **options: Any) -> Video:
        """Open the analysed video again, with the same stream of several.

        Parameters
        ----------
        source
            Where it is now; by default ``origin``.
        options
            Further options of :func:`redeepfake_nb.open_video`.

        Raises
        ------
        InputError
            It can no longer be read, or this is not the analysed file.
        """
        from ..media.video import open_video

        reading = {key: self.settings[key] for key in ("stream", "max_pixels") if key in self.settings}
        video = open_video(self.origin if source is None else source, **reading, **options)
        try:
            self.check_same(video.source)
            if turned := self.settings.get("turned"):
                video.turn(turned, turn_note(turned))
        except BaseException:
            video.close()
            raise
        return video

    def nearest(self, time: float) -> tuple[Sighting, ...]:
        """Return the sightings of the sampled frame closest to ``time`` in seconds; empty without frames."""
        if not self.frames:
            return ()
        chosen = self.frame_times[np.abs(self.frame_times - time).argmin()]
        return tuple(s for s in self.sightings if s.timestamp == chosen)

    def at_threshold(self, threshold: float) -> VideoReport:
        """Judge the same scores at another threshold, without computing them again.

        Raises
        ------
        ValueError
            A threshold outside (0, 1).
        """
        check_threshold(threshold)
        return replace(self, threshold=threshold, settings={**self.settings, "threshold": threshold})

    def aggregated(self, strategy: str) -> VideoReport:
        """Aggregate the same scores by another strategy, without computing them again."""
        check_strategy(strategy)
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
        """Return one row per sighting; without faces an empty table with the same columns.

        ``bridged`` means that no detector found the face in that frame and it was tracked from the one
        before; ``detector`` is empty then. ``detail_px`` is the resolution that is really there, ``covered``
        the share of the face that is of one colour, ``turned_deg`` by how much the video was turned; the
        others are those of :class:`Sighting`. Empty is what is not known. ``kind_generated`` and so on, the
        probability of each kind given that the face is fake, are there where the model tells kinds apart,
        ``window`` and ``repeated`` where it scores several frames at once.
        """
        import pandas as pd

        rows = []
        detector = self.settings.get("detector")
        turned = turned_by(self.source)
        warnings = "; ".join(self.source.warnings)
        declared = "; ".join(self.provenance.statements) if self.provenance else ""
        for s in self.sightings:
            left, top, right, bottom = s.box
            kinds: dict[str, float] = dict(zip(self.card.kinds, s.kinds, strict=False))
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
                    "kind": kinds_in_words(kinds),
                    "bridged": s.bridged,
                    **face_facts(s, None if s.bridged else detector, turned),
                    "window": s.window,
                    "repeated": s.repeated,
                    "warnings": warnings,
                    "provenance": declared,
                    **kind_facts(kinds),
                }
            )
        windows = [] if self.card.preprocessing.frames == 1 else ["window", "repeated"]
        return pd.DataFrame(rows, columns=[*_COLUMNS.split(), *kind_columns(self.card.kinds), *windows])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without single sightings, which :meth:`to_frame` has."""
        persons = [
            {
                "person": p.number + 1,
                "probability": p.probability,
                "spread": list(p.spread),
                "lowest": p.extent[0],
                "highest": p.extent[1],
                "kinds": dict(p.kinds),
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
            "interval_s": self.coverage.interval,
            "face_share": self.face_share,
            "aggregation": self.aggregation,
            "verdict": self.verdict.to_dict(),
            "provenance": self.provenance.to_dict() if self.provenance else None,
            "persons": persons,
            "evidence": evidence,
            "heatmap_error": self.heatmap_error,
            "completeness": self.completeness.to_dict(),
            "cancelled": self.cancelled,
            "model": model_to_dict(self.card),
            "settings": dict(self.settings),
            "versions": package_versions(),
            "timing": dict(self.timing),
        }
