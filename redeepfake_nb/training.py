"""Training: a recipe and labelled faces -> a model, with checkpoints from which a killed run goes on.

Pure Keras 3 (TensorFlow, JAX or PyTorch underneath). Every batch is a function of the recipe's seed and the
step's number alone, so a resumed run sees the batches that an unbroken one would have seen.
"""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from .architectures import build_model
from .augmentation import apply, draw
from .datasets import LabelledFaces, batches, pair_up
from .preprocessing import Preprocessing, prepare_crop
from .recipes import Recipe, Stage

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, eq=False)
class TrainingResult:
    """``model``: float32, averaged weights of the best evaluation. ``history``: one dict per evaluation."""

    model: keras.Model
    history: list[dict]
    step: int


# ------------------------------------------------------------------ batches


class PairBatches:
    """Batch ``step`` of a run: (2P, S, S, 3) float32 0..255 and (2P, 1) float32 labels, fakes first.

    Each epoch is a fresh permutation of the pairs. Both faces of a pair get the same augmentation.
    """

    def __init__(self, faces: LabelledFaces, recipe: Recipe) -> None:
        self.faces = faces
        self.recipe = recipe
        self.pairs = pair_up(faces)
        if not len(self.pairs):
            raise ValueError("there are no fake faces to train on")
        self.per_epoch = max(1, len(self.pairs) // recipe.batch_pairs)

    def rows(self, step: int) -> np.ndarray:
        """(P, 2) rows of this batch: fake, real."""
        epoch, place = divmod(step, self.per_epoch)
        order = np.random.default_rng([self.recipe.seed, 1, epoch]).permutation(len(self.pairs))
        chosen = np.arange(place * self.recipe.batch_pairs, (place + 1) * self.recipe.batch_pairs)
        return self.pairs[order[chosen % len(self.pairs)]]

    def make(self, step: int, size: int) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng([self.recipe.seed, 2, step])
        rows = self.rows(step)
        strength = self.recipe.augmentation_at(step)
        x = np.empty((2, len(rows), size, size, 3), np.float32)
        for i, pair in enumerate(rows):
            change = draw(rng, strength)
            for side, row in enumerate(pair):
                x[side, i] = apply(self.faces.image(row), change, size)
        y = np.zeros((2, len(rows), 1), np.float32)
        y[0] = 1
        return x.reshape(-1, size, size, 3), y.reshape(-1, 1)

    def ahead(self, start: int, stop: int, size: int, depth: int = 3) -> Iterator:
        """Batches ``start`` to ``stop``, made by one thread a few steps ahead of their use."""
        with ThreadPoolExecutor(1) as pool:
            waiting = [pool.submit(self.make, s, size) for s in range(start, min(start + depth, stop))]
            for step in range(start, stop):
                batch = waiting.pop(0).result()
                if step + depth < stop:
                    waiting.append(pool.submit(self.make, step + depth, size))
                yield step, batch


def score_faces(
    score: Callable[[np.ndarray], np.ndarray],
    faces: LabelledFaces,
    preprocessing: Preprocessing,
    batch: int = 64,
) -> np.ndarray:
    """Logits of all faces of a table, (N,) float32, with the very preprocessing that inference uses.

    ``score`` takes (n, S, S, 3) float32 and gives n logits: ``Classifier.logits``, or a model's
    ``predict_on_batch``.
    """
    logits = []
    for part in batches(len(faces), batch):
        x = np.stack([prepare_crop(faces.image(i), preprocessing) for i in range(part.start, part.stop)])
        logits.append(np.asarray(score(x), np.float32).reshape(-1))
    return np.concatenate(logits)


# ------------------------------------------------------------------ start of a run


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


def _build(recipe: Recipe, size: int, weights: str | None, mixed: bool) -> keras.Model:
    import keras

    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16" if mixed else "float32")
    try:
        keras.utils.set_random_seed(recipe.seed)
        return build_model(recipe.backbone, head=recipe.head, input_size=size, weights=weights)
    finally:
        keras.config.set_dtype_policy(before)


def _compile(model: keras.Model, recipe: Recipe, stage: Stage) -> None:
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


# ------------------------------------------------------------------ the run


def _weights(model: keras.Model) -> list[np.ndarray]:
    """Copies of all weights: Keras may hand out views of live variables, not to be averaged into."""
    return [np.array(w) for w in model.get_weights()]


def _set_weights(model: keras.Model, weights: list[np.ndarray]) -> None:
    """Set all weights from copies, so that the variables do not share memory with ``weights``."""
    model.set_weights([np.array(w) for w in weights])


class Run:
    """The state of one training run: model, averaged weights, place in the recipe, history."""

    def __init__(self, recipe: Recipe, train: LabelledFaces, val: LabelledFaces, out: Path) -> None:
        self.recipe = recipe
        self.val = val
        self.out = out
        self.batches = PairBatches(train, recipe)
        self.step = 0
        self.stage_index = -1
        self.history: list[dict] = []
        self.best: list[np.ndarray] | None = None
        self.average: list[np.ndarray] = []
        self.model: keras.Model | None = None
        self.judge: keras.Model | None = None

    @property
    def stage(self) -> Stage:
        return self.recipe.stages[self.stage_index]

    @property
    def checkpoint(self) -> Path:
        return self.out / "checkpoint.npz"

    def enter(self, index: int, weights: list[np.ndarray] | None) -> None:
        """Build the model of a stage, with the weights of the one before."""
        stage = self.recipe.stages[index]
        start = None if weights is not None else self.recipe.weights
        self.model = _build(self.recipe, stage.input_size, start, self.recipe.mixed_precision)
        if weights is not None:
            _set_weights(self.model, weights)
        elif start == "face_recognition":
            sample = [self.batches.make(i, stage.input_size)[0] for i in range(max(1, 512 // self._batch))]
            measure_batchnorm(self.model, np.concatenate(sample))
        self.stage_index = index
        _compile(self.model, self.recipe, stage)
        self.average = _weights(self.model)

    @property
    def _batch(self) -> int:
        return 2 * self.recipe.batch_pairs

    def stage_start(self, index: int) -> int:
        return sum(stage.steps for stage in self.recipe.stages[:index])

    # -- checkpoints

    def save(self) -> None:
        """Write everything a resumed run needs into one file, replaced in one move."""
        self.out.mkdir(parents=True, exist_ok=True)
        arrays = {f"model_{i}": w for i, w in enumerate(self.model.get_weights())}
        arrays |= {f"average_{i}": w for i, w in enumerate(self.average)}
        arrays |= {f"optimizer_{i}": np.asarray(v) for i, v in enumerate(self.model.optimizer.variables)}
        if self.best is not None:
            arrays |= {f"best_{i}": w for i, w in enumerate(self.best)}
        state = {
            "recipe": self.recipe.digest(),
            "step": self.step,
            "stage": self.stage_index,
            "history": self.history,
        }
        part = self.checkpoint.with_suffix(".part")
        with open(part, "wb") as file:
            np.savez(file, state=np.array(json.dumps(state)), **arrays)
        os.replace(part, self.checkpoint)

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
            self.average = group("average")
            self.best = group("best") or None
        self.step, self.history = state["step"], state["history"]
        return True

    # -- steps

    def advance(self, progress) -> None:
        """Train to the end of the current stage."""
        end = self.stage_start(self.stage_index) + self.stage.steps
        losses: list[float] = []
        for step, (x, y) in self.batches.ahead(self.step, end, self.stage.input_size):
            losses.append(float(self.model.train_on_batch(x, y)))
            self.step = step + 1
            self._update_average()
            if progress is not None:
                progress(self.step, self.recipe.steps, float(np.mean(losses[-50:])))
            if self.step % self.recipe.evaluate_every == 0 or self.step == end:
                self.evaluate(float(np.mean(losses)))
                losses = []
                if self._exhausted():
                    return
            if self.step % self.recipe.checkpoint_every == 0 or self.step == end:
                self.save()

    _AVERAGE_EVERY = 10

    def _update_average(self) -> None:
        """Fold the current weights into the average; early on it forgets faster, so that the start fades."""
        if self.step % self._AVERAGE_EVERY:
            return
        done = self.step - self.stage_start(self.stage_index)
        decay = min(self.recipe.average, done / (done + 20)) ** self._AVERAGE_EVERY
        for kept, new in zip(self.average, self.model.get_weights(), strict=True):
            kept *= decay
            kept += (1 - decay) * new

    def evaluate(self, loss: float) -> None:
        """Judge the averaged weights on val; remember them if they are the best so far."""
        from sklearn.metrics import accuracy_score, log_loss, roc_auc_score

        size = self.recipe.score_size or self.stage.input_size
        if self.judge is None or self.judge.input_shape[1] != size:
            self.judge = _build(self.recipe, size, None, self.recipe.mixed_precision)
        _set_weights(self.judge, self.average)
        logits = score_faces(self.judge.predict_on_batch, self.val, Preprocessing(input_size=size))
        y = self.val.y
        p = 1 / (1 + np.exp(-logits.astype(np.float64)))
        line = {
            "step": self.step,
            "input_size": self.stage.input_size,
            "train_loss": round(loss, 5),
            "val_auc": round(float(roc_auc_score(y, p)), 5),
            "val_accuracy": round(float(accuracy_score(y, p > 0.5)), 5),
            "val_log_loss": round(float(log_loss(y, p)), 5),
        }
        if self.best is None or line["val_auc"] > max(h["val_auc"] for h in self.history):
            self.best = [w.copy() for w in self.average]
        self.history.append(line)
        self._write_history()

    def _write_history(self) -> None:
        self.out.mkdir(parents=True, exist_ok=True)
        part = self.out / "history.csv.part"
        with open(part, "w", newline="") as file:
            writer = csv.DictWriter(file, fieldnames=list(self.history[0]))
            writer.writeheader()
            writer.writerows(self.history)
        os.replace(part, self.out / "history.csv")

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
    progress=None,
) -> TrainingResult:
    """Train a model by a recipe.

    Parameters
    ----------
    train_faces, val_faces
        Models are chosen on ``val_faces``; the two must not share a person.
    out
        Folder for ``checkpoint.npz`` and ``history.csv``.
    resume
        Go on from the checkpoint in ``out``; ``False`` starts anew.
    progress
        Called as ``progress(step, steps, loss)`` after each step.

    Raises
    ------
    ValueError
        A checkpoint of another recipe in ``out``, or no fake faces.
    """
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
    final = _build(recipe, recipe.final_size, None, mixed=False)
    _set_weights(final, run.best)
    return TrainingResult(final, run.history, run.step)
