"""A hidden layer with rectifiers learns what no linear head can."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb.training.hidden_probe import HiddenLayer, HiddenProbe, fit_hidden_layer
from redeepfake_nb.training.linear_probe import fit_logistic


def test_logits_by_hand() -> None:
    """max(2 - 1, 0) * 3 + max(-2 + 5, 0) * 10 + 0.5 = 33.5, and 30.5 where the first unit is off."""
    layer = HiddenLayer(np.array([[2.0, -2.0]]), np.array([-1.0, 5.0]), np.array([3.0, 10.0]), 0.5)
    np.testing.assert_allclose(layer.logits(np.array([[1.0], [0.0], [9.0]])), [33.5, 50.5, 51.5])


def exclusive_or(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Fakes are the points on one diagonal; the second feature has a thousand times the first one's scale."""
    x = rng.choice([-1.0, 1.0], (600, 2)) + rng.normal(0, 0.2, (600, 2))
    return x * [1, 1000] + [0, 7000], (x[:, 0] * x[:, 1] > 0).astype(np.float32)


def test_what_is_not_linear_is_learned() -> None:
    x, y = exclusive_or(np.random.default_rng(0))
    probe = HiddenProbe(epochs=60, batch=32, rate=0.01, feature_dropout=0, unit_dropout=0)
    fitted = fit_hidden_layer(x, y, 8, probe, seed=3)
    assert fitted.kernel.shape == (2, 8)
    assert ((fitted.logits(x) > 0) == (y == 1)).mean() > 0.97
    kernel, bias = fit_logistic(x, y, 1.0)
    assert ((x @ kernel + bias > 0) == (y == 1)).mean() < 0.6


def test_the_seed_decides_all_that_is_random() -> None:
    x, y = exclusive_or(np.random.default_rng(0))
    one, same, other = (fit_hidden_layer(x, y, 4, HiddenProbe(epochs=2), seed=seed) for seed in (1, 1, 2))
    np.testing.assert_allclose(one.kernel, same.kernel, rtol=1e-5)
    assert np.abs(one.kernel - other.kernel).max() > 1e-4


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("epochs", 0),
        ("epochs", 1.5),
        ("batch", 0),
        ("rate", 0.0),
        ("rate", float("nan")),
        ("weight_decay", -1.0),
        ("feature_dropout", 1.0),
        ("unit_dropout", -0.1),
        ("features_from", "checkpoint.npz"),
        ("features_from", [""]),
    ],
)
def test_settings_that_cannot_be(field: str, value: object) -> None:
    with pytest.raises(ValueError, match=f"{field} of hidden_probe"):
        HiddenProbe(**{field: value})
