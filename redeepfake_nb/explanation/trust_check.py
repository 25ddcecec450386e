"""Finds out how far a heatmap can be trusted; what is asked and how it is judged stands in :mod:`trust`."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import RedeepfakeError, UnsuitableModel
from ..evaluation.scoring import Progress
from ..faces.preprocessing import face_pixels
from ..models.classifier import Classifier
from ..utils.jobs import Cancel, stopper
from ..utils.numeric import probabilities
from .deletion import Eraser, heat_on_input, neutral_pictures, on_cells, random_field, ranking
from .fidelity import GAIN, Faithfulness, Stage, alone, area_of_p, judge_heatmap
from .heatmaps import Explanation, explain
from .sanity_checks import stand_in

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
    randomised. It is ``"weak"`` where it beats three quarters and gains 0.4 and 0.02, and
    else ``"not supported"``.

    Networks with random weights must not do as well: a heatmap is not supported if it stays the same with
    random weights, or if its gap between the two areas is less than twice the widest that a random network
    has with a heatmap of its own. Neither counts where the score hangs on the hottest third of the face
    alone: then the network's build, and not its weights, says where it looks.

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
        why = "the heatmap is even and names no place"
        if explanation.missed:
            why = (
                f"the score says {explanation.target} and the method finds no place that does, so there is "
                "no heatmap to rely on; another method, such as layercam, may"
            )
        elif explanation.empty:
            why = f"nothing on this face speaks for {explanation.target}, so there is no heatmap to rely on"
        return Faithfulness(explanation, "not supported", (why,))

    pairs = (random_maps + 1) // 2
    # Two of the batches hold the neutral pictures and the average drop.
    curve = Eraser.batches(2 * (steps - 1))
    batches = 2 + (1 + pairs) * curve
    random_networks = CASCADES * (STAGES + 1 + curve)
    work = _Work(batches + 1 + random_networks, progress, stopper(cancel))

    values = _curves(classifier, explanation, heat, steps, pairs, seed, work)
    sanity, problem = _sanity(classifier, explanation, cells, steps, seed, work)
    work.finish()
    found = Faithfulness(explanation, "not supported", (), **values, **sanity)
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
        """A small network has fewer layers to randomise than was counted on; a random one may have no map."""
        if self._done < self._total:
            self._tell(self._total)

    def _tell(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._total)


class _Face:
    """One face before one classifier, whole and neutral.

    The neutral picture is the blurred face or its mean colour, whichever says less for the target. Black and
    white are no faces, and networks answer to them at random. They are taken only where the others do not
    say much less than the face itself and the score then hangs on the heatmap's places alone: for models
    of light.
    """

    def __init__(
        self, classifier: Classifier, explanation: Explanation, cells: np.ndarray, tick: Callable[[], None]
    ) -> None:
        pixels = face_pixels(explanation.prediction.face, classifier.preprocessing)
        self.eraser = Eraser(classifier, pixels, 1 if explanation.target == "fake" else -1, tick)
        self._pictures = neutral_pictures(pixels)
        self.whole, *self._empty = self.eraser.scores([pixels, *self._pictures.values()]).tolist()
        self._cells = cells

    def heatmap_curves(self, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Deletion and insertion of the heatmap; chooses the neutral picture."""
        order = ranking(self._cells, random_field(self._cells, rng))
        mild, any_ = int(np.argmin(self._empty[:2])), int(np.argmin(self._empty))
        if any_ != mild and self.whole - self._empty[mild] < 2 * GAIN[0]:
            self._take(any_)
            found = self.curves(order, steps)
            if alone(*found):
                return found
        self._take(mild)
        return self.curves(order, steps)

    def curves(self, order: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Deletion and insertion in any order."""
        return self.eraser.curves(order, steps, (self.whole, self._none))

    def _take(self, chosen: int) -> None:
        self.neutral, self._none = list(self._pictures)[chosen], self._empty[chosen]
        self.eraser.neutral = self._pictures[self.neutral]


def _curves(
    classifier: Classifier,
    explanation: Explanation,
    heat: np.ndarray,
    steps: int,
    pairs: int,
    seed: int,
    work: _Work,
) -> dict[str, Any]:
    """The heatmap's curves, those of random maps, and the average drop, by the record's names."""
    rng = np.random.default_rng(seed)
    cells = on_cells(heat)
    face = _Face(classifier, explanation, cells, work.tick)
    deletion, insertion = face.heatmap_curves(steps, rng)
    random_deletion, random_insertion = [], []
    for _ in range(pairs):
        noise = random_field(cells, rng)
        down, up = face.curves(ranking(noise, noise), steps)
        # What the opposite map deletes first, this one inserts last: the same pictures, the other way round.
        random_deletion += [down, up[::-1]]
        random_insertion += [up, down[::-1]]
    kept = face.eraser.scores([face.eraser.without(1 - heat / heat.max())])
    before, after = probabilities(np.array([face.whole, kept[0]]), None)
    return {
        "neutral": face.neutral,
        "deletion": deletion,
        "insertion": insertion,
        "random_deletion": np.array(random_deletion),
        "random_insertion": np.array(random_insertion),
        "average_drop": float(max(0.0, before - after) / before) if before > 0 else float("nan"),
    }


def _sanity(
    classifier: Classifier, explanation: Explanation, cells: np.ndarray, steps: int, seed: int, work: _Work
) -> tuple[dict[str, Any], str]:
    """The heatmap made again, by this network and by random ones; and why not, where it cannot be."""

    def again(model: Classifier) -> np.ndarray:
        e = explanation
        made = explain(model, e.prediction, method=e.method, target=e.target, layer=e.layer)
        return on_cells(heat_on_input(made, model.preprocessing))

    try:
        reproduced = correlation(cells, again(classifier))
    except ValueError as error:
        return {}, str(error)
    work.tick()
    found: dict[float, list[float]] = {}
    gaps = []
    with stand_in(classifier) as copy:
        for draw in range(CASCADES):
            copy.restore(classifier)
            for share in copy.cascade(seed + draw, STAGES):
                try:
                    made = again(copy.classifier)
                except ValueError:
                    # A random network may overflow; its heatmap then is none, and not this one.
                    made = np.zeros_like(cells)
                found.setdefault(share, []).append(correlation(cells, made))
                work.tick()
            gaps.append(_gap(copy.classifier, explanation, made, steps, seed, work))
    stages = tuple(Stage(share, tuple(found[share])) for share in sorted(found))
    return {"reproduced": reproduced, "stages": stages, "random_network_gaps": tuple(gaps)}, ""


def _gap(
    network: Classifier, explanation: Explanation, cells: np.ndarray, steps: int, seed: int, work: _Work
) -> float:
    """Insertion area less deletion area for a random network and its own heatmap; 0 where it has none."""
    if not np.ptp(cells) > 0:
        return 0.0
    try:
        face = _Face(network, explanation, cells, work.tick)
        deletion, insertion = face.heatmap_curves(steps, np.random.default_rng(seed))
    except UnsuitableModel:
        # It overflows.
        return 0.0
    return area_of_p(insertion) - area_of_p(deletion)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two maps, -1..1; 0 where just one of them is even, 1 where both are."""
    from scipy.stats import spearmanr

    flat = [not np.ptp(m) > 0 for m in (one, other)]
    if any(flat):
        return float(all(flat))
    return float(spearmanr(one.ravel(), other.ravel()).statistic)
