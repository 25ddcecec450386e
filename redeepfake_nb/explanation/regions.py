"""Where on the face evidence lies: 68 landmarks -> parts of the face -> shares of evidence and of area.

The parts cover every pixel of the crop, and each pixel belongs to one part: where outlines overlap, the part
that stands earlier in :data:`REGIONS` has it. Landmarks are those of iBUG 300-W (Sagonas et al., "300 Faces
in-the-Wild Challenge", ICCVW 2013), counted from 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
import pandas as pd

from ..faces.face import Face

# In the order in which they take pixels.
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
# How far a part reaches beyond its points, in distances between the eyes.
_REACH = {"eyes": 0.12, "brows": 0.08, "mouth": 0.08, "nose": 0.05, "boundary": 0.13}
# The points end at the brows. Brow to nose base and hair to brow are each about a third of a face; these
# shares of the former are taken as forehead over the outer ends and the middle, which leaves most hair out.
_FOREHEAD = (0.4, 0.7)
# Sides of fixed-point coordinates in OpenCV's drawing: 1/16 of a pixel.
_SHIFT = 4
# Evidence counts as even where less than this share of it would have to move to follow the area.
EVEN = 0.1
# A part is said to hold most of it where no part has more and it has at least this share.
MOST = 0.4

_PLACES = {
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
        (h, w) uint8, index into :data:`REGIONS` of each pixel of the crop; None without landmarks.
    evidence
        (8,) float64, share of the heatmap's sum that lies on each part, 0..1; all 0 where it is empty, None
        without landmarks.
    area
        (8,) float64, share of the crop's pixels, 0..1; None without landmarks.
    target
        For whom the evidence speaks.
    reason
        Why there is no table, as a sentence; None where there is one.
    """

    labels: np.ndarray | None = field(repr=False)
    evidence: np.ndarray | None
    area: np.ndarray | None
    target: str = "fake"
    reason: str | None = None

    @property
    def table(self) -> pd.DataFrame:
        """Columns ``region``, ``evidence`` and ``area`` (shares, 0..1) and ``ratio``, most evidence first.

        A ratio above 1 means more evidence than the part's area alone would have; it is NaN for a part
        of no area. There are no rows without landmarks: :attr:`reason` says why.
        """
        columns = ["region", "evidence", "area", "ratio"]
        if self.reason is not None:
            return pd.DataFrame(columns=columns)
        ratio = np.divide(self.evidence, self.area, out=np.full(len(REGIONS), np.nan), where=self.area > 0)
        table = pd.DataFrame(
            dict(zip(columns, (REGIONS, self.evidence, self.area, ratio), strict=True)), columns=columns
        )
        return table.sort_values("evidence", ascending=False, kind="stable", ignore_index=True)

    @property
    def strongest(self) -> str | None:
        """The part that holds most evidence beyond its share of the area; None where none stands out."""
        if self.reason is not None or not self.evidence.any():
            return None
        beyond = self.evidence - self.area
        # Half the distance between two distributions is what would have to move from one to the other.
        return None if np.abs(beyond).sum() / 2 < EVEN else REGIONS[int(beyond.argmax())]

    @property
    def sentence(self) -> str:
        """One modest sentence."""
        if self.reason is not None:
            return self.reason
        if not self.evidence.any():
            where = f"No place in this crop was found to speak for {self.target}"
            return f"{where}: there is no positive evidence."
        evidence = "positive evidence" if self.target == "fake" else f"evidence for {self.target}"
        name = self.strongest
        if name is None:
            return f"The {evidence} is spread about evenly over the crop; no part of the face stands out."
        share, area = (float(values[REGIONS.index(name)]) for values in (self.evidence, self.area))
        numbers = f"({share:.0%} on {_percent(area)} of the area)".replace("%", " %")
        most = share >= max(MOST, float(self.evidence.max()))
        start = f"Most {evidence} lies" if most else f"The {evidence} stands out most"
        end = ", so it says little of the face itself." if name == "background" else "."
        return f"{start} {_PLACES[name]} {numbers}{end}"


def sum_regions(heatmap: np.ndarray, face: Face, margin: float, target: str = "fake") -> Regions:
    """Sum a heatmap over the parts of a face.

    Parameters
    ----------
    heatmap
        (h, w) float, not negative, on the pixels of ``face.crop(margin)``.
    face
        Its landmarks say where the parts lie.
    margin
        Of the crop that the heatmap lies on.
    target
        For whom the evidence speaks, for the sentence.

    Raises
    ------
    ValueError
        The heatmap has another shape, or values that are negative or not finite.
    """
    left, top, right, bottom = face.crop_box(margin)
    heatmap = np.asarray(heatmap)
    if heatmap.shape != (bottom - top, right - left):
        raise ValueError(f"the crop has {bottom - top} x {right - left} px, the heatmap {heatmap.shape}")
    # NaN fails this comparison too.
    if not np.all((heatmap >= 0) & (heatmap < np.inf)):
        raise ValueError("a heatmap holds no negative values and none that are not finite")
    reason = _why_no_parts(face)
    if reason is not None:
        return Regions(None, None, None, target, reason)
    labels = label_regions(face.landmarks - np.float32([left, top]), *heatmap.shape)
    count = len(REGIONS)
    area = np.bincount(labels.ravel(), minlength=count) / labels.size
    evidence = np.bincount(labels.ravel(), heatmap.ravel().astype(np.float64), count)
    total = evidence.sum()
    return Regions(labels, evidence / total if total > 0 else evidence * 0, area, target)


def label_regions(landmarks: np.ndarray, height: int, width: int) -> np.ndarray:
    """Which part of the face each pixel belongs to.

    Eyes, brows, mouth and nose are their points' outlines, widened a little. The face's outline runs along
    the jaw and over the forehead, whose height is estimated from the distance between nose base and brows; a
    band along it, where a foreign face would have been blended in, is the boundary. The rest inside is
    forehead above the line of the brows, cheeks and chin below it (upper lip and temples among them).

    Parameters
    ----------
    landmarks
        (68, 2) x, y in the crop's pixels; whole numbers are pixel centres. They may lie outside it.
    height, width
        Of the crop.

    Returns
    -------
    numpy.ndarray
        (height, width) uint8, indices into :data:`REGIONS`.

    Raises
    ------
    ValueError
        Another shape, points that are not finite, or that all but coincide.
    """
    points = np.asarray(landmarks, np.float64)
    if points.shape != (68, 2) or not np.isfinite(points).all():
        raise ValueError(f"landmarks are 68 finite points (68, 2), not an array of {points.shape}")
    unit = _eye_distance(points)
    if unit < 1:
        raise ValueError("the landmarks all but coincide")
    # Further out there is no picture, and far coordinates overflow inside OpenCV.
    limit = 4.0 * max(height, width)
    points = points.clip(-limit, limit)

    def mask(outlines: Sequence[np.ndarray], reach: float, fill: bool = True) -> np.ndarray:
        return _painted(outlines, 2 * reach * unit, fill, height, width)

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
        "forehead": inside & _above(brows, points, height, width),
        "cheeks and chin": inside,
    }
    labels = np.full((height, width), BACKGROUND, np.uint8)
    # Backwards, so that what comes first is painted last.
    for name in reversed(list(parts)):
        labels[parts[name]] = REGIONS.index(name)
    return labels


def _why_no_parts(face: Face) -> str | None:
    if face.landmarks is None and face.detector == "whole":
        return "The picture was taken as one face, without landmarks, so its parts cannot be told apart."
    if face.landmarks is None:
        return "No landmarks were found on this face, so its parts cannot be told apart."
    if _eye_distance(face.landmarks.astype(np.float64)) < 1:
        return "The landmarks of this face all but coincide, so its parts cannot be told apart."
    return None


def _eye_distance(points: np.ndarray) -> float:
    """Pixels between the eyes, or what they would be in front view where the face is turned away."""
    left, right = (points[eye].mean(axis=0) for eye in _EYES)
    # From nose root to chin it is about 1.7 times as far.
    return float(max(np.linalg.norm(right - left), np.linalg.norm(points[8] - points[27]) / 1.7))


def _hull(points: np.ndarray) -> np.ndarray:
    return cv2.convexHull(points.astype(np.float32)).reshape(-1, 2).astype(np.float64)


def _painted(
    outlines: Sequence[np.ndarray], thickness: float, fill: bool, height: int, width: int
) -> np.ndarray:
    """(height, width) bool: outlines filled, or lines, with a rim of half the thickness around them."""
    canvas = np.zeros((height, width), np.uint8)
    for outline in outlines:
        fixed = np.rint(outline * 2**_SHIFT).astype(np.int32)
        if fill:
            cv2.fillPoly(canvas, [fixed], 1, shift=_SHIFT)
        if thickness > 0:
            # OpenCV draws a pixel more than it is asked for.
            cv2.polylines(canvas, [fixed], fill, 1, max(round(thickness) - 1, 1), shift=_SHIFT)
    return canvas.astype(bool)


def _above(brows: np.ndarray, points: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height, width) bool: on the hair's side of the line along the brows, in the face's own upright."""
    left, right = (points[eye].mean(axis=0) for eye in _EYES)
    across = right - left
    across = across / np.linalg.norm(across) if np.linalg.norm(across) > 0 else np.array([1.0, 0.0])
    down = np.array([-across[1], across[0]])
    # A mirrored face's eyes run the other way; down is where the chin is.
    down = down if down @ (points[8] - points[27]) >= 0 else -down
    along, depth = brows @ across, brows @ down
    order = along.argsort()
    x, y = np.arange(width), np.arange(height)[:, None]
    line = np.interp(across[0] * x + across[1] * y, along[order], depth[order])
    return down[0] * x + down[1] * y < line


def _percent(share: float) -> str:
    return "under 1%" if 0 < share < 0.005 else f"{share:.0%}"
