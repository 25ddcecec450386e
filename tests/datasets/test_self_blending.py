"""Self-blending: what changes, what must stay identical, and determinism."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.face_points import face_points

from redeepfake_nb.datasets.self_blending import self_blend


def picture(height: int = 224, width: int = 224) -> np.ndarray:
    """Smooth shades with grain, so that every change of colour, place or sharpness shows."""
    y, x = np.mgrid[:height, :width]
    shades = np.stack(
        [120 + 60 * np.sin(x / 17), 100 + 50 * np.cos(y / 13), 90 + 40 * np.sin((x + y) / 29)], -1
    )
    grain = np.random.default_rng(5).normal(0, 8, (height, width, 3))
    return (shades + grain).clip(0, 255).astype(np.uint8)


SEEDS = range(24)


@pytest.mark.parametrize("seed", SEEDS)
def test_mask_bounds_the_change(seed):
    image = picture()
    blended, mask = self_blend(image, face_points(), np.random.default_rng(seed))
    assert (blended.shape, blended.dtype) == (image.shape, np.uint8)
    assert (mask.shape, mask.dtype) == (image.shape[:2], np.float32)
    assert mask.min() == 0
    assert 0.24 < mask.max() <= 1
    np.testing.assert_array_equal(blended[mask == 0], image[mask == 0])
    changed = (blended != image).any(axis=2)
    assert changed[mask > 0.2].mean() > 0.3
    # The seam is soft: no step of the mask between neighbours is a cliff.
    assert max(np.abs(np.diff(mask, axis=0)).max(), np.abs(np.diff(mask, axis=1)).max()) < 0.6


def test_the_mask_lies_on_the_face():
    points = face_points(scale=60)  # 52 to 172 px across
    masks = [self_blend(picture(), points, np.random.default_rng(s))[1] for s in SEEDS]
    assert all(mask[112:140, 100:124].min() > 0 for mask in masks)  # the nose
    for mask in masks:
        assert mask[:, :26].max() == mask[:, -26:].max() == mask[:26].max() == mask[-20:].max() == 0
    areas = [(mask > mask.max() / 2).mean() for mask in masks]
    assert max(areas) > 1.5 * min(areas)  # the outlines differ in kind


def test_input_is_untouched_and_may_be_read_only():
    image = picture()
    points = face_points()
    kept, kept_points = image.copy(), points.copy()
    image.setflags(write=False)
    points.setflags(write=False)
    blended, _ = self_blend(image, points, np.random.default_rng(0))
    np.testing.assert_array_equal(image, kept)
    np.testing.assert_array_equal(points, kept_points)
    assert blended.flags.writeable
    assert not np.shares_memory(blended, image)


def test_the_same_generator_state_gives_the_same_result():
    first = self_blend(picture(), face_points(), np.random.default_rng(7))
    again = self_blend(picture(), face_points(), np.random.default_rng(7))
    other = self_blend(picture(), face_points(), np.random.default_rng(8))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize("seed", SEEDS)
def test_zero_strength_changes_nothing(seed):
    image = picture()
    blended, mask = self_blend(image, face_points(), np.random.default_rng(seed), strength=0)
    np.testing.assert_array_equal(blended, image)
    assert mask.max() > 0.2


def test_change_grows_with_strength():
    image = picture().astype(int)

    def change(strength: float) -> float:
        results = [
            self_blend(picture(), face_points(), np.random.default_rng(s), strength=strength)[0]
            for s in SEEDS
        ]
        return float(np.mean([np.abs(r - image).mean() for r in results]))

    assert 0 < change(0.3) < change(1.0) < change(2.0)


def test_only_the_face_in_a_large_picture_changes():
    image = picture(400, 700)
    centre = (520.0, 150.0)
    for seed in SEEDS:
        blended, mask = self_blend(image, face_points(centre, 60), np.random.default_rng(seed))
        rows, columns = np.nonzero(mask)
        assert columns.min() > 400
        assert rows.max() < 280
        np.testing.assert_array_equal(blended[mask == 0], image[mask == 0])


@pytest.mark.parametrize(
    ("centre", "scale"),
    [((5, 5), 60), ((224, 112), 90), ((112, 112), 300), ((112, 112), 6), ((0, 224), 40)],
)
def test_faces_at_and_over_the_border(centre, scale):
    for seed in SEEDS:
        blended, mask = self_blend(picture(), face_points(centre, scale), np.random.default_rng(seed))
        assert np.isfinite(mask).all()
        assert 0 <= mask.min() <= mask.max() <= 1
        np.testing.assert_array_equal(blended[mask == 0], picture()[mask == 0])


@pytest.mark.parametrize(("centre", "scale"), [((-500, 100), 50), ((1e12, -1e12), 50), ((112, 112), 0.0)])
def test_a_hull_outside_the_picture_changes_nothing(centre, scale):
    blended, mask = self_blend(picture(), face_points(centre, scale), np.random.default_rng(0))
    np.testing.assert_array_equal(blended, picture())
    assert mask.max() == 0


@pytest.mark.parametrize(
    ("image", "points", "strength"),
    [
        (picture(), face_points()[:5], 1.0),
        (picture(), face_points().T, 1.0),
        (picture(), np.full((68, 2), np.nan), 1.0),
        (picture().astype(np.float32), face_points(), 1.0),
        (picture()[..., 0], face_points(), 1.0),
        (picture(), face_points(), -1.0),
        (picture(), face_points(), float("nan")),
    ],
)
def test_invalid_arguments(image, points, strength):
    with pytest.raises(ValueError, match="must be"):
        self_blend(image, points, np.random.default_rng(0), strength=strength)
