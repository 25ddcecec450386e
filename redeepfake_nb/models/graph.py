"""Rewrite and read Keras graphs: flatten nested models, find the layer for Grad-CAM.

Keras has no public interface for several of these steps; ``tests/models/test_keras_internals.py`` lists the
private ones that the package uses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from ..errors import UnsuitableModel, displayable
from .serialization.weights import finalize_state

if TYPE_CHECKING:
    import keras


def flatten(model: keras.Model, input_size: int | None = None, frames: int | None = None) -> keras.Model:
    """Copy a model into one graph without nested models; layers and weights are copied, outputs are equal.

    Grad-CAM needs gradients with respect to a layer's output inside the graph; a nested model hides its
    layers behind one node. Where an inner and an outer layer share a name, the inner one is called
    ``<inner model>_<layer>``. Layers in half precision are copied in float32.

    What ``TimeDistributed`` holds is flattened, too: the frames of a window are moved into the batch, pass
    through its layers as single pictures do, and are moved back. Recurrent layers lose ``stateful``, since a
    score must not depend on the batch before.

    Parameters
    ----------
    input_size
        Height and width in pixels of an input whose sides are ``None``.
    frames
        Number of frames of an input that leaves it open.

    Raises
    ------
    UnsuitableModel
        A subclassed model, whose graph is code and cannot be read; or several inputs or outputs.
    """
    import keras

    copies: dict[int, tuple[keras.layers.Layer, keras.layers.Layer]] = {}
    taken: set[str] = set()

    def copy(layer: keras.layers.Layer, prefix: str) -> keras.layers.Layer:
        if id(layer) not in copies:
            config = _stateless(layer.get_config())
            policy = getattr(layer, "dtype_policy", None)
            if "dtype" in config and getattr(policy, "compute_dtype", None) in ("bfloat16", "float16"):
                # Trained in mixed precision; scores and gradients are computed in full precision.
                config["dtype"] = "float32"
            name = layer.name if layer.name not in taken else f"{prefix}{layer.name}"
            while name in taken:
                name += "_"
            taken.add(name)
            if "name" in config:
                config["name"] = name
            if isinstance(layer, keras.layers.Lambda):
                # Occurs only in models that were loaded with trust=True; from_config would refuse it again.
                arguments = {key: config[key] for key in ("name", "arguments") if key in config}
                copies[id(layer)] = layer, keras.layers.Lambda(layer.function, **arguments)
            else:
                copies[id(layer)] = layer, layer.__class__.from_config(config)
        return copies[id(layer)][1]

    def call_flat(node: keras.Model, inputs: Any, prefix: str) -> Any:
        if isinstance(node, keras.Sequential):
            x = inputs
            for layer in node.layers:
                x = operation_for(layer, prefix)(x)
            return x
        if not isinstance(node, keras.src.models.functional.Functional):
            raise _subclassed(node)
        return node._run_through_graph(inputs, operation_fn=lambda op: operation_for(op, prefix))

    def operation_for(op: Any, prefix: str) -> Any:
        if isinstance(op, keras.Model):
            return lambda x, **_: call_flat(op, x, f"{prefix}{op.name}_")
        if isinstance(op, keras.layers.TimeDistributed):
            return lambda x, **_: call_on_frames(op, x, prefix)
        return copy(op, prefix)

    def call_on_frames(op: Any, x: Any, prefix: str) -> Any:
        if None in x.shape[1:] or getattr(x, "_keras_mask", None) is not None:
            return copy(op, prefix)(x)  # a mask would be lost on the way through the batch
        frames, *shape = x.shape[1:]
        y = operation_for(op.layer, prefix)(reshape(x, (-1, *shape), f"{op.name}_frames"))
        return reshape(y, (-1, frames, *y.shape[1:]), f"{op.name}_windows")

    def reshape(x: Any, shape: tuple[int, ...], name: str) -> Any:
        operation = keras.src.ops.numpy.Reshape(shape)
        while name in taken:
            name += "_"
        taken.add(name)
        operation.name = name
        return operation(x)

    known = getattr(model, "inputs", None) if getattr(model, "built", False) else None
    if not known:
        raise _subclassed(model)
    if len(known) != 1:
        raise UnsuitableModel(
            f"it has {len(known)} inputs, not one",
            subject=model.name,
            next_step="Use a model that takes one face image, or one window of frames.",
        )
    (tensor,) = known
    image = keras.Input(
        _fix_sides(tensor.shape[1:], input_size, frames), dtype=tensor.dtype, name=_input_name(tensor)
    )
    taken.add(image.name)
    returned = call_flat(model, image, "")
    outputs = keras.tree.flatten(returned)
    if len(outputs) != 1:
        known_as = sorted(returned) if isinstance(returned, dict) else model.output_names
        names = ", ".join(displayable(name, 40) for name in known_as[:6])
        raise UnsuitableModel(
            f"it has {len(outputs)} outputs, not one: {names}",
            subject=model.name,
            next_step="Save it with the real/fake score alone: "
            "keras.Model(model.inputs, model.outputs[0]).save('one.keras'), with the number of that output.",
        )
    flat = keras.Model(image, outputs[0], name=model.name)
    for layer, twin in copies.values():
        if getattr(layer, "weights", None):
            twin.set_weights(layer.get_weights())
            finalize_state(twin)
    return flat


def _subclassed(model: keras.Model) -> UnsuitableModel:
    return UnsuitableModel(
        "it is a subclassed model or has no input yet, so its layers cannot be seen from outside",
        subject=model.name,
        next_step="Build it with the functional API and a keras.Input, and save it again.",
    )


def _stateless(config: Any) -> Any:
    """Return the configuration of a layer in which no recurrent layer keeps its state between batches."""
    if isinstance(config, list):
        return [_stateless(value) for value in config]
    if not isinstance(config, dict):
        return config
    return {key: False if key == "stateful" else _stateless(value) for key, value in config.items()}


def _fix_sides(shape: tuple[int | None, ...], size: int | None, frames: int | None) -> tuple[int | None, ...]:
    """Fill in what an input's shape, (H, W, C) or (T, H, W, C), leaves open."""
    if len(shape) not in (3, 4):
        return shape
    filled = tuple(size if side is None else side for side in shape[-3:-1])
    return tuple(frames if side is None else side for side in shape[:-3]) + filled + tuple(shape[-1:])


def _input_name(tensor: keras.KerasTensor) -> str:
    return tensor.name.split(":")[0] if tensor.name else "face"


def spatial_cut_layer(model: keras.Model) -> str:
    """Return the name of the deepest layer with a spatial feature map that every path passes through.

    A feature map is computed with weights: pixels that are only scaled are none.

    Grad-CAM at such a layer accounts for the whole score: nothing reaches the logit around it. For
    EfficientNet that is the activation after the last convolution. The map has more than one row and column.

    Raises
    ------
    UnsuitableModel
        There is none: some path from the input to the output bypasses every feature map.
    """
    parents, uses = _graph(model)
    for layer in reversed(model.layers):
        # A layer that is used twice has two maps, and one alone does not account for the score.
        if not _is_map(layer) or uses[id(layer)] > 1 or not _is_learnt(layer, model, parents):
            continue
        if not _reaches_input(model, parents, without=layer):
            return layer.name
    maps = [x.name for x in model.layers if _is_map(x) and _is_learnt(x, model, parents)]
    named = f", or name a layer with a feature map, such as {', '.join(maps[-3:])} (layer)" if maps else ""
    raise UnsuitableModel(
        "it has no spatial feature map that the whole score passes through, so it has no such heatmap",
        subject=model.name,
        next_step=f"Choose saliency, which needs none{named}.",
    )


def _is_map(layer: keras.layers.Layer) -> bool:
    """Tell whether a layer's output is a feature map with several rows and columns.

    Its shape is (N, h, w, channels), or (N, frames, h, w, channels).
    """
    shape = getattr(layer.output, "shape", ())
    return len(shape) in (4, 5) and 1 not in shape[-3:-1]


def _is_learnt(layer: keras.layers.Layer, model: keras.Model, parents: dict[int, set[int]]) -> bool:
    """Tell whether a layer, or one before it, has a kernel; statistics of a normalisation are none."""
    kernels = {id(x) for x in model.operations if any(len(w.shape) > 1 for w in getattr(x, "weights", ()))}
    return bool(kernels & _ancestors(id(layer), parents))


def _ancestors(key: int, parents: dict[int, set[int]]) -> set[int]:
    """Return the operations that an operation's output depends on, itself included."""
    found, waiting = set(), [key]
    while waiting:
        key = waiting.pop()
        if key not in found:
            found.add(key)
            waiting.extend(parents[key])
    return found


def input_layer(model: keras.Model) -> str:
    """Return the name of the layer that stands for a model's (first) input."""
    return str(model.inputs[0]._keras_history.operation.name)


def cut_operations(model: keras.Model) -> Iterator[Any]:
    """Yield the operations that every path from the input to the output passes through once, deepest first.

    They may be layers or plain operations, such as the sum of a skip connection, and have weights before
    them, since pixels that are only scaled say nothing of what was learned.
    """
    parents, uses = _graph(model)
    for operation in reversed(model.operations):
        if uses[id(operation)] > 1 or not parents[id(operation)]:
            continue
        if _is_learnt(operation, model, parents) and not _reaches_input(model, parents, without=operation):
            yield operation


def as_in_inference(operation: Any) -> Callable[..., Any]:
    """Return a layer or plain operation of a graph as a function that calls it as in inference.

    Called alone, Keras's layers for augmentation (``RandomFlip`` and the like) act as in training.
    """
    import keras

    if isinstance(operation, keras.layers.Layer):
        return lambda *args, **kwargs: operation(*args, **{**kwargs, "training": False})
    return operation


def operation_named(model: keras.Model, name: str) -> Any:
    """Return a flat model's layer or plain operation of that name.

    Raises
    ------
    KeyError
        There is none.
    """
    return {operation.name: operation for operation in model.operations}[name]


def is_cut(model: keras.Model, layer_name: str) -> bool:
    """Tell whether every path from the input to the output passes through this layer, and does so once."""
    parents, uses = _graph(model)
    layer = operation_named(model, layer_name)
    return uses[id(layer)] == 1 and not _reaches_input(model, parents, without=layer)


def _graph(model: keras.Model) -> tuple[dict[int, set[int]], Counter[int]]:
    """Map the ``id`` of each operation to those of its predecessors, and to the number of its calls."""
    parents: dict[int, set[int]] = {}
    uses: Counter[int] = Counter()
    for node in (node for nodes in model._nodes_by_depth.values() for node in nodes):
        uses[id(node.operation)] += 1
        origins = {id(tensor._keras_history.operation) for tensor in node.input_tensors}
        # Keras lists an input as its own origin.
        parents.setdefault(id(node.operation), set()).update(origins - {id(node.operation)})
    return parents, uses


def _reaches_input(model: keras.Model, parents: dict[int, set[int]], without: keras.layers.Layer) -> bool:
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
