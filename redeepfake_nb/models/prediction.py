"""Score faces with a classifier: logits, P(fake) and labels."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..faces.face import Face
from ..faces.preprocessing import preprocess
from ..utils.numeric import probability
from .classifier import Classifier

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
    """

    face: Face
    logit: float
    temperature: float | None = None
    threshold: float = 0.5

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
    logits: list[float] = []
    for start in range(0, len(faces), batch_size):
        batch = preprocess(faces[start : start + batch_size], classifier.preprocessing)
        logits.extend(np.asarray(classifier.logits(batch), np.float64).tolist())
    return [
        Prediction(face, logit, classifier.temperature, classifier.threshold)
        for face, logit in zip(faces, logits, strict=True)
    ]
