"""Files that mean harm end in a typed error that names the cause, before anything of them runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.hostile_models import CASES, archive, good_hdf5

import redeepfake_nb
from redeepfake_nb import ModelError, Preprocessing, load_model

INPUT = {"preprocessing": Preprocessing(input_size=8), "positive_class": "fake"}


def test_what_the_files_were_made_of_is_good(tmp_path: Path) -> None:
    """Else every error below could have one and the same cause."""
    for path in (archive(tmp_path, "same"), good_hdf5(tmp_path)):
        assert load_model(path, **INPUT).card.output == "probability"


def test_there_are_many() -> None:
    assert len(CASES) >= 60


@pytest.mark.parametrize("name", CASES)
def test_hostile_file(name: str, tmp_path: Path) -> None:
    maker, errors = CASES[name]
    path = maker(tmp_path)
    with pytest.raises(ModelError) as caught:
        load_model(path, **INPUT)
    assert type(caught.value).__name__ in errors
    assert isinstance(caught.value, tuple(getattr(redeepfake_nb, error) for error in errors))
    assert caught.value.cause
    assert caught.value.next_step
    assert not (tmp_path / "ran").exists()
    assert not (tmp_path.parent / "ran").exists()
