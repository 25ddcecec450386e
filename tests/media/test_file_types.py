"""Names are not believed: what a file is, its first bytes say. (Videos: see test_cli.)"""

from __future__ import annotations

from pathlib import Path

from helpers.scan_helpers import write

from redeepfake_nb.datasets.samples import sample_clip
from redeepfake_nb.media.file_types import is_media, is_video


def test_what_is_media(tmp_path: Path) -> None:
    picture = write(tmp_path / "x.png", 5).rename(tmp_path / "picture.txt")
    (tmp_path / "clip").write_bytes(sample_clip())
    (tmp_path / "text.png").write_text("no picture")
    assert [is_media(p) for p in (picture, tmp_path / "clip")] == [True, True]
    assert [is_media(p) for p in (tmp_path / "text.png", tmp_path, tmp_path / "absent")] == [False] * 3
    assert [is_video(p) for p in (picture, tmp_path / "clip")] == [False, True]
