"""What people said of scanned files -> how the model does on them, and a calibration for such material."""

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
from .inputs import listed_rows
from .journal import Journal
from .records import Filter
from .result import ScanResult

# Files of each label below which nothing is fitted.
FEWEST = 10
# Parts of the files, each left out in turn, to see what a calibration does for files it was not fitted on.
FOLDS = 10
_WORDS = {"real": "real", "fake": "fake", "0": "real", "1": "fake", "skip": "skip"}


@dataclass(frozen=True)
class Calibration:
    """A temperature and a shift fitted on labelled files, and what they are worth.

    Parameters
    ----------
    temperature, shift
        P(fake) is the sigmoid of (logit + shift) / temperature; the logit is the model's own.
    before, after
        Log loss of the scores as they are, and as a calibration gives them that was fitted without the file.
    """

    temperature: float
    shift: float
    before: float
    after: float

    @property
    def helps(self) -> bool:
        """Whether files that it was not fitted on are scored better with it."""
        return self.after < self.before


@dataclass(frozen=True)
class Review:
    """A model judged on the labelled files of a scan.

    Parameters
    ----------
    names
        Paths, one for each content.
    y
        (N,) int64, 1 is fake.
    p
        (N,) float64, P(fake) as the scan has it.
    threshold
        The cut that the metrics were taken at.
    metrics
        With 95 % intervals that resample files.
    point
        What the threshold does to reals and fakes, where it was chosen by a false-alarm rate.
    calibration
        ``None`` where there are too few labels.
    unscored
        Files labelled real or fake in which there was no face, or that failed.
    skipped
        Files labelled ``"skip"``.
    """

    names: tuple[str, ...]
    y: np.ndarray
    p: np.ndarray
    threshold: float
    metrics: Metrics
    point: OperatingPoint | None
    calibration: Calibration | None
    unscored: int
    skipped: int

    def __len__(self) -> int:
        return len(self.y)

    @property
    def cautions(self) -> tuple[str, ...]:
        """What a reader must know before trusting the figures, in sentences."""
        fakes = int(self.y.sum())
        fewest = min(fakes, len(self) - fakes)
        found = []
        if fewest < FEWEST:
            found.append(
                f"Only {len(self) - fakes} real and {fakes} fake files are labelled: the intervals say how "
                f"little that is, and no calibration is fitted below {FEWEST} of each."
            )
        elif fewest < 50:
            found.append("With fewer than 50 files of each label the intervals are wide.")
        if self.point is not None:
            found.append("The threshold was chosen on the same files, which flatters a little.")
        if self.calibration is not None and not self.calibration.helps:
            found.append(
                "The calibration does not score files better that it was not fitted on: keep the old one."
            )
        if self.unscored:
            found.append(f"{self.unscored} labelled files have no score and are left out.")
        found.append(
            "Labels given while looking at the score lean towards it; and files chosen for review, such as "
            "the doubtful ones, do not stand for all files."
        )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, as the card of a calibrated model keeps it."""
        return {
            "split": "labelled files of a scan",
            "files": len(self),
            "fake": int(self.y.sum()),
            "threshold": self.threshold,
            **self.metrics.to_dict(),
        }


def has_labels(path: str | os.PathLike) -> bool:
    """Whether a CSV list has a column ``label``."""
    return any("label" in row for _, row in listed_rows(path))


def take_labels(result: ScanResult, path: str | os.PathLike) -> int:
    """Enter the labels of a CSV file into the journal of a scan of its files; how many files they were.

    Parameters
    ----------
    path
        With a column ``path``, ``file`` or ``url``, and a column ``label``: real, fake or skip, or 0 for real
        and 1 for fake; upper and lower case are the same. Rows without a label are passed over, and so are
        files that were never read, which have no content to keep a label of.

    Raises
    ------
    InputError
        The file cannot be read, or a label is none of these.
    """
    wanted: dict[str, str] = {}
    for name, row in listed_rows(path):
        if "label" not in row:
            raise UnsupportedMedia(
                "no column of it is called label",
                subject=path,
                next_step="Add one with real or fake for each file.",
            )
        if not row["label"]:
            continue
        if row["label"].lower() not in _WORDS:
            raise UnsupportedMedia(
                f"{row['label']!r} is no label",
                subject=path,
                next_step="Labels are real, fake and skip, or 0 for real and 1 for fake.",
            )
        wanted[name] = _WORDS[row["label"].lower()]
    found = [row for row in result.rows() if row.path in wanted and row.sha256 is not None]
    with Journal(result.journal) as journal:
        journal.set_labels((row.sha256, wanted[row.path], row.path) for row in found)
    return len(found)


def labelled(result: ScanResult) -> tuple[list[str], np.ndarray, np.ndarray, int, int]:
    """Names, labels and scores of what people called real or fake, each content once.

    Returns
    -------
    tuple
        N names; (N,) int64, 1 is fake; (N,) float64 P(fake); how many labelled files have no score; how many
        were skipped.
    """
    rows = {row.sha256: row for row in result.rows(Filter(labels=("real", "fake", "skip")))}.values()
    judged = [row for row in rows if row.label != "skip"]
    scored = [row for row in judged if row.score is not None]
    y = np.array([row.label == "fake" for row in scored], np.int64)
    p = np.array([row.score for row in scored], np.float64)
    return [row.path for row in scored], y, p, len(judged) - len(scored), len(rows) - len(judged)


def judge_labels(
    result: ScanResult,
    *,
    threshold: float | None = None,
    false_alarm: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Review:
    """Judge the scan's model by the labels in its journal, and fit a calibration where there are enough.

    A file's score is the highest of its faces' or persons'. The calibration is that of Platt 1999,
    "Probabilistic Outputs for Support Vector Machines", with the targets given there instead of 0 and 1,
    so that a few files which are told apart without a mistake do not make it certain of everything.

    Parameters
    ----------
    threshold
        Cut on P(fake), 0..1; default: the scan's.
    false_alarm
        Choose the cut by this share of reals that may be called fake instead, 0..1.
    resamples, seed
        Of the bootstrap for the intervals; 0 for none.

    Raises
    ------
    InputError
        Fewer than two labels, or of one kind alone.
    ValueError
        Both a threshold and a false-alarm rate, or one out of range.
    """
    if threshold is not None and false_alarm is not None:
        raise ValueError("give a threshold or a false-alarm rate, not both")
    if threshold is not None and not 0 <= threshold <= 1:
        raise ValueError(f"a threshold lies between 0 and 1, not {threshold}")
    names, y, p, unscored, skipped = labelled(result)
    if len(set(y.tolist())) < 2:
        raise InputError(
            f"of the files with a score {int((y == 0).sum())} are labelled real and {int(y.sum())} fake, "
            "which is not enough",
            subject=result.journal,
            next_step="Label at least one file of each kind; ten or more of each before figures mean much.",
        )
    point = None if false_alarm is None else threshold_at(y, p, false_alarm)
    cut = result.settings["threshold"] if threshold is None else threshold
    cut = float(cut if point is None else point.threshold)
    metrics = evaluate(y, p, threshold=cut, resamples=resamples, seed=seed)
    enough = min(int(y.sum()), len(y) - int(y.sum())) >= FEWEST
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
    """Fitted on all files, and judged on each with a fit to the others."""
    # Log-odds as the scan had them; what the old temperature and shift did is undone for the card.
    z = _log_odds(p)
    held = np.empty(len(y))
    order = np.random.default_rng(seed).permutation(len(y))
    # Both labels in every part, as far as they go round.
    order = order[np.argsort(y[order], kind="stable")]
    for fold in range(FOLDS):
        out = order[fold::FOLDS]
        kept = np.setdiff1d(order, out)
        t, s = _fitted(y[kept], z[kept])
        held[out] = (z[out] + s) / t
    t, s = _fitted(y, z)
    old_t, old_s = model.get("temperature") or 1.0, model.get("shift") or 0.0
    # ((raw + old_s) / old_t + s) / t
    return Calibration(t * old_t, old_s + s * old_t, _log_loss(y, z), _log_loss(y, held))


def _fitted(y: np.ndarray, z: np.ndarray) -> tuple[float, float]:
    fakes = y.sum()
    targets = np.where(y == 1, (fakes + 1) / (fakes + 2), 1 / (len(y) - fakes + 2))
    return fit_calibration(targets, z)


def _log_odds(p: np.ndarray) -> np.ndarray:
    p = np.clip(p, 1e-9, 1 - 1e-9)
    return np.log(p) - np.log1p(-p)


def _log_loss(y: np.ndarray, z: np.ndarray) -> float:
    return float(np.mean(np.logaddexp(0, z) - y * z))


def calibrated(classifier: Classifier, review: Review, name: str) -> Classifier:
    """The same network with the review's calibration and threshold, and a card that says so.

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
            next_step=f"Label at least {FEWEST} real and {FEWEST} fake files.",
        )
    old = classifier.card
    # The threshold moves with the scores, halfway between the same two files.
    z, cut = _log_odds(review.p), float(_log_odds(np.array(review.threshold)))
    over, under = z[review.p >= review.threshold], z[review.p < review.threshold]
    if len(over) and len(under):
        cut = float(over.min() + under.max()) / 2
    raw = cut * (old.temperature or 1.0) - old.shift
    moved = 1 / (1 + np.exp(-(raw + fit.shift) / fit.temperature))
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
    return Classifier(classifier.keras_model, card)


def save_calibrated(classifier: Classifier, review: Review, path: str | os.PathLike) -> Path:
    """Write the model with a sidecar of one's own: the review's calibration and threshold.

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
    return save_model(calibrated(classifier, review, path.stem), path)
