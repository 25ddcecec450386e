"""Masks, colour matching and blending that the pseudo-fakes share."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.patterned import shades

from redeepfake_nb.datasets.blending import (
    blend,
    checked_strength,
    match_colours,
    match_light,
    polygon,
    soft_mask,
)

EVERYWHERE = np.full((160, 160), 255, np.uint8)


def test_blend_by_hand():
    image = np.full((1, 4, 3), 100, np.uint8)
    copy = np.full((1, 4, 3), 200, np.uint8)
    blended, weight = blend(image, copy, np.array([[0, 0.001, 0.5, 1]], np.float32))
    np.testing.assert_array_equal(blended[0, :, 0], [100, 100, 150, 200])
    np.testing.assert_array_equal(weight, np.array([[0, 0, 0.5, 1]], np.float32))
    bright, _ = blend(image, np.full((1, 4, 3), 300, np.float32), np.ones((1, 4), np.float32))
    assert (bright == 255).all()


def test_polygon_fills_the_hull():
    mask = polygon(np.array([(2, 1), (6, 1), (6, 4), (2, 4), (4, 2)], float), (10, 7))
    expected = np.zeros((7, 10), np.uint8)
    expected[1:5, 2:7] = 255
    np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("erosion", [0.0, 1.0])
def test_erosion_makes_the_mask_smaller(erosion):
    square = np.array([(50, 50), (110, 50), (110, 110), (50, 110)], float)
    mask = soft_mask(
        square, (160, 160), 100, np.random.default_rng(0), distortion=0, widths=(0.1, 0.1), erosion=erosion
    )
    assert mask[80, 80] == 1
    assert mask[80, 50] == pytest.approx(0.15 if erosion else 0.5, abs=0.05)


def test_matched_colours():
    image = shades()
    assert match_colours(image, image, EVERYWHERE) is image
    other = (255 - 0.5 * shades(seed=9)).astype(np.uint8)
    matched = match_colours(other, image, EVERYWHERE)
    lab = [cv2.cvtColor(p, cv2.COLOR_RGB2LAB) for p in (image, other, matched)]
    mean, spread = (np.array([f(p, axis=(0, 1)) for p in lab]) for f in (np.mean, np.std))
    assert np.abs(mean[1] - mean[0]).max() > 20
    np.testing.assert_allclose(mean[2], mean[0], atol=4)  # colours outside RGB are cut off
    assert np.abs(spread[2] - spread[0])[0] < 0.3 * np.abs(spread[1] - spread[0])[0]
    half = match_colours(other, image, EVERYWHERE, mean=0.5, spread=0)
    moved = cv2.cvtColor(half, cv2.COLOR_RGB2LAB).mean(axis=(0, 1))
    np.testing.assert_allclose(moved, (mean[0] + mean[1]) / 2, atol=4)


def test_statistics_are_those_of_the_chosen_pixels():
    image = np.full((160, 160, 3), 90, np.uint8)
    other = image.copy()
    other[80:] = 200
    where = EVERYWHERE.copy()
    where[80:] = 0
    np.testing.assert_array_equal(match_colours(other, image, where), other)


def test_light_is_taken_over():
    image = shades()
    slope = np.linspace(-40, 40, 160, dtype=np.float32)[None, :, None]
    copy = (image + slope).clip(0, 255).astype(np.uint8)
    np.testing.assert_array_equal(match_light(copy, image, EVERYWHERE, 120, 0), copy)
    lit = match_light(copy, image, EVERYWHERE, 120, 1)

    def slow(difference: np.ndarray) -> float:
        return float(np.abs(cv2.blur(difference.astype(np.float32), (31, 31))).mean())

    assert slow(lit - image) < 0.35 * slow(copy.astype(np.float32) - image)


@pytest.mark.parametrize("strength", [-0.1, float("nan"), float("inf")])
def test_strength_is_checked(strength):
    assert checked_strength(2) == 2.0
    with pytest.raises(ValueError, match="strength must be 0 or more"):
        checked_strength(strength)
