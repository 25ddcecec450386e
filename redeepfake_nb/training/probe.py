"""Train nothing but the head of a network, on features that stay as they are.

For large pretrained encoders, which tell generated pictures from photographs without any training of their
own, and may forget how when all their weights are fitted to a few sources. The faces are those of any
training: pairs of the recipe's sources, augmented, with its pseudo-fakes. The head is a logistic regression
(:mod:`redeepfake_nb.training.linear_probe`), or has a hidden layer
(:mod:`redeepfake_nb.training.hidden_probe`).
"""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..errors import one_line_message
from ..models.architectures.builder import LOGIT_LAYER
from ..models.architectures.clip_vit import HIDDEN_LAYER
from ..utils.numeric import sigmoid
from ..utils.writing import atomic_file
from .batches import PairBatches
from .checkpoints import check_checkpoint
from .hidden_probe import fit_hidden_layer
from .linear_probe import fit_logistic
from .network_start import build, initial_network, set_weights
from .prefetching import prefetched
from .recipes import Recipe

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True)
class Checkpoint:
    """File of features that are computed already, and what they belong to.

    Parameters
    ----------
    path
        ``.npz``.
    recipe, faces
        Digests.
    """

    path: Path
    recipe: str
    faces: str

    def save(self, features: list[np.ndarray], labels: list[np.ndarray]) -> None:
        """Write the features of all batches so far, atomically."""
        state = json.dumps({"recipe": self.recipe, "faces": self.faces})
        with atomic_file(self.path) as part, open(part, "wb") as file:
            np.savez(file, state=np.array(state), features=np.stack(features), labels=np.stack(labels))

    def restore(self) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Return what was saved, or nothing.

        Raises
        ------
        ValueError
            The file belongs to another recipe or to other faces.
        """
        if not self.path.is_file():
            return [], []
        with np.load(self.path) as saved:
            check_checkpoint(self.path, json.loads(str(saved["state"])), self.recipe, self.faces)
            return list(saved["features"]), list(saved["labels"])


def fit_probe(
    recipe: Recipe,
    pairs: PairBatches,
    checkpoint: Checkpoint,
    *,
    resume: bool = True,
    progress: Callable[[int, int, float], None] | None = None,
    workers: int = 0,
) -> tuple[keras.Model, str, float]:
    """Fit the head to the features of as many batches as the recipe has steps.

    Parameters
    ----------
    recipe
        Its only stage says how many batches are drawn, and their input size; learning rates are not used.
    pairs
        Makes the batches.
    checkpoint
        Where features are kept every ``recipe.checkpoint_every`` batches. The landmarks of ``pairs`` are
        saved as often.
    resume
        Go on after the batches of the checkpoint.
    progress
        Called as ``progress(step, steps, NaN)`` after each batch; there is no loss before the end.
    workers
        Processes that make batches; see :func:`redeepfake_nb.training.prefetching.prefetched`.

    Returns
    -------
    model : keras.Model
        float32, at the recipe's final size.
    start : str
        The weights of the network below the head, in words.
    loss : float
        Log loss on the batches.

    Raises
    ------
    ValueError
        ``checkpoint`` belongs to another run, or features of another probe cannot be used.
    ModelIncomplete
        The recipe's weights are not available.
    """
    import keras
    from sklearn.metrics import log_loss

    (stage,) = recipe.stages
    model, start = initial_network(recipe, stage.input_size)
    body = keras.Model(model.input, _frozen_features(model, recipe))
    # A file that cannot be read is an error before the long part.
    others = _other_probes(recipe, body.output_shape[-1])
    features, labels = checkpoint.restore() if resume else ([], [])
    for step, (x, y) in prefetched(pairs, len(features), stage.steps, stage.input_size, workers):
        features.append(np.asarray(body.predict_on_batch(x), np.float32))
        labels.append(y[:, 0])
        done = step + 1
        if done % recipe.checkpoint_every == 0 or done == stage.steps:
            checkpoint.save(features, labels)
            pairs.landmarks.save()
        if progress is not None:
            progress(done, stage.steps, float("nan"))
    x = np.concatenate([*features, *(other[0] for other in others)])
    y = np.concatenate([*labels, *(other[1] for other in others)])
    final = build(recipe, recipe.final_size, None, mixed=False)
    set_weights(final, model.get_weights())
    if recipe.hidden_probe is None:
        assert recipe.linear_probe is not None
        kernel, bias = fit_logistic(x, y, recipe.linear_probe)
        logits = x @ kernel + bias
    else:
        units = final.get_layer(HIDDEN_LAYER).units
        fitted = fit_hidden_layer(
            x,
            y,
            units,
            recipe.hidden_probe,
            label_smoothing=recipe.label_smoothing,
            seed=recipe.seed,
        )
        final.get_layer(HIDDEN_LAYER).set_weights([fitted.kernel, fitted.bias])
        logits = fitted.logits(x)
        # The logit may read features as well; here it reads the units alone.
        kernel = np.zeros(final.get_layer(LOGIT_LAYER).kernel.shape[0], np.float32)
        kernel[-units:] = fitted.logit_kernel
        bias = fitted.logit_bias
    final.get_layer(LOGIT_LAYER).set_weights([kernel[:, None], np.array([bias], np.float32)])
    return final, start, float(log_loss(y, sigmoid(logits)))


def _frozen_features(model: keras.Model, recipe: Recipe) -> keras.KerasTensor:
    """Return what the head is fitted to: what the logit reads, or a hidden layer before it."""
    return model.get_layer(LOGIT_LAYER if recipe.hidden_probe is None else HIDDEN_LAYER).input


def _other_probes(recipe: Recipe, width: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """Read features and labels of the other probes whose faces count as well."""
    found = []
    for path in () if recipe.hidden_probe is None else recipe.hidden_probe.features_from:
        features, labels = _read(path, "features", "labels")
        if features.shape[-1] != width:
            raise ValueError(f"{path}: {features.shape[-1]} features, and {recipe.backbone} has {width}")
        found.append((features.reshape(-1, width), labels.reshape(-1)))
    return found


def probe_features(path: str | Path) -> np.ndarray:
    """Read the features (N, D) float32 that a probe's head was fitted to from its ``checkpoint.npz``.

    Raises
    ------
    ValueError
        The file cannot be read, or is no such checkpoint.
    """
    (features,) = _read(path, "features")
    return features.reshape(-1, features.shape[-1])


def _read(path: str | Path, *names: str) -> list[np.ndarray]:
    """Read arrays of a probe's checkpoint as float32, batch by batch."""
    try:
        with np.load(path, allow_pickle=False) as saved:
            return [np.asarray(saved[name], np.float32) for name in names]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"{path}: holds no features of a probe ({one_line_message(error)}); "
            "a recipe with linear_probe or hidden_probe writes them to checkpoint.npz"
        ) from error
