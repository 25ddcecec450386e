"""``ImageInspector``, driven through its traits as a browser does."""

from __future__ import annotations

import io
import threading

import ipywidgets as ipw
import numpy as np
import pytest
import traitlets
from helpers.widget_trees import HOSTILE, KNOWN_ATTRIBUTES, KNOWN_TAGS, Tags, all_widgets, html_of, put
from PIL import Image, PngImagePlugin

from redeepfake_nb import errors, read_image, view
from redeepfake_nb.analysis.image import ImageReport
from redeepfake_nb.faces import detection
from redeepfake_nb.media.frames import Upload
from redeepfake_nb.models.loading import save_model
from redeepfake_nb.utils.jobs import Job
from redeepfake_nb.view.regions import Png, Region
from redeepfake_nb.widgets import heatmap_queue
from redeepfake_nb.widgets import html as markup
from redeepfake_nb.widgets import image as widgets
from redeepfake_nb.widgets.base import expand_paths
from redeepfake_nb.widgets.controls import MAX_HEATMAPS, hint
from redeepfake_nb.widgets.image import MAX_PICTURES, ImageInspector

BOX = (40, 40, 140, 140)
SECONDS = 60


@pytest.fixture(autouse=True)
def boxes(monkeypatch):
    """A detector called "boxes" that finds what the list holds."""
    found = [BOX]
    monkeypatch.setitem(detection._DETECTORS, "boxes", lambda: lambda image: found)
    return found


@pytest.fixture
def inspector(classifier):
    return ImageInspector(classifier, detector="boxes")


@pytest.fixture
def counted(monkeypatch):
    """How often pictures are analysed and how many faces are explained."""
    calls = {"analyze": 0, "explain": 0}
    analyze, explain = widgets.analyze_image, heatmap_queue.explain

    def counting_analyze(*args, **options):
        calls["analyze"] += 1
        return analyze(*args, **options)

    def counting_explain(classifier, prediction, *args):
        calls["explain"] += 1
        return explain(classifier, prediction, *args)

    monkeypatch.setattr(widgets, "analyze_image", counting_analyze)
    monkeypatch.setattr(heatmap_queue, "explain", counting_explain)
    return calls


@pytest.fixture
def quick(monkeypatch):
    """Replace drawings by a description, for tests that do not examine pictures."""

    def words(plot, record, **options):
        png = Png(f"{plot.__name__} {id(record)} {options}".encode())
        if isinstance(record, ImageReport):
            png.regions = tuple(Region(f"Face {i + 1}", (0, 0, 1, 1)) for i in range(len(record.predictions)))
        return png

    monkeypatch.setattr(view, "to_png", words)


def picture(level: int = 255, size: tuple[int, int] = (200, 180)) -> np.ndarray:
    """Return an image of one grey, whose logit is known: 4 for 255, -4 for 0."""
    return np.full((*size, 3), level, np.uint8)


def png(level: int = 255) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(picture(level)).save(buffer, "PNG")
    return buffer.getvalue()


# ------------------------------------------------------------------ analysing


def test_analyze_returns_reports_and_shows_them(inspector):
    fake, real = inspector.analyze([picture(255), picture(0)])
    assert inspector.result == [fake, real]
    assert [r.predictions[0].logit for r in inspector.result] == pytest.approx([4, -4], abs=1e-3)
    assert [r.verdict.label for r in inspector.result] == ["fake", "real"]
    assert inspector.errors == []
    c = inspector.controls
    assert "Points to manipulation (threshold 0.60)" in c.verdict.value
    assert ">0.98</td>" in c.table.value
    assert bytes(c.image.value).startswith(b"\x89PNG")
    assert bytes(c.heatmap_images[0].value).startswith(b"\x89PNG")
    assert "2 pictures analysed" in c.status.value
    assert repr(inspector) == "ImageInspector(2 pictures, 0 errors)"


@pytest.mark.parametrize("wrap", [lambda x: x, lambda x: [x], lambda x: (x,)])
def test_one_source_or_several(inspector, wrap, quick):
    assert len(inspector.analyze(wrap(picture()))) == 1


def test_nothing_to_analyse(inspector):
    assert inspector.analyze([]) == []
    assert inspector.controls.verdict.value == ""


def test_no_face_is_inconclusive_and_draws_no_heatmap(inspector, boxes):
    boxes.clear()
    (report,) = inspector.analyze(picture())
    assert report.verdict.label == "inconclusive"
    assert "No face was found" in inspector.controls.verdict.value
    assert inspector.controls.table.value == ""
    assert not any(pane.value for pane in inspector.controls.heatmap_images)


def test_the_model_box_and_the_threshold_are_those_of_the_classifier(inspector):
    c = inspector.controls
    assert c.model.value == "brightness 1"
    assert "brightness 1, calibrated. Input: 32 px, RGB, values 0 to 255." in c.model_facts.value
    assert c.threshold.value == 0.6


def test_a_given_threshold_is_kept(classifier, quick):
    inspector = ImageInspector(classifier, detector="boxes", threshold=0.995)
    assert inspector.controls.threshold.value == 0.995
    (report,) = inspector.analyze(picture())
    assert report.threshold == 0.995
    assert report.predictions[0].label(report.threshold) == "real"


def test_the_controls_settings_are_in_the_report(classifier, quick):
    inspector = ImageInspector(
        classifier, detector="boxes", margin=0.25, threshold=0.7, method="layercam", target="real"
    )
    (report,) = inspector.analyze(picture())
    expected = {
        "detector": "boxes",
        "margin": 0.25,
        "min_size": None,
        "threshold": 0.7,
        "scored_by": classifier.scored_by,
        "explain": "layercam",
        "target": "real",
        "layer": "conv",
    }
    assert report.settings == expected


def test_one_bad_file_never_stops_the_others(inspector, tmp_path, quick):
    bad = tmp_path / "broken.jpg"
    bad.write_bytes(b"\xff\xd8\xff no picture")
    reports = inspector.analyze([picture(), bad, tmp_path / "absent.png", picture(0)])
    assert len(reports) == 2
    assert [isinstance(e, errors.InputError) for e in inspector.errors] == [True, True]
    shown = inspector.controls.error_boxes["pictures"].value
    assert "broken.jpg" in shown
    assert "absent.png" in shown
    assert "2 pictures analysed" in inspector.controls.status.value
    assert "2 failures" in inspector.controls.status.value


def test_progress_is_shown_and_then_hidden(inspector, monkeypatch, quick):
    seen = []
    say = inspector.controls.show_status
    monkeypatch.setattr(inspector.controls, "show_status", lambda words: (seen.append(words), say(words)))
    inspector.analyze([picture(), picture(0)])
    assert [s for s in seen if s.startswith("Analysing")] == [
        "Analysing 1 of 2: image",
        "Analysing 2 of 2: image",
    ]
    assert inspector.controls.progress.layout.display == "none"


def test_too_many_pictures(inspector):
    with pytest.raises(errors.InputError, match="33 pictures are too many"):
        inspector.analyze([picture()] * (MAX_PICTURES + 1))


# ------------------------------------------------------------------ changing controls


def test_another_threshold_changes_verdicts_and_computes_nothing(inspector, counted):
    inspector.analyze([picture(255), picture(0)])
    before = dict(counted)
    drawn = bytes(inspector.controls.image.value)
    predictions = [r.predictions for r in inspector.result]
    inspector.controls.threshold.value = 0.01
    assert [r.verdict.label for r in inspector.result] == ["fake", "inconclusive"]
    assert [r.threshold for r in inspector.result] == [0.01, 0.01]
    assert [r.predictions for r in inspector.result] == predictions
    assert "threshold 0.01" in inspector.controls.verdict.value
    assert bytes(inspector.controls.image.value) != drawn
    assert counted == before
    inspector.controls.reset_threshold.click()
    assert inspector.result[0].threshold == 0.6
    assert inspector.controls.threshold.value == 0.6


def test_another_overlay_strength_only_draws(inspector, counted):
    image = picture()
    image[40:90] = 20
    inspector.analyze(image)
    before = dict(counted)
    report, drawn = inspector.result[0], bytes(inspector.controls.heatmap_images[0].value)
    inspector.controls.strength.value = 0.1
    assert inspector.wait(SECONDS)
    assert inspector.result[0] is report
    assert bytes(inspector.controls.heatmap_images[0].value) != drawn
    assert counted == before


def test_heatmaps_are_computed_once_for_each_method_and_target(inspector, counted, quick):
    inspector.analyze([picture(255), picture(100)])
    assert counted == {"analyze": 2, "explain": 1}  # of the picture that is shown
    first = inspector.result[0].explanations[0]
    assert not first.empty
    inspector.controls.target.value = "real"
    assert inspector.wait(SECONDS)
    assert inspector.result[0].explanations[0].empty
    assert counted == {"analyze": 2, "explain": 2}
    inspector.controls.target.value = "fake"
    assert inspector.wait(SECONDS)
    assert inspector.result[0].explanations[0] is first
    assert counted == {"analyze": 2, "explain": 2}
    inspector.controls.method.value = "none"
    assert inspector.wait(SECONDS)
    assert inspector.result[0].explanations == ()
    assert inspector.result[0].settings["explain"] is None
    inspector.controls.method.value = "layercam"
    assert inspector.wait(SECONDS)
    assert inspector.result[0].explanations[0].method == "layercam"
    assert counted == {"analyze": 2, "explain": 3}
    inspector.controls.next.click()
    assert inspector.wait(SECONDS)
    assert inspector.result[1].explanations[0].method == "layercam"
    assert counted == {"analyze": 2, "explain": 4}


def test_changed_settings_make_results_stale_until_analysed_again(inspector, counted, quick):
    inspector.analyze(picture())
    c = inspector.controls
    assert c.margin.disabled
    assert c.analyze_again.disabled
    c.use_model_margin.value = False
    c.margin.value = 0.2
    assert not c.margin.disabled
    assert not c.analyze_again.disabled
    assert "Press Analyse again" in c.status.value
    assert counted["analyze"] == 1
    c.analyze_again.click()
    assert inspector.wait(SECONDS)
    assert counted["analyze"] == 2
    assert inspector.result[0].settings["margin"] == 0.2
    assert inspector.result[0].predictions[0].face.margin == 0.2
    assert c.analyze_again.disabled
    c.use_model_margin.value = True
    assert not c.analyze_again.disabled
    c.use_model_margin.value = False
    assert c.analyze_again.disabled


def test_analysing_again_keeps_the_errors_of_unreadable_files(inspector, tmp_path, quick):
    inspector.analyze([picture(), tmp_path / "absent.png"])
    inspector.controls.use_model_margin.value = False
    inspector.controls.analyze_again.click()
    assert inspector.wait(SECONDS)
    assert len(inspector.result) == 1
    assert "absent.png" in inspector.controls.error_boxes["pictures"].value
    assert len(inspector.errors) == 1


def test_a_cancelled_run_keeps_what_the_other_files_declare(inspector, tmp_path, monkeypatch, quick):
    info = PngImagePlugin.PngInfo()
    info.add_text("parameters", "a face\nSteps: 20, Sampler: Euler, CFG scale: 7, Seed: 1, Model: x")
    paths = [tmp_path / f"{i}.png" for i in range(2)]
    for i, path in enumerate(paths):
        Image.fromarray(picture(i)).save(path, pnginfo=info)
    inspector.analyze(paths)
    assert [report.verdict.declared != "" for report in inspector.result] == [True, True]
    analyze = widgets.analyze_image

    def once(*args, **options):
        inspector._background.job.cancel.set()
        return analyze(*args, **options)

    monkeypatch.setattr(widgets, "analyze_image", once)
    inspector.controls.use_model_margin.value = False
    inspector.analyze_again()
    assert len(inspector.result) == 1
    monkeypatch.setattr(widgets, "analyze_image", analyze)
    inspector.controls.use_model_margin.value = True
    inspector.analyze_again()
    assert [report.verdict.declared != "" for report in inspector.result] == [True, True]


def test_the_selector_and_its_buttons(inspector, quick):
    c = inspector.controls
    inspector.analyze(picture())
    assert c.navigation.layout.display == "none"
    inspector.analyze([picture(255), picture(0), picture(255)])
    assert c.navigation.layout.display == ""
    assert (c.previous.disabled, c.next.disabled) == (True, False)
    c.next.click()
    assert inspector.wait(SECONDS)
    assert c.picture.value == 1
    assert "No sign of manipulation" in c.verdict.value
    assert (c.previous.disabled, c.next.disabled) == (False, False)
    c.picture.value = 2
    assert inspector.wait(SECONDS)
    assert "Points to manipulation" in c.verdict.value
    assert (c.previous.disabled, c.next.disabled) == (False, True)
    c.threshold.value = 0.7
    assert c.picture.value == 2


def test_a_face_of_the_picture_is_looked_at_alone(inspector, boxes, quick):
    image = picture(0)
    image[:, 100:] = 255
    boxes[:] = [(0, 0, 60, 60), (110, 0, 160, 50)]
    inspector.analyze(image)
    c = inspector.controls
    # The second one scores higher, so it comes first; the picture's numbers stay.
    assert [name[:6] for name, _ in c.face.options] == ["All fa", "Face 2", "Face 1"]
    assert c.table.value.index('<td class="rdf-short">2</td>') < c.table.value.index(
        '<td class="rdf-short">1</td>'
    )
    assert c.detail_box.layout.display == "none"
    c.image._handle_custom_msg({"region": 0}, [])
    assert inspector.wait(SECONDS)
    assert (c.face.value, c.image.chosen) == (0, 0)
    assert "Face 1, P(fake) 0.02: 60 x 60 px" in c.detail_caption.value
    assert "Face 1" in c.heatmap_captions[0].value
    assert sum(bool(pane.value) for pane in c.heatmap_images) == 1
    plain = bytes(c.detail.value)
    assert Image.open(io.BytesIO(plain)).size == (75, 75), "with a quarter around it, inside the picture"
    c.method.value = "none"
    assert c.detail_heatmap.disabled
    c.threshold.value = 0.3
    assert c.image.chosen == 0
    c.image._handle_custom_msg({"region": 0}, [])  # once more
    assert (c.face.value, c.image.chosen, bytes(c.detail.value)) == (-1, None, b"")


def test_pictures_that_come_later_can_be_compared_with(inspector, quick):
    """Without a heatmap, whose end would look at the pictures once more."""
    inspector.controls.method.value = "none"
    inspector.analyze([read_image(picture(i), name=f"{i}.png") for i in range(3)])
    listed = inspector.controls.comparison.other.options[1:]
    assert len(listed) == 2


def test_two_pictures_are_compared(inspector, quick):
    one, other = picture(0), picture(0)
    other[60:100, 60:100] = 255
    inspector.analyze([read_image(other, name="suspect.png"), read_image(one, name="original.png")])
    panel = inspector.controls.comparison
    assert [name for name, _ in panel.other.options[1:]] == ["original.png"]
    panel.other.value = 0
    assert inspector.wait(SECONDS)
    compared = panel.result
    assert compared.suspect.prediction.face.frame.source.name == "suspect.png"
    assert compared.original.prediction.face.box == compared.suspect.prediction.face.box
    assert "Original: original.png. Suspect: suspect.png. P(fake) is" in panel.caption.value
    assert b"plot_face_comparison" in bytes(panel.picture.value)
    panel.role.value = "suspect"
    assert inspector.wait(SECONDS)
    assert panel.result.suspect.prediction.face.frame.source.name == "original.png"
    # One that is sent for it; a file that is none is named.
    panel.upload.value = (Upload("new.png", png(255)),)
    assert inspector.wait(SECONDS)
    assert panel.result.suspect.prediction.face.frame.source.name == "new.png"
    panel.upload.value = (Upload("bad.png", b"no picture"),)
    assert inspector.wait(SECONDS)
    assert panel.result is None
    assert "bad.png" in panel.error_box.value
    assert [name for name, _ in panel.other.options[1:]] == ["original.png", "new.png", "bad.png"]
    # Another picture, another question.
    inspector.controls.next.click()
    assert panel.result is None
    assert [name for name, _ in panel.other.options[1:]] == ["suspect.png", "new.png", "bad.png"]
    inspector.clear()
    assert panel.root.layout.display == "none"
    assert len(panel.other.options) == 1


def test_of_many_faces_the_first_ones_are_drawn_and_each_can_be_chosen(inspector, boxes, quick):
    boxes[:] = [(20 * i, 0, 20 * i + 10 + i, 20) for i in range(MAX_HEATMAPS + 2)]
    inspector.analyze(picture())
    c = inspector.controls
    assert c.face.layout.display == ""
    assert sum(bool(pane.value) for pane in c.heatmap_images) == MAX_HEATMAPS
    assert [f"Face {i + 1}<" in c.heatmap_captions[i].value for i in range(MAX_HEATMAPS)] == [
        True
    ] * MAX_HEATMAPS
    c.face.value = MAX_HEATMAPS + 1
    assert inspector.wait(SECONDS)
    assert "Face 6" in c.heatmap_captions[0].value
    assert sum(bool(pane.value) for pane in c.heatmap_images) == 1
    inspector.analyze([])
    assert not any(pane.value for pane in c.heatmap_images)


# ------------------------------------------------------------------ sources


def test_an_upload_is_analysed_and_removed_from_the_state(inspector, quick):
    data = png()
    upload = inspector.controls.upload
    put(upload, [("a.png", data), ("b.txt", b"no picture at all")])
    assert inspector.wait(SECONDS)
    assert [r.name for r in inspector.result] == ["a.png"]
    assert "b.txt" in inspector.controls.error_boxes["pictures"].value
    assert not upload.value
    assert "value" not in upload.get_state()
    assert "a.png" not in repr(upload.get_state())
    put(upload, [("a.png", data)])
    assert inspector.wait(SECONDS)
    assert len(inspector.result) == 1
    assert inspector.errors == []


def test_what_a_file_says_of_itself_is_shown_and_kept(inspector, quick):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Software", "Midjourney <b>")
    data = io.BytesIO()
    Image.new("RGB", (200, 180)).save(data, "PNG", pnginfo=texts)
    (report,) = inspector.analyze(data.getvalue())
    assert report.provenance.declared_ai == "claimed"
    ((_, beside),) = inspector.controls.picture.items
    assert beside.splitlines()[1:] == ["claims AI"]
    shown = inspector.controls.verdict.value
    assert shown.index("What the file says of itself") < shown.index("by the score alone")
    assert "Midjourney &lt;b&gt;" in shown
    (again,) = inspector.analyze_again()
    assert again.provenance is report.provenance
    assert again.verdict.reasons == report.verdict.reasons
    inspector.controls.threshold.value = 0.3
    assert inspector.result[0].verdict.declared == report.verdict.declared


def test_paths_and_patterns(inspector, tmp_path, quick):
    for name in ("b.png", "a.png", "[x].png"):
        (tmp_path / name).write_bytes(png())
    box = inspector.controls.paths
    box.value = f"{tmp_path}/?.png\n\n  {tmp_path}/[x].png  \n"
    inspector.controls.open_paths.click()
    assert inspector.wait(SECONDS)
    assert [r.name for r in inspector.result] == ["a.png", "b.png", "[x].png"]
    box.value = f"{tmp_path}/*.gif"
    inspector.controls.open_paths.click()
    assert inspector.wait(SECONDS)
    assert "no file matches" in inspector.controls.error_boxes["pictures"].value
    box.value = " "
    inspector.controls.open_paths.click()
    assert inspector.wait(SECONDS)
    assert "No path is given" in inspector.controls.error_boxes["pictures"].value


def test_expand_paths_leaves_plain_names_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert expand_paths("a.jpg\n~/b.jpg") == ["a.jpg", "/home/somebody/b.jpg"]
    assert expand_paths("") == []


def test_the_samples(classifier, quick):
    inspector = ImageInspector(classifier)
    inspector.controls.sample.click()
    assert inspector.wait(SECONDS)
    assert [r.name for r in inspector.result] == ["sample-portrait.png", "sample-manipulated.png"]
    assert [len(r.predictions) for r in inspector.result] == [1, 1]


# ------------------------------------------------------------------ models


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras under NumPy 2
def test_a_model_file_is_loaded_and_its_threshold_is_used(classifier, tmp_path, quick):
    path = save_model(classifier, tmp_path / "tiny.keras")
    inspector = ImageInspector(path, detector="boxes")
    assert inspector.controls.model.value == str(path)
    assert inspector.controls.threshold.value == 0.5
    (report,) = inspector.analyze(picture())
    assert report.threshold == 0.6
    assert "brightness 1" in inspector.controls.model_facts.value


def test_a_bad_model_is_reported_beside_its_box_and_nothing_is_analysed(inspector, tmp_path, quick):
    inspector.analyze(picture())
    c = inspector.controls
    c.model.value = str(tmp_path / "<b>absent</b>.keras")
    assert inspector.wait(SECONDS)
    assert "&lt;b&gt;absent" in c.error_boxes["model"].value
    assert c.model_facts.value == ""
    put(c.upload, [("a.png", png())])
    assert inspector.wait(SECONDS)
    assert len(inspector.result) == 1  # as before
    assert "Points to" in c.verdict.value
    assert "absent" in c.error_boxes["model"].value
    with pytest.raises(errors.ModelError):
        inspector.analyze(picture())
    c.model.value = "brightness 1"
    assert inspector.wait(SECONDS)
    assert c.error_boxes["model"].value == ""
    # What was given last is not lost.
    put(c.upload, [("b.png", png(0))])
    assert inspector.wait(SECONDS)
    assert [report.name for report in inspector.result] == ["b.png"]


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # Keras under NumPy 2
def test_a_picture_that_was_sent_while_the_model_was_wrong_is_kept(inspector, tmp_path, quick):
    c = inspector.controls
    inspector.analyze(read_image(picture(), name="old.png"))
    with inspector._callbacks.paused():
        c.model.value = str(tmp_path / "absent.keras")
    put(c.upload, [("new.png", png(0))])
    assert inspector.wait(SECONDS)
    assert [report.name for report in inspector.result] == ["old.png"]
    assert "did not work" in c.status.value
    assert "The result of old.png is still shown" in c.status.value
    assert not c.analyze_again.disabled
    c.model.value = "brightness 1"
    assert inspector.wait(SECONDS)
    assert "Press Analyse again to analyse new.png" in c.status.value
    c.analyze_again.click()
    assert inspector.wait(SECONDS)
    assert [report.name for report in inspector.result] == ["new.png"]


def test_a_model_that_fails_on_a_picture_is_reported_beside_the_model(inspector, monkeypatch):
    def fail(*args, **options):
        raise errors.UnsuitableModel("1 of 1 scores are not finite", subject="m", next_step="Check it.")

    monkeypatch.setattr(widgets, "analyze_image", fail)
    assert inspector.analyze([picture(), picture()]) == []
    assert inspector.controls.error_boxes["model"].value.count("not finite") == 1
    assert len(inspector.errors) == 2


def test_a_layer_without_a_feature_map_prevents_only_the_heatmap(classifier):
    inspector = ImageInspector(classifier, detector="boxes", layer="logit")
    (report,) = inspector.analyze(picture())
    assert report.explanations == ()
    assert "is not a feature map" in inspector.controls.error_boxes["heatmap"].value
    assert "Points to" in inspector.controls.verdict.value


# ------------------------------------------------------------------ saving, clearing, errors


@pytest.mark.slow
def test_save(inspector, tmp_path):
    with pytest.raises(errors.OutputError, match="nothing to save"):
        inspector.save(tmp_path)
    inspector.analyze([picture(), picture(0)])
    inspector.controls.folder.value = str(tmp_path / "out")
    inspector.controls.save.click()
    assert inspector.wait(SECONDS)
    assert "Saved 2 reports" in inspector.controls.saved.value
    assert (tmp_path / "out" / "summary.csv").is_file()
    assert len(list((tmp_path / "out").glob("*/report.json"))) == 2
    assert all(p.is_dir() for p in inspector.save(tmp_path / "other"))


def test_a_failed_save_is_reported_beside_the_button(inspector, tmp_path):
    (tmp_path / "file").write_text("")
    inspector.analyze(picture())
    inspector.controls.folder.value = str(tmp_path / "file" / "out")
    inspector.controls.save.click()
    assert inspector.wait(SECONDS)
    assert "rdf-error" in inspector.controls.error_boxes["save"].value
    assert inspector.controls.saved.value == ""


def test_clear_removes_pictures_and_file_names(inspector):
    put(inspector.controls.upload, [("secret.png", png()), ("secret.txt", b"bad")])
    assert inspector.wait(SECONDS)
    inspector.clear()
    assert (inspector.result, inspector.errors, inspector._sources) == ([], [], [])
    assert inspector._heatmaps._known == {}
    for widget in all_widgets(inspector.widget):
        state = widget.get_state()
        assert "secret" not in repr(state)
        if isinstance(widget, ipw.Image):
            assert not bytes(widget.value)
    assert "Cleared" in inspector.controls.status.value
    assert inspector.controls.analyze_again.disabled


def test_after_clear_the_panel_does_not_look_busy(inspector, monkeypatch):
    """A model that is still loading says so after all was cleared; when it is loaded, nothing runs."""
    cleared = threading.Event()
    load = inspector._model.classifier

    def slow():
        assert cleared.wait(SECONDS)
        inspector.controls.show_status("Loading the model …")
        return load()

    monkeypatch.setattr(inspector._model, "classifier", slow)
    inspector.start(picture())
    inspector.clear()
    cleared.set()
    assert inspector.wait(SECONDS)
    assert inspector.result == []
    assert "Cleared" in inspector.controls.status.value


def test_a_model_that_is_chosen_while_another_loads_is_not_the_one_that_was_used(inspector, monkeypatch):
    used = inspector._model.name
    load = inspector._model.classifier

    def chosen_meanwhile():
        found = load()
        with inspector._callbacks.paused():
            inspector.controls.model.value = "another.keras"
        return found

    monkeypatch.setattr(inspector._model, "classifier", chosen_meanwhile)
    inspector.start(picture())
    assert inspector.wait(SECONDS)
    assert inspector._used_options[2] == used
    assert not inspector.controls.analyze_again.disabled


def test_clear_while_reports_are_saved_writes_nothing(inspector, monkeypatch, tmp_path):
    inspector.analyze(picture())
    monkeypatch.setattr(inspector, "_explain_all", lambda job: inspector.clear())
    inspector._start_saving(tmp_path / "out")
    assert inspector.wait(SECONDS)
    assert not (tmp_path / "out").exists()


def test_an_unexpected_error_shows_one_line_and_a_folded_traceback(inspector, monkeypatch):
    def fail(*args, **options):
        raise ZeroDivisionError("a <b>surprise</b>")

    monkeypatch.setattr(widgets, "analyze_image", fail)
    inspector.analyze(read_image(picture(), name=HOSTILE))
    shown = inspector.controls.error_boxes["faces"].value
    assert "Unexpected ZeroDivisionError: a &lt;b&gt;surprise" in shown
    assert "onerror=alert(1)&gt;.jpg" in shown
    assert "<details" in inspector.controls.log.value
    assert "Traceback" in inspector.controls.log.value
    assert "surprise</b>" not in inspector.controls.log.value
    monkeypatch.undo()


def test_a_cancelled_run_keeps_what_was_finished(inspector, monkeypatch, quick):
    analyze = widgets.analyze_image
    begun, gone_on = threading.Event(), threading.Event()

    def slow(source, *args, **options):
        if getattr(source, "name", "") == "b.png":
            begun.set()
            assert gone_on.wait(SECONDS)
        return analyze(source, *args, **options)

    monkeypatch.setattr(widgets, "analyze_image", slow)
    c = inspector.controls
    put(c.upload, [("a.png", png()), ("b.png", png(0)), ("c.png", png())])
    assert begun.wait(SECONDS)
    # What is finished is shown already, and nothing else can be started.
    assert [r.name for r in inspector.result] == ["a.png"]
    assert "a.png" in c.verdict.value
    assert c.cancel.layout.display == ""
    assert c.upload.disabled
    c.cancel.click()
    assert c.status.value.endswith("Stopping …</div>")
    gone_on.set()
    assert inspector.wait(SECONDS)
    assert [r.name for r in inspector.result] == ["a.png", "b.png"]
    assert "2 of 3 pictures analysed" in c.status.value
    assert "1 was not. Press Analyse the rest" in c.status.value
    assert c.progress.layout.display == "none"
    assert (c.cancel.layout.display, c.upload.disabled) == ("none", False)
    # The rest is analysed when it is asked for, and what was finished stays as it is.
    assert (c.analyze_again.description, c.analyze_again.disabled) == ("Analyse the rest", False)
    finished = [report.frame for report in inspector.result]
    c.analyze_again.click()
    assert inspector.wait(SECONDS)
    assert [r.name for r in inspector.result] == ["a.png", "b.png", "c.png"]
    assert [r.frame for r in inspector.result[:2]] == finished
    assert "3 pictures analysed" in c.status.value
    assert (c.analyze_again.description, c.analyze_again.disabled) == ("Analyse again", True)


def test_a_report_names_what_was_not_analysed(inspector, monkeypatch, quick):
    analyze = widgets.analyze_image

    def stopped_after_the_first(*args, **options):
        inspector._background.job.cancel.set()
        return analyze(*args, **options)

    monkeypatch.setattr(inspector, "_page", lambda reports, **options: (reports, options))
    given = [read_image(picture(), name="a.png"), Upload("b.png", b"no picture")]
    inspector.analyze(given)
    (_, options) = inspector._report_page(Job("save"))
    ((name, reason),) = options["not_analysed"]
    assert name == "b.png"
    assert "not a supported picture" in reason
    assert "b.png" not in reason
    monkeypatch.setattr(widgets, "analyze_image", stopped_after_the_first)
    inspector.analyze([*given, read_image(picture(), name="c.png")])
    (_, options) = inspector._report_page(Job("save"))
    assert [name for name, _ in options["not_analysed"]] == ["b.png", "c.png"]
    assert all(reason == "The analysis ended before it." for _, reason in options["not_analysed"])


def held(monkeypatch) -> tuple[threading.Event, threading.Event]:
    """Hold each analysis: the first event says that one has begun, the second lets it go on."""
    analyze = widgets.analyze_image
    begun, gone_on = threading.Event(), threading.Event()

    def slow(*args, **options):
        begun.set()
        assert gone_on.wait(SECONDS)
        return analyze(*args, **options)

    monkeypatch.setattr(widgets, "analyze_image", slow)
    return begun, gone_on


def test_an_old_result_says_whose_it_is_until_there_is_a_new_one(inspector, monkeypatch, quick):
    c = inspector.controls
    inspector.analyze([read_image(picture(), name="old.png"), picture(0)])
    begun, gone_on = held(monkeypatch)
    put(c.upload, [("new.png", png())])
    assert begun.wait(SECONDS)
    assert "This is the result of old.png and 1 other. new.png is being analysed." in c.outdated.value
    assert "rdf-fading" in c.page._dom_classes
    gone_on.set()
    assert inspector.wait(SECONDS)
    assert c.outdated.value == ""
    assert "rdf-fading" not in c.page._dom_classes
    put(c.upload, [("bad.txt", b"no picture")])
    assert inspector.wait(SECONDS)
    assert "This is still the result of new.png; bad.txt was not analysed." in c.outdated.value
    assert "rdf-fading" not in c.page._dom_classes
    inspector.clear()
    assert c.outdated.value == ""


def test_a_request_during_work_is_no_failure_of_it(inspector, monkeypatch, quick):
    begun, gone_on = held(monkeypatch)
    c = inspector.controls
    inspector.start(picture())
    assert begun.wait(SECONDS)
    c.sample.click()  # the second half of a double click
    page = c.downloads["page"]
    sent = []
    monkeypatch.setattr(page, "send", sent.append)
    page._handle_custom_msg({"type": "press"}, [])
    assert c.error_boxes["pictures"].value == c.error_boxes["save"].value == ""
    assert sent == [{"type": "failed"}]
    put(c.upload, [("other.png", png())])  # its upload had begun before
    assert "Another job is still running" in c.error_boxes["pictures"].value
    assert "Analysing" in c.status.value
    gone_on.set()
    assert inspector.wait(SECONDS)
    assert inspector.errors == []
    assert c.error_boxes["pictures"].value == ""
    assert "failure" not in c.status.value


def test_what_was_sent_and_downloaded_is_forgotten(inspector, monkeypatch, quick):
    c, sent = inspector.controls, []
    for part in (c.upload, *c.downloads.values()):
        monkeypatch.setattr(part, "send", lambda message, part=part: sent.append((part, message["type"])))
    inspector.analyze(picture())
    assert sent == [(download, "forget") for download in c.downloads.values()]
    sent.clear()
    inspector.clear()
    assert (c.upload, "forget") in sent
    assert {(download, "failed") for download in c.downloads.values()} <= set(sent)


def test_nothing_of_one_picture_stands_beside_anything_of_another(inspector, quick):
    """While the parts change, the page is hidden, and no old picture is left when it is shown."""
    inspector.analyze([picture(255), picture(0)])
    c = inspector.controls
    parts = [c.verdict, c.table, c.image, *c.heatmap_captions, *c.heatmap_images]
    hidden = []

    def note(change):
        hidden.append((change["owner"], c.page.layout.visibility, bytes(c.image.value or b"")))

    for part in parts:
        part.observe(note, "value")
    c.next.click()
    assert {id(owner) for owner, *_ in hidden} >= {id(c.verdict), id(c.table), id(c.image)}
    for owner, visibility, image in hidden:
        if owner in (c.verdict, c.table, c.image):
            assert visibility == "hidden"
        if owner is c.verdict:
            assert image == b""
    assert c.page.layout.visibility == "visible"
    assert inspector.wait(SECONDS)


def test_a_page_is_drawn_once(inspector, monkeypatch):
    drawn = []
    monkeypatch.setattr(view, "to_png", lambda plot, record, **options: drawn.append(record) or b"png")
    inspector.analyze([picture(255), picture(0)])
    for button in ("next", "previous", "next"):
        getattr(inspector.controls, button).click()
        assert inspector.wait(SECONDS)
    assert len([r for r in drawn if isinstance(r, ImageReport)]) == 2
    assert len(drawn) == 4  # with a heatmap each


def test_heatmaps_are_computed_in_the_background_and_can_be_cancelled(inspector, boxes, monkeypatch, quick):
    boxes[:] = [(0, 0, 60, 60), (70, 0, 120, 50), (130, 0, 170, 40)]
    real = heatmap_queue.explain
    begun, gone_on = threading.Event(), threading.Event()

    def slow(classifier, prediction, method, target, layer):
        if method == "scorecam" and prediction.face.box[0] > 60:
            begun.set()
            assert gone_on.wait(SECONDS)
        return real(classifier, prediction, method, target, layer)

    monkeypatch.setattr(heatmap_queue, "explain", slow)
    inspector.analyze(picture())
    c = inspector.controls
    c.method.value = "scorecam"
    assert begun.wait(SECONDS)
    assert "face 2 of 3" in c.heatmap_status.value
    assert c.heatmap_progress.value == 1
    assert c.heatmap_cancel.layout.display == ""
    assert bytes(c.heatmap_images[0].value)
    assert not bytes(c.heatmap_images[1].value)
    assert "not computed yet" in c.heatmap_captions[1].value
    c.heatmap_cancel.click()
    assert "Stopped" in c.heatmap_status.value
    assert c.heatmap_cancel.layout.display == "none"
    gone_on.set()
    assert inspector.wait(SECONDS)
    assert inspector.result[0].explanations == ()
    c.method.value = "gradcam"
    c.method.value = "scorecam"
    assert inspector.wait(SECONDS)
    assert [e.method for e in inspector.result[0].explanations] == ["scorecam"] * 3


def test_files_that_cannot_be_read_leave_the_results_before(inspector, tmp_path, quick):
    inspector.analyze(picture())
    put(inspector.controls.upload, [("b.txt", b"no picture at all")])
    assert inspector.wait(SECONDS)
    assert len(inspector.result) == 1
    assert "Points to" in inspector.controls.verdict.value
    assert "b.txt" in inspector.controls.error_boxes["pictures"].value
    assert "The result of array is still shown" in inspector.controls.status.value


def test_hostile_names_create_no_html_tag(inspector, tmp_path):
    put(inspector.controls.upload, [(HOSTILE, png()), ("x" + HOSTILE, b"bad")])
    assert inspector.wait(SECONDS)
    inspector.controls.folder.value = str(tmp_path / "<script>alert(1)</script>".replace("/", ""))
    inspector.controls.save.click()
    assert inspector.wait(SECONDS)
    inspector.controls.model.value = "<svg onload=alert(1)>"
    assert inspector.wait(SECONDS)
    shown = html_of(inspector.widget)
    assert "onerror" in shown
    assert "onload" in shown
    found = Tags(shown)
    assert found.tags <= KNOWN_TAGS
    assert found.attributes <= KNOWN_ATTRIBUTES


# ------------------------------------------------------------------ what the browser gets


def test_display_shows_the_widget_and_no_file_name(inspector, monkeypatch):
    import IPython.display

    inspector.analyze(read_image(picture(), name="secret.png"))
    shown = []
    monkeypatch.setattr(IPython.display, "display", lambda data, raw: shown.append((data, raw)))
    inspector._ipython_display_()
    ((data, raw),) = shown
    assert raw
    assert data["application/vnd.jupyter.widget-view+json"]["model_id"] == inspector.widget.model_id
    assert "secret" not in str(data)


def test_every_control_has_a_tooltip_and_a_description(inspector):
    kinds = (ipw.Button, ipw.Dropdown, ipw.FloatSlider, ipw.Text, ipw.Textarea, ipw.Checkbox)
    controls = [w for w in all_widgets(inspector.widget) if isinstance(w, kinds)]
    assert len(controls) > 15
    for control in controls:
        tip = control.tooltip if control.has_trait("tooltip") else control.description_tooltip
        assert tip, control
        assert control.description, control


def test_hint_sets_the_tooltip_of_either_ipywidgets_version():
    class Old(traitlets.HasTraits):
        description_tooltip = traitlets.Unicode()

    assert hint(Old(), "words").description_tooltip == "words"
    assert hint(traitlets.HasTraits(), "words") is not None


def test_markup_escapes():
    assert markup.note("<b>\"'&\n") == '<div class="rdf-text rdf-note">&lt;b&gt;&#34;&#39;&amp;\\n</div>'
    assert markup.errors([]) == ""
    assert markup.log([]) == ""
