"""Where a training run starts: the network, its first weights and statistics, its optimiser."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from ..datasets.labelled_faces import batches
from ..errors import ModelIncomplete, RedeepfakeError, displayable
from ..models.architectures.builder import build_model
from ..utils.keras_backend import dtype_policy
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
