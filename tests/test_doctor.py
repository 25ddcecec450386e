"""What is missing or broken in an installation is named, with a step that mends it."""

from __future__ import annotations

import re
from importlib import metadata
from types import SimpleNamespace

import pytest

from redeepfake_nb import doctor
from redeepfake_nb.cli import main
from redeepfake_nb.doctor import Finding, examine
from redeepfake_nb.models.loading import default_classifier


@pytest.mark.slow
def test_doctor_finds_no_problem(capsys: pytest.CaptureFixture) -> None:
    default_classifier.cache_clear()  # tests that have TensorFlow score may have loaded it first
    assert main(["doctor"]) == 0
    out = capsys.readouterr().out
    assert out.endswith("no problem found\n")
    for topic in (
        "python",
        "tensorflow",
        "devices",
        "detector blazeface",
        "detector hog",
        "detector cnn",
        "default model",
        "heatmap",
        "widgets",
    ):
        assert topic in out
    assert re.search(r"scored by +(LiteRT \S+ on CPU, \d+ thread|TensorFlow \S+ on GPU)", out)


def test_doctor_names_every_device(monkeypatch: pytest.MonkeyPatch) -> None:
    import tensorflow as tf

    gpu = SimpleNamespace(name="/physical_device:GPU:0")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: [gpu])
    monkeypatch.setattr(tf.config.experimental, "get_device_details", lambda gpu: {"device_name": "Tesla T4"})
    [finding] = doctor._device()
    assert finding.ok
    assert finding.detail.endswith("; GPU 0, Tesla T4")


def test_doctor_without_installation(monkeypatch: pytest.MonkeyPatch) -> None:
    def nowhere(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(doctor.metadata, "version", nowhere)
    monkeypatch.setattr(doctor, "PACKAGES", ("redeepfake-nb", "numpy"))
    found = doctor._packages()
    assert [finding.ok for finding in found] == [True, False]
    assert "imported from its folder" in found[0].detail


def test_doctor_suggests_steps(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "a-package-that-is-not-there"))

    def broken() -> list[Finding]:
        raise ImportError("libdlib.so is not there")

    monkeypatch.setattr(doctor, "_detectors", broken)
    assert main(["doctor"]) == 1
    out = capsys.readouterr().out
    assert "-> Run `pip install a-package-that-is-not-there`." in out
    assert "ImportError: libdlib.so is not there" in out
    assert out.endswith("2 problems found\n")
    assert all(finding.ok or finding.step for finding in examine())
