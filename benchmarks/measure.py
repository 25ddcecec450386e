"""Timing and memory measurement: several runs after a warm-up; the two sides of a comparison alternate."""

from __future__ import annotations

import os
import platform
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median


@dataclass(frozen=True)
class Timing:
    """Seconds of every measured run."""

    name: str
    seconds: tuple[float, ...]

    @property
    def median(self) -> float:
        return median(self.seconds)

    def row(self) -> str:
        """A row of a Markdown table: median, lowest, highest, runs."""
        low, high = min(self.seconds), max(self.seconds)
        return f"| {self.name} | {_show(self.median)} | {_show(low)} to {_show(high)} | {len(self.seconds)} |"


@dataclass(frozen=True)
class Ratio:
    """Ratio of the first duration to the second, for each pair of alternating runs."""

    name: str
    first: Timing
    second: Timing

    def row(self) -> str:
        pairs = [a / b for a, b in zip(self.first.seconds, self.second.seconds, strict=True)]
        return f"| {self.name} | {median(pairs):.2f} | {min(pairs):.2f} to {max(pairs):.2f} | {len(pairs)} |"


def timed(name: str, call: Callable[[], object], runs: int = 7, warm_up: int = 2) -> Timing:
    """Time one call."""
    for _ in range(warm_up):
        call()
    return Timing(name, tuple(_seconds(call) for _ in range(runs)))


def compared(
    name: str, first: tuple[str, Callable], second: tuple[str, Callable], runs: int = 9, warm_up: int = 2
) -> Ratio:
    """Time two calls alternately, so that a drift of the machine's speed affects both."""
    for _ in range(warm_up):
        first[1]()
        second[1]()
    pairs = [(_seconds(first[1]), _seconds(second[1])) for _ in range(runs)]
    a, b = zip(*pairs, strict=True)
    return Ratio(name, Timing(first[0], a), Timing(second[0], b))


def command(name: str, arguments: list[str], runs: int = 3) -> Timing:
    """Time a command, from start to exit."""

    def call() -> None:
        subprocess.run(arguments, check=True, capture_output=True)

    return timed(name, call, runs, warm_up=1)


def resident_mib() -> float:
    """Return the resident memory of this process in MiB; its maximum so far where there is no /proc."""
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * resource.getpagesize() / 2**20
    except OSError:
        unit = 2**20 if sys.platform == "darwin" else 2**10
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


def peak_mib() -> float:
    """Return the largest resident memory of this process so far in MiB; 0 where there is no /proc.

    ``getrusage`` counts what the process that started this one had, too.
    """
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0.0
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) / 2**10


def memory_of_children() -> dict[int, tuple[float, float]]:
    """Return the memory of this process's children in MiB: all of it, and what they share with nobody.

    Returns
    -------
    dict
        Process ID -> both; empty where there is no /proc.
    """
    found = {}
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":", 1) for line in status.read_text().splitlines())
            if int(fields["PPid"]) == os.getpid():
                sizes = [int(fields[name].split()[0]) / 2**10 for name in ("VmRSS", "RssAnon")]
                found[int(status.parent.name)] = sizes[0], sizes[1]
        except (OSError, KeyError, ValueError):  # it has just ended, or belongs to the kernel
            continue
    return found


def machine(accelerator: str = "no GPU used") -> list[str]:
    """Describe the machine and the library versions, one line each."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    packages = ("tensorflow", "keras", "ai-edge-litert", "opencv-python", "dlib-bin", "numpy")
    system = f"{platform.system()}, Python {platform.python_version()}"
    return [
        f"{model}, {os.cpu_count()} cores, {accelerator}; {system}",
        ", ".join(f"{p} {_version(p)}" for p in packages),
    ]


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # Colab and Kaggle have distributions of other names
        return "of the host"


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _show(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
