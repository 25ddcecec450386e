"""A small model and files for the command line."""

from __future__ import annotations

from pathlib import Path

import pytest

from redeepfake_nb import (
    Classifier,
    save_model,
)
from redeepfake_nb.datasets.samples import sample_clip, write_samples
from redeepfake_nb.models import loading


@pytest.fixture(scope="module")
def model(classifier: Classifier, tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_model(classifier, tmp_path_factory.mktemp("model") / "tiny.keras"))


@pytest.fixture
def no_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """No model may be loaded."""
    for name in ("load_model", "default_classifier"):
        monkeypatch.setattr(loading, name, lambda *_, **__: pytest.fail("a model was loaded"))


@pytest.fixture(scope="module")
def portrait(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_samples(tmp_path_factory.mktemp("samples"))[0]


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "clip.bin"  # the name does not tell the format
    path.write_bytes(sample_clip())
    return path
