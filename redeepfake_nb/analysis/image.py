"""A picture -> a report: read, find faces, score, explain, judge."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..explanation.heatmaps import Explanation
from ..explanation.heatmaps import explain as explain_predictions
from ..explanation.methods import Target
from ..faces.detection import Detector
from ..faces.face import detector_name, find_faces
from ..media.frames import Frame, read_image
from ..models.card import Card, model_to_dict
from ..models.classifier import Classifier
from ..models.loading import default_classifier
from ..models.prediction import Prediction, predict
from ..utils.versions import package_versions
from .verdict import Verdict, doubts, judge

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "file face left top right bottom size_px confidence sharpness logit probability label threshold doubts"
)


@dataclass(frozen=True, eq=False)
class ImageReport:
    """Everything that is known about one picture.

    Parameters
    ----------
    frame
        The picture, with its source's name and SHA-256.
    predictions
        One per face, largest face first.
    explanations
        One per prediction in the same order, or empty where none was asked for.
    verdict
        Label, threshold and reasons.
    card
        The model's card, with the SHA-256 of its file.
    settings
        Detector, margin, explanation and so on, as plain values.
    timing
        Seconds of each step. Differs from run to run; everything else does not.
    """

    frame: Frame
    predictions: tuple[Prediction, ...]
    verdict: Verdict
    card: Card
    explanations: tuple[Explanation, ...] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.explanations and len(self.explanations) != len(self.predictions):
            raise ValueError(f"{len(self.explanations)} explanations for {len(self.predictions)} predictions")

    def __repr__(self) -> str:
        scores = ", ".join(f"{p.probability:.2f}" for p in self.predictions) or "no face"
        verdict = f"{self.verdict.label} at threshold {self.threshold:.2f}"
        return f"<ImageReport {self.name!r}: {verdict}, P(fake) {scores}>"

    @property
    def name(self) -> str:
        """The source's name, or ``"image"``."""
        return self.frame.source.name if self.frame.source else "image"

    @property
    def threshold(self) -> float:
        """The cut on P(fake) that labels and verdict are stated at."""
        return self.verdict.threshold

    def at_threshold(self, threshold: float) -> ImageReport:
        """The same scores judged at another threshold; nothing is computed anew.

        Raises
        ------
        ValueError
            A threshold outside (0, 1).
        """
        verdict = judge(self.predictions, self.card, threshold)
        return replace(self, verdict=verdict, settings={**self.settings, "threshold": threshold})

    def with_explanations(self, explanations: list[Explanation]) -> ImageReport:
        """The same report with other heatmaps; scores and verdict stay."""
        return replace(self, explanations=tuple(explanations))

    def doubts(self, index: int) -> tuple[str, ...]:
        """Why the score of one face should not be relied on alone."""
        return doubts(self.predictions[index], self.card, self.threshold)

    def to_frame(self) -> pd.DataFrame:
        """One row per face: position, size, score, label. Empty, with the same columns, without faces."""
        import pandas as pd

        rows = [self._row(i) for i in range(len(self.predictions))]
        return pd.DataFrame(rows, columns=_COLUMNS.split())

    def _row(self, index: int) -> dict[str, Any]:
        prediction = self.predictions[index]
        face = prediction.face
        left, top, right, bottom = face.box
        return {
            "file": self.name,
            "face": index + 1,
            "left": left,
            "top": top,
            "right": right,
            "bottom": bottom,
            "size_px": face.size,
            "confidence": face.confidence,
            "sharpness": face.sharpness,
            "logit": prediction.logit,
            "probability": prediction.probability,
            "label": prediction.label(self.threshold),
            "threshold": self.threshold,
            "doubts": "; ".join(self.doubts(index)),
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: what was read, what was found, by which model and settings."""
        faces = []
        for i in range(len(self.predictions)):
            row = self._row(i)
            row.pop("file")
            row["doubts"] = list(self.doubts(i))
            if self.explanations:
                e = self.explanations[i]
                row["explanation"] = {
                    "method": e.method,
                    "target": e.target,
                    "layer": e.layer,
                    "peak": e.peak,
                    "empty": e.empty,
                }
            faces.append(row)
        return {
            "source": self.frame.source.to_dict() if self.frame.source else None,
            "width": self.frame.width,
            "height": self.frame.height,
            "verdict": self.verdict.to_dict(),
            "faces": faces,
            "model": model_to_dict(self.card),
            "settings": dict(self.settings),
            "versions": package_versions(),
            "timing": dict(self.timing),
        }


def analyze_image(
    source: Any,
    classifier: Classifier | None = None,
    *,
    detector: str | Detector = "hog",
    margin: float | None = None,
    min_size: int | None = None,
    threshold: float | None = None,
    explain: str | None = None,
    target: Target = "fake",
    layer: str | None = None,
) -> ImageReport:
    """Analyse one picture.

    Parameters
    ----------
    source
        Path, bytes, (H, W, 3) uint8 RGB array, upload, or a Frame; see :func:`redeepfake_nb.read_image`.
    classifier
        Default: the model that ships, loaded once per process.
    detector, margin, min_size
        See :func:`redeepfake_nb.find_faces`.
    threshold
        Cut on P(fake) between 0 and 1. Default: the model's.
    explain
        Method of :func:`redeepfake_nb.explain`, or ``None`` for no heatmaps.
    target, layer
        For the explanation.

    Returns
    -------
    ImageReport

    Raises
    ------
    InputError
        The picture cannot be read.
    ModelError
        The model cannot be used.
    ValueError
        An option out of range.
    """
    classifier = default_classifier() if classifier is None else classifier
    clock = _Clock()
    frame = read_image(source)
    clock.lap("read")
    faces = find_faces(frame, detector, margin=margin, min_size=min_size)
    clock.lap("detect")
    predictions = predict(classifier, faces)
    clock.lap("score")
    explanations: list[Explanation] = []
    if explain:
        explanations = explain_predictions(classifier, predictions, explain, target, layer)
        clock.lap("explain")
    cut = classifier.threshold if threshold is None else threshold
    settings = {
        "detector": detector_name(detector),
        "margin": classifier.preprocessing.margin if margin is None else margin,
        "min_size": min_size,
        "threshold": cut,
        "explain": explain,
        "target": target if explain else None,
        "layer": (layer or classifier.explain_layer) if explain else None,
    }
    return ImageReport(
        frame=frame,
        predictions=tuple(predictions),
        verdict=judge(predictions, classifier.card, cut),
        card=classifier.card,
        explanations=tuple(explanations),
        settings=settings,
        timing=clock.laps,
    )


class _Clock:
    """Seconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 4)
        self._last = now
