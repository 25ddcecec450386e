"""Infer the likely preprocessing of a model without a sidecar, to suggest it in an error message.

A model file states its input size, whether it rescales pixels, and its last activation. It states neither the
colour order nor which class a high output means, so nothing inferred here is ever used for a score.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelIncomplete
from .card import Output
from .class_names import question
from .named_architectures import PUBLISHED_CONVENTIONS
from .serialization.allowlist import serialized_objects

_OUTPUTS: dict[str, Output] = {"sigmoid": "probability", "softmax": "softmax"}
# Networks of Keras Applications that do not scale pixels themselves, by a part of their names -> preset.
_KERAS_PRESETS = {
    **dict.fromkeys(("resnet50v2", "resnet101v2", "resnet152v2"), "tf"),
    **dict.fromkeys(("resnet50", "resnet101", "resnet152", "vgg16", "vgg19"), "caffe"),
    **dict.fromkeys(("xception", "inception", "mobilenetv2", "mobilenet_1", "nasnet"), "tf"),
    "densenet": "imagenet",
}
_SCALING_FUNCTIONS = ("math.truediv", "math.divide", "nn.bias_add")


@dataclass(frozen=True)
class InferredConvention:
    """The likely arguments of ``load_model``, and the reasons for them.

    Parameters
    ----------
    size
        Side of the input in pixels; ``None`` where it is not fixed.
    value_range
        Pixel values of black and white.
    output
        Kind of output.
    reasons
        One clause for each.
    frames
        How many frames of a video it takes at once; ``None`` where that is not fixed, 1 for single pictures.
    """

    size: int | None
    value_range: tuple[float, float]
    output: Output
    reasons: tuple[str, ...]
    frames: int | None = 1


def infer_convention(config: dict[str, Any]) -> InferredConvention:
    """Infer the likely preprocessing and output from a Keras 2 or 3 configuration."""
    size, frames = _input_size(config)
    several = "" if frames == 1 else f"{frames or 'a number of'} frames of "
    shape = f"{several}{size} x {size} px" if size else "no square of fixed size"
    reasons = [f"its input is {shape}"]
    scaling = _find_scaling(config)
    if scaling:
        reasons.append(f"it has {scaling} for pixels from 0 to 255")
    else:
        reasons.append(_scaled_beforehand(config))
    activation = _last_activation(config)
    output = _OUTPUTS.get(str(activation), "logit")
    reasons.append(f"it ends in {activation}" if activation else "it ends without an activation")
    return InferredConvention(size, (0, 255) if scaling else (0, 1), output, tuple(reasons), frames)


def _scaled_beforehand(config: dict[str, Any]) -> str:
    """Say how pixels may have been scaled for a network that does not do it itself."""
    settings = [node["config"] for node in _objects_in_order(config) if isinstance(node.get("config"), dict)]
    names = {str(inner.get("name", "")).lower() for inner in settings}
    for part, preset in _KERAS_PRESETS.items():
        if any(part in name for name in names):
            return (
                f"it does not rescale pixels and holds {part}, whose weights Keras publishes for "
                f'Preprocessing.preset("{preset}")'
            )
    return (
        "it does not rescale pixels, so that was done beforehand in a way that it does not state, usually "
        'divided by 255 ("0..1"), to -1..1 ("tf"), by ImageNet\'s mean and deviation ("imagenet", the habit '
        'of torchvision) or minus its mean in BGR ("caffe"); each is a Preprocessing.preset(name)'
    )


def missing_convention_error(
    path: Path, config: dict[str, Any] | None, architecture: object
) -> ModelIncomplete:
    """Make the error for a model whose preprocessing or architecture is not known, with the likely answer.

    Parameters
    ----------
    config
        The model's configuration; ``None`` for a weights-only file.
    architecture
        What the caller or the sidecar gave.
    """
    given = "" if architecture is None else f', architecture="{architecture}"'
    if config is None and (architecture is None or architecture == "unknown"):
        return ModelIncomplete(
            "it holds weights without an architecture, and no sidecar names one",
            subject=path,
            next_step='Name it: load_model(path, architecture="EfficientNetB4", preprocessing=..., '
            'positive_class=...), with a name that build_model knows or "Meso4", or with a Keras model.',
        )
    published = PUBLISHED_CONVENTIONS.get(str(architecture))
    if config is not None:
        likely = infer_convention(config)
    elif published:
        likely = InferredConvention(*published, ("this network was published with these values",))
    else:
        likely = InferredConvention(None, (0, 255), "logit", ("networks of build_model take these values",))
    low, high = likely.value_range
    frames = "" if likely.frames == 1 else f"frames={likely.frames or '...'}, "
    scaled = (low, high) == (0, 255) or published
    unknown, scaling = ("Two things", "") if scaled else ("Three things", ", and how pixels were scaled")
    return ModelIncomplete(
        "it has no sidecar, so its colour order, value range and the meaning of its output are unknown",
        subject=path,
        next_step=(
            f"Give them; probably: load_model(path{given}, preprocessing=Preprocessing({frames}"
            f'input_size={likely.size or "..."}, color_order="RGB", value_range=({low:g}, {high:g})), '
            f'output="{likely.output}", positive_class="fake" or "real"), since {"; ".join(likely.reasons)}. '
            f"{unknown} are not in the file, so ask its author: "
            f'the colour order ("BGR" is usual where OpenCV read the images){scaling}, and {question(path)}'
        ),
    )


def _input_size(config: Any) -> tuple[int | None, int | None]:
    """Return the side in pixels and the number of frames of the first input that a configuration states."""
    for node in _objects_in_order(config):
        inner = node.get("config")
        if not isinstance(inner, dict):
            continue
        shape = inner.get("batch_shape") or inner.get("batch_input_shape")
        if isinstance(shape, list) and len(shape) in (4, 5):
            frames = shape[1] if len(shape) == 5 else 1
            height, width = shape[-3:-1]
            # An input that is no square has no such side; Classifier says what to do.
            square = isinstance(height, int) and width in (None, height)
            return height if square else None, frames if isinstance(frames, int) else None
    return None, 1


def _find_scaling(config: Any) -> str | None:
    """Describe the layer that maps pixels of 0 to 255 into the network's range; ``None`` if there is none."""
    for node in serialized_objects(config):
        inner = node.get("config")
        if node["class_name"] in ("Rescaling", "Normalization"):
            scale = inner.get("scale", 0) if isinstance(inner, dict) else 0
            if isinstance(scale, (int, float)) and abs(scale) < 0.1:
                return f"a {node['class_name']} layer"
        elif isinstance(inner, dict) and inner.get("function") in _SCALING_FUNCTIONS:
            return f"the operation {inner['function']}"
    return None


def _last_activation(config: Any) -> str | None:
    """Return the name of the activation of a model's last layer."""
    while isinstance(config, dict):
        inner = config.get("config")
        if not isinstance(inner, dict) or not inner.get("layers"):
            break
        layers, outputs = inner["layers"], inner.get("output_layers")
        while isinstance(outputs, list) and outputs and isinstance(outputs[0], list):
            outputs = outputs[0]
        named = [
            node for node in layers if isinstance(node, dict) and outputs and node.get("name") == outputs[0]
        ]
        config = (named or layers)[-1]
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        return None
    activation = config["config"].get("activation")
    activation = activation.get("config") if isinstance(activation, dict) else activation
    if activation is None:
        name = str(config["config"].get("function", config.get("class_name"))).split(".")[-1].lower()
        activation = name if name in _OUTPUTS else None
    return activation if isinstance(activation, str) else None


def _objects_in_order(node: Any) -> list[dict[str, Any]]:
    """Return all serialised objects of a configuration in the order in which they are written."""
    found, waiting = [], [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "class_name" in node:
                found.append(node)
            waiting.extend(reversed(list(node.values())))
        elif isinstance(node, list):
            waiting.extend(reversed(node))
    return found
