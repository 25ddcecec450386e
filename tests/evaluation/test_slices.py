"""Slices by hand, and metrics that equal scikit-learn's."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
from sklearn import metrics as sk

from redeepfake_nb.evaluation.metrics import NO_INTERVAL, evaluate
from redeepfake_nb.evaluation.slices import (
    auc_of,
    format_range,
    metric_functions,
    plain_rows,
    slice_table,
)


def test_three_slices_by_hand() -> None:
    y = np.array([0, 1, 0, 1, 1, 1])
    p = np.array([0.2, 0.8, 0.6, 0.4, 0.9, 0.9])
    width = np.array([50, 107, 108, 155, 300, np.nan])
    table = slice_table(y, p, {"native width": width}, resamples=0)
    assert list(table["from"]) == [0, 108, 224]
    assert list(table["below"]) == [108, 156, np.inf]
    assert list(table["faces"]) == [2, 2, 1]
    assert list(table["fakes"]) == [1, 1, 1]
    assert list(table["auc"][:2]) == [1.0, 0.0]
    assert list(table["accuracy"][:2]) == [1.0, 0.0]
    assert table["log_loss"][0] == pytest.approx(-np.log(0.8))
    assert table["log_loss"][1] == pytest.approx(-np.log(0.4))
    # One label alone: not a number, and the table says why.
    assert np.isnan(table["auc"][2])
    assert np.isnan(table["accuracy"][2])
    assert list(table["note"]) == ["no interval: 2 groups", "no interval: 2 groups", "n/a: one label"]
    # Real faces predicted fake: none of one, one of one, and there is no real face.
    np.testing.assert_array_equal(table["false_positive_rate"], [0, 1, np.nan])
    assert table["false_positive_rate_low"].isna().all()


def test_a_slice_of_real_faces_has_a_false_positive_rate() -> None:
    tone = np.full(12, 20.0)
    p = np.array([0.9, 0.8] + [0.1] * 10)
    row = slice_table(np.zeros(12, int), p, {"skin tone": tone}, resamples=200).iloc[0]
    assert row["note"] == "n/a: one label"
    assert row["false_positive_rate"] == pytest.approx(2 / 12)
    assert 0 <= row["false_positive_rate_low"] < 2 / 12 < row["false_positive_rate_high"] < 0.6
    # Both false positives are of one person: the interval is wider.
    people = np.array([0, 0, *range(1, 11)])
    by_person = slice_table(np.zeros(12, int), p, {"skin tone": tone}, groups=people, resamples=200).iloc[0]
    assert by_person["false_positive_rate_high"] >= row["false_positive_rate_high"]


def test_few_people_make_no_interval() -> None:
    y, p = np.tile([0, 1], 10), np.linspace(0, 1, 20)
    light = np.full(20, 100.0)
    for people, note in ((4, "no interval: 4 groups"), (5, "")):
        row = slice_table(y, p, {"brightness": light}, groups=np.arange(20) % people, resamples=20).iloc[0]
        assert row["note"] == note
        assert np.isnan(row["auc_low"]) == bool(note)
        assert row["auc"] == pytest.approx(sk.roc_auc_score(y, p))


def test_what_all_samples_agree_on_is_not_certain() -> None:
    """Five real people and five faked ones, all told apart."""
    y = np.repeat([0, 1], 5)
    (row,) = slice_table(y, y.astype(float), {"brightness": np.full(10, 100.0)}).to_dict("records")
    assert (row["auc"], row["note"]) == (1, NO_INTERVAL)
    assert np.isnan((row["auc_low"], row["auc_high"])).all()
    assert row["false_positive_rate_low"] == 0
    assert row["false_positive_rate_high"] == pytest.approx(1 - 5 / (5 + 1.96**2))


def test_a_slice_has_the_metrics_and_intervals_of_its_faces_alone() -> None:
    rng = np.random.default_rng(0)
    y = rng.integers(0, 2, 200)
    p, light, people = rng.random(200).round(2), rng.uniform(0, 255, 200), rng.integers(0, 20, 200)
    options = {"groups": people, "threshold": 0.3, "resamples": 60, "seed": 5}
    table = slice_table(y, p, {"brightness": light}, **options).set_index("from")
    inside = (light >= 60) & (light < 90)
    expected = evaluate(y[inside], p[inside], **{**options, "groups": people[inside]})
    for name in ("auc", "accuracy", "log_loss"):
        metric = expected[name]
        found = table.loc[60, [name, f"{name}_low", f"{name}_high"]].astype(float)
        np.testing.assert_allclose(found, [metric.value, metric.low, metric.high])


def test_metric_functions_equal_scikit_learn() -> None:
    rng = np.random.default_rng(1)
    y, p = rng.integers(0, 2, 100), rng.random(100).round(1)  # with many ties, and with 0 and 1
    assert {0.0, 1.0} <= set(p)
    rows = rng.integers(0, 100, 100)
    functions = metric_functions(y, p, 0.4)
    assert functions["auc"](rows) == pytest.approx(sk.roc_auc_score(y[rows], p[rows]))
    assert functions["accuracy"](rows) == pytest.approx(sk.accuracy_score(y[rows], p[rows] >= 0.4))
    assert functions["log_loss"](rows) == pytest.approx(sk.log_loss(y[rows], p[rows]))


def test_auc_by_hand() -> None:
    assert auc_of(np.array([0, 0, 1, 1]), np.array([0.1, 0.6, 0.4, 0.9])) == 0.75
    assert auc_of(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5


def test_format_range() -> None:
    assert [format_range(*s) for s in ((0, 108), (108, 156), (224, np.inf))] == [
        "under 108",
        "108 to under 156",
        "224 and over",
    ]


def test_rows_as_json() -> None:
    table = pd.DataFrame({"a": [1, 2], "b": [0.1234567, np.inf], "c": ["x", None]})
    rows = plain_rows(table)
    assert rows == [{"a": 1, "b": 0.12346, "c": "x"}, {"a": 2, "b": None, "c": None}]
    json.dumps(rows, allow_nan=False)
