"""``VideoInspector``, driven through its traits as a browser does."""

from __future__ import annotations

import io
import threading
import time
from pathlib import Path

import ipywidgets as ipw
import numpy as np
import pytest
from helpers.planted_models import classifier_without_map
from helpers.small_clips import LEFT, clip, detect_squares, level, picture, three_seconds
from helpers.widget_trees import HOSTILE, KNOWN_ATTRIBUTES, KNOWN_TAGS, Tags, all_widgets, html_of, put
from PIL import Image

from redeepfake_nb import Classifier, errors, view, widgets
from redeepfake_nb.analysis.video_report import VideoReport
from redeepfake_nb.faces import detection
from redeepfake_nb.widgets import video_session
from redeepfake_nb.widgets.video import VideoInspector
from redeepfake_nb.widgets.video_session import FrameReader
from redeepfake_nb.widgets.viewer import PictureViewer

SECONDS = 60  # longest wait for work that takes about one second


class Gate(threading.Event):
    """An event that knows whether a thread has begun to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()

    def wait(self, timeout: float | None = None) -> bool:
        self.reached.set()
        return super().wait(timeout)


@pytest.fixture(autouse=True)
def seen(monkeypatch) -> list[threading.Event]:
    """Register a detector named "squares"; it waits at every frame for the events in the returned list."""
    gates: list[threading.Event] = []

    def look(image: np.ndarray) -> list[detection.Detection]:
        for gate in gates:
            assert gate.wait(SECONDS)
        return detect_squares(image)

    monkeypatch.setitem(detection._DETECTORS, "squares", lambda: look)
    return gates


@pytest.fixture
def quick(monkeypatch) -> None:
    """Replace drawings by a description, for tests that do not examine pictures."""

    def words(plot, record, **options):
        return f"{plot.__name__} {id(record)} {options}".encode()

    monkeypatch.setattr(view, "to_png", words)


@pytest.fixture(scope="module")
def video() -> bytes:
    return three_seconds()


@pytest.fixture
def inspector(classifier: Classifier):
    made = VideoInspector(classifier, frames=15, detector="squares")
    yield made
    made.clear()
    assert made.wait(SECONDS)


def png_of(pane: PictureViewer) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(bytes(pane.value))).convert("RGB"))


def until(condition, seconds: float = SECONDS) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


# ------------------------------------------------------------------ analysing


@pytest.mark.slow
def test_analyze_returns_the_report_and_shows_it(inspector, video):
    report = inspector.analyze(video)
    assert inspector.result is report
    assert inspector.errors == []
    assert not inspector.running
    assert [p.name for p in report.persons] == ["person 1", "person 2"]
    c = inspector.controls
    assert "threshold 0.60" in c.verdict.value
    assert "15 of 30 frames looked at" in c.verdict.value
    for pane in (c.timeline, c.frame, c.persons, c.strongest, c.heatmap_images[0]):
        assert png_of(pane).size
        assert pane.layout.display == ""
    assert "1.1 to 1.9 s" in c.persons_table.value
    assert "15 frames analysed" in c.status.value
    assert c.progress.layout.display == "none"
    assert c.cancel.layout.display == "none"
    assert repr(inspector) == "VideoInspector(video bytes, 0 errors)"


def test_an_upload_is_analysed_in_the_background_and_removed_from_the_state(inspector, video, quick):
    upload = inspector.controls.upload
    put(upload, [("clip.mkv", video)])
    assert inspector.wait(SECONDS)
    assert inspector.result.name == "clip.mkv"
    assert not upload.value
    assert "value" not in upload.get_state()
    for widget in all_widgets(inspector.widget):
        assert video[:200] not in repr(widget.get_state()).encode("latin-1", "ignore")
    assert inspector.errors == []


def test_a_path_and_no_path(inspector, video, tmp_path, quick):
    c = inspector.controls
    c.open_path.click()
    assert "No path is given" in c.error_boxes["video"].value
    path = tmp_path / "clip.mkv"
    path.write_bytes(video)
    c.path.value = f"  {path} "
    c.open_path.click()
    assert inspector.wait(SECONDS)
    assert inspector.result.name == "clip.mkv"
    assert c.error_boxes["video"].value == ""


@pytest.mark.parametrize(
    ("sampling", "times"),
    [
        ({"frames": 3}, [0.5, 1.5, 2.5]),
        ({"every": 1.0}, [0.0, 1.0, 2.0]),
        ({"frames": "all"}, list(np.arange(30) / 10)),
    ],
)
def test_sampling(classifier, video, sampling, times, quick):
    inspector = VideoInspector(classifier, detector="squares", **sampling)
    c = inspector.controls
    report = inspector.analyze(video)
    assert report.frame_times == pytest.approx(times)
    shown = [w for w in (c.frames, c.every) if w.layout.display != "none"]
    assert shown == ({"every": [c.every]}.get(next(iter(sampling)), [c.frames] if len(times) == 3 else []))
    inspector.clear()


def test_a_part_of_the_video(classifier, video, quick):
    inspector = VideoInspector(classifier, detector="squares", every=0.5, start=1.0, end=2.0)
    c = inspector.controls
    assert inspector.analyze(video).frame_times == pytest.approx([1.0, 1.5])
    c.end.value = 0.0  # to the end of it
    assert "Analyse again" in c.status.value
    c.analyze_again.click()
    assert inspector.wait(SECONDS)
    assert inspector.result.frame_times == pytest.approx([1.0, 1.5, 2.0, 2.5])
    for start, end, words in (
        (2.0, 1.0, "the end, 1 s, is not after the start, 2 s"),
        (9.0, 0.0, "it lasts 3.00 s"),
    ):
        c.start.value, c.end.value = start, end
        inspector.start(video)
        assert inspector.wait(SECONDS)
        assert words in c.error_boxes["video"].value
    inspector.clear()


def test_settings_reach_the_report(classifier, video, quick):
    inspector = VideoInspector(
        classifier,
        frames=5,
        detector="squares",
        margin=0.25,
        threshold=0.7,
        aggregation="median",
        method="layercam",
        top=2,
    )
    report = inspector.analyze(video)
    found = {k: report.settings[k] for k in ("margin", "threshold", "aggregation", "explain", "detector")}
    assert found == {
        "margin": 0.25,
        "threshold": 0.7,
        "aggregation": "median",
        "explain": "layercam",
        "detector": "squares",
    }
    assert [e.method for e in report.explanations] == ["layercam", "layercam"]
    inspector.clear()


# ------------------------------------------------------------------ in the background


def test_controls_work_during_an_analysis_and_cancel_keeps_what_was_finished(inspector, video, seen, quick):
    gate = Gate()
    seen.append(gate)
    c = inspector.controls
    inspector.start(video)
    assert gate.reached.wait(SECONDS)
    assert inspector.running
    assert not inspector.wait(0.05)
    assert (c.cancel.layout.display, c.cancel.disabled, c.upload.disabled) == ("", False, True)
    # Other controls work meanwhile.
    c.threshold.value = 0.3
    c.aggregation.value = "median"
    c.strength.value = 0.2
    assert inspector.errors == []
    seen.clear()
    seen.append(slow := threading.Event())
    gate.set()
    until(lambda: "video: frame 1 of 15" in c.status.value)
    assert c.progress.layout.display == ""
    c.cancel.click()
    assert "Stopping" in c.status.value
    slow.set()
    assert inspector.wait(SECONDS)
    report = inspector.result
    assert report.cancelled
    assert 1 <= report.frames < 15
    assert (report.threshold, report.aggregation) == (0.3, "median")
    assert "Stopped after" in c.status.value
    assert (c.cancel.layout.display, c.upload.disabled) == ("none", False)
    assert any("stopped after" in reason for reason in report.verdict.reasons)


def test_cancelled_before_the_first_frame_there_is_no_result(inspector, video, monkeypatch, quick):
    monkeypatch.setattr(
        inspector._model,
        "classifier",
        lambda load=inspector._model.classifier: (inspector.cancel(), load())[1],
    )
    assert inspector.analyze(video) is None
    assert inspector.result is None
    assert "Stopped before the first frame" in inspector.controls.status.value
    assert not inspector.controls.analyze_again.disabled


def test_a_second_start_is_refused(inspector, video, seen, quick):
    gate = threading.Event()
    seen.append(gate)
    inspector.start(video)
    with pytest.raises(errors.RedeepfakeError, match="another job is still running"):
        inspector.start(video)
    with pytest.raises(errors.RedeepfakeError, match="another job is still running"):
        inspector.analyze(video)
    put(inspector.controls.upload, [("other.mkv", video)])
    assert "Another job is still running" in inspector.controls.error_boxes["video"].value
    assert not inspector.controls.upload.value
    gate.set()
    assert inspector.wait(SECONDS)
    assert inspector.result.name == "video bytes"
    assert inspector.result.frames == 15
    assert inspector.errors == []
    assert inspector.controls.error_boxes["video"].value == ""


def test_an_old_result_says_whose_it_is_until_there_is_a_new_one(inspector, video, seen, quick):
    c = inspector.controls
    put(c.upload, [("old.mkv", video)])
    assert inspector.wait(SECONDS)
    gate = Gate()
    seen.append(gate)
    put(c.upload, [("new.mkv", video)])
    assert gate.reached.wait(SECONDS)
    assert "new.mkv" in c.status.value
    assert "This is the result of old.mkv. new.mkv is being analysed." in c.outdated.value
    assert "rdf-fading" in c.page._dom_classes
    gate.set()
    assert inspector.wait(SECONDS)
    assert inspector.result.name == "new.mkv"
    assert c.outdated.value == ""
    assert "rdf-fading" not in c.page._dom_classes


def test_a_video_that_was_sent_with_a_wrong_setting_is_kept(inspector, video, quick):
    c = inspector.controls
    put(c.upload, [("old.mkv", video)])
    assert inspector.wait(SECONDS)
    c.stream.value = 2
    put(c.upload, [("new.mkv", video)])
    assert inspector.wait(SECONDS)
    assert "there is no video stream 2 in it" in c.error_boxes["video"].value
    c.stream.value = 0
    assert "Press Analyse again to analyse new.mkv" in c.status.value
    c.analyze_again.click()
    assert inspector.wait(SECONDS)
    assert inspector.result.name == "new.mkv"
    assert c.analyze_again.disabled


def test_clear_during_an_analysis_discards_its_result(inspector, video, seen, quick):
    gate = threading.Event()
    seen.append(gate)
    put(inspector.controls.upload, [("secret.mkv", video)])
    inspector.controls.clear.click()
    assert "Cleared" in inspector.controls.status.value
    gate.set()
    assert inspector.wait(SECONDS)
    assert inspector.result is None
    assert "Cleared" in inspector.controls.status.value
    assert not any("secret" in repr(widget.get_state()) for widget in all_widgets(inspector.widget))
    inspector.analyze(video)
    assert inspector.result is not None


def test_an_interrupt_keeps_what_was_finished(inspector, video, seen, monkeypatch, quick):
    gate = threading.Event()
    seen.append(gate)
    wait, calls = threading.Event.wait, []

    def interrupted(self, timeout=None):
        if threading.current_thread() is threading.main_thread() and not calls:
            calls.append(self)
            gate.set()
            raise KeyboardInterrupt
        return wait(self, timeout)

    # The thread has to run already, as starting it waits for an event too.
    job = inspector._start(lambda: video)
    monkeypatch.setattr(threading.Event, "wait", interrupted)
    report = inspector._background.result(job)
    monkeypatch.undo()
    assert calls
    assert report is inspector.result or report is None
    assert not inspector.running


def test_threads_end_with_the_analysis(inspector, video, quick):
    inspector.analyze(video)

    def left() -> list[str]:
        names = [thread.name for thread in threading.enumerate()]
        # Those of LiteRT belong to a model, here one that another test has left.
        return [n for n in names if n.startswith("redeepfake") and not n.startswith("redeepfake-litert")]

    until(lambda: not left(), 5)


# ------------------------------------------------------------------ errors


def test_a_file_that_is_not_a_video_is_reported_beside_the_control(inspector, video, quick):
    before = inspector.analyze(video)
    put(inspector.controls.upload, [("note.mp4", b"no video at all")])
    assert inspector.wait(SECONDS)
    # What was shown before stays.
    assert inspector.result is before
    assert "threshold 0.60" in inspector.controls.verdict.value
    assert "note.mp4" in inspector.controls.error_boxes["video"].value
    assert "did not work" in inspector.controls.status.value
    assert "The result of video bytes is still shown" in inspector.controls.status.value
    assert "still the result of video bytes; note.mp4 was not" in inspector.controls.outdated.value
    assert inspector.controls.analyze_again.disabled, "a file that cannot be read is not tried again"
    (error,) = inspector.errors
    assert isinstance(error, errors.UnsupportedMedia)
    with pytest.raises(errors.UnsupportedMedia):
        inspector.analyze(b"no video at all")


def test_an_unexpected_error_in_the_thread_shows_one_line_and_a_traceback(inspector, video, monkeypatch):
    def fail(*args, **options):
        raise ZeroDivisionError("a <b>surprise</b>")

    monkeypatch.setattr("redeepfake_nb.widgets.video.analyze_video", fail)
    inspector.start(video)
    assert inspector.wait(SECONDS)
    c = inspector.controls
    assert "Unexpected ZeroDivisionError: a &lt;b&gt;surprise" in c.error_boxes["frames"].value
    assert "Traceback" in c.log.value
    assert "surprise</b>" not in c.log.value
    assert (c.upload.disabled, c.progress.layout.display, c.analyze_again.disabled) == (False, "none", False)


def test_a_bad_model_is_reported_beside_its_box(video, tmp_path, quick):
    inspector = VideoInspector(tmp_path / "absent.keras", detector="squares")
    with pytest.raises(errors.ModelError):
        inspector.analyze(video)
    assert "absent.keras" in inspector.controls.error_boxes["model"].value
    assert inspector.result is None


@pytest.mark.slow
def test_hostile_names_create_no_html_tag(inspector, video, tmp_path):
    put(inspector.controls.upload, [(HOSTILE, video)])
    assert inspector.wait(SECONDS)
    assert inspector.result.name == HOSTILE
    put(inspector.controls.upload, [("x" + HOSTILE, b"bad")])
    assert inspector.wait(SECONDS)
    inspector.analyze(video)
    inspector._callbacks.record(
        errors.InputError("it is odd", subject=HOSTILE, next_step="Rename it."), "video"
    )
    shown = html_of(inspector.widget)
    assert "onerror" in shown
    found = Tags(shown)
    assert found.tags <= KNOWN_TAGS
    assert found.attributes <= KNOWN_ATTRIBUTES


def test_a_changed_video_shows_no_frames_but_takes_another_threshold(inspector, video, tmp_path, quick):
    path = tmp_path / "clip.mkv"
    path.write_bytes(video)
    inspector.analyze(path)
    inspector._view.session._reader.close()
    path.write_bytes(clip([picture(200)] * 3))
    c = inspector.controls
    c.time.value = 0.1
    assert "not the file that was analysed" in c.error_boxes["video"].value
    assert c.frame.layout.display == "none"
    c.threshold.value = 0.2
    assert inspector.result.threshold == 0.2
    path.write_bytes(video)
    c.time.value = 2.9
    assert c.error_boxes["video"].value == ""
    assert c.frame.layout.display == ""


# ------------------------------------------------------------------ changing controls


@pytest.fixture
def counted(monkeypatch) -> dict[str, int]:
    """How often videos are analysed, opened for a frame, and how many faces are explained."""
    calls = {"analyze": 0, "explain": 0, "open": 0}

    def counting(module: str, name: str, key: str, amount) -> None:
        real = getattr(__import__(module, fromlist=[name]), name)

        def call(*args, **options):
            calls[key] += amount(args)
            return real(*args, **options)

        monkeypatch.setattr(f"{module}.{name}", call)

    counting("redeepfake_nb.widgets.video", "analyze_video", "analyze", lambda _: 1)
    counting("redeepfake_nb.widgets.heatmap_queue", "explain", "explain", lambda _: 1)
    real_open = VideoReport.open_again

    def open_again(report):
        calls["open"] += 1
        return real_open(report)

    monkeypatch.setattr(VideoReport, "open_again", open_again)
    return calls


@pytest.mark.slow
def test_another_threshold_or_aggregation_changes_the_verdict_and_computes_nothing(inspector, video, counted):
    inspector.analyze(video)
    c = inspector.controls
    before, sightings, drawn = dict(counted), inspector.result.sightings, bytes(c.timeline.value)
    c.threshold.value = 0.02
    assert inspector.result.threshold == 0.02
    assert "threshold 0.02" in c.verdict.value
    assert bytes(c.timeline.value) != drawn
    c.aggregation.value = "top_k_mean"
    assert inspector.result.aggregation == "top_k_mean"
    assert inspector.result.persons[0].probability > 0.9
    assert "mean of the highest quarter" in c.verdict.value
    c.reset_threshold.click()
    assert inspector.result.threshold == 0.6
    assert inspector.result.sightings is sightings
    assert counted == before == {"analyze": 1, "explain": before["explain"], "open": 1}


@pytest.mark.slow
def test_a_chosen_time_shows_its_frame_faces_and_scores(inspector, video, counted):
    inspector.analyze(video)
    c = inspector.controls
    assert 1.0 <= c.time.value < 2.0, "the frame with the highest P(fake) comes first"
    c.time.value = 0.35
    assert "Frame 3 at 0.30 s, 1 face" in c.frame_caption.value
    image = png_of(c.frame)
    left, top, right, bottom = (6 * part for part in LEFT)  # a frame of 160 px is enlarged
    assert np.abs(image[top + 10 : bottom - 10, left + 10 : right - 10].astype(int) - level(0.05)).max() <= 2
    assert ">0.05</td>" in c.frame_table.value
    assert inspector.wait(SECONDS)
    assert "Person 1" in c.heatmap_captions[0].value
    assert sum(bool(pane.value) for pane in c.heatmap_images) == 1
    c.timeline._handle_custom_msg({"time": 2.52}, [])  # a click into the timeline
    assert c.time.value == c.timeline.time == 2.5
    assert "2 faces" in c.frame_caption.value
    assert inspector.wait(SECONDS)
    assert sum(bool(pane.value) for pane in c.heatmap_images) == 2
    # A click on a face looks at that one alone; the other frame shows all of its faces again.
    names = [name for name, *_ in c.frame.regions]
    c.frame._handle_custom_msg({"region": 1}, [])
    assert names[1] in c.detail_caption.value
    assert names[1] in c.heatmap_captions[0].value
    assert sum(bool(pane.value) for pane in c.heatmap_images) == 1
    c.timeline._handle_custom_msg({"step": -1}, [])
    assert (c.face.value, c.detail_box.layout.display) == (-1, "none")
    c.next.click()
    assert inspector.wait(SECONDS)
    c.previous.click()
    assert c.time.value == pytest.approx(2.3)
    for _ in range(9):
        c.next.click()
    assert c.time.value == pytest.approx(inspector.result.frame_times[-1])
    assert counted["open"] == 1
    assert counted["analyze"] == 1


def test_heatmaps_are_computed_once_for_each_method(inspector, video, counted, quick):
    inspector.analyze(video)
    c = inspector.controls
    first = counted["explain"]  # the faces of the first frame, and the strongest frames
    assert first == 2 + 4
    c.strength.value = 0.1
    c.threshold.value = 0.4
    assert counted["explain"] == first
    c.method.value = "layercam"
    assert inspector.wait(SECONDS)
    assert {e.method for e in inspector.result.explanations} == {"layercam"}
    assert inspector.result.settings["explain"] == "layercam"
    assert counted["explain"] == first + 4 + 2
    c.method.value = "gradcam"
    assert {e.method for e in inspector.result.explanations} == {"gradcam"}
    assert counted["explain"] == first + 4 + 2
    # Heatmaps of other frames are dropped.
    for _ in range(3):
        c.previous.click()
        assert inspector.wait(SECONDS)
    assert len(inspector._view.heatmaps._known) <= 2 * 4 + 2


def test_a_missing_heatmap_costs_no_score(video, quick):
    inspector = VideoInspector(classifier_without_map(branches=True), frames=15, detector="squares")
    report, c = inspector.analyze(video), inspector.controls
    assert [len(person.sightings) for person in report.persons] == [15, 10]
    assert report.explanations == ()
    (error,) = inspector.errors
    assert "Choose saliency" in str(error)
    assert inspector._callbacks.sections == ["heatmap"]
    assert report.heatmap_error == str(error)
    c.method.value = "saliency"
    assert inspector.wait(SECONDS)
    assert (inspector.errors, inspector.result.heatmap_error) == ([], "")
    assert {e.method for e in inspector.result.explanations} == {"saliency"}
    inspector.clear()


def test_heatmaps_at_a_layer(video, quick):
    inspector = VideoInspector(
        classifier_without_map(branches=True), frames=15, detector="squares", layer="branch_a"
    )
    inspector.analyze(video)
    c = inspector.controls
    c.method.value = "layercam"
    assert inspector.wait(SECONDS)
    assert {e.layer for e in inspector.result.explanations} == {"branch_a"}
    assert inspector.result.settings["layer"] == "branch_a"
    inspector.clear()


@pytest.mark.slow
def test_heatmaps_explain_either_label(inspector, video, counted):
    inspector.analyze(video)
    c = inspector.controls
    for_fake = c.heatmap_images[0].value
    c.target.value = "real"
    assert inspector.wait(SECONDS)
    assert {e.target for e in inspector.result.explanations} == {"real"}
    assert c.heatmap_images[0].value != for_fake
    before = counted["explain"]
    c.target.value = "fake"  # known already
    assert inspector.wait(SECONDS)
    assert counted["explain"] == before
    assert c.heatmap_images[0].value == for_fake


def test_changed_settings_make_the_result_stale_until_analysed_again(inspector, video, counted, quick):
    inspector.analyze(video)
    c = inspector.controls
    assert c.analyze_again.disabled
    c.sampling.value = "every"
    c.every.value = 1.0
    assert not c.analyze_again.disabled
    assert "Press Analyse again" in c.status.value
    assert counted["analyze"] == 1
    c.analyze_again.click()
    assert inspector.wait(SECONDS)
    assert counted["analyze"] == 2
    assert inspector.result.settings["every"] == 1.0
    assert c.analyze_again.disabled


def test_a_video_without_faces(inspector):
    report = inspector.analyze(clip([picture(None)] * 5))
    assert report.persons == ()
    c = inspector.controls
    assert "No face was found" in c.verdict.value
    assert "no face" in c.frame_caption.value
    assert png_of(c.frame).shape == (720, 960, 3)
    assert (c.strongest.layout.display, c.persons.layout.display) == ("none", "none")
    assert not any(pane.value for pane in c.heatmap_images)


# ------------------------------------------------------------------ saving and clearing


@pytest.mark.slow
def test_save_with_the_annotated_video(inspector, video, tmp_path):
    with pytest.raises(errors.OutputError, match="nothing to save"):
        inspector.save(tmp_path)
    put(inspector.controls.upload, [("clip.mkv", video)])
    assert inspector.wait(SECONDS)
    c = inspector.controls
    c.folder.value = str(tmp_path / "out")
    c.annotated.value = True
    c.save.click()
    assert inspector.wait(SECONDS)
    made = tmp_path / "out" / "clip"
    names = {"report.json", "sightings.csv", "timeline.png", "persons.png", "strongest_frames.png"}
    assert {p.name for p in made.iterdir()} == names | {"annotated.mp4"}
    assert "annotated.mp4" in c.saved.value
    assert inspector.save(tmp_path / "other", annotated=False) == tmp_path / "other" / "clip"
    assert {p.name for p in (tmp_path / "other" / "clip").iterdir()} == names


def test_cancelling_the_annotated_video_keeps_the_report(inspector, video, tmp_path, monkeypatch, quick):
    inspector.analyze(video)
    monkeypatch.setattr(
        "redeepfake_nb.report.annotated_video.draw_tracks", lambda image, *_: (inspector.cancel(), image)[1]
    )
    made = inspector.save(tmp_path, annotated=True)
    assert (made / "report.json").is_file()
    assert not (made / "annotated.mp4").exists()
    assert "cancelled" in inspector.controls.saved.value
    assert inspector.errors == []


def test_a_failed_save_is_reported_beside_the_button(inspector, video, tmp_path, quick):
    (tmp_path / "file").write_text("")
    inspector.analyze(video)
    inspector.controls.folder.value = str(tmp_path / "file" / "out")
    inspector.controls.save.click()
    assert inspector.wait(SECONDS)
    assert "rdf-error" in inspector.controls.error_boxes["save"].value
    assert inspector.controls.saved.value == ""
    assert inspector.result is not None


@pytest.mark.slow
def test_clear_removes_pictures_and_file_names(inspector, video):
    put(inspector.controls.upload, [("secret.mkv", video)])
    assert inspector.wait(SECONDS)
    reader = inspector._view.session._reader
    inspector.clear()
    assert (inspector.result, inspector.errors, inspector._source) == (None, [], None)
    assert reader._video is None
    for widget in all_widgets(inspector.widget):
        assert "secret" not in repr(widget.get_state())
        if isinstance(widget, ipw.Image):
            assert not bytes(widget.value)
    assert "Cleared" in inspector.controls.status.value
    assert inspector.controls.analyze_again.disabled


def test_every_control_has_a_tooltip_and_a_description(inspector):
    kinds = (
        ipw.Button,
        ipw.Dropdown,
        ipw.FloatSlider,
        ipw.Text,
        ipw.FileUpload,
        ipw.Checkbox,
        ipw.BoundedIntText,
        ipw.BoundedFloatText,
    )
    controls = [w for w in all_widgets(inspector.widget) if isinstance(w, kinds)]
    assert len(controls) > 20
    for control in controls:
        tip = control.tooltip if control.has_trait("tooltip") else control.description_tooltip
        assert tip, control
        assert control.description, control


def test_public_names_of_the_sub_package():
    assert widgets.__all__ == ["App", "BatchInspector", "ImageInspector", "VideoInspector"]


# ------------------------------------------------------------------ the parts


def test_a_reader_closes_its_file(classifier, video, tmp_path):
    path: Path = tmp_path / "clip.mkv"
    path.write_bytes(video)
    from redeepfake_nb import analyze_video

    report = analyze_video(path, classifier, frames=3, detector=detect_squares, explain_top=0)
    reader = FrameReader(report)
    frame = reader.frame(0.5)
    assert frame.timestamp == pytest.approx(0.5)
    assert reader.frame(0.5) is frame
    inside = reader._video
    assert not inside._file.closed
    del reader  # a file left open would be a warning, which is an error here
    assert inside._file.closed


def test_predictions_of_a_frame_are_those_of_the_report(classifier, video):
    from redeepfake_nb import analyze_video, predict

    report = analyze_video(video, classifier, frames=5, detector=detect_squares, explain_top=0)
    frame = FrameReader(report).frame(float(report.frame_times[-1]))
    found = video_session.predictions_at(report, frame, classifier)
    assert [p.logit for p in found] == sorted([p.logit for p in found], reverse=True)
    assert {p.face.person for p in found} == {0, 1}
    again = predict(classifier, [p.face for p in found])
    assert [p.logit for p in found] == pytest.approx([p.logit for p in again], abs=1e-4)
