"""Known evidence is supported; random networks, heatmaps of other models and empty heatmaps are not."""

from __future__ import annotations

import threading
from dataclasses import replace

import keras
import numpy as np
import pytest
from helpers.planted_models import (
    PATCH,
    SIZE,
    colour_classifier,
    patch_classifier,
    planted_face,
    random_classifier,
)

from redeepfake_nb import Classifier, Explanation, Face, RedeepfakeError, explain, faithfulness, predict
from redeepfake_nb.explanation.fidelity import correlation
from redeepfake_nb.explanation.methods import GENERAL_METHODS


def explained(classifier: Classifier, face: Face, **options: str) -> Explanation:
    return explain(classifier, predict(classifier, [face])[0], **options)


@pytest.fixture(scope="module")
def patch() -> Classifier:
    return patch_classifier()


@pytest.fixture(scope="module")
def found(patch: Classifier):
    return faithfulness(patch, explained(patch, planted_face(np.random.default_rng(0))))


@pytest.mark.parametrize("method", GENERAL_METHODS)
@pytest.mark.parametrize("target", ["fake", "real"])
def test_known_evidence_is_supported(method: str, target: str, rng: np.random.Generator) -> None:
    classifier = patch_classifier(positive_class=target)
    explanation = explained(classifier, planted_face(rng), method=method, target=target)
    found = faithfulness(classifier, explanation)
    assert found.badge == "supported", found.reasons
    assert found.localized
    assert found.average_drop < 0.1


@pytest.mark.parametrize("method", GENERAL_METHODS)
def test_evidence_known_by_the_weights_alone_is_supported(method: str, rng: np.random.Generator) -> None:
    """The architecture covers the whole image; the weights select colour."""
    classifier = colour_classifier()
    found = faithfulness(classifier, explained(classifier, planted_face(rng), method=method))
    assert found.badge == "supported", found.reasons
    assert found.randomised < 0.9


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_random_network_is_not_supported(seed: int, rng: np.random.Generator) -> None:
    classifier, face = random_classifier(seed), planted_face(rng)
    for target in ("fake", "real"):
        for method in GENERAL_METHODS:
            explanation = explained(classifier, face, method=method, target=target)
            assert faithfulness(classifier, explanation).badge == "not supported"


def test_a_heatmap_elsewhere_is_not_supported(patch: Classifier, rng: np.random.Generator) -> None:
    explanation = explained(patch, planted_face(rng))
    moved = replace(explanation, heatmap=np.roll(explanation.heatmap, (14, -14), (0, 1)))
    found = faithfulness(patch, moved)
    assert found.badge == "not supported"
    assert found.beaten < 0.75
    assert found.reproduced < 0.9
    assert found.gain < 0.5


def blob() -> np.ndarray:
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.exp(-((rows - 15.5) ** 2 + (columns - 15.5) ** 2) / 60).astype(np.float32)


def test_a_hand_made_heatmap_is_not_supported(patch: Classifier, rng: np.random.Generator) -> None:
    explanation = replace(explained(patch, planted_face(rng)), heatmap=blob())
    named = faithfulness(patch, explanation)
    assert named.badge == "not supported"
    assert any("another heatmap" in reason for reason in named.reasons)
    unknown = faithfulness(patch, replace(explanation, method="centre"))
    assert unknown.badge == "not supported"
    assert any("unknown method 'centre'" in reason for reason in unknown.reasons)
    assert unknown.stages == ()


def test_a_method_that_ignores_the_weights_is_not_supported(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its heatmap can be reproduced, and stays the same with random weights."""
    classifier = colour_classifier()
    explanation = replace(explained(classifier, planted_face(rng)), heatmap=blob())
    monkeypatch.setattr("redeepfake_nb.explanation.fidelity.explain", lambda *_, **__: explanation)
    found = faithfulness(classifier, explanation)
    assert found.randomised == 1
    assert found.badge == "not supported"
    assert any("whatever the model has learned" in reason for reason in found.reasons)


def test_an_empty_heatmap_is_not_checked(patch: Classifier, rng: np.random.Generator) -> None:
    explanation = explained(patch, planted_face(rng), target="real")
    assert explanation.empty
    told: list = []
    found = faithfulness(patch, explanation, progress=lambda *a: told.append(a))
    assert found.badge == "not supported"
    assert "nothing on this face speaks for real" in found.headline
    assert told == []
    constant = replace(explanation, heatmap=np.ones((SIZE, SIZE), np.float32), peak=1.0)
    assert "names no place" in faithfulness(patch, constant).headline


def test_a_constant_model_is_not_supported(rng: np.random.Generator) -> None:
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Conv2D(2, 3, name="conv")(image)
    dense = keras.layers.Dense(1)
    model = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(x)))
    dense.set_weights([np.zeros((2, 1), np.float32), np.float32([3])])
    constant = Classifier(model, patch_classifier().card)
    explanation = explained(constant, planted_face(rng))
    assert faithfulness(constant, explanation).badge == "not supported"
    found = faithfulness(constant, replace(explanation, heatmap=blob(), peak=1.0))
    assert (found.badge, found.gain, found.beaten) == ("not supported", 0, 0)


def test_curves_of_the_patch_by_hand(found) -> None:
    """The logit is 16 * red - 6. The patch is 1/16 of the face and removed in the first of 8 steps."""
    whole = 16 * 230 / 255 - 6
    assert found.deletion[0] == pytest.approx(whole, abs=0.01)
    assert found.insertion[-1] == found.deletion[0]
    assert found.insertion[0] == found.deletion[-1]
    np.testing.assert_allclose(found.deletion[1:], found.deletion[-1], atol=0.01)
    np.testing.assert_allclose(found.insertion[1:], whole, atol=0.01)
    # Trapezoids: only the first of eight steps lies between the two ends.
    effect = whole - found.deletion[-1]
    assert found.gain == pytest.approx(effect * 7 / 8, abs=0.02)


def test_random_maps_come_in_pairs_of_opposites(found) -> None:
    gains = found.random_gains
    assert len(gains) == 10, "ten decide where the heatmap gains far more than the best of them"
    np.testing.assert_allclose(gains[::2], -gains[1::2], atol=1e-9)
    np.testing.assert_array_equal(found.random_deletion[1], found.random_insertion[0][::-1])


def test_the_same_seed_gives_the_same_check(patch: Classifier, found) -> None:
    again, other = (faithfulness(patch, found.explanation, seed=seed) for seed in (0, 1))
    np.testing.assert_array_equal(again.random_deletion, found.random_deletion)
    assert again.stages == found.stages
    assert not np.array_equal(other.random_deletion, found.random_deletion)


def test_steps_and_random_maps(patch: Classifier, found) -> None:
    checked = faithfulness(patch, found.explanation, steps=3, random_maps=5)
    assert checked.deletion.shape == (4,)
    assert checked.random_insertion.shape == (6, 4)
    fine = faithfulness(patch, found.explanation, steps=4, random_maps=2)
    assert (fine.deletion.shape, fine.random_deletion.shape) == ((5,), (2, 3)), "half of the steps"
    for options in ({"steps": 1}, {"random_maps": 1}):
        with pytest.raises(ValueError, match="at least 2"):
            faithfulness(patch, found.explanation, **options)


def test_progress_reaches_the_total(patch: Classifier, found) -> None:
    told: list[tuple[int, int]] = []
    faithfulness(patch, found.explanation, progress=lambda *a: told.append(a))
    done, totals = zip(*told, strict=True)
    assert list(done) == sorted(done)
    assert len(set(totals)) == 1
    assert told[-1][0] == told[-1][1]


@pytest.mark.parametrize("after", [0, 5, 12])
def test_cancelling_leaves_the_classifier_unchanged(after: int, rng: np.random.Generator) -> None:
    classifier = random_classifier(0)
    explanation = explained(classifier, planted_face(rng))
    if explanation.empty:
        explanation = explained(classifier, planted_face(rng), target="real")
    before = [np.array(w) for w in classifier.keras_model.get_weights()]
    told: list = []

    def stop() -> bool:
        return len(told) > after

    with pytest.raises(RedeepfakeError, match="cancelled"):
        faithfulness(classifier, explanation, progress=lambda *a: told.append(a), cancel=stop)
    assert len(told) == after + 1
    for one, other in zip(before, classifier.keras_model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    # Cancelling leaves no lock held and no random weights in use.
    assert faithfulness(classifier, explanation).reproduced == pytest.approx(1)


def test_an_event_cancels(patch: Classifier, found) -> None:
    event = threading.Event()
    event.set()
    with pytest.raises(RedeepfakeError, match="Run it again"):
        faithfulness(patch, found.explanation, cancel=event)


def test_checks_never_retrace(patch: Classifier, found, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keras layers run as Python only while a graph is traced; without retracing, memory does not grow."""
    traced: list[str] = []
    run = keras.layers.Conv2D.call

    def spy(self, *args, **kwargs):
        traced.append(self.name)
        return run(self, *args, **kwargs)

    monkeypatch.setattr(keras.layers.Conv2D, "call", spy)
    for seed in range(3):
        faithfulness(patch, found.explanation, seed=seed)
    assert traced == []


def test_input_is_not_modified(patch: Classifier, rng: np.random.Generator) -> None:
    face = planted_face(rng)
    explanation = explained(patch, face)
    picture, heatmap = face.frame.image.copy(), explanation.heatmap.copy()
    faithfulness(patch, explanation)
    np.testing.assert_array_equal(face.frame.image, picture)
    np.testing.assert_array_equal(explanation.heatmap, heatmap)
    assert (picture[PATCH][..., 0] == 230).all()


def test_correlation_by_hand() -> None:
    rising = np.arange(4.0).reshape(2, 2)
    assert correlation(rising, rising**3) == pytest.approx(1)
    assert correlation(rising, -rising) == pytest.approx(-1)
    assert correlation(rising, np.zeros((2, 2))) == 0
    assert correlation(np.ones((2, 2)), np.zeros((2, 2))) == 1
