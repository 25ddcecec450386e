"""Face swaps: whose face it is, what stays, colours, and faces that cannot be swapped."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from helpers.face_points import portrait_points
from helpers.patterned import shades

from redeepfake_nb.datasets import face_swapping
from redeepfake_nb.datasets.face_swapping import face_swap

SEEDS = range(12)
POINTS = portrait_points()


def other_person() -> tuple[np.ndarray, np.ndarray]:
    """Return a larger picture of another pattern and size, in bluish light."""
    picture = cv2.resize(shades(seed=8, period=5), (230, 210)).astype(np.float32)
    picture = picture * (0.5, 0.6, 1.0) + (0, 10, 40)
    return picture.clip(0, 255).astype(np.uint8), portrait_points((115, 95), 75) * (1, 1.05)


@pytest.mark.parametrize("share", [0.0, 1.0])
def test_nothing_changes_outside_the_mask(monkeypatch, share):
    monkeypatch.setattr(face_swapping, "_POISSON", share)
    image = shades()
    for seed in SEEDS:
        swapped, mask = face_swap(image, POINTS, *other_person(), np.random.default_rng(seed))
        assert (swapped.shape, swapped.dtype) == (image.shape, np.uint8)
        assert (mask.shape, mask.dtype) == (image.shape[:2], np.float32)
        assert 0 == mask.min() < 0.7 < mask.max() <= 1
        np.testing.assert_array_equal(swapped[mask == 0], image[mask == 0])
        assert (swapped != image).any(axis=2)[mask > 0.5].mean() > 0.8


def test_the_same_generator_state_gives_the_same_result():
    image = shades()
    first, again, other = (
        face_swap(image, POINTS, *other_person(), np.random.default_rng(s)) for s in (3, 3, 4)
    )
    np.testing.assert_array_equal(first[0], again[0])
    np.testing.assert_array_equal(first[1], again[1])
    assert (first[0] != other[0]).any()


@pytest.mark.parametrize(("share", "tolerance"), [(0.0, 0), (1.0, 1)])
def test_a_face_swapped_with_itself_is_itself(monkeypatch, share, tolerance):
    monkeypatch.setattr(face_swapping, "_POISSON", share)
    image = shades()
    for seed in SEEDS:
        swapped, mask = face_swap(image, POINTS, image, POINTS, np.random.default_rng(seed), strength=0)
        assert np.abs(swapped.astype(int) - image).max() <= tolerance
        assert mask.max() > 0.7


def test_the_other_face_in_the_target_s_colours(monkeypatch):
    monkeypatch.setattr(face_swapping, "_POISSON", 0.0)
    image = shades(period=17)
    source, points = other_person()
    place = np.rint(portrait_points()[27:36].mean(axis=0)).astype(int)
    inner = (slice(place[1] - 15, place[1] + 15), slice(place[0] - 15, place[0] + 15))
    move = cv2.estimateAffine2D(points, POINTS)[0]
    placed = cv2.warpAffine(source, move, (160, 160))[inner].mean(axis=2)
    gaps = []
    for seed in SEEDS:
        swapped, mask = face_swap(image, POINTS, source, points, np.random.default_rng(seed), strength=0)
        face = swapped[inner]
        assert np.corrcoef(face.mean(axis=2).ravel(), placed.ravel())[0, 1] > 0.6
        whole = mask > 0.6
        gaps.append(np.abs(swapped[whole].mean(axis=0) - image[whole].mean(axis=0)))
    unmatched = np.abs(source.mean(axis=(0, 1)) - image.mean(axis=(0, 1)))
    assert np.mean(gaps, axis=0).max() < 12 < 50 < unmatched.max()


def test_input_is_untouched():
    image, (source, points) = shades(), other_person()
    arrays = [image, POINTS.copy(), source, points]
    kept = [a.copy() for a in arrays]
    for a in arrays:
        a.setflags(write=False)
    face_swap(*arrays, np.random.default_rng(0))
    for a, b in zip(arrays, kept, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("target", "source"),
    [
        (np.full((68, 2), 50.0), POINTS),
        (POINTS, np.full((68, 2), 50.0)),
        (np.stack([np.arange(68.0)] * 2, axis=1), POINTS),
        (POINTS + 1e9, POINTS),
    ],
    ids=["a point", "source is a point", "a line", "outside"],
)
def test_faces_without_extent_are_left_alone(target, source):
    swapped, mask = face_swap(shades(), target, shades(seed=1), source, np.random.default_rng(0))
    np.testing.assert_array_equal(swapped, shades())
    assert mask.max() == 0


@pytest.mark.parametrize("scale", [10, 25, 110, 400])
def test_small_and_large_faces(scale):
    image = shades(60, 75)
    points = portrait_points((40, 25), scale)
    for seed in SEEDS:
        swapped, mask = face_swap(image, points, *other_person(), np.random.default_rng(seed))
        np.testing.assert_array_equal(swapped[mask == 0], image[mask == 0])
        assert np.isfinite(mask).all()


@pytest.mark.parametrize("index", [0, 2])
def test_invalid_arguments(index):
    arguments = [shades(), POINTS, shades(), POINTS]
    rng = np.random.default_rng(0)
    for wrong in (shades()[..., 0], shades().astype(float)):
        with pytest.raises(ValueError, match="image must be"):
            face_swap(*arguments[:index], wrong, *arguments[index + 1 :], rng)
    for points in (POINTS[:5], np.full((68, 2), np.nan)):
        with pytest.raises(ValueError, match="landmarks must be"):
            face_swap(*arguments[: index + 1], points, *arguments[index + 2 :], rng)
    with pytest.raises(ValueError, match="strength must be"):
        face_swap(*arguments, rng, strength=-1)
