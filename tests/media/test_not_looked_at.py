"""What was not looked at, repaired or assumed in files of real kinds is noted, and pixels look as meant.

The files lie in the development data, and the test is skipped where they are absent.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from redeepfake_nb.media.file_types import is_video
from redeepfake_nb.media.frames import read_image
from redeepfake_nb.media.video import open_video

# name: (is it a video, size of the frame, frames, kinds of the notes)
EXPECTED = {
    "anim_real_then_fake.png": (True, (960, 540), 2, []),
    "anim_real_then_fake.webp": (True, (960, 540), 2, []),
    "cover_first.mkv": (True, (640, 480), 125, ["information"]),
    "fake_hlg.mov": (True, (640, 480), 60, ["doubt"]),
    "fake_pq.mov": (True, (640, 480), 60, ["doubt"]),
    "real_pq.mov": (True, (640, 480), 60, ["doubt"]),
    "fake_sar_dvd.mp4": (True, (640, 480), 125, ["information"]),
    "fake_sar_half.mp4": (True, (640, 480), 125, ["information"]),
    "real_108mp.jpg": (False, (6000, 4500), 1, ["doubt"]),
    "short1.mp4": (True, (640, 480), 1, []),
    "short3.mp4": (True, (640, 480), 3, []),
    "two_streams_real_fake.mp4": (True, (640, 480), 125, ["unseen"]),
}


@pytest.fixture
def reports(shared: Path) -> Path:
    folder = shared / "bad_inputs" / "reports"
    if not folder.is_dir():
        pytest.skip("these development data are not here")
    return folder


@pytest.mark.parametrize("name", EXPECTED)
def test_kinds_of_files(reports: Path, name: str) -> None:
    video, size, frames, kinds = EXPECTED[name]
    assert is_video(reports / name) == video
    if not video:
        frame = read_image(reports / name)
        assert (frame.width, frame.height) == size
        assert [note.kind for note in frame.source.notes] == kinds
        return
    with open_video(reports / name) as opened:
        assert (opened.width, opened.height, opened.frame_count) == (*size, frames)
        assert [note.kind for note in opened.source.notes] == kinds
        assert len(list(opened.sample(5))) == min(5, frames)
        assert opened.completeness.complete


def test_hdr_resembles_the_same_clip_in_sdr(reports: Path) -> None:
    means = []
    for name in ("fake_sar_half.mp4", "fake_pq.mov", "fake_hlg.mov"):
        with open_video(reports / name) as opened:
            means.append(next(opened.sample(1, end=0.1)).image.mean(axis=(0, 1)))
    sdr, *others = means
    for other in others:
        assert np.abs(other - sdr).max() < 10
