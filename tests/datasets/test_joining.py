"""Several collections joined into one: pictures, people and originals stay apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from redeepfake_nb import InputError
from redeepfake_nb.datasets.joining import join_faces, read_collections
from redeepfake_nb.datasets.labelled_faces import LabelledFaces


def picture(path: Path, level: int) -> None:
    Image.fromarray(np.full((4, 4, 3), level, np.uint8)).save(path)


@pytest.fixture
def two(tmp_path: Path) -> LabelledFaces:
    """A collection of swaps with originals and people, and one of portraits with boxes."""
    for name, level in (("swaps", 10), ("portraits", 200)):
        (tmp_path / name).mkdir()
        for i in range(2):
            picture(tmp_path / name / f"{i}.png", level + i)
    (tmp_path / "swaps" / "swaps.csv").write_text(
        "file,label,original,identity\n0.png,REAL,v,7\n1.png,FAKE,v,7\n"
    )
    (tmp_path / "portraits" / "portraits.csv").write_text(
        "file,label,source,left,top,right,bottom\n0.png,FAKE,painted,0,0,2,3\n1.png,REAL,,0,0,2,3\n"
    )
    return read_collections([tmp_path / name / f"{name}.csv" for name in ("swaps", "portraits")])


def test_collections_are_joined_with_their_pictures(two: LabelledFaces) -> None:
    assert [int(two.image(i).max()) for i in range(4)] == [10, 11, 200, 201]
    assert two.image(2).shape[:2] == (3, 2)
    assert two.table["collection"].tolist() == ["swaps", "swaps", "portraits", "portraits"]
    assert two.table["source"].tolist() == ["swaps", "swaps", "painted", "portraits"]
    assert int(two.take([3, 0]).image(0).max()) == 201
    assert two.unreadable().empty
    assert two.absent().empty


def test_joined_collections_keep_their_people_and_originals_apart(two: LabelledFaces) -> None:
    assert two.table["original"].tolist()[:2] == ["swaps/v", "swaps/v"]
    assert two.table["original"].isna().tolist() == [False, False, True, True]
    # A face whose person is not known counts as a person of its own.
    assert two.table["identity"].tolist() == ["swaps/7", "swaps/7", "portraits/0.png", "portraits/1.png"]


def test_frames_of_a_video_of_unknown_people_are_one_person(tmp_path: Path) -> None:
    """Else they would be spread over train and val."""
    for name, rows in (
        ("named", "0.png,REAL,,7\n"),
        ("videos", "0.png,REAL,v,\n1.png,REAL,v,\n0.png,FAKE,v,\n1.png,REAL,w,\n"),
    ):
        (tmp_path / name).mkdir()
        for i in range(2):
            picture(tmp_path / name / f"{i}.png", i)
        (tmp_path / name / f"{name}.csv").write_text("file,label,original,identity\n" + rows)
    joined = read_collections([tmp_path / name / f"{name}.csv" for name in ("named", "videos")])
    assert joined.table["identity"].tolist() == ["named/7", *["videos/v"] * 3, "videos/w"]


def test_missing_pictures_of_joined_collections_are_listed_by_row(two: LabelledFaces, tmp_path: Path) -> None:
    (tmp_path / "portraits" / "0.png").unlink()
    (tmp_path / "swaps" / "1.png").write_bytes(b"")
    assert two.absent().index.tolist() == [1, 2]
    assert two.without(two.absent()).table["file"].tolist() == ["0.png", "1.png"]
    with pytest.raises(InputError, match=r"0\.png.*not in portraits"):
        two.image(2)


def test_one_collection_is_read_as_it_is(two: LabelledFaces, tmp_path: Path) -> None:
    alone = read_collections([tmp_path / "swaps" / "swaps.csv"])
    assert alone.collections == {}
    assert "collection" not in alone.table


def test_collections_that_cannot_be_joined(two: LabelledFaces, tmp_path: Path) -> None:
    csv = tmp_path / "swaps" / "swaps.csv"
    with pytest.raises(ValueError, match="need different names, not swaps, swaps"):
        read_collections([csv, csv])
    with pytest.raises(ValueError, match="only be named for a single CSV"):
        read_collections([csv, tmp_path / "portraits" / "portraits.csv"], tmp_path)
    with pytest.raises(ValueError, match="joined again"):
        join_faces({"both": two})
    with pytest.raises(ValueError, match="no collection"):
        join_faces({})
