"""Image reports are the same for every kind of source, and change threshold without the network."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.reports import make_report

from redeepfake_nb import (
    Classifier,
    EmptyFile,
    Face,
    Frame,
    ImageReport,
    InputError,
    Prediction,
    analyze_image,
)
from redeepfake_nb.analysis.verdict import without_face
from redeepfake_nb.datasets.samples import sample_image, write_samples


def bright_spots(image: np.ndarray) -> list[tuple[int, int, int, int]]:
    """A detector for these tests: the left and the right half."""
    height, width = image.shape[:2]
    return [(0, 0, width // 2, height), (width // 2, 0, width, height)]


@pytest.fixture
def picture() -> np.ndarray:
    """(100, 200, 3): dark on the left, bright on the right."""
    image = np.zeros((100, 200, 3), np.uint8)
    image[:, 100:] = 255
    return image


@pytest.fixture
def report(classifier: Classifier, picture: np.ndarray) -> ImageReport:
    return analyze_image(picture, classifier, detector=bright_spots, explain="gradcam")


def plain(report: ImageReport) -> dict:
    """What must not depend on how the picture came in."""
    values = report.to_dict()
    del values["timing"]
    return values


def test_report_by_hand(report: ImageReport) -> None:
    """The fixture's logit is 8 x mean brightness - 4, its threshold 0.6."""
    logits = [p.logit for p in report.predictions]
    np.testing.assert_allclose(sorted(logits), [-4, 4], atol=1e-5)
    assert report.verdict.label == "fake"
    assert report.threshold == 0.6
    assert report.verdict.reasons[0] == "P(fake) at or over 0.60 for 1 of 2 faces, highest 0.98"
    assert set(report.timing) == {"read", "provenance", "detect", "score", "explain"}
    assert [e.prediction for e in report.explanations] == list(report.predictions)
    assert repr(report).endswith("points to manipulation at threshold 0.60, P(fake) 0.02, 0.98>")


def test_path_bytes_upload_and_array_agree(classifier: Classifier, tmp_path: Path) -> None:
    path = write_samples(tmp_path)[0]
    data = path.read_bytes()
    upload = {"name": path.name, "type": "image/png", "size": len(data), "content": memoryview(data)}
    reports = [analyze_image(s, classifier, explain="gradcam") for s in (path, str(path), upload)]
    assert len(reports[0].predictions) == 1
    assert plain(reports[0]) == plain(reports[1]) == plain(reports[2])
    from_bytes = plain(analyze_image(data, classifier, explain="gradcam"))
    from_bytes["source"]["name"] = path.name
    assert from_bytes == plain(reports[0])
    from_array = plain(analyze_image(sample_image().image, classifier, explain="gradcam"))
    of_the_file = {"source": None, "provenance": None}
    assert {**from_array, **of_the_file} == {**plain(reports[0]), **of_the_file}


@pytest.mark.slow
def test_media_of_the_development_data(shared: Path) -> None:
    """The model that ships, on one real and one manipulated frame, by path and by bytes."""
    for name in ("dfdc_real_lynaeydofd.jpg", "dfdc_fake_mqzvfufzoq.jpg"):
        path = shared / "media" / name
        by_path, by_bytes = plain(analyze_image(path)), plain(analyze_image(path.read_bytes()))
        by_bytes["source"]["name"] = name
        assert by_path == by_bytes
        assert len(by_path["faces"]) == 1


def test_no_face_is_inconclusive(classifier: Classifier, picture: np.ndarray) -> None:
    report = analyze_image(picture, classifier, detector=lambda image: [], explain="gradcam")
    assert report.verdict.label == "inconclusive"
    assert report.verdict.reasons == (without_face(),)
    assert report.at_threshold(0.9).verdict.reasons == report.verdict.reasons
    assert report.to_frame().empty
    assert list(report.to_frame())[:2] == ["file", "face"]
    assert report.to_dict()["faces"] == []


def test_another_threshold_computes_nothing(report: ImageReport, monkeypatch: pytest.MonkeyPatch) -> None:
    def never(*_: object) -> None:
        raise AssertionError("the network was asked")

    for name in ("logits", "score"):
        monkeypatch.setattr(Classifier, name, never)
    stricter = report.at_threshold(0.99)
    assert stricter.predictions == report.predictions
    assert stricter.explanations == report.explanations
    assert (stricter.threshold, stricter.settings["threshold"]) == (0.99, 0.99)
    assert set(stricter.to_frame()["label"]) == {"real"}
    assert set(report.to_frame()["label"]) == {"real", "fake"}


def test_table_has_a_row_per_face(report: ImageReport) -> None:
    table = report.to_frame()
    assert list(table["face"]) == [1, 2]
    row = table.iloc[0]
    assert (row.left, row.top, row.right, row.bottom, row.size_px) == (0, 0, 100, 100, 100)
    assert row.probability == report.predictions[0].probability
    assert row.threshold == 0.6
    assert (row.detector, row.turned_deg) == ("bright_spots", 0)
    assert row.detail_px == round(report.predictions[0].face.detail.size, 1)
    assert row.covered == report.predictions[0].face.covered
    # This detector gives no eyes and mouth, so nothing is known of them.
    assert table[["mouth_covered", "uncertain", "profile"]].isna().all(axis=None)


def test_dictionary_is_plain_json(report: ImageReport) -> None:
    values = report.to_dict()
    assert json.loads(json.dumps(values, allow_nan=False)) == values
    assert values["model"]["name"] == "brightness"
    assert values["settings"]["detector"] == "bright_spots"
    assert values["settings"]["layer"] == "conv"
    assert [f["explanation"]["empty"] for f in values["faces"]] == [True, False]
    assert values["versions"]["keras"]


def test_margin_and_min_size_are_passed_on(classifier: Classifier, picture: np.ndarray) -> None:
    boxes = [(10, 10, 30, 30), (100, 10, 180, 90)]
    report = analyze_image(picture, classifier, detector=lambda i: boxes, margin=0.5, min_size=40)
    assert [p.face.box for p in report.predictions] == [boxes[1]]
    assert report.predictions[0].face.margin == 0.5
    assert (report.settings["margin"], report.settings["min_size"]) == (0.5, 40)


def test_doubts_of_a_face(classifier: Classifier, picture: np.ndarray) -> None:
    report = analyze_image(picture, classifier, detector=lambda i: [(150, 0, 190, 40)])
    assert report.doubts(0) == ("small face (40 px, the model needs 64)",)
    assert report.verdict.label == "inconclusive"
    assert report.to_frame()["doubts"][0] == report.doubts(0)[0]


def test_broken_input_is_a_typed_error(classifier: Classifier) -> None:
    with pytest.raises(EmptyFile):
        analyze_image(b"", classifier)


def test_explanations_belong_to_predictions(report: ImageReport) -> None:
    with pytest.raises(ValueError, match="1 explanations for 2 predictions"):
        report.with_explanations(list(report.explanations[:1]))


def test_the_most_suspicious_face_comes_first_and_keeps_its_number() -> None:
    assert make_report([-1.0, 3.0, 0.5, 3.0]).most_suspicious == (1, 3, 2, 0)
    assert make_report([0.0]).most_suspicious == (0,)


def test_records_print_no_pixels(picture: np.ndarray) -> None:
    prediction = Prediction(Face.whole(Frame(picture)), 0.0)
    assert len(repr(prediction)) < 400
    assert "array" not in repr(prediction)


def test_the_heatmap_of_a_face_or_why_there_is_none() -> None:
    report = make_report([1.0, -1.0], heat=True)
    assert report.explanation(1) is report.explanations[1]
    with pytest.raises(InputError, match=r"there is no heatmap of face 3: 2 faces found\. Choose"):
        report.explanation(2)
    failed = replace(report, explanations=(), heatmap_error="the model has no feature map")
    with pytest.raises(InputError, match="the model has no feature map"):
        failed.explanation()
