"""The numbers and the badge of a faithfulness check, on records made by hand."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from redeepfake_nb import Face, Faithfulness, Frame, Prediction
from redeepfake_nb.explanation.badge import RandomizationStage, assign_badge
from redeepfake_nb.explanation.heatmaps import Explanation

LOW, HIGH = -2.0, 2.0
# All of the effect lies in the hottest quarter.
HINGE = {"deletion": np.array([2.0, -2, -2, -2, -2]), "insertion": np.array([-2.0, 2, 2, 2, 2])}


def record(*, lead: float = 2.0, beaten: int = 10, **changes: object) -> Faithfulness:
    """Four steps from log-odds 2 to -2 and back; curves bow by ``lead`` in the middle, random ones not."""
    face = Face.whole(Frame(np.zeros((8, 8, 3), np.uint8)))
    explanation = Explanation(
        Prediction(face, HIGH, 1.0), np.eye(8, dtype=np.float32), "gradcam", "fake", "conv", 1.0, 0.0
    )
    line = np.linspace(HIGH, LOW, 5)
    bow = lead * np.array([0, 1, 1, 1, 0])
    # The random maps that are not beaten gain more than any heatmap here.
    random = np.array([line if i < beaten else line - 9 for i in range(10)])[:, ::2]
    values = {
        "neutral": "black",
        "deletion": line - bow,
        "insertion": line[::-1] + bow,
        "random_deletion": random,
        "random_insertion": np.array([line[::-1]] * 10)[:, ::2],
        "average_drop": 0.25,
        "reproduced": 1.0,
        "stages": (RandomizationStage(0.5, (0.8, 0.6)), RandomizationStage(1.0, (0.3, -0.1))),
    }
    return Faithfulness(explanation, "not supported", (), **{**values, **changes})


def test_numbers_by_hand() -> None:
    found = record()
    # Both curves bow by 2 over three of five points: 2 * 3 / 4 each.
    assert found.gain == pytest.approx(3)
    # Random maps have half of the steps; there the heatmap's curves bow by 2 at one of three points.
    assert found.coarse_gain == pytest.approx(2)
    middle = 1 / (1 + np.exp(-np.array([0 - 2, 0 + 2])))
    assert found.coarse_gap == pytest.approx((middle[1] - middle[0]) / 2)
    np.testing.assert_allclose(found.random_gains, 0, atol=1e-12)
    assert found.beaten == 1
    assert found.p_value == pytest.approx(1 / 11)
    points = 1 / (1 + np.exp(-found.deletion))
    assert found.deletion_area == pytest.approx((points[1:] + points[:-1]).sum() / 8)
    assert found.gap == pytest.approx(1 - 2 * found.deletion_area)
    assert found.randomised == pytest.approx(0.1)
    assert found.stages[0].mean == pytest.approx(0.7)
    np.testing.assert_allclose(found.shares, [0, 0.25, 0.5, 0.75, 1])


@pytest.mark.parametrize(
    ("changes", "badge", "reason"),
    [
        ({}, "supported", "more than 10 of 10 random maps"),
        ({"beaten": 9}, "supported", "9 of 10"),
        ({"beaten": 8}, "weak", "8 of 10"),
        ({"beaten": 7}, "not supported", "7 of 10"),
        # Gains of 0.6, 0.45 and 0.15 in log-odds.
        ({"lead": 0.4}, "supported", "gain of 0.60"),
        ({"lead": 0.3}, "weak", "gain of 0.45"),
        ({"lead": 0.1}, "not supported", "hardly any place on this face matters"),
        ({"reproduced": 0.85}, "not supported", "gives another heatmap"),
        ({"reproduced": float("nan")}, "not supported", "cannot be reproduced"),
        (
            {"stages": (RandomizationStage(1.0, (0.95, 0.97)),), "lead": 0.5},
            "not supported",
            "stays the same whatever",
        ),
        (
            {"stages": (RandomizationStage(1.0, (0.95, 0.97)),), **HINGE},
            "supported",
            "which the architecture explains",
        ),
        ({"random_network_gaps": (0.1, 0.3), **HINGE}, "supported", "up to 0.30"),
        ({"random_network_gaps": (0.1, 0.3), **HINGE}, "supported", "which the architecture explains"),
        (
            {"random_network_gaps": (0.1, 0.3), "lead": 0.5},
            "not supported",
            "set it apart from a network that has learned nothing",
        ),
        ({"random_network_gaps": (0.02, -0.3), "lead": 0.5}, "supported", "up to 0.02"),
        ({"stages": (RandomizationStage(1.0, (0.95, 0.65)),), "lead": 0.5}, "supported", "is 0.80"),
    ],
)
def test_badge(changes: dict, badge: str, reason: str) -> None:
    found, reasons = assign_badge(record(**changes), "no such method")
    assert found == badge
    assert any(reason in text for text in reasons)


def test_a_gain_in_log_odds_alone_is_not_enough() -> None:
    """Log-odds of 40 that fall to 36 are a gain in log-odds and none in probability."""
    base = record()
    sure = record(**{n: getattr(base, n) + 40 for n in ("deletion", "insertion", "random_insertion")})
    assert sure.gain == pytest.approx(3)
    assert sure.gap == pytest.approx(0, abs=1e-6)
    assert assign_badge(sure)[0] == "not supported"


def test_a_localized_score_needs_an_effect() -> None:
    gone = np.array([2.0, -2, -2, -2, -2])
    assert record(deletion=gone, insertion=-gone).localized
    assert not record(lead=0.5).localized
    # An effect of 0.4 in log-odds is none; and places that speak the other way count too.
    assert not record(deletion=gone / 10, insertion=-gone / 10).localized
    beyond = np.array([2.0, -2, -3, -2, -2])
    assert not record(deletion=beyond, insertion=-gone).localized
    assert not record(deletion=gone, insertion=-beyond).localized


def test_to_dict_is_plain_json() -> None:
    found = replace(record(), badge="supported", reasons=("one", "two"))
    values = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert values["badge"] == "supported"
    assert values["reasons"] == ["one", "two"]
    assert values["gain"] == pytest.approx(3)
    assert values["p_value"] == pytest.approx(1 / 11)
    assert values["curves"]["share"] == [0, 0.25, 0.5, 0.75, 1]
    assert values["stages"][1] == {"share": 1.0, "correlations": [0.3, -0.1]}


def test_to_frame_is_in_probability() -> None:
    table = record().to_frame()
    assert len(table) == 5
    assert table["deletion"].iloc[0] == pytest.approx(1 / (1 + np.exp(-2)))
    # The random maps' line, (-2, 0, 2) in log-odds, interpolated in probability.
    ends = 1 / (1 + np.exp(np.array([2.0, 0])))
    assert table["insertion_median"].iloc[1] == pytest.approx(ends.mean())
    assert (table["insertion_low"] <= table["insertion_high"]).all()


def test_empty_record_has_no_numbers() -> None:
    empty = Faithfulness(record().explanation, "not supported", ("nothing speaks for fake",))
    for name in ("gain", "gap", "beaten", "p_value", "deletion_area", "randomised"):
        assert np.isnan(getattr(empty, name))
    assert not empty.localized
    assert len(empty.to_frame()) == 0
    assert empty.headline == "not supported: nothing speaks for fake"
    json.dumps(empty.to_dict(), allow_nan=False)


def test_headline_has_the_badge_and_its_numbers() -> None:
    found = replace(record(), badge="supported")
    assert found.headline.startswith(
        "supported: beats 10 of 10 random maps, gain 3.00 log-odds, P(fake) areas"
    )
    assert "correlation 0.10 with random weights" in found.headline
    assert "correlation 0.20 when reproduced" in replace(found, reproduced=0.2).headline
