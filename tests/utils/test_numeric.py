"""Sigmoid, thresholds, finite numbers and JSON values, against arithmetic by hand."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest

from redeepfake_nb.utils.numeric import (
    check_threshold,
    is_finite_number,
    plain,
    probability,
    sigmoid,
    softmax,
)


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0, 0.5),
        (math.log(3), 0.75),  # 3 / (3 + 1)
        (-math.log(4), 0.2),  # 1 / (1 + 4)
        (800.0, 1.0),  # exp(800) overflows a float
        (-800.0, 0.0),
        (math.inf, 1.0),
        (-math.inf, 0.0),
    ],
)
def test_sigmoid(x, expected):
    assert sigmoid(x) == pytest.approx(expected, abs=1e-15)
    assert type(sigmoid(x)) is float


def test_sigmoid_of_an_array_has_its_shape_and_the_sigmoid_of_each_value():
    x = np.linspace(-40, 40, 1002, dtype=np.float32).reshape(2, 501)
    result = sigmoid(x)
    assert result.shape == x.shape
    assert result.dtype == np.float64
    np.testing.assert_allclose(result, [[sigmoid(float(value)) for value in row] for row in x], rtol=1e-15)
    assert sigmoid([]).shape == (0,)
    assert np.isnan(sigmoid([math.nan])).all()


def test_probability_divides_by_the_temperature():
    logit = 2 * math.log(3)
    assert probability(logit, None) == pytest.approx(0.9)  # 9 / (9 + 1)
    assert probability(logit, 2.0) == pytest.approx(0.75)
    assert probability(np.array([logit, 0], np.float32), 2.0) == pytest.approx([0.75, 0.5])


@pytest.mark.parametrize("threshold", [0.001, 0.5, 0.999, np.float32(0.5), Fraction(1, 3)])
def test_thresholds_in_range(threshold):
    check_threshold(threshold)


@pytest.mark.parametrize("threshold", [0, 1, -0.1, 2, math.nan, math.inf, True, "0.5", None])
def test_thresholds_out_of_range(threshold):
    with pytest.raises(ValueError, match=r"^threshold must lie between 0 and 1 \(both excluded\), not "):
        check_threshold(threshold)


@pytest.mark.parametrize("value", [0, -1.5, np.float32(2), np.int64(3), Fraction(1, 2), 10**300])
def test_finite_numbers(value):
    assert is_finite_number(value)


@pytest.mark.parametrize("value", [math.nan, math.inf, True, np.True_, "1", None, [1], 1j, 10**400])
def test_everything_else_is_no_finite_number(value):
    assert not is_finite_number(value)


@dataclass
class Pair:
    low: float
    high: np.ndarray


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, None),
        (np.True_, True),
        (np.int64(7), 7),
        (np.float32(0.5), 0.5),
        (math.nan, None),
        (-math.inf, None),
        (np.array([[1.5, math.inf], [0, 2]]), [[1.5, None], [0.0, 2.0]]),
        ({1: (np.int8(2), "x")}, {"1": [2, "x"]}),
        (Pair(0.25, np.array([1, 2])), {"low": 0.25, "high": [1, 2]}),
        (Pair, str(Pair)),
        ("a\udcff", "a\\udcff"),
        (frozenset({3}), [3]),
    ],
)
def test_plain(value, expected):
    result = plain(value)
    assert result == expected
    assert type(result) is type(expected)
    json.dumps(result, allow_nan=False)


def test_plain_rounds_fractions_only():
    assert plain({"a": [np.float64(0.123456)], "b": 123456}, digits=3) == {"a": [0.123], "b": 123456}
    assert plain(0.123456) == 0.123456


def test_softmax_by_hand() -> None:
    np.testing.assert_allclose(softmax([[0.0, np.log(3.0)], [1000.0, 1000.0]]), [[0.25, 0.75], [0.5, 0.5]])
    assert softmax(np.zeros((4, 0))).shape == (4, 0)
    assert softmax(np.zeros((0, 3))).shape == (0, 3)
