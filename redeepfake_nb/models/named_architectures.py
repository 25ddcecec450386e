"""Build the network that a weights-only file belongs to, by name: those of ``build_model``, and Meso4."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from ..errors import ModelIncomplete
from ..utils.keras_backend import import_keras
from .architectures.builder import BACKBONES, OWN, Head, build_model
from .serialization.hdf5 import open_store

if TYPE_CHECKING:
    import keras

    from .card import Output

MESO4 = "Meso4"


class Convention(NamedTuple):
    """Input size in pixels, value range and kind of output with which a network was published."""

    size: int
    value_range: tuple[float, float]
    output: Output


# A high output of Meso4 means real.
PUBLISHED_CONVENTIONS = {MESO4: Convention(256, (0, 1), "probability")}


def build_for_weights(name: str, path: Path, input_size: int) -> keras.Model:
    """Build the network of that name, uninitialized, for the weights in ``path``.

    The widths of the head are read from the file, because the name does not tell them.

    Raises
    ------
    ModelIncomplete
        No network of that name is known, or it does not take this input size.
    """
    try:
        if name == MESO4:
            return meso4(input_size)
        if name in BACKBONES:
            return build_model(name, head=_read_head(path), input_size=input_size)
        if all(part in OWN for part in name.split("+")):
            return build_model(name, input_size=input_size)
    except ValueError as error:
        raise ModelIncomplete(str(error), subject=path, next_step="Give another input_size.") from error
    raise ModelIncomplete(
        f"no network is known by the name {name[:60]!r}",
        subject=path,
        next_step=f"Give architecture one of {', '.join([MESO4, *OWN, *BACKBONES])}; or a Keras model.",
    )


def meso4(input_size: int = 256) -> keras.Model:
    """Build Meso4: (N, S, S, 3) RGB 0..1 -> (N, 1) probability that a face is *real*.

    D. Afchar, V. Nozick, J. Yamagishi, I. Echizen, "MesoNet: a Compact Facial Video Forgery Detection
    Network", WIFS 2018.
    """
    import_keras()
    import keras

    layers = keras.layers
    x = image = keras.Input((input_size, input_size, 3), name="face")
    for filters, side, step in ((8, 3, 2), (8, 5, 2), (16, 5, 2), (16, 5, 4)):
        x = layers.Conv2D(filters, side, padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(step, padding="same")(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    x = layers.LeakyReLU(negative_slope=0.1)(layers.Dense(16)(x))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(layers.Dropout(0.5)(x)), name="meso4")


def _read_head(path: Path) -> Head:
    """Read the widths of ``build_model``'s head: its dense layers are the only ones without a bias."""
    with open_store(path) as store:
        shapes = store.shapes
    if any(name.startswith("layers/") for name in shapes):
        groups = [f"layers/dense{f'_{i}' if i else ''}/vars" for i in range(200)]
        kernels = [f"{group}/0" for group in groups if f"{group}/1" not in shapes]
        return Head(units=tuple(shapes[name][1] for name in kernels if len(shapes.get(name, ())) == 2))
    found = [name for name in sorted(shapes) if name.startswith("head_dense_") and len(shapes[name]) == 2]
    return Head(units=tuple(shapes[name][1] for name in found))
