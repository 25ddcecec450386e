"""Every notebook runs top to bottom, unattended, and is committed without outputs."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys

import nbformat
import pytest
from helpers.notebook_runs import FOLDER, check_outputs, read, run
from helpers.public_names import SUBPACKAGES

from redeepfake_nb.datasets.samples import write_samples
from redeepfake_nb.errors import ModelIncomplete
from redeepfake_nb.models.loading import default_model_path, save_model

NOTEBOOKS = sorted(path.name for path in FOLDER.glob("*.ipynb"))

each = pytest.mark.parametrize("name", NOTEBOOKS)
# Keras 3 says this under NumPy 2 while it saves a model.
saving = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")


def plain(source: str) -> str:
    """Code without the lines that only IPython understands."""
    return re.sub(r"^(\s*)[%!].*$", r"\1pass", source, flags=re.MULTILINE)


def test_there_are_notebooks():
    assert "01_image.ipynb" in NOTEBOOKS


@each
def test_committed_clean(name):
    notebook = read(name)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) == (4, 5)
    assert notebook.metadata.kernelspec.name == "python3"
    assert "widgets" not in notebook.metadata
    for cell in notebook.cells:
        assert cell.id
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None
        assert not cell.get("attachments")


@each
def test_the_first_three_cells(name):
    first, second, third = read(name).cells[:3]
    assert first.cell_type == "markdown"
    for word in ("# ", "**Purpose.**", "**Run time.**", "**Limits.**", "**Setup.**", "[Colab](", "[Kaggle]("):
        assert word in first.source
    assert first.source.count(f"/notebooks/{name}") == 2
    # What it does is tested in tests/test_hosts.py.
    assert second.source.splitlines()[-1].startswith("hosts.prepare()")
    assert third.metadata.tags == ["parameters"]
    tree = ast.parse(third.source)
    assert tree.body
    for statement in tree.body:
        assert isinstance(statement, ast.Assign)
        ast.literal_eval(statement.value)


def code_of(name):
    """The syntax trees of the code cells after the setup cell."""
    return [ast.parse(plain(cell.source)) for cell in read(name).cells[2:] if cell.cell_type == "code"]


@each
def test_cells_hold_no_program(name):
    """Neither definitions nor loops nor branches: those belong into the package, where they are tested."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)
    kinds += (ast.For, ast.While, ast.If, ast.Try, ast.comprehension)
    for tree in code_of(name):
        assert [ast.unparse(node) for node in ast.walk(tree) if isinstance(node, kinds)] == []


@each
def test_cells_import_public_names_only(name):
    """From the package or the face of a sub-package, so that notebooks show how others would write."""
    for tree in code_of(name):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.startswith("redeepfake_nb")]
            elif isinstance(node, ast.ImportFrom) and node.module.partition(".")[0] == "redeepfake_nb":
                subpackage = node.module.partition(".")[2]
                assert node.level == 0
                assert not subpackage or subpackage in SUBPACKAGES, node.module
                assert {alias.name for alias in node.names} <= set(
                    importlib.import_module(node.module).__all__
                )


@each
def test_nothing_is_loaded_from_elsewhere_when_a_notebook_is_opened(name):
    for cell in read(name).cells:
        if cell.cell_type == "markdown":
            assert not re.search(r"!\[|<(?:img|script|iframe|video|audio|link)\b", cell.source)


@each
def test_code_is_introduced(name):
    """No two code cells without a word between them, the opening ones aside; each has something to say."""
    cells = read(name).cells
    assert all(cell.source.strip() for cell in cells)
    kinds = "".join(cell.cell_type[0] for cell in cells[3:])
    assert kinds.startswith("m")
    assert "ccc" not in kinds


@each
@saving
def test_runs_with_a_small_model(name, classifier, tmp_path):
    if "MODEL = " not in read(name).cells[2].source:
        pytest.skip("it makes its own model")
    model = save_model(classifier, tmp_path / "small.keras")
    check_outputs(name, run(name, tmp_path, MODEL=str(model)))


def test_papermill_sets_parameters(classifier, tmp_path):
    """As people run it over many pictures: another picture, model and threshold, by the command."""
    model = save_model(classifier, tmp_path / "small.keras")
    _, manipulated = write_samples(tmp_path)
    made = tmp_path / "made.ipynb"
    values = {"SOURCE": manipulated, "MODEL": model, "THRESHOLD": 0.25}
    options = [part for name, value in values.items() for part in ("-p", name, str(value))]
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "papermill",
            FOLDER / "01_image.ipynb",
            made,
            "-k",
            "python3",
            "--cwd",
            tmp_path,
            *options,
        ],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    notebook = nbformat.read(made, as_version=4)
    tags = [tag for cell in notebook.cells for tag in cell.metadata.get("tags", ())]
    assert tags == ["parameters", "injected-parameters"]
    said = "".join(o.get("text", "") for cell in notebook.cells for o in cell.get("outputs", ()))
    assert "(threshold 0.25)" in said


@each
def test_runs_with_the_model_that_ships(name, tmp_path):
    try:
        default_model_path()
    except ModelIncomplete:
        pytest.skip("the model that ships is not here")
    check_outputs(name, run(name, tmp_path))
