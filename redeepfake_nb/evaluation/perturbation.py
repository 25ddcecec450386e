"""How scores move when pictures get worse: one change at a time, from mild to strong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from ..datasets.image_operations import add_noise, compress_jpeg, gaussian_blur, rescale
from ..datasets.labelled_faces import LabelledFaces, batches
from ..faces.face import Face, crop_frame
from ..faces.preprocessing import Preprocessing, is_aligned, prepare_crop, preprocess
from ..media.frames import Frame
from ..models.classifier import Classifier
from ..models.prediction import Prediction, predict
from ..utils.jobs import Progress
from ..utils.numeric import check_threshold, probability
from .scoring import sample


@dataclass(frozen=True)
class Sweep:
    """One kind of change.

    Parameters
    ----------
    unit
        Of the levels.
    levels
        From mild to strong.
    neutral
        The level at which a picture stays as it is, or None where there is none on this scale.
    change
        (H, W, 3) uint8 RGB, level, source of chance -> (h, w, 3) uint8 RGB, a new array.
    """

    unit: str
    levels: tuple[float, ...]
    neutral: float | None
    change: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _jpeg(image: np.ndarray, quality: float, _: np.random.Generator) -> np.ndarray:
    return compress_jpeg(image, int(quality))


def _scale(image: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    return rescale(image, max(1, round(width * share)), max(1, round(height * share)))


def _blur(image: np.ndarray, sigma: float, _: np.random.Generator) -> np.ndarray:
    return gaussian_blur(image, sigma)


def _offset(image: np.ndarray, offset: float, _: np.random.Generator) -> np.ndarray:
    return np.rint(image + np.float32(offset)).clip(0, 255).astype(np.uint8)


def _gain(image: np.ndarray, gain: float, _: np.random.Generator) -> np.ndarray:
    return np.rint(image * np.float32(gain)).clip(0, 255).astype(np.uint8)


def _crop(image: np.ndarray, margin: float, _: np.random.Generator) -> np.ndarray:
    """A margin below 0 takes that share of the longer side off each side."""
    height, width = image.shape[:2]
    off = min(round(-margin * max(height, width)), (min(height, width) - 1) // 2)
    return np.ascontiguousarray(image[off : height - off, off : width - off])


def _swap(image: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])


# Only the stored crop is there, so pixels are its own and a margin can only shrink.
SWEEPS: dict[str, Sweep] = {
    "JPEG quality": Sweep("libjpeg quality, 1 to 100", (90, 70, 50, 30, 15), None, _jpeg),
    "scale": Sweep("share of the side, then enlarged again", (0.75, 0.5, 0.35, 0.25), 1, _scale),
    "blur": Sweep("sigma in px of the stored crop", (0.5, 1, 2, 3), 0, _blur),
    "noise": Sweep("standard deviation in grey levels", (2, 5, 10, 20), 0, add_noise),
    "brightness offset": Sweep("grey levels", (-60, -30, 30, 60), 0, _offset),
    "brightness gain": Sweep("factor", (0.5, 0.75, 1.25, 1.5), 1, _gain),
    "crop margin": Sweep("share of the longer side", (-0.05, -0.1, -0.15, -0.2), 0, _crop),
    "colours swapped": Sweep("BGR fed as RGB", (1,), 0, _swap),
}
UNCHANGED = "unchanged"


def robustness(
    classifier: Classifier,
    faces: LabelledFaces,
    *,
    sweeps: Iterable[str] | None = None,
    threshold: float | None = None,
    limit: int | None = 200,
    seed: int = 0,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Score the same faces unchanged and after each change.

    Parameters
    ----------
    faces
        Pictures that cannot be read are left out; :func:`redeepfake_nb.evaluation.assessment.assess` lists them.
    sweeps
        Names in :data:`SWEEPS`; None for all.
    threshold
        Cut on the calibrated P(fake); None means the classifier's own.
    limit
        At most this many faces, as many fakes as reals; None for all. Every level scores all of them again.
    seed
        Of the sample and of the noise, which is the same grain for a face at every level.
    progress
        Called as ``progress(done, levels)``.

    Returns
    -------
    pandas.DataFrame
        First the row ``unchanged``, then one per change and level, with the columns

        * ``change, level, unit``;
        * ``faces``;
        * ``auc, accuracy, log_loss`` of the calibrated P(fake);
        * ``logit_shift``: mean of the uncalibrated logit minus that of the same face unchanged, positive
          where faces look more fake;
        * ``flipped``: share of faces whose label changed, 0..1.

    Raises
    ------
    ValueError
        An unknown sweep, or readable faces of one label alone.
    """
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    names = list(SWEEPS) if sweeps is None else list(sweeps)
    unknown = [name for name in names if name not in SWEEPS]
    if unknown:
        raise ValueError(f"unknown sweeps: {', '.join(unknown)}; known: {', '.join(SWEEPS)}")
    faces = sample(faces, limit, seed)
    unreadable = set(faces.unreadable()["file"])
    if unreadable:
        faces = faces.take(np.flatnonzero(~faces.table["file"].isin(unreadable).to_numpy()))
    y = faces.y
    if len(np.unique(y)) < 2:
        raise ValueError("robustness needs readable faces of both labels")
    cut = classifier.threshold if threshold is None else threshold
    tasks = [(name, level) for name in names for level in SWEEPS[name].levels]
    rows = []
    unchanged = np.zeros(0)
    for done, (name, level) in enumerate([(UNCHANGED, np.nan), *tasks], start=1):
        sweep = SWEEPS.get(name)
        logits = _logits(classifier, faces, sweep, level, seed)
        p = probability(logits, classifier.temperature)
        if sweep is None:
            unchanged = logits
        flipped = (p >= cut) != (probability(unchanged, classifier.temperature) >= cut)
        rows.append(
            {
                "change": name,
                "level": float(level),
                "unit": sweep.unit if sweep else "",
                "faces": len(y),
                "auc": float(roc_auc_score(y, p)),
                "accuracy": float(accuracy_score(y, p >= cut)),
                "log_loss": float(log_loss(y, p)),
                "logit_shift": float((logits - unchanged).mean()),
                "flipped": float(flipped.mean()),
            }
        )
        if progress is not None:
            progress(done, len(tasks) + 1)
    return pd.DataFrame(rows)


def _logits(
    classifier: Classifier,
    faces: LabelledFaces,
    sweep: Sweep | None,
    level: float,
    seed: int,
    batch: int = 64,
) -> np.ndarray:
    """(N,) float64 logits of the changed pictures; no sweep leaves them as they are."""
    logits = []
    for part in batches(len(faces), batch):
        crops = []
        for i in range(part.start, part.stop):
            image = faces.image(i)
            if sweep is not None:
                image = sweep.change(image, level, np.random.default_rng([seed, i]))
            crops.append(prepare_crop(image, classifier.preprocessing))
        logits.append(classifier.logits(np.stack(crops)))
    return np.concatenate(logits).astype(np.float64)


@dataclass(frozen=True)
class Stress:
    """One kind of change to a single face.

    Parameters
    ----------
    unit
        Of the levels.
    sides
        Levels from mild to strong, on each side of an unchanged picture. Those at the same place of
        different kinds are about as much of a change to the eye.
    words
        One level in a sentence, with ``{}`` for it.
    sweep
        The change of :data:`redeepfake_nb.evaluation.perturbation.SWEEPS` that it is, or None for one of the face's frame.
    """

    unit: str
    sides: tuple[tuple[float, ...], ...]
    words: str
    sweep: str | None = None

    @property
    def levels(self) -> list[tuple[int, float]]:
        """(step, level), each side from mild to strong; the mildest step is 1."""
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
# Surroundings that are changed with the face, as a share of its longer side beyond the model's own margin.
_AROUND = 0.6


@dataclass(frozen=True, eq=False)
class StressCurve:
    """P(fake) of one face over the levels of one change.

    Parameters
    ----------
    change, unit
        What is changed, and of what the levels are.
    steps, levels, probabilities
        Of the same length: how many steps from unchanged, the level, and P(fake), 0..1.
    """

    change: str
    unit: str
    steps: tuple[int, ...]
    levels: tuple[float, ...]
    probabilities: tuple[float, ...]


@dataclass(frozen=True)
class Flip:
    """The mildest level of one change that turns the label."""

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
    """How P(fake) of one face moves when the picture is changed.

    Parameters
    ----------
    prediction
        The unchanged face's.
    threshold
        Cut on P(fake).
    curves
        One per kind of change. Margins that the frame's edge leaves no room for are missing.
    """

    prediction: Prediction
    threshold: float
    curves: tuple[StressCurve, ...]

    @property
    def flips(self) -> tuple[Flip, ...]:
        """The mildest level of each change that turns the label, mildest first.

        Levels of different changes are compared by their steps from unchanged (:class:`Stress`).
        """
        label = self.prediction.probability >= self.threshold
        found = []
        for curve in self.curves:
            rows = zip(curve.steps, curve.levels, curve.probabilities, strict=True)
            turned = [row for row in rows if (row[2] >= self.threshold) != label]
            if turned:
                step, level, probability = min(turned, key=lambda row: row[0])
                found.append(Flip(curve.change, level, step, probability))
        return tuple(sorted(found, key=lambda flip: flip.step))

    @property
    def mildest(self) -> Flip | None:
        """The first of :attr:`flips`, or None."""
        return next(iter(self.flips), None)

    @property
    def sentence(self) -> str:
        """The mildest change that turns the label, or that none does."""
        before, cut = self.prediction.probability, self.threshold
        flip = self.mildest
        if flip is None:
            scores = [p for curve in self.curves for p in curve.probabilities] + [before]
            low, high = _shown(cut, min(scores), max(scores))
            where = "at or over" if before >= cut else "below"
            return (
                f"no change tried flips it: P(fake) stays between {low} and {high}, "
                f"{where} the threshold {cut:.2f}"
            )
        first, then = _shown(cut, before, flip.probability)
        where = "at or over" if flip.probability >= cut else "below"
        return f"{flip.words} turns {first} into {then}, {where} the threshold {cut:.2f}"

    def to_frame(self) -> pd.DataFrame:
        """A row per level: ``change, unit, step, level, probability, flipped``; first the unchanged face."""
        before = self.prediction.probability
        rows: list[tuple] = [("unchanged", "", 0, float("nan"), before, False)]
        for c in self.curves:
            for step, level, p in zip(c.steps, c.levels, c.probabilities, strict=True):
                flipped = (p >= self.threshold) != (before >= self.threshold)
                rows.append((c.change, c.unit, step, level, p, flipped))
        return pd.DataFrame(rows, columns=["change", "unit", "step", "level", "probability", "flipped"])

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
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
) -> StressTest:
    """Score one face again and again while its picture gets worse.

    The face is changed with its surroundings, at the size it has in the frame, and then prepared as ever;
    landmarks stay where they were found. Lengths are pixels of the frame, so the same blur means less to a
    large face.

    Parameters
    ----------
    threshold
        Cut on P(fake); None means the classifier's own.
    seed
        Of the noise, which is the same grain at every level.
    progress
        Called as ``progress(done, kinds of change)``.

    Raises
    ------
    ValueError
        A threshold outside 0..1.
    UnsuitableModel
        A score is not finite.
    """
    cut = classifier.threshold if threshold is None else threshold
    check_threshold(cut)
    settings = classifier.preprocessing
    prediction = replace(predict(classifier, [face])[0], threshold=cut)
    curves = []
    for done, (name, stress) in enumerate(STRESSES.items(), start=1):
        inputs = list(_inputs(face, stress, settings, seed, mirror=name == "flip"))
        if inputs:
            steps, levels, batch = zip(*inputs, strict=True)
            p = probability(classifier.logits(np.stack(batch)), classifier.temperature)
            curves.append(StressCurve(name, stress.unit, steps, levels, tuple(p.tolist())))
        if progress is not None:
            progress(done, len(STRESSES))
    return StressTest(prediction, cut, tuple(curves))


def _inputs(
    face: Face, stress: Stress, settings: Preprocessing, seed: int, *, mirror: bool
) -> Iterator[tuple[int, float, np.ndarray]]:
    """(step, level, model input (S, S, 3) float32) for every level that changes the face."""
    if mirror:
        # As good as a mirrored frame: crops and the template of alignment are symmetric.
        yield 1, 1.0, preprocess(face, settings)[0][:, ::-1]
        return
    margin = settings.margin if face.margin is None else face.margin
    around = crop_frame(face, min(margin + _AROUND, 4.0))
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
    """The face with another crop margin, or None where the frame or the alignment has no room for it."""
    if is_aligned(face, settings):
        return replace(face, margin=margin) if 0 <= margin <= 4 else None
    left, top, right, bottom = face.box
    inwards = round(max(-margin, 0) * max(face.width, face.height))
    box = (left + inwards, top + inwards, right - inwards, bottom - inwards)
    if box[0] >= box[2] or box[1] >= box[3] or margin > 4:
        return None
    changed = replace(face, box=box, margin=max(margin, 0.0))
    return None if changed.crop_box() == face.crop_box(before) else changed


def _shown(cut: float, *values: float) -> tuple[str, ...]:
    """Two decimals, or three where two would hide on which side of the cut a value lies."""
    places = 3 if any(abs(value - cut) < 0.01 for value in values) else 2
    return tuple(f"{value:.{places}f}" for value in values)
