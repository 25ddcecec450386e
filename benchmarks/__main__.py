"""Runs all benchmarks, or those named: ``python -m benchmarks [images video ...]``."""

from __future__ import annotations

import subprocess
import sys

ALL = ("images", "detectors", "explanations", "trust", "video", "scan", "scale")


def main(names: list[str]) -> None:
    # Each in a process of its own, so that none benefits from the caches of another.
    for name in names or ALL:
        if name not in ALL:
            raise SystemExit(f"there is no benchmark {name!r}; choose from {', '.join(ALL)}")
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
