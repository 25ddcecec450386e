"""Analyses one image: finds faces, scores and explains them, and derives a verdict."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from ..errors import InputError
from ..explanation.heatmaps import Explanation
from ..explanation.methods import Target
from ..faces.detection import DEFAULT_DETECTOR, Detector
from ..faces.face import find_faces
from ..faces.turned import turned_by
from ..media.frames import MAX_PIXELS, Frame, Source, read_image
from ..models.card import Card, model_to_dict
from ..models.classifier import Classifier
from ..models.likely_kind import kinds_in_words
from ..models.loading import default_classifier
from ..models.prediction import Prediction, predict
from ..provenance.reading import provenance_or_reason
from ..provenance.records import Provenance
from ..utils.versions import package_versions
from ..utils.wording import pluralize
from .face_columns import FACE_COLUMNS, face_facts, kind_columns, kind_facts
from .fragility import with_changes
from .options import AnalysisOptions
from .verdict import VERDICT_WORDS, Verdict, doubts, judge, with_provenance, without_face

if TYPE_CHECKING:
    import pandas as pd

_COLUMNS = (
    "file face left top right bottom size_px confidence sharpness logit probability label threshold kind "
    f"{FACE_COLUMNS} doubts warnings provenance"
)


@dataclass(frozen=True, eq=False)
class ImageReport:
    """The result of analysing one image; see also :class:`redeepfake_nb.analysis.report.Report`.

    Parameters
    ----------
    frame
        The image, with its source's name and SHA-256.
    predictions
        One per face, largest face first.
    explanations
        One per prediction in the same order, or empty where none were asked for.
    verdict
        Label, threshold and reasons.
    card
        The model's card, with the SHA-256 of its file.
    heatmap_error
        Why there are no explanations although some were asked for; empty otherwise.
    settings
        Detector, margin, explanation and so on, as plain values.
    timing
        Seconds of each step. Differs from run to run; everything else does not.
    provenance
        What the file says of itself; ``None`` where there was no file.
    """

    frame: Frame
    predictions: tuple[Prediction, ...]
    verdict: Verdict
    card: Card
    explanations: tuple[Explanation, ...] = ()
    heatmap_error: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)
    timing: Mapping[str, float] = field(default_factory=dict)
    provenance: Provenance | None = None

    def __post_init__(self) -> None:
        if self.explanations and len(self.explanations) != len(self.predictions):
            raise ValueError(f"{len(self.explanations)} explanations for {len(self.predictions)} predictions")

    def __repr__(self) -> str:
        scores = ", ".join(f"{p.probability:.2f}" for p in self.predictions) or "no face"
        verdict = f"{VERDICT_WORDS[self.verdict.label]} at threshold {self.threshold:.2f}"
        return f"<ImageReport {self.name!r}: {verdict}, P(fake) {scores}>"

    @property
    def kind(self) -> Literal["image"]:
        """``"image"``."""
        return "image"

    @property
    def source(self) -> Source | None:
        """Name, SHA-256, size and format of the file; ``None`` for an array."""
        return self.frame.source

    @property
    def name(self) -> str:
        """The source's name, or ``"image"``."""
        return self.source.name if self.source else "image"

    @property
    def frame_size(self) -> tuple[int, int]:
        """(width, height) in pixels."""
        return self.frame.width, self.frame.height

    @property
    def scored(self) -> tuple[Prediction, ...]:
        """The predictions: an image is scored face by face."""
        return self.predictions

    @property
    def most_suspicious(self) -> tuple[int, ...]:
        """Indices of the predictions by P(fake), highest first; of equal ones the larger face first."""
        return tuple(sorted(range(len(self.predictions)), key=lambda i: -self.predictions[i].logit))

    @property
    def explanation_names(self) -> tuple[str, ...]:
        """``"Face 1"``, ``"Face 2"``, ..., one per explanation."""
        return tuple(f"Face {i + 1}" for i in range(len(self.explanations)))

    def explanation(self, face: int = 0) -> Explanation:
        """Return the heatmap of one face, by its index.

        Raises
        ------
        InputError
            There is none; the message says why.
        """
        if face < len(self.explanations):
            return self.explanations[face]
        faces = pluralize(len(self.predictions), "face")
        raise InputError(
            self.heatmap_error or f"there is no heatmap of face {face + 1}: {faces} found",
            subject=self.name,
            next_step="Choose another picture, or a method for explain=.",
        )

    @property
    def threshold(self) -> float:
        """Threshold on P(fake) of labels and verdict, 0..1."""
        return self.verdict.threshold

    def at_threshold(self, threshold: float) -> ImageReport:
        """Judge the same scores at another threshold, without computing them again.

        Raises
        ------
        ValueError
            A threshold outside (0, 1).
        """
        no_face = without_face(self.settings.get("detector", ""), self.settings.get("min_size"))
        notes = self.source.notes if self.source else ()
        verdict = judge(self.predictions, self.card, threshold, no_face=no_face, notes=notes)
        verdict = with_provenance(verdict, self.provenance)
        return replace(self, verdict=verdict, settings={**self.settings, "threshold": threshold})

    def with_provenance(self, provenance: Provenance | None) -> ImageReport:
        """Return a report without provenance with this one, which its verdict then names."""
        return replace(self, provenance=provenance, verdict=with_provenance(self.verdict, provenance))

    def with_explanations(self, explanations: list[Explanation], heatmap_error: str = "") -> ImageReport:
        """Return the report with other heatmaps, or why there are none; scores and verdict stay the same."""
        return replace(self, explanations=tuple(explanations), heatmap_error=heatmap_error)

    def doubts(self, index: int) -> tuple[str, ...]:
        """Say why the score of one face should not be relied on alone."""
        return doubts(self.predictions[index], self.card, self.threshold)

    def to_frame(self) -> pd.DataFrame:
        """Return one row per face: position, size, score, label; the columns stay without faces.

        ``detail_px`` is the resolution that is really there, ``covered`` the share of the face that is of one
        colour, ``turned_deg`` by how much the picture was turned; ``mouth_covered``, ``uncertain`` and
        ``profile`` are those of :class:`redeepfake_nb.Face`, empty where they are not known.
        ``kind_generated`` and so on, the probability of each kind given that the face is fake, are there
        where the model tells kinds apart.
        """
        import pandas as pd

        rows = [self._row(i) | kind_facts(prediction.kinds) for i, prediction in enumerate(self.predictions)]
        return pd.DataFrame(rows, columns=[*_COLUMNS.split(), *kind_columns(self.card.kinds)])

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
            "kind": kinds_in_words(prediction.kinds),
            **face_facts(face, face.detector, turned_by(self.source)),
            "doubts": "; ".join(self.doubts(index)),
            "warnings": "; ".join(self.source.warnings) if self.source else "",
            "provenance": "; ".join(self.provenance.statements) if self.provenance else "",
        }

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values: source, faces, verdict, model and settings."""
        faces = []
        for i in range(len(self.predictions)):
            row = self._row(i)
            del row["file"], row["warnings"], row["provenance"]  # of the whole image
            del row["kind"]  # words for "kinds"
            row["kinds"] = dict(self.predictions[i].kinds)
            row["doubts"] = list(self.doubts(i))
            if self.explanations:
                e = self.explanations[i]
                row["explanation"] = {
                    "method": e.method,
                    "target": e.target,
                    "layer": e.layer,
                    "peak": e.peak,
                    "log_odds": e.evidence,
                    "probability_without": e.without,
                    "empty": e.empty,
                }
            faces.append(row)
        return {
            "source": self.source.to_dict() if self.source else None,
            "width": self.frame.width,
            "height": self.frame.height,
            "verdict": self.verdict.to_dict(),
            "provenance": self.provenance.to_dict() if self.provenance else None,
            "faces": faces,
            "heatmap_error": self.heatmap_error,
            "model": model_to_dict(self.card),
            "settings": dict(self.settings),
            "versions": package_versions(),
            "timing": dict(self.timing),
        }


def analyze_image(
    source: Any,
    classifier: Classifier | None = None,
    *,
    detector: str | Detector = DEFAULT_DETECTOR,
    margin: float | None = None,
    min_size: int | None = None,
    threshold: float | None = None,
    explain: str | None = None,
    target: Target = "fake",
    layer: str | None = None,
    max_pixels: int = MAX_PIXELS,
) -> ImageReport:
    """Analyse one image.

    Options are checked before anything else is done; see :class:`redeepfake_nb.analysis.AnalysisOptions`.

    Parameters
    ----------
    source
        Path, bytes, (H, W, 3) uint8 RGB array, upload, or a Frame; see :func:`redeepfake_nb.read_image`.
    classifier
        Default: the model that ships, loaded once per process.
    detector, margin, min_size
        See :func:`redeepfake_nb.find_faces`.
    threshold
        Threshold on P(fake), above 0 and below 1. Default: the model's.
    explain
        Heatmap method of :func:`redeepfake_nb.explain`; ``None`` for no heatmaps.
    target, layer
        Of the heatmaps; see :func:`redeepfake_nb.explain`.
    max_pixels
        Largest width x height; a larger JPEG is read at a reduced size, which the verdict says.

    Returns
    -------
    ImageReport
        Where heatmaps cannot be computed, ``heatmap_error`` says why; scores and verdict are there.

    Raises
    ------
    InputError
        The image cannot be read.
    ModelError
        The model cannot be used.
    UnknownChoice
        Unknown detector, method, target or layer; also a ``ValueError``.
    ValueError
        An option out of range.
    """
    options = AnalysisOptions(detector, margin, min_size, threshold, explain, target, layer)
    classifier = default_classifier() if classifier is None else classifier
    classifier.check_single_pictures()
    options.check_layer(classifier)
    clock = _Clock()
    frame = read_image(source, max_pixels=max_pixels)
    options.prepare(classifier)
    clock.lap("read")
    declared = provenance_or_reason(source, frame)
    clock.lap("provenance")
    faces = find_faces(frame, detector, margin=margin, min_size=min_size)
    frame = faces[0].frame if faces else frame  # it may have been turned
    clock.lap("detect")
    predictions = with_changes(classifier, predict(classifier, faces))
    clock.lap("score")
    explanations, heatmap_error = options.explanations(classifier, predictions)
    if explain is not None:
        clock.lap("explain")
    settings = options.settings(classifier)
    no_face = without_face(settings["detector"], min_size)
    notes = frame.source.notes if frame.source else ()
    verdict = judge(predictions, classifier.card, settings["threshold"], no_face=no_face, notes=notes)
    return ImageReport(
        frame=frame,
        predictions=tuple(predictions),
        verdict=with_provenance(verdict, declared),
        provenance=declared,
        card=classifier.card,
        explanations=explanations,
        heatmap_error=heatmap_error,
        settings=settings,
        timing=clock.laps,
    )


class _Clock:
    """Measures the seconds between laps."""

    def __init__(self) -> None:
        self.laps: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.laps[name] = round(now - self._last, 4)
        self._last = now
