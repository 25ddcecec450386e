"""Surgery on Keras graphs: lay nested models flat, end in one logit, find the map all evidence crosses."""

from __future__ import annotations

import math
from collections import Counter
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import UnsuitableModel
from .serialization.weights import settle

if TYPE_CHECKING:
    import keras

    from .card import Output


def flatten(model: keras.Model, input_size: int | None = None) -> keras.Model:
    """The same function without models inside models, made of copies of the layers with the same weights.

    Grad-CAM needs gradients with respect to a layer's output inside the graph; a nested model hides
    its layers behind one node. Where an inner and an outer layer share a name, the inner one is called
    ``<inner model>_<layer>``. Where the input's sides are open, ``input_size`` sets them.

    Raises
    ------
    UnsuitableModel
        A subclassed model, whose graph is code and cannot be read.
    """
    import keras

    copies: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}
    taken: set[str] = set()

    def copy(layer: keras.layers.Layer, path: str) -> keras.layers.Layer:
        if id(layer) not in copies:
            config = layer.get_config()
            policy = getattr(layer, "dtype_policy", None)
            if "dtype" in config and getattr(policy, "compute_dtype", None) in ("bfloat16", "float16"):
                # Trained in mixed precision. Scores and gradients are taken in full.
                config["dtype"] = "float32"
            name = layer.name if layer.name not in taken else f"{path}{layer.name}"
            while name in taken:
                name += "_"
            taken.add(name)
            if "name" in config:
                config["name"] = name
            if isinstance(layer, keras.layers.Lambda):
                # Only in models that a person has vouched for; from_config would ask again.
                kept = {key: config[key] for key in ("name", "arguments") if key in config}
                copies[id(layer)] = layer, keras.layers.Lambda(layer.function, **kept)
            else:
                copies[id(layer)] = layer, layer.__class__.from_config(config)
        return copies[id(layer)][1]

    def lay(node: keras.Model, inputs, path: str):
        if isinstance(node, keras.Sequential):
            x = inputs
            for layer in node.layers:
                x = apply(layer, path)(x)
            return x
        if not isinstance(node, keras.src.models.functional.Functional):
            raise _subclassed(node)
        # Private, as Keras has no public way to run a graph with other operations in it, nor one to list its
        # nodes (_graph below). tests/test_graphs.py holds both to what they must do.
        return node._run_through_graph(inputs, operation_fn=lambda op: apply(op, path))

    def apply(op, path: str):
        if isinstance(op, keras.Model):
            return lambda x, **_: lay(op, x, f"{path}{op.name}_")
        return copy(op, path)

    known = getattr(model, "inputs", None) if getattr(model, "built", False) else None
    if not known:
        raise _subclassed(model)
    inputs = [
        keras.Input(_sides_set(t.shape[1:], input_size), dtype=t.dtype, name=_input_name(t)) for t in known
    ]
    if len(inputs) != 1:
        raise UnsuitableModel(
            f"it has {len(inputs)} inputs, not one",
            subject=model.name,
            next_step="Use a model that takes one face picture.",
        )
    taken.add(inputs[0].name)
    outputs = lay(model, inputs[0], "")
    if isinstance(outputs, (list, tuple)):
        if len(outputs) != 1:
            raise UnsuitableModel(
                f"it has {len(outputs)} outputs, not one",
                subject=model.name,
                next_step="Save a model that ends in the real/fake output alone.",
            )
        outputs = outputs[0]
    flat = keras.Model(inputs[0], outputs, name=model.name)
    for layer, twin in copies.values():
        if getattr(layer, "weights", None):
            twin.set_weights(layer.get_weights())
            settle(twin)
    return flat


def _subclassed(model: keras.Model) -> UnsuitableModel:
    return UnsuitableModel(
        "it is a subclassed model or has no input yet, so its layers cannot be seen from outside",
        subject=model.name,
        next_step="Build it with the functional API and a keras.Input, and save it again.",
    )


def _sides_set(shape: tuple, size: int | None) -> tuple:
    if len(shape) != 3:
        return shape
    return tuple(size if side is None else side for side in shape[:2]) + tuple(shape[2:])


def _input_name(tensor) -> str:
    return tensor.name.split(":")[0] if tensor.name else "face"


def output_of(model: keras.Model) -> Output:
    """What a model's last activation makes of its output: probability, softmax, or the logit itself."""
    import keras

    last = model
    while isinstance(last, keras.Model):
        last = last.outputs[0]._keras_history.operation
    endings: dict[str, Output] = {"sigmoid": "probability", "softmax": "softmax"}
    return endings.get(_activation(last), "logit")


def _activation(last) -> str:
    """Name of the activation that an operation ends in; its own name if it has none."""
    own = getattr(last, "activation", None)
    return type(last).__name__.lower() if own is None else getattr(own, "__name__", type(own).__name__)


def as_logit_model(
    model: keras.Model, output: str, positive_class: str, input_size: int | None = None
) -> keras.Model:
    """Flat model with one logit per face, positive meaning fake: (N, H, W, 3) -> (N, 1).

    A sigmoid or softmax at the end is taken off rather than inverted: the logit of a probability
    that has been rounded to 1 is lost, and so is its gradient.

    Parameters
    ----------
    output
        ``"logit"``, ``"probability"`` (ends in a sigmoid) or ``"softmax"`` (two columns, the second
        is the positive class).
    positive_class
        ``"fake"`` or ``"real"``.
    input_size
        Side of the input in pixels, for a model that leaves it open.

    Raises
    ------
    UnsuitableModel
        The output's shape or last activation is not what ``output`` says.
    """
    import keras

    layers = keras.layers
    flat = flatten(model, input_size)
    width = 2 if output == "softmax" else 1
    shape = flat.outputs[0].shape
    if len(shape) != 2 or shape[-1] != width:
        raise UnsuitableModel(
            f"its output has the shape {tuple(shape)}, not (batch, {width}) as for a {output}",
            subject=model.name,
            next_step='Give load_model(..., output="logit" | "probability" | "softmax"), or another model.',
        )
    # Not layers[-1]: what ends a graph may be an operation such as keras.ops.sigmoid, which is no layer.
    last = flat.outputs[0]._keras_history.operation
    own = getattr(last, "activation", None)
    activation = _activation(last)
    expected = {"logit": "linear", "probability": "sigmoid", "softmax": "softmax"}[output]
    out = flat.outputs[0]
    if output == "logit":
        if activation in ("sigmoid", "softmax") or (own is not None and activation != "linear"):
            other = {"sigmoid": "probability", "softmax": "softmax"}.get(activation)
            raise UnsuitableModel(
                f"it ends in a {activation}, so its output is no logit",
                subject=model.name,
                next_step=f'Give load_model(..., output="{other}").'
                if other
                else "Save it with a linear or sigmoid end.",
            )
    elif activation != expected:
        raise UnsuitableModel(
            f"it ends in {activation}, not in a {expected}",
            subject=model.name,
            next_step="Say what its output is: logit, probability or softmax.",
        )
    elif isinstance(last, layers.Activation) or own is None:
        out = last.input
    else:
        last.activation = keras.activations.linear
    if output == "softmax":
        # log p1 - log p0 = z1 - z0
        sign = 1.0 if positive_class == "fake" else -1.0
        difference = layers.Dense(1, use_bias=False, dtype="float32", name="fake_minus_real")
        out = difference(out)
        difference.set_weights([np.array([[-sign], [sign]], np.float32)])
    elif positive_class == "real":
        out = layers.Rescaling(-1.0, dtype="float32", name="real_to_fake")(out)
    if out is flat.outputs[0]:
        return flat
    return keras.Model(flat.inputs[0], out, name=flat.name)


def spatial_cut_layer(model: keras.Model) -> str:
    """Name of the deepest layer whose output is a map with more than one cell and that every path crosses.

    Grad-CAM at such a layer accounts for the whole score: nothing reaches the logit around it.
    For EfficientNet that is the activation after the last convolution.

    Raises
    ------
    UnsuitableModel
        There is none: some path without a map leads from the input to the output.
    """
    parents, uses = _graph(model)
    for layer in reversed(model.layers):
        shape = getattr(layer.output, "shape", ())
        # A layer that is used twice has two maps, and one alone does not account for the score.
        if len(shape) != 4 or 1 in shape[1:3] or not parents[id(layer)] or uses[id(layer)] > 1:
            continue
        if not _reaches_input(model, parents, without=layer):
            return layer.name
    raise UnsuitableModel(
        "no layer with a map is crossed by all evidence",
        subject=model.name,
        next_step="Name a layer: explain(..., layer=...).",
    )


def is_cut(model: keras.Model, layer_name: str) -> bool:
    """Whether every path from the input to the output crosses this layer, and crosses it once."""
    parents, uses = _graph(model)
    layer = model.get_layer(layer_name)
    return uses[id(layer)] == 1 and not _reaches_input(model, parents, without=layer)


def _graph(model: keras.Model) -> tuple[dict[int, set[int]], Counter[int]]:
    """For each operation of the graph (by ``id``): the operations it takes its input from, and its uses."""
    parents: dict[int, set[int]] = {}
    uses: Counter[int] = Counter()
    for node in (node for nodes in model._nodes_by_depth.values() for node in nodes):
        uses[id(node.operation)] += 1
        origins = {id(tensor._keras_history.operation) for tensor in node.input_tensors}
        # Keras lists an input as its own origin.
        parents.setdefault(id(node.operation), set()).update(origins - {id(node.operation)})
    return parents, uses


def _reaches_input(model: keras.Model, parents: dict[int, set[int]], without) -> bool:
    waiting, seen = [id(model.outputs[0]._keras_history.operation)], {id(without)}
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        if not parents[key]:
            return True
        waiting.extend(parents[key])
    return False


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
