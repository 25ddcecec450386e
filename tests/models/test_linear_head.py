"""What each cell of a map adds to the logit, where only average pooling and linear layers follow it."""

from __future__ import annotations

import json
from pathlib import Path

import keras
import numpy as np
import pytest

from redeepfake_nb import (
    Card,
    Classifier,
    Face,
    Frame,
    Preprocessing,
    explain,
    load_model,
    predict,
    save_model,
)
from redeepfake_nb.explanation.method_choice import has_compiled_heatmap
from redeepfake_nb.models.geometry import Layout
from redeepfake_nb.models.hub import CACHE_VARIABLE
from redeepfake_nb.models.linear_head import EvidenceMap, evidence_map, linear_head
from redeepfake_nb.models.runtimes import RUNTIME_VARIABLE

layers = keras.layers
SIZE = 16


def model_of(*tail: keras.layers.Layer) -> keras.Model:
    keras.utils.set_random_seed(0)
    maps = [
        layers.Rescaling(1 / 255, name="scaled"),
        layers.Conv2D(5, 3, 2, "same", activation="relu", name="map"),
    ]
    return keras.Sequential([keras.Input((SIZE, SIZE, 3)), *maps, *tail])


def flat(*tail: keras.layers.Layer, **card: str) -> keras.Model:
    preprocessing = Preprocessing(input_size=SIZE)
    return Classifier(model_of(*tail), Card(preprocessing=preprocessing, **card)).keras_model


def averaged(*tail: keras.layers.Layer) -> tuple[keras.layers.Layer, ...]:
    return layers.GlobalAveragePooling2D(), *tail


def test_weights_by_hand() -> None:
    model = flat(*averaged(layers.Dropout(0.5), layers.Dense(1, use_bias=False)))
    model.layers[-1].set_weights([np.arange(5, dtype=np.float32)[:, None]])
    head = linear_head(model)
    assert head.layer == "map"
    np.testing.assert_allclose(head.weights[:, 0], np.arange(5))
    assert head.gate is None
    assert tuple(head.features.shape) == (None, 8, 8, 5)


@pytest.mark.parametrize(
    ("tail", "card", "weight"),
    [
        ((layers.Dense(1, "sigmoid"),), {"output": "probability", "positive_class": "real"}, -1),
        ((layers.Dense(2, "softmax"),), {"output": "softmax"}, 2 - 1),
        ((layers.Dense(3), layers.Dense(1)), {}, 1 + 2 + 3),
    ],
)
def test_whatever_is_linear_counts(tail: tuple, card: dict, weight: float) -> None:
    """A sigmoid is removed; of two columns the difference is taken; linear layers are one."""
    model = flat(*averaged(*tail), **card)
    for layer in model.layers[-len(tail) - 1 :]:
        if layer.weights and layer.name != "fake_minus_real":
            kernel, bias = layer.get_weights()
            layer.set_weights([np.ones_like(kernel) * np.arange(1, kernel.shape[1] + 1), bias])
    np.testing.assert_allclose(linear_head(model).weights[:, 0], [weight] * 5)


@pytest.mark.parametrize(
    "tail",
    [
        averaged(layers.Dense(4, "relu"), layers.Dense(1)),
        averaged(layers.LayerNormalization(), layers.Dense(1)),
        (layers.GlobalMaxPooling2D(), layers.Dense(1)),
        (layers.Flatten(), layers.Dense(1)),
        (layers.AveragePooling2D(8), *averaged(layers.Dense(1))),
    ],
)
def test_other_heads_have_none(tail: tuple) -> None:
    assert linear_head(flat(*tail)) is None


@pytest.mark.parametrize("bias", [-100, 0, 100])
def test_a_rectifier_is_found_wherever_it_bends(bias: float) -> None:
    """Also where it passes, or hides, every input of ordinary size."""
    model = flat(*averaged(layers.Dense(1, "relu"), layers.Dense(1)))
    hidden, last = model.layers[-2:]
    hidden.set_weights([np.ones((5, 1), np.float32), np.array([bias], np.float32)])
    last.set_weights([np.ones((1, 1), np.float32), np.zeros(1, np.float32)])
    assert linear_head(model) is None


def test_a_head_of_two_maps_has_none() -> None:
    image = keras.Input((SIZE, SIZE, 3))
    pools = [layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(image)) for _ in range(2)]
    assert linear_head(keras.Model(image, layers.Dense(1)(layers.Concatenate()(pools)))) is None


def gated(read: str, hidden: str = "") -> keras.Model:
    """Two experts on a map and three values beside it, and a gate that reads these or the map.

    With ``hidden`` two units of a hidden layer, which reads the one or the other, as well.
    """
    image = keras.Input((SIZE, SIZE, 3))
    maps = layers.Conv2D(2, 3, 2, "same", name="map", use_bias=False)(image)
    pooled = layers.GlobalAveragePooling2D(name="pooled")(maps)
    beside = layers.Flatten(name="clip_features")(layers.AveragePooling2D(SIZE)(image))
    inner = layers.Flatten(name="clip_centre_features")(layers.AveragePooling2D(SIZE // 2)(image))
    sources = {"pooled": pooled, "clip_features": beside}
    sources["clip_features and centre"] = layers.Concatenate()([beside, inner])
    sources["clip_features and pooled"] = layers.Concatenate()([beside, pooled])
    units = [layers.Dense(2, "relu", name="clip_hidden")(sources[hidden])] if hidden else []
    both = layers.Concatenate()([pooled, beside, *units])
    experts = layers.Dense(2, name="expert_logits")(both)
    gate = layers.Dense(2, "softmax", name="gate")(sources[read])
    model = keras.Model(image, layers.Dense(1, name="logit")(layers.Dot(axes=1)([experts, gate])))
    kernel = np.arange(2.0 * both.shape[-1]).reshape(-1, 2)
    model.get_layer("expert_logits").set_weights([kernel, np.zeros(2)])
    model.get_layer("logit").set_weights([np.array([[0.5]]), np.array([7.0])])
    return model


def test_experts_are_weighted_by_a_gate() -> None:
    """Weights by hand: of the map's two channels for each expert, times the scale after them."""
    model = gated("clip_features")
    head = linear_head(model)
    np.testing.assert_allclose(head.weights, [[0, 0.5], [1, 1.5]])
    x = np.random.default_rng(0).uniform(0, 1, (3, SIZE, SIZE, 3)).astype(np.float32)
    maps, gate = keras.Model(model.input, [head.features, head.gate]).predict_on_batch(x)
    beside = x.mean((1, 2)) @ np.arange(4.0, 10.0).reshape(3, 2) * 0.5
    parts = (maps @ head.weights).mean((1, 2)) + beside
    np.testing.assert_allclose(model.predict_on_batch(x)[:, 0], (parts * gate).sum(1) + 7, rtol=1e-4)


def test_one_of_two_experts_may_leave_the_map_out() -> None:
    model = gated("clip_features")
    kernel, bias = model.get_layer("expert_logits").get_weights()
    kernel[:2, 1] = 0
    model.get_layer("expert_logits").set_weights([kernel, bias])
    np.testing.assert_allclose(linear_head(model).weights, [[0, 0], [1, 0]])
    kernel[:2] = 0
    model.get_layer("expert_logits").set_weights([kernel, bias])
    assert linear_head(model) is None


def test_a_gate_that_reads_the_map_has_none() -> None:
    assert linear_head(gated("pooled")) is None


def test_a_hidden_layer_may_read_what_has_no_place() -> None:
    for read in ("clip_features", "clip_features and centre"):
        np.testing.assert_allclose(linear_head(gated("clip_features", read)).weights, [[0, 0.5], [1, 1.5]])
    for read in ("pooled", "clip_features and pooled"):
        assert linear_head(gated("clip_features", read)) is None


def test_a_map_whose_places_are_unknown_has_none() -> None:
    image = keras.Input((SIZE, SIZE, 3))
    halves = [layers.Conv2D(2, 3)(half) for half in (image[:, :, :8], image[:, :, 8:])]
    pooled = layers.GlobalAveragePooling2D()(layers.Concatenate()(halves))
    model = keras.Model(image, layers.Dense(1)(pooled))
    head = linear_head(model)
    assert head is not None
    assert evidence_map(model, head) is None


@pytest.mark.parametrize(("side", "there"), [(32, True), (33, False)])
def test_a_fine_map_is_left_to_keras(side: int, there: bool) -> None:
    image = keras.Input((side, side, 3))
    model = keras.Model(image, layers.Dense(1)(layers.GlobalAveragePooling2D()(layers.ReLU()(image))))
    assert (evidence_map(model, linear_head(model)) is not None) == there


def test_to_dict_and_back() -> None:
    made = EvidenceMap("map", Layout.even(2, 3, 12))
    read = EvidenceMap.from_dict(json.loads(json.dumps(made.to_dict())))
    assert (read.layer, read.shape, read.cells) == ("map", (2, 3), 6)
    assert read.layout.regular
    np.testing.assert_array_equal(read.layout.columns, made.layout.columns)


class TestCompiled:
    """The compiled network returns the map, and heatmaps are those of TensorFlow."""

    @pytest.fixture(params=[True, False], ids=["mirrored", "plain"])
    def path(
        self,
        request: pytest.FixtureRequest,
        scored_by_tensorflow: None,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> Path:
        monkeypatch.setenv(RUNTIME_VARIABLE, "auto")
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
        card = Card(
            preprocessing=Preprocessing(input_size=SIZE), mirror=request.param, shift=0.5, temperature=1.0
        )
        model = Classifier(model_of(*averaged(layers.Dense(1))), card)
        return save_model(model, tmp_path / "linear.keras")

    @pytest.fixture
    def face(self, rng: np.random.Generator) -> Face:
        return Face.whole(Frame(rng.integers(0, 256, (20, 20, 3), np.uint8)))

    def test_the_cells_add_up_to_the_logit(self, path: Path, rng: np.random.Generator) -> None:
        classifier = load_model(path)
        assert classifier.uses_litert
        batch = rng.integers(0, 256, (3, SIZE, SIZE, 3)).astype(np.float32)
        parts = classifier.evidence(batch)
        assert parts.shape == (3, *classifier.evidence_map.shape) == (3, 8, 8)
        model = classifier.keras_model
        bias = float(model.layers[-1].get_weights()[1][0])
        expected = np.asarray(model(batch))[:, 0]
        np.testing.assert_allclose(parts.sum(axis=(1, 2)) + bias, expected, atol=1e-4)

    @pytest.mark.parametrize("target", ["fake", "real"])
    def test_heatmaps_are_those_of_tensorflow(self, path: Path, face: Face, target: str) -> None:
        one, other = load_model(path), load_model(path, runtime="tensorflow")
        assert other.evidence_map is None
        made, expected = (explain(c, predict(c, [face])[0], target=target) for c in (one, other))
        assert (made.method, made.layer) == (expected.method, expected.layer) == ("gradcam", "map")
        np.testing.assert_allclose(made.heatmap, expected.heatmap, atol=1e-4)
        assert made.evidence == pytest.approx(expected.evidence, abs=1e-4)
        assert made.peak == pytest.approx(expected.peak, rel=1e-3, abs=1e-6)

    def test_without_the_mirror_image(self, path: Path, face: Face) -> None:
        """A card that is changed afterwards counts, as for scores."""
        one, other = load_model(path), load_model(path, runtime="tensorflow")
        for mirror in (True, False):
            made, expected = (
                explain(c, predict(c, [face])[0])
                for c in (c.with_card(Card(**{**vars(c.card), "mirror": mirror})) for c in (one, other))
            )
            np.testing.assert_allclose(made.heatmap, expected.heatmap, atol=1e-4)

    def test_other_methods_and_layers_are_keras_own(self, path: Path, face: Face) -> None:
        classifier = load_model(path)
        assert has_compiled_heatmap(classifier, "gradcam")
        assert has_compiled_heatmap(classifier, "gradcam", "map")
        assert not has_compiled_heatmap(classifier, "gradcam", "scaled")
        assert not has_compiled_heatmap(classifier, "saliency")
        (prediction,) = predict(classifier, [face])
        assert explain(classifier, prediction, layer="scaled").layer == "scaled"
        assert explain(classifier, prediction, "hirescam").layer == "map"

    def test_a_network_without_a_map_says_so(self, path: Path) -> None:
        with pytest.raises(ValueError, match="returns no map"):
            load_model(path, runtime="tensorflow").evidence(np.zeros((1, SIZE, SIZE, 3), np.float32))

    def test_a_batch_is_checked(self, path: Path) -> None:
        classifier = load_model(path)
        assert classifier.evidence(np.zeros((0, SIZE, SIZE, 3))).shape == (0, 8, 8)
        with pytest.raises(ValueError, match="a batch has the shape"):
            classifier.evidence(np.zeros((1, 8, 8, 3)))
        with pytest.raises(ValueError, match="not finite"):
            classifier.evidence(np.full((1, SIZE, SIZE, 3), np.nan))

    def test_a_gate_weights_the_cells(
        self,
        scored_by_tensorflow: None,
        face: Face,
        rng: np.random.Generator,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        """Of two experts each face's cells count as its gate says, in either runtime."""
        monkeypatch.setenv(RUNTIME_VARIABLE, "auto")
        monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
        image = keras.Input((SIZE, SIZE, 3))
        scaled = layers.Rescaling(1 / 255, name="scaled")(image)
        inner = gated("clip_features")
        card = Card(preprocessing=Preprocessing(input_size=SIZE), temperature=1.0, explain_layer="map")
        model = Classifier(keras.Model(image, inner(scaled)), card)
        gate = model.keras_model.get_layer("gate")
        gate.set_weights([rng.normal(0, 3, weight.shape) for weight in gate.get_weights()])
        path = save_model(model, tmp_path / "gated.keras")
        one, other = load_model(path), load_model(path, runtime="tensorflow")
        assert one.uses_litert
        assert has_compiled_heatmap(one, "gradcam")
        for target in ("fake", "real"):
            made, expected = (explain(c, predict(c, [face])[0], target=target) for c in (one, other))
            # Keras weighs each place by itself where paths bypass the map, which is the same here.
            assert (made.method, expected.method, made.layer) == ("gradcam", "hirescam", expected.layer)
            np.testing.assert_allclose(made.heatmap, expected.heatmap, atol=1e-4)
            assert made.evidence == pytest.approx(expected.evidence, abs=1e-4)
        batch = rng.integers(0, 256, (4, SIZE, SIZE, 3)).astype(np.float32)
        head = linear_head(one.keras_model)
        maps, given = keras.Model(one.keras_model.input, [head.features, head.gate]).predict_on_batch(batch)
        assert np.ptp(given[:, 0]) > 1e-3
        cells = np.einsum("nhwc,ck,nk->nhw", maps, head.weights, given) / maps[0, ..., 0].size
        np.testing.assert_allclose(one.evidence(batch), cells, atol=1e-4)
