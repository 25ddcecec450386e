"""Several linear logits on the same features, weighted for each face by a gate that reads CLIP's features.

Jacobs et al. 1991, "Adaptive Mixtures of Local Experts". One linear head would have to judge a video frame
and a studio portrait by the same weights, although what gives a fake away differs between them. Here each
expert judges the faces that look like those it was fitted to; the gate is a softmax, so that a face between
two domains gets something of both. It is fitted to tell the experts' training faces apart, real and fake ones
alike, and is never told which were manipulated.

Since it reads CLIP's features alone, the logit stays linear in the evidence map for any one face, and a
heatmap at that map accounts for all that the map adds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras

EXPERTS_LAYER = "expert_logits"
GATE_LAYER = "gate"


def mixture(
    features: keras.KerasTensor, gate_features: keras.KerasTensor, experts: int, name: str
) -> keras.KerasTensor:
    """Return one logit (N, 1): the mean of K experts' logits with the weights that the gate gives a face.

    A scale and a shift follow, which are 1 and 0 at first: a calibration's shift has its place there.
    """
    import keras

    layers = keras.layers
    # float32 also in mixed precision: a logit rounded to eight bits cannot be calibrated.
    logits = layers.Dense(experts, dtype="float32", name=EXPERTS_LAYER)(features)
    gate = layers.Dense(experts, activation="softmax", dtype="float32", name=GATE_LAYER)(gate_features)
    mixed = layers.Dot(axes=1, dtype="float32", name="mixed_logit")([logits, gate])
    return layers.Dense(1, kernel_initializer="ones", dtype="float32", name=name)(mixed)
