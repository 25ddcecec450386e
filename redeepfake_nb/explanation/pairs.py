"""Compare two pictures of one face, an original and a suspect, by scores and heatmaps on the same crop."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..faces.detection import Box, box_iou
from ..faces.face import Face
from ..media.frames import Frame
from ..models.classifier import Classifier
from ..models.prediction import predict
from .heatmaps import Explanation, explain
from .methods import LOGIT_METHODS, Target, check_choice
from .regions import PHRASES, REGIONS

if TYPE_CHECKING:
    import pandas as pd

# Aspect ratios of two pictures that differ by no more than this are those of one picture at two sizes.
_SAME_ASPECT = 0.01
# Boxes of one face in two versions of a picture overlap (IoU) at least so far.
SAME_PLACE = 0.3


@dataclass(frozen=True, eq=False)
class FaceComparison:
    """Two pictures of one face.

    Parameters
    ----------
    original, suspect
        The explanations.
    crops
        How the two crops were made to match, as a clause.
    difference
        (h, w) float32 on the suspect's crop: its heatmap minus the original's, in the log-odds that a face
        would have that looked like that everywhere. Positive: more evidence in the suspect.
    """

    original: Explanation
    suspect: Explanation
    crops: str
    difference: np.ndarray = field(repr=False)

    @property
    def change(self) -> float:
        """What the marked places of the suspect carry more than those of the original, in log-odds."""
        return (self.suspect.evidence or 0.0) - (self.original.evidence or 0.0)

    @cached_property
    def regions(self) -> pd.DataFrame:
        """One row per part of the suspect's face, the largest change first; none without landmarks.

        Columns: ``region``; ``original`` and ``suspect``, the evidence on it in log-odds; ``change``.
        """
        import pandas as pd

        columns = ["region", "original", "suspect", "change"]
        labels = self.suspect.regions.labels
        if labels is None:
            return pd.DataFrame(columns=columns)
        after = _log_odds(self.suspect)
        count = len(REGIONS)
        shares = [
            np.bincount(labels.ravel(), values.ravel(), count) / max(float(values.sum()), 1e-9)
            for values in (after - self.difference, after)
        ]
        original, suspect = (
            share * (e.evidence or 0.0)
            for share, e in zip(shares, (self.original, self.suspect), strict=True)
        )
        rows = [
            (name, original[i], suspect[i], suspect[i] - original[i])
            for i, name in enumerate(REGIONS)
            if (labels == i).any()
        ]
        table = pd.DataFrame(rows, columns=columns)
        return table.sort_values("change", key=abs, ascending=False, kind="stable", ignore_index=True)

    @property
    def sentence(self) -> str:
        """How score and evidence differ, in two sentences."""
        before, after = (e.prediction.probability for e in (self.original, self.suspect))
        words = f"P(fake) is {after:.2f} for the suspect and {before:.2f} for the original."
        if not len(self.regions):
            return f"{words} {self.suspect.regions.reason or ''}".strip()
        first = self.regions.iloc[0]
        return (
            f"{words} Evidence for {self.suspect.target} differs most {PHRASES[first['region']]}, by "
            f"{first['change']:+.1f} log-odds."
        )


def compare_faces(
    classifier: Classifier,
    original: Face,
    suspect: Face,
    method: str = "gradcam",
    target: Target = "fake",
    layer: str | None = None,
) -> FaceComparison:
    """Score and explain two pictures of one face on the same crop.

    Where both pictures have the same size, or one is an enlarged or reduced copy of the other, and the faces
    are at the same place, both faces are cut out by the original's box, so that no difference comes of the
    detector. Otherwise each face has its own box, and the heatmaps are compared on crops of equal size.

    Parameters
    ----------
    classifier
        From :func:`redeepfake_nb.load_model`.
    original, suspect
        From :func:`redeepfake_nb.find_faces`.
    method
        ``gradcam``, ``hirescam``, ``gradcam++``, ``layercam`` or ``saliency``, whose values are parts of the
        logit.
    target, layer
        See :func:`redeepfake_nb.explain`.

    Raises
    ------
    UnknownChoice
        Unknown method or target, or one whose values are no parts of the logit.
    """
    check_choice("method", method, LOGIT_METHODS)
    crops = "each face is cut out by its own box, since the pictures have different shapes"
    if same_shape(original.frame, suspect.frame):
        box = scaled_box(original, suspect.frame)
        crops = "each face is cut out by its own box, since the faces are at different places"
        if box_iou(box, suspect.box) >= SAME_PLACE:
            crops = "both faces are cut out by the original's box"
            suspect = replace(suspect, box=box, margin=original.margin)
    before, after = explain(classifier, predict(classifier, [original, suspect]), method, target, layer)
    height, width = after.heatmap.shape
    matched = cv2.resize(_log_odds(before), (width, height), interpolation=cv2.INTER_LINEAR)
    return FaceComparison(before, after, crops, _log_odds(after) - matched)


def same_shape(one: Frame, other: Frame) -> bool:
    """Whether two pictures may be one picture at two sizes, by their aspect ratios."""
    return abs(one.width * other.height / (one.height * other.width) - 1) <= _SAME_ASPECT


def scaled_box(face: Face, frame: Frame) -> Box:
    """Return the place of a face's box in another picture of the same shape."""
    scale = np.array([frame.width / face.frame.width, frame.height / face.frame.height] * 2)
    left, top, right, bottom = np.rint(np.array(face.box) * scale).astype(int).tolist()
    left, top = min(left, frame.width - 1), min(top, frame.height - 1)
    return left, top, min(max(right, left + 1), frame.width), min(max(bottom, top + 1), frame.height)


def _log_odds(explanation: Explanation) -> np.ndarray:
    """Return a heatmap in the log-odds of a face that looks like that everywhere, (h, w) float32."""
    return explanation.heatmap * np.float32(explanation.intensity or 0.0)
