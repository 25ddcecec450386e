"""A second output that tells kinds of fakes apart: adding it, scoring with it, saving and loading it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from redeepfake_nb.errors import UnsuitableModel
from redeepfake_nb.faces.preprocessing import Preprocessing
from redeepfake_nb.models.architectures.builder import Head, build_model
from redeepfake_nb.models.card import Card
from redeepfake_nb.models.classifier import Classifier
from redeepfake_nb.models.kinds_output import KindsLayer, in_columns, with_kinds, without_kinds
from redeepfake_nb.models.loading import load_model, save_model

NAMES = ("generated", "swapped", "edited")
SIZE = 64


@pytest.fixture(scope="module")
def network():
    return build_model("EfficientNetLite0", input_size=SIZE)


@pytest.fixture(scope="module")
def kinds(network) -> KindsLayer:
    rng = np.random.default_rng(0)
    features = network.get_layer("logit").kernel.shape[0]
    return KindsLayer(
        rng.normal(0, 0.1, (features, 3)).astype(np.float32), np.array([0.5, 0.0, -0.5], np.float32)
    )


@pytest.fixture(scope="module")
def card() -> Card:
    return Card(preprocessing=Preprocessing(input_size=SIZE), kinds=NAMES, mirror=True, temperature=1.5)


@pytest.fixture(scope="module")
def faces() -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 255, (3, SIZE, SIZE, 3)).astype(np.float32)


def test_the_layer_comes_off_as_it_was_put_on(network, kinds) -> None:
    both = with_kinds(network, kinds)
    assert [tuple(output.shape) for output in both.outputs] == [(None, 1), (None, 3)]
    alone, found = without_kinds(both, 3)
    assert len(alone.outputs) == 1
    np.testing.assert_array_equal(found.kernel, kinds.kernel)
    np.testing.assert_array_equal(found.bias, kinds.bias)
    assert without_kinds(network, 3) == (network, None)


def test_columns_are_the_logit_and_the_kinds(network, kinds, faces) -> None:
    logit, rest = with_kinds(network, kinds).predict_on_batch(faces)
    np.testing.assert_allclose(in_columns(network, kinds).predict_on_batch(faces), np.hstack([logit, rest]))
    assert in_columns(network, None) is network


def test_scores_hold_the_softmax_of_the_mean_of_both_mirrors(network, kinds, card, faces) -> None:
    classifier = Classifier(with_kinds(network, kinds), card)
    z = np.mean([in_columns(network, kinds).predict_on_batch(x) for x in (faces, faces[:, :, ::-1])], axis=0)
    np.testing.assert_allclose(classifier.logits(faces), z[:, 0], atol=1e-4)
    scores = classifier.score(faces)
    for score, row in zip(scores, z, strict=True):
        assert score.logit == pytest.approx(row[0], abs=1e-4)
        powers = np.exp(row[1:])
        assert list(score.kinds) == list(NAMES)
        np.testing.assert_allclose(list(score.kinds.values()), powers / powers.sum(), atol=1e-4)
    assert classifier.score(faces[:0]) == []
    assert len(classifier.keras_model.outputs) == 1


def test_a_model_without_a_second_output_tells_no_kinds(network, card, faces) -> None:
    classifier = Classifier(network, card)
    assert classifier.card.kinds == ()
    assert [score.kinds for score in classifier.score(faces)] == [{}, {}, {}]


@pytest.mark.parametrize("runtime", ["tensorflow", "auto"])
def test_kinds_are_saved_and_loaded(network, kinds, card, faces, tmp_path: Path, runtime) -> None:
    made = Classifier(with_kinds(network, kinds), card)
    path = save_model(made, tmp_path / "kinds.keras")
    for _ in range(2):  # the second time LiteRT opens the compiled network
        loaded = load_model(path, runtime=runtime)
        assert loaded.card.kinds == NAMES
        for before, after in zip(made.score(faces), loaded.score(faces), strict=True):
            assert after.logit == pytest.approx(before.logit, abs=1e-3)
            assert after.kinds == pytest.approx(before.kinds, abs=1e-3)


def test_what_does_not_fit_is_refused(network, kinds, card) -> None:
    both = with_kinds(network, kinds)
    with pytest.raises(UnsuitableModel, match="names 2 kinds"):
        Classifier(both, replace(card, kinds=NAMES[:2]))
    with pytest.raises(UnsuitableModel, match="features"):
        with_kinds(network, KindsLayer(kinds.kernel[1:], kinds.bias))
    other = build_model("MobileNetV2", head=Head(units=()), input_size=SIZE)
    renamed = type(other)(other.inputs, other.layers[-2].output)
    with pytest.raises(UnsuitableModel, match="build_model"):
        with_kinds(renamed, kinds)


def test_a_card_names_known_kinds_once(card) -> None:
    assert Card.from_dict(card.to_dict()).kinds == NAMES
    for wrong in (("generated", "generated"), ("cut",)):
        with pytest.raises(ValueError, match="kinds"):
            Card(kinds=wrong)
