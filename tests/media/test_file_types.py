"""Names are not believed: what a file is, its first bytes say."""

from __future__ import annotations

from pathlib import Path

from helpers.scan_helpers import write
from PIL import Image

from redeepfake_nb.datasets.samples import sample_clip, write_samples
from redeepfake_nb.media.file_types import is_media, is_video, video_format


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


def test_signatures():
    assert video_format(b"\x00\x00\x00\x18ftypisom" + bytes(16)) == "MP4"
    assert video_format(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(16)) is None
    assert video_format(b"\x00\x00\x00\x01\x67\x64") == "H.264"
    assert video_format(b"\x00\x00\x00\x01\x40\x01\x0c") == "HEVC"
    assert video_format((b"\x47" + bytes(187)) * 3) == "MPEG-TS"
    assert video_format((bytes(4) + b"\x47" + bytes(187)) * 3) == "MPEG-TS"
    assert video_format(b"\x47" + bytes(600)) is None
    assert video_format(b"") is None
