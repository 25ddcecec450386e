"""Evaluates a scan's model on the labels that reviewers gave, and calibrates the model on them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import InputError, UnsuitableModel, UnsupportedMedia
from ..evaluation.calibration import OperatingPoint, fit_calibration, threshold_at
from ..evaluation.metrics import Metrics, evaluate
from ..models.classifier import Classifier
from ..models.loading import save_model
from ..utils.numeric import check_threshold, probability
from ..utils.wording import pluralize
from .journal import Journal
from .listing import read_file_list
from .records import Filter
from .result import ScanResult

# Minimum number of real and of fake files for fitting a calibration.
MIN_FILES_PER_LABEL = 10
# Folds of the cross-validation that tests a calibration on files it was not fitted on.
FOLDS = 10
_LABELS = {"real": "real", "fake": "fake", "0": "real", "1": "fake", "skip": "skip"}


@dataclass(frozen=True)
class Calibration:
    """A temperature and a shift fitted on labelled files, with the log loss without and with them.

    Parameters
    ----------
    temperature, shift
        P(fake) is the sigmoid of (logit + shift) / temperature; the logit is the model's own.
    before, after
        Log loss of the scores as they are, and cross-validated: each file calibrated by a fit to other files.
    scan_temperature, scan_shift
        With which the scan's scores were computed.
    """

    temperature: float
    shift: float
    before: float
    after: float
    scan_temperature: float = 1.0
    scan_shift: float = 0.0

    @property
    def improves(self) -> bool:
        """Whether the cross-validated log loss is lower with the calibration."""
        return self.after < self.before


@dataclass(frozen=True)
class Review:
    """A model evaluated on the labelled files of a scan.

    Parameters
    ----------
    names
        Paths, one for each distinct content.
    y
        (N,) int64 labels, 1 is fake.
    p
        (N,) float64, P(fake) in the scan.
    threshold
        Decision threshold of the metrics.
    metrics
        With 95 % bootstrap intervals over files.
    operating_point
        False-positive and true-positive rate, where the threshold was chosen by a false-positive rate.
    calibration
        ``None`` where there are too few labels.
    unscored
        Number of files labelled real or fake that have no face, or failed.
    skipped
        Number of files labelled ``"skip"``.
    """

    names: tuple[str, ...]
    y: np.ndarray
    p: np.ndarray
    threshold: float
    metrics: Metrics
    operating_point: OperatingPoint | None
    calibration: Calibration | None
    unscored: int
    skipped: int

    def __len__(self) -> int:
        return len(self.y)

    @property
    def caveats(self) -> tuple[str, ...]:
        """Sentences to read before relying on the metrics."""
        fakes = int(self.y.sum())
        fewest = min(fakes, len(self) - fakes)
        found = []
        if fewest < MIN_FILES_PER_LABEL:
            found.append(
                f"Only {len(self) - fakes} real and {fakes} fake files are labelled: the intervals are wide, "
                f"and no calibration is fitted with fewer than {MIN_FILES_PER_LABEL} of each."
            )
        elif fewest < 50:
            found.append("With fewer than 50 files of each label the intervals are wide.")
        if self.operating_point is not None:
            found.append(
                "The threshold was chosen on the same files, so the metrics are slightly optimistic."
            )
        if self.calibration is not None and not self.calibration.improves:
            found.append("In cross-validation the calibration does not improve the scores: keep the old one.")
        if self.unscored:
            found.append(f"{pluralize(self.unscored, 'labelled file')} left out for want of a score.")
        found.append(
            "Labels given with the score in view are biased towards it, and files selected for review, such "
            "as those nearest to the threshold, are not a random sample of all files."
        )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, as the card of a calibrated model stores them."""
        return {
            "split": "labelled files of a scan",
            "files": len(self),
            "fake": int(self.y.sum()),
            "threshold": self.threshold,
            **self.metrics.to_dict(),
        }


def has_labels(path: str | os.PathLike) -> bool:
    """Return whether a CSV list has a column ``label``."""
    return any("label" in row for _, row in read_file_list(path))


def import_labels(result: ScanResult, path: str | os.PathLike, *, replace: bool = True) -> int:
    """Store the labels of a CSV file in the journal of a scan of its files, and return their number.

    Parameters
    ----------
    path
        CSV file with a column ``path``, ``file`` or ``url``, and a column ``label``: real, fake or skip, or 0
        for real and 1 for fake, in upper or lower case. Rows without a label are skipped, and so are files
        that were never read: labels belong to the bytes of a file.
    replace
        Whether to replace labels that the journal holds already.

    Raises
    ------
    InputError
        The file cannot be read, has no column ``label``, or contains another label.
    """
    wanted: dict[str, str] = {}
    for name, row in read_file_list(path):
        if "label" not in row:
            raise UnsupportedMedia(
                "it has no column called label",
                subject=path,
                next_step="Add one with real or fake for each file.",
            )
        if not row["label"]:
            continue
        if row["label"].lower() not in _LABELS:
            raise UnsupportedMedia(
                f"{row['label']!r} is not a label",
                subject=path,
                next_step="Labels are real, fake and skip, or 0 for real and 1 for fake.",
            )
        wanted[name] = _LABELS[row["label"].lower()]
    found = [
        (row.sha256, wanted[row.path], row.path)
        for row in result.rows()
        if row.path in wanted and row.sha256 is not None and (replace or not row.label)
    ]
    with Journal(result.journal) as journal:
        journal.set_labels(found)
    return len(found)


def labelled_scores(result: ScanResult) -> tuple[list[str], np.ndarray, np.ndarray, int, int]:
    """Return labels and scores of the files labelled real or fake, each distinct content once.

    Returns
    -------
    tuple
        N paths; (N,) int64 labels, 1 is fake; (N,) float64 P(fake); number of labelled files without a score;
        number of files labelled ``"skip"``.
    """
    rows = {row.sha256: row for row in result.rows(Filter(labels=("real", "fake", "skip")))}.values()
    labelled = [row for row in rows if row.label != "skip"]
    scored = [row for row in labelled if row.score is not None]
    y = np.array([row.label == "fake" for row in scored], np.int64)
    p = np.array([row.score for row in scored], np.float64)
    return [row.path for row in scored], y, p, len(labelled) - len(scored), len(rows) - len(labelled)


def evaluate_labels(
    result: ScanResult,
    *,
    threshold: float | None = None,
    false_positive_rate: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Review:
    """Evaluate the scan's model on the labels in its journal, and calibrate it where there are enough.

    A file's score is the highest of its faces or persons. The calibration is that of Platt 1999,
    "Probabilistic Outputs for Support Vector Machines", with the targets given there instead of 0 and 1: a
    few files that are separated without error then do not make the model overconfident.

    Parameters
    ----------
    threshold
        Decision threshold on P(fake), above 0 and below 1; default: the scan's.
    false_positive_rate
        Choose the threshold instead, so that at most this share of the real files is predicted fake, 0..1.
    resamples, seed
        Of the bootstrap for the intervals; 0 resamples: no intervals.

    Raises
    ------
    InputError
        No file with a score is labelled real, or none is labelled fake.
    ValueError
        Both a threshold and a false-positive rate are given, or one is out of range.
    """
    if threshold is not None and false_positive_rate is not None:
        raise ValueError("give a threshold or a false-positive rate, not both")
    if threshold is not None:
        check_threshold(threshold)
    names, y, p, unscored, skipped = labelled_scores(result)
    if len(set(y.tolist())) < 2:
        raise InputError(
            f"of the files with a score {int((y == 0).sum())} are labelled real and {int(y.sum())} fake, "
            "which is not enough",
            subject=result.journal,
            next_step="Label at least one file of each kind; metrics are informative from about ten of each.",
        )
    point = None if false_positive_rate is None else threshold_at(y, p, false_positive_rate)
    cut = result.settings["threshold"] if threshold is None else threshold
    cut = float(cut if point is None else point.threshold)
    metrics = evaluate(y, p, threshold=cut, resamples=resamples, seed=seed)
    enough = min(int(y.sum()), len(y) - int(y.sum())) >= MIN_FILES_PER_LABEL
    return Review(
        tuple(names),
        y,
        p,
        cut,
        metrics,
        point,
        _calibration(y, p, result.model, seed) if enough else None,
        unscored,
        skipped,
    )


def _calibration(y: np.ndarray, p: np.ndarray, model: Mapping[str, Any], seed: int) -> Calibration:
    """Fit a calibration on all files, and cross-validate it."""
    # Log-odds of the scan's scores, which the old temperature and shift have changed.
    z = _log_odds(p)
    held_out = np.empty(len(y))
    order = np.random.default_rng(seed).permutation(len(y))
    # Stratified: every fold has its share of both labels.
    order = order[np.argsort(y[order], kind="stable")]
    for fold in range(FOLDS):
        test = order[fold::FOLDS]
        train = np.setdiff1d(order, test)
        t, s = _fit(y[train], z[train])
        held_out[test] = (z[test] + s) / t
    t, s = _fit(y, z)
    old_t, old_s = model.get("temperature") or 1.0, model.get("shift") or 0.0
    # The card's values apply to the raw logit: ((raw + old_s) / old_t + s) / t.
    return Calibration(t * old_t, old_s + s * old_t, _log_loss(y, z), _log_loss(y, held_out), old_t, old_s)


def _fit(y: np.ndarray, z: np.ndarray) -> tuple[float, float]:
    fakes = y.sum()
    targets = np.where(y == 1, (fakes + 1) / (fakes + 2), 1 / (len(y) - fakes + 2))
    return fit_calibration(targets, z)


def _log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.log(p) - np.log1p(-p)


def _log_loss(y: np.ndarray, z: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, z) - y * z))


def calibrated_classifier(classifier: Classifier, review: Review, name: str) -> Classifier:
    """Return the same network with the review's calibration and threshold, and a card that says so.

    Raises
    ------
    UnsuitableModel
        The review has no calibration.
    """
    fit = review.calibration
    if fit is None:
        raise UnsuitableModel(
            f"there are too few labels to calibrate on ({len(review)})",
            subject=name,
            next_step=f"Label at least {MIN_FILES_PER_LABEL} real and {MIN_FILES_PER_LABEL} fake files.",
        )
    old = classifier.card
    # The threshold moves with the scores; it lies halfway between the same two files as before.
    z, threshold = _log_odds(review.p), float(_log_odds(np.array(review.threshold)))
    over, under = z[review.p >= review.threshold], z[review.p < review.threshold]
    if len(over) and len(under):
        threshold = float(over.min() + under.max()) / 2
    # By the scan's calibration, whatever that of the given classifier is: it may have been calibrated since.
    raw = threshold * fit.scan_temperature - fit.scan_shift
    moved = probability(raw + fit.shift, fit.temperature)
    card = replace(
        old,
        name=name,
        version=f"{old.version} calibrated",
        output="logit",
        positive_class="fake",
        temperature=fit.temperature,
        shift=fit.shift,
        threshold=float(np.clip(moved, 1e-6, 1 - 1e-6)),
        metrics={"before calibration": review.to_dict()},
        sha256=None,
    )
    return classifier.with_card(card)


def save_calibrated(classifier: Classifier, review: Review, path: str | os.PathLike) -> Path:
    """Save the model under a new name, with the review's calibration and threshold in its sidecar.

    Parameters
    ----------
    path
        Ends in ``.keras``; the sidecar has the same name and ends in ``.json``.

    Raises
    ------
    UnsuitableModel
        The review has no calibration.
    OutputError
        It cannot be written.
    """
    path = Path(path)
    return save_model(calibrated_classifier(classifier, review, path.stem), path)
