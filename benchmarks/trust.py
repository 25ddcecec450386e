"""What a check of one heatmap and a stress test of one face cost with the model that ships.

With the memory that repeated checks hold. Run by ``python -m benchmarks.trust``.
"""

from __future__ import annotations

import os
import resource
import sys
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from measure import Timing, timed
from page import write_section

from redeepfake_nb import Classifier, explain, faithfulness, find_faces, load_model, predict, stress_test
from redeepfake_nb.datasets.samples import sample_image

CHECKS = 30


def calls(classifier: Classifier) -> tuple[Callable[[], object], Callable[[], object]]:
    """A check of the sample portrait's heatmap, and its stress test."""
    face = find_faces(sample_image())[0]
    prediction = predict(classifier, [face])[0]
    explanation = explain(classifier, prediction, target=prediction.label())
    return lambda: faithfulness(classifier, explanation), lambda: stress_test(classifier, face)


def times() -> list[Timing]:
    """With a model that nothing was asked of before, so that the first check makes its copy."""
    check, stress = calls(load_model())
    start = time.perf_counter()
    check()
    first = Timing("faithfulness of one face, a model's first", (time.perf_counter() - start,))
    return [
        first,
        timed("faithfulness of one face, warm", check, runs=5, warm_up=1),
        timed("stress_test of one face, warm", stress, runs=5, warm_up=1),
    ]


def memory() -> float:
    """MiB this process holds; the most it has held where the system does not say."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def growth(checks: int = CHECKS) -> float:
    """MiB that further checks add to a process that has made a few."""
    check, _ = calls(load_model())
    for _ in range(3):
        check()
    before = memory()
    for _ in range(checks):
        check()
    return memory() - before


def main() -> None:
    rows = [timing.row() for timing in times()]
    lines = ["With the model that ships, on the sample portrait.", "", "| what | median | range | runs |"]
    lines += ["|---|---|---|---|", *rows, "", f"Memory after {CHECKS} further checks: {growth():+.0f} MiB."]
    write_section("Trust in heatmaps", lines)


if __name__ == "__main__":
    main()
