"""Keep a linear head's logit where it is while a face is recompressed, rescaled, blurred or sharpened.

What messengers, video sites and photo editors do to a face does not make it a fake, but it moves the logits
of a network whose training saw little of it, mostly towards fake. CLIP's features tell well how a picture was
degraded. So the weights that a head gives to them can undo much of what degradation does to the logit, to the
part of networks beside CLIP included: a ridge regression on faces that are fed as they are and degraded finds
the smallest such correction that leaves the logits of the former nearly as they were. It asks for no label.
Of a mixture each expert's logit is corrected; the gate's weights may still move with degradation.

Nuisance attribute projection (Solomonoff, Campbell and Boardman 2005, "Advances in channel compensation for
SVM speaker recognition") has the same aim, but removes whole directions of the features.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from scipy.special import softmax

from ..datasets.augmentation import Augmentation, apply, draw
from ..datasets.labelled_faces import LabelledFaces, batches
from ..errors import InputError
from ..faces.preprocessing import Preprocessing, prepare_crop, resize_to_square
from ..models.architectures.builder import LOGIT_LAYER, head_features
from ..models.architectures.clip_vit import CLIP, FEATURES_LAYER, HIDDEN_LAYER
from ..models.architectures.mixture import EXPERTS_LAYER, GATE_LAYER
from .source_mixture import source_names

if TYPE_CHECKING:
    import keras

# What may happen to a picture on its way: also a little colour and noise, but no change of framing.
DEGRADATION = Augmentation(
    crop=(1.0, 1.0),
    flip=0.0,
    rotate=0.0,
    colour=0.3,
    blur=0.2,
    rescale=0.6,
    rescale_to=(0.3, 1.0),
    noise=0.1,
    jpeg=0.5,
    jpeg_quality=(30, 90),
    erase=0.0,
    sharpen=0.15,
    video=0.45,
    video_crf=(20, 36),
)
# Degraded copies of each face.
_VERSIONS = 2
_BATCH = 32


def fit_invariance(
    kernel: np.ndarray,
    bias: np.ndarray,
    plain: np.ndarray,
    degraded: Sequence[np.ndarray],
    columns: slice,
    weights: np.ndarray | None = None,
    *,
    keep: float = 3.0,
    ridge: float = 30.0,
) -> tuple[np.ndarray, np.ndarray]:
    """Correct some rows of a linear head so that degradation changes its logits less.

    For each logit a correction ``c`` is subtracted from these rows. It minimises, over the faces, the mean
    square of what degradation then does to the logit, plus ``keep`` times the variance of what ``c`` takes
    from the logits of faces as they are, plus ``ridge`` times the squares of ``c``, all for features that
    were divided by their deviation.

    Parameters
    ----------
    kernel, bias
        (D, K) and (K,), of K logits. Not changed.
    plain
        (N, D) features of faces as they are.
    degraded
        One or more arrays (N, D): features of the same faces, degraded.
    columns
        Which of the D features may be used, CLIP's.
    weights
        (N, K) how much each face counts for each logit, 0 or more and not all 0 for any, say a gate's.
        Default: all alike.
    keep, ridge
        Above 0. See docs/experiments.md for the defaults.

    Returns
    -------
    kernel : (D, K) float32
    bias : (K,) float32
        Such that the faces as they are keep their mean logit.

    Raises
    ------
    ValueError
        No face counts for some logit.
    """
    counted = np.ones((len(plain), kernel.shape[1])) if weights is None else weights
    if not (counted.sum(0) > 0).all():
        raise ValueError("some logit has no face that it could be fitted to")
    own = plain[:, columns].astype(np.float64)
    mean, deviation = own.mean(0), own.std(0) + 1e-6
    scaled = (own - mean) / deviation
    moved = [(part[:, columns] - own) / deviation for part in degraded]
    new_kernel, new_bias = kernel.astype(np.float64), bias.astype(np.float64)
    for k in range(kernel.shape[1]):
        w = counted[:, k] / counted[:, k].sum()
        centred = scaled - w @ scaled
        square = ridge * np.eye(own.shape[1]) + keep * (centred * w[:, None]).T @ centred
        target = np.zeros(own.shape[1])
        for part, change in zip(degraded, moved, strict=True):
            weighted = (change * w[:, None]).T / len(degraded)
            square += weighted @ change
            target += weighted @ ((part - plain) @ kernel[:, k])
        c = np.linalg.solve(square, target) / deviation
        new_kernel[columns, k] -= c
        new_bias[k] += w @ own @ c
    return new_kernel.astype(np.float32), new_bias.astype(np.float32)


def reduce_degradation_shift(
    model: keras.Model, faces: LabelledFaces, preprocessing: Preprocessing, count: int
) -> int:
    """Change a model in place so that degradation of a face moves its logits less; see the module.

    Parameters
    ----------
    model
        With CLIPViTB16 among its networks, and a linear head or several experts, each of which is fitted to
        the faces that the gate gives it.
    faces
        Training faces. Of each collection equally many are drawn, and within a collection of each source and
        label, as far as there are.
    preprocessing
        The model's.
    count
        About how many faces, 2 or more; at least one of each source and label. Each is fed three times, as it
        is and degraded in two ways.

    Returns
    -------
    int
        Number of faces that it was fitted to.

    Raises
    ------
    ValueError
        Another network, fewer faces, or none that can be read.
    """
    check_degraded_faces(count, faces)
    columns = clip_columns(model)
    rows = drawn_evenly(faces.table, count, np.random.default_rng(0))
    plain, degraded = _features(model, faces, rows, preprocessing)
    names = {layer.name for layer in model.layers}
    given = None
    if GATE_LAYER in names:
        kernel, bias = model.get_layer(GATE_LAYER).get_weights()
        given = softmax(plain[:, columns] @ kernel + bias, axis=1)
    head = model.get_layer(EXPERTS_LAYER if EXPERTS_LAYER in names else LOGIT_LAYER)
    kernel, bias = head.get_weights()
    head.set_weights(list(fit_invariance(kernel, bias, plain, degraded, columns, given)))
    return len(plain)


def check_degraded_faces(count: int, faces: LabelledFaces) -> None:
    """Check how many faces are to be degraded.

    Raises
    ------
    ValueError
        Fewer than 2, or there are fewer.
    """
    if count < 2 or len(faces) < 2:
        raise ValueError(f"degradation needs 2 training faces or more, not {min(count, len(faces))}")


def clip_columns(model: keras.Model) -> slice:
    """Return which of a model's :func:`head_features` are CLIP's: the last but those of a hidden layer.

    Raises
    ------
    ValueError
        There is no CLIPViTB16 in it.
    """
    names = {layer.name for layer in model.layers}
    if FEATURES_LAYER not in names:
        raise ValueError(f"only weights of {CLIP}'s features can undo degradation, and the model has none")
    width = model.get_layer(FEATURES_LAYER).output.shape[-1]
    end = head_features(model).shape[-1]
    if HIDDEN_LAYER in names:
        end -= model.get_layer(HIDDEN_LAYER).output.shape[-1]
    return slice(end - width, end)


def drawn_evenly(table: pd.DataFrame, count: int, rng: np.random.Generator) -> np.ndarray:
    """Draw rows: equally many of each collection, in it of each source and label, as far as there are."""
    source = source_names(table)
    collection = table.get("collection", pd.Series("", index=table.index)).fillna("")
    collection = collection.to_numpy(object)
    rows: list[np.ndarray] = []
    collections = pd.unique(collection)
    for name in collections:
        inside = np.flatnonzero(collection == name)
        cells = pd.factorize(pd.MultiIndex.from_arrays([source[inside], table["label"].iloc[inside]]))[0]
        each = max(1, count // len(collections) // (cells.max() + 1))
        rows += [rng.permutation(inside[cells == cell])[:each] for cell in range(cells.max() + 1)]
    return np.sort(np.concatenate(rows))


def _features(
    model: keras.Model, faces: LabelledFaces, rows: np.ndarray, preprocessing: Preprocessing
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return features (N, D) of faces that can be read, as they are, and degraded in ``_VERSIONS`` ways."""
    import keras

    body = keras.Model(model.input, head_features(model))
    found: list[list[np.ndarray]] = [[] for _ in range(_VERSIONS + 1)]
    for part in batches(len(rows), _BATCH):
        crops = []
        for row in rows[part].tolist():
            with suppress(InputError):
                crops.append((row, resize_to_square(faces.image(row), preprocessing.input_size)))
        if not crops:
            continue
        for version, features in enumerate(found):
            pixels = [_degraded(crop, [version, row]) if version else crop for row, crop in crops]
            x = np.stack([prepare_crop(crop, preprocessing) for crop in pixels])
            features.append(np.asarray(body.predict_on_batch(x), np.float32))
    if not found[0]:
        raise ValueError("no training face can be read")
    plain, *degraded = (np.concatenate(features) for features in found)
    return plain, degraded


def _degraded(crop: np.ndarray, seed: list[int]) -> np.ndarray:
    """Return a face (S, S, 3) uint8 as it may be after some random degradation."""
    return apply(crop, draw(np.random.default_rng(seed), DEGRADATION), len(crop))
