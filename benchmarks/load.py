"""Load test: memory growth over many calls, and equal results in threads; reported in docs/reliability.md."""

from __future__ import annotations

import argparse
import gc
import io
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
from PIL import Image

from redeepfake_nb import Classifier, analyze_image, explain, find_faces, load_model, predict
from redeepfake_nb.datasets.samples import sample_image


class Growth(NamedTuple):
    """Resident memory in MB before and after a number of calls, following a warm-up."""

    name: str
    calls: int
    before: float
    after: float
    limit: float
    seconds: float

    @property
    def grown(self) -> float:
        return self.after - self.before

    def row(self) -> str:
        """A row of a Markdown table."""
        return (
            f"| {self.name} | {self.calls:,} | {self.before:.0f} | {self.after:.0f} | {self.grown:+.1f} | "
            f"{self.limit:g} | {self.seconds:.0f} s |"
        )


def resident() -> float:
    """Return the resident memory of this process in MB (Linux only)."""
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def growth(name: str, call: Callable[[int], object], calls: int, warm_up: int, limit: float) -> Growth:
    """Call ``call(0)``, ``call(1)``, ... and measure the memory growth."""
    for i in range(warm_up):
        call(i)
    before, began = resident(), time.perf_counter()
    for i in range(warm_up, warm_up + calls):
        call(i)
    seconds = time.perf_counter() - began
    return Growth(name, calls, before, resident(), limit, seconds)


def photos(count: int = 12, height: int = 200) -> list[bytes]:
    """Encode images of a face in different sizes and formats."""
    portrait = Image.fromarray(sample_image().image)
    found = []
    for i in range(count):
        size = height + 9 * i
        picture = portrait.resize((portrait.width * size // portrait.height, size))
        out = io.BytesIO()
        picture.save(out, ("JPEG", "PNG", "WEBP")[i % 3])
        found.append(out.getvalue())
    return found


def images(classifier: Classifier, calls: int, warm_up: int = 50) -> Growth:
    """Measure the growth over analyses of images."""
    files = photos()
    return growth(
        "images analysed", lambda i: analyze_image(files[i % len(files)], classifier), calls, warm_up, 50
    )


def heatmaps(classifier: Classifier, calls: int, warm_up: int = 20) -> Growth:
    """Measure the growth over Grad-CAMs of one, two and three faces at a time."""
    predictions = predict(classifier, find_faces(sample_image()) * 3)
    return growth("Grad-CAMs", lambda i: explain(classifier, predictions[: 1 + i % 3]), calls, warm_up, 50)


def model_changes(path: str | None, calls: int, warm_up: int = 3) -> Growth:
    """Measure the growth over loading a model, using it, and dropping it."""
    faces = find_faces(sample_image())

    def change(_: int) -> None:
        classifier = load_model(path)
        explain(classifier, predict(classifier, faces))

    return growth("model changes", change, calls, warm_up, 100)


def disagreements(classifier: Classifier, threads: int, calls: int) -> int:
    """Count how many of ``threads`` x ``calls`` analyses with heatmaps in threads differ from serial ones.

    Boxes must be equal, logits within 1e-4 and heatmaps within 1e-3: sums in another order differ in their
    last bits.
    """
    files = photos(8)

    def analysed(i: int) -> tuple:
        report = analyze_image(files[i % len(files)], classifier, explain="gradcam")
        return (
            [p.face.box for p in report.predictions],
            np.array([p.logit for p in report.predictions]),
            [e.heatmap for e in report.explanations],
        )

    serial = [analysed(i) for i in range(len(files))]

    def differs(i: int) -> bool:
        boxes, logits, maps = analysed(i)
        wanted_boxes, wanted_logits, wanted_maps = serial[i % len(files)]
        return (
            boxes != wanted_boxes
            or not np.allclose(logits, wanted_logits, atol=1e-4)
            or not all(np.allclose(a, b, atol=1e-3) for a, b in zip(maps, wanted_maps, strict=True))
        )

    def share(thread: int) -> int:
        return sum(differs(thread + i) for i in range(calls))

    with ThreadPoolExecutor(threads) as pool:
        return sum(pool.map(share, range(threads)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--heatmaps", type=int, default=200)
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--calls", type=int, default=100)
    options = parser.parse_args()
    classifier = load_model()
    grown = []
    print("| what | calls | MB before | MB after | grown | limit | time |\n|---|---|---|---|---|---|---|")
    for measure in (
        lambda: images(classifier, options.images),
        lambda: heatmaps(classifier, options.heatmaps),
        lambda: model_changes(None, options.models),
    ):
        grown.append(measure())
        print(grown[-1].row(), flush=True)
    wrong = disagreements(classifier, options.threads, options.calls)
    print(f"\n{options.threads} threads x {options.calls} calls: {wrong} differ from the serial results")
    return 1 if wrong or any(g.grown > g.limit for g in grown) else 0


if __name__ == "__main__":
    sys.exit(main())
