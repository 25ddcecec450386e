"""Fragility: whether a score survives changes of the picture that nobody sees.

Each scored face is scored again after a mild change. A score that then lands on the other side of the
threshold says little, however sure it looks, and that is a reason for doubt.

The check costs one more forward pass per face. A model that scores a face and its mirror image takes two
passes of its network for a score; here it takes one for each of two changes: a blur, and a mirrored and
compressed picture. Any other model takes one, of a picture that is blurred and compressed.
"""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from ..datasets.image_operations import compress_jpeg, gaussian_blur
from ..faces.preprocessing import face_pixels, prepare_crop
from ..models.classifier import Classifier
from ..models.prediction import Prediction

# Standard deviation of the blur in pixels of the model's input, and libjpeg quality.
BLUR, QUALITY = 1.0, 85
# Besides crossing the threshold, P(fake) must change by at least this much: what is nearer to the threshold
# than that is told by the inconclusive band.
MIN_CHANGE = 0.25

Change = Callable[[np.ndarray], np.ndarray]


def _blurred(pixels: np.ndarray) -> np.ndarray:
    return gaussian_blur(pixels, BLUR)


def _mirrored_and_compressed(pixels: np.ndarray) -> np.ndarray:
    return compress_jpeg(np.ascontiguousarray(pixels[:, ::-1]), QUALITY)


def _blurred_and_compressed(pixels: np.ndarray) -> np.ndarray:
    return compress_jpeg(_blurred(pixels), QUALITY)


def mild_changes(classifier: Classifier) -> dict[str, Change]:
    """Return the changes that cost one more forward pass of this classifier: words -> function of pixels."""
    if classifier.card.mirror:
        return {
            "one pixel of blur": _blurred,
            "mirroring and JPEG compression": _mirrored_and_compressed,
        }
    return {"one pixel of blur and JPEG compression": _blurred_and_compressed}


_unmirrored: weakref.WeakKeyDictionary[Classifier, Classifier] = weakref.WeakKeyDictionary()


def with_changes(
    classifier: Classifier, predictions: Sequence[Prediction], *, batch_size: int = 32
) -> list[Prediction]:
    """Score faces again after mild changes, and note the scores in :attr:`Prediction.changed`.

    Parameters
    ----------
    classifier
        The one that made the predictions. A model of several frames at once is not checked.
    predictions
        Of any number of faces.
    batch_size
        Pictures per forward pass.
    """
    if classifier.preprocessing.frames > 1 or not predictions:
        return list(predictions)
    scorer = classifier
    if classifier.card.mirror:
        if classifier not in _unmirrored:
            _unmirrored[classifier] = classifier.with_card(replace(classifier.card, mirror=False))
        scorer = _unmirrored[classifier]
    changes = mild_changes(classifier)
    settings = classifier.preprocessing
    pixels = (face_pixels(p.face, settings) for p in predictions)
    inputs = [prepare_crop(change(one), settings) for one in pixels for change in changes.values()]
    logits = [
        float(logit)
        for start in range(0, len(inputs), batch_size)
        for logit in scorer.logits(np.stack(inputs[start : start + batch_size]))
    ]
    count = len(changes)
    return [
        replace(p, changed=dict(zip(changes, logits[i * count : (i + 1) * count], strict=True)))
        for i, p in enumerate(predictions)
    ]


def crossing(prediction: Prediction, threshold: float) -> tuple[str, float] | None:
    """Return the change that moves a score furthest across the threshold, and P(fake) then; None if none."""
    before = prediction.probability
    found = [
        (abs(after - before), words, after)
        for words, logit in prediction.changed.items()
        if ((after := prediction.probability_of(logit)) >= threshold) != (before >= threshold)
    ]
    far = [entry for entry in found if entry[0] >= MIN_CHANGE]
    return None if not far else max(far)[1:]


def fragility_doubts(predictions: Sequence[Prediction], threshold: float) -> list[str]:
    """Say that a score does not survive a mild change.

    Parameters
    ----------
    predictions
        One face of a picture; or the strongest faces of a person in a video, of which at least half must
        cross the threshold.
    threshold
        On P(fake), 0..1.
    """
    checked = [p for p in predictions if p.changed]
    crossed = [(p, found) for p in checked if (found := crossing(p, threshold)) is not None]
    if not crossed or 2 * len(crossed) < len(checked):
        return []
    first, (words, after) = crossed[0]
    of = "" if len(checked) == 1 else f" in {len(crossed)} of the {len(checked)} frames checked"
    return [f"fragile score (P(fake) {first.probability:.2f} becomes {after:.2f} by {words}{of})"]
