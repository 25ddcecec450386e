"""Translate a Keras 2 configuration to a Keras 3 one; both are plain JSON.

Only layers and operations with a Keras 3 counterpart that computes the same are translated
(:mod:`.keras2_layers`, :mod:`.keras2_operations`); any other is refused by name. Nothing is built or run.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Container
from dataclasses import dataclass, field
from typing import Any

from ...errors import NotAModel
from .allowlist import not_allowed
from .keras2_layers import MERGE_LAYERS, translate_layer
from .keras2_operations import (
    OPERATIONS,
    is_reference,
    keras3_name,
    keras3_reference,
    keras_tensor,
    translate_operation,
)

_MODELS = {"Functional": "Functional", "Model": "Functional", "Sequential": "Sequential"}
_MODULE = re.compile(r"(tensorflow\.python\.)?(tf_keras|keras)(\.\w+)*")
# Custom classes of published models that do the same as a Keras layer.
_KNOWN_CUSTOM = {"FixedDropout": "Dropout"}


@dataclass
class Translation:
    """A Keras 3 configuration, and where the file keeps the weights of its layers.

    Parameters
    ----------
    config
        The Keras 3 configuration.
    weight_groups
        For ``.keras`` files of Keras 2.15: group of the HDF5 file, by the names of the nested models and the
        layer.
    keras2_names
        Layer names in Keras 2, which may have a slash, by those in ``config``.
    """

    config: dict[str, Any]
    weight_groups: dict[tuple[str, ...], str] = field(default_factory=dict)
    keras2_names: dict[str, str] = field(default_factory=dict)


def translate(config: dict[str, Any], subject: object, trust: bool = False) -> Translation:
    """Translate the configuration of a Keras 2 model.

    Parameters
    ----------
    config
        ``{"class_name": "Functional" or "Sequential", "config": {...}}``.
    subject
        What error messages name.
    trust
        Translate Lambda layers too, with their code.

    Raises
    ------
    UnsafeModel
        Names a class that cannot be translated.
    NotAModel
        An invalid configuration, or a setting without a counterpart in Keras 3.
    """
    result = Translation({})
    try:
        result.config = _model(config, (), "", result, subject, trust)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise NotAModel(
            f"its Keras 2 configuration cannot be read ({type(error).__name__}: {str(error)[:120]})",
            subject=subject,
            next_step="Save the model again, or convert it to .keras with the Keras version that made it.",
        ) from error
    return result


def snake_case(name: str) -> str:
    """Convert a class name as Keras names groups of weights: ``DepthwiseConv2D`` -> ``depthwise_conv2d``."""
    name = re.sub(r"\W+", "", name)
    name = re.sub("(.)([A-Z][a-z]+)", r"\1_\2", name)
    return re.sub("([a-z])([A-Z])", r"\1_\2", name).lower()


def _model(
    data: dict[str, Any],
    path: tuple[str, ...],
    parent_group: str,
    result: Translation,
    subject: object,
    trust: bool,
) -> dict[str, Any]:
    """Translate a model; ``path`` and ``parent_group`` say where it is nested. Fills ``result``."""
    kind = _MODELS.get(_class_name(data, subject))
    if kind is None:
        raise not_allowed(str(data.get("class_name")), "is not a Keras model", subject)
    config = data["config"]
    if isinstance(config, list):  # Sequential before Keras 2.2.3
        config = {"name": data.get("name", "sequential"), "layers": config}
    layers = config["layers"]
    if kind == "Sequential":
        layers = _with_input(layers, config.get("build_input_shape"))
    used: Counter[str] = Counter()
    translated, taken = [], set()
    nested = {
        _own_name(layer): _MODELS[layer["class_name"]]
        for layer in layers
        if layer.get("class_name") in _MODELS
    }
    for layer in layers:
        old = _own_name(layer)
        name = keras3_name(old)
        if name in taken:
            raise ValueError(f"two layers are called {name}")
        taken.add(name)
        result.keras2_names[name] = old
        class_name = _class_name(layer, subject)
        group = snake_case(class_name)
        used[group] += 1
        if used[group] > 1:
            group += f"_{used[group] - 1}"
        group = f"{parent_group}layers/{group}"
        if class_name in _MODELS:
            new = _model(layer, (*path, name), f"{group}/", result, subject, trust)
        elif class_name in OPERATIONS:
            new = {"class_name": class_name, "config": layer["config"]}
        else:
            new = translate_layer(class_name, layer["config"], subject, trust)
            inside = (name,) if new["class_name"] == "Sequential" else ()
            if class_name != "InputLayer":
                result.weight_groups[(*path, name, *inside)] = group
        if kind == "Functional":
            nodes = [_entries(node) for node in layer.get("inbound_nodes", ())]
            if class_name in OPERATIONS:
                new = translate_operation(layer["config"], nodes, nested, subject)
            else:
                many = class_name in MERGE_LAYERS
                new["inbound_nodes"] = [_call(node, many, nested, name) for node in nodes]
            new["name"] = name
        if "config" in new:
            new["config"]["name"] = name
        translated.append(new)
    model_name = keras3_name(str(config.get("name", "model")))
    new_config: dict[str, Any] = {"name": model_name, "trainable": True, "layers": translated}
    if kind == "Functional":
        for end in ("input_layers", "output_layers"):
            ends = config[end]
            ends = [ends] if is_reference(ends) else ends
            # Keras 3 itself shifts these ends, and only these, for functional models.
            inner = {layer for layer, kind in nested.items() if kind == "Sequential"}
            ends = [keras3_reference(entry, inner) for entry in ends]
            # With a list of one, the model would take and return lists.
            new_config[end] = ends[0] if len(ends) == 1 else ends
    module = "keras" if kind == "Sequential" else "keras.src.models.functional"
    return {"module": module, "class_name": kind, "config": new_config, "registered_name": kind}


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
        raise not_allowed(str(name), "is not a class name", subject)
    if name in _KNOWN_CUSTOM:
        return _KNOWN_CUSTOM[name]
    if module is not None and _MODULE.fullmatch(str(module)) is None:
        raise not_allowed(f"{module}.{name}", "is not a Keras class that a model may consist of", subject)
    if registered not in (None, name):
        raise not_allowed(str(registered), "is a custom class", subject)
    return name


def _with_input(layers: list[dict[str, Any]], shape: Any) -> list[dict[str, Any]]:
    """Prepend an InputLayer to a Sequential's layers; Keras 2 may keep the input shape in the first layer."""
    if layers and layers[0]["class_name"] != "InputLayer":
        first = layers[0]["config"]
        shape = first.get("batch_input_shape", shape) if isinstance(first, dict) else shape
        if shape is not None:
            config = {"name": f"{first.get('name', 'face')}_input", "batch_input_shape": shape}
            return [{"class_name": "InputLayer", "config": config}, *layers]
    return layers


def _entries(node: list[Any]) -> list[list[Any]]:
    """Return the inputs of one call as a list of ``[layer, call, output, options]``."""
    return [node] if node and isinstance(node[0], str) else node


def _call(node: list[list[Any]], many: bool, nested: Container[str], name: str) -> dict[str, Any]:
    """Translate one call of a layer; ``many`` tells whether it takes a list of tensors."""
    tensors = [keras_tensor(keras3_reference(entry, nested)) for entry in node]
    for entry in node:
        options = entry[3] if len(entry) > 3 else {}
        # The model runs in inference mode, whatever a call says about training.
        unknown = {key for key, value in options.items() if key not in ("training",) and value is not None}
        if unknown:
            raise ValueError(f"{name} is called with {', '.join(sorted(unknown))}")
    if not many and len(tensors) != 1:
        raise ValueError(f"{name} is called with {len(tensors)} inputs")
    return {"args": [tensors if many else tensors[0]], "kwargs": {}}
