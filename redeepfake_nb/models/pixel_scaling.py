"""Find out what a network computes with pixels before its first weights, by running that part of it.

Models scale pixels in many ways: a ``Rescaling`` layer, ``preprocess_input`` on the input, ``x / 255``.
Pictures of one value tell them all, whatever layers and operations they are made of.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .heads import passes_on

if TYPE_CHECKING:
    import keras

# A smaller factor than this can only be meant for pixels up to 255: the deviations of ImageNet's pixels of 0
# to 1 are factors of 4 and more, those of its pixels of 0 to 255 are below 0.02.
_SMALL_FACTOR = 0.1
# Above this value, the pixel that becomes 0 (usually their mean) cannot be one of 0 to 1.
_HIGH_ZERO = 2.0


@dataclass(frozen=True)
class PixelScaling:
    """What a network computes with pixels before its first weights.

    Parameters
    ----------
    operations
        Kinds of the layers and operations that compute it; empty where pixels reach the weights as they are.
    value_range
        Pixel values of black and white that it is made for; ``None`` where that is not told.
    swaps_channels
        Whether the first and the last channel are exchanged, which makes BGR of RGB.
    """

    operations: tuple[str, ...] = ()
    value_range: tuple[float, float] | None = None
    swaps_channels: bool = False


def find_pixel_scaling(model: keras.Model) -> PixelScaling:
    """Run the part before the first weights on pictures of one value.

    Parameters
    ----------
    model
        A flat model over pictures or windows of frames with three channels and known sides.
    """
    import keras

    tensor = _before_weights(model)
    first = keras.Model(model.inputs[0], tensor)
    names = [
        type(operation).__name__ for operation in first.operations if not _leaves_pixels_alone(operation)
    ]
    if not names:
        return PixelScaling()

    def run(*channels: float) -> np.ndarray:
        picture = np.broadcast_to(np.array(channels, np.float32), (1, *first.inputs[0].shape[1:]))
        return np.asarray(first(picture, training=False), np.float64)[0]

    operations = tuple(dict.fromkeys(names))
    try:
        black, one, white = (run(value) for value in (0.0, 1.0, 255.0))
        coloured = run(1.0, 2.0, 3.0)
    except Exception:  # the backend raises whatever its operations raise
        return PixelScaling(operations)
    factor = one - black
    if not _is_linear(black, factor, white):
        return PixelScaling(operations)
    live = factor != 0  # not so where the picture was padded
    zero = float(np.median(-black[live] / factor[live]))
    size = float(np.median(np.abs(factor[live])))
    swapped = _swaps_channels(np.divide(coloured - black, factor, out=np.zeros_like(factor), where=live))
    if abs(size - 1) < 1e-3 and abs(zero) < 1e-3:
        return PixelScaling((), None, swapped)
    return PixelScaling(operations, _expected_range(size, zero), swapped)


def _before_weights(model: keras.Model) -> Any:
    """Return the tensor that the first operation with weights reads; the output if none has any."""
    image = model.inputs[0]
    reached = {id(image)}
    for node in (node for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True) for node in nodes):
        if node.is_input or not all(id(tensor) in reached for tensor in node.input_tensors):
            continue
        # The weights of a Normalization are the mean and deviation of the pixels.
        if getattr(node.operation, "weights", ()) and type(node.operation).__name__ != "Normalization":
            return node.input_tensors[0]
        reached.update(id(tensor) for tensor in node.outputs)
    return model.outputs[0]


def _leaves_pixels_alone(operation: Any) -> bool:
    name = type(operation).__name__
    return name == "InputLayer" or name.startswith("Random") or passes_on(operation)


def _is_linear(black: np.ndarray, factor: np.ndarray, white: np.ndarray) -> bool:
    """Tell whether values are a multiple of the pixels plus a constant."""
    if not all(np.isfinite(values).all() for values in (black, factor, white)) or not factor.any():
        return False
    return bool(np.allclose(white, black + 255 * factor, rtol=0, atol=1e-2 * np.abs(white - black).max()))


def _swaps_channels(values: np.ndarray) -> bool:
    """Tell whether a picture of the channels (1, 2, 3) has become one of (3, 2, 1), flattened or not."""
    if values.size % 3:
        return False
    return bool(np.allclose(np.median(values.reshape(-1, 3), axis=0), (3, 2, 1), atol=0.05))


def _expected_range(factor: float, zero: float) -> tuple[float, float] | None:
    """Return the pixel values that a factor, and the pixel that becomes 0, are made for."""
    if factor < _SMALL_FACTOR or zero > _HIGH_ZERO:
        return 0, 255
    if abs(zero + 1) < 1e-2:
        return -1, 1
    return (0, 1) if zero > -1e-2 else None
