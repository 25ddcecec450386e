"""Heatmaps in the background: what is forgotten stays forgotten."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

from redeepfake_nb.widgets import heatmap_queue
from redeepfake_nb.widgets.heatmap_queue import HeatmapQueue

SECONDS = 20


@pytest.fixture
def queue() -> HeatmapQueue:
    controls = SimpleNamespace(
        heatmap_cancel=SimpleNamespace(on_click=lambda _: None), show_heatmap_progress=lambda *_: None
    )
    callbacks = SimpleNamespace(lock=threading.RLock(), record=lambda *_: None)
    return HeatmapQueue(controls, callbacks, lambda _: None, lambda: None)


@pytest.mark.parametrize(("kept", "known"), [((), False), (("face",), True)])
def test_a_heatmap_that_ends_after_clearing_is_dropped(
    queue: HeatmapQueue, monkeypatch: pytest.MonkeyPatch, kept: tuple, known: bool
) -> None:
    """It would keep the picture of the face in the kernel. A request that was only replaced is kept."""
    begun, gone_on = threading.Event(), threading.Event()

    def explain(*args: object) -> str:
        begun.set()
        assert gone_on.wait(SECONDS)
        return "heatmap"

    monkeypatch.setattr(heatmap_queue, "explain", explain)
    queue.request(None, ["face"], "gradcam", "fake", None)
    assert begun.wait(SECONDS)
    queue.discard()
    queue.keep(kept)
    gone_on.set()
    assert queue.wait(SECONDS)
    assert (queue.known("face", "gradcam", "fake") == "heatmap") == known


@pytest.mark.parametrize(("kept", "known"), [((), False), (("face",), True)])
def test_a_heatmap_for_a_report_that_ends_after_clearing_is_dropped(
    queue: HeatmapQueue, monkeypatch: pytest.MonkeyPatch, kept: tuple, known: bool
) -> None:
    def explain(*args: object) -> str:
        queue.keep(kept)
        return "heatmap"

    monkeypatch.setattr(heatmap_queue, "explain", explain)
    assert queue.explain(None, "face", "gradcam", "fake", None) == "heatmap"
    assert (queue.known("face", "gradcam", "fake") == "heatmap") == known
