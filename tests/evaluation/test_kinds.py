"""The AUC of each kind of fakes, by generator."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb.evaluation.kinds import measure_kinds

# Two real faces at 0.2 and 0.4; a generator above both, one between them, one below both.
Y = [0, 0, 1, 1, 1]
SCORE = [0.2, 0.4, 0.9, 0.3, 0.1]
KIND = ["", "", "swapped", "generated", "generated"]
GENERATOR = ["", "", "A", "B", "C"]


def test_by_hand() -> None:
    found = measure_kinds(Y, SCORE, KIND, GENERATOR, against="two faces", trained_on={"A"}, resamples=20)
    assert [(r.kind, r.generator, r.auc) for r in found] == [
        ("swapped", "A", 1.0),
        ("generated", "B", 0.5),
        ("generated", "C", 0.0),
    ]
    assert [(r.fakes, r.reals, r.against, r.trained_on) for r in found] == [
        (1, 2, "two faces", True),
        (1, 2, "two faces", False),
        (1, 2, "two faces", False),
    ]
    assert (found[0].low, found[0].high) == (1.0, 1.0)


def test_only_the_order_of_scores_counts() -> None:
    first = measure_kinds(Y, SCORE, KIND, GENERATOR, resamples=5)
    assert measure_kinds(Y, np.log(SCORE), KIND, GENERATOR, resamples=5) == first


def test_the_interval_widens_when_faces_of_one_person_go_together() -> None:
    rng = np.random.default_rng(0)
    persons = np.repeat(np.arange(40), 10)
    y = np.repeat(np.arange(40) % 2, 10)
    score = np.repeat(rng.normal(size=40), 10) + y  # one score a person: ten faces say what one says
    kind, generator = np.where(y, "swapped", ""), np.where(y, "A", "")
    (alone,) = measure_kinds(y, score, kind, generator, resamples=300)
    (grouped,) = measure_kinds(y, score, kind, generator, groups=persons, resamples=300)
    assert alone.auc == grouped.auc
    assert grouped.high - grouped.low > 2 * (alone.high - alone.low)
    assert grouped.low < grouped.auc < grouped.high


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_true": [0, 0, 1, 1]}, "one length"),
        ({"y_true": [1, 1, 1, 1, 1]}, "both present"),
        ({"kinds": ["", "", "drawn", "generated", "generated"]}, "kind must be one of"),
        ({"resamples": 0}, "resamples must be at least 1"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    given = {"y_true": Y, "y_score": SCORE, "kinds": KIND, "generators": GENERATOR, "resamples": 5}
    with pytest.raises(ValueError, match=message):
        measure_kinds(**given | change)
