"""``ExplanationPanel``: answers computed in the background, kept while their heatmap is shown, cancelled."""

from __future__ import annotations

import threading
from dataclasses import replace

import numpy as np
import pytest

from redeepfake_nb import (
    Classifier,
    Explanation,
    Face,
    Frame,
    Prediction,
    RedeepfakeError,
    explain,
    find_faces,
    predict,
    view,
)
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.widgets import explanation_panel
from redeepfake_nb.widgets.drawings import Drawings
from redeepfake_nb.widgets.explanation_panel import QUESTIONS, ExplanationPanel
from redeepfake_nb.widgets.image import ImageInspector

SECONDS = 60


@pytest.fixture
def heatmaps(classifier: Classifier) -> list:
    """Two faces, the left half of one bright, the right half of the other."""
    made = []
    for side in (slice(0, 32), slice(32, 64)):
        image = np.full((64, 64, 3), 20, np.uint8)
        image[:, side] = 240
        made.append(explain(classifier, predict(classifier, [Face.whole(Frame(image))])[0]))
    return [(f"Face {i + 1}", explanation) for i, explanation in enumerate(made)]


@pytest.fixture
def panel(classifier: Classifier, heatmaps: list, monkeypatch: pytest.MonkeyPatch) -> ExplanationPanel:
    monkeypatch.setattr(view, "to_png", lambda plot, record, **options: plot.__name__.encode())
    panel = ExplanationPanel(Drawings())
    panel.set_heatmaps(classifier, heatmaps, 0.6)
    return panel


def test_without_a_heatmap_the_panel_is_hidden() -> None:
    panel = ExplanationPanel(Drawings())
    assert panel.root.layout.display == "none"
    panel.ask("where")
    assert panel.answers == {}


@pytest.mark.parametrize(
    ("question", "plot", "words"),
    [
        ("where", b"plot_regions", "landmarks"),
        ("trust", b"plot_faithfulness", "This heatmap is"),
        ("stress", b"plot_stress", "threshold"),
        ("methods", b"plot_comparison", "Methods that agree"),
    ],
)
def test_each_question_is_answered(panel, heatmaps, question, plot, words) -> None:
    assert panel.root.layout.display == ""
    panel.buttons[question].click()
    assert panel.wait(SECONDS)
    assert panel.error_box.value == ""
    assert panel.picture.value == plot
    assert words in panel.caption.value
    assert list(panel.answers) == [(question, heatmaps[0][1])]
    assert panel.cancel.layout.display == "none"
    assert not panel.buttons[question].disabled


def test_an_answer_is_computed_once_and_kept_while_its_heatmap_is_shown(
    panel, heatmaps, classifier, monkeypatch
) -> None:
    calls = []
    real = explanation_panel.stress_test
    monkeypatch.setattr(explanation_panel, "stress_test", lambda *a, **o: calls.append(a[1]) or real(*a, **o))
    panel.ask("stress")
    assert panel.wait(SECONDS)
    panel.face.value = 1
    assert panel.caption.value == ""  # not known for the other face
    panel.ask("stress")
    assert panel.wait(SECONDS)
    panel.face.value = 0
    panel.ask("stress")
    assert panel.caption.value != ""
    assert len(calls) == 2
    panel.set_heatmaps(classifier, heatmaps[1:], 0.6)
    assert [key[1] for key in panel.answers] == [heatmaps[1][1]]
    assert panel.caption.value == ""
    panel.set_heatmaps(classifier, (), 0.6)
    assert panel.answers == {}
    assert panel.root.layout.display == "none"


def test_another_threshold_changes_the_answer_and_computes_nothing(panel, monkeypatch) -> None:
    panel.ask("stress")
    assert panel.wait(SECONDS)
    monkeypatch.setattr(explanation_panel, "stress_test", None)
    before = panel.caption.value
    panel.set_threshold(0.99)
    assert panel.caption.value != before


def test_an_answer_stays_when_heatmaps_of_other_faces_arrive(panel, classifier, heatmaps) -> None:
    panel.face.value = 1
    panel.ask("where")
    assert panel.wait(SECONDS)
    shown = panel.caption.value
    assert shown
    third = replace(heatmaps[0][1], peak=heatmaps[0][1].peak * 2)
    panel.set_heatmaps(classifier, [*heatmaps, ("Face 3", third)], 0.6)
    assert (panel.face.value, panel.caption.value) == (1, shown)
    panel.set_heatmaps(classifier, heatmaps[:1], 0.6)
    assert panel.caption.value == ""


def test_words_about_places_follow_the_threshold(classifier, monkeypatch) -> None:
    """A kind is named only of a face whose score is judged fake."""
    monkeypatch.setattr(view, "to_png", lambda plot, record, **options: plot.__name__.encode())
    face = replace(find_faces(sample_image())[0], margin=0.0)
    prediction = Prediction(face, 2.0, 1.0, kinds={"generated": 1.0, "swapped": 0.0})
    everywhere = np.ones(face.crop(0.0).shape[:2], np.float32)
    heatmap = Explanation(prediction, everywhere, "gradcam", "fake", "conv", 0.5, 0.0)
    panel = ExplanationPanel(Drawings())
    panel.set_heatmaps(classifier, [("Face 1", heatmap)], 0.5)
    panel.ask("where")
    assert panel.wait(SECONDS)
    assert "often spread over hair and background" in panel.caption.value
    panel.set_threshold(0.99)
    assert "often spread over hair and background" not in panel.caption.value


@pytest.mark.parametrize(
    ("question", "words"), [("stress", "The test was"), ("methods", "The comparison was")]
)
def test_cancel_stops_each_question_before_its_next_step(panel, monkeypatch, question, words) -> None:
    pressed, answer = threading.Event(), explanation_panel._answer

    def held(*args):
        assert pressed.wait(SECONDS)
        return answer(*args)

    monkeypatch.setattr(explanation_panel, "_answer", held)
    panel.ask(question)
    panel.cancel.click()
    pressed.set()
    assert panel.wait(SECONDS)
    assert f"{words} cancelled" in panel.error_box.value
    assert panel.cancel.layout.display == "none"


def test_cancel_stops_a_check(panel, monkeypatch) -> None:
    started = threading.Event()

    def endless(classifier, explanation, *, progress, cancel):
        started.set()
        cancel.wait(SECONDS)
        raise RedeepfakeError("the check was cancelled", next_step="Run it again for a badge.")

    monkeypatch.setattr(explanation_panel, "faithfulness", endless)
    panel.ask("trust")
    assert started.wait(SECONDS)
    assert panel.cancel.layout.display == ""
    assert all(asked.disabled for asked in panel.buttons.values())
    panel.cancel.click()
    assert panel.wait(SECONDS)
    assert "The check was cancelled" in panel.error_box.value
    assert panel.answers == {}


def test_an_unexpected_error_is_shown_as_text(panel, monkeypatch) -> None:
    def fail(*args, **options):
        raise OSError("<b>no</b>")

    monkeypatch.setattr(explanation_panel, "stress_test", fail)
    panel.ask("stress")
    assert panel.wait(SECONDS)
    assert "Unexpected OSError: &lt;b&gt;no&lt;/b&gt;" in panel.error_box.value


def test_the_inspector_sets_the_heatmaps_that_it_shows(classifier: Classifier) -> None:
    inspector = ImageInspector(classifier)
    assert inspector.explanation_panel.root.layout.display == "none"
    inspector.analyze(sample_image())
    panel = inspector.explanation_panel
    assert panel.root.layout.display == ""
    panel.ask("where")
    assert panel.wait(SECONDS)
    (regions,) = (answer.regions for answer in panel.answers.values())
    assert regions.evidence.sum() == pytest.approx(1)
    assert regions.sentence.rstrip(".") in panel.caption.value
    inspector.controls.method.value = "none"
    assert panel.root.layout.display == "none"
    inspector.clear()


def test_every_question_has_a_hint() -> None:
    panel = ExplanationPanel(Drawings())
    assert list(panel.buttons) == list(QUESTIONS)
    assert all(asked.tooltip and asked.description for asked in panel.buttons.values())
