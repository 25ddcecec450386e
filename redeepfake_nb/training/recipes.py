"""Training recipes: all settings of a training run, read from TOML files."""

from __future__ import annotations

import difflib
import hashlib
import json
import tomllib
from collections.abc import Mapping
from dataclasses import MISSING, Field, dataclass, field, fields, is_dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ..datasets.augmentation import Augmentation
from ..datasets.pseudo_fakes import PSEUDO_FAKES
from ..errors import one_line_message
from ..models.architectures.builder import Head
from ..utils.numeric import is_finite_number
from .hidden_probe import HiddenProbe

_T = TypeVar("_T")

_PACKAGE = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Source:
    """How faces of one source take part in training; sources are named by the table's column ``source``.

    Parameters
    ----------
    name
        Of the source.
    weight
        Share of all pairs that come from this source, relative to the other sources' weights.
    real
        Sources of the genuine faces that its fakes are paired with, each as often as the others, where the
        table does not name a fake's own original. By default the genuine faces of the source itself. They
        should be made like the fakes (same camera, size, compression), so that the difference in a pair is
        the manipulation and not the source. A source without fakes takes part with pseudo-fakes of its own
        faces.
    """

    name: str
    weight: float = 1.0
    real: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "real", tuple(self.real))
        if not (is_finite_number(self.weight) and self.weight > 0):
            raise ValueError(f"the weight of {self.name!r} must be above 0, not {self.weight!r}")


@dataclass(frozen=True)
class Stage:
    """A number of steps at one input size, with linear warm-up and cosine decay of the learning rate.

    Parameters
    ----------
    input_size
        Side of the model input in pixels.
    steps, warmup
        Optimiser steps of the stage, and of its warm-up.
    rate
        Learning rate after the warm-up; only a linear probe needs none.
    augmentation, self_blend, pseudo_fakes
        Replace the recipe's for this stage; later stages often need stronger augmentation.
    leave_out
        Sources that take no part in this stage, neither their fakes nor their genuine faces. How they are
        judged at its end shows what the model makes of sources that it has not seen.
    """

    input_size: int
    steps: int
    rate: float | None = None
    warmup: int = 100
    augmentation: Augmentation | None = None
    self_blend: float | None = None
    pseudo_fakes: Mapping[str, float] | None = None
    leave_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "leave_out", tuple(self.leave_out))


@dataclass(frozen=True)
class Recipe:
    """All settings of a training run. Read from a TOML file by :meth:`read`.

    Parameters
    ----------
    name
        Name of the recipe and of the exported files.
    backbone, weights, head
        Network, initial weights and classification head; see :func:`redeepfake_nb.build_model`. Weights may
        also be those of a model file that was trained with the same network (``runs/a/a.keras``). None for
        random ones.
    stages
        Trained one after another.
    batch_pairs
        Pairs of one fake and one real face per batch.
    weight_decay, label_smoothing, clip_norm
        Of AdamW, of the loss, and the largest norm of the gradient (0: no limit).
    average
        Decay per step of the moving average of the weights, which is evaluated and exported.
    mixed_precision
        Compute in bfloat16.
    augmentation
        Random changes of the faces.
    seed
        Of initial weights, order and augmentation.
    evaluate_every, checkpoint_every
        In steps.
    patience
        Training stops after this many evaluations without a better val AUC; 0 disables early stopping.
    score_size
        Input size in pixels for evaluation and export; ``None``: that of the last stage. Training crops and
        so enlarges faces; a whole face should therefore be fed larger than the training size (Touvron et al.
        2019, "Fixing the train-test resolution discrepancy").
    mirror
        Whether the exported model averages the logits of a face and its mirror image.
    self_blend
        Share of pairs, 0 to 1, whose fake is replaced by a self-blended copy of the pair's real face
        (:func:`redeepfake_nb.datasets.self_blending.self_blend`), drawn anew each time. With 1, no fakes of
        the table are used or needed.
    pseudo_fakes
        Shares of other pseudo-fakes, by name, see
        :data:`redeepfake_nb.datasets.pseudo_fakes.PSEUDO_FAKES`; together with ``self_blend`` at most 1.
    sources
        Which sources take part, and how often. Empty: every fake of the table once an epoch.
    val_faces
        Most val faces per source and label that are scored during training; 0: all. The finished model is
        evaluated on all of them in any case.
    linear_probe
        Train the linear head alone, by a logistic regression on features that stay as they are; this is how
        weakly it is regularised, scikit-learn's ``C``. The only stage says how many batches it is fitted to.
        See :mod:`redeepfake_nb.training.probe`. None: train all weights, or as ``hidden_probe`` says.
    hidden_probe
        Train a hidden layer over CLIP's features (``clip_units`` of the head) and the logit behind it, and
        leave the features as they are; otherwise as ``linear_probe``.
    trainable
        Parts of the names of the layers that are trained, ``("norm", "logit")``; the others keep their
        initial weights. Empty: all layers.
    fallback_random
        Whether a run may start from random weights if ``weights`` are not available; history and card then
        say so. Otherwise that is an error.
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
    pseudo_fakes: Mapping[str, float] = field(default_factory=dict)
    sources: tuple[Source, ...] = ()
    val_faces: int = 0
    fallback_random: bool = False
    linear_probe: float | None = None
    hidden_probe: HiddenProbe | None = None
    trainable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if isinstance(self.trainable, str) or not all(
            isinstance(part, str) and part for part in self.trainable
        ):
            raise ValueError(f"trainable must be a list of parts of layer names, not {self.trainable!r}")
        object.__setattr__(self, "trainable", tuple(self.trainable))
        for share in (self.self_blend, *(s.self_blend for s in self.stages if s.self_blend is not None)):
            if not 0 <= share <= 1:
                raise ValueError(f"self_blend must be a share from 0 to 1, not {share}")
        for shares in self._stage_shares():
            _check_shares(shares)
        if not self.is_probe:
            if any(stage.rate is None for stage in self.stages):
                raise ValueError("each stage needs a learning rate (rate)")
        else:
            self._check_probe()
        names = [source.name for source in self.sources]
        if len(set(names)) < len(names):
            raise ValueError(f"a source is listed twice: {', '.join(names)}")
        unknown = {name for stage in self.stages for name in stage.leave_out} - set(names)
        if unknown:
            raise ValueError(f"leave_out names unknown sources: {', '.join(sorted(unknown))}")

    def _check_probe(self) -> None:
        """Check the fields of a recipe that trains the head alone."""
        name, clip_units = "linear_probe", 0 if self.head is None else self.head.clip_units
        if self.hidden_probe is not None:
            name = "hidden_probe"
            if self.linear_probe is not None:
                raise ValueError("a recipe has linear_probe or hidden_probe, not both")
            if not clip_units:
                raise ValueError("hidden_probe needs a head with clip_units, the width of its hidden layer")
        else:
            if not (is_finite_number(self.linear_probe) and self.linear_probe > 0):
                raise ValueError(f"linear_probe must be above 0, not {self.linear_probe!r}")
            if clip_units:
                raise ValueError("a hidden layer (clip_units) is trained by hidden_probe, not linear_probe")
        if len(self.stages) != 1 or (self.head is not None and self.head.units):
            raise ValueError(f"{name} needs a single stage and a head without dense layers")
        if self.trainable:
            raise ValueError(f"{name} trains the head alone, so trainable has no use beside it")

    @property
    def is_probe(self) -> bool:
        """Whether nothing but the head is trained."""
        return self.linear_probe is not None or self.hidden_probe is not None

    @classmethod
    def read(cls, path: str | Path) -> Recipe:
        """Read a TOML file whose keys are the fields of this class; nested records are tables.

        Raises
        ------
        ValueError
            It cannot be read, a key is not a field, or a value is invalid.
        """
        try:
            with open(path, "rb") as file:
                values = tomllib.load(file)
        except (OSError, tomllib.TOMLDecodeError) as error:
            raise ValueError(f"{path}: the recipe cannot be read ({one_line_message(error)})") from error
        values.setdefault("name", Path(path).stem)
        try:
            for table in (values, *values.get("stages", ())):
                if "augmentation" in table:
                    table["augmentation"] = _augmentation(table["augmentation"])
            if "stages" in values:
                values["stages"] = tuple(_record(Stage, stage, "[[stages]]") for stage in values["stages"])
            sources = values.get("sources", ())
            values["sources"] = tuple(_record(Source, source, "[[sources]]") for source in sources)
            if "head" in values:
                values["head"] = _record(Head, values["head"], "[head]")
            if "hidden_probe" in values:
                values["hidden_probe"] = _record(HiddenProbe, values["hidden_probe"], "[hidden_probe]")
            return _record(cls, values, "the recipe")
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path}: {error}") from error

    @classmethod
    def named(cls, name: str) -> Recipe:
        """Read a recipe that comes with the package, such as ``"smoke"`` or ``"efficientnetb4-224"``.

        Raises
        ------
        ValueError
            There is no recipe of this name; the message lists all names.
        """
        known: dict[str, Path] = {}
        for folder in (_PACKAGE / "_models" / "recipes", _PACKAGE.parent / "models" / "recipes"):
            known = {path.stem: path for path in sorted(folder.glob("*.toml"))} | known
        if name not in known:
            raise ValueError(f"unknown recipe {name!r}; there are {', '.join(sorted(known)) or 'none'}")
        return cls.read(known[name])

    def digest(self) -> str:
        """Return a short hash of all settings, which ties a checkpoint to its recipe.

        Fields at their defaults are left out, so that adding a field does not change existing digests.
        """
        return hashlib.sha256(json.dumps(_settings(self), sort_keys=True).encode()).hexdigest()[:16]

    @property
    def final_size(self) -> int:
        """Input size in pixels of the exported model."""
        return self.score_size or self.stages[-1].input_size

    def stage_at(self, step: int) -> Stage:
        """Return the stage that a step belongs to; the last one after the end."""
        for stage in self.stages:
            step -= stage.steps
            if step < 0:
                return stage
        return self.stages[-1]

    def augmentation_at(self, step: int) -> Augmentation:
        """Return the augmentation at a step."""
        return self.stage_at(step).augmentation or self.augmentation

    def pseudo_fakes_at(self, step: int) -> dict[str, float]:
        """Return the share of each kind of pseudo-fakes at a step, self-blended ones first."""
        return self._shares(self.stage_at(step))

    @property
    def pseudo_share(self) -> tuple[float, float]:
        """The lowest and the highest share of pseudo-fakes in any stage."""
        totals = [sum(shares.values()) for shares in self._stage_shares()]
        return min(totals), max(totals)

    def _shares(self, stage: Stage) -> dict[str, float]:
        blend = self.self_blend if stage.self_blend is None else stage.self_blend
        others = self.pseudo_fakes if stage.pseudo_fakes is None else stage.pseudo_fakes
        return {"self_blend": blend, **others}

    def _stage_shares(self) -> list[dict[str, float]]:
        return [self._shares(stage) for stage in self.stages]

    @property
    def steps(self) -> int:
        """Optimiser steps of all stages together."""
        return sum(stage.steps for stage in self.stages)


def choose_recipe(name: str = "", *, practice: bool = False, self_blend: float | None = None) -> Recipe:
    """Return a recipe by name or file, with a share of self-blended fakes of your own.

    Parameters
    ----------
    name
        Of a recipe that comes with the package, or the path of a ``.toml`` file. Empty: ``"smoke"`` for a
        practice set, else ``"efficientnetb4-224"``.
    practice
        Whether the faces are a practice set.
    self_blend
        Share of self-blended fakes, 0 to 1; None: the recipe's.

    Raises
    ------
    ValueError
        No such recipe, or a share out of range.
    """
    name = name or ("smoke" if practice else "efficientnetb4-224")
    recipe = Recipe.read(name) if name.endswith(".toml") else Recipe.named(name)
    return recipe if self_blend is None else replace(recipe, self_blend=self_blend)


def _check_shares(shares: Mapping[str, float]) -> None:
    unknown = set(shares) - set(PSEUDO_FAKES)
    if unknown:
        raise ValueError(
            f"unknown pseudo-fakes {', '.join(sorted(unknown))}; there are {', '.join(PSEUDO_FAKES)}"
        )
    if not all(is_finite_number(share) and share >= 0 for share in shares.values()) or (
        sum(shares.values()) > 1 + 1e-9
    ):
        raise ValueError(f"shares of pseudo-fakes must be 0 or more and at most 1 together, not {shares}")


def _settings(value: Any) -> Any:
    """Convert a record and nested records to plain JSON, without fields at their defaults."""
    if isinstance(value, tuple):
        return [_settings(item) for item in value]
    if isinstance(value, Mapping):
        return dict(value)
    if not is_dataclass(value):
        return value
    chosen = [f for f in fields(value) if getattr(value, f.name) != _default(f)]
    return {f.name: _settings(getattr(value, f.name)) for f in chosen}


def _default(setting: Field[Any]) -> object:
    """Return a field's default, or MISSING, which equals no value."""
    return setting.default if setting.default_factory is MISSING else setting.default_factory()


def _augmentation(table: dict[str, Any]) -> Augmentation:
    values = {k: tuple(v) if isinstance(v, list) else v for k, v in table.items()}
    return _record(Augmentation, values, "[augmentation]")


def _record(record: type[_T], values: dict[str, Any], place: str) -> _T:
    """Make a record from a table, whose keys must be its fields."""
    known = {f.name: f for f in fields(record)}  # type: ignore[arg-type]
    unknown = [name for name in values if name not in known]
    if unknown:
        close = difflib.get_close_matches(unknown[0], known, 1)
        there_are = f"do you mean {close[0]!r}?" if close else f"there are {', '.join(known)}"
        raise ValueError(f"{place} has an unknown key {unknown[0]!r}; {there_are}")
    missing = [name for name, f in known.items() if _default(f) is MISSING and name not in values]
    if missing:
        raise ValueError(f"{place} lacks {', '.join(missing)}")
    return record(**values)
