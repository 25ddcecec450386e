"""Convert high dynamic range (PQ, HLG) and BT.2020 or P3 colours to the SDR that models were trained on.

Four steps, each by a published standard:

1. Coded values become light: SMPTE ST 2084 for PQ, ITU-R BT.2100-2 for HLG (its OOTF for a display of
   1000 cd/m2, gamma 1.2), gamma 2.4 (BT.1886) for SDR in wide colours.
2. Brightness is compressed by the EETF of ITU-R BT.2390-8, 5.4.1, from 0 to 1000 cd/m2 to 0 to 203 cd/m2, the
   level of white in HDR that BT.2408 gives for SDR's white. Everything under 87 cd/m2, most of a face
   included, keeps its level. The curve is applied to the largest of red, green and blue, and the others
   follow in proportion, so that hue is kept.
3. Colours are converted to the primaries of BT.709; what lies outside is cut off.
4. Light becomes coded values by the inverse of BT.1886.

Brightness over 1000 cd/m2 becomes white. Metadata on the mastering display are not used: the same pixels
always give the same picture.
"""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]

PQ, HLG = 16, 18
_NAMES = {PQ: "PQ", HLG: "HLG"}
# Transfer characteristics and colour primaries are numbered as in ITU-T H.273.
_WIDE = {9: "BT.2020", 11: "DCI-P3", 12: "Display P3"}
PEAK, WHITE = 1000.0, 203.0
_ROWS = 2**20  # pixels converted at once

# XYZ of the primaries of BT.2020, P3 (D65 white) and BT.709: x and y of red, green and blue.
_CHROMATICITIES = {
    1: ((0.640, 0.330), (0.300, 0.600), (0.150, 0.060)),
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)),
}
_D65 = (0.3127, 0.3290)


def describe(transfer: int, primaries: int) -> str:
    """Name what :func:`to_sdr` would convert from, such as ``"PQ"``; empty for ordinary SDR."""
    return _NAMES.get(transfer) or _WIDE.get(primaries, "")


def to_sdr(codes: np.ndarray, transfer: int, primaries: int) -> np.ndarray:
    """Convert coded values to SDR with the primaries of BT.709.

    Parameters
    ----------
    codes
        (H, W, 3) uint16 or uint8 RGB, full range.
    transfer, primaries
        Numbers of ITU-T H.273: 16 is PQ, 18 HLG, all others are taken as SDR; 9 is BT.2020, 11 and 12 are P3.
        Unspecified primaries (2) of PQ and HLG are those of BT.2020.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8 RGB.
    """
    deep = codes.dtype == np.uint16
    light, gain, encode = _light_table(transfer, 65536 if deep else 256), _gain_table(), _code_table()
    if primaries not in (*_WIDE, 1):
        primaries = 9 if transfer in _NAMES else 1
    matrix = _to_bt709(12 if primaries == 11 else primaries).astype(np.float32)
    out = np.empty(codes.shape, np.uint8)
    rows = max(1, _ROWS // codes.shape[1])
    for top in range(0, len(codes), rows):
        part = slice(top, top + rows)
        linear = light[codes[part]]
        if transfer == HLG:
            luminance = linear @ np.array([0.2627, 0.6780, 0.0593], np.float32)
            linear *= PEAK * np.power(np.maximum(luminance, 1e-6), 0.2, dtype=np.float32)[..., None]
        if transfer in _NAMES:
            brightest = np.minimum(linear.max(axis=2), PEAK) * ((len(gain) - 1) / PEAK)
            linear *= gain[np.rint(brightest).astype(np.uint16)][..., None]
        linear = np.clip(linear @ matrix.T, 0, 1)
        # The root spaces the table so that dark values keep their precision.
        out[part] = encode[np.rint(np.sqrt(linear) * (len(encode) - 1)).astype(np.uint16)]
    return out


def pq_to_light(codes: FloatArray) -> FloatArray:
    """Convert coded PQ values, 0..1, to cd/m2 (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    root = np.power(codes, 1 / m2)
    return 10_000 * np.power(np.maximum(root - c1, 0) / (c2 - c3 * root), 1 / m1)


def light_to_pq(light: FloatArray | float) -> FloatArray:
    """Convert cd/m2 to coded PQ values, 0..1 (SMPTE ST 2084)."""
    m1, m2, c1, c2, c3 = 2610 / 16384, 2523 / 32, 3424 / 4096, 2413 / 128, 2392 / 128
    power = np.power(np.asarray(light) / 10_000, m1)
    return np.power((c1 + c2 * power) / (1 + c3 * power), m2)


def compress(light: FloatArray) -> FloatArray:
    """Map 0..1000 cd/m2 to 0..203 cd/m2 by the EETF of ITU-R BT.2390-8, 5.4.1, for black at 0."""
    peak, largest = light_to_pq(PEAK), light_to_pq(WHITE) / light_to_pq(PEAK)
    knee = 1.5 * largest - 0.5
    coded = light_to_pq(np.minimum(light, PEAK)) / peak
    t = (coded - knee) / (1 - knee)
    spline = (
        (2 * t**3 - 3 * t**2 + 1) * knee
        + (t**3 - 2 * t**2 + t) * (1 - knee)
        + (3 * t**2 - 2 * t**3) * largest
    )
    return pq_to_light(np.where(coded < knee, coded, spline) * peak)


def _hlg_to_scene(codes: FloatArray) -> FloatArray:
    """Convert coded HLG values, 0..1, to scene light, 0..1 (BT.2100-2, inverse OETF)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    return np.where(codes <= 0.5, codes**2 / 3, (np.exp((codes - c) / a) + b) / 12)


@cache
def _light_table(transfer: int, size: int) -> np.ndarray:
    """(size,) float32: light of each coded value. PQ: cd/m2; HLG: of the scene, 0..1; SDR: 0..1."""
    codes = np.arange(size) / (size - 1)
    values = {PQ: pq_to_light, HLG: _hlg_to_scene}.get(transfer, lambda v: v**2.4)(codes)
    return values.astype(np.float32)


@cache
def _gain_table() -> np.ndarray:
    """(65536,) float32: SDR light, 0..1, per cd/m2 of a colour whose largest part is from 0 to the peak."""
    light = np.linspace(0, PEAK, 65536)
    light[0] = light[1]
    return (compress(light) / light / WHITE).astype(np.float32)


@cache
def _code_table() -> np.ndarray:
    """(65536,) uint8: coded value for each square root of SDR light, 0..1 (inverse of BT.1886)."""
    return np.rint(255 * (np.arange(65536) / 65535) ** (2 / 2.4)).astype(np.uint8)


def _to_bt709(primaries: int) -> FloatArray:
    """(3, 3) matrix from linear light in these primaries to BT.709."""
    return np.linalg.inv(_to_xyz(1)) @ _to_xyz(primaries)


def _to_xyz(primaries: int) -> FloatArray:
    """(3, 3) matrix from linear light to XYZ (SMPTE RP 177)."""
    columns = np.array([_xyz(*point) for point in _CHROMATICITIES[primaries]]).T
    return columns * np.linalg.solve(columns, _xyz(*_D65))


def _xyz(x: float, y: float) -> FloatArray:
    return np.array([x / y, 1, (1 - x - y) / y])
