"""Benchmark of ``faithfulness`` and ``stress_test``: time and memory growth with the default model.

Run by ``python -m benchmarks.trust``.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from redeepfake_nb import Classifier, explain, faithfulness, find_faces, load_model, predict, stress_test
from redeepfake_nb.datasets.samples import sample_image

from .measure import Timing, resident_mib, timed
from .page import write_section

CHECKS = 30


def calls(classifier: Classifier) -> tuple[Callable[[], object], Callable[[], object]]:
    """Return the faithfulness check of the sample portrait's heatmap, and the stress test of its face."""
    face = find_faces(sample_image())[0]
    prediction = predict(classifier, [face])[0]
    explanation = explain(classifier, prediction, target=prediction.label())
    return lambda: faithfulness(classifier, explanation), lambda: stress_test(classifier, face)


def times() -> list[Timing]:
    """Measure durations; the first check of a new model also creates its randomised copy."""
    check, stress = calls(load_model())
    start = time.perf_counter()
    check()
    first = Timing("faithfulness of one face, a model's first", (time.perf_counter() - start,))
    return [
        first,
        timed("faithfulness of one face, warm", check, runs=5, warm_up=1),
        timed("stress_test of one face, warm", stress, runs=5, warm_up=1),
    ]


def growth(checks: int = CHECKS) -> float:
    """Return the memory growth in MiB over many checks, after a few to warm up."""
    check, _ = calls(load_model())
    for _ in range(3):
        check()
    before = resident_mib()
    for _ in range(checks):
        check()
    return resident_mib() - before


def main() -> None:
    rows = [timing.row() for timing in times()]
    lines = [
        f"With {load_model().name}, on the sample portrait, for which all twenty random maps are drawn.",
        "",
        "| what | median | range | runs |",
    ]
    lines += ["|---|---|---|---|", *rows, "", f"Memory after {CHECKS} further checks: {growth():+.0f} MiB."]
    write_section("Trust in heatmaps", lines)


if __name__ == "__main__":
    main()
