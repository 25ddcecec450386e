"""A probe trains the head alone, on features that stay as they are, and resumes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from redeepfake_nb import Head
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.models.architectures import clip_vit
from redeepfake_nb.training.hidden_probe import HiddenProbe
from redeepfake_nb.training.network_start import build
from redeepfake_nb.training.probe import Checkpoint, probe_features
from redeepfake_nb.training.recipes import Recipe, Stage
from redeepfake_nb.training.trainer import train


@pytest.fixture(scope="module")
def probe(smoke: Recipe) -> Recipe:
    return replace(smoke, name="probe", stages=(Stage(67, 6),), linear_probe=0.1, checkpoint_every=2)


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
    assert Checkpoint(tmp_path / "none.npz", "", "").restore() == ([], [])


def test_features_are_read_from_a_checkpoint(tmp_path: Path) -> None:
    batches = np.arange(24).reshape(2, 3, 4)
    np.savez(tmp_path / "checkpoint.npz", features=batches, labels=np.zeros((2, 3)))
    np.testing.assert_array_equal(probe_features(tmp_path / "checkpoint.npz"), batches.reshape(6, 4))
    np.savez(tmp_path / "network.npz", average_0=np.zeros(2))
    (tmp_path / "torn.npz").write_bytes(b"PK")
    for name in ("network.npz", "torn.npz", "missing.npz"):
        with pytest.raises(ValueError, match=f"{name}: holds no features of a probe"):
            probe_features(tmp_path / name)


@pytest.mark.slow
@pytest.mark.parametrize("centre", [False, True])
def test_a_hidden_layer_is_trained_on_the_features_before_it(
    centre: bool, faces: LabelledFaces, probe: Recipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    width = 4608 if centre else 2304
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    recipe = replace(
        probe,
        backbone="CLIPViTB16",
        weights=None,
        head=Head(units=(), clip_units=3, clip_centre=centre),
        stages=(Stage(64, 6),),
        score_size=64,
        linear_probe=None,
        hidden_probe=HiddenProbe(epochs=20, batch=16, rate=0.01),
    )
    parts = faces.part("train"), faces.part("val")
    result = train(recipe, *parts, tmp_path)
    start = build(recipe, 64, None, mixed=False)
    for layer in start.layers:
        if layer.weights and layer.name not in ("clip_hidden", "logit"):
            for one, other in zip(
                layer.get_weights(), result.model.get_layer(layer.name).get_weights(), strict=True
            ):
                np.testing.assert_array_equal(one, other)
    assert result.model.get_layer("clip_hidden").kernel.shape == (width, 3)
    # The logit reads the units, and nothing of the features beside them.
    kernel = np.asarray(result.model.get_layer("logit").kernel)
    assert kernel.shape == (2307, 1)
    assert not kernel[:2304].any()
    assert kernel[2304:].all()
    (line,) = result.history
    assert line["train_loss"] < 0.6  # blurred noise is easily told apart
    assert line["val_auc"] > 0.9
    first = tmp_path / "checkpoint.npz"
    assert probe_features(first).shape == (6 * 2 * recipe.batch_pairs, width)

    # Another run counts these faces as well: with their labels turned around, nothing can be learned.
    with np.load(first) as saved:
        turned = {**saved, "labels": 1 - saved["labels"]}
    np.savez(tmp_path / "turned.npz", **turned)
    probe = replace(recipe.hidden_probe, features_from=[str(tmp_path / "turned.npz")])
    confused = train(replace(recipe, hidden_probe=probe), *parts, tmp_path / "other")
    assert confused.history[0]["train_loss"] > 0.65
    np.savez(tmp_path / "narrow.npz", features=np.zeros((1, 2, 5)), labels=np.zeros((1, 2)))
    probe = replace(recipe.hidden_probe, features_from=[str(tmp_path / "narrow.npz")])
    with pytest.raises(ValueError, match=f"narrow.npz: 5 features, and CLIPViTB16 has {width}"):
        train(replace(recipe, hidden_probe=probe), *parts, tmp_path / "narrow")
