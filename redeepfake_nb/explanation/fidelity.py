"""How far a heatmap can be trusted: does the score hang on its places, and has the model learned them?

Three questions are asked of one explanation of one face.

* *Does it come from this model?* The same method must give the same heatmap again.
* *Does the score hang on those places?* They are taken away and put back, hottest first
  (:mod:`redeepfake_nb.explanation.deletion`), and so are those of random maps that are as smooth as the heatmap and know
  nothing of the model. A heatmap that is no better than they are names nothing.
* *Was it learned?* The heatmap must change when the weights are randomised (:mod:`redeepfake_nb.explanation.sanity_checks`).

Heatmaps of good methods are faithful even to models that have learned nothing. What tells such a model is
that no place of the face matters much to it, so the size of the effect counts too.
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
from ..utils.jobs import Cancel, Progress, as_cancel_check
from ..utils.numeric import plain, probability
from .deletion import PerturbationScorer, area, heatmap_on_input, baseline_images, to_grid, random_heatmap, ranking
from .heatmaps import Explanation, explain
from .sanity_checks import randomized_copy

Badge = Literal["supported", "weak", "not supported"]
BADGES: tuple[Badge, ...] = ("supported", "weak", "not supported")

# Share of random maps a heatmap must beat, the gain in log-odds, and the gap between the two areas in
# probability: (for "supported", for "weak"). docs/trust.md has what networks of all kinds reach.
BEATEN = (0.9, 0.75)
GAIN = (0.5, 0.4)
GAP = (0.05, 0.02)
# Rank correlation from which a heatmap counts as the same, made again or with random weights.
SAME = 0.9
# How many times the gap of random networks a network's gap must be.
LEARNED = 2.0
# Share of the whole effect that the colder two thirds of a face may have where the score hangs on the rest.
REST = 0.2


@dataclass(frozen=True)
class Stage:
    """How like the heatmap that of a partly random network is.

    Parameters
    ----------
    share
        Of the layers with weights, from the output down, that are random; over 0 to 1.
    correlations
        Spearman's rank correlation with the heatmap for each draw of weights, -1..1; 0 where the
        heatmap of the random network is empty or even.
    """

    share: float
    correlations: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Over the draws."""
        return float(np.mean(self.correlations))


@dataclass(frozen=True, eq=False)
class Faithfulness:
    """How far one heatmap can be trusted.

    Curves are log-odds of the target, (steps + 1,) float64, over the share of the face that was removed or
    put back; the temperature of a calibrated model is taken into account. Areas are those of P(target).

    Parameters
    ----------
    explanation
        What was checked.
    badge, reasons
        ``"supported"``, ``"weak"`` or ``"not supported"``, and why, a sentence each.
    neutral
        What removed places were replaced by, in words.
    deletion, insertion
        Curves of the heatmap. Empty arrays for an empty heatmap, of which nothing else is known either.
    random_deletion, random_insertion
        (random maps, steps + 1) float64: the same for random maps.
    average_drop
        0..1: by which share P(target) drops when every place is kept as far as it is hot (Chattopadhay et al.
        2018, "Grad-CAM++", equation 20 for one face, with the neutral picture in place of black). 0 is best.
    reproduced
        Spearman's correlation with the heatmap that the same method gives now, or NaN where there is no
        such method.
    stages
        The randomised-weights check, from the output layer alone to all layers.
    random_network_gaps
        :attr:`gap` of each wholly random network with a heatmap of its own; 0 where it has none.
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
    stages: tuple[Stage, ...] = ()
    random_network_gaps: tuple[float, ...] = ()

    @property
    def target(self) -> str:
        return self.explanation.target

    @property
    def shares(self) -> np.ndarray:
        """(steps + 1,) float64, 0..1: how much of the face was removed or put back."""
        return np.linspace(0, 1, len(self.deletion))

    @property
    def deletion_area(self) -> float:
        """Of P(target) under the deletion curve, 0..1; low is good."""
        return area_under_probability(self.deletion)

    @property
    def insertion_area(self) -> float:
        """Of P(target) under the insertion curve, 0..1; high is good."""
        return area_under_probability(self.insertion)

    @property
    def gap(self) -> float:
        """Insertion area less deletion area, -1..1."""
        return self.insertion_area - self.deletion_area

    @property
    def gain(self) -> float:
        """The same in log-odds, where no sigmoid hides what goes on at sure scores."""
        return float(area(self.insertion) - area(self.deletion)) if len(self.deletion) else float("nan")

    @property
    def random_gains(self) -> np.ndarray:
        """(random maps,) float64 gains of the random maps."""
        if not len(self.random_deletion):
            return np.zeros(0)
        return area(self.random_insertion) - area(self.random_deletion)

    @property
    def beaten(self) -> float:
        """Share of the random maps with less gain, 0..1."""
        gains = self.random_gains
        return float((gains < self.gain).mean()) if len(gains) else float("nan")

    @property
    def p_value(self) -> float:
        """Chance of a random map to gain as much, (1 + as good ones) / (1 + random maps)."""
        gains = self.random_gains
        return float((1 + (gains >= self.gain).sum()) / (1 + len(gains))) if len(gains) else float("nan")

    @property
    def randomised(self) -> float:
        """Mean correlation with the heatmaps of wholly random networks, -1..1, or NaN."""
        return self.stages[-1].mean if self.stages else float("nan")

    @property
    def alone(self) -> bool:
        """Whether the score hangs on the hottest third of the face and on nothing else; see :func:`alone`."""
        return bool(len(self.deletion)) and alone(self.deletion, self.insertion)

    @property
    def headline(self) -> str:
        """The badge and the numbers behind it in one line."""
        if not len(self.deletion):
            return f"{self.badge}: {self.reasons[0]}"
        maps = len(self.random_deletion)
        if np.isnan(self.reproduced):
            last = "cannot be made again"
        elif self.reproduced < SAME:
            last = f"made again, it correlates {self.reproduced:.2f}"
        else:
            last = f"with random weights it correlates {self.randomised:.2f}"
        return (
            f"{self.badge}: beats {round(self.beaten * maps)} of {maps} random maps, "
            f"gain {self.gain:.2f} log-odds, P({self.target}) areas {self.insertion_area:.2f} against "
            f"{self.deletion_area:.2f}, {last}"
        )

    def to_frame(self) -> pd.DataFrame:
        """The curves in probability, a row per share removed or put back.

        Columns ``share, deletion, insertion``, and ``_low, _median, _high`` of each over the random maps
        (5th, 50th and 95th percentile).
        """
        table = {"share": self.shares if len(self.deletion) else np.zeros(0)}
        for name in ("deletion", "insertion"):
            table[name] = probability(getattr(self, name), None)
            band = np.zeros((3, 0))
            if len(self.deletion):
                random = probability(getattr(self, f"random_{name}"), None)
                band = np.percentile(random, [5, 50, 95], axis=0)
            for words, values in zip(("low", "median", "high"), band, strict=True):
                table[f"{name}_{words}"] = values
        return pd.DataFrame(table)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON: badge, reasons and numbers, without the heatmap and the single random maps."""
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


def alone(deletion: np.ndarray, insertion: np.ndarray) -> bool:
    """Whether a score hangs on the hottest third of a face and on nothing else, by two curves of log-odds.

    From there on neither curve may be further than a fifth of the whole effect from where it ends, on either
    side, and the effect must be as large as a supported heatmap's gain.
    """
    none, whole = deletion[-1], deletion[0]
    shares = np.linspace(0, 1, len(deletion))
    late = np.concatenate([[1 / 3], shares[shares > 1 / 3]])
    off = [np.abs(np.interp(late, shares, curve) - curve[-1]).max() for curve in (deletion, insertion)]
    return bool(whole - none >= GAIN[0] and max(off) <= REST * (whole - none))


def assign_badge(checked: Faithfulness, problem: str = "") -> tuple[Badge, tuple[str, ...]]:
    """The badge for the numbers of a check, and a sentence for each of them.

    ``problem`` says why the heatmap could not be made again, where it could not.
    """
    whom, maps = f"P({checked.target})", len(checked.random_deletion)
    grades, reasons = [], []

    def note(grade: int, words: str) -> None:
        grades.append(grade)
        reasons.append(words)

    note(
        _grade(checked.beaten, BEATEN),
        "removing and restoring the hottest places first moves the score more than "
        f"{round(checked.beaten * maps)} of {maps} random maps do",
    )
    note(
        max(_grade(checked.gain, GAIN), _grade(checked.gap, GAP)),
        f"the area under {whom} is {checked.insertion_area:.2f} when they come first and "
        f"{checked.deletion_area:.2f} when they go first, a gain of {checked.gain:.2f} in log-odds"
        + ("" if checked.gain >= GAIN[1] else ": hardly any place on this face matters to the model"),
    )
    if np.isnan(checked.reproduced):
        note(2, f"the heatmap cannot be made again, so nothing ties it to this model ({problem})")
    elif checked.reproduced < SAME:
        note(
            2,
            f"{checked.explanation.method} gives another heatmap for this model and face "
            f"(rank correlation {checked.reproduced:.2f}), so this one does not show it",
        )
    else:
        same, only = checked.randomised >= SAME, checked.alone
        build = ", which the network's build explains: the score hangs on this place alone"
        words = f"with random weights the heatmap's rank correlation with itself is {checked.randomised:.2f}"
        if same:
            words += build if only else ": it stays the same whatever the model has learned"
        note(2 if same and not only else 0, words)
        widest = max(checked.random_network_gaps, default=0.0)
        unlearned = checked.gap < LEARNED * widest
        words = (
            f"heatmaps of networks with random weights reach up to {widest:.2f} between the two areas, "
            f"this one {checked.gap:.2f}"
        )
        if unlearned:
            words += build if only else ": no more than a network that has learned nothing may"
        note(2 if unlearned and not only else 0, words)
    return BADGES[max(grades)], tuple(reasons)


def _grade(value: float, needed: tuple[float, float]) -> int:
    """0, 1 or 2 for supported, weak and not supported."""
    return sum(value < limit for limit in needed)


def area_under_probability(logits: np.ndarray) -> float:
    """Area of P(target) under a curve of log-odds, NaN for none."""
    return float(area(probability(logits, None))) if len(logits) else float("nan")


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
    heat = heatmap_on_input(explanation, classifier.preprocessing)
    cells = to_grid(heat)
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
    curve = PerturbationScorer.batches(2 * (steps - 1))
    batches = 2 + (1 + pairs) * curve
    random_networks = CASCADES * (STAGES + 1 + curve)
    work = _Work(batches + 1 + random_networks, progress, as_cancel_check(cancel))

    values = _curves(classifier, explanation, heat, steps, pairs, seed, work)
    sanity, problem = _sanity(classifier, explanation, cells, steps, seed, work)
    work.finish()
    found = Faithfulness(explanation, "not supported", (), **values, **sanity)
    badge, reasons = assign_badge(found, problem)
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
        self.eraser = PerturbationScorer(classifier, pixels, 1 if explanation.target == "fake" else -1, tick)
        self._pictures = baseline_images(pixels)
        self.whole, *self._empty = self.eraser.scores([pixels, *self._pictures.values()]).tolist()
        self._cells = cells

    def heatmap_curves(self, steps: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
        """Deletion and insertion of the heatmap; chooses the neutral picture."""
        order = ranking(self._cells, random_heatmap(self._cells, rng))
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
    cells = to_grid(heat)
    face = _Face(classifier, explanation, cells, work.tick)
    deletion, insertion = face.heatmap_curves(steps, rng)
    random_deletion, random_insertion = [], []
    for _ in range(pairs):
        noise = random_heatmap(cells, rng)
        down, up = face.curves(ranking(noise, noise), steps)
        # What the opposite map deletes first, this one inserts last: the same pictures, the other way round.
        random_deletion += [down, up[::-1]]
        random_insertion += [up, down[::-1]]
    kept = face.eraser.scores([face.eraser.without(1 - heat / heat.max())])
    before, after = probability(np.array([face.whole, kept[0]]), None)
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
        return to_grid(heatmap_on_input(made, model.preprocessing))

    try:
        reproduced = correlation(cells, again(classifier))
    except ValueError as error:
        return {}, str(error)
    work.tick()
    found: dict[float, list[float]] = {}
    gaps = []
    with randomized_copy(classifier) as copy:
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
    return area_under_probability(insertion) - area_under_probability(deletion)


def correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Spearman's rank correlation of two maps, -1..1; 0 where just one of them is even, 1 where both are."""
    from scipy.stats import spearmanr

    flat = [not np.ptp(m) > 0 for m in (one, other)]
    if any(flat):
        return float(all(flat))
    return float(spearmanr(one.ravel(), other.ravel()).statistic)
