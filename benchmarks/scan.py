"""Benchmark of scans: killed at random, in one and two processes, on a Dask cluster; a large journal.

Run by ``python -m benchmarks.scan [kills] [speed] [journal]``, by default all three, which also updates
docs/performance.md. The kills use a tiny network, since they test the journal; the speeds use the default
model. Dask is measured where it is installed.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from redeepfake_nb import Card, Classifier, Journal, Preprocessing, ScanResult, open_scan, save_model, scan
from redeepfake_nb.datasets.synthetic import make_sample_folder
from redeepfake_nb.scanning.records import Filter

from .measure import memory_of_children
from .page import write_section

FILES, KILLS, RUNS, ROWS = 200, 40, 3, 100_000
# Speeds are measured from when this share of the files is done: before, models are being loaded.
_WARM_UP = 0.25


def tiny_model(folder: Path) -> Path:
    """Save a network of a few weights, whose inference takes next to no time."""
    import keras

    image = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    keras.utils.set_random_seed(0)
    model = keras.Model(image, keras.layers.Dense(1)(pooled))
    card = Card(name="tiny", version="1", preprocessing=Preprocessing(input_size=32), temperature=1.0)
    return save_model(Classifier(model, card), folder / "tiny.keras")


# -- kills


def kills(folder: Path, count: int = KILLS, seed: int = 0) -> list[str]:
    """Kill the process group at random times, resume, and compare with an undisturbed run."""
    files, model = make_sample_folder(folder / "files", FILES), tiny_model(folder)
    began = time.perf_counter()
    whole = table(scan(files, folder / "whole.sqlite", model, workers=2, frames=8))
    length = time.perf_counter() - began
    rng, done, rounds, lost = random.Random(seed), 0, 0, 0
    files_done: list[int] = []
    journal = folder / "killed-0.sqlite"
    while done < count:
        process = _begin(files, journal, model)
        try:
            process.wait(rng.uniform(0, length))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            now_done = _count_done(journal)
            lost += now_done < (files_done[-1] if files_done else 0)
            files_done.append(now_done)
            continue
        if process.returncode not in (0, 1):
            raise AssertionError(f"a scan ended with {process.returncode}")
        _compare(whole, open_scan(journal), journal)
        rounds += 1
        files_done.append(0)
        journal = folder / f"killed-{rounds}.sqlite"
    _compare(whole, scan(files, journal, model, workers=2, frames=8), journal)
    if lost:
        raise AssertionError(f"{lost} kills lost files that were done before")
    between = sum(0 < n < FILES for n in files_done)
    return [
        f"{FILES} mixed small files, {count} times `kill -9` of the whole process group at random times,",
        f"{between} of them with a part of the files done. {rounds + 1} journals were completed;",
        "all tables equal that of an undisturbed run bit for bit except for times, and none was damaged.",
    ]


def table(result: ScanResult) -> list[tuple]:
    """Return everything that must not differ between runs, with each file's details."""
    with Journal(result.journal) as opened:
        return [
            (
                replace(row, seconds=None, scored_at=None),
                row.sha256 and opened.detail(result.scan, row.sha256),
            )
            for row in opened.page(result.scan, limit=None)
        ]


def _compare(whole: list[tuple], result: ScanResult, journal: Path) -> None:
    if table(result) != whole:
        raise AssertionError(f"{journal.name}: the table differs from that of the undisturbed run")
    _count_done(journal)


def _begin(files: Path, journal: Path, model: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "redeepfake_nb.cli", "scan", str(files), "--journal", str(journal)]
    command += ["--model", str(model), "--frames", "8", "--workers", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, start_new_session=True, **quiet)


def _count_done(journal: Path) -> int:
    """Check that an abandoned journal is intact, and return the number of files done."""
    if not journal.exists() or not journal.stat().st_size:
        return 0
    base = sqlite3.connect(journal)
    try:
        if base.execute("PRAGMA integrity_check").fetchone() != ("ok",):
            raise AssertionError(f"{journal.name} is damaged")
        if not base.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()[0]:
            return 0
        rows, paths = base.execute("SELECT COUNT(*), COUNT(DISTINCT path) FROM files").fetchone()
        if rows != paths or rows not in (0, FILES):
            raise AssertionError(f"{journal.name} has {rows} rows for {paths} files")
        return base.execute("SELECT COUNT(*) FROM files WHERE status != 'waiting'").fetchone()[0]
    finally:
        base.close()


# -- speed

# What computed scores and found faces by default before LiteRT and BlazeFace did.
_BEFORE = {"runtime": "tensorflow", "detector": "hog"}
_BEFORE_NAME = "scan, 2 processes, TensorFlow and HOG"


def speed(folder: Path, runs: int = RUNS) -> list[str]:
    """Measure files per second of a plain loop, of one and two processes, and of a Dask cluster of two."""
    files = make_sample_folder(folder / "files", FILES)
    memory: dict[str, list[tuple[float, float]]] = {}
    sides: dict[str, Callable[[int], tuple[float, float]]] = {
        "plain loop": lambda i: _plain_loop(files),
        "scan, 1 process": lambda i: _scanned(files, folder / f"one-{i}.sqlite", workers=1),
        "scan, 2 processes": lambda i: _scanned(
            files, folder / f"two-{i}.sqlite", memory.setdefault("scan, 2 processes", []), workers=2
        ),
        _BEFORE_NAME: lambda i: _scanned(
            files, folder / f"before-{i}.sqlite", memory.setdefault(_BEFORE_NAME, []), workers=2, **_BEFORE
        ),
    }
    try:
        import distributed
    except ImportError:
        distributed = None
    else:
        sides["scan, Dask cluster of 2"] = lambda i: _on_dask(files, folder / f"dask-{i}.sqlite", distributed)
    found: dict[str, list[tuple[float, float]]] = {name: [] for name in sides}
    for run in range(runs):
        for name, side in sides.items():
            found[name].append(side(run))
    lines = [
        f"{FILES} mixed small files, the default model, one thread per process. *Warm*: from when a",
        "quarter of the files is done. *Total*: including the start of the processes and loading the models.",
        "All in turn in one run.",
        "",
        "| what | warm, files/s | range | total | range | runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, pairs in found.items():
        rates, walls = zip(*pairs, strict=True)
        lines.append(
            f"| {name} | {median(rates):.2f} | {min(rates):.2f} to {max(rates):.2f} | {median(walls):.1f} s "
            f"| {min(walls):.1f} to {max(walls):.1f} s | {runs} |"
        )
    pairs = [
        ("scan, 2 processes", "scan, 1 process"),
        ("scan, 1 process", "plain loop"),
        ("scan, 2 processes", _BEFORE_NAME),
    ]
    pairs += [("scan, Dask cluster of 2", "scan, 2 processes")] if distributed else []
    lines += [
        "",
        "| how many times as fast | warm | range | total | range | pairs |",
        "|---|---|---|---|---|---|",
    ]
    for first, second in pairs:
        both = list(zip(found[first], found[second], strict=True))
        cells = [f"{first} / {second}"]
        for ratios in ([a[0] / b[0] for a, b in both], [b[1] / a[1] for a, b in both]):
            cells += [f"{median(ratios):.2f}", f"{min(ratios):.2f} to {max(ratios):.2f}"]
        lines.append(f"| {' | '.join(cells)} | {runs} |")
    lines += ["", "| memory of a worker process, at most | resident | its own alone |", "|---|---|---|"]
    for name, workers in memory.items():
        spans = [f"{min(sizes):.0f} to {max(sizes):.0f} MiB" for sizes in zip(*workers, strict=True)]
        lines.append(f"| {name} | {' | '.join(spans)} |")
    return lines


class _ProgressTimes:
    """Records when files are done, and the memory of worker processes."""

    def __init__(self) -> None:
        self.at: list[tuple[float, int]] = [(time.perf_counter(), 0)]
        self.memory: dict[int, tuple[float, float]] = {}

    def __call__(self, done: int, total: int | None) -> None:
        self.at.append((time.perf_counter(), done))
        for process, sizes in memory_of_children().items():
            before = self.memory.get(process, (0.0, 0.0))
            self.memory[process] = max(before[0], sizes[0]), max(before[1], sizes[1])

    def result(self) -> tuple[float, float]:
        """Return files per second after the warm-up, and seconds in total."""
        last, done = self.at[-1]
        first, before = next(entry for entry in self.at if entry[1] >= _WARM_UP * done)
        return (done - before) / (last - first), last - self.at[0][0]


def _scanned(
    files: Path, journal: Path, memory: list[tuple[float, float]] | None = None, **where: object
) -> tuple[float, float]:
    times = _ProgressTimes()
    scan(files, journal, progress=times, **where)
    if memory is not None:
        memory += times.memory.values()
    return times.result()


def _on_dask(files: Path, journal: Path, distributed: object) -> tuple[float, float]:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        return _scanned(files, journal, executor=client)


def _plain_loop(files: Path) -> tuple[float, float]:
    """Run the plain loop in a new process with one thread."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    command = [sys.executable, "-m", "benchmarks.scan", "plain-loop", str(files)]
    run = subprocess.run(command, env=os.environ | limits, capture_output=True, text=True, check=True)
    warm, whole = run.stdout.split()
    return float(warm), float(whole)


def plain_loop(files: Path) -> tuple[float, float]:
    """Analyse the files one by one; duplicates are scored as often as they occur."""
    import cv2

    from redeepfake_nb import RedeepfakeError, analyze_image, analyze_video, load_model
    from redeepfake_nb.media.file_types import is_video

    times = _ProgressTimes()
    cv2.setNumThreads(1)
    classifier = load_model()
    for number, path in enumerate(sorted(files.iterdir()), 1):
        try:
            if is_video(path):
                analyze_video(path, classifier, explain_top=0).persons  # noqa: B018
            else:
                analyze_image(path, classifier)
        except RedeepfakeError:
            pass
        times(number, None)
    return times.result()


# -- the journal


def journal(folder: Path, rows: int = ROWS) -> list[str]:
    """Measure opening, filtering, sorting and paging a large journal, with a new connection each time."""
    path, rng = folder / "large.sqlite", random.Random(0)
    with Journal(path, create=True) as opened:
        began = time.perf_counter()
        names = [f"/archive/{i // 1000:03d}/clip-{i:06d}.jpg" for i in range(rows)]
        settings = {"frames": 32, "threshold": 0.5, "detector": "hog", "margin": None}
        made = opened.start_scan(names, "d", settings, {"sha256": "m", "name": "m", "version": "1"}, {})
        entered = time.perf_counter() - began
        with opened.transaction():
            for entry in opened.entries(made):
                opened.record_outcome(made, _outcome(entry.id, rng), [(entry.id, None)])
        for i in range(0, rows, 1000):
            opened.set_label(f"{i + 1:064x}", "fake")
    pages: dict[str, Callable[[Journal], object]] = {
        "open, first page": lambda j: j.page(j.scan(), limit=50),
        "count of all": lambda j: j.count(j.scan()),
        "summary": lambda j: j.count_outcomes(j.scan()),
        "strongest first": lambda j: j.page(j.scan(), order="strongest", limit=50),
        "most doubtful first": lambda j: j.page(j.scan(), order="doubtful", limit=50),
        "strongest, last page": lambda j: j.page(j.scan(), order="strongest", limit=50, offset=rows - 50),
        "by path, middle page": lambda j: j.page(j.scan(), order="path", limit=50, offset=rows // 2),
        "failed ones": lambda j: j.page(j.scan(), Filter(statuses=["failed"]), limit=50),
        "fake ones, most doubtful first": lambda j: j.page(
            j.scan(), Filter(verdicts=["fake"]), order="doubtful", limit=50
        ),
        "part of a path, strongest first": lambda j: j.page(
            j.scan(), Filter(text="99/clip"), order="strongest", limit=50
        ),
        "not labelled, count": lambda j: j.count(j.scan(), Filter(labels=[None])),
        "labelled fake": lambda j: j.page(j.scan(), Filter(labels=["fake"]), limit=50),
    }
    lines = [
        f"A journal of {rows:,} files, {path.stat().st_size / 2**20:.0f} MiB, entered in {entered:.1f} s;",
        "each line below with a connection of its own.",
        "",
        "| what | median | range | runs |",
        "|---|---|---|---|",
    ]
    for name, read in pages.items():
        seconds = []
        for _ in range(5):
            began = time.perf_counter()
            with Journal(path) as opened:
                read(opened)
            seconds.append((time.perf_counter() - began) * 1000)
        lines.append(
            f"| {name} | {median(seconds):.0f} ms | {min(seconds):.0f} to {max(seconds):.0f} ms | 5 |"
        )
    lines += _in_the_inspector(path)
    began = time.perf_counter()
    open_scan(path).to_frame()
    return [*lines, "", f"All rows as a DataFrame: {time.perf_counter() - began:.1f} s."]


def _in_the_inspector(path: Path) -> list[str]:
    """Measure the response of the inspector's controls, until the next 1,000 rows are sent to the browser."""
    from redeepfake_nb.widgets.batch import BatchInspector

    inspector = BatchInspector(journal=path)
    c = inspector.controls
    steps: dict[str, Callable[[], object]] = {
        "open": inspector.open,
        "show those without a label": lambda: setattr(c.filter, "value", "review"),
        "most doubtful first": lambda: setattr(c.order, "value", "doubtful"),
        "next rows": c.next_page.click,
        "path has": lambda: setattr(c.text, "value", "99/clip"),
        "show failed ones": lambda: setattr(c.filter, "value", "failed"),
        "show all": lambda: setattr(c.filter, "value", "all"),
    }
    lines = []
    for name, step in steps.items():
        began = time.perf_counter()
        step()
        lines.append(f"| in the inspector: {name} | {(time.perf_counter() - began) * 1000:.0f} ms | | 1 |")
    return lines


def _outcome(number: int, rng: random.Random) -> dict:
    failed = rng.random() < 0.02
    score = None if failed else rng.betavariate(0.5, 1.0)
    return {
        **dict.fromkeys(("duration", "error", "cause", "next_step", "faces", "width", "height", "format")),
        "status": "failed" if failed else "done",
        "error": "TruncatedMedia" if failed else None,
        "sha256": f"{number:064x}",
        "kind": "image",
        "size_bytes": 50_000,
        "score": score,
        "threshold": 0.5,
        "verdict": None if failed else "fake" if score >= 0.5 else "real",
        "reasons": ["P(fake) at or over 0.50 for 1 of 1 face, highest 0.93"],
        "detail": {"faces": [{"left": 10, "top": 10, "right": 90, "bottom": 90, "probability": score}]},
        "seconds": 0.1,
    }


def main(parts: list[str]) -> None:
    if parts[:1] == ["plain-loop"]:
        print(*plain_loop(Path(parts[1])))
        return
    lines: list[str] = []
    for name, part in (("kills", kills), ("speed", speed), ("journal", journal)):
        if not parts or name in parts:
            with tempfile.TemporaryDirectory(prefix="redeepfake-scan-") as folder:
                lines += [*part(Path(folder)), ""]
    print("\n".join(lines))
    if not parts:
        write_section("Scans", lines)


if __name__ == "__main__":
    main(sys.argv[1:])
