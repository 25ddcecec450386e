"""Explanations: times beside a bare forward pass, memory they leave behind, what their limits change.

Run by ``python -m benchmarks.explanations``, or by ``make bench``, which writes it into docs/performance.md.
"""

from __future__ import annotations

import gc
import os
import resource
import sys
from collections.abc import Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np

from redeepfake_nb import Classifier, explain, find_faces, load_model, methods, predict, preprocess
from redeepfake_nb.comparison import rank_correlations
from redeepfake_nb.prediction import Prediction
from redeepfake_nb.samples import sample_image, sample_manipulated

from .measure import Ratio, compared

EXPLANATIONS = 300


def ratios(classifier: Classifier) -> list[Ratio]:
    """Every method against a bare forward pass, on one face; Grad-CAM on eight, too."""
    face = find_faces(sample_image())[0]
    found = []
    for method, count in [("gradcam", 8), *((method, 1) for method in methods.METHODS)]:
        predictions = predict(classifier, [face] * count)
        batch = preprocess([face] * count, classifier.preprocessing)
        name = methods.METHODS[method]
        faces = "one face" if count == 1 else f"{count} faces"
        found.append(
            compared(
                f"{name} of {faces} / bare forward pass of {faces}",
                (name, lambda p=predictions, m=method: explain(classifier, p, m)),
                ("forward", lambda b=batch: classifier.logits(b)),
                runs=9 if method not in ("scorecam", "saliency") else 3,
            )
        )
    return found


def growth(classifier: Classifier, method: str, count: int = EXPLANATIONS) -> float:
    """MB by which the process grew over ``count`` explanations of one face, after 10 to warm up."""
    prediction = predict(classifier, find_faces(sample_image())[:1])[0]

    def run(times: int) -> float:
        for _ in range(times):
            explain(classifier, prediction, method)
        gc.collect()
        return resident()

    before = run(10)
    return run(count) - before


def resident() -> float:
    """MB of memory that the process holds now, or held at most where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return most / (2**20 if sys.platform == "darwin" else 2**10)


def limits(classifier: Classifier, name: str, method: str, values: Sequence[int]) -> list[tuple[int, float]]:
    """Rank correlation of a method's heatmap under each limit with that under the first."""
    prediction = predict(classifier, find_faces(sample_manipulated())[:1])[0]
    kept, heatmaps = getattr(methods, name), []
    try:
        for value in values:
            setattr(methods, name, value)
            heatmaps.append(heatmap(classifier, prediction, method))
    finally:
        setattr(methods, name, kept)
    return list(zip(values, rank_correlations(heatmaps)[0].tolist(), strict=True))


def heatmap(classifier: Classifier, prediction: Prediction, method: str) -> np.ndarray:
    """(h, w) float32, 0..1."""
    return explain(classifier, prediction, method).heatmap


def growth_rows(classifier: Classifier) -> list[str]:
    """Rows of a Markdown table; slow methods are called fewer times."""
    counts = {"scorecam": 30, "saliency": 30}
    return [
        f"| {methods.METHODS[m]} | {counts.get(m, EXPLANATIONS)} | "
        f"{growth(classifier, m, counts.get(m, EXPLANATIONS)):.1f} MB |"
        for m in methods.METHODS
    ]


def section(classifier: Classifier) -> list[str]:
    """Lines of Markdown."""
    lines = ["## Explanations", "", "| ratio | median | range | pairs |", "|---|---|---|---|"]
    lines += [r.row() for r in ratios(classifier)]
    lines += ["", "| method | explanations | memory grew by |", "|---|---|---|", *growth_rows(classifier), ""]
    lines += [
        "How far heatmaps change with the limits of the two slow methods, on the manipulated sample:",
        "",
    ]
    for words, name, method, values in (
        ("Score-CAM, maps tried", "MAPS_TRIED", "scorecam", (1024, 512, 256, 128, 64, 32)),
        ("SmoothGrad, noisy copies", "NOISY_COPIES", "saliency", (64, 32, 16, 8)),
    ):
        lines += [f"| {words} | rank correlation with {values[0]} |", "|---|---|"]
        lines += [f"| {v} | {r:.2f} |" for v, r in limits(classifier, name, method, values)]
        lines.append("")
    return lines


def main() -> None:
    print("\n".join(section(load_model())))


if __name__ == "__main__":
    main()
