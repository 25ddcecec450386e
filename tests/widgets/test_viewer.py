"""``PictureViewer``: what it shows, and which messages of a browser it follows."""

from __future__ import annotations

import pytest

from redeepfake_nb.view.regions import Png, Region, TimeAxis
from redeepfake_nb.widgets.viewer import PictureViewer


@pytest.fixture
def said() -> list[object]:
    return []


@pytest.fixture
def viewer(said: list[object]) -> PictureViewer:
    made = PictureViewer("Two faces")
    made.on_choose(lambda index: said.append(("face", index)))
    made.on_time(lambda time: said.append(("time", time)), lambda by: said.append(("step", by)))
    png = Png(b"png")
    png.width = 6.0
    png.regions = (Region("Face 1", (0, 0, 0.5, 1)), Region("Face 2", (0.5, 0, 1, 1)))
    png.time_axis = TimeAxis((0.1, 0, 0.9, 0.8), 0.0, 8.0)
    made.show(png, chosen=1, time=2.0)
    return made


def test_a_drawing_brings_its_regions_and_its_time_axis(viewer: PictureViewer) -> None:
    assert (viewer.value, viewer.chosen, viewer.time, viewer.layout.display) == (b"png", 1, 2.0, "")
    assert viewer.regions == [["Face 1", 0, 0, 0.5, 1], ["Face 2", 0.5, 0, 1, 1]]
    assert viewer.time_axis == [0.1, 0, 0.9, 0.8, 0.0, 8.0]
    assert viewer.max_width == 750
    viewer.show(b"other", [Region("Face", (0, 0, 1, 1))], width=300)
    assert (viewer.regions, viewer.time_axis, viewer.max_width) == ([["Face", 0, 0, 1, 1]], [], 300)
    assert viewer.chosen is None
    viewer.show(b"")
    assert (viewer.regions, viewer.layout.display) == ([], "none")


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        ({"region": 0}, [("face", 0)]),
        ({"region": 2}, []),
        ({"region": True}, []),
        ({"time": 3.5}, [("time", 3.5)]),
        ({"time": 99}, [("time", 8.0)]),
        ({"time": float("nan")}, []),
        ({"time": "3"}, []),
        ({"step": -1}, [("step", -1)]),
        ({"step": 5}, []),
        ({}, []),
        (None, []),
        ([1], []),
    ],
)
def test_messages(message: object, expected: list[object], viewer: PictureViewer, said: list[object]) -> None:
    viewer._handle_custom_msg(message, [])
    assert said == expected


def test_no_region_that_is_not_there_is_marked(viewer: PictureViewer) -> None:
    viewer.chosen = 7
    assert viewer.chosen is None
