"""Degradations of a picture: exact cases by hand, and what H.264 leaves of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb.datasets.image_operations import compress_h264, unsharp_mask
from redeepfake_nb.datasets.samples import sample_image


@pytest.fixture(scope="module")
def portrait() -> np.ndarray:
    return sample_image().image[60:188, 160:288]


def error(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.abs(a.astype(int) - b.astype(int)).mean())


def test_unsharp_mask_overshoots_at_an_edge_and_leaves_flat_parts() -> None:
    step = np.zeros((9, 12, 3), np.uint8)
    step[:, :6], step[:, 6:] = 100, 150
    found = unsharp_mask(step, 1.0)
    assert (found[:, 0] == 100).all()
    assert (found[:, -1] == 150).all()
    assert (found[:, 5] < 100).all()
    assert (found[:, 6] > 150).all()
    # What is added on one side of the edge is taken from the other.
    assert int(found[4, 6, 0]) - 150 == 100 - int(found[4, 5, 0])
    np.testing.assert_array_equal(unsharp_mask(step, 0.0), step)


def test_h264_keeps_a_flat_picture() -> None:
    flat = np.full((32, 48, 3), 128, np.uint8)
    assert error(compress_h264(flat, 23), flat) <= 1


def test_h264_is_stronger_at_a_higher_crf(portrait: np.ndarray) -> None:
    errors = [error(compress_h264(portrait, crf), portrait) for crf in (10, 23, 36, 45)]
    assert errors == sorted(errors)
    assert errors[0] < 3
    assert errors[-1] > 2 * errors[0]


def test_h264_returns_the_picture_itself_and_not_a_moved_one(portrait: np.ndarray) -> None:
    found = compress_h264(portrait, 18, drift=(2, -1))
    moved = [np.roll(portrait, (k, -2 * k), (0, 1)) for k in (1, 2)]
    assert error(found, portrait) < min(error(found, other) for other in moved) / 2


@pytest.mark.parametrize("shape", [(97, 128), (128, 97), (101, 103), (3, 1), (1, 1)])
def test_h264_of_odd_shapes_is_not_resampled(shape: tuple[int, int], portrait: np.ndarray) -> None:
    image = portrait[: shape[0], : shape[1]]  # not contiguous
    before = image.copy()
    found = compress_h264(image, 20)
    if min(shape) > 16:
        even = image[: shape[0] // 2 * 2, : shape[1] // 2 * 2]
        assert error(found, image) < 1.2 * error(compress_h264(even, 20), even)
    assert found.shape == image.shape
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(image, before)


def test_h264_is_deterministic(portrait: np.ndarray) -> None:
    np.testing.assert_array_equal(compress_h264(portrait, 30, (1, 2)), compress_h264(portrait, 30, (1, 2)))
