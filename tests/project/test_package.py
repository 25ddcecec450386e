"""What the package offers, and that offering it costs nothing."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
from pathlib import Path

import pytest
from helpers.public_names import PUBLIC

import redeepfake_nb


def test_public_names_are_those_of_the_list() -> None:
    assert sorted(redeepfake_nb.__all__) == sorted(PUBLIC)
    assert set(PUBLIC) <= set(dir(redeepfake_nb))


@pytest.mark.parametrize("name", sorted(set(PUBLIC) - {"__version__"}))
def test_every_public_name_says_what_it_is(name: str) -> None:
    thing = getattr(redeepfake_nb, name)
    assert inspect.getdoc(thing)
    if inspect.isfunction(thing):
        hints = inspect.get_annotations(thing)
        assert set(inspect.signature(thing).parameters) <= set(hints), "a parameter has no type"
        assert "return" in hints


def test_names_for_type_checkers_are_the_lazy_ones(root: Path) -> None:
    tree = ast.parse((root / "redeepfake_nb" / "__init__.py").read_text())
    imported = {
        alias.name: node.module
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.level
        for alias in node.names
    }
    assert imported == redeepfake_nb._HOME_OF


def test_no_function_shares_a_modules_name(root: Path) -> None:
    """Importing the submodule would else put the module in the function's place."""
    modules = {path.stem for path in (root / "redeepfake_nb").glob("*.py")}
    assert not modules & set(PUBLIC)


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        redeepfake_nb.nothing  # noqa: B018


def test_import_loads_nothing_heavy() -> None:
    code = "import json, sys, redeepfake_nb; print(json.dumps(sorted(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    heavy = {"tensorflow", "keras", "matplotlib", "ipywidgets", "cv2", "dlib", "pandas", "numpy", "sklearn"}
    assert not heavy & set(json.loads(run.stdout))


def test_version_is_that_of_the_project(root: Path) -> None:
    assert f'version = "{redeepfake_nb.__version__}"' in (root / "pyproject.toml").read_text()
