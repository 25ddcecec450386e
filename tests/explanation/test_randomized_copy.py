"""Cascading randomisation of a copy, from the output down; the original keeps its weights."""

from __future__ import annotations

import gc
import weakref

import numpy as np
import pytest
from helpers.planted_models import patch_classifier, random_classifier

from redeepfake_nb.explanation.sanity_checks import randomize_weights, randomized_copy


def weights(classifier) -> list[np.ndarray]:
    return [np.array(w) for w in classifier.keras_model.get_weights()]


def test_kernels_are_redrawn_at_their_scale(rng: np.random.Generator) -> None:
    import keras

    layer = keras.layers.Conv2D(64, 3)
    layer.build((None, 8, 8, 16))
    kernel = np.full((3, 3, 16, 64), 0.2, np.float32)
    layer.set_weights([kernel, np.arange(64, dtype=np.float32)])
    randomize_weights(layer, rng)
    drawn, bias = layer.get_weights()
    # Even a constant kernel, which a permutation would not change.
    assert drawn.mean() == pytest.approx(0, abs=0.01)
    assert drawn.std() == pytest.approx(0.2, rel=0.03)
    assert sorted(bias) == list(range(64))
    assert list(bias) != list(range(64))


def test_normalisation_weights_of_a_channel_move_together(rng: np.random.Generator) -> None:
    """No variance turns negative, and none is combined with another channel's mean."""
    import keras

    layer = keras.layers.BatchNormalization()
    layer.build((None, 4, 4, 20))
    layer.set_weights([np.arange(20, dtype=np.float32) + 100 * i for i in range(4)])
    randomize_weights(layer, rng)
    first, *others = layer.get_weights()
    assert list(first) != list(range(20))
    for i, other in enumerate(others, start=1):
        np.testing.assert_array_equal(other, first + 100 * i)


def test_cascade_starts_at_the_output() -> None:
    classifier = random_classifier(0)
    before = weights(classifier)
    with randomized_copy(classifier) as copy:
        layers = [layer for layer in copy.classifier.keras_model.layers if layer.weights]
        known = [[np.array(w) for w in layer.get_weights()] for layer in layers]
        counts = []
        for share in copy.cascade(seed=0, stages=4):
            # Compare kernels: initial biases are all 0 and do not change when permuted.
            changed = [
                not np.array_equal(layer.get_weights()[0], old[0]) if old[0].ndim > 1 else None
                for layer, old in zip(layers, known, strict=True)
            ]
            done = round(share * len(layers))
            assert [c for c in changed[: len(layers) - done] if c] == []
            assert [c for c in changed[len(layers) - done :] if c is False] == []
            counts.append(done)
        # Seven layers with weights: three convolutions, their normalisations, and the output.
        assert counts == [1, 2, 5, 7]
        copy.restore(classifier)
        for one, other in zip(weights(classifier), weights(copy.classifier), strict=True):
            np.testing.assert_array_equal(one, other)
    for one, other in zip(before, weights(classifier), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_copy_gets_the_current_weights() -> None:
    classifier = patch_classifier()
    with randomized_copy(classifier) as copy:
        first = copy
        list(copy.cascade(0, 2))
    changed = [w * 3 for w in weights(classifier)]
    classifier.keras_model.set_weights(changed)
    with randomized_copy(classifier) as copy:
        assert copy is first
        for one, other in zip(changed, weights(copy.classifier), strict=True):
            np.testing.assert_array_equal(one, other)


def test_the_copy_scores_like_an_original_whose_high_output_means_real(rng: np.random.Generator) -> None:
    classifier = patch_classifier(positive_class="real", mirror=True)
    batch = rng.uniform(0, 255, (3, 32, 32, 3)).astype(np.float32)
    with randomized_copy(classifier) as copy:
        np.testing.assert_allclose(copy.classifier.logits(batch), classifier.logits(batch), rtol=1e-4)


def test_the_same_seed_gives_the_same_weights() -> None:
    classifier = random_classifier(1)
    found = []
    for seed in (5, 5, 6):
        with randomized_copy(classifier) as copy:
            list(copy.cascade(seed, 3))
            found.append(weights(copy.classifier))
    assert all(np.array_equal(a, b) for a, b in zip(found[0], found[1], strict=True))
    assert not all(np.array_equal(a, b) for a, b in zip(found[0], found[2], strict=True))


def test_the_copy_is_freed_with_its_classifier() -> None:
    classifier = patch_classifier()
    with randomized_copy(classifier) as copy:
        gone = weakref.ref(copy)
    del classifier, copy
    gc.collect()
    assert gone() is None
