"""How often a score is called fragile, of faces that the model got right and wrong: a table in docs/trust.md.

Run by ``python -m benchmarks.fragility FACES``, where FACES is any labelled set that
:func:`redeepfake_nb.datasets.read_faces` reads, best one that the model was not trained on. Of a set with a
column ``split`` only the rows that say ``val`` or ``test`` are used. Several sets may be named.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pandas as pd

from redeepfake_nb import Classifier, Face, Frame, InputError, load_model, predict
from redeepfake_nb.analysis.fragility import MIN_CHANGE, crossing, with_changes
from redeepfake_nb.analysis.verdict import inconclusive_band
from redeepfake_nb.datasets import LabelledFaces, read_faces
from redeepfake_nb.evaluation.metrics import wilson_interval

from .measure import compared, machine
from .page import replace_between

PAGE = Path(__file__).resolve().parent.parent / "docs" / "trust.md"
BATCH = 8


def chosen_rows(faces: LabelledFaces, count: int) -> LabelledFaces:
    """Draw up to ``count`` held-out faces of each label."""
    table = faces.table
    held_out = table["split"].isin(["val", "test"]) if table["split"].notna().any() else table["split"].isna()
    rng = np.random.default_rng(0)
    rows = []
    for label in ("REAL", "FAKE"):
        of_label = np.flatnonzero(held_out & (table["label"] == label))
        rows += rng.choice(of_label, min(count, len(of_label)), replace=False).tolist()
    return faces.take(sorted(rows))


def pictures(faces: LabelledFaces) -> Iterator[tuple[Face, bool]]:
    """Yield each readable face and whether it is a fake."""
    for row, fake in enumerate(faces.y):
        try:
            yield Face.whole(Frame(faces.image(row))), bool(fake)
        except InputError as error:
            print(error)


def measure(classifier: Classifier, faces: LabelledFaces) -> pd.DataFrame:
    """Return one row per face: ``fake``, ``wrong``, ``near`` the threshold, ``fragile``."""
    rows, band = [], inconclusive_band(classifier.temperature)
    waiting = list(pictures(faces))
    for start in range(0, len(waiting), BATCH):
        some = waiting[start : start + BATCH]
        checked = with_changes(classifier, predict(classifier, [face for face, _ in some]))
        for prediction, (_, fake) in zip(checked, some, strict=True):
            rows.append(
                {
                    "fake": fake,
                    "wrong": (prediction.label() == "fake") != fake,
                    "near": abs(prediction.probability - classifier.threshold) < band,
                    "fragile": crossing(prediction, classifier.threshold) is not None,
                }
            )
    return pd.DataFrame(rows)


def share(values: pd.Series) -> str:
    """Return a share with its 95 % interval in words."""
    if not len(values):
        return "none"
    low, high = wilson_interval(float(values.mean()), len(values))
    return f"{values.mean():.1%} ({low:.1%} to {high:.1%})".replace("%", " %")


def table(rows: pd.DataFrame) -> list[str]:
    """Return lines of Markdown."""
    lines = [
        "| faces | how many | called fragile | wrong, if fragile | wrong, if not |",
        "|---|---|---|---|---|",
    ]
    near = rows["near"]
    for words, own in (
        ("genuine", rows[~rows["fake"]]),
        ("fake", rows[rows["fake"]]),
        ("all", rows),
        ("all, score far from the threshold", rows[~near]),
        ("right", rows[~rows["wrong"]]),
        ("wrong", rows[rows["wrong"]]),
    ):
        cells = [words, str(len(own)), share(own["fragile"])]
        known = words in ("right", "wrong")
        cells += ["-" if known else share(own["wrong"][own["fragile"] == f]) for f in (True, False)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("faces", type=Path, nargs="+", help="labelled faces")
    parser.add_argument("--count", type=int, default=200, help="faces of each label and set")
    options = parser.parse_args(arguments)
    classifier = load_model()
    found = []
    for path in options.faces:
        found.append(measure(classifier, chosen_rows(read_faces(path), options.count)))
        print(path, *table(found[-1]), sep="\n", flush=True)
    first = [face for face, _ in pictures(chosen_rows(read_faces(options.faces[0]), BATCH // 2))]
    predictions = predict(classifier, first)
    cost = compared(
        f"mild changes of {BATCH} faces / scores of {BATCH} faces",
        ("changed", lambda: with_changes(classifier, predictions)),
        ("scored", lambda: predict(classifier, first)),
    )
    ratio = np.array(cost.first.seconds) / np.array(cost.second.seconds)
    note = (
        f"{classifier.name}, held-out faces of {len(found)} collection{'s' if len(found) > 1 else ''}, up to "
        f"{options.count} of each label. Fragile: a mild change moves P(fake) across the threshold and by at "
        f"least {MIN_CHANGE:g}. In brackets 95 % intervals (Wilson). The check of {BATCH} faces takes "
        f"{np.median(ratio):.2f} times as long as their scores ({ratio.min():.2f} to {ratio.max():.2f} in "
        f"{len(ratio)} pairs; {'; '.join(machine())})."
    )
    replace_between(PAGE, "fragile scores", [*table(pd.concat(found)), "", note])


if __name__ == "__main__":
    main()
