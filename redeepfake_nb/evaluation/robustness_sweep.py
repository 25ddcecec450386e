"""Robustness of a classifier on labelled faces: metrics under one perturbation at a time, mild to strong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from ..datasets.image_operations import add_noise, compress_h264, compress_jpeg, gaussian_blur, rescale
from ..datasets.labelled_faces import LabelledFaces, batches
from ..faces.preprocessing import prepare_crop
from ..models.classifier import Classifier
from ..utils.jobs import Progress
from ..utils.numeric import check_threshold, probability
from .scoring import sample


@dataclass(frozen=True)
class Sweep:
    """One kind of perturbation.

    Parameters
    ----------
    unit
        Of the levels.
    levels
        From mild to strong.
    neutral
        The level at which an image is unchanged, or ``None`` where the scale has none.
    change
        Function of an image (H, W, 3) uint8 RGB, a level and a random generator; returns a new array
        (h, w, 3) uint8 RGB.
    """

    unit: str
    levels: tuple[float, ...]
    neutral: float | None
    change: Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def _jpeg(image: np.ndarray, quality: float, _: np.random.Generator) -> np.ndarray:
    return compress_jpeg(image, int(quality))


def _h264(image: np.ndarray, crf: float, _: np.random.Generator) -> np.ndarray:
    return compress_h264(image, int(crf), drift=(1, 1))


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
    """Crop off each side that share of the longer side, for a negative margin."""
    height, width = image.shape[:2]
    off = min(round(-margin * max(height, width)), (min(height, width) - 1) // 2)
    return np.ascontiguousarray(image[off : height - off, off : width - off])


def _swap(image: np.ndarray, _: float, __: np.random.Generator) -> np.ndarray:
    return np.ascontiguousarray(image[..., ::-1])


# They apply to stored crops: lengths are pixels of the crop, and a margin can only shrink.
SWEEPS: dict[str, Sweep] = {
    "JPEG quality": Sweep("libjpeg quality, 1 to 100", (90, 70, 50, 30, 15), None, _jpeg),
    "H.264": Sweep("x264's constant rate factor, 0 to 51", (18, 23, 28, 33, 38), None, _h264),
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
    """Score the same faces unchanged and under each perturbation.

    Parameters
    ----------
    faces
        Images that cannot be read are left out; :func:`redeepfake_nb.evaluation.assessment.assess` lists
        them.
    sweeps
        Names in :data:`SWEEPS`; ``None`` for all.
    threshold
        Threshold on the calibrated P(fake), above 0 and below 1. Default: the classifier's own.
    limit
        At most this many faces, half of them fake; ``None`` for all. Every level scores all of them again.
    seed
        Of the sample and of the noise, whose pattern is the same for a face at every level.
    progress
        Called as ``progress(done, levels)``.

    Returns
    -------
    pandas.DataFrame
        First the row ``unchanged``, then one per perturbation and level, with the columns

        * ``change, level, unit``;
        * ``faces``;
        * ``auc, accuracy, log_loss`` of the calibrated P(fake);
        * ``logit_shift``: mean difference to the uncalibrated logit of the same face unchanged, positive
          towards fake;
        * ``flipped``: share of faces whose predicted label changed, 0..1.

    Raises
    ------
    ValueError
        An unknown sweep, a threshold out of range, or readable faces of only one label.
    """
    from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

    threshold = classifier.threshold if threshold is None else threshold
    check_threshold(threshold)
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
    tasks = [(name, level) for name in names for level in SWEEPS[name].levels]
    rows = []
    unchanged = np.zeros(0)
    for done, (name, level) in enumerate([(UNCHANGED, np.nan), *tasks], start=1):
        sweep = SWEEPS.get(name)
        logits = _logits(classifier, faces, sweep, level, seed)
        p = probability(logits, classifier.temperature)
        if sweep is None:
            unchanged = logits
        flipped = (p >= threshold) != (probability(unchanged, classifier.temperature) >= threshold)
        rows.append(
            {
                "change": name,
                "level": float(level),
                "unit": sweep.unit if sweep else "",
                "faces": len(y),
                "auc": float(roc_auc_score(y, p)),
                "accuracy": float(accuracy_score(y, p >= threshold)),
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
    """Return the (N,) float64 logits of the perturbed images; unchanged where ``sweep`` is ``None``."""
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
