"""The share of genuine faces over the threshold, from the metrics of a card."""

from __future__ import annotations

import pytest

from redeepfake_nb import Card
from redeepfake_nb.analysis.false_alarms import false_alarms, false_positive_rate


def measured(recall: float, balanced: float, threshold: float = 0.5) -> Card:
    values = {"recall": {"value": recall}, "balanced_accuracy": {"value": balanced}}
    return Card(metrics={"threshold": threshold, **values})


def test_the_rate_follows_from_recall_and_balanced_accuracy() -> None:
    # 80 of 100 fakes and 90 of 100 genuine faces are recognised: (0.8 + 0.9) / 2 = 0.85.
    assert false_positive_rate(measured(0.8, 0.85), 0.5) == pytest.approx(0.1)


@pytest.mark.parametrize(
    "card",
    [Card(), Card(metrics={"threshold": 0.5}), measured(0.8, 0.85, threshold=0.6), measured(0.1, 0.9)],
)
def test_nothing_is_said_where_it_is_not_known(card: Card) -> None:
    assert false_positive_rate(card, 0.5) is None
    assert false_alarms(card, 0.5) == ""


@pytest.mark.parametrize(
    ("recall", "balanced", "words"),
    [
        (0.8, 0.85, "about 10 reach it, too"),
        (0.8, 0.895, "about 1 reaches it, too"),
        (0.8, 0.9, "fewer than one reaches it, too"),
    ],
)
def test_words(recall: float, balanced: float, words: str) -> None:
    assert words in false_alarms(measured(recall, balanced), 0.5)
