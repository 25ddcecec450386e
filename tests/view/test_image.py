"""Plots of synthetic records: what is drawn, where, and which text."""

from __future__ import annotations

import io
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise

import matplotlib as mpl
import numpy as np
import pytest

mpl.use("Agg")

from helpers.hand_made_face import hand_made
from matplotlib import pyplot
from matplotlib.figure import Figure
from PIL import Image

from redeepfake_nb import view
from redeepfake_nb.analysis.image import ImageReport
from redeepfake_nb.analysis.verdict import judge
from redeepfake_nb.explanation.heatmaps import Explanation, MethodComparison, rank_correlations
from redeepfake_nb.faces.face import Face
from redeepfake_nb.media.frames import Frame, Source
from redeepfake_nb.models.card import Card
from redeepfake_nb.models.prediction import Prediction
from redeepfake_nb.models.tested_kinds import KindResult
from redeepfake_nb.view.heatmap import COLORMAP
from redeepfake_nb.view.label_layout import label_size, overlap, place_labels
from redeepfake_nb.view.palette import COLORS, LINES

CARD = Card(name="hand", version="1", temperature=1.0)


def make_report(
    logits, *, boxes=None, size=(120, 400), name="photo.jpg", heat=False, card=CARD, threshold=0.5
):
    """Faces of 80 px side by side on a grey picture; each heatmap is a ramp from left to right."""
    frame = Frame(np.full((*size, 3), 128, np.uint8), source=Source(name, "0" * 64, "PNG", 1))
    boxes = boxes or [(10 + 90 * i, 20, 90 + 90 * i, 100) for i in range(len(logits))]
    predictions = tuple(
        Prediction(Face(frame, box), logit, card.temperature)
        for box, logit in zip(boxes, logits, strict=True)
    )
    explanations = tuple(make_explanation(p, peak=0.25) for p in predictions) if heat else ()
    return ImageReport(frame, predictions, judge(predictions, card, threshold), card, explanations)


def make_explanation(prediction, peak):
    height, width = prediction.face.height, prediction.face.width
    ramp = np.linspace(0, 1, width, dtype=np.float32) * np.ones((height, 1), np.float32)
    return Explanation(prediction, ramp if peak else ramp * 0, "gradcam", "fake", "last_$conv_", peak, 0.0)


def texts(ax):
    """Everything written on axes besides their title."""
    return [t.get_text() for t in ax.texts]


def boxes_of(ax):
    return [p for p in ax.patches if isinstance(p, mpl.patches.Rectangle)]


@pytest.fixture
def figure():
    return Figure()


# overlay


def test_overlay_by_hand():
    image = np.full((1, 3, 3), 100, np.uint8)
    heatmap = np.array([[0.0, 0.5, 1.0]])
    colors = np.array(mpl.colormaps[COLORMAP]([0.0, 0.5, 1.0]))[:, :3] * 255
    expected = [100 * (1 - 0.5 * h) + c * 0.5 * h for h, c in zip(heatmap[0], colors, strict=True)]
    got = view.overlay(image, heatmap, 0.5)
    assert got.dtype == np.uint8
    assert (got[0, 0] == 100).all()
    np.testing.assert_allclose(got[0], expected, atol=1)


def test_overlay_at_full_strength_is_the_hottest_colour():
    got = view.overlay(np.zeros((1, 1, 3), np.uint8), np.ones((1, 1)), 1)
    np.testing.assert_allclose(got[0, 0], np.array(mpl.colormaps[COLORMAP](1.0))[:3] * 255, atol=0.5)


def test_overlay_without_strength_is_an_equal_copy(rng):
    image = rng.integers(0, 256, (5, 7, 3), np.uint8)
    got = view.overlay(image, rng.random((5, 7)), 0)
    assert (got == image).all()
    assert not np.shares_memory(got, image)


def test_overlay_does_not_modify_its_inputs(rng):
    image, heatmap = rng.integers(0, 256, (5, 7, 3), np.uint8), rng.random((5, 7))
    before = image.copy(), heatmap.copy()
    image.flags.writeable = heatmap.flags.writeable = False
    view.overlay(image, heatmap, 0.7)
    assert (image == before[0]).all()
    assert (heatmap == before[1]).all()


@pytest.mark.parametrize(
    ("image", "heatmap", "strength"),
    [
        (np.zeros((2, 2, 3), np.float32), np.zeros((2, 2)), 0.5),
        (np.zeros((2, 2), np.uint8), np.zeros((2, 2)), 0.5),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 3)), 0.5),
        (np.zeros((2, 2, 3), np.uint8), np.full((2, 2), 1.01), 0.5),
        (np.zeros((2, 2, 3), np.uint8), np.full((2, 2), -0.01), 0.5),
        (np.zeros((2, 2, 3), np.uint8), np.full((2, 2), np.nan), 0.5),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2)), 1.01),
        (np.zeros((2, 2, 3), np.uint8), np.zeros((2, 2)), float("nan")),
    ],
)
def test_overlay_refuses(image, heatmap, strength):
    with pytest.raises(ValueError, match="must"):
        view.overlay(image, heatmap, strength)


# Labels


def test_label_goes_above_the_box_where_there_is_room():
    form, corners = place_labels([(50, 50, 90, 90)], [["1  0.9"]], (200, 200), 10)
    assert (form, corners) == (0, [(50, 50 - label_size("1  0.9", 10)[1])])


def test_label_at_the_top_goes_below():
    assert place_labels([(50, 0, 90, 40)], [["1"]], (200, 200), 10)[1] == [(50, 40)]


def test_labels_stay_inside_and_get_shorter_until_none_overlap():
    boxes = [(x, 60, x + 30, 90) for x in range(0, 300, 30)]
    forms = [["x" * 20] * 10, ["xx"] * 10, ["x"] * 10]
    form, corners = place_labels(boxes, forms, (300, 150), 10)
    width, height = label_size(forms[form][0], 10)
    tags = [(x, y, x + width, y + height) for x, y in corners]
    assert form == 1
    assert all(t[0] >= 0 and t[1] >= 0 and t[2] <= 300 and t[3] <= 150 for t in tags)
    assert not any(overlap(a, b) > 0.01 for a in tags for b in tags if a is not b)


def test_crowded_faces_get_the_shortest_label():
    form, corners = place_labels([(0, 0, 5, 5)] * 20, [["xxx"] * 20, ["x"] * 20], (20, 20), 10)
    assert (form, len(corners)) == (1, 20)


@pytest.mark.parametrize(
    ("a", "b", "share"),
    [
        ((0, 0, 2, 2), (2, 0, 4, 2), 0.0),
        ((0, 0, 2, 2), (1, 1, 3, 3), 0.25),
        ((0, 0, 2, 2), (-9, -9, 9, 9), 1.0),
    ],
)
def test_overlap(a, b, share):
    assert overlap(a, b) == share


# plot_faces


def test_faces_differ_by_colour_and_line(figure):
    ax = view.plot_faces(make_report([4.0, -4.0]), figure)
    fake, real = boxes_of(ax)
    assert fake.get_bbox().extents.tolist() == [10, 20, 90, 100]
    assert real.get_bbox().extents.tolist() == [100, 20, 180, 100]
    assert [p.get_edgecolor() for p in (fake, real)] == [
        mpl.colors.to_rgba(COLORS[k]) for k in ("fake", "real")
    ]
    assert [p.get_linestyle() for p in (fake, real)] == [LINES["fake"], LINES["real"]]
    assert LINES["fake"] != LINES["real"]
    assert texts(ax) == ["1  P(fake) 0.98", "2  P(fake) 0.02"]
    assert [t.get_text() for t in ax.get_legend().get_texts()] == [
        "P(fake) at or over 0.50",
        "P(fake) under 0.50",
    ]


def test_doubtful_face_has_a_question_mark(figure):
    ax = view.plot_faces(make_report([0.1]), figure)
    assert texts(ax) == ["1  P(fake) 0.52?"]
    assert "?: score in doubt" in [t.get_text() for t in ax.get_legend().get_texts()]


def test_labels_follow_the_reports_threshold(figure):
    ax = view.plot_faces(make_report([1.0]).at_threshold(0.9), figure)
    assert boxes_of(ax)[0].get_linestyle() == LINES["real"]


def test_no_face_is_reported(figure):
    report = make_report([])
    ax = view.plot_faces(report, figure)
    assert texts(ax) == ["no face was found"]
    assert not boxes_of(ax)
    assert report.verdict.headline in ax.get_title()
    view.to_png(view.plot_faces, report)


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("photo.jpg", "photo.jpg"),
        ("$x_{1}$ 50% \\frac.jpg", "$x_{1}$ 50% \\frac.jpg"),
        ("unclosed $_{.jpg", "unclosed $_{.jpg"),
        ("<img src=x onerror=alert(1)>.jpg", "<img src=x onerror=alert(1)>.jpg"),
        ("two\nlines\u202e.jpg", "two\\nlines\\u202e.jpg"),
        ("照片.jpg", "\ufffd\ufffd.jpg"),
    ],
)
def test_names_are_shown_as_they_are(name, shown):
    # Formulas are parsed and glyphs looked up on drawing, which would then fail or warn.
    report = make_report([3.0], name=name)
    assert view.plot_faces(report, Figure()).get_title().split("\n") == [report.verdict.headline, shown]
    view.to_png(view.plot_faces, report)


def test_long_name_is_cut(figure):
    title = view.plot_faces(make_report([3.0], name="a" * 200 + ".jpg"), figure).get_title()
    assert "…" in title
    assert max(map(len, title.split("\n"))) <= 100


def test_axes_are_in_frame_pixels_whatever_is_drawn(figure):
    report = make_report([3.0], boxes=[(3000, 1000, 3900, 1900)], size=(3000, 4000))
    ax = view.plot_faces(report, figure)
    (image,) = ax.images
    assert image.get_array().shape == (1200, 1600, 3)
    assert tuple(image.get_extent()) == (0, 4000, 3000, 0)
    assert boxes_of(ax)[0].get_bbox().extents.tolist() == [3000, 1000, 3900, 1900]
    assert ax.get_aspect() == 1


def test_heatmaps_lie_on_the_faces_only(figure):
    report = make_report([3.0, -3.0], heat=True)
    cold = view.plot_faces(report, Figure()).images[0].get_array()
    ax = view.plot_faces(report, figure, strength=0.5)
    hot = ax.images[0].get_array()
    changed = (hot != cold).any(axis=2)
    assert (cold == 128).all()
    # The ramps are zero at their left edges.
    assert changed[20:100, 60:90].all()
    assert changed[20:100, 150:180].all()
    changed[20:100, 10:90] = changed[20:100, 100:180] = False
    assert not changed.any()
    title = ax.get_title().replace("\n", " ")
    assert "Grad-CAM for fake at last_$conv_, strength 0.50; peak 0.25 (face 1)" in title


def test_heatmap_of_a_downscaled_image_lies_on_the_face(figure):
    report = make_report([3.0], boxes=[(2000, 400, 2400, 800)], size=(1600, 3200), heat=True)
    pixels = view.plot_faces(report, figure, strength=1).images[0].get_array()
    rows, columns = np.nonzero((pixels != 128).any(axis=2))
    assert pixels.shape == (800, 1600, 3)
    assert (rows.min(), rows.max(), columns.max()) == (200, 399, 1199)
    assert 1000 <= columns.min() <= 1002


def test_face_without_evidence_gets_no_overlay(figure):
    report = make_report([3.0])
    report = report.with_explanations([make_explanation(report.predictions[0], peak=0.0)])
    ax = view.plot_faces(report, figure, strength=1)
    assert (ax.images[0].get_array() == 128).all()
    assert "no positive evidence" in ax.get_title().replace("\n", " ")


def test_many_peaks_are_given_as_a_range(figure):
    report = make_report([3.0] * 5, size=(120, 500))
    peaks = [0.5, 0.0, 0.25, 2.0, 1.0]
    report = report.with_explanations(
        [make_explanation(p, k) for p, k in zip(report.predictions, peaks, strict=True)]
    )
    title = view.plot_faces(report, figure, strength=0.5).get_title().replace("\n", " ")
    assert "peaks 0.25 to 2, 0 for 1" in title


def test_thirty_faces_have_legible_labels(figure):
    boxes = [
        (20 + 130 * (i % 10), 40 + 150 * (i // 10), 110 + 130 * (i % 10), 130 + 150 * (i // 10))
        for i in range(30)
    ]
    ax = view.plot_faces(make_report([2.0] * 30, boxes=boxes, size=(500, 1350)), figure)
    figure.canvas.draw()
    extents = [t.get_window_extent().extents for t in ax.texts]
    assert len(extents) == 30
    assert not any(overlap(a, b) > 0.05 for i, a in enumerate(extents) for b in extents[i + 1 :])


# plot_explanation


def test_explanation_shows_crop_overlay_and_heatmap(figure):
    explanation = make_report([1.0], heat=True).explanations[0]
    axes = view.plot_explanation(explanation, figure, strength=0.5)
    crop = explanation.prediction.face.crop(0.0)
    pixels = [ax.images[0].get_array() for ax in axes]
    assert (pixels[0] == crop).all()
    assert (pixels[1] == view.overlay(crop, explanation.heatmap, 0.5)).all()
    np.testing.assert_allclose(pixels[2][0, -1], np.array(mpl.colormaps[COLORMAP](1.0))[:3] * 255, atol=0.5)
    assert [ax.get_title() for ax in axes] == ["crop", "overlay, strength 0.50", "heatmap"]
    assert figure.get_suptitle() == "P(fake) 0.73; Grad-CAM for fake at last_$conv_, peak 0.25"
    assert "share of peak" in [ax.get_ylabel() for ax in figure.axes]


def test_colours_mean_the_same_for_all_faces(figure):
    """Half of the full colour at the peak for 2 of 4 log-odds; the own scale on request."""
    weak = replace(make_report([1.0], heat=True).explanations[0], evidence=1.0, intensity=2.0)
    full = np.array(mpl.colormaps[COLORMAP](1.0))[:3] * 255
    half = np.array(mpl.colormaps[COLORMAP](0.5))[:3] * 255
    axes = view.plot_explanation(weak, figure)
    np.testing.assert_allclose(axes[2].images[0].get_array()[0, -1], half, atol=1)
    assert "log-odds for fake" in [ax.get_ylabel() for ax in figure.axes]
    assert "without the marked places P(fake) would be about 0.50" in figure.get_suptitle().replace("\n", " ")
    figure.clear()
    axes = view.plot_explanation(weak, figure, scale="peak")
    np.testing.assert_allclose(axes[2].images[0].get_array()[0, -1], full, atol=1)


def test_empty_explanation_has_a_message_and_no_overlay(figure):
    report = make_report([-1.0])
    axes = view.plot_explanation(make_explanation(report.predictions[0], peak=0.0), figure)
    assert [texts(ax) for ax in axes] == [[], ["no positive evidence"], ["no positive evidence"]]
    assert (axes[1].images[0].get_array() == 128).all()
    assert len(np.unique(axes[2].images[0].get_array())) == 1
    assert len(figure.axes) == 3, "no colour bar"
    assert "no positive evidence" in figure.get_suptitle()


def test_explanation_on_given_axes_is_the_overlay(figure):
    explanation = make_report([1.0], heat=True).explanations[0]
    left, right = figure.subplots(1, 2)
    assert view.plot_explanation(explanation, right, strength=1) is right
    assert not left.images
    crop = explanation.prediction.face.crop(0.0)
    assert (right.images[0].get_array() == view.overlay(crop, explanation.heatmap, 1)).all()
    assert "peak 0.25" in right.get_title().replace("\n", " ")


def test_explanation_fills_a_subfigure(figure):
    explanation = make_report([1.0], heat=True).explanations[0]
    above, below = figure.subfigures(2, 1)
    view.plot_explanation(explanation, below)
    assert not above.axes
    assert "Grad-CAM" in below.get_suptitle()


@pytest.mark.parametrize("parts", [(), ("crop", "mask")])
def test_explanation_refuses_parts(parts, figure):
    with pytest.raises(ValueError, match="parts are"):
        view.plot_explanation(make_report([1.0], heat=True).explanations[0], figure, parts=parts)


@pytest.fixture(scope="module")
def landmarked():
    """An explanation of a face with landmarks: all heat on its left half."""
    frame = Frame(np.full((200, 200, 3), 128, np.uint8))
    prediction = Prediction(Face(frame, (0, 0, 200, 200), hand_made()), 1.0, 1.0)
    heat = np.zeros((200, 200), np.float32)
    heat[:, :100] = 1
    return Explanation(prediction, heat, "gradcam", "fake", "conv", 0.5, 0.0)


def test_outlines_on_demand(landmarked, figure):
    plain = view.plot_explanation(landmarked, Figure())
    assert not any(ax.collections for ax in plain)
    axes = view.plot_explanation(landmarked, figure, regions=True)
    assert [len(ax.collections) for ax in axes] == [0, 7, 7]
    assert landmarked.regions.sentence.replace(" ", "") in figure.get_suptitle().replace("\n", "").replace(
        " ", ""
    )
    assert (axes[1].get_xlim(), axes[1].get_ylim()) == (plain[1].get_xlim(), plain[1].get_ylim())


def test_outlines_without_landmarks_give_the_reason(figure):
    axes = view.plot_explanation(make_report([1.0], heat=True).explanations[0], figure, regions=True)
    assert not any(ax.collections for ax in axes)
    assert "No landmarks were found" in figure.get_suptitle()


# plot_regions


def test_regions_are_bars_of_evidence_beside_area(landmarked, figure):
    ax = view.plot_regions(landmarked, figure)
    table = landmarked.regions.table
    assert [t.get_text() for t in ax.get_yticklabels()] == list(table["region"])
    widths = [bar.get_width() for bar in boxes_of(ax)]
    np.testing.assert_allclose(widths, [*table["evidence"] * 100, *table["area"] * 100])
    assert texts(ax) == [f"{ratio:.1f} x" for ratio in table["ratio"]]
    assert "Grad-CAM for fake at conv, peak 0.5" in ax.get_title()


def test_regions_of_an_empty_heatmap(landmarked, figure):
    empty = replace(landmarked, heatmap=landmarked.heatmap * 0, peak=0.0)
    ax = view.plot_regions(empty, figure)
    assert not any(texts(ax))
    title = ax.get_title().replace("\n", " ")
    assert "finds no place, though the score says fake" in title
    assert "there is no positive evidence" in title


def test_regions_without_landmarks_say_why(figure):
    ax = view.plot_regions(make_report([1.0], heat=True).explanations[0], figure)
    assert "No landmarks were found" in texts(ax)[0].replace("\n", " ")
    assert not boxes_of(ax)


# plot_comparison


@pytest.fixture(scope="module")
def comparison(landmarked):
    """Three methods, the last of which found nothing."""
    others = [
        replace(landmarked, method="saliency", heatmap=landmarked.heatmap[:, ::-1]),
        replace(landmarked, method="layercam", heatmap=landmarked.heatmap * 0, peak=0.0),
    ]
    found = (landmarked, *others)
    agreement = rank_correlations([e.heatmap for e in found])
    return MethodComparison(found, (0.012, 2.0, 0.1), agreement, {"saliency": {"deletion": 0.25}})


def test_comparison_shows_crop_methods_and_correlations(comparison, figure):
    axes = view.plot_comparison(comparison, figure, strength=0.5)
    titles = [ax.get_title().split("\n") for ax in axes]
    assert [t[0] for t in titles] == [
        "crop",
        "Grad-CAM",
        "SmoothGrad saliency",
        "Layer-CAM",
        "rank correlation",
    ]
    assert titles[1][1] == "peak 0.5"
    assert (titles[2][1], titles[2][-1]) == ("peak 0.5", "deletion 0.25")
    assert titles[3][1] == "no evidence"
    crop = comparison.prediction.face.crop(0.0)
    heat = comparison.explanations[1].heatmap
    assert (axes[2].images[0].get_array() == view.overlay(crop, heat, 0.5)).all()
    assert texts(axes[3]) == ["not found by this method"]
    # Rows of the matrix have names, as its columns.
    names = [[label.get_text() for label in axis.get_ticklabels()] for axis in (axes[4].xaxis, axes[4].yaxis)]
    assert names[0] == names[1] == ["Grad-CAM", "SmoothGrad\nsaliency", "Layer-CAM"]
    values = comparison.agreement
    assert values[0, 1] < -0.8
    assert (
        texts(axes[4])
        == ["1.00", f"{values[0, 1]:.2f}", "none", f"{values[0, 1]:.2f}", "1.00"] + ["none"] * 4
    )


def test_captions_of_a_comparison_stay_in_their_columns(landmarked, figure):
    methods = ("gradcam", "gradcam++", "layercam", "hirescam", "saliency", "scorecam")
    found = tuple(replace(landmarked, method=method) for method in methods)
    agreement = rank_correlations([e.heatmap for e in found])
    comparison = MethodComparison(found, (9.0,) * len(found), agreement, {})
    axes = view.plot_comparison(comparison, figure)
    figure.canvas.draw()
    boxes = [ax.title.get_window_extent() for ax in axes]
    assert min(box.x0 for box in boxes) >= 0
    for row in (boxes[1:4], boxes[4:7]):
        for left, right in pairwise(row):
            assert left.x1 < right.x0


def test_comparison_on_given_axes_is_the_correlations(comparison, figure):
    left, right = figure.subplots(1, 2)
    assert view.plot_comparison(comparison, right) is right
    assert not left.images
    assert len(right.images) == 1


# plot_probabilities


def test_probabilities(figure):
    ax = view.plot_probabilities(make_report([2.0, -2.0, 0.1]), figure)
    markers = [line for line in ax.lines if line.get_marker() in ("D", "o")]
    assert [(m.get_marker(), m.get_ydata()[0]) for m in markers] == [("D", 0), ("D", 1), ("o", 2)]
    np.testing.assert_allclose([m.get_xdata()[0] for m in markers], 1 / (1 + np.exp([-2.0, -0.1, 2.0])))
    assert [m.get_markerfacecolor() for m in markers] == [COLORS["fake"], "white", COLORS["real"]]
    assert texts(ax) == ["threshold 0.50, inconclusive within 0.10", "0.88", "0.52 ?", "0.12"]
    # The highest first; numbers are those in the picture.
    assert [t.get_text() for t in ax.get_yticklabels()] == ["face 1", "face 3", "face 2"]
    assert ax.get_xlim() == (0, 1)
    assert ax.get_ylim()[0] > ax.get_ylim()[1], "the first is at the top"


@pytest.mark.parametrize(
    ("temperature", "threshold", "band", "words"),
    [
        (1.0, 0.5, (0.4, 0.6), "P(fake)"),
        (None, 0.5, (0.25, 0.75), "P(fake), never calibrated"),
        (1.0, 0.05, (0.0, 0.15), "P(fake)"),
        (None, 0.9, (0.65, 1.0), "P(fake), never calibrated"),
    ],
)
def test_inconclusive_band(temperature, threshold, band, words, figure):
    report = make_report([1.0], card=Card(temperature=temperature), threshold=threshold)
    ax = view.plot_probabilities(report, figure)
    (shade,) = ax.patches
    np.testing.assert_allclose(shade.get_bbox().intervalx, band)
    assert ax.get_xlabel() == words
    assert texts(ax)[0].startswith(f"threshold {threshold:.2f}")


def test_probabilities_without_a_face(figure):
    ax = view.plot_probabilities(make_report([]), figure)
    assert texts(ax)[-1] == "no face was found"
    assert not ax.get_yticks().size


@pytest.mark.parametrize("plot", [view.plot_faces, view.plot_probabilities])
@pytest.mark.parametrize("figure_of_their_own", [True, False])
def test_the_whole_headline_is_inside_the_figure(plot, figure_of_their_own):
    missed = tuple(
        KindResult(kind, "A", 0.3, 0.2, 0.4, 100, 100) for kind in ("generated", "swapped", "edited")
    )
    report = make_report([-2.0], card=Card(temperature=1.0, tested_on=missed))
    ax = plot(report, None if figure_of_their_own else Figure(figsize=(5, 4)))
    ax.figure.draw_without_rendering()
    box = ax.title.get_window_extent()
    assert ax.get_title().replace("\n", " ").startswith(report.verdict.headline)
    assert 0 <= box.x0 < box.x1 <= ax.figure.bbox.width
    assert box.y1 <= ax.figure.bbox.height
    pyplot.close(ax.figure)


# Every plot


def all_plots():
    return [
        (view.plot_faces, lambda report: report),
        (view.plot_probabilities, lambda report: report),
        (view.plot_explanation, lambda report: report.explanations[0]),
        (view.plot_regions, lambda report: report.explanations[0]),
    ]


@pytest.mark.parametrize(("plot", "pick"), all_plots())
def test_plots_draw_on_given_axes_only(plot, pick, figure):
    report = make_report([1.0, -1.0], heat=True)
    other, mine = figure.subplots(1, 2)
    assert plot(pick(report), mine) is mine
    assert not other.images
    assert not other.texts
    figure.canvas.draw()
    assert not pyplot.get_fignums()


@pytest.mark.parametrize(("plot", "pick"), all_plots())
def test_plots_without_axes_are_pyplots_and_change_no_setting(plot, pick):
    settings = dict(mpl.rcParams)
    drawn = plot(pick(make_report([1.0], heat=True)))
    assert len(pyplot.get_fignums()) == 1
    assert np.atleast_1d(drawn)[0].figure is pyplot.gcf()
    pyplot.close("all")
    assert dict(mpl.rcParams) == settings


@pytest.mark.parametrize(("plot", "pick"), all_plots())
def test_png_has_no_metadata_and_needs_no_pyplot(plot, pick):
    data = view.to_png(plot, pick(make_report([1.0], heat=True)))
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.format == "PNG"
        assert set(picture.info) <= {"dpi"}
        assert picture.width <= 900
        assert len(picture.getcolors(2**24)) > 10
    assert not pyplot.get_fignums()


@pytest.mark.parametrize("plot", [view.plot_faces, view.plot_explanation])
@pytest.mark.parametrize("strength", [-0.1, 1.1, float("nan")])
def test_plots_refuse_strength(plot, strength, figure):
    report = make_report([1.0], heat=True)
    record = report if plot is view.plot_faces else report.explanations[0]
    with pytest.raises(ValueError, match="strength"):
        plot(record, figure, strength=strength)


@pytest.mark.parametrize("size", [(20, 20), (60, 1024), (1600, 90)])
def test_any_aspect_ratio_can_be_drawn(size):
    report = make_report([1.0], boxes=[(0, 0, 20, 20)], size=size, heat=True)
    with Image.open(io.BytesIO(view.to_png(view.plot_faces, report, strength=0.5))) as picture:
        assert 500 <= picture.width <= 900
        assert picture.height <= 700


def test_importing_view_chooses_no_backend():
    unwanted = {"matplotlib.pyplot", "tensorflow", "ipywidgets"}
    code = f"import sys, redeepfake_nb.view.image; sys.exit(bool({unwanted} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_each_heatmap_gets_its_own_figure() -> None:
    explanations = make_report([1.0, 2.0, 0.5], heat=True).explanations
    before = pyplot.get_fignums()
    view.plot_explanations(explanations, limit=2)
    opened = sorted(set(pyplot.get_fignums()) - set(before))
    assert len(opened) == 2
    for number in opened:
        pyplot.close(number)
    view.plot_explanations(())
    assert pyplot.get_fignums() == before
