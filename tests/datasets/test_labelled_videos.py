"""Labels of videos by the layouts of the field's data sets; what has no label or is absent is not lost."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from redeepfake_nb.datasets import read_video_collections, read_videos
from redeepfake_nb.datasets.labelled_videos import labelled_media
from redeepfake_nb.errors import EmptyFile, UnsupportedMedia

Touch = Callable[..., None]


@pytest.fixture
def touch(tmp_path: Path) -> Touch:
    """Make files that nothing here opens."""

    def make(*names: str) -> None:
        for name in names:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(b"")

    return make


def columns(table: pd.DataFrame, *names: str) -> dict[str, tuple]:
    """Return these columns of each file, ``None`` for what is missing."""
    chosen = table[list(names)].astype(object).where(table[list(names)].notna(), None)
    return {file: tuple(row) for file, row in zip(table["file"], chosen.to_numpy(), strict=True)}


def test_real_and_fake_folders(tmp_path: Path, touch: Touch) -> None:
    touch(
        "a/Real/1.mp4",
        "a/fake/deep/2.MOV",
        "elsewhere/3.avi",
        "real/notes.txt",
        "real/._1.mp4",
        ".cache/real/4.mp4",
    )
    # The end of its name says nothing, its first bytes do.
    (tmp_path / "a" / "fake" / "5.bin").write_bytes(b"\x1a\x45\xdf\xa3\x93\x42\x82\x88matroska" + bytes(64))
    videos = read_videos(tmp_path)
    assert columns(videos.table, "label") == {
        "a/Real/1.mp4": ("REAL",),
        "a/fake/5.bin": ("FAKE",),
        "a/fake/deep/2.MOV": ("FAKE",),
    }
    assert videos.unlabelled == ("elsewhere/3.avi",)
    assert videos.y.tolist() == [0, 1, 1]
    assert videos.paths[0] == str(tmp_path / "a" / "Real" / "1.mp4")
    assert videos.take([2]).paths == [str(tmp_path / "a" / "fake" / "deep" / "2.MOV")]


def test_faceforensics(tmp_path: Path, touch: Touch) -> None:
    touch(
        "original_sequences/youtube/c23/videos/000.mp4",
        "original_sequences/actors/c40/videos/01__hugging_happy.mp4",
        "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4",
        "manipulated_sequences/NeuralTextures/c23/videos/003_000.mp4",
        "manipulated_sequences/DeepFakeDetection/c40/videos/01_02__hugging_happy__YVGY8LOK.mp4",
        "manipulated_sequences/Deepfakes/masks/videos/000_003.mp4",
    )
    (tmp_path / "splits").mkdir()
    (tmp_path / "splits" / "test.json").write_text('[["000", "003"]]')
    table = read_videos(tmp_path).table
    names = ("label", "original", "identity", "split", "kind", "generator", "source")
    assert columns(table, *names) == {
        "original_sequences/youtube/c23/videos/000.mp4": (
            *("REAL", "000", None, "test", None, None, "youtube c23"),
        ),
        "original_sequences/actors/c40/videos/01__hugging_happy.mp4": (
            *("REAL", "01__hugging_happy", "actor 01", None, None, None, "actors c40"),
        ),
        "manipulated_sequences/Deepfakes/c23/videos/000_003.mp4": (
            *("FAKE", "000", None, "test", "swapped", "Deepfakes", "youtube c23"),
        ),
        "manipulated_sequences/NeuralTextures/c23/videos/003_000.mp4": (
            *("FAKE", "003", None, "test", "reenacted", "NeuralTextures", "youtube c23"),
        ),
        "manipulated_sequences/DeepFakeDetection/c40/videos/01_02__hugging_happy__YVGY8LOK.mp4": (
            *("FAKE", "01__hugging_happy", "actor 01", None, "swapped", "DeepFakeDetection", "actors c40"),
        ),
    }


def test_faceforensics_with_one_folder_for_each_method(tmp_path: Path, touch: Touch) -> None:
    touch("c23/original/000.mp4", "c23/Face2Face/000_003.mp4", "c23/elsewhere/9.mp4")
    videos = read_videos(tmp_path)
    assert columns(videos.table, "label", "original", "kind", "generator") == {
        "c23/Face2Face/000_003.mp4": ("FAKE", "000", "reenacted", "Face2Face"),
        "c23/original/000.mp4": ("REAL", "000", None, None),
    }
    assert videos.unlabelled == ("c23/elsewhere/9.mp4",)


def test_celeb_df(tmp_path: Path, touch: Touch) -> None:
    touch("Celeb-real/id0_0000.mp4", "YouTube-real/00170.mp4", "Celeb-synthesis/id0_id1_0000.mp4")
    (tmp_path / "List_of_testing_videos.txt").write_text(
        "1 YouTube-real/00170.mp4\n0 Celeb-synthesis/id5_id6_0009.mp4\n"
    )
    videos = read_videos(tmp_path)
    assert columns(videos.table, "label", "original", "identity", "split", "generator") == {
        "Celeb-real/id0_0000.mp4": ("REAL", "id0_0000", "id0", "train", None),
        "Celeb-synthesis/id0_id1_0000.mp4": ("FAKE", "id0_0000", "id0", "train", "Celeb-DF"),
        # Listed and absent: evaluating must count it.
        "Celeb-synthesis/id5_id6_0009.mp4": ("FAKE", "id5_0009", "id5", "test", "Celeb-DF"),
        "YouTube-real/00170.mp4": ("REAL", "YouTube 00170", "YouTube 00170", "test", None),
    }
    assert len(videos.part("test")) == 2
    (tmp_path / "List_of_testing_videos.txt").write_text("1 somewhere/00170.mp4\n")
    with pytest.raises(UnsupportedMedia, match="line 1 names no video of Celeb-DF"):
        read_videos(tmp_path)


def test_dfdc(tmp_path: Path, touch: Touch) -> None:
    touch("part_0/a.mp4", "part_0/b.mp4", "part_0/stray.mp4", "test/c.mp4")
    (tmp_path / "part_0" / "metadata.json").write_text(
        json.dumps(
            {
                "b.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"},
                "a.mp4": {"label": "REAL", "split": "train", "original": None},
                "gone.mp4": {"label": "FAKE", "split": "train", "original": "a.mp4"},
            }
        )
    )
    (tmp_path / "test" / "metadata.json").write_text('{"c.mp4": {"is_fake": 1}}')
    videos = read_videos(tmp_path)
    assert columns(videos.table, "label", "original", "split") == {
        "part_0/a.mp4": ("REAL", "a.mp4", "train"),
        "part_0/b.mp4": ("FAKE", "a.mp4", "train"),
        "part_0/gone.mp4": ("FAKE", "a.mp4", "train"),
        "test/c.mp4": ("FAKE", None, None),
    }
    assert videos.unlabelled == ("part_0/stray.mp4",)
    (tmp_path / "test" / "metadata.json").write_text('{"c.mp4": {"is_fa')
    with pytest.raises(UnsupportedMedia, match="the list of labels cannot be read"):
        read_videos(tmp_path)


def test_a_metadata_file_of_something_else_labels_nothing(tmp_path: Path, touch: Touch) -> None:
    touch("real/a.mp4")
    (tmp_path / "real" / "metadata.json").write_text('{"title": "my videos", "a.mp4": {"fps": 25}}')
    assert columns(read_videos(tmp_path).table, "label") == {"real/a.mp4": ("REAL",)}


def test_csv_and_originals_by_short_names(tmp_path: Path) -> None:
    (tmp_path / "videos.csv").write_text(
        "file,label,original,kind\nr/one.mp4,real,,\nr/two.mp4,REAL,,\nx/two.mp4,REAL,,\n"
        "f/1.mp4,fake,one,swapped\nf/2.mp4,FAKE,one.mp4,swapped\nf/3.mp4,FAKE,two,\ns3://b/4.mp4,FAKE,,\n"
    )
    videos = read_videos(tmp_path / "videos.csv", tmp_path / "elsewhere")
    assert columns(videos.table, "label", "original") == {
        "r/one.mp4": ("REAL", "r/one.mp4"),
        "r/two.mp4": ("REAL", "r/two.mp4"),
        "x/two.mp4": ("REAL", "x/two.mp4"),
        "f/1.mp4": ("FAKE", "r/one.mp4"),
        "f/2.mp4": ("FAKE", "r/one.mp4"),
        "f/3.mp4": ("FAKE", "two"),  # two real videos are called so
        "s3://b/4.mp4": ("FAKE", None),
    }
    assert videos.paths[0] == str(tmp_path / "elsewhere" / "r" / "one.mp4")
    assert videos.paths[-1] == "s3://b/4.mp4"


def test_crops_of_dfdc_are_faces_though_metadata_name_videos(tmp_path: Path) -> None:
    (tmp_path / "aaa").mkdir()
    Image.new("RGB", (8, 8)).save(tmp_path / "aaa" / "000.png")
    (tmp_path / "metadata.json").write_text('{"aaa.mp4": {"label": "REAL"}, "bbb.mp4": {"label": "FAKE"}}')
    assert labelled_media(tmp_path) == {"faces"}
    (tmp_path / "aaa.mp4").write_bytes(b"")
    assert labelled_media(tmp_path) == {"videos"}


def test_several_collections(tmp_path: Path, touch: Touch) -> None:
    touch("one/real/a.mp4", "one/b.mp4", "two/original/000.mp4", "two/Deepfakes/000_001.mp4")
    videos = read_video_collections([tmp_path / "one", tmp_path / "two"])
    assert columns(videos.table, "source", "original") == {
        "real/a.mp4": ("one", None),
        "Deepfakes/000_001.mp4": ("youtube", "two/000"),
        "original/000.mp4": ("youtube", "two/000"),
    }
    assert videos.paths[0] == str(tmp_path / "one" / "real" / "a.mp4")
    assert videos.take([2]).paths == [str(tmp_path / "two" / "original" / "000.mp4")]
    assert videos.unlabelled == ("one/b.mp4",)
    with pytest.raises(ValueError, match="different names"):
        read_video_collections([tmp_path / "one", tmp_path / "one"])


def test_what_is_no_set_of_labelled_videos(tmp_path: Path, touch: Touch) -> None:
    touch("clip.mp4")
    with pytest.raises(EmptyFile, match=r"videos without a label: 1\).*real/ and fake/"):
        read_videos(tmp_path)
    with pytest.raises(UnsupportedMedia, match="neither a folder nor a CSV"):
        read_videos(tmp_path / "clip.mp4")


def test_faces_or_videos(tmp_path: Path, touch: Touch) -> None:
    assert labelled_media(tmp_path) == set()
    touch("clip.mp4")
    assert labelled_media(tmp_path) == {"videos"}
    touch("real/face.jpg")
    assert labelled_media(tmp_path) == {"faces"}
    touch("fake/a.mp4")
    assert labelled_media(tmp_path) == {"faces", "videos"}
    for rows, found in (("a.mp4", {"videos"}), ("a.png", {"faces"}), ("a.mp4\nb.png", {"faces", "videos"})):
        (tmp_path / "list.csv").write_text(f"file\n{rows}\n")
        assert labelled_media(tmp_path / "list.csv") == found
    touch("metadata.csv")
    assert labelled_media(tmp_path) == {"faces"}
