"""An environment with the versions that Colab has: the first cell leaves them alone, and everything runs.

The host's Python is the one that runs the tests; where no index of packages can be reached, or its wheels do
not exist for this Python, the tests are skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# Of Colab in autumn 2026, as far as they matter here, and what it takes to run a notebook and tests in it.
HOST = ["tensorflow==2.20.*", "keras==3.13.*", "numpy==2.1.*", "ipywidgets==7.7.1", "pandas", "matplotlib"]
HOST += ["opencv-python", "scikit-learn", "ipykernel", "nbclient", "pytest", "pytest-timeout"]
RUN = """
import sys, nbformat
from nbclient import NotebookClient
notebook = nbformat.read(sys.argv[1], 4)
# As docs/quickstart.md says of data attached on Kaggle.
notebook.cells.insert(1, nbformat.v4.new_code_cell("%run ../redeepfake_nb/hosts.py"))
place = {"metadata": {"path": sys.argv[2]}}
NotebookClient(notebook, timeout=400, kernel_name="python3", resources=place).execute()
for cell in notebook.cells:
    for output in cell.get("outputs", ()):
        print(output.get("text", ""))
"""


class Host:
    """A virtual environment, and a copy of the project beside it that is installed nowhere."""

    def __init__(self, folder: Path, root: Path) -> None:
        self.bin, self.project = folder / "env" / "bin", folder / "input" / "redeepfake"
        subprocess.run([sys.executable, "-m", "venv", folder / "env"], check=True)
        for name in ("redeepfake_nb", "models", "notebooks", "tests"):
            shutil.copytree(root / name, self.project / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(root / "pyproject.toml", self.project)
        self.work = folder / "working"
        self.work.mkdir()

    def run(self, *command: object, cwd: Path | None = None) -> subprocess.CompletedProcess:
        kept = ("HOME", "LANG", "PIP_", "SSL_", "REQUESTS_", "http", "HTTP", "no_proxy", "NO_PROXY")
        environment = {key: value for key, value in os.environ.items() if key.startswith(kept)}
        environment |= {"PATH": f"{self.bin}{os.pathsep}{os.environ['PATH']}", "TF_CPP_MIN_LOG_LEVEL": "3"}
        return subprocess.run(
            [self.bin / "python", *command],
            cwd=cwd or self.work,
            env=environment,
            capture_output=True,
            text=True,
        )

    def versions(self) -> dict[str, str]:
        listed = self.run("-m", "pip", "list", "--format", "json", "--disable-pip-version-check")
        return {entry["name"].lower(): entry["version"] for entry in json.loads(listed.stdout)}


@pytest.fixture(scope="module")
def host(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Host:
    made = Host(tmp_path_factory.mktemp("colab"), root)
    pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary", ":all:"]
    done = made.run(*pip, "--retries", "1", *HOST)
    if done.returncode:
        pytest.skip(f"no such host can be made here: {done.stderr.strip().splitlines()[-1][:200]}")
    done = made.run("-m", "ipykernel", "install", "--sys-prefix")
    assert done.returncode == 0, done.stderr
    return made


@pytest.fixture(scope="module")
def used(host: Host) -> tuple[Host, dict[str, str], str]:
    """The host, its versions before, and what the notebook said, whose first cell filled what was missing."""
    before = host.versions()
    notebook = host.project / "notebooks" / "01_image.ipynb"
    done = host.run("-c", RUN, notebook, notebook.parent)
    assert done.returncode == 0, done.stderr[-3000:]
    return host, before, done.stdout


def test_the_first_cell_changes_nothing_of_the_hosts(used: tuple[Host, dict[str, str], str]) -> None:
    host, before, _ = used
    after = host.versions()
    assert {name: after.get(name) for name in before} == before
    assert before["ipywidgets"] == "7.7.1"
    assert {"tf-keras-vis", "anywidget", "itables", "av"} <= set(after) - set(before)
    # The package itself is used where it lies.
    assert "redeepfake-nb" not in after


def test_the_notebook_says_the_same_there(used: tuple[Host, dict[str, str], str]) -> None:
    _, _, said = used
    assert re.search(r"Installing .*anywidget", said)
    assert "No sign of manipulation found (threshold 0.50)" in said


def test_widgets_work_there(used: tuple[Host, dict[str, str], str]) -> None:
    host, _, _ = used
    tests = [f"tests/widgets/test_{name}.py" for name in ("image", "explanation_panel", "batch", "keyboard")]
    # Libraries that are not used together elsewhere warn of one another.
    quiet = ["-W", "ignore::DeprecationWarning"]
    done = host.run("-m", "pytest", "-q", "-p", "no:cacheprovider", *quiet, *tests, cwd=host.project)
    assert done.returncode == 0, done.stdout[-4000:]


def test_doctor_finds_nothing_wrong_there(used: tuple[Host, dict[str, str], str]) -> None:
    host, _, _ = used
    done = host.run("-m", "redeepfake_nb.cli", "doctor", cwd=host.project)
    assert "tensorflow               2.20" in done.stdout, done.stderr
    assert [line for line in done.stdout.splitlines() if line.startswith("BAD")] == []
