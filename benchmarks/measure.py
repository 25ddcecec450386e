"""How things are timed: several runs after a warm-up, the two sides of a comparison in turn."""

from __future__ import annotations

import os
import platform
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from statistics import median

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"


@dataclass(frozen=True)
class Timing:
    """Seconds of every counted run."""

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
    """How many times as long the first takes as the second, pair by pair."""

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
    """Time two calls in turn, so that a drift of the machine's speed meets both."""
    for _ in range(warm_up):
        first[1]()
        second[1]()
    pairs = [(_seconds(first[1]), _seconds(second[1])) for _ in range(runs)]
    a, b = zip(*pairs, strict=True)
    return Ratio(name, Timing(first[0], a), Timing(second[0], b))


def command(name: str, arguments: list[str], runs: int = 3) -> Timing:
    """Time a command from start to exit."""

    def call() -> None:
        subprocess.run(arguments, check=True, capture_output=True)

    return timed(name, call, runs, warm_up=1)


def machine() -> list[str]:
    """The machine in words, a line each."""
    model = platform.processor() or platform.machine()
    try:
        with open("/proc/cpuinfo") as file:
            model = next(line.split(":")[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        pass
    packages = ("tensorflow", "keras", "tf-keras-vis", "dlib-bin", "opencv-python", "numpy")
    system = f"{platform.system()}, Python {platform.python_version()}"
    return [
        f"{model}, {os.cpu_count()} cores, no GPU used; {system}",
        ", ".join(f"{p} {metadata.version(p)}" for p in packages),
    ]


def sections(page: Path = PAGE) -> str:
    """What stands on the page from its first section on."""
    return "".join(page.read_text(encoding="utf-8").partition("\n## ")[1:]) if page.exists() else ""


def write_section(title: str, lines: list[str], page: Path = PAGE) -> None:
    """Put a section in the place of the one with that title, or at the end of the page."""
    parts = page.read_text(encoding="utf-8").split("\n## ")
    kept = [part for part in parts if not part.startswith(f"{title}\n")]
    text = "\n".join([title, "", *lines]).rstrip() + "\n"
    page.write_text("\n## ".join([*kept, text]), encoding="utf-8")


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def _show(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"
