"""Covered mouths are told from free ones, on the sample portrait."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from redeepfake_nb import Face, find_faces
from redeepfake_nb.datasets.part_editing import part_edit
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.faces.mouth_cover import mouth_is_covered


@pytest.fixture(scope="module")
def face() -> Face:
    return find_faces(sample_image(), "blazeface")[0]


def with_mask(face: Face, colour: tuple[int, int, int], stripes: int = 0) -> np.ndarray:
    """Cover everything from below the eyes down; with stripes, every second row of so many is darker."""
    image = face.frame.image.copy()
    left, _, right, bottom = face.box
    nose = round(float(face.key_points[2, 1]))
    image[nose:bottom, left:right] = colour
    for row in range(nose, bottom, 2 * stripes) if stripes else ():
        image[row : row + stripes, left:right] = np.multiply(colour, 0.8).astype(np.uint8)
    return image


def test_a_free_mouth(face: Face) -> None:
    assert not face.mouth_covered


@pytest.mark.parametrize("colour", [(15, 15, 18), (240, 240, 245), (150, 200, 225), (200, 60, 120)])
@pytest.mark.parametrize("scale", [0.5, 1.0, 3.0])
def test_masks_of_any_colour_and_size(face: Face, colour: tuple[int, int, int], scale: float) -> None:
    image = cv2.resize(with_mask(face, colour), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    assert mouth_is_covered(image, face.key_points * scale)


def test_folds_of_another_colour_than_skin_are_no_mouth(face: Face) -> None:
    fold = max(face.height // 16, 1)
    assert mouth_is_covered(with_mask(face, (90, 160, 220), fold), face.key_points)


@pytest.mark.parametrize("change", ["dark", "grey", "blurred", "mirrored", "upside down", "large"])
def test_a_free_mouth_stays_free(face: Face, change: str) -> None:
    image, points = face.frame.image, face.key_points
    height, width = image.shape[:2]
    if change == "dark":
        image = (image * 0.3).astype(np.uint8)
    elif change == "grey":
        image = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None].repeat(3, axis=2)
    elif change == "blurred":
        image = cv2.GaussianBlur(image, (0, 0), face.width / 80)
    elif change == "mirrored":
        image = np.ascontiguousarray(image[:, ::-1])
        points = (np.subtract((width - 1, 0), points) * (1, -1))[[1, 0, 2, 3, 5, 4]]
    elif change == "upside down":
        image, points = np.rot90(image, 2), np.subtract((width - 1, height - 1), points)
    elif change == "large":
        image, points = cv2.resize(image, None, fx=4, fy=4), points * 4
    assert not mouth_is_covered(image, points)


def test_mouths_whose_expression_was_edited_are_seldom_called_covered(face: Face) -> None:
    """Such edits blur the mouth, but its lips stay redder than the skin."""
    image, called = face.frame.image, 0
    for seed in range(16):
        edited, _ = part_edit(image, face.landmarks, np.random.default_rng(seed), part="mouth")
        called += mouth_is_covered(edited, face.key_points)
    assert called <= 1


def test_what_is_not_seen_is_not_called_covered(face: Face) -> None:
    image = with_mask(face, (15, 15, 18))
    assert not mouth_is_covered(image, None)
    assert not mouth_is_covered(image, np.full((6, 2), 30.0))
    assert not mouth_is_covered(image[: round(float(face.key_points[3, 1]))], face.key_points)
    assert not mouth_is_covered(image, face.key_points + 10_000)
    assert not Face.whole(image).mouth_covered
