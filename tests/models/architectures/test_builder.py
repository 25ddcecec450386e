"""Every network is flat, takes 0..255, returns one logit, and has the pretrained weights asked for."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from redeepfake_nb import Head, build_model
from redeepfake_nb.models.architectures.builder import BACKBONES, LOGIT_LAYER
from redeepfake_nb.models.architectures.evidence_map import EVIDENCE_LAYER
from redeepfake_nb.models.architectures.face_resnet import face_embedding_model, read_face_network
from redeepfake_nb.models.graph import spatial_cut_layer


def check(model: keras.Model, size: int) -> None:
    assert model.input_shape == (None, size, size, 3)
    assert model.output_shape == (None, 1)
    assert model.layers[-1].name == LOGIT_LAYER
    assert not [layer for layer in model.layers if isinstance(layer, keras.Model)]


@pytest.mark.slow
@pytest.mark.parametrize("size", [67, 100, 131])
def test_face_resnet_with_any_input_size(size: int, rng: np.random.Generator) -> None:
    model = build_model("FaceResNet", input_size=size)
    check(model, size)
    x = rng.uniform(0, 255, (2, size, size, 3)).astype(np.float32)
    assert np.isfinite(model.predict_on_batch(x)).all()
    assert spatial_cut_layer(model) == EVIDENCE_LAYER


@pytest.mark.slow
def test_face_resnet_pools_mean_and_deviation(rng: np.random.Generator) -> None:
    """For the grid's own stage the features are its means and half its mean absolute deviations."""
    model = build_model("FaceResNet", input_size=131, weights="face_recognition")
    stage, pooled = (model.get_layer(name).output for name in ("stage_2_2", "pooled"))
    x = rng.uniform(0, 255, (2, 131, 131, 3)).astype(np.float32)
    maps, features = keras.Model(model.inputs, [stage, pooled]).predict_on_batch(x)
    before = 2 * (32 + 64)
    mean = maps.mean((1, 2))
    deviation = np.abs(maps - mean[:, None, None]).mean((1, 2)) / 2
    np.testing.assert_allclose(features[:, before : before + 128], mean, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features[:, before + 128 : before + 256], deviation, rtol=1e-4, atol=1e-5)
    assert features.shape == (2, 2 * (32 + 64 + 128 + 256))


@pytest.mark.slow
def test_face_resnet_has_the_pretrained_weights(rng: np.random.Generator) -> None:
    model = build_model("FaceResNet", input_size=131, weights="face_recognition")
    reference = face_embedding_model(read_face_network(), 131)
    x = rng.uniform(0, 255, (1, 131, 131, 3)).astype(np.float32)
    one, other = (
        keras.Model(m.inputs, m.get_layer("stage_3_2").output).predict_on_batch(x) for m in (model, reference)
    )
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("backbone", ["MobileNetV3Small", "MobileNetV2"])
def test_backbones_with_a_custom_head(backbone: str, rng: np.random.Generator) -> None:
    model = build_model(backbone, head=Head(units=(16, 8), dropout=0.1), input_size=64)
    check(model, 64)
    x = rng.uniform(0, 255, (2, 64, 64, 3)).astype(np.float32)
    assert np.isfinite(model.predict_on_batch(x)).all()
    assert [model.get_layer(f"head_dense_{i}").units for i in (0, 1)] == [16, 8]


@pytest.mark.slow
def test_pixels_are_scaled_to_the_range_of_a_backbone() -> None:
    model = build_model("MobileNetV2", input_size=64)
    scaled = keras.Model(model.inputs, model.get_layer("to_backbone_range").output)
    ends = np.zeros((2, 64, 64, 3), np.float32)
    ends[1] = 255
    low, high = scaled.predict_on_batch(ends)
    assert low.max() == -1
    assert high.min() == pytest.approx(1)


@pytest.mark.slow
def test_efficientnetb4_as_in_redeepfake() -> None:
    model = build_model()
    check(model, 224)
    assert model.name == "efficientnetb4"
    assert spatial_cut_layer(model) == "top_activation"
    assert model.count_params() > 17_000_000


def test_every_listed_backbone_exists() -> None:
    assert [name for name in BACKBONES if not hasattr(keras.applications, name)] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"backbone": "ResNet9000"}, "unknown backbone 'ResNet9000'; known are FaceResNet"),
        ({"backbone": "FaceResNet", "weights": "imagenet"}, "starts from None"),
        ({"backbone": "MobileNetV2", "weights": "face_recognition"}, "starts from None"),
        ({"input_size": 47}, "at least 48"),
        ({"backbone": "FaceResNet", "input_size": 66}, "at least 67"),
    ],
)
def test_bad_arguments(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        build_model(**options)


@pytest.mark.parametrize("options", [{"units": (0,)}, {"dropout": 1.0}, {"dropout": -0.1}])
def test_bad_heads(options: dict) -> None:
    with pytest.raises(ValueError, match=r"positive|dropout"):
        Head(**options)
