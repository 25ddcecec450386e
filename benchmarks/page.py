"""docs/performance.md: one section for each benchmark, replaced when that benchmark is run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from measure import machine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
_HEAD = """# Performance

Written by `make bench`, a section by each module of `benchmarks/`: medians, with the lowest and highest run.
Machines differ and drift: compare the ratios, which were measured in turn, rather than the times.
"""


def write_section(title: str, lines: Sequence[str], page: Path = PAGE) -> None:
    """Put a section into the page, in the place of the one with its title or at the end; print it."""
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", old, re.MULTILINE))
    measured = f"Measured on {date.today():%Y-%m-%d}: {'; '.join(machine())}."
    body = "\n".join(["", measured, "", *lines]).rstrip()
    sections[title] = body + "\n\n"
    text = _HEAD + "".join(f"\n## {name}\n{content.rstrip()}\n" for name, content in sections.items())
    page.write_text(text, encoding="utf-8")
    print(f"## {title}\n{body}", flush=True)
