"""The project's Markdown pages as the tests read them: code blocks, links, headings."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
# Written by hand or made by the project's own commands; the reports below tests/ and build/ are none.
PAGES = sorted(
    {
        *ROOT.glob("*.md"),
        *(ROOT / "docs").rglob("*.md"),
        ROOT / "models" / "default.md",
        ROOT / "data" / "README.md",
    }
)

_FENCE = re.compile(
    r"^(?P<mark><!-- not run: .+ -->\n)?^```(?P<kind>[^\n`]*)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (.+?)\s*#*$", re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A fenced block. ``line`` is that of its first line of code in the page, from 1."""

    kind: str
    code: str
    line: int
    left_out: bool


def blocks(page: Path) -> list[Block]:
    """Every fenced block of a page, in order."""
    text = page.read_text(encoding="utf-8")
    return [
        Block(
            match["kind"].strip(),
            match["code"],
            text.count("\n", 0, match.start("code")) + 1,
            bool(match["mark"]),
        )
        for match in _FENCE.finditer(text)
    ]


def examples(page: Path) -> list[Block]:
    """The Python blocks that are run."""
    return [block for block in blocks(page) if block.kind == "python" and not block.left_out]


def links(page: Path) -> list[str]:
    """Targets of links and pictures, with their anchors; blocks of code are no links."""
    return _LINK.findall(_prose(page))


def anchors(page: Path) -> set[str]:
    """What ``#...`` may name, as GitHub makes it of headings."""
    return {_slug(heading) for heading in _HEADING.findall(_prose(page))}


def _prose(page: Path) -> str:
    return re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def _slug(heading: str) -> str:
    words = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    return re.sub(r"[^\w\- ]", "", words).replace(" ", "-")
