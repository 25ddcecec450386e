"""Metrics equal scikit-learn's and hand arithmetic; intervals know about people."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from redeepfake_nb import evaluate
from redeepfake_nb.evaluation import (
    Metric,
    equal_error_rate,
    expected_calibration_error,
    fit_temperature,
)


@pytest.fixture
def scores(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y = rng.integers(0, 2, 300)
    return y, expit(1.5 * (y - 0.5) + rng.standard_normal(300))


def test_values_equal_those_of_scikit_learn(scores: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = scores
    found = evaluate(y, p, threshold=0.4, resamples=0)
    label = p >= 0.4
    assert found["accuracy"].value == sk.accuracy_score(y, label)
    assert found["balanced_accuracy"].value == sk.balanced_accuracy_score(y, label)
    assert found["precision"].value == sk.precision_score(y, label)
    assert found["recall"].value == sk.recall_score(y, label)
    assert found["f1"].value == sk.f1_score(y, label)
    assert found["auc"].value == sk.roc_auc_score(y, p)
    assert found["average_precision"].value == sk.average_precision_score(y, p)
    assert found["log_loss"].value == sk.log_loss(y, p)
    assert found["brier"].value == pytest.approx(np.mean((p - y) ** 2))


def test_four_faces_by_hand() -> None:
    found = evaluate([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], resamples=0)
    assert found["accuracy"].value == 0.5
    # Of the four pairs (fake, real) three are in order: 0.4 > 0.1, 0.9 > 0.1, 0.9 > 0.6.
    assert found["auc"].value == 0.75
    assert found["brier"].value == pytest.approx((0.01 + 0.36 + 0.36 + 0.01) / 4)
    assert np.isnan(found["auc"].low)


def test_a_score_at_the_threshold_counts_as_fake() -> None:
    assert evaluate([0, 1], [0.2, 0.5], threshold=0.5, resamples=0)["recall"].value == 1


@pytest.mark.parametrize(
    ("y", "p", "expected"),
    [
        ([0, 0, 1, 1], [0.1, 0.2, 0.8, 0.9], 0.0),
        ([0, 0, 1, 1], [0.8, 0.9, 0.1, 0.2], 1.0),
        ([0, 0, 1, 1], [0.1, 0.6, 0.4, 0.9], 0.5),
        ([0, 1, 0, 1], [0.5, 0.5, 0.5, 0.5], 0.5),
    ],
)
def test_equal_error_rate(y: list[int], p: list[float], expected: float) -> None:
    assert equal_error_rate(np.array(y), np.array(p)) == pytest.approx(expected)


def test_calibration_error_by_hand() -> None:
    # Bin 0.0 to 0.5 holds 0.2 and 0.4 with one fake: |0.6 - 1| = 0.4. The other holds 0.9 with a fake: 0.1.
    y, p = np.array([0, 1, 1]), np.array([0.2, 0.4, 0.9])
    assert expected_calibration_error(y, p, bins=2) == pytest.approx(0.5 / 3)


def test_calibration_error_of_certainties() -> None:
    assert expected_calibration_error(np.array([0, 1]), np.array([0.0, 1.0])) == 0


def test_intervals_resample_whole_people(scores: tuple[np.ndarray, np.ndarray]) -> None:
    """Each face ten times says nothing new, and the interval must not shrink for it."""
    y, p = scores[0][:60], scores[1][:60]
    once = evaluate(y, p, groups=np.arange(60), resamples=80, seed=3)["auc"]
    many_y, many_p, person = np.repeat(y, 10), np.repeat(p, 10), np.repeat(np.arange(60), 10)
    grouped = evaluate(many_y, many_p, groups=person, resamples=80, seed=3)["auc"]
    naive = evaluate(many_y, many_p, resamples=80, seed=3)["auc"]
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=1e-6)
    assert naive.high - naive.low < 0.6 * (grouped.high - grouped.low)


def test_same_seed_same_interval(scores: tuple[np.ndarray, np.ndarray]) -> None:
    first, second, other = (evaluate(*scores, resamples=50, seed=s)["auc"] for s in (1, 1, 2))
    assert first == second
    assert first.low != other.low
    assert first.low < first.value < first.high


def test_result_is_plain_json(scores: tuple[np.ndarray, np.ndarray]) -> None:
    found = evaluate(*scores, groups=np.arange(300) // 3, resamples=20).to_dict()
    assert json.loads(json.dumps(found)) == found
    assert (found["faces"], found["groups"], found["resamples"]) == (300, 100, 20)
    assert evaluate([0, 1], [0.1, 0.9], resamples=0).to_dict()["auc"] == {
        "value": 1.0,
        "low": None,
        "high": None,
    }


def test_metric_in_words() -> None:
    assert str(Metric(0.81234, 0.7, 0.9)) == "0.8123 (0.7000 to 0.9000)"
    assert str(Metric(0.5, float("nan"), float("nan"))) == "0.5000"


@pytest.mark.parametrize(
    ("y", "p", "message"),
    [
        ([0, 1], [0.5], "one length"),
        ([0, 0], [0.5, 0.5], "both present"),
        ([0, 2], [0.5, 0.5], "both present"),
        ([0, 1], [0.5, 1.5], "0 to 1"),
        ([0, 1], [0.5, float("nan")], "0 to 1"),
    ],
)
def test_bad_input(y: list, p: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(y, p)


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_temperature_is_found_again(temperature: float) -> None:
    rng = np.random.default_rng(0)
    z = 2 * rng.standard_normal(20_000)
    y = rng.random(20_000) < expit(z)
    assert fit_temperature(y, temperature * z) == pytest.approx(temperature, rel=0.05)
