"""Plots of faithfulness checks and stress tests."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from helpers.planted_models import patch_classifier, planted_face
from matplotlib.figure import Figure

from redeepfake_nb import explain, faithfulness, predict, stress_test, view


@pytest.fixture(scope="module")
def found():
    classifier = patch_classifier()
    face = planted_face(np.random.default_rng(0))
    return faithfulness(classifier, explain(classifier, predict(classifier, [face])[0]))


@pytest.fixture(scope="module")
def tested():
    return stress_test(patch_classifier(), planted_face(np.random.default_rng(0)))


def test_faithfulness_has_three_panels(found) -> None:
    figure = Figure()
    deletion, insertion, weights = view.plot_faithfulness(found, figure)
    line = next(item for item in deletion.lines if item.get_label() == "heatmap")
    np.testing.assert_allclose(line.get_xdata(), 100 * found.shares)
    np.testing.assert_allclose(line.get_ydata(), found.to_frame()["deletion"])
    assert f"{found.insertion_area:.2f}" in insertion.get_title()
    assert deletion.get_ylim() == insertion.get_ylim() == (0, 1)
    assert deletion.get_ylabel() == "P(fake)"
    drawn = weights.lines[0]
    assert drawn.get_ydata()[0] == found.reproduced
    assert drawn.get_ydata()[-1] == pytest.approx(found.randomised)
    title = figure.get_suptitle().replace("\n", " ")
    assert title.startswith("supported: beats 10 of 10 random maps")
    assert "Grad-CAM for fake at conv" in title
    assert found.neutral in title


def test_an_empty_heatmap_is_reported(found) -> None:
    classifier = patch_classifier()
    empty = faithfulness(classifier, explain(classifier, found.explanation.prediction, target="real"))
    figure = Figure()
    axes = view.plot_faithfulness(empty, figure)
    assert [ax.texts[0].get_text() for ax in axes] == [
        "nothing to remove",
        "nothing to remove",
        "not computed",
    ]
    assert "nothing on this face speaks for real" in figure.get_suptitle().replace("\n", " ")
    assert not figure.legends


def test_stress_has_a_panel_for_each_perturbation(tested) -> None:
    figure = Figure()
    axes = view.plot_stress(tested, figure)
    assert [ax.get_title() for ax in axes] == [c.change for c in tested.curves]
    for ax in axes:
        assert ax.get_ylim() == (0, 1)
        assert any(np.allclose(line.get_ydata(), tested.threshold) for line in ax.lines)
    title = figure.get_suptitle().replace("\n", " ").lower()
    assert tested.sentence.lower() in title
    brightness = axes[[c.change for c in tested.curves].index("brightness")]
    ticks = [float(t.get_text()) for t in brightness.get_xticklabels()]
    assert ticks == sorted(ticks)


@pytest.mark.parametrize("name", ["plot_faithfulness", "plot_stress"])
def test_panels_need_a_figure_and_can_be_saved(name: str, found, tested) -> None:
    record = found if name == "plot_faithfulness" else tested
    plot = getattr(view, name)
    with pytest.raises(ValueError, match="several panels"):
        plot(record, Figure().subplots())
    assert view.to_png(plot, record)[:4] == b"\x89PNG"
    assert len(plot(record, Figure().subfigures(1, 2)[0])) >= 3
