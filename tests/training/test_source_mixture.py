"""Pairs drawn from several sources: shares, fakes and real faces of the same making, sources left out."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from redeepfake_nb.datasets.labelled_faces import LabelledFaces
from redeepfake_nb.training.recipes import Recipe, Source, Stage
from redeepfake_nb.training.source_mixture import SourceMixture, source_names

# source, label, original
ROWS = [
    ("swaps", "REAL", "v0"),  # 0
    ("swaps", "FAKE", "v0"),  # 1
    ("swaps", "REAL", "v1"),  # 2
    ("swaps", "FAKE", "v1"),  # 3
    ("swaps", "FAKE", "gone"),  # 4: its original is not in the table
    ("portraits", "FAKE", None),  # 5
    ("portraits", "FAKE", None),  # 6
    ("studio", "REAL", None),  # 7
    ("street", "REAL", None),  # 8
    ("street", "REAL", None),  # 9
]


@pytest.fixture
def faces(tmp_path: Path) -> LabelledFaces:
    table = pd.DataFrame(ROWS, columns=["source", "label", "original"])
    table["file"] = [f"{i}.png" for i in range(len(table))]
    return LabelledFaces(table, tmp_path)


def recipe(*sources: Source, pairs: int = 8, left_out: tuple[str, ...] = (), blend: float = 0.5) -> Recipe:
    stages = (Stage(64, 10, 1e-3), Stage(64, 10, 1e-3, leave_out=left_out))
    return Recipe("r", "EfficientNetLite0", stages, batch_pairs=pairs, sources=sources, self_blend=blend)


SWAPS = Source("swaps", 2)
PORTRAITS = Source("portraits", 1, real=("studio", "street"))
STREET = Source("street", 1)


def test_every_batch_has_each_source_by_its_weight(faces: LabelledFaces) -> None:
    mixture = SourceMixture(faces, recipe(SWAPS, PORTRAITS, STREET))
    names = source_names(faces.table)
    for step in range(10):
        drawn = Counter(names[mixture.draw(step)[:, 0]])
        assert drawn == {"swaps": 4, "portraits": 2, "street": 2}


def test_shares_hold_on_average_where_they_are_no_whole_number_of_pairs(faces: LabelledFaces) -> None:
    mixture = SourceMixture(faces, recipe(Source("swaps", 1), PORTRAITS, pairs=3))
    names = source_names(faces.table)
    counts = [int((names[mixture.draw(step)[:, 0]] == "swaps").sum()) for step in range(200)]
    assert set(counts) == {1, 2}
    assert np.mean(counts) == pytest.approx(1.5, abs=0.15)


def test_fakes_are_paired_with_their_original_or_with_real_faces_of_the_same_making(
    faces: LabelledFaces,
) -> None:
    mixture = SourceMixture(faces, recipe(SWAPS, PORTRAITS, STREET))
    pairs = {(int(f), int(r)) for step in range(10) for f, r in mixture.draw(step)}
    assert {(f, r) for f, r in pairs if f in (1, 3)} == {(1, 0), (3, 2)}
    assert {(f, r) for f, r in pairs if f == 4} <= {(4, 0), (4, 2)}
    assert {r for f, r in pairs if f in (5, 6)} == {7, 8, 9}
    assert {(f, r) for f, r in pairs if f in (8, 9)} == {(8, 8), (9, 9)}  # for pseudo-fakes


def test_all_real_faces_of_a_fakes_video_are_drawn() -> None:
    table = pd.DataFrame({"label": ["REAL"] * 3 + ["FAKE"], "original": "v", "source": "swaps"})
    table["file"] = [f"{i}.png" for i in range(4)]
    mixture = SourceMixture(LabelledFaces(table, Path("nowhere")), recipe(SWAPS))
    drawn = np.concatenate([mixture.draw(step) for step in range(10)])
    assert set(drawn[:, 0]) == {3}
    assert set(drawn[:, 1]) == {0, 1, 2}


def test_each_source_of_real_faces_is_drawn_as_often_as_the_others(faces: LabelledFaces) -> None:
    mixture = SourceMixture(faces, recipe(PORTRAITS))
    reals = np.concatenate([mixture.draw(step)[:, 1] for step in range(100)])
    assert np.mean(reals == 7) == pytest.approx(0.5, abs=0.06)  # the only studio face; street has two


def test_a_source_left_out_takes_no_part_in_that_stage(faces: LabelledFaces) -> None:
    mixture = SourceMixture(faces, recipe(SWAPS, PORTRAITS, STREET, left_out=("street",)))
    names = source_names(faces.table)
    before = np.concatenate([mixture.draw(step) for step in range(10)])
    after = np.concatenate([mixture.draw(step) for step in range(10, 20)])
    assert "street" in names[before]
    assert set(names[after[:, 0]]) == {"swaps", "portraits"}
    assert set(after[np.isin(after[:, 0], [5, 6]), 1]) == {7}


def test_fakes_whose_real_faces_are_all_left_out_take_no_part(faces: LabelledFaces) -> None:
    only = Source("portraits", 1, real=("street",))
    mixture = SourceMixture(faces, recipe(SWAPS, only, STREET, left_out=("street",)))
    after = np.concatenate([mixture.draw(step) for step in range(10, 20)])
    assert set(source_names(faces.table)[after[:, 0]]) == {"swaps"}


def test_pairs_depend_on_seed_and_step_alone(faces: LabelledFaces) -> None:
    made = recipe(SWAPS, PORTRAITS, STREET)
    one, same = SourceMixture(faces, made), SourceMixture(faces, made)
    same.draw(3)
    np.testing.assert_array_equal(one.draw(7), same.draw(7))
    assert not np.array_equal(one.draw(7), one.draw(8))
    names = source_names(faces.table)
    again = one.draw(7, again=1)
    assert not np.array_equal(one.draw(7), again)
    np.testing.assert_array_equal(names[one.draw(7)[:, 0]], names[again[:, 0]])


@pytest.mark.parametrize(
    ("made", "message"),
    [
        (recipe(Source("nobody")), "the source nobody has no real faces, which nobody needs"),
        (recipe(Source("portraits")), "the source portraits has no real faces, which portraits needs"),
        (recipe(Source("portraits", real=("studio", "moon"))), "the source moon has no real faces"),
        (recipe(STREET, blend=0.0), "the source street has no fakes, and the recipe makes no pseudo-fakes"),
        (recipe(SWAPS, left_out=("swaps",)), "stage 2 leaves out every source"),
    ],
)
def test_sources_that_cannot_take_part_are_refused(faces: LabelledFaces, made: Recipe, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        SourceMixture(faces, made)


def test_faces_without_a_source_have_an_empty_name(faces: LabelledFaces) -> None:
    assert source_names(faces.table.drop(columns="source")).tolist() == [""] * len(ROWS)
