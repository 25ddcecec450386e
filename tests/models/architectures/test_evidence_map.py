"""The evidence map holds the statistics of every stage on one grid."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from redeepfake_nb.models.architectures.builder import build_model
from redeepfake_nb.models.architectures.evidence_map import EVIDENCE_LAYER, pad_to_grid, pool, statistics
from redeepfake_nb.models.geometry import layout_of


def run(inputs: list, output, *values: np.ndarray) -> np.ndarray:
    return keras.Model(inputs, output).predict_on_batch(list(values))


def test_pooled_map_is_mean_and_half_the_mean_deviation(rng: np.random.Generator) -> None:
    stages = [keras.Input((8, 8, 2)), keras.Input((4, 4, 3)), keras.Input((2, 2, 1))]
    values = [rng.normal(size=(5, *s.shape[1:])).astype(np.float32) for s in stages]
    maps = statistics(stages, grid=1, window=2)
    assert [m.shape[1:] for m in maps] == [(4, 4, 4), (4, 4, 6), (4, 4, 2)]
    found = run(stages, pool(maps), *values)
    expected = []
    for v in values:
        mean = v.mean((1, 2), keepdims=True)
        expected += [mean[:, 0, 0], np.abs(v - mean).mean((1, 2)) / 2]
    np.testing.assert_allclose(found, np.concatenate(expected, axis=1), atol=1e-5)


def test_cells_are_aligned_between_stages() -> None:
    early, late = keras.Input((4, 4, 1)), keras.Input((2, 2, 1))
    first, second = statistics([early, late], grid=1, window=2)
    a, b = np.zeros((1, 4, 4, 1), np.float32), np.zeros((1, 2, 2, 1), np.float32)
    a[0, 3, 0], b[0, 0, 1] = 4, 1
    np.testing.assert_allclose(run([early, late], first, a, b)[0, ..., 0], [[0, 0], [1, 0]])
    np.testing.assert_allclose(run([early, late], second, a, b)[0, ..., 0], [[0, 1], [0, 0]])


@pytest.mark.parametrize("cells", [4, 3, 2])
def test_smaller_map_is_padded_below_and_to_the_right(cells: int) -> None:
    small, grid = keras.Input((cells, cells, 1)), keras.Input((4, 4, 1))
    found = run([small], pad_to_grid(small, grid, "placed"), np.ones((1, cells, cells, 1), np.float32))
    expected = np.zeros((4, 4))
    expected[:cells, :cells] = 1
    np.testing.assert_array_equal(found[0, ..., 0], expected)


@pytest.mark.parametrize("size", [192, 256])
def test_cells_of_joined_networks_lie_at_one_place(size: int) -> None:
    parts = ("EfficientNetLite0", "EfficientNetLite2", "FaceResNet")
    joint = layout_of(build_model("+".join(parts), input_size=size), EVIDENCE_LAYER)
    assert not isinstance(joint, str), joint
    for part in parts:
        own = layout_of(build_model(part, input_size=size), EVIDENCE_LAYER)
        assert np.abs(own.rows - joint.rows[: len(own.rows)]).max() < 8  # half a cell


def test_larger_map_is_refused() -> None:
    with pytest.raises(ValueError, match="does not fit"):
        pad_to_grid(keras.Input((5, 5, 1)), keras.Input((4, 4, 1)), "placed")
