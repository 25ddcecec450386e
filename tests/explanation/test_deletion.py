"""Deletion and insertion curves by hand, and random maps that are as smooth as the heatmap."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb import Classifier, Face, Frame, Preprocessing, explain, predict
from redeepfake_nb.explanation.deletion import (
    PerturbationScorer,
    area_under_curve,
    baseline_images,
    heatmap_on_input,
    mask_of_top,
    random_heatmap,
    rank_cells,
    to_grid,
)


def test_area_by_hand() -> None:
    # Trapezoids: (1 + 0.5) / 2 and (0.5 + 0) / 2, each half a unit wide.
    assert area_under_curve(np.array([1, 0.5, 0])) == pytest.approx(0.5)
    np.testing.assert_allclose(area_under_curve(np.array([[1, 1, 1], [0, 1, 0.0]])), [1, 0.5])


def test_rank_cells_by_hand() -> None:
    heat = np.array([[0.0, 1.0], [0.0, 0.5]])
    ties = np.array([[1.0, 0.0], [2.0, 0.0]])
    order = rank_cells(heat, ties)
    assert order.tolist() == [1, 3, 2, 0]
    assert mask_of_top(order, 0).sum() == 0
    assert mask_of_top(order, 0.5).tolist() == [[False, True], [False, True]]
    assert mask_of_top(order, 1).all()


def test_curves_by_hand(classifier: Classifier) -> None:
    """The classifier's logit is 8 times the mean brightness less 4: each removed cell is one of 256."""
    image = np.zeros((32, 32, 3), np.uint8)
    image[:, :16] = 255
    ticks: list[int] = []
    scorer = PerturbationScorer(classifier, image, 1, lambda: ticks.append(1))
    scorer.baseline = np.zeros_like(image)
    heat = to_grid((image[..., 0] / 255).astype(np.float32))
    assert heat.shape == (16, 16)
    order = rank_cells(heat, np.arange(256).reshape(16, 16))
    whole, none = scorer.scores([image, scorer.baseline])
    assert none == pytest.approx(-4)
    # White and black meet in whole cells; valid 3 x 3 convolutions see 30 of 32 columns, and so half of it.
    assert whole == pytest.approx(0, abs=1e-4)
    deletion, insertion = scorer.curves(order, 4, (whole, none))
    # The bright half goes first, row by row from below; a quarter of the cells is half of it.
    assert deletion[1] == pytest.approx(-2, abs=0.2)
    np.testing.assert_allclose(deletion[2:], -4, atol=1e-4)
    np.testing.assert_allclose(insertion[2:], 0, atol=1e-4)
    assert insertion[1] == pytest.approx(-2, abs=0.2)
    # One batch for the two ends, one for 3 + 3 pictures.
    assert len(ticks) == 2 == PerturbationScorer.batch_count(2) + PerturbationScorer.batch_count(6)


def test_scores_are_log_odds_of_the_target(classifier: Classifier) -> None:
    white = np.full((32, 32, 3), 255, np.uint8)
    for sign in (1, -1):
        scorer = PerturbationScorer(classifier, white, sign, lambda: None)
        assert scorer.scores([white])[0] == pytest.approx(sign * 4, rel=1e-4)


def test_replace_blends_and_copies(classifier: Classifier) -> None:
    pixels = np.full((32, 32, 3), 100, np.uint8)
    scorer = PerturbationScorer(classifier, pixels, 1, lambda: None)
    scorer.baseline = np.full_like(pixels, 200)
    weights = np.array([[0, 1], [0.5, 0]])
    mixed = scorer.replace(weights)
    assert (mixed[:16, :16] == 100).all()
    assert (mixed[:16, 16:] == 200).all()
    assert (mixed[16:, :16] == 150).all()
    assert (pixels == 100).all()


def test_baseline_images(rng: np.random.Generator) -> None:
    pixels = rng.integers(0, 256, (32, 32, 3), dtype=np.uint8)
    found = baseline_images(pixels)
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
        fields = [random_heatmap(heat, rng) for _ in range(40)]
        assert np.mean([likeness(f) for f in fields]) == pytest.approx(likeness(heat), abs=0.12)
        # They are not correlated with the heatmap.
        alike = [np.corrcoef(f.ravel(), heat.ravel())[0, 1] for f in fields]
        assert abs(np.mean(alike)) < 3 / np.sqrt(40) * np.std(alike) + 0.05


def test_heatmap_is_warped_to_the_input(classifier: Classifier) -> None:
    """A bright corner of a face inside a larger frame is hot in the same corner of the input."""
    image = np.zeros((90, 120, 3), np.uint8)
    image[20:50, 70:100] = 255
    face = Face(Frame(image), (40, 20, 100, 80))
    explanation = explain(classifier, predict(classifier, [face])[0])
    heat = heatmap_on_input(explanation, classifier.preprocessing)
    assert heat.shape == (32, 32)
    assert heat[2:13, 19:30].min() > 0.9
    assert heat[19:].max() < 0.1
    assert heat[:, :13].max() < 0.1


def test_heatmap_is_zero_outside_an_aligned_crop(rng: np.random.Generator) -> None:
    """Pixels that alignment brings in from beyond the crop have no heat."""
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
    heat = heatmap_on_input(everywhere, settings)
    assert heat[:, 0].max() == 0
    assert heat.max() == pytest.approx(1)
