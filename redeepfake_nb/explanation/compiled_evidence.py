"""Grad-CAM without Keras, from a compiled network that returns a map beside its score."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .methods import Target
from .mirroring import with_mirror_image

if TYPE_CHECKING:
    from ..models.classifier import Classifier


class CompiledEvidence:
    """Grad-CAM by the compiled network, which returns each cell's part of the logit beside the score.

    Parameters
    ----------
    classifier
        One that has an ``evidence_map``.
    """

    def __init__(self, classifier: Classifier) -> None:
        if (found := classifier.evidence_map) is None:
            raise ValueError("this network returns no map beside its score")
        self._classifier, self.layer, self.layout = classifier, found.layer, found.layout

    def on_input(self, batch: np.ndarray, method: str, target: Target) -> np.ndarray:
        """Compute maps as ``SplitNetwork.on_input`` does, to which they are equal but for rounding."""
        sign = np.float32(1 if target == "fake" else -1)

        def drawn(pixels: np.ndarray) -> np.ndarray:
            maps = sign * self._classifier.evidence(pixels)
            return self.layout.draw(maps.reshape(len(maps), -1), batch.shape[1])

        return with_mirror_image(drawn, batch, self._classifier.card.mirror)
