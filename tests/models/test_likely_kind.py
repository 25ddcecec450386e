"""Kinds in words, and their mean over sightings."""

from __future__ import annotations

import pytest

from redeepfake_nb.models.likely_kind import kinds_in_words, mean_kinds


def test_words() -> None:
    assert kinds_in_words({}) == kinds_in_words(None) == ""
    likely = kinds_in_words({"generated": 0.87, "swapped": 0.1, "edited": 0.03})
    assert likely == "if fake, then more likely wholly generated (0.87)"
    assert kinds_in_words({"generated": 0.4, "swapped": 0.6}).endswith("swapped or re-enacted (0.60)")
    assert kinds_in_words({"generated": 0.41, "swapped": 0.59}) == ""


def test_mean_by_weight() -> None:
    rows = [{"generated": 1.0, "swapped": 0.0}, {"generated": 0.0, "swapped": 1.0}]
    assert mean_kinds(rows, [0.9, 0.3]) == pytest.approx({"generated": 0.75, "swapped": 0.25})
    assert mean_kinds([], []) == {}
