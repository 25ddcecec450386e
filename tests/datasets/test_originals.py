"""Which real face or video a fake was made from."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.datasets.originals import originals_of, pair_up, with_own_originals


def labelled(labels: str, original: list) -> LabelledFaces:
    """Faces by their labels' first letters."""
    names = {"R": "REAL", "F": "FAKE"}
    table = pd.DataFrame({"file": "", "label": [names[label] for label in labels]})
    table["original"] = pd.Series(original, dtype=object)
    return LabelledFaces(table, Path("nowhere"))


def owned(*rows: tuple[str, str, str | None]) -> list:
    """What becomes of the column ``original`` of rows of file, label and original."""
    table = pd.DataFrame(list(rows), columns=["file", "label", "original"], dtype=object)
    return with_own_originals(table)["original"].tolist()


@pytest.mark.parametrize("name", ["a/r.jpg", "r.jpg", "r", "r.mp4"])
def test_a_fake_names_its_original_by_path_name_or_stem(name: str) -> None:
    assert owned(("a/r.jpg", "REAL", None), ("f.jpg", "FAKE", name)) == ["a/r.jpg", "a/r.jpg"]


def test_an_original_that_the_table_names_is_kept() -> None:
    rows = (
        ("a/1.jpg", "REAL", "v"),
        ("b/1.jpg", "REAL", "v"),
        ("c.jpg", "FAKE", "v"),
        ("d.jpg", "FAKE", "a/1.jpg"),
    )
    assert owned(*rows) == ["v"] * 4


def test_a_short_name_of_several_real_files_names_none() -> None:
    rows = ("a/1.jpg", "REAL", None), ("b/1.jpg", "REAL", None), ("c.jpg", "FAKE", "1")
    assert owned(*rows) == ["a/1.jpg", "b/1.jpg", "1"]


def test_a_table_without_originals_is_left_as_it_is() -> None:
    assert owned(("a.jpg", "REAL", None), ("b.jpg", "FAKE", None)) == [None, None]


def test_an_original_has_many_real_faces() -> None:
    faces = labelled("RRFRF", ["a", "a", "a", "b", "gone"])
    assert originals_of(faces) == [[0, 1], [0, 1], [0, 1], [3], []]


def test_fakes_of_a_video_take_its_real_faces_in_turn() -> None:
    """Frames 0 to 2 are real; a fourth fake starts again; the other video has its own turn."""
    faces = labelled("RRRFFFFRF", [*"aaaaaaa", "b", "b"])
    np.testing.assert_array_equal(pair_up(faces), [[3, 0], [4, 1], [5, 2], [6, 0], [8, 7]])


def test_pairs_by_hand() -> None:
    """Fake 1 goes with its original 0; fake 3, whose original is not there, with the spare real 2."""
    np.testing.assert_array_equal(pair_up(labelled("RFRF", ["a", "a", "b", "gone"])), [[1, 0], [3, 2]])


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA])
def test_unknown_originals_are_nobodys(nothing: object) -> None:
    """Two values that are missing are not the same video."""
    faces = labelled("RFRFRFRF", ["v0", "v0", *[nothing] * 6])
    np.testing.assert_array_equal(pair_up(faces), [[1, 0], [3, 2], [5, 4], [7, 6]])


def test_pairs_without_reals() -> None:
    faces = labelled("FF", ["v0", "v1"])
    with pytest.raises(ValueError, match="no real faces"):
        pair_up(faces)


def test_pairs_without_fakes() -> None:
    """Reals 0 and 2 stand with themselves, for pseudo-fakes to be made of them."""
    faces = labelled("RFRF", ["a", "a", "b", "gone"])
    np.testing.assert_array_equal(pair_up(faces, fakes=False), [[0, 0], [2, 2]])
    with pytest.raises(ValueError, match="no real faces to make"):
        pair_up(faces.take([1, 3]), fakes=False)
