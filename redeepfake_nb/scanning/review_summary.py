"""Sum up the review of a scan in sentences, also where too few files are labelled to review anything."""

from __future__ import annotations

import os

from ..errors import InputError
from ..models.classifier import Classifier
from .result import ScanResult
from .review import Review, evaluate_labels, save_calibrated

_METRICS = ("auc", "accuracy", "recall", "log_loss")


def try_review(result: ScanResult, *, false_positive_rate: float) -> Review | None:
    """Evaluate the labels of a scan as :func:`evaluate_labels`; None where they do not suffice.

    Parameters
    ----------
    result
        The scan, with labels in its journal.
    false_positive_rate
        Largest share of the real files that may be predicted fake, 0..1; the threshold is chosen by it.
    """
    try:
        return evaluate_labels(result, false_positive_rate=false_positive_rate)
    except InputError:
        return None


def describe_review(review: Review | None) -> list[str]:
    """Give the metrics of a review and its caveats, a line each."""
    if review is None:
        return ["Too few files are labelled to evaluate anything: label at least one real and one fake file."]
    return [*(f"{name}: {review.metrics[name]}" for name in _METRICS), *review.caveats]


def save_if_improved(classifier: Classifier, review: Review | None, path: str | os.PathLike) -> list[str]:
    """Save the classifier with the calibration of a review if that helps, and say so, a line each.

    Parameters
    ----------
    classifier
        The one that scored the scan.
    review
        From :func:`try_review`.
    path
        Model file to write, ending in ``.keras``.

    Raises
    ------
    OutputError
        The model cannot be written.
    """
    if review is None or review.calibration is None:
        return ["Too few files are labelled to fit a calibration."]
    fit = review.calibration
    found = [f"Log loss on files left out: {fit.before:.3f} before, {fit.after:.3f} after calibration."]
    if not fit.improves:
        return [*found, "The calibration does not help on files left out, so nothing was saved."]
    made = save_calibrated(classifier, review, path)
    return [*found, f"Saved to {made}, calibrated on {len(review)} files."]
