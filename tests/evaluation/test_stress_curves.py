"""Stress tests of one face with a brightness classifier, whose scores follow from arithmetic by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from redeepfake_nb import Card, Classifier, Face, Frame, Prediction, Preprocessing, predict, stress_test
from redeepfake_nb.evaluation.robustness_sweep import SWEEPS
from redeepfake_nb.evaluation.stress_curves import STRESSES, StressCurve, StressTest


def grey_face(level: int, margin: float | None = 0.0) -> Face:
    """A grey square in the middle of a black frame."""
    image = np.zeros((200, 240, 3), np.uint8)
    image[50:150, 70:170] = level
    return Face(Frame(image), (70, 50, 170, 150), margin=margin)


@pytest.fixture(scope="module")
def tested(classifier: Classifier) -> StressTest:
    # P(fake) is the sigmoid of 8 * 150 / 255 - 4, 0.67, over the threshold of 0.6.
    return stress_test(classifier, grey_face(150))


def curve(tested: StressTest, change: str) -> dict[float, float]:
    (found,) = (c for c in tested.curves if c.change == change)
    return dict(zip(found.levels, found.probabilities, strict=True))


def p_of(brightness: float) -> float:
    return 1 / (1 + np.exp(4 - 8 * brightness / 255))


def test_every_perturbation_has_a_curve(tested: StressTest) -> None:
    assert [c.change for c in tested.curves] == list(STRESSES)
    for c in tested.curves:
        assert len(c.steps) == len(c.levels) == len(c.probabilities)
        assert min(c.steps) == 1
        assert all(0 <= p <= 1 for p in c.probabilities)


def test_perturbations_of_pixels_are_those_of_the_sweep() -> None:
    for stress in STRESSES.values():
        assert stress.sweep is None or stress.sweep in SWEEPS


def test_brightness_by_hand(tested: StressTest) -> None:
    assert tested.prediction.probability == pytest.approx(p_of(150), abs=1e-3)
    found = curve(tested, "brightness")
    for factor in (0.4, 0.85, 1.3):
        assert found[factor] == pytest.approx(p_of(round(150 * factor)), abs=2e-3)
    assert found[1.8] == pytest.approx(p_of(255), abs=2e-3)


def test_a_wider_crop_takes_in_the_frame_and_a_tighter_one_less(tested: StressTest) -> None:
    found = curve(tested, "crop margin")
    # 10 pixels of black on each side of 100 grey ones: 26.7 of the input's 32 pixels stay grey, of the 30
    # that the valid convolution sees.
    assert found[0.1] == pytest.approx(p_of(150 * (32 / 1.2 / 30) ** 2), abs=0.02)
    assert found[-0.1] == pytest.approx(p_of(150), abs=1e-3)


def test_flat_grey_hides_blur_and_mirroring_only(tested: StressTest) -> None:
    # Beyond its edges, where black comes in.
    assert curve(tested, "flip") == {1: pytest.approx(p_of(150), abs=1e-3)}
    assert curve(tested, "blur")[0.5] == pytest.approx(p_of(150), abs=0.01)
    assert curve(tested, "blur")[4] < p_of(150)


def test_mirroring_feeds_the_mirrored_face() -> None:
    """A network that sees the left half alone."""
    import keras

    image = keras.Input((32, 32, 3))
    x = keras.layers.Cropping2D(((0, 0), (0, 16)))(keras.layers.Rescaling(8 / 255)(image))
    dense = keras.layers.Dense(1)
    model = keras.Model(image, dense(keras.layers.GlobalAveragePooling2D()(x)))
    dense.set_weights([np.full((3, 1), 1 / 3, np.float32), np.float32([-4])])
    left = Classifier(model, Card(preprocessing=Preprocessing(input_size=32), temperature=1.0))
    picture = np.zeros((32, 32, 3), np.uint8)
    picture[:, :16] = 255
    tested = stress_test(left, Face.whole(Frame(picture)))
    assert tested.prediction.probability == pytest.approx(p_of(255), abs=1e-4)
    assert curve(tested, "flip")[1] == pytest.approx(p_of(0), abs=1e-4)


def test_the_mildest_flip_in_words(tested: StressTest) -> None:
    # 0.85 * 150 = 127.5 is under the threshold's 140.4; so is a margin of 5 %, the same step, further down.
    assert [(f.change, f.level) for f in tested.flips[:2]] == [("brightness", 0.85), ("crop margin", 0.05)]
    expected = f"brightness times 0.85 turns 0.67 into {p_of(128):.2f}, below the threshold 0.60"
    assert tested.sentence == expected


def hand_made(before: float, curves: tuple[StressCurve, ...], threshold: float = 0.5) -> StressTest:
    logit = float(np.log(before / (1 - before)))
    return StressTest(Prediction(grey_face(9), logit, 1.0, threshold), threshold, curves)


def test_sentences_by_hand() -> None:
    jpeg = StressCurve("JPEG quality", "", (1, 2, 4), (90, 80, 60), (0.6, 0.55, 0.44))
    blur = StressCurve("blur", "", (1, 2), (0.5, 1), (0.62, 0.3))
    flip = StressCurve("flip", "", (1,), (1,), (0.496,))
    assert (
        hand_made(0.62, (jpeg,)).sentence == "JPEG quality 60 turns 0.62 into 0.44, below the threshold 0.50"
    )
    found = hand_made(0.62, (jpeg, blur))
    assert [f.change for f in found.flips] == ["blur", "JPEG quality"]
    assert found.mildest.words == "blur of 1 px"
    assert (
        hand_made(0.3, (jpeg,)).sentence
        == "JPEG quality 90 turns 0.30 into 0.60, at or over the threshold 0.50"
    )
    # Two decimals would say 0.50 is below 0.50.
    assert hand_made(0.62, (flip,)).sentence == "mirroring turns 0.620 into 0.496, below the threshold 0.50"
    calm = hand_made(0.4, (replace(jpeg, probabilities=(0.4, 0.2, 0.1)),))
    assert calm.mildest is None
    assert calm.sentence == (
        "no change tried flips it: P(fake) stays between 0.10 and 0.40, below the threshold 0.50"
    )


def test_a_given_threshold(classifier: Classifier) -> None:
    tested = stress_test(classifier, grey_face(150), threshold=0.99)
    assert tested.prediction.label() == "real"
    assert tested.mildest is None
    with pytest.raises(ValueError, match="between 0 and 1"):
        stress_test(classifier, grey_face(150), threshold=1.5)


def test_no_margin_beyond_the_frame(classifier: Classifier) -> None:
    whole = Face.whole(Frame(np.full((40, 40, 3), 99, np.uint8)))
    assert set(curve(stress_test(classifier, whole), "crop margin")) == {-0.15, -0.1, -0.05}


def test_a_face_of_one_pixel(classifier: Classifier) -> None:
    tested = stress_test(classifier, Face.whole(Frame(np.full((1, 1, 3), 99, np.uint8))))
    assert "crop margin" not in [c.change for c in tested.curves]
    assert curve(tested, "JPEG quality")[90] == pytest.approx(p_of(99), abs=0.02)


def test_the_unchanged_score_equals_predict_and_inputs_stay_unmodified(classifier: Classifier, rng) -> None:
    image = rng.integers(0, 256, (90, 80, 3), dtype=np.uint8)
    before = image.copy()
    points = rng.uniform(20, 60, (68, 2)).astype(np.float32)
    face = Face(Frame(image), (10, 20, 60, 70), points)
    aligned = replace(classifier.card, preprocessing=Preprocessing(input_size=32, align=True, margin=0.1))
    for model in (classifier, Classifier(classifier.keras_model, aligned)):
        one, two = (stress_test(model, face) for _ in range(2))
        assert one.prediction.logit == predict(model, [face])[0].logit
        assert one.to_dict() == two.to_dict()
    np.testing.assert_array_equal(image, before)


def test_progress(classifier: Classifier) -> None:
    calls: list = []
    stress_test(classifier, grey_face(99), progress=lambda *a: calls.append(a))
    assert calls == [(i + 1, len(STRESSES)) for i in range(len(STRESSES))]


def test_to_frame_and_to_dict(tested: StressTest) -> None:
    table = tested.to_frame()
    assert list(table.columns) == ["change", "unit", "step", "level", "probability", "flipped"]
    assert table["change"].iloc[0] == "unchanged"
    assert not table["flipped"].iloc[0]
    assert len(table) == 1 + sum(len(c.levels) for c in tested.curves)
    assert table["flipped"].any()
    values = json.loads(json.dumps(tested.to_dict(), allow_nan=False))
    assert values["sentence"] == tested.sentence
    assert values["flips"][0]["change"] == "brightness"
    assert [c["change"] for c in values["curves"]] == list(STRESSES)
