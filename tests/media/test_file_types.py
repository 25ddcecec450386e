"""Names are not believed: what a file is, its first bytes say."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from helpers.scan_helpers import write
from PIL import Image

from redeepfake_nb.datasets.samples import sample_clip, write_samples
from redeepfake_nb.media import file_types
from redeepfake_nb.media.file_types import is_media, is_video, video_format
from redeepfake_nb.scanning.fingerprints import KnownFile, fingerprint_files


def test_what_is_media(tmp_path: Path) -> None:
    picture = write(tmp_path / "x.png", 5).rename(tmp_path / "picture.txt")
    (tmp_path / "clip").write_bytes(sample_clip())
    (tmp_path / "text.png").write_text("no picture")
    assert [is_media(p) for p in (picture, tmp_path / "clip")] == [True, True]
    assert [is_media(p) for p in (tmp_path / "text.png", tmp_path, tmp_path / "absent")] == [False] * 3
    assert [is_video(p) for p in (picture, tmp_path / "clip")] == [False, True]


def test_is_video(tmp_path: Path) -> None:
    portrait = write_samples(tmp_path / "samples")[0]
    video, still, moving, large = (
        tmp_path / name for name in ("a.mp4", "still.gif", "moving.gif", "large.mp4")
    )
    video.write_bytes(sample_clip())
    pictures = [Image.new("RGB", (32, 32), (40 * i, 0, 0)) for i in range(3)]
    pictures[0].save(still)
    pictures[0].save(moving, save_all=True, append_images=pictures[1:])
    with open(large, "wb") as file:  # larger than any image may be, most of it sparse
        file.write(sample_clip()[:1000])
        file.truncate(300 * 2**20)
    assert [is_video(str(p)) for p in (video, moving, large)] == [True] * 3
    assert [is_video(str(p)) for p in (portrait, still, tmp_path / "absent", tmp_path)] == [False] * 4


@pytest.mark.parametrize(("length", "moving"), [(16, False), (20, False), (21, True), (30, True)])
def test_a_webp_that_is_cut_off(tmp_path: Path, length: int, moving: bool) -> None:
    """From the byte of its flags on it counts as animated, and whoever reads it says that it is cut off."""
    path = tmp_path / "a.webp"
    path.write_bytes((b"RIFF\x40\0\0\0WEBPVP8X\x0a\0\0\0\xff" + bytes(20))[:length])
    assert is_video(path) == moving
    (found,) = fingerprint_files([KnownFile(str(path))])
    assert (found.video, found.error) == (moving, None)


def test_chunks_of_a_png_are_not_searched_without_end(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(file_types, "_MAX_CHUNKS", 10)
    path = tmp_path / "a.png"
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(12 * 11) + 2 * (struct.pack(">I4s", 0, b"fcTL") + bytes(4)))
    assert not is_video(path)
    monkeypatch.setattr(file_types, "_MAX_CHUNKS", 13)
    assert is_video(path)


def test_signatures():
    assert video_format(b"\x00\x00\x00\x18ftypisom" + bytes(16)) == "MP4"
    assert video_format(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(16)) is None
    assert video_format(b"\x00\x00\x00\x01\x67\x64") == "H.264"
    assert video_format(b"\x00\x00\x00\x01\x40\x01\x0c") == "HEVC"
    assert video_format((b"\x47" + bytes(187)) * 3) == "MPEG-TS"
    assert video_format((bytes(4) + b"\x47" + bytes(187)) * 3) == "MPEG-TS"
    assert video_format(b"\x47" + bytes(600)) is None
    assert video_format(b"") is None
