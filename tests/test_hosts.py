"""Hosts with their own TensorFlow: installed packages stay as they are, and failures say what to do."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import types
import zipfile
from pathlib import Path

import lazy_loader
import pytest

import redeepfake_nb
from redeepfake_nb import hosts
from redeepfake_nb.hosts import UnmetRequirement, prepare, unmet_requirements

NOTHING = {
    "PIP_NO_INDEX": "1",
    "PIP_FIND_LINKS": "",
    "PIP_EXTRA_INDEX_URL": "",
    "PIP_CONFIG_FILE": os.devnull,
}


@pytest.fixture(autouse=True)
def _this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setenv("PYTHONPATH", "")


def project(folder: Path, *requirements: str) -> Path:
    """Make a checkout with these requirements."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "pyproject.toml").write_text(f"[project]\ndependencies = {json.dumps(requirements)}\n")
    return folder


def wheel(folder: Path, name: str, version: str = "1.0") -> Path:
    """Make a wheel of a package with one line of code."""
    folder.mkdir(parents=True, exist_ok=True)
    path, info = folder / f"{name}-{version}-py3-none-any.whl", f"{name}-{version}.dist-info"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr(f"{name}.py", f"version = {version!r}\n")
        file.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        pure = "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        file.writestr(f"{info}/WHEEL", pure)
        file.writestr(f"{info}/RECORD", "")
    return path


# ------------------------------------------------------------------ unmet requirements


def test_unmet_requirements() -> None:
    here = {"numpy": "2.1.3", "ipywidgets": "7.7.1", "keras": "3.13.2", "tf-keras-vis": "0.8.7rc1"}
    wanted = [
        "numpy>=1.26",
        "ipywidgets>=7.7,<9",
        "keras>=4",
        "av>=17.1",
        "TF_keras.vis>=0.8",
        "setuptools<81",
    ]
    assert unmet_requirements(wanted, here) == [
        UnmetRequirement("keras>=4", "keras 3.13.2"),
        UnmetRequirement("av>=17.1"),
    ]


def test_any_build_of_dlib_and_opencv_is_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    # dlib and cv2 can be imported here: on Colab they belong to other distributions.
    assert unmet_requirements(["dlib-bin>=19.24", "opencv-python>=4.9"], {}) == []
    monkeypatch.setattr(hosts.importlib.util, "find_spec", lambda name: None)
    assert unmet_requirements(["dlib-bin>=19.24"], {}) == [UnmetRequirement("dlib-bin>=19.24")]


def test_prepare_with_all_requirements_installed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip must not run"))
    assert prepare(root) == []
    # Worker processes of scans find the package too.
    assert os.environ["PYTHONPATH"].split(os.pathsep)[0] == str(root)


def test_prepare_leaves_an_installed_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip must not run"))
    before = list(sys.path)
    assert prepare(tmp_path) == []
    assert sys.path == before


def test_prepare_raises_on_an_outdated_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: pytest.fail("pip must not run"))
    with pytest.raises(RuntimeError, match=r"numpy [\d.]+ where numpy>=99 is needed.*left alone"):
        prepare(project(tmp_path, "numpy>=99", "not-there"))


def test_pip_keeps_the_installed_versions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commands, constraints = [], []

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess:
        commands.append(command)
        constraints.append(Path(command[command.index("--constraint") + 1]).read_text())
        return subprocess.CompletedProcess(command, 0, "", "")

    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(hosts, "ATTACHED", tmp_path / "nothing")
    assert prepare(project(tmp_path / "p", "not-there>=1", "numpy")) == ["not-there>=1"]
    [command] = commands
    assert command[:4] == [sys.executable, "-m", "pip", "install"]
    assert command[command.index("--only-binary") + 1] == ":all:"
    assert command[-1] == "not-there>=1"
    import ipywidgets
    import numpy

    assert f"numpy=={numpy.__version__}\n" in constraints[0]
    assert f"ipywidgets=={ipywidgets.__version__}\n" in constraints[0]


def test_own_wheels_come_before_attached_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data, own = tmp_path / "input", tmp_path / "p"
    wheel(data / "set" / "deep" / "wheels", "one")
    wheel(data / "set" / "a" / "b" / "c", "too_deep")
    wheel(own / "wheels", "mine")
    monkeypatch.setattr(hosts, "ATTACHED", data)
    assert hosts.wheel_folders(own) == [own / "wheels", data / "set" / "deep" / "wheels"]


def test_third_party_widgets_are_enabled_on_colab(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = []
    output = types.SimpleNamespace(enable_custom_widget_manager=lambda: calls.append(1))
    colab = types.ModuleType("google.colab")
    colab.output = output
    monkeypatch.setitem(sys.modules, "google.colab", colab)
    prepare(tmp_path)
    assert calls == [1]


# ------------------------------------------------------------------ a host without internet access


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Python of a virtual environment with pip alone."""
    folder = tmp_path_factory.mktemp("bare")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    return folder / "bin" / "python"


def prepared(python: Path, root: Path, project: Path, attached: Path) -> subprocess.CompletedProcess:
    """Run ``prepare`` in that environment, without a package index."""
    code = (
        f"import sys; sys.path.insert(0, {str(root / 'redeepfake_nb')!r})\n"
        "from pathlib import Path\n"
        "import hosts\n"
        f"hosts.ATTACHED = Path({str(attached)!r})\n"
        f"print(hosts.prepare(Path({str(project)!r})))\n"
        "import tiny_a, tiny_b; print(tiny_a.version, tiny_b.version)\n"
    )
    environment = {**os.environ, **NOTHING, "PYTHONPATH": ""}
    return subprocess.run([python, "-c", code], capture_output=True, text=True, env=environment)


@pytest.mark.slow
def test_offline_from_attached_wheels(bare: Path, root: Path, tmp_path: Path) -> None:
    attached = tmp_path / "input"
    wheel(attached / "some-data", "tiny_a")
    for version in ("1.0", "2.0"):
        wheel(attached / "some-data", "tiny_b", version)
    # The host has an older version that meets the requirement and stays, though a newer one is attached.
    subprocess.run(
        [bare, "-m", "pip", "install", "-q", "--no-index", wheel(tmp_path / "x", "tiny_b")], check=True
    )
    made = project(tmp_path / "p", "tiny-a>=1", "tiny_b")
    done = prepared(bare, root, made, attached)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["['tiny-a>=1']", "1.0 1.0"]


@pytest.mark.slow
def test_offline_without_wheels_the_error_says_what_to_attach(bare: Path, root: Path, tmp_path: Path) -> None:
    made = project(tmp_path / "p", "not-in-any-wheel>=3")
    done = prepared(bare, root, made, tmp_path / "input")
    assert done.returncode == 1
    said = done.stderr.splitlines()
    assert any("RuntimeError: Could not install not-in-any-wheel>=3." in line for line in said)
    assert '`pip download --dest wheels "not-in-any-wheel>=3"`' in said[-1]


# ------------------------------------------------------------------ the notebooks' first cell


def cells(root: Path) -> dict[str, str]:
    found = {}
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        code = [c for c in json.loads(path.read_text())["cells"] if c["cell_type"] == "code"]
        found[path.name] = "".join(code[0]["source"])
    return found


def test_the_first_cell_is_the_same_everywhere_and_short(root: Path) -> None:
    (cell,) = set(cells(root).values())
    assert len(cell.splitlines()) <= 6


def test_the_first_cell_clones_the_release_from_the_projects_address(root: Path) -> None:
    cell = next(iter(cells(root).values()))
    tag = f"v{redeepfake_nb.__version__}"
    assert f"git clone --quiet --depth 1 --branch {tag} {hosts.REPOSITORY} redeepfake-nb\n" in cell
    assert cell.count("://") == 1
    assert f"release {redeepfake_nb.__version__} from GitHub" in cell


def test_links_of_the_notebooks_lead_to_the_release(root: Path) -> None:
    owner_and_name = hosts.REPOSITORY.removeprefix("https://github.com/")
    for path in (root / "notebooks").glob("*.ipynb"):
        words = "".join(json.loads(path.read_text())["cells"][0]["source"])
        release = f"{owner_and_name}/blob/v{redeepfake_nb.__version__}/notebooks/{path.name}"
        assert re.findall(r"\]\((https://[^)]*)\)", words) == [
            f"https://colab.research.google.com/github/{release}",
            f"https://kaggle.com/kernels/welcome?src=https://github.com/{release}",
        ]


def test_other_files_name_the_same_address(root: Path) -> None:
    for name in ("mkdocs.yml", "CITATION.cff", "docs/quickstart.md", ".github/ISSUE_TEMPLATE/config.yml"):
        addresses = set(re.findall(r"https://github\.com/redeepfake/[\w-]+", (root / name).read_text()))
        assert addresses == {hosts.REPOSITORY}, name


@pytest.mark.parametrize("place", ["installed", "cloned", "cloned over a folder", "nowhere"])
def test_the_first_cell_finds_the_package(root: Path, tmp_path: Path, place: str) -> None:
    """In a process that has none, with a git that puts the clone there or fails."""
    work = tmp_path / "notebooks"
    work.mkdir()
    if place.startswith("cloned"):
        package = work / "redeepfake-nb" / "redeepfake_nb"
        shutil.copytree(root / "redeepfake_nb", package, ignore=shutil.ignore_patterns("__pycache__"))
        project(work / "redeepfake-nb")
    if place == "cloned over a folder":
        # A clone under the project's own name looks like a package without any module.
        (work / "redeepfake_nb").mkdir()
    source = next(iter(cells(root).values()))
    source = re.sub(r"^( *)!(.*)$", r'\1print("asked:", "\2".split()[:2])', source, flags=re.MULTILINE)
    ran = r'\1import runpy; globals().update(runpy.run_path("\2", run_name="__main__"))'
    source = re.sub(r"^( *)%run (.*)$", ran, source, flags=re.MULTILINE)
    ast.parse(source)
    source += "\nfrom pathlib import Path\nprint(Path(hosts.__file__).resolve().parent.parent)\n"
    # -S: no site-packages, in which this project is installed; of its requirements only lazy_loader is there.
    options = [] if place == "installed" else ["-S"]
    stand_in = tmp_path / "site"
    stand_in.mkdir()
    shutil.copytree(Path(lazy_loader.__file__).parent, stand_in / "lazy_loader")
    environment = {**os.environ, "PYTHONPATH": str(root if place == "installed" else stand_in)}
    run = subprocess.run(
        [sys.executable, *options, "-c", source], cwd=work, capture_output=True, text=True, env=environment
    )
    said = run.stdout.splitlines()
    if place == "nowhere":
        assert said == ["asked: ['git', 'clone']"]
        assert "redeepfake-nb/redeepfake_nb/hosts.py" in run.stderr
        return
    assert run.returncode == 0, run.stderr
    assert Path(said[-1]) == (root if place == "installed" else (work / "redeepfake-nb").resolve())
