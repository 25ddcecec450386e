"""Train a model by a recipe on labelled faces, with checkpoints from which an interrupted run resumes.

Training is pure Keras 3, on TensorFlow, JAX or PyTorch; TensorFlow is only used for TensorBoard logs, if it
is installed. A run depends on the recipe and the faces alone, so that a resumed run ends like an
uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import COLUMNS, LabelledFaces
from ..datasets.landmarks import LandmarkStore
from ..errors import displayable
from ..faces.preprocessing import Preprocessing
from ..utils.writing import atomic_file
from .batches import PairBatches, score_faces
from .checkpoints import check_checkpoint
from .logs import ScalarLog, write_history
from .network_start import build, freeze, initial_network, measure_batchnorm, set_weights
from .prefetching import prefetched
from .probe import Checkpoint, fit_probe
from .recipes import Recipe, Stage
from .validation import sample_of_each_source, source_aucs, val_metrics

if TYPE_CHECKING:
    import keras


def compile_stage(model: keras.Model, recipe: Recipe, stage: Stage) -> None:
    """Compile a model with the optimiser, the learning rate schedule and the loss of a stage."""
    import keras

    assert stage.rate is not None  # the recipe was checked
    rate = keras.optimizers.schedules.CosineDecay(
        0.0,
        max(1, stage.steps - stage.warmup),
        alpha=0.02,
        warmup_target=stage.rate,
        warmup_steps=max(1, stage.warmup),
    )
    optimizer = keras.optimizers.AdamW(
        rate, weight_decay=recipe.weight_decay, global_clipnorm=recipe.clip_norm or None
    )
    optimizer.exclude_from_weight_decay(var_names=["gamma", "beta", "bias"])
    loss = keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=recipe.label_smoothing)
    # On a CPU, XLA's convolutions are many times slower than oneDNN's; JAX always compiles.
    model.compile(optimizer, loss=loss, jit_compile=keras.backend.backend() == "jax")
    optimizer.build(model.trainable_variables)


# Called as progress(step, steps, recent loss) after each step.
TrainingProgress = Callable[[int, int, float], None]

# Steps between two points of the training loss in TensorBoard.
_LOG_EVERY = 10
# Most files that a warning names.
_MAX_LISTED = 10


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """Result of a training run.

    Parameters
    ----------
    model
        float32, with the averaged weights of the best evaluation.
    history
        One dict per evaluation; see :meth:`TrainingRun.evaluate`.
    step
        Number of steps taken.
    start
        The initial weights, in words.
    """

    model: keras.Model
    history: list[dict[str, Any]]
    step: int
    start: str = "unknown"


def _weights(model: keras.Model) -> list[np.ndarray]:
    """Copy all weights, because Keras may return views of the variables."""
    return [np.array(w) for w in model.get_weights()]


def _array(variable: object) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(variable)


def _seeds(model: keras.Model) -> list[Any]:
    """Return the state of random layers: variables of the model that Keras does not count as weights."""
    weights = {id(v) for v in model.weights}
    return [v for v in model.variables if id(v) not in weights]


def readable_faces(
    train_faces: LabelledFaces, val_faces: LabelledFaces
) -> tuple[LabelledFaces, LabelledFaces]:
    """Drop pictures that cannot be read from both sets, and list them in one warning.

    Training pictures are only checked for existence, which is fast; the fewer val pictures are decoded.
    """
    listed = [train_faces.absent(), val_faces.unreadable()]
    _warn_of(dict(pd.concat(listed)[["file", "cause"]].itertuples(index=False)), "left out")
    return train_faces.without(listed[0]), val_faces.without(listed[1])


def _warn_of(causes: dict[str, str], fate: str) -> None:
    if not causes:
        return
    names = [f"{displayable(name)} ({cause})" for name, cause in list(causes.items())[:_MAX_LISTED]]
    rest = f" and {len(causes) - _MAX_LISTED} more" if len(causes) > _MAX_LISTED else ""
    warnings.warn(f"{len(causes)} pictures were {fate}: {', '.join(names)}{rest}", stacklevel=3)


class TrainingRun:
    """State of a training run: model, averaged weights, position in the recipe, history."""

    def __init__(
        self, recipe: Recipe, train: LabelledFaces, val: LabelledFaces, out: Path, workers: int = 0
    ) -> None:
        self.recipe = recipe
        self.workers = workers
        self.val = sample_of_each_source(val, recipe.val_faces)
        self.out = out
        self.faces = _digest(train, val)
        self.landmarks = LandmarkStore(train, out / "landmarks.npz" if recipe.pseudo_share[1] else None)
        self.batches = PairBatches(train, recipe, self.landmarks)
        self.step = 0
        self.start = "unknown"
        self.stage_index = -1
        self.history: list[dict[str, Any]] = []
        self.best: list[np.ndarray] | None = None
        self.average: list[np.ndarray] = []
        # Set by start_stage.
        self.model: keras.Model
        self._evaluated: keras.Model | None = None
        # Sum and number of the losses since the last evaluation.
        self.losses = (0.0, 0)
        # The step of this stage, counted from its start, at which the average was last updated.
        self.averaged = 0
        self._log: ScalarLog | None = None

    @property
    def stage(self) -> Stage:
        return self.recipe.stages[self.stage_index]

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.npz"

    def start_stage(self, index: int, weights: list[np.ndarray] | None) -> None:
        """Build and compile the model of a stage, with the weights of the stage before."""
        stage = self.recipe.stages[index]
        if weights is not None:
            self.model = build(self.recipe, stage.input_size, None, self.recipe.mixed_precision)
            set_weights(self.model, weights)
        else:
            self.model, self.start = initial_network(self.recipe, stage.input_size)
            if self.start == "face_recognition":
                sample = [
                    self.batches.make(i, stage.input_size)[0] for i in range(max(1, 512 // self._batch))
                ]
                measure_batchnorm(self.model, np.concatenate(sample))
        self.stage_index = index
        freeze(self.model, self.recipe.trainable)
        compile_stage(self.model, self.recipe, stage)
        self.average, self.averaged = _weights(self.model), 0

    @property
    def _batch(self) -> int:
        return 2 * self.recipe.batch_pairs

    def stage_start(self, index: int) -> int:
        """Return the number of steps before a stage."""
        return sum(stage.steps for stage in self.recipe.stages[:index])

    # -- checkpoints

    def save(self) -> None:
        """Write everything that a resumed run needs to one file, atomically."""
        arrays = {f"model_{i}": w for i, w in enumerate(self.model.get_weights())}
        arrays |= {f"average_{i}": w for i, w in enumerate(self.average)}
        arrays |= {f"optimizer_{i}": _array(v) for i, v in enumerate(self.model.optimizer.variables)}
        arrays |= {f"seed_{i}": _array(v) for i, v in enumerate(_seeds(self.model))}
        if self.best is not None:
            arrays |= {f"best_{i}": w for i, w in enumerate(self.best)}
        state = {
            "recipe": self.recipe.digest(),
            "faces": self.faces,
            "step": self.step,
            "stage": self.stage_index,
            "start": self.start,
            "losses": self.losses,
            "averaged": self.averaged,
            "history": self.history,
        }
        with atomic_file(self.checkpoint) as part, open(part, "wb") as file:
            np.savez(file, state=np.array(json.dumps(state)), **arrays)
        self.landmarks.save()

    def restore(self) -> bool:
        """Restore the checkpoint, and return whether there is one.

        Raises
        ------
        ValueError
            The checkpoint belongs to another recipe, or to other faces.
        """
        if not self.checkpoint.is_file():
            return False
        with np.load(self.checkpoint) as saved:
            state = json.loads(str(saved["state"]))
            check_checkpoint(self.checkpoint, state, self.recipe.digest(), self.faces)

            def group(name: str) -> list[np.ndarray]:
                count = sum(key.startswith(f"{name}_") for key in saved.files)
                return [saved[f"{name}_{i}"] for i in range(count)]

            self.start_stage(state["stage"], group("model"))
            for variable, value in zip(self.model.optimizer.variables, group("optimizer"), strict=True):
                variable.assign(value)
            for variable, value in zip(_seeds(self.model), group("seed"), strict=True):
                variable.assign(value)
            self.average = group("average")
            self.best = group("best") or None
        self.step, self.history = state["step"], state["history"]
        self.start, self.losses, self.averaged = state["start"], tuple(state["losses"]), state["averaged"]
        return True

    # -- steps

    def train_stage(self, progress: TrainingProgress | None) -> None:
        """Train to the end of the current stage, or until patience is exhausted."""
        end = self.stage_start(self.stage_index) + self.stage.steps
        recent: list[float] = []
        for step, (x, y) in prefetched(self.batches, self.step, end, self.stage.input_size, self.workers):
            recent = [*recent[-49:], float(self.model.train_on_batch(x, y))]
            self.losses = (self.losses[0] + recent[-1], self.losses[1] + 1)
            self.step = step + 1
            evaluate = self.step % self.recipe.evaluate_every == 0 or self.step == end
            if evaluate or self.step % self._AVERAGE_EVERY == 0:
                self._update_average()
            if progress is not None:
                progress(self.step, self.recipe.steps, float(np.mean(recent)))
            if self.step % _LOG_EVERY == 0:
                self._write_scalars({"train/loss": recent[-1]})
            if evaluate:
                self.evaluate(self.losses[0] / self.losses[1])
                self.losses = (0.0, 0)
                if self.patience_exhausted():
                    return
            if self.step % self.recipe.checkpoint_every == 0 or self.step == end:
                self.save()

    _AVERAGE_EVERY = 10

    def _update_average(self) -> None:
        """Update the moving average of the weights; its decay starts low, so that old weights fade fast."""
        done = self.step - self.stage_start(self.stage_index)
        decay = min(self.recipe.average, done / (done + 20)) ** (done - self.averaged)
        self.averaged = done
        for kept, new in zip(self.average, self.model.get_weights(), strict=True):
            if np.issubdtype(kept.dtype, np.floating):
                kept += (1 - decay) * (new - kept)  # exactly the same where a layer is not trained
            else:
                kept[...] = new  # a counter, such as in EfficientNet's first layer

    def evaluate(self, loss: float) -> None:
        """Evaluate the averaged weights on val, append to the history, and keep the weights of the best AUC.

        ``loss`` is the mean training loss since the last evaluation.
        """
        size = self.recipe.score_size or self.stage.input_size
        model = self._evaluated
        if model is None or model.input_shape[1] != size:
            model = self._evaluated = build(self.recipe, size, None, self.recipe.mixed_precision)
        set_weights(model, self.average)
        logits = score_faces(model.predict_on_batch, self.val, Preprocessing(input_size=size))
        line: dict[str, Any] = {
            "step": self.step,
            "input_size": self.stage.input_size,
            "train_loss": round(loss, 5),
            **val_metrics(self.recipe, self.val, logits),
            "start": self.start,
        }
        if self.best is None or line["val_auc"] > max(h["val_auc"] for h in self.history):
            self.best = [w.copy() for w in self.average]
        self.history.append(line)
        write_history(self.out / "history.csv", self.history)
        self._write_scalars(
            {
                "epoch/train_loss": loss,
                **{f"epoch/{name}": line[name] for name in ("val_auc", "val_accuracy", "val_log_loss")},
                "epoch/rate": float(_array(self.model.optimizer.learning_rate)),
            }
        )

    def _write_scalars(self, values: dict[str, float]) -> None:
        if self._log is None:
            self._log = ScalarLog(self.out / "tensorboard")
        self._log.add(self.step, values)

    def patience_exhausted(self) -> bool:
        """Return whether val AUC has not improved for ``recipe.patience`` evaluations."""
        if not self.recipe.patience or not self.history:
            return False
        scores = [h["val_auc"] for h in self.history]
        return len(scores) - 1 - int(np.argmax(scores)) >= self.recipe.patience


def _digest(*parts: LabelledFaces) -> str:
    """Return a short hash of which faces a run is trained and evaluated on."""
    found = hashlib.sha256()
    for part in parts:
        listed = part.table.reindex(columns=["collection", "source", *COLUMNS])
        found.update(listed.astype(object).where(listed.notna(), "").to_csv(index=False).encode())
    return found.hexdigest()[:16]


def train(
    recipe: Recipe,
    train_faces: LabelledFaces,
    val_faces: LabelledFaces,
    out: str | Path,
    *,
    resume: bool = True,
    progress: TrainingProgress | None = None,
    workers: int = 0,
) -> TrainingResult:
    """Train a model by a recipe.

    Parameters
    ----------
    recipe
        From :meth:`Recipe.read` or :meth:`Recipe.named`.
    train_faces, val_faces
        The model is selected on ``val_faces``; the two must not share a person. Missing pictures are left
        out, with one warning that lists them; pictures that turn out to be damaged during training are
        replaced.
    out
        Folder for ``checkpoint.npz``, ``history.csv``, ``tensorboard/`` (event files, if TensorFlow is
        installed) and, with self-blending, ``landmarks.npz``.
    resume
        Continue from the checkpoint in ``out``, if it is of the same faces; ``False`` starts over.
    progress
        Called as ``progress(step, steps, loss)`` after each step; the loss of a linear probe is NaN.
    workers
        Processes that make batches; 0: a thread, which keeps up with a network on the same processor. The
        batches are the same. See :func:`redeepfake_nb.training.prefetching.prefetched`.

    Raises
    ------
    ValueError
        ``out`` has a checkpoint of another recipe or of other faces, there are no faces to train on, or val
        has only one label.
    ModelIncomplete
        The recipe's initial weights are not available, and it does not allow random ones instead.
    """
    train_faces, val_faces = readable_faces(train_faces, val_faces)
    if len(np.unique(val_faces.y)) < 2:
        raise ValueError("val needs readable faces of both labels, because the model is selected on it")
    if recipe.sources and not source_aucs(recipe, val_faces, np.zeros(len(val_faces))):
        names = ", ".join(source.name for source in recipe.sources)
        raise ValueError(
            f"val has no fakes with real faces to compare them with of any source of the recipe ({names})"
        )
    if recipe.is_probe:
        return _train_probe(recipe, train_faces, val_faces, Path(out), resume, progress, workers)
    run = TrainingRun(recipe, train_faces, val_faces, Path(out), workers)
    if not (resume and run.restore()):
        run.start_stage(0, None)
    # A run that had stopped early, or was complete, does not go on.
    while not run.patience_exhausted():
        run.train_stage(progress)
        if run.stage_index + 1 == len(recipe.stages) or run.patience_exhausted():
            break
        run.start_stage(run.stage_index + 1, run.average)
        run.save()
    run.save()
    final = build(recipe, recipe.final_size, None, mixed=False)
    set_weights(final, run.average if run.best is None else run.best)
    _warn_of(run.batches.unreadable, "replaced by other pairs")
    return TrainingResult(final, run.history, run.step, run.start)


def _train_probe(
    recipe: Recipe,
    train_faces: LabelledFaces,
    val_faces: LabelledFaces,
    out: Path,
    resume: bool,
    progress: TrainingProgress | None,
    workers: int,
) -> TrainingResult:
    """Train the head alone; the history has one evaluation, of the finished model."""
    val = sample_of_each_source(val_faces, recipe.val_faces)
    landmarks = LandmarkStore(train_faces, out / "landmarks.npz" if recipe.pseudo_share[1] else None)
    pairs = PairBatches(train_faces, recipe, landmarks)
    checkpoint = Checkpoint(out / "checkpoint.npz", recipe.digest(), _digest(train_faces, val_faces))
    model, start, loss = fit_probe(
        recipe, pairs, checkpoint, resume=resume, progress=progress, workers=workers
    )
    logits = score_faces(model.predict_on_batch, val, Preprocessing(input_size=recipe.final_size))
    line = {
        "step": recipe.steps,
        "input_size": recipe.final_size,
        "train_loss": round(loss, 5),
        **val_metrics(recipe, val, logits),
        "start": start,
    }
    write_history(out / "history.csv", [line])
    _warn_of(pairs.unreadable, "replaced by other pairs")
    return TrainingResult(model, [line], recipe.steps, start)
