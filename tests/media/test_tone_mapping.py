"""Tone mapping against the published formulas, computed here once more and value by value."""

from __future__ import annotations

import math

import numpy as np
import pytest

from redeepfake_nb.media.tone_mapping import HLG, PQ, compress, describe, pq_to_light, to_sdr


def grey(code: float, transfer: int = PQ) -> int:
    """SDR value of a grey whose coded value is 0..1."""
    sdr = to_sdr(np.full((1, 1, 3), round(code * 65535), np.uint16), transfer, 9)[0, 0]
    assert len(set(sdr.tolist())) == 1
    return int(sdr[0])


# Coded value and cd/m2 as printed in ITU-R BT.2408-7, tables 1 and 2, or BT.2100-2: PQ's white is 10,000.
@pytest.mark.parametrize(
    ("code", "light"), [(0.0, 0.0), (0.508, 100.0), (0.5806, 203.0), (0.7518, 1000.0), (1.0, 1e4)]
)
def test_pq_by_published_values(code: float, light: float) -> None:
    assert pq_to_light(np.array(code)) == pytest.approx(light, rel=5e-3)


def pq(light: float) -> float:
    y = (light / 10_000) ** 0.1593017578125
    return ((0.8359375 + 18.8515625 * y) / (1 + 18.6875 * y)) ** 78.84375


def eetf(light: float) -> float:
    """BT.2390, 5.4.1, for one value: 1000 to 203 cd/m2, solved by bisection instead of the inverse of PQ."""
    e1, largest = pq(light) / pq(1000), pq(203) / pq(1000)
    knee = 1.5 * largest - 0.5
    if e1 > knee:
        t = (e1 - knee) / (1 - knee)
        e1 = (
            (2 * t**3 - 3 * t**2 + 1) * knee
            + (t**3 - 2 * t**2 + t) * (1 - knee)
            + (-2 * t**3 + 3 * t**2) * largest
        )
    low, high = 0.0, 10_000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if pq(middle) < e1 * pq(1000) else (low, middle)
    return low


@pytest.mark.parametrize("light", [1.0, 26.0, 87.0, 100.0, 203.0, 400.0, 999.0])
def test_the_curve_of_bt2390(light: float) -> None:
    assert compress(np.array(light)) == pytest.approx(eetf(light), rel=1e-5)
    expected = 255 * (eetf(light) / 203) ** (1 / 2.4)
    assert grey(pq(light)) == pytest.approx(expected, abs=1)


def test_dark_and_middle_values_keep_their_light_and_the_peak_is_white() -> None:
    assert compress(np.array([0.01, 10.0, 87.0])) == pytest.approx([0.01, 10.0, 87.0])
    assert compress(np.array([1000.0, 5000.0])) == pytest.approx([203.0, 203.0])
    light = compress(np.linspace(0, 1000, 2001))
    assert (np.diff(light) > 0).all()
    assert grey(0.0) == 0
    assert grey(1.0) == 255


def hlg_light(code: float) -> float:
    """cd/m2 of a grey on a display of 1000 cd/m2 (BT.2100-2, table 5)."""
    a, b = 0.17883277, 1 - 4 * 0.17883277
    c = 0.5 - a * math.log(4 * a)
    scene = code**2 / 3 if code <= 0.5 else (math.exp((code - c) / a) + b) / 12
    return 1000 * scene**1.2


@pytest.mark.parametrize("code", [0.1, 0.38, 0.5, 0.75, 0.9, 1.0])
def test_hlg(code: float) -> None:
    # 75 % is the level of white, 203 cd/m2, and so HLG and PQ of the same light give the same picture.
    assert hlg_light(0.75) == pytest.approx(203, rel=5e-3)
    assert grey(code, HLG) == pytest.approx(255 * (eetf(hlg_light(code)) / 203) ** (1 / 2.4), abs=1)


def test_colours_are_converted_to_bt709() -> None:
    # BT.2087-0 gives this matrix to four digits.
    matrix = np.array([[1.6605, -0.5876, -0.0728], [-0.1246, 1.1329, -0.0083], [-0.0182, -0.1006, 1.1187]])
    codes = np.array([[[150, 120, 100], [20, 200, 30], [128, 128, 128]]], np.uint8)
    light = (codes / 255) ** 2.4 @ matrix.T
    expected = 255 * np.clip(light, 0, 1) ** (1 / 2.4)
    assert np.abs(to_sdr(codes, 1, 9) - expected).max() <= 1
    np.testing.assert_array_equal(to_sdr(codes, 1, 1), codes)


def test_hue_is_kept() -> None:
    # In BT.709's own primaries, so that only the curve acts: light stays in proportion.
    codes = np.rint(np.array([[[pq(800), pq(400), pq(200)]]]) * 65535).astype(np.uint16)
    red, green, blue = (to_sdr(codes, PQ, 1)[0, 0] / 255) ** 2.4
    assert (red / green, green / blue) == (pytest.approx(2, rel=0.03), pytest.approx(2, rel=0.03))


def test_strips_have_no_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    codes = np.random.default_rng(0).integers(0, 65536, (9, 4, 3)).astype(np.uint16)
    whole = to_sdr(codes, HLG, 9)
    monkeypatch.setattr("redeepfake_nb.media.tone_mapping._ROWS", 8)
    np.testing.assert_array_equal(to_sdr(codes, HLG, 9), whole)


def test_what_is_converted() -> None:
    assert [describe(t, p) for t, p in ((PQ, 9), (HLG, 2), (1, 9), (1, 12), (1, 1), (2, 2))] == [
        "PQ",
        "HLG",
        "BT.2020",
        "Display P3",
        "",
        "",
    ]
