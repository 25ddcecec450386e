"""Architectures over windows of frames as people build them, of Keras 2 or 3: ``kit`` is either."""

from __future__ import annotations

import numpy as np

FRAMES = 4
SIZE = 16


def cnn(kit, size: int = SIZE):
    """A small CNN with a residual, as the inside of TimeDistributed; ``kit`` is Keras 2 or 3."""
    image = kit.Input((size, size, 3))
    x = kit.layers.Conv2D(4, 3, activation="relu")(kit.layers.Rescaling(1 / 255)(image))
    x = kit.layers.MaxPooling2D()(kit.layers.BatchNormalization()(x))
    x = kit.layers.Add()([x, kit.layers.Conv2D(4, 3, padding="same")(x)])
    return kit.Model(image, kit.layers.GlobalAveragePooling2D()(x))


def lstm(kit, **options):
    """TimeDistributed over a whole network, then an LSTM and a sigmoid."""
    window = kit.Input((FRAMES, SIZE, SIZE, 3))
    x = kit.layers.LSTM(5, **options)(kit.layers.TimeDistributed(cnn(kit))(window))
    return kit.Model(window, kit.layers.Dense(1, activation="sigmoid")(x))


def layer_by_layer(kit):
    """TimeDistributed around every layer of a Sequential, GRUs, and a softmax."""
    each = kit.layers.TimeDistributed
    return kit.Sequential(
        [
            kit.Input((FRAMES, SIZE, SIZE, 3)),
            each(kit.layers.Conv2D(4, 3, activation="relu")),
            each(kit.layers.BatchNormalization()),
            each(kit.layers.MaxPooling2D(2)),
            each(kit.layers.Flatten()),
            kit.layers.Dropout(0.3),
            kit.layers.GRU(6, return_sequences=True),
            kit.layers.GRU(4),
            kit.layers.Dense(2, activation="softmax"),
        ]
    )


def bidirectional(kit):
    """Features of frames with a mask for frames of zeros, and recurrence in both directions."""
    window = kit.Input((FRAMES, SIZE, SIZE, 3))
    x = kit.layers.Masking(0.0)(kit.layers.TimeDistributed(cnn(kit))(window))
    x = kit.layers.TimeDistributed(kit.layers.Dense(6, activation="relu"))(x)
    x = kit.layers.Bidirectional(kit.layers.LSTM(4, return_sequences=True))(x)
    x = kit.layers.Bidirectional(kit.layers.GRU(3), merge_mode="sum")(x)
    return kit.Model(window, kit.layers.Dense(1, activation="sigmoid")(x))


def conv3d(kit):
    """Convolutions and pooling over time and place."""
    return kit.Sequential(
        [
            kit.Input((FRAMES, SIZE, SIZE, 3)),
            kit.layers.Conv3D(4, 3, padding="same", activation="relu"),
            kit.layers.BatchNormalization(),
            kit.layers.MaxPooling3D((1, 2, 2)),
            kit.layers.ZeroPadding3D((0, 1, 1)),
            kit.layers.Conv3D(6, 3, activation="relu"),
            kit.layers.AveragePooling3D((1, 2, 2)),
            kit.layers.SpatialDropout3D(0.2),
            kit.layers.GlobalAveragePooling3D(),
            kit.layers.Dense(1),
        ]
    )


def conv_lstm(kit):
    """ConvLSTM2D, whose gates have a hard sigmoid in Keras 2."""
    window = kit.Input((FRAMES, SIZE, SIZE, 3))
    x = kit.layers.ConvLSTM2D(3, 3, return_sequences=True)(kit.layers.Rescaling(1 / 255)(window))
    x = kit.layers.ConvLSTM2D(4, 3, padding="same")(x)
    return kit.Model(window, kit.layers.Dense(1)(kit.layers.GlobalMaxPooling2D()(x)))


def hard_lstm(kit):
    """Gates with a hard sigmoid, the default of LSTM and GRU before Keras 2.3, with the older GRU."""
    window = kit.Input((FRAMES, SIZE, SIZE, 3))
    x = kit.layers.TimeDistributed(cnn(kit))(window)
    x = kit.layers.LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True)(x)
    x = kit.layers.GRU(4, recurrent_activation="hard_sigmoid", reset_after=False, return_sequences=True)(x)
    x = kit.layers.GRU(3, recurrent_activation="hard_sigmoid")(x)
    return kit.Model(window, kit.layers.Dense(1, activation="sigmoid")(x))


ARCHITECTURES = {
    build.__name__: build for build in (lstm, layer_by_layer, bidirectional, conv3d, conv_lstm, hard_lstm)
}


def randomize(model, seed: int = 0) -> None:
    """Give all weights values that differ from their initial ones, moving variances above 0."""
    rng = np.random.default_rng(seed)
    changes = [rng.normal(0, 0.3, w.shape) for w in model.weights]
    model.set_weights(
        [
            np.abs(change) + 0.5 if "variance" in w.name else w.numpy() + change
            for w, change in zip(model.weights, changes, strict=True)
        ]
    )


def windows(count: int = 3, frames: int = FRAMES, size: int = SIZE) -> np.ndarray:
    """(count, frames, size, size, 3) float32 noise, 0..255, the same at every call."""
    return np.random.default_rng(1).uniform(0, 255, (count, frames, size, size, 3)).astype(np.float32)
