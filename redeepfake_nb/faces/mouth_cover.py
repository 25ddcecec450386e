"""Find out whether a mask, a hand or a microphone covers the mouth or nose of a face.

A mouth is a dark line between lips, with about as much contrast as the eyes of the same face, the skin around
it has the colour of that around the eyes, and lips are redder. A cover has none of these. Comparing a face
with itself makes the measure independent of light, skin, sharpness and compression. The thresholds were
chosen on 54 masked and 556 other faces; how often they err is in ``docs/detectors.md``.
"""

from __future__ import annotations

import cv2
import numpy as np

# A face is turned, moved and resized to a square of 64 px so that its eyes and mouth come closest to these.
_SIDE = 64
_EYES_AND_MOUTH = np.array([22 + 22j, 42 + 22j, 32 + 43j])
_ROW, _COLUMN = np.mgrid[0:_SIDE, 0:_SIDE]
_ASIDE = abs(_COLUMN - 32)  # of the middle
_EYES = ((_ASIDE - 10) / 7.0) ** 2 + ((_ROW - 22) / 5.0) ** 2 <= 1
_MOUTH = (_ASIDE / 9.0) ** 2 + ((_ROW - 43) / 6.0) ** 2 <= 1
_LOWER_FACE = (_ASIDE / 11.0) ** 2 + ((_ROW - 43) / 8.0) ** 2 <= 1
# Skin that masks leave free: the bridge of the nose and strips below the eyes.
_SKIN = ((_ASIDE <= 4) & (_ROW >= 18) & (_ROW <= 28)) | (
    (_ASIDE >= 5) & (_ASIDE <= 15) & (_ROW >= 26) & (_ROW <= 29)
)
# Rows and columns in which the dark lines of the mouth and of each eye are looked for, and how many rows
# above and below a line are lighter.
_MOUTH_LINE = (slice(36, 52), slice(24, 41))
_EYE_LINES = ((slice(16, 28), slice(16, 29)), (slice(16, 28), slice(36, 49)))
_BESIDE_LINE = 3
# In CIELAB, skin and lips differ from the skin around the eyes by more than this in a*, which lips have more
# of, and by less than this in b*.
_LEAST_RED, _MOST_YELLOW = -6.0, 12.0
# Added to the eyes' contrast, in L*, so that flat eyes of dark or blurred faces do not make any mouth count.
_FAINT_DETAIL, _FAINT_LINE = 3.0, 2.0
# Covered: less detail than this share of the eyes', or a fainter line and less skin than these.
_LEAST_DETAIL = 0.3
_LEAST_LINE, _LEAST_SKIN = 0.5, 0.4
# Lips: a fifth of the mouth is redder than the skin by this in a*, and this share of its surroundings has the
# colour of skin. However blurred, a mouth with lips is not covered; blurred edits of mouths are such.
_LIPS = (_ASIDE / 9.0) ** 2 + ((_ROW - 43) / 5.0) ** 2 <= 1
_REDDER, _SKIN_AROUND = 4.0, 0.9
# Share of eyes and lower face that has to be inside of the image.
_LEAST_INSIDE = 0.9


def mouth_is_covered(image: np.ndarray, key_points: np.ndarray | None) -> bool:
    """Tell whether a face's mouth or nose is covered.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    key_points
        (6, 2) in the order of :data:`redeepfake_nb.faces.blazeface.KEY_POINTS`, in pixels of the image.

    Returns
    -------
    bool
        Whether the place of the mouth has under 0.3 of the vertical change of lightness that the eyes have,
        and no lips that are redder than the skin around them; or no horizontal dark line of at least half
        the depth of the eyes', and under 40 % of its colours are those of skin or lips. False where eyes and
        mouth are unknown, coincide, or lie outside of the image.
    """
    face = None if key_points is None else _upright_face(image, np.asarray(key_points, np.float64))
    if face is None:
        return False
    lab = cv2.cvtColor(face.astype(np.float32) / 255, cv2.COLOR_RGB2LAB)
    light = cv2.GaussianBlur(lab[..., 0], (0, 0), 1)
    change = np.abs(cv2.Sobel(light, cv2.CV_32F, 0, 1))
    difference = lab - np.median(lab[_SKIN], axis=0)
    lower = difference[_LOWER_FACE]
    skin = float(((lower[:, 1] > _LEAST_RED) & (np.abs(lower[:, 2]) < _MOST_YELLOW)).mean())
    if change[_MOUTH].mean() < _LEAST_DETAIL * (change[_EYES].mean() + _FAINT_DETAIL):
        redder = float(np.percentile(difference[_LIPS][:, 1], 80))
        return redder < _REDDER or skin < _SKIN_AROUND
    eyes = max(_line_depth(light, *place) for place in _EYE_LINES)
    line = _line_depth(light, *_MOUTH_LINE)
    return line < _LEAST_LINE * (eyes + _FAINT_LINE) and skin < _LEAST_SKIN


def _line_depth(light: np.ndarray, rows: slice, columns: slice) -> float:
    """Return by how much the darkest row is darker than those above and below, median over the columns."""
    above = light[rows.start - _BESIDE_LINE : rows.stop - _BESIDE_LINE, columns]
    below = light[rows.start + _BESIDE_LINE : rows.stop + _BESIDE_LINE, columns]
    return float(np.median((np.minimum(above, below) - light[rows, columns]).max(axis=0)))


def _upright_face(image: np.ndarray, key_points: np.ndarray) -> np.ndarray | None:
    """Turn, move and resize a face to (64, 64, 3); None where too little of it is inside of the image."""
    points = key_points[[0, 1, 3]] @ np.array([1, 1j])
    here, there = points - points.mean(), _EYES_AND_MOUTH - _EYES_AND_MOUTH.mean()
    # From the square to the image; a complex number turns and resizes.
    turn = (here * there.conj()).sum() / (np.abs(there) ** 2).sum()
    if not abs(turn) > 0:
        return None
    shift = points.mean() - turn * _EYES_AND_MOUTH.mean()
    place = turn * (_COLUMN + 1j * _ROW) + shift
    height, width = image.shape[:2]
    inside = (place.real >= 0) & (place.real < width) & (place.imag >= 0) & (place.imag < height)
    if min(inside[_EYES | _SKIN].mean(), inside[_LOWER_FACE].mean()) < _LEAST_INSIDE:
        return None
    # Reduced first, because interpolation alone would skip pixels of large faces.
    low = np.floor([max(place.real.min(), 0), max(place.imag.min(), 0)]).astype(int)
    high = np.ceil([min(place.real.max() + 1, width), min(place.imag.max() + 1, height)]).astype(int)
    part = np.ascontiguousarray(image[low[1] : high[1], low[0] : high[0]])
    scale = min(2 / abs(turn), 1.0)
    size = max(round(part.shape[1] * scale), 1), max(round(part.shape[0] * scale), 1)
    small = cv2.resize(part, size, interpolation=cv2.INTER_AREA)
    factors = np.array(size) / (part.shape[1], part.shape[0])
    # The square is drawn with twice its side and halved, which smooths as much as the reduction does.
    fine = (np.mgrid[0 : 2 * _SIDE, 0 : 2 * _SIDE] - 0.5) / 2
    source = turn * (fine[1] + 1j * fine[0]) + shift
    x, y = ((source.real - low[0] + 0.5) * factors[0] - 0.5, (source.imag - low[1] + 0.5) * factors[1] - 0.5)
    drawn = cv2.remap(
        small, x.astype(np.float32), y.astype(np.float32), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return cv2.resize(drawn, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA)
