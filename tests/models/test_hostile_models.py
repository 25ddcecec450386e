"""Malicious and malformed files are refused with a typed error before any of their code runs."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers.hostile_models import CASES, archive, good_hdf5

import redeepfake_nb
from redeepfake_nb import ModelError, Preprocessing, load_model

INPUT = {"preprocessing": Preprocessing(input_size=8), "positive_class": "fake"}


def test_unchanged_files_load(tmp_path: Path) -> None:
    """Else every error below could have one and the same cause."""
    for path in (archive(tmp_path, "same"), good_hdf5(tmp_path)):
        assert load_model(path, **INPUT).card.output == "probability"


def test_number_of_cases() -> None:
    assert len(CASES) >= 60


@pytest.mark.slow
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
