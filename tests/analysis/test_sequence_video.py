"""Videos scored by a model of several frames at once: windows, their sightings, heatmaps of every frame."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from helpers.sequence_models import change_classifier
from helpers.small_clips import clip, detect_squares, picture

from redeepfake_nb import Classifier, UnsuitableModel, analyze_image, analyze_video, predict
from redeepfake_nb.analysis import VideoReport, fake_segments
from redeepfake_nb.models.graph import spatial_cut_layer
from redeepfake_nb.scanning.file_scoring import FileScorer, ScanSettings

# Windows of four: frames 0 to 3, 4 to 7, and 6 to 9, which scores the last two.
LEVELS = [40, 60, 80, 100, 200, 160, 120, 80, 90, 200]
CHANGES = [60] * 4 + [-120] * 4 + [80] * 2


@pytest.fixture(scope="module")
def sequence_classifier() -> Classifier:
    return change_classifier()


@pytest.fixture(scope="module")
def video() -> bytes:
    return clip([picture(level) for level in LEVELS])


@pytest.fixture(scope="module")
def report(video: bytes, sequence_classifier: Classifier) -> VideoReport:
    return analyze_video(video, sequence_classifier, frames="all", detector=detect_squares, explain="gradcam")


def test_every_sighting_has_the_score_of_its_window(report: VideoReport) -> None:
    assert [s.logit for s in report.sightings] == pytest.approx(np.array(CHANGES) * 8 / 255, abs=0.15)
    assert [s.window for s in report.sightings] == [0] * 4 + [1] * 4 + [2] * 2
    assert not any(s.repeated for s in report.sightings)
    table = report.to_frame()
    assert table["window"].tolist() == [0] * 4 + [1] * 4 + [2] * 2
    (person,) = report.persons
    assert fake_segments(report, person) == [pytest.approx((0, 0.3)), pytest.approx((0.8, 0.9))]
    assert any("scored 3 windows of 4 frames 0.10 s apart" in reason for reason in person.verdict.reasons)
    assert report.settings["layer"] == "brightness"


def test_heatmap_of_every_frame(report: VideoReport) -> None:
    """For fake only the last frame counts, and its map is the brightness itself."""
    assert report.heatmap_error == ""
    assert [p.logit for p in report.evidence] == sorted((p.logit for p in report.evidence), reverse=True)
    first = report.explanations[0]
    assert first.prediction.face.frame.index == 9
    assert [e.prediction.face.frame.index for e in first.frames] == [6, 7, 8, 9]
    assert [e.heatmap.max() for e in first.frames[:3]] == [0, 0, 0]
    np.testing.assert_allclose(first.heatmap, 1, atol=0.1)
    # 8 for the logit's weight, spread over 16 x 16 places; the map is at most 200 / 255.
    assert first.peak == pytest.approx(8 / 256 * 200 / 255, rel=0.05)
    assert report.evidence[0] is first.prediction


@pytest.mark.parametrize("method", ["gradcam++", "layercam", "saliency"])
def test_other_methods_show_the_same_frame(
    report: VideoReport, sequence_classifier: Classifier, method: str
) -> None:
    from redeepfake_nb import explain

    found = explain(sequence_classifier, report.evidence[0], method)
    assert found.prediction.face.frame.index == 9
    against = explain(sequence_classifier, report.evidence[0], method, "real")
    assert against.prediction.face.frame.index == 6


def test_method_for_single_pictures_costs_no_score(video: bytes, sequence_classifier: Classifier) -> None:
    found = analyze_video(
        video, sequence_classifier, frames="all", detector=detect_squares, explain="scorecam"
    )
    assert len(found.sightings) == 10
    assert "scorecam is made for single pictures" in found.heatmap_error


def test_too_few_frames_are_filled_up_and_inconclusive(sequence_classifier: Classifier) -> None:
    """40, 120, 200, and 200 once more."""
    found = analyze_video(
        clip([picture(level) for level in (40, 120, 200)]),
        sequence_classifier,
        frames="all",
        detector=detect_squares,
        explain_top=0,
    )
    assert [s.logit for s in found.sightings] == pytest.approx([160 * 8 / 255] * 3, abs=0.15)
    assert [s.repeated for s in found.sightings] == [1] * 3
    (person,) = found.persons
    assert person.verdict.label == "inconclusive"
    assert any(
        "in only 3 sampled frames in a row, the model takes 4, so the last one was repeated" in reason
        for reason in person.verdict.reasons
    )


# ------------------------------------------------------------------ single pictures


def test_pictures_are_refused_everywhere(tmp_path: Path, sequence_classifier: Classifier) -> None:
    from PIL import Image

    path = tmp_path / "a.png"
    Image.fromarray(picture(90)).save(path)
    with pytest.raises(UnsuitableModel, match=r"scores 4 frames of a video at once.*analyze_video"):
        analyze_image(path, sequence_classifier, detector=detect_squares)
    scorer = FileScorer(sequence_classifier, ScanSettings(detector=detect_squares))
    ((_, outcome),) = scorer.score([str(path)], lambda index: None)
    assert (outcome.status, outcome.error) == ("failed", "UnsuitableModel")
    assert "Scan videos with it" in str(outcome.next_step)


def test_faces_are_not_evaluated(faces: Callable, sequence_classifier: Classifier) -> None:
    from redeepfake_nb.evaluation.scoring import score_all

    with pytest.raises(UnsuitableModel, match="Evaluate it on labelled videos"):
        score_all([sequence_classifier], faces)


def test_windows_may_be_scored_directly(report: VideoReport, sequence_classifier: Classifier) -> None:
    window = report.evidence[0].window
    (found,) = predict(sequence_classifier, [window])
    assert found.logit == pytest.approx(report.evidence[0].logit, abs=1e-5)
    assert found.window == window
    with pytest.raises(UnsuitableModel, match="a single picture has no score"):
        predict(sequence_classifier, list(window))


def test_default_layer_is_the_deepest_map(sequence_classifier: Classifier) -> None:
    assert spatial_cut_layer(sequence_classifier.keras_model) == "brightness"
