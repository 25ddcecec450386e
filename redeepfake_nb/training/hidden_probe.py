"""A head with one hidden layer for frozen features.

On the DFDC, whose fakes are of one making, it is far better than a linear head; of sources that it was not
shown it recognises less (docs/experiments.md).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..models.architectures.clip_vit import rounded
from ..utils.numeric import is_finite_number


@dataclass(frozen=True)
class HiddenProbe:
    """How a hidden layer and the logit behind it are trained on frozen features, by AdamW.

    Parameters
    ----------
    epochs
        Passes over the features.
    batch
        Features per step.
    rate
        Learning rate at the start; it follows a cosine to 0.
    weight_decay
        Of AdamW.
    feature_dropout, unit_dropout
        Shares of features and of hidden units that are dropped, 0 <= share < 1.
    features_from
        Paths of the ``checkpoint.npz`` of other probes on the same network with the same weights, relative
        to the current folder. Their faces count as well: a hidden layer needs more of them than a linear
        head, and computing the features takes most of the time.
    """

    epochs: int = 30
    batch: int = 256
    rate: float = 1e-3
    weight_decay: float = 0.01
    feature_dropout: float = 0.2
    unit_dropout: float = 0.5
    features_from: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("epochs", "batch"):
            if not isinstance(getattr(self, name), int) or getattr(self, name) < 1:
                raise ValueError(f"{name} of hidden_probe must be 1 or more, not {getattr(self, name)!r}")
        if not (is_finite_number(self.rate) and self.rate > 0):
            raise ValueError(f"rate of hidden_probe must be above 0, not {self.rate!r}")
        if not (is_finite_number(self.weight_decay) and self.weight_decay >= 0):
            raise ValueError(f"weight_decay of hidden_probe must be 0 or more, not {self.weight_decay!r}")
        for name in ("feature_dropout", "unit_dropout"):
            share = getattr(self, name)
            if not (is_finite_number(share) and 0 <= share < 1):
                raise ValueError(f"{name} of hidden_probe must be a share in [0, 1), not {share!r}")
        paths = self.features_from
        if isinstance(paths, str) or not all(isinstance(path, str) and path for path in paths):
            raise ValueError(f"features_from of hidden_probe must be a list of paths, not {paths!r}")
        object.__setattr__(self, "features_from", tuple(paths))


class HiddenLayer(NamedTuple):
    """``logit = relu(features @ kernel + bias) @ logit_kernel + logit_bias``.

    ``kernel``: (D, H) float32; ``bias``: (H,) float32; ``logit_kernel``: (H,) float32.
    """

    kernel: np.ndarray
    bias: np.ndarray
    logit_kernel: np.ndarray
    logit_bias: float

    def logits(self, features: np.ndarray) -> np.ndarray:
        """Return the logits (N,) of features (N, D)."""
        units = np.maximum(features @ self.kernel + self.bias, 0)
        return np.asarray(units @ self.logit_kernel + self.logit_bias)


def fit_hidden_layer(
    x: np.ndarray,
    y: np.ndarray,
    units: int,
    probe: HiddenProbe,
    *,
    label_smoothing: float = 0.0,
    seed: int = 0,
) -> HiddenLayer:
    """Train a hidden layer with rectifiers, and a logit behind it.

    Parameters
    ----------
    x, y
        Features (N, D) of any scale, and labels 0 and 1 (N,).
    units
        Width of the hidden layer.
    probe
        How it is trained.
    label_smoothing
        Of the loss, 0 <= label_smoothing < 1.
    seed
        Of initial weights, order and dropout. Keras's and NumPy's global random state is set to it.

    Returns
    -------
    HiddenLayer
        For features of their own scale.
    """
    import keras

    mean, deviation = x.mean(0, dtype=np.float64), x.std(0, dtype=np.float64) + 1e-6
    scaled = ((x - mean) / deviation).astype(np.float32)
    keras.utils.set_random_seed(seed)
    layers = keras.layers
    model = keras.Sequential(
        [
            keras.Input((x.shape[1],)),
            layers.Dropout(probe.feature_dropout),
            layers.Dense(units, activation="relu"),
            layers.Dropout(probe.unit_dropout),
            layers.Dense(1),
        ]
    )
    steps = math.ceil(len(x) / probe.batch) * probe.epochs
    rate = keras.optimizers.schedules.CosineDecay(probe.rate, steps)
    model.compile(
        keras.optimizers.AdamW(rate, weight_decay=probe.weight_decay),
        keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=label_smoothing),
    )
    model.fit(scaled, y.astype(np.float32), batch_size=probe.batch, epochs=probe.epochs, verbose=0)
    kernel, bias, logit_kernel, logit_bias = (np.asarray(w, np.float64) for w in model.get_weights())
    # The network that the layer is for feeds features as they are. Rounded weights make a smaller file, and
    # coarser steps than an encoder's change no figure in docs/experiments.md by more than 0.001.
    kernel = rounded(kernel / deviation[:, None], 4, by_row=True)
    bias = bias - mean @ kernel
    return HiddenLayer(
        kernel.astype(np.float32),
        bias.astype(np.float32),
        logit_kernel[:, 0].astype(np.float32),
        float(logit_bias[0]),
    )
