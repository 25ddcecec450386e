"""Benchmark of a GPU against the processor of the same machine; prints a table for docs/performance.md.

On Kaggle or Colab, with a GPU chosen as accelerator, in one cell::

    !git clone --quiet --depth 1 https://github.com/redeepfake/redeepfake_nb redeepfake-nb
    %cd redeepfake-nb
    %run redeepfake_nb/hosts.py
    from redeepfake_nb import hosts
    hosts.prepare()
    !python -m benchmarks.gpu

Without a GPU it measures the processor alone, and says so. Each side runs in a process of its own; times are
medians, with the range in brackets.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import cv2
import numpy as np

from redeepfake_nb import analyze_video, load_model
from redeepfake_nb.datasets.samples import clip_frames, encode_clip
from redeepfake_nb.models.runtimes import gpu_memory, gpu_name, has_gpu

from .measure import machine

ROOT = Path(__file__).resolve().parents[1]
BATCHES, SECONDS, RUNS = (1, 2, 4, 8, 16, 32, 64, 128), 2.0, 3
# Size of the clip's frames, 1080 px high.
_FRAME = (1728, 1080)


def rate(call: Callable[[], object], count: int, seconds: float = SECONDS) -> tuple[float, float, float]:
    """Return how many things a call does in a second: median, lowest and highest, after two calls to warm up.

    Parameters
    ----------
    count
        Of the things that one call does.
    seconds
        The call is repeated for at least so long, and at least ``RUNS`` times.
    """
    call()
    call()
    rates: list[float] = []
    began = time.perf_counter()
    while len(rates) < RUNS or time.perf_counter() - began < seconds:
        start = time.perf_counter()
        call()
        rates.append(count / (time.perf_counter() - start))
    return median(rates), min(rates), max(rates)


def clip(folder: Path) -> tuple[Path, int]:
    """Write the sample clip in 1080p; return its path and number of frames."""
    frames = [cv2.resize(frame, _FRAME, interpolation=cv2.INTER_CUBIC) for frame in clip_frames()]
    path = folder / "clip.mp4"
    path.write_bytes(encode_clip(frames))
    return path, len(frames)


def measure(folder: Path) -> dict[str, object]:
    """Measure what scores in this process."""
    classifier = load_model()
    size = classifier.preprocessing.input_size
    faces = np.random.default_rng(0).uniform(0, 255, (max(BATCHES), size, size, 3)).astype(np.float32)
    rows: dict[str, tuple[float, float, float]] = {}
    for batch in BATCHES:
        some = faces[:batch]
        rows[f"faces a second, batch of {batch}"] = rate(lambda some=some: classifier.logits(some), batch)
    path, frames = clip(folder)
    for name, sampled in (("32 frames", 32), ("every frame", "all")):
        count = frames if sampled == "all" else 32
        rows[f"frames a second of a 1080p video, {name}"] = rate(
            lambda sampled=sampled: analyze_video(path, classifier, frames=sampled, explain_top=0), count
        )
    return {"by": classifier.scored_by, "batch": classifier.gpu_batch_size, "rows": rows}


def _in_a_process(folder: Path, environment: dict[str, str]) -> dict[str, object]:
    command = [sys.executable, "-m", "benchmarks.gpu", "measure", str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | environment)
    if run.returncode:
        raise SystemExit(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


def table(cpu: dict, gpu: dict | None) -> list[str]:
    """Format both sides as lines of Markdown."""
    sides = [cpu] if gpu is None else [gpu, cpu]
    header = ["| what | " + " | ".join(side["by"] for side in sides), "|---" * (len(sides) + 1)]
    if gpu is not None:
        header = [header[0] + " | ratio", header[1] + "|---"]
    lines = [line + " |" if line.startswith("| what") else line + "|" for line in header]
    for name in cpu["rows"]:
        cells = ["{:.1f} ({:.1f} to {:.1f})".format(*side["rows"][name]) for side in sides]
        if gpu is not None:
            cells.append(f"{gpu['rows'][name][0] / cpu['rows'][name][0]:.2f}")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return lines


def main(arguments: list[str]) -> None:
    import tempfile

    if arguments:
        print(json.dumps(measure(Path(arguments[1]))))
        return
    print("\n".join(["## GPU", "", f"{'; '.join(machine(gpu_name() or 'no GPU'))}.", ""]))
    with tempfile.TemporaryDirectory(prefix="redeepfake-gpu-") as name:
        gpu = None
        if has_gpu():
            gpu = _in_a_process(Path(name), {})
            memory = gpu_memory()
            known = "unknown" if memory is None else f"{memory / 2**30:.1f} GiB"
            print(f"Memory of the GPU: {known}; batches of a video: {gpu['batch']} faces.\n")
        else:
            print("There is no GPU here that TensorFlow can use, so only the processor is measured.\n")
        cpu = _in_a_process(Path(name), {"CUDA_VISIBLE_DEVICES": "-1"})
    print("\n".join(table(cpu, gpu)))


if __name__ == "__main__":
    main(sys.argv[1:])
