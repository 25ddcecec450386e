"""Curves equal what is worked out by hand; random maps are as smooth as the heatmap they stand beside."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb import Classifier, Face, Frame, Preprocessing, explain, predict
from redeepfake_nb.explanation.deletion import (
    Eraser,
    area,
    heat_on_input,
    neutral_pictures,
    on_cells,
    random_field,
    ranking,
    removed,
)


def test_area_by_hand() -> None:
    # Trapezoids: (1 + 0.5) / 2 and (0.5 + 0) / 2, each half a unit wide.
    assert area(np.array([1, 0.5, 0])) == pytest.approx(0.5)
    np.testing.assert_allclose(area(np.array([[1, 1, 1], [0, 1, 0.0]])), [1, 0.5])


def test_ranking_by_hand() -> None:
    heat = np.array([[0.0, 1.0], [0.0, 0.5]])
    ties = np.array([[1.0, 0.0], [2.0, 0.0]])
    order = ranking(heat, ties)
    assert order.tolist() == [1, 3, 2, 0]
    assert removed(order, 0).sum() == 0
    assert removed(order, 0.5).tolist() == [[False, True], [False, True]]
    assert removed(order, 1).all()


def test_curves_by_hand(classifier: Classifier) -> None:
    """The classifier's logit is 8 times the mean brightness less 4: each cell taken away is one of 256."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :16] = 255
    ticks: list[int] = []
    eraser = Eraser(classifier, image, 1, lambda: ticks.append(1))
    eraser.neutral = np.zeros_like(image)
    heat = on_cells((image[..., 0] / 255).astype(np.float32))
    assert heat.shape == (16, 16)
    order = ranking(heat, np.arange(256).reshape(16, 16))
    whole, none = eraser.scores([image, eraser.neutral])
    assert none == pytest.approx(-4)
    # White and black meet in whole cells; valid 3 x 3 convolutions see 30 of 32 columns, and so half of it.
    assert whole == pytest.approx(0, abs=1e-4)
    deletion, insertion = eraser.curves(order, 4, (whole, none))
    # The bright half goes first, row by row from below; a quarter of the cells is half of it.
    assert deletion[1] == pytest.approx(-2, abs=0.2)
    np.testing.assert_allclose(deletion[2:], -4, atol=1e-4)
    np.testing.assert_allclose(insertion[2:], 0, atol=1e-4)
    assert insertion[1] == pytest.approx(-2, abs=0.2)
    # One batch for the two ends, one for 3 + 3 pictures.
    assert len(ticks) == 2 == Eraser.batches(2) + Eraser.batches(6)


def test_scores_are_those_of_the_target_at_the_models_temperature(classifier: Classifier) -> None:
    white = np.full((32, 32, 3), 255, np.uint8)
    for sign in (1, -1):
        eraser = Eraser(classifier, white, sign, lambda: None)
        assert eraser.scores([white])[0] == pytest.approx(sign * 4, rel=1e-4)


def test_parts_are_mixed_and_the_picture_stays(classifier: Classifier) -> None:
    pixels = np.full((32, 32, 3), 100, np.uint8)
    eraser = Eraser(classifier, pixels, 1, lambda: None)
    eraser.neutral = np.full_like(pixels, 200)
    places = np.array([[0, 1], [0.5, 0]])
    mixed = eraser.without(places)
    assert (mixed[:16, :16] == 100).all()
    assert (mixed[:16, 16:] == 200).all()
    assert (mixed[16:, :16] == 150).all()
    assert (pixels == 100).all()


def test_neutral_pictures(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = neutral_pictures(pixels)
    mean = pixels.reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(found["the face's mean colour"][3, 5], mean, atol=0.51)
    blurred = found["the face blurred"]
    assert blurred.std() < pixels.std() / 5
    assert all(p.shape == pixels.shape and p.dtype == np.uint8 for p in found.values())


def test_random_maps_are_as_smooth_as_the_heatmap(rng: np.random.Generator) -> None:
    """Neighbouring cells of a smooth heatmap are alike, and so are those of its random maps."""
    rows, columns = np.mgrid[:16, :16]
    smooth = np.exp(-((rows - 5) ** 2 + (columns - 9) ** 2) / 30)
    rough = rng.random((16, 16))

    def likeness(field: np.ndarray) -> float:
        return float(np.corrcoef(field[:, 1:].ravel(), field[:, :-1].ravel())[0, 1])

    for heat in (smooth, rough):
        fields = [random_field(heat, rng) for _ in range(40)]
        assert np.mean([likeness(f) for f in fields]) == pytest.approx(likeness(heat), abs=0.12)
        # They know nothing of where the heat is.
        alike = [np.corrcoef(f.ravel(), heat.ravel())[0, 1] for f in fields]
        assert abs(np.mean(alike)) < 3 / np.sqrt(40) * np.std(alike) + 0.05


def test_heat_goes_back_to_the_inputs_pixels(classifier: Classifier) -> None:
    """A bright corner of a face inside a larger frame is hot in the same corner of the input."""
    image = np.zeros((90, 120, 3), np.uint8)
    image[20:50, 70:100] = 255
    face = Face(Frame(image), (40, 20, 100, 80))
    explanation = explain(classifier, predict(classifier, [face])[0])
    heat = heat_on_input(explanation, classifier.preprocessing)
    assert heat.shape == (32, 32)
    assert heat[2:13, 19:30].min() > 0.9
    assert heat[19:].max() < 0.1
    assert heat[:, :13].max() < 0.1


def test_heat_outside_an_aligned_crop_is_none(rng: np.random.Generator) -> None:
    """What alignment brings in from beyond the crop has no heat."""
    from redeepfake_nb import Prediction
    from redeepfake_nb.explanation.heatmaps import Explanation

    settings = Preprocessing(input_size=32, align=True)
    points = np.zeros((68, 2), np.float32)
    points[36:42], points[42:48] = (30, 30), (50, 30)
    points[30], points[48], points[54] = (40, 40), (33, 52), (47, 52)
    face = Face(Frame(rng.integers(0, 256, (90, 90, 3), dtype=np.uint8)), (35, 20, 50, 60), points)
    everywhere = Explanation(
        Prediction(face, 0.0), np.ones((40, 15), np.float32), "gradcam", "fake", "conv", 1.0, 0.0
    )
    heat = heat_on_input(everywhere, settings)
    assert heat[:, 0].max() == 0
    assert heat.max() == pytest.approx(1)
