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

from ...errors import NotAModel, displayable
from ...utils.numeric import is_finite_number
from .allowlist import (
    APPLICATION_CLASSES,
    CUSTOM_CLASS,
    UNKNOWN_CLASS,
    not_allowed,
    registered_class,
)
from .keras2_layers import (
    MERGE_LAYERS,
    RECURRENT,
    WRAPPERS,
    is_keras_layer,
    translate_custom,
    translate_layer,
)
from .keras2_operations import (
    OPERATIONS,
    is_reference,
    keras3_name,
    keras3_reference,
    keras_tensor,
    translate_operation,
)
from .weights import Attribute

_MODELS = {"Functional": "Functional", "Model": "Functional", "Sequential": "Sequential"}
_MODULE = re.compile(r"(tensorflow\.python\.)?(tf_keras|keras)(\.\w+)*")
# Classes that do the same in inference as a Keras layer: of published models, for several GPUs, and of
# TensorFlow 1.
_ALIASES = {
    "FixedDropout": "Dropout",
    **dict.fromkeys(
        ("SyncBatchNormalization", "BatchNormalizationV1", "BatchNormalizationV2"), "BatchNormalization"
    ),
}
# Keras 2 registers these, and no others of its own, under a package.
_REGISTERED = {f"Custom>{name}" for name in (*APPLICATION_CLASSES, "StochasticDepth")}
# The layers by which InceptionResNetV2 scales its residuals; Lambda layers before Keras 2.13.
_RESIDUAL_SCALING = re.compile(r"(.*_)?block(35|17|8)_\d+")


@dataclass
class Translation:
    """A Keras 3 configuration, and where the file keeps the weights of its layers.

    Parameters
    ----------
    config
        The Keras 3 configuration.
    weight_groups
        For ``.keras`` files of Keras 2.15: group of the HDF5 file, by the names of the nested models and the
        layer, and the attributes of a layer that holds others.
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
        result.config = _model(_without_gpu_copies(config), (), "", result, subject, trust)
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, RecursionError) as error:
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
    kind = _MODELS.get(_class_name(data, subject, trust))
    if kind is None:
        raise NotAModel(
            f"it was saved from a class of its author's own, {displayable(data.get('class_name'))}",
            subject=subject,
            next_step="Build the model in Python, load its weights there, and give it to "
            "Classifier(model, Card(...)); or build it with the functional API and save it again.",
        )
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
        class_name = _class_name(layer, subject, trust)
        if class_name == "Lambda" and _scales_a_residual(layer):
            class_name, layer = (
                "CustomScaleLayer",
                {**layer, "config": {**layer["config"]["arguments"], "name": old}},
            )
        # Named by the class that saved it, whatever it is read as.
        group = snake_case(str(layer["class_name"]).rpartition(">")[2])
        used[group] += 1
        if used[group] > 1:
            group += f"_{used[group] - 1}"
        group = f"{parent_group}layers/{group}"
        if class_name in OPERATIONS:
            new = {"class_name": class_name, "config": layer["config"]}
        else:
            new = _layer(class_name, layer, (*path, name), group, result, subject, trust)
        if kind == "Functional":
            nodes = [_entries(node) for node in layer.get("inbound_nodes", ())]
            if class_name in OPERATIONS:
                new = translate_operation(layer["config"], nodes, nested, subject)
            else:
                many = class_name in MERGE_LAYERS or (">" in class_name and any(len(n) > 1 for n in nodes))
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


def _layer(
    class_name: str,
    layer: dict[str, Any],
    path: tuple[str, ...],
    group: str,
    result: Translation,
    subject: object,
    trust: bool,
) -> dict[str, Any]:
    """Translate a layer, a nested model, or a layer around others; ``path`` ends in it. Fills ``result``."""
    if class_name in _MODELS:
        return _model(layer, path, f"{group}/", result, subject, trust)
    if ">" in class_name:
        new = translate_custom(class_name.removeprefix(">"), layer["config"])
    elif class_name in WRAPPERS:
        return _wrapper(class_name, layer["config"], path, group, result, subject, trust)
    else:
        new = translate_layer(class_name, layer["config"], subject, trust)
    if class_name in RECURRENT:
        path, group = (*path, Attribute("cell")), f"{group}/cell"
    elif new["class_name"] == "Sequential":
        path = (*path, keras3_name(_own_name(layer)))
    if class_name != "InputLayer":
        result.weight_groups[path] = group
    return new


def _wrapper(
    class_name: str,
    config: dict[str, Any],
    path: tuple[str, ...],
    group: str,
    result: Translation,
    subject: object,
    trust: bool,
) -> dict[str, Any]:
    """Translate TimeDistributed or Bidirectional with the layers that it holds. Fills ``result``."""
    plain = {key: value for key, value in config.items() if key not in WRAPPERS[class_name]}
    wrapper = translate_layer(class_name, plain, subject, trust)
    for key, attribute in WRAPPERS[class_name].items():
        # Of a Bidirectional layer Keras makes the second from the first.
        inner = config[key] if config.get(key) is not None else config["layer"]
        kind = _class_name(inner, subject, trust)
        if class_name == "Bidirectional" and kind not in RECURRENT:
            raise not_allowed(f"Bidirectional around {kind}", UNKNOWN_CLASS, subject, trust)
        name = _own_name(inner)
        result.keras2_names[keras3_name(name)] = name
        place = (*path, Attribute(attribute))
        new = _layer(kind, inner, place, f"{group}/{attribute}", result, subject, trust)
        new["config"]["name"] = keras3_name(name)
        if config.get(key) is not None:
            wrapper["config"][key] = new
    return wrapper


def _own_name(layer: dict[str, Any]) -> str:
    config = layer["config"]
    name = config.get("name") if isinstance(config, dict) else None
    name = layer.get("name") if name is None else name
    if not isinstance(name, str):
        raise ValueError("a layer has no name")
    return name


def _class_name(data: dict[str, Any], subject: object, trust: bool) -> str:
    """Return the Keras class of a layer, or ``package>Name`` of one that the caller trusts and registered."""
    name, module, registered = (data.get(key) for key in ("class_name", "module", "registered_name"))
    if not isinstance(name, str):
        raise not_allowed(str(name), "is not a class name", subject)
    if {name, registered} & _REGISTERED:
        name = registered = name.removeprefix("Custom>")
    plain = registered in (None, name) and (name in _MODELS or name in OPERATIONS or is_keras_layer(name))
    own = registered_class(registered, name) if trust and not plain else None
    if own is not None:
        return own if ">" in own else f">{own}"
    if name in _ALIASES:
        return _ALIASES[name]
    if registered not in (None, name) or ">" in name:
        raise not_allowed(str(registered or name), CUSTOM_CLASS, subject, trust)
    if module is not None and _MODULE.fullmatch(str(module)) is None:
        raise not_allowed(f"{module}.{name}", UNKNOWN_CLASS, subject, trust)
    return name


def _scales_a_residual(layer: dict[str, Any]) -> bool:
    """Tell whether a Lambda layer is one of those of InceptionResNetV2: ``inputs[0] + inputs[1] * scale``."""
    arguments, calls = layer["config"].get("arguments"), layer.get("inbound_nodes", ())
    return (
        isinstance(arguments, dict)
        and set(arguments) == {"scale"}
        and is_finite_number(arguments["scale"])
        and _RESIDUAL_SCALING.fullmatch(_own_name(layer)) is not None
        and bool(calls)
        and all(len(_entries(call)) == 2 for call in calls)
    )


def _without_gpu_copies(data: dict[str, Any]) -> dict[str, Any]:
    """Return the model inside one that ``multi_gpu_model`` made: it splits a batch, and joins the scores."""
    config = data.get("config")
    layers = config.get("layers") if isinstance(config, dict) else None
    if not isinstance(config, dict) or not isinstance(layers, list):
        return data
    slices = [x for x in layers if x["class_name"] == "Lambda" and _is_slice(x["config"].get("arguments"))]
    models = [x for x in layers if x["class_name"] in _MODELS]
    inputs = [x for x in layers if x["class_name"] == "InputLayer"]
    rest = [x for x in layers if x["class_name"] == "Concatenate"]
    counts = (len(models), len(inputs), len(slices) + len(rest) + 2)
    if len(slices) < 2 or counts != (1, 1, len(layers)):
        return data
    model = {**models[0], "inbound_nodes": [[[_own_name(inputs[0]), 0, 0, {}]]]}
    outputs = [[_own_name(model), 1, 0]]
    return {**data, "config": {**config, "layers": [inputs[0], model], "output_layers": outputs}}


def _is_slice(arguments: Any) -> bool:
    return isinstance(arguments, dict) and set(arguments) == {"i", "parts"}


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
