"""From scores to a word with its reasons: fake, real, or inconclusive.

The rules are few and stated, because people act on them:

1. No face, no verdict.
2. A face is *clear* when it is large and sharp enough for the model, and its score is not near the threshold.
3. One clear face at or over the threshold: ``fake``.
4. Every face clear and under the threshold: ``real``.
5. Anything else: ``inconclusive``, with what stood in the way. So is everything that is said by a model which
   gives all pictures the same score.

A person in a video is judged by the score over all frames. Doubtful is who is hardly seen, small or blurred
in most frames, near the threshold, or whose frames disagree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ..models.card import Card
from ..models.prediction import Prediction
from ..models.tested_kinds import blind_spots
from ..utils.numeric import check_threshold

VerdictLabel = Literal["fake", "real", "inconclusive"]

# Half-width of the band around the threshold in which a score decides nothing. A model that was never
# calibrated may be over-confident, and has to be farther away.
NEAR = 0.10
NEAR_UNCALIBRATED = 0.25
# Used where the card does not say what the model was trained on: dlib's detector works on 80 px windows, and
# a crop enlarged from much less shows no texture that a model could judge.
MIN_FACE = 64
# In a video: sightings below which a person was hardly seen, and the share of frames that may say the
# opposite of the whole.
FEW_FRAMES = 5
DISAGREE = 0.3


def doubt(temperature: float | None) -> float:
    """How near to the threshold a score decides nothing, for a model of this calibration temperature."""
    return NEAR if temperature else NEAR_UNCALIBRATED


@dataclass(frozen=True)
class Verdict:
    """A label at a threshold, and why.

    Parameters
    ----------
    label
        ``"fake"``, ``"real"``, or ``"inconclusive"``.
    reasons
        Whole phrases for a person to read.
    threshold
        Cut on P(fake), 0..1.
    limits
        What the model does not detect or was not tested on, as the end of a sentence that begins with "but";
        see :func:`redeepfake_nb.models.tested_kinds.blind_spots`. Empty where every kind of fakes is covered.
    """

    label: VerdictLabel
    reasons: tuple[str, ...]
    threshold: float
    limits: str = ""

    @property
    def headline(self) -> str:
        """One modest line. Where nothing was found, it names what the model could not have found."""
        words = {
            "fake": "Points to manipulation",
            "real": "No sign of manipulation found",
            "inconclusive": "Inconclusive",
        }
        line = f"{words[self.label]} (threshold {self.threshold:.2f})"
        return f"{line}, but {self.limits}" if self.label == "real" and self.limits else line

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "label": self.label,
            "headline": self.headline,
            "threshold": self.threshold,
            "reasons": list(self.reasons),
            "limits": self.limits,
        }


def doubts(prediction: Prediction, card: Card, threshold: float) -> tuple[str, ...]:
    """Why this face's score should not be relied on alone; empty for a clear face."""
    face, found = prediction.face, []
    smallest = card.min_face or MIN_FACE
    if face.size < smallest:
        found.append(f"small face ({face.size} px, the model needs {smallest})")
    if card.min_sharpness and face.sharpness is not None and face.sharpness < card.min_sharpness:
        found.append(f"blurred face (sharpness {face.sharpness:.0f} under {card.min_sharpness:.0f})")
    band = doubt(card.temperature)
    if abs(prediction.probability - threshold) < band:
        found.append(f"score within {band:.2f} of the threshold")
    return tuple(found)


def judge(predictions: Sequence[Prediction], card: Card, threshold: float) -> Verdict:
    """The verdict on one picture.

    Parameters
    ----------
    predictions
        Every face of the picture.
    card
        The model's card; it knows what sizes the model was trained on and whether it is calibrated.
    threshold
        Cut on P(fake), between 0 and 1.

    Raises
    ------
    ValueError
        A threshold outside (0, 1).
    """
    check_threshold(threshold)
    if not predictions:
        return Verdict("inconclusive", ("no face was found", *_on_trust(card)), threshold)

    faces = "1 face" if len(predictions) == 1 else f"{len(predictions)} faces"
    over = [p for p in predictions if p.label(threshold) == "fake"]
    highest = max(p.probability for p in predictions)
    reasons = [f"P(fake) at or over {threshold:.2f} for {len(over)} of {faces}, highest {highest:.2f}"]
    unclear = {i: doubts(p, card, threshold) for i, p in enumerate(predictions)}
    for i, found in unclear.items():
        who = "" if len(predictions) == 1 else f"face {i + 1}: "
        reasons += [who + doubt for doubt in found]
    reasons += _about(card)

    if card.unresponsive:
        label: VerdictLabel = "inconclusive"
    elif any(p in over and not unclear[i] for i, p in enumerate(predictions)):
        label = "fake"
    elif any(unclear.values()):
        label = "inconclusive"
    else:
        label = "real"
    return _verdict(label, reasons, card, threshold)


def judge_person(
    probability: float,
    single: Sequence[float],
    *,
    sizes: Sequence[float],
    sharpness: Sequence[float],
    frames: int,
    card: Card,
    threshold: float,
) -> Verdict:
    """The verdict on one person of a video: a label unless something speaks against relying on it.

    Parameters
    ----------
    probability
        P(fake) over all of the person's frames.
    single
        P(fake) of each frame with the person's face.
    sizes, sharpness
        Of those faces; pixels, and variance of the Laplacian.
    frames
        How many frames were looked at, with or without this face.
    """
    seen = len(single)
    over = sum(p >= threshold for p in single)
    reasons = [
        f"P(fake) {probability:.2f} over {seen} of {frames} frames, {over} of them at or over {threshold:.2f}"
    ]
    found = []
    if seen < min(FEW_FRAMES, frames):
        found.append(f"face in only {seen} of {frames} frames")
    smallest = card.min_face or MIN_FACE
    if (size := _median(sizes)) < smallest:
        found.append(f"small face ({size:.0f} px in most frames, the model needs {smallest})")
    if card.min_sharpness and (value := _median(sharpness)) < card.min_sharpness:
        found.append(f"blurred face (sharpness {value:.0f} under {card.min_sharpness:.0f} in most frames)")
    band = doubt(card.temperature)
    if abs(probability - threshold) < band:
        found.append(f"score within {band:.2f} of the threshold")
    against = over if probability < threshold else seen - over
    if seen > 1 and against > DISAGREE * seen:
        found.append(f"frames disagree ({against} of {seen} say the opposite)")
    reasons += _about(card)
    label: VerdictLabel = "fake" if probability >= threshold else "real"
    doubtful = bool(found) or card.unresponsive
    return _verdict("inconclusive" if doubtful else label, [*reasons, *found], card, threshold)


def judge_video(
    persons: Sequence[tuple[str, Verdict]], missing: Sequence[str], card: Card, threshold: float
) -> Verdict:
    """The verdict on a video from those on its persons.

    One person judged fake makes the video fake, also where a part of it could not be read; ``real`` needs
    every person to be judged real and nothing to be missing.

    Parameters
    ----------
    persons
        Name and verdict of each.
    missing
        What was not looked at, in words; empty for a complete video.
    card
        The model's card.
    threshold
        Cut on P(fake), between 0 and 1.
    """
    reasons = list(missing)
    if not persons:
        return Verdict("inconclusive", ("no face was found", *reasons, *_on_trust(card)), threshold)
    labels = [verdict.label for _, verdict in persons]
    for name, verdict in persons:
        own = [reason for reason in verdict.reasons if reason != verdict.limits]
        reasons += own if len(persons) == 1 else [f"{name}: {reason}" for reason in own]
    if "fake" in labels:
        label: VerdictLabel = "fake"
    elif missing or "inconclusive" in labels:
        label = "inconclusive"
    else:
        label = "real"
    return _verdict(label, reasons, card, threshold)


def _verdict(label: VerdictLabel, reasons: Sequence[str], card: Card, threshold: float) -> Verdict:
    """A verdict that says what the model cannot see: in its headline if real, as a reason if inconclusive."""
    limits = blind_spots(card.tested_on)
    if label == "inconclusive" and limits:
        reasons = [*reasons, limits]
    return Verdict(label, tuple(reasons), threshold, limits)


def _about(card: Card) -> list[str]:
    """What speaks against the model itself."""
    found = []
    if card.unresponsive:
        found.append("the model gave all trial pictures the same score, so it may have lost its weights")
    if card.temperature is None:
        found.append("the model was never calibrated, so its probabilities are only scores")
    return found + _on_trust(card)


def _on_trust(card: Card) -> list[str]:
    """That the model's file holds code which somebody allowed to run."""
    if not card.trusted:
        return []
    return [f"the model was loaded on trust: it contains {', '.join(card.trusted)}"]


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]
