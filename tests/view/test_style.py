"""Figures for a dark page."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from PIL import Image

from redeepfake_nb.view.drawing import to_png
from redeepfake_nb.view.style import make_dark


def _plot(words: str, figure: Figure) -> None:
    ax = figure.subplots()
    ax.set_title(words)
    ax.plot([0, 1], [0, 1], color="#D55E00")
    ax.plot([0, 1], [1, 0], color="black", label="black")
    ax.text(0.5, 0.5, "in a box", color="black", bbox={"facecolor": "white"})
    ax.legend()


def test_a_dark_figure_has_light_words_and_lines_and_no_background() -> None:
    figure = Figure()
    _plot("title", figure)
    make_dark(figure)
    (ax,) = figure.axes
    assert figure.get_facecolor()[3] == ax.get_facecolor()[3] == 0
    colours = [line.get_color() for line in ax.lines]
    assert colours == ["#D55E00", "#e6e6e6"]  # a colour that stands for something stays
    assert ax.title.get_color() == "#e6e6e6"
    assert ax.texts[0].get_color() == "black"  # on its own white ground
    assert {label.get_color() for label in ax.get_xticklabels()} == {"#e6e6e6"}
    assert ax.spines["left"].get_edgecolor()[:3] == (0.9019607843137255,) * 3


def test_a_picture_is_opaque_on_a_light_page_and_has_no_ground_on_a_dark_one() -> None:
    for dark, alpha in ((False, 255), (True, 0)):
        png = to_png(_plot, "title", dark=dark)
        assert np.asarray(Image.open(io.BytesIO(png)).convert("RGBA"))[0, 0, 3] == alpha


def test_numbers_on_pictures_keep_their_ink_and_grids_are_faint() -> None:
    figure = Figure()
    picture, plot = figure.subplots(1, 2)
    picture.imshow([[1.0]], cmap="gray", vmin=0, vmax=1)
    on_it, beside = picture.text(0, 0, "0.04", color="black"), plot.text(0, 0, "word", color="black")
    plot.grid(color="0.92")
    band = plot.fill_between([0, 1], [0, 0], [1, 1], color="black", alpha=0.12)
    make_dark(figure)
    assert on_it.get_color() == "black"
    assert beside.get_color() != "black"
    assert max(to_rgb(plot.get_xgridlines()[0].get_color())) < 0.4
    assert band.get_facecolor()[0].tolist() == pytest.approx([*to_rgb("#e6e6e6"), 0.12], abs=0.01)
