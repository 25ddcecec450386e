"""Imports run in one direction, and heavy libraries stay behind the modules that are meant to know them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "redeepfake_nb"

# A module imports from those to its left and from none to its right; see docs/architecture.md.
ORDER = [
    "hosts",
    "errors",
    "background",
    "writing",
    "backend",
    "files",
    "signatures",
    "containers",
    "page_walks",
    "decoding",
    "media",
    "kinds",
    "completeness",
    "guard",
    "conversion",
    "film_walks",
    "packet_table",
    "disposable",
    "streams",
    "sampling",
    "video",
    "dlib_models",
    "detection",
    "following",
    "faces",
    "preprocessing",
    "dlib_weights",
    "lite_weights",
    "evidence_map",
    "face_network",
    "embedding",
    "lite_network",
    "architectures",
    "cards",
    "graphs",
    "graph_cost",
    "allowlist",
    "hdf5_probe",
    "hdf5_store",
    "model_files",
    "legacy_layers",
    "legacy_operations",
    "legacy",
    "stored_weights",
    "model_building",
    "named_networks",
    "named_models",
    "habits",
    "models",
    "converting",
    "prediction",
    "methods",
    "regions",
    "explanation",
    "comparison",
    "verdict",
    "analysis",
    "aggregation",
    "persons",
    "tracking",
    "video_report",
    "moments",
    "video_analysis",
    "viewing",
    "listing",
    "fingerprints",
    "outcomes",
    "worker_process",
    "workers",
    "sites",
    "journal_file",
    "journal_rows",
    "journal",
    "scan_result",
    "scanning",
    "evaluation",
    "blending",
    "samples",
    "sample_clip",
    "sample_folder",
    "review",
    "file_look",
    "augmentation",
    "recipes",
    "datasets",
    "practice",
    "run_log",
    "landmark_store",
    "identities",
    "batching",
    "network_start",
    "training",
    "scoring",
    "slices",
    "assessment",
    "robustness",
    "removal",
    "stand_in",
    "planted",
    "trust",
    "trust_check",
    "stress",
    "joining",
    "export",
    "label_layout",
    "heat",
    "drawing",
    "explanation_view",
    "dataset_charts",
    "training_charts",
    "video_view",
    "trust_view",
    "view",
    "charts",
    "review_view",
    "markup",
    "page_parts",
    "html_report",
    "annotation",
    "report",
    "judging",
    "controls",
    "closer_look",
    "video_controls",
    "inspecting",
    "video_board",
    "video_inspector",
    "file_grid",
    "key_pad",
    "batch_controls",
    "batch_board",
    "batch_inspector",
    "widgets",
    "doctor",
    "cli",
]

# Library -> who may import it.
KNOWN_BY = {
    "tensorflow": {"backend", "models", "methods", "doctor"},
    "keras": {
        "planted",
        "backend",
        "evidence_map",
        "face_network",
        "lite_network",
        "architectures",
        "allowlist",
        "graph_cost",
        "graphs",
        "model_building",
        "models",
        "named_networks",
        "stored_weights",
        "methods",
        "network_start",
        "training",
        "joining",
        "export",
        "stand_in",
    },
    "tf_keras_vis": {"methods"},
    "matplotlib": {
        "charts",
        "dataset_charts",
        "training_charts",
        "drawing",
        "explanation_view",
        "heat",
        "label_layout",
        "review_view",
        "trust_view",
        "video_view",
        "view",
    },
    "av": {"annotation", "conversion", "sample_clip", "sampling", "streams", "video"},
    "itables": {"file_grid"},
    "anywidget": {"key_pad"},
    "ipywidgets": {
        "batch_controls",
        "closer_look",
        "controls",
        "inspecting",
        "video_board",
        "video_controls",
        "video_inspector",
        "widgets",
        "doctor",
    },
    "IPython": {"inspecting", "widgets"},
    "dlib": {"dlib_models"},
    "distributed": {"sites", "scanning"},
    "fsspec": {"fingerprints"},
    "sqlite3": {"journal_file"},
    "jinja2": {"export", "html_report"},
    "face_recognition": set(),
}


def _imports(module: str) -> list[tuple[str, bool]]:
    """(name, whether it is one of ours) of every import in a module, also inside functions."""
    found = []
    for node in ast.walk(ast.parse((PACKAGE / f"{module}.py").read_text())):
        if isinstance(node, ast.ImportFrom) and node.level:
            names = [node.module] if node.module else [alias.name for alias in node.names]
            found += [(name.split(".")[0], True) for name in names]
        elif isinstance(node, ast.ImportFrom):
            found.append((node.module.split(".")[0], False))
        elif isinstance(node, ast.Import):
            found += [(alias.name.split(".")[0], False) for alias in node.names]
    return found


def test_every_module_has_its_place() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("module", ORDER)
def test_imports_run_one_way(module: str) -> None:
    allowed = set(ORDER[: ORDER.index(module)])
    ours = {name for name, own in _imports(module) if own}
    assert ours <= allowed


@pytest.mark.parametrize("library", KNOWN_BY)
def test_heavy_libraries_are_known_by_few(library: str) -> None:
    users = {module for module in ORDER if (library, False) in _imports(module)}
    assert users <= KNOWN_BY[library]


def test_architecture_page_names_every_module(root: Path) -> None:
    page = (root / "docs" / "architecture.md").read_text()
    assert [module for module in ORDER if f"`{module}`" not in page] == []
