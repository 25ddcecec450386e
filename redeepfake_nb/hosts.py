"""Make the package usable on a host that has its own TensorFlow, such as Colab or Kaggle.

The first cell of every notebook calls :func:`prepare`. Where the package is not installed but lies in a
folder, cloned or attached as read-only data, ``%run FOLDER/redeepfake_nb/hosts.py`` makes it importable from
there. What is needed and missing is installed beside what the host has, and nothing that is there already is
changed, be it TensorFlow, numpy or ipywidgets.

Standard library only, and nothing of ours at the top: the package's requirements may all be missing yet.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

# The project's address. Notebooks, pages and CITATION.cff name it too; tests hold them together.
REPOSITORY = "https://github.com/redeepfake/redeepfake_nb"
# Where Kaggle shows attached data.
ATTACHED = Path("/kaggle/input")
# Distribution -> module: any build of it will do.
_BY_MODULE = {"dlib-bin": "dlib", "opencv-python": "cv2"}
# The only ones without wheels; this one is data and a few lines of Python, so there is nothing to compile.
_SOURCES = ("face_recognition_models",)
# Wanted by face_recognition_models' own code, of which only the data is used here.
_NOT_WANTED = ("setuptools",)


@dataclass(frozen=True)
class Need:
    """A requirement that the host does not meet: what is wanted, and the version that is there, if any."""

    wanted: str
    present: str | None = None


def prepare(project: Path | None = None) -> list[str]:
    """Install what is missing, and switch on what the host wants for widgets.

    Does nothing where the package was installed, besides what Colab needs to show widgets of other makers.

    Parameters
    ----------
    project
        The checkout or attached folder; default: the one that this file lies in.

    Returns
    -------
    list of str
        What was installed.

    Raises
    ------
    RuntimeError
        Something is missing and cannot be had, or the host's version of something is too old; the message
        says what, and what to do.
    """
    project = Path(__file__).resolve().parent.parent if project is None else project
    installed: list[str] = []
    if (project / "pyproject.toml").is_file():
        _share_path(project)
        needs = missing(requirements(project))
        old = [need for need in needs if need.present is not None]
        if old:
            raise RuntimeError(
                "This host has "
                + ", ".join(f"{need.present} where {need.wanted} is needed" for need in old)
                + ". What a host has is left alone, because other things depend on it. Choose a newer "
                "version of the host, or install redeepfake_nb in an environment of its own."
            )
        if needs:
            installed = [need.wanted for need in needs]
            print(f"Installing {', '.join(installed)} with pip, beside what this host has …")
            _install(installed, wheels(project))
    _show_widgets_of_others()
    return installed


def requirements(project: Path) -> list[str]:
    """What a checkout says it needs."""
    with (project / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["dependencies"]


def missing(wanted: Iterable[str], present: Mapping[str, str] | None = None) -> list[Need]:
    """Which requirements are not met by what is installed (name -> version; default: by this host)."""
    here = _present() if present is None else present
    needs = []
    for line in wanted:
        requirement = _packaging("requirements").Requirement(line)
        name = _canonical(requirement.name)
        if name in _NOT_WANTED:
            continue
        if name in here:
            if not requirement.specifier.contains(here[name], prereleases=True):
                needs.append(Need(line, f"{name} {here[name]}"))
        elif name not in _BY_MODULE or importlib.util.find_spec(_BY_MODULE[name]) is None:
            needs.append(Need(line))
    return needs


def wheels(project: Path) -> list[Path]:
    """Folders with wheels: the project's own ``wheels``, and those in attached data."""
    attached = {path.parent for path in _files(ATTACHED, ".whl", ".tar.gz")}
    own = project / "wheels"
    return ([own] if own.is_dir() else []) + sorted(attached)


def _files(folder: Path, *endings: str, depth: int = 4) -> Iterator[Path]:
    """Files with these endings, a few folders deep: data sets may hold millions of files farther down."""
    try:
        entries = sorted(folder.iterdir()) if depth else []
    except OSError:
        return
    for path in entries:
        if path.name.endswith(endings):
            yield path
        elif path.is_dir():
            yield from _files(path, *endings, depth=depth - 1)


def _install(wanted: list[str], folders: list[Path]) -> None:
    """By pip: wheels only, every version that is here held; from folders first, then from the index."""
    with tempfile.TemporaryDirectory() as scratch:
        held = Path(scratch, "held.txt")
        held.write_text("".join(f"{name}=={version}\n" for name, version in sorted(_present().items())))
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += ["--only-binary", ":all:", "--no-binary", ",".join(_SOURCES), "--constraint", str(held)]
        links = [f"--find-links={folder}" for folder in folders]
        ways = [[*command, "--retries", "1", "--timeout", "20", *links, *wanted]]
        if links:
            # Data packed as a source distribution is built without asking for build tools.
            ways.insert(0, [*command, "--no-index", "--no-build-isolation", *links, *wanted])
        for way in ways:
            done = subprocess.run(way, capture_output=True, text=True)
            if done.returncode == 0:
                break
        else:
            raise RuntimeError(_cannot(wanted, done.stderr))
    importlib.invalidate_caches()


def _cannot(wanted: list[str], said: str) -> str:
    lines = [line for line in said.splitlines() if line.startswith("ERROR")] or said.splitlines()[-1:]
    names = " ".join(f'"{line}"' for line in wanted)
    return (
        f"Could not install {', '.join(wanted)}. pip said: {' '.join(lines)[:400]}\n"
        "If the internet is switched off, switch it on in the notebook's settings, or attach the wheels as "
        f"data: on a machine with internet run `pip download --dest wheels {names}` and upload the folder."
    )


def _present() -> dict[str, str]:
    """Name -> version of all that is installed."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.version
        if name and version:
            # The first on the path is the one that is imported.
            found.setdefault(_canonical(name), version)
    return found


def _canonical(name: str) -> str:
    return str(_packaging("utils").canonicalize_name(name))


def _packaging(module: str):
    """A module of ``packaging``; pip brings one along where there is no other."""
    try:
        return importlib.import_module(f"packaging.{module}")
    except ImportError:
        return importlib.import_module(f"pip._vendor.packaging.{module}")


def _share_path(project: Path) -> None:
    """Let this process and those that scans start import the package from its folder."""
    folder = str(project)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, *known]))


def _show_widgets_of_others() -> None:
    """On Colab only its own widgets are shown unless a notebook asks for more."""
    if "google.colab" in sys.modules:
        from google.colab import output

        output.enable_custom_widget_manager()


if __name__ == "__main__":
    # A notebook runs this file with %run, out of a fresh clone or out of attached data, and gets ``hosts``.
    prepare()
    sys.modules.pop("redeepfake_nb", None)  # what an earlier attempt to import it may have left
    from redeepfake_nb import hosts  # noqa: F401
