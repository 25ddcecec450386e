"""A planted classifier of windows of frames."""

from __future__ import annotations

import keras
import numpy as np
from keras import layers

from helpers.sequence_architectures import FRAMES, SIZE
from redeepfake_nb import Card, Classifier, Preprocessing


def change_classifier(frames: int = FRAMES, size: int = SIZE, open_ends: bool = False, **card) -> Classifier:
    """A classifier of change: logit = 8 * (mean brightness of the last frame - that of the first), each 0..1.

    Grad-CAM for fake is bright where the last frame is, and 0 on all others.
    """
    conv = layers.Conv2D(1, 1, name="brightness")
    dense = layers.Dense(1, name="logit")
    frame = keras.Input((size, size, 3))
    cnn = keras.Model(frame, layers.GlobalAveragePooling2D()(conv(layers.Rescaling(1 / 255)(frame))))
    window = keras.Input((None if open_ends else frames, size, size, 3))
    x = layers.TimeDistributed(cnn)(window)
    x = layers.Reshape((frames,))(x) if not open_ends else layers.LSTM(2)(x)
    model = keras.Model(window, dense(x))
    conv.set_weights([np.full((1, 1, 3, 1), 1 / 3, np.float32), np.zeros(1, np.float32)])
    if not open_ends:
        kernel = np.zeros((frames, 1), np.float32)
        kernel[0], kernel[-1] = -8, 8
        dense.set_weights([kernel, np.zeros(1, np.float32)])
    given = {"preprocessing": Preprocessing(input_size=size), "temperature": 1.0, **card}
    return Classifier(model, Card(name="change", **given))
