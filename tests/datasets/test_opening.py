"""Faces opened for a notebook: named data, a mounted set, or a practice set; and a split by person."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from redeepfake_nb.datasets import (
    describe_faces,
    held_out_fake,
    is_practice_set,
    make_practice_set,
    open_faces,
    opening,
    split_by_person,
)
from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.errors import InputError


def table(folder: Path, **columns: list) -> LabelledFaces:
    """Eight faces of 8 px, a real and a fake one of each of four source videos."""
    rows = pd.DataFrame(
        {
            "file": [f"{i}.png" for i in range(8)],
            "label": ["REAL", "FAKE"] * 4,
            "original": [f"video{i // 2}" for i in range(8)],
            "identity": None,
            "split": None,
        }
    ).assign(**columns)
    for i, name in enumerate(rows["file"]):
        Image.fromarray(np.full((8, 8, 3), i, np.uint8)).save(folder / name)
    return LabelledFaces(rows, folder)


def together(rows: pd.DataFrame, column: str) -> bool:
    """Whether all rows of a group are in one split."""
    return all(len(set(splits)) == 1 for _, splits in rows.groupby(column)["split"])


def test_named_data_come_first_then_a_mounted_set_then_a_practice_set(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    faces = table(tmp_path)
    faces.table.to_csv(tmp_path / "faces.csv", index=False)
    monkeypatch.setattr(opening, "KAGGLE_SET", tmp_path / "mounted")
    assert len(open_faces(tmp_path / "faces.csv")) == 8
    made = open_faces(practice=2, folder=tmp_path / "made", seed=1)
    assert (len(made), made.root) == (4, tmp_path / "made")
    (tmp_path / "made").rename(tmp_path / "mounted")
    assert open_faces(folder=tmp_path / "not-made").root == tmp_path / "mounted"
    assert not (tmp_path / "not-made").exists()


def test_a_part_of_it(tmp_path: Path) -> None:
    faces = table(tmp_path, split=["train"] * 6 + ["val"] * 2)
    faces.table.to_csv(tmp_path / "faces.csv", index=False)
    assert len(open_faces(tmp_path / "faces.csv", part="val")) == 2


def test_a_practice_set_says_so(tmp_path: Path) -> None:
    made = make_practice_set(tmp_path / "made", 2)
    assert is_practice_set(made)
    assert describe_faces(made) == "4 faces, 50% fake, from one portrait (practice set)"
    other = table(tmp_path)
    assert not is_practice_set(other)
    assert describe_faces(other) == f"8 faces, 50% fake, from {tmp_path.name}"
    assert not is_practice_set(other.take([]))


def test_people_who_are_named_stay_together(tmp_path: Path) -> None:
    people = ["a"] * 2 + ["b"] * 2 + ["c"] * 4
    found = split_by_person(table(tmp_path, identity=people)).table
    assert together(found, "identity")
    assert found["split"].notna().all()


@pytest.mark.parametrize("people", [None, ["a"] * 4 + ["b"] * 4])
def test_source_videos_stay_together_where_there_are_too_few_people(
    tmp_path: Path, people: list | None
) -> None:
    found = split_by_person(table(tmp_path, identity=people), identify_people=False).table
    assert together(found, "original")
    assert len(set(found["split"])) > 1


def test_people_are_told_apart_where_the_table_does_not_name_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def identify(faces: LabelledFaces) -> LabelledFaces:
        names = ["x", "x", "x", "x", "y", "y", "z", "z"]
        return LabelledFaces(faces.table.assign(identity=names), faces.root)

    monkeypatch.setattr(opening, "identify", identify)
    found = split_by_person(table(tmp_path)).table
    assert set(found["identity"]) == {"x", "y", "z"}
    assert together(found, "identity")


def test_a_split_of_the_table_is_kept(tmp_path: Path) -> None:
    faces = table(tmp_path, split=["train"] * 6 + ["val"] * 2)
    assert split_by_person(faces) is faces


def test_a_split_of_some_faces_is_neither_kept_nor_replaced(tmp_path: Path) -> None:
    """Who has put faces into the split test must not find them in train."""
    faces = table(tmp_path)
    some = faces.with_table(faces.table.assign(split=["test", *[None] * (len(faces) - 1)]))
    with pytest.raises(ValueError, match=rf"1 faces have a split and {len(faces) - 1} have none"):
        split_by_person(some)


def test_faces_of_unknown_people_and_videos_cannot_be_split(tmp_path: Path) -> None:
    faces = table(tmp_path)
    unknown = faces.with_table(faces.table.assign(original=None, identity=None))
    with pytest.raises(ValueError, match="fill the column identity or original, or split"):
        split_by_person(unknown, identify_people=False)


def test_the_held_out_fake_is_of_test_or_else_of_val(tmp_path: Path) -> None:
    assert held_out_fake(table(tmp_path, split=["train"] * 4 + ["val"] * 2 + ["test"] * 2)).max() == 7
    assert held_out_fake(table(tmp_path, split=["train"] * 4 + ["val"] * 4)).max() == 5
    with pytest.raises(InputError, match="no fake face is in the split test or val"):
        held_out_fake(table(tmp_path, split=["train"] * 8))
