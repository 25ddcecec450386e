"""The practice set: pairs that differ by the manipulation alone, Kaggle layout, deterministic files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from redeepfake_nb.datasets.labelled_faces import LabelledFaces, read_faces, split
from redeepfake_nb.datasets.synthetic import make_practice_set
from redeepfake_nb.errors import OutputError


@pytest.fixture(scope="module")
def faces(tmp_path_factory: pytest.TempPathFactory) -> LabelledFaces:
    return make_practice_set(tmp_path_factory.mktemp("practice"), count=4, seed=3)


def test_balanced_labels_in_the_kaggle_layout(faces: LabelledFaces) -> None:
    assert list(faces.y) == [0, 1] * 4
    assert (faces.root / "metadata.csv").read_text().splitlines()[0] == (
        "videoname,original_width,original_height,label,original"
    )
    assert len(list((faces.root / "faces_224").iterdir())) == 8
    assert faces.prefix == "faces_224/"
    assert list(faces.table["original"][:2]) == ["practice0000r.mp4"] * 2
    assert faces.table["identity"].isna().all()
    assert faces.table["original_width"].between(40, 224).all()
    assert faces.table["original_width"].nunique() > 1


def test_a_fake_differs_from_its_original_where_it_was_blended(faces: LabelledFaces) -> None:
    for i in range(0, 8, 2):
        real, fake = faces.image(i).astype(int), faces.image(i + 1).astype(int)
        assert real.shape == fake.shape == (224, 224, 3)
        change = np.abs(real - fake).max(axis=2)
        assert change.max() > 10
        # Framing and light are shared: a good part of the picture is the same up to JPEG's rounding.
        assert (change <= 6).mean() > 0.1
    assert np.abs(faces.image(0).astype(int) - faces.image(2)).mean() > 5


def test_deterministic_and_larger_sets_extend_smaller_ones(faces: LabelledFaces, tmp_path: Path) -> None:
    smaller = make_practice_set(tmp_path / "same", count=2, seed=3)
    other = make_practice_set(tmp_path / "other", count=2, seed=4)
    for i in range(4):
        assert smaller.read(i) == faces.read(i)
        assert other.read(i) != faces.read(i)


def test_pairs_stay_together_in_a_split(faces: LabelledFaces) -> None:
    parts = split(faces, "original", shares={"train": 0.5, "val": 0.5}).table
    assert (parts.groupby("original")["split"].nunique() == 1).all()
    assert set(parts["split"]) == {"train", "val"}


def test_written_over_an_existing_set(tmp_path: Path) -> None:
    first = make_practice_set(tmp_path, count=2)
    second = make_practice_set(tmp_path, count=1)
    assert (len(first), len(second), len(read_faces(tmp_path))) == (4, 2, 2)


def test_invalid_arguments(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="1 to 9999, not 0"):
        make_practice_set(tmp_path, count=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="a part of the path is a file"):
        make_practice_set(tmp_path / "file" / "below", count=1)
