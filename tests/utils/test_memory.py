"""Free memory is what the machine has left."""

from __future__ import annotations

from pathlib import Path

import pytest

from redeepfake_nb.utils.memory import free_memory


def test_it_is_part_of_the_machines_memory() -> None:
    if not Path("/proc/meminfo").is_file():
        pytest.skip("the machine does not say how much memory it has")
    lines = Path("/proc/meminfo").read_text().splitlines()
    total = next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemTotal"))
    free = free_memory()
    assert free is not None
    assert 2**20 < free < total
