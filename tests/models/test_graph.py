"""Flattened models compute what they did before, and end in one logit that means fake."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

from redeepfake_nb import UnsuitableModel
from redeepfake_nb.models.graph import flatten, is_cut, spatial_cut_layer


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


def test_two_inputs_and_two_outputs_are_refused() -> None:
    a, b = keras.Input((4,)), keras.Input((4,))
    with pytest.raises(UnsuitableModel, match="2 inputs"):
        flatten(keras.Model([a, b], layers.Add()([a, b])))
    two = [layers.Dense(1, name="label")(a), layers.Dense(1, name="mask")(a)]
    with pytest.raises(UnsuitableModel, match=r"2 outputs, not one: label, mask.*model\.outputs\[0\]"):
        flatten(keras.Model(a, two))
    with pytest.raises(UnsuitableModel, match="2 outputs, not one: fake, real"):
        flatten(keras.Model(a, {"real": two[0], "fake": two[1]}))


def test_dictionaries_of_one_are_taken(rng: np.random.Generator) -> None:
    """A single input or output may have a name, alone and inside another model."""
    image = keras.Input((4,), name="face")
    named = keras.Model({"face": image}, {"fake": layers.Dense(1)(image)})
    outer = keras.Input((4,))
    x = rng.random((3, 4)).astype(np.float32)
    expected = np.asarray(named({"face": x})["fake"])
    np.testing.assert_array_equal(run(flatten(named), x), expected)
    around = keras.Model(outer, layers.Rescaling(2.0)(named({"face": outer})["fake"]))
    np.testing.assert_allclose(run(flatten(around), x), 2 * expected, rtol=1e-6)


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
    image = keras.Input((4, 4, 3))
    with pytest.raises(UnsuitableModel, match="no spatial feature map"):
        spatial_cut_layer(keras.Model(image, layers.Dense(1)(layers.Flatten()(image))))


def test_statistics_of_normalization_are_kept() -> None:
    """(x - 2) / 3 by statistics that were adapted, (y - 1) / 2 by given ones."""
    adapted = keras.layers.Normalization()
    adapted.adapt(np.repeat(np.float32([-1, 5]), 12).reshape(2, 2, 2, 3))
    image = keras.Input((2, 2, 3))
    x = keras.layers.Normalization(mean=1.0, variance=4.0)(adapted(image))
    flat = flatten(keras.Model(image, keras.layers.GlobalAveragePooling2D()(x)))
    found = np.asarray(flat(np.full((1, 2, 2, 3), 11, np.float32)))
    np.testing.assert_allclose(found, np.full((1, 3), ((11 - 2) / 3 - 1) / 2), rtol=1e-5)
