"""What decides a training run, as a TOML file on disk and as a record in memory."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any

from ..datasets.augmentation import Augmentation
from ..models.architectures.builder import Head

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Stage:
    """Some steps at one input size; the learning rate warms up to ``rate`` and falls along a cosine.

    ``augmentation`` and ``self_blend`` replace the recipe's for this stage: what a network has seen often
    wants harder changes.
    """

    input_size: int
    steps: int
    rate: float
    warmup: int = 100
    augmentation: Augmentation | None = None
    self_blend: float | None = None


@dataclass(frozen=True)
class Recipe:
    """Everything that decides a training run. Read from a TOML file by :meth:`read`.

    Parameters
    ----------
    batch_pairs
        Pairs of one fake and one real face in each batch.
    average
        Decay of the running average of the weights per step; the average is what is judged and kept.
    evaluate_every, checkpoint_every
        In steps.
    patience
        Evaluations without a better val AUC after which training stops; 0 never stops early.
    score_size
        Input size in pixels at which the model is judged and exported; ``None``: that of the last stage.
        Training enlarges faces by cropping, so a whole face should be fed larger than the training size
        (Touvron et al. 2019, "Fixing the train-test resolution discrepancy").
    mirror
        Whether the exported model scores a face and its mirror image and takes the mean.
    self_blend
        Share of pairs, 0 to 1, whose fake is replaced by a self-blended copy of the pair's own real face
        (:func:`redeepfake_nb.datasets.self_blending.self_blend`), made anew each time it is seen. With 1 no fake of the
        table is used, and none is needed.
    fallback_random
        Whether a run may begin from random weights where those of ``weights`` cannot be had; the history
        and the card then say so. Otherwise that is an error.
    """

    name: str
    backbone: str
    stages: tuple[Stage, ...]
    weights: str | None = None
    head: Head | None = None
    batch_pairs: int = 32
    weight_decay: float = 0.02
    label_smoothing: float = 0.05
    clip_norm: float = 1.0
    average: float = 0.995
    mixed_precision: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0
    evaluate_every: int = 400
    checkpoint_every: int = 200
    patience: int = 0
    score_size: int | None = None
    mirror: bool = False
    self_blend: float = 0.0
    fallback_random: bool = False

    def __post_init__(self) -> None:
        for share in (self.self_blend, *(s.self_blend for s in self.stages if s.self_blend is not None)):
            if not 0 <= share <= 1:
                raise ValueError(f"self_blend must be a share from 0 to 1, not {share}")

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a TOML file; its keys are this class's fields, tables are the nested ones.

        Raises
        ------
        ValueError
            A key that no field has, or a value that cannot be.
        """
        with open(path, "rb") as file:
            values = tomllib.load(file)
        values.setdefault("name", Path(path).stem)
        try:
            for table in (values, *values["stages"]):
                if "augmentation" in table:
                    table["augmentation"] = _augmentation(table["augmentation"])
            values["stages"] = tuple(Stage(**stage) for stage in values["stages"])
            if "head" in values:
                values["head"] = Head(**values["head"])
            return cls(**values)
        except (TypeError, KeyError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def named(cls, name: str) -> Recipe:
        """A recipe that comes with the package, such as ``"smoke"`` or ``"efficientnetb4-224"``.

        Raises
        ------
        ValueError
            There is none of this name; lists those there are.
        """
        known: dict[str, Path] = {}
        for folder in (_PACKAGE / "_models" / "recipes", _PACKAGE.parent / "models" / "recipes"):
            known = {path.stem: path for path in sorted(folder.glob("*.toml"))} | known
        if name not in known:
            raise ValueError(f"unknown recipe {name!r}; there are {', '.join(sorted(known)) or 'none'}")
        return cls.read(known[name])

    def digest(self) -> str:
        """Short hash of all settings, by which a checkpoint knows its own recipe.

        Fields at their defaults do not enter, so that a field that joins later changes no old digest.
        """
        return hashlib.sha256(json.dumps(_settings(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def final_size(self) -> int:
        """Input size in pixels of the exported model."""
        return self.score_size or self.stages[-1].input_size

    def augmentation_at(self, step: int) -> Augmentation:
        """The changes that faces undergo at a step."""
        for stage in self.stages:
            step -= stage.steps
            if step < 0:
                return stage.augmentation or self.augmentation
        return self.augmentation

    def self_blend_at(self, step: int) -> float:
        """The share of self-blended fakes at a step."""
        for stage in self.stages:
            step -= stage.steps
            if step < 0:
                return self.self_blend if stage.self_blend is None else stage.self_blend
        return self.self_blend

    @property
    def self_blends(self) -> tuple[float, float]:
        """The lowest and the highest share of self-blended fakes in any stage."""
        shares = [self.self_blend if s.self_blend is None else s.self_blend for s in self.stages]
        return min(shares), max(shares)

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages together."""
        return sum(stage.steps for stage in self.stages)


def _settings(value: Any) -> Any:
    """Plain JSON of a record and of the records in it, without what stands at its default."""
    if isinstance(value, tuple):
        return [_settings(item) for item in value]
    if not is_dataclass(value):
        return value
    chosen = [f for f in fields(value) if getattr(value, f.name) != _default(f)]
    return {f.name: _settings(getattr(value, f.name)) for f in chosen}


def _default(setting: Field) -> object:
    """A field's default; MISSING, which equals no value, where it has none."""
    return setting.default if setting.default_factory is MISSING else setting.default_factory()


def _augmentation(table: dict) -> Augmentation:
    return Augmentation(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
