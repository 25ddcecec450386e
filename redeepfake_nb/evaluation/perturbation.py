"""How scores move when pictures get worse: one change at a time, from mild to strong."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import cv2
import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces, batches
from ..faces.preprocessing import prepare_crop
from ..models.classifier import Classifier
from ..utils.numeric import probabilities
from .scoring import Progress, sample


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
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, int(quality)])[1]
    return cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def _scale(image: np.ndarray, share: float, _: np.random.Generator) -> np.ndarray:
    height, width = image.shape[:2]
    size = max(1, round(width * share)), max(1, round(height * share))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_LINEAR)


def _blur(image: np.ndarray, sigma: float, _: np.random.Generator) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def _noise(image: np.ndarray, deviation: float, rng: np.random.Generator) -> np.ndarray:
    grain = rng.standard_normal(image.shape, np.float32)
    return np.rint(image + np.float32(deviation) * grain).clip(0, 255).astype(np.uint8)


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
    "noise": Sweep("standard deviation in grey levels", (2, 5, 10, 20), 0, _noise),
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
        p = probabilities(logits, classifier.temperature)
        if sweep is None:
            unchanged = logits
        flipped = (p >= cut) != (probabilities(unchanged, classifier.temperature) >= cut)
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
