"""The cost of one score, counted by hand on graphs of a few layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from redeepfake_nb import UnsuitableModel
from redeepfake_nb.models import cost_limits
from redeepfake_nb.models.cost_limits import check_cost, faces_at_once
from redeepfake_nb.models.graph import flatten

layers = keras.layers


def stacked(*parts: keras.layers.Layer, size: int | None = 8) -> keras.Model:
    return flatten(keras.Sequential([keras.Input((size, size, 3)), *parts]))


def test_work_is_weights_times_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    # 3 x 3 x 3 weights and 2 x 1 biases, at 6 x 6 positions; 36 x 2 elements of 1 each; then 2 + 1 weights
    # once, one element; the mean reads 1 position for each of its 2 elements. The input: 192 elements.
    model = stacked(layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(1))
    work = (192) + (72 + (3 * 3 * 3 * 2 + 2) * 36) + 2 + (1 + 3)
    monkeypatch.setattr(cost_limits, "MAX_WORK", work)
    check_cost(model, "m")
    monkeypatch.setattr(cost_limits, "MAX_WORK", work - 1)
    with pytest.raises(UnsuitableModel, match=f"takes about {work:,} multiplications"):
        check_cost(model, "m")


def test_feature_maps_are_counted_for_one_image(monkeypatch: pytest.MonkeyPatch) -> None:
    model = stacked(layers.UpSampling2D(2))
    monkeypatch.setattr(cost_limits, "MAX_MAP", 16 * 16 * 3)
    check_cost(model, "m")
    monkeypatch.setattr(cost_limits, "MAX_MAP", 16 * 16 * 3 - 1)
    with pytest.raises(UnsuitableModel, match="has a feature map of 768 elements"):
        check_cost(model, "m")


def test_batches_on_a_gpu_are_sized_to_its_memory() -> None:
    # Four maps of 16 x 16 x 3 elements of 4 bytes, which may take a quarter of the memory.
    model, one = stacked(layers.UpSampling2D(2)), 4 * 4 * 768 * 4
    sizes = {share: faces_at_once(model, int(share * one)) for share in (0.5, 1, 7, 8, 100, 10_000)}
    assert sizes == {0.5: 1, 1: 1, 7: 4, 8: 8, 100: 64, 10_000: 128}


def test_unknown_size_is_refused() -> None:
    with pytest.raises(UnsuitableModel, match="is not known"):
        check_cost(stacked(layers.Conv2D(2, 3), size=None), "m")


@pytest.mark.parametrize("name", ["Conv2D", "DepthwiseConv2D", "SeparableConv2D"])
def test_padding_of_a_dilated_convolution(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # 8 px and twice 50 px of padding on each axis, three channels.
    options = {"kernel_size": 3, "dilation_rate": 50, "padding": "same"}
    layer = (
        getattr(layers, name)(**options) if name.startswith("Depth") else getattr(layers, name)(1, **options)
    )
    monkeypatch.setattr(cost_limits, "MAX_MAP", 108 * 108 * 3)
    check_cost(stacked(layer), "m")
    monkeypatch.setattr(cost_limits, "MAX_MAP", 108 * 108 * 3 - 1)
    with pytest.raises(UnsuitableModel, match="pads its input to 34,992 elements"):
        check_cost(stacked(layer), "m")


def test_padding_of_a_dilated_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    image = keras.Input((8, 8, 3))
    kernel = np.zeros((5, 3, 3, 1), np.float32)
    model = keras.Model(image, keras.ops.conv(image, kernel, padding="same", dilation_rate=(10, 20)))
    monkeypatch.setattr(cost_limits, "MAX_MAP", (8 + 4 * 10) * (8 + 2 * 20) * 3 - 1)
    with pytest.raises(UnsuitableModel, match="pads its input to 6,912 elements"):
        check_cost(model, "m")


def test_attention_over_many_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    image = keras.Input((8, 8, 3))
    tokens = layers.Reshape((64, 3))(image)
    model = keras.Model(image, layers.Attention()([tokens, tokens]))
    monkeypatch.setattr(cost_limits, "MAX_TOKENS", 64)
    check_cost(model, "m")
    monkeypatch.setattr(cost_limits, "MAX_TOKENS", 63)
    with pytest.raises(UnsuitableModel, match="compares more than 63 positions"):
        check_cost(model, "m")
