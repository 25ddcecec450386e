"""Options that images, videos and scans share, checked before a file is read or a model is loaded."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from ..errors import RedeepfakeError, UnsuitableModel, one_line_message
from ..explanation.heatmaps import Explanation, explain
from ..explanation.method_choice import default_layer, has_compiled_heatmap
from ..explanation.methods import METHODS, Target, check_choice
from ..explanation.split_network import check_layer
from ..faces.detection import DEFAULT_DETECTOR, Detector, detector_names
from ..faces.face import check_margin, check_min_size, detector_name
from ..models.card import Card
from ..models.classifier import Classifier
from ..models.prediction import Prediction
from ..utils.numeric import check_threshold


@dataclass(frozen=True)
class AnalysisOptions:
    """How faces are found, scored and explained.

    :func:`redeepfake_nb.analyze_image` and :func:`redeepfake_nb.analyze_video` take all of these as keywords
    with the same names and defaults, :func:`redeepfake_nb.scan` the first four.

    Parameters
    ----------
    detector
        Name of a registered detector, or a callable; see :func:`redeepfake_nb.find_faces`.
    margin
        Crop margin as a fraction of the face box's longer side, 0 to 4. Default: the model's.
    min_size
        Ignore faces whose box has a shorter side under this many pixels; ``None`` ignores none.
    threshold
        Threshold on P(fake), above 0 and below 1. Default: the model's.
    explain
        Heatmap method of :func:`redeepfake_nb.explain`; ``None`` for no heatmaps.
    target
        Label that heatmaps explain, ``"fake"`` or ``"real"``.
    layer
        Layer that heatmaps are computed at. Default: see :func:`redeepfake_nb.explain`.

    Raises
    ------
    UnknownChoice
        Unknown detector, method or target; also a ``ValueError``.
    ValueError
        An option of the wrong type or out of range.
    """

    detector: str | Detector = DEFAULT_DETECTOR
    margin: float | None = None
    min_size: int | None = None
    threshold: float | None = None
    explain: str | None = None
    target: Target = "fake"
    layer: str | None = None

    def __post_init__(self) -> None:
        if isinstance(self.detector, str):
            check_choice("detector", self.detector, detector_names())
        elif not callable(self.detector):
            raise ValueError(f"detector must be a name or a callable, not {type(self.detector).__name__}")
        if self.margin is not None:
            check_margin(self.margin)
        if self.min_size is not None:
            check_min_size(self.min_size)
        if self.threshold is not None:
            check_threshold(self.threshold)
        if self.explain is not None:
            check_choice("method", self.explain, METHODS)
        check_choice("target", self.target, ("fake", "real"))
        if self.layer is not None and not isinstance(self.layer, str):
            raise ValueError(f"layer must be a layer's name, not {type(self.layer).__name__}")

    def check_layer(self, classifier: Classifier) -> None:
        """Raise UnknownChoice where heatmaps are to be computed at a layer that has no feature map."""
        if self.explain is not None and self.layer is not None:
            check_layer(classifier.keras_model, self.layer)

    def prepare(self, classifier: Classifier) -> None:
        """Begin to load what heatmaps need, in the background, while faces are found and scored."""
        if self.explain is not None and not has_compiled_heatmap(classifier, self.explain, self.layer):
            classifier.prepare_keras()

    def explanations(
        self, classifier: Classifier, predictions: Sequence[Prediction]
    ) -> tuple[tuple[Explanation, ...], str]:
        """Compute the heatmaps that were asked for; a failure costs no score.

        Returns
        -------
        tuple of Explanation
            One per prediction, or none where none were asked for or where they cannot be computed.
        str
            Why they cannot be computed; empty otherwise.
        """
        if self.explain is None or not predictions:
            return (), ""
        try:
            return tuple(explain(classifier, predictions, self.explain, self.target, self.layer)), ""
        except Exception as error:  # the backend raises whatever its operations raise
            return (), str(error) if isinstance(error, RedeepfakeError) else one_line_message(error)

    def threshold_for(self, card: Card) -> float:
        """Return the threshold, or the model's where none was given."""
        return card.threshold if self.threshold is None else self.threshold

    def settings(self, classifier: Classifier) -> dict[str, Any]:
        """Return the options as plain values for a report, with the model's where none was given."""
        explained = self.explain is not None
        layer = self.layer
        if explained and layer is None:
            with suppress(UnsuitableModel):  # no layer is fit for heatmaps, so there are none
                layer = default_layer(classifier, str(self.explain))
        return {
            "detector": detector_name(self.detector),
            "margin": classifier.preprocessing.margin if self.margin is None else self.margin,
            "min_size": self.min_size,
            "threshold": self.threshold_for(classifier.card),
            "scored_by": classifier.scored_by,
            "explain": self.explain,
            "target": self.target if explained else None,
            "layer": layer if explained else None,
        }
