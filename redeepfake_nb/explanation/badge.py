"""What a check of a heatmap measured, and the badge that follows from it.

A :class:`Faithfulness` record holds the curves and correlations that
:func:`~redeepfake_nb.explanation.fidelity.faithfulness` measures; its properties (gain, gap, share of random
maps beaten, ...) are derived from them, and :func:`assign_badge` compares them with the constants below.
``docs/trust.md`` explains each number.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import pandas as pd

from ..utils.numeric import plain, probability
from .deletion import area_under_curve
from .heatmaps import Explanation

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


def grade_of_curves(checked: Faithfulness) -> int:
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
