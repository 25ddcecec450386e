"""A review in sentences, also where nothing can be reviewed yet."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from helpers.scan_helpers import square, write

from redeepfake_nb import Classifier, Journal, load_model, scan
from redeepfake_nb.scanning import ScanResult, describe_review, save_if_improved, try_review


@pytest.fixture(scope="module")
def result(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> ScanResult:
    """Twenty-four faces from dark to bright, none of them labelled."""
    folder = tmp_path_factory.mktemp("scan")
    (folder / "files").mkdir()
    for i, grey in enumerate(np.linspace(70, 180, 24)):
        write(folder / "files" / f"{i:02d}.png", int(grey))
    return scan(folder / "files", folder / "j.sqlite", classifier, workers=0, detector=square)


def label(result: ScanResult) -> None:
    """The bright half is fake, but for one file of each half."""
    with Journal(result.journal) as journal:
        for i, row in enumerate(sorted(result.rows(), key=lambda row: row.path)):
            journal.set_label(row.sha256, "fake" if (i >= 12) != (i in (10, 13)) else "real", row.path)


def test_without_labels(classifier: Classifier, result: ScanResult, tmp_path: Path) -> None:
    review = try_review(result, false_positive_rate=0.1)
    assert review is None
    (sentence,) = describe_review(review)
    assert sentence.startswith("Too few files are labelled")
    (sentence,) = save_if_improved(classifier, review, tmp_path / "m.keras")
    assert sentence.startswith("Too few files are labelled")
    assert not (tmp_path / "m.keras").exists()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_with_labels(classifier: Classifier, result: ScanResult, tmp_path: Path) -> None:
    label(result)
    review = try_review(result, false_positive_rate=0.1)
    assert review is not None
    lines = describe_review(review)
    assert [line.split(":")[0] for line in lines[:4]] == ["auc", "accuracy", "recall", "log_loss"]
    assert lines[4:] == list(review.caveats)
    said = save_if_improved(classifier, review, tmp_path / "m.keras")
    assert review.calibration is not None
    if review.calibration.improves:
        assert said[1] == f"Saved to {tmp_path / 'm.keras'}, calibrated on 24 files."
        assert load_model(tmp_path / "m.keras").card.temperature == review.calibration.temperature
    else:
        assert said[1].endswith("nothing was saved.")
        assert not (tmp_path / "m.keras").exists()
