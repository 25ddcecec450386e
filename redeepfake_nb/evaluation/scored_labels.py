"""What the evaluations of faces, of videos and of their frames have in common, for tables and plots."""

from __future__ import annotations

from typing import Literal, Protocol

import numpy as np
import pandas as pd

from .metrics import MIN_GROUPS, Metrics

Unit = Literal["faces", "videos", "frames"]


class ScoredLabels(Protocol):
    """N labelled and scored faces, videos or frames, with metrics."""

    @property
    def unit(self) -> Unit:
        """What is counted."""

    @property
    def y(self) -> np.ndarray:
        """(N,) int64, 1 is fake."""

    @property
    def probabilities(self) -> np.ndarray:
        """(N,) float64 P(fake)."""

    @property
    def threshold(self) -> float:
        """Threshold on P(fake)."""

    @property
    def predicted_fake(self) -> np.ndarray:
        """(N,) bool: P(fake) reaches the threshold."""

    @property
    def temperature(self) -> float | None:
        """The model's calibration temperature, or ``None`` where it was never calibrated."""

    @property
    def group(self) -> str | None:
        """Column of the groups that intervals resample; ``None`` where none names people or originals."""

    @property
    def groups(self) -> np.ndarray | None:
        """(N,) group of each, or ``None`` where each is its own."""

    @property
    def metrics(self) -> Metrics:
        """Metrics of ``probabilities`` at the threshold."""

    def confusion(self) -> pd.DataFrame:
        """Return counts by true (rows) and predicted (columns) label."""


def confusion_table(y: np.ndarray, predicted_fake: np.ndarray) -> pd.DataFrame:
    """Return counts by true (rows) and predicted (columns) label."""
    from sklearn.metrics import confusion_matrix

    labels = ["REAL", "FAKE"]
    counts = confusion_matrix(y, predicted_fake.astype(int), labels=[0, 1])
    return pd.DataFrame(counts, pd.Index(labels, name="truth"), pd.Index(labels, name="predicted"))


def describe_intervals(scored: ScoredLabels) -> str:
    """Say in a sentence what the intervals of the metrics resample, or why there are none."""
    m = scored.metrics
    # Frames of one video are never independent.
    alone = {"faces": "single faces", "videos": "single videos", "frames": "single videos"}[scored.unit]
    units = {"identity": "people", "original": "source videos"}.get(scored.group or "", alone)
    if m.resamples:
        return f"Intervals hold 95 % of {m.resamples:,} bootstrap samples of {units} ({m.groups:,})."
    few = f", since there are fewer than {MIN_GROUPS} {units} ({m.groups:,})" if m.groups < MIN_GROUPS else ""
    return f"No intervals were computed{few}."
