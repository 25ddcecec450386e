"""Outputs never replace the file that they are made from, by whatever path they reach it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from redeepfake_nb import OutputError
from redeepfake_nb.utils.writing import check_not_input, same_file


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"evidence")
    return path


def test_one_file_has_many_paths(clip: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = clip.parent
    (folder / "link.mp4").symlink_to(clip)
    (folder / "linked").symlink_to(folder)
    os.link(clip, folder / "hard.mp4")
    monkeypatch.chdir(folder)
    for other in ("clip.mp4", clip, folder / "link.mp4", folder / "linked" / "clip.mp4", folder / "hard.mp4"):
        assert same_file(other, clip)
    # Neither exists yet.
    assert same_file("new.csv", folder / "linked" / "new.csv")
    (folder / "copy.mp4").write_bytes(clip.read_bytes())
    for other in ("copy.mp4", "absent.mp4", "", "a\0b", folder):
        assert not same_file(other, clip)


def test_the_input_is_no_output(clip: Path) -> None:
    with pytest.raises(OutputError) as caught:
        check_not_input(str(clip), clip, "the video")
    assert caught.value.cause == "it is the video itself"
    assert caught.value.next_step == "Choose another file; the original is left as it is."
    check_not_input(clip, b"bytes of a video", "the video")
    check_not_input(clip, None, "the video")
    check_not_input(clip.with_name("other.mp4"), clip, "the video")
