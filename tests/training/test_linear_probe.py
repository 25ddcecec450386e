"""A linear probe is a logistic regression on features that stay as they are, and resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.training import linear_probe
from redeepfake_nb.training.linear_probe import fit_logistic, probe_features
from redeepfake_nb.training.network_start import build
from redeepfake_nb.training.recipes import Recipe, Stage
from redeepfake_nb.training.trainer import train


@pytest.fixture(scope="module")
def probe(smoke: Recipe) -> Recipe:
    return replace(smoke, name="probe", stages=(Stage(67, 6),), linear_probe=0.1, checkpoint_every=2)


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


@pytest.mark.slow
def test_only_the_head_is_trained(faces: LabelledFaces, probe: Recipe, tmp_path: Path) -> None:
    result = train(probe, faces.part("train"), faces.part("val"), tmp_path)
    start = build(probe, 67, None, mixed=False)
    *body, kernel, bias = result.model.get_weights()
    for trained, initial in zip(body, start.get_weights()[:-2], strict=True):
        np.testing.assert_array_equal(trained, initial)
    assert np.abs(kernel - start.get_weights()[-2]).max() > 1e-3
    assert bias.shape == (1,)
    assert result.step == 6
    (line,) = pd.read_csv(tmp_path / "history.csv").to_dict("records")
    assert (line["step"], line["input_size"]) == (6, 67)
    assert line["train_loss"] < 0.6  # blurred noise is easily told apart
    assert line["val_auc"] > 0.9


@pytest.mark.slow
def test_an_interrupted_probe_goes_on(faces: LabelledFaces, probe: Recipe, tmp_path: Path) -> None:
    parts = faces.part("train"), faces.part("val")
    probe = replace(probe, self_blend=0.5)
    whole = train(probe, *parts, tmp_path / "whole")

    def kill(step: int, steps: int, loss: float) -> None:
        if step == 5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(probe, *parts, tmp_path / "parts", progress=kill)
    assert (tmp_path / "parts" / "landmarks.npz").is_file()
    seen: list[int] = []
    resumed = train(probe, *parts, tmp_path / "parts", progress=lambda step, steps, loss: seen.append(step))
    assert seen == [5, 6]
    for one, other in zip(whole.model.get_weights(), resumed.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)
    with pytest.raises(ValueError, match="another recipe"):
        train(replace(probe, seed=9), *parts, tmp_path / "parts")
    with pytest.raises(ValueError, match="other faces"):
        train(probe, faces.part("train").take(np.arange(8)), parts[1], tmp_path / "parts")
    assert linear_probe.Checkpoint(tmp_path / "none.npz", "", "").restore() == ([], [])


def test_features_are_read_from_a_checkpoint(tmp_path: Path) -> None:
    batches = np.arange(24).reshape(2, 3, 4)
    np.savez(tmp_path / "checkpoint.npz", features=batches, labels=np.zeros((2, 3)))
    np.testing.assert_array_equal(probe_features(tmp_path / "checkpoint.npz"), batches.reshape(6, 4))
    np.savez(tmp_path / "network.npz", average_0=np.zeros(2))
    (tmp_path / "torn.npz").write_bytes(b"PK")
    for name in ("network.npz", "torn.npz", "missing.npz"):
        with pytest.raises(ValueError, match=f"{name}: holds no features of a linear probe"):
            probe_features(tmp_path / name)
