"""Assessments: metrics of the readable faces equal those of evaluate and arithmetic by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.grey_faces import ROWS, grey_faces

from redeepfake_nb import Classifier, ModelError, evaluate
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.evaluation.assessment import Assessment, assess, compare, with_counterpart
from redeepfake_nb.evaluation.calibration import fit_temperature


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    return grey_faces(tmp_path_factory.mktemp("grey"))


@pytest.fixture(scope="module")
def found(faces: LabelledFaces, classifier: Classifier) -> Assessment:
    return assess(classifier, faces, resamples=30)


def with_card(classifier: Classifier, **changes: object) -> Classifier:
    return Classifier(classifier.keras_model, replace(classifier.card, **changes))


def test_scores_and_predictions_by_hand(found: Assessment) -> None:
    logits = np.array([8 * grey / 255 - 4 for _, grey, *_ in ROWS])
    np.testing.assert_allclose(found.logits, logits, atol=1e-3)
    np.testing.assert_allclose(found.probabilities, 1 / (1 + np.exp(-logits)), atol=1e-3)
    np.testing.assert_array_equal(found.predicted_fake, [0, 0, 0, 1, 0, 1, 1, 1])
    np.testing.assert_allclose(found.brightness, [grey for _, grey, *_ in ROWS])
    assert found.confusion().to_numpy().tolist() == [[3, 1], [1, 3]]
    assert found.metrics["accuracy"].value == 0.75
    # Of the 16 pairs (fake, real) three are out of order: 80 under 100 and 160, 150 under 160.
    assert found.metrics["auc"].value == pytest.approx(13 / 16)
    assert (found.threshold, found.operating_point, found.group) == (0.6, None, "identity")


def test_metrics_are_those_of_evaluate(found: Assessment, faces: LabelledFaces) -> None:
    people = faces.table["identity"].to_numpy()
    expected = evaluate(faces.y, found.probabilities, groups=people, threshold=0.6, resamples=30)
    assert found.metrics == expected
    assert expected.groups == 4


def test_before_and_after_calibration(faces: LabelledFaces, classifier: Classifier) -> None:
    found = assess(with_card(classifier, temperature=2.0), faces, resamples=0)
    half = 1 / (1 + np.exp(-found.logits.astype(float) / 2))
    whole = 1 / (1 + np.exp(-found.logits.astype(float)))
    np.testing.assert_allclose(found.probabilities, half)
    for metrics, p in ((found.metrics, half), (found.uncalibrated, whole)):
        assert metrics["log_loss"].value == pytest.approx(evaluate(faces.y, p, resamples=0)["log_loss"].value)
        assert metrics["brier"].value == pytest.approx(np.mean((p - faces.y) ** 2))
    assert found.fitted_temperature == fit_temperature(faces.y, found.logits)
    # A temperature moves no face across the threshold, wherever that lies.
    for cut in (0.55, 0.9):
        moved = assess(with_card(classifier, temperature=2.0), faces, threshold=cut, resamples=0)
        for name in ("accuracy", "precision", "recall", "auc"):
            np.testing.assert_equal(moved.uncalibrated[name].value, moved.metrics[name].value)
    table = found.metrics_frame()
    assert table.loc["log_loss", "before_calibration"] == found.uncalibrated["log_loss"].value
    assert table.loc["auc", "value"] == table.loc["auc", "before_calibration"]


def test_an_uncalibrated_model(faces: LabelledFaces, classifier: Classifier) -> None:
    found = assess(with_card(classifier, temperature=None), faces, resamples=0)
    assert found.temperature is None
    assert found.metrics is found.uncalibrated


def test_threshold_at_a_false_positive_rate(faces: LabelledFaces, classifier: Classifier) -> None:
    found = assess(classifier, faces, false_positive_rate=0.0, resamples=0)
    # The lowest score above the highest real, grey 160, is that of grey 200.
    assert found.threshold == found.probabilities[6]
    assert found.operating_point == (found.threshold, 0.0, 0.5)
    assert found.confusion().to_numpy().tolist() == [[4, 0], [2, 2]]
    cut = found.to_dict()["threshold"]
    assert (cut["chosen_on_these_faces"], cut["target_false_positive_rate"], cut["true_positive_rate"]) == (
        True,
        0.0,
        0.5,
    )


def test_a_given_threshold(faces: LabelledFaces, classifier: Classifier) -> None:
    found = assess(classifier, faces, threshold=0.99, resamples=0)
    assert not found.predicted_fake.any()
    assert found.classification_report().loc["FAKE", ["precision", "f1-score"]].isna().all()
    with pytest.raises(ValueError, match="not both"):
        assess(classifier, faces, threshold=0.5, false_positive_rate=0.1)
    with pytest.raises(ValueError, match=r"not 1\.5"):
        assess(classifier, faces, threshold=1.5)


def test_one_row_per_face(found: Assessment, faces: LabelledFaces) -> None:
    table = found.to_frame()
    assert list(table["file"]) == list(faces.table["file"])
    assert list(table["predicted"]) == ["REAL"] * 3 + ["FAKE", "REAL"] + ["FAKE"] * 3
    assert list(table["correct"]) == [True] * 3 + [False] * 2 + [True] * 3
    np.testing.assert_array_equal(table["probability"], found.probabilities)


def test_the_most_confident_error_comes_first(found: Assessment) -> None:
    worst = found.worst()
    # The fake of grey 80 scores sigmoid(-1.49) = 0.18, so wrong by 0.82; the real of 160 is by 0.73.
    assert list(worst["file"]) == ["4.png", "3.png"]
    np.testing.assert_allclose(worst["wrong_by"], [0.816, 0.735], atol=1e-3)
    assert list(found.worst(1)["file"]) == ["4.png"]


def test_classification_report_by_hand(found: Assessment) -> None:
    report = found.classification_report()
    assert list(report.loc[["REAL", "FAKE"], "precision"]) == [0.75, 0.75]
    assert list(report["faces"]) == [4, 4, 8, 8, 8]
    assert report.loc["accuracy", "f1-score"] == 0.75


def test_slices_by_hand(found: Assessment) -> None:
    table = found.slices.set_index(["feature", "from"])
    assert table.loc[("native width", 0), "faces"] == 2
    assert table.loc[("native width", 0), "auc"] == 1  # real 20 and fake 240
    assert table.loc[("native width", 108), "auc"] == 0.5  # fake 80 lies above real 60 and under real 160
    assert table.loc[("brightness", 120), "faces"] == 4
    assert table.loc[("sharpness", 0), "faces"] == 8  # one grey each: no edge anywhere
    assert table.loc[("brightness", 0), "note"] == "n/a: one label"
    assert np.isnan(table.loc[("brightness", 0), "auc"])


def test_a_table_without_widths_or_people(faces: LabelledFaces, classifier: Classifier) -> None:
    bare = faces.table.drop(columns="original_width").assign(identity=None, original=None)
    found = assess(classifier, LabelledFaces(bare, faces.root), resamples=0)
    assert set(found.slices["feature"]) == {"brightness", "sharpness"}
    assert found.group is None
    assert found.groups is None
    assert found.metrics.groups == 8


def test_unreadable_images_are_listed(classifier: Classifier, tmp_path: Path) -> None:
    faces = grey_faces(tmp_path)
    (tmp_path / "1.png").write_bytes(b"not a picture")
    (tmp_path / "6.png").unlink()
    found = assess(classifier, faces, resamples=0)
    assert list(found.unreadable["file"]) == ["1.png", "6.png"]
    assert len(found) == len(found.logits) == 6
    assert found.to_dict()["faces"] == {"read": 6, "real": 3, "fake": 3, "unreadable": 2}


def test_plain_json_and_reproducible(found: Assessment, faces: LabelledFaces, classifier: Classifier) -> None:
    values = found.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert assess(classifier, faces, resamples=30).to_dict() == values
    assert values["calibrated"]["auc"]["value"] == 0.8125


def test_limit(faces: LabelledFaces, classifier: Classifier) -> None:
    found = assess(classifier, faces, limit=4, resamples=0)
    assert sorted(found.y) == [0, 0, 1, 1]


# ------------------------------------------------------------------ compare


def test_a_model_against_itself_with_inverted_scores(faces: LabelledFaces, classifier: Classifier) -> None:
    turned = Classifier(
        classifier.keras_model, replace(classifier.card, positive_class="real", temperature=2.0)
    )
    # Each of the eight faces by itself: of four people there would be no interval.
    single = faces.with_table(faces.table.assign(identity=None, original=None))
    table = compare({"one": classifier, "same": classifier, "turned": turned}, single, resamples=40)
    assert list(table.index) == ["one", "same", "turned"]
    np.testing.assert_allclose(table["auc"], [13 / 16, 13 / 16, 3 / 16])
    assert np.isnan(table.loc["one", "auc_difference"])
    # Paired: the very same scores differ by nothing on every sample, however wide the AUC's own interval is,
    # and samples that are alike give no interval.
    assert table.loc["same", "auc_difference"] == 0
    assert table.loc["same", ["auc_difference_low", "auc_difference_high"]].isna().all()
    assert table.loc["same", "auc_low"] < table.loc["same", "auc_high"]
    assert table.loc["turned", "auc_difference"] == pytest.approx(-10 / 16)
    # An AUC turned round is 1 - AUC on every sample, so the difference and its interval are 1 - 2 * AUC.
    low, high = table.loc["one", "auc_low"], table.loc["one", "auc_high"]
    assert table.loc["turned", "auc_difference_low"] == pytest.approx(1 - 2 * high)
    assert table.loc["turned", "auc_difference_high"] == pytest.approx(1 - 2 * low)
    assert list(table["temperature"]) == [1, 1, 2]


def test_compare_agrees_with_assess(found: Assessment, faces: LabelledFaces, classifier: Classifier) -> None:
    row = compare({"a": classifier}, faces, resamples=30).loc["a"]
    assert found.metrics.resamples == 0  # of four people
    for name in ("auc", "accuracy", "log_loss"):
        metric = found.metrics[name]
        measured = row[[name, f"{name}_low", f"{name}_high"]].astype(float)
        np.testing.assert_allclose(measured, [metric.value, metric.low, metric.high])
    for name in ("average_precision", "eer", "brier", "ece"):
        assert row[name] == found.metrics[name].value
    assert "auc_difference" not in row


def test_nothing_to_compare(faces: LabelledFaces) -> None:
    with pytest.raises(ValueError, match="at least one"):
        compare({}, faces)


def test_a_counterpart_is_another_model_or_the_same_with_colours_swapped(
    classifier: Classifier, tmp_path: Path
) -> None:
    pair = with_counterpart(classifier)
    assert list(pair) == ["this model", "colours swapped"]
    assert pair["this model"] is classifier
    assert pair["colours swapped"].preprocessing.color_order == "BGR"
    batch = np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)).astype(np.float32)
    assert pair["colours swapped"].logits(batch) == pytest.approx(classifier.logits(batch), abs=1e-5)
    with pytest.raises(ModelError):
        with_counterpart(classifier, tmp_path / "absent.keras")
