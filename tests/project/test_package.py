"""What the package and its sub-packages offer, and that importing them loads no heavy library."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.public_names import PUBLIC, SUBPACKAGES

import redeepfake_nb

# Public faces: the package itself and every sub-package but utils, which is internal.
FACES = ["redeepfake_nb", *(f"redeepfake_nb.{name}" for name in SUBPACKAGES if name != "utils")]
# Libraries that take long to import.
HEAVY = {"tensorflow", "keras", "matplotlib", "ipywidgets", "av", "cv2", "dlib", "pandas", "numpy", "sklearn"}
SLOWEST = {"tensorflow", "keras", "matplotlib", "ipywidgets", "av"}

each_face = pytest.mark.parametrize("face", FACES)
each_subpackage = pytest.mark.parametrize("name", SUBPACKAGES)


def _folder(root: Path, module: str) -> Path:
    return root.joinpath(*module.split("."))


def _stub_names(path: Path) -> list[str]:
    """The names that a stub file re-exports, in order."""
    return [
        alias.asname or alias.name
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]


def test_public_names_are_those_of_the_list() -> None:
    assert sorted({*redeepfake_nb.__all__} - {*SUBPACKAGES, "errors"}) == sorted(PUBLIC)
    assert {*SUBPACKAGES, "errors"} - {"utils"} <= set(redeepfake_nb.__all__)
    assert set(redeepfake_nb.__all__) - {"__version__"} <= set(dir(redeepfake_nb))


def test_every_folder_is_a_listed_subpackage(root: Path) -> None:
    folders = {path.parent.name for path in (root / "redeepfake_nb").glob("*/__init__.py")}
    assert folders - {"cli"} == set(SUBPACKAGES), "the command line is run, not imported"


@each_face
def test_every_name_of_a_face_resolves(root: Path, face: str) -> None:
    module = importlib.import_module(face)
    stub = _stub_names(_folder(root, face) / "__init__.pyi")
    assert len(set(stub)) == len(stub), "a name stands in the stub twice"
    assert set(module.__all__) - {"__version__"} == set(stub)
    for name in module.__all__:
        assert getattr(module, name) is not None, name


@each_face
def test_every_public_function_and_class_is_documented(face: str) -> None:
    module = importlib.import_module(face)
    for name in module.__all__:
        thing = getattr(module, name)
        if inspect.isfunction(thing) or inspect.isclass(thing):
            assert inspect.getdoc(thing), f"{face}.{name}"


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"__version__"}))
def test_every_public_name_is_documented_and_typed(name: str) -> None:
    thing = getattr(redeepfake_nb, name)
    assert inspect.getdoc(thing)
    if inspect.isfunction(thing):
        hints = inspect.get_annotations(thing)
        assert set(inspect.signature(thing).parameters) <= set(hints), "a parameter has no type"
        assert "return" in hints


@each_face
def test_the_docstring_of_a_face_has_two_sentences(face: str) -> None:
    doc = importlib.import_module(face).__doc__ or ""
    assert len(re.findall(r"[.!?](?=\s|$)", doc)) >= 2


@each_face
def test_no_submodule_bears_a_name_of_its_face(root: Path, face: str) -> None:
    """Importing the submodule would put the module in the place of the function."""
    folder = _folder(root, face)
    files = {*folder.glob("*.py"), *folder.glob("*/__init__.py")} - {folder / "__init__.py"}
    modules = {path.parent.name if path.name == "__init__.py" else path.stem for path in files}
    subpackages = {*SUBPACKAGES, "errors"} if face == "redeepfake_nb" else set()
    assert not (modules - subpackages) & set(importlib.import_module(face).__all__)


@each_face
def test_unknown_name_is_an_attribute_error(face: str) -> None:
    with pytest.raises(AttributeError, match="nothing"):
        importlib.import_module(face).nothing  # noqa: B018


def _loaded_by(statement: str) -> set[str]:
    code = f"import json, sys, {statement}; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(json.loads(run.stdout))


def test_importing_the_package_loads_nothing_heavy() -> None:
    assert not HEAVY & _loaded_by("redeepfake_nb")


@each_subpackage
def test_importing_a_subpackage_loads_nothing_heavy(name: str) -> None:
    assert not SLOWEST & _loaded_by(f"redeepfake_nb.{name}")


def test_type_information_is_shipped(root: Path) -> None:
    assert (root / "redeepfake_nb" / "py.typed").is_file()


def test_version_is_that_of_the_project(root: Path) -> None:
    assert f'version = "{redeepfake_nb.__version__}"' in (root / "pyproject.toml").read_text()
