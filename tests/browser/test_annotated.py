"""The annotated copy of a video plays in a browser."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

from redeepfake_nb import analyze_video, report
from redeepfake_nb.datasets.samples import CLIP_SECONDS, sample_video


def test_it_plays(chrome, classifier, tmp_path: Path) -> None:
    report.annotate_video(analyze_video(sample_video(), classifier, frames=6), tmp_path / "annotated.mp4")
    (tmp_path / "page.html").write_text("<video src=annotated.mp4 muted></video>")
    page = chrome.new_page()
    page.goto((tmp_path / "page.html").as_uri())
    page.wait_for_function("document.querySelector('video').readyState >= 2", timeout=30_000)
    facts = page.evaluate(
        """async () => {
            const video = document.querySelector("video");
            await new Promise(done => { video.onseeked = done; video.currentTime = 3; });
            return [video.duration, video.videoWidth, video.currentTime, video.error && video.error.message];
        }"""
    )
    page.close()
    assert facts == [pytest.approx(CLIP_SECONDS, abs=0.1), 480, 3, None]
