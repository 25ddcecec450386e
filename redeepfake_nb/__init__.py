"""Finds faces in photos, scores them for manipulation, and shows where the evidence lies.

Names are looked up on first use (PEP 562), so that importing the package costs next to nothing and
loads neither TensorFlow nor matplotlib nor ipywidgets. ``view``, ``report``, ``samples`` and ``widgets`` are
imported as modules.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_HOMES = {
    "errors": (
        "EmptyFile",
        "HashMismatch",
        "InputError",
        "JournalError",
        "MediaTooLarge",
        "MissingExtra",
        "ModelError",
        "ModelIncomplete",
        "NoVideoFrames",
        "NotAModel",
        "OutputError",
        "RedeepfakeError",
        "TookTooLong",
        "TruncatedMedia",
        "UnknownChoice",
        "UnsafeModel",
        "UnsuitableModel",
        "UnsupportedMedia",
        "WorkerLost",
    ),
    "media": ("Frame", "Source", "read_image"),
    "completeness": ("Completeness",),
    "video": ("Video", "open_video"),
    "detection": ("Detection", "Detector"),
    "faces": ("Face", "find_faces"),
    "preprocessing": ("Preprocessing", "preprocess"),
    "architectures": ("Head", "build_model"),
    "cards": ("Card",),
    "models": ("Classifier",),
    "loading": ("load_model", "save_model"),
    "prediction": ("Prediction", "predict"),
    "regions": ("Regions",),
    "explanation": ("Explanation", "explain"),
    "comparison": ("MethodComparison", "compare_explanations"),
    "verdict": ("Verdict",),
    "analysis": ("ImageReport", "analyze_image"),
    "video_report": ("Person", "Sighting", "VideoReport"),
    "video_analysis": ("analyze_video",),
    "evaluation": ("Metrics", "evaluate"),
    "assessment": ("Assessment", "assess", "compare"),
    "trust": ("Faithfulness",),
    "trust_check": ("faithfulness",),
    "stress": ("StressTest", "stress_test"),
    "journal": ("Journal",),
    "journal_rows": ("FileResult",),
    "scan_result": ("ScanResult", "open_scan"),
    "scanning": ("scan",),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = sorted([*_HOME_OF, "__version__"])


def __getattr__(name: str) -> Any:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f".{_HOME_OF[name]}", __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])


if TYPE_CHECKING:
    from .analysis import ImageReport, analyze_image
    from .architectures import Head, build_model
    from .assessment import Assessment, assess, compare
    from .comparison import MethodComparison, compare_explanations
    from .errors import (
        EmptyFile,
        HashMismatch,
        InputError,
        JournalError,
        MediaTooLarge,
        MissingExtra,
        ModelError,
        ModelIncomplete,
        NotAModel,
        NoVideoFrames,
        OutputError,
        RedeepfakeError,
        TookTooLong,
        TruncatedMedia,
        UnknownChoice,
        UnsafeModel,
        UnsuitableModel,
        UnsupportedMedia,
        WorkerLost,
    )
    from .evaluation import Metrics, evaluate
    from .explanation import Explanation, explain
    from .faces import Detection, Detector, Face, find_faces
    from .journal import Journal
    from .journal_rows import FileResult
    from .loading import load_model, save_model
    from .media import Frame, Source, read_image
    from .models import Card, Classifier
    from .prediction import Prediction, predict
    from .preprocessing import Preprocessing, preprocess
    from .regions import Regions
    from .scan_result import ScanResult, open_scan
    from .scanning import scan
    from .stress import StressTest, stress_test
    from .trust import Faithfulness
    from .trust_check import faithfulness
    from .verdict import Verdict
    from .video import Completeness, Video, open_video
    from .video_analysis import analyze_video
    from .video_report import Person, Sighting, VideoReport
