"""Training: a recipe and labelled faces -> a model, with checkpoints from which a killed run goes on.

Pure Keras 3 (TensorFlow, JAX or PyTorch underneath; nothing here imports TensorFlow). What a run does depends
on the recipe and the faces alone, so that a resumed one ends like an unbroken one.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ..datasets.labelled_faces import LabelledFaces, batches
from ..datasets.landmarks import LandmarkStore
from ..errors import ModelIncomplete, RedeepfakeError, displayable
from ..faces.preprocessing import Preprocessing
from ..models.architectures.builder import build_model
from ..utils.keras_backend import dtype_policy
from ..utils.numeric import sigmoid
from ..utils.writing import atomic_file
from .batches import PairBatches, score_faces
from .logs import ScalarLog, write_history
from .recipes import Recipe, Stage

if TYPE_CHECKING:
    import keras


def measure_batchnorm(model: keras.Model, x: np.ndarray, prefix: str = "norm_", batch: int = 32) -> None:
    """Express batch normalisations by the statistics of their real input, without changing the function.

    Weights read from elsewhere come with neutral statistics (mean 0, variance 1). Training would
    normalise by those of the batch and so start from another function than the one that was loaded.
    With measured statistics, and scale and shift set to undo them, it starts where it should.

    ``x`` is (N, S, S, 3) float32; a few hundred faces are enough.
    """
    import keras

    norms = [layer for layer in model.layers if layer.name.startswith(prefix)]
    if not norms:
        return
    probe = keras.Model(model.inputs, [layer.input for layer in norms])
    count = [0.0] * len(norms)
    total: list = [0.0] * len(norms)
    square: list = [0.0] * len(norms)
    for part in batches(len(x), batch):
        for i, values in enumerate(probe.predict_on_batch(x[part])):
            values = np.asarray(values, np.float64)
            axes = tuple(range(values.ndim - 1))
            count[i] += values.size / values.shape[-1]
            total[i] = total[i] + values.sum(axes)
            square[i] = square[i] + (values**2).sum(axes)
    for layer, n, s, q in zip(norms, count, total, square, strict=True):
        mean = s / n
        variance = np.maximum(q / n - mean**2, 1e-8)
        gamma, beta, old_mean, old_variance = layer.get_weights()
        slope = gamma / np.sqrt(old_variance + layer.epsilon)
        layer.set_weights(
            [slope * np.sqrt(variance + layer.epsilon), beta + slope * (mean - old_mean), mean, variance]
        )


def build(recipe: Recipe, size: int, weights: str | None, mixed: bool) -> keras.Model:
    """The recipe's network for one input size, the same random weights each time.

    ``mixed`` computes in bfloat16, with weights and logit in float32.
    """
    with dtype_policy("mixed_bfloat16" if mixed else "float32"):
        import keras

        keras.utils.set_random_seed(recipe.seed)
        return build_model(recipe.backbone, head=recipe.head, input_size=size, weights=weights)


def begin(recipe: Recipe, size: int) -> tuple[keras.Model, str]:
    """The network of a run's first step, and in words what it starts from.

    With ``recipe.fallback_random`` random weights take the place of those that cannot be had, with a warning.

    Raises
    ------
    ValueError
        A size or weights that do not fit the network.
    ModelIncomplete
        The start weights are not installed, or cannot be downloaded.
    """
    if recipe.weights is None:
        return build(recipe, size, None, recipe.mixed_precision), "random"
    try:
        return build(recipe, size, recipe.weights, recipe.mixed_precision), recipe.weights
    except ValueError:
        raise
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        cause = displayable(error.cause if isinstance(error, RedeepfakeError) else error, 300)
        if not recipe.fallback_random:
            if isinstance(error, RedeepfakeError):
                raise
            raise ModelIncomplete(
                f"the start weights cannot be had ({cause})",
                subject=f"{recipe.backbone}, {recipe.weights}",
                next_step="Connect to the internet, or set fallback_random = true in the recipe.",
            ) from error
    warnings.warn(
        f"{recipe.weights} weights cannot be had ({cause}); the run starts from random ones", stacklevel=2
    )
    start = f"random, since {recipe.weights} could not be had"
    return build(recipe, size, None, recipe.mixed_precision), start


def compile_stage(model: keras.Model, recipe: Recipe, stage: Stage) -> None:
    """Give a model the optimiser, the schedule and the loss of a stage, before its first step."""
    import keras

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
    # XLA's convolutions are many times slower than oneDNN's on a CPU; JAX compiles in any case.
    model.compile(optimizer, loss=loss, jit_compile=keras.backend.backend() == "jax")
    optimizer.build(model.trainable_variables)


# Called as progress(step, steps, recent loss) after each step.
TrainingProgress = Callable[[int, int, float], None]

# Steps between two points of the training loss in TensorBoard.
_LOG_EVERY = 10
_LISTED = 10


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """``model``: float32, averaged weights of the best evaluation. ``history``: one dict per evaluation.

    ``start``: in words, what the run's first weights were.
    """

    model: keras.Model
    history: list[dict]
    step: int
    start: str = "unknown"


def _weights(model: keras.Model) -> list[np.ndarray]:
    """Copies of all weights: Keras may hand out views of live variables, not to be averaged into."""
    return [np.array(w) for w in model.get_weights()]


def _set_weights(model: keras.Model, weights: list[np.ndarray]) -> None:
    """Set all weights from copies, so that the variables do not share memory with ``weights``."""
    model.set_weights([np.array(w) for w in weights])


def _array(variable: object) -> np.ndarray:
    import keras

    return keras.ops.convert_to_numpy(variable)


def _seeds(model: keras.Model) -> list:
    """State of the random layers: what Keras counts among a model's variables but not among its weights."""
    weights = {id(v) for v in model.weights}
    return [v for v in model.variables if id(v) not in weights]


def readable_faces(
    train_faces: LabelledFaces, val_faces: LabelledFaces
) -> tuple[LabelledFaces, LabelledFaces]:
    """Both sets without pictures that cannot be read, which one warning lists.

    Training pictures are only looked for, which is fast; the fewer val pictures are decoded.
    """
    listed = [train_faces.absent(), val_faces.unreadable()]
    _warn_of(dict(pd.concat(listed)[["file", "cause"]].itertuples(index=False)), "left out")
    return train_faces.without(listed[0]), val_faces.without(listed[1])


def _warn_of(causes: dict[str, str], fate: str) -> None:
    if not causes:
        return
    names = [f"{displayable(name)} ({cause})" for name, cause in list(causes.items())[:_LISTED]]
    rest = f" and {len(causes) - _LISTED} more" if len(causes) > _LISTED else ""
    warnings.warn(f"{len(causes)} pictures were {fate}: {', '.join(names)}{rest}", stacklevel=3)


class Run:
    """The state of one training run: model, averaged weights, place in the recipe, history."""

    def __init__(self, recipe: Recipe, train: LabelledFaces, val: LabelledFaces, out: Path) -> None:
        self.recipe = recipe
        self.val = val
        self.out = out
        self.landmarks = LandmarkStore(train, out / "landmarks.npz" if recipe.self_blends[1] else None)
        self.batches = PairBatches(train, recipe, self.landmarks)
        self.step = 0
        self.start = "unknown"
        self.stage_index = -1
        self.history: list[dict] = []
        self.best: list[np.ndarray] | None = None
        self.average: list[np.ndarray] = []
        self.model: keras.Model | None = None
        self.judge: keras.Model | None = None
        # Since the last evaluation: sum of the losses and how many.
        self.losses = (0.0, 0)
        # The last step of this stage that the average has seen, counted from the stage's start.
        self.averaged = 0
        self._log: ScalarLog | None = None

    @property
    def stage(self) -> Stage:
        return self.recipe.stages[self.stage_index]

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.npz"

    def enter(self, index: int, weights: list[np.ndarray] | None) -> None:
        """Build the model of a stage, with the weights of the one before."""
        stage = self.recipe.stages[index]
        if weights is not None:
            self.model = build(self.recipe, stage.input_size, None, self.recipe.mixed_precision)
            _set_weights(self.model, weights)
        else:
            self.model, self.start = begin(self.recipe, stage.input_size)
            if self.start == "face_recognition":
                sample = [
                    self.batches.make(i, stage.input_size)[0] for i in range(max(1, 512 // self._batch))
                ]
                measure_batchnorm(self.model, np.concatenate(sample))
        self.stage_index = index
        compile_stage(self.model, self.recipe, stage)
        self.average, self.averaged = _weights(self.model), 0

    @property
    def _batch(self) -> int:
        return 2 * self.recipe.batch_pairs

    def stage_start(self, index: int) -> int:
        return sum(stage.steps for stage in self.recipe.stages[:index])

    # -- checkpoints

    def save(self) -> None:
        """Write everything a resumed run needs into one file, replaced in one move."""
        arrays = {f"model_{i}": w for i, w in enumerate(self.model.get_weights())}
        arrays |= {f"average_{i}": w for i, w in enumerate(self.average)}
        arrays |= {f"optimizer_{i}": _array(v) for i, v in enumerate(self.model.optimizer.variables)}
        arrays |= {f"seed_{i}": _array(v) for i, v in enumerate(_seeds(self.model))}
        if self.best is not None:
            arrays |= {f"best_{i}": w for i, w in enumerate(self.best)}
        state = {
            "recipe": self.recipe.digest(),
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
        """Go on from the checkpoint, if there is one.

        Raises
        ------
        ValueError
            The checkpoint belongs to another recipe.
        """
        if not self.checkpoint.is_file():
            return False
        with np.load(self.checkpoint) as saved:
            state = json.loads(str(saved["state"]))
            if state["recipe"] != self.recipe.digest():
                raise ValueError(f"{self.checkpoint} was written by another recipe; choose another folder")

            def group(name: str) -> list[np.ndarray]:
                count = sum(key.startswith(f"{name}_") for key in saved.files)
                return [saved[f"{name}_{i}"] for i in range(count)]

            self.enter(state["stage"], group("model"))
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

    def advance(self, progress: TrainingProgress | None) -> None:
        """Train to the end of the current stage."""
        end = self.stage_start(self.stage_index) + self.stage.steps
        recent: list[float] = []
        for step, (x, y) in self.batches.ahead(self.step, end, self.stage.input_size):
            recent = [*recent[-49:], float(self.model.train_on_batch(x, y))]
            self.losses = (self.losses[0] + recent[-1], self.losses[1] + 1)
            self.step = step + 1
            judged = self.step % self.recipe.evaluate_every == 0 or self.step == end
            if judged or self.step % self._AVERAGE_EVERY == 0:
                self._update_average()
            if progress is not None:
                progress(self.step, self.recipe.steps, float(np.mean(recent)))
            if self.step % _LOG_EVERY == 0:
                self._write_scalars({"train/loss": recent[-1]})
            if judged:
                self.evaluate(self.losses[0] / self.losses[1])
                self.losses = (0.0, 0)
                if self._exhausted():
                    return
            if self.step % self.recipe.checkpoint_every == 0 or self.step == end:
                self.save()

    _AVERAGE_EVERY = 10

    def _update_average(self) -> None:
        """Fold the current weights into the average; early on it forgets faster, so that the start fades."""
        done = self.step - self.stage_start(self.stage_index)
        decay = min(self.recipe.average, done / (done + 20)) ** (done - self.averaged)
        self.averaged = done
        for kept, new in zip(self.average, self.model.get_weights(), strict=True):
            if np.issubdtype(kept.dtype, np.floating):
                kept *= decay
                kept += (1 - decay) * new
            else:
                kept[...] = new  # a counter, as EfficientNet's first layer holds one

    def evaluate(self, loss: float) -> None:
        """Judge the averaged weights on val; remember them if they are the best so far."""
        from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

        size = self.recipe.score_size or self.stage.input_size
        if self.judge is None or self.judge.input_shape[1] != size:
            self.judge = build(self.recipe, size, None, self.recipe.mixed_precision)
        _set_weights(self.judge, self.average)
        logits = score_faces(self.judge.predict_on_batch, self.val, Preprocessing(input_size=size))
        y = self.val.y
        p = sigmoid(logits)
        line = {
            "step": self.step,
            "input_size": self.stage.input_size,
            "train_loss": round(loss, 5),
            "val_auc": round(float(roc_auc_score(y, p)), 5),
            "val_accuracy": round(float(accuracy_score(y, p > 0.5)), 5),
            "val_log_loss": round(float(log_loss(y, p)), 5),
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
            self._log = ScalarLog(self.out / "tensorboard", self.step)
        self._log.add(self.step, values)

    def _exhausted(self) -> bool:
        if not self.recipe.patience:
            return False
        scores = [h["val_auc"] for h in self.history]
        return len(scores) - 1 - int(np.argmax(scores)) >= self.recipe.patience


def train(
    recipe: Recipe,
    train_faces: LabelledFaces,
    val_faces: LabelledFaces,
    out: str | Path,
    *,
    resume: bool = True,
    progress: TrainingProgress | None = None,
) -> TrainingResult:
    """Train a model by a recipe.

    Parameters
    ----------
    train_faces, val_faces
        Models are chosen on ``val_faces``; the two must not share a person. Pictures that are not there
        are left out, with one warning that lists them; one that turns out damaged on the way is replaced.
    out
        Folder for ``checkpoint.npz``, ``history.csv``, TensorBoard's ``tensorboard/`` and, with
        self-blending, ``landmarks.npz``.
    resume
        Go on from the checkpoint in ``out``; ``False`` starts anew.
    progress
        Called as ``progress(step, steps, loss)`` after each step.

    Raises
    ------
    ValueError
        A checkpoint of another recipe in ``out``, no faces to train on, or val with one label alone.
    ModelIncomplete
        The recipe's start weights cannot be had, and it does not allow random ones in their place.
    """
    train_faces, val_faces = readable_faces(train_faces, val_faces)
    if len(np.unique(val_faces.y)) < 2:
        raise ValueError("val needs readable faces of both labels, since models are chosen on it")
    run = Run(recipe, train_faces, val_faces, Path(out))
    if not (resume and run.restore()):
        run.enter(0, None)
    while True:
        run.advance(progress)
        if run.stage_index + 1 == len(recipe.stages) or run._exhausted():
            break
        run.enter(run.stage_index + 1, run.average)
        run.save()
    run.save()
    final = build(recipe, recipe.final_size, None, mixed=False)
    _set_weights(final, run.best)
    _warn_of(run.batches.unreadable, "replaced by their neighbours")
    return TrainingResult(final, run.history, run.step, run.start)
