"""Strategies that combine the scores of many frames into one.

Every strategy takes the calibrated logits of one person's faces and returns one P(fake). The scores of
neighbouring frames are far from independent, so no strategy multiplies them as evidence: thirty frames that
lean towards fake do not make certainty.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from ..explanation.methods import check_choice
from ..utils.numeric import sigmoid

DEFAULT = "mean_logit"


def mean_logit(logits: np.ndarray) -> float:
    """Return the sigmoid of the mean logit: the geometric mean of the odds. One extreme frame weighs much."""
    return sigmoid(float(np.mean(logits)))


def mean_probability(logits: np.ndarray) -> float:
    """Return the mean P(fake). One extreme frame weighs no more than its share."""
    return float(np.mean(_probabilities(logits)))


def median(logits: np.ndarray) -> float:
    """Return the median P(fake): insensitive to outliers, and to manipulation in under half of the frames."""
    return float(np.median(_probabilities(logits)))


def top_k_mean(logits: np.ndarray, share: float = 0.25) -> float:
    """Return the mean P(fake) of the highest quarter of the frames, at least one.

    Detects a manipulation of a few seconds, and is misled more easily by a few bad frames.
    """
    values = np.sort(_probabilities(logits))[::-1]
    return float(values[: max(1, math.ceil(share * len(values)))].mean())


def confident(logits: np.ndarray) -> float:
    """Return the mean P(fake) of the confident frames where enough of them agree, else of all frames.

    The rule of Selim Seferbekov's DFDC solution (github.com/selimsef/dfdc_deepfake_challenge): if more than
    2/5 of the frames, and more than 11, are over 0.8, their mean; if more than 9/10 are under 0.2, theirs.
    """
    p = _probabilities(logits)
    high, low = p > 0.8, p < 0.2
    if high.sum() > max(11, len(p) // 2.5):
        return float(p[high].mean())
    if low.sum() > 0.9 * len(p):
        return float(p[low].mean())
    return float(p.mean())


STRATEGIES: dict[str, Callable[[np.ndarray], float]] = {
    "mean_logit": mean_logit,
    "mean_probability": mean_probability,
    "median": median,
    "top_k_mean": top_k_mean,
    "confident": confident,
}

# The same in words, short enough for a menu.
STRATEGY_WORDS = {
    "mean_logit": "Mean log-odds of the frames",
    "mean_probability": "Plain mean of P(fake)",
    "median": "Median P(fake)",
    "top_k_mean": "Mean of the highest quarter",
    "confident": "Mean of the surest frames",
}
# The end of "the score of a person is ...", where more has to be said than in a menu.
_CLAUSES = {
    "mean_logit": "the mean of the frames' log-odds, in which very sure frames count more",
    "mean_probability": "the plain mean of the frames' P(fake)",
}


def aggregation_clause(strategy: str) -> str:
    """Finish the sentence "The score of a person is ..."."""
    words = STRATEGY_WORDS.get(strategy, strategy)
    return _CLAUSES.get(strategy, f"the {words[:1].lower()}{words[1:]}")


def check_strategy(strategy: object) -> None:
    """Raise UnknownChoice, which is also a ValueError, unless ``strategy`` is a name in STRATEGIES."""
    check_choice("aggregation", strategy, STRATEGIES)


def aggregate(logits: Sequence[float] | np.ndarray, strategy: str = DEFAULT) -> float:
    """Combine the calibrated logits of several frames into one P(fake).

    Parameters
    ----------
    logits
        (N,) divided by the model's temperature, N at least 1.
    strategy
        A name in :data:`STRATEGIES`.

    Returns
    -------
    float
        0..1.

    Raises
    ------
    UnknownChoice
        Unknown strategy; also a ``ValueError``.
    ValueError
        No logits, or one that is not finite.
    """
    check_strategy(strategy)
    values = np.asarray(logits, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError("aggregation needs at least one logit, all of them finite")
    return STRATEGIES[strategy](values)


def _probabilities(logits: np.ndarray) -> np.ndarray:
    # One by one: the same numbers, to the last bit, as Sighting.probability.
    return np.array([sigmoid(float(logit)) for logit in logits])
