"""A stranger's model file -> one of ours, with the check that it still scores as it did."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from .classifier import Classifier
from .loading import load_model, save_model, sha256_of

if TYPE_CHECKING:
    from .card import Card

PROBES = 8


@dataclass(frozen=True)
class Conversion:
    """What was written, and how far its scores are from those before.

    Parameters
    ----------
    path
        The new file; its sidecar lies beside it.
    card
        Its habits.
    difference
        Largest difference of a logit on the probe pictures, between the model as it was read and the new file
        as it is read again.
    logits
        (N,) of the new file on the probe pictures.
    """

    path: Path
    card: Card
    difference: float
    logits: np.ndarray


def convert_model(source: str | Path, destination: str | Path, **habits: Any) -> Conversion:
    """Write a model as a ``.keras`` file of Keras 3 with a sidecar, and read it again to compare.

    Parameters
    ----------
    source
        Whatever :func:`redeepfake_nb.load_model` takes.
    destination
        Ends in ``.keras``.
    habits
        Passed on to :func:`redeepfake_nb.load_model`.

    Raises
    ------
    ModelError, OutputError
        As :func:`redeepfake_nb.load_model` and :func:`redeepfake_nb.save_model`.
    """
    before = load_model(source, **habits)
    card = before.card
    before.card = replace(card, converted_from=card.converted_from or card.sha256)
    path = save_model(before, destination)
    trusted = {"trust": True, "sha256": sha256_of(path)} if card.trusted else {}
    after = load_model(path, **trusted)
    x = probe(before)
    logits = after.logits(x)
    return Conversion(path, after.card, float(np.abs(logits - before.logits(x)).max()), logits)


def probe(classifier: Classifier) -> np.ndarray:
    """(8, S, S, 3) float32: flat, noisy and smooth pictures in the model's value range."""
    low, high = classifier.preprocessing.value_range
    size = classifier.preprocessing.input_size
    rng = np.random.default_rng(0)
    ramp = np.linspace(0, 1, size)
    pictures = [np.full((size, size, 3), level) for level in (0.0, 0.5, 1.0)]
    pictures += [
        np.broadcast_to(ramp[:, None, None], (size, size, 3)),
        np.repeat(ramp[None, :, None], size, 0),
    ]
    pictures += [rng.random((size, size, 3)) for _ in range(PROBES - len(pictures))]
    batch = np.stack([np.broadcast_to(picture, (size, size, 3)) for picture in pictures])
    return (low + (high - low) * batch).astype(np.float32)
