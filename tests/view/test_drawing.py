"""Where things lie in a PNG, figures for narrow places, and faces in the picture's own pixels."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from helpers.reports import make_report
from helpers.video_records import portrait, report, sighting
from matplotlib.figure import Figure
from PIL import Image

from redeepfake_nb import view
from redeepfake_nb.analysis.image import ImageReport
from redeepfake_nb.view.style import FONT, WIDTH, narrowed


def pixels_of(png: bytes) -> np.ndarray:
    return np.array(Image.open(io.BytesIO(png)).convert("RGB"))


@pytest.mark.parametrize("width", [None, 5.0])
def test_a_png_says_where_the_faces_are(width: float | None) -> None:
    found = make_report([2.0, -2.0])
    for prediction in found.predictions:
        left, top, right, bottom = prediction.face.box
        found.frame.image.setflags(write=True)
        found.frame.image[top:bottom, left:right] = (250, 0, 250)
    png = view.to_png(view.plot_faces, found, width=width)
    assert [r.name for r in png.regions] == ["Face 1", "Face 2"]
    height, across = (pixels := pixels_of(png)).shape[:2]
    assert across == pytest.approx(100 * (width or WIDTH), abs=2)
    for region in png.regions:
        left, top, right, bottom = (
            round(part * side) for part, side in zip(region.box, [across, height] * 2, strict=True)
        )
        inside = pixels[top + 6 : bottom - 6, left + 6 : right - 6]
        assert np.abs(inside.astype(int) - (250, 0, 250)).max(axis=2).mean() < 12
        assert np.abs(pixels[top + 20, right + 8].astype(int) - (250, 0, 250)).max() > 20
    assert png.time_axis is None


def test_a_png_says_where_the_seconds_are() -> None:
    found = report(*[sighting(float(i), 2.0) for i in range(5)], duration=8.0)
    png = view.to_png(view.plot_timeline, found, time=2.0, width=6.0)
    axis = png.time_axis
    assert axis is not None
    assert (axis.first, axis.last) == (0.0, 8.0)
    pixels = pixels_of(png)
    x = round((axis.box[0] + (axis.box[2] - axis.box[0]) * 2 / 8) * pixels.shape[1])
    middle = round((axis.box[1] + axis.box[3]) / 2 * pixels.shape[0])
    assert pixels[middle - 5 : middle + 5, x - 1 : x + 2].min() < 120, "the line at 2 s"
    assert png.regions == ()


def test_persons_and_strongest_frames_are_regions_the_most_suspicious_first() -> None:
    seen = [sighting(0.5 * i, 2.0 * p - 1, p) for i in range(6) for p in range(2)]
    evidence = (portrait(0), portrait(1))
    found = report(*seen, portraits={0: portrait(0), 1: portrait(1)}, evidence=evidence)
    assert found.most_suspicious == (1, 0)
    png = view.to_png(view.plot_persons, found, width=6.0)
    assert [r.name for r in png.regions] == ["person 2", "person 1"]
    assert png.regions[0].box[2] <= png.regions[1].box[0]
    strongest = view.to_png(view.plot_suspicious_frames, found).regions
    assert len(strongest) == 2


def _sizes(plot: Callable, record: object) -> tuple[float, float]:
    """Width of a figure in inches, and its smallest letters."""
    figure = Figure()
    plot(record, figure)
    letters = [t.get_fontsize() for t in figure.findobj(lambda a: hasattr(a, "get_fontsize")) if t.get_text()]
    return figure.get_figwidth(), min(letters)


@pytest.mark.parametrize(
    ("plot", "pick"),
    [
        (view.plot_faces, lambda r: r),
        (view.plot_probabilities, lambda r: r),
        (view.plot_explanation, lambda r: r.explanations[0]),
    ],
)
def test_a_narrow_figure_keeps_its_letters(plot: Callable, pick: Callable) -> None:
    record = pick(make_report([1.0, -1.0], heat=True))
    with narrowed(5.0):
        width, letters = _sizes(plot, record)
    assert width <= 5.0
    assert letters >= FONT
    assert _sizes(plot, record)[0] > 5.0


def test_a_face_in_the_pictures_own_pixels_with_and_without_its_heatmap() -> None:
    found: ImageReport = make_report([1.0], heat=True)
    explanation = found.explanations[0]
    left, top, right, bottom = found.predictions[0].face.crop_box(0.25)
    plain = view.face_detail(found.predictions[0])
    np.testing.assert_array_equal(plain, found.frame.image[top:bottom, left:right])
    heated = view.face_detail(found.predictions[0], explanation, strength=1.0, scale="peak")
    assert heated.shape == plain.shape
    x0, y0, x1, y1 = found.predictions[0].face.box
    changed = (heated != plain).any(axis=2)
    assert changed[y0 - top : y1 - top, x0 - left : x1 - left].mean() > 0.99
    changed[y0 - top : y1 - top, x0 - left : x1 - left] = False
    assert not changed.any(), "outside what the model saw"
    with pytest.raises(ValueError, match="strength"):
        view.face_detail(found.predictions[0], explanation, strength=2.0)
