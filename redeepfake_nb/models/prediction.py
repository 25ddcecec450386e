"""Score faces with a classifier: logits, P(fake) and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

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
    changed
        Logits after mild changes of the picture, by the name of the change; empty where that was not checked.
        See :mod:`redeepfake_nb.analysis.fragility`.
    window
        The faces that were scored together, in the order of time, where the model takes several frames at
        once; ``face`` is one of them.
    """

    face: Face
    logit: float
    temperature: float | None = None
    threshold: float = 0.5
    kinds: Mapping[str, float] = field(default_factory=dict)
    changed: Mapping[str, float] = field(default_factory=dict)
    window: tuple[Face, ...] = ()

    def __post_init__(self) -> None:
        if not math.isfinite(self.logit):
            raise ValueError(f"a logit must be finite, not {self.logit}")

    @property
    def probability(self) -> float:
        """P(fake), 0..1; a calibrated probability only where ``temperature`` is not ``None``."""
        return self.probability_of(self.logit)

    def probability_of(self, logit: float) -> float:
        """Return P(fake), 0..1, that another logit of the same model stands for."""
        return probability(logit, self.temperature)

    def label(self, threshold: float | None = None) -> Label:
        """Return ``"fake"`` if P(fake) reaches the threshold (default: the model's own), else ``"real"``."""
        threshold = self.threshold if threshold is None else threshold
        return "fake" if self.probability >= threshold else "real"


def predict(
    classifier: Classifier,
    faces: Sequence[Face] | Sequence[Sequence[Face]],
    *,
    batch_size: int | None = None,
) -> list[Prediction]:
    """Score faces with a classifier.

    Parameters
    ----------
    classifier
        From :func:`redeepfake_nb.load_model`.
    faces
        From :func:`redeepfake_nb.find_faces` or ``Face.whole(frame)``; may be empty. For a model that takes T
        frames at once: windows, each a sequence of T sightings of one face in the order of time.
    batch_size
        Faces per forward pass; bounds memory, does not change scores. Default: 32, on a GPU what its memory
        holds.

    Returns
    -------
    list of Prediction
        In the order of ``faces``.

    Raises
    ------
    UnsuitableModel
        A score is not finite, or the model takes several frames at once and these are single faces.
    """
    if any(isinstance(face, Face) for face in faces):
        classifier.check_single_pictures()
    if batch_size is None:
        # That of a GPU counts windows already.
        batch_size = classifier.gpu_batch_size or 32 // classifier.preprocessing.frames
    else:
        batch_size //= classifier.preprocessing.frames
    batch_size = max(1, batch_size)
    scores: list[Score] = []
    several: list[Any] = list(faces)
    for start in range(0, len(several), batch_size):
        scores += classifier.score(preprocess(several[start : start + batch_size], classifier.preprocessing))
    return [as_prediction(face, score, classifier.card) for face, score in zip(several, scores, strict=True)]


def as_prediction(face: Face | Sequence[Face], score: Score, card: Card) -> Prediction:
    """Join a face or a window of faces, its score, and how the model's card reads the score."""
    window = () if isinstance(face, Face) else tuple(face)
    shown = face if isinstance(face, Face) else window[len(window) // 2]
    return Prediction(shown, score.logit, card.temperature, card.threshold, score.kinds, window=window)
