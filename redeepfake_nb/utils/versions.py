"""Versions of the installed packages that a result depends on."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata

# What an installation is checked for.
PACKAGES = (
    "redeepfake-nb",
    "tensorflow",
    "keras",
    "tf-keras-vis",
    "numpy",
    "opencv-python",
    "pillow",
    "dlib-bin",
    "face_recognition",
    "face_recognition_models",
    "matplotlib",
    "pandas",
    "ipywidgets",
    "jupyterlab",
)

# Those of them that a score depends on; reports name these.
_REPORTED_PACKAGES = (
    "redeepfake-nb",
    "tensorflow",
    "keras",
    "tf-keras-vis",
    "dlib-bin",
    "opencv-python",
    "numpy",
)


def package_versions() -> dict[str, str]:
    """Versions of the packages that a score depends on, as far as they are installed."""
    return dict(_versions())


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for package in _REPORTED_PACKAGES:
        try:
            found.append((package, metadata.version(package)))
        except metadata.PackageNotFoundError:
            continue
    return tuple(found)
