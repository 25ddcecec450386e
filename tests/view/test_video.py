"""Plots of a video agree with its report."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from helpers.video_records import portrait, report, sighting
from matplotlib.figure import Figure

from redeepfake_nb import Explanation, view
from redeepfake_nb.models.tested_kinds import KindResult


def lines(ax) -> dict[str, tuple[list, list]]:
    return {
        line.get_label(): (list(line.get_xdata()), list(line.get_ydata()))
        for line in ax.lines
        if not line.get_label().startswith("_") and len(line.get_xdata())
    }


def test_timeline_has_one_line_per_person_and_breaks_at_gaps() -> None:
    times = np.arange(20) * 0.5
    seen = [sighting(t, 2.0) for t in times if not 3 <= t <= 6] + [sighting(t, -2.0, 1) for t in times[:6]]
    ax = view.plot_timeline(report(*seen, times=times), Figure())
    found = lines(ax)
    assert set(found) == {"person 1: 0.88", "person 2: 0.12", "no face found"}
    assert found["person 1: 0.88"][0] == [0.0, 0.5, 1.0, 1.5, 2.0, 2.5]
    # The second segment of person 1 is its own line, without a label.
    assert any(list(line.get_xdata()) == list(times[times > 6]) for line in ax.lines)
    assert found["no face found"][0] == list(times[(times >= 3) & (times <= 6)])
    assert ax.get_xlabel() == "time (s)"


def test_timeline_marks_tracked_faces_and_the_time() -> None:
    seen = [sighting(0.0, 2.0), sighting(0.2, 2.0, bridged=True), sighting(0.4, -2.0)]
    ax = view.plot_timeline(report(*seen), Figure(), time=0.2)
    hollow = [line for line in ax.lines if line.get_marker() == "D" and line.get_markerfacecolor() == "white"]
    assert [list(line.get_xdata()) for line in hollow if len(line.get_xdata())] == [[0.2]]
    assert any(list(line.get_xdata()) == [0.2, 0.2] for line in ax.lines)


def test_timeline_without_faces_and_without_frames() -> None:
    ax = view.plot_timeline(report(times=np.arange(3.0)), Figure())
    message = "no face was found\n0 of 3 frames looked at had a face, one every 1.0 s"
    assert message in [text.get_text() for text in ax.texts]
    view.plot_timeline(report(times=np.zeros(0), duration=None), Figure())


@pytest.mark.parametrize("people", [1, 3, 6])
def test_persons(people: int) -> None:
    seen = [sighting(0.1 * i, 2.0 - p, p) for i in range(6) for p in range(people)]
    made = report(*seen, portraits={p: portrait(p) for p in range(people) if p != 1})
    axes = view.plot_persons(made, Figure())
    assert len(axes) == people
    caption = " ".join(axes[0].get_title().split())
    assert caption.startswith("person 1: points to manipulation P(fake) 0.88")
    assert "(single frames 0.88 to 0.88) 6 of 6 sampled frames" in caption
    if people > 1:
        assert [t.get_text() for t in axes[1].texts] == ["no image was kept"]


def test_suspicious_frames() -> None:
    strong = [portrait(0, 3.0), portrait(1, 1.0)]
    heat = np.zeros((100, 100), np.float32)
    heat[40:60, 40:60] = 1
    full = Explanation(strong[0], heat, "gradcam", "fake", "conv", 2.0, 0.0)
    empty = replace(full, prediction=strong[1], heatmap=np.zeros_like(heat), peak=0.0)
    made = report(sighting(0.0, 3.0), evidence=tuple(strong), explanations=(full, empty))
    axes = view.plot_suspicious_frames(made, Figure())
    titles = [ax.get_title().split("\n") for ax in axes]
    assert titles[0][0] == "P(fake) 0.95 at 0.12 s"
    assert titles[0][-1] == "Grad-CAM, peak 2"
    assert " ".join(titles[1]).endswith("Grad-CAM, no positive evidence")
    pixels = [ax.images[0].get_array() for ax in axes]
    assert not np.array_equal(pixels[0], strong[0].face.crop(0.0))
    np.testing.assert_array_equal(pixels[1], strong[1].face.crop(0.0))


def test_messages_without_persons_or_frames() -> None:
    nothing = report(times=np.arange(3.0))
    assert len(view.plot_persons(nothing, Figure())) == 1
    assert len(view.plot_suspicious_frames(nothing, Figure())) == 1


def test_a_grid_needs_a_figure() -> None:
    made = report(sighting(0.0, 1.0), portraits={0: portrait(0)})
    with pytest.raises(ValueError, match="several panels"):
        view.plot_persons(made, Figure().subplots())


def test_timeline_hatches_seconds_that_are_known_to_be_manipulated() -> None:
    seen = [sighting(t, 2.0) for t in np.arange(4.0)]
    ax = view.plot_timeline(report(*seen), Figure(), manipulated=(1.0, 2.5))
    (area,) = [patch for patch in ax.patches if patch.get_hatch()]
    assert (area.get_x(), area.get_width()) == (1.0, 1.5)


def test_the_whole_headline_is_above_the_timeline():
    missed = tuple(
        KindResult(kind, "A", 0.3, 0.2, 0.4, 100, 100) for kind in ("generated", "swapped", "edited")
    )
    made = report(*[sighting(i / 4, -3.0) for i in range(8)])
    made = replace(made, card=replace(made.card, tested_on=missed)).at_threshold(0.5)
    ax = view.plot_timeline(made, Figure(figsize=(9, 4), layout="constrained"))
    ax.figure.draw_without_rendering()
    box = ax.title.get_window_extent()
    assert ax.get_title().replace("\n", " ").startswith(made.verdict.headline)
    assert "edited by hand" in made.verdict.headline
    assert 0 <= box.x0 < box.x1 <= ax.figure.bbox.width
    assert box.y1 <= ax.figure.bbox.height
