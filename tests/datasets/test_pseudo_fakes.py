"""The entry point for all pseudo-fakes."""

from __future__ import annotations

import numpy as np
import pytest
from helpers.face_points import portrait_points
from helpers.patterned import shades

from redeepfake_nb.datasets.pseudo_fakes import (
    NEEDS_LANDMARKS,
    NEEDS_OTHER,
    PSEUDO_FAKES,
    make_pseudo_fake,
)

POINTS = portrait_points()
OTHER = shades(190, 200, seed=7, period=6), portrait_points((100, 85), 75)


@pytest.mark.parametrize("name", PSEUDO_FAKES)
def test_each_kind(name):
    image = shades()
    landmarks = POINTS if name in NEEDS_LANDMARKS else None
    other = OTHER if name in NEEDS_OTHER else None
    made = [
        make_pseudo_fake(name, image, landmarks, np.random.default_rng(s), other=other) for s in (1, 1, 2)
    ]
    (fake, mask), again, different = made
    assert (fake.shape, fake.dtype) == (image.shape, np.uint8)
    assert (mask.shape, mask.dtype) == (image.shape[:2], np.float32)
    assert 0 < mask.max() <= 1
    np.testing.assert_array_equal(fake[mask == 0], image[mask == 0])
    assert (fake != image).any()
    np.testing.assert_array_equal(fake, again[0])
    assert (fake != different[0]).any()
    np.testing.assert_array_equal(image, shades())


def test_needs_are_kinds():
    assert set(NEEDS_OTHER) < set(NEEDS_LANDMARKS) < set(PSEUDO_FAKES)


def test_missing_arguments_are_named():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"name must be one of self_blend, .*, not 'swap'"):
        make_pseudo_fake("swap", shades(), POINTS, rng)
    for name in NEEDS_LANDMARKS:
        with pytest.raises(ValueError, match=f"landmarks must be given for '{name}'"):
            make_pseudo_fake(name, shades(), None, rng, other=OTHER)
    for name in NEEDS_OTHER:
        with pytest.raises(ValueError, match=f"other must be given for '{name}'"):
            make_pseudo_fake(name, shades(), POINTS, rng)
    for name in PSEUDO_FAKES:
        with pytest.raises(ValueError, match="image must be"):
            make_pseudo_fake(name, shades()[..., 0], POINTS, rng, other=OTHER)
