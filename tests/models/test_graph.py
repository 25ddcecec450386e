"""Flattened models compute what they did before, and end in one logit that means fake."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from redeepfake_nb import UnsuitableModel
from redeepfake_nb.models.graph import as_logit_model, flatten, is_cut, spatial_cut_layer


def run(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(model(x, training=False))


def inner(name: str = "inner") -> keras.Model:
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, activation="relu", name="conv")(image)
    x = layers.BatchNormalization(name="norm")(x)
    return keras.Model(image, layers.GlobalAveragePooling2D(name="pool")(x), name=name)


def sequential() -> keras.Model:
    return keras.Sequential([keras.Input((12, 12, 3)), inner(), layers.Dropout(0.5), layers.Dense(1)])


def functional() -> keras.Model:
    image = keras.Input((12, 12, 3))
    return keras.Model(image, layers.Dense(1)(inner()(layers.Rescaling(1 / 255)(image))))


def twice_nested() -> keras.Model:
    image = keras.Input((12, 12, 3))
    parts = [keras.Input((12, 12, 3)), inner(), layers.Dense(5, name="dense")]
    middle = keras.Sequential(parts, name="middle")
    return keras.Model(image, layers.Dense(1, name="dense")(middle(image)))


def shared_twice() -> keras.Model:
    image, part = keras.Input((12, 12, 3)), inner()
    both = layers.Add()([part(image), part(layers.Rescaling(-1.0)(image))])
    return keras.Model(image, layers.Dense(1)(both))


def with_operations() -> keras.Model:
    image = keras.Input((12, 12, 3))
    return keras.Model(image, layers.Dense(1)(keras.ops.mean(keras.ops.relu(image - 0.5), axis=(1, 2))))


@pytest.mark.parametrize("build", [sequential, functional, twice_nested, shared_twice, with_operations])
def test_flat_model_computes_the_same(build, rng: np.random.Generator) -> None:
    model = build()
    for weight in model.weights:  # moving statistics that are not the neutral ones
        weight.assign(rng.uniform(0.1, 0.9, weight.shape))
    x = rng.random((3, 12, 12, 3)).astype(np.float32)
    flat = flatten(model)
    assert not [layer for layer in flat.layers if isinstance(layer, keras.Model)]
    np.testing.assert_allclose(run(flat, x), run(model, x), rtol=1e-6)


def test_clashing_layer_names_become_unique() -> None:
    names = [layer.name for layer in flatten(twice_nested()).layers]
    assert len(set(names)) == len(names)
    assert {"dense", "conv"} <= set(names)


def test_flat_model_has_its_own_weights(rng: np.random.Generator) -> None:
    model = functional()
    x = rng.random((1, 12, 12, 3)).astype(np.float32)
    flat = flatten(model)
    before = run(model, x)
    for weight in flat.weights:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(run(model, x), before)


def log_odds(p: np.ndarray) -> np.ndarray:
    return np.log(p / (1 - p))


def ending_in(*last) -> keras.Model:
    """Layers or plain operations on a flat picture."""
    image = keras.Input((4, 4, 3))
    x = layers.Flatten()(image)
    for step in last:
        x = step(x)
    return keras.Model(image, x)


@pytest.mark.parametrize(
    ("last", "output"),
    [
        ([layers.Dense(1, activation="sigmoid")], "probability"),
        ([layers.Dense(1), layers.Activation("sigmoid")], "probability"),
        ([layers.Dense(2, activation="softmax")], "softmax"),
        ([layers.Dense(2), layers.Softmax()], "softmax"),
        ([layers.Dense(2), layers.Activation("softmax")], "softmax"),
        ([layers.Dense(1), keras.ops.sigmoid], "probability"),
        ([layers.Dense(2), keras.ops.softmax], "softmax"),
    ],
    ids=[
        "dense sigmoid",
        "sigmoid layer",
        "dense softmax",
        "softmax layer",
        "softmax activation",
        "sigmoid operation",
        "softmax operation",
    ],
)
def test_probabilities_become_logits(last: list, output: str, rng: np.random.Generator) -> None:
    model = ending_in(*last)
    x = rng.random((5, 4, 4, 3)).astype(np.float32)
    expected = log_odds(run(model, x)[:, -1].astype(np.float64))
    np.testing.assert_allclose(run(as_logit_model(model, output, "fake"), x)[:, 0], expected, atol=1e-5)
    np.testing.assert_allclose(run(as_logit_model(model, output, "real"), x)[:, 0], -expected, atol=1e-5)


def test_logits_stay_or_are_negated(rng: np.random.Generator) -> None:
    model = ending_in(layers.Dense(1))
    x = rng.random((5, 4, 4, 3)).astype(np.float32)
    np.testing.assert_array_equal(run(as_logit_model(model, "logit", "fake"), x), run(model, x))
    np.testing.assert_array_equal(run(as_logit_model(model, "logit", "real"), x), -run(model, x))


def test_a_saturated_sigmoid_keeps_its_logit() -> None:
    model = ending_in(layers.Dense(1, activation="sigmoid"))
    model.layers[-1].set_weights([np.full((48, 1), 2.0, np.float32), np.zeros(1, np.float32)])
    x = np.ones((1, 4, 4, 3), np.float32)
    assert run(model, x)[0, 0] == 1
    assert run(as_logit_model(model, "probability", "fake"), x)[0, 0] == pytest.approx(96)


@pytest.mark.parametrize(
    ("last", "output", "message"),
    [
        ([layers.Dense(1, activation="sigmoid")], "logit", "ends in a sigmoid"),
        ([layers.Dense(1), keras.ops.sigmoid], "logit", "ends in a sigmoid"),
        ([layers.Dense(1, activation="tanh")], "logit", "ends in a tanh"),
        ([layers.Dense(1)], "probability", "not in a sigmoid"),
        ([layers.Dense(2)], "softmax", "not in a softmax"),
        ([layers.Dense(2)], "logit", r"shape \(None, 2\)"),
        ([layers.Dense(1000)], "softmax", r"shape \(None, 1000\)"),
    ],
)
def test_output_that_does_not_match_is_refused(last: list, output: str, message: str) -> None:
    with pytest.raises(UnsuitableModel, match=message):
        as_logit_model(ending_in(*last), output, "fake")


def test_two_inputs_and_two_outputs_are_refused() -> None:
    a, b = keras.Input((4,)), keras.Input((4,))
    with pytest.raises(UnsuitableModel, match="2 inputs"):
        flatten(keras.Model([a, b], layers.Add()([a, b])))
    with pytest.raises(UnsuitableModel, match="2 outputs"):
        flatten(keras.Model(a, [layers.Dense(1)(a), layers.Dense(1)(a)]))


class Subclassed(keras.Model):
    def __init__(self) -> None:
        super().__init__()
        self.dense = layers.Dense(1)

    def call(self, x):
        return self.dense(x)


def test_subclassed_models_are_refused() -> None:
    run_once = Subclassed()
    run_once(np.zeros((1, 4), np.float32))
    inside = keras.Sequential([keras.Input((4,)), Subclassed()])
    for model in (Subclassed(), run_once, inside, keras.Sequential([layers.Dense(1)])):
        with pytest.raises(UnsuitableModel, match="cannot be seen from outside"):
            flatten(model)


def test_mixed_precision_becomes_float32(rng: np.random.Generator) -> None:
    image = keras.Input((12, 12, 3))
    x = layers.Conv2D(4, 3, dtype="mixed_bfloat16")(image)
    x = layers.GlobalAveragePooling2D(dtype="mixed_bfloat16")(x)
    model = keras.Model(image, layers.Dense(1, dtype="mixed_bfloat16")(x))
    x = rng.random((3, 12, 12, 3)).astype(np.float32)
    flat = flatten(model)
    assert {str(layer.compute_dtype) for layer in flat.layers} == {"float32"}
    np.testing.assert_allclose(run(flat, x), run(model, x).astype(np.float32), atol=0.02)


def residual() -> keras.Model:
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(4, 3, padding="same", name="stem")(image)
    branch = layers.Conv2D(4, 3, padding="same", name="branch")(x)
    x = layers.Add(name="sum")([x, branch])
    squeeze = layers.GlobalAveragePooling2D(keepdims=True, name="squeeze")(x)
    x = layers.Multiply(name="excite")([x, layers.Conv2D(4, 1, activation="sigmoid", name="gate")(squeeze)])
    return keras.Model(image, layers.Dense(1)(layers.GlobalAveragePooling2D()(x)))


def test_cut_is_the_deepest_map_on_all_paths() -> None:
    model = residual()
    assert spatial_cut_layer(model) == "excite"
    cuts = {layer.name for layer in model.layers if is_cut(model, layer.name)}
    assert {"stem", "sum", "excite"} <= cuts
    assert not {"branch", "squeeze", "gate"} & cuts


def test_operations_between_layers_are_part_of_the_graph() -> None:
    """A skip made of plain operations leads around the second convolution as one of layers does."""
    image = keras.Input((8, 8, 3))
    x = layers.Conv2D(3, 3, padding="same", name="first")(image)
    x = keras.ops.relu(x + layers.Conv2D(3, 3, padding="same", name="second")(x) * 0.5)
    model = keras.Model(image, layers.Dense(1)(keras.ops.mean(x, axis=(1, 2))))
    assert spatial_cut_layer(model) == "first"
    assert not is_cut(model, "second")


def test_a_layer_used_twice_is_no_cut() -> None:
    """All evidence crosses it, but in two maps, of which a heatmap would show one."""
    flat = flatten(shared_twice())
    assert not is_cut(flat, "norm")
    with pytest.raises(UnsuitableModel, match="no spatial feature map"):
        spatial_cut_layer(flat)


def test_without_a_map_there_is_no_cut() -> None:
    with pytest.raises(UnsuitableModel, match="no spatial feature map"):
        spatial_cut_layer(ending_in(layers.Dense(1)))


def test_statistics_of_normalization_are_kept() -> None:
    """(x - 2) / 3 by statistics that were adapted, (y - 1) / 2 by given ones."""
    adapted = keras.layers.Normalization()
    adapted.adapt(np.repeat(np.float32([-1, 5]), 12).reshape(2, 2, 2, 3))
    image = keras.Input((2, 2, 3))
    x = keras.layers.Normalization(mean=1.0, variance=4.0)(adapted(image))
    flat = flatten(keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)))
    found = np.asarray(flat(np.full((1, 2, 2, 3), 11, np.float32)))
    np.testing.assert_allclose(found, np.full((1, 3), ((11 - 2) / 3 - 1) / 2), rtol=1e-5)
