"""Edits of mouth, eyes and brows: where they are, how strong, and which way the landmarks move."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.face_points import portrait_points
from helpers.patterned import shades

from redeepfake_nb.datasets import part_editing
from redeepfake_nb.datasets.part_editing import EDITED_PARTS, part_edit

SEEDS = range(16)
POINTS = portrait_points()


@pytest.mark.parametrize("part", EDITED_PARTS)
def test_only_the_part_changes(part):
    image = shades()
    top, bottom = POINTS[36:48, 1].min(), POINTS[36:48, 1].max()
    for seed in SEEDS:
        edited, mask = part_edit(image, POINTS, np.random.default_rng(seed), part=part)
        np.testing.assert_array_equal(edited[mask == 0], image[mask == 0])
        assert (edited != image).any(axis=2)[mask > 0.5].mean() > 0.4
        assert mask.max() > 0.55
        rows = np.flatnonzero(mask.max(axis=1))
        if part == "mouth":
            assert rows.min() > bottom + 5  # the eyes are as they were
            x, y = POINTS[62].astype(int)
        else:
            assert rows.max() < POINTS[48:68, 1].min() - 5
            assert rows.min() < top
            x, y = POINTS[36:42].mean(axis=0).astype(int)
        assert mask[y, x] > 0.55


def test_every_part_is_drawn_and_the_mouth_most_often():
    rows = [
        np.flatnonzero(part_edit(shades(), POINTS, np.random.default_rng(s))[1].max(axis=1)).mean()
        for s in range(60)
    ]
    mouths = (np.array(rows) > POINTS[33, 1]).mean()
    assert 0.3 < mouths < 0.7


@pytest.mark.parametrize("part", EDITED_PARTS)
def test_change_grows_with_strength(part):
    image = shades()

    def change(strength: float) -> float:
        made = [
            part_edit(image, POINTS, np.random.default_rng(s), part=part, strength=strength)[0] for s in SEEDS
        ]
        return float(np.abs(np.stack(made).astype(int) - image).mean())

    assert change(0) == 0
    assert 0 < change(0.3) < change(1.0)


def test_the_same_generator_state_gives_the_same_result():
    first, again, other = (part_edit(shades(), POINTS, np.random.default_rng(s)) for s in (3, 3, 4))
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


def test_lips_stay_in_order_and_eyes_where_they_are():
    for seed in range(60):
        moves = part_editing._mouth_moves(POINTS, "mouth", np.random.default_rng(seed))
        assert np.abs(moves[17:48]).max() == 0
        assert 0 < np.abs(moves[48:68]).max() < 0.5 * 0.8 * 60
        moved = POINTS + moves
        assert (moved[65:68, 1] - moved[61:64, 1][::-1] > 0).all()  # the lips do not cross
        assert (np.diff(moved[48:55, 0]) > 0).all()


@pytest.mark.parametrize("part", EDITED_PARTS[1:])
def test_lids_stay_in_order_and_the_mouth_where_it_is(part):
    for seed in range(60):
        moves = part_editing._eye_moves(POINTS, part, np.random.default_rng(seed))
        assert np.abs(moves[[*range(17), *range(27, 36), *range(48, 68)]]).max() == 0
        assert np.abs(moves[36:48]).max() > 0
        assert (np.abs(moves[17:27]).max() > 0) == (part == "eyes and brows")
        moved = POINTS + moves
        assert (moved[[41, 40, 47, 46], 1] > moved[[37, 38, 43, 44], 1]).all()
        assert (moved[36:48, 1].reshape(2, 6).mean(axis=1) > moved[17:27, 1].reshape(2, 5).mean(axis=1)).all()


def test_moves_follow_a_turned_head():
    turn = np.array([[0.0, -1.0], [1.0, 0.0]])  # a quarter turn
    upright = part_editing._mouth_moves(POINTS, "mouth", np.random.default_rng(2))
    lying = part_editing._mouth_moves(POINTS @ turn.T, "mouth", np.random.default_rng(2))
    np.testing.assert_allclose(lying, upright @ turn.T, atol=1e-9)


def test_an_opened_mouth_is_dark():
    wide = POINTS.copy()
    wide[65:68] += (0, 12)
    image = np.full((160, 160, 3), 150, np.uint8)
    darkened = part_editing._darken_opening(image, POINTS, wide, np.random.default_rng(0))
    x, y = np.rint((wide[62] + wide[66]) / 2).astype(int)
    assert darkened[y, x].max() < 110
    np.testing.assert_array_equal(darkened[:60], image[:60])
    np.testing.assert_array_equal(
        part_editing._darken_opening(image, wide, wide, np.random.default_rng(0)), image
    )


@pytest.mark.parametrize(
    "points",
    [np.full((68, 2), 50.0), POINTS - 1e9, np.stack([np.arange(68.0)] * 2, axis=1)],
    ids=["a point", "outside", "a line"],
)
@pytest.mark.parametrize("part", EDITED_PARTS)
def test_faces_without_extent_are_left_alone(points, part):
    edited, mask = part_edit(shades(), points, np.random.default_rng(0), part=part)
    np.testing.assert_array_equal(edited, shades())
    assert mask.max() == 0


@pytest.mark.parametrize("scale", [6, 20, 150, 500])
def test_small_and_large_faces(scale):
    image = shades(64, 50)
    for seed in SEEDS:
        edited, mask = part_edit(image, portrait_points((25, 30), scale), np.random.default_rng(seed))
        np.testing.assert_array_equal(edited[mask == 0], image[mask == 0])
        assert np.isfinite(mask).all()


def test_invalid_arguments():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="part must be one of mouth, eyes, eyes and brows, not 'ear'"):
        part_edit(shades(), POINTS, rng, part="ear")
    with pytest.raises(ValueError, match="landmarks must be"):
        part_edit(shades(), POINTS[:60], rng)
    with pytest.raises(ValueError, match="strength must be"):
        part_edit(shades(), POINTS, rng, strength=-1)
