"""Infer the likely preprocessing of a model without a sidecar, to suggest it in an error message.

A model shows its input size, whether it rescales pixels, and its last activation. It shows neither the colour
order nor which class a high output means, so nothing inferred here is ever used for a score.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ModelIncomplete
from ..faces.preprocessing import Preprocessing
from .card import Output, PositiveClass
from .class_names import question
from .named_architectures import PUBLISHED_CONVENTIONS
from .pixel_scaling import PixelScaling, find_pixel_scaling

if TYPE_CHECKING:
    import keras

_OUTPUTS: dict[str, Output] = {"sigmoid": "probability", "softmax": "softmax"}
# Networks of Keras Applications that do not scale pixels themselves, by a part of their names -> preset.
_KERAS_PRESETS = {
    **dict.fromkeys(("resnet50v2", "resnet101v2", "resnet152v2"), "tf"),
    **dict.fromkeys(("resnet50", "resnet101", "resnet152", "vgg16", "vgg19"), "caffe"),
    **dict.fromkeys(("xception", "inception", "mobilenetv2", "mobilenet_1", "nasnet"), "tf"),
    "densenet": "imagenet",
}


@dataclass(frozen=True)
class InferredConvention:
    """The likely arguments of ``load_model``, and the reasons for them.

    Parameters
    ----------
    size
        Side of the input in pixels; ``None`` where it is not fixed.
    value_range
        Pixel values of black and white; ``None`` where nothing suggests any.
    output
        Kind of output.
    input_reasons, output_reasons
        One clause for each reason, of the preprocessing and of the kind of output.
    frames
        How many frames of a video it takes at once; ``None`` where that is not fixed, 1 for single pictures.
    scaling_known
        Whether ``value_range`` is more than a habit.
    """

    size: int | None
    value_range: tuple[float, float] | None
    output: Output
    input_reasons: tuple[str, ...]
    output_reasons: tuple[str, ...] = ()
    frames: int | None = 1
    scaling_known: bool = True


def infer_convention(config: dict[str, Any], model: keras.Model) -> InferredConvention:
    """Infer the likely preprocessing and output of a model.

    Parameters
    ----------
    config
        Its Keras 2 or 3 configuration.
    model
        The flat model (:func:`.graph.flatten`).
    """
    size, frames = input_size_of(config)
    several = "" if frames == 1 else f"{frames or 'a number of'} frames of "
    shape = f"{several}{size} x {size} px" if size else "no square of fixed size"
    found = find_pixel_scaling(model)
    value_range = found.value_range if found.operations else (0, 1)
    reasons = [f"its input is {shape}", _scaling_in_words(found, config)]
    if found.swaps_channels:
        reasons.append("it swaps the first and the last channel itself, which makes BGR of RGB")
    activation = _last_activation(config)
    return InferredConvention(
        size,
        value_range,
        _OUTPUTS.get(str(activation), "logit"),
        tuple(reasons),
        (f"it ends in {activation}" if activation else "it ends without an activation",),
        frames,
        scaling_known=found.value_range is not None,
    )


def _scaling_in_words(found: PixelScaling, config: dict[str, Any]) -> str:
    """Say what a network does with pixels, or how they may have been scaled for it."""
    names = ", ".join(found.operations[:6])
    if found.value_range is not None:
        low, high = found.value_range
        return f"it scales or shifts pixels of {low:g} to {high:g} itself ({names})"
    if found.operations:
        return f"it computes something with the pixels first ({names}), which does not show their range"
    settings = [node["config"] for node in _objects_in_order(config) if isinstance(node.get("config"), dict)]
    layers = {str(inner.get("name", "")).lower() for inner in settings}
    for part, preset in _KERAS_PRESETS.items():
        if any(part in name for name in layers):
            return (
                f"it does not rescale pixels and holds {part}, whose weights Keras publishes for "
                f'Preprocessing.preset("{preset}")'
            )
    return (
        "it does not rescale pixels, so that was done beforehand in a way that it does not state, usually "
        'divided by 255 ("0..1"), to -1..1 ("tf"), by ImageNet\'s mean and deviation ("imagenet", the habit '
        'of torchvision) or minus its mean in BGR ("caffe"); each is a Preprocessing.preset(name)'
    )


def missing_architecture_error(subject: object) -> ModelIncomplete:
    """Make the error for weights whose architecture is not known."""
    return ModelIncomplete(
        "it holds weights without an architecture, and no sidecar names one",
        subject=subject,
        next_step='Name it: load_model(path, architecture="EfficientNetB4", preprocessing=..., '
        'positive_class=...), with a name that build_model knows or "Meso4", or with a Keras model; '
        "in a shell: redeepfake-nb convert ... --backbone EfficientNetB4.",
    )


def missing_convention_error(
    path: Path,
    config: dict[str, Any] | None,
    architecture: object,
    *,
    model: keras.Model | None = None,
    preprocessing: Preprocessing | None = None,
    positive_class: PositiveClass | None = None,
    output: Output | None = None,
) -> ModelIncomplete:
    """Make the error for a model without a sidecar, which names what is missing and the likely answer.

    Parameters
    ----------
    config, model
        The model's configuration, and the flat model; ``None`` for a weights-only file.
    architecture
        What the caller gave.
    preprocessing, positive_class, output
        What the caller gave; one of the first two is missing.
    """
    if config is None and (architecture is None or architecture == "unknown"):
        return missing_architecture_error(path)
    published = PUBLISHED_CONVENTIONS.get(str(architecture))
    if config is not None and model is not None:
        likely = infer_convention(config, model)
    elif published:
        likely = InferredConvention(*published, ("this network was published with these values",))
    else:
        likely = InferredConvention(None, (0, 255), "logit", ("networks of build_model take these values",))
    unknown, asked = [], []
    if preprocessing is None:
        unknown += ["its colour order", "its value range"]
        asked.append('the colour order ("BGR" is usual where OpenCV read the images)')
        if not likely.scaling_known:
            asked.append("how pixels were scaled")
    if positive_class is None:
        unknown.append("the meaning of its output")
        asked.append(question(path))
    reasons = (*(likely.input_reasons if preprocessing is None else ()), *likely.output_reasons)
    count = ("One thing is", "Two things are", "Three things are")[len(asked) - 1]
    call, command = _suggested(path, likely, architecture, preprocessing, positive_class, output)
    return ModelIncomplete(
        f"it has no sidecar, so {_listed(unknown)} {'is' if len(unknown) == 1 else 'are'} unknown",
        subject=path,
        next_step=(
            f"Give {'it' if len(unknown) == 1 else 'them'}; probably: {call}"
            f"{', since ' + '; '.join(reasons) if reasons else ''}. "
            f"{command}{count} not in the file, so ask its author: {_listed(asked).rstrip('.')}."
        ),
    )


def _suggested(
    path: Path,
    likely: InferredConvention,
    architecture: object,
    preprocessing: Preprocessing | None,
    positive_class: PositiveClass | None,
    output: Output | None,
) -> tuple[str, str]:
    """Write the likely call of ``load_model``, and a sentence with the command that does the same.

    What was given stands in both as ``...``, where it takes more than a word.
    """
    size, frames = likely.size or "...", likely.frames or "..."
    low, high = ("...", "...") if likely.value_range is None else (f"{v:g}" for v in likely.value_range)
    call, words = ["path"], []
    if isinstance(architecture, str):
        call.append(f'architecture="{architecture}"')
        words.append(f"--backbone {shlex.quote(architecture)}")
    elif architecture is not None:
        call.append("architecture=...")
    if preprocessing is None:
        several = "" if frames == 1 else f"frames={frames}, "
        call.append(
            f'preprocessing=Preprocessing({several}input_size={size}, color_order="RGB", '
            f"value_range=({low}, {high}))"
        )
        words.append(f"--input-size {size} --color-order RGB --value-range {low} {high}")
        words += [f"--input-frames {frames}"] if frames != 1 else []
    else:
        call.append("preprocessing=...")
        words.append("...")
    call.append(f'output="{output or likely.output}"')
    call.append(f'positive_class="{positive_class}"' if positive_class else 'positive_class="fake" or "real"')
    words.append(f"--positive-class {positive_class or 'FAKE_OR_REAL'}")
    new = (
        path.with_name(f"{path.stem}-converted.keras")
        if path.suffix == ".keras"
        else path.with_suffix(".keras")
    )
    names = f"{shlex.quote(str(path))} {shlex.quote(str(new))}"
    command = f"In a shell: `redeepfake-nb convert {names} {' '.join(words)}`. "
    # A Keras model cannot be given to a command.
    known = architecture is None or isinstance(architecture, str)
    return f"load_model({', '.join(call)})", command if known else ""


def _listed(parts: Sequence[str]) -> str:
    """Join clauses with commas, and with "and" before the last."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def input_size_of(config: Any) -> tuple[int | None, int | None]:
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
