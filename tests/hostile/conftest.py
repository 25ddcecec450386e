"""Models of these tests are scored by TensorFlow, since compiling each of them would take long."""

from __future__ import annotations

import pytest

from redeepfake_nb.models.runtimes import RUNTIME_VARIABLE


@pytest.fixture(autouse=True)
def scored_by_tensorflow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(RUNTIME_VARIABLE, "tensorflow")
