"""The plot of a training run agrees with its history."""

from __future__ import annotations

import matplotlib as mpl
import pytest

mpl.use("Agg")

from matplotlib import pyplot
from matplotlib.figure import Figure

from redeepfake_nb.view.training import plot_history

HISTORY = [
    {"step": 10, "input_size": 67, "train_loss": 0.7, "val_auc": 0.5, "val_log_loss": 0.8, "start": "random"},
    {"step": 20, "input_size": 67, "train_loss": 0.5, "val_auc": 0.9, "val_log_loss": 0.6, "start": "random"},
    {"step": 30, "input_size": 83, "train_loss": 0.4, "val_auc": 0.8, "val_log_loss": 0.7, "start": "random"},
]


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


def test_curves_equal_the_history() -> None:
    figure = Figure()
    losses, auc = plot_history(HISTORY, figure)
    assert losses.figure is figure
    assert [list(line.get_ydata()) for line in losses.lines[:2]] == [[0.7, 0.5, 0.4], [0.8, 0.6, 0.7]]
    assert list(auc.lines[0].get_xdata()) == [10, 20, 30]
    assert list(auc.lines[0].get_ydata()) == [0.5, 0.9, 0.8]
    assert "kept: step 20, AUC 0.900" in [text.get_text() for text in auc.get_legend().get_texts()]
    assert [text.get_text().strip() for text in auc.texts] == ["83 px"]


def test_at_least_one_evaluation_is_needed() -> None:
    assert len(plot_history(HISTORY[:1])) == 2
    with pytest.raises(ValueError, match="no evaluation"):
        plot_history([])
