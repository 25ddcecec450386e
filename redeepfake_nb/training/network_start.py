"""The network that a training run starts from: a recipe's backbone with its initial weights.

Pure Keras 3, on TensorFlow, JAX or PyTorch.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.labelled_faces import batches
from ..errors import ModelIncomplete, RedeepfakeError, displayable
from ..models.architectures.builder import build_model
from ..models.loading import load_model
from ..utils.keras_backend import dtype_policy
from .recipes import Recipe

if TYPE_CHECKING:
    import keras


def set_weights(model: keras.Model, weights: list[np.ndarray]) -> None:
    """Set all weights to copies, so that the variables do not share memory with ``weights``."""
    model.set_weights([np.array(w) for w in weights])


def measure_batchnorm(model: keras.Model, x: np.ndarray, prefix: str = "norm_", batch: int = 32) -> None:
    """Set the moving statistics of batch normalisations to measured ones, without changing the function.

    Converted weights come with neutral statistics (mean 0, variance 1). In training mode the layers normalise
    by the statistics of the batch, so training would start from another function than the one that was
    loaded. Here mean and variance are measured, and scale and shift are set to compensate for them.

    Parameters
    ----------
    model
        Changed in place.
    x
        (N, S, S, 3) float32 model inputs; a few hundred faces are enough.
    prefix
        Of the names of the layers to change.
    batch
        Faces per forward pass.
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
    """Build the recipe's network for an input size in pixels, with the same random weights each time.

    ``mixed`` computes in bfloat16, with weights and logit in float32.
    """
    with dtype_policy("mixed_bfloat16" if mixed else "float32"):
        import keras

        keras.utils.set_random_seed(recipe.seed)
        return build_model(recipe.backbone, head=recipe.head, input_size=size, weights=weights)


def freeze(model: keras.Model, trainable: Sequence[str]) -> None:
    """Let a model's layers be trained whose names contain any of these parts, and no others.

    Parameters
    ----------
    model
        Changed in place; compile it afterwards.
    trainable
        Parts of names. Empty: all layers are trained.

    Raises
    ------
    ValueError
        No layer with weights that can be trained has a part in its name.
    """
    if not trainable:
        return
    for part in trainable:
        if not any(part in layer.name and layer.trainable_weights for layer in model.layers):
            raise ValueError(f"trainable: {model.name} has no layer to train that is named like {part!r}")
    for layer in model.layers:
        layer.trainable = any(part in layer.name for part in trainable)


def initial_network(recipe: Recipe, size: int) -> tuple[keras.Model, str]:
    """Build the network that a run starts from.

    With ``recipe.fallback_random``, random weights replace initial weights that are not available, with a
    warning.

    Returns
    -------
    model : keras.Model
    start : str
        The initial weights, in words.

    Raises
    ------
    ValueError
        The size or the name of the weights does not fit the network.
    ModelIncomplete
        The initial weights are not installed, or cannot be downloaded.
    """
    if recipe.weights is None:
        return build(recipe, size, None, recipe.mixed_precision), "random"
    if recipe.weights.endswith(".keras"):
        return _continued(recipe, size), f"the weights of {Path(recipe.weights).name}"
    try:
        return build(recipe, size, recipe.weights, recipe.mixed_precision), recipe.weights
    except ValueError:
        raise
    except Exception as error:  # Keras raises a bare Exception if a download fails.
        cause = displayable(error.cause if isinstance(error, RedeepfakeError) else error, 300)
        if not recipe.fallback_random:
            if isinstance(error, RedeepfakeError):
                raise
            raise ModelIncomplete(
                f"the initial weights are not available ({cause})",
                subject=f"{recipe.backbone}, {recipe.weights}",
                next_step="Connect to the internet, or set fallback_random = true in the recipe.",
            ) from error
    warnings.warn(
        f"The weights {recipe.weights} are not available ({cause}); training starts from random weights.",
        stacklevel=2,
    )
    start = f"random, since {recipe.weights} was not available"
    return build(recipe, size, None, recipe.mixed_precision), start


def _continued(recipe: Recipe, size: int) -> keras.Model:
    """Build the network with the weights of a model file of the same network, at any input size."""
    path = Path(str(recipe.weights))
    if not path.is_file():
        raise ModelIncomplete(
            "the model to start from does not exist",
            subject=path,
            next_step="Train it first, or name its path, relative to the current folder, as weights.",
        )
    weights = load_model(path).keras_model.get_weights()
    model = build(recipe, size, None, recipe.mixed_precision)
    if [w.shape for w in weights] != [w.shape for w in model.get_weights()]:
        raise ValueError(f"{path} does not hold the weights of {recipe.backbone}")
    set_weights(model, weights)
    return model
