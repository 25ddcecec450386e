"""Warps between landmarks, similarity transforms, and scaling down."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.face_points import portrait_points
from helpers.patterned import shades

from redeepfake_nb.datasets.warping import (
    inside_weight,
    shape_distance,
    shrink_to,
    similarity,
    thin_plate_maps,
)


def turned(points: np.ndarray, degrees: float, scale: float, shift: tuple[float, float]) -> np.ndarray:
    angle = np.deg2rad(degrees)
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    middle = points.mean(axis=0)
    return (points - middle) @ turn.T * scale + middle + shift


@pytest.mark.parametrize("span", [(160, 160), (161, 97), (9, 200)])
def test_equal_landmarks_give_the_identity(span):
    points = portrait_points()
    map_x, map_y = thin_plate_maps(points, points, span)
    y, x = np.mgrid[: span[1], : span[0]]
    np.testing.assert_array_equal(map_x, x)
    np.testing.assert_array_equal(map_y, y)
    assert map_x.dtype == map_y.dtype == np.float32


def test_an_affine_move_is_exact_everywhere():
    points = portrait_points()
    move = np.array([[1.2, 0.1, -9.0], [-0.05, 0.9, 4.0]])
    map_x, map_y = thin_plate_maps(points, points @ move[:, :2].T + move[:, 2], (160, 150))
    y, x = np.mgrid[5:145, 5:155]
    np.testing.assert_allclose(map_x[5:145, 5:155], 1.2 * x + 0.1 * y - 9, atol=0.02)
    np.testing.assert_allclose(map_y[5:145, 5:155], -0.05 * x + 0.9 * y + 4, atol=0.02)


def test_dots_at_the_landmarks_land_on_the_other_landmarks():
    target = portrait_points()
    source = turned(target, 8, 0.9, (3, 5))
    source += np.random.default_rng(0).normal(0, 0.4, source.shape)
    source[[*range(55, 60), *range(65, 68)]] += (0, 4)  # a lower lip
    maps = thin_plate_maps(target, source, (160, 160))
    y, x = np.mgrid[:160, :160].astype(np.float32)
    for expected, (dot_x, dot_y) in zip(target, source, strict=True):
        dot = np.exp(-((x - dot_x) ** 2 + (y - dot_y) ** 2) / 4).astype(np.float32)
        warped = cv2.remap(dot, *maps, cv2.INTER_LINEAR)
        warped[warped < 0.5] = 0
        found = (warped * x).sum() / warped.sum(), (warped * y).sum() / warped.sum()
        assert np.hypot(*(found - expected)) < 1


def test_inside_weight_falls_to_the_border():
    y, x = np.mgrid[:7, :9].astype(np.float32)
    weight = inside_weight(x, y, np.zeros((7, 9, 3), np.uint8), 2.0)
    np.testing.assert_array_equal(weight[3], [0, 0.5, 1, 1, 1, 1, 1, 0.5, 0])
    np.testing.assert_array_equal(weight[:, 4], [0, 0.5, 1, 1, 1, 0.5, 0])
    assert inside_weight(x - 20, y, np.zeros((7, 9, 3), np.uint8), 2.0).max() == 0


def test_similarity_finds_the_move():
    points = portrait_points()
    moved = turned(points, 25, 1.7, (-4, 11))
    move = similarity(points, moved)
    np.testing.assert_allclose(points @ move[:, :2].T + move[:, 2], moved, atol=1e-9)
    assert np.hypot(*move[:, 0]) == pytest.approx(1.7)
    assert np.rad2deg(np.arctan2(move[1, 0], move[0, 0])) == pytest.approx(25)


def test_shape_distance_sees_shape_only():
    points = portrait_points()
    assert shape_distance(points, turned(points, 25, 1.7, (-4, 11))) == pytest.approx(0, abs=1e-9)
    narrow, narrower = points * (0.9, 1), points * (0.7, 1)
    assert 0.005 < shape_distance(points, narrow) < shape_distance(points, narrower) < 0.2


def test_only_larger_faces_are_scaled_down():
    image, points = shades(200, 100), portrait_points()
    size = float(np.ptp(points, axis=0).max())
    kept, kept_points = shrink_to(image, points, 0.9 * size)
    assert kept is image
    assert kept_points is points
    small, small_points = shrink_to(image, points, size / 2)
    assert small.shape == (100, 50, 3)
    np.testing.assert_allclose(small_points, (points - 0.5) / 2)
