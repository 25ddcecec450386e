"""Read small convolutional networks from TensorFlow Lite files, without TensorFlow.

A file is a FlatBuffer: tables whose fields are found through offsets. Only what detectors of one input and
convolutional outputs consist of is read; anything else is refused by name. The layout is that of
``tensorflow/lite/schema/schema.fbs``, version 3.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

_DTYPES = {0: "<f4", 1: "<f2", 2: "<i4", 4: "<i8"}
_OPERATORS = {
    0: "add",
    2: "concatenate",
    3: "convolution",
    4: "depthwise convolution",
    6: "dequantize",
    17: "maximum",
    19: "relu",
    22: "reshape",
    34: "pad",
}


@dataclass(frozen=True)
class Layer:
    """One operation of a network.

    Parameters
    ----------
    kind
        ``"convolution"``, ``"depthwise convolution"``, ``"maximum"``, ``"add"``, ``"relu"``, ``"pad"``; of
        networks that were not read from such files also ``"average"``, and ``"extend"``: zeros below and to
        the right.
    inputs
        Numbers of the tensors that it takes.
    output
        Number of the tensor that it makes.
    stride
        Of a convolution, a maximum or an average.
    kernel
        Side of the window of a convolution, a maximum or an average.
    padding
        Pixels before and after, alike for rows and columns, of a convolution or an extension; channels before
        and after of a pad.
    weights, bias
        Of a convolution: (output channels, input channels or 1, kernel, kernel) float32, and (output
        channels,) float32.
    """

    kind: str
    inputs: tuple[int, ...]
    output: int
    stride: int = 1
    kernel: int = 1
    padding: tuple[int, int] = (0, 0)
    weights: np.ndarray | None = field(default=None, repr=False)
    bias: np.ndarray | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Network:
    """A network with one image as input.

    Parameters
    ----------
    size
        Side in pixels of the square input that the file names; a multiple of it works too.
    layers
        In the order in which they are computed.
    input
        Number of the input tensor.
    outputs
        Number and channels of each feature map from which the file's outputs are put together.
    """

    size: int
    layers: tuple[Layer, ...]
    input: int
    outputs: tuple[tuple[int, int], ...]


def read_tflite(data: bytes) -> Network:
    """Read the network of a TensorFlow Lite file.

    The last steps of a detector, which flatten and join its feature maps, are left out:
    :attr:`Network.outputs` are the maps.

    Parameters
    ----------
    data
        The file.

    Raises
    ------
    ValueError
        It is no such file, it is damaged, or it holds an operation that is not known here.
    """
    if data[4:8] != b"TFL3":
        raise ValueError("this is no TensorFlow Lite file")
    try:
        return _read(data)
    except (struct.error, IndexError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"the TensorFlow Lite file is damaged ({type(error).__name__}: {error})") from error


class _Table:
    """A table of a FlatBuffer."""

    def __init__(self, data: bytes, position: int) -> None:
        self._data, self._position = data, position
        fields = position - struct.unpack_from("<i", data, position)[0]
        if not 0 <= fields < len(data):
            raise IndexError("an offset points outside of the file")
        self._fields, self._length = fields, struct.unpack_from("<H", data, fields)[0]

    def _at(self, number: int) -> int:
        """Return the position of a field's value; 0 where it has its default."""
        place = 4 + 2 * number
        if place + 2 > self._length:
            return 0
        offset = struct.unpack_from("<H", self._data, self._fields + place)[0]
        return self._position + offset if offset else 0

    def _target(self, position: int) -> int:
        return position + struct.unpack_from("<I", self._data, position)[0]

    def number(self, field_number: int, form: str) -> int:
        position = self._at(field_number)
        return int(struct.unpack_from("<" + form, self._data, position)[0]) if position else 0

    def array(self, field_number: int, dtype: str) -> np.ndarray:
        position = self._at(field_number)
        if not position:
            return np.zeros(0, dtype)
        start = self._target(position)
        count = struct.unpack_from("<I", self._data, start)[0]
        return np.frombuffer(self._data, dtype, count, start + 4)

    def table(self, field_number: int) -> _Table:
        return _Table(self._data, self._target(self._at(field_number)))

    def tables(self, field_number: int) -> list[_Table]:
        position = self._at(field_number)
        if not position:
            return []
        start = self._target(position)
        count = struct.unpack_from("<I", self._data, start)[0]
        if count > len(self._data):
            raise IndexError("a list is longer than the file")
        return [_Table(self._data, self._target(start + 4 + 4 * i)) for i in range(count)]


def _read(data: bytes) -> Network:
    model = _Table(data, struct.unpack_from("<I", data)[0])
    # Codes below 127 are in an older field, too; the larger one is the operator.
    codes = [max(code.number(0, "b"), code.number(3, "i")) for code in model.tables(1)]
    (graph,) = model.tables(2)
    buffers, tensors = model.tables(4), graph.tables(0)
    shapes = [tuple(int(n) for n in tensor.array(0, "<i4")) for tensor in tensors]
    constants: dict[int, np.ndarray] = {}
    for i, tensor in enumerate(tensors):
        raw = buffers[tensor.number(2, "I")].array(0, "u1")
        if len(raw):
            constants[i] = raw.view(_DTYPES[tensor.number(1, "b")]).reshape(shapes[i])
    layers: list[Layer] = []
    outputs: list[tuple[int, int]] = []
    for operator in graph.tables(3):
        code = codes[operator.number(0, "I")]
        if code not in _OPERATORS:
            raise ValueError(f"the TensorFlow Lite file holds operator {code}, which is not known here")
        kind = _OPERATORS[code]
        inputs = tuple(int(i) for i in operator.array(1, "<i4"))
        output = int(operator.array(2, "<i4")[0])
        if kind == "dequantize":
            constants[output] = constants[inputs[0]].astype(np.float32)
        elif kind == "reshape":
            outputs.append((inputs[0], shapes[inputs[0]][3]))
        elif kind in ("convolution", "depthwise convolution"):
            layers.append(_convolution(kind, inputs, output, operator.table(4), constants, shapes))
        elif kind == "maximum":
            options = operator.table(4)
            layers.append(Layer(kind, inputs, output, options.number(1, "i"), options.number(3, "i")))
        elif kind == "pad":
            before, after = (int(n) for n in constants[inputs[1]][3])
            if constants[inputs[1]][:3].any():
                raise ValueError("the TensorFlow Lite file pads pixels, which is not known here")
            layers.append(Layer(kind, inputs[:1], output, padding=(before, after)))
        elif kind != "concatenate":
            layers.append(Layer(kind, inputs, output))
    start = int(graph.array(1, "<i4")[0])
    return Network(shapes[start][1], tuple(layers), start, tuple(outputs))


def _convolution(
    kind: str,
    inputs: Sequence[int],
    output: int,
    options: _Table,
    constants: dict[int, np.ndarray],
    shapes: Sequence[tuple[int, ...]],
) -> Layer:
    weights: Any = constants[inputs[1]]
    # Depthwise weights are stored as (1, kernel, kernel, channels), others as (out, kernel, kernel, in).
    weights = weights.transpose(0, 3, 1, 2) if kind == "convolution" else weights.transpose(3, 0, 1, 2)
    stride, kernel, side = options.number(1, "i"), weights.shape[2], shapes[inputs[0]][1]
    same = options.number(0, "b") == 0
    missing = max((-(-side // stride) - 1) * stride + kernel - side, 0) if same else 0
    return Layer(
        kind,
        (inputs[0],),
        output,
        stride,
        kernel,
        (missing // 2, missing - missing // 2),
        np.ascontiguousarray(weights, np.float32),
        constants[inputs[2]].astype(np.float32),
    )
