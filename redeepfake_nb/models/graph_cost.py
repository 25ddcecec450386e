"""What one score would cost in memory and work, from the shapes in a graph, before it is run."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import UnsuitableModel

if TYPE_CHECKING:
    import keras

# For one face. EfficientNetB7 at 600 px makes maps of 17 million numbers with 40 thousand million
# multiplications.
MAX_MAP = 2**25
MAX_WORK = 2**37
MAX_TOKENS = 4096
# Multiply their inputs with one another, not with weights.
_PRODUCTS = {
    "Dot",
    "Matmul",
    "Einsum",
    "Tensordot",
    "Conv",
    "DepthwiseConv",
    "SeparableConv",
    "ConvTranspose",
}


def check_cost(model: keras.Model, subject: object) -> None:
    """Refuse a flat model that no machine here could run in a minute.

    Raises
    ------
    UnsuitableModel
        One picture makes a map of more numbers, or takes more multiplications, than any face classifier; or a
        size in the graph is not known.
    """
    work = 0
    for node in (node for nodes in model._nodes_by_depth.values() for node in nodes):
        layer = node.operation
        weights = sum(math.prod(w.shape) for w in getattr(layer, "weights", ()))
        shapes = [tuple(tensor.shape[1:]) for tensor in node.output_tensors]
        for shape in shapes:
            if any(side is None for side in shape):
                raise _too_much(f"the size of what its layer {layer.name} gives is not known", subject)
            size = math.prod(shape)
            if size > MAX_MAP:
                raise _too_much(f"its layer {layer.name} makes a map of {size:,} numbers", subject)
            # Each weight is used at most once for each place of the map.
            places = math.prod(shape[:-1]) if len(shape) > 1 else 1
            work += size * _window(layer) + weights * places
            if type(layer).__name__ in _PRODUCTS:
                work += size * _largest_input(node)
        padded = _largest_padded(layer, node)
        if padded > MAX_MAP:
            raise _too_much(f"its layer {layer.name} spreads its map over {padded:,} numbers", subject)
        if "Attention" in type(layer).__name__ and _longest(node) > MAX_TOKENS:
            raise _too_much(f"its layer {layer.name} compares more than {MAX_TOKENS} places", subject)
    if work > MAX_WORK:
        raise _too_much(f"one face takes about {work:,} multiplications", subject)


def _window(layer: Any) -> int:
    """How many places a pooling layer looks at for each number it gives."""
    sides = getattr(layer, "pool_size", 1)
    return math.prod(sides) if isinstance(sides, (list, tuple)) else int(sides) ** 2


def _largest_input(node: Any) -> int:
    """Bound on the numbers of one input that meet in one of the output."""
    return min(math.prod(side or 1 for side in tensor.shape[1:]) for tensor in node.input_tensors)


def _largest_padded(layer: Any, node: Any) -> int:
    """Numbers of an input map with the margin that a spread-out filter is given; 0 for other layers."""
    spread = getattr(layer, "dilation_rate", 1)
    spread = (spread,) if isinstance(spread, int) else tuple(spread)
    if max(spread) == 1:
        return 0
    shape = node.input_tensors[0].shape[1:]
    widths = getattr(layer, "kernel_size", None)
    if widths is None:  # an operation that is given its filter
        given = (*node.arguments.args, *node.arguments.kwargs.values())
        widths = [tuple(value.shape) for value in given if hasattr(value, "shape")][1][: len(shape) - 1]
    spread = spread * (len(shape) - 1) if len(spread) == 1 else spread
    sides = zip(shape[:-1], widths, spread, strict=True)
    return math.prod((side or 1) + (width - 1) * step for side, width, step in sides) * (shape[-1] or 1)


def _longest(node: Any) -> int:
    return max(math.prod(side or 1 for side in tensor.shape[1:-1]) for tensor in node.input_tensors)


def _too_much(cause: str, subject: object) -> UnsuitableModel:
    return UnsuitableModel(cause, subject=subject, next_step="Use a model made for one picture of a face.")
