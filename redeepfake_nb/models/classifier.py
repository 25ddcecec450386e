"""Model files and the habits beside them <-> :class:`Classifier`, one logit that means fake."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ..errors import RedeepfakeError, UnsuitableModel, in_one_line
from ..faces.preprocessing import Preprocessing
from ..utils.keras_backend import import_keras
from .card import Card
from .graph import as_logit_model, check_cost, spatial_cut_layer

if TYPE_CHECKING:
    import keras


class Classifier:
    """A face classifier: a flat Keras model with one logit, and the card that belongs to it.

    Parameters
    ----------
    model
        Any binary Keras 3 model over one image input; it is laid flat and given one logit per face.
    card
        Its habits. ``card.output`` and ``card.positive_class`` say how to read the model's own output.

    Attributes
    ----------
    device : str
        What the last batch was scored on: ``"CPU:0"``, ``"GPU:0"``; empty before the first.

    Raises
    ------
    UnsuitableModel
        More than one input, another output shape, weights that are not finite, or a probe that is not.
    """

    def __init__(self, model: keras.Model, card: Card | None = None) -> None:
        import_keras()
        import tensorflow as tf

        self.card = card or Card()
        self.preprocessing = self.card.preprocessing
        self.threshold = self.card.threshold
        self.temperature = self.card.temperature
        self.sha256 = self.card.sha256
        self.device = ""
        size = self.preprocessing.input_size
        self.keras_model = self._laid_flat(model)
        self._check_input()
        check_cost(self.keras_model, self.name)
        # One signature with an open batch axis: one trace for every batch size.
        self._score = tf.function(
            self._forward,
            input_signature=[tf.TensorSpec((None, size, size, 3), tf.float32)],
            autograph=False,  # there is no Python control flow in it to translate
        )
        self._check_scores()

    def _forward(self, batch):
        logits = self.keras_model(batch, training=False)
        if self.card.mirror:
            logits = (logits + self.keras_model(batch[:, :, ::-1], training=False)) / 2
        return logits[:, 0]

    @property
    def name(self) -> str:
        """The model's name and version, for titles and reports."""
        return f"{self.card.name} {self.card.version}"

    @property
    def calibrated(self) -> bool:
        """Whether a probability was fitted to be one."""
        return self.temperature is not None

    @property
    def explain_layer(self) -> str:
        """The layer heatmaps are taken from: the card's, else the deepest map all evidence passes through."""
        return self.card.explain_layer or spatial_cut_layer(self.keras_model)

    def logits(self, batch: np.ndarray) -> np.ndarray:
        """Score a batch.

        Parameters
        ----------
        batch
            (N, S, S, 3) float32 from :func:`redeepfake_nb.preprocess`; N may be 0.

        Returns
        -------
        numpy.ndarray
            (N,) float32 logits, positive meaning fake.

        Raises
        ------
        UnsuitableModel
            A score is not finite.
        ValueError
            Another shape, or pixels that are not finite.
        """
        batch = np.asarray(batch, np.float32)
        size = self.preprocessing.input_size
        if batch.ndim != 4 or batch.shape[1:] != (size, size, 3):
            raise ValueError(f"a batch has the shape (N, {size}, {size}, 3), not {batch.shape}")
        if not np.isfinite(batch).all():
            # A rectifier may turn NaN into 0, and a score would come back as if nothing were wrong.
            raise ValueError("a batch holds values that are not finite")
        if len(batch) == 0:
            return np.zeros(0, np.float32)
        scored = self._score(batch)
        self.device = scored.device.rpartition("device:")[2]
        scores = np.asarray(scored, np.float32) + np.float32(self.card.shift)
        if not np.isfinite(scores).all():
            raise UnsuitableModel(
                f"{int((~np.isfinite(scores)).sum())} of {len(scores)} scores are not finite",
                subject=self.name,
                next_step="Check its weights and the value range it is fed.",
            )
        return scores

    def _laid_flat(self, model: keras.Model) -> keras.Model:
        card = self.card
        try:
            return as_logit_model(model, card.output, card.positive_class, card.preprocessing.input_size)
        except (RedeepfakeError, MemoryError):
            raise
        except Exception as error:  # Keras raises whatever its layers raise
            raise UnsuitableModel(
                f"its layers cannot be laid out as one graph ({in_one_line(error)})",
                subject=self.name,
                next_step="Build it from plain Keras layers, and save it again.",
            ) from error

    def _check_input(self) -> None:
        shape = self.keras_model.inputs[0].shape
        size = self.preprocessing.input_size
        if len(shape) != 4 or shape[3] != 3:
            raise UnsuitableModel(
                f"its input has the shape {tuple(shape)}, not (batch, height, width, 3)",
                subject=self.name,
                next_step="Use a model over RGB or BGR pictures.",
            )
        if any(side not in (None, size) for side in shape[1:3]):
            raise UnsuitableModel(
                f"it takes {shape[1]} x {shape[2]} px, but its preprocessing says {size}",
                subject=self.name,
                next_step=f"Give load_model(..., preprocessing=Preprocessing(input_size={shape[1]})).",
            )

    def _check_scores(self) -> None:
        for weight in self.keras_model.weights:
            if not np.isfinite(np.asarray(weight)).all():
                raise UnsuitableModel(
                    f"the weight {weight.path} holds values that are not finite",
                    subject=self.name,
                    next_step="Train it again, or take another file.",
                )
        try:
            scores = self.logits(_trial_pictures(self.preprocessing))
        except (UnsuitableModel, MemoryError):
            raise
        except Exception as error:  # the backend raises whatever its operations raise
            raise UnsuitableModel(
                f"it cannot be run on a trial picture ({in_one_line(error)})",
                subject=self.name,
                next_step="Check its input and its data format; channels must come last.",
            ) from error
        self.card = replace(self.card, unresponsive=bool(np.ptp(scores) == 0))


def _trial_pictures(preprocessing: Preprocessing) -> np.ndarray:
    """(4, S, S, 3) float32: noise, patches of strong colours, darkness and light."""
    size, (low, high) = preprocessing.input_size, preprocessing.value_range
    rng = np.random.default_rng(0)
    side = -(-size // 8)
    patches = rng.integers(0, 2, (8, 8, 3)).repeat(side, 0).repeat(side, 1)
    dark = np.zeros((size, size, 3))
    pictures = [rng.random((size, size, 3)), patches[:size, :size], dark, dark + 1]
    return (low + np.stack(pictures) * (high - low)).astype(np.float32)
