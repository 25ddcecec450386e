"""A small part of ``make load``: memory does not grow with calls, and threads agree with a single one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def load(monkeypatch):
    if not Path("/proc/self/statm").exists():
        pytest.skip("memory is measured by /proc")
    monkeypatch.setattr(sys, "path", [str(ROOT), *sys.path])
    import benchmarks.load

    return benchmarks.load


def test_growth_is_detected(load):
    kept = []
    # Blocks above 32 MiB always come from the system; smaller ones may reuse memory that other tests freed.
    grown = load.growth("kept", lambda i: kept.append(b"\1" * 40_000_000), calls=2, warm_up=1, limit=50)
    assert grown.grown > 60
    assert "| kept | 2 |" in grown.row()


def test_analyses_and_heatmaps_do_not_leak(load, classifier):
    for measured in (load.images(classifier, 60, warm_up=24), load.heatmaps(classifier, 20, warm_up=6)):
        assert measured.grown < measured.limit


def test_models_are_freed(load, classifier, tmp_path):
    from redeepfake_nb import save_model

    measured = load.model_changes(save_model(classifier, tmp_path / "m.keras"), calls=4, warm_up=2)
    assert measured.grown < measured.limit


def test_threads_agree_with_a_single_one(load, classifier):
    assert load.disagreements(classifier, threads=8, calls=4) == 0
