"""Plots of a labelled data set agree with its table."""

from __future__ import annotations

from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

mpl.use("Agg")

from matplotlib import pyplot
from PIL import Image

from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.view.training import plot_balance, plot_brightness, plot_sizes


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


@pytest.fixture
def faces(tmp_path: Path) -> LabelledFaces:
    """Reals from 100 px and black, fakes from 200 px and white; three in val, nine in train."""
    rows = []
    for i in range(12):
        fake = i % 3 == 0
        Image.fromarray(np.full((8, 8, 3), 255 * fake, np.uint8)).save(tmp_path / f"{i}.png")
        where, label = ("val" if i > 8 else "train"), ("FAKE" if fake else "REAL")
        rows.append((f"{i}.png", label, None, None, where, 10 * i + (200 if fake else 100)))
    columns = ["file", "label", "original", "identity", "split", "original_width"]
    return LabelledFaces(pd.DataFrame(rows, columns=columns), tmp_path)


def heights(ax) -> list[list[float]]:
    return [[bar.get_height() for bar in bars] for bars in ax.containers]


def legend(ax) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_balance(faces: LabelledFaces) -> None:
    ax = plot_balance(faces)
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["train", "val"]
    assert heights(ax) == [[6, 2], [3, 1]]
    assert legend(ax) == ["real", "fake"]
    assert {"6", "2", "3", "1"} <= {text.get_text() for text in ax.texts}


def test_balance_of_a_table_without_splits_and_with_one_label(faces: LabelledFaces) -> None:
    faces.table["split"] = None
    ax = plot_balance(faces.take(np.flatnonzero(faces.y == 0)), pyplot.subplots()[1])
    assert [tick.get_text() for tick in ax.get_xticklabels()] == ["not split"]
    assert heights(ax) == [[8], [0]]


def test_original_sizes(faces: LabelledFaces) -> None:
    ax = plot_sizes(faces)
    assert legend(ax)[:2] == ["real (8)", "fake (4)"]
    for stairs in ax.patches:
        assert stairs.get_data()[0].sum() == pytest.approx(1)
    shares, edges, _ = ax.patches[0].get_data()
    assert edges[:-1][shares > 0].max() < 220  # real faces are at most 210 px wide
    assert "12 of 12 faces" in ax.get_title()


def test_unknown_sizes(faces: LabelledFaces) -> None:
    faces.table.loc[0, "original_width"] = np.nan
    assert "11 of 12 faces" in plot_sizes(faces).get_title()
    ax = plot_sizes(LabelledFaces(faces.table.drop(columns="original_width"), faces.root))
    assert "are not known" in ax.texts[0].get_text()
    assert not ax.patches


def test_brightness(faces: LabelledFaces) -> None:
    (faces.root / "1.png").write_bytes(b"")
    ax = plot_brightness(faces)
    assert ax.get_title() == "Brightness of 11 of 12 faces; 1 more could not be read"
    real, fake = (stairs.get_data()[0] for stairs in ax.patches)
    assert (real[0], real[1:].max()) == (1, 0)
    assert (fake[-1], fake[:-1].max()) == (1, 0)


def test_brightness_of_a_sample(faces: LabelledFaces) -> None:
    assert plot_brightness(faces, limit=5).get_title() == "Brightness of 5 of 12 faces"
