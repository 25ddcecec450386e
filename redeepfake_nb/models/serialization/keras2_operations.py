"""Translate TensorFlow operations in Keras 2 graphs to Keras 3 layers and operations; both are plain JSON.

A Keras 2 file names a function (``math.add``), which TensorFlow would look up and call. A short list of
functions that only compute is translated; any other is refused by name.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import Any

from ...utils.numeric import is_finite_number
from .allowlist import not_allowed
from .keras2_layers import unwrap

OPERATIONS = {"TFOpLambda", "SlicingOpLambda"}
_UNARY = {
    "nn.relu": ("nn", "Relu"),
    "nn.relu6": ("nn", "Relu6"),
    "nn.sigmoid": ("nn", "Sigmoid"),
    "math.sigmoid": ("nn", "Sigmoid"),
    "sigmoid": ("nn", "Sigmoid"),
    "nn.silu": ("nn", "Silu"),
    "nn.swish": ("nn", "Silu"),
    "nn.softplus": ("nn", "Softplus"),
    "math.softplus": ("nn", "Softplus"),
    "nn.elu": ("nn", "Elu"),
    "nn.selu": ("nn", "Selu"),
    "nn.tanh": ("numpy", "Tanh"),
    "math.tanh": ("numpy", "Tanh"),
    "math.square": ("numpy", "Square"),
    "math.sqrt": ("numpy", "Sqrt"),
    "math.abs": ("numpy", "Absolute"),
    "math.exp": ("numpy", "Exp"),
    "math.negative": ("numpy", "Negative"),
}
_BINARY = {
    "add": "Add",
    "sub": "Subtract",
    "subtract": "Subtract",
    "mul": "Multiply",
    "multiply": "Multiply",
    "truediv": "TrueDivide",
    "divide": "TrueDivide",
    "maximum": "Maximum",
    "minimum": "Minimum",
}
_REDUCTIONS = {"reduce_mean": "Mean", "reduce_sum": "Sum", "reduce_max": "Max", "reduce_min": "Min"}
_IDENTITY = {"identity", "convert_to_tensor", "stop_gradient"}
_CONSTANT = "_CONSTANT_VALUE"


def is_reference(value: Any) -> bool:
    """Tell whether a value is a reference to a tensor, ``[layer, call, output]``."""
    return (
        isinstance(value, list)
        and len(value) in (3, 4)
        and isinstance(value[0], str)
        and all(isinstance(part, int) for part in value[1:3])
    )


def keras3_name(name: str) -> str:
    """Replace the slashes in a layer's name, which Keras 3 forbids."""
    return name.replace("/", "_")


def keras_tensor(reference: list[Any]) -> dict[str, Any]:
    """Serialise a reference to a tensor, ``[layer, call, output]``, as Keras 3 does."""
    config = {"shape": [None], "dtype": "float32", "keras_history": reference}
    return {"class_name": "__keras_tensor__", "config": config}


def keras3_reference(entry: list[Any], nested: Container[str]) -> list[Any]:
    """Convert a reference to a tensor to Keras 3.

    Keras 2 counts the construction of a nested model as its first call, Keras 3 does not.
    """
    name, call, output = entry[:3]
    if name in nested:
        call -= 1
    if min(call, output) < 0:
        raise ValueError(f"{name} is used before it is called")
    return [keras3_name(name), call, output]


def translate_operation(
    config: dict[str, Any], nodes: list[list[list[Any]]], nested: Container[str], subject: object
) -> dict[str, Any]:
    """Translate one operation of a Keras 2 graph, with its single call.

    Parameters
    ----------
    config
        Has the TensorFlow name under ``function``.
    nodes
        The calls; each a list of ``[layer, call, output, options]``.
    nested
        Names of nested models, whose calls are counted differently.

    Raises
    ------
    UnsafeModel
        A function that is not on the list.
    ValueError
        An invalid call.
    """
    function, name = str(config["function"]), config["name"]
    if len(nodes) != 1 or not nodes[0]:
        raise ValueError(f"{name} is not called once")
    node = nodes[0]
    options = {key: unwrap(value) for key, value in (node[0][3] if len(node[0]) > 3 else {}).items()}
    options.pop("name", None)

    def read(value: Any) -> Any:
        return keras_tensor(keras3_reference(value, nested)) if is_reference(value) else value

    first = node[0][2] if node[0][0] == _CONSTANT else read(node[0][:3])
    short = function.split(".")[-1]
    family = function.split(".")[0]
    if function in _UNARY and not options:
        module, kind = _UNARY[function]
        return _operation(module, kind, name, {}, [first])
    if short in _BINARY and family in ("math", "__operators__", short):
        return _binary(_BINARY[short], name, first, read(options.pop("y")))
    if function == "nn.bias_add":
        return _binary("Add", name, first, options["bias"])
    if function == "nn.softmax":
        return _operation("nn", "Softmax", name, {"axis": options.get("axis", -1)}, [first])
    if function == "nn.leaky_relu":
        slope = options.get("alpha", 0.2)
        return _operation("nn", "LeakyRelu", name, {"negative_slope": slope}, [first])
    if function == "nn.gelu":
        approximate = bool(options.get("approximate", False))
        return _operation("nn", "Gelu", name, {"approximate": approximate}, [first])
    if short in _REDUCTIONS and family in ("math", short):
        axis, keep = options.get("axis"), bool(options.get("keepdims", False))
        axis = [axis] if isinstance(axis, int) else axis
        return _operation("numpy", _REDUCTIONS[short], name, {"axis": axis, "keepdims": keep}, [first])
    if function == "concat":
        every = [read(entry[:3]) for entry in node]
        return _layer("Concatenate", name, {"axis": options.get("axis", -1)}, every)
    if function == "reshape" and isinstance(options.get("shape"), list):
        shape = [-1 if side is None else side for side in options["shape"]]
        return _operation("numpy", "Reshape", name, {"newshape": shape}, [first])
    if function == "expand_dims":
        return _operation("numpy", "ExpandDims", name, {"axis": options["axis"]}, [first])
    if function in ("squeeze", "compat.v1.squeeze"):
        return _operation("numpy", "Squeeze", name, {"axis": options.get("axis")}, [first])
    if function == "clip_by_value":
        low, high = options["clip_value_min"], options["clip_value_max"]
        return _operation("numpy", "Clip", name, {"x_min": low, "x_max": high}, [first])
    if function == "image.resize" and options.get("method", "bilinear") in ("bilinear", "nearest"):
        (height, width), method = options["size"], options.get("method", "bilinear")
        if options.get("antialias") or options.get("preserve_aspect_ratio"):
            raise not_allowed("tf.image.resize with antialias", "cannot be translated from Keras 2", subject)
        return _layer("Resizing", name, {"height": height, "width": width, "interpolation": method}, first)
    if short in _IDENTITY or (short == "cast" and str(options.get("dtype")).startswith("float")):
        return _layer("Activation", name, {"activation": "linear"}, first)
    if function == "__operators__.getitem":
        return _operation("numpy", "GetItem", name, {}, [first, [_slice(s) for s in options["slice_spec"]]])
    raise not_allowed(f"the function tf.{function}", "is not one that can be read from Keras 2", subject)


def _binary(kind: str, name: str, left: Any, right: Any) -> dict[str, Any]:
    """Translate an operation on two tensors, or on a tensor and a constant (a Rescaling layer)."""
    if isinstance(left, dict) and isinstance(right, dict):
        return _operation("numpy", kind, name, {}, [left, right])
    if isinstance(left, dict):
        constant, x = _constant(right), left
        factors = {
            "Add": (1.0, constant),
            "Subtract": (1.0, _each(constant, lambda c: -c)),
            "Multiply": (constant, 0.0),
        }
        if kind == "TrueDivide":
            factors[kind] = (_each(constant, lambda c: 1 / c), 0.0)
    else:
        constant, x = _constant(left), right
        factors = {"Add": (1.0, constant), "Subtract": (-1.0, constant), "Multiply": (constant, 0.0)}
    if kind not in factors:
        return _operation("numpy", kind, name, {}, [left, right])
    scale, offset = factors[kind]
    return _layer("Rescaling", name, {"scale": scale, "offset": offset}, x)


def _constant(value: Any) -> Any:
    """Return a constant as a number or nested lists: one number per channel, or per place, as a mask has."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    if _is_array(value, _shape_of(value)):
        return value
    raise ValueError("a constant in its graph is not an array of finite numbers")


def _shape_of(value: Any) -> list[int]:
    """Return the shape of nested lists by their first parts."""
    shape = []
    while isinstance(value, list) and value:
        shape.append(len(value))
        value = value[0]
    return shape


def _is_array(value: Any, shape: Sequence[int]) -> bool:
    """Say whether nested lists have this shape, of at most three axes, throughout, and finite numbers."""
    if not shape:
        return is_finite_number(value)
    if len(shape) > 3 or not isinstance(value, list) or len(value) != shape[0]:
        return False
    return all(_is_array(part, shape[1:]) for part in value)


def _each(value: Any, change: Any) -> Any:
    return [_each(part, change) for part in value] if isinstance(value, list) else change(value)


def _slice(part: Any) -> Any:
    if isinstance(part, dict) and part.get("class_name") == "__ellipsis__":
        return {"class_name": "__ellipsis__", "config": {}}
    if isinstance(part, dict):
        ends = {key: part.get(key) for key in ("start", "stop", "step")}
        if not all(end is None or isinstance(end, int) for end in ends.values()):
            raise ValueError("a slice in its graph is not made of integers")
        return {"class_name": "__slice__", "config": ends}
    if part is None or isinstance(part, int):
        return part
    raise ValueError("a slice in its graph is invalid")


def _operation(module: str, kind: str, name: str, config: dict[str, Any], args: list[Any]) -> dict[str, Any]:
    return {
        "module": f"keras.src.ops.{module}",
        "class_name": kind,
        "config": {"name": name, **config},
        "registered_name": kind,
        "inbound_nodes": [{"args": args, "kwargs": {}}],
    }


def _layer(kind: str, name: str, config: dict[str, Any], x: Any) -> dict[str, Any]:
    return {
        "module": "keras.layers",
        "class_name": kind,
        "config": {"name": name, **config},
        "registered_name": None,
        "inbound_nodes": [{"args": [x], "kwargs": {}}],
    }
