"""The panel of questions: answered in the background, kept while their heatmap is shown, cancelled."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from redeepfake_nb import Classifier, Face, Frame, RedeepfakeError, explain, predict, view
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.widgets import explanation_panel as closer_look
from redeepfake_nb.widgets.explanation_panel import QUESTIONS, CloserLook
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
    return [(f"face {i + 1}", explanation) for i, explanation in enumerate(made)]


@pytest.fixture
def panel(classifier: Classifier, heatmaps: list, monkeypatch: pytest.MonkeyPatch) -> CloserLook:
    monkeypatch.setattr(view, "to_png", lambda plot, record, **options: plot.__name__.encode())
    panel = CloserLook()
    panel.offer(classifier, heatmaps, 0.6)
    return panel


def test_nothing_to_ask_about() -> None:
    panel = CloserLook()
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
    assert panel.note.value == ""
    assert panel.picture.value == plot
    assert words in panel.caption.value
    assert list(panel.answers) == [(question, heatmaps[0][1])]
    assert panel.cancel.layout.display == "none"
    assert not panel.buttons[question].disabled


def test_an_answer_is_worked_out_once_and_kept_while_its_heatmap_is_shown(
    panel, heatmaps, classifier, monkeypatch
) -> None:
    calls = []
    real = closer_look.stress_test
    monkeypatch.setattr(closer_look, "stress_test", lambda *a, **o: calls.append(a[1]) or real(*a, **o))
    panel.ask("stress")
    assert panel.wait(SECONDS)
    panel.face.value = 1
    assert panel.caption.value == ""  # not known of the other face
    panel.ask("stress")
    assert panel.wait(SECONDS)
    panel.face.value = 0
    panel.ask("stress")
    assert panel.caption.value != ""
    assert len(calls) == 2
    panel.offer(classifier, heatmaps[1:], 0.6)
    assert [key[1] for key in panel.answers] == [heatmaps[1][1]]
    assert panel.caption.value == ""
    panel.offer(classifier, (), 0.6)
    assert panel.answers == {}
    assert panel.root.layout.display == "none"


def test_the_threshold_judges_anew_and_asks_nothing(panel, monkeypatch) -> None:
    panel.ask("stress")
    assert panel.wait(SECONDS)
    monkeypatch.setattr(closer_look, "stress_test", None)
    before = panel.caption.value
    panel.judge(0.99)
    assert panel.caption.value != before


def test_cancel_stops_a_check(panel, monkeypatch) -> None:
    going = threading.Event()

    def endless(classifier, explanation, *, progress, cancel):
        going.set()
        cancel.wait(SECONDS)
        raise RedeepfakeError("the check was cancelled", next_step="Run it again for a badge.")

    monkeypatch.setattr(closer_look, "faithfulness", endless)
    panel.ask("trust")
    assert going.wait(SECONDS)
    assert panel.cancel.layout.display == ""
    assert all(asked.disabled for asked in panel.buttons.values())
    panel.cancel.click()
    assert panel.wait(SECONDS)
    assert "the check was cancelled" in panel.note.value
    assert panel.answers == {}


def test_an_unexpected_error_is_named_as_text(panel, monkeypatch) -> None:
    def fail(*args, **options):
        raise OSError("<b>no</b>")

    monkeypatch.setattr(closer_look, "stress_test", fail)
    panel.ask("stress")
    assert panel.wait(SECONDS)
    assert "unexpected OSError: &lt;b&gt;no&lt;/b&gt;" in panel.note.value


def test_the_inspector_offers_what_it_shows(classifier: Classifier) -> None:
    inspector = ImageInspector(classifier)
    assert inspector.closer.root.layout.display == "none"
    inspector.analyze(sample_image())
    closer = inspector.closer
    assert closer.root.layout.display == ""
    closer.ask("where")
    assert closer.wait(SECONDS)
    (regions,) = (answer.regions for answer in closer.answers.values())
    assert regions.evidence.sum() == pytest.approx(1)
    assert regions.sentence.rstrip(".") in closer.caption.value
    inspector.controls.method.value = "none"
    assert closer.root.layout.display == "none"
    inspector.clear()


def test_every_question_has_a_hint() -> None:
    panel = CloserLook()
    assert list(panel.buttons) == list(QUESTIONS)
    assert all(asked.tooltip and asked.description for asked in panel.buttons.values())
