"""The AUC of each kind of fakes, by generator."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from redeepfake_nb.evaluation.kinds import check_by, measure_kinds, origin_table

# Two real faces at 0.2 and 0.4; a generator above both, one between them, one below both.
Y = [0, 0, 1, 1, 1]
SCORE = [0.2, 0.4, 0.9, 0.3, 0.1]
KIND = ["", "", "swapped", "generated", "generated"]
GENERATOR = ["", "", "A", "B", "C"]


def test_by_hand() -> None:
    found = measure_kinds(Y, SCORE, KIND, GENERATOR, against="two faces", trained_on={"A"}, resamples=100)
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
    assert (found[0].low, found[0].high) == (0.0, 1.0)  # of three faces


def test_only_the_order_of_scores_counts() -> None:
    first = measure_kinds(Y, SCORE, KIND, GENERATOR, resamples=100)
    assert measure_kinds(Y, np.log(SCORE), KIND, GENERATOR, resamples=100) == first


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


@pytest.mark.parametrize(("reals", "fakes", "known"), [(5, 5, True), (4, 5, False), (5, 4, False)])
def test_few_people_say_nothing_of_others(reals: int, fakes: int, known: bool) -> None:
    """Ten faces of each, perfectly separated."""
    y = np.repeat([0, 1], 10)
    people = np.concatenate([np.arange(10) % reals, 100 + np.arange(10) % fakes])
    kind = np.where(y, "swapped", "")
    (found,) = measure_kinds(y, y + 0.0, kind, kind, groups=people, resamples=100)
    # Of five people, all in order: Wilson's interval begins at 5 / (5 + 1.96^2).
    assert (found.auc, found.low, found.high) == (1, 0.5655 if known else 0, 1)
    assert found.detected == known
    rows = pd.DataFrame({"label": np.where(y, "FAKE", "REAL"), "source": np.where(y, "b", "a")})
    table = origin_table(rows, y + 0.0, threshold=0.5, groups=people, resamples=100).set_index("value")
    assert table.loc["b", "auc"] == 1
    assert pd.isna(table.loc["b", "auc_low"])
    assert pd.notna(table.loc["b", "predicted_fake_low"]) == (fakes == 5)
    assert pd.notna(table.loc["a", "predicted_fake_low"]) == (reals == 5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y_true": [0, 0, 1, 1]}, "one length"),
        ({"y_true": [1, 1, 1, 1, 1]}, "both present"),
        ({"kinds": ["", "", "drawn", "generated", "generated"]}, "kind must be one of"),
        ({"resamples": 99}, "needs 100 resamples or more"),
        ({"groups": [1, 2]}, "2 groups for 5 faces"),
        ({"y_score": [0.2, 0.4, np.nan, 0.3, 0.1]}, "scores must be finite"),
    ],
)
def test_bad_input_is_refused(change: dict, message: str) -> None:
    given = {"y_true": Y, "y_score": SCORE, "kinds": KIND, "generators": GENERATOR, "resamples": 100}
    with pytest.raises(ValueError, match=message):
        measure_kinds(**given | change)


ORIGINS = pd.DataFrame(
    {
        "label": ["REAL", "REAL", "REAL", "FAKE", "FAKE", "FAKE"],
        "source": ["street", "street", "studio", "A", "A", None],
        "kind": [None, None, None, "swapped", "generated", "generated"],
    }
)
P = np.array([0.2, 0.6, 0.4, 0.9, 0.3, 0.5])


def test_a_table_by_source_and_kind_by_hand() -> None:
    found = origin_table(ORIGINS, P, threshold=0.5, resamples=0).set_index(["origin", "value"])
    assert found["faces"].to_dict() == {
        ("kind", "generated"): 2,
        ("kind", "swapped"): 1,
        ("source", "A"): 2,
        ("source", "street"): 2,
        ("source", "studio"): 1,
    }
    assert found["predicted_fake"].tolist() == [0.5, 1.0, 0.5, 0.5, 0.0]
    # 0.3 and 0.5 against 0.2, 0.6, 0.4: one and two of three pairs; 0.9 wins all three.
    np.testing.assert_allclose(found["auc"], [0.5, 1.0, (1 + 3) / 6, np.nan, np.nan])
    assert found["label"].tolist() == ["FAKE", "FAKE", "FAKE", "REAL", "REAL"]
    assert found["auc_low"].isna().all()


def test_its_intervals_hold_the_values() -> None:
    table = pd.concat([ORIGINS] * 10, ignore_index=True)
    found = origin_table(table, np.tile(P, 10), threshold=0.5, resamples=200)
    assert (found["predicted_fake_low"] <= found["predicted_fake"]).all()
    assert (found["predicted_fake"] <= found["predicted_fake_high"]).all()
    # An AUC of 1 has none.
    fakes = found[(found["label"] == "FAKE") & (found["auc"] < 1)]
    assert len(fakes)
    assert (fakes["auc_low"] <= fakes["auc"]).all()
    assert (fakes["auc"] <= fakes["auc_high"]).all()


def test_annotated_groups_have_rows_of_their_own_by_hand() -> None:
    table = ORIGINS.assign(glasses=["yes", "no", "yes", None, "no", None])
    found = origin_table(table, P, threshold=0.5, by=["glasses"], resamples=0)
    assert found.iloc[:5].equals(origin_table(ORIGINS, P, threshold=0.5, resamples=0))
    rows = found[found["origin"] == "glasses"][["value", "label", "faces", "predicted_fake"]]
    # Of 0.2 and 0.4 none reaches the threshold, of 0.6 all; the fourth and the sixth face are of no group.
    assert rows.to_numpy().tolist() == [
        ["no", "FAKE", 1, 0.0],
        ["no", "REAL", 1, 1.0],
        ["yes", "REAL", 2, 0.0],
    ]


@pytest.mark.parametrize(
    ("by", "message"),
    [
        (["beard"], "no column beard .* the table has label, source, kind, glasses, empty, number"),
        (["glasses", "glasses"], "glasses is named twice"),
        (["source"], "source is no column of groups"),
        (["label"], "label is no column of groups"),
        (["empty"], "empty has 0 values; groups need 1 to 30"),
        (["number"], "number has 31 values"),
    ],
)
def test_columns_without_groups_are_refused(by: list[str], message: str) -> None:
    table = pd.concat([ORIGINS] * 6, ignore_index=True).assign(glasses="no", empty=None)
    table["number"] = np.arange(36) % 31
    with pytest.raises(ValueError, match=message):
        check_by(by, table)
    check_by(["glasses"], table)


def test_a_set_without_origins_has_no_table() -> None:
    assert origin_table(ORIGINS[["label"]], P, threshold=0.5).empty
