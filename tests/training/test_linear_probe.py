"""A logistic regression on features of any scale."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb.training.linear_probe import fit_logistic


def test_features_of_any_scale_count_alike() -> None:
    """The second feature, a thousand times the first one's copy, gets a thousandth of its weight."""
    rng = np.random.default_rng(0)
    y = np.arange(400) % 2.0
    signal = y + rng.normal(0, 0.5, 400)
    kernel, bias = fit_logistic(np.stack([signal, 1000 * signal + 7], 1), y, 1.0)
    assert kernel[0] > 0
    assert kernel[0] == pytest.approx(1000 * kernel[1], rel=1e-3)
    logits = np.stack([signal, 1000 * signal + 7], 1) @ kernel + bias
    assert ((logits > 0) == (y == 1)).mean() > 0.75
    assert np.mean(logits) == pytest.approx(0, abs=0.1)


def test_strength_regularises() -> None:
    rng = np.random.default_rng(0)
    y = np.arange(200) % 2.0
    x = (y + rng.normal(0, 0.5, 200))[:, None]
    weak, _ = fit_logistic(x, y, 1.0)
    strong, _ = fit_logistic(x, y, 1e-3)
    assert 0 < strong[0] < 0.5 * weak[0]
