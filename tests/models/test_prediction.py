"""Predictions hold their face, and P(fake) is stable for extreme logits."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb import Classifier, Face, Frame, Prediction, predict

FACE = Face.whole(Frame(np.full((32, 32, 3), 128, np.uint8)))


@pytest.mark.parametrize(
    ("logit", "temperature", "probability"),
    [
        (0.0, 1.0, 0.5),
        (2.0, 1.0, 0.880797),
        (2.0, 2.0, 0.731059),
        (-2.0, None, 0.119203),
        (2.0, None, 0.880797),
    ],
)
def test_probability(logit: float, temperature: float | None, probability: float) -> None:
    assert Prediction(FACE, logit, temperature).probability == pytest.approx(probability, abs=1e-6)


@pytest.mark.parametrize(("logit", "probability"), [(1e4, 1.0), (-1e4, 0.0)])
def test_probability_of_extreme_logits(logit: float, probability: float) -> None:
    assert Prediction(FACE, logit).probability == probability


def test_label_at_thresholds() -> None:
    prediction = Prediction(FACE, 0.0, 1.0, threshold=0.5)
    assert prediction.label() == "fake"
    assert prediction.label(0.51) == "real"


@pytest.mark.parametrize("logit", [float("nan"), float("inf")])
def test_a_logit_is_finite(logit: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        Prediction(FACE, logit)


def test_predictions_are_in_the_order_of_faces(classifier: Classifier) -> None:
    """The fixture's logit is 8 x mean brightness - 4."""
    levels = [0, 255, 51, 204]
    faces = [Face.whole(Frame(np.full((40, 40, 3), level, np.uint8))) for level in levels]
    found = predict(classifier, faces, batch_size=3)
    assert [p.face for p in found] == faces
    np.testing.assert_allclose([p.logit for p in found], [8 * v / 255 - 4 for v in levels], atol=1e-3)
    assert {(p.temperature, p.threshold) for p in found} == {(1.0, 0.6)}


def test_no_faces_no_predictions(classifier: Classifier) -> None:
    assert predict(classifier, []) == []
