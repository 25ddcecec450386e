"""Faithfulness of a heatmap: the measurements of one explanation.

Three questions are asked of one explanation of one face:

* *Is it this model's heatmap?* The same method must produce the same heatmap again.
* *Does the score depend on the places it marks?* Cells of the face are removed and restored, hottest first
  (:mod:`redeepfake_nb.explanation.deletion`), and so are those of random maps with the heatmap's power
  spectrum, which know nothing of the model. A heatmap that does no better than they do explains nothing.
* *Was it learned?* The heatmap must change when the weights are randomised
  (:mod:`redeepfake_nb.explanation.sanity_checks`).

Good methods give faithful heatmaps even of models that have learned nothing. What distinguishes such a model
is that no place of the face matters much to it, so the size of the effect counts, too.

:func:`faithfulness` computes the curves and correlations; :mod:`redeepfake_nb.explanation.badge` says what
follows from them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np

from ..errors import RedeepfakeError, UnsuitableModel
from ..faces.preprocessing import face_pixels
from ..models.classifier import Classifier
from ..models.prediction import predict
from ..utils.jobs import Cancel, Progress, as_cancel_check
from ..utils.numeric import probability
from .badge import (
    BEATEN,
    GAIN,
    LEARNED,
    Faithfulness,
    RandomizationStage,
    area_under_probability,
    assign_badge,
    coarse_steps,
    gain_between,
    grade_of_curves,
    is_localized,
    thinned,
)
from .deletion import (
    PerturbationScorer,
    area_under_curve,
    baseline_images,
    heatmap_on_input,
    random_heatmap,
    rank_cells,
    to_grid,
)
from .heatmaps import Explanation, explain
from .sanity_checks import randomized_copy

# The randomisation cascade: steps from the output layer alone to all layers, and number of repetitions.
STAGES, CASCADES = 4, 3
# Random maps come in pairs of opposites. After so many pairs no more are drawn if they already decide: the
# heatmap gains more than this many times what the best of them does, or could not reach "weak" any more.
FIRST_PAIRS, CLEAR = 5, 1.5


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

    The badge is ``"supported"`` where the heatmap is this model's, beats nine tenths of the random maps,
    gains at least 0.5 in log-odds and 0.05 in area under P(target), and changes when the weights are
    randomised. It is
    ``"weak"`` where it beats three quarters and gains 0.4 and 0.02, and otherwise ``"not supported"``.

    Networks with random weights must not do as well: a heatmap is not supported if it stays the same with
    random weights, or if its gap between the two areas is less than five times the widest that a random
    network reaches with a heatmap of its own. Neither counts where the score depends on the hottest third of
    the face alone: then the architecture, not the weights, determines where the network looks.

    The classifier is only read. A copy for random weights is made at the first check and kept as long as the
    classifier exists. Methods that need many forward passes per heatmap are slow here: a dozen heatmaps are
    made.

    Parameters
    ----------
    classifier
        The classifier that the explanation was made with.
    explanation
        From :func:`redeepfake_nb.explain`.
    steps
        Steps of the heatmap's curves, at least 2; each removes an equal share of the face. Those of random
        maps and random networks have half as many where that is a whole number over 1, and are compared with
        the heatmap's at the same points.
    random_maps
        Random maps to compare with, at least 2; they come in pairs of opposites, so an odd number is rounded
        up. No more than ten are drawn where those decide.
    seed
        Of the random maps and the random weights. The same seed gives the same result.
    progress
        Called as ``progress(done, total)``.
    cancel
        An event, or a function that returns whether to stop.

    Raises
    ------
    ValueError
        Fewer than 2 steps or random maps.
    RedeepfakeError
        Cancelled; an incomplete check gets no badge.
    UnsuitableModel
        A score is not finite.
    """
    if steps < 2 or random_maps < 2:
        raise ValueError(f"a check takes at least 2 steps and 2 random maps, not {steps} and {random_maps}")
    heatmap = heatmap_on_input(explanation, classifier.preprocessing)
    cells = to_grid(heatmap)
    if explanation.empty or not np.ptp(cells) > 0:
        return Faithfulness(explanation, "not supported", (_why_no_heatmap(explanation),))

    pairs = (random_maps + 1) // 2
    # Two of the batches score the baseline images and the average drop.
    fine, coarse = (PerturbationScorer.batch_count(2 * (n - 1)) for n in (steps, coarse_steps(steps)))
    batches = 2 + fine + pairs * coarse
    random_networks = STAGES + CASCADES * (2 + coarse)
    work = _CheckProgress(batches + 1 + random_networks, progress, as_cancel_check(cancel))

    curves = _measure_curves(classifier, explanation, heatmap, steps, pairs, seed, work)
    found = Faithfulness(explanation, "not supported", (), **curves)
    sanity, problem = _measure_sanity(classifier, explanation, cells, steps, seed, work, found)
    work.finish()
    found = replace(found, **sanity)
    badge, reasons = assign_badge(found, problem)
    return replace(found, badge=badge, reasons=reasons)


def _why_no_heatmap(explanation: Explanation) -> str:
    if explanation.missed:
        return (
            f"the score says {explanation.target} and the method finds no place that does, so there is "
            "no heatmap to rely on; another method, such as layercam, may"
        )
    if explanation.empty:
        return f"nothing on this face speaks for {explanation.target}, so there is no heatmap to rely on"
    return "the heatmap is constant and names no place"


class _CheckProgress:
    """Count the steps of a check, report them, and raise between two of them when cancelled."""

    def __init__(self, total: int, progress: Progress | None, cancelled: Callable[[], bool]) -> None:
        self._done, self._total, self._progress, self._cancelled = 0, total, progress, cancelled

    def step(self) -> None:
        self._done += 1
        self._report(min(self._done, self._total))
        if self._cancelled():
            raise RedeepfakeError("the check was cancelled", next_step="Run it again for a badge.")

    def finish(self) -> None:
        """Report the last step, as small networks have fewer stages, and random ones may lack a heatmap."""
        if self._done < self._total:
            self._report(self._total)

    def _report(self, done: int) -> None:
        if self._progress is not None:
            self._progress(done, self._total)


# Of the baseline images, those that come first and resemble a face.
_MILD = 2


class _FaceCurves:
    """Deletion and insertion curves of one face for one classifier, and the choice of the baseline image.

    The baseline is the blurred face or its mean colour, whichever has the lower score for the target. Black
    and white do not resemble faces, and networks respond to them arbitrarily. They are scored only where the
    others do not score much lower than the face itself, and used only where the score then depends on the
    heatmap's hottest third alone: for models that react to brightness.
    """

    def __init__(
        self,
        classifier: Classifier,
        explanation: Explanation,
        cells: np.ndarray,
        on_batch: Callable[[], None],
    ) -> None:
        pixels = face_pixels(explanation.prediction.face, classifier.preprocessing)
        sign = 1 if explanation.target == "fake" else -1
        self.scorer = PerturbationScorer(classifier, pixels, sign, on_batch)
        self._images = baseline_images(pixels)
        mild = list(self._images.values())[:_MILD]
        self.whole, *self._empty = self.scorer.scores([pixels, *mild]).tolist()
        self._cells = cells

    def of_heatmap(self, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Choose the baseline image and return the heatmap's deletion and insertion curve."""
        order = rank_cells(self._cells, random_heatmap(self._cells, rng))
        mild = int(np.argmin(self._empty))
        if self.whole - self._empty[mild] < 2 * GAIN[0]:
            harsh = self.scorer.scores(list(self._images.values())[_MILD:]).tolist()
            self._empty = [*self._empty[:_MILD], *harsh]
            lowest = int(np.argmin(self._empty))
            if lowest >= _MILD:
                self._use_baseline(lowest)
                found = self.of_order(order, steps)
                if is_localized(*found):
                    return found
        self._use_baseline(mild)
        return self.of_order(order, steps)

    def of_order(self, order: np.ndarray, steps: int) -> tuple[np.ndarray, np.ndarray]:
        """Return the deletion and insertion curve of any order of cells."""
        return self.scorer.curves(order, steps, (self.whole, self._empty_score))

    def _use_baseline(self, index: int) -> None:
        self.baseline, self._empty_score = list(self._images)[index], self._empty[index]
        self.scorer.baseline = self._images[self.baseline]


def _measure_curves(
    classifier: Classifier,
    explanation: Explanation,
    heatmap: np.ndarray,
    steps: int,
    pairs: int,
    seed: int,
    work: _CheckProgress,
) -> dict[str, Any]:
    """Return the heatmap's curves, those of random maps, and the average drop, by field of the record."""
    rng = np.random.default_rng(seed)
    cells = to_grid(heatmap)
    face = _FaceCurves(classifier, explanation, cells, work.step)
    deletion, insertion = face.of_heatmap(steps, rng)
    random_deletion: list[np.ndarray] = []
    random_insertion: list[np.ndarray] = []
    coarse = coarse_steps(steps)
    gain = gain_between(thinned(deletion, coarse), thinned(insertion, coarse))
    for drawn in range(pairs):
        if drawn >= FIRST_PAIRS and _is_decided(gain, random_deletion, random_insertion, pairs):
            break
        noise = random_heatmap(cells, rng)
        down, up = face.of_order(rank_cells(noise, noise), coarse)
        # What the opposite map deletes first, this one inserts last: the same images in reverse order.
        random_deletion += [down, up[::-1]]
        random_insertion += [up, down[::-1]]
    kept = face.scorer.scores([face.scorer.replace(1 - heatmap / heatmap.max())])
    before, after = probability(np.array([face.whole, kept[0]]), None)
    return {
        "neutral": face.baseline,
        "deletion": deletion,
        "insertion": insertion,
        "random_deletion": np.array(random_deletion),
        "random_insertion": np.array(random_insertion),
        "average_drop": float(max(0.0, before - after) / before) if before > 0 else float("nan"),
    }


def _is_decided(gain: float, deletion: list[np.ndarray], insertion: list[np.ndarray], pairs: int) -> bool:
    """Tell whether further random maps could change the grade of a heatmap's gain."""
    gains = area_under_curve(np.array(insertion)) - area_under_curve(np.array(deletion))
    left = 2 * pairs - len(gains)
    return bool(gain > CLEAR * gains.max() or ((gains < gain).sum() + left) / (2 * pairs) < BEATEN[1])


def _measure_sanity(
    classifier: Classifier,
    explanation: Explanation,
    cells: np.ndarray,
    steps: int,
    seed: int,
    work: _CheckProgress,
    curves: Faithfulness,
) -> tuple[dict[str, Any], str]:
    """Reproduce the heatmap with this network and with random ones; also say why, if that is impossible.

    ``curves`` has those of the heatmap. What they do not support is not supported, so the curves of random
    networks are not measured then.
    """

    def reproduce(model: Classifier) -> np.ndarray:
        e = explanation
        made = explain(model, e.prediction, method=e.method, target=e.target, layer=e.layer)
        return to_grid(heatmap_on_input(made, model.preprocessing))

    try:
        reproduced = correlation(cells, reproduce(classifier))
    except ValueError as error:
        return {}, str(error)
    work.step()
    found: dict[float, list[float]] = {}
    gaps: list[float] = []
    networks = grade_of_curves(curves) < 2
    with randomized_copy(classifier) as copy:
        for draw in range(CASCADES):
            if draw:
                copy.restore(classifier)
            for share in copy.cascade(seed + draw, STAGES):
                # Only wholly random networks decide; one draw shows the way to them.
                if draw and share < 1:
                    continue
                try:
                    made = reproduce(copy.classifier)
                except ValueError:
                    # A random network may overflow; that counts as an empty heatmap.
                    made = np.zeros_like(cells)
                found.setdefault(share, []).append(correlation(cells, made))
                work.step()
            # A random network that does as well decides, whatever others do.
            clear = not curves.localized and curves.coarse_gap < LEARNED * max(gaps, default=-np.inf)
            if networks and not clear:
                whole = float(curves.deletion[0])
                coarse = coarse_steps(steps)
                gaps.append(_random_network_gap(copy.single, explanation, whole, coarse, seed, work))
    stages = tuple(RandomizationStage(share, tuple(found[share])) for share in sorted(found))
    return {"reproduced": reproduced, "stages": stages, "random_network_gaps": tuple(gaps)}, ""


def _random_network_gap(
    network: Classifier,
    explanation: Explanation,
    whole: float,
    steps: int,
    seed: int,
    work: _CheckProgress,
) -> float:
    """Return insertion area minus deletion area of a random network's own heatmap; 0 where it has none.

    It is the heatmap of what the random network itself says of the face. Its curves are shifted so that the
    whole face has the log-odds ``whole`` that it has for the network under test: random networks often give
    all faces one sure score, and a sigmoid would hide whatever moves it.
    """
    e = explanation
    try:
        (own,) = predict(network, [e.prediction.face])
        made = explain(network, own, e.method, own.label(), e.layer)
        cells = to_grid(heatmap_on_input(made, network.preprocessing))
        if not np.ptp(cells) > 0:
            return 0.0
        face = _FaceCurves(network, made, cells, work.step)
        deletion, insertion = face.of_heatmap(steps, np.random.default_rng(seed))
    except ValueError:
        # The map overflows.
        return 0.0
    except UnsuitableModel:
        # The network overflows.
        return 0.0
    shift = whole - deletion[0]
    return area_under_probability(insertion + shift) - area_under_probability(deletion + shift)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Compute Spearman's rank correlation of two maps, -1..1; 0 if one of them is constant, 1 if both are."""
    from scipy.stats import spearmanr

    constant = [not np.ptp(m) > 0 for m in (one, other)]
    if any(constant):
        return float(all(constant))
    return float(spearmanr(one.ravel(), other.ravel()).statistic)
