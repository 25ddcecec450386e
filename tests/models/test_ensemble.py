"""An ensemble returns the mean of its networks' logits, and has one evidence map."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from redeepfake_nb import Card, Classifier, Head, Preprocessing, build_model
from redeepfake_nb.models.architectures import clip_vit
from redeepfake_nb.models.ensemble import (
    Gate,
    backbone_of,
    clip_units,
    ensemble,
    mixture_of_experts,
    resized,
)
from redeepfake_nb.models.graph import spatial_cut_layer
from redeepfake_nb.models.linear_head import evidence_map, linear_head

SIZE = 96


def make(backbone: str, temperature: float, rng: np.random.Generator, **options) -> Classifier:
    model = build_model(backbone, input_size=SIZE, **options)
    logit = model.layers[-1]
    logit.set_weights([rng.normal(0, 0.1, w.shape).astype(np.float32) for w in logit.get_weights()])
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=SIZE), temperature=temperature))


@pytest.mark.slow
@pytest.mark.parametrize("second", ["FaceResNet", "EfficientNetLite1"])
def test_the_mean_of_calibrated_logits(second: str, rng: np.random.Generator) -> None:
    parts = [make("EfficientNetLite0", 2.0, rng), make(second, 0.5, rng)]
    model, backbone = ensemble(parts, SIZE)
    assert backbone == f"EfficientNetLite0+{second}"
    assert spatial_cut_layer(model) == "evidence"
    x = rng.uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)
    calibrated = parts[0].logits(x) / 2.0, parts[1].logits(x) / 0.5
    expected = (calibrated[0] + calibrated[1]) / 2
    np.testing.assert_allclose(model.predict_on_batch(x)[:, 0], expected, rtol=1e-4, atol=1e-4)
    weighted, _ = ensemble(parts, SIZE, weights=(3, 1))
    expected = 0.75 * calibrated[0] + 0.25 * calibrated[1]
    np.testing.assert_allclose(weighted.predict_on_batch(x)[:, 0], expected, rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_clip_adds_beside_the_map(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """The map holds the other network's evidence; what CLIP's encoder adds has no place in it."""
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    parts = [make("EfficientNetLite0", 2.0, rng), make("CLIPViTB16", 0.5, rng)]
    with pytest.raises(ValueError, match="CLIPViTB16 comes last"):
        ensemble(parts[::-1], SIZE)
    model, backbone = ensemble(parts, SIZE, weights=(3, 1))
    assert backbone == "EfficientNetLite0+CLIPViTB16"
    x = rng.uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)
    lite, clip = 0.75 * parts[0].logits(x) / 2.0, 0.25 * parts[1].logits(x) / 0.5
    np.testing.assert_allclose(model.predict_on_batch(x)[:, 0], lite + clip, rtol=1e-4, atol=1e-4)
    head = linear_head(model)
    assert head.layer == "evidence"
    maps = keras.Model(model.input, head.features).predict_on_batch(x)
    assert head.weights.shape == (maps.shape[-1], 1)
    of_the_map = (maps @ head.weights[:, 0]).mean((1, 2))
    bias = 0.75 * parts[0].keras_model.get_layer("logit").get_weights()[1] / 2.0
    np.testing.assert_allclose(of_the_map, lite - bias, rtol=1e-3, atol=1e-3)
    assert evidence_map(model, head).shape == maps.shape[1:3]


def with_other_head(classifier: Classifier, temperature: float, rng: np.random.Generator) -> Classifier:
    """The same network below another head, with a shift."""
    model = build_model(backbone_of(classifier.keras_model), input_size=SIZE)
    model.set_weights(classifier.keras_model.get_weights())
    logit = model.get_layer("logit")
    logit.set_weights([rng.normal(0, 0.1, w.shape).astype(np.float32) for w in logit.get_weights()])
    return Classifier(model, replace(classifier.card, temperature=temperature, shift=0.3))


@pytest.mark.slow
def test_heads_of_one_network_become_one(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network with two heads costs what it costs with one, also beside another network."""
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    x = rng.uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)
    clip = make("CLIPViTB16", 2.0, rng)
    heads = [clip, with_other_head(clip, 0.5, rng)]
    of_heads = [part.logits(x) / part.temperature for part in heads]
    model, backbone = ensemble(heads, SIZE, weights=(3, 1))
    assert backbone == "CLIPViTB16"
    assert model.count_params() == clip.keras_model.count_params()
    expected = 0.75 * of_heads[0] + 0.25 * of_heads[1]
    np.testing.assert_allclose(model.predict_on_batch(x)[:, 0], expected, rtol=1e-4, atol=1e-4)

    lite = make("EfficientNetLite0", 2.0, rng)
    model, backbone = ensemble([lite, *heads], SIZE, weights=(2, 1, 1))
    assert backbone == "EfficientNetLite0+CLIPViTB16"
    expected = 0.5 * lite.logits(x) / 2.0 + 0.25 * of_heads[0] + 0.25 * of_heads[1]
    np.testing.assert_allclose(model.predict_on_batch(x)[:, 0], expected, rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="CLIPViTB16 comes last"):
        ensemble([heads[0], lite, heads[1]], SIZE)
    with pytest.raises(ValueError, match="two CLIPViTB16 differ below their heads"):
        ensemble([lite, clip, make("CLIPViTB16", 1.0, rng)], SIZE)

    # FaceResNet's map has fewer cells than the joint one; the sum of its heads is padded, not each.
    face = make("FaceResNet", 2.0, rng)
    parts = [lite, face, with_other_head(face, 0.5, rng)]
    model, backbone = ensemble(parts, SIZE)
    assert backbone == "EfficientNetLite0+FaceResNet"
    expected = sum(part.logits(x) / part.temperature for part in parts) / 3
    np.testing.assert_allclose(model.predict_on_batch(x)[:, 0], expected, rtol=1e-4, atol=1e-4)


def mixed(rng: np.random.Generator) -> tuple[list[Classifier], list[list[float]], Gate]:
    """A network and two heads on CLIP's features, two experts, and a gate whose weights differ by face."""
    keras.utils.set_random_seed(0)  # of the networks, whose features decide what the gate says
    clip = make("CLIPViTB16", 2.0, rng)
    parts = [make("EfficientNetLite0", 2.0, rng), clip, with_other_head(clip, 0.5, rng)]
    kernel = rng.normal(0, 0.3, (2304, 2)).astype(np.float32)
    return parts, [[3, 1, 0], [1, 0, 1]], Gate(kernel, np.array([0.1, -0.1], np.float32))


@pytest.mark.slow
def test_a_gate_weights_experts_by_face(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    parts, weights, gate = mixed(rng)
    model, backbone = mixture_of_experts(parts, SIZE, weights, gate)
    assert backbone == "EfficientNetLite0+CLIPViTB16"
    light = np.array([1, 0.5, 0.2, 0.05])[:, None, None, None]
    x = (rng.uniform(0, 255, (4, SIZE, SIZE, 3)) * light).astype(np.float32)
    of_parts = np.stack([part.logits(x) / part.temperature for part in parts])
    experts = np.stack([0.75 * of_parts[0] + 0.25 * of_parts[1], 0.5 * of_parts[0] + 0.5 * of_parts[2]], 1)
    features = keras.Model(model.input, model.get_layer("clip_features").output).predict_on_batch(x)
    odds = np.exp(features @ gate.kernel + gate.bias)
    given = odds / odds.sum(1, keepdims=True)
    assert np.ptp(given[:, 0]) > 0.1
    expected = (given * experts).sum(1)
    np.testing.assert_allclose(model.predict_on_batch(x)[:, 0], expected, rtol=1e-3, atol=1e-3)
    less_sure, _ = mixture_of_experts(parts, SIZE, weights, gate, logit_scale=[1, 0.5])
    expected = (given * experts * [1, 0.5]).sum(1)
    np.testing.assert_allclose(less_sure.predict_on_batch(x)[:, 0], expected, rtol=1e-3, atol=1e-3)

    # The cells of the map make the map's part of the logit, for each face with the weights of its gate.
    head = linear_head(model)
    assert head.layer == "evidence"
    maps, weighed = keras.Model(model.input, [head.features, head.gate]).predict_on_batch(x)
    np.testing.assert_allclose(weighed, given, atol=1e-5)
    of_the_map = ((maps @ head.weights).mean((1, 2)) * weighed).sum(1)
    own_bias = parts[0].keras_model.get_layer("logit").get_weights()[1]
    lite = of_parts[0] - own_bias / parts[0].temperature
    np.testing.assert_allclose(of_the_map, (given * [0.75, 0.5]).sum(1) * lite, rtol=1e-3, atol=1e-3)

    heads, _ = mixture_of_experts(parts[1:], SIZE, [[1, 0], [0, 1]], gate)
    with pytest.raises(ValueError, match="the head of 'clipvitb16' is not linear"):
        ensemble([parts[1], Classifier(heads, parts[1].card)], SIZE)


@pytest.mark.slow
@pytest.mark.parametrize("centres", [(False, False), (True, False), (False, True), (True, True)])
def test_hidden_layers_become_one_wider_layer(
    centres: tuple[bool, bool], rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of three heads on CLIP's features one is linear, and two have hidden layers of different widths.

    ``centres``: which of these two read the centre of the face as well.
    """
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    parts, _, gate = mixed(rng)
    for units, centre in zip((3, 2), centres, strict=True):
        clip = parts[1].keras_model
        head = Head(units=(), clip_units=units, clip_centre=centre)
        model = build_model("CLIPViTB16", head=head, input_size=SIZE)
        for layer in model.layers:
            if layer.name in ("logit", "clip_hidden"):
                random = [rng.normal(0, 0.1, w.shape) for w in layer.get_weights()]
                layer.set_weights([w.astype(np.float32) for w in random])
            elif layer.weights:
                layer.set_weights(clip.get_layer(layer.name).get_weights())
        parts.append(Classifier(model, replace(parts[1].card, temperature=float(units))))
    x = rng.uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)
    of_parts = np.stack([part.logits(x) / part.temperature for part in parts])
    assert np.abs(of_parts[3] - of_parts[4]).max() > 0.1

    model, _ = ensemble(parts, SIZE)
    assert clip_units(model) == 5
    np.testing.assert_allclose(model.predict_on_batch(x)[:, 0], of_parts.mean(0), rtol=1e-3, atol=1e-3)
    weights = [[1, 1, 0, 2, 0], [1, 0, 1, 0, 2]]
    model, _ = mixture_of_experts(parts, SIZE, weights, gate)
    features = keras.Model(model.input, model.get_layer("clip_features").output).predict_on_batch(x)
    odds = np.exp(features @ gate.kernel + gate.bias)
    expected = (odds / odds.sum(1, keepdims=True) * (np.array(weights) / 4 @ of_parts).T).sum(1)
    np.testing.assert_allclose(model.predict_on_batch(x)[:, 0], expected, rtol=1e-3, atol=1e-3)
    # What hidden units add has no place in the face either.
    assert linear_head(model).layer == "evidence"
    # Another input size keeps them.
    larger = resized(parts[3], SIZE + 32)
    assert clip_units(larger.keras_model) == 3
    np.testing.assert_array_equal(
        larger.keras_model.get_layer("clip_hidden").get_weights()[0],
        parts[3].keras_model.get_layer("clip_hidden").get_weights()[0],
    )


@pytest.mark.slow
def test_experts_and_gates_that_do_not_fit(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clip_vit, "LAYERS", 1)
    parts, weights, gate = mixed(rng)
    with pytest.raises(ValueError, match="none of the networks is one"):
        mixture_of_experts(parts[:1], SIZE, [[1], [1]], gate)
    with pytest.raises(ValueError, match="at least two experts"):
        mixture_of_experts(parts, SIZE, weights[:1], gate)
    with pytest.raises(ValueError, match=r"need a gate of shape \(2304, 3\)"):
        mixture_of_experts(parts, SIZE, [*weights, [1, 1, 1]], gate)
    for scales in ([1], [1, 0], [1, float("inf")]):
        with pytest.raises(ValueError, match="need a positive scale each"):
            mixture_of_experts(parts, SIZE, weights, gate, scales)
    for row in ([0, 0, 0], [1, 1], [1, -1, 1], [1, float("nan"), 1]):
        with pytest.raises(ValueError, match="weights of 0 or more, not all 0"):
            mixture_of_experts(parts, SIZE, [weights[0], row], gate)


@pytest.mark.slow
def test_resized_keeps_the_weights(rng: np.random.Generator) -> None:
    small = make("FaceResNet", 2.0, rng)
    large = resized(small, 131)
    assert large.preprocessing.input_size == 131
    assert not large.calibrated
    for old, new in zip(small.keras_model.get_weights(), large.keras_model.get_weights(), strict=True):
        np.testing.assert_array_equal(old, new)


@pytest.mark.slow
def test_networks_that_cannot_form_an_ensemble(rng: np.random.Generator, classifier: Classifier) -> None:
    lite = make("EfficientNetLite0", 1.0, rng)
    with pytest.raises(ValueError, match="at least two"):
        ensemble([lite], SIZE)
    with pytest.raises(ValueError, match="two EfficientNetLite0 differ below their heads"):
        ensemble([lite, make("EfficientNetLite0", 1.0, rng)], SIZE)
    other = Classifier(lite.keras_model, Card(preprocessing=Preprocessing(input_size=SIZE, margin=0.1)))
    with pytest.raises(ValueError, match="the same preprocessing"):
        ensemble([lite, other], SIZE)
    for weights in ((1,), (1, 0), (1, float("nan"))):
        with pytest.raises(ValueError, match="a positive weight for each"):
            ensemble([lite, lite], SIZE, weights)
    with pytest.raises(ValueError, match="is not one of"):
        ensemble([lite, classifier], SIZE)
    with pytest.raises(ValueError, match="not linear"):
        ensemble([lite, make("FaceResNet", 1.0, rng, head=Head(units=(8,), dropout=0.0))], SIZE)
