"""Read what a binary network returns, and make one logit of it that means fake.

A final sigmoid or softmax is removed rather than inverted: the logit of a probability that has been rounded
to 1 is lost, and so is its gradient.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import UnsuitableModel
from .graph import flatten

if TYPE_CHECKING:
    import keras

    from .card import Output, PositiveClass

# Final activation -> kind of output. Of log_softmax columns the difference is the same as of softmax inputs.
_OUTPUTS: dict[str, Output] = {
    "linear": "logit",
    "sigmoid": "probability",
    "softmax": "softmax",
    "log_softmax": "softmax",
    "logsoftmax": "softmax",
}
# Activations with a bounded range: what is computed from their values without weights is no logit.
_BOUNDED = {"sigmoid", "softmax", "log_softmax", "logsoftmax", "tanh", "softsign"}
_BOUNDED |= {"hard_sigmoid", "hardsigmoid", "hard_tanh", "hardtanh"}
# With other activations that may be layers or operations of their own.
_NO_LOGIT = _BOUNDED | {
    "relu",
    "relu6",
    "leakyrelu",
    "prelu",
    "elu",
    "selu",
    "silu",
    "gelu",
    "softplus",
    "exp",
}
# Layers and operations that pass values on as they are, perhaps in another shape.
_PASSING_ON = {
    "Cast",
    "Copy",
    "Dropout",
    "ExpandDims",
    "Flatten",
    "Identity",
    "Permute",
    "Ravel",
    "Reshape",
    "SpatialDropout2D",
    "Squeeze",
    "StopGradient",
}


class _Ending(NamedTuple):
    """The operation that computes a network's output, its activation's name, and the number of columns."""

    operation: Any
    activation: str
    columns: int


def infer_output(model: keras.Model) -> Output:
    """Infer from a model's last activation whether it returns a probability, a softmax or a logit."""
    return _OUTPUTS.get(_activation_name(_last_operation(model.outputs[0])), "logit")


def as_logit_model(
    model: keras.Model,
    output: Output,
    positive_class: PositiveClass,
    input_size: int | None = None,
    frames: int | None = None,
) -> keras.Model:
    """Copy a binary model into a flat one with one logit per face, positive for fake.

    Two columns give one logit: for a softmax, and for two logits (trained with ``from_logits=True``), the
    second minus the first, which is the logit of the softmax; for two sigmoids half of that, the mean of what
    the columns say about the second class. All three are positive where the second column is the larger one.

    Parameters
    ----------
    output
        ``"logit"`` (one column, or two before a softmax), ``"probability"`` (one sigmoid, or one for each
        class) or ``"softmax"`` (two columns). Of two columns the second is the positive class.
    positive_class
        ``"fake"`` or ``"real"``.
    input_size
        Side of the input in pixels, for a model that leaves it open.
    frames
        Number of frames, for a model that takes several at once and leaves it open.

    Returns
    -------
    keras.Model
        (N, H, W, 3) or (N, T, H, W, 3) -> (N, 1) float32.

    Raises
    ------
    UnsuitableModel
        The output's shape or last activation is not that of a binary model, or not what ``output`` says.
    """
    import keras

    layers = keras.layers
    flat = flatten(model, input_size, frames)
    end = _ending(flat, output)
    sign = 1.0 if positive_class == "fake" else -1.0
    out = flat.outputs[0]
    if end.activation != "linear":
        if isinstance(end.operation, layers.Activation) or not hasattr(end.operation, "activation"):
            out = end.operation.input
        else:
            end.operation.activation = keras.activations.linear
            out = end.operation.output
    if len(out.shape) != 2:
        out = layers.Reshape((end.columns,), name="columns")(out)
    if end.columns == 2:
        # log p1 - log p0 = z1 - z0
        weight = sign / 2 if end.activation == "sigmoid" else sign
        difference = layers.Dense(1, use_bias=False, dtype="float32", name="fake_minus_real")
        out = difference(out)
        difference.set_weights([np.array([[-weight], [weight]], np.float32)])
    elif positive_class == "real":
        out = layers.Rescaling(-1.0, dtype="float32", name="real_to_fake")(out)
    if out is flat.outputs[0]:
        return flat
    return keras.Model(flat.inputs[0], out, name=flat.name)


def _ending(flat: keras.Model, output: Output) -> _Ending:
    """Return how a flat model ends, after checking that it is a binary model's end and what is claimed."""
    operation = _last_operation(flat.outputs[0])
    activation = _activation_name(operation)
    columns = _columns(flat)
    last = f"it ends in {activation}"
    if activation == "softmax" and columns == 1:
        raise UnsuitableModel(
            "it ends in a softmax of one column, which is 1 for every image",
            subject=flat.name,
            next_step="Train it with a sigmoid, or with two columns.",
        )
    if activation not in _OUTPUTS:
        if hasattr(operation, "activation") or activation in _NO_LOGIT:
            raise UnsuitableModel(
                f"{last}, which gives neither a logit nor a probability",
                subject=flat.name,
                next_step="Save it with a linear, sigmoid or softmax output.",
            )
        if bounded := _bounded_source(operation):
            raise UnsuitableModel(
                f"its output is computed from the values of {bounded} by {operation.name}, so it is no logit",
                subject=flat.name,
                next_step=f"Save the model up to {bounded}; of several joined models, each on its own.",
            )
        activation = "linear"
    found = _OUTPUTS[activation]
    if found != output:
        raise UnsuitableModel(
            f"{last}, so its output is a {found}, not a {output}",
            subject=flat.name,
            next_step=f'Give output="{found}", or leave output out, since it is inferred.',
        )
    return _Ending(operation, activation, columns)


def _columns(flat: keras.Model) -> int:
    """Return the number of values per face, 1 or 2."""
    shape = tuple(flat.outputs[0].shape[1:])
    columns = shape[-1] if shape else 1
    if None not in shape and math.prod(shape[:-1]) == 1 and columns in (1, 2):
        return columns
    if len(shape) == 3 and shape != (1, 1, columns):
        what, step = (
            f"a map of {shape[0]} x {shape[1]} values (shape {(None, *shape)}), not one score per face",
            "Use a classifier, or add a GlobalAveragePooling2D layer before its last activation.",
        )
    elif len(shape) == 2 and columns in (1, 2) and len(flat.inputs[0].shape) == 5:
        what, step = (
            f"one score for each of {shape[0]} frames (shape {(None, *shape)}), not one for all",
            "Let the last recurrent layer return only its last output (return_sequences=False), or add a "
            "GlobalAveragePooling1D layer before the last Dense layer.",
        )
    elif columns is not None and columns > 2 and math.prod(shape[:-1]) == 1:
        what, step = (
            f"{columns} values (shape {(None, *shape)}), and a model for real and fake has one or two",
            "Use a model with two classes. Of one with several kinds of fakes, build in Keras a model that "
            "ends in a single logit, and give it to Classifier(model, Card(...)).",
        )
    else:
        what, step = f"the shape {(None, *shape)}, not one or two values", "Use a model with such an output."
    raise UnsuitableModel(f"its output has {what}", subject=flat.name, next_step=step)


def _last_operation(tensor: Any) -> Any:
    """Return the operation that computed a tensor's values, inside nested models and before reshaping."""
    import keras

    while True:
        history = tensor._keras_history
        operation = history.operation
        if isinstance(operation, keras.Model):
            tensor = operation.outputs[history.tensor_index]
        elif passes_on(operation):
            tensor = operation.input
        else:
            return operation


def passes_on(operation: Any) -> bool:
    """Tell whether a layer or operation passes values on as they are, perhaps in another shape."""
    name = type(operation).__name__
    return name in _PASSING_ON or (name == "Activation" and _activation_name(operation) == "linear")


def _activation_name(operation: Any) -> str:
    """Return the name of an operation's activation; its own name if it has none."""
    own = getattr(operation, "activation", None)
    if own is None:
        return "linear" if hasattr(operation, "activation") else type(operation).__name__.lower()
    return getattr(own, "__name__", type(own).__name__.lower())


def _bounded_source(operation: Any) -> str | None:
    """Name a sigmoid or the like whose values alone an operation combines, without weights; else None."""
    found, waiting, seen = [], [operation], set()
    while waiting:
        operation = waiting.pop()
        if id(operation) in seen:
            continue
        seen.add(id(operation))
        activation = _activation_name(operation)
        if activation in _BOUNDED:
            found.append(f"{operation.name} ({activation})")
            continue
        inputs = _origins(operation)
        if not inputs or getattr(operation, "weights", None) or hasattr(operation, "activation"):
            return None
        waiting.extend(inputs)
    return found[0] if found else None


def _origins(operation: Any) -> list[Any]:
    """Return the operations that made an operation's inputs; none for the input of the network."""
    import keras

    if isinstance(operation, keras.layers.InputLayer):
        return []
    try:
        tensors = operation.input
    except (AttributeError, ValueError):  # called several times
        return []
    return [tensor._keras_history.operation for tensor in keras.tree.flatten(tensors)]
