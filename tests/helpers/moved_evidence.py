"""Networks that look at the lower right quarter of the picture, behind operations that move or drop cells.

Of a picture that is bright everywhere only that quarter counts, so a heatmap must lie there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from redeepfake_nb import Card, Classifier, Face, Frame, Preprocessing

SIZE = 32
HALF = SIZE // 2
layers, ops = keras.layers, keras.ops


class Shifted(layers.Layer):
    """A layer that nobody knows: it drops three quarters and weighs the rest with a kernel."""

    def build(self, shape: tuple) -> None:
        self.kernel = self.add_weight(shape=(3, 3, shape[-1], 4), initializer="ones")

    def call(self, x: Any) -> Any:
        half = x.shape[1] // 2
        return ops.conv(x[:, half:, half:], self.kernel, padding="same")


def conv(x: Any, size: int = 3, strides: int = 1, padding: str = "same") -> Any:
    """A convolution that only adds up, so that brightness stays brightness."""
    weights = keras.initializers.Constant(1 / (size * size * x.shape[-1]))
    return layers.Conv2D(4, size, strides, padding, kernel_initializer=weights)(x)


def last_quarter(x: Any) -> Any:
    """Crop a map (N, h, w, channels) to its lower right quarter."""
    half = x.shape[1] // 2
    return layers.Cropping2D(((half, 0), (half, 0)))(x)


def to_depth(x: Any, block: int) -> Any:
    """Move blocks of cells into the channels."""
    side, channels = x.shape[1] // block, x.shape[-1]
    x = layers.Reshape((side, block, side, block, channels))(x)
    return layers.Reshape((side, side, block * block * channels))(layers.Permute((1, 3, 2, 4, 5))(x))


def from_depth(x: Any, block: int) -> Any:
    """Move channels into blocks of cells."""
    side, channels = x.shape[1], x.shape[-1] // block**2
    x = layers.Reshape((side, side, block, block, channels))(x)
    return layers.Reshape((side * block, side * block, channels))(layers.Permute((1, 3, 2, 4, 5))(x))


def gated(x: Any) -> Any:
    """The quarter's map, with a weight for each channel that comes from the whole picture."""
    x = conv(x)
    weights = layers.Dense(4, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    return layers.Multiply()([last_quarter(x), weights])


OPERATIONS: dict[str, Callable[[Any], Any]] = {
    "cropping": lambda x: last_quarter(conv(x)),
    "slicing": lambda x: conv(x)[:, HALF:, HALF:],
    "cropping and zero padding": lambda x: layers.ZeroPadding2D(((0, 8), (8, 0)))(last_quarter(conv(x))),
    "padding by an operation": lambda x: ops.pad(last_quarter(conv(x)), ((0, 0), (4, 0), (0, 2), (0, 0))),
    "valid convolutions": lambda x: conv(last_quarter(x), 5, 1, "valid"),
    "strided convolutions": lambda x: last_quarter(conv(conv(x, strides=2), strides=2)),
    "valid strided convolutions": lambda x: conv(conv(last_quarter(x), 3, 2, "valid"), 3, 1, "valid"),
    "pooling": lambda x: last_quarter(layers.AveragePooling2D(2)(layers.MaxPooling2D(2)(conv(x)))),
    "resizing": lambda x: last_quarter(conv(layers.Resizing(24, 24)(x))),
    "resizing by an operation": lambda x: last_quarter(conv(ops.image.resize(x, (24, 24)))),
    "space to depth": lambda x: last_quarter(conv(to_depth(conv(x), 4), 1)),
    "depth to space": lambda x: conv(from_depth(last_quarter(conv(x, 4, 4)), 2), 1),
    "transposed convolution": lambda x: layers.Conv2DTranspose(4, 3, 2, "same", kernel_initializer="ones")(
        last_quarter(conv(x, 4, 4))
    ),
    "upsampling": lambda x: layers.UpSampling2D(2)(last_quarter(conv(x, 4, 4))),
    "flipping": lambda x: ops.flip(conv(x, 4, 4), axis=(1, 2))[:, :4, :4],
    "rolling": lambda x: ops.roll(conv(x, 4, 4), (4, 4), axis=(1, 2))[:, :4, :4],
    "transposing": lambda x: ops.transpose(last_quarter(conv(x, 4, 4)), (0, 2, 1, 3)),
    "an unknown layer": lambda x: Shifted()(conv(x)),
    "gated channels": lambda x: layers.Multiply()(
        [
            last_quarter(conv(x)),
            layers.Dense(4, "sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(conv(x))),
        ]
    ),
    "branches with different strides": lambda x: layers.Add()(
        [conv(last_quarter(x), 3, 2), conv(last_quarter(x), 1, 2, "valid")]
    ),
}


def quarter_model(operation: str, nested: bool) -> keras.Model:
    """A network with that operation, average pooling and a linear output."""
    image = keras.Input((SIZE, SIZE, 3), name="picture")
    scaled = layers.Rescaling(1 / 255)(image)
    dense = layers.Dense(1, kernel_initializer="ones", name="logit")
    if nested:
        inner = keras.Input((SIZE, SIZE, 3))
        backbone = keras.Model(inner, OPERATIONS[operation](inner), name="backbone")
        found = backbone(scaled)
    else:
        found = OPERATIONS[operation](scaled)
    return keras.Model(image, dense(layers.GlobalAveragePooling2D()(found)))


def classifier_of(model: keras.Model, **card: Any) -> Classifier:
    """The network with a card for its input."""
    return Classifier(model, Card(preprocessing=Preprocessing(input_size=SIZE), temperature=1.0, **card))


def bright_face() -> Face:
    """A picture that is bright everywhere, with a little noise."""
    rng = np.random.default_rng(0)
    return Face.whole(Frame(rng.integers(180, 220, (SIZE, SIZE, 3), dtype=np.uint8)))


def share_in_quarter(heatmap: np.ndarray) -> float:
    """The share of a heatmap's sum that lies in the lower right quarter."""
    height, width = heatmap.shape
    return float(heatmap[height // 2 :, width // 2 :].sum() / heatmap.sum())


def transformer(
    *, class_token: bool, by_hand: bool = False, blocks: int = 2, side: int = 8, width: int = 8
) -> keras.Model:
    """A small vision transformer that adds up the brightness of the patches in the lower right quarter.

    The patches' embeddings carry brightness, and whether they lie in that quarter, in their first two
    channels. Attention looks for the quarter, and the output is the brightness that it brings.
    """
    patch = SIZE // side
    image = keras.Input((SIZE, SIZE, 3), name="picture")
    embed = layers.Conv2D(width, patch, patch, use_bias=False, name="patches")
    x = layers.Reshape((side * side, width))(embed(layers.Rescaling(1 / 255)(image)))
    if class_token:
        x = layers.ZeroPadding1D((1, 0))(x)
    count = x.shape[1]
    places = np.zeros((1, count, width), np.float32)
    rows, columns = np.divmod(np.arange(side * side), side)
    places[0, count - side * side :, 1] = (rows >= side // 2) & (columns >= side // 2)
    places[..., 2] = 1
    x = x + places
    attended = []
    for block in range(blocks):
        if by_hand:
            made, names = _attention_by_hand(x, count, width, block)
        else:
            attention = layers.MultiHeadAttention(1, width, use_bias=False, name=f"attention_{block}")
            made, names = attention(x, x), [attention]
        attended.append(names)
        x = x + made
    pooled = x[:, 0] if class_token else layers.GlobalAveragePooling1D()(x)
    dense = layers.Dense(1, name="logit")
    model = keras.Model(image, dense(pooled))
    kernel = np.zeros((patch, patch, 3, width), np.float32)
    kernel[..., 0] = 1 / (3 * patch * patch)
    embed.set_weights([kernel])
    query, key, value, out = (np.zeros((width, width), np.float32) for _ in range(4))
    query[2, 0], key[1, 0] = 1, 60  # every token asks for the quarter
    value[0, 0], out[0, 3] = 1, 1  # and takes its brightness into channel 3
    for names in attended:
        if by_hand:
            for layer, weights in zip(names, (query, key, value, out), strict=True):
                layer.set_weights([weights])
        else:
            shapes = [w.shape for w in names[0].get_weights()]
            names[0].set_weights(
                [w.reshape(s) for w, s in zip((query, key, value, out), shapes, strict=True)]
            )
    weights = np.zeros((width, 1), np.float32)
    weights[3] = 8 / blocks
    dense.set_weights([weights, np.float32([-2])])
    return model


def _attention_by_hand(x: Any, count: int, width: int, block: int) -> tuple[Any, list[Any]]:
    """Attention of dense layers, reshaping, matrix products and a softmax."""
    made = [
        layers.Dense(width, use_bias=False, name=f"{name}_{block}")
        for name in ("query", "key", "value", "out")
    ]

    def heads(tokens: Any) -> Any:
        return layers.Permute((2, 1, 3))(layers.Reshape((count, 1, width))(tokens))

    query, key, value = (heads(layer(x)) for layer in made[:3])
    scores = ops.matmul(query, ops.transpose(key, (0, 1, 3, 2))) / width**0.5
    mixed = ops.matmul(layers.Softmax()(scores), value)
    return made[3](layers.Reshape((count, width))(layers.Permute((2, 1, 3))(mixed))), made
