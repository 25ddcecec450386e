"""Write a :class:`~redeepfake_nb.faces.tflite_reader.Network` as ONNX, which OpenCV runs.

OpenCV's own reader of TensorFlow Lite files gives only one of several outputs (5.0), and only at the input
size of the file; from ONNX it gives all of them at every size. The form is protocol buffers, written
by hand here: https://github.com/onnx/onnx/blob/main/onnx/onnx.proto.
"""

from __future__ import annotations

import numpy as np

from .tflite_reader import Layer, Network

_OPERATOR_SET = 13
_FORMAT = 8
_FLOAT, _INT64 = 1, 7  # TensorProto.DataType
_ATTRIBUTE_INT, _ATTRIBUTE_STRING, _ATTRIBUTE_INTS = 2, 3, 7  # AttributeProto.AttributeType


def to_onnx(network: Network) -> bytes:
    """Write a network as ONNX.

    Returns
    -------
    bytes
        A model with the input ``t<number>``, (1, 3, H, W) float32, and an output ``t<number>``, (1, channels,
        h, w) float32, for each of :attr:`Network.outputs`. H and W may be any multiples of the network's
        largest stride.
    """
    nodes, constants = b"", b""
    for layer in network.layers:
        node, own = _node(layer)
        nodes += node
        constants += own
    side = network.size
    graph = (
        nodes
        + _field(2, "network")
        + constants
        + _value(11, _name(network.input), (1, 3, side, side))
        + b"".join(_value(12, _name(i), (1, channels, "h", "w")) for i, channels in network.outputs)
    )
    return _field(1, _FORMAT) + _field(7, graph) + _field(8, _field(1, "") + _field(2, _OPERATOR_SET))


def output_names(network: Network) -> list[str]:
    """Return the names of the outputs in :func:`to_onnx`, in the order of ``network.outputs``."""
    return [_name(i) for i, _ in network.outputs]


def _name(tensor: int) -> str:
    return f"t{tensor}"


def _node(layer: Layer) -> tuple[bytes, bytes]:
    """Return a layer's node and the constants that it uses."""
    names, constants = [_name(i) for i in layer.inputs], b""
    attributes: dict[str, int | str | tuple[int, ...]] = {}
    square = (layer.kernel, layer.kernel)
    if layer.weights is not None and layer.bias is not None:
        operator = "Conv"
        for kind, values in (("weights", layer.weights), ("bias", layer.bias)):
            names.append(f"{kind}{layer.output}")
            constants += _field(5, _tensor(names[-1], values, _FLOAT))
        before, after = layer.padding
        attributes = {
            "kernel_shape": square,
            "strides": (layer.stride, layer.stride),
            "pads": (before, before, after, after),
            "dilations": (1, 1),
            "group": len(layer.weights) if layer.kind == "depthwise convolution" else 1,
        }
    elif layer.kind in ("maximum", "average"):
        operator = {"maximum": "MaxPool", "average": "AveragePool"}[layer.kind]
        attributes = {"kernel_shape": square, "strides": (layer.stride, layer.stride), "pads": (0,) * 4}
    elif layer.kind in ("pad", "extend"):
        operator = "Pad"
        names.append(f"pads{layer.output}")
        before, after = layer.padding
        channels, pixels = ((before, after), (0, 0)) if layer.kind == "pad" else ((0, 0), (before, after))
        pads = [0, channels[0], pixels[0], pixels[0], 0, channels[1], pixels[1], pixels[1]]
        constants += _field(5, _tensor(names[-1], np.array(pads, np.int64), _INT64))
        attributes = {"mode": "constant"}
    else:
        operator = {"add": "Add", "relu": "Relu"}[layer.kind]
    node = b"".join(_field(1, name) for name in names)
    node += _field(2, _name(layer.output)) + _field(3, _name(layer.output)) + _field(4, operator)
    node += b"".join(_field(5, _attribute(key, value)) for key, value in attributes.items())
    return _field(1, node), constants


def _attribute(name: str, value: int | str | tuple[int, ...]) -> bytes:
    if isinstance(value, int):
        return _field(1, name) + _field(3, value) + _field(20, _ATTRIBUTE_INT)
    if isinstance(value, str):
        return _field(1, name) + _field(4, value) + _field(20, _ATTRIBUTE_STRING)
    return _field(1, name) + b"".join(_field(8, int(v)) for v in value) + _field(20, _ATTRIBUTE_INTS)


def _tensor(name: str, values: np.ndarray, dtype: int) -> bytes:
    shape = b"".join(_field(1, int(n)) for n in values.shape)
    little = np.ascontiguousarray(values, values.dtype.newbyteorder("<"))
    return shape + _field(2, dtype) + _field(8, name) + _field(9, little.tobytes())


def _value(number: int, name: str, shape: tuple[int | str, ...]) -> bytes:
    sizes = b"".join(_field(1, _field(1 if isinstance(n, int) else 2, n)) for n in shape)
    return _field(number, _field(1, name) + _field(2, _field(1, _field(1, _FLOAT) + _field(2, sizes))))


def _field(number: int, value: int | str | bytes) -> bytes:
    """Encode one field of a message: integers as varints, all else with its length."""
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    content = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    encoded = bytearray()
    while value > 127:
        encoded.append(value & 127 | 128)
        value >>= 7
    return bytes([*encoded, value])
