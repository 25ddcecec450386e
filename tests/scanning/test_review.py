"""Evaluation on reviewers' labels: metrics by hand, a calibration that stays bounded, calibrated models."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from helpers.scan_helpers import folder, probability, square, write

from redeepfake_nb import Classifier, InputError, Journal, UnsuitableModel, UnsupportedMedia, load_model, scan
from redeepfake_nb.scanning import review
from redeepfake_nb.scanning.result import ScanResult
from redeepfake_nb.scanning.review import Review, evaluate_labels, import_labels


def scanned(classifier: Classifier, folder: Path) -> ScanResult:
    return scan(folder, folder.parent / "j.sqlite", classifier, workers=0, detector=square)


def label(result: ScanResult, labels: dict[str, str]) -> None:
    """By file name."""
    with Journal(result.journal) as journal:
        for row in result.rows():
            name = Path(row.path).name
            if name in labels:
                journal.set_label(row.sha256, labels[name], row.path)


@pytest.fixture(scope="module")
def many(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> ScanResult:
    """24 faces from dark to bright; bright ones are fake, but for two on each side."""
    files = tmp_path_factory.mktemp("many") / "files"
    files.mkdir()
    greys = np.linspace(70, 180, 24).astype(int)
    fake = [i >= 12 for i in range(24)]
    fake[10], fake[13] = True, False
    for i, grey in enumerate(greys):
        write(files / f"{i:02d}.png", int(grey))
    result = scanned(classifier, files)
    label(result, {f"{i:02d}.png": "fake" if fake[i] else "real" for i in range(24)})
    return result


@pytest.mark.slow
def test_metrics_by_hand(classifier: Classifier, tmp_path: Path) -> None:
    files = tmp_path / "files"
    files.mkdir()
    for name, grey in (("a.png", 80), ("b.png", 120), ("c.png", 140), ("d.png", 180), ("none.png", None)):
        write(files / name, grey)
    (files / "copy.png").write_bytes((files / "a.png").read_bytes())
    result = scanned(classifier, files)
    label(result, {"a.png": "real", "b.png": "fake", "c.png": "real", "d.png": "fake", "none.png": "real"})
    found = evaluate_labels(result)
    # The copy has the same content and counts once; the picture without a face has no score.
    assert len(found) == 4
    assert (found.unscored, found.skipped) == (1, 0)
    scores = dict(zip((Path(name).name for name in found.names), found.p, strict=True))
    assert scores["d.png"] == pytest.approx(probability(180), abs=1e-4)
    # Of four pairs of a fake and a real, b below c is the one in the wrong order.
    assert found.metrics["auc"].value == pytest.approx(0.75)
    # At the scan's 0.6 only d (0.84) is predicted fake.
    assert found.threshold == 0.6
    assert found.metrics["recall"].value == 0.5
    assert found.metrics["precision"].value == 1
    assert found.calibration is None
    assert "Only 2 real and 2 fake files are labelled" in found.caveats[0]
    assert "1 labelled file left out for want of a score." in " ".join(found.caveats)
    chosen = evaluate_labels(result, false_positive_rate=0.5)
    assert (chosen.operating_point.false_positive_rate, chosen.operating_point.true_positive_rate) == (
        0.5,
        1.0,
    )
    assert chosen.threshold == pytest.approx(probability(120), abs=1e-4)


def test_skipped_files_do_not_count(many: ScanResult) -> None:
    whole = evaluate_labels(many, resamples=0)
    label(many, {"00.png": "skip"})
    try:
        found = evaluate_labels(many, resamples=0)
        assert (len(found), found.skipped) == (len(whole) - 1, 1)
    finally:
        label(many, {"00.png": "real"})


@pytest.mark.parametrize("labels", [{}, {"00.png": "fake"}, {"00.png": "fake", "01.png": "fake"}])
def test_too_few_labels(labels: dict, classifier: Classifier, tmp_path: Path) -> None:
    result = scanned(classifier, folder(tmp_path / "files", 3))
    label(result, labels)
    with pytest.raises(InputError, match="is not enough"):
        evaluate_labels(result)


@pytest.mark.parametrize("options", [{"threshold": 0.5, "false_positive_rate": 0.1}, {"threshold": 2.0}])
def test_options_out_of_range(many: ScanResult, options: dict) -> None:
    with pytest.raises(ValueError, match="threshold"):
        evaluate_labels(many, **options)


@pytest.mark.slow
def test_calibration_is_cross_validated(many: ScanResult) -> None:
    found = evaluate_labels(many)
    assert found.calibration.improves
    assert found.calibration.after < found.calibration.before
    # The fixture is underconfident: its log-odds span 3, where a step function would fit.
    assert 0 < found.calibration.temperature < 1
    same = evaluate_labels(many)
    assert (same.calibration, same.threshold) == (found.calibration, found.threshold)


def test_perfect_separation_does_not_make_it_overconfident() -> None:
    """By targets 11/12 and 1/12 of Platt's, the log-odds of an infinitely steep fit end at log 11."""
    y = np.repeat([0, 1], 10)
    z = np.where(y == 1, 2.0, -2.0)
    t, s = review._fit(y, z)
    assert (2.0 + s) / t == pytest.approx(np.log(11), abs=1e-3)
    assert s == pytest.approx(0, abs=1e-3)


@pytest.mark.slow
def test_save_calibrated_model(many: ScanResult, classifier: Classifier, tmp_path: Path) -> None:
    found = evaluate_labels(many, false_positive_rate=0.2)
    path = review.save_calibrated(classifier, found, tmp_path / "own" / "mine.keras")
    loaded = load_model(path)
    fit, card = found.calibration, loaded.card
    assert (card.name, card.version) == ("mine", "1 calibrated")
    assert (card.temperature, card.shift) == (pytest.approx(fit.temperature), pytest.approx(fit.shift))
    assert card.metrics["before calibration"]["files"] == len(found)
    # The same files lie above the threshold as before.
    again = scan(Path(many.rows()[0].path).parent, tmp_path / "j2.sqlite", loaded, workers=0, detector=square)
    before = {row.path: row.score >= found.threshold for row in many.rows()}
    assert {row.path: row.score >= card.threshold for row in again.rows()} == before
    # And a score is the sigmoid of (raw + shift) / temperature: the fixture's raw logit is 8 b - 4.
    row = again.rows()[-1]
    raw = 8 * 180 / 255 - 4
    expected = 1 / (1 + np.exp(-(raw + fit.shift) / fit.temperature))
    assert row.score == pytest.approx(expected, abs=1e-5)


@pytest.mark.slow
def test_the_calibration_of_a_review_does_not_depend_on_who_saves_it(
    many: ScanResult, classifier: Classifier
) -> None:
    """Saved again after the model of that name was calibrated, it is the same, threshold and all."""
    found = evaluate_labels(many, false_positive_rate=0.2)
    first = review.calibrated_classifier(classifier, found, "mine")
    second = review.calibrated_classifier(first, found, "mine")
    assert first.card.threshold != pytest.approx(found.threshold, abs=0.01)
    for name in ("temperature", "shift", "threshold"):
        assert getattr(second.card, name) == getattr(first.card, name)


@pytest.mark.slow
def test_second_calibration_changes_little(many: ScanResult, classifier: Classifier, tmp_path: Path):
    """Fitted on calibrated scores, a calibration changes only what is due to Platt's targets."""
    first = evaluate_labels(many)
    made = review.calibrated_classifier(classifier, first, "mine")
    again = scan(Path(many.rows()[0].path).parent, tmp_path / "j2.sqlite", made, workers=0, detector=square)
    label(
        again,
        {Path(name).name: "fake" if y else "real" for name, y in zip(first.names, first.y, strict=True)},
    )
    second = evaluate_labels(again).calibration
    assert second.temperature == pytest.approx(first.calibration.temperature, rel=0.02)
    assert second.shift == pytest.approx(first.calibration.shift, abs=0.05)


@pytest.mark.slow
def test_review_without_calibration_raises(many: ScanResult, classifier: Classifier) -> None:
    with pytest.raises(UnsuitableModel, match="too few labels"):
        review.calibrated_classifier(classifier, replace(evaluate_labels(many), calibration=None), "mine")


def test_import_labels(classifier: Classifier, tmp_path: Path) -> None:
    files = folder(tmp_path / "files", 4)
    (files / "empty.jpg").write_bytes(b"")
    result = scanned(classifier, files)
    listed = tmp_path / "labels.csv"
    listed.write_text(
        "File,Label,note\nfiles/00.png,REAL,x\nfiles/01.png,1,\nfiles/02.png,,\nfiles/empty.jpg,fake,\n"
        "files/elsewhere.png,fake,\n"
    )
    assert review.has_labels(listed)
    # 02 has no label, and elsewhere is not a file of the scan. The empty file has bytes (none), which failed.
    assert import_labels(result, listed) == 3
    assert [row.label for row in result.rows()] == ["real", "fake", None, None, "fake"]
    listed.write_text("path,label\nfiles/00.png,fake\nfiles/02.png,fake\n")
    assert import_labels(result, listed, replace=False) == 1
    assert [row.label for row in result.rows()] == ["real", "fake", "fake", None, "fake"]
    assert import_labels(result, listed) == 2
    assert [row.label for row in result.rows()] == ["fake", "fake", "fake", None, "fake"]
    listed.write_text("path,label\nfiles/00.png,perhaps\n")
    with pytest.raises(UnsupportedMedia, match="'perhaps' is not a label"):
        import_labels(result, listed)
    listed.write_text("path\nfiles/00.png\n")
    assert not review.has_labels(listed)
    with pytest.raises(UnsupportedMedia, match="it has no column called label"):
        import_labels(result, listed)


def test_to_dict_is_json_serializable(many: ScanResult) -> None:
    import json

    found = evaluate_labels(many, resamples=50)
    assert isinstance(found, Review)
    assert json.loads(json.dumps(found.to_dict()))["fake"] == int(found.y.sum())
