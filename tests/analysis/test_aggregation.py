"""Aggregation strategies against arithmetic by hand."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb.analysis.aggregation import STRATEGIES, STRATEGY_WORDS, aggregate, aggregation_clause


def logit(*probabilities: float) -> np.ndarray:
    p = np.array(probabilities)
    return np.log(p / (1 - p))


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        # odds 1/9, 1, 9, 9: their geometric mean is 3
        ("mean_logit", np.sqrt(3) / (1 + np.sqrt(3))),
        ("mean_probability", 0.6),
        ("median", 0.7),
        ("top_k_mean", 0.9),
        ("confident", 0.6),
    ],
)
def test_four_frames(strategy: str, expected: float) -> None:
    assert aggregate(logit(0.1, 0.5, 0.9, 0.9), strategy) == pytest.approx(expected)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_one_frame_keeps_its_score(strategy: str) -> None:
    assert aggregate(logit(0.3), strategy) == pytest.approx(0.3)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_order_does_not_matter_and_the_result_lies_within(strategy: str, rng: np.random.Generator) -> None:
    z = rng.normal(0, 3, 40)
    found = aggregate(z, strategy)
    assert found == pytest.approx(aggregate(rng.permutation(z), strategy))
    assert 1 / (1 + np.exp(-z.min())) <= found <= 1 / (1 + np.exp(-z.max()))


def test_top_quarter_of_eight_is_two() -> None:
    assert aggregate(logit(*[0.1] * 6, 0.8, 0.6), "top_k_mean") == pytest.approx(0.7)


def test_confident_needs_twelve_confident_fakes() -> None:
    rest = [0.5] * 12
    assert aggregate(logit(*[0.9] * 12, *rest), "confident") == pytest.approx(0.9)
    assert aggregate(logit(*[0.9] * 11, *rest[:11]), "confident") == pytest.approx(0.7)


def test_confident_needs_nine_tenths_confident_reals() -> None:
    assert aggregate(logit(*[0.1] * 19, 0.9), "confident") == pytest.approx(0.1)
    assert aggregate(logit(*[0.1] * 9, 0.9), "confident") == pytest.approx(0.18)


def test_extreme_logits_do_not_overflow() -> None:
    assert aggregate([-1e4, 1e4], "mean_probability") == pytest.approx(0.5)


@pytest.mark.parametrize("logits", [[], [np.nan], [np.inf, 0.0], [[1.0]]])
def test_nothing_to_aggregate(logits: list) -> None:
    with pytest.raises(ValueError, match="at least one logit"):
        aggregate(logits)


def test_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(ValueError, match="median"):
        aggregate([0.0], "mode")


def test_very_sure_frames_count_more_in_the_mean_of_the_log_odds() -> None:
    frames = logit(*[0.999] * 12, *[0.22] * 24)
    assert aggregate(frames, "mean_logit") == pytest.approx(0.81, abs=0.005)
    assert aggregate(frames, "mean_probability") == pytest.approx(0.48, abs=0.005)


def test_each_strategy_is_named_in_a_menu_and_in_a_sentence() -> None:
    assert set(STRATEGY_WORDS) == set(STRATEGIES)
    assert aggregation_clause("mean_logit").startswith("the mean of the frames' log-odds")
    assert aggregation_clause("median") == "the median P(fake)"
