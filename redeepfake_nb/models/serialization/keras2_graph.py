"""Keras 2 configurations -> the same graph in Keras 3, as plain JSON on both sides.

Only layers and operations whose Keras 3 twin computes the same are translated (:mod:`.legacy_layers`,
:mod:`.legacy_operations`); any other is refused by name. Nothing is built or run here.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from ...errors import NotAModel
from .allowlist import refusal
from .keras2_layers import MERGING, translate_layer
from .keras2_operations import OPERATIONS, in_keras_3, is_place, shifted, tensor, translate_operation

_MODELS = {"Functional": "Functional", "Model": "Functional", "Sequential": "Sequential"}
_MODULE = re.compile(r"(tensorflow\.python\.)?(tf_keras|keras)(\.\w+)*")
# Own classes that many published models carry and that do nothing but a Keras layer's work.
_KNOWN_FOREIGN = {"FixedDropout": "Dropout"}


@dataclass
class Translated:
    """A Keras 3 configuration, and where Keras 2.15 keeps the weights of its layers in a ``.keras`` file.

    ``places`` maps a layer, named by the way to it through nested models, to its group of the HDF5 file.
    ``names`` maps layers' names to those in Keras 2, which may have a slash.
    """

    config: dict[str, Any]
    places: dict[tuple[str, ...], str] = field(default_factory=dict)
    names: dict[str, str] = field(default_factory=dict)


def translate(config: dict[str, Any], subject: object, trust: bool = False) -> Translated:
    """Write a Keras 2 model as a Keras 3 one.

    Parameters
    ----------
    config
        ``{"class_name": "Functional" or "Sequential", "config": {...}}``.
    subject
        For messages.
    trust
        Translate Lambda layers too, whose code then stands in the result.

    Raises
    ------
    UnsafeModel
        A class that is not on the lists, by name.
    NotAModel
        A configuration that makes no sense, or a setting without a counterpart in Keras 3.
    """
    result = Translated({})
    try:
        result.config = _model(config, (), "", result, subject, trust)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NotAModel(
            f"its Keras 2 configuration cannot be read ({type(error).__name__}: {str(error)[:120]})",
            subject=subject,
            next_step="Save the model again, or convert it to .keras with the Keras it was made with.",
        ) from error
    return result


def snake_case(name: str) -> str:
    """``DepthwiseConv2D`` -> ``depthwise_conv2d``, as Keras names groups of weights."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _model(
    data: dict[str, Any],
    way: tuple[str, ...],
    place: str,
    result: Translated,
    subject: object,
    trust: bool,
) -> dict[str, Any]:
    kind = _MODELS.get(_class_name(data, subject))
    if kind is None:
        raise refusal(str(data.get("class_name")), "is no model of Keras", subject)
    config = data["config"]
    if isinstance(config, list):  # Sequential before Keras 2.2.3
        config = {"name": data.get("name", "sequential"), "layers": config}
    layers = config["layers"]
    if kind == "Sequential":
        layers = _with_input(layers, config.get("build_input_shape"))
    made, used, taken = [], Counter(), set()
    nested = {
        _own_name(layer): _MODELS[layer["class_name"]]
        for layer in layers
        if layer.get("class_name") in _MODELS
    }
    for layer in layers:
        old = _own_name(layer)
        name = in_keras_3(old)
        if name in taken:
            raise ValueError(f"two layers are called {name}")
        taken.add(name)
        result.names[name] = old
        class_name = _class_name(layer, subject)
        group = snake_case(class_name)
        used[group] += 1
        if used[group] > 1:
            group += f"_{used[group] - 1}"
        here = f"{place}layers/{group}"
        if class_name in _MODELS:
            new = _model(layer, (*way, name), f"{here}/", result, subject, trust)
        elif class_name in OPERATIONS:
            new = {"class_name": class_name, "config": layer["config"]}
        else:
            new = translate_layer(class_name, layer["config"], subject, trust)
            inside = (name,) if new["class_name"] == "Sequential" else ()
            if class_name != "InputLayer":
                result.places[(*way, name, *inside)] = here
        if kind == "Functional":
            nodes = [_entries(node) for node in layer.get("inbound_nodes", ())]
            if class_name in OPERATIONS:
                new = translate_operation(layer["config"], nodes, nested, subject)
            else:
                many = class_name in MERGING
                new["inbound_nodes"] = [_call(node, many, nested, name) for node in nodes]
            new["name"] = name
        if "config" in new:
            new["config"]["name"] = name
        made.append(new)
    model_name = in_keras_3(str(config.get("name", "model")))
    written: dict[str, Any] = {"name": model_name, "trainable": True, "layers": made}
    if kind == "Functional":
        for end in ("input_layers", "output_layers"):
            ends = config[end]
            ends = [ends] if is_place(ends) else ends
            # Keras 3 itself shifts these ends, and only these, for functional models.
            inner = {layer for layer, kind in nested.items() if kind == "Sequential"}
            ends = [shifted(entry, inner) for entry in ends]
            # A list of one would make the model ask for a list, and give one.
            written[end] = ends[0] if len(ends) == 1 else ends
    module = "keras" if kind == "Sequential" else "keras.src.models.functional"
    return {"module": module, "class_name": kind, "config": written, "registered_name": kind}


def _own_name(layer: dict[str, Any]) -> str:
    config = layer["config"]
    name = config.get("name") if isinstance(config, dict) else None
    name = layer.get("name") if name is None else name
    if not isinstance(name, str):
        raise ValueError("a layer has no name")
    return name


def _class_name(data: dict[str, Any], subject: object) -> str:
    name, module, registered = (data.get(key) for key in ("class_name", "module", "registered_name"))
    if not isinstance(name, str):
        raise refusal(str(name), "is no name", subject)
    if name in _KNOWN_FOREIGN:
        return _KNOWN_FOREIGN[name]
    if module is not None and _MODULE.fullmatch(str(module)) is None:
        raise refusal(f"{module}.{name}", "is not a part of Keras that a model is made of", subject)
    if registered not in (None, name):
        raise refusal(str(registered), "is its author's own class", subject)
    return name


def _with_input(layers: list[dict[str, Any]], shape: Any) -> list[dict[str, Any]]:
    """A Sequential's layers with the input as one of them; Keras 2 may keep its shape in the first layer."""
    if layers and layers[0]["class_name"] != "InputLayer":
        first = layers[0]["config"]
        shape = first.get("batch_input_shape", shape) if isinstance(first, dict) else shape
        if shape is not None:
            config = {"name": f"{first.get('name', 'face')}_input", "batch_input_shape": shape}
            return [{"class_name": "InputLayer", "config": config}, *layers]
    return layers


def _entries(node: list[Any]) -> list[list[Any]]:
    """What one call was given: a list of ``[layer, call, output, options]``."""
    return [node] if node and isinstance(node[0], str) else node


def _call(node: list[list[Any]], many: bool, nested: Container[str], name: str) -> dict[str, Any]:
    """One call of a layer in Keras 3's words."""
    tensors = [tensor(shifted(entry, nested)) for entry in node]
    for entry in node:
        options = entry[3] if len(entry) > 3 else {}
        # Scores are taken in inference, whatever a call said of training.
        unknown = {key for key, value in options.items() if key not in ("training",) and value is not None}
        if unknown:
            raise ValueError(f"{name} is called with {', '.join(sorted(unknown))}")
    if not many and len(tensors) != 1:
        raise ValueError(f"{name} is called with {len(tensors)} inputs")
    return {"args": [tensors if many else tensors[0]], "kwargs": {}}
