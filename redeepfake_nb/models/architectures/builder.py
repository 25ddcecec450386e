"""Build face classifiers: a Keras backbone with a custom head, or a network that two CPU cores can train.

Every network is flat (no nested models), takes RGB faces as float32 0..255 with shape (N, input_size,
input_size, 3), scales them itself, and returns one logit per face, (N, 1) float32, positive for fake.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...utils.keras_backend import import_keras
from . import clip_vit, efficientnet_lite, face_resnet
from .evidence_map import pad_to_grid, pool
from .mixture import EXPERTS_LAYER, mixture

if TYPE_CHECKING:
    import keras

LOGIT_LAYER = "logit"
COMPACT = "FaceResNet"
LITE = tuple(efficientnet_lite.VARIANTS)
# Networks of this package; all others come from keras.applications.
OWN = (COMPACT, *LITE, clip_vit.CLIP)
# Names of pretrained weights; "imagenet" where nothing else stands here.
_PRETRAINED = {COMPACT: "face_recognition", clip_vit.CLIP: "clip"}

# (scale, offset) that maps 0..255 to the input range of each backbone of keras.applications; None: the
# backbone scales by itself. Those that take BGR minus a mean are left out on purpose: one convention is
# enough.
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
    """Layers after the pooled features: dense layers with batch normalisation and dropout, then one logit.

    Or no dense layers and several linear logits, which a gate weights for each face. A hidden layer may read
    CLIP's features; logits then read its units beside all features.

    Parameters
    ----------
    units
        Widths of the dense layers; empty for a linear head.
    dropout
        Share of features dropped before each dense layer and before the logit, 0 <= dropout < 1.
    experts
        Number of linear logits; see :mod:`redeepfake_nb.models.architectures.mixture`. More than one need a
        head without dense layers, and CLIPViTB16 among the networks, whose features the gate reads.
    clip_units
        Width of a hidden layer that reads CLIPViTB16's features alone; 0 for none. It needs that network, and
        a head without dense layers. See :func:`redeepfake_nb.models.architectures.clip_vit.hidden`.
    clip_centre
        Whether that layer reads the means of the central patches as well.
    """

    units: tuple[int, ...] = (256,)
    dropout: float = 0.4
    experts: int = 1
    clip_units: int = 0
    clip_centre: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "units", tuple(int(u) for u in self.units))
        if any(u < 1 for u in self.units):
            raise ValueError(f"head widths must be positive, not {self.units}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), not {self.dropout}")
        if self.experts < 1 or (self.experts > 1 and self.units):
            raise ValueError("experts must be 1 or more, and more than 1 need a head without dense layers")
        if self.clip_units < 0 or (self.clip_units and self.units):
            raise ValueError("clip_units must be 0 or more, and above 0 need a head without dense layers")
        if self.clip_centre and not self.clip_units:
            raise ValueError("clip_centre is what a hidden layer reads, and clip_units, its width, is 0")


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
        ``"EfficientNetB4"`` as in ReDeepFake, or any other name in :data:`BACKBONES`, from
        ``keras.applications``. Or a network of this package, :data:`OWN`: ``"FaceResNet"`` and
        ``"EfficientNetLite0"`` to ``2``, whose stages are combined in one map
        (:mod:`redeepfake_nb.models.architectures.evidence_map`), or ``"CLIPViTB16"``, which has no such map
        (:mod:`redeepfake_nb.models.architectures.clip_vit`); or several of these in parallel,
        ``"EfficientNetLite0+FaceResNet"``.
    head
        The head. By default one dense layer of 256 units for a backbone, a linear head for networks of this
        package.
    input_size
        Side of the square input in pixels.
    weights
        ``None`` for random weights. ``"imagenet"`` for a backbone (Keras downloads the file) and for
        EfficientNet-Lite (from an installed package, see
        :mod:`redeepfake_nb.models.architectures.efficientnet_lite`). ``"face_recognition"`` for FaceResNet:
        the public-domain network in ``face_recognition_models``. ``"clip"`` for CLIPViTB16 (from an
        installed package). ``"pretrained"`` for any network of this package: whichever of them it has.

    Returns
    -------
    keras.Model
        Flat functional model, (N, input_size, input_size, 3) float32 RGB 0..255 -> (N, 1) float32 logit.

    Raises
    ------
    ValueError
        Unknown backbone or weights, or an input size that the backbone does not take.
    ModelIncomplete
        The package with the pretrained weights is not installed.
    """
    import_keras(any_backend=True)
    import keras

    _check_size(backbone, input_size)
    inputs = keras.Input((input_size, input_size, 3), name="face")
    parts = backbone.split("+")
    if head is not None and clip_vit.CLIP not in parts:
        for needed, what in ((head.experts > 1, "a gate between experts"), (head.clip_units, "clip_units")):
            if needed:
                raise ValueError(f"{what} reads the features of {clip_vit.CLIP}, not of {backbone}")
    if all(part in OWN for part in parts):
        head = head or Head(units=(), dropout=0.2)
        features = _own_features(inputs, parts, weights, head)
    elif backbone in BACKBONES:
        if weights not in (None, "imagenet"):
            raise ValueError(f'{backbone} starts from None or "imagenet", not {weights!r}')
        features = _backbone_features(inputs, backbone, weights)
        head = head or Head()
    else:
        raise ValueError(f"unknown backbone {backbone!r}; known are {', '.join([*OWN, *BACKBONES])}")
    return keras.Model(inputs, _apply_head(features, head), name=backbone.lower().replace("+", "_"))


def _check_size(backbone: str, input_size: int) -> None:
    smallest = face_resnet.MIN_INPUT_SIZE if COMPACT in backbone else 48
    if input_size < smallest:
        raise ValueError(f"input_size must be at least {smallest} px for {backbone}, not {input_size}")
    step = efficientnet_lite.INPUT_SIZE_STEP
    if any(name in backbone for name in LITE) and input_size % step:
        raise ValueError(f"input_size must be a multiple of {step} for {backbone}, not {input_size}")


def _own_features(
    inputs: keras.KerasTensor, parts: list[str], weights: str | None, head: Head
) -> keras.KerasTensor:
    """Return the features of one network of this package, or of several in parallel.

    First the mean of the joint evidence map, then what has no place in it: CLIP's features, and those of a
    hidden layer over them.
    """
    import keras

    for part in parts:
        known = _PRETRAINED.get(part, "imagenet")
        if weights not in (None, known, "pretrained"):
            raise ValueError(f'{part} starts from None or "{known}", not {weights!r}')
    placed = [part for part in parts if part != clip_vit.CLIP]
    found = [pool(_evidence_maps(inputs, placed, weights))] if placed else []
    if clip_vit.CLIP in parts:
        encoded = clip_vit.encode(inputs, weights)
        found.append(encoded.features)
        if head.clip_units:
            found.append(clip_vit.hidden(encoded, head.clip_units, centre=head.clip_centre))
    return found[0] if len(found) == 1 else keras.layers.Concatenate(name="all_features")(found)


def _evidence_maps(
    inputs: keras.KerasTensor, parts: list[str], weights: str | None
) -> list[keras.KerasTensor]:
    """Return the evidence maps of one network, or of several in parallel on the first one's grid."""
    maps: list[keras.KerasTensor] = []
    for part in parts:
        if part == COMPACT:
            found = face_resnet.feature_maps(inputs, weights)
        else:
            found = efficientnet_lite.feature_maps(inputs, part, weights)
        if maps:
            grid = maps[0]
            found = [pad_to_grid(m, grid, f"{part.lower()}_{i}_on_grid") for i, m in enumerate(found)]
        maps += found
    return maps


def _backbone_features(inputs: keras.KerasTensor, backbone: str, weights: str | None) -> keras.KerasTensor:
    """Apply a backbone of keras.applications to ``inputs`` and average its features over the face."""
    import keras

    layers = keras.layers
    scaling = BACKBONES[backbone]
    x = inputs if scaling is None else layers.Rescaling(*scaling, name="to_backbone_range")(inputs)
    build = getattr(keras.applications, backbone)
    trunk = build(include_top=False, weights=weights, input_tensor=x)
    return layers.GlobalAveragePooling2D(name="mean_features")(trunk.output)


def _apply_head(features: keras.KerasTensor, head: Head) -> keras.KerasTensor:
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
    if head.experts > 1:
        return mixture(x, _clip_features(features), head.experts, LOGIT_LAYER)
    # float32 also in mixed precision: a logit rounded to eight bits cannot be calibrated.
    return layers.Dense(1, dtype="float32", name=LOGIT_LAYER)(x)


def _clip_features(features: keras.KerasTensor) -> keras.KerasTensor:
    """Return CLIP's part of the features of a network that has it, alone or beside others."""
    operation = features._keras_history.operation
    if operation.name == clip_vit.FEATURES_LAYER:
        return features
    return next(
        one for one in operation.input if one._keras_history.operation.name == clip_vit.FEATURES_LAYER
    )


def head_features(model: keras.Model) -> keras.KerasTensor:
    """Return the features (N, D) that a network's logit, or its experts' logits, are a linear layer of."""
    names = {layer.name for layer in model.layers}
    return model.get_layer(EXPERTS_LAYER if EXPERTS_LAYER in names else LOGIT_LAYER).input
