"""``ImageInspector``, driven through its traits as a browser does."""

from __future__ import annotations

import io

import ipywidgets as ipw
import numpy as np
import pytest
import traitlets
from helpers.widget_trees import HOSTILE, KNOWN_ATTRIBUTES, KNOWN_TAGS, Tags, all_widgets, html_of, put
from PIL import Image, PngImagePlugin

from redeepfake_nb import errors, read_image, view
from redeepfake_nb.faces import detection
from redeepfake_nb.models.loading import save_model
from redeepfake_nb.widgets import base
from redeepfake_nb.widgets import html as markup
from redeepfake_nb.widgets import image as widgets
from redeepfake_nb.widgets.base import expand_paths
from redeepfake_nb.widgets.controls import MAX_HEATMAPS, empty_upload, hint
from redeepfake_nb.widgets.image import MAX_PICTURES, ImageInspector

BOX = (40, 40, 140, 140)


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
    analyze, explain = widgets.analyze_image, widgets.explain

    def counting_analyze(*args, **options):
        calls["analyze"] += 1
        return analyze(*args, **options)

    def counting_explain(classifier, predictions, *args):
        calls["explain"] += len(predictions)
        return explain(classifier, predictions, *args)

    monkeypatch.setattr(widgets, "analyze_image", counting_analyze)
    monkeypatch.setattr(widgets, "explain", counting_explain)
    return calls


@pytest.fixture
def quick(monkeypatch):
    """Replace drawings by a description, for tests that do not examine pictures."""

    def words(plot, record, **options):
        return f"{plot.__name__} {id(record)} {options}".encode()

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
    assert "no face was found" in inspector.controls.verdict.value
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
    assert seen[:2] == ["Analysing 1 of 2: image", "Analysing 2 of 2: image"]
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
    assert inspector.result[0] is report
    assert bytes(inspector.controls.heatmap_images[0].value) != drawn
    assert counted == before


def test_heatmaps_are_computed_once_for_each_method_and_target(inspector, counted, quick):
    inspector.analyze([picture(255), picture(100)])
    assert counted == {"analyze": 2, "explain": 2}
    first = inspector.result[0].explanations[0]
    assert not first.empty
    inspector.controls.target.value = "real"
    assert inspector.result[0].explanations[0].empty
    assert counted == {"analyze": 2, "explain": 4}
    inspector.controls.target.value = "fake"
    assert inspector.result[0].explanations[0] is first
    assert counted == {"analyze": 2, "explain": 4}
    inspector.controls.method.value = "none"
    assert inspector.result[0].explanations == ()
    assert inspector.result[0].settings["explain"] is None
    inspector.controls.method.value = "layercam"
    assert inspector.result[0].explanations[0].method == "layercam"
    assert counted == {"analyze": 2, "explain": 6}


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
    assert len(inspector.result) == 1
    assert "absent.png" in inspector.controls.error_boxes["pictures"].value
    assert len(inspector.errors) == 1


def test_the_selector_and_its_buttons(inspector, quick):
    c = inspector.controls
    inspector.analyze(picture())
    assert c.navigation.layout.display == "none"
    inspector.analyze([picture(255), picture(0), picture(255)])
    assert c.navigation.layout.display == ""
    assert (c.previous.disabled, c.next.disabled) == (True, False)
    c.next.click()
    assert c.picture.value == 1
    assert "No sign of manipulation" in c.verdict.value
    assert (c.previous.disabled, c.next.disabled) == (False, False)
    c.picture.value = 2
    assert "Points to manipulation" in c.verdict.value
    assert (c.previous.disabled, c.next.disabled) == (False, True)
    c.threshold.value = 0.7
    assert c.picture.value == 2


def test_of_many_faces_the_largest_are_drawn_and_each_can_be_chosen(inspector, boxes, quick):
    boxes[:] = [(20 * i, 0, 20 * i + 10 + i, 20) for i in range(MAX_HEATMAPS + 2)]
    inspector.analyze(picture())
    c = inspector.controls
    assert c.face.layout.display == ""
    assert sum(bool(pane.value) for pane in c.heatmap_images) == MAX_HEATMAPS
    assert [f"Face {i + 1}<" in c.heatmap_captions[i].value for i in range(MAX_HEATMAPS)] == [
        True
    ] * MAX_HEATMAPS
    c.face.value = MAX_HEATMAPS + 1
    assert "Face 6" in c.heatmap_captions[0].value
    assert sum(bool(pane.value) for pane in c.heatmap_images) == 1
    inspector.analyze([])
    assert not any(pane.value for pane in c.heatmap_images)


# ------------------------------------------------------------------ sources


def test_an_upload_is_analysed_and_removed_from_the_state(inspector, quick):
    data = png()
    upload = inspector.controls.upload
    put(upload, [("a.png", data), ("b.txt", b"no picture at all")])
    assert [r.name for r in inspector.result] == ["a.png"]
    assert "b.txt" in inspector.controls.error_boxes["pictures"].value
    assert not upload.value
    assert data not in repr(upload.get_state()).encode("latin-1", "ignore")
    assert not any(upload.get_state().get(key) for key in ("value", "data", "metadata"))
    put(upload, [("a.png", data)])
    assert len(inspector.result) == 1
    assert inspector.errors == []


def test_what_a_file_says_of_itself_is_shown_and_kept(inspector, quick):
    texts = PngImagePlugin.PngInfo()
    texts.add_text("Software", "Midjourney <b>")
    data = io.BytesIO()
    Image.new("RGB", (200, 180)).save(data, "PNG", pnginfo=texts)
    (report,) = inspector.analyze(data.getvalue())
    assert report.provenance.declared_ai == "claimed"
    shown = inspector.controls.verdict.value
    assert shown.index("What the file says of itself") < shown.index("apart from the score")
    assert "Midjourney &lt;b&gt;" in shown
    (again,) = inspector.analyze_again()
    assert again.provenance is report.provenance
    assert again.verdict.reasons == report.verdict.reasons
    inspector.controls.threshold.value = 0.3
    assert inspector.result[0].verdict.declared == report.verdict.declared


def test_an_invalid_upload_is_removed_from_the_state(inspector, monkeypatch):
    def refuse(value):
        raise errors.UnsupportedMedia("it is not an upload", next_step="Try again.")

    monkeypatch.setattr(base, "uploads", refuse)
    put(inspector.controls.upload, [("a.png", png())])
    assert not inspector.controls.upload.value
    assert "not an upload" in inspector.controls.error_boxes["pictures"].value


class Upload7(traitlets.HasTraits):
    """The state of ipywidgets 7.7's FileUpload, on Colab."""

    data = traitlets.List()
    metadata = traitlets.List()
    _counter = traitlets.Int()
    value = traitlets.Dict(read_only=True)


def test_uploads_of_ipywidgets_7(inspector, quick):
    metadata = {"name": "a.png", "type": "image/png", "size": 1, "lastModified": 0}
    upload = Upload7(data=[png()], metadata=[metadata], _counter=1)
    upload.set_trait("value", {"a.png": {"metadata": metadata, "content": png()}})
    inspector.controls.upload = upload
    inspector._open_upload()
    assert [r.name for r in inspector.result] == ["a.png"]
    assert (upload.data, upload.metadata, upload._counter, upload.value) == ([], [], 0, {})
    empty_upload(upload)  # nothing to do, no error
    assert upload.value == {}


def test_paths_and_patterns(inspector, tmp_path, quick):
    for name in ("b.png", "a.png", "[x].png"):
        (tmp_path / name).write_bytes(png())
    box = inspector.controls.paths
    box.value = f"{tmp_path}/?.png\n\n  {tmp_path}/[x].png  \n"
    inspector.controls.open_paths.click()
    assert [r.name for r in inspector.result] == ["a.png", "b.png", "[x].png"]
    box.value = f"{tmp_path}/*.gif"
    inspector.controls.open_paths.click()
    assert "no file matches" in inspector.controls.error_boxes["pictures"].value
    box.value = " "
    inspector.controls.open_paths.click()
    assert "No path is given" in inspector.controls.error_boxes["pictures"].value


def test_expand_paths_leaves_plain_names_alone(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert expand_paths("a.jpg\n~/b.jpg") == ["a.jpg", "/home/somebody/b.jpg"]
    assert expand_paths("") == []


def test_the_samples(classifier, quick):
    inspector = ImageInspector(classifier)
    inspector.controls.sample.click()
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
    assert "&lt;b&gt;absent" in c.error_boxes["model"].value
    assert c.model_facts.value == ""
    put(c.upload, [("a.png", png())])
    assert inspector.result == []
    assert c.verdict.value == ""
    assert "absent" in c.error_boxes["model"].value
    with pytest.raises(errors.ModelError):
        inspector.analyze(picture())
    c.model.value = "brightness 1"
    assert c.error_boxes["model"].value == ""
    c.analyze_again.click()
    assert len(inspector.result) == 1


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
    assert "Saved 2 reports" in inspector.controls.saved.value
    assert (tmp_path / "out" / "summary.csv").is_file()
    assert len(list((tmp_path / "out").glob("*/report.json"))) == 2
    assert all(p.is_dir() for p in inspector.save(tmp_path / "other"))


def test_a_failed_save_is_reported_beside_the_button(inspector, tmp_path):
    (tmp_path / "file").write_text("")
    inspector.analyze(picture())
    inspector.controls.folder.value = str(tmp_path / "file" / "out")
    inspector.controls.save.click()
    assert "rdf-error" in inspector.controls.error_boxes["save"].value
    assert inspector.controls.saved.value == ""


def test_clear_removes_pictures_and_file_names(inspector):
    put(inspector.controls.upload, [("secret.png", png()), ("secret.txt", b"bad")])
    inspector.clear()
    assert (inspector.result, inspector.errors, inspector._sources) == ([], [], [])
    assert inspector._explanations == {}
    for widget in all_widgets(inspector.widget):
        state = widget.get_state()
        assert "secret" not in repr(state)
        if isinstance(widget, ipw.Image):
            assert not bytes(widget.value)
    assert "Cleared" in inspector.controls.status.value
    assert inspector.controls.analyze_again.disabled


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


def test_an_interrupted_run_shows_what_was_finished(inspector, monkeypatch, quick):
    analyze = widgets.analyze_image
    left = [picture(), KeyboardInterrupt()]

    def interrupt(source, *args, **options):
        step = left.pop(0)
        if isinstance(step, BaseException):
            raise step
        return analyze(source, *args, **options)

    monkeypatch.setattr(widgets, "analyze_image", interrupt)
    put(inspector.controls.upload, [("a.png", png()), ("b.png", png()), ("c.png", png())])
    assert [r.name for r in inspector.result] == ["a.png"]
    assert "Interrupted" in inspector.controls.status.value
    assert inspector.controls.progress.layout.display == "none"


def test_hostile_names_create_no_html_tag(inspector, tmp_path):
    put(inspector.controls.upload, [(HOSTILE, png()), ("x" + HOSTILE, b"bad")])
    inspector.controls.folder.value = str(tmp_path / "<script>alert(1)</script>".replace("/", ""))
    inspector.controls.save.click()
    inspector.controls.model.value = "<svg onload=alert(1)>"
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
    kinds = (ipw.Button, ipw.Dropdown, ipw.FloatSlider, ipw.Text, ipw.Textarea, ipw.FileUpload, ipw.Checkbox)
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
