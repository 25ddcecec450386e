"""Where the cells of a feature map lie on the network's input.

A heatmap is drawn from the cells of a feature map, and a cell belongs where its receptive field is centred.
Cropping, padding, "valid" and strided convolutions, resizing, slicing and the like move and drop cells, so
the map must not simply be stretched over the face.

The network is followed from its input, one operation after the other, with the place of every element: the
row and column of the input, in pixels, on which its receptive field is centred.

* Convolution, pooling, upsampling and resizing place a cell by kernel, stride and padding.
* An operation that only moves elements (cropping, slicing, reshaping, transposing, padding, space to depth)
  is recognised by running it on numbers that are all different, and moves the places alike.
* Any other operation is probed: the squared gradients of an output cell with respect to the operation's
  inputs say which cells it depends on.

What depends on the whole picture (attention, global pooling) has no place of its own. Where it only weighs
something that has one, as in squeeze and excitation, or moves all of it alike, as a mean that is subtracted,
the result is there. Where a map of it is added, as by the skip connections of a transformer, the sum has
evidence of the whole picture in each of its cells and is refused.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from .graph import as_in_inference

if TYPE_CHECKING:
    import keras

# Places that are added up are the same if they differ by at most this many cells; strided branches with
# different kernels differ by up to one.
_SAME_PLACE = 1.5
# The channels of a cell may lie this many cells from their mean: stages of different strides that are joined
# as channels differ by up to one.
_SAME_CELL = 1.25
# A probed cell has a place if this share of its squared gradients lies within two cells of their peak.
_LOCAL_SHARE = 0.5
# From this share of its squared gradients outside, it holds something of the whole picture, too.
_ELSEWHERE = 1e-3
# Largest number of cells of an operation's output that is probed, and how many at a time.
_MAX_PROBED = 4096
_PROBE_BATCH = 64
# A map with fewer cells per side than this is drawn with narrower transitions, since linear interpolation
# would put an eighth of a cell's evidence on each of its neighbours.
_FEW_CELLS = 8

# By the name of an operation's class: operations that compute each element from the elements of its own cell.
_POINTWISE = {
    *("Activation", "ReLU", "LeakyReLU", "PReLU", "ELU", "BatchNormalization", "LayerNormalization"),
    *("GroupNormalization", "UnitNormalization", "RMSNormalization", "Normalization", "Rescaling", "Dropout"),
    *("GaussianNoise", "GaussianDropout", "AlphaDropout", "SpatialDropout2D", "SpatialDropout1D", "Identity"),
    *("Cast", "Relu", "Relu6", "Silu", "Sigmoid", "Gelu", "Tanh", "Exp", "Square", "Sqrt", "Rsqrt", "Clip"),
    *(
        "Absolute",
        "Abs",
        "Negative",
        "HardSigmoid",
        "HardSilu",
        "Softplus",
        "Log",
        "LeakyRelu",
        "Elu",
        "Selu",
    ),
    *("Softsign", "Erf", "Reciprocal", "StopGradient", "Copy"),
}
_WINDOWS = {"Conv2D", "DepthwiseConv2D", "SeparableConv2D", "MaxPooling2D", "AveragePooling2D"}
_GATES = {"Multiply", "Divide", "TrueDivide", "Power"}
_MERGES = {"Add", "Subtract", "Average", "Maximum", "Minimum", *_GATES}
# These mix all places.
_GLOBAL = {
    *("MultiHeadAttention", "GroupedQueryAttention", "Attention", "AdditiveAttention", "Matmul", "Einsum"),
    *("Dot", "Tensordot", "GlobalAveragePooling2D", "GlobalMaxPooling2D", "GlobalAveragePooling1D"),
    *("GlobalMaxPooling1D", "DotProductAttention"),
}


@dataclass(frozen=True, eq=False)
class Layout:
    """A grid on the input, and the position in it of each cell of a feature map.

    Parameters
    ----------
    rows, columns
        (h,) and (w,) float64, ascending: centres of the grid's rows and columns in input pixels, integers
        being pixel centres. They may lie outside the input where a map was padded.
    index
        (cells,) int: place in the grid, row by row, of each cell of the feature map, whose cells are counted
        over all axes but those of batch and channels; -1 for cells without a place, such as a class token.
        Cells may share a place.
    """

    rows: np.ndarray
    columns: np.ndarray
    index: np.ndarray

    @classmethod
    def even(cls, height: int, width: int, size: int) -> Layout:
        """Spread ``height`` x ``width`` cells evenly over an input of ``size`` px."""
        rows, columns = ((np.arange(n) + 0.5) * size / n - 0.5 for n in (height, width))
        return cls(rows, columns, np.arange(height * width))

    @property
    def regular(self) -> bool:
        """Whether the feature map's cells are those of the grid, in the same order."""
        count = len(self.rows) * len(self.columns)
        return len(self.index) == count and bool((self.index == np.arange(count)).all())

    @property
    def placed(self) -> np.ndarray:
        """(P,) int: the cells that have a place."""
        return np.flatnonzero(self.index >= 0)

    def coarser(self, height: int, width: int) -> Layout:
        """Average the cells of a regular layout to fewer, as ``cv2.INTER_AREA`` does."""
        rows, columns = (
            cv2.resize(places[:, None], (1, count), interpolation=cv2.INTER_AREA)[:, 0]
            for places, count in ((self.rows, height), (self.columns, width))
        )
        return Layout(rows, columns, np.arange(height * width))

    def covered(self, size: int) -> int:
        """Return how many pixels of an input of ``size`` px the grid covers."""
        return int(np.prod([_fractions(p, size, False)[1].sum() for p in (self.rows, self.columns)]))

    def cells(self, size: int) -> int:
        """Return how many places of the grid lie on an input of ``size`` px."""
        return int(np.prod([((p > -0.5) & (p < size - 0.5)).sum() for p in (self.rows, self.columns)]))

    def cell_sums(self, pixels: np.ndarray) -> np.ndarray:
        """Sum an array on the input, (size, size), over the pixels nearest to each cell.

        Returns
        -------
        numpy.ndarray
            (cells,) float64; 0 for cells without a place. Cells that share a place share its sum.
        """
        at = np.arange(len(pixels))
        row, column = (np.abs(at[:, None] - places).argmin(axis=1) for places in (self.rows, self.columns))
        nearest = row[:, None] * len(self.columns) + column
        grid = np.bincount(nearest.ravel(), pixels.ravel(), len(self.rows) * len(self.columns))
        return np.where(self.index >= 0, grid[self.index], 0.0)

    def draw(self, cells: np.ndarray, size: int, soft: bool = False) -> np.ndarray:
        """Draw the values of cells on the input.

        Each cell's value lies on its place, with a linear transition to its neighbours. What is further than
        half a cell outside the grid is 0, but for a strip at the edge of the input that is narrower than a
        cell, so that no cell can have been dropped there: it belongs to the outermost cells.

        Parameters
        ----------
        cells
            (N, cells) float32, values of all cells of the feature map; those that share a place are added.
        size
            Side of the input in pixels.
        soft
            Have transitions as wide as a cell also where there are few cells.

        Returns
        -------
        numpy.ndarray
            (N, size, size) float32.
        """
        height, width = len(self.rows), len(self.columns)
        if self.regular:
            grids = np.asarray(cells, np.float32).reshape(-1, height, width)
        else:
            grids = np.zeros((len(cells), height * width), np.float32)
            for one, values in zip(grids, cells, strict=True):
                np.add.at(one, self.index[self.placed], values[self.placed])
            grids = grids.reshape(-1, height, width)
        (y, inside_y), (x, inside_x) = (_fractions(p, size, soft) for p in (self.rows, self.columns))
        map_x, map_y = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
        inside = (inside_y[:, None] & inside_x).astype(np.float32)
        found = [
            cv2.remap(grid, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE) for grid in grids
        ]
        return np.stack(found) * inside if found else np.zeros((0, size, size), np.float32)


def _fractions(places: np.ndarray, size: int, soft: bool) -> tuple[np.ndarray, np.ndarray]:
    """Return for each pixel of an axis its place among the cells, and whether it is inside the grid."""
    pixels = np.arange(size, dtype=np.float64)
    if len(places) == 1:
        return np.zeros(size), np.ones(size, bool)
    found = np.interp(pixels, places, np.arange(len(places), dtype=np.float64))
    if not soft and len(places) < _FEW_CELLS:
        whole = np.floor(found)
        found = whole + np.clip(2 * (found - whole) - 0.5, 0, 1)
    edges = []
    for end, step in ((places[0], places[0] - places[1]), (places[-1], places[-1] - places[-2])):
        edge = end + step / 2
        room = edge + 0.5 if step < 0 else size - 0.5 - edge
        edges.append(edge if room > abs(step) - 1e-6 else (-0.5 if step < 0 else size - 0.5))
    return found, (pixels >= edges[0] - 1e-6) & (pixels <= edges[1] + 1e-6)


_known: weakref.WeakKeyDictionary[keras.Model, dict[str, Layout | str]] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def layout_of(model: keras.Model, layer: str) -> Layout | str:
    """Return where the cells of a layer's output lie on the input of a flat model, or why that is unknown.

    Parameters
    ----------
    model
        A flat model over one image with known sides.
    layer
        Name of a layer, whose output is a feature map (height, width, channels) or tokens (count, channels).

    Returns
    -------
    Layout or str
        The reason as the end of a sentence that begins with the layer's name.
    """
    with _lock:
        if model not in _known:
            _known[model] = _follow(model)
        return _known[model].get(layer, "its output is no feature map")


def _follow(model: keras.Model) -> dict[str, Layout | str]:
    """Follow the places of all elements through the network."""
    image = model.inputs[0]
    height, width = image.shape[1:3]
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    places: dict[int, np.ndarray | None] = {id(image): np.stack([rows, columns])[..., None]}
    mixed: set[int] = set()
    found: dict[str, Layout | str] = {}
    for node in (node for _, nodes in sorted(model._nodes_by_depth.items(), reverse=True) for node in nodes):
        operation = node.operation
        if not node.is_input:
            made, elsewhere = _places_after(node, places)
            elsewhere = elsewhere or any(id(tensor) in mixed for tensor in node.input_tensors)
            for tensor, one in zip(node.outputs, made, strict=True):
                places[id(tensor)] = one
                if elsewhere and one is not None:
                    mixed.add(id(tensor))
        (first, *_) = node.outputs
        if len(first.shape) in (3, 4):
            whole = id(first) in mixed
            found[operation.name] = (
                "its cells also hold what attention, or another path, brings from the whole picture"
                if whole
                else _layout(places[id(first)], tuple(first.shape[1:]))
            )
    return found


def _places_after(node: Any, places: dict[int, np.ndarray | None]) -> tuple[list[np.ndarray | None], bool]:
    """Return the places of a node's outputs, None where nothing has a place.

    Also tell whether cells that have a place hold something of the whole picture besides.
    """
    operation, shapes = node.operation, [tuple(t.shape[1:]) for t in node.outputs]
    known = [places.get(id(tensor)) for tensor in node.input_tensors]
    kind = type(operation).__name__
    nothing: list[np.ndarray | None] = [None] * len(shapes)
    if all(one is None for one in known) or kind in _GLOBAL:
        return nothing, False
    if any(None in shape for shape in shapes):
        return nothing, False
    first, source = known[0], tuple(node.input_tensors[0].shape[1:])
    if len(known) == 1 and len(shapes) == 1 and first is not None:
        if kind in _POINTWISE:
            return [first], False
        if kind == "Dense" and len(source) > 1:
            return [_cells(first)], False
        if len(source) == 3 and len(shapes[0]) == 3:
            slid = _window(operation, kind, _cells(first), source, shapes[0])
            if slid is not None:
                return [slid], False
    sources = [tuple(t.shape[1:]) for t in node.input_tensors]
    if kind in _MERGES and len(shapes) == 1:
        return [_merged(known, sources, shapes[0])], _brings_all(kind, known, sources, shapes[0])
    try:
        moved = _moved(node, known)
        return (moved, _joined_with_all(moved, known)) if moved else _probed(node, known)
    except Exception:  # the backend raises whatever its operations raise
        return nothing, False


def _brings_all(
    kind: str,
    known: Sequence[np.ndarray | None],
    shapes: Sequence[tuple[int, ...]],
    shape: tuple[int, ...],
) -> bool:
    """Tell whether a sum or the like has a map without places as an operand.

    One value for all cells, such as the mean that is subtracted from them, is no map; nor is one weight for
    all channels of a cell.
    """
    return any(
        one is None and own == shape and (kind not in _GATES or shape[-1] > 1)
        for one, own in zip(known, shapes, strict=True)
    )


def _joined_with_all(moved: Sequence[np.ndarray | None], known: Sequence[np.ndarray | None]) -> bool:
    """Tell whether channels without places were joined to some that have one."""
    if all(one is not None for one in known):
        return False
    finite = [np.isfinite(one).all(axis=0) for one in moved if one is not None and one.ndim > 2]
    return any((one.any(axis=-1) & ~one.all(axis=-1)).any() for one in finite)


def _cells(places: np.ndarray | None) -> np.ndarray | None:
    """Average the places of a cell's channels; None where they lie further apart than the cells do."""
    if places is None or places.ndim < 3:
        return None
    finite = np.isfinite(places)
    count = finite.sum(axis=-1, keepdims=True)
    mean = np.where(finite, places, 0).sum(axis=-1, keepdims=True)
    mean = np.divide(mean, count, out=np.full_like(mean, np.nan), where=count > 0)
    if places.shape[-1] > 1:
        off = np.where(finite, np.abs(places - mean), 0).max(axis=-1, keepdims=True)
        pitch = _pitch(mean)
        mean = np.where((off <= _SAME_CELL * pitch[:, *[None] * (mean.ndim - 1)]).all(axis=0), mean, np.nan)
    return mean if np.isfinite(mean).any() else None


def _pitch(places: np.ndarray) -> np.ndarray:
    """Return the distance of neighbouring cells along both axes, (2,): 0 where all cells have one place."""
    found = []
    for axis, values in enumerate(places.reshape(2, -1)):
        some = np.unique(np.round(values[np.isfinite(values)], 2))
        apart = np.diff(some)
        if places.ndim == 4 and len(apart):
            # Rows that are not quite straight have many places that lie close together.
            neighbours = np.abs(np.diff(places[axis], axis=axis))
            if np.isfinite(neighbours).any():
                apart = apart[apart > np.nanmedian(neighbours) / 4]
        found.append(float(np.median(apart)) if len(apart) else np.inf)
    return np.zeros(2) if np.isinf(found).all() else np.array(found)


def _window(
    operation: Any, kind: str, cells: np.ndarray | None, source: tuple[int, ...], shape: tuple[int, ...]
) -> np.ndarray | None:
    """Place the cells of a convolution, pooling, upsampling or resizing; None for other operations."""
    if cells is None or getattr(operation, "data_format", "channels_last") == "channels_first":
        return None
    at: list[np.ndarray] = []
    for axis in (0, 1):
        before, after = source[axis], shape[axis]
        out = np.arange(after, dtype=np.float64)
        if kind in _WINDOWS:
            size = _per_axis(getattr(operation, "kernel_size", None) or operation.pool_size, axis)
            step = _per_axis(operation.strides, axis)
            reach = (size - 1) * _per_axis(getattr(operation, "dilation_rate", 1), axis)
            pad = max((after - 1) * step + reach + 1 - before, 0) // 2 if operation.padding == "same" else 0
            at.append(out * step + reach / 2 - pad)
        elif kind == "Conv2DTranspose":
            size, step = _per_axis(operation.kernel_size, axis), _per_axis(operation.strides, axis)
            pad = max(size - step, 0) // 2 if operation.padding == "same" else 0
            at.append((out + pad - (size - 1) / 2) / step)
        elif kind in ("UpSampling2D", "Resizing", "Resize"):
            if getattr(operation, "crop_to_aspect_ratio", False) or getattr(
                operation, "pad_to_aspect_ratio", False
            ):
                return None
            at.append((out + 0.5) * before / after - 0.5)
        else:
            return None
    return _sampled(_sampled(cells, at[0], 1), at[1], 2).astype(np.float32)


def _per_axis(value: int | Sequence[int], axis: int) -> int:
    return value if isinstance(value, int) else int(value[axis])


def _sampled(values: np.ndarray, at: np.ndarray, axis: int) -> np.ndarray:
    """Interpolate values along an axis at fractional places; beyond its ends they go on linearly."""
    count = values.shape[axis]
    if count == 1:
        return np.repeat(values, len(at), axis=axis)
    low = np.clip(np.floor(at).astype(int), 0, count - 2)
    share = (at - low).reshape([-1 if i == axis else 1 for i in range(values.ndim)])
    one, other = np.take(values, low, axis=axis), np.take(values, low + 1, axis=axis)
    # A neighbour without a place does not matter where its share is 0.
    return np.where(share == 0, one, np.where(share == 1, other, one + share * (other - one)))


def _merged(
    known: Sequence[np.ndarray | None], shapes: Sequence[tuple[int, ...]], shape: tuple[int, ...]
) -> np.ndarray | None:
    """Return the places that the operands of a sum, product or the like agree on."""
    chosen = [
        one
        for one, own in zip(known, shapes, strict=True)
        # What is broadcast over cells, such as a weight for each channel, has no place.
        if one is not None and len(own) == len(shape) and own[:-1] == shape[:-1] and len(shape) > 1
    ]
    if not chosen:
        return None
    stacked = np.stack(np.broadcast_arrays(*chosen))
    finite = np.isfinite(stacked)
    count = finite.sum(axis=0)
    mean = np.where(finite, stacked, 0).sum(axis=0)
    mean = np.divide(mean, count, out=np.full(mean.shape, np.nan, np.float32), where=count > 0)
    off = np.where(finite, np.abs(stacked - mean), 0).max(axis=0)
    cells = _cells(mean)
    if cells is None:
        return mean if not off.any() else None
    limit = _SAME_PLACE / 2 * np.nan_to_num(_pitch(cells), posinf=1e9)
    return np.where((off <= limit[:, *[None] * (mean.ndim - 1)]).all(axis=0), mean, np.nan)


def _called(node: Any, values: Sequence[Any]) -> list[np.ndarray]:
    """Run a node's operation, as in inference, on values in place of its input tensors."""
    import keras

    by_id = {id(tensor): value for tensor, value in zip(node.input_tensors, values, strict=True)}
    args, kwargs = node.arguments.fill_in(by_id)
    return keras.tree.flatten(as_in_inference(node.operation)(*args, **kwargs))


def _moved(node: Any, known: Sequence[np.ndarray | None]) -> list[np.ndarray | None] | None:
    """Move the places as the operation moves elements; None if it does more than that."""
    import keras

    shapes = [tuple(tensor.shape[1:]) for tensor in node.input_tensors]
    counts = [int(np.prod(shape)) for shape in shapes]
    total = sum(counts)
    if total > 2**23:
        return None
    indices = []
    for seed in (0, 1):
        numbers = np.random.default_rng(seed).permutation(total) + 1
        back = np.zeros(total + 1, np.int64)
        back[numbers] = np.arange(1, total + 1)
        parts = np.split(numbers.astype(np.float32), np.cumsum(counts)[:-1])
        # Positive, so that a ReLU moves all elements; as a batch of one, which no element leaves.
        tensors = [
            keras.ops.convert_to_tensor(part.reshape(1, *shape))
            for part, shape in zip(parts, shapes, strict=True)
        ]
        made = []
        for output, tensor in zip(_called(node, tensors), node.outputs, strict=True):
            values = np.asarray(output, np.float64)
            if values.shape != (1, *tensor.shape[1:]):
                return None
            if (values != np.rint(values)).any() or values.min() < 0 or values.max() > total:
                return None
            made.append(back[values[0].astype(np.int64)])
        indices.append(made)
    if any((one != other).any() for one, other in zip(*indices, strict=True)):
        return None
    full = [
        np.full((2, *shape), np.nan, np.float32) if one is None else np.broadcast_to(one, (2, *shape))
        for one, shape in zip(known, shapes, strict=True)
    ]
    flat = np.concatenate([np.full((2, 1), np.nan, np.float32), *(f.reshape(2, -1) for f in full)], axis=1)
    return [_padded(flat[:, index]) for index in indices[0]]


def _padded(places: np.ndarray) -> np.ndarray | None:
    """Go on with the places of a map (height, width, channels) where it was padded."""
    if not np.isfinite(places).any():
        return None
    if places.ndim == 4:
        if (places == places[..., :1]).all() or _same_channels(places):
            places = places[..., :1]
        for axis in (1, 2):
            others = tuple(i for i in range(4) if i != axis)
            filled = np.flatnonzero(np.isfinite(places).any(axis=others))
            if 2 <= len(filled) < places.shape[axis] and np.ptp(filled) == len(filled) - 1:
                inner = np.take(places, filled, axis=axis)
                at = np.arange(places.shape[axis], dtype=np.float64) - filled[0]
                places = _sampled(inner, at, axis).astype(np.float32)
    elif places.ndim == 3 and _same_channels(places):
        places = places[..., :1]
    return places


def _same_channels(places: np.ndarray) -> bool:
    return bool(np.array_equal(places, np.broadcast_to(places[..., :1], places.shape), equal_nan=True))


def _probed(node: Any, known: Sequence[np.ndarray | None]) -> tuple[list[np.ndarray | None], bool]:
    """Place the cells of an operation's output where its gradients point to.

    Also tell whether some of them point elsewhere, too.
    """
    import tensorflow as tf

    nothing: list[np.ndarray | None] = [None] * len(node.outputs)
    shape = tuple(node.outputs[0].shape[1:])
    count = int(np.prod(shape[:-1]))
    sources = [(i, cells) for i, one in enumerate(known) if (cells := _cells(one)) is not None]
    if len(node.outputs) != 1 or len(shape) < 2 or count > _MAX_PROBED or not sources:
        return nothing, False
    rng = np.random.default_rng(0)
    values = [rng.normal(size=(1, *t.shape[1:])).astype(np.float32) for t in node.input_tensors]
    places = np.concatenate([cells.reshape(2, -1) for _, cells in sources], axis=1)
    pitch = np.nan_to_num(_pitch(places), posinf=1e9)
    weight = rng.normal(size=shape[-1]).astype(np.float32)
    found = np.full((2, count), np.nan, np.float32)
    elsewhere = False
    for start in range(0, count, _PROBE_BATCH):
        chosen = np.arange(start, min(start + _PROBE_BATCH, count))
        tensors = [tf.constant(np.repeat(v, len(chosen), axis=0)) for v in values]
        with tf.GradientTape() as tape:
            tape.watch(tensors)
            output = tf.reshape(_called(node, tensors)[0], (len(chosen), count, shape[-1]))
            summed = tf.reduce_sum(tf.gather(output, chosen, axis=1, batch_dims=0) * weight, axis=-1)
            score = tf.linalg.trace(summed)
        gradients = tape.gradient(score, [tensors[i] for i, _ in sources], unconnected_gradients="zero")
        squares = np.concatenate(
            [np.square(np.asarray(g)).sum(axis=-1).reshape(len(chosen), -1) for g in gradients], axis=1
        )
        for cell, share in zip(chosen, squares, strict=True):
            found[:, cell], outside = _centre(share, places, pitch)
            elsewhere = elsewhere or outside > _ELSEWHERE
    if not np.isfinite(found).any():
        return nothing, False
    return [found.reshape(2, *shape[:-1], 1)], elsewhere


def _centre(share: np.ndarray, places: np.ndarray, pitch: np.ndarray) -> tuple[np.ndarray, float]:
    """Return the centre (2,) of squared gradients over cells, NaN where they have none.

    Also return the share of the gradients beyond two cells of their peak, 0 where they have no centre.
    """
    share = np.where(np.isfinite(places).all(axis=0), share, 0)
    total = share.sum()
    nowhere = np.full(2, np.nan), 0.0
    if not total > 0:
        return nowhere
    peak = places[:, share.argmax()]
    near = (np.abs(places - peak[:, None]) <= 2 * pitch[:, None] + 1e-6).all(axis=0)
    local = np.where(near, share, 0)
    if local.sum() < _LOCAL_SHARE * total:
        return nowhere
    centre = (np.where(near, places, 0) * local).sum(axis=1) / local.sum()
    return centre, float(1 - local.sum() / total)


def _layout(places: np.ndarray | None, shape: tuple[int, ...]) -> Layout | str:
    """Arrange the cells of a layer's output in a grid, or say why they are in none."""
    cells = _cells(places)
    unknown = "its cells cannot be followed back to places of the picture"
    if cells is None:
        return unknown
    flat = cells.reshape(2, -1).astype(np.float64)
    finite = np.asarray(np.isfinite(flat).all(axis=0))
    if len(shape) == 3:
        if not finite.all():
            return "some of its cells come from several places of the picture, or from all of it"
        height, width = shape[:2]
        grid = flat.reshape(2, height, width)
        rows, columns = grid[0].mean(axis=1), grid[1].mean(axis=0)
        off = np.abs(grid[0] - rows[:, None]).max(), np.abs(grid[1] - columns).max()
        steps = [np.diff(axis) for axis in (rows, columns)]
        if all((s > 1e-3).all() and o <= s.min(initial=np.inf) / 2 for s, o in zip(steps, off, strict=True)):
            return Layout(rows, columns, np.arange(height * width))
    elif finite.sum() * 2 < len(finite):
        return unknown
    rounded = np.round(flat[:, finite], 2)
    rows, row = np.unique(rounded[0], return_inverse=True)
    columns, column = np.unique(rounded[1], return_inverse=True)
    if len(rows) * len(columns) != len(np.unique(row * len(columns) + column)):
        return "its cells do not lie on a grid of the picture"
    if len(rows) < 2 and len(columns) < 2:
        return "all of its cells lie at one place"
    index = np.full(len(finite), -1)
    index[finite] = row * len(columns) + column
    return Layout(rows, columns, index)
