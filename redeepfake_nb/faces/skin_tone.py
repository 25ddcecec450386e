"""Estimate the skin tone of a face from its pixels, to see whether a model's errors depend on it."""

from __future__ import annotations

import cv2
import numpy as np

# Rows and columns of the two cheeks in a tight face box, as shares of its sides: below the eyes, beside the
# nose, above the mouth and most beards.
_ROWS = (0.48, 0.64)
_COLUMNS = ((0.18, 0.36), (0.64, 0.82))
# Chroma under which a picture is taken for grey; skin has 10 to 35 in CIELAB.
_MIN_CHROMA = 5.0


def typology_angle(crop: np.ndarray) -> float:
    """Estimate the individual typology angle (ITA) of a face's skin.

    ITA = arctan((L* - 50) / b*), in degrees, of the median colour of both cheeks in CIELAB (Chardon, Cretois
    and Hourseau 1991, "Skin colour typology and suntanning pathways"). Over 55 very light, over 41 light,
    over 28 intermediate, over 10 tan, over -30 brown, below dark. It is defined for measured skin under
    standard light; in photographs exposure and the colour of the light shift it, so it sorts many faces
    roughly and says little about one.

    Parameters
    ----------
    crop
        (H, W, 3) uint8 RGB of the tight face box, upright, at least 16 px on each side.

    Returns
    -------
    float
        Degrees, -90 to 90; NaN for grey pictures, coloured light and smaller crops.
    """
    height, width = crop.shape[:2]
    if min(height, width) < 16:
        return float("nan")
    top, bottom = (round(height * share) for share in _ROWS)
    cheeks = [crop[top:bottom, round(width * left) : round(width * right)] for left, right in _COLUMNS]
    pixels = np.concatenate([cheek.reshape(-1, 3) for cheek in cheeks])
    # On float32 in 0..1 OpenCV returns L* as 0..100 and a*, b* unscaled.
    lab = cv2.cvtColor(pixels[None].astype(np.float32) / 255, cv2.COLOR_RGB2LAB)[0]
    lightness, a, b = np.median(lab, axis=0).astype(np.float64)
    if np.hypot(a, b) < _MIN_CHROMA or b <= 0:
        return float("nan")
    return float(np.degrees(np.arctan2(lightness - 50, b)))
