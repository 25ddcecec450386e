"""Where the cells of a feature map lie on the picture, by hand."""

from __future__ import annotations

import keras
import numpy as np
from helpers.moved_evidence import SIZE, conv

from redeepfake_nb.models.geometry import Layout, layout_of

layers = keras.layers


def layout(make, size: int = SIZE) -> Layout | str:
    image = keras.Input((size, size, 3))
    model = keras.Model(image, make(image))
    return layout_of(model, model.operations[-1].name)


def test_places_by_hand() -> None:
    """A 3 x 3 convolution without padding starts at 1; a stride doubles the steps; padding starts outside."""
    found = layout(lambda x: layers.ZeroPadding2D(1)(layers.Conv2D(2, 3)(layers.Conv2D(2, 3, 2)(x))))
    np.testing.assert_allclose(found.rows, 1 + 2 * np.arange(-1 + 1, 14 + 1), atol=1e-5)
    assert len(found.rows) == len(found.columns) == 15


def test_stages_of_different_strides_joined_as_channels() -> None:
    """Same padding shifts a stage by half of its own cell; joined they lie at the mean of their channels."""

    def joined(x):
        first = layers.Conv2D(2, 3, 2, "same")(x)
        second = layers.Conv2D(6, 3, 2, "same")(layers.Conv2D(2, 3, 2, "same")(first))
        return layers.Concatenate()([layers.AveragePooling2D(2)(first), layers.UpSampling2D(2)(second)])

    # 1 + 2 i halved lies at 2 + 4 i; 7 + 8 i doubled at 5 + 4 i, three times as many channels.
    found = layout(joined)
    np.testing.assert_allclose(found.rows, (2 + 3 * 5) / 4 + 4 * np.arange(8))
    assert found.covered(SIZE) == SIZE * SIZE


def test_same_padding_by_hand() -> None:
    """With an even side TensorFlow pads below alone: the window of row 0 is that of pixels 0 to 2."""
    found = layout(lambda x: layers.Conv2D(2, 3, 2, "same")(x))
    np.testing.assert_allclose(found.rows, 1 + 2 * np.arange(16))


def test_what_comes_from_everywhere_has_no_place() -> None:
    mixed = layout(
        lambda x: layers.Permute((2, 1))(
            layers.Dense(64)(layers.Permute((2, 1))(layers.Reshape((64, 4))(conv(x, 4, 4))))
        )
    )
    assert "cannot be followed" in mixed
    for join in (layers.Concatenate(), layers.Add()):
        assert "cannot be followed" in layout(
            lambda x, join=join: join([conv(x[:, :, :16]), conv(x[:, :, 16:])])
        )


def test_drawing_by_hand() -> None:
    """Two cells on the right half of eight pixels; the left half shows nothing."""
    grid = Layout(np.array([1.5, 5.5]), np.array([4.5, 6.5]), np.array([0, 1, 2, 3]))
    drawn = grid.draw(np.float32([[1, 2, 3, 4]]), 8)[0]
    assert not drawn[:, :4].any()
    np.testing.assert_allclose(drawn[0, 4:], [1, 1, 2, 2], atol=0.3)
    np.testing.assert_allclose(drawn[7, 4:], [3, 3, 4, 4], atol=0.3)
    # Cells at the same place are added, and one without a place is left out.
    shared = Layout(np.array([1.5, 5.5]), np.array([1.5, 5.5]), np.array([-1, 0, 0, 1, 2, 3]))
    assert shared.draw(np.float32([[9, 1, 2, 0, 0, 0]]), 8)[0, 0, 0] == 3


def test_a_wholly_covered_picture_has_no_empty_edge() -> None:
    even = Layout.even(4, 4, 32)
    assert even.covered(32) == 32 * 32
    # The half cell that strided convolutions leave out belongs to the outermost cells.
    shifted = Layout(even.rows + 4, even.columns + 4, even.index)
    assert shifted.covered(32) == 32 * 32
