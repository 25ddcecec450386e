"""Runs every benchmark, or those named: ``python -m benchmarks [images video ...]``."""

from __future__ import annotations

import subprocess
import sys

ALL = ("images", "explanations", "trust", "video", "scan")


def main(names: list[str]) -> None:
    # Each in a process of its own, so that none finds what another has warmed up.
    for name in names or ALL:
        if name not in ALL:
            raise SystemExit(f"no benchmark is called {name!r}; there are {', '.join(ALL)}")
        subprocess.run([sys.executable, "-m", f"benchmarks.{name}"], check=True)


if __name__ == "__main__":
    main(sys.argv[1:])
