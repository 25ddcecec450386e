"""Scores that do not survive a mild change are in doubt; the check costs one more forward pass."""

from __future__ import annotations

from dataclasses import replace

import keras
import numpy as np
import pytest

from redeepfake_nb import Card, Classifier, Face, Frame, Prediction, Preprocessing, analyze_image, predict
from redeepfake_nb.analysis.fragility import crossing, fragility_doubts, mild_changes, with_changes
from redeepfake_nb.analysis.verdict import judge, judge_person
from redeepfake_nb.faces.detection import Detection

SIZE = 32


def texture_classifier(**card: object) -> Classifier:
    """Fine texture is real: the logit is 3.5 - 60 times the mean step between neighbouring pixels, 0..1."""
    image = keras.Input((SIZE, SIZE, 3))
    x = keras.layers.Rescaling(1 / 255)(image)
    steps = keras.layers.Conv2D(2, (1, 2), use_bias=False, activation="relu")
    dense = keras.layers.Dense(1)
    model = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(steps(x))))
    kernel = np.zeros((1, 2, 3, 2), np.float32)
    kernel[0, 0, 0], kernel[0, 1, 0] = [1, -1], [-1, 1]
    steps.set_weights([kernel])
    dense.set_weights([np.full((2, 1), -60, np.float32), np.float32([3.5])])
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=SIZE), temperature=1.0, **card))


def textured() -> Face:
    rng = np.random.default_rng(0)
    return Face.whole(Frame(rng.integers(90, 166, (SIZE, SIZE, 1), dtype=np.uint8).repeat(3, axis=2)))


@pytest.mark.parametrize("mirror", [False, True])
def test_a_score_that_a_blur_turns_over_is_in_doubt(mirror: bool) -> None:
    classifier = texture_classifier(mirror=mirror)
    face = textured()
    report = analyze_image(
        face.frame, classifier, detector=lambda image: [Detection((0, 0, SIZE, SIZE), 1.0)]
    )
    assert report.predictions[0].probability < 0.1
    assert report.verdict.label == "inconclusive"
    assert any("fragile score (P(fake) 0.0" in reason for reason in report.verdict.reasons)
    assert "one pixel of blur" in report.doubts(0)[-1]


def test_a_steady_score_is_not(classifier: Classifier) -> None:
    """Brightness is the same behind a blur."""
    (checked,) = with_changes(classifier, predict(classifier, [textured()]))
    assert list(checked.changed) == ["one pixel of blur and JPEG compression"]
    assert next(iter(checked.changed.values())) == pytest.approx(checked.logit, abs=0.1)
    assert crossing(checked, 0.1) is None


@pytest.mark.parametrize(("mirror", "passes"), [(False, 1), (True, 2)])
def test_it_costs_one_more_forward_pass(mirror: bool, passes: int) -> None:
    """A mirrored score takes two passes of the network, and so do its two changes, which are not mirrored."""
    classifier = texture_classifier(mirror=mirror)
    assert len(mild_changes(classifier)) == passes
    found = with_changes(classifier, predict(classifier, [textured()] * 3), batch_size=2)
    assert [len(p.changed) for p in found] == [passes] * 3
    assert found[0].changed == pytest.approx(found[2].changed, abs=1e-4)


def prediction(logit: float, *changed: float) -> Prediction:
    return Prediction(textured(), logit, 1.0, changed={f"change {i}": c for i, c in enumerate(changed)})


def test_only_a_large_crossing_counts() -> None:
    assert crossing(prediction(-2, 1, -3), 0.5) == ("change 0", pytest.approx(0.731, abs=1e-3))
    assert crossing(prediction(-0.3, 0.3), 0.5) is None, "the inconclusive band tells that"
    assert crossing(prediction(3, 0.5), 0.5) is None, "still on the same side"
    assert crossing(prediction(3), 0.5) is None, "not checked"


def test_half_of_the_checked_frames_must_cross() -> None:
    fragile, steady = prediction(2, -2), prediction(2, 2)
    assert fragility_doubts([fragile, steady, steady], 0.5) == []
    assert fragility_doubts([fragile, steady], 0.5) == [
        "fragile score (P(fake) 0.88 becomes 0.12 by change 0 in 1 of the 2 frames checked)"
    ]


def test_a_person_with_fragile_frames_is_inconclusive() -> None:
    card = replace(texture_classifier().card, min_face=16)
    options = {"sizes": [90] * 5, "sharpness": [99.0] * 5, "frames": 5, "card": card, "threshold": 0.5}
    steady = judge_person(0.9, [0.9] * 5, **options)
    fragile = judge_person(0.9, [0.9] * 5, **options, strongest=[prediction(2, -2)])
    assert (steady.label, fragile.label) == ("fake", "inconclusive")
    assert judge([prediction(2, 2)], card, 0.5).label == "fake"
