"""Skin tone of plain faces whose colour in CIELAB is known."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import lab2rgb

from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.faces.face import find_faces
from redeepfake_nb.faces.skin_tone import typology_angle


def _plain(lightness: float, a: float, b: float, side: int = 60) -> np.ndarray:
    colour = lab2rgb(np.array([[[lightness, a, b]]], np.float64))
    return np.broadcast_to(np.round(colour * 255).astype(np.uint8), (side, side, 3)).copy()


@pytest.mark.parametrize(("lightness", "b", "angle"), [(70, 20, 45.0), (50, 20, 0.0), (38, 12, -45.0)])
def test_the_angle_is_that_of_lightness_and_yellow(lightness: float, b: float, angle: float) -> None:
    assert typology_angle(_plain(lightness, 12, b)) == pytest.approx(angle, abs=1.5)


def test_only_the_cheeks_count() -> None:
    face = _plain(70, 12, 20)
    hair, beard = face.copy(), face.copy()
    hair[:28] = 10
    hair[:, :10] = 10
    beard[39:] = 10
    assert typology_angle(hair) == typology_angle(beard) == typology_angle(face)


def test_grey_blue_and_tiny_crops_have_no_skin_tone() -> None:
    for crop in (np.full((60, 60, 3), 128, np.uint8), _plain(60, 5, -20), _plain(70, 12, 20, side=12)):
        assert np.isnan(typology_angle(crop))


def test_the_angle_of_a_photograph_is_in_range() -> None:
    (face, *_) = find_faces(sample_image(), detector="hog")
    assert 10 < typology_angle(face.crop(0.0)) < 90
