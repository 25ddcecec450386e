"""Find data files of installed packages without importing those packages."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ..errors import ModelIncomplete


def package_file(package: str, path: str, install: str) -> str:
    """Find a file of an installed package. The package is not imported, so none of its code runs.

    Parameters
    ----------
    package
        Name under which it would be imported.
    path
        Path of the file inside it, with ``/``.
    install
        Name under which pip installs it, for the message.

    Raises
    ------
    ModelIncomplete
        The file is not installed.
    """
    spec = find_spec(package)
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        file = Path(folder, path)
        if file.is_file():
            return str(file)
    raise ModelIncomplete(
        f"{Path(path).name} is not installed", subject=install, next_step=f"Run: pip install {install}."
    )
