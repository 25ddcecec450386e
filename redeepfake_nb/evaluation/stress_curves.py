"""Stress test of one face: P(fake) under perturbations of increasing strength, and what flips the label."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..errors import RedeepfakeError
from ..faces.face import Face, crop_frame
from ..faces.preprocessing import Preprocessing, is_aligned, preprocess
from ..media.frames import Frame
from ..models.classifier import Classifier
from ..models.prediction import Prediction, predict
from ..utils.jobs import Cancel, Progress, as_cancel_check
from ..utils.numeric import check_threshold, probability
from .robustness_sweep import SWEEPS


@dataclass(frozen=True)
class Stress:
    """One kind of perturbation of a single face.

    Parameters
    ----------
    unit
        Of the levels.
    sides
        Levels from mild to strong, in each direction from the unchanged image. Equal positions of different
        kinds are about equally visible.
    words
        One level in a sentence, as a format string.
    sweep
        The entry of :data:`redeepfake_nb.evaluation.robustness_sweep.SWEEPS` that changes the pixels;
        ``None`` where the crop is changed instead.
    """

    unit: str
    sides: tuple[tuple[float, ...], ...]
    words: str
    sweep: str | None = None

    @property
    def levels(self) -> list[tuple[int, float]]:
        """(step, level), each direction from mild to strong; the mildest step is 1."""
        return [(step, level) for side in self.sides for step, level in enumerate(side, start=1)]


STRESSES: dict[str, Stress] = {
    "JPEG quality": Stress(
        "libjpeg quality", ((90, 80, 70, 60, 50, 40, 30, 20, 10),), "JPEG quality {:g}", "JPEG quality"
    ),
    "scale": Stress(
        "share of the side", ((0.9, 0.75, 0.6, 0.5, 0.4, 0.3, 0.25),), "scaling to {:g} and back", "scale"
    ),
    "blur": Stress("sigma, px", ((0.5, 1, 1.5, 2, 3, 4),), "blur of {:g} px", "blur"),
    "noise": Stress(
        "deviation, grey levels", ((2, 5, 10, 15, 20, 30),), "noise of {:g} grey levels", "noise"
    ),
    "brightness": Stress(
        "factor", ((0.85, 0.7, 0.55, 0.4), (1.15, 1.3, 1.5, 1.8)), "brightness times {:g}", "brightness gain"
    ),
    "crop margin": Stress(
        "added share of the side", ((-0.05, -0.1, -0.15), (0.05, 0.1, 0.15, 0.2, 0.3)), "a crop margin {:+g}"
    ),
    "flip": Stress("mirrored", ((1,),), "mirroring"),
}
# Surroundings that are perturbed with the face, as a fraction of its longer side beyond the model's margin.
_SURROUNDINGS = 0.6


@dataclass(frozen=True, eq=False)
class StressCurve:
    """P(fake) of one face over the levels of one perturbation.

    Parameters
    ----------
    change, unit
        Name of the perturbation, a key of :data:`STRESSES`, and unit of its levels.
    steps, levels, probabilities
        Of equal length: steps from unchanged, level, and P(fake), 0..1.
    """

    change: str
    unit: str
    steps: tuple[int, ...]
    levels: tuple[float, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Flip:
    """The mildest level of one perturbation that flips the predicted label."""

    change: str
    level: float
    step: int
    probability: float

    @property
    def words(self) -> str:
        """ "JPEG quality 60"."""
        return STRESSES[self.change].words.format(self.level)


@dataclass(frozen=True, eq=False)
class StressTest:
    """The result of :func:`stress_test`: P(fake) of one face under perturbations.

    Parameters
    ----------
    prediction
        Of the unchanged face.
    threshold
        Threshold on P(fake), 0..1.
    curves
        One per perturbation. Margins that extend beyond the frame are missing.
    """

    prediction: Prediction
    threshold: float
    curves: tuple[StressCurve, ...]

    @property
    def flips(self) -> tuple[Flip, ...]:
        """The mildest level of each perturbation that flips the label, mildest first.

        Levels of different perturbations are compared by their steps from unchanged (:class:`Stress`).
        """
        label = self.prediction.probability >= self.threshold
        flips = []
        for curve in self.curves:
            rows = zip(curve.steps, curve.levels, curve.probabilities, strict=True)
            flipped = [row for row in rows if (row[2] >= self.threshold) != label]
            if flipped:
                step, level, p = min(flipped, key=lambda row: row[0])
                flips.append(Flip(curve.change, level, step, p))
        return tuple(sorted(flips, key=lambda flip: flip.step))

    @property
    def mildest(self) -> Flip | None:
        """The first of :attr:`flips`, or ``None``."""
        return next(iter(self.flips), None)

    @property
    def sentence(self) -> str:
        """The mildest perturbation that flips the label, or that none does, for a person to read."""
        before, threshold = self.prediction.probability, self.threshold
        flip = self.mildest
        if flip is None:
            scores = [p for curve in self.curves for p in curve.probabilities] + [before]
            low, high = _format(threshold, min(scores), max(scores))
            where = "at or over" if before >= threshold else "below"
            return (
                f"no change tried flips it: P(fake) stays between {low} and {high}, "
                f"{where} the threshold {threshold:.2f}"
            )
        first, then = _format(threshold, before, flip.probability)
        where = "at or over" if flip.probability >= threshold else "below"
        return f"{flip.words} turns {first} into {then}, {where} the threshold {threshold:.2f}"

    def to_frame(self) -> pd.DataFrame:
        """Return one row per level: ``change, unit, step, level, probability, flipped``."""
        before = self.prediction.probability
        rows: list[tuple] = [("unchanged", "", 0, float("nan"), before, False)]
        for c in self.curves:
            for step, level, p in zip(c.steps, c.levels, c.probabilities, strict=True):
                flipped = (p >= self.threshold) != (before >= self.threshold)
                rows.append((c.change, c.unit, step, level, p, flipped))
        return pd.DataFrame(rows, columns=["change", "unit", "step", "level", "probability", "flipped"])

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "probability": self.prediction.probability,
            "threshold": self.threshold,
            "sentence": self.sentence,
            "flips": [
                {"change": f.change, "level": f.level, "step": f.step, "probability": f.probability}
                for f in self.flips
            ],
            "curves": [
                {
                    "change": c.change,
                    "unit": c.unit,
                    "levels": list(c.levels),
                    "probabilities": list(c.probabilities),
                }
                for c in self.curves
            ],
        }


def stress_test(
    classifier: Classifier,
    face: Face,
    *,
    threshold: float | None = None,
    seed: int = 0,
    progress: Progress | None = None,
    cancel: Cancel = None,
) -> StressTest:
    """Score one face under perturbations of increasing strength.

    The face is perturbed with its surroundings, at its size in the frame, and then preprocessed as usual;
    landmarks keep their positions. Lengths are pixels of the frame, so the same blur matters less to a large
    face.

    Parameters
    ----------
    classifier
        Scores with its own preprocessing, temperature and margin.
    face
        With its frame.
    threshold
        Threshold on P(fake), above 0 and below 1. Default: the classifier's own.
    seed
        Of the noise, whose pattern is the same at every level.
    progress
        Called as ``progress(done, perturbations)``.
    cancel
        An event, or a callable that says whether to stop before the next perturbation.

    Returns
    -------
    StressTest

    Raises
    ------
    ValueError
        A threshold out of range.
    UnsuitableModel
        A score is not finite.
    RedeepfakeError
        Cancelled.
    """
    threshold = classifier.threshold if threshold is None else threshold
    check_threshold(threshold)
    settings = classifier.preprocessing
    prediction = replace(predict(classifier, [face])[0], threshold=threshold)
    curves = []
    stop = as_cancel_check(cancel)
    for done, (name, stress) in enumerate(STRESSES.items(), start=1):
        if stop():
            raise RedeepfakeError("the test was cancelled", next_step="Run it again for its answer.")
        inputs = list(_inputs(face, stress, settings, seed, mirror=name == "flip"))
        if inputs:
            steps, levels, batch = zip(*inputs, strict=True)
            p = probability(classifier.logits(np.stack(batch)), classifier.temperature)
            curves.append(StressCurve(name, stress.unit, steps, levels, tuple(p.tolist())))
        if progress is not None:
            progress(done, len(STRESSES))
    return StressTest(prediction, threshold, tuple(curves))


def _inputs(
    face: Face, stress: Stress, settings: Preprocessing, seed: int, *, mirror: bool
) -> Iterator[tuple[int, float, np.ndarray]]:
    """Yield (step, level, model input (S, S, 3) float32) for every level that is possible."""
    if mirror:
        # Equal to mirroring the frame, as crops and the alignment template are symmetric.
        yield 1, 1.0, preprocess(face, settings)[0][:, ::-1]
        return
    margin = settings.margin if face.margin is None else face.margin
    around = crop_frame(face, min(margin + _SURROUNDINGS, 4.0))
    for step, level in stress.levels:
        if stress.sweep is None:
            changed = _with_margin(face, margin, margin + level, settings)
        else:
            rng = np.random.default_rng(seed)
            picture = SWEEPS[stress.sweep].change(around.frame.image, level, rng)
            changed = replace(around, frame=Frame(picture))
        if changed is not None:
            yield step, level, preprocess(changed, settings)[0]


def _with_margin(face: Face, before: float, margin: float, settings: Preprocessing) -> Face | None:
    """Return the face with another crop margin; ``None`` where the frame or the alignment has no room."""
    if is_aligned(face, settings):
        return replace(face, margin=margin) if 0 <= margin <= 4 else None
    left, top, right, bottom = face.box
    inwards = round(max(-margin, 0) * max(face.width, face.height))
    box = (left + inwards, top + inwards, right - inwards, bottom - inwards)
    if box[0] >= box[2] or box[1] >= box[3] or margin > 4:
        return None
    changed = replace(face, box=box, margin=max(margin, 0.0))
    return None if changed.crop_box() == face.crop_box(before) else changed


def _format(threshold: float, *values: float) -> tuple[str, ...]:
    """Format with two decimals, or three where two would hide on which side of the threshold a value is."""
    places = 3 if any(abs(value - threshold) < 0.01 for value in values) else 2
    return tuple(f"{value:.{places}f}" for value in values)
