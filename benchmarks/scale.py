"""Benchmark of very large scans: what the process that calls ``scan``, its journal and Dask's scheduler take.

Nothing is decoded or scored. Sixteen simulated workers answer at once with the outcomes of twenty real files,
so that only the scan itself is measured: listing, scheduling, fingerprints on their way, and the journal. Run
by ``python -m benchmarks.scale``. The largest column is not measured but extrapolated, and says so.
"""

from __future__ import annotations

import csv
import json
import os
import pickle
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

from redeepfake_nb import load_model, scan
from redeepfake_nb.datasets.synthetic import make_sample_folder
from redeepfake_nb.scanning import fingerprints, worker_pool
from redeepfake_nb.scanning.file_scoring import FileScorer, Outcome, ScanSettings
from redeepfake_nb.scanning.fingerprints import Fingerprint, KnownFile
from redeepfake_nb.scanning.worker_pool import Job, JobResult

from .measure import peak_mib, resident_mib
from .page import write_section

ROOT = Path(__file__).resolve().parents[1]
SIZES, TARGET, WORKERS = (10_000, 100_000), 1_000_000, 16
# Files of the measurement on a real scheduler, and the processes and threads that stand for its workers.
DASK_FILES, DASK_PROCESSES = 10_000, 4
# Files that one core scores in a second, for the share of its time that the client is busy.
FILES_PER_SECOND = 5
_OUTCOMES_VARIABLE = "REDEEPFAKE_NB_SIMULATED_OUTCOMES"


# -- simulated workers


@cache
def _outcomes() -> list[Outcome]:
    return pickle.loads(Path(os.environ[_OUTCOMES_VARIABLE]).read_bytes())


def _outcome_of(path: str) -> Outcome:
    outcomes = _outcomes()
    digest = sha256(path.encode()).hexdigest()
    return replace(outcomes[int(digest[:8], 16) % len(outcomes)], sha256=digest)


def simulated_fingerprints(files: Sequence[KnownFile]) -> list[Fingerprint]:
    """Stand for :func:`redeepfake_nb.scanning.fingerprints.fingerprint_files`."""
    found = []
    for file in files:
        outcome = _outcome_of(file.path)
        assert outcome.sha256 is not None
        video = outcome.kind == "video"
        found.append(Fingerprint(file.path, outcome.sha256, outcome.sha256[:40], 200_000, video))
    return found


def simulated_job(job: Job) -> JobResult:
    """Stand for :func:`redeepfake_nb.scanning.worker_pool.run_job`."""
    return [(_outcome_of(path), False) for path in job.paths]


_STAND_INS: dict[str, Callable[..., Any]] = {
    "run_job": simulated_job,
    "fingerprint_files": simulated_fingerprints,
}


class SimulatedWorkers:
    """An executor whose workers answer at once."""

    _max_workers = WORKERS

    def submit(self, work: Callable[..., Any], /, *arguments: Any) -> Future:
        """Return the simulated result of a job or of fingerprints."""
        future: Future = Future()
        future.set_result(_STAND_INS[work.__name__](*arguments))
        return future


def simulate_here() -> None:
    """Let this process, a worker of Dask's, answer at once."""
    worker_pool.run_job = simulated_job
    fingerprints.fingerprint_files = simulated_fingerprints


# -- measurements


def save_outcomes(folder: Path) -> Path:
    """Score twenty small files, pictures, clips and damaged ones, and save their outcomes."""
    files = [str(path) for path in sorted(make_sample_folder(folder / "sample", 20).iterdir())]
    found = dict(FileScorer(load_model(), ScanSettings()).score(files, lambda index: None))
    path = folder / "outcomes.pickle"
    path.write_bytes(pickle.dumps([found[i] for i in range(len(files))]))
    return path


def write_list(folder: Path, files: int) -> Path:
    """Write a list of files that do not exist."""
    path = folder / f"{files}.csv"
    with open(path, "w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["path"])
        rows.writerows([f"/archive/2026/{i // 1000:04d}/clip-{i:07d}.jpg"] for i in range(files))
    return path


def measure(files: int, folder: Path) -> dict[str, float]:
    """Scan a list of files that do not exist with simulated workers, twice, in this process."""
    listed, journal = write_list(folder, files), folder / f"{files}.sqlite"
    scan(write_list(folder, 10), folder / "warm-up.sqlite", executor=SimulatedWorkers())
    before = resident_mib()
    first: list[float] = []

    def progress(done: int, total: int | None) -> None:
        if not first:
            first.append(time.perf_counter() - began)

    began, cpu = time.perf_counter(), time.process_time()
    result = scan(listed, journal, executor=SimulatedWorkers(), progress=progress)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    if result.counts.get("waiting"):
        raise AssertionError(f"{result.counts['waiting']} files were not scored")
    size = journal.stat().st_size
    peak = max(peak_mib(), before)
    again = time.perf_counter()
    scan(listed, journal, executor=SimulatedWorkers())
    return {
        "start": first[0],
        "seconds": seconds / files * 1000,
        "cpu": cpu / files * 1000,
        "again": (time.perf_counter() - again) / files * 1000,
        "memory": peak - before,
        "journal": size / 2**20,
    }


@contextmanager
def dask_processes(folder: Path) -> Iterator[tuple[Any, Any]]:
    """Start a scheduler and workers as processes of their own; give a client, and the scheduler's process."""
    import psutil
    from distributed import Client

    file = folder / "scheduler.json"
    run = [sys.executable, "-m", "dask"]
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": ROOT}
    scheduler = [*run, "scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", str(file)]
    worker = [*run, "worker", "--scheduler-file", str(file), "--local-directory", str(folder)]
    worker += ["--no-nanny", "--no-dashboard", "--nthreads", str(WORKERS // DASK_PROCESSES)]
    commands = [scheduler, *[worker] * DASK_PROCESSES]
    started = [subprocess.Popen(command, **quiet) for command in commands]
    try:
        with Client(scheduler_file=str(file), timeout=120) as client:
            client.wait_for_workers(DASK_PROCESSES, timeout=120)
            yield client, psutil.Process(started[0].pid)
    finally:
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait()


def on_dask(files: int, folder: Path) -> dict[str, float]:
    """Scan a list of files that do not exist on a real scheduler, whose workers answer at once."""
    with dask_processes(folder) as (client, scheduler):
        client.run(simulate_here)
        scan(write_list(folder, 100), folder / "dask-warm-up.sqlite", executor=client)
        before, used = scheduler.memory_info().rss, sum(scheduler.cpu_times()[:2])
        began, cpu = time.perf_counter(), time.process_time()
        scan(write_list(folder, files), folder / "dask.sqlite", executor=client)
        return {
            "seconds": (time.perf_counter() - began) / files * 1000,
            "cpu": (time.process_time() - cpu) / files * 1000,
            "scheduler": (sum(scheduler.cpu_times()[:2]) - used) / files * 1000,
            "memory": (scheduler.memory_info().rss - before) / 2**20,
        }


def _in_a_process(part: str, files: int, folder: Path) -> dict[str, float]:
    """Measure in a new process, whose memory nothing else has used."""
    # Not by -m, because Dask's workers cannot import what belongs to a main module.
    code = "import sys; from benchmarks.scale import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, part, str(files), str(folder)]
    run = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if run.returncode:
        raise SystemExit(run.stderr)
    return json.loads(run.stdout.splitlines()[-1])


# -- the page


def extrapolated(small: dict[str, float], large: dict[str, float]) -> dict[str, float]:
    """Extrapolate to ``TARGET`` files.

    Sizes grow along the line through both measurements; times for 1,000 files change for each tenfold as much
    as they did between both, and never become less.
    """
    slope = (TARGET - SIZES[1]) / (SIZES[1] - SIZES[0])
    found = {key: large[key] + slope * (large[key] - small[key]) for key in ("journal", "memory", "start")}
    for key in ("seconds", "cpu", "again"):
        found[key] = large[key] * max(large[key] / small[key], 1.0)
    return found


_ROWS = (
    ("journal", "journal", "{:,.0f} MiB"),
    ("memory", "client: memory, beyond that of a scan of 10 files", "{:,.0f} MiB"),
    ("start", "client: until the first outcome is in the journal", "{:.1f} s"),
    ("cpu", "client: processor time per 1,000 files", "{:.2f} s"),
    ("seconds", "client: elapsed per 1,000 files, with waiting for the disk", "{:.2f} s"),
    ("again", "the same scan once more, nothing changed, per 1,000 files", "{:.2f} s"),
)


def report(measured: Sequence[dict[str, float]], dask: dict[str, float] | None) -> list[str]:
    """Format the measurements as lines of Markdown."""
    columns = [*measured, extrapolated(*measured)]
    demand = WORKERS * FILES_PER_SECOND
    busy = columns[-1]["seconds"] * demand / 1000
    lines = [
        f"Simulated: {WORKERS} workers answer at once with the outcomes of twenty small files, so that",
        "nothing but the scan itself takes time. One run each. The last column is extrapolated: sizes along",
        "a line, times by the same factor per tenfold.",
        "",
        "| what | " + " | ".join(f"{n:,} files" for n in SIZES) + f" | {TARGET:,} files, extrapolated |",
        "|---" * (len(SIZES) + 2) + "|",
        *(
            f"| {name} | " + " | ".join(style.format(column[key]) for column in columns) + " |"
            for key, name, style in _ROWS
        ),
        "",
        f"{WORKERS} workers that score {FILES_PER_SECOND} files a second each keep the client of {TARGET:,}",
        f"files busy for {busy:.0%} of the time.",
    ]
    if dask is not None:
        lines += [
            "",
            f"With Dask, {DASK_FILES:,} such files took {dask['seconds']:.2f} s per 1,000. Of these its",
            f"scheduler computed for {dask['scheduler']:.2f} s and the client for {dask['cpu']:.2f} s; the",
            f"scheduler's memory grew by {dask['memory']:.0f} MiB. Scheduler, client and {WORKERS} simulated",
            "workers shared the cores of one machine.",
        ]
    return lines


def main(arguments: list[str]) -> None:
    if arguments:
        part, files, folder = arguments
        call = {"measure": measure, "dask": on_dask}[part]
        print(json.dumps(call(int(files), Path(folder))))
        return
    with tempfile.TemporaryDirectory(prefix="redeepfake-scale-") as name:
        folder = Path(name)
        os.environ[_OUTCOMES_VARIABLE] = str(save_outcomes(folder))
        measured = [_in_a_process("measure", files, folder) for files in SIZES]
        try:
            import distributed  # noqa: F401
        except ImportError:
            dask = None
        else:
            dask = _in_a_process("dask", DASK_FILES, folder)
    write_section("Very large scans", report(measured, dask))


if __name__ == "__main__":
    main(sys.argv[1:])
