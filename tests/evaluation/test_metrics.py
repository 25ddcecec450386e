"""Metrics equal scikit-learn's and arithmetic by hand; intervals resample whole persons."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from redeepfake_nb import evaluate
from redeepfake_nb.evaluation.calibration import fit_calibration, fit_temperature, threshold_at
from redeepfake_nb.evaluation.metrics import (
    Metric,
    bootstrap,
    equal_error_rate,
    expected_calibration_error,
    resampled_rows,
    share_with_interval,
    wilson_interval,
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


@pytest.mark.slow
def test_intervals_resample_whole_people(scores: tuple[np.ndarray, np.ndarray]) -> None:
    """Each face ten times says nothing new, and the interval must not shrink for it."""
    y, p = scores[0][:60], scores[1][:60]
    once = evaluate(y, p, groups=np.arange(60), resamples=80, seed=3)["auc"]
    many_y, many_p, person = np.repeat(y, 10), np.repeat(p, 10), np.repeat(np.arange(60), 10)
    grouped = evaluate(many_y, many_p, groups=person, resamples=80, seed=3)["auc"]
    naive = evaluate(many_y, many_p, resamples=80, seed=3)["auc"]
    assert grouped.high - grouped.low == pytest.approx(once.high - once.low, rel=1e-6)
    assert naive.high - naive.low < 0.6 * (grouped.high - grouped.low)


@pytest.mark.slow
def test_few_groups_have_no_interval() -> None:
    y, p = [0, 1] * 5, np.linspace(0.1, 0.9, 10)
    for count in (1, 4, 5):
        found = evaluate(y, p, groups=np.arange(10) % count, resamples=50)
        assert np.isnan(found["auc"].low) == np.isnan(found["auc"].high) == (count < 5)
        assert found.resamples == (50 if count == 5 else 0)
        assert found["auc"].value == evaluate(y, p, resamples=0)["auc"].value


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
def test_temperature_is_recovered(temperature: float) -> None:
    rng = np.random.default_rng(0)
    z = 2 * rng.standard_normal(20_000)
    y = rng.random(20_000) < expit(z)
    assert fit_temperature(y, temperature * z) == pytest.approx(temperature, rel=0.05)


def test_temperature_of_faces_that_count() -> None:
    """Faces with weight 0 take no part, and a weight of 2 counts a face twice."""
    rng = np.random.default_rng(0)
    z = 2 * rng.standard_normal(400)
    y = (rng.random(400) < expit(z)).astype(int)
    half = np.arange(400) < 200
    found = fit_temperature(y, np.where(half, 3 * z, -z), half.astype(float))
    assert found == pytest.approx(fit_temperature(y[half], 3 * z[half]))
    twice = fit_temperature(np.r_[y, y[half]], np.r_[z, z[half]])
    assert fit_temperature(y, z, 1.0 + half) == pytest.approx(twice)


# ------------------------------------------------------------------ threshold at a false positive rate

REALS, FAKES = [0.1, 0.2, 0.3, 0.4], [0.25, 0.35, 0.5]


@pytest.mark.parametrize(
    ("rate", "threshold", "false_positive_rate", "true_positive_rate"),
    [
        (0.0, 0.5, 0.0, 1 / 3),  # above every real there is one fake
        (0.24, 0.5, 0.0, 1 / 3),  # a quarter is not allowed yet
        (0.25, 0.35, 0.25, 2 / 3),  # the real at 0.4 may be called; 0.3 may not
        (0.5, 0.25, 0.5, 1.0),
        (1.0, 0.1, 1.0, 1.0),
    ],
)
def test_threshold_by_hand(
    rate: float, threshold: float, false_positive_rate: float, true_positive_rate: float
) -> None:
    found = threshold_at([0] * 4 + [1] * 3, REALS + FAKES, rate)
    assert found == pytest.approx((threshold, false_positive_rate, true_positive_rate))


def test_tied_reals_stay_together() -> None:
    # One of three reals may be called, but the two at 0.7 cannot be told apart: neither is.
    assert threshold_at([0, 0, 0, 1, 1], [0.2, 0.7, 0.7, 0.7, 0.9], 1 / 3) == (0.9, 0.0, 0.5)
    assert threshold_at([0, 0, 0, 1, 1], [0.2, 0.7, 0.7, 0.7, 0.9], 2 / 3) == (0.7, 2 / 3, 1.0)


def test_no_score_above_the_reals() -> None:
    found = threshold_at([0, 1], [0.7, 0.7], 0.0)
    assert found == (np.nextafter(0.7, 1), 0.0, 0.0)


def test_a_rate_that_rounding_would_lose() -> None:
    y, p = [0] * 100 + [1], [i / 100 for i in range(100)] + [1.0]
    assert 0.29 * 100 < 29
    assert threshold_at(y, p, 0.29).false_positive_rate == 0.29


def test_threshold_is_the_best_point_of_the_roc_curve(scores: tuple[np.ndarray, np.ndarray]) -> None:
    y, p = scores[0], scores[1].round(2)  # rounded, so that scores tie
    fpr, tpr, _ = sk.roc_curve(y, p, drop_intermediate=False)
    for rate in (0.0, 0.013, 0.05, 0.3, 0.99):
        found = threshold_at(y, p, rate)
        assert found.false_positive_rate <= rate
        assert found.true_positive_rate == tpr[fpr <= rate].max()


@pytest.mark.parametrize(
    ("y", "p", "rate", "message"),
    [
        ([0, 1], [0.5], 0.1, "one length"),
        ([1, 1], [0.5, 0.5], 0.1, "both present"),
        ([0, 1], [0.5, float("nan")], 0.1, "finite"),
        ([0, 1], [0.5, 0.6], 1.1, "between 0 and 1"),
    ],
)
def test_threshold_of_bad_input(y: list, p: list, rate: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        threshold_at(y, p, rate)


# ------------------------------------------------------------------ bootstrap


def test_a_constant_has_no_width_and_samples_are_whole_groups() -> None:
    y, groups = np.array([0, 1] * 5), np.repeat(list("abcde"), 2)
    seen = list(resampled_rows(y, groups, 40, seed=0))
    assert len(seen) == 40
    for rows in seen:
        assert len(rows) == 10
        counts = np.bincount(rows, minlength=10)
        np.testing.assert_array_equal(counts[0::2], counts[1::2])  # both rows of a group, or neither
    found = bootstrap({"seven": lambda rows: 7.0}, y, groups=groups, resamples=5)["seven"]
    assert found.value == 7
    assert np.isnan((found.low, found.high)).all()


def test_samples_with_one_label_are_skipped() -> None:
    y = np.array([0, 1])
    seen = list(resampled_rows(y, None, 100, seed=0))
    assert 30 < len(seen) < 70
    assert all(sorted(rows) == [0, 1] for rows in seen)


def test_groups_of_another_length() -> None:
    with pytest.raises(ValueError, match="3 groups for 2 faces"):
        evaluate([0, 1], [0.1, 0.9], groups=[1, 2, 3])


def test_calibration_recovers_slope_and_shift(rng: np.random.Generator) -> None:
    z = rng.normal(0, 3, 40_000)
    y = (rng.random(len(z)) < 1 / (1 + np.exp(-(z - 1.5) / 2))).astype(int)
    temperature, shift = fit_calibration(y, z)
    assert temperature == pytest.approx(2, rel=0.05)
    assert shift == pytest.approx(-1.5, abs=0.1)


def test_calibration_of_separable_scores_stays_finite() -> None:
    with pytest.warns(UserWarning, match=r"limit of 0\.05: the logits separate the labels"):
        temperature, shift = fit_calibration(np.array([0, 0, 1, 1]), np.array([-2.0, -1, 1, 2]))
    assert temperature == pytest.approx(0.05, rel=0.1)
    assert abs(shift) < 2


@pytest.mark.parametrize("fit", [fit_temperature, fit_calibration])
@pytest.mark.parametrize(
    ("y", "logits", "message"),
    [
        ([-2.0, 3.0], [0, 1], "labels must be 0"),  # swapped
        ([0.2, 0.4, 0.9], [0, 0, 1], "labels must be 0"),  # swapped, and probabilities
        ([-1, 1], [-2.0, 3.0], "labels must be 0"),
        ([1, 1], [2.0, 3.0], "both present"),
        ([0, 1], [np.nan, 1.0], "must be finite"),
        ([], [], "both present"),
        ([0, 1, 1], [-2.0, 3.0], "one length"),
    ],
)
def test_bad_input_of_a_fit(fit: Callable, y: list, logits: list, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        fit(y, logits)


@pytest.mark.parametrize("weights", [[1.0], [-1.0, 1.0], [np.nan, 1.0], [0.0, 0.0]])
def test_bad_weights_of_a_fit(weights: list) -> None:
    with pytest.raises(ValueError, match="weights must"):
        fit_temperature([0, 1], [-1.0, 1.0], weights)


def test_a_fit_that_ends_at_a_limit_says_so() -> None:
    with pytest.warns(UserWarning, match="limit of 20: the logits say nothing of the labels"):
        fit_temperature([0, 1], [1.0, -1.0])
    y = np.repeat([0, 1], 200)
    logits = np.random.default_rng(0).normal(2 * y - 12, 2)
    with pytest.warns(UserWarning, match="best shift lies at its limit of 10"):
        fit_calibration(y, logits)


def test_shares_of_none_and_all_are_not_certain() -> None:
    """Of 5 of 5, Wilson's interval begins at 5 / (5 + 1.96^2); without any it ends as far from 0."""
    assert wilson_interval(1, 5) == pytest.approx((5 / (5 + 1.96**2), 1))
    assert wilson_interval(0.5, 100) == pytest.approx((0.4038, 0.5962), abs=1e-4)
    none = share_with_interval(np.zeros(10, bool), groups=np.repeat(range(5), 2))
    assert (none.value, none.low) == (0, 0)
    assert none.high == pytest.approx(1 - 5 / (5 + 1.96**2))


def test_metrics_whose_samples_are_alike_have_no_interval() -> None:
    found = evaluate([0] * 5 + [1] * 5, [0.1] * 5 + [0.9] * 5)
    assert str(found["auc"]) == "1.0000"


def test_precision_without_a_predicted_fake_is_undefined() -> None:
    found = evaluate([0, 1] * 5, [0.1, 0.2] * 5)
    assert (str(found["precision"]), str(found["f1"])) == ("n/a", "n/a")
    assert found.to_dict()["precision"] == {"value": None, "low": None, "high": None}
    assert found["recall"].value == 0
