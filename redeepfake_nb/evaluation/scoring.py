"""Scores labelled faces with one or several classifiers, and sets unreadable images aside."""

from __future__ import annotations

import zipfile
from collections.abc import Iterable, Sequence
from typing import NamedTuple, Protocol, Self, TypeVar

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces, batches
from ..errors import RedeepfakeError
from ..faces.face import crop_brightness, crop_sharpness
from ..faces.preprocessing import prepare_crop
from ..faces.skin_tone import typology_angle
from ..models.classifier import Classifier
from ..utils.jobs import Progress


class Scores(NamedTuple):
    """The result of :func:`score_all`.

    ``faces``: those that were read. ``logits``: (N,) float32 per classifier. ``brightness``, ``sharpness``,
    ``skin_tone``: (N,) float64 of the stored crops. ``unreadable``: a table with columns ``file, error,
    cause``.
    """

    faces: LabelledFaces
    logits: list[np.ndarray]
    brightness: np.ndarray
    sharpness: np.ndarray
    skin_tone: np.ndarray
    unreadable: pd.DataFrame


class _Labelled(Protocol):
    """Labelled faces or videos."""

    def __len__(self) -> int: ...

    @property
    def y(self) -> np.ndarray: ...

    def take(self, rows: Iterable[int]) -> Self: ...


_LabelledSet = TypeVar("_LabelledSet", bound=_Labelled)


def sample(faces: _LabelledSet, limit: int | None, seed: int = 0) -> _LabelledSet:
    """Draw at most ``limit`` faces or videos, half of them fake if there are enough, in the table's order.

    Raises
    ------
    ValueError
        A limit under 2.
    """
    if limit is None or limit >= len(faces):
        return faces
    if limit < 2:
        raise ValueError(f"limit must be a number of faces or videos, 2 or more, not {limit}")
    rng = np.random.default_rng(seed)
    real, fake = (rng.permutation(np.flatnonzero(faces.y == label)) for label in (0, 1))
    fakes = min(max(limit // 2, limit - len(real)), len(fake))
    return faces.take(np.sort(np.concatenate([fake[:fakes], real[: limit - fakes]])))


def group_column(faces: LabelledFaces) -> str | None:
    """Return the column of groups: ``identity``, else ``original``, the source video, else ``None``."""
    return group_of(faces.table)


def group_of(table: pd.DataFrame) -> str | None:
    """Return the column of groups of a labelled set's table; see :func:`group_column`."""
    return next((c for c in ("identity", "original") if not table[c].isna().any()), None)


def score_all(
    classifiers: Sequence[Classifier],
    faces: LabelledFaces,
    progress: Progress | None = None,
    batch: int = 64,
) -> Scores:
    """Read every face once and score it with each classifier, with that classifier's preprocessing.

    Raises
    ------
    UnsuitableModel
        A model takes several frames of a video at once.
    ValueError
        No image could be read.
    """
    for classifier in classifiers:
        classifier.check_single_pictures(
            "Evaluate it on labelled videos, for which a folder or list of videos is given instead of faces."
        )
    logits: list[list[np.ndarray]] = [[] for _ in classifiers]
    measured: list[tuple[float, float, float]] = []
    failed, kept = [], []
    for part in batches(len(faces), batch):
        images = []
        for i in range(part.start, part.stop):
            try:
                images.append(faces.image(i))
                kept.append(i)
            except RedeepfakeError as error:
                failed.append((faces.table["file"].iloc[i], type(error).__name__, error.cause))
            except (OSError, KeyError, zipfile.BadZipFile) as error:
                # Without the path that Python adds: tables are shared, folder names are private.
                cause = getattr(error, "strerror", None) or str(error)
                failed.append((faces.table["file"].iloc[i], type(error).__name__, cause))
        measured += [
            (crop_brightness(image), crop_sharpness(image), typology_angle(image)) for image in images
        ]
        if images:
            for scores, classifier in zip(logits, classifiers, strict=True):
                prepared = np.stack([prepare_crop(image, classifier.preprocessing) for image in images])
                scores.append(classifier.logits(prepared))
        if progress is not None:
            progress(part.stop, len(faces))
    if not kept:
        raise ValueError(f"none of the {len(faces)} faces could be read")
    brightness, sharpness, skin_tone = np.array(measured).T
    return Scores(
        faces.take(kept) if failed else faces,
        [np.concatenate(scores) for scores in logits],
        brightness,
        sharpness,
        skin_tone,
        pd.DataFrame(failed, columns=["file", "error", "cause"]),
    )
