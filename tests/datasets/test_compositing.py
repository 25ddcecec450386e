"""Composites by hand: which part changes, whose it is, and which parts are drawn."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.face_points import portrait_points
from helpers.patterned import shades

from redeepfake_nb.datasets.compositing import COPIED_PARTS, _draw, composite

SEEDS = range(12)
POINTS = portrait_points()
OTHER = shades(190, 200, seed=7, period=6), portrait_points((100, 85), 75)
WHERE = {
    "right eye": slice(36, 42),
    "left eye": slice(42, 48),
    "eyes": slice(36, 48),
    "nose": slice(28, 36),
    "mouth": slice(48, 68),
}


def at(mask: np.ndarray, part: str) -> float:
    x, y = np.rint(POINTS[WHERE[part]].mean(axis=0)).astype(int)
    return float(mask[y, x])


@pytest.mark.parametrize("part", WHERE)
def test_only_the_part_changes(part):
    image = shades()
    apart = {"right eye": ("left eye", "mouth"), "left eye": ("right eye", "mouth"), "eyes": ("mouth",)}
    for seed in SEEDS:
        pieced, mask = composite(image, POINTS, *OTHER, np.random.default_rng(seed), parts=(part,))
        np.testing.assert_array_equal(pieced[mask == 0], image[mask == 0])
        assert at(mask, part) > 0.9
        assert (pieced != image).any(axis=2)[mask > 0.5].mean() > 0.8
        for untouched in apart.get(part, ("right eye", "left eye")):
            assert at(mask, untouched) < (0.05 if part == "nose" else 1e-9)
        assert mask[:4].max() == mask[:, :4].max() == mask[:, -4:].max() == 0


def test_halves_change_one_side():
    for half, inside, outside in (
        ("right half", "right eye", "left eye"),
        ("left half", "left eye", "right eye"),
        ("upper half", "eyes", "mouth"),
        ("lower half", "mouth", "eyes"),
    ):
        for seed in SEEDS:
            _, mask = composite(shades(), POINTS, *OTHER, np.random.default_rng(seed), parts=(half,))
            assert at(mask, inside) > 0.9
            assert at(mask, outside) < 0.1


def test_several_parts_add_up():
    image = shades()
    pieced, mask = composite(image, POINTS, *OTHER, np.random.default_rng(1), parts=("right eye", "mouth"))
    assert min(at(mask, "right eye"), at(mask, "mouth")) > 0.9
    assert at(mask, "left eye") == 0
    np.testing.assert_array_equal(pieced[mask == 0], image[mask == 0])
    none, mask = composite(image, POINTS, *OTHER, np.random.default_rng(1), parts=())
    np.testing.assert_array_equal(none, image)
    assert mask.max() == 0


@pytest.mark.parametrize("part", COPIED_PARTS)
def test_a_part_replaced_by_itself_is_itself(part):
    image = shades()
    for seed in SEEDS:
        pieced, mask = composite(
            image, POINTS, image, POINTS, np.random.default_rng(seed), parts=(part,), strength=0
        )
        assert np.abs(pieced.astype(int) - image).max() <= 1
        assert mask.max() > 0.9


def test_the_source_keeps_its_texture():
    """A part of a grainy picture stays grainy on a smooth one."""
    smooth = np.full((160, 160, 3), 120, np.uint8)
    for seed in SEEDS:
        pieced, mask = composite(smooth, POINTS, *OTHER, np.random.default_rng(seed), parts=("nose",))
        assert pieced[mask > 0.9].std() > 2


def test_drawn_parts():
    drawn = [_draw(np.random.default_rng(s)) for s in range(200)]
    assert {part for parts in drawn for part in parts} == set(COPIED_PARTS)
    assert {len(parts) for parts in drawn} == {1, 2, 3}
    assert all(len(set(parts)) == len(parts) for parts in drawn)
    assert all(len(parts) == 1 for parts in drawn if any("half" in part for part in parts))


def test_the_same_generator_state_gives_the_same_result():
    first, again, other = (composite(shades(), POINTS, *OTHER, np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize(
    ("target", "source"),
    [
        (np.full((68, 2), 50.0), POINTS),
        (POINTS, np.full((68, 2), 50.0)),
        (POINTS + 1e9, POINTS),
        (POINTS, POINTS + 1e9),
    ],
    ids=["a point", "source is a point", "outside", "source outside"],
)
def test_faces_that_cannot_be_copied_are_left_alone(target, source):
    for seed in SEEDS:
        pieced, mask = composite(shades(), target, shades(seed=1), source, np.random.default_rng(seed))
        np.testing.assert_array_equal(pieced, shades())
        assert mask.max() == 0


@pytest.mark.parametrize("scale", [6, 20, 150, 500])
def test_small_and_large_faces(scale):
    image = shades(64, 50)
    for seed in SEEDS:
        pieced, mask = composite(image, portrait_points((25, 30), scale), *OTHER, np.random.default_rng(seed))
        np.testing.assert_array_equal(pieced[mask == 0], image[mask == 0])
        assert np.isfinite(mask).all()


def test_invalid_arguments():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"parts must be some of right eye, .*, not 'ear'"):
        composite(shades(), POINTS, *OTHER, rng, parts=("nose", "ear"))
    with pytest.raises(ValueError, match="image must be"):
        composite(shades(), POINTS, OTHER[0][..., 0], OTHER[1], rng)
    with pytest.raises(ValueError, match="landmarks must be"):
        composite(shades(), POINTS, OTHER[0], OTHER[1][:5], rng)
    with pytest.raises(ValueError, match="strength must be"):
        composite(shades(), POINTS, *OTHER, rng, strength=float("nan"))
