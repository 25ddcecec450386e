"""Plots of an assessment agree with its numbers, and draw on given Axes and figures."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from helpers.grey_faces import grey_faces
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from sklearn.metrics import roc_curve

from redeepfake_nb import Classifier, view
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.evaluation.assessment import Assessment, assess
from redeepfake_nb.evaluation.robustness_sweep import robustness
from redeepfake_nb.view import evaluation as plots

SINGLE = [
    plots.plot_roc,
    plots.plot_precision_recall,
    plots.plot_confusion,
    plots.plot_reliability,
    plots.plot_scores,
    plots.plot_slices,
]


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    return grey_faces(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def found(faces: LabelledFaces, classifier: Classifier) -> Assessment:
    return assess(classifier, faces, resamples=20)


@pytest.fixture(scope="module")
def table(faces: LabelledFaces, classifier: Classifier) -> pd.DataFrame:
    return robustness(classifier, faces, sweeps=["blur", "brightness offset", "colours swapped"])


@pytest.fixture
def figure() -> Figure:
    return Figure()


def line(ax: Axes, label: str) -> np.ndarray:
    """(N, 2) points of the line whose label begins so."""
    (found,) = [one for one in ax.lines if str(one.get_label()).startswith(label)]
    return np.asarray(found.get_xydata())


def words(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts]


@pytest.mark.parametrize("plot", SINGLE)
def test_on_axes_on_a_figure_and_on_a_new_figure(plot, found: Assessment, figure: Figure) -> None:
    assert plot(found, figure) is figure.axes[0]
    ax = Figure().subplots()
    assert plot(found, ax) is ax
    assert ax.get_title()
    before = set(pyplot.get_fignums())
    own = plot(found)
    assert set(pyplot.get_fignums()) - before == {own.figure.number}
    pyplot.close(own.figure)
    assert view.to_png(plot, found).startswith(b"\x89PNG")


def test_roc(faces: LabelledFaces, classifier: Classifier, figure: Figure) -> None:
    table = faces.table.assign(identity=np.arange(len(faces)))  # of four people there would be no band
    found = assess(classifier, faces.with_table(table), resamples=20)
    ax = plots.plot_roc(found, figure)
    fpr, tpr, _ = roc_curve(found.y, found.probabilities)
    np.testing.assert_array_equal(line(ax, "AUC 0.812 ("), np.column_stack([fpr, tpr]))
    # Above grey level 140.4 lie one of four real and three of four fake faces.
    np.testing.assert_array_equal(line(ax, "threshold 0.600: FPR 25.0%, TPR 75.0%"), [[0.25, 0.75]])
    assert "95 % of samples of people" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_without_a_bootstrap_there_is_no_band(
    faces: LabelledFaces, classifier: Classifier, figure: Figure
) -> None:
    ax = plots.plot_roc(assess(classifier, faces, resamples=0), figure)
    assert not ax.collections
    assert len(line(ax, "AUC 0.812")) > 2


def test_precision_and_recall(found: Assessment, figure: Figure) -> None:
    ax = plots.plot_precision_recall(found, figure)
    np.testing.assert_array_equal(line(ax, "threshold 0.600: recall 75.0%"), [[0.75, 0.75]])
    assert "chance: 50% of the faces are fakes" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_precision_without_a_predicted_fake(
    faces: LabelledFaces, classifier: Classifier, figure: Figure
) -> None:
    ax = plots.plot_precision_recall(assess(classifier, faces, threshold=0.999, resamples=0), figure)
    assert not [one for one in ax.lines if str(one.get_label()).startswith("threshold")]


def test_confusion(found: Assessment, figure: Figure) -> None:
    ax = plots.plot_confusion(found, figure)
    assert words(ax) == ["3\n75.0%", "1\n25.0%", "1\n25.0%", "3\n75.0%"]
    assert "0.600" in ax.get_xlabel()


def test_reliability(found: Assessment, figure: Figure) -> None:
    ax = plots.plot_reliability(found, figure, bins=2)
    p = found.probabilities  # under 0.5: grey levels 20, 60, 80, 100, one fake; above: four, three fakes
    expected = [[p[[0, 1, 2, 4]].mean(), 0.25], [p[[3, 5, 6, 7]].mean(), 0.75]]
    np.testing.assert_allclose(line(ax, "after (temperature 1.00)"), expected)
    np.testing.assert_allclose(line(ax, "before calibration"), expected)
    assert words(ax) == ["4", "4"]


def test_reliability_of_a_model_that_was_never_calibrated(
    faces: LabelledFaces, classifier: Classifier, figure: Figure
) -> None:
    from dataclasses import replace

    plain = Classifier(classifier.keras_model, replace(classifier.card, temperature=None))
    ax = plots.plot_reliability(assess(plain, faces, resamples=0), figure)
    assert len(line(ax, "never calibrated")) > 2
    assert len(ax.lines) == 2


def test_scores(found: Assessment, figure: Figure) -> None:
    ax = plots.plot_scores(found, figure, bins=2)
    heights = {patch.get_label(): list(patch.get_data().values) for patch in ax.patches if patch.get_label()}
    assert heights["real (4 faces)"] == [3, 1]
    assert heights["fake (4 faces)"] == [1, 3]
    assert len({patch.get_linestyle() for patch in ax.patches if patch.get_label()}) == 2


def test_slices(found: Assessment, figure: Figure) -> None:
    ax = plots.plot_slices(found, figure)
    labels = [tick.get_text() for tick in ax.get_yticklabels()]
    assert labels[:3] == [
        "under 108  (2 faces)",
        "108 to under 156  (3 faces)",
        "156 to under 224  (3 faces)",
    ]
    assert len(labels) == len(found.slices)
    assert "n/a: one label" in words(ax)
    assert "0.500" in words(ax)
    # Four people are too few for intervals: every point is hollow, and no line goes through it.
    assert {one.get_markerfacecolor() for one in ax.lines if one.get_marker() == "o"} == {"white"}
    assert not ax.collections
    assert "all faces, 0.812" in ax.get_title()
    assert "log loss" in plots.plot_slices(found, Figure(), metric="log_loss").get_title()
    with pytest.raises(ValueError, match="not 'f1'"):
        plots.plot_slices(found, metric="f1")


def test_robustness(table: pd.DataFrame, figure: Figure) -> None:
    axes = plots.plot_robustness(table, figure)
    assert [ax.get_title() for ax in axes] == ["blur", "brightness offset", "colours swapped"]
    expected = table.loc[table["change"] == "brightness offset", "auc"]
    np.testing.assert_array_equal(axes[1].lines[0].get_ydata(), expected)
    assert [t.get_text() for t in axes[1].get_xticklabels()] == ["-60", "-30", "30", "60"]
    assert [t.get_text() for t in axes[2].get_xticklabels()] == ["swapped"]
    assert axes[1].get_xlabel() == "grey levels"
    assert "The same 8 faces" in figure.get_suptitle()
    assert len(plots.plot_robustness(table, Figure(), metric="flipped")) == 3
    with pytest.raises(ValueError, match="not 'f1'"):
        plots.plot_robustness(table, metric="f1")
    with pytest.raises(ValueError, match="several panels"):
        plots.plot_robustness(table, Figure().subplots())


@pytest.mark.slow
def test_face_grid(found: Assessment, figure: Figure) -> None:
    axes = plots.plot_face_grid(found, figure, count=8)
    titles = [ax.get_title() for ax in axes]
    assert sum("false negative" in title for title in titles) == 1
    assert sum("false positive" in title for title in titles) == 1
    (missed,) = [ax for ax in axes if "false negative" in ax.get_title()]
    assert missed.get_title() == "false negative\nfake, P(fake) 0.18"
    assert np.asarray(missed.images[0].get_array())[0, 0].tolist() == [80] * 3
    assert missed.spines["left"].get_linewidth() > 2
    again = plots.plot_face_grid(found, Figure(), count=3)
    assert [ax.get_title() for ax in again] == titles[:3]
    other = plots.plot_face_grid(found, Figure(), count=8, seed=1)
    assert [ax.get_title() for ax in other] != titles
    with pytest.raises(ValueError, match="at least 1"):
        plots.plot_face_grid(found, count=0)


def test_no_figure_stays_open_in_pyplot(found: Assessment, table: pd.DataFrame) -> None:
    before = pyplot.get_fignums()
    for axes in (plots.plot_face_grid(found, count=2), plots.plot_robustness(table)):
        pyplot.close(axes[0].figure)
    assert pyplot.get_fignums() == before


def test_no_review_yet(figure: Figure) -> None:
    assert "no files are labelled yet" in words(view.plot_review(None, figure))
