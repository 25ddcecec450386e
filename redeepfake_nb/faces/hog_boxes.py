"""Convert BlazeFace's boxes to those of dlib's HOG detector, on which models were trained.

BlazeFace frames a face from the eyebrows to the chin, HOG a square of sizes that differ by 1.2. The map was
fitted to 1,600 faces that both find, portraits, street photographs, composites and generated faces, by
regression with Huber's loss, on them and their mirror images. On 500 others, the largest distance between
an edge and HOG's is 11 % of the side in the median and 23 % at the 95th percentile (without the map 14 and
26 %); about as much as HOG's own boxes scatter around the same face.
"""

from __future__ import annotations

import numpy as np

# All lengths are in units of BlazeFace's box, as the square root of its area, relative to its centre. The
# coefficients are for: across, the middle of the eyes, nose tip, mouth, middle of the ears; down and size,
# the same four, distance between the eyes, distance from the eyes to the mouth, as deviations from medians.
_MEDIANS = np.array([-0.1851, 0.0728, 0.2541, -0.1339, 0.3931, 0.4405])
_ACROSS = np.array([0.102, 0.359, 0.309, 0.232])
_DOWN = np.array([0.075, 0.389, 0.178, 0.155, 0.378, -0.044])
_SIZE = np.array([0.983, -0.074, -0.657, 0.557, -1.134, -1.318])
_USUAL_DOWN, _USUAL_SIZE = 0.013, 0.076
# The corrections stay within what 98 % of those faces had, so that odd key points cannot move a box away.
_MOST_ACROSS, _MOST_DOWN, _MOST_SIZE = 0.13, 0.07, 0.10
# BlazeFace's boxes of enlarged faces, those of a second look, are larger. With this factor the mean IoU with
# HOG's boxes of 118 such faces is 0.80, without it 0.78.
_SIZE_OF_LOOKS = 0.94


def hog_like_box(points: np.ndarray, *, enlarged: bool = False) -> tuple[float, float, float, float]:
    """Return the square that dlib's HOG detector is expected to find for a face that BlazeFace has found.

    Parameters
    ----------
    points
        (8, 2) x and y: upper left and lower right corner of BlazeFace's box, then its key points in the order
        of :data:`redeepfake_nb.faces.blazeface.KEY_POINTS`.
    enlarged
        Whether they are those of a second look, for which the face was enlarged.

    Returns
    -------
    tuple of float
        (left, top, right, bottom), in the same units; parts may lie outside of the image.
    """
    low, high = points[0], points[1]
    centre, unit = (low + high) / 2, float(np.sqrt(np.prod(high - low)))
    right_eye, left_eye, nose, mouth, right_ear, left_ear = (points[2:] - centre) / unit
    eyes, ears = (right_eye + left_eye) / 2, (right_ear + left_ear) / 2
    middles = np.stack([eyes, nose, mouth, ears])
    distances = [np.linalg.norm(left_eye - right_eye), np.linalg.norm(mouth - eyes)]
    deviations = np.concatenate([middles[:, 1], distances]) - _MEDIANS
    across = np.clip(middles[:, 0] @ _ACROSS, -_MOST_ACROSS, _MOST_ACROSS)
    down = _USUAL_DOWN + np.clip(deviations @ _DOWN, -_MOST_DOWN, _MOST_DOWN)
    size = _USUAL_SIZE + np.clip(deviations @ _SIZE, -_MOST_SIZE, _MOST_SIZE)
    x, y = centre + unit * np.array([across, down])
    half = unit * float(np.exp(size)) / 2 * (_SIZE_OF_LOOKS if enlarged else 1.0)
    return float(x - half), float(y - half), float(x + half), float(y + half)
