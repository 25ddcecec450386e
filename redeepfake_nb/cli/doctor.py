"""``redeepfake-nb doctor``: check the installation."""

from __future__ import annotations

import argparse
from typing import Any


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("doctor", help="check the installation")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from ..doctor import examine

    findings = examine()
    for finding in findings:
        print(finding)
    bad = sum(not finding.ok for finding in findings)
    print(f"{bad} problem{'' if bad == 1 else 's'} found" if bad else "no problem found")
    return 1 if bad else 0
