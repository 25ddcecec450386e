"""The built wheel has the model in it, and works away from the checkout."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def _run(*command: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run(command, capture_output=True, text=True, timeout=500, **options)


@pytest.fixture(scope="module")
def wheel(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    # With the backend at hand nothing is fetched; the development extra has it.
    isolation = [] if importlib.util.find_spec("hatchling") is None else ["--no-build-isolation"]
    command = [
        "-m",
        "pip",
        "wheel",
        str(root),
        "--no-deps",
        *isolation,
        "--quiet",
        "--wheel-dir",
        str(folder),
    ]
    run = _run(sys.executable, *command)
    assert run.returncode == 0, run.stderr
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, str], Path]:
    """(environment, folder to run in): our package comes from the wheel alone, the others from here."""
    target, folder = tmp_path_factory.mktemp("site"), tmp_path_factory.mktemp("elsewhere")
    run = _run(
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(target), str(wheel)
    )
    assert run.returncode == 0, run.stderr
    return os.environ | {"PYTHONPATH": str(target), "PYTHONSAFEPATH": "1"}, folder


def test_the_wheel_holds_the_model_and_no_media(root: Path, wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        model = archive.read("redeepfake_nb/_models/default.keras")
        card = json.loads(archive.read("redeepfake_nb/_models/default.json"))
    assert hashlib.sha256(model).hexdigest() == card["sha256"]
    assert "redeepfake_nb/_models/default.md" in names
    recipes = {path.name for path in (root / "models" / "recipes").glob("*.toml")}
    assert {f"redeepfake_nb/_models/recipes/{name}" for name in recipes} <= set(names)
    modules = {path.name for path in (root / "redeepfake_nb").glob("*.py")}
    assert {f"redeepfake_nb/{name}" for name in modules} <= set(names)
    media = (".jpg", ".jpeg", ".png", ".mp4", ".ipynb", ".h5", ".csv", ".zip")
    assert [name for name in names if name.lower().endswith(media)] == []
    assert [name for name in names if not name.startswith("redeepfake_nb")] == []


def test_it_comes_from_the_wheel(root: Path, installed) -> None:
    environment, folder = installed
    code = "from redeepfake_nb.models import loading as m; print(m.__file__); print(m.default_model_path())"
    run = _run(sys.executable, "-c", code, env=environment, cwd=folder)
    assert run.returncode == 0, run.stderr
    for line in run.stdout.splitlines():
        assert Path(line).is_relative_to(environment["PYTHONPATH"])


def test_doctor(installed) -> None:
    environment, folder = installed
    run = _run(sys.executable, "-m", "redeepfake_nb.cli", "doctor", env=environment, cwd=folder)
    assert run.returncode == 0, run.stdout + run.stderr
    assert "default model" in run.stdout
    assert "BAD" not in run.stdout


def test_analyze(installed) -> None:
    from redeepfake_nb.datasets.samples import PORTRAIT_NAME, write_samples

    environment, folder = installed
    write_samples(folder)
    command = ["-m", "redeepfake_nb.cli", "analyze", "--json", PORTRAIT_NAME]
    run = _run(sys.executable, *command, env=environment, cwd=folder)
    assert run.returncode == 0, run.stderr
    report = json.loads(run.stdout)
    assert report["verdict"]["label"] in ("fake", "real", "inconclusive")
    assert len(report["faces"]) == 1
