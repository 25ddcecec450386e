"""The model card: preprocessing, calibration and metrics of a model, stored in a JSON sidecar file."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

from ..errors import ModelIncomplete
from ..faces.preprocessing import Preprocessing
from ..utils.numeric import check_threshold
from .likely_kind import KIND_GROUPS, KindGroup
from .tested_kinds import KindResult

Output = Literal["logit", "probability", "softmax"]
PositiveClass = Literal["fake", "real"]

# Fields whose type is not checked elsewhere.
_FIELD_TYPES: dict[str, Any] = {
    **dict.fromkeys(("name", "version", "architecture", "licence", "training_data"), str),
    **dict.fromkeys(("sha256", "explain_layer", "converted_from"), (str, type(None))),
    **dict.fromkeys(("temperature", "min_face", "min_sharpness"), (int, float, type(None))),
    **dict.fromkeys(("threshold", "shift"), (int, float)),
    **dict.fromkeys(("mirror", "unresponsive"), bool),
    "metrics": Mapping,
    "trusted": (list, tuple),
    "tested_on": tuple,
    "kinds": (list, tuple),
}


@dataclass(frozen=True)
class Card:
    """What is known about a model besides its weights.

    Parameters
    ----------
    sha256
        SHA-256 of the model file, hexadecimal.
    preprocessing
        How a face becomes the model's input.
    output
        What the model file's last layer returns: a ``logit`` (one column, or two before a softmax), a sigmoid
        ``probability`` (one column, or one for each class), or a two-column ``softmax``; see
        :func:`redeepfake_nb.models.heads.as_logit_model`.
    positive_class
        The class that a high output means; of two columns, the class of the second.
    temperature
        Divisor of the logit before the sigmoid (Guo et al. 2017, "On Calibration of Modern Neural
        Networks"); ``None`` where the model was never calibrated.
    shift
        Added to the logit before it is divided (Platt 1999, "Probabilistic Outputs for Support Vector
        Machines").
    threshold
        P(fake) from which a face is predicted fake, between 0 and 1 (both excluded).
    explain_layer
        Layer that heatmaps are computed at; ``None`` for the deepest feature map that the whole score passes
        through.
    mirror
        Whether a face's logit is the mean of the logits of its crop and of the crop flipped horizontally.
    min_face
        Shorter side of the face in pixels below which faces were rare in training.
    min_sharpness
        Sharpness below which faces were rare in training; see ``Face.sharpness``.
    metrics
        Measured metrics, each with its split and confidence interval, as plain JSON.
    tested_on
        How well the model separates each kind of fakes it was tested on from real faces; empty where nothing
        is known. Verdicts name the kinds that it does not detect.
    kinds
        Columns of the model's second output, which tells kinds of fakes apart: keys of
        :data:`redeepfake_nb.models.likely_kind.KIND_GROUPS`. Empty for a model without one.
    converted_from
        SHA-256 of the file that this one was converted from.
    trusted
        Classes in the file that are not on the lists of :mod:`redeepfake_nb.models.serialization.allowlist`
        and were loaded with ``trust=True``. ``load_model`` sets it, whatever a sidecar says.
    unresponsive
        Whether the model gave all probe images the same score, as a network does that has lost its weights.
        ``Classifier`` sets it; every verdict of such a model is inconclusive.
    """

    name: str = "unnamed"
    version: str = "0"
    architecture: str = "unknown"
    sha256: str | None = None
    preprocessing: Preprocessing = field(default_factory=Preprocessing)
    output: Output = "logit"
    positive_class: PositiveClass = "fake"
    temperature: float | None = None
    shift: float = 0.0
    threshold: float = 0.5
    explain_layer: str | None = None
    mirror: bool = False
    min_face: int | None = None
    min_sharpness: float | None = None
    licence: str = "unknown"
    training_data: str = "unknown"
    metrics: Mapping[str, Any] = field(default_factory=dict)
    tested_on: tuple[KindResult, ...] = ()
    kinds: tuple[KindGroup, ...] = ()
    converted_from: str | None = None
    trusted: tuple[str, ...] = ()
    unresponsive: bool = False

    def __post_init__(self) -> None:
        for key, types in _FIELD_TYPES.items():
            if not isinstance(getattr(self, key), types):
                raise ValueError(f"{key} cannot be {getattr(self, key)!r}")
        for key, choices in (("output", get_args(Output)), ("positive_class", get_args(PositiveClass))):
            if getattr(self, key) not in choices:
                raise ValueError(f"{key} must be one of {', '.join(choices)}, not {getattr(self, key)!r}")
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if not abs(self.shift) < float("inf"):
            raise ValueError(f"shift must be a finite number, not {self.shift}")
        check_threshold(self.threshold)
        if not all(isinstance(result, KindResult) for result in self.tested_on):
            raise ValueError("tested_on must hold KindResult records")
        object.__setattr__(self, "trusted", tuple(str(name) for name in self.trusted))
        object.__setattr__(self, "kinds", tuple(self.kinds))
        if not set(self.kinds) <= set(KIND_GROUPS) or len(set(self.kinds)) < len(self.kinds):
            raise ValueError(f"kinds must be different ones of {', '.join(KIND_GROUPS)}, not {self.kinds}")

    def to_dict(self) -> dict[str, Any]:
        """Return the card as plain JSON."""
        values = asdict(self)
        values["preprocessing"] = self.preprocessing.to_dict()
        values["metrics"] = dict(self.metrics)
        values["trusted"] = list(self.trusted)
        values["kinds"] = list(self.kinds)
        values["tested_on"] = [result.to_dict() for result in self.tested_on]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Card:
        """Make a card from what :meth:`to_dict` returned.

        Raises
        ------
        ValueError
            An unknown key or a value out of range.
        """
        if not isinstance(values, Mapping):
            raise ValueError(f"a card is an object with named values, not {type(values).__name__}")
        unknown = set(values) - set(cls.__dataclass_fields__)
        if unknown:
            raise ValueError(f"unknown keys: {', '.join(sorted(unknown))}")
        values = dict(values)
        if "preprocessing" in values:
            values["preprocessing"] = Preprocessing.from_dict(values["preprocessing"])
        if "tested_on" in values:
            if not isinstance(values["tested_on"], (list, tuple)):
                raise ValueError("tested_on must be a list")
            values["tested_on"] = tuple(KindResult.from_dict(entry) for entry in values["tested_on"])
        return cls(**values)


MAX_SIDECAR_BYTES = 4 * 2**20


def sidecar_of(path: Path) -> Path:
    """Return the path of a model's sidecar: the same name, ending in ``.json``."""
    return path.with_suffix(".json")


def read_sidecar(path: Path) -> Card | None:
    """Read the card from the sidecar of a model file; ``None`` where there is none.

    Raises
    ------
    ModelIncomplete
        The sidecar cannot be read, or lacks a field that a score depends on.
    """
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return None
    try:
        if sidecar.stat().st_size > MAX_SIDECAR_BYTES:
            raise ValueError(f"it is larger than {MAX_SIDECAR_BYTES >> 20} MiB")
        values = json.loads(sidecar.read_text(encoding="utf-8"))
        card = Card.from_dict(values)
        missing = [key for key in ("preprocessing", "output", "positive_class") if key not in values]
        if missing:
            raise ValueError(f"it does not say {', '.join(missing)}")
    except (ValueError, TypeError, OSError, RecursionError) as error:
        raise ModelIncomplete(
            f"the sidecar cannot be read: {error}", subject=sidecar, next_step="Correct or replace it."
        ) from error
    return card


def model_to_dict(card: Card) -> dict[str, Any]:
    """Return what a report says about the model, as plain JSON."""
    return {
        "name": card.name,
        "version": card.version,
        "sha256": card.sha256,
        "calibrated": card.temperature is not None,
        "temperature": card.temperature,
        "trusted": list(card.trusted),
        "unresponsive": card.unresponsive,
        "tested_on": [result.to_dict() for result in card.tested_on],
        "preprocessing": card.preprocessing.to_dict(),
    }
