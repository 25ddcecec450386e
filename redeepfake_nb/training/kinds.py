"""Fit the output that tells kinds of fakes apart, on the features that the logit is computed from.

Collections hold one kind each, made and compressed in their own way, so a classifier of kinds would learn the
collection. Pseudo-fakes of every source's genuine faces bring each kind into several collections, and all
examples pass through the augmentation of training.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..datasets.augmentation import apply, draw
from ..datasets.labelled_faces import LabelledFaces, batches
from ..datasets.landmarks import LandmarkStore
from ..errors import InputError
from ..models.architectures.builder import LOGIT_LAYER
from ..models.kinds_output import KindsLayer
from ..models.likely_kind import GROUP_OF, KIND_GROUPS, KindGroup
from .batches import PairBatches
from .recipes import Recipe
from .source_mixture import source_names

if TYPE_CHECKING:
    import keras

# Pseudo-fakes that show what fakes of a group do to a face.
_PSEUDO_FAKES: dict[str, KindGroup] = {
    "self_blend": "swapped",
    "face_swap": "swapped",
    "part_edit": "swapped",
    "composite": "edited",
}
# Strengths of L2 regularisation that are tried, as scikit-learn's C.
_STRENGTHS = (1e-4, 1e-3, 1e-2)


class KindsOutput(NamedTuple):
    """A linear layer that tells kinds apart, and how well it does on val.

    ``names``: groups of :data:`redeepfake_nb.models.likely_kind.KIND_GROUPS`, one per column of ``layer``.
    ``confusion``: group -> group -> number of augmented val fakes of the first for which the second is
    likeliest.
    """

    names: tuple[KindGroup, ...]
    layer: KindsLayer
    confusion: Mapping[KindGroup, Mapping[KindGroup, int]]


def fit_kinds(
    model: keras.Model,
    recipe: Recipe,
    train_faces: LabelledFaces,
    val_faces: LabelledFaces,
    *,
    landmarks: LandmarkStore | None = None,
    per_source: int = 300,
    seed: int = 0,
) -> KindsOutput | None:
    """Fit the kinds of fakes that both splits name.

    Parameters
    ----------
    model
        Of :func:`redeepfake_nb.build_model`, trained.
    recipe
        Its augmentation and input size are used.
    train_faces, val_faces
        With a column ``kind``.
    landmarks
        Cache of the training faces' landmarks, which pseudo-fakes need; by default in memory.
    per_source
        Most faces of each source and kind, and of pseudo-fakes of each source.
    seed
        Of the choice of faces, and of their augmentation.

    Returns
    -------
    KindsOutput or None
        None where the tables name fewer than two groups of kinds.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax
    from sklearn.linear_model import LogisticRegression

    if "kind" not in train_faces.table or "kind" not in val_faces.table:
        return None
    size = recipe.final_size
    examples = _examples(recipe, train_faces, landmarks, size, per_source, seed)
    tests = _table_fakes(val_faces, recipe, size, per_source, seed + 1)
    x, named = _features(model, examples)
    x_val, named_val = _features(model, tests)
    names = tuple(name for name in KIND_GROUPS if name in set(named) and name in set(named_val))
    if len(names) < 2:
        return None
    x, y = _of_kinds(x, named, names)
    x_val, y_val = _of_kinds(x_val, named_val, names)
    # Every group counts alike on val, whichever has more faces.
    weights = 1 / np.bincount(y_val, minlength=len(names))[y_val] / len(names)
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    best: tuple[float, np.ndarray, np.ndarray] | None = None
    for strength in _STRENGTHS:
        fit = LogisticRegression(C=strength, class_weight="balanced", max_iter=1000)
        fit.fit((x - mean) / deviation, y)
        kernel, bias = fit.coef_.T, fit.intercept_
        if len(names) == 2:  # scikit-learn then has one column
            kernel, bias = np.hstack([-kernel, kernel]) / 2, np.array([-bias[0], bias[0]]) / 2
        kernel = kernel / deviation[:, None]
        bias = bias - mean @ kernel
        z = x_val @ kernel + bias

        def loss(log_temperature: float, z: np.ndarray = z) -> float:
            logs = log_softmax(z / np.exp(log_temperature), axis=1)
            return float(-(weights * logs[np.arange(len(y_val)), y_val]).sum())

        found = minimize_scalar(loss, bounds=(-3.0, 3.0), method="bounded")
        if best is None or found.fun < best[0]:
            scale = np.exp(found.x)
            best = (float(found.fun), kernel / scale, bias / scale)
    assert best is not None
    _, kernel, bias = best
    likeliest = (x_val @ kernel + bias).argmax(1)
    confusion = {
        name: {other: int(((y_val == i) & (likeliest == j)).sum()) for j, other in enumerate(names)}
        for i, name in enumerate(names)
    }
    layer = KindsLayer(kernel.astype(np.float32), bias.astype(np.float32))
    return KindsOutput(names, layer, confusion)


def _of_kinds(
    x: np.ndarray, named: np.ndarray, names: tuple[KindGroup, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Keep the examples of these kinds, and number the kinds."""
    kept = np.isin(named, names)
    return x[kept], np.array([names.index(name) for name in named[kept]])


_Examples = Iterator[tuple[np.ndarray, KindGroup]]


def _examples(
    recipe: Recipe,
    faces: LabelledFaces,
    landmarks: LandmarkStore | None,
    size: int,
    per_source: int,
    seed: int,
) -> _Examples:
    """Yield augmented fakes of the table, and pseudo-fakes of each source if the recipe uses any."""
    yield from _table_fakes(faces, recipe, size, per_source, seed)
    if not recipe.pseudo_share[1]:
        return
    makers = PairBatches(faces, recipe, landmarks)
    names = source_names(faces.table)
    rng = np.random.default_rng([seed, 5])
    for source in dict.fromkeys(names[faces.y == 0]):
        rows = rng.permutation(np.flatnonzero((names == source) & (faces.y == 0)))
        for i, row in enumerate(rows[:per_source].tolist()):
            name = list(_PSEUDO_FAKES)[i % len(_PSEUDO_FAKES)]
            try:
                made = makers.pseudo_fake(name, row, faces.image(row), rng)
            except InputError:
                continue
            if made is not None:
                yield apply(made, draw(rng, recipe.augmentation), size), _PSEUDO_FAKES[name]


def _table_fakes(faces: LabelledFaces, recipe: Recipe, size: int, per_source: int, seed: int) -> _Examples:
    """Yield augmented fakes of the table, at most ``per_source`` of each source and kind."""
    kinds, names = faces.table["kind"].to_numpy(object), source_names(faces.table)
    rng = np.random.default_rng([seed, 6])
    for source, kind in sorted({(n, k) for n, k in zip(names, kinds, strict=True) if k in GROUP_OF}):
        rows = rng.permutation(np.flatnonzero((names == source) & (kinds == kind) & (faces.y == 1)))
        for row in rows[:per_source].tolist():
            try:
                yield apply(faces.image(row), draw(rng, recipe.augmentation), size), GROUP_OF[kind]
            except InputError:
                continue


def _features(model: keras.Model, examples: _Examples, batch: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """Compute what the layer of the logit is given: (N, D) float64, and the N groups."""
    import keras

    features = keras.Model(model.input, model.get_layer(LOGIT_LAYER).input)
    images, named, found = [], [], []
    for image, name in examples:
        images.append(image)
        named.append(name)
    for part in batches(len(images), batch):
        found.append(np.asarray(features.predict_on_batch(np.stack(images[part]).astype(np.float32))))
    return np.concatenate(found).astype(np.float64), np.array(named, object)
