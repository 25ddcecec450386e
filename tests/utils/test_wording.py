"""Words with numbers."""

from __future__ import annotations

import pytest

from redeepfake_nb.utils.wording import pluralize


@pytest.mark.parametrize(
    ("number", "words"), [(0, "0 files"), (1, "1 file"), (2, "2 files"), (1200, "1,200 files")]
)
def test_pluralize(number: int, words: str) -> None:
    assert pluralize(number, "file") == words
