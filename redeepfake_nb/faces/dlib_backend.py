"""dlib and the model files of ``face_recognition_models``, loaded once and shared safely between threads."""

from __future__ import annotations

import threading
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ..errors import ModelIncomplete, RedeepfakeError

# dlib's objects keep working memory inside and are not to be used by two threads at a time. This lock is for
# those that hold the interpreter's lock while they work, or are rarely used: there it costs no speed.
LOCK = threading.Lock()
_LOCAL = threading.local()


def load_dlib() -> Any:
    """The module ``dlib``.

    Raises
    ------
    RedeepfakeError
        It cannot be imported; the message says how to install it.
    """
    try:
        import dlib
    except ImportError as error:
        raise RedeepfakeError(
            f"it cannot be imported ({error})",
            subject="dlib",
            next_step="Run: pip install dlib-bin. Or pass find_faces a detector of your own.",
        ) from error
    return dlib


def model_file(name: str) -> str:
    """Path of a model file, found without importing its package, which would need pkg_resources.

    Raises
    ------
    ModelIncomplete
        It is not installed.
    """
    spec = find_spec("face_recognition_models")
    for folder in (spec.submodule_search_locations or ()) if spec else ():
        path = Path(folder, "models", name)
        if path.is_file():
            return str(path)
    raise ModelIncomplete(
        f"{name} is not installed",
        subject="face_recognition_models",
        next_step="Run: pip install face_recognition_models.",
    )


def hog_detector() -> Any:
    """The frontal face detector of this thread: it lets other threads run while it searches."""
    if not hasattr(_LOCAL, "hog"):
        _LOCAL.hog = load_dlib().get_frontal_face_detector()
    return _LOCAL.hog


# The next two are called and used with the lock held.
@cache
def cnn_detector() -> Any:
    """dlib's CNN face detector; for use under ``LOCK``."""
    return load_dlib().cnn_face_detection_model_v1(model_file("mmod_human_face_detector.dat"))


@cache
def shape_predictor() -> Any:
    """The 68-point shape predictor; for use under ``LOCK``."""
    return load_dlib().shape_predictor(model_file("shape_predictor_68_face_landmarks.dat"))
