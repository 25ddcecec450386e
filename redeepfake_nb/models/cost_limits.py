"""Refuse models whose forward pass on one face would take too much memory or time."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from ..errors import UnsuitableModel

if TYPE_CHECKING:
    import keras


# Limits for one face. EfficientNetB7 at 600 px has feature maps of 17 million elements and needs 40 thousand
# million multiplications.
MAX_MAP = 2**25
MAX_WORK = 2**37
MAX_TOKENS = 4096
# Operations that multiply their inputs with each other instead of with weights.
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
    """Check that a flat model can score one face within the limits of this module.

    Raises
    ------
    UnsuitableModel
        A feature map has more elements than ``MAX_MAP``, the forward pass takes more multiplications than
        ``MAX_WORK``, attention compares more than ``MAX_TOKENS`` positions, or a size in the graph is
        unknown.
    """
    work = 0
    for node in (node for nodes in model._nodes_by_depth.values() for node in nodes):
        layer = node.operation
        weights = sum(math.prod(w.shape) for w in getattr(layer, "weights", ()))
        shapes = [tuple(tensor.shape[1:]) for tensor in node.output_tensors]
        for shape in shapes:
            if any(side is None for side in shape):
                raise _too_costly(f"the output size of its layer {layer.name} is not known", subject)
            size = math.prod(shape)
            if size > MAX_MAP:
                raise _too_costly(f"its layer {layer.name} has a feature map of {size:,} elements", subject)
            # Each weight is used at most once per position of the map.
            positions = math.prod(shape[:-1]) if len(shape) > 1 else 1
            work += size * _window_size(layer) + weights * positions
            if type(layer).__name__ in _PRODUCTS:
                work += size * _smallest_input(node)
        padded = _padded_input(layer, node)
        if padded > MAX_MAP:
            raise _too_costly(f"its layer {layer.name} pads its input to {padded:,} elements", subject)
        if "Attention" in type(layer).__name__ and _most_tokens(node) > MAX_TOKENS:
            raise _too_costly(f"its layer {layer.name} compares more than {MAX_TOKENS} positions", subject)
    if work > MAX_WORK:
        raise _too_costly(f"one face takes about {work:,} multiplications", subject)


def _window_size(layer: Any) -> int:
    """Count the positions that a pooling layer reads for each element of its output; 1 for other layers."""
    sides = getattr(layer, "pool_size", 1)
    return math.prod(sides) if isinstance(sides, (list, tuple)) else int(sides) ** 2


def _smallest_input(node: Any) -> int:
    """Bound the number of elements of one input that contribute to one element of the output."""
    return min(math.prod(side or 1 for side in tensor.shape[1:]) for tensor in node.input_tensors)


def _padded_input(layer: Any, node: Any) -> int:
    """Count the elements of the input of a dilated convolution after padding; 0 for other layers."""
    dilation = getattr(layer, "dilation_rate", 1)
    dilation = (dilation,) if isinstance(dilation, int) else tuple(dilation)
    if max(dilation) == 1:
        return 0
    shape = node.input_tensors[0].shape[1:]
    widths = getattr(layer, "kernel_size", None)
    if widths is None:  # an operation, which is given its kernel as an argument
        given = (*node.arguments.args, *node.arguments.kwargs.values())
        widths = [tuple(value.shape) for value in given if hasattr(value, "shape")][1][: len(shape) - 1]
    dilation = dilation * (len(shape) - 1) if len(dilation) == 1 else dilation
    sides = zip(shape[:-1], widths, dilation, strict=True)
    return math.prod((side or 1) + (width - 1) * step for side, width, step in sides) * (shape[-1] or 1)


def _most_tokens(node: Any) -> int:
    return max(math.prod(side or 1 for side in tensor.shape[1:-1]) for tensor in node.input_tensors)


def _too_costly(cause: str, subject: object) -> UnsuitableModel:
    return UnsuitableModel(cause, subject=subject, next_step="Use a model made for one image of a face.")
