"""Translate Keras 2 layers to Keras 3 layers that compute the same in inference; both are plain JSON."""

from __future__ import annotations

import re
from typing import Any

from ...errors import NotAModel
from .allowlist import ALLOWED_FUNCTIONS, APPLICATION_CLASSES, RUNS_CODE, UNKNOWN_CLASS, not_allowed

_CONV = (
    "filters kernel_size strides padding data_format dilation_rate groups activation use_bias "
    "depth_multiplier"
)
_POOL = "pool_size strides padding data_format"
_GLOBAL = "data_format keepdims"
_RECURRENT = (
    "units activation recurrent_activation use_bias dropout recurrent_dropout return_sequences go_backwards"
)
_CONV_LSTM = f"filters kernel_size strides padding data_format dilation_rate {_RECURRENT}"
# Class -> the settings that are kept. Those that are dropped from every class are listed below.
_LAYERS = {
    "Activation": "activation",
    "ActivityRegularization": "l1 l2",
    "Add": "",
    "AlphaDropout": "rate",
    "Average": "",
    "AveragePooling2D": _POOL,
    "BatchNormalization": "axis momentum epsilon center scale",
    "CenterCrop": "height width",
    "Concatenate": "axis",
    "Conv2D": _CONV,
    "Conv2DTranspose": f"{_CONV} output_padding",
    "Cropping2D": "cropping data_format",
    "Dense": "units activation use_bias",
    "DepthwiseConv2D": _CONV,
    "Dot": "axes normalize",
    "Dropout": "rate",
    "ELU": "alpha",
    "Flatten": "data_format",
    "GaussianDropout": "rate",
    "GaussianNoise": "stddev",
    "GlobalAveragePooling2D": _GLOBAL,
    "GlobalMaxPooling2D": _GLOBAL,
    "GroupNormalization": "groups axis epsilon center scale",
    "InputLayer": "",
    "LayerNormalization": "axis epsilon center scale",
    "LeakyReLU": "alpha negative_slope",
    "MaxPooling2D": _POOL,
    "Maximum": "",
    "Minimum": "",
    "Multiply": "",
    "Normalization": "axis mean variance invert",
    "PReLU": "shared_axes",
    "Permute": "dims",
    "ReLU": "max_value negative_slope threshold",
    "RepeatVector": "n",
    "Rescaling": "scale offset",
    "Reshape": "target_shape",
    "Resizing": "height width interpolation crop_to_aspect_ratio",
    "SeparableConv2D": _CONV,
    "Softmax": "axis",
    "SpatialDropout2D": "rate data_format",
    "Subtract": "",
    "ThresholdedReLU": "theta",
    "UnitNormalization": "axis",
    **{
        f"{name}{axes}D": settings
        for axes in (1, 3)
        for name, settings in {
            "AveragePooling": _POOL,
            "Conv": _CONV,
            "Cropping": "cropping data_format",
            "GlobalAveragePooling": _GLOBAL,
            "GlobalMaxPooling": _GLOBAL,
            "MaxPooling": _POOL,
            "SpatialDropout": "rate data_format",
            "UpSampling": "size data_format",
            "ZeroPadding": "padding data_format",
        }.items()
    },
    "Conv3DTranspose": f"{_CONV} output_padding",
    # Layers of sequences; what the wrappers hold is translated by keras2_graph.
    "Bidirectional": "merge_mode",
    "ConvLSTM2D": _CONV_LSTM,
    "GRU": f"{_RECURRENT} reset_after",
    "LSTM": _RECURRENT,
    "Masking": "mask_value",
    "SimpleRNN": _RECURRENT,
    "TimeDistributed": "",
    "UpSampling2D": "size data_format interpolation",
    "ZeroPadding2D": "padding data_format",
}
# Layers that return their input unchanged in inference.
_AUGMENTATION = {
    "RandomBrightness",
    "RandomContrast",
    "RandomFlip",
    "RandomHeight",
    "RandomRotation",
    "RandomTranslation",
    "RandomWidth",
    "RandomZoom",
    "StochasticDepth",
}
MERGE_LAYERS = {"Add", "Subtract", "Multiply", "Average", "Maximum", "Minimum", "Concatenate", "Dot"}
MERGE_LAYERS |= {"CustomScaleLayer"}
# Layers around other layers: setting that holds one -> attribute that holds it once it is built.
WRAPPERS = {
    "TimeDistributed": {"layer": "layer"},
    "Bidirectional": {"layer": "forward_layer", "backward_layer": "backward_layer"},
}
RECURRENT = {"ConvLSTM2D", "GRU", "LSTM", "SimpleRNN"}
# Layers that may be the activation of another one.
_ACTIVATION_LAYERS = {"ELU", "LeakyReLU", "ReLU", "Softmax", "ThresholdedReLU"}
# Settings of the layers that networks of keras.applications have of their own.
_APPLICATION_SETTINGS = {"LayerScale": ("init_values", "projection_dim"), "CustomScaleLayer": ("scale",)}
# Settings of initialization, training and position in the graph, which do not change what a layer computes.
_DROPPED = re.compile(
    r"\w*(_initializer|_regularizer|_constraint)|trainable|batch_input_shape|seed|noise_shape|name|dtype|"
    r"build_input_shape|input_dim|fused|renorm_clipping|renorm_momentum|synchronized|supports_masking|batch_size|"
    r"sparse|ragged|optional|shared_object_id|implementation|input_dtype|unit_forget_bias|stateful|unroll|"
    r"input_length"
)
# Settings without a counterpart in Keras 3, with the values at which they have no effect.
_NEUTRAL = {
    "renorm": (False, None),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "groups": (1, None),
    "return_state": (False, None),
    "time_major": (False, None),
    "zero_output_for_mask": (False, None),
}
_DTYPES = {"float16", "bfloat16", "float32", "float64", "mixed_float16", "mixed_bfloat16"}
# Activations that Keras 2 and Keras 3 define differently under the same name.
_CHANGED_ACTIVATIONS = {"hard_sigmoid"}


def translate_layer(class_name: str, config: dict[str, Any], subject: object, trust: bool) -> dict[str, Any]:
    """Translate one layer.

    A layer with an activation that Keras 3 defines differently becomes a Sequential of the same name.

    Returns
    -------
    dict
        ``{"module", "class_name", "config", "registered_name"}``.

    Raises
    ------
    UnsafeModel
        A class or activation that is not allowed.
    NotAModel
        A setting without a counterpart.
    """
    name = config["name"]
    if class_name in _AUGMENTATION:
        return _entry("Activation", {"name": name, "activation": "linear"})
    if class_name == "Lambda":
        return _lambda(config, subject, trust)
    if class_name in _APPLICATION_SETTINGS:
        settings = {key: config[key] for key in _APPLICATION_SETTINGS[class_name]}
        settings |= {"name": name, "dtype": _dtype(config.get("dtype"))}
        return {**_entry(class_name, settings), "module": APPLICATION_CLASSES[class_name]}
    if class_name not in _LAYERS:
        known = class_name in ("TFOpLambda", "TensorFlowOpLayer", "MultiHeadAttention")
        raise not_allowed(
            class_name, "cannot be translated from Keras 2" if known else UNKNOWN_CLASS, subject, trust
        )
    wanted = _LAYERS[class_name].split()
    new: dict[str, Any] = {"name": name, "dtype": _dtype(config.get("dtype"))}
    for key, value in config.items():
        if key in wanted and not (key == "groups" and class_name in ("DepthwiseConv2D", "SeparableConv2D")):
            new[key] = unwrap(value)
        elif key in _NEUTRAL and unwrap(value) in _NEUTRAL[key]:
            continue
        elif key == "activity_regularizer" or not _DROPPED.fullmatch(key):
            if value is None or key == "activity_regularizer":
                continue
            raise NotAModel(
                f"the setting {key} of its layer {name} ({class_name}) has no counterpart in Keras 3",
                subject=subject,
                next_step="Convert it to .keras with the Keras version that made it.",
            )
    activation = new.get("activation")
    if isinstance(activation, dict) and activation.get("class_name") == "PReLU":
        raise NotAModel(
            f"the activation of its layer {name} is a PReLU, whose weights cannot be read from Keras 2 there",
            subject=subject,
            next_step="Make the PReLU a layer of its own, and save the model again.",
        )
    if class_name in RECURRENT:
        return _entry(class_name, _recurrent(class_name, new, subject))
    if isinstance(activation, dict) and activation.get("class_name") in _ACTIVATION_LAYERS:
        return _with_activation_layer(class_name, new, config, subject, trust)
    return _with_class_rules(class_name, new, config, subject)


def _with_activation_layer(
    class_name: str, new: dict[str, Any], old: dict[str, Any], subject: object, trust: bool
) -> dict[str, Any]:
    """Translate a layer whose activation is a layer itself, as in ``Dense(8, activation=LeakyReLU())``."""
    activation, name = new["activation"], new["name"]
    own_name = name if class_name == "Activation" else f"{name}_activation"
    layer = translate_layer(
        activation["class_name"], {**(activation.get("config") or {}), "name": own_name}, subject, trust
    )
    if class_name == "Activation":
        return layer
    return _sequence(
        name, _with_class_rules(class_name, {**new, "activation": "linear"}, old, subject), layer
    )


def _recurrent(class_name: str, new: dict[str, Any], subject: object) -> dict[str, Any]:
    """Translate the activations of a recurrent layer, which are applied in every step.

    A hard sigmoid of its gates keeps its name; :func:`.weights.fit_hard_gates` makes it that of Keras 2.
    """
    found = {key: value for key, value in new.items() if key not in ("dtype", "data_format") or value}
    for key in ("activation", "recurrent_activation"):
        if key not in found:
            continue
        if isinstance(found[key], dict) and found[key].get("class_name") in _ACTIVATION_LAYERS:
            name = "a layer"
        else:
            name = found[key] = activation_name(found[key], subject)
        if name == "a layer" or (name in _CHANGED_ACTIVATIONS and key == "activation"):
            raise NotAModel(
                f"the {key} of its layer {new['name']} ({class_name}) is {name}, which Keras 3 computes "
                "differently there",
                subject=subject,
                next_step="Convert it to .keras with the Keras version that made it.",
            )
    if class_name == "GRU":
        found.setdefault("reset_after", False)  # before Keras 2.1.3 there was no other
    return found


def is_keras_layer(name: str) -> bool:
    """Tell whether :func:`translate_layer` knows a class of this name."""
    return name in _LAYERS or name in _AUGMENTATION or name in _APPLICATION_SETTINGS or name == "Lambda"


def translate_custom(registered: str, config: dict[str, Any]) -> dict[str, Any]:
    """Translate a layer of a class that the caller has registered with Keras under that name."""
    settings = {key: unwrap(value) for key, value in config.items() if key != "batch_input_shape"}
    if "dtype" in settings:
        settings["dtype"] = _dtype(settings["dtype"])
    return {
        "module": None,
        "class_name": registered.rpartition(">")[2],
        "config": settings,
        "registered_name": registered,
    }


def _with_class_rules(
    class_name: str, new: dict[str, Any], old: dict[str, Any], subject: object
) -> dict[str, Any]:
    """Apply the rules of single classes to a layer's settings, and translate its activation."""
    if class_name == "InputLayer":
        shape = old["batch_input_shape"] if "batch_input_shape" in old else old["batch_shape"]
        new = {"name": new["name"], "dtype": new["dtype"], "batch_shape": [None, *list(shape)[1:]]}
    elif class_name == "BatchNormalization" and isinstance(new.get("axis"), list):
        (new["axis"],) = new["axis"]
    elif class_name in ("LeakyReLU", "ReLU", "ThresholdedReLU", "ELU"):
        new = {key: value[0] if isinstance(value, list) else value for key, value in new.items()}
        if "alpha" in new and class_name == "LeakyReLU":
            new["negative_slope"] = new.pop("alpha")
        if class_name == "ThresholdedReLU":
            class_name, new["threshold"] = "ReLU", new.pop("theta")
    elif class_name.startswith("Conv") and new.get("groups") in (None, 1):
        new.pop("groups", None)
    elif class_name in ("Rescaling", "Normalization"):
        new = {key: _vector(value) for key, value in new.items()}
    for key in [key for key, value in new.items() if value is None and key in ("data_format", "dtype")]:
        del new[key]
    if "depth_multiplier" in new and class_name.startswith("Conv"):
        del new["depth_multiplier"]
    if "activation" not in new:
        return _entry(class_name, new)
    activation = activation_name(new["activation"], subject)
    if activation not in _CHANGED_ACTIVATIONS:
        return _entry(class_name, {**new, "activation": activation})
    return _sequence(
        new["name"],
        _entry(class_name, {**new, "activation": "linear"}),
        _entry("Rescaling", {"name": f"{new['name']}_slope", "scale": 0.2, "offset": 0.5}),
        _entry("ReLU", {"name": f"{new['name']}_clip", "max_value": 1.0}),
    )


def _entry(class_name: str, config: dict[str, Any]) -> dict[str, Any]:
    return {"module": "keras.layers", "class_name": class_name, "config": config, "registered_name": None}


def _sequence(name: str, *layers: dict[str, Any]) -> dict[str, Any]:
    config = {"name": name, "trainable": True, "layers": list(layers)}
    return {"module": "keras", "class_name": "Sequential", "config": config, "registered_name": "Sequential"}


def activation_name(value: Any, subject: object) -> str:
    """Return the name of an activation in a configuration.

    Raises
    ------
    UnsafeModel
        It is not on the list of allowed functions.
    """
    if value is None:
        return "linear"
    if isinstance(value, dict):
        module, name = value.get("module"), value.get("config")
        if isinstance(name, dict):  # a layer as activation: ReLU, LeakyReLU
            name = value.get("class_name")
        if module not in (None, "builtins", "keras.activations", "keras.layers"):
            raise not_allowed(f"{module}.{name}", "is not a Keras activation", subject)
        value = name
    name = str(value)
    name = {"FixedSwish": "swish", "Swish": "swish"}.get(name, name)
    if name not in ALLOWED_FUNCTIONS:
        raise not_allowed(f"the activation {name}", "is not a Keras activation", subject)
    return name


def unwrap(value: Any) -> Any:
    """Convert a setting from Keras's serialised tuples, arrays and tensors to plain values."""
    if isinstance(value, dict):
        kind = value.get("class_name")
        if kind in ("__tensor__", "__numpy__"):
            return unwrap(value["config"]["value"])
        if kind in ("__tuple__", "TensorShape"):
            return unwrap(value.get("items", value.get("config")))
        if value.get("type") == "ndarray":  # before Keras 2.12
            return unwrap(value["value"])
        return value
    return [unwrap(part) for part in value] if isinstance(value, list) else value


def _vector(value: Any) -> Any:
    """Remove leading axes of length one from constants per channel."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _dtype(value: Any) -> str | None:
    if isinstance(value, dict):
        value = value.get("config", {}).get("name")
    if value is None or value in _DTYPES:
        return value
    if value in ("uint8", "int32", "int64"):  # of an input; images are passed as float
        return "float32"
    raise ValueError(f"the precision {str(value)[:40]} is not known")


def _lambda(config: dict[str, Any], subject: object, trust: bool) -> dict[str, Any]:
    if not trust:
        raise not_allowed("Lambda", RUNS_CODE, subject)
    function = config.get("function")
    if isinstance(function, dict) and "config" in function:
        function = function["config"]
    if isinstance(function, dict):
        code, defaults, closure = (function.get(key) for key in ("code", "defaults", "closure"))
    elif isinstance(function, list) and len(function) == 3:
        code, defaults, closure = function
    else:
        raise not_allowed("Lambda", "names a function that is not in the file", subject)
    code_object = {
        "class_name": "__lambda__",
        "config": {"code": code, "defaults": defaults, "closure": closure},
    }
    arguments = config.get("arguments") or {}
    return _entry("Lambda", {"name": config["name"], "function": code_object, "arguments": arguments})
