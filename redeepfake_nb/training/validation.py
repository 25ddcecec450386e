"""Judge a network on val while it is trained: overall, and by source, against real faces made alike."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces
from ..utils.numeric import sigmoid
from .recipes import Recipe
from .source_mixture import source_names, source_reals


def val_metrics(recipe: Recipe, faces: LabelledFaces, logits: np.ndarray) -> dict[str, Any]:
    """Return AUC, accuracy and log loss of logits (N,) as the columns of a training run's history.

    With sources in the recipe, the AUC is the mean of theirs, and each has a column of its own.
    """
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    y, p = faces.y, sigmoid(logits)
    line: dict[str, Any] = {
        "val_auc": round(float(roc_auc_score(y, p)), 5),
        "val_accuracy": round(float(accuracy_score(y, p > 0.5)), 5),
        "val_log_loss": round(float(log_loss(y, p)), 5),
    }
    if recipe.sources:
        aucs = source_aucs(recipe, faces, logits)
        # Sources count alike, however many faces they have.
        line["val_auc"] = round(float(np.mean(list(aucs.values()))), 5)
        line |= {f"val_auc {name}": round(auc, 5) for name, auc in aucs.items()}
    return line


def source_aucs(recipe: Recipe, faces: LabelledFaces, logits: np.ndarray) -> dict[str, float]:
    """Compute the AUC of each source's fakes against real faces of the same making.

    Parameters
    ----------
    recipe
        Its ``sources`` say which real faces each source's fakes are compared with.
    faces
        With a column ``source``.
    logits
        (N,) of these faces.

    Returns
    -------
    dict of str to float
        Only of sources that have fakes, and real faces to compare them with, in ``faces``.
    """
    from sklearn.metrics import roc_auc_score

    names, y = source_names(faces.table), faces.y
    found = {}
    for source in recipe.sources:
        fakes = np.flatnonzero((names == source.name) & (y == 1))
        reals = np.concatenate(list(source_reals(source, names, y).values()))
        if len(fakes) and len(reals):
            rows = np.concatenate([fakes, reals])
            found[source.name] = float(roc_auc_score(y[rows], logits[rows]))
    return found


def sample_of_each_source(faces: LabelledFaces, limit: int) -> LabelledFaces:
    """Keep at most ``limit`` faces of each source and label, chosen by chance; 0 keeps all."""
    if not limit:
        return faces
    order = np.random.default_rng(0).permutation(len(faces))
    shuffled = pd.DataFrame({"source": source_names(faces.table), "y": faces.y}).iloc[order]
    kept = shuffled.groupby(["source", "y"], sort=False).head(limit).index
    return faces.take(np.sort(kept.to_numpy()))
