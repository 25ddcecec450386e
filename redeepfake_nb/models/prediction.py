"""Score faces with a classifier: logits, P(fake) and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ..faces.face import Face
from ..faces.preprocessing import preprocess
from ..utils.numeric import probability
from .card import Card
from .classifier import Classifier, Score

Label = Literal["fake", "real"]


@dataclass(frozen=True, eq=False)
class Prediction:
    """The score of one face.

    Parameters
    ----------
    face
        The face that was scored, with its frame.
    logit
        The model's output before the sigmoid; positive means fake.
    temperature
        Divisor of the logit before the sigmoid; ``None`` where the model was never calibrated.
    threshold
        The model's threshold on P(fake).
    kinds
        Kind of fake -> probability given that the face is fake, see :mod:`redeepfake_nb.models.likely_kind`;
        empty where the model does not tell kinds apart.
    """

    face: Face
    logit: float
    temperature: float | None = None
    threshold: float = 0.5
    kinds: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not math.isfinite(self.logit):
            raise ValueError(f"a logit must be finite, not {self.logit}")

    @property
    def probability(self) -> float:
        """P(fake), 0..1; a calibrated probability only where ``temperature`` is not ``None``."""
        return probability(self.logit, self.temperature)

    def label(self, threshold: float | None = None) -> Label:
        """Return ``"fake"`` if P(fake) reaches the threshold (default: the model's own), else ``"real"``."""
        threshold = self.threshold if threshold is None else threshold
        return "fake" if self.probability >= threshold else "real"


def predict(classifier: Classifier, faces: Sequence[Face], *, batch_size: int = 32) -> list[Prediction]:
    """Score faces with a classifier.

    Parameters
    ----------
    classifier
        From :func:`redeepfake_nb.load_model`.
    faces
        From :func:`redeepfake_nb.find_faces` or ``Face.whole(frame)``; may be empty.
    batch_size
        Faces per forward pass; bounds memory, does not change scores.

    Returns
    -------
    list of Prediction
        In the order of ``faces``.

    Raises
    ------
    UnsuitableModel
        A score is not finite.
    """
    scores: list[Score] = []
    for start in range(0, len(faces), batch_size):
        scores += classifier.score(preprocess(faces[start : start + batch_size], classifier.preprocessing))
    return [as_prediction(face, score, classifier.card) for face, score in zip(faces, scores, strict=True)]


def as_prediction(face: Face, score: Score, card: Card) -> Prediction:
    """Join a face, its score, and how the model's card reads the score."""
    return Prediction(face, score.logit, card.temperature, card.threshold, score.kinds)
