"""Comparing methods: the table, and rank correlations by hand."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb import Face, Frame, UnknownChoice, compare_explanations, explain, predict
from redeepfake_nb.explanation.heatmaps import COMPARISON_GRID, peak_position, rank_correlations
from redeepfake_nb.explanation.methods import GENERAL_METHODS


@pytest.fixture(scope="module")
def prediction(classifier):
    """A bright spot in the lower left quarter of a dark picture."""
    image = np.zeros((32, 64, 3), np.uint8)
    image[20:28, 8:16] = 255
    return predict(classifier, [Face.whole(Frame(image))])[0]


@pytest.fixture(scope="module")
def comparison(classifier, prediction):
    return compare_explanations(classifier, prediction, GENERAL_METHODS)


def test_every_explanation_equals_explain(classifier, prediction, comparison) -> None:
    assert comparison.methods == tuple(GENERAL_METHODS)
    assert comparison.prediction is prediction
    assert comparison.target == "fake"
    for found in comparison.explanations:
        alone = explain(classifier, prediction, found.method)
        np.testing.assert_array_equal(found.heatmap, alone.heatmap)
        assert (found.peak, found.layer) == (alone.peak, alone.layer)


def test_table(comparison) -> None:
    table = comparison.table.set_index("method")
    assert list(table.index) == list(GENERAL_METHODS)
    assert table.loc["gradcam", "layer"] == "conv"
    assert (table["seconds"] > 0).all()
    # The spot's middle, give or take a cell of the kernel.
    assert table.loc["gradcam", "peak_x"] == pytest.approx(12 / 64, abs=0.1)
    assert table.loc["gradcam", "peak_y"] == pytest.approx(24 / 32, abs=0.1)
    assert list(table["region"]) == [None] * len(GENERAL_METHODS), "there are no landmarks"
    assert (table["agreement"] > 0.5).all()
    off_diagonal = comparison.agreement[0, 1:]
    assert table.loc["gradcam", "agreement"] == pytest.approx(off_diagonal.mean())


def test_methods_that_are_no_second_opinion_are_left_out(classifier, prediction, comparison) -> None:
    found = compare_explanations(classifier, prediction)
    assert found.methods == ("gradcam", "scorecam", "saliency")
    assert found.note == (
        "In this model, by construction, HiResCAM, Grad-CAM++ and Layer-CAM are the same as Grad-CAM."
    )
    assert comparison.note == found.note
    real = compare_explanations(classifier, prediction, target="real")
    assert real.note == (
        "In this model, by construction, HiResCAM is the same as Grad-CAM; Grad-CAM++ and Layer-CAM cannot "
        "find anything for real."
    )


def test_empty_heatmaps_have_no_agreement(classifier, prediction) -> None:
    """Brightness is evidence for fake only."""
    found = compare_explanations(classifier, prediction, ["gradcam", "layercam"], "real", "conv")
    assert [e.empty for e in found.explanations] == [True, True]
    assert np.isnan(found.agreement).all()
    assert found.table[["peak_x", "peak_y", "agreement"]].isna().all(axis=None)
    assert list(found.table["layer"]) == ["conv", "conv"]


def test_a_single_method_has_no_agreement(classifier, prediction) -> None:
    found = compare_explanations(classifier, prediction, "gradcam")
    assert found.methods == ("gradcam",)
    assert np.isnan(found.table.loc[0, "agreement"])


def test_measurements_are_added_to_the_table(classifier, prediction) -> None:
    seen = []

    def measure(explanation) -> dict[str, float]:
        seen.append(explanation.method)
        return {"deletion": 0.25, "insertion": 0.75}

    found = compare_explanations(classifier, prediction, ["gradcam", "layercam"], measure=measure)
    assert seen == ["gradcam", "layercam"]
    assert list(found.table["insertion"]) == [0.75, 0.75]
    more = found.with_scores({"gradcam": 3}, "rank")
    assert more.scores["gradcam"] == {"deletion": 0.25, "insertion": 0.75, "rank": 3.0}
    assert more.table["rank"].isna().tolist() == [False, True]
    assert "rank" not in found.table
    with pytest.raises(UnknownChoice, match="unknown method 'saliency'; there are gradcam, layercam"):
        found.with_scores({"saliency": 1.0})


@pytest.mark.parametrize("methods", [[], ["gradcam", "gradcam"]])
def test_methods_must_be_distinct(classifier, prediction, methods) -> None:
    with pytest.raises(ValueError, match="different names"):
        compare_explanations(classifier, prediction, methods)


def test_unknown_method(classifier, prediction) -> None:
    with pytest.raises(UnknownChoice, match="unknown method 'magic'"):
        compare_explanations(classifier, prediction, ["gradcam", "magic"])


def test_rank_correlation_by_hand() -> None:
    """Ranks 1 2 3 4 against 1 2 4 3: 1 - 6 * 2 / (4 * 15) = 0.8; ties share their rank."""
    a = np.array([[0.0, 0.1], [0.2, 1.0]])
    b = np.array([[0.0, 0.5], [1.0, 0.6]])
    tied = np.array([[0.0, 0.0], [0.0, 1.0]])
    found = rank_correlations([a, b, 1 - a, tied, a * 0])
    assert found[0, 1] == pytest.approx(0.8)
    assert found[0, 2] == pytest.approx(-1)
    # Ranks 2 2 2 4 against 1 2 3 4: covariance 3 over sqrt(3 * 5).
    assert found[0, 3] == pytest.approx(3 / np.sqrt(15))
    np.testing.assert_array_equal(found, found.T)
    assert np.isnan(found[4]).all()


def test_fine_grain_is_averaged_out(rng: np.random.Generator) -> None:
    ramp = np.repeat(np.linspace(0, 1, COMPARISON_GRID), 8) * np.ones((COMPARISON_GRID * 8, 1))
    grainy = np.clip(ramp + rng.normal(0, 0.05, ramp.shape), 0, 1)
    assert rank_correlations([ramp, grainy])[0, 1] > 0.98


def test_peak_position_is_a_hottest_pixel(classifier, prediction) -> None:
    found = explain(classifier, prediction)
    x, y = peak_position(found)
    height, width = found.heatmap.shape
    assert found.heatmap[int(y * height), int(x * width)] == found.heatmap.max()
