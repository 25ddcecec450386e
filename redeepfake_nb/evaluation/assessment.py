"""Evaluates classifiers on labelled faces: metrics before and after calibration, by slice, and errors."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces
from ..models.classifier import Classifier
from ..models.loading import load_model
from ..utils.jobs import Progress
from ..utils.numeric import check_threshold, probability
from .calibration import OperatingPoint, best_temperature, threshold_at
from .kinds import check_by, origin_table
from .metrics import Metric, Metrics, bootstrap, evaluate
from .scored_labels import confusion_table
from .scoring import group_column, sample, score_all
from .slices import SLICE_METRICS, auc_of, interval_columns, metric_functions, plain_rows, slice_table


@dataclass(frozen=True, eq=False)
class Assessment:
    """The result of :func:`assess`. Vectors are aligned with the rows of ``faces.table``.

    Parameters
    ----------
    faces
        The faces that were read.
    name, sha256
        Of the model.
    logits
        (N,) float32, uncalibrated, positive means fake.
    brightness, sharpness
        (N,) float64 of the stored crops, in grey levels and squared grey levels.
    temperature
        The classifier's own, or ``None`` where it was never calibrated.
    fitted_temperature
        The temperature that minimises the log loss on these faces.
    threshold
        Threshold on the calibrated P(fake).
    operating_point
        The threshold with its rates, where it was chosen on these faces, else ``None``.
    target_false_positive_rate
        The rate it was chosen for, else ``None``.
    group
        Column of the groups that intervals resample, or ``None`` where each face is its own group.
    uncalibrated, metrics
        Metrics of ``sigmoid(logits)`` and of ``sigmoid(logits / temperature)``. Both predict the same labels,
        so only the metrics of calibration differ.
    slices
        One row per slice of the faces; see :func:`slice_table`.
    origins
        One row per source and per kind, where the table has such columns, and per value of the columns it
        was asked to group by; see :func:`origin_table`.
    unreadable
        Columns ``file, error, cause``: images that could not be read, which no metric includes.
    """

    faces: LabelledFaces
    name: str
    sha256: str | None
    logits: np.ndarray
    brightness: np.ndarray
    sharpness: np.ndarray
    temperature: float | None
    fitted_temperature: float
    threshold: float
    operating_point: OperatingPoint | None
    target_false_positive_rate: float | None
    group: str | None
    uncalibrated: Metrics
    metrics: Metrics
    slices: pd.DataFrame
    origins: pd.DataFrame
    unreadable: pd.DataFrame

    def __len__(self) -> int:
        return len(self.faces)

    @property
    def unit(self) -> Literal["faces"]:
        """What is counted."""
        return "faces"

    @property
    def y(self) -> np.ndarray:
        """(N,) int64, 1 is fake."""
        return self.faces.y

    @property
    def groups(self) -> np.ndarray | None:
        """(N,) group of each face, or ``None``."""
        return None if self.group is None else self.faces.table[self.group].to_numpy()

    @property
    def probabilities(self) -> np.ndarray:
        """(N,) float64 P(fake), calibrated with the classifier's own temperature."""
        return probability(self.logits, self.temperature)

    @property
    def predicted_fake(self) -> np.ndarray:
        """(N,) bool: P(fake) reaches the threshold."""
        return self.probabilities >= self.threshold

    def to_frame(self) -> pd.DataFrame:
        """Return one row per face: the table's columns, scores and predicted labels."""
        predicted = np.where(self.predicted_fake, "FAKE", "REAL")
        return self.faces.table.assign(
            brightness=self.brightness,
            sharpness=self.sharpness,
            logit=self.logits.astype(np.float64),
            probability_uncalibrated=probability(self.logits, None),
            probability=self.probabilities,
            predicted=predicted,
            correct=predicted == self.faces.table["label"],
        )

    def worst(self, count: int | None = None) -> pd.DataFrame:
        """Return the misclassified faces, most confident first; ``wrong_by`` is P(predicted label)."""
        frame = self.to_frame()
        frame["wrong_by"] = np.where(self.y == 1, 1 - self.probabilities, self.probabilities)
        wrong = frame[~frame["correct"]].sort_values("wrong_by", ascending=False, kind="stable")
        return wrong.drop(columns="correct").head(len(wrong) if count is None else count)

    def confusion(self) -> pd.DataFrame:
        """Return the number of faces by true (rows) and predicted (columns) label."""
        return confusion_table(self.y, self.predicted_fake)

    def classification_report(self) -> pd.DataFrame:
        """Return precision, recall, F1 and number of faces for each label, as scikit-learn reports them.

        The precision and F1 of a label that no face is predicted to have are NaN.
        """
        from sklearn.metrics import classification_report

        report = classification_report(
            self.y,
            self.predicted_fake.astype(int),
            labels=[0, 1],
            target_names=["REAL", "FAKE"],
            output_dict=True,
            zero_division=np.nan,
        )
        accuracy = report.pop("accuracy")
        table = pd.DataFrame(report).T.rename(columns={"support": "faces"})
        table.loc[table["precision"].isna(), "f1-score"] = np.nan
        table.loc["accuracy"] = [np.nan, np.nan, accuracy, len(self)]
        return table.astype({"faces": int})

    def metrics_frame(self) -> pd.DataFrame:
        """Return one row per metric: value, interval, and value before calibration."""
        metrics = self.metrics.values  # noqa: PD011  (a dict, not a DataFrame)
        return pd.DataFrame(
            {
                name: {
                    "value": metric.value,
                    "low": metric.low,
                    "high": metric.high,
                    "before_calibration": self.uncalibrated[name].value,
                }
                for name, metric in metrics.items()
            }
        ).T.rename_axis("metric")

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values, without single faces."""
        return {
            "model": {"name": self.name, "sha256": self.sha256, "temperature": self.temperature},
            "faces": {
                "read": len(self),
                "real": int((self.y == 0).sum()),
                "fake": int((self.y == 1).sum()),
                "unreadable": len(self.unreadable),
            },
            "intervals_resample": self.group or "single faces",
            "threshold": {
                "value": self.threshold,
                "chosen_on_these_faces": self.operating_point is not None,
                "target_false_positive_rate": self.target_false_positive_rate,
                "false_positive_rate": float(self.predicted_fake[self.y == 0].mean()),
                "true_positive_rate": float(self.predicted_fake[self.y == 1].mean()),
            },
            "calibrated": self.metrics.to_dict(),
            "uncalibrated": self.uncalibrated.to_dict(),
            "fitted_temperature": round(self.fitted_temperature, 4),
            "slices": plain_rows(self.slices),
            "origins": plain_rows(self.origins),
            "unreadable": plain_rows(self.unreadable),
        }


def assess(
    classifier: Classifier,
    faces: LabelledFaces,
    *,
    threshold: float | None = None,
    false_positive_rate: float | None = None,
    by: Sequence[str] = (),
    limit: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Assessment:
    """Evaluate a classifier on labelled faces.

    Parameters
    ----------
    classifier
        Scored with its own preprocessing and calibrated with its own temperature.
    faces
        Of people that the model has not seen in training, or the metrics are too optimistic.
    threshold
        Threshold on the calibrated P(fake), above 0 and below 1. Default: the classifier's own.
    false_positive_rate
        Choose the threshold on these faces instead: the one with the highest true positive rate at which at
        most this share of real faces is predicted fake. Metrics at a threshold chosen on the same faces are
        slightly optimistic.
    by
        Columns of ``faces.table`` with groups of faces that somebody annotated, such as glasses or headwear:
        ``origins`` also has a row for each of their values. Faces without a value belong to no group.
    limit
        Evaluate a sample of at most this many faces; see :func:`sample`. It is balanced, which changes
        accuracy, precision and calibration where the whole set is not.
    resamples
        Bootstrap samples for the intervals, which resample people (column ``identity``), else videos
        (``original``), else single faces; 0 for none.
    seed
        Of the sample and of the bootstrap.
    progress
        Called as ``progress(done, faces)``.

    Raises
    ------
    ValueError
        Both ``threshold`` and ``false_positive_rate``, a value out of range, faces of one label alone, or a
        column in ``by`` that has no groups.
    UnsuitableModel
        A score is not finite.
    """
    if threshold is not None and false_positive_rate is not None:
        raise ValueError("give a threshold or a false positive rate, not both")
    if threshold is not None:
        check_threshold(threshold)
    check_by(by, faces.table)
    faces = sample(faces, limit, seed)
    scores = score_all([classifier], faces, progress)
    faces, logits = scores.faces, scores.logits[0]
    y, p = faces.y, probability(logits, classifier.temperature)
    point = None if false_positive_rate is None else threshold_at(y, p, false_positive_rate)
    if threshold is None:
        threshold = classifier.threshold if point is None else point.threshold
    group = group_column(faces)
    options: dict[str, Any] = {
        "groups": None if group is None else faces.table[group].to_numpy(),
        "threshold": threshold,
        "resamples": resamples,
        "seed": seed,
    }
    metrics = evaluate(y, p, **options)
    raw = metrics
    if classifier.temperature is not None:
        before = probability(logits, None)
        # A temperature changes no ranking. The threshold moves with the scores, so predictions stay the same.
        positives = before[p >= threshold]
        moved = positives.min() if len(positives) else np.nextafter(before.max(), np.inf)
        raw = evaluate(y, before, **{**options, "threshold": float(moved), "resamples": 0})
    width = faces.table.get("original_width")
    features = {} if width is None else {"native width": pd.to_numeric(width).to_numpy(np.float64)}
    features |= {"brightness": scores.brightness, "sharpness": scores.sharpness}
    features |= {"skin tone": scores.skin_tone}
    return Assessment(
        faces=faces,
        name=classifier.name,
        sha256=classifier.sha256,
        logits=logits,
        brightness=scores.brightness,
        sharpness=scores.sharpness,
        temperature=classifier.temperature,
        fitted_temperature=best_temperature(y, logits),
        threshold=float(threshold),
        operating_point=point,
        target_false_positive_rate=false_positive_rate,
        group=group,
        uncalibrated=raw,
        metrics=metrics,
        slices=slice_table(y, p, features, **options),
        origins=origin_table(
            faces.table, p, by=[name for name in by if faces.table[name].notna().any()], **options
        ),
        unreadable=scores.unreadable,
    )


def with_counterpart(classifier: Classifier, path: str | os.PathLike = "") -> dict[str, Classifier]:
    """Pair a classifier with another one for :func:`compare`: name -> classifier.

    Parameters
    ----------
    classifier
        The first one, called ``"this model"``.
    path
        Model file of the second one. Empty: the first one with red and blue swapped in its input, which shows
        the effect of a wrong colour order.

    Raises
    ------
    ModelError
        The second model cannot be loaded.
    """
    if path:
        return {"this model": classifier, os.fspath(path): load_model(os.fspath(path))}
    own = classifier.preprocessing
    swapped = replace(own, color_order="RGB" if own.color_order == "BGR" else "BGR")
    # The network at hand has one logit that means fake, whatever the model file had.
    card = replace(classifier.card, preprocessing=swapped, output="logit", positive_class="fake")
    return {"this model": classifier, "colours swapped": classifier.with_card(card)}


def compare(
    classifiers: Mapping[str, Classifier],
    faces: LabelledFaces,
    *,
    limit: int | None = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Compare classifiers on the same faces.

    Each is calibrated with its own temperature and evaluated at its own threshold. ``auc_difference`` is the
    AUC minus that of the first, with a paired bootstrap interval: of two models whose own intervals overlap
    widely, one may still be better on nearly every sample of people.

    Parameters
    ----------
    classifiers
        Name -> classifier; the others are compared with the first.
    faces, limit, resamples, seed, progress
        As for :func:`assess`.

    Returns
    -------
    pandas.DataFrame
        One row per name; the intervals of ``auc``, ``accuracy`` and ``log_loss`` are in columns ``_low`` and
        ``_high``.

    Raises
    ------
    ValueError
        No classifier, or faces of one label alone.
    """
    if not classifiers:
        raise ValueError("compare needs at least one classifier")
    scores = score_all(list(classifiers.values()), sample(faces, limit, seed), progress)
    faces = scores.faces
    y, group = faces.y, group_column(faces)
    functions: dict[str, Callable[[np.ndarray], float]] = {}
    rows: dict[str, dict[str, Any]] = {}
    groups = None if group is None else faces.table[group].to_numpy()
    first = None
    for (name, classifier), logits in zip(classifiers.items(), scores.logits, strict=True):
        p = probability(logits, classifier.temperature)
        point = evaluate(y, p, threshold=classifier.threshold, resamples=0)
        rows[name] = {
            "faces": len(y),
            "threshold": classifier.threshold,
            "temperature": classifier.temperature,
        }
        rows[name] |= {key: point[key].value for key in ("average_precision", "eer", "brier", "ece")}
        for key, function in metric_functions(y, p, classifier.threshold).items():
            functions[f"{name}\0{key}"] = function
        if first is None:
            first = p
        else:
            functions[f"{name}\0auc_difference"] = _difference(y, p, first)
    for key, metric in bootstrap(functions, y, groups=groups, resamples=resamples, seed=seed).items():
        name, _, metric_name = key.rpartition("\0")
        rows[name] |= interval_columns(metric_name, metric)
    table = pd.DataFrame(rows).T.rename_axis("model")
    order = [
        column
        for metric_name in (*SLICE_METRICS, "auc_difference")
        for column in interval_columns(metric_name, Metric(0, 0, 0))
        if column in table
    ]
    rest = [column for column in table.columns if column not in order]
    return table[[*order, *rest]].apply(pd.to_numeric).astype({"faces": int})


def _difference(y: np.ndarray, p: np.ndarray, other: np.ndarray) -> Callable[[np.ndarray], float]:
    return lambda rows: auc_of(y[rows], p[rows]) - auc_of(y[rows], other[rows])
