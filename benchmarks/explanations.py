"""Benchmark of heatmaps: time relative to a forward pass, memory growth, effect of the methods' limits.

Run by ``python -m benchmarks.explanations`` or ``make bench``.
"""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

from redeepfake_nb import Classifier, explain, find_faces, load_model, predict, preprocess
from redeepfake_nb.datasets.samples import sample_image, sample_manipulated
from redeepfake_nb.explanation import methods, split_network
from redeepfake_nb.explanation.heatmaps import rank_correlations

from .measure import Ratio, compared, resident_mib
from .page import write_section

EXPLANATIONS = 300
SLOW = ("scorecam", "saliency")


def ratios(litert: Classifier, tensorflow: Classifier) -> Iterator[Ratio]:
    """Compare every method with a forward pass of what computes it, on one face; Grad-CAM also on eight."""
    face = find_faces(sample_image())[0]
    every = [("gradcam", 8, litert), ("gradcam", 1, litert), ("gradcam", 8, tensorflow)]
    every += [(method, 1, tensorflow) for method in methods.GENERAL_METHODS]
    for method, count, classifier in every:
        predictions = predict(classifier, [face] * count)
        batch = preprocess([face] * count, classifier.preprocessing)
        name = methods.METHODS[method]
        faces = "one face" if count == 1 else f"{count} faces"
        yield compared(
            f"{name} of {faces} / forward pass, by {'LiteRT' if classifier is litert else 'TensorFlow'}",
            (name, lambda p=predictions, m=method, c=classifier: explain(c, p, m)),
            ("forward", lambda b=batch, c=classifier: c.logits(b)),
            runs=3 if method in SLOW else 9,
        )


def growth(method: str, count: int = EXPLANATIONS) -> float:
    """Return the memory growth in MiB over ``count`` explanations of one face, after a quarter as many.

    Measured in a process of its own: a leak could otherwise reuse memory that other methods have freed.
    """
    command = [sys.executable, "-m", "benchmarks.explanations", method, str(count)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def growth_here(method: str, count: int) -> float:
    """Measure the memory growth in this process."""
    classifier = load_model()
    prediction = predict(classifier, find_faces(sample_image())[:1])[0]

    def run(times: int) -> float:
        for _ in range(times):
            explain(classifier, prediction, method)
        gc.collect()
        return resident_mib()

    before = run(count // 4)
    return run(count) - before


def set_scorecam_maps(count: int) -> None:
    split_network.SCORECAM_MAPS = count


def set_smoothgrad_samples(count: int) -> None:
    split_network.SMOOTHGRAD_SAMPLES = count


def limits(
    classifier: Classifier, method: str, set_limit: Callable[[int], None], values: Sequence[int], usual: int
) -> list[tuple[int, float]]:
    """Return the rank correlation of a method's heatmap at each limit with the heatmap at the first limit."""
    prediction = predict(classifier, find_faces(sample_manipulated())[:1])[0]
    heatmaps = []
    try:
        for value in values:
            set_limit(value)
            heatmaps.append(explain(classifier, prediction, method).heatmap)
    finally:
        set_limit(usual)
    return list(zip(values, rank_correlations(heatmaps)[0].tolist(), strict=True))


def section() -> Iterator[str]:
    """Yield lines of Markdown as they are measured."""
    # Heatmaps are compared with a pass by what computes them.
    classifier = load_model(runtime="tensorflow")
    yield from ("| ratio | median | range | pairs |", "|---|---|---|---|")
    for ratio in ratios(load_model(runtime="litert"), classifier):
        yield ratio.row()
    yield from ("", "| method | explanations | memory grew by |", "|---|---|---|")
    for method in methods.GENERAL_METHODS:
        # Slow methods run the same compiled functions many times per explanation.
        count = 20 if method in SLOW else EXPLANATIONS
        yield f"| {methods.METHODS[method]} | {count} | {growth(method, count):.1f} MiB |"
    yield from (
        "",
        "Effect of the two slow methods' limits on their heatmaps, for the manipulated sample:",
    )
    maps, samples = split_network.SCORECAM_MAPS, split_network.SMOOTHGRAD_SAMPLES
    for words, method, set_limit, values, usual in (
        ("Score-CAM, activation maps", "scorecam", set_scorecam_maps, (512, 256, 128, 64, 32), maps),
        ("SmoothGrad, noisy copies", "saliency", set_smoothgrad_samples, (64, 32, 16, 8), samples),
    ):
        yield from ("", f"| {words} | rank correlation with {values[0]} |", "|---|---|")
        measured = limits(classifier, method, set_limit, values, usual)
        yield from (f"| {v} | {r:.2f} |" for v, r in measured[1:])
    yield ""


def main(arguments: list[str]) -> None:
    if arguments:
        print(growth_here(arguments[0], int(arguments[1])))
        return
    write_section("Explanations", list(section()))


if __name__ == "__main__":
    main(sys.argv[1:])
