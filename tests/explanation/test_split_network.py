"""Raw maps of all methods, by hand arithmetic and compared with tf-keras-vis."""

from __future__ import annotations

import warnings

import keras
import numpy as np
import pytest

from redeepfake_nb import Card, Classifier, Preprocessing
from redeepfake_nb.explanation import split_network as m
from redeepfake_nb.explanation.method_choice import default_layer
from redeepfake_nb.explanation.methods import GENERAL_METHODS

SIDE = 5


def weight_per_place(slope: np.ndarray, pool: int = 2) -> keras.Model:
    """A 10 x 10 image is averaged to a 5 x 5 map; the logit has one weight per place and channel."""
    size = SIDE * pool
    image = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.AveragePooling2D(pool, name="map")(x)
    dense = keras.layers.Dense(1)
    model = keras.Model(image, dense(keras.layers.Flatten()(x)))
    dense.set_weights([slope.reshape(-1, 1).astype(np.float32), np.float32([0.3])])
    return model


def classifier_of(model: keras.Model, **card: object) -> Classifier:
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=model.inputs[0].shape[1], **card)))


def network(model: keras.Model, layer: str | None, **card: object) -> m.SplitNetwork:
    """Split at a layer, or at the picture."""
    classifier = classifier_of(model, **card)
    return m.SplitNetwork(classifier, layer or default_layer(classifier, "saliency"))


def pooled(picture: np.ndarray) -> np.ndarray:
    """(10, 10, c) 0..255 -> (5, 5, c) 0..1."""
    return picture.reshape(SIDE, 2, SIDE, 2, -1).mean(axis=(1, 3)) / 255


def enlarged(cells: np.ndarray) -> np.ndarray:
    """(5, 5) -> (10, 10), linear between the cells' centres."""
    rows = np.zeros((2 * SIDE, SIDE))
    for i in range(2 * SIDE):
        place = min(max((i + 0.5) / 2 - 0.5, 0), SIDE - 1)
        low = min(int(place), SIDE - 2)
        rows[i, low : low + 2] = 1 - (place - low), place - low
    return rows @ cells @ rows.T


@pytest.mark.parametrize("target", ["fake", "real"])
@pytest.mark.parametrize("method", GENERAL_METHODS)
def test_five_by_five_by_hand(method: str, target: str, rng: np.random.Generator) -> None:
    slope = rng.normal(0, 0.3, (SIDE, SIDE, 3)).astype(np.float32)
    picture = rng.integers(0, 256, (10, 10, 3)).astype(np.float32)
    maps, signed = pooled(picture), slope if target == "fake" else -slope
    positive = np.maximum(signed, 0)
    if method == "gradcam":
        expected = maps @ signed.mean(axis=(0, 1))
    elif method == "gradcam++":
        alpha = np.where(positive > 0, 1 / (2 + positive * maps.sum(axis=(0, 1))), 0)
        expected = maps @ (alpha / alpha.sum(axis=(0, 1)) * positive).sum(axis=(0, 1))
    elif method == "layercam":
        expected = (maps * positive).sum(axis=-1)
    elif method in ("saliency", "hirescam"):
        expected = (maps * signed).sum(axis=-1)
    else:
        expected = np.zeros((SIDE, SIDE))
        for channel in maps.transpose(2, 0, 1):
            mask = enlarged(channel)
            mask = (mask - mask.min()) / (mask.max() - mask.min())
            expected += (pooled(picture * mask[..., None]) * signed).sum() * channel
    found = network(weight_per_place(slope), "map").maps(picture[None], method, target)
    assert found.shape == (1, SIDE, SIDE)
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.maximum(found[0], 0), np.maximum(expected, 0), rtol=1e-3, atol=1e-5)


def test_saliency_of_the_picture_by_hand(rng: np.random.Generator) -> None:
    """Each pixel has a quarter of its cell's weight; noise changes no gradient of a linear model."""
    slope = rng.normal(0, 0.3, (SIDE, SIDE, 3)).astype(np.float32)
    picture = rng.integers(0, 256, (10, 10, 3)).astype(np.float32)
    found = network(weight_per_place(slope), None).maps(picture[None], "saliency", "fake")
    each = np.repeat(np.repeat(slope, 2, axis=0), 2, axis=1) / 4 * picture / 255
    np.testing.assert_allclose(found[0], each.sum(axis=-1), rtol=1e-4, atol=1e-6)


def test_saliency_is_averaged_over_noise() -> None:
    """f(x) = x * x has the gradient 2 x, of which noise around x leaves 2 x; a single copy would not."""
    image = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    square = keras.layers.Multiply()([x, x])
    dense = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(square)))
    dense.set_weights([np.ones((3, 1), np.float32)])
    picture = np.zeros((1, 8, 8, 3), np.float32)
    picture[:, :, 4:] = 255
    found = network(model, None).maps(picture, "saliency", "fake")[0]
    # Three colours, 2 * 1 each, over 64 pixels.
    spread = 3 * 2 * m.SMOOTHGRAD_NOISE / np.sqrt(3 * m.SMOOTHGRAD_SAMPLES) / 64
    right = found[:, 4:]
    np.testing.assert_allclose(found[:, :4], 0, atol=1e-7)
    assert right.mean() == pytest.approx(6 / 64, abs=4 * spread / np.sqrt(32))
    assert 0.5 * spread < right.std() < 2 * spread


def test_fine_saliency_is_averaged_to_cells(rng: np.random.Generator) -> None:
    size = 2 * m.SALIENCY_GRID
    image = keras.Input((size, size, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    dense = keras.layers.Dense(1, use_bias=False)
    model = keras.Model(image, dense(keras.layers.Flatten()(x)))
    slope = rng.normal(0, 1, (size, size, 3)).astype(np.float32)
    dense.set_weights([slope.reshape(-1, 1)])
    picture = rng.integers(0, 256, (size, size, 3)).astype(np.float32)
    found = network(model, None).maps(picture[None], "saliency", "real")[0]
    cells = (slope * picture / 255).sum(axis=-1).reshape(size // 2, 2, size // 2, 2).mean(axis=(1, 3))
    np.testing.assert_allclose(found, -cells, rtol=1e-3, atol=1e-4)


def test_score_cam_equals_that_of_tf_keras_vis(rng: np.random.Generator) -> None:
    """Theirs sees a softmax of two outputs; the logit is recovered as log-odds, minus those of black."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        from tf_keras_vis.scorecam import Scorecam
    import tensorflow as tf

    image = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    x = keras.layers.Conv2D(4, 3, padding="same", activation="relu", name="map")(x)
    x = keras.layers.Dense(1)(keras.layers.Flatten()(keras.layers.Activation("tanh")(x)))
    model = keras.Model(image, x)
    two = keras.Model(image, keras.layers.Concatenate()([keras.layers.Rescaling(0.0)(x), x]))
    picture = rng.integers(0, 256, (1, 8, 8, 3)).astype(np.float32)
    black = float(np.asarray(model(np.zeros_like(picture)))[0, 0])
    with warnings.catch_warnings():
        # It gives Keras a list where there is one input.
        warnings.simplefilter("ignore", UserWarning)
        theirs = Scorecam(two, clone=False)(
            lambda p: tf.math.log(p[:, 1] / p[:, 0]) - black,
            picture,
            penultimate_layer="map",
            seek_penultimate_conv_layer=False,
            activation_modifier=None,
            expand_cam=False,
            normalize_cam=False,
        )
    ours = network(model, "map").maps(picture, "scorecam", "fake")
    np.testing.assert_allclose(ours, theirs, rtol=1e-3, atol=1e-4)


def test_score_cam_uses_the_maps_that_vary_most(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The constant map comes last; its mask hides nothing, so that its weight is the whole logit."""
    slope = rng.uniform(0, 0.3, (SIDE, SIDE, 3)).astype(np.float32)
    picture = rng.integers(0, 256, (1, 10, 10, 3)).astype(np.float32)
    picture[..., 1] = 102
    split = network(weight_per_place(slope), "map")
    every = split.maps(picture, "scorecam", "fake")
    monkeypatch.setattr(m, "_FORWARD_BATCH", 2)
    np.testing.assert_allclose(split.maps(picture, "scorecam", "fake"), every, rtol=1e-5)
    monkeypatch.setattr(m, "SCORECAM_MAPS", 2)
    fewer = split.maps(picture, "scorecam", "fake")
    np.testing.assert_allclose(every - fewer, 0.4 * (pooled(picture[0]) * slope).sum(), rtol=1e-3)


@pytest.mark.parametrize("method", GENERAL_METHODS)
def test_value_range_does_not_matter(method: str, rng: np.random.Generator) -> None:
    """0..255 or -1..1: the same network on the same images has the same maps."""
    positive = keras.initializers.RandomUniform(0, 1, seed=0)
    conv = keras.layers.Conv2D(3, 3, kernel_initializer=positive, padding="same", name="map")
    dense = keras.layers.Dense(1, kernel_initializer=positive)
    pixels = rng.integers(0, 256, (2, 8, 8, 3)).astype(np.float32)
    found = []
    for low, high, rescale in ((0.0, 255.0, (1 / 255, 0.0)), (-1.0, 1.0, (0.5, 0.5))):
        image = keras.Input((8, 8, 3), name="picture")
        x = keras.layers.Rescaling(*rescale)(image)
        model = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(conv(x))))
        layer = "picture" if method == "saliency" else "map"
        split = network(model, layer, value_range=(low, high))
        maps = split.maps((pixels / 255 * (high - low) + low).astype(np.float32), method, "fake")
        found.append(maps)
    assert found[0].max() > 0
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)
