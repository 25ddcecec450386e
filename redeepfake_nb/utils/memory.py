"""How much memory the machine, or the container, still has."""

from __future__ import annotations

import contextlib
from pathlib import Path


def free_memory() -> int | None:
    """Return the memory still available in bytes, or None where that is unknown."""
    found = []
    with contextlib.suppress(OSError, ValueError, StopIteration), open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable"))
        found.append(int(line.split()[1]) * 1024)
    group = Path("/sys/fs/cgroup")
    with contextlib.suppress(OSError, ValueError):  # "max" where there is no limit
        limit, used = (int((group / f"memory.{name}").read_text()) for name in ("max", "current"))
        stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        found.append(limit - used + int(stat.get("inactive_file", 0)))
    return min(found) if found else None
