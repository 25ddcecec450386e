"""Updates docs/performance.md, which has one section per benchmark."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from .measure import machine

PAGE = Path(__file__).resolve().parent.parent / "docs" / "performance.md"
_HEAD = """# Performance

Written by `make bench`, one section per module of `benchmarks/`: medians, with the fastest and slowest run.
Sections without a module, on LiteRT, on the shares of a video and on GPUs, are kept as they are. Machines
differ and drift: compare the ratios, measured alternately, rather than the times.
"""


def write_section(title: str, lines: Sequence[str], page: Path = PAGE) -> None:
    """Replace the section with this title, or append it, and print it."""
    old = page.read_text(encoding="utf-8") if page.is_file() else ""
    sections = dict(re.findall(r"^## (.+)\n((?:(?!## ).*\n)*)", old, re.MULTILINE))
    measured = f"Measured on {date.today():%Y-%m-%d}: {'; '.join(machine())}."
    body = "\n".join(["", measured, "", *lines]).rstrip()
    sections[title] = body + "\n\n"
    text = _HEAD + "".join(f"\n## {name}\n{content.rstrip()}\n" for name, content in sections.items())
    page.write_text(text, encoding="utf-8")
    print(f"## {title}\n{body}", flush=True)


def replace_between(page: Path, name: str, lines: Sequence[str]) -> None:
    """Replace what stands on a page between the comments ``<!-- name -->`` and ``<!-- end of name -->``."""
    text = page.read_text(encoding="utf-8")
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(begin)
    _, found, after = rest.partition(end)
    if not found:
        raise SystemExit(f"{page} lacks the comments {begin} and {end}")
    page.write_text("\n".join([before + begin, "", *lines, "", end]) + after, encoding="utf-8")
    print("\n".join(lines), flush=True)
