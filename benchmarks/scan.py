"""Scans: killed at random moments, on one and two processes, on a Dask cluster; a journal of 100,000 rows.

Run by ``python -m benchmarks.scan [kills] [speed] [journal]``, by default all three. The kills use a network
of a few weights, since they are about the journal; the speeds use the model that ships. Dask is measured
where it is installed. Prints what it measured; where it did all
three, it also writes that into ``docs/performance.md``.
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

from page import write_section

from redeepfake_nb import Card, Classifier, Journal, Preprocessing, ScanResult, open_scan, save_model, scan
from redeepfake_nb.datasets.synthetic import write_sample_folder
from redeepfake_nb.scanning.records import Filter

FILES, KILLS, RUNS, ROWS = 200, 40, 3, 100_000
# Speeds are counted from when this share of the files is done: before, models are being loaded.
_WARM = 0.25


def tiny_model(folder: Path) -> Path:
    """A network of a few weights that needs next to no time."""
    import keras

    image = keras.Input((32, 32, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Rescaling(1 / 255)(image))
    keras.utils.set_random_seed(0)
    model = keras.Model(image, keras.layers.Dense(1)(pooled))
    card = Card(name="tiny", version="1", preprocessing=Preprocessing(input_size=32), temperature=1.0)
    return save_model(Classifier(model, card), folder / "tiny.keras")


# -- kills


def kills(folder: Path, count: int = KILLS, seed: int = 0) -> list[str]:
    """Kill the whole process group at random moments, go on, and compare with a run nobody disturbed."""
    files, model = write_sample_folder(folder / "files", FILES), tiny_model(folder)
    began = time.perf_counter()
    whole = table(scan(files, folder / "whole.sqlite", model, workers=2, frames=8))
    length = time.perf_counter() - began
    chance, done, rounds, lost = random.Random(seed), 0, 0, 0
    caught: list[int] = []
    journal = folder / "killed-0.sqlite"
    while done < count:
        process = _begin(files, journal, model)
        try:
            process.wait(chance.uniform(0, length))
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            done += 1
            settled = _checked(journal)
            lost += settled < (caught[-1] if caught else 0)
            caught.append(settled)
            continue
        if process.returncode not in (0, 1):
            raise AssertionError(f"a scan ended with {process.returncode}")
        _compare(whole, open_scan(journal), journal)
        rounds += 1
        caught.append(0)
        journal = folder / f"killed-{rounds}.sqlite"
    _compare(whole, scan(files, journal, model, workers=2, frames=8), journal)
    if lost:
        raise AssertionError(f"after {lost} kills fewer files were done than before")
    between = sum(0 < n < FILES for n in caught)
    return [
        f"{FILES} mixed small files, {count} times `kill -9` of the whole process group at random moments of",
        f"a run, {between} of them with a part of the files done. {rounds + 1} journals were brought to an",
        "end: all tables equal that of an undisturbed run to the last bit but for times, none was damaged.",
    ]


def table(result: ScanResult) -> list[tuple]:
    """All that must not differ, each file's details included."""
    with Journal(result.journal) as book:
        return [
            (replace(row, seconds=None, scored_at=None), row.sha256 and book.detail(result.scan, row.sha256))
            for row in book.page(result.scan, limit=None)
        ]


def _compare(whole: list[tuple], result: ScanResult, journal: Path) -> None:
    if table(result) != whole:
        raise AssertionError(f"{journal.name}: the table differs from the undisturbed run's")
    _checked(journal)


def _begin(files: Path, journal: Path, model: Path) -> subprocess.Popen:
    command = [sys.executable, "-m", "redeepfake_nb.cli", "scan", str(files), "--journal", str(journal)]
    command += ["--model", str(model), "--frames", "8", "--workers", "2"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    return subprocess.Popen(command, start_new_session=True, **quiet)


def _checked(journal: Path) -> int:
    """How many files are done in a journal that was left in whatever state; it must be whole."""
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


def speed(folder: Path, runs: int = RUNS) -> list[str]:
    """Files per second of the bare functions, one process, two, and a Dask cluster of two, in turn."""
    files = write_sample_folder(folder / "files", FILES)
    sides: dict[str, Callable[[int], tuple[float, float]]] = {
        "bare functions in a loop": lambda i: _bare(files),
        "scan, 1 process": lambda i: _scanned(files, folder / f"one-{i}.sqlite", workers=1),
        "scan, 2 processes": lambda i: _scanned(files, folder / f"two-{i}.sqlite", workers=2),
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
        f"{FILES} mixed small files, the model that ships, one thread per process. *Warm*: from when a",
        "quarter of the files is done. *Whole*: with starting the processes and loading the model in each.",
        "",
        "| what | warm, files/s | range | whole | range | runs |",
        "|---|---|---|---|---|---|",
    ]
    for name, pairs in found.items():
        rates, walls = zip(*pairs, strict=True)
        lines.append(
            f"| {name} | {median(rates):.2f} | {min(rates):.2f} to {max(rates):.2f} | {median(walls):.1f} s "
            f"| {min(walls):.1f} to {max(walls):.1f} s | {runs} |"
        )
    pairs = [("scan, 2 processes", "scan, 1 process"), ("scan, 1 process", "bare functions in a loop")]
    pairs += [("scan, Dask cluster of 2", "scan, 2 processes")] if distributed else []
    lines += ["", "| ratio of warm speeds | median | range | pairs |", "|---|---|---|---|"]
    for first, second in pairs:
        ratios = [a / b for (a, _), (b, _) in zip(found[first], found[second], strict=True)]
        lines.append(
            f"| {first} / {second} | {median(ratios):.2f} | {min(ratios):.2f} to {max(ratios):.2f} | {runs} |"
        )
    return lines


class _Pace:
    """Notes when a share of the files is done."""

    def __init__(self) -> None:
        self.at: list[tuple[float, int]] = [(time.perf_counter(), 0)]

    def __call__(self, done: int, total: int | None) -> None:
        self.at.append((time.perf_counter(), done))

    def result(self) -> tuple[float, float]:
        """Files per second once warm, and seconds in all."""
        last, done = self.at[-1]
        first, before = next(entry for entry in self.at if entry[1] >= _WARM * done)
        return (done - before) / (last - first), last - self.at[0][0]


def _scanned(files: Path, journal: Path, **where: object) -> tuple[float, float]:
    pace = _Pace()
    scan(files, journal, progress=pace, **where)
    return pace.result()


def _on_dask(files: Path, journal: Path, distributed: object) -> tuple[float, float]:
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        distributed.Client(cluster) as client,
    ):
        return _scanned(files, journal, executor=client)


def _bare(files: Path) -> tuple[float, float]:
    """In a fresh process with one thread, as a person would write it."""
    limits = dict.fromkeys(("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"), "1")
    command = [sys.executable, "-m", "benchmarks.scan", "bare", str(files)]
    run = subprocess.run(command, env=os.environ | limits, capture_output=True, text=True, check=True)
    warm, whole = run.stdout.split()
    return float(warm), float(whole)


def bare(files: Path) -> tuple[float, float]:
    """The plain functions over the same files; copies are scored as often as they occur."""
    import cv2

    from redeepfake_nb import RedeepfakeError, analyze_image, analyze_video, load_model
    from redeepfake_nb.media.file_types import is_video

    pace = _Pace()
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
        pace(number, None)
    return pace.result()


# -- the journal


def journal(folder: Path, rows: int = ROWS) -> list[str]:
    """Opening, filtering, sorting and paging a large journal, cold connections each time."""
    path, chance = folder / "large.sqlite", random.Random(0)
    with Journal(path, create=True) as book:
        began = time.perf_counter()
        names = [f"/archive/{i // 1000:03d}/clip-{i:06d}.jpg" for i in range(rows)]
        settings = {"frames": 32, "threshold": 0.5, "detector": "hog", "margin": None}
        made = book.begin(names, "d", settings, {"sha256": "m", "name": "m", "version": "1"}, {})
        entered = time.perf_counter() - began
        with book.transaction():
            for entry in book.entries(made):
                book.record(made, _outcome(entry.id, chance), [(entry.id, None)])
        for i in range(0, rows, 1000):
            book.set_label(f"{i + 1:064x}", "fake")
    pages: dict[str, Callable[[Journal], object]] = {
        "open, first page": lambda j: j.page(j.scan(), limit=50),
        "count of all": lambda j: j.count(j.scan()),
        "summary": lambda j: j.tally(j.scan()),
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
            with Journal(path) as book:
                read(book)
            seconds.append((time.perf_counter() - began) * 1000)
        lines.append(
            f"| {name} | {median(seconds):.0f} ms | {min(seconds):.0f} to {max(seconds):.0f} ms | 5 |"
        )
    lines += _in_the_inspector(path)
    began = time.perf_counter()
    open_scan(path).to_frame()
    return [*lines, "", f"All rows as a DataFrame: {time.perf_counter() - began:.1f} s."]


def _in_the_inspector(path: Path) -> list[str]:
    """What a person waits for at a control, until the next 1,000 rows are on their way to the browser."""
    from redeepfake_nb.widgets.batch import BatchInspector

    inspector = BatchInspector(journal=path)
    c = inspector.controls
    steps: dict[str, Callable[[], object]] = {
        "open": inspector.open,
        "show those without a label": lambda: setattr(c.view, "value", "review"),
        "most doubtful first": lambda: setattr(c.order, "value", "doubtful"),
        "next rows": c.forth.click,
        "path has": lambda: setattr(c.text, "value", "99/clip"),
        "show failed ones": lambda: setattr(c.view, "value", "failed"),
        "show all": lambda: setattr(c.view, "value", "all"),
    }
    lines = []
    for name, step in steps.items():
        began = time.perf_counter()
        step()
        lines.append(f"| in the inspector: {name} | {(time.perf_counter() - began) * 1000:.0f} ms | | 1 |")
    return lines


def _outcome(number: int, chance: random.Random) -> dict:
    failed = chance.random() < 0.02
    score = None if failed else chance.betavariate(0.5, 1.0)
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
    if parts[:1] == ["bare"]:
        print(*bare(Path(parts[1])))
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
