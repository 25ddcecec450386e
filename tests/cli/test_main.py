"""The command as a process, and what all commands share."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from redeepfake_nb import (
    __version__,
)
from redeepfake_nb.cli import main


def test_version(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"redeepfake-nb {__version__}\n"


@pytest.mark.slow
def test_command_prints_only_its_result(portrait: Path) -> None:
    """In a process of its own: default model, one face, empty standard error."""
    run = subprocess.run(
        [sys.executable, "-m", "redeepfake_nb.cli", "analyze", str(portrait), "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert run.stderr == ""
    assert len(json.loads(run.stdout)["faces"]) == 1
