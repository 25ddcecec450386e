"""Leave-one-source-out training: what a recipe makes of a source that no training face came from.

The AUC on held-out faces of sources that were trained on says little about the next generator. Here the
recipe is trained once for every source of fakes, without it, and judged on it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces
from ..evaluation.metrics import Metric, bootstrap
from ..evaluation.scoring import group_column
from ..evaluation.slices import auc_of, interval_columns
from ..faces.preprocessing import Preprocessing
from ..utils.writing import atomic_file
from .batches import score_faces
from .recipes import Recipe
from .source_mixture import source_names, source_reals
from .trainer import TrainingProgress, readable_faces, train


def leave_one_source_out(
    recipe: Recipe,
    faces: LabelledFaces,
    out: str | Path,
    *,
    sources: Sequence[str] | None = None,
    resamples: int = 1000,
    progress: TrainingProgress | None = None,
    workers: int = 0,
) -> pd.DataFrame:
    """Train a recipe once without each source of fakes, and evaluate each model on the unseen source.

    Parameters
    ----------
    recipe
        With ``sources``.
    faces
        With the splits ``train`` and ``val`` and a column ``source``. All fakes of the source that is left
        out are scored, against the real faces of ``val`` that the recipe compares them with.
    out
        Folder; each run has a folder of its own in it, from which it resumes, and the table is written to
        ``leave_one_out.csv`` after every run.
    sources
        Names of the sources to leave out. Default: all that have fakes.
    resamples
        Bootstrap samples for the 95 % interval.
    progress
        Called as ``progress(step, steps, loss)`` over all runs together.
    workers
        Processes that make batches; see :func:`redeepfake_nb.training.trainer.train`.

    Returns
    -------
    pandas.DataFrame
        One row per source: ``source, fakes, reals``, ``auc`` with ``auc_low`` and ``auc_high``, and
        ``val_auc``, the mean AUC over the sources on val, the unseen one included.

    Raises
    ------
    ValueError
        The recipe has no sources, a name is not one of them, or a source has no fakes or no real faces to
        compare them with.
    """
    train_faces, val_faces = readable_faces(faces.part("train"), faces.part("val"))
    rows_of = _compared_rows(recipe, faces, val_faces)
    chosen = list(rows_of) if sources is None else list(sources)
    if not chosen:
        raise ValueError("no source has both fakes and real faces to compare them with")
    if unknown := sorted(set(chosen) - set(rows_of)):
        raise ValueError(f"{', '.join(unknown)} cannot be left out; sources are {', '.join(rows_of)}")
    found: list[dict[str, object]] = []
    for number, name in enumerate(chosen):
        stages = tuple(replace(s, leave_out=tuple({*s.leave_out, name})) for s in recipe.stages)
        variant = replace(recipe, name=f"{recipe.name}-without-{name}", stages=stages)

        def report(step: int, steps: int, loss: float, before: int = number) -> None:
            if progress is not None:
                progress(before * steps + step, len(chosen) * steps, loss)

        result = train(
            variant, train_faces, val_faces, Path(out) / variant.name, progress=report, workers=workers
        )
        unseen = rows_of[name]
        preprocessing = Preprocessing(input_size=variant.final_size)
        logits = score_faces(result.model.predict_on_batch, unseen, preprocessing)
        y, auc = unseen.y, _auc(unseen, logits, resamples)
        best = max(result.history, key=lambda line: line["val_auc"])
        found.append(
            {"source": name, "fakes": int(y.sum()), "reals": int((y == 0).sum())}
            | interval_columns("auc", auc)
            | {"val_auc": best["val_auc"]}
        )
        with atomic_file(Path(out) / "leave_one_out.csv") as part:
            pd.DataFrame(found).to_csv(part, index=False)
    return pd.DataFrame(found)


def _auc(faces: LabelledFaces, logits: np.ndarray, resamples: int) -> Metric:
    y, column = faces.y, group_column(faces)
    groups = None if column is None else faces.table[column].to_numpy()
    functions = {"auc": lambda rows: auc_of(y[rows], logits[rows])}
    return bootstrap(functions, y, groups=groups, resamples=resamples)["auc"]


def _compared_rows(
    recipe: Recipe, faces: LabelledFaces, val_faces: LabelledFaces
) -> dict[str, LabelledFaces]:
    """Return all fakes of each source with the val faces that they are compared with."""
    names, y = source_names(faces.table), faces.y
    val_names, val_y = source_names(val_faces.table), val_faces.y
    found = {}
    for source in recipe.sources:
        fakes = faces.take(np.flatnonzero((names == source.name) & (y == 1)))
        reals = val_faces.take(np.concatenate(list(source_reals(source, val_names, val_y).values())))
        if len(fakes) and len(reals):
            both = pd.concat([fakes.table, reals.table], ignore_index=True)
            found[source.name] = faces.with_table(both)
    return found
