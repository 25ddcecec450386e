"""Refuse models whose forward pass on one face, or one window of frames, takes too much memory or time."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ..errors import UnsuitableModel

if TYPE_CHECKING:
    import keras


# Limits for one face. EfficientNetB7 at 600 px has feature maps of 17 million elements and needs 40 thousand
# million multiplications.
MAX_MAP = 2**25
MAX_WORK = 2**37
MAX_TOKENS = 4096
# A window of frames may take this many times as much: VGG16 on 30 frames of 224 px has feature maps of 96
# million elements and needs 460 thousand million multiplications.
WINDOW_MAP = 4
WINDOW_WORK = 8
# A batch on a GPU takes at most this share of its memory, if so many feature maps as large as the largest are
# held at once: those that a layer reads and writes, and what the library needs beside. Larger batches than
# the last number gain nothing.
_GPU_SHARE, _MAPS_AT_ONCE, _LARGEST_BATCH = 0.25, 4, 128
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


def check_cost(model: keras.Model, subject: object, frames: int = 1) -> None:
    """Check that a flat model can score one face, or one window of frames, within the limits of this module.

    Parameters
    ----------
    frames
        Number of frames that the model takes at once.

    Raises
    ------
    UnsuitableModel
        A feature map has more elements than ``MAX_MAP``, the forward pass takes more multiplications than
        ``MAX_WORK``, attention compares more than ``MAX_TOKENS`` positions, or a size in the graph is
        unknown.
    """
    window = frames > 1
    limits = _Limits(subject, MAX_MAP * (WINDOW_MAP if window else 1), window)
    work = _work(model, limits)
    if work > MAX_WORK * (WINDOW_WORK if window else 1):
        raise limits.exceeded(f"one {limits.unit} takes about {work:,} multiplications")


def faces_at_once(model: keras.Model, gpu_memory: int) -> int:
    """Return how many faces, or windows of frames, a flat model can score in one batch on a GPU.

    Parameters
    ----------
    gpu_memory
        Bytes that the model may use.

    Returns
    -------
    int
        A power of two from 1 to 128.
    """
    tensors = [t for nodes in model._nodes_by_depth.values() for node in nodes for t in node.output_tensors]
    largest = max(math.prod(side or 1 for side in tensor.shape[1:]) for tensor in tensors)
    fits = gpu_memory * _GPU_SHARE / (4 * _MAPS_AT_ONCE * largest)  # bytes of a float32
    return 2 ** int(math.log2(min(max(fits, 1), _LARGEST_BATCH)))


@dataclass(frozen=True)
class _Limits:
    """What a model is checked against, and how its error is worded."""

    subject: object
    largest_map: int
    window: bool

    @property
    def unit(self) -> str:
        return "window of frames" if self.window else "face"

    def exceeded(self, cause: str) -> UnsuitableModel:
        step = "Use a model made for one image of a face."
        if self.window:
            step = "Use fewer or smaller frames, or a smaller network."
        return UnsuitableModel(cause, subject=self.subject, next_step=step)


def _work(model: keras.Model, limits: _Limits, times: float = 1) -> int:
    """Count the multiplications of a graph on ``times`` inputs, and check the sizes in it."""
    work = 0
    # Inputs of each tensor's batch per input of the model: frames may have been moved into the batch.
    copies: dict[int, float] = {id(tensor): times for tensor in model.inputs}
    nodes = [node for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True) for node in nodes]
    for node in nodes:
        layer = node.operation
        weights = sum(math.prod(w.shape) for w in getattr(layer, "weights", ()))
        for tensor in node.output_tensors:
            if any(side is None for side in tensor.shape[1:]):
                raise limits.exceeded(f"the output size of its layer {layer.name} is not known")
        several = max((copies.get(id(tensor), times) for tensor in node.input_tensors), default=times)
        if type(layer).__name__ == "Reshape" and node.input_tensors:
            # No element is lost, so what leaves a tensor's shape has gone into its batch.
            before, after = (math.prod(t[0].shape[1:]) for t in (node.input_tensors, node.output_tensors))
            several *= before / max(after, 1)
        for tensor in node.output_tensors:
            copies[id(tensor)] = several
            shape = tensor.shape[1:]
            size = math.prod(shape)
            if size * several > limits.largest_map:
                elements = math.ceil(size * several)
                raise limits.exceeded(f"its layer {layer.name} has a feature map of {elements:,} elements")
            # Each weight is used at most once per position of the map, and in every step of a sequence.
            positions = math.prod(shape[:-1]) if len(shape) > 1 else 1
            positions *= _steps(layer, node)
            work += math.ceil(several * (size * _window_size(layer) + weights * positions))
            if type(layer).__name__ in _PRODUCTS:
                work += math.ceil(several * size * _smallest_input(node))
        padded = _padded_input(layer, node)
        if padded * several > limits.largest_map:
            raise limits.exceeded(f"its layer {layer.name} pads its input to {padded:,} elements")
        if "Attention" in type(layer).__name__ and _most_tokens(node) > MAX_TOKENS:
            raise limits.exceeded(f"its layer {layer.name} compares more than {MAX_TOKENS} positions")
        inner = getattr(layer, "layer", None)
        if type(layer).__name__ == "TimeDistributed" and hasattr(inner, "_nodes_by_depth"):
            work += _work(inner, limits, several * node.input_tensors[0].shape[1])
    return work


def _steps(layer: Any, node: Any) -> int:
    """Count the steps of a recurrent layer that its output does not show; 1 for other layers."""
    axis = 1
    if type(layer).__name__ == "TimeDistributed":
        layer, axis = layer.layer, 2
    layer = getattr(layer, "forward_layer", layer)  # of Bidirectional
    if not hasattr(layer, "return_sequences") or layer.return_sequences:
        return 1
    return int(node.input_tensors[0].shape[axis] or 1)


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
    dilation = dilation * len(widths) if len(dilation) == 1 else dilation
    shape = shape[-len(widths) - 1 :]  # without the frames of a ConvLSTM2D
    sides = zip(shape[:-1], widths, dilation, strict=True)
    return math.prod((side or 1) + (width - 1) * step for side, width, step in sides) * (shape[-1] or 1)


def _most_tokens(node: Any) -> int:
    return max(math.prod(side or 1 for side in tensor.shape[1:-1]) for tensor in node.input_tensors)
