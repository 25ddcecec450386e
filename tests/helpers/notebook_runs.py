"""Notebooks executed from top to bottom, and what is asked of their outputs."""

from __future__ import annotations

import base64
from pathlib import Path

import nbformat
from nbclient import NotebookClient

FOLDER = Path(__file__).resolve().parents[2] / "notebooks"
# Fewest pictures that a run shows.
FIGURES = {
    "00_app.ipynb": 0,
    "01_image.ipynb": 5,
    "02_video.ipynb": 3,
    "03_explain.ipynb": 8,
    "04_evaluate.ipynb": 8,
    "06_batch.ipynb": 1,
}


def read(name: str) -> nbformat.NotebookNode:
    return nbformat.read(FOLDER / name, as_version=4)


def run(name: str, folder: Path, **parameters: object) -> nbformat.NotebookNode:
    """Execute a copy in ``folder``, with parameters set after the cell tagged so, as papermill does."""
    notebook = read(name)
    settings = "\n".join(f"{key} = {value!r}" for key, value in parameters.items())
    notebook.cells.insert(3, nbformat.v4.new_code_cell(settings))
    client = NotebookClient(
        notebook, timeout=500, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    return notebook


def check_outputs(name: str, notebook: nbformat.NotebookNode) -> None:
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    assert [o for o in outputs if o.output_type == "error"] == []
    # Warnings are noise to whoever reads the notebook. What libraries write past Python does not show here:
    # ipykernel leaves it alone when it runs under pytest.
    assert [o.text for o in outputs if o.output_type == "stream" and o.name == "stderr"] == []
    shown = [o.data for o in outputs if "data" in o]
    assert sum("image/png" in data for data in shown) >= FIGURES.get(name, 1)
    if "Inspector(" in notebook.cells[-1].source or "App(" in notebook.cells[-1].source:
        assert "application/vnd.jupyter.widget-view+json" in shown[-1]
    # An inspector that nobody has used yet holds no picture.
    states = notebook.metadata.get("widgets", {}).get("application/vnd.jupyter.widget-state+json", {})
    for widget in states.get("state", {}).values():
        # The code that libraries send along has icons.
        values = {key: value for key, value in widget.state.items() if key not in ("_esm", "_css")}
        held = f"{values}{widget.get('buffers', '')}"
        assert "image/png" not in held
        assert base64.b64encode(b"\x89PNG\r\n\x1a\n")[:10].decode() not in held
