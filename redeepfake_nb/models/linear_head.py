"""The map that a linear head averages: what each of its cells adds to the logit, without any gradient.

Where average pooling and linear layers alone follow a feature map, the logit is a sum over its cells, and
each cell's part is its class activation (Zhou et al. 2016, "Learning Deep Features for Discriminative
Localization"), which Grad-CAM equals there. So a compiled network can return those parts beside the score,
and a heatmap takes one forward pass and no TensorFlow. Where a gate weights several such heads for each face
(:mod:`redeepfake_nb.models.architectures.mixture`), so it weights the cells' parts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from .architectures.clip_vit import CENTRE_LAYER, FEATURES_LAYER, HIDDEN_LAYER
from .architectures.mixture import EXPERTS_LAYER, GATE_LAYER
from .geometry import Layout, layout_of

if TYPE_CHECKING:
    import keras

# Finer maps are left to Keras: what a compiled network returns for trial pictures is kept in its file.
MAX_CELLS = 1024
# A head is linear if its gradients for any two inputs differ by at most this share of the largest value.
_SAME_GRADIENT = 1e-5


class LinearHead(NamedTuple):
    """A feature map and how its cells make the logit.

    ``features``: symbolic output (N, h, w, C) of ``layer``. ``weights``: (C, K) float32 for K experts, one
    for most networks. ``gate``: symbolic weights (N, K) of the experts, or None where there is one. The logit
    is the mean over the map of ``features @ weights``, weighted by the gate, plus a constant, and plus what
    CLIP's features add, which have no place in the face, if the network has them
    (:mod:`redeepfake_nb.models.architectures.clip_vit`).
    """

    layer: str
    features: Any
    weights: np.ndarray
    gate: Any = None


@dataclass(frozen=True, eq=False)
class EvidenceMap:
    """Which map a compiled network returns beside its score, and where its cells lie on the input.

    Parameters
    ----------
    layer
        Name of the layer whose output is averaged.
    layout
        Regular, see :class:`~redeepfake_nb.models.geometry.Layout`.
    """

    layer: str
    layout: Layout

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the map in cells."""
        return len(self.layout.rows), len(self.layout.columns)

    @property
    def cells(self) -> int:
        """Number of the map's cells."""
        return len(self.layout.index)

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        rows, columns = self.layout.rows.tolist(), self.layout.columns.tolist()
        return {"layer": self.layer, "rows": rows, "columns": columns}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> EvidenceMap:
        """Read what :meth:`to_dict` returns."""
        rows, columns = (np.array(values[axis], np.float64) for axis in ("rows", "columns"))
        return cls(str(values["layer"]), Layout(rows, columns, np.arange(len(rows) * len(columns))))


def linear_head(model: keras.Model) -> LinearHead | None:
    """Find the feature map behind which only average pooling and linear layers follow.

    Parameters
    ----------
    model
        Flat, over one image, with one logit: ``Classifier.keras_model``.

    Returns
    -------
    LinearHead or None
        None where something else follows the last map, or where the map is a single cell.
    """
    import keras

    tensor, gate, scale = _behind_gate(model.outputs[0])
    first = tensor
    others: list[Any] = []
    while not isinstance(operation := tensor._keras_history.operation, keras.layers.GlobalAveragePooling2D):
        try:
            source = operation.input
        except (AttributeError, ValueError):  # an input layer, or one that is called several times
            return None
        if isinstance(operation, keras.layers.Concatenate) and not others:
            others = [one for one in source if _is_clips(one)]
            placed = [one for one in source if not _is_clips(one)]
            # Features of another map would have places that a heatmap of this one leaves out.
            if not others or len(placed) != 1:
                return None
            source = placed[0]
        if isinstance(operation, keras.layers.InputLayer) or isinstance(source, list | tuple | dict):
            return None
        tensor = source
    features = operation.input
    if operation.data_format != "channels_last" or None in features.shape[1:] or 1 in features.shape[1:-1]:
        return None
    weights = _gradient_if_constant(keras.Model([operation.output, *others], first))
    if weights is None:
        return None
    return LinearHead(features._keras_history.operation.name, features, weights * scale, gate)


def _behind_gate(logit: Any) -> tuple[Any, Any, float]:
    """Return the experts' logits, the gate's weights, and the scale after them; else (logit, None, 1)."""
    plain = logit, None, 1.0
    last = logit._keras_history.operation
    mixed = getattr(last, "input", None) if hasattr(last, "kernel") else None
    operation: Any = getattr(getattr(mixed, "_keras_history", None), "operation", None)
    if type(operation).__name__ != "Dot":
        return plain
    found = {one._keras_history.operation.name: one for one in operation.input}
    if set(found) != {EXPERTS_LAYER, GATE_LAYER}:
        return plain
    gate = found[GATE_LAYER]
    # A gate that reads the map itself would make the logit more than linear in it.
    if not _reads_clip(gate):
        return plain
    return found[EXPERTS_LAYER], gate, float(np.asarray(last.kernel)[0, 0])


def _is_clips(tensor: Any) -> bool:
    """Whether these are CLIP's features, or units of a hidden layer that reads nothing else."""
    name = tensor._keras_history.operation.name
    return name == FEATURES_LAYER or (name == HIDDEN_LAYER and _reads_clip(tensor))


def _reads_clip(tensor: Any) -> bool:
    """Whether the layer of a tensor reads CLIP's features, or those of the centre too, and nothing else."""
    read = tensor._keras_history.operation.input
    if not hasattr(read, "_keras_history"):
        return False
    operation = read._keras_history.operation
    if operation.name == FEATURES_LAYER:
        return True
    joined = operation.input if type(operation).__name__ == "Concatenate" else []
    return [one._keras_history.operation.name for one in joined] == [FEATURES_LAYER, CENTRE_LAYER]


def evidence_map(model: keras.Model, head: LinearHead) -> EvidenceMap | None:
    """Return where the cells of a head's map lie.

    ``None`` where that is unknown, where they form no grid, or where they are more than :data:`MAX_CELLS`.
    """
    if np.prod(head.features.shape[1:3]) > MAX_CELLS:
        return None
    layout = layout_of(model, head.layer)
    if isinstance(layout, str) or not layout.regular:
        return None
    found = EvidenceMap(head.layer, layout)
    return found if found.shape == tuple(head.features.shape[1:3]) else None


def _gradient_if_constant(rest: keras.Model) -> np.ndarray | None:
    """Return the gradients (C, K) of the K outputs' columns with respect to the first input of ``rest``.

    None unless they are always the same, that is, for inputs of noise of either sign and of any size.

    Two inputs are not enough: both may lie on the same side of every rectifier. Of an input and its negative,
    both large, one lies on either side whatever the bias.
    """
    import tensorflow as tf

    rng = np.random.default_rng(0)
    values = []
    for tensor in rest.inputs:
        noise = rng.standard_normal((8, *tensor.shape[1:]))
        trials = [sign * scale * noise for scale in (1, 1e2, 1e4) for sign in (1, -1)]
        values.append(tf.constant(np.concatenate(trials).astype(np.float32)))
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(values[0])
        made = rest(values, training=False)
        columns = [made[:, k] for k in range(made.shape[-1])]
    found = []
    for column in columns:
        gradient = tape.gradient(column, values[0])
        if gradient is None:
            return None
        one, *others = np.asarray(gradient).reshape(len(values[0]), -1)
        same = np.abs(others - one).max() <= _SAME_GRADIENT * np.abs(one).max()
        if not (same and np.isfinite(one).all()):
            return None
        found.append(one)
    gradients = np.stack(found, axis=1)
    # One of several experts may leave the map out.
    return gradients if gradients.any() else None
