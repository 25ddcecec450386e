"""What networks compute with pixels before their first weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest

from redeepfake_nb.models.graph import flatten
from redeepfake_nb.models.pixel_scaling import PixelScaling, find_pixel_scaling

applications, layers, ops = keras.applications, keras.layers, keras.ops
NOTHING = PixelScaling()
CENTRED = PixelScaling(("TrueDivide", "Subtract"), (0, 255))
CAFFE = PixelScaling(("GetItem", "Stack", "Add"), (0, 255), swaps_channels=True)


def found_in(compute: Callable[[Any], Any]) -> PixelScaling:
    image = keras.Input((8, 8, 3))
    score = layers.Dense(1)(layers.GlobalAveragePooling2D()(layers.Conv2D(2, 3)(compute(image))))
    return find_pixel_scaling(flatten(keras.Model(image, score)))


def adapted() -> layers.Normalization:
    layer = layers.Normalization()
    layer.adapt(np.random.default_rng(0).uniform(0, 255, (4, 8, 8, 3)))
    return layer


@pytest.mark.parametrize(
    ("module", "expected"),
    [
        ("convnext", NOTHING),
        ("densenet", PixelScaling(("TrueDivide", "Add"), (0, 255))),
        ("efficientnet", NOTHING),
        ("efficientnet_v2", NOTHING),
        ("inception_resnet_v2", CENTRED),
        ("inception_v3", CENTRED),
        ("mobilenet", CENTRED),
        ("mobilenet_v2", CENTRED),
        ("mobilenet_v3", NOTHING),
        ("nasnet", CENTRED),
        ("resnet", CAFFE),
        ("resnet_v2", CENTRED),
        ("vgg16", CAFFE),
        ("vgg19", CAFFE),
        ("xception", CENTRED),
    ],
)
def test_preprocess_input_inside_a_model(module: str, expected: PixelScaling) -> None:
    assert found_in(getattr(applications, module).preprocess_input) == expected


@pytest.mark.parametrize(
    ("compute", "value_range"),
    [
        (lambda x: x / 255.0, (0, 255)),
        (lambda x: ops.multiply(x, 1 / 255), (0, 255)),
        (lambda x: x - 128.0, (0, 255)),
        (lambda x: ops.clip(x / 255, 0, 1), (0, 255)),
        (lambda x: layers.Rescaling(1 / 127.5, -1)(layers.ZeroPadding2D(2)(x)), (0, 255)),
        (lambda x: layers.Rescaling(1 / 255)(layers.RandomFlip()(x)), (0, 255)),
        (lambda x: layers.Normalization(mean=(124, 116, 104), variance=(3400, 3300, 3300))(x), (0, 255)),
        (lambda x: adapted()(x), (0, 255)),
        (lambda x: layers.Normalization(mean=(0.5, 0.5, 0.4), variance=(0.05, 0.05, 0.05))(x), (0, 1)),
        (lambda x: applications.resnet.preprocess_input(x * 255), (0, 1)),
        (lambda x: (x + 1) * 127.5, (-1, 1)),
        # What these do to a picture depends on more than a factor and a constant.
        (lambda x: ops.power(x, 2.2), None),
        (lambda x: x - ops.mean(x, axis=(1, 2, 3), keepdims=True), None),
        (lambda x: x / ops.max(x, axis=(1, 2, 3), keepdims=True), None),
    ],
)
def test_value_range_by_what_is_computed(
    compute: Callable[[Any], Any], value_range: tuple[float, float] | None
) -> None:
    found = found_in(compute)
    assert found.operations
    assert found.value_range == value_range


def test_pixels_that_are_left_alone() -> None:
    assert found_in(lambda x: layers.RandomFlip()(layers.ReLU()(x))) == NOTHING
    assert found_in(lambda x: x[..., ::-1]) == PixelScaling(swaps_channels=True)


def test_windows_of_frames() -> None:
    image = keras.Input((4, 8, 8, 3))
    scores = layers.TimeDistributed(layers.Dense(1))(layers.Reshape((4, 192))(image / 255.0))
    model = flatten(keras.Model(image, layers.GlobalAveragePooling1D()(scores)))
    assert find_pixel_scaling(model) == PixelScaling(("TrueDivide",), (0, 255))
