"""Networks whose evidence has a known place, as strangers would plant it, for Keras 3 and Keras 2 alike.

Of a picture that is bright everywhere, only one part counts: the rest is cropped away, masked, or has no
weight in the head. Every builder takes the module that holds Keras (``keras`` or ``tf_keras``).

Run as a script, with Keras 2, it saves the networks of :data:`NETWORKS` as legacy ``.h5`` files.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

SIZE = 32
HALF = SIZE // 2
Box = tuple[slice, slice]
QUARTER: Box = slice(HALF, SIZE), slice(HALF, SIZE)


class Parts:
    """Layers of one Keras that only add up, so that brightness stays brightness."""

    def __init__(self, kit: ModuleType) -> None:
        self.kit, self.layers = kit, kit.layers

    @property
    def ones(self) -> Any:
        return self.kit.initializers.Constant(1.0)

    def conv(self, x: Any, size: int = 3, strides: int = 1, padding: str = "same", **options: Any) -> Any:
        weights = self.kit.initializers.Constant(1 / (size * size * x.shape[-1]))
        options = {"filters": 4, "kernel_initializer": weights, **options}
        return self.layers.Conv2D(kernel_size=size, strides=strides, padding=padding, **options)(x)

    def crop(self, x: Any) -> Any:
        """Crop a map to its lower right quarter."""
        return self.layers.Cropping2D(((x.shape[1] // 2, 0), (x.shape[2] // 2, 0)))(x)

    def to_depth(self, x: Any, block: int) -> Any:
        """Move blocks of cells into the channels."""
        side, channels = x.shape[1] // block, x.shape[-1]
        x = self.layers.Reshape((side, block, side, block, channels))(x)
        x = self.layers.Permute((1, 3, 2, 4, 5))(x)
        return self.layers.Reshape((side, side, block * block * channels))(x)


@dataclass(frozen=True)
class Planted:
    """Layers from the scaled picture to a map, the part of the picture that counts, and the head's name."""

    make: Callable[[Parts, Any], Any]
    box: Box = QUARTER
    head: str = "average"
    target: str = "fake"


def _mask(side: int) -> np.ndarray:
    mask = np.zeros((1, side, side, 1), np.float32)
    mask[:, side // 2 :, side // 2 :] = 1
    return mask


def _gated(p: Parts, x: Any) -> Any:
    y = p.conv(x)
    # The gate looks at the whole picture, so it is kept from carrying more than a little of the evidence.
    small = p.kit.initializers.RandomUniform(-0.2, 0.2, seed=3)
    gate = p.layers.Dense(4, "sigmoid", kernel_initializer=small)
    weights = gate(p.layers.GlobalAveragePooling2D()(y))
    return p.layers.Multiply()([p.crop(y), p.layers.Reshape((1, 1, 4))(weights)])


def _attended(p: Parts, x: Any) -> Any:
    y = p.crop(p.conv(x))
    places = p.layers.Softmax()(p.layers.Flatten()(p.conv(y, 1, filters=1)))
    return p.layers.Multiply()([y, p.layers.Reshape((HALF, HALF, 1))(places)])


def _pyramid(p: Parts, x: Any) -> Any:
    fine = p.conv(x, 3, 2)
    return p.crop(p.layers.Add()([fine, p.layers.UpSampling2D(2)(p.conv(fine, 3, 2))]))


def _two_pooled_branches(p: Parts, x: Any) -> Any:
    pools = p.layers.GlobalAveragePooling2D(), p.layers.GlobalMaxPooling2D()
    return p.layers.Concatenate()([pool(p.crop(p.conv(x))) for pool in pools])


NETWORKS: dict[str, Planted] = {
    "cropping": Planted(lambda p, x: p.crop(p.conv(x))),
    "zero padding": Planted(lambda p, x: p.layers.ZeroPadding2D(((0, 8), (8, 0)))(p.crop(p.conv(x)))),
    "valid convolutions": Planted(lambda p, x: p.crop(p.conv(p.conv(x, 5, 1, "valid"), 3, 1, "valid"))),
    "strided convolutions": Planted(lambda p, x: p.crop(p.conv(p.conv(x, 3, 2), 5, 2))),
    "valid strided convolutions": Planted(lambda p, x: p.conv(p.crop(x), 3, 2, "valid")),
    "dilation": Planted(lambda p, x: p.conv(p.crop(p.conv(x)), 3, 1, "valid", dilation_rate=3)),
    "depthwise": Planted(
        lambda p, x: p.crop(
            p.layers.DepthwiseConv2D(3, 2, padding="same", depthwise_initializer=p.ones)(p.conv(x))
        )
    ),
    "separable": Planted(
        lambda p, x: p.layers.SeparableConv2D(
            4, 3, depthwise_initializer=p.ones, pointwise_initializer=p.ones
        )(p.crop(p.conv(x)))
    ),
    "transposed convolution": Planted(
        lambda p, x: p.layers.Conv2DTranspose(4, 4, 3, kernel_initializer=p.ones)(p.crop(p.conv(x, 4, 4)))
    ),
    "pooling with strides": Planted(
        lambda p, x: p.layers.AveragePooling2D(3, 2)(
            p.crop(p.layers.MaxPooling2D(3, 1, "same")(p.conv(x, 1)))
        )
    ),
    "pooling to few cells": Planted(lambda p, x: p.layers.MaxPooling2D(8)(p.crop(p.conv(x)))),
    "upsampling a crop": Planted(lambda p, x: p.layers.UpSampling2D(4)(p.crop(p.conv(x, 8, 8)))),
    "bilinear upsampling": Planted(
        lambda p, x: p.layers.UpSampling2D(2, interpolation="bilinear")(p.crop(p.conv(x, 2, 2)))
    ),
    "resizing": Planted(lambda p, x: p.crop(p.layers.Resizing(24, 24)(p.conv(x)))),
    "space to depth": Planted(lambda p, x: p.crop(p.conv(p.to_depth(p.conv(x), 4), 1))),
    "slicing": Planted(lambda p, x: p.conv(x)[:, HALF::2, HALF::2]),
    "permuting": Planted(
        lambda p, x: p.layers.Cropping2D(((HALF, 0), (0, HALF)))(
            p.conv(p.layers.Permute((2, 1, 3))(p.conv(x)))
        ),
        box=(slice(0, HALF), slice(HALF, SIZE)),
    ),
    "reshaping": Planted(
        lambda p, x: p.crop(p.layers.Reshape((8, 8, 4))(p.layers.Flatten()(p.conv(x, 4, 4))))
    ),
    "patches": Planted(
        lambda p, x: p.layers.Cropping1D((32, 0))(p.layers.Reshape((64, 4))(p.conv(x, 4, 4))),
        box=(slice(HALF, SIZE), slice(0, SIZE)),
        head="tokens",
    ),
    "a small corner": Planted(
        lambda p, x: p.layers.Cropping2D(((20, 4), (4, 20)))(p.conv(x, 1)),
        box=(slice(20, 28), slice(4, 12)),
    ),
    "mask": Planted(lambda p, x: p.conv(p.conv(x) * _mask(SIZE))),
    "two branches": Planted(
        lambda p, x: p.layers.Concatenate()(
            [p.crop(p.conv(x, 3, 2)), p.layers.AveragePooling2D(2)(p.crop(p.conv(x, 5)))]
        )
    ),
    "two pooled branches": Planted(_two_pooled_branches, head="vector"),
    "pyramid": Planted(_pyramid),
    "channel gate": Planted(_gated),
    "attention over places": Planted(_attended),
    "flattened": Planted(lambda p, x: p.conv(x, 4, 4), head="flat"),
    "flattened, two dense layers": Planted(lambda p, x: p.conv(x, 4, 4, activation="relu"), head="flat relu"),
    "flattened pixels": Planted(lambda p, x: x, head="flat"),
    "convolution as head": Planted(lambda p, x: p.conv(x, 4, 4), head="convolution"),
    "maximum": Planted(lambda p, x: p.crop(p.conv(x)), head="maximum"),
    "two dense layers": Planted(lambda p, x: p.crop(p.conv(x)), head="average relu"),
    "evidence for real": Planted(lambda p, x: p.crop(p.conv(x)), head="negative", target="real"),
}


def build(name: str, kit: ModuleType, nested: bool = False) -> Any:
    """Build a network, with its backbone inside of two models if ``nested``."""
    p, planted = Parts(kit), NETWORKS[name]
    image = kit.Input((SIZE, SIZE, 3))
    x = p.layers.Rescaling(1 / 255)(image)
    if nested:
        inner, middle = kit.Input((SIZE, SIZE, 3)), kit.Input((SIZE, SIZE, 3))
        backbone = kit.Model(inner, planted.make(p, inner), name="backbone")
        x = kit.Model(middle, backbone(middle), name="middle")(x)
    else:
        x = planted.make(p, x)
    rng = np.random.default_rng(0)
    layers, last = p.layers, p.layers.Dense(1, kernel_initializer=p.ones)
    if planted.head.startswith(("flat", "convolution")):
        side, channels = x.shape[1:3][0], x.shape[-1]
        units = 6 if planted.head == "flat relu" else 1
        kernel = np.zeros((side, side, channels, units), np.float32)
        kernel[side // 2 :, side // 2 :] = rng.uniform(2, 4, (side // 2, side // 2, channels, units))
        kernel /= side * side
        if planted.head == "convolution":
            head = layers.Conv2D(1, side)
            model = kit.Model(image, layers.Flatten()(head(x)))
        else:
            head = layers.Dense(units, "relu" if units > 1 else None)
            y = head(layers.Flatten()(x))
            model = kit.Model(image, last(y) if units > 1 else y)
        first, bias = head.get_weights()
        head.set_weights([kernel.reshape(first.shape), bias])
        return model
    heads: dict[str, Callable[[], Any]] = {
        "average": lambda: last(layers.GlobalAveragePooling2D()(x)),
        "maximum": lambda: last(layers.GlobalMaxPooling2D()(x)),
        "tokens": lambda: last(layers.GlobalAveragePooling1D()(x)),
        "vector": lambda: last(x),
        "negative": lambda: layers.Dense(1, kernel_initializer=kit.initializers.Constant(-1.0))(
            layers.GlobalAveragePooling2D()(x)
        ),
        "average relu": lambda: last(
            layers.Dense(8, "relu", kernel_initializer=kit.initializers.RandomUniform(-0.5, 1, seed=3))(
                layers.GlobalAveragePooling2D()(x)
            )
        ),
    }
    return kit.Model(image, heads[planted.head]())


def file_name(name: str) -> str:
    """The network's name without spaces."""
    return name.replace(" ", "_").replace(",", "")


if __name__ == "__main__":
    import tf_keras

    for known in NETWORKS:
        tf_keras.backend.clear_session()
        build(known, tf_keras, nested=True).save(Path(sys.argv[1]) / f"{file_name(known)}.h5")
