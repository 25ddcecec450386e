"""What decides a training run, as a TOML file on disk and as a record in memory."""

from __future__ import annotations

import hashlib
import json
import tomllib
from dataclasses import asdict, dataclass, field
from pathlib import Path

from .architectures import Head
from .augmentation import Augmentation


@dataclass(frozen=True)
class Stage:
    """Some steps at one input size; the learning rate warms up to ``rate`` and falls along a cosine.

    ``augmentation`` replaces the recipe's for this stage: what a network has seen often wants harder changes.
    """

    input_size: int
    steps: int
    rate: float
    warmup: int = 100
    augmentation: Augmentation | None = None


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

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a TOML file; its keys are this class's fields, tables are the nested ones.

        Raises
        ------
        ValueError
            A key that no field has.
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
        except (TypeError, KeyError) as error:
            raise ValueError(f"{path}: {error}") from error

    def digest(self) -> str:
        """Short hash of all settings, by which a checkpoint knows its own recipe."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:16]

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

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages together."""
        return sum(stage.steps for stage in self.stages)


def _augmentation(table: dict) -> Augmentation:
    return Augmentation(**{k: tuple(v) if isinstance(v, list) else v for k, v in table.items()})
