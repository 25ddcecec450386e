"""Colours, signs and words of labels, shared by figures, pages and widgets."""

from __future__ import annotations

COLORS = {"fake": "#D55E00", "real": "#0072B2", "inconclusive": "#999999"}
LINES = {"fake": "-", "real": "--"}
MARKERS = {"fake": "D", "real": "o"}


# The signs are those of the markers that view.py draws.
SIGNS = {"fake": "◆", "real": "●", "inconclusive": "?"}

# Of a review -> words.
FIGURES = {
    "auc": "AUC",
    "accuracy": "accuracy at the threshold",
    "precision": "precision: fakes among those called fake",
    "recall": "recall: fakes that are called fake",
    "log_loss": "log loss",
    "ece": "calibration error (ECE)",
}
