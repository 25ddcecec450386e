"""A gate tells the training faces of several experts apart, and gives each its weight."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from redeepfake_nb.training.gate import fit_gate


def test_two_experts_of_different_numbers_of_faces() -> None:
    """Nine times as many faces of one do not move the middle, where both weigh the same."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (1000, 1))
    noise = np.concatenate([noise, -noise])  # balanced about 0
    gate = fit_gate([np.tile(noise, (9, 1)) - 2, noise + 2], strength=1.0)
    assert gate.kernel.shape == (1, 2)
    assert gate.bias.shape == (2,)
    given = softmax(np.array([[-6.0], [0.0], [6.0]]) @ gate.kernel + gate.bias, axis=1)
    np.testing.assert_allclose(given[1], 0.5, atol=0.02)
    assert given[0, 0] > 0.99
    assert given[2, 1] > 0.99


def test_three_experts_and_features_of_any_scale() -> None:
    rng = np.random.default_rng(1)
    centres = np.array([[0, 0], [4, 0], [0, 4000]])
    faces = [c + rng.normal(0, 1, (300, 2)) * [1, 1000] for c in centres]
    gate = fit_gate(faces, strength=1.0)
    assert gate.kernel.shape == (2, 3)
    given = softmax(centres @ gate.kernel + gate.bias, axis=1)
    assert (given.argmax(1) == [0, 1, 2]).all()


def test_weaker_is_less_sure() -> None:
    rng = np.random.default_rng(2)
    faces = [rng.normal(-1, 1, (200, 3)), rng.normal(1, 1, (200, 3))]
    spans = []
    for strength in (1.0, 1e-4):
        gate = fit_gate(faces, strength=strength)
        spans.append(np.abs(np.ones(3) @ (gate.kernel[:, 1] - gate.kernel[:, 0])))
    assert 0 < spans[1] < 0.2 * spans[0]


def test_a_prior_decides_between() -> None:
    """Bayes' rule: where the features say nothing, the weights are the prior's."""
    rng = np.random.default_rng(0)
    noise = rng.normal(0, 1, (1000, 1))
    noise = np.concatenate([noise, -noise])
    gate = fit_gate([noise - 2, noise + 2], prior=[3, 1], strength=1.0)
    given = softmax(np.array([[0.0], [6.0]]) @ gate.kernel + gate.bias, axis=1)
    np.testing.assert_allclose(given[0], [0.75, 0.25], atol=0.02)
    assert given[1, 1] > 0.99


def test_features_that_do_not_fit() -> None:
    for prior in ([1], [1, 0], [1, float("nan")], [1, 2, 3]):
        with pytest.raises(ValueError, match="a positive number for each of 2 experts"):
            fit_gate([np.zeros((3, 2)), np.ones((3, 2))], prior=prior)
    with pytest.raises(ValueError, match="at least two experts"):
        fit_gate([np.zeros((3, 2))])
    with pytest.raises(ValueError, match=r"different numbers of features: \[2, 4\]"):
        fit_gate([np.zeros((3, 2)), np.zeros((3, 4))])
