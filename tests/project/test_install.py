"""The several ways to install agree with one another."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

# Where conda-forge calls a package otherwise than PyPI.
CONDA_NAMES = {"opencv-python": "opencv", "dlib-bin": "dlib", "matplotlib": "matplotlib-base"}
# face_recognition stands in the conda environment alone: its PyPI requirements need a compiler.
CONDA_ONLY = {"python", "pip", "face-recognition"}


@pytest.fixture(scope="module")
def project(root: Path) -> dict:
    return tomllib.loads((root / "pyproject.toml").read_text())["project"]


def _ranges(lines: list[str]) -> dict[str, str]:
    requirements = [Requirement(line) for line in lines]
    return {canonicalize_name(r.name): str(r.specifier) for r in requirements}


def test_conda_environment_has_the_ranges_of_pyproject(root: Path, project: dict) -> None:
    entries = yaml.safe_load((root / "environment.yml").read_text())["dependencies"]
    pip = next(entry["pip"] for entry in entries if isinstance(entry, dict))
    conda = _ranges([entry for entry in entries if isinstance(entry, str)] + pip)
    wanted = _ranges(project["dependencies"] + project["optional-dependencies"]["lab"])
    wanted = {CONDA_NAMES.get(name, name): ranges for name, ranges in wanted.items()}

    assert str(Requirement(f"python{project['requires-python']}").specifier) == conda["python"]
    assert {name: conda.get(name) for name in wanted} == wanted
    assert set(conda) - set(wanted) == CONDA_ONLY


def test_constraints_lie_within_the_ranges(root: Path, project: dict) -> None:
    pinned = {}
    for line in (root / "constraints.txt").read_text().splitlines():
        if line.startswith("#"):
            continue
        match = re.fullmatch(r"([A-Za-z0-9._-]+)==(\S+)", line)
        assert match, f"not a plain pin: {line}"
        pinned[canonicalize_name(match[1])] = Version(match[2])
    extras = project["optional-dependencies"]
    for line in [*project["dependencies"], *(line for lines in extras.values() for line in lines)]:
        requirement = Requirement(line)
        assert pinned[canonicalize_name(requirement.name)] in requirement.specifier


def test_face_recognition_is_never_a_requirement(project: dict) -> None:
    """It asks for the source distribution of dlib, which needs a compiler."""
    every = [project["dependencies"], *project["optional-dependencies"].values()]
    names = {canonicalize_name(Requirement(line).name) for lines in every for line in lines}
    assert "face-recognition" not in names
    assert "dlib" not in names


def test_install_files_name_no_host(root: Path) -> None:
    for name in ("constraints.txt", "environment.yml", "Makefile", "pyproject.toml", ".ci/run"):
        assert "://" not in (root / name).read_text(), name
