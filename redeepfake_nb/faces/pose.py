"""Estimate how far a head is turned, from six key points."""

from __future__ import annotations

import math

import numpy as np

# Of a head seen from above: half the distance between the ears, over the distance from there to the nose tip.
_EAR_TO_NOSE = 0.6
# Distance between the eyes over that from them to the mouth, of a head that is not turned; the median of 431
# faces. It shrinks with the cosine of the angle. Of faces under 20 degrees it is over 0.8 in 95 %, so under
# the second number nothing but a turned head explains it.
_EYES_TO_MOUTH = 0.94
_SURELY_TURNED = 0.65
# A little over 45 degrees, so that a face between two quarter turns is upright after one of them at least.
_MOST_TILT = 52.0
# Beyond this dlib's 68 landmarks, which were trained on faces that show both eyes, are not reliable.
PROFILE_YAW = 45.0


def head_yaw(key_points: np.ndarray) -> float:
    """Estimate how far a head is turned to the side.

    The nose tip leaves the middle between the ears with the tangent of the angle. Of a profile one ear is out
    of sight and guessed; there the distance between the eyes, which shrinks, tells more.

    Parameters
    ----------
    key_points
        (6, 2) in the order of :data:`redeepfake_nb.faces.blazeface.KEY_POINTS`.

    Returns
    -------
    float
        Degrees, -90 to 90; 0 towards the camera, positive to the right of the picture. Points that coincide
        give 0.
    """
    points = np.asarray(key_points, dtype=np.float64)
    nose, right_ear, left_ear = points[2], points[4], points[5]
    along = left_ear - right_ear
    width = float(np.linalg.norm(along))
    if not width > 0:
        return 0.0
    offset = float((nose - (right_ear + left_ear) / 2) @ along) / (width * width / 2)
    yaw = math.degrees(math.atan(_EAR_TO_NOSE * offset))
    eyes = float(np.linalg.norm(points[1] - points[0]))
    down = float(np.linalg.norm(points[3] - (points[0] + points[1]) / 2))
    if yaw and eyes < _SURELY_TURNED * down:
        yaw = math.copysign(max(abs(yaw), math.degrees(math.acos(eyes / down / _EYES_TO_MOUTH))), yaw)
    return yaw


def head_tilt(key_points: np.ndarray) -> float:
    """Measure how far a face is turned in the plane of the picture, from its eyes.

    Parameters
    ----------
    key_points
        (6, 2) in the order of :data:`redeepfake_nb.faces.blazeface.KEY_POINTS`.

    Returns
    -------
    float
        Degrees clockwise, -180 to 180; 0 upright.
    """
    x, y = np.asarray(key_points, dtype=np.float64)[1] - np.asarray(key_points, dtype=np.float64)[0]
    return math.degrees(math.atan2(y, x))


def is_upright(key_points: np.ndarray | None) -> bool:
    """Tell whether a face is nearer to upright than to lying on its side; True if it is not known."""
    return key_points is None or abs(head_tilt(key_points)) <= _MOST_TILT


def is_profile(key_points: np.ndarray | None) -> bool:
    """Tell whether a face is turned so far that its landmarks are not reliable; False if it is not known."""
    return key_points is not None and abs(head_yaw(key_points)) > PROFILE_YAW
