"""Faithfulness of a heatmap: measurements of one explanation, and the badge that follows from them.

Three questions are asked of one explanation of one face:

* *Is it this model's heatmap?* The same method must produce the same heatmap again.
* *Does the score depend on the places it marks?* Cells of the face are removed and restored, hottest first
  (:mod:`redeepfake_nb.explanation.deletion`), and so are those of random maps with the heatmap's power
  spectrum, which know nothing of the model. A heatmap that does no better than they do explains nothing.
* *Was it learned?* The heatmap must change when the weights are randomised
  (:mod:`redeepfake_nb.explanation.sanity_checks`).

Good methods give faithful heatmaps even of models that have learned nothing. What distinguishes such a model
is that no place of the face matters much to it, so the size of the effect counts, too.

:func:`faithfulness` computes the curves and correlations and stores them in a :class:`Faithfulness` record;
the record's properties (gain, gap, share of random maps beaten, ...) are derived from those curves, and
:func:`assign_badge` compares them with the constants below. ``docs/trust.md`` explains each number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..errors import RedeepfakeError, UnsuitableModel
from ..faces.preprocessing import face_pixels
from ..models.classifier import Classifier
from ..models.prediction import predict
from ..utils.jobs import Cancel, Progress, as_cancel_check
from ..utils.numeric import plain, probability
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

Badge = Literal["supported", "weak", "not supported"]
BADGES: tuple[Badge, ...] = ("supported", "weak", "not supported")

# The limits below are chosen so that at most 5 % of the checks of networks with random weights end as
# supported; docs/trust.md has the measurement, by benchmarks/badge.py.
#
# (limit for "supported", limit for "weak") of: the share of random maps with a smaller gain; the gain, in
# log-odds; and the gap between insertion and deletion area, in P(target).
BEATEN = (0.9, 0.75)
GAIN = (0.5, 0.4)
GAP = (0.05, 0.02)
# Rank correlation from which two heatmaps count as the same.
SAME = 0.9
# The gap must be at least this many times that of networks with random weights.
LEARNED = 5.0
# Share of the whole effect that the colder two thirds of a face may have where the score depends on the rest.
REST = 0.2
# The randomisation cascade: steps from the output layer alone to all layers, and number of repetitions.
STAGES, CASCADES = 4, 3
# Random maps come in pairs of opposites. After so many pairs no more are drawn if they already decide: the
# heatmap gains more than this many times what the best of them does, or could not reach "weak" any more.
FIRST_PAIRS, CLEAR = 5, 1.5


@dataclass(frozen=True)
class RandomizationStage:
    """Similarity of the heatmap to that of a partly randomised network.

    Parameters
    ----------
    share
        Share of the layers with weights, from the output down, that are random; over 0 to 1.
    correlations
        Spearman's rank correlation with the heatmap for each draw of weights, -1..1; 0 where the heatmap of
        the random network is empty or constant.
    """

    share: float
    correlations: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean correlation over the draws."""
        return float(np.mean(self.correlations))


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """Result of checking how far one heatmap can be trusted.

    Curves are log-odds of the target, (steps + 1,) float64, over the share of the face that was removed or
    restored, with the temperature of a calibrated model applied. Areas are those under P(target).

    Parameters
    ----------
    explanation
        What was checked.
    badge, reasons
        ``"supported"``, ``"weak"`` or ``"not supported"``, and one sentence per criterion.
    neutral
        The baseline image that replaced removed places, in words.
    deletion, insertion
        Curves of the heatmap. Empty arrays for an empty heatmap, for which nothing else is measured either.
    random_deletion, random_insertion
        Curves of the random maps, (random maps, coarse steps + 1) float64: in half as many steps as those of
        the heatmap where their number is even and over 2, else in as many.
    average_drop
        Relative drop of P(target), 0..1, when every place is kept in proportion to its heat (Chattopadhay et
        al. 2018, "Grad-CAM++", equation 20 for one face, with the baseline image in place of black). 0 is
        best.
    reproduced
        Spearman's correlation with the heatmap that the same method produces now; NaN if it cannot be
        produced.
    stages
        The randomisation check, from the output layer alone to all layers.
    random_network_gaps
        :attr:`coarse_gap` of each fully randomised network with a heatmap of its own, for the label that it
        gives the face, without the mirror image; 0 where it has none. No more are made where one decides.
    """

    explanation: Explanation
    badge: Badge
    reasons: tuple[str, ...]
    neutral: str = ""
    deletion: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    insertion: np.ndarray = field(default_factory=lambda: np.zeros(0), repr=False)
    random_deletion: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    random_insertion: np.ndarray = field(default_factory=lambda: np.zeros((0, 0)), repr=False)
    average_drop: float = float("nan")
    reproduced: float = float("nan")
    stages: tuple[RandomizationStage, ...] = ()
    random_network_gaps: tuple[float, ...] = ()

    @property
    def target(self) -> str:
        """The label that the heatmap speaks for, ``"fake"`` or ``"real"``."""
        return self.explanation.target

    @property
    def shares(self) -> np.ndarray:
        """Share of the face removed or restored at each point of a curve, (steps + 1,) float64, 0..1."""
        return np.linspace(0, 1, len(self.deletion))

    @property
    def deletion_area(self) -> float:
        """Area under P(target) of the deletion curve, 0..1; low is good."""
        return area_under_probability(self.deletion)

    @property
    def insertion_area(self) -> float:
        """Area under P(target) of the insertion curve, 0..1; high is good."""
        return area_under_probability(self.insertion)

    @property
    def gap(self) -> float:
        """Insertion area minus deletion area, in P(target), -1..1."""
        return self.insertion_area - self.deletion_area

    @property
    def gain(self) -> float:
        """Insertion area minus deletion area, in log-odds, where no sigmoid hides changes of high scores."""
        if not len(self.deletion):
            return float("nan")
        return gain_between(self.deletion, self.insertion)

    @property
    def coarse_gap(self) -> float:
        """:attr:`gap` in the steps of the random maps, which that of random networks is compared with."""
        coarse = coarse_steps(len(self.deletion) - 1)
        deletion, insertion = (thinned(curve, coarse) for curve in (self.deletion, self.insertion))
        return area_under_probability(insertion) - area_under_probability(deletion)

    @property
    def coarse_gain(self) -> float:
        """:attr:`gain` in the steps of the random maps, which theirs is compared with."""
        if not len(self.deletion):
            return float("nan")
        coarse = coarse_steps(len(self.deletion) - 1)
        return gain_between(thinned(self.deletion, coarse), thinned(self.insertion, coarse))

    @property
    def random_gains(self) -> np.ndarray:
        """:attr:`coarse_gain` of each random map, (random maps,) float64."""
        if not len(self.random_deletion):
            return np.zeros(0)
        return area_under_curve(self.random_insertion) - area_under_curve(self.random_deletion)

    @property
    def beaten(self) -> float:
        """Share of the random maps with a smaller gain, 0..1."""
        gains = self.random_gains
        return float((gains < self.coarse_gain).mean()) if len(gains) else float("nan")

    @property
    def p_value(self) -> float:
        """Permutation p-value of the gain, (1 + random maps that gain as much) / (1 + random maps)."""
        gains = self.random_gains
        if not len(gains):
            return float("nan")
        return float((1 + (gains >= self.coarse_gain).sum()) / (1 + len(gains)))

    @property
    def randomised(self) -> float:
        """Mean correlation with the heatmaps of fully randomised networks, -1..1, or NaN."""
        return self.stages[-1].mean if self.stages else float("nan")

    @property
    def localized(self) -> bool:
        """Whether the score depends on the hottest third of the face alone; see :func:`is_localized`."""
        return bool(len(self.deletion)) and is_localized(self.deletion, self.insertion)

    @property
    def headline(self) -> str:
        """The badge and its numbers in one line."""
        if not len(self.deletion):
            return f"{self.badge}: {self.reasons[0]}"
        maps = len(self.random_deletion)
        if np.isnan(self.reproduced):
            last = "cannot be reproduced"
        elif self.reproduced < SAME:
            last = f"correlation {self.reproduced:.2f} when reproduced"
        else:
            last = f"correlation {self.randomised:.2f} with random weights"
        return (
            f"{self.badge}: beats {round(self.beaten * maps)} of {maps} random maps, "
            f"gain {self.gain:.2f} log-odds, P({self.target}) areas {self.insertion_area:.2f} against "
            f"{self.deletion_area:.2f}, {last}"
        )

    def to_frame(self) -> pd.DataFrame:
        """Return the curves in probability, one row per share of the face.

        Columns: ``share, deletion, insertion``, and ``_low, _median, _high`` of each over the random maps
        (5th, 50th and 95th percentile), interpolated between the coarse steps.
        """
        table: dict[str, np.ndarray] = {"share": self.shares if len(self.deletion) else np.zeros(0)}
        for name in ("deletion", "insertion"):
            table[name] = probability(getattr(self, name), None)
            band = np.zeros((3, 0))
            if len(self.deletion):
                random = probability(getattr(self, f"random_{name}"), None)
                at = np.linspace(0, 1, random.shape[1])
                band = np.percentile(random, [5, 50, 95], axis=0)
                band = np.array([np.interp(self.shares, at, line) for line in band])
            for suffix, values in zip(("low", "median", "high"), band, strict=True):
                table[f"{name}_{suffix}"] = values
        return pd.DataFrame(table)

    def to_dict(self) -> dict[str, Any]:
        """Convert to plain JSON: badge, reasons and numbers, without the heatmap and the random maps."""
        e = self.explanation
        return {
            "badge": self.badge,
            "reasons": list(self.reasons),
            "method": e.method,
            "target": e.target,
            "layer": e.layer,
            "neutral": self.neutral,
            "random_maps": len(self.random_deletion),
            **{
                name: plain(getattr(self, name))
                for name in (
                    "deletion_area",
                    "insertion_area",
                    "gain",
                    "beaten",
                    "p_value",
                    "average_drop",
                    "reproduced",
                    "randomised",
                )
            },
            "random_network_gaps": [plain(g) for g in self.random_network_gaps],
            "stages": [
                {"share": s.share, "correlations": [plain(c) for c in s.correlations]} for s in self.stages
            ],
            "curves": self.to_frame().to_dict("list"),
        }


def is_localized(deletion: np.ndarray, insertion: np.ndarray) -> bool:
    """Return whether a score depends on the hottest third of a face and on nothing else.

    Beyond the hottest third, neither curve (log-odds) may differ from its end value by more than a fifth of
    the whole effect, in either direction, and the effect must be as large as the gain of a supported heatmap.
    """
    empty, whole = deletion[-1], deletion[0]
    shares = np.linspace(0, 1, len(deletion))
    late = np.concatenate([[1 / 3], shares[shares > 1 / 3]])
    off = [np.abs(np.interp(late, shares, curve) - curve[-1]).max() for curve in (deletion, insertion)]
    return bool(whole - empty >= GAIN[0] and max(off) <= REST * (whole - empty))


def assign_badge(checked: Faithfulness, problem: str = "") -> tuple[Badge, tuple[str, ...]]:
    """Derive the badge from the numbers of a check.

    Parameters
    ----------
    checked
        A record with all numbers; its ``badge`` and ``reasons`` are ignored.
    problem
        Why the heatmap could not be reproduced, if it could not.

    Returns
    -------
    badge
        The worst grade of any criterion.
    reasons
        One sentence per criterion.
    """
    score, maps = f"P({checked.target})", len(checked.random_deletion)
    grades: list[int] = []
    reasons: list[str] = []

    def note(grade: int, reason: str) -> None:
        grades.append(grade)
        reasons.append(reason)

    note(
        _grade(checked.beaten, BEATEN),
        "removing and restoring the hottest places first moves the score more than "
        f"{round(checked.beaten * maps)} of {maps} random maps do",
    )
    note(
        max(_grade(checked.gain, GAIN), _grade(checked.gap, GAP)),
        f"the area under {score} is {checked.insertion_area:.2f} when they are restored first and "
        f"{checked.deletion_area:.2f} when they are removed first, a gain of {checked.gain:.2f} in log-odds"
        + ("" if checked.gain >= GAIN[1] else ": hardly any place on this face matters to the model"),
    )
    if np.isnan(checked.reproduced):
        note(2, f"the heatmap cannot be reproduced, so nothing ties it to this model ({problem})")
    elif checked.reproduced < SAME:
        note(
            2,
            f"{checked.explanation.method} gives another heatmap for this model and face "
            f"(rank correlation {checked.reproduced:.2f}), so this one does not show it",
        )
    else:
        same, localized = checked.randomised >= SAME, checked.localized
        excuse = ", which the architecture explains: the score depends on this place alone"
        reason = f"with random weights the heatmap's rank correlation with itself is {checked.randomised:.2f}"
        if same:
            reason += excuse if localized else ": it stays the same whatever the model has learned"
        note(2 if same and not localized else 0, reason)
        if checked.random_network_gaps:
            widest = max(checked.random_network_gaps)
            unlearned = checked.coarse_gap < LEARNED * widest
            reason = (
                f"heatmaps of networks with random weights reach a gap of up to {widest:.2f} between the two "
                f"areas, this one {checked.coarse_gap:.2f} in as many steps"
            )
            if unlearned:
                reason += (
                    excuse
                    if localized
                    else ": that does not set it apart from a network that has learned nothing"
                )
            note(2 if unlearned and not localized else 0, reason)
    return BADGES[max(grades)], tuple(reasons)


def _grade_of_curves(checked: Faithfulness) -> int:
    """Return the worst grade of the criteria that need no other network."""
    return max(_grade(checked.beaten, BEATEN), _grade(checked.gain, GAIN), _grade(checked.gap, GAP))


def _grade(value: float, limits: tuple[float, float]) -> int:
    """Return 0 for supported, 1 for weak, 2 for not supported."""
    return sum(value < limit for limit in limits)


def coarse_steps(steps: int) -> int:
    """Return how many steps random maps and random networks are measured in, where a heatmap has ``steps``.

    Half as many where ``steps`` is even and over 2, else as many: half of the steps take half of the time,
    and the heatmap's curves have all of their points.
    """
    return steps // 2 if steps > 2 and steps % 2 == 0 else steps


def thinned(curve: np.ndarray, coarse: int) -> np.ndarray:
    """Return the points of a curve (steps + 1,) at ``coarse`` even steps, which its own are a multiple of."""
    return curve[:: (len(curve) - 1) // coarse] if len(curve) else curve


def gain_between(deletion: np.ndarray, insertion: np.ndarray) -> float:
    """Return insertion area minus deletion area of curves (steps + 1,), in log-odds."""
    return float(area_under_curve(insertion) - area_under_curve(deletion))


def area_under_probability(logits: np.ndarray) -> float:
    """Integrate P(target) over a curve of log-odds; NaN for an empty curve."""
    return float(area_under_curve(probability(logits, None))) if len(logits) else float("nan")


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
    networks = _grade_of_curves(curves) < 2
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
