"""Derives a verdict from scores: fake, real or inconclusive, with the reasons.

The rules are few and stated, because people act on them:

1. Without a face the verdict is ``inconclusive``.
2. A face is *clear* if it is large and sharp enough for the model, neither enlarged from a smaller one nor
   covered, and if its score is not near the threshold and does not cross it after a change that nobody sees.
3. If one clear face is at or over the threshold: ``fake``.
4. If every face is clear and under the threshold: ``real``.
5. Anything else is ``inconclusive``, with the reasons. So is every verdict of a model that gives all images
   the same score.
6. What was repaired or assumed while reading is a reason. Where a part of the file in which a fake could hide
   was not looked at, no verdict is ``real``; see :class:`redeepfake_nb.media.notes.Note`.

A person in a video is judged by the score over all frames. The verdict is inconclusive if few frames were
looked at or the video has no more, if the face is in few of them, small, blurred, enlarged or covered in
most, in profile or not certainly a face in most, near the threshold, or if the frames disagree. So it is
where the score is under the threshold and a few frames stand out far over it: a manipulation of some seconds
drowns in the score of a long video. The headline of an inconclusive verdict names the persons, faces or
frames that reach the threshold, and when. Where a model scores several frames at once, a window that had to
be filled up by repeating a frame counts only where the person has no full one, and the verdict is
inconclusive then.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from ..faces.detail import Detail
from ..media.notes import Note
from ..models.card import Card
from ..models.likely_kind import kinds_in_words
from ..models.prediction import Prediction
from ..models.tested_kinds import blind_spots
from ..provenance.records import Provenance
from ..utils.numeric import check_threshold
from ..utils.wording import capitalized, pluralize
from .coverage import Coverage, every_seconds
from .false_alarms import false_alarms
from .fragility import fragility_doubts
from .intervals import MAX_GAP, format_segments, join_times, sampling_interval

if TYPE_CHECKING:
    import numpy as np

VerdictLabel = Literal["fake", "real", "inconclusive"]

# Half-width of the band around the threshold in which a score is inconclusive. A model that was never
# calibrated may be over-confident, so its scores have to be farther away.
BAND = 0.10
BAND_UNCALIBRATED = 0.25
# Used where the card does not say what the model was trained on: dlib's detector works on 80 px windows, and
# a crop enlarged from much less shows no texture that a model could judge.
MIN_FACE = 64
# A face whose detail would fit into fewer pixels than this share of that size counts as small, too. It is
# lower than 1, because detail is an estimate and sharp faces of that size have to pass. A face of which more
# than the second number is of one colour is covered.
DETAIL_SHARE = 0.75
MAX_COVERED = 0.1
# In a video: the fewest frames to look at and to find a person's face in, and the largest share of them that
# may contradict the overall score.
MIN_FRAMES = 5
MAX_DISAGREEMENT = 0.3
# Frames stand out if the odds of two neighbours, by their geometric mean, are so many times those of the
# threshold, or those of one alone: P(fake) 0.90 and 0.99 at a threshold of 0.50. The band is no measure for
# them, since single frames scatter more than a mean of many: of a genuine clip that scores 0.36 by
# `mixed 12`, 8 of 60 frames reach 0.60, and two neighbours 0.72; one that scored 0.37 by `mixed 11` had two
# of 0.81. One frame alone may be blur or a turned head; but where frames are far apart, a short manipulation
# is in one only.
PAIR_ODDS, SINGLE_ODDS = 9.0, 99.0
# How many times of a person a reason names; reports list all.
_MAX_NAMED_TIMES = 3


@dataclass(frozen=True)
class WindowUse:
    """The windows in which a model that scores several frames at once has scored a person.

    Parameters
    ----------
    length
        Frames of a window.
    count
        Windows whose scores count.
    interval
        Seconds between sampled frames, or ``None``.
    longest_run
        Different frames of the fullest window, at most ``length``.
    left_out
        Sightings whose score does not count, because their window repeats one of them.
    """

    length: int
    count: int
    interval: float | None
    longest_run: int
    left_out: int

    @property
    def summary(self) -> str:
        """How the person was scored, as a reason."""
        windows = "1 window" if self.count == 1 else f"{self.count} windows"
        apart = (
            "" if self.interval is None else f" {self.interval:.2f} s apart, which must be as in its training"
        )
        left_out = f"; {pluralize(self.left_out, 'frame')} in shorter runs left out" if self.left_out else ""
        return f"the model scored {windows} of {self.length} frames{apart}{left_out}"

    @property
    def doubts(self) -> list[str]:
        """Say that no window is full."""
        if self.longest_run >= self.length:
            return []
        return [
            f"face in only {pluralize(self.longest_run, 'sampled frame')} in a row, the model takes "
            f"{self.length}, so the last one was repeated; look at more with frames= or every="
        ]


def inconclusive_band(temperature: float | None) -> float:
    """Return how near to the threshold a score is inconclusive, for a model with this temperature."""
    return BAND if temperature else BAND_UNCALIBRATED


# What each label means, at the start of a headline and in the cell of a table. Where people read it, no file
# is called real: that nothing was found is all that is known. The label itself is for programs.
HEADLINES: dict[VerdictLabel, str] = {
    "fake": "Points to manipulation",
    "real": "No sign of manipulation found",
    "inconclusive": "Inconclusive",
}
VERDICT_WORDS: dict[str, str] = {
    "fake": "points to manipulation",
    "real": "no sign found",
    "inconclusive": "inconclusive",
}


@dataclass(frozen=True)
class Verdict:
    """A label at a threshold, with its reasons.

    Parameters
    ----------
    label
        ``"fake"``, ``"real"``, or ``"inconclusive"``.
    reasons
        Phrases for a person to read.
    threshold
        Threshold on P(fake), 0..1.
    limits
        What the model does not detect or was not tested on, as the end of a sentence that begins with "but";
        see :func:`redeepfake_nb.models.tested_kinds.blind_spots`. Empty where every kind of fakes is covered,
        and where no face was found.
    suspects
        Which faces, persons or frames of an inconclusive file reach the threshold, and when, as the end of a
        sentence that begins with "but".
    false_alarms
        How many genuine faces reach the threshold, too, as the end of such a sentence; see
        :func:`redeepfake_nb.analysis.false_alarms.false_alarms`. Empty where that is not known.
    coverage
        How much of a video was looked at; ``None`` for an image, and for one person of a video.
    declared
        What the file says of itself and a reader of the verdict has to know, as a clause; see
        :func:`with_provenance`. It changes neither label nor score.
    """

    label: VerdictLabel
    reasons: tuple[str, ...]
    threshold: float
    limits: str = ""
    suspects: str = ""
    false_alarms: str = ""
    coverage: Coverage | None = None
    declared: str = ""

    @property
    def headline(self) -> str:
        """One cautious line.

        It begins with what the file has :attr:`declared`, if anything. For ``"real"`` it names how much of a
        video was looked at and what the model could not have detected, for ``"inconclusive"`` the
        :attr:`suspects`, for ``"fake"`` the :attr:`false_alarms`.
        """
        line = f"{HEADLINES[self.label]} (threshold {self.threshold:.2f})"
        but = {"inconclusive": self.suspects, "fake": self.false_alarms}.get(self.label, "")
        if self.label == "real":
            gaps = ""
            if self.coverage is not None and not self.coverage.complete:
                line, gaps = f"{line} in {self.coverage.share}", self.coverage.gaps
            # The limits hold an "and" of their own, so a comma stands before this one.
            but = ", and ".join(filter(None, (gaps, self.limits)))
        line = f"{line}, but {but}" if but else line
        if not self.declared:
            return line
        return f"{capitalized(self.declared)}; by the score alone: {line[:1].lower()}{line[1:]}"

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "label": self.label,
            "headline": self.headline,
            "threshold": self.threshold,
            "reasons": list(self.reasons),
            "limits": self.limits,
            "suspects": self.suspects,
            "false_alarms": self.false_alarms,
            "coverage": "" if self.coverage is None else self.coverage.summary,
            "declared": self.declared,
        }


def with_provenance(verdict: Verdict, provenance: Provenance | None) -> Verdict:
    """Name in a verdict what the file says of itself; label, threshold and score stay what they are.

    Valid credentials of an honest photo do not make a verdict ``real``, a claim of AI does not make it
    ``fake``, and a file that says nothing is judged like any other.
    """
    if provenance is None or not provenance.statements:
        return verdict
    reasons = (*provenance.statements, *verdict.reasons)
    return replace(verdict, reasons=reasons, declared=provenance.headline)


def doubts(prediction: Prediction, card: Card, threshold: float) -> tuple[str, ...]:
    """Say why this face's score should not be relied on alone; empty for a clear face."""
    face, found = prediction.face, []
    smallest = card.min_face or MIN_FACE
    if face.size < smallest:
        found.append(f"small face ({face.size} px, the model needs {smallest})")
    if card.min_sharpness and face.sharpness is not None and face.sharpness < card.min_sharpness:
        found.append(f"blurred face (sharpness {face.sharpness:.0f} under {card.min_sharpness:.0f})")
    if face.covered > MAX_COVERED:
        found.append(f"covered face ({face.covered:.0%} of it is of one colour)")
    elif face.size >= smallest:  # the edges of a cover are no detail of the face
        found += _lacking_detail(face.detail, face.size, smallest)
    if face.mouth_covered:
        found.append("the mouth looks covered or altered")
    if face.uncertain:
        found.append(f"uncertain whether this is a face (confidence {face.confidence:.2f})")
    if face.profile:
        found.append("face in profile (the head is turned by more than 45 degrees)")
    band = inconclusive_band(card.temperature)
    if abs(prediction.probability - threshold) < band:
        found.append(f"score within {band:.2f} of the threshold")
    return (*found, *fragility_doubts([prediction], threshold))


def _lacking_detail(detail: Detail, size: float, smallest: int, where: str = "") -> list[str]:
    """Say that a face of ``size`` px has the detail of a smaller one; nothing where it has enough."""
    if detail.size >= DETAIL_SHARE * smallest:
        return []
    kind = "face made of blocks" if detail.blocks else "enlarged or blurred face"
    return [
        f"{kind} (detail of about {detail.size:.0f} px in {size:.0f} px{where}, the model needs {smallest})"
    ]


def without_face(detector: str = "", min_size: float | None = None) -> str:
    """Say that an image shows no face, and what to try next.

    Parameters
    ----------
    detector
        Name of the detector that was used; empty where it is not known.
    min_size
        Shorter side in pixels under which faces were left out.
    """
    return f"no face was found; {_other_search(detector, min_size)}"


def without_face_in_frames(
    times: Sequence[float] | np.ndarray,
    pictures: int,
    detector: str = "",
    min_size: float | None = None,
) -> str:
    """Say that no sampled frame of a video shows a face, and what to try next.

    Parameters
    ----------
    times
        Seconds of the sampled frames.
    pictures
        Number of frames in the file.
    detector, min_size
        As for :func:`without_face`.
    """
    found = no_face_in_frames(times, pictures)
    if not len(times):
        return found
    step = _other_search(detector, min_size)
    return f"{found}; {step}" if len(times) >= pictures else f"{found}; look at more with frames=, or {step}"


def no_face_in_frames(times: Sequence[float] | np.ndarray, pictures: int) -> str:
    """Say in how many frames of a video, and how far apart, no face was found; without a next step."""
    if not len(times):
        return "no face was found: no frame was looked at"
    every = every_seconds(sampling_interval(times))
    if len(times) >= pictures:
        if len(times) == 1:
            return "no face was found in the only frame"
        return f"no face was found: 0 of all {len(times)} frames had a face{every}"
    return f"no face was found: 0 of {len(times)} frames looked at had a face{every}"


def _other_search(detector: str, min_size: float | None) -> str:
    """Say how faces may be found that one search has missed."""
    steps = ["try another detector"]
    if detector in ("hog", "cnn"):
        steps = ["try the detector blazeface, which finds turned and partly covered faces"]
    elif detector == "blazeface":
        steps = []
    if min_size:
        steps.append(f"allow faces under {min_size:g} px with min_size=")
    upright = "" if detector == "blazeface" else " that lies upright"  # it looks at turned pictures itself
    steps.append(f"{'' if steps else 'try '}a larger or brighter copy{upright}")
    return ", or ".join(steps)


def judge(
    predictions: Sequence[Prediction],
    card: Card,
    threshold: float,
    *,
    no_face: str = "no face was found",
    notes: Sequence[Note] = (),
) -> Verdict:
    """Derive the verdict on one image.

    Parameters
    ----------
    predictions
        Every face of the image.
    card
        The model's card: face sizes it was trained on, calibration, kinds of fakes it was tested on.
    threshold
        Threshold on P(fake), above 0 and below 1.
    no_face
        The reason where there is none; see :func:`without_face`.
    notes
        How the image was read.

    Raises
    ------
    ValueError
        A threshold outside (0, 1).
    """
    check_threshold(threshold)
    if not predictions:
        return Verdict("inconclusive", (no_face, *_from_notes(notes), *_on_trust(card)), threshold)

    faces = "1 face" if len(predictions) == 1 else f"{len(predictions)} faces"
    over = [p for p in predictions if p.label(threshold) == "fake"]
    highest = max(p.probability for p in predictions)
    reasons = [f"P(fake) at or over {threshold:.2f} for {len(over)} of {faces}, highest {highest:.2f}"]
    unclear = {i: doubts(p, card, threshold) for i, p in enumerate(predictions)}
    # The most suspicious face first, as everywhere.
    for i, found in sorted(unclear.items(), key=lambda item: -predictions[item[0]].logit):
        who = "" if len(predictions) == 1 else f"face {i + 1}: "
        if predictions[i] in over and (kind := kinds_in_words(predictions[i].kinds)):
            reasons.append(who + kind)
        reasons += [who + doubt for doubt in found]
    reasons += [*_from_notes(notes), *_about(card)]

    if card.unresponsive:
        label: VerdictLabel = "inconclusive"
    elif any(p in over and not unclear[i] for i, p in enumerate(predictions)):
        label = "fake"
    elif any(unclear.values()) or _has_unseen(notes):
        label = "inconclusive"
    else:
        label = "real"
    band = inconclusive_band(card.temperature)
    suspects = [f"face {i + 1}" for i, p in enumerate(predictions) if p.probability >= threshold + band]
    named = f"{_joined(suspects)} {'reaches' if len(suspects) == 1 else 'reach'} it"
    verdict = _verdict(label, reasons, card, threshold)
    return replace(verdict, suspects=named) if suspects and len(predictions) > 1 else verdict


def judge_person(
    probability: float,
    single: Sequence[float],
    *,
    sizes: Sequence[float],
    sharpness: Sequence[float],
    frames: int,
    card: Card,
    threshold: float,
    details: Sequence[Detail] = (),
    covered: Sequence[float] = (),
    mouth_covered: Sequence[bool] = (),
    uncertain: Sequence[bool] = (),
    profile: Sequence[bool] = (),
    times: Sequence[float] = (),
    interval: float | None = None,
    pictures: int | None = None,
    name: str = "the person",
    strongest: Sequence[Prediction] = (),
    windows: WindowUse | None = None,
    kinds: Mapping[str, float] | None = None,
) -> Verdict:
    """Derive the verdict on one person of a video.

    Parameters
    ----------
    probability
        P(fake) over all of the person's frames.
    single
        P(fake) of each frame with the person's face.
    sizes, sharpness
        Of those faces; pixels, and variance of the Laplacian.
    frames
        Number of sampled frames, with or without this face.
    card
        The model's card.
    threshold
        Threshold on P(fake), above 0 and below 1.
    details, covered
        Of those faces; see :attr:`redeepfake_nb.Face.detail`. Empty where they were not measured.
    mouth_covered, uncertain, profile
        As in :class:`redeepfake_nb.Face`, of those faces for which the detector gives key points; empty where
        it gives none.
    times
        Seconds of the frames with the person's face; empty where they are not known, and not named then.
    interval
        Seconds between sampled frames; see :func:`redeepfake_nb.analysis.intervals.join_times`.
    pictures
        Number of frames in the file; ``None`` where all were looked at.
    name
        What to call the person.
    strongest
        The person's faces with the highest scores, which were scored again after mild changes.
    windows
        Of which windows the scores are, where the model scores several frames at once.
    kinds
        Kind of fake -> probability given that the person is fake; see
        :mod:`redeepfake_nb.models.likely_kind`. Named where ``probability`` reaches the threshold.
    """
    seen = len(single)
    above = [p >= threshold for p in single]
    over = sum(above)
    when = format_segments(join_times(times, above, interval), _MAX_NAMED_TIMES) if times else ""
    reasons = [
        f"P(fake) {probability:.2f} over {seen} of {frames} sampled frames, "
        f"{over} of them at or over {threshold:.2f}" + (f" ({when})" if when and 0 < over < frames else "")
    ]
    if probability >= threshold and (kind := kinds_in_words(kinds)):
        reasons.append(kind)
    found = []
    if frames < MIN_FRAMES and pictures is not None and pictures > frames:
        found.append(f"only {frames} of {pictures} frames looked at; look at more with frames=")
    elif frames < MIN_FRAMES:
        found.append(f"frames in the whole clip: {frames}; a verdict needs at least {MIN_FRAMES}")
    if seen < min(MIN_FRAMES, frames):
        shown = join_times(times, [True] * seen, interval) if times else []
        at = f", at {format_segments(shown, _MAX_NAMED_TIMES)}" if shown else ""
        more = "; look at more with frames= or every=" if pictures is not None and pictures > frames else ""
        found.append(f"face in only {seen} of {frames} frames{at}{more}")
    smallest = card.min_face or MIN_FACE
    if (size := _median(sizes)) < smallest:
        found.append(f"small face ({size:.0f} px in most frames, the model needs {smallest})")
    if card.min_sharpness and (value := _median(sharpness)) < card.min_sharpness:
        found.append(f"blurred face (sharpness {value:.0f} under {card.min_sharpness:.0f} in most frames)")
    if covered and (share := _median(covered)) > MAX_COVERED:
        found.append(f"covered face ({share:.0%} of it is of one colour in most frames)")
    elif details and size >= smallest:
        middle = sorted(details, key=lambda detail: detail.size)[len(details) // 2]
        found += _lacking_detail(middle, size, smallest, " in most frames")
    if _in_most(mouth_covered):
        found.append("the mouth looks covered or altered in most frames")
    if _in_most(uncertain):
        found.append("uncertain whether this is a face in most frames")
    if _in_most(profile):
        found.append("face in profile in most frames (the head is turned by more than 45 degrees)")
    band = inconclusive_band(card.temperature)
    if abs(probability - threshold) < band:
        found.append(f"score within {band:.2f} of the threshold")
    against = over if probability < threshold else seen - over
    if seen > 1 and against > MAX_DISAGREEMENT * seen:
        found.append(f"frames disagree ({against} of {seen} say the opposite)")
    outstanding = ""
    if probability < threshold and (high := standing_out(single, times, interval, threshold)):
        outstanding = f"reach P(fake) {max(single[i] for i in high):.2f}"
        if times:
            chosen = [i in high for i in range(seen)]
            segments = join_times(times, chosen, interval)
            outstanding = f"at {format_segments(segments, _MAX_NAMED_TIMES)} {outstanding}"
        found.append(f"frames {outstanding}, far over the threshold, though the score over all is under it")
    found += fragility_doubts(strongest, threshold)
    if windows is not None:
        reasons.append(windows.summary)
        found += windows.doubts
    reasons += _about(card)
    label: VerdictLabel = "fake" if probability >= threshold else "real"
    doubtful = bool(found) or card.unresponsive
    verdict = _verdict("inconclusive" if doubtful else label, [*reasons, *found], card, threshold)
    if outstanding:
        return replace(verdict, suspects=f"frames of {name} {outstanding}")
    if probability < threshold + band:
        return verdict
    return replace(verdict, suspects=f"{name} reaches it" + (f" at {when}" if when else ""))


def standing_out(
    single: Sequence[float], times: Sequence[float], interval: float | None, threshold: float
) -> list[int]:
    """Find the frames that are far over the threshold and no isolated false alarm.

    Parameters
    ----------
    single
        P(fake) of each frame with a person's face.
    times
        Seconds of these frames; where it is empty, each is the neighbour of the next.
    interval
        Seconds between sampled frames; frames are neighbours as in
        :func:`redeepfake_nb.analysis.intervals.join_times`.
    threshold
        Threshold on P(fake), above 0 and below 1.

    Returns
    -------
    list of int
        Their indices: neighbours at :data:`PAIR_ODDS`, both over the threshold, and single ones at
        :data:`SINGLE_ODDS`.
    """
    beyond = [_log_odds(p) - _log_odds(threshold) for p in single]
    when = times or range(len(single))
    longest = MAX_GAP * (1.0 if interval is None or not times else interval)
    found = {i for i, far in enumerate(beyond) if far >= math.log(SINGLE_ODDS)}
    for i, (far, next_far) in enumerate(pairwise(beyond)):
        mean = (far + next_far) / 2
        if min(far, next_far) >= 0 and mean >= math.log(PAIR_ODDS) and when[i + 1] - when[i] <= longest:
            found |= {i, i + 1}
    return sorted(found)


def _log_odds(probability: float) -> float:
    """Return the log-odds of a probability, of 0 and 1 those next to them."""
    p = min(max(probability, 1e-9), 1 - 1e-9)
    return math.log(p / (1 - p))


def judge_video(
    persons: Sequence[tuple[str, Verdict]],
    notes: Sequence[Note],
    card: Card,
    threshold: float,
    *,
    no_face: str = "no face was found",
    coverage: Coverage | None = None,
) -> Verdict:
    """Derive the verdict on a video from those on its persons.

    One ``fake`` person makes the video ``fake``, even if a part of it could not be read; ``real`` requires
    every person to be ``real`` and no part of the video to be unseen.

    Parameters
    ----------
    persons
        Name and verdict of each.
    notes
        How the video was read, and what of it was not analysed.
    card
        The model's card.
    threshold
        Threshold on P(fake), above 0 and below 1.
    no_face
        The reason where there is none; see :func:`without_face_in_frames`.
    coverage
        How much of the video was looked at; a reason where that is not all.
    """
    reasons = _from_notes(notes)
    if not persons:
        return Verdict("inconclusive", (no_face, *reasons, *_on_trust(card)), threshold)
    labels = [verdict.label for _, verdict in persons]
    for name, verdict in persons:
        own = [reason for reason in verdict.reasons if reason != verdict.limits]
        reasons += own if len(persons) == 1 else [f"{name}: {reason}" for reason in own]
    if "fake" in labels:
        label: VerdictLabel = "fake"
    elif _has_unseen(notes) or "inconclusive" in labels:
        label = "inconclusive"
    else:
        label = "real"
    if coverage is not None and not coverage.complete:
        reasons.append(coverage.summary)
    suspects = [verdict.suspects for _, verdict in persons if verdict.suspects]
    verdict = replace(_verdict(label, reasons, card, threshold), coverage=coverage)
    return replace(verdict, suspects=_joined(suspects)) if suspects else verdict


def _verdict(label: VerdictLabel, reasons: Sequence[str], card: Card, threshold: float) -> Verdict:
    """Make a verdict that names what the model cannot detect: as a reason where it is inconclusive."""
    limits = blind_spots(card.tested_on)
    if label == "inconclusive" and limits:
        reasons = [*reasons, limits]
    return Verdict(label, tuple(reasons), threshold, limits, false_alarms=false_alarms(card, threshold))


def _from_notes(notes: Sequence[Note]) -> list[str]:
    """Return the notes that may change the answer, as reasons."""
    return [note.text for note in notes if note.kind != "information"]


def _has_unseen(notes: Sequence[Note]) -> bool:
    return any(note.kind == "unseen" for note in notes)


def _about(card: Card) -> list[str]:
    """Return reasons to distrust the model itself."""
    found = []
    if card.unresponsive:
        found.append("the model gave all probe images the same score, so it may have lost its weights")
    if card.temperature is None:
        found.append("the model was never calibrated, so its probabilities are only scores")
    return found + _on_trust(card)


def _on_trust(card: Card) -> list[str]:
    """Return a reason where the model's file contains code that was allowed to run."""
    if not card.trusted:
        return []
    return [f"the model was loaded on trust: it contains {', '.join(card.trusted)}"]


def _joined(names: Sequence[str]) -> str:
    """Write names as "a, b and c"."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _in_most(flags: Sequence[bool]) -> bool:
    """Tell whether more than half of the flags are set."""
    return 2 * sum(flags) > len(flags)


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
