"""A face and its surroundings in the pixels that the picture has, with or without its heatmap."""

from __future__ import annotations

import cv2
import numpy as np

from ..explanation.heatmaps import Explanation, Scale
from ..models.prediction import Prediction
from .heatmap import check_strength, overlay

# Surroundings on each side, as a share of the longer side of the face's box; wider where the model saw more.
MARGIN = 0.25


def face_detail(
    prediction: Prediction,
    explanation: Explanation | None = None,
    *,
    strength: float = 0.5,
    scale: Scale = "logit",
) -> np.ndarray:
    """Cut a face out of its picture without resampling it.

    Parameters
    ----------
    prediction
        The face with its score.
    explanation
        Its heatmap, laid over what the model saw; None for the pixels alone.
    strength
        0..1, see :func:`redeepfake_nb.view.overlay`.
    scale
        See :func:`redeepfake_nb.view.plot_explanation`.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8 RGB, a new array.

    Raises
    ------
    ValueError
        A strength outside 0..1.
    """
    strength = check_strength(strength)
    face = prediction.face
    margin = MARGIN if explanation is None else max(explanation.margin, MARGIN)
    left, top, right, bottom = face.crop_box(max(margin, face.margin or 0.0))
    pixels = face.frame.image[top:bottom, left:right].copy()
    if explanation is not None and not explanation.empty:
        x0, y0, x1, y1 = face.crop_box(explanation.margin)
        heatmap = cv2.resize(explanation.shaded(scale), (x1 - x0, y1 - y0), interpolation=cv2.INTER_LINEAR)
        inside = pixels[y0 - top : y1 - top, x0 - left : x1 - left]
        inside[:] = overlay(np.ascontiguousarray(inside), np.clip(heatmap, 0, 1), strength)
    return pixels
