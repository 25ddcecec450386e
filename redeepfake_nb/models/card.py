"""What is known about a model besides its weights, and the sidecar that holds it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from ..errors import ModelIncomplete
from ..faces.preprocessing import Preprocessing
from ..utils.numeric import check_threshold
from .tested_kinds import KindResult

if TYPE_CHECKING:
    pass

Output = Literal["logit", "probability", "softmax"]
PositiveClass = Literal["fake", "real"]


_KINDS: dict[str, Any] = {
    **dict.fromkeys(("name", "version", "architecture", "licence", "training_data"), str),
    **dict.fromkeys(("sha256", "explain_layer", "converted_from"), (str, type(None))),
    **dict.fromkeys(("temperature", "min_face", "min_sharpness"), (int, float, type(None))),
    **dict.fromkeys(("threshold", "shift"), (int, float)),
    **dict.fromkeys(("mirror", "unresponsive"), bool),
    "metrics": Mapping,
    "trusted": (list, tuple),
    "tested_on": tuple,
}


@dataclass(frozen=True)
class Card:
    """What is known about a model besides its weights; the JSON sidecar holds it.

    Parameters
    ----------
    positive_class
        What a high output means.
    output
        What the last layer gives: a ``logit``, a sigmoid ``probability``, or a two-way ``softmax`` whose
        second column is the positive class.
    temperature
        Logits are divided by it before the sigmoid (Guo et al. 2017, "On Calibration of Modern Neural
        Networks"). ``None``: never calibrated.
    shift
        Added to logits, before they are divided (Platt 1999, "Probabilistic Outputs for Support Vector
        Machines"); in units of the logit.
    threshold
        Cut on P(fake).
    mirror
        Whether a face's logit is the mean of its own and its mirror image's.
    min_face
        Shorter side in pixels below which faces were rare in training.
    min_sharpness
        Sharpness below which faces were rare in training; see ``Face.sharpness``.
    metrics
        Measured figures, each with its split and interval, as plain JSON.
    tested_on
        How well the model separates each kind of fakes it was tested on from real faces; empty where nothing
        is known. Verdicts name the kinds that it does not detect.
    converted_from
        SHA-256 of the file this one was made of, where it was converted.
    trusted
        What in the file is beyond the lists in :mod:`redeepfake_nb.models.serialization.allowlist` and was loaded on a person's
        word. ``load_model`` writes it anew, whatever a sidecar says.
    unresponsive
        Whether it gave all trial pictures the same score, as a network does that has lost its weights.
        ``Classifier`` writes it anew; no verdict rests on such a model.
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
    converted_from: str | None = None
    trusted: tuple[str, ...] = ()
    unresponsive: bool = False

    def __post_init__(self) -> None:
        for key, kinds in _KINDS.items():
            if not isinstance(getattr(self, key), kinds):
                raise ValueError(f"{key} cannot be {getattr(self, key)!r}")
        if self.output not in ("logit", "probability", "softmax"):
            raise ValueError(f"output must be logit, probability or softmax, not {self.output!r}")
        if self.positive_class not in ("fake", "real"):
            raise ValueError(f"positive_class must be fake or real, not {self.positive_class!r}")
        if self.temperature is not None and not 0 < self.temperature < float("inf"):
            raise ValueError(f"temperature must be positive, not {self.temperature}")
        if not abs(self.shift) < float("inf"):
            raise ValueError(f"shift must be a finite number, not {self.shift}")
        check_threshold(self.threshold)
        object.__setattr__(self, "trusted", tuple(str(name) for name in self.trusted))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        values = asdict(self)
        values["preprocessing"] = self.preprocessing.to_dict()
        values["metrics"] = dict(self.metrics)
        values["trusted"] = list(self.trusted)
        values["tested_on"] = [result.to_dict() for result in self.tested_on]
        return values

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Card:
        """Inverse of :meth:`to_dict`.

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
    """Where a model's sidecar lies: beside it, ending in ``.json``."""
    return path.with_suffix(".json")


def read_sidecar(path: Path) -> Card | None:
    """The card beside a model file, or None where there is none.

    Raises
    ------
    ModelIncomplete
        There is one, and it cannot be read or leaves out what a score depends on.
    """
    sidecar = sidecar_of(path)
    if not sidecar.is_file():
        return None
    try:
        if sidecar.stat().st_size > MAX_SIDECAR_BYTES:
            raise ValueError("it is larger than any real one")
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
    """What a report says of the model: plain JSON."""
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
