"""Several linear logits weighted by a gate for each face: by hand, and as a head of our networks."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from redeepfake_nb import Head, build_model
from redeepfake_nb.models.architectures import clip_vit
from redeepfake_nb.models.architectures.builder import head_features
from redeepfake_nb.models.architectures.mixture import mixture


def test_two_experts_by_hand() -> None:
    features, read = keras.Input((2,)), keras.Input((1,))
    model = keras.Model([features, read], mixture(features, read, 2, "logit"))
    model.get_layer("expert_logits").set_weights([np.array([[1.0, 0.0], [0.0, 10.0]]), np.array([0.5, 0.0])])
    model.get_layer("gate").set_weights([np.array([[0.0, np.log(3)]]), np.zeros(2)])
    # Experts: 2 + 0.5 and 30. The gate gives the second 1 / 2, 3 / 4 and nearly 0.
    given = np.array([[0.0], [1.0], [-60.0]])
    found = model.predict_on_batch([np.tile([[2.0, 3.0]], (3, 1)), given])
    np.testing.assert_allclose(found[:, 0], [16.25, 0.25 * 2.5 + 0.75 * 30, 2.5], rtol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["CLIPViTB16", "EfficientNetLite0+CLIPViTB16"])
def test_the_gate_reads_clip_and_the_experts_all(backbone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    model = build_model(backbone, head=Head(units=(), dropout=0.2, experts=3), input_size=64)
    assert model.output_shape == (None, 1)
    assert model.get_layer("gate").kernel.shape == (2304, 3)
    plain = build_model(backbone, input_size=64)
    assert model.get_layer("expert_logits").kernel.shape == (plain.get_layer("logit").kernel.shape[0], 3)
    assert head_features(model).shape == head_features(plain).shape
    # A fresh network scales and shifts nothing after the mixture.
    x = np.random.default_rng(0).uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    mixed = keras.Model(model.input, model.get_layer("mixed_logit").output)
    np.testing.assert_array_equal(model.predict_on_batch(x), mixed.predict_on_batch(x))


def test_heads_that_cannot_be() -> None:
    with pytest.raises(ValueError, match="more than 1 need a head without dense layers"):
        Head(units=(8,), experts=2)
    with pytest.raises(ValueError, match="experts must be 1 or more"):
        Head(units=(), experts=0)
    with pytest.raises(ValueError, match="above 0 need a head without dense layers"):
        Head(units=(8,), clip_units=2)
    with pytest.raises(ValueError, match="clip_units must be 0 or more"):
        Head(units=(), clip_units=-1)
    with pytest.raises(ValueError, match="clip_centre is what a hidden layer reads"):
        Head(units=(), clip_centre=True)
    with pytest.raises(ValueError, match="clip_units reads the features of CLIPViTB16"):
        build_model("EfficientNetLite0", head=Head(units=(), clip_units=2), input_size=64)
    for backbone in ("EfficientNetLite0", "EfficientNetB0"):
        with pytest.raises(ValueError, match=f"features of CLIPViTB16, not of {backbone}"):
            build_model(backbone, head=Head(units=(), experts=2), input_size=64)
