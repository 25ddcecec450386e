"""Segment a face into parts by its 68 landmarks, and sum a heatmap over each part.

The parts cover every pixel of the crop without overlap: where outlines intersect, the pixel belongs to the
part that comes first in :data:`REGIONS`. Landmarks are those of iBUG 300-W (Sagonas et al., "300 Faces
in-the-Wild Challenge", ICCVW 2013), counted from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import cv2
import numpy as np

from ..faces.face import Face

if TYPE_CHECKING:
    import pandas as pd

# In order of priority where they overlap.
REGIONS = (
    "eyes",
    "brows",
    "mouth",
    "nose",
    "jaw line and boundary",
    "forehead",
    "cheeks and chin",
    "background",
)
BACKGROUND = REGIONS.index("background")

_JAW = slice(0, 17)
_BROWS = (slice(17, 22), slice(22, 27))
_NOSE = slice(27, 36)
_NOSE_BASE = 33
_EYES = (slice(36, 42), slice(42, 48))
_MOUTH = slice(48, 60)
# How far a part extends beyond its landmarks, in interocular distances.
_REACH = {"eyes": 0.12, "brows": 0.08, "mouth": 0.08, "nose": 0.05, "boundary": 0.13}
# The landmarks end at the brows. Brows to nose base and hairline to brows are each about a third of the face.
# The forehead's height is set to these shares of the former, at the outer ends and in the middle, to leave
# out most hair.
_FOREHEAD = (0.4, 0.7)
# Fractional bits of the fixed-point coordinates in OpenCV's drawing: 1/16 of a pixel.
_SHIFT = 4
# Evidence counts as uniform if its total variation distance from the distribution of the area is less than
# this.
UNIFORM = 0.1
# A part is said to hold most of the evidence if no part has more and it has at least this share.
MOST = 0.4

_INNER = ("eyes", "brows", "mouth", "nose", "forehead", "cheeks and chin")
# What evidence at a place may mean where the model names a kind of fake: kind -> parts and a sentence, for
# every part. None is evidence that is spread evenly.
_MEANING: dict[str, tuple[tuple[tuple[str | None, ...], str], ...]] = {
    "generated": (
        (
            ("background", "forehead", None),
            "Traces of a wholly generated picture are often spread over hair and background.",
        ),
        (
            ("eyes", "brows", "mouth", "nose", "jaw line and boundary", "cheeks and chin"),
            "A wholly generated picture has traces everywhere, so this place alone does not tell it from a "
            "swap or an edit.",
        ),
    ),
    "swapped": (
        (
            ("jaw line and boundary", "mouth", "eyes"),
            "A swapped face is blended in along its boundary; re-enactment changes mouth and eyes.",
        ),
        (
            ("brows", "nose", "forehead", "cheeks and chin"),
            "A swap replaces the face as a whole, so any part of it may show traces.",
        ),
        (
            ("background", None),
            "A swap leaves what is outside the face as it was, so this place does not fit the kind that the "
            "model names.",
        ),
    ),
    "edited": (
        (_INNER, "An edit by hand is often confined to one part of the face."),
        (
            ("jaw line and boundary",),
            "An edit by hand may change the outline of the face; so does a swap, whose seam lies there.",
        ),
        (
            ("background", None),
            "An edit by hand is confined to a part of the face, so this place does not fit the kind that the "
            "model names.",
        ),
    ),
}

PHRASES = {
    "eyes": "around the eyes",
    "brows": "on the brows",
    "mouth": "around the mouth",
    "nose": "on the nose",
    "jaw line and boundary": "along the jaw line and the boundary of the face",
    "forehead": "on the forehead",
    "cheeks and chin": "on cheeks and chin",
    "background": "outside the face",
}


@dataclass(frozen=True, eq=False)
class Regions:
    """A heatmap summed over the parts of a face.

    Parameters
    ----------
    labels
        Index into :data:`REGIONS` of each pixel of the crop, (h, w) uint8; None without landmarks.
    evidence
        Share of the heatmap's sum on each part, (8,) float64, 0..1; all 0 for an empty heatmap, None without
        landmarks.
    area
        Share of the crop's pixels, (8,) float64, 0..1; None without landmarks.
    target
        The label that the evidence is for.
    reason
        Why there are no parts, as a sentence; None if there are.
    kind
        The kind of fake that the model names, see :mod:`redeepfake_nb.models.likely_kind`; empty if it names
        none.
    """

    labels: np.ndarray | None = field(repr=False)
    evidence: np.ndarray | None
    area: np.ndarray | None
    target: str = "fake"
    reason: str | None = None
    kind: str = ""

    @property
    def table(self) -> pd.DataFrame:
        """Columns ``region``, ``evidence`` and ``area`` (shares, 0..1) and ``ratio``, most evidence first.

        A ratio above 1 means more evidence than the part's area alone would suggest; it is NaN for a part
        without pixels. Without landmarks there are no rows; :attr:`reason` says why.
        """
        import pandas as pd

        columns = ["region", "evidence", "area", "ratio"]
        if self.evidence is None or self.area is None:
            return pd.DataFrame(columns=columns)
        ratio = np.divide(self.evidence, self.area, out=np.full(len(REGIONS), np.nan), where=self.area > 0)
        table = pd.DataFrame(
            dict(zip(columns, (REGIONS, self.evidence, self.area, ratio), strict=True)), columns=columns
        )
        return table.sort_values("evidence", ascending=False, kind="stable", ignore_index=True)

    @property
    def strongest(self) -> str | None:
        """The part whose share of the evidence exceeds that of the area most; None if none stands out."""
        if self.evidence is None or self.area is None or not self.evidence.any():
            return None
        excess = self.evidence - self.area
        # Total variation distance: the share that would have to move to turn one distribution into the other.
        return None if np.abs(excess).sum() / 2 < UNIFORM else REGIONS[int(excess.argmax())]

    @property
    def sentence(self) -> str:
        """Where the evidence lies, or why that is unknown, in one sentence."""
        if self.evidence is None or self.area is None:
            return self.reason or ""
        if not self.evidence.any():
            where = f"No place in this crop was found to speak for {self.target}"
            return f"{where}: there is no positive evidence."
        evidence = "positive evidence" if self.target == "fake" else f"evidence for {self.target}"
        name = self.strongest
        if name is None:
            spread = f"The {evidence} is spread almost evenly over the crop; no part of the face stands out."
            return f"{spread} {self._meaning}".strip()
        share, area = (float(values[REGIONS.index(name)]) for values in (self.evidence, self.area))
        numbers = f"({share:.0%} on {_percent(area)} of the area)".replace("%", " %")
        most = share >= max(MOST, float(self.evidence.max()))
        start = f"Most {evidence} lies" if most else f"The {evidence} stands out most"
        expected = self.kind == "generated" and self.target == "fake"
        vague = name == "background" and not expected
        end = ", so it says little about the face itself." if vague else "."
        return f"{start} {PHRASES[name]} {numbers}{end} {self._meaning}".strip()

    @property
    def _meaning(self) -> str:
        """What evidence at this place means for the kind that the model names; empty if it names none."""
        if self.target != "fake":
            return ""
        found = (words for parts, words in _MEANING.get(self.kind, ()) if self.strongest in parts)
        return next(found, "")


def sum_regions(heatmap: np.ndarray, face: Face, margin: float, target: str = "fake") -> Regions:
    """Sum a heatmap over the parts of a face.

    Parameters
    ----------
    heatmap
        (h, w) float, not negative, on the pixels of ``face.crop(margin)``.
    face
        The face, with landmarks that define the parts.
    margin
        Margin of the crop that the heatmap lies on.
    target
        The label that the evidence is for.

    Raises
    ------
    ValueError
        The heatmap does not have the crop's shape, or has negative values or values that are not finite.
    """
    left, top, right, bottom = face.crop_box(margin)
    heatmap = np.asarray(heatmap)
    if heatmap.shape != (bottom - top, right - left):
        raise ValueError(f"the crop has {bottom - top} x {right - left} px, the heatmap {heatmap.shape}")
    # NaN fails this comparison too.
    if not np.all((heatmap >= 0) & (heatmap < np.inf)):
        raise ValueError("a heatmap must have no negative values and none that are not finite")
    reason = _why_no_parts(face)
    if face.landmarks is None or reason is not None:
        return Regions(None, None, None, target, reason)
    labels = label_regions(face.landmarks - np.array([left, top], np.float32), *heatmap.shape)
    count = len(REGIONS)
    area = np.bincount(labels.ravel(), minlength=count) / labels.size
    evidence = np.bincount(labels.ravel(), heatmap.ravel().astype(np.float64), count)
    total = evidence.sum()
    return Regions(labels, evidence / total if total > 0 else evidence * 0, area, target)


def label_regions(landmarks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Label each pixel with the part of the face that it belongs to.

    Eyes, brows, mouth and nose are the outlines of their landmarks, slightly dilated. The face's outline runs
    along the jaw and over the forehead, whose height is estimated from the distance between nose base and
    brows; a band along it, where a swapped face would have been blended in, is the boundary. Inside, the rest
    is forehead above the line of the brows, and cheeks and chin (with upper lip and temples) below it.

    Parameters
    ----------
    landmarks
        (68, 2) x, y in the crop's pixels; integers are pixel centres. They may lie outside the crop.
    height, width
        Size of the crop in pixels.

    Returns
    -------
    numpy.ndarray
        (height, width) uint8, indices into :data:`REGIONS`.

    Raises
    ------
    ValueError
        Wrong shape, or landmarks that are not finite or nearly coincide.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"landmarks must be 68 finite points (68, 2), not an array of {points.shape}")
    unit = _interocular_distance(points)
    if unit < 1:
        raise ValueError("the landmarks nearly coincide")
    # Points further out cannot affect the crop, and far coordinates overflow inside OpenCV.
    limit = 4.0 * max(height, width)
    points = points.clip(-limit, limit)

    def mask(outlines: Sequence[np.ndarray], reach: float, fill: bool = True) -> np.ndarray:
        return _draw(outlines, 2 * reach * unit, fill, height, width)

    brows = np.concatenate([points[part] for part in _BROWS])
    ends, middle = _FOREHEAD
    arch = ends + (middle - ends) * np.sin(np.linspace(0, np.pi, len(brows)))
    raised = brows + arch[:, None] * (brows.mean(axis=0) - points[_NOSE_BASE])
    outline = _hull(np.concatenate([points[_JAW], raised.clip(-limit, limit)]))
    inside = mask([outline], 0)
    parts = {
        "eyes": mask([_hull(points[eye]) for eye in _EYES], _REACH["eyes"]),
        "brows": mask([points[brow] for brow in _BROWS], _REACH["brows"], fill=False),
        "mouth": mask([_hull(points[_MOUTH])], _REACH["mouth"]),
        "nose": mask([_hull(points[_NOSE])], _REACH["nose"]),
        "jaw line and boundary": mask([np.vstack([outline, outline[:1]])], _REACH["boundary"], fill=False),
        "forehead": inside & _above_brows(brows, points, height, width),
        "cheeks and chin": inside,
    }
    labels = np.full((height, width), BACKGROUND, np.uint8)
    # In reverse, so that parts of higher priority are drawn over the others.
    for name in reversed(list(parts)):
        labels[parts[name]] = REGIONS.index(name)
    return labels


def _why_no_parts(face: Face) -> str | None:
    if face.landmarks is None and face.detector == "whole":
        return "The whole picture was taken as one face, without landmarks, so its parts are not known."
    if face.landmarks is None:
        return "No landmarks were found on this face, so its parts are not known."
    if _interocular_distance(face.landmarks.astype(np.float64)) < 1:
        return "The landmarks of this face nearly coincide, so its parts are not known."
    return None


def _interocular_distance(points: np.ndarray) -> float:
    """Return the distance between the eyes in pixels, corrected for faces turned sideways."""
    left, right = (points[eye].mean(axis=0) for eye in _EYES)
    # In front view, nose root to chin is about 1.7 times as far.
    return float(max(np.linalg.norm(right - left), np.linalg.norm(points[8] - points[27]) / 1.7))


def _hull(points: np.ndarray) -> np.ndarray:
    return cv2.convexHull(points.astype(np.float32)).reshape(-1, 2).astype(np.float64)


def _draw(
    outlines: Sequence[np.ndarray], thickness: float, fill: bool, height: int, width: int
) -> np.ndarray:
    """Draw outlines, filled or as lines of the given thickness in pixels, as a mask (height, width) bool."""
    canvas = np.zeros((height, width), np.uint8)
    for outline in outlines:
        fixed = np.rint(outline * 2**_SHIFT).astype(np.int32)
        if fill:
            cv2.fillPoly(canvas, [fixed], 1, shift=_SHIFT)
        if thickness > 0:
            # OpenCV draws lines one pixel thicker than asked for.
            cv2.polylines(canvas, [fixed], fill, 1, max(round(thickness) - 1, 1), shift=_SHIFT)
    return canvas.astype(bool)


def _above_brows(brows: np.ndarray, points: np.ndarray, height: int, width: int) -> np.ndarray:
    """Mask the pixels above the line of the brows, in the face's own orientation, (height, width) bool."""
    left, right = (points[eye].mean(axis=0) for eye in _EYES)
    across = right - left
    across = across / np.linalg.norm(across) if np.linalg.norm(across) > 0 else np.array([1.0, 0.0])
    down = np.array([-across[1], across[0]])
    # In a mirrored face the eyes are swapped; down is where the chin is.
    down = down if down @ (points[8] - points[27]) >= 0 else -down
    along, depth = brows @ across, brows @ down
    order = along.argsort()
    x, y = np.arange(width), np.arange(height)[:, None]
    line = np.interp(across[0] * x + across[1] * y, along[order], depth[order])
    return down[0] * x + down[1] * y < line


def _percent(share: float) -> str:
    return "under 1%" if 0 < share < 0.005 else f"{share:.0%}"
