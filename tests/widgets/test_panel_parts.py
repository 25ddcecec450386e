"""The parts of a panel that have a side in the browser: script, strip, downloads, drawings."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import traitlets
from helpers.reports import make_report
from helpers.widget_trees import all_widgets
from PIL import Image

from redeepfake_nb import view
from redeepfake_nb.media.notes import Note
from redeepfake_nb.widgets import download as downloads
from redeepfake_nb.widgets import html as markup
from redeepfake_nb.widgets.batch_controls import BatchControls, BatchSettings
from redeepfake_nb.widgets.controls import Controls
from redeepfake_nb.widgets.download import Download
from redeepfake_nb.widgets.drawings import Drawings
from redeepfake_nb.widgets.image_controls import ImageControls, ImageSettings
from redeepfake_nb.widgets.panel_script import PanelScript
from redeepfake_nb.widgets.strip import Strip, thumbnail
from redeepfake_nb.widgets.video_controls import VideoControls, VideoSettings
from redeepfake_nb.widgets.wording import in_panel


@pytest.mark.parametrize(
    "controls",
    [
        lambda: ImageControls(ImageSettings()),
        lambda: VideoControls(VideoSettings()),
        lambda: BatchControls(BatchSettings()),
    ],
)
def test_the_page_gets_name_and_tooltip_of_every_control(controls) -> None:
    made: Controls = controls()
    made.script.describe(made.root)
    hints = made.script.hints
    for widget in all_widgets(made.root):
        if widget.has_trait("description") and widget.description:
            (name,) = [n for n in widget._dom_classes if n.startswith("rdf-hint-")]
            words, tip = hints[name]
            assert words == widget.description
            assert tip[:1].isupper() or tip[:1] == '"'


def test_keys_step_and_other_messages_do_nothing() -> None:
    steps: list[int] = []
    script = PanelScript()
    script.on_step(steps.append)
    for content in ({"step": 1}, {"step": -1}, {"step": 2}, {"step": "1"}, {}, None, "step"):
        script._handle_custom_msg(content, [])
    assert steps == [1, -1]


def test_a_download_comes_in_parts_and_is_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(downloads, "_PART", 400)
    data, pressed, sent = bytes(range(256)) * 4, [], []
    button = Download("Table", "Download the table")
    button.on_press(lambda: pressed.append(1))
    monkeypatch.setattr(button, "send", lambda content, buffers=None: sent.append((content, buffers)))
    button._handle_custom_msg({"type": "press"}, [])
    assert pressed == [1]
    button.deliver("scores.csv", data, "text/csv")
    assert sent.pop() == ({"type": "file"}, None)
    got = b""
    while len(got) < len(data):
        button._handle_custom_msg({"type": "next", "offset": len(got)}, [])
        content, (part,) = sent.pop()
        assert (content["name"], content["kind"], content["size"]) == ("scores.csv", "text/csv", 1024)
        got += part
    assert got == data
    assert button._data == b""
    button.fail()
    assert sent == [({"type": "failed"}, None)]


@pytest.mark.parametrize("content", [{"type": "next", "offset": -1}, {"type": "next"}, {"type": "x"}, None])
def test_other_messages_get_no_part_of_a_file(content: object, monkeypatch: pytest.MonkeyPatch) -> None:
    button = Download("Table", "Download the table")
    button.deliver("a", b"secret")
    monkeypatch.setattr(button, "send", lambda *_: pytest.fail("sent"))
    button._handle_custom_msg(content, [])


def test_a_strip_shows_thumbnails_and_one_is_chosen() -> None:
    strip = Strip("Pictures")
    small = thumbnail(np.full((400, 100, 3), 255, np.uint8))
    assert Image.open(io.BytesIO(small)).size == (54, 216)
    strip.show([("a", "? Inconclusive", small), ("b", "◆ Points to manipulation", small)], 1)
    assert (strip.value, len(strip.items), strip.thumbnails) == (1, 2, [small, small])
    with pytest.raises(traitlets.TraitError):
        strip.value = 2
    strip.show([], None)
    assert (strip.value, strip.items, strip.thumbnails) == (None, [], [])


def test_drawings_are_kept_by_identity_theme_and_options(monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple] = []
    monkeypatch.setattr(view, "to_png", lambda plot, record, **o: calls.append((record, o)) or b"png")
    drawings, one, two = Drawings(), [1], [1]
    for record, options in ((one, {}), (one, {}), (two, {}), (one, {"strength": 0.5}), (one, {})):
        drawings.draw(view.plot_faces, record, **options)
    assert len(calls) == 3
    drawings.dark = True
    drawings.draw(view.plot_faces, one)
    assert calls[-1][1]["dark"] is True
    drawings.clear()
    drawings.draw(view.plot_faces, one)
    assert len(calls) == 5


def test_drawings_used_longest_ago_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("redeepfake_nb.widgets.drawings._MAX_BYTES", 25)
    calls: list[object] = []
    monkeypatch.setattr(view, "to_png", lambda plot, record, **_: calls.append(record) or b"x" * 10)
    drawings, records = Drawings(), [[0], [1], [2]]
    for i in (0, 1, 0, 2, 0, 1):
        drawings.draw(view.plot_faces, records[i])
    assert calls == [[0], [1], [2], [1]]


def test_messages_speak_of_panels_and_not_of_functions() -> None:
    assert in_panel("a.mp4: it is a video. Use analyze_video() or open_video() for videos.") == (
        "a.mp4: it is a video. Open it in the panel for videos, on the tab Video or in notebook 02."
    )
    assert "(" not in in_panel("the animation has 12 frames; analyze_video() looks at more")
    assert in_panel("The file is empty.") == "The file is empty."


@pytest.mark.parametrize(
    ("words", "own"),
    [
        (
            "only 5 of 90 frames looked at; look at more with frames=, or try another detector",
            "only 5 of 90 frames looked at; look at more frames (setting Frames), or try another detector",
        ),
        ("look at more with frames= or every=", "look at more frames (setting Frames)"),
        (
            "only video stream 1 of 2 looked at; choose another with stream=",
            "only video stream 1 of 2 looked at; choose another with the setting Stream",
        ),
        ("allow faces under 40 px with min_size=", "allow faces under 40 px"),
        ("the limit of 64 million (max_pixels); read at 8 x 8", "the limit of 64 million; read at 8 x 8"),
        ("Make it smaller first, or raise max_pixels if you trust it.", "Make it smaller first."),
        ("Cut it into shorter videos, or raise time_limit.", "Cut it into shorter videos."),
        ("blurred face (sharpness 9 under 9)", "blurred face (sharpness just under 9)"),
        ("blurred face (sharpness 9 under 90)", "blurred face (sharpness 9 under 90)"),
    ],
)
def test_parameters_are_named_as_the_settings_they_are(words: str, own: str) -> None:
    assert in_panel(words) == own


def test_a_warning_that_is_a_reason_is_said_once() -> None:
    report = make_report((2.0,))
    noted = ("only video stream 1 of 2 looked at; choose another with stream=", "odd (max_pixels)")
    source = replace(report.frame.source, notes=tuple(map(Note, noted)))
    report = replace(
        report,
        frame=replace(report.frame, source=source),
        verdict=replace(report.verdict, reasons=noted[:1]),
    )
    shown = markup.verdict(report)
    assert shown.count("only video stream 1 of 2") + shown.count("Only video stream 1 of 2") == 1
    assert "While reading: odd." in shown
    assert "stream=" not in shown
