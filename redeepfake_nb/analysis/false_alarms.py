"""How often a model accuses genuine faces, as far as its card knows."""

from __future__ import annotations

from ..models.card import Card
from ..utils.numeric import is_finite_number


def false_positive_rate(card: Card, threshold: float) -> float | None:
    """Return which share of the genuine faces in the model's test reach a threshold.

    It follows from two metrics of the card: the balanced accuracy is the mean of the recall and of the share
    of genuine faces under the threshold.

    Returns
    -------
    float or None
        0..1; ``None`` where the card lacks either metric, or has them at another threshold.
    """
    metrics = card.metrics
    if metrics.get("threshold") != threshold:
        return None
    recall, balanced = (_value(metrics.get(name)) for name in ("recall", "balanced_accuracy"))
    if recall is None or balanced is None:
        return None
    rate = 1 - (2 * balanced - recall)
    # Beyond rounding, such metrics contradict each other.
    return min(max(rate, 0.0), 1.0) if -0.005 <= rate <= 1.005 else None


def false_alarms(card: Card, threshold: float) -> str:
    """Finish the sentence "Points to manipulation, but ..."; empty where the rate is not known."""
    rate = false_positive_rate(card, threshold)
    if rate is None:
        return ""
    count = round(100 * rate)
    if count == 0:
        return "of 100 genuine faces in this model's test fewer than one reaches it, too"
    reach = "reaches" if count == 1 else "reach"
    return f"of 100 genuine faces in this model's test about {count} {reach} it, too"


def _value(metric: object) -> float | None:
    """The value of a metric, which a card holds with its interval."""
    value = metric.get("value") if isinstance(metric, dict) else None
    return float(value) if is_finite_number(value) else None
