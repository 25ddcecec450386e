"""Convert a third-party model file to Keras 3 with a sidecar, and verify that its scores are unchanged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..utils.hashing import sha256_of
from ..utils.writing import check_not_input
from .card import sidecar_of
from .classifier import probe_images
from .loading import load_model, save_model

if TYPE_CHECKING:
    from .card import Card


@dataclass(frozen=True)
class Conversion:
    """The file that was written, and how far its scores are from those of the original.

    Parameters
    ----------
    path
        The new file; its sidecar lies beside it.
    card
        The card in that sidecar.
    difference
        Largest absolute difference of a logit on the probe images, between the original and the new file
        after it was read again.
    logits
        (N,) float32, of the new file on the probe images.
    """

    path: Path
    card: Card
    difference: float
    logits: np.ndarray


def convert_model(source: str | Path, destination: str | Path, **options: Any) -> Conversion:
    """Write a model as a Keras 3 file with a sidecar, read it again, and compare the scores.

    Parameters
    ----------
    source
        A file or name that :func:`redeepfake_nb.load_model` takes.
    destination
        Path that ends in ``.keras``.
    options
        Keywords of :func:`redeepfake_nb.load_model` for ``source``, such as ``preprocessing``.

    Raises
    ------
    ModelError, OutputError
        As :func:`redeepfake_nb.load_model` and :func:`redeepfake_nb.save_model`; or the result, or its
        sidecar, would replace that of ``source``.
    """
    check_not_input(destination, source, "the model")
    sidecar = sidecar_of(Path(source))
    if sidecar.is_file():
        check_not_input(sidecar_of(Path(destination)), sidecar, "the sidecar of the model")
    before = load_model(source, **options)
    card = before.card
    before = before.with_card(replace(card, converted_from=card.converted_from or card.sha256))
    path = save_model(before, destination)
    trust = bool(card.trusted)
    after = load_model(path, trust=trust, sha256=sha256_of(path) if trust else None)
    images = probe_images(before.preprocessing)
    logits = after.logits(images)
    return Conversion(path, after.card, float(np.abs(logits - before.logits(images)).max()), logits)
