"""What one score would cost, counted by hand on graphs of a few layers."""

from __future__ import annotations

import keras
import numpy as np
import pytest

from redeepfake_nb import UnsuitableModel
from redeepfake_nb.models import graph as graph_cost
from redeepfake_nb.models.graph import check_cost, flatten

layers = keras.layers


def over(*parts: keras.layers.Layer, size: int | None = 8) -> keras.Model:
    return flatten(keras.Sequential([keras.Input((size, size, 3)), *parts]))


def test_work_is_weights_times_places(monkeypatch: pytest.MonkeyPatch) -> None:
    # 3 x 3 x 3 weights and 2 x 1 biases, at 6 x 6 places; 36 x 2 numbers of 1 each; then 2 + 1 weights once,
    # one number; the mean looks at 1 place for each of its 2 numbers. The input: 192 numbers.
    model = over(layers.Conv2D(2, 3), layers.GlobalAveragePooling2D(), layers.Dense(1))
    work = (192) + (72 + (3 * 3 * 3 * 2 + 2) * 36) + 2 + (1 + 3)
    monkeypatch.setattr(graph_cost, "MAX_WORK", work)
    check_cost(model, "m")
    monkeypatch.setattr(graph_cost, "MAX_WORK", work - 1)
    with pytest.raises(UnsuitableModel, match=f"takes about {work:,} multiplications"):
        check_cost(model, "m")


def test_a_map_is_counted_for_one_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    model = over(layers.UpSampling2D(2))
    monkeypatch.setattr(graph_cost, "MAX_MAP", 16 * 16 * 3)
    check_cost(model, "m")
    monkeypatch.setattr(graph_cost, "MAX_MAP", 16 * 16 * 3 - 1)
    with pytest.raises(UnsuitableModel, match="makes a map of 768 numbers"):
        check_cost(model, "m")


def test_a_size_that_is_not_known() -> None:
    with pytest.raises(UnsuitableModel, match="is not known"):
        check_cost(over(layers.Conv2D(2, 3), size=None), "m")


@pytest.mark.parametrize("name", ["Conv2D", "DepthwiseConv2D", "SeparableConv2D"])
def test_a_spread_filter_needs_a_margin(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # 8 px and twice 50 px of margin on each axis, three colours.
    options = {"kernel_size": 3, "dilation_rate": 50, "padding": "same"}
    layer = (
        getattr(layers, name)(**options) if name.startswith("Depth") else getattr(layers, name)(1, **options)
    )
    monkeypatch.setattr(graph_cost, "MAX_MAP", 108 * 108 * 3)
    check_cost(over(layer), "m")
    monkeypatch.setattr(graph_cost, "MAX_MAP", 108 * 108 * 3 - 1)
    with pytest.raises(UnsuitableModel, match="spreads its map over 34,992 numbers"):
        check_cost(over(layer), "m")


def test_an_operation_with_a_spread_filter(monkeypatch: pytest.MonkeyPatch) -> None:
    image = keras.Input((8, 8, 3))
    kernel = np.zeros((5, 3, 3, 1), np.float32)
    model = keras.Model(image, keras.ops.conv(image, kernel, padding="same", dilation_rate=(10, 20)))
    monkeypatch.setattr(graph_cost, "MAX_MAP", (8 + 4 * 10) * (8 + 2 * 20) * 3 - 1)
    with pytest.raises(UnsuitableModel, match="spreads its map over 6,912 numbers"):
        check_cost(model, "m")


def test_places_compared_with_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    image = keras.Input((8, 8, 3))
    tokens = layers.Reshape((64, 3))(image)
    model = keras.Model(image, layers.Attention()([tokens, tokens]))
    monkeypatch.setattr(graph_cost, "MAX_TOKENS", 64)
    check_cost(model, "m")
    monkeypatch.setattr(graph_cost, "MAX_TOKENS", 63)
    with pytest.raises(UnsuitableModel, match="compares more than 63 places"):
        check_cost(model, "m")
