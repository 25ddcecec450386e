"""Augmentation: each step does what it says, and one drawn change does the same to every face."""

from __future__ import annotations

from dataclasses import asdict, replace

import numpy as np
import pytest

from redeepfake_nb.datasets.augmentation import Augmentation, Change, apply, draw

IDENTITY = Change(
    crop=(0.0, 0.0, 1.0),
    flip=False,
    angle=0.0,
    gain=None,
    offset=0.0,
    gamma=1.0,
    saturation=1.0,
    blur=0.0,
    rescale=0.0,
    noise=0.0,
    noise_seed=0,
    jpeg=0,
    erase=None,
    erase_value=0,
)


@pytest.fixture
def face(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)


def test_identity_change(face: np.ndarray) -> None:
    np.testing.assert_array_equal(apply(face, IDENTITY, 64), face)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"flip": True}, lambda f: f[:, ::-1]),
        ({"crop": (0.25, 0.5, 0.5)}, lambda f: f[32:, 16:48]),
        ({"gain": np.full(3, 1.0), "offset": 10.0}, lambda f: np.clip(f.astype(int) + 10, 0, 255)),
        ({"gain": np.array([1.0, 0.0, 1.0])}, lambda f: f * np.array([1, 0, 1])),
    ],
    ids=["flip", "crop", "brighter", "channel"],
)
def test_single_steps(face: np.ndarray, change: dict, expected) -> None:
    result = expected(face)
    np.testing.assert_array_equal(apply(face, replace(IDENTITY, **change), len(result)), result)


def test_erasing_changes_only_its_rectangle(face: np.ndarray) -> None:
    found = apply(face, replace(IDENTITY, erase=(0.25, 0.5, 0.5, 0.25), erase_value=7), 64)
    assert (found[32:48, 16:48] == 7).all()
    found[32:48, 16:48] = face[32:48, 16:48]
    np.testing.assert_array_equal(found, face)


@pytest.mark.parametrize(
    "change",
    [
        {"blur": 1.0},
        {"rescale": 0.5},
        {"jpeg": 30},
        {"noise": 5.0},
        {"angle": 10.0},
        {"sharpen": 1.0},
        {"crf": 36},
        {"crf": 30, "drift": (2, -1), "rescale": 0.6},
    ],
)
def test_degradations_change_the_face_a_little(face: np.ndarray, change: dict) -> None:
    smooth = np.full((64, 64, 3), 128, np.uint8)
    smooth[20:40, 20:40] = 90
    found = apply(smooth, replace(IDENTITY, **change), 64)
    difference = np.abs(found.astype(int) - smooth)
    assert 0 < difference.mean() < 12


def test_apply_is_deterministic(face: np.ndarray) -> None:
    change = draw(np.random.default_rng(1), Augmentation())
    np.testing.assert_array_equal(apply(face, change, 48), apply(face.copy(), change, 48))


def test_input_is_not_modified(face: np.ndarray) -> None:
    before = face.copy()
    for seed in range(30):
        found = apply(face, draw(np.random.default_rng(seed), Augmentation()), 64)
        assert found.shape == (64, 64, 3)
        assert found.dtype == np.uint8
    np.testing.assert_array_equal(face, before)


def test_probabilities_switch_steps_off() -> None:
    off = Augmentation(
        crop=(1.0, 1.0), flip=0, rotate=0, colour=0, blur=0, rescale=0, noise=0, jpeg=0, erase=0
    )
    for seed in range(20):
        change = draw(np.random.default_rng(seed), off)
        assert asdict(replace(change, noise_seed=0, erase_value=0)) == asdict(IDENTITY)


def test_video_and_sharpening_take_no_random_numbers_where_they_are_off() -> None:
    # Recipes from before they existed see the same batches as then.
    without, with_both = np.random.default_rng(3), np.random.default_rng(3)
    old = draw(without, Augmentation())
    assert without.random() == pytest.approx(0.5851629398909081, abs=1e-12)
    new = draw(with_both, Augmentation(sharpen=1.0, video=1.0, video_crf=(30, 30)))
    for name, value in asdict(old).items():
        if name not in ("sharpen", "crf", "drift"):
            np.testing.assert_array_equal(getattr(new, name), value)
    assert (new.crf, old.crf, old.sharpen) == (30, 0, 0.0)
    assert 0.3 <= new.sharpen <= 1.5
    assert max(map(abs, new.drift)) <= 2


@pytest.mark.parametrize("video_crf", [(0, 20), (36, 20), (20, 52), (-3, 5)])
def test_rate_factors_that_x264_does_not_take(video_crf: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="two rate factors from 1 to 51"):
        Augmentation(video_crf=video_crf)


def test_a_video_frame_is_compressed_at_the_size_it_is_downscaled_to() -> None:
    smooth = np.full((64, 64, 3), 128, np.uint8)
    smooth[20:40, 20:40] = 90
    # Halved, compressed so weakly that nothing is lost, and enlarged: as if it were only rescaled.
    rescaled = apply(smooth, replace(IDENTITY, rescale=0.5), 64)
    frame = apply(smooth, replace(IDENTITY, rescale=0.5, crf=1), 64)
    assert np.abs(frame.astype(int) - rescaled).max() <= 6
