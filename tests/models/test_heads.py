"""What a network returns becomes one logit that means fake, or is refused in true words."""

from __future__ import annotations

import re

import keras
import numpy as np
import pytest
from keras import layers

from redeepfake_nb import Card, Classifier, Preprocessing, UnsuitableModel
from redeepfake_nb.models.heads import as_logit_model, infer_output


def run(model: keras.Model, x: np.ndarray) -> np.ndarray:
    return np.asarray(model(x, training=False))


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
        ([layers.Dense(2, activation="softmax"), layers.Activation("linear")], "softmax"),
        ([layers.Dense(2, activation="softmax"), layers.Dropout(0.5)], "softmax"),
        ([layers.Dense(1, activation="sigmoid"), layers.Reshape((1, 1, 1))], "probability"),
        ([layers.Dense(1, activation="sigmoid"), layers.Flatten()], "probability"),
    ],
    ids=[
        "dense sigmoid",
        "sigmoid layer",
        "dense softmax",
        "softmax layer",
        "softmax activation",
        "sigmoid operation",
        "softmax operation",
        "softmax cast",
        "softmax dropout",
        "sigmoid of another shape",
        "sigmoid flattened",
    ],
)
def test_probabilities_become_logits(last: list, output: str, rng: np.random.Generator) -> None:
    model = ending_in(*last)
    x = rng.random((5, 4, 4, 3)).astype(np.float32)
    expected = log_odds(run(model, x).reshape(5, -1)[:, -1].astype(np.float64))
    assert infer_output(model) == output
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


def test_two_logits_give_the_logit_of_their_softmax(rng: np.random.Generator) -> None:
    model = ending_in(layers.Dense(2))
    x = rng.random((5, 4, 4, 3)).astype(np.float32)
    z = run(model, x)
    assert infer_output(model) == "logit"
    expected = z[:, 1] - z[:, 0]
    for positive, sign in (("fake", 1), ("real", -1)):
        found = run(as_logit_model(model, "logit", positive), x)[:, 0]
        np.testing.assert_allclose(found, sign * expected, atol=1e-6)
    logs = ending_in(*model.layers[2:], keras.ops.log_softmax)
    assert infer_output(logs) == "softmax"
    np.testing.assert_allclose(run(as_logit_model(logs, "softmax", "fake"), x)[:, 0], expected, atol=1e-5)


def test_two_sigmoids_give_the_mean_of_what_they_say(rng: np.random.Generator) -> None:
    """The larger column decides, as it does for whoever takes the argmax."""
    model = ending_in(layers.Dense(2, activation="sigmoid"))
    x = rng.random((5, 4, 4, 3)).astype(np.float32)
    p = run(model, x).astype(np.float64)
    expected = (log_odds(p[:, 1]) - log_odds(p[:, 0])) / 2
    assert infer_output(model) == "probability"
    np.testing.assert_allclose(
        run(as_logit_model(model, "probability", "fake"), x)[:, 0], expected, atol=1e-5
    )
    np.testing.assert_allclose(
        run(as_logit_model(model, "probability", "real"), x)[:, 0], -expected, atol=1e-5
    )


def test_convolutional_heads(rng: np.random.Generator) -> None:
    """One score of the shape (batch, 1, 1, 1)."""
    image = keras.Input((4, 4, 3))
    model = keras.Model(image, layers.Conv2D(1, 4, activation="sigmoid")(image))
    x = rng.random((5, 4, 4, 3)).astype(np.float32)
    found = run(as_logit_model(model, infer_output(model), "fake"), x)
    assert found.shape == (5, 1)
    np.testing.assert_allclose(found[:, 0], log_odds(run(model, x).ravel().astype(np.float64)), atol=1e-5)


SIGMOID = layers.Dense(1, activation="sigmoid", name="p")
SOFTMAX = layers.Dense(2, activation="softmax", name="p")
REFUSED = [
    ([SIGMOID], "logit", 'so its output is a probability, not a logit. Give output="probability"'),
    ([layers.Dense(1), keras.ops.sigmoid], "logit", 'Give output="probability"'),
    ([layers.Dense(1)], "probability", 'Give output="logit"'),
    ([layers.Dense(2)], "softmax", 'Give output="logit"'),
    ([layers.Dense(2, activation="sigmoid")], "softmax", 'Give output="probability"'),
    ([SOFTMAX], "logit", 'Give output="softmax"'),
    ([layers.Dense(1, activation="softmax")], "softmax", "is 1 for every image"),
    ([layers.Dense(1, activation="tanh")], "logit", "neither a logit nor a probability"),
    ([layers.Dense(1), layers.ReLU()], "logit", "neither a logit nor a probability"),
    ([layers.Dense(1000)], "softmax", "1000 values (shape (None, 1000))"),
    ([layers.Reshape((4, 4, 3)), layers.Conv2D(1, 1)], "logit", "a map of 4 x 4 values"),
    ([SIGMOID, lambda x: 1 - x], "logit", "from the values of p (sigmoid) by subtract"),
    ([SOFTMAX, layers.Rescaling(2.0)], "logit", "from the values of p (softmax) by rescaling"),
]


@pytest.mark.parametrize(("last", "output", "message"), REFUSED, ids=[case[2] for case in REFUSED])
def test_other_outputs_are_refused(last: list, output: str, message: str) -> None:
    with pytest.raises(UnsuitableModel, match=re.escape(message)):
        as_logit_model(ending_in(*last), output, "fake")


def test_mean_of_probabilities_is_no_logit() -> None:
    """As of several models joined by Average."""
    image = keras.Input((4,))
    parts = [keras.Model(image, layers.Dense(1, activation="sigmoid")(image), name=n) for n in "ab"]
    joined = keras.Model(image, layers.Average()([part(image) for part in parts]))
    with pytest.raises(UnsuitableModel, match="of several joined models, each on its own"):
        as_logit_model(joined, infer_output(joined), "fake")
    gated = keras.Model(image, layers.Multiply()([layers.Dense(1)(image), parts[0](image)]))
    assert as_logit_model(gated, "logit", "fake").output_shape == (None, 1)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((16, 12, 3), r"16 x 12 px \(height x width\), and faces are given as squares"),
        ((16, 16, 1), "so it takes grey images"),
        ((3, 16, 16), "so its channels come first"),
        ((5, 16, 16, 1), "so it takes grey images"),
        ((5, 3, 16, 16), "so it takes several frames at once with their channels first"),
        ((5, 64), "so it takes features that another network computes"),
    ],
)
def test_inputs_that_are_no_square_of_colours(shape: tuple[int, ...], message: str) -> None:
    image = keras.Input(shape)
    model = keras.Model(image, layers.Dense(1)(layers.Flatten()(image)))
    with pytest.raises(UnsuitableModel, match=message):
        Classifier(model, Card(preprocessing=Preprocessing(input_size=16)))


def test_advice_for_an_input_that_is_no_square(rng: np.random.Generator) -> None:
    image = keras.Input((16, 12, 3))
    model = keras.Model(image, layers.Dense(1)(layers.Flatten()(image)))
    settings = Card(preprocessing=Preprocessing(input_size=16))
    with pytest.raises(UnsuitableModel) as caught:
        Classifier(model, settings)
    code = re.search(r"keras\.Sequential\(.*\]\)", caught.value.next_step)[0]
    squares = eval(code, {"keras": keras, "model": model})
    x = rng.random((2, 16, 16, 3)).astype(np.float32)
    np.testing.assert_allclose(Classifier(squares, settings).logits(x), run(squares, x)[:, 0], rtol=1e-5)
