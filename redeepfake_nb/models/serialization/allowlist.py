"""Allow a model's configuration to name only Keras layers, operations and settings that compute.

Loading a configuration looks up classes by name and calls them. Whatever is not on the lists of this module
is refused by name, or, if the caller trusts the file, allowed and reported.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ...errors import UnsafeModel, displayable

_LAYERS = """
    InputLayer Activation Dense EinsumDense Identity Flatten Reshape Permute RepeatVector Masking
    Conv1D Conv2D Conv1DTranspose Conv2DTranspose DepthwiseConv1D DepthwiseConv2D SeparableConv1D
    SeparableConv2D Conv3D Conv3DTranspose
    BatchNormalization LayerNormalization GroupNormalization RMSNormalization UnitNormalization
    SpectralNormalization ReLU LeakyReLU PReLU ELU Softmax
    Dropout SpatialDropout1D SpatialDropout2D SpatialDropout3D GaussianDropout GaussianNoise
    AlphaDropout ActivityRegularization
    MaxPooling1D MaxPooling2D AveragePooling1D AveragePooling2D GlobalMaxPooling1D GlobalMaxPooling2D
    GlobalAveragePooling1D GlobalAveragePooling2D AdaptiveAveragePooling2D AdaptiveMaxPooling2D
    MaxPooling3D AveragePooling3D GlobalMaxPooling3D GlobalAveragePooling3D
    UpSampling1D UpSampling2D UpSampling3D ZeroPadding1D ZeroPadding2D ZeroPadding3D
    Cropping1D Cropping2D Cropping3D
    Add Subtract Multiply Average Maximum Minimum Concatenate Dot
    Attention AdditiveAttention MultiHeadAttention GroupQueryAttention GroupedQueryAttention
    TimeDistributed Bidirectional LSTM GRU SimpleRNN ConvLSTM1D ConvLSTM2D ConvLSTM3D
    RNN StackedRNNCells LSTMCell GRUCell SimpleRNNCell Embedding
    Rescaling Normalization Resizing CenterCrop
    RandomFlip RandomRotation RandomZoom RandomContrast RandomBrightness RandomTranslation RandomCrop
    RandomShear RandomSaturation RandomHue RandomSharpness RandomGrayscale RandomInvert RandomErasing
    RandomPosterization RandomColorJitter RandomColorDegeneration RandomGaussianBlur RandomElasticTransform
    RandomPerspective AutoContrast Equalization Solarization AugMix RandAugment LayerScale
"""
_MODELS = "Functional Sequential Model"
_SETTINGS = """
    DTypePolicy FloatDTypePolicy DTypePolicyMap QuantizedDTypePolicy
    Zeros Ones Constant Identity Orthogonal RandomNormal RandomUniform TruncatedNormal VarianceScaling STFT
    GlorotNormal GlorotUniform HeNormal HeUniform LecunNormal LecunUniform IdentityInitializer
    OrthogonalInitializer L1 L2 L1L2 OrthogonalRegularizer MaxNorm MinMaxNorm NonNeg UnitNorm
"""
_OPERATIONS = """
    Absolute Abs Add Subtract Multiply Divide TrueDivide DivideNoNan FloorDivide Power Negative Reciprocal
    Square Sqrt Rsqrt Exp Exp2 Expm1 Log Log1p Log2 Log10 Sin Cos Tan Tanh Sinh Cosh Arctan Erf Sign Round
    Floor Ceil Mod Maximum Minimum Clip Mean Sum Prod Max Min Amax Amin Var Std Moments Logsumexp Median
    Concatenate Stack Split Reshape Ravel Squeeze ExpandDims Transpose Swapaxes Moveaxis Flip Roll Pad Tile
    Repeat BroadcastTo GetItem Take Slice Unstack Copy Cast StopGradient Where Equal NotEqual Greater
    GreaterEqual Less LessEqual Any All LogicalAnd LogicalOr LogicalNot NanToNum Matmul Dot Einsum Tensordot
    ZerosLike OnesLike FullLike Relu Relu6 LeakyRelu Elu Selu Celu Gelu Glu Sigmoid LogSigmoid HardSigmoid
    Silu HardSilu HardTanh Softplus Softsign Softmax LogSoftmax SoftShrink HardShrink TanhShrink Squareplus
    Threshold MaxPool AveragePool AdaptiveAveragePool AdaptiveMaxPool Conv DepthwiseConv SeparableConv
    ConvTranspose BatchNorm LayerNorm RMSNorm Normalize DotProductAttention DepthToSpace SpaceToDepth
    RGBToGrayscale RGBToHSV HSVToRGB Resize ExtractPatches PadImages CropImages SobelEdges
    FFT FFT2 IFFT2 RFFT IRFFT Real Imag Angle
"""
ALLOWED = frozenset(f"{_LAYERS} {_MODELS} {_SETTINGS} {_OPERATIONS}".split())
ALLOWED_FUNCTIONS = frozenset(
    [
        "linear",
        "relu",
        "relu6",
        "leaky_relu",
        "elu",
        "selu",
        "celu",
        "gelu",
        "glu",
        "sigmoid",
        "log_sigmoid",
        "hard_sigmoid",
        "silu",
        "swish",
        "hard_silu",
        "hard_swish",
        "hard_tanh",
        "tanh",
        "tanh_shrink",
        "softplus",
        "softsign",
        "softmax",
        "log_softmax",
        "soft_shrink",
        "hard_shrink",
        "squareplus",
        "exponential",
        "mish",
        "threshold",
        "sparse_plus",
        "sparse_sigmoid",
        "sparsemax",
    ]
)
# Serialised objects that are not classes: references to tensors in the graph, and plain values.
_VALUES = {
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__tuple__",
    "__slice__",
    "__ellipsis__",
    "__bytes__",
}
# These run other programs or read other files; trust in this file does not cover those.
_NEVER = {
    "FlaxLayer",
    "IndexLookup",
    "IntegerLookup",
    "JaxLayer",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
}
# Code in the file itself.
_CODE = {"Lambda", "__lambda__"}
# Classes of networks in keras.applications that Keras does not list among its layers; they only compute.
APPLICATION_CLASSES = {
    "LayerScale": "keras.src.applications.convnext",
    "CustomScaleLayer": "keras.src.applications.inception_resnet_v2",
}
# Reasons why something is not allowed.
RUNS_CODE = "can run code or read files"
CUSTOM_CLASS = "is a class of its author's own"
UNKNOWN_CLASS = "is not a Keras class that a model may consist of"
_CLASS_NAME = re.compile(r"[A-Z]\w*")
# Without a dot, which would reach into a module that is not on the list: keras + config.set_floatx.
_MODULES = re.compile(
    r"keras|keras\.(src\.)?("
    r"layers|models|initializers|regularizers|constraints|activations|dtype_policies|"
    r"ops\.(numpy|nn|core|math|image))(\.\w+)*"
)
_FUNCTION_MODULES = ("keras.activations", "keras.ops")


def check_config(config: Any, subject: object, trust: bool = False) -> tuple[str, ...]:
    """Check that a configuration names only what is on the lists of this module.

    Parameters
    ----------
    config
        Of a Keras 3 model, as plain JSON; that of a Keras 2 model has to be translated first.
    trust
        Allow code in the file (Lambda), Keras's other layers, and classes that are registered in this
        process. Layers that read other files or run other programs are refused nevertheless.

    Returns
    -------
    tuple of str
        The classes that only ``trust`` allowed, sorted; empty without it.

    Raises
    ------
    UnsafeModel
        Names the first class or function that is not allowed.
    """
    found: set[str] = set()
    for node in serialized_objects(config):
        objection = _violation(node)
        if objection is None:
            continue
        name, why = objection
        if not (trust and _can_be_trusted(node)):
            raise not_allowed(name, why, subject, trust)
        found.add(name)
    return tuple(sorted(found))


def not_allowed(name: str, why: str, subject: object, trust: bool = False) -> UnsafeModel:
    """Make the error for a class or function that is not on the lists."""
    step = "Ask its author for a model made of plain Keras layers."
    if why in (CUSTOM_CLASS, UNKNOWN_CLASS):
        step = (
            f"{step} If it is yours: register its class in this process with "
            "keras.saving.register_keras_serializable, and give load_model(..., trust=True, sha256=...); or "
            "build the model in Python, and give it to Classifier(model, Card(...))."
        )
    elif why == RUNS_CODE and not trust:
        step += " If you made the file, load_model(..., trust=True, sha256=...) runs its code."
    return UnsafeModel(
        f"it contains {displayable(name)}, which {why}"
        + (", and trust=True does not cover that" if trust else ""),
        subject=subject,
        next_step=step,
    )


def registered_class(*names: object) -> str | None:
    """Return the name under which the caller has registered one of these classes with Keras; else ``None``.

    No module is imported because a file names it. Keras 2 files may lack the package, which stands before
    ``>``.
    """
    import keras

    known = keras.saving.get_custom_objects()
    for name in names:
        if not isinstance(name, str):
            continue
        for registered in (name, f"Custom>{name}"):
            if keras.saving.get_registered_object(registered) is not None:
                return registered
        alike = [key for key in known if key.rpartition(">")[2] == name]
        if len(alike) == 1:
            return alike[0]
    return None


def serialized_objects(node: Any) -> Iterator[dict[str, Any]]:
    """Yield every serialised object (a dict with ``class_name``) in a configuration."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "class_name" in node:
                yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _violation(node: dict[str, Any]) -> tuple[str, str] | None:
    """Return the name of an object that is not on the lists and the reason; ``None`` if it is allowed."""
    name, module, registered = (node.get(key) for key in ("class_name", "module", "registered_name"))
    shown = str(name) if module is None else f"{module}.{name}"
    if not isinstance(name, str):
        return shown, "is not a class name"
    if name in _CODE | _NEVER:
        return shown, RUNS_CODE
    if name in _VALUES:
        return None
    if name == "function":
        function = str(node.get("config"))
        shown = f"the function {module}.{function}"
        known = module in _FUNCTION_MODULES and function in ALLOWED_FUNCTIONS
        registered_names = {None, name, function}
    elif name in APPLICATION_CLASSES and module == APPLICATION_CLASSES[name]:
        known, registered_names = True, {None, name, f"Custom>{name}"}
    else:
        known = name in ALLOWED and (module is None or _MODULES.fullmatch(str(module)) is not None)
        registered_names = {None, name}
    if not isinstance(registered, (str, type(None))) or registered not in registered_names:
        return str(registered), CUSTOM_CLASS
    return None if known else (shown, UNKNOWN_CLASS)


def _can_be_trusted(node: dict[str, Any]) -> bool:
    name, module, registered = (node.get(key) for key in ("class_name", "module", "registered_name"))
    if not isinstance(name, str) or name in _NEVER:
        return False
    if name == "__lambda__" or (name == "Lambda" and module in (None, "keras.layers")):
        return True
    if registered not in (None, name) or module is None:
        return registered_class(registered or name) == (registered or name)
    plain = _CLASS_NAME.fullmatch(name) is not None and "layers" in str(module)
    return plain and _MODULES.fullmatch(str(module)) is not None
