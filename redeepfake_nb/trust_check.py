"""Finds out how far a heatmap can be trusted; what is asked and how it is judged stands in :mod:`trust`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from .background import Cancel, stopper
from .errors import RedeepfakeError
from .explanation import Explanation, explain
from .models import Classifier
from .preprocessing import face_pixels
from .removal import Eraser, heat_on_input, neutral_pictures, on_cells, random_field, ranking
from .scoring import Progress, probabilities
from .stand_in import stand_in
from .trust import GAIN, Faithfulness, Stage, judge_heatmap

# Partly random networks on the way from the output layer alone to all layers, and how often that way is gone.
STAGES, CASCADES = 4, 3


def faithfulness(
    classifier: Classifier,
    explanation: Explanation,
    *,
    steps: int = 8,
    random_maps: int = 20,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel = None,
) -> Faithfulness:
    """Check how far a heatmap can be trusted.

    The badge is ``"supported"`` where the heatmap comes from this model, beats nine tenths of the random
    maps, gains at least 0.5 in log-odds and 0.05 in area of P(target), and changes when the weights are
    randomised. It is ``"weak"`` where it beats three quarters and gains half as much (0.01 in area), and
    else ``"not supported"``. A heatmap that stays the same with random weights is not supported, unless
    the score hangs on its hottest third alone: then the network's build, and not its weights, says where
    it looks.

    The classifier is only read. Its copy with random weights is made at the first check and kept as long
    as it is; a method that asks the network many times for one heatmap does so here a dozen times.

    Parameters
    ----------
    classifier
        The one the explanation was made with.
    explanation
        From :func:`redeepfake_nb.explain`.
    steps
        Of the curves, from 2; each removes an equal share of the face.
    random_maps
        To compare with, from 2; they come in pairs of opposites, so an odd number counts one more.
    seed
        Of the random maps and the random weights. The same seed gives the same result.
    progress
        Called as ``progress(done, total)``.
    cancel
        An event, or a function that says when to stop.

    Raises
    ------
    ValueError
        Too few steps or random maps.
    RedeepfakeError
        Cancelled; half a check earns no badge.
    UnsuitableModel
        A score is not finite.
    """
    if steps < 2 or random_maps < 2:
        raise ValueError(f"a check takes at least 2 steps and 2 random maps, not {steps} and {random_maps}")
    heat = heat_on_input(explanation, classifier.preprocessing)
    cells = on_cells(heat)
    if explanation.empty or not np.ptp(cells) > 0:
        why = (
            f"nothing on this face speaks for {explanation.target}, so there is no heatmap to rely on"
            if explanation.empty
            else "the heatmap is even and names no place"
        )
        return Faithfulness(explanation, "not supported", (why,))

    pairs = (random_maps + 1) // 2
    # Two of the batches hold the neutral pictures and the average drop.
    batches = 2 + (1 + pairs) * Eraser.batches(2 * (steps - 1))
    work = _Work(batches + 1 + CASCADES * STAGES, progress, stopper(cancel))

    values = _curves(classifier, explanation, heat, steps, pairs, seed, work)
    reproduced, stages, problem = _sanity(classifier, explanation, cells, seed, work)
    work.finish()
    found = Faithfulness(explanation, "not supported", (), **values, reproduced=reproduced, stages=stages)
    badge, reasons = judge_heatmap(found, problem)
    return replace(found, badge=badge, reasons=reasons)


class _Work:
    """Counts steps, tells of them, and stops between two of them."""

    def __init__(self, total: int, progress: Progress | None, stop: Callable[[], bool]) -> None:
        self._done, self._total, self._progress, self._stop = 0, total, progress, stop

    def tick(self) -> None:
        self._done += 1
        self._tell(min(self._done, self._total))
        if self._stop():
            raise RedeepfakeError("the check was cancelled", next_step="Run it again for a badge.")

    def finish(self) -> None:
        """A small network has fewer layers to randomise than was counted on."""
        if self._done < self._total:
            self._tell(self._total)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._total)


def _curves(
    classifier: Classifier,
    explanation: Explanation,
    heat: np.ndarray,
    steps: int,
    pairs: int,
    seed: int,
    work: _Work,
) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    pixels = face_pixels(explanation.prediction.face, classifier.preprocessing)
    eraser = Eraser(classifier, pixels, 1 if explanation.target == "fake" else -1, work.tick)
    neutral = neutral_pictures(pixels)
    whole, *empty = eraser.scores([pixels, *neutral.values()]).tolist()
    chosen = _choice(whole, empty)
    words = list(neutral)[chosen]
    eraser.neutral = neutral[words]
    ends = whole, empty[chosen]

    cells = on_cells(heat)
    deletion, insertion = eraser.curves(ranking(cells, random_field(cells, rng)), steps, ends)
    random_deletion, random_insertion = [], []
    for _ in range(pairs):
        field_ = random_field(cells, rng)
        down, up = eraser.curves(ranking(field_, field_), steps, ends)
        # What the opposite map deletes first, this one inserts last: the same pictures, the other way round.
        random_deletion += [down, up[::-1]]
        random_insertion += [up, down[::-1]]
    kept = eraser.scores([eraser.without(1 - heat / heat.max())])
    before, after = probabilities(np.array([whole, kept[0]]), None)
    return {
        "neutral": words,
        "deletion": deletion,
        "insertion": insertion,
        "random_deletion": np.array(random_deletion),
        "random_insertion": np.array(random_insertion),
        "average_drop": float(max(0.0, before - after) / before) if before > 0 else float("nan"),
    }


def _choice(whole: float, empty: list[float]) -> int:
    """Which neutral picture: the blurred face or its mean colour, whichever says less for the target.

    Where neither says clearly less than the face itself, black and white may, to a model of light.
    """
    mild = int(np.argmin(empty[:2]))
    return mild if whole - empty[mild] >= GAIN[0] else int(np.argmin(empty))


def _sanity(
    classifier: Classifier, explanation: Explanation, cells: np.ndarray, seed: int, work: _Work
) -> tuple[float, tuple[Stage, ...], str]:
    """How like the heatmap is to itself made again, and to those of random networks."""

    def again(model: Classifier) -> float:
        e = explanation
        made = explain(model, e.prediction, method=e.method, target=e.target, layer=e.layer)
        return correlation(cells, on_cells(heat_on_input(made, model.preprocessing)))

    try:
        reproduced = again(classifier)
    except ValueError as error:
        return float("nan"), (), str(error)
    work.tick()
    found: dict[float, list[float]] = {}
    with stand_in(classifier) as copy:
        for draw in range(CASCADES):
            copy.restore(classifier)
            for share in copy.cascade(seed + draw, STAGES):
                try:
                    like = again(copy.classifier)
                except ValueError:
                    # A random network may overflow; its heatmap then is none, and not this one.
                    like = 0.0
                found.setdefault(share, []).append(like)
                work.tick()
    return reproduced, tuple(Stage(share, tuple(found[share])) for share in sorted(found)), ""


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two maps, -1..1; 0 where just one of them is even, 1 where both are."""
    from scipy.stats import spearmanr

    flat = [not np.ptp(m) > 0 for m in (one, other)]
    if any(flat):
        return float(all(flat))
    return float(spearmanr(one.ravel(), other.ravel()).statistic)
