"""Heatmaps by hand arithmetic, on evidence with a known place, and without retracing or leaks."""

from __future__ import annotations

import gc
import weakref
from dataclasses import replace

import keras
import numpy as np
import pytest

from redeepfake_nb import (
    Card,
    Classifier,
    Face,
    Frame,
    Prediction,
    Preprocessing,
    UnknownChoice,
    explain,
    predict,
)
from redeepfake_nb.explanation.heatmaps import Explanation
from redeepfake_nb.explanation.method_choice import _networks, default_layer, network_for
from redeepfake_nb.explanation.methods import GENERAL_METHODS, METHODS

SIZE = 8


def face_of(image: np.ndarray) -> Face:
    return Face.whole(Frame(np.ascontiguousarray(image, np.uint8)))


def patch_face(row: int, column: int, size: int = SIZE) -> Face:
    """A black picture with one white pixel."""
    image = np.zeros((size, size, 3), np.uint8)
    image[row, column] = 255
    return face_of(image)


def two_channel_model(weights: tuple[float, float], size: int = SIZE) -> keras.Model:
    """Channel 0 is red, channel 1 green; the logit is a weighted sum of their means."""
    image = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    conv = keras.layers.Conv2D(2, 1, use_bias=False, name="conv")
    dense = keras.layers.Dense(1, use_bias=False, name="logit")
    model = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(conv(x))))
    conv.set_weights([np.array([[1, 0], [0, 1], [0, 0]], np.float32)[None, None]])
    dense.set_weights([np.array(weights, np.float32)[:, None]])
    return model


def small(model: keras.Model, size: int = SIZE, **card: object) -> Classifier:
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=size), temperature=1.0, **card))


@pytest.fixture(scope="module")
def red_fake() -> Classifier:
    """Red is evidence for fake, green for real."""
    return small(two_channel_model((2.0, -3.0)))


def explained(classifier: Classifier, face: Face, **options: object):
    return explain(classifier, predict(classifier, [face])[0], **options)


def with_landmarks(found: Explanation) -> Prediction:
    """The same prediction for a face with random landmarks."""
    points = np.random.default_rng(0).uniform(0, SIZE, (68, 2))
    return replace(found.prediction, face=replace(found.prediction.face, landmarks=points))


def reddish(rng: np.random.Generator, size: tuple[int, int] = (SIZE, SIZE)) -> np.ndarray:
    """More red than green, so that both targets have some evidence by every method."""
    image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
    image[..., 1] //= 4
    return image


def coloured(rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, (SIZE, SIZE, 3), dtype=np.uint8)


def test_gradcam_equals_hand_arithmetic(red_fake: Classifier, rng: np.random.Generator) -> None:
    """The logit's gradient is weight / cells everywhere; the map is relu(sum of weight x channel) / cells."""
    image = coloured(rng)
    red, green = image[..., 0] / 255, image[..., 1] / 255
    for target, sign in (("fake", 1), ("real", -1)):
        expected = np.maximum(sign * (2 * red - 3 * green), 0) / SIZE**2
        found = explained(red_fake, face_of(image), target=target)
        assert found.peak == pytest.approx(expected.max(), rel=1e-5)
        np.testing.assert_allclose(found.heatmap, expected / expected.max(), atol=1e-5)


def test_layercam_equals_hand_arithmetic(red_fake: Classifier, rng: np.random.Generator) -> None:
    """Layer-CAM weighs each place by its own positive gradient: here red alone counts for fake."""
    image = coloured(rng)
    expected = 2 * (image[..., 0] / 255) / SIZE**2
    found = explained(red_fake, face_of(image), method="layercam")
    np.testing.assert_allclose(found.heatmap * found.peak, expected, atol=1e-6)


def test_missed_evidence_is_reported(rng: np.random.Generator) -> None:
    """One place is evidence for fake, all others weakly against it: a mean gradient would be negative.

    HiResCAM, which is computed where the map is flattened, finds the place; a bias lies nowhere.
    """
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255, name="map")(image)
    dense = keras.layers.Dense(1)
    model = keras.Model(image, dense(keras.layers.Flatten()(x)))
    slope = np.full((SIZE, SIZE, 3), -0.1, np.float32)
    slope[2, 3] = 1
    dense.set_weights([slope.reshape(-1, 1), np.float32([0])])
    picture = np.zeros((SIZE, SIZE, 3), np.uint8)
    picture[2, 3] = 255
    classifier = small(model)
    found = explained(classifier, face_of(picture), layer="map")
    assert found.prediction.logit == pytest.approx(3)
    assert found.method == "hirescam"
    assert found.evidence == pytest.approx(3, rel=0.01)
    assert np.unravel_index(found.heatmap.argmax(), (SIZE, SIZE)) == (2, 3)
    assert not found.missed
    dense.set_weights([slope.reshape(-1, 1), np.float32([2])])
    black = explained(small(model), face_of(np.zeros_like(picture)), layer="map")
    assert black.prediction.logit == pytest.approx(2)
    assert black.empty
    assert black.missed
    assert "finds no place, though the score says fake: it may rest on the picture as a whole" in black.title
    # There is no evidence for real, and the score agrees.
    assert not explained(small(model), face_of(np.zeros_like(picture)), target="real", layer="map").missed


def test_gradcam_plus_plus_equals_hand_arithmetic(rng: np.random.Generator) -> None:
    """Equation 19 of the paper, its weights normalised over the places of positive gradient."""
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255, name="map")(image)
    dense = keras.layers.Dense(1)
    model = keras.Model(image, dense(keras.layers.Flatten()(x)))
    slope = rng.normal(0, 0.3, (SIZE, SIZE, 3))
    dense.set_weights([slope.reshape(-1, 1).astype(np.float32), np.float32([200])])
    picture = coloured(rng)
    channels = picture / 255
    for target, sign in (("fake", 1), ("real", -1)):
        positive = np.maximum(sign * slope, 0)
        alpha = np.where(positive > 0, 1 / (2 + positive * channels.sum(axis=(0, 1))), 0)
        weights = (alpha / alpha.sum(axis=(0, 1)) * positive).sum(axis=(0, 1))
        network = network_for(small(model), "gradcam++", "map")
        (found,) = network.on_input(picture[None].astype(np.float32), "gradcam++", target)
        np.testing.assert_allclose(found, channels @ weights, rtol=1e-4)


@pytest.mark.parametrize("method", GENERAL_METHODS)
@pytest.mark.parametrize("place", [(0, 0), (2, 5), (7, 7)])
def test_known_evidence_is_found(red_fake: Classifier, method: str, place: tuple[int, int]) -> None:
    image = np.zeros((SIZE, SIZE, 3), np.uint8)
    image[(*place, 0)] = 255
    heatmap = explained(red_fake, face_of(image), method=method).heatmap
    assert np.unravel_index(heatmap.argmax(), heatmap.shape) == place
    assert heatmap[place] == pytest.approx(1)
    assert np.count_nonzero(heatmap > 0.01) == 1


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("method", GENERAL_METHODS)
class TestContract:
    """Properties that every method must have, with and without a model that also scores the mirror image."""

    @pytest.fixture
    def model(self, mirror: bool) -> Classifier:
        return small(two_channel_model((2.0, -3.0)), mirror=mirror)

    def test_record(self, model: Classifier, method: str, rng: np.random.Generator) -> None:
        """Shape, dtype, range, names, and an untouched input."""
        image = reddish(rng, (13, 11))
        face = face_of(image)
        found = explained(model, face, method=method)
        assert found.heatmap.shape == (13, 11)
        assert found.heatmap.dtype == np.float32
        assert found.heatmap.min() >= 0
        assert found.heatmap.max() <= 1
        assert found.peak > 0
        assert (found.method, found.target, found.layer) == (method, "fake", default_layer(model, method))
        np.testing.assert_array_equal(face.frame.image, image)

    def test_no_positive_evidence_is_reported(self, model: Classifier, method: str) -> None:
        green = np.zeros((SIZE, SIZE, 3), np.uint8)
        green[..., 1] = np.arange(100, 164).reshape(SIZE, SIZE)
        found = explained(model, face_of(green), method=method)
        assert found.empty
        assert found.peak == 0
        assert not found.heatmap.any()
        assert found.title == f"{METHODS[method]} for fake at {found.layer}, no positive evidence"
        assert "no positive evidence" in replace(found, prediction=with_landmarks(found)).regions.sentence
        assert not explained(model, face_of(green), method=method, target="real").empty

    def test_a_constant_model(self, method: str, mirror: bool, rng: np.random.Generator) -> None:
        dumb = small(two_channel_model((0.0, 0.0)), mirror=mirror)
        assert all(
            explained(dumb, face_of(coloured(rng)), method=method, target=t).empty for t in ("fake", "real")
        )

    @pytest.mark.parametrize("level", [0, 255])
    def test_uniform_image(self, model: Classifier, method: str, level: int) -> None:
        """With all red at 255 the red channel adds exactly 2, where Grad-CAM++ has a pole for real."""
        image = np.zeros((SIZE, SIZE, 3), np.uint8)
        image[..., 0] = level
        found = {t: explained(model, face_of(image), method=method, target=t) for t in ("fake", "real")}
        assert found["fake"].empty == (level == 0)
        assert found["real"].empty
        np.testing.assert_allclose(found["fake"].heatmap, float(level > 0), atol=1e-5)

    def test_negating_the_model_swaps_the_targets(
        self, model: Classifier, method: str, mirror: bool, rng: np.random.Generator
    ) -> None:
        negated = small(two_channel_model((-2.0, 3.0)), mirror=mirror)
        face = face_of(coloured(rng))
        for one, other in (("fake", "real"), ("real", "fake")):
            a, b = (
                explained(model, face, method=method, target=one),
                explained(negated, face, method=method, target=other),
            )
            assert a.peak == pytest.approx(b.peak, rel=1e-5)
            np.testing.assert_allclose(a.heatmap, b.heatmap, atol=1e-5)

    def test_a_batch_equals_single_faces(
        self, model: Classifier, method: str, rng: np.random.Generator
    ) -> None:
        predictions = predict(model, [face_of(coloured(rng)) for _ in range(3)])
        together = explain(model, predictions, method)
        assert [e.prediction for e in together] == predictions
        for prediction, found in zip(predictions, together, strict=True):
            alone = explain(model, prediction, method)
            np.testing.assert_allclose(found.heatmap, alone.heatmap, atol=1e-5)
            assert found.peak == pytest.approx(alone.peak, rel=1e-5)
        assert explain(model, [], method) == []

    def test_deterministic(self, model: Classifier, method: str, rng: np.random.Generator) -> None:
        face = face_of(coloured(rng))
        one, other = (explained(model, face, method=method).heatmap for _ in range(2))
        np.testing.assert_array_equal(one, other)

    def test_a_named_layer_is_used(self, model: Classifier, method: str, rng: np.random.Generator) -> None:
        picture = model.keras_model.inputs[0]._keras_history.operation.name
        for layer in ("conv", picture):
            found = explained(model, face_of(reddish(rng)), method=method, layer=layer)
            assert found.layer == layer
            assert f"at {layer}, " in found.title


def test_title_states_method_target_layer_and_what_the_map_carries(red_fake: Classifier) -> None:
    red = np.zeros((SIZE, SIZE, 3), np.uint8)
    red[..., 0] = 255
    found = explained(red_fake, face_of(red))
    assert found.title == (
        "Grad-CAM for fake at conv, +2.0 log-odds; without the marked places P(fake) would be about 0.50 "
        "instead of 0.88"
    )
    assert found.plain_title == found.title.replace(" at conv", "")
    # All of the picture carries the whole logit, and any place of it as much.
    assert (found.evidence, found.intensity) == (pytest.approx(2), pytest.approx(2))
    assert found.shaded() == pytest.approx(np.full((SIZE, SIZE), 0.5))
    assert found.shaded("peak").max() == 1


def test_heatmap_lies_on_the_crop_with_its_margin() -> None:
    """A face in the corner of a frame: a margin clipped at the edge, and the evidence at its own pixels."""
    image = np.zeros((40, 60, 3), np.uint8)
    image[20:24, 10:14, 0] = 255
    classifier = small(two_channel_model((1.0, 0.0), 32), 32)
    face = Face(Frame(image), (4, 12, 24, 32), margin=0.5)
    found = explained(classifier, face)
    left, top, right, bottom = face.crop_box()
    assert found.margin == 0.5
    assert found.heatmap.shape == (bottom - top, right - left)
    row, column = np.unravel_index(found.heatmap.argmax(), found.heatmap.shape)
    assert 20 <= top + row < 24
    assert 10 <= left + column < 14


@pytest.mark.slow
@pytest.mark.parametrize("method", GENERAL_METHODS)
def test_sequential_nested_and_flat_models_have_the_same_heatmap(
    method: str, rng: np.random.Generator
) -> None:
    size = (16, 16, 3)
    image = keras.Input(size)
    first = keras.layers.Conv2D(
        4, 3, activation="relu", padding="same", name="inner_conv", bias_initializer="ones"
    )
    last = keras.layers.Conv2D(3, 3, activation="relu", name="last_map", bias_initializer="ones")
    positive = keras.initializers.RandomUniform(0, 1, seed=0)
    head = [keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(1, kernel_initializer=positive)]
    backbone = keras.Model(image, last(first(image)), name="backbone")
    outer = keras.Input(size)
    models = [
        keras.Model(image, head[1](head[0](backbone.layers[-1].output))),
        keras.Sequential([keras.Input(size), first, last, *head]),
        keras.Sequential([keras.Input(size), backbone, *head]),
        keras.Model(outer, head[1](head[0](backbone(outer)))),
    ]
    face = face_of(rng.integers(0, 256, size))
    one_weight = method in ("gradcam++", "scorecam")  # refused where a convolution follows
    for layer in (None, "last_map") if one_weight else (None, "inner_conv", "last_map"):
        flat, *others = (explained(small(m, 16), face, method=method, layer=layer) for m in models)
        assert not flat.empty
        for other in others:
            assert other.peak == pytest.approx(flat.peak, rel=1e-4)
            np.testing.assert_allclose(other.heatmap, flat.heatmap, atol=1e-4)


def test_a_layer_that_paths_bypass(rng: np.random.Generator) -> None:
    """A residual branch: the skip connection still reaches the logit; the map shows what the branch adds."""
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    branch = keras.layers.Conv2D(3, 1, use_bias=False, name="branch")
    dense = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(
        image, dense(keras.layers.GlobalAveragePooling2D()(keras.layers.Add()([x, branch(x)])))
    )
    branch.set_weights([2 * np.eye(3, dtype=np.float32)[None, None]])
    dense.set_weights([np.array([[1.0], [0], [0]], np.float32)])
    classifier = small(model)
    assert default_layer(classifier, "gradcam") != "branch"
    picture = coloured(rng)
    found = explained(classifier, face_of(picture), layer="branch")
    np.testing.assert_allclose(found.heatmap * found.peak, picture[..., 0] / 127.5 / SIZE**2, atol=1e-6)


def test_a_mirrored_score_has_a_mirrored_explanation(rng: np.random.Generator) -> None:
    """Layer-CAM of a model that weighs each place by itself: the mean over both ways to lay the weights."""
    image = keras.Input((SIZE, SIZE, 3))
    dense = keras.layers.Dense(1)
    x = keras.layers.Rescaling(1 / 255, name="map")(image)
    model = keras.Model(image, dense(keras.layers.Flatten()(x)))
    slope = rng.normal(0, 1, (SIZE, SIZE, 3))
    dense.set_weights([slope.reshape(-1, 1).astype(np.float32), np.zeros(1, np.float32)])
    picture = coloured(rng)
    found = explained(small(model, mirror=True), face_of(picture), method="layercam", layer="map")
    one, other = np.maximum(slope, 0), np.maximum(slope[:, ::-1], 0)
    expected = ((one + other) / 2 * picture / 255).sum(axis=-1)
    np.testing.assert_allclose(found.heatmap * found.peak, expected, rtol=1e-4)


def test_order_of_explained_layers_does_not_matter(rng: np.random.Generator) -> None:
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(3, 3, activation="relu", padding="same", name="a")(image)
    x = keras.layers.Add(name="b")([x, keras.layers.Conv2D(3, 3, padding="same", name="c")(x)])
    model = keras.Model(image, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    classifier, face = small(model), face_of(coloured(rng))
    one, other = ([explained(classifier, face, layer=name) for name in names] for names in ("abc", "cab"))
    for found, again in ((one[0], other[1]), (one[1], other[2]), (one[2], other[0])):
        assert found.layer == again.layer
        np.testing.assert_array_equal(found.heatmap, again.heatmap)
    assert default_layer(classifier, "gradcam") == "b"


def test_a_model_trained_in_mixed_precision(rng: np.random.Generator) -> None:
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(3, 3, activation="relu", name="map", dtype="mixed_bfloat16")(image)
    model = keras.Model(image, keras.layers.Dense(1)(keras.layers.GlobalAveragePooling2D()(x)))
    for target in ("fake", "real"):
        assert explained(small(model), face_of(coloured(rng)), target=target).layer == "map"


def test_mirrored_maps_are_averaged_before_clipping(rng: np.random.Generator) -> None:
    """An edge filter has the opposite response on the mirror image, so that the mean is zero."""
    image = keras.Input((SIZE, SIZE, 3))
    edges = keras.layers.Conv2D(1, 3, padding="same", use_bias=False, name="edges")
    dense = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(edges(image))))
    kernel = np.zeros((3, 3, 3, 1), np.float32)
    kernel[1, 0], kernel[1, 2] = 1, -1
    edges.set_weights([kernel])
    dense.set_weights([np.ones((1, 1), np.float32)])
    face = face_of(coloured(rng))
    assert not explained(small(model), face).empty
    assert explained(small(model, mirror=True), face).peak == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("method", GENERAL_METHODS)
def test_the_logit_is_explained_not_the_probability(method: str) -> None:
    """The sigmoid of a confident model is flat; its heatmap must neither vanish nor overflow."""
    face = patch_face(3, 3)
    moderate, confident = (
        explained(small(two_channel_model((weight, 0.0))), face, method=method) for weight in (1.0, 10_000.0)
    )
    np.testing.assert_allclose(moderate.heatmap, confident.heatmap, atol=1e-5)
    assert confident.heatmap.argmax() == 3 * SIZE + 3


def test_non_finite_maps_are_rejected(red_fake: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    prediction = predict(red_fake, [patch_face(0, 0)])[0]
    raw = np.full((1, SIZE, SIZE), np.nan, np.float32)
    monkeypatch.setattr(network_for(red_fake, "gradcam"), "on_input", lambda *_: raw)
    with pytest.raises(ValueError, match="not finite"):
        explain(red_fake, prediction)


@pytest.mark.parametrize("method", GENERAL_METHODS)
def test_network_is_split_once_and_never_retraces(
    red_fake: Classifier, method: str, rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keras layers run as Python only while a graph is traced; afterwards the compiled graph runs."""

    def call(count: int) -> None:
        explain(red_fake, predict(red_fake, [face_of(coloured(rng)) for _ in range(count)]), method)

    traced: list[str] = []

    def spied(kind: type, run):
        def spy(self, *args, **kwargs):
            traced.append(self.name)
            return run(self, *args, **kwargs)

        monkeypatch.setattr(kind, "call", spy)

    for kind in (keras.layers.Conv2D, keras.layers.GlobalAveragePooling2D, keras.layers.Dense):
        spied(kind, kind.call)
    monkeypatch.delitem(_networks, red_fake, raising=False)
    call(1)
    assert {"conv", "logit"} <= set(traced)
    network = network_for(red_fake, method)
    traced.clear()
    for count in [1, 2, 3, 4] * 5:
        call(count)
    assert traced == []
    assert network_for(red_fake, method) is network


def test_network_is_freed_with_its_classifier() -> None:
    classifier = small(two_channel_model((1.0, 0.0)))
    explained(classifier, patch_face(1, 1))
    network = weakref.ref(network_for(classifier, "gradcam"))
    del classifier
    gc.collect()
    assert network() is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "magic"}, "unknown method 'magic'; there are gradcam"),
        ({"method": "gradcm"}, "Did you mean 'gradcam'"),
        ({"target": "both"}, "unknown target 'both'; there are fake, real"),
        ({"layer": "nowhere"}, "no layer 'nowhere'"),
        ({"layer": "logit"}, "not a feature map .* such as .*conv"),
    ],
)
def test_bad_arguments(red_fake: Classifier, options: dict, message: str) -> None:
    prediction = Prediction(patch_face(0, 0), 0.0)
    for method in [options["method"]] if "method" in options else GENERAL_METHODS:
        with pytest.raises(UnknownChoice, match=message) as caught:
            explain(red_fake, prediction, **{"method": method, **options})
        assert isinstance(caught.value, ValueError)
