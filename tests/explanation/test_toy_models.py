"""Toy models: the patch classifier looks at its patch alone; a randomised copy is another function."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb import Classifier, Face, Frame, explain, predict
from redeepfake_nb.explanation import toy_models


def test_only_the_patch_counts() -> None:
    """16 times the mean red, less 6: -6 without any, 10 with all."""
    classifier_of_patch = toy_models.patch_classifier()
    image = np.zeros((1, toy_models.INPUT_SIZE, toy_models.INPUT_SIZE, 3), np.float32)
    image[..., 1:] = 255
    assert classifier_of_patch.logits(image) == pytest.approx(-6, abs=1e-5)
    image[(0, *toy_models.PATCH, 0)] = 255
    assert classifier_of_patch.logits(image) == pytest.approx(10, abs=1e-4)


def test_the_painted_patch_lies_where_the_model_looks() -> None:
    classifier_of_patch = toy_models.patch_classifier()
    grey = Frame(np.full((200, 200, 3), 90, np.uint8))
    painted = toy_models.with_patch(Face(grey, (36, 36, 164, 164)))
    (prediction,) = predict(classifier_of_patch, [painted])
    assert prediction.probability > 0.99
    heatmap = explain(classifier_of_patch, prediction).heatmap
    rows, columns = (slice(2 * s.start + 2, 2 * s.stop - 2) for s in toy_models.PATCH)
    inside = heatmap[rows, columns]
    assert inside.min() > 0.9
    assert inside.sum() > 0.7 * heatmap.sum()
    assert (grey.image == 90).all()


def test_random_classifier(classifier: Classifier) -> None:
    batch = np.random.default_rng(0).uniform(0, 255, (4, 32, 32, 3)).astype(np.float32)
    before = classifier.logits(batch)
    one, same, other = (toy_models.random_classifier(classifier, seed) for seed in (1, 1, 2))
    assert not np.allclose(one.logits(batch), before)
    np.testing.assert_array_equal(one.logits(batch), same.logits(batch))
    assert not np.allclose(one.logits(batch), other.logits(batch))
    np.testing.assert_array_equal(classifier.logits(batch), before)
