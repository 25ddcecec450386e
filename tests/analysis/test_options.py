"""Options are checked before any work, by the same rules for images, videos and scans."""

from __future__ import annotations

import inspect
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from helpers.planted_models import classifier_without_map

from redeepfake_nb import (
    Classifier,
    Face,
    UnknownChoice,
    analyze_image,
    analyze_video,
    predict,
    scan,
)
from redeepfake_nb.analysis import AnalysisOptions

INVALID = [
    ({"detector": "hgo"}, UnknownChoice, "unknown detector 'hgo'"),
    ({"detector": 3}, ValueError, "detector must be a name or a callable, not int"),
    ({"margin": 4.1}, ValueError, "margin must be a fraction from 0 to 4, not 4.1"),
    ({"margin": True}, ValueError, "margin"),
    ({"min_size": -1}, ValueError, "min_size must be a number of pixels, 0 or more, not -1"),
    ({"min_size": "40"}, ValueError, "min_size"),
    ({"threshold": 2}, ValueError, "threshold must lie between 0 and 1"),
    ({"threshold": float("nan")}, ValueError, "threshold"),
    ({"explain": "gradcan"}, UnknownChoice, "unknown method 'gradcan'"),
    ({"target": "both"}, UnknownChoice, "unknown target 'both'"),
    ({"layer": 3}, ValueError, "layer must be a layer's name, not int"),
]


@pytest.mark.parametrize(("options", "kind", "message"), INVALID)
def test_invalid_options(options: dict, kind: type[ValueError], message: str) -> None:
    with pytest.raises(kind, match=message):
        AnalysisOptions(**options)


@pytest.mark.parametrize(("options", "kind", "message"), INVALID)
def test_entry_points_check_options_first(
    options: dict, kind: type[ValueError], message: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def never(*_: object, **__: object) -> None:
        raise AssertionError("work began before the options were checked")

    for place in ("analysis.image.read_image", "analysis.image.default_classifier"):
        monkeypatch.setattr(f"redeepfake_nb.{place}", never)
    for place in ("analysis.video.open_video", "analysis.video.default_classifier"):
        monkeypatch.setattr(f"redeepfake_nb.{place}", never)
    monkeypatch.setattr("redeepfake_nb.scanning.scheduler.read_card", never)
    with pytest.raises(kind, match=message):
        analyze_image("no such file", **options)
    with pytest.raises(kind, match=message):
        analyze_video("no such file", **options)
    if not options.keys() & {"explain", "target", "layer"}:
        with pytest.raises(kind, match=message):
            scan("no such folder", tmp_path / "scan.sqlite", **options)


def test_entry_points_have_the_same_names_and_defaults() -> None:
    shared = {field.name: field.default for field in fields(AnalysisOptions)}
    for function in (analyze_image, analyze_video):
        parameters = inspect.signature(function).parameters
        assert {name: parameters[name].default for name in shared} == shared
    parameters = inspect.signature(scan).parameters
    scanned = ("detector", "margin", "min_size", "threshold")
    assert {name: parameters[name].default for name in scanned} == {name: shared[name] for name in scanned}


def test_settings_fill_in_what_the_model_decides(classifier: Classifier) -> None:
    assert AnalysisOptions().settings(classifier) == {
        "detector": "blazeface",
        "margin": classifier.preprocessing.margin,
        "min_size": None,
        "threshold": classifier.threshold,
        "scored_by": classifier.scored_by,
        "explain": None,
        "target": None,
        "layer": None,
    }
    given = AnalysisOptions(print, 0.5, 40, 0.7, "layercam", "real", "conv")
    assert given.settings(classifier) == {
        "detector": "print",
        "margin": 0.5,
        "min_size": 40,
        "threshold": 0.7,
        "scored_by": classifier.scored_by,
        "explain": "layercam",
        "target": "real",
        "layer": "conv",
    }


@pytest.mark.parametrize("branches", [True, False])
def test_a_missing_heatmap_costs_no_score(branches: bool) -> None:
    found = classifier_without_map(branches)
    face = predict(found, [Face.whole(np.full((40, 40, 3), 90, np.uint8))])
    explanations, why = AnalysisOptions(explain="gradcam").explanations(found, face)
    assert explanations == ()
    assert "Choose saliency" in why
    assert ("branch_b" in why) == branches
    assert AnalysisOptions(explain="gradcam").settings(found)["layer"] is None
    (explanation,), why = AnalysisOptions(explain="saliency").explanations(found, face)
    assert (explanation.method, why) == ("saliency", "")
    assert AnalysisOptions(explain="saliency").settings(found)["layer"] == explanation.layer


def test_an_unknown_layer_is_an_error_before_any_work(classifier: Classifier) -> None:
    AnalysisOptions(layer="nonsense").check_layer(classifier)  # no heatmap is asked for
    for analyze in (analyze_image, analyze_video):
        with pytest.raises(UnknownChoice, match="there is no layer 'nonsense'"):
            analyze("no such file", classifier, explain="gradcam", layer="nonsense")


def test_threshold_of_the_model_or_of_the_caller(classifier: Classifier) -> None:
    card = replace(classifier.card, threshold=0.3)
    assert AnalysisOptions().threshold_for(card) == 0.3
    assert AnalysisOptions(threshold=0.7).threshold_for(card) == 0.7
