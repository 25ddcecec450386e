"""What a model without a sidecar was probably fed, read from its configuration: for a question, never for a
score.

The file states its input's size, whether it rescales pixels itself, and its last activation. It does not
state the colour order, nor which class a high output means.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..errors import ModelIncomplete
from .named_architectures import KNOWN_HABITS
from .serialization.allowlist import objects

_OUTPUTS = {"sigmoid": "probability", "softmax": "softmax"}
_SCALING_FUNCTIONS = ("math.truediv", "math.divide", "nn.bias_add")


@dataclass(frozen=True)
class Likely:
    """The likely answers, as they would stand in a call, and the reasons for them."""

    size: int | None
    value_range: tuple[float, float]
    output: str
    reasons: tuple[str, ...]


def likely_habits(config: dict[str, Any]) -> Likely:
    """Read the likely habits from a configuration of Keras 2 or 3."""
    size, reasons = _input_size(config), []
    reasons.append(f"its input is {size} x {size} px" if size else "its input has no fixed size")
    scaling = _scaling(config)
    if scaling:
        reasons.append(f"it has {scaling} for pixels from 0 to 255")
    else:
        reasons.append("it does not rescale pixels, so they were probably divided by 255 before")
    activation = _last_activation(config)
    output = _OUTPUTS.get(str(activation), "logit")
    reasons.append(f"it ends in {activation}" if activation else "it ends without an activation")
    return Likely(size, (0, 255) if scaling else (0, 1), output, tuple(reasons))


def ask(path: Path, config: dict[str, Any] | None, architecture: object) -> ModelIncomplete:
    """The question to put where habits or architecture are not known, with the likely answer."""
    given = "" if architecture is None else f', architecture="{architecture}"'
    if config is None and (architecture is None or architecture == "unknown"):
        return ModelIncomplete(
            "it holds weights without an architecture, and no sidecar names one",
            subject=path,
            next_step='Say what it is: load_model(path, architecture="EfficientNetB4", preprocessing=..., '
            'positive_class=...), with a name that build_model knows or "Meso4", or with a Keras model.',
        )
    known = KNOWN_HABITS.get(str(architecture))
    if config is not None:
        likely = likely_habits(config)
    elif known:
        likely = Likely(*known, ("this network was published so",))
    else:
        likely = Likely(None, (0, 255), "logit", ("networks of build_model are fed so",))
    low, high = likely.value_range
    return ModelIncomplete(
        "it has no sidecar, so its colour order, value range and the meaning of its output are unknown",
        subject=path,
        next_step=(
            f"Say them; likely is: load_model(path{given}, preprocessing=Preprocessing("
            f'input_size={likely.size or "..."}, color_order="RGB", value_range=({low:g}, {high:g})), '
            f'output="{likely.output}", positive_class="fake" or "real"), since {"; ".join(likely.reasons)}. '
            "Not in the file, so ask its author: "
            'the colour order ("BGR" is usual where OpenCV read the pictures) '
            "and which class a high output means."
        ),
    )


def _input_size(config: Any) -> int | None:
    """The side of the first input that a configuration states."""
    for node in _in_order(config):
        inner = node.get("config")
        if not isinstance(inner, dict):
            continue
        shape = inner.get("batch_shape") or inner.get("batch_input_shape")
        if isinstance(shape, list) and len(shape) == 4 and isinstance(shape[1], int):
            return shape[1]
    return None


def _scaling(config: Any) -> str | None:
    """A layer that brings pixels of 0 to 255 into a network's range."""
    for node in objects(config):
        inner = node.get("config")
        if node["class_name"] in ("Rescaling", "Normalization"):
            scale = inner.get("scale", 0) if isinstance(inner, dict) else 0
            if isinstance(scale, (int, float)) and abs(scale) < 0.1:
                return f"a {node['class_name']} layer"
        elif isinstance(inner, dict) and inner.get("function") in _SCALING_FUNCTIONS:
            return f"the operation {inner['function']}"
    return None


def _last_activation(config: Any) -> str | None:
    """Name of the activation of the layer a model ends in."""
    while isinstance(config, dict):
        inner = config.get("config")
        layers = inner.get("layers") if isinstance(inner, dict) else None
        if not layers:
            break
        ends = inner.get("output_layers")
        while isinstance(ends, list) and ends and isinstance(ends[0], list):
            ends = ends[0]
        named = [node for node in layers if isinstance(node, dict) and ends and node.get("name") == ends[0]]
        config = (named or layers)[-1]
    if not isinstance(config, dict) or not isinstance(config.get("config"), dict):
        return None
    activation = config["config"].get("activation")
    activation = activation.get("config") if isinstance(activation, dict) else activation
    if activation is None:
        name = str(config["config"].get("function", config.get("class_name"))).split(".")[-1].lower()
        activation = name if name in _OUTPUTS else None
    return activation if isinstance(activation, str) else None


def _in_order(node: Any) -> list[dict[str, Any]]:
    """Serialised objects in the order they are written."""
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
