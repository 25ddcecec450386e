"""Fit the output that tells kinds of fakes apart, on the features that the logit is computed from.

Collections hold one kind each, made and compressed in their own way, so a classifier of kinds would learn the
collection. Pseudo-fakes of every source's genuine faces bring each kind into several collections, and all
examples pass through the augmentation of training.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ..datasets.augmentation import apply, draw
from ..datasets.labelled_faces import LabelledFaces, batches
from ..datasets.landmarks import LandmarkStore
from ..errors import InputError
from ..models.architectures.builder import head_features
from ..models.kinds_output import KindsLayer
from ..models.likely_kind import GROUP_OF, KIND_GROUPS, NAMED_FROM, KindGroup
from ..utils.numeric import softmax
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
# Parts that examples are judged in where no source can be left out, and so the fewest fakes of a kind.
_FEWEST = 5
# Strengths of L2 regularisation that are tried, as scikit-learn's C.
_STRENGTHS = (1e-4, 1e-3, 1e-2)


class KindsOutput(NamedTuple):
    """A linear layer that tells kinds apart, and how well it does on sources that it has not seen.

    ``names``: groups of :data:`redeepfake_nb.models.likely_kind.KIND_GROUPS`, one per column of ``layer``.
    ``confusion``: group -> group -> number of augmented fakes of the first for which the second was likeliest
    when their source was left out. ``named``: the share of these whose likeliest kind reaches
    :data:`redeepfake_nb.models.likely_kind.NAMED_FROM`; ``named_right``: the share of these that is right,
    NaN without any.
    """

    names: tuple[KindGroup, ...]
    layer: KindsLayer
    confusion: Mapping[KindGroup, Mapping[KindGroup, int]]
    named: float
    named_right: float


class _Example(NamedTuple):
    """An augmented face, (S, S, 3) uint8, its kind and source, and whether it is a pseudo-fake."""

    image: np.ndarray
    kind: KindGroup
    source: str
    made: bool = False


def fit_kinds(
    model: keras.Model,
    recipe: Recipe,
    faces: LabelledFaces,
    *,
    landmarks: LandmarkStore | None = None,
    per_source: int = 300,
    seed: int = 0,
) -> KindsOutput | None:
    """Fit the kinds of fakes that a table names.

    How strongly to regularise, and how sure to be, is decided on sources that are left out one at a time:
    what is told apart within the sources of the training data says little about others.

    Parameters
    ----------
    model
        Of :func:`redeepfake_nb.build_model`, trained.
    recipe
        Its augmentation and input size are used.
    faces
        Training faces with a column ``kind``.
    landmarks
        Cache of their landmarks, which pseudo-fakes need; by default in memory.
    per_source
        Most faces of each source and kind, and of pseudo-fakes of each source.
    seed
        Of the choice of faces, and of their augmentation.

    Returns
    -------
    KindsOutput or None
        None where fewer than two groups of kinds have five readable fakes in the table.
    """
    from scipy.optimize import minimize_scalar
    from scipy.special import log_softmax

    if "kind" not in faces.table:
        return None
    size = recipe.final_size
    examples = [
        *_table_fakes(faces, recipe, size, per_source, seed),
        *_pseudo_fakes(faces, recipe, landmarks, size, per_source, seed),
    ]
    # A kind that only pseudo-fakes show would be learned from them alone.
    found = Counter(example.kind for example in examples if not example.made)
    names = tuple(name for name in KIND_GROUPS if found[name] >= _FEWEST)
    if len(names) < 2:
        return None
    examples = [example for example in examples if example.kind in names]
    x = _features(model, [example.image for example in examples])
    y = np.array([names.index(example.kind) for example in examples])
    mean, deviation = x.mean(0), x.std(0) + 1e-6
    x = (x - mean) / deviation
    parts = _left_out(y, np.array([example.source for example in examples]))
    judged = np.concatenate(parts)
    # Every kind counts alike, whichever has more faces.
    weights = 1 / np.bincount(y[judged], minlength=len(names)).clip(1)[y[judged]] / len(names)

    best: tuple[float, float, float, np.ndarray] | None = None
    for strength in _STRENGTHS:
        rest = [np.setdiff1d(np.arange(len(y)), part) for part in parts]
        z = np.concatenate([_fit(x[r], y[r], strength)(x[part]) for r, part in zip(rest, parts, strict=True)])

        def loss(log_temperature: float, z: np.ndarray = z) -> float:
            logs = log_softmax(z / np.exp(log_temperature), axis=1)
            return float(-(weights * logs[np.arange(len(judged)), y[judged]]).sum())

        fitted = minimize_scalar(loss, bounds=(-3.0, 4.0), method="bounded")
        if best is None or fitted.fun < best[0]:
            best = float(fitted.fun), strength, float(np.exp(fitted.x)), z
    assert best is not None
    _, strength, temperature, z = best

    linear = _fit(x, y, strength)
    kernel = linear.kernel / temperature / deviation[:, None]
    bias = linear.bias / temperature - mean @ kernel
    shown = np.array([not example.made for example in examples])[judged]
    truth, p = y[judged][shown], softmax(z[shown] / temperature)
    likeliest = p.argmax(1)
    confusion = {
        name: {other: int(((truth == i) & (likeliest == j)).sum()) for j, other in enumerate(names)}
        for i, name in enumerate(names)
    }
    sure = p.max(1) >= NAMED_FROM
    return KindsOutput(
        names,
        KindsLayer(kernel.astype(np.float32), bias.astype(np.float32)),
        confusion,
        float(sure.mean()),
        float((likeliest == truth)[sure].mean()) if sure.any() else float("nan"),
    )


class _Linear(NamedTuple):
    kernel: np.ndarray
    bias: np.ndarray

    def __call__(self, x: np.ndarray) -> np.ndarray:
        return x @ self.kernel + self.bias


def _fit(x: np.ndarray, y: np.ndarray, strength: float) -> _Linear:
    """Fit a logistic regression with one column per kind."""
    from sklearn.linear_model import LogisticRegression

    fit = LogisticRegression(C=strength, class_weight="balanced", max_iter=300).fit(x, y)
    kernel, bias = fit.coef_.T, fit.intercept_
    if kernel.shape[1] == 1:  # scikit-learn's column for two kinds is that of the second
        kernel, bias = np.hstack([-kernel, kernel]) / 2, np.array([-bias[0], bias[0]]) / 2
    return _Linear(kernel, bias)


def _left_out(y: np.ndarray, sources: np.ndarray) -> list[np.ndarray]:
    """Return the rows of each source without which every kind is still there; else those of five parts.

    Each of the five has a fifth of every kind.
    """
    count = len(np.unique(y))
    parts = [np.flatnonzero(sources == source) for source in dict.fromkeys(sources.tolist())]
    parts = [part for part in parts if len(np.unique(np.delete(y, part))) == count]
    if parts:
        return parts
    part_of = np.empty(len(y), np.int64)
    for kind in range(count):
        rows = np.flatnonzero(y == kind)
        part_of[rows] = np.arange(len(rows)) % _FEWEST
    return [np.flatnonzero(part_of == part) for part in range(_FEWEST)]


def _pseudo_fakes(
    faces: LabelledFaces,
    recipe: Recipe,
    landmarks: LandmarkStore | None,
    size: int,
    per_source: int,
    seed: int,
) -> Iterator[_Example]:
    """Yield augmented pseudo-fakes of each source's genuine faces, if the recipe uses any."""
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
                image = apply(made, draw(rng, recipe.augmentation), size)
                yield _Example(image, _PSEUDO_FAKES[name], source, made=True)


def _table_fakes(
    faces: LabelledFaces, recipe: Recipe, size: int, per_source: int, seed: int
) -> Iterator[_Example]:
    """Yield augmented fakes of the table, at most ``per_source`` of each source and kind."""
    kinds, names = faces.table["kind"].to_numpy(object), source_names(faces.table)
    rng = np.random.default_rng([seed, 6])
    for source, kind in sorted({(n, k) for n, k in zip(names, kinds, strict=True) if k in GROUP_OF}):
        rows = rng.permutation(np.flatnonzero((names == source) & (kinds == kind) & (faces.y == 1)))
        for row in rows[:per_source].tolist():
            try:
                image = apply(faces.image(row), draw(rng, recipe.augmentation), size)
            except InputError:
                continue
            yield _Example(image, GROUP_OF[kind], source)


def _features(model: keras.Model, images: Sequence[np.ndarray], batch: int = 32) -> np.ndarray:
    """Compute what the layer of the logit is given, (N, D) float64."""
    import keras

    features = keras.Model(model.input, head_features(model))
    found = [
        np.asarray(features.predict_on_batch(np.stack(images[part]).astype(np.float32)))
        for part in batches(len(images), batch)
    ]
    return np.concatenate(found).astype(np.float64)
