"""Boxes like those of HOG, and the pose of a head, from key points drawn by hand."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb.faces.hog_boxes import _MEDIANS, _USUAL_DOWN, _USUAL_SIZE, hog_like_box
from redeepfake_nb.faces.pose import head_yaw, is_profile


def usual_face() -> np.ndarray:
    """A face seen from the front whose key points lie where they usually do, in a box from -0.5 to 0.5."""
    eyes, nose, mouth, ears, between, _ = _MEDIANS
    return np.array(
        [
            (-0.5, -0.5),
            (0.5, 0.5),
            (-between / 2, eyes),
            (between / 2, eyes),
            (0, nose),
            (0, mouth),
            (-0.4, ears),
            (0.4, ears),
        ]
    )


def test_the_usual_face_gets_the_usual_box() -> None:
    left, top, right, bottom = hog_like_box(usual_face())
    side = np.exp(_USUAL_SIZE)
    assert right - left == pytest.approx(side, rel=5e-3)
    assert bottom - top == pytest.approx(side, rel=5e-3)
    assert (left + right) / 2 == pytest.approx(0, abs=1e-9)
    assert (top + bottom) / 2 == pytest.approx(_USUAL_DOWN, abs=1e-3)


def test_boxes_of_enlarged_faces_are_smaller_around_the_same_centre() -> None:
    usual, enlarged = (np.array(hog_like_box(usual_face(), enlarged=e)) for e in (False, True))
    assert (enlarged[2:] - enlarged[:2]) / (usual[2:] - usual[:2]) == pytest.approx(0.94)
    assert enlarged[2:] + enlarged[:2] == pytest.approx(usual[2:] + usual[:2])


def test_it_follows_shifts_scales_and_mirroring() -> None:
    face = usual_face()
    face[4:6, 0] = 0.05, 0.03
    box = np.array(hog_like_box(face))
    assert hog_like_box(face * 80 + (300, 50)) == pytest.approx(box * 80 + (300, 50, 300, 50))
    mirrored = face * (-1, 1)
    mirrored[0], mirrored[1] = (-0.5, -0.5), (0.5, 0.5)
    mirrored = mirrored[[0, 1, 3, 2, 4, 5, 7, 6]]
    left, top, right, bottom = box
    assert hog_like_box(mirrored) == pytest.approx((-right, top, -left, bottom))


def test_odd_key_points_move_the_box_by_little(rng: np.random.Generator) -> None:
    for _ in range(20):
        face = usual_face()
        face[2:] += rng.normal(0, 5, (6, 2))
        left, top, right, bottom = hog_like_box(face)
        assert abs(left + right) / 2 <= 0.131
        assert abs((top + bottom) / 2 - _USUAL_DOWN) <= 0.071
        assert 0.95 < right - left < 1.2


def test_a_head_is_turned_where_the_nose_leaves_the_middle_of_the_ears() -> None:
    points = usual_face()[2:]
    assert head_yaw(points) == pytest.approx(0)
    assert not is_profile(points)
    points[2, 0] = 0.4  # over the ear: atan(0.6)
    assert head_yaw(points) == pytest.approx(30.96, abs=0.01)
    assert not is_profile(points)
    points[2, 0] = -0.8
    assert head_yaw(points) == pytest.approx(-50.19, abs=0.01)
    assert is_profile(points)
    turned = points @ np.array([[0.0, 1.0], [-1.0, 0.0]])
    assert head_yaw(turned) == pytest.approx(head_yaw(points))
    assert head_yaw(np.zeros((6, 2))) == 0
    # Of a profile the far ear is guessed, and the nose leaves the middle by little; the eyes tell the angle.
    points[:2, 0], points[2, 0] = (-0.05, 0.05), -0.2
    down = points[3, 1] - points[0, 1]
    assert head_yaw(points) == pytest.approx(-np.degrees(np.arccos(0.1 / down / 0.94)))
    assert is_profile(points)
    assert not is_profile(None)
