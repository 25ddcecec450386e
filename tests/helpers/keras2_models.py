"""Typical Keras 2 models for tests: built by ``tf_keras`` and saved in its formats.

Every builder takes the module that holds Keras 2 (``tf_keras``, or ``tf.keras`` of TensorFlow 2.15) and
gives an uncompiled model with one binary output.
"""

from __future__ import annotations

import os
import sys
import warnings
from typing import Any

import numpy as np


def backbone(name: str, size: int = 64, **options: Any):
    """Build a backbone of keras.applications without its top, with random weights."""

    def build(keras):
        return getattr(keras.applications, name)(
            include_top=False, weights=None, input_shape=(size, size, 3), **options
        )

    return build


def flat_efficientnet(keras):
    """Build ReDeepFake's architecture, flat: EfficientNetB4, global maximum, dense, dropout, sigmoid."""
    layers = keras.layers
    trunk = backbone("EfficientNetB4")(keras)
    x = layers.GlobalMaxPooling2D()(trunk.output)
    x = layers.Dense(64, activation="relu")(x)
    x = layers.Dropout(0.5)(x)
    return keras.Model(trunk.input, layers.Dense(1, activation="sigmoid")(x))


def nested_efficientnet(keras):
    """Build the same with the backbone as one layer of a Sequential, partly frozen as for fine-tuning."""
    layers = keras.layers
    trunk = backbone("EfficientNetB4")(keras)
    for layer in trunk.layers[:200]:
        layer.trainable = False
    return keras.Sequential(
        [
            trunk,
            layers.GlobalMaxPooling2D(),
            layers.Dense(64, activation="relu"),
            layers.Dropout(0.5),
            layers.Dense(1, activation="sigmoid"),
        ]
    )


def meso4(keras, size: int = 64):
    """Build Meso4 (Afchar et al. 2018) at a smaller size; its sigmoid means real."""
    layers = keras.layers
    x = image = keras.Input((size, size, 3))
    for filters, side, step in ((8, 3, 2), (8, 5, 2), (16, 5, 2), (16, 5, 4)):
        x = layers.Conv2D(filters, (side, side), padding="same", activation="relu")(x)
        x = layers.BatchNormalization()(x)
        x = layers.MaxPooling2D(pool_size=(step, step), padding="same")(x)
    x = layers.Dropout(0.5)(layers.Flatten()(x))
    x = layers.LeakyReLU(alpha=0.1)(layers.Dense(16)(x))
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(layers.Dropout(0.5)(x)))


def with_backbone(
    name: str, size: int = 72, units: int = 1, activation: str | None = "sigmoid", frozen: bool = False
):
    """Build a functional model around a nested backbone."""

    def build(keras):
        layers = keras.layers
        trunk = backbone(name, size)(keras)
        trunk.trainable = not frozen
        image = keras.Input((size, size, 3))
        x = layers.Rescaling(1 / 127.5, offset=-1.0)(image)
        x = layers.GlobalAveragePooling2D()(trunk(x, training=False))
        return keras.Model(image, layers.Dense(units, activation=activation)(layers.Dropout(0.2)(x)))

    return build


def sequential(keras):
    """Build a Sequential with augmentation and many kinds of layers."""
    layers = keras.layers
    return keras.Sequential(
        [
            layers.Rescaling(1 / 255, input_shape=(32, 32, 3)),
            layers.RandomFlip("horizontal"),
            layers.RandomRotation(0.1),
            layers.RandomZoom(0.1),
            layers.ZeroPadding2D(1),
            layers.SeparableConv2D(8, 3, activation="relu"),
            layers.BatchNormalization(),
            layers.LeakyReLU(alpha=0.2),
            layers.DepthwiseConv2D(3, depth_multiplier=2, padding="same"),
            layers.ReLU(6.0),
            layers.Conv2D(12, 1, activation="swish"),
            layers.PReLU(shared_axes=[1, 2]),
            layers.SpatialDropout2D(0.1),
            layers.AveragePooling2D(2),
            layers.LayerNormalization(),
            layers.Conv2D(8, 3, activation="elu"),
            layers.ELU(alpha=0.5),
            layers.UpSampling2D(2, interpolation="bilinear"),
            layers.Conv2DTranspose(4, 3, strides=2, padding="same", activation="selu"),
            layers.GaussianNoise(0.1),
            layers.Activation("hard_sigmoid"),
            layers.Flatten(),
            layers.Dense(8, activation="tanh"),
            layers.Dense(1),
            layers.Activation("sigmoid"),
        ]
    )


def operations(keras):
    """Build a model with TensorFlow operations between layers, as preprocessing functions leave them."""
    import tensorflow as tf

    layers = keras.layers
    image = keras.Input((32, 32, 3))
    x = image[..., ::-1]
    x = tf.nn.bias_add(x, tf.constant([-103.939, -116.779, -123.68]))
    x = x / 127.5 - 0.25
    x = layers.Conv2D(6, 3, padding="same")(1.0 - x)
    skip = x
    x = tf.nn.relu(x) + skip * 2.0
    x = tf.nn.relu6(layers.Conv2D(6, 3, padding="same")(x) + skip)
    x = x * tf.sigmoid(skip) - tf.nn.swish(skip)
    x = tf.concat([x, skip], axis=-1)
    x = tf.reduce_mean(x, axis=[1, 2])
    return keras.Model(image, tf.nn.sigmoid(layers.Dense(1)(x)))


def mixed(keras):
    """Build a model under the policy mixed_float16."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        layers = keras.layers
        image = keras.Input((32, 32, 3))
        x = layers.Conv2D(8, 3, activation="relu")(layers.Rescaling(1 / 255)(image))
        x = layers.BatchNormalization()(x)
        x = layers.GlobalAveragePooling2D()(x)
        return keras.Model(image, layers.Dense(1, activation="sigmoid", dtype="float32")(x))
    finally:
        keras.mixed_precision.set_global_policy(before)


def shared(keras):
    """Build a model with a nested model and a layer that are both used twice."""
    layers = keras.layers
    inner = keras.Sequential([layers.Conv2D(4, 3, input_shape=(24, 24, 3)), layers.BatchNormalization()])
    image = keras.Input((24, 24, 3))
    both = layers.Concatenate()([inner(image), inner(layers.Rescaling(-1.0)(image))])
    dense = layers.Dense(8, activation="relu")
    x = layers.Dense(8)(layers.GlobalAveragePooling2D()(both))
    x = layers.Add()([dense(x), dense(layers.ReLU()(x))])
    return keras.Model(image, layers.Dense(1, activation="sigmoid")(x))


def normalised(keras):
    """Build a model with adapted and given Normalization statistics and a two-column softmax."""
    layers = keras.layers
    image = keras.Input((16, 16, 3))
    norm = layers.Normalization()
    norm.adapt(np.random.default_rng(1).uniform(0, 255, (64, 16, 16, 3)).astype(np.float32))
    x = layers.Flatten()(layers.Conv2D(4, 3, use_bias=False)(norm(image)))
    x = layers.Normalization(mean=0.5, variance=2.0)(x)
    return keras.Model(image, layers.Dense(2, activation="softmax")(x))


# Name -> (builder, largest pixel value of its input).
MODELS = {
    "efficientnetb4 flat": (flat_efficientnet, 255),
    "efficientnetb4 nested": (nested_efficientnet, 255),
    "meso4": (meso4, 1),
    "xception": (with_backbone("Xception"), 255),
    "mobilenetv2 frozen": (with_backbone("MobileNetV2", frozen=True), 255),
    "mobilenetv3": (with_backbone("MobileNetV3Small"), 255),
    "resnet50": (with_backbone("ResNet50", 64, activation=None), 255),
    "densenet121": (with_backbone("DenseNet121", 64, units=2, activation="softmax"), 255),
    "sequential": (sequential, 255),
    "operations": (operations, 255),
    "mixed": (mixed, 255),
    "shared": (shared, 1),
    "normalised": (normalised, 255),
}


def build(name: str, keras):
    """Build a model of ``MODELS`` with weights different from their initial values."""
    model = MODELS[name][0](keras)
    randomize_weights(keras, model, MODELS[name][1])
    return model


def randomize_weights(keras, model, high: float, seed: int = 0) -> None:
    """Change all weights from their initial values, including moving statistics."""
    rng = np.random.default_rng(seed)
    new = []
    for weight in model.weights:
        kind = weight.name.split("/")[-1].split(":")[0]
        value = np.asarray(weight.numpy())
        if kind in ("moving_variance", "gamma"):
            value = rng.uniform(0.6, 1.4, value.shape)
        elif kind in ("moving_mean", "beta", "bias"):
            value = value + rng.normal(0, 0.1, value.shape)
        new.append(value.astype(weight.dtype.as_numpy_dtype))
    model.set_weights(new)
    x = images(model, high, 8)
    _set_norm_statistics(keras, model, x)
    _scale_head(keras, model, x)


def _set_norm_statistics(keras, model, x: np.ndarray) -> None:
    """Set moving statistics from real activations, so that the output depends on the input."""
    norms = [m for m in model.submodules if isinstance(m, keras.layers.BatchNormalization)]
    before = [(norm, norm.momentum, norm.trainable) for norm in norms]
    for norm in norms:
        norm.momentum, norm.trainable = 0.0, True
    # A backbone called with training=False always runs in inference mode; call it on its own.
    model(x, training=True)
    for part in model.layers:
        if isinstance(part, keras.Model):
            last_input = part.get_input_at(-1)
            part(keras.Model(model.input, last_input)(x, training=False), training=True)
    for norm, momentum, trainable in before:
        norm.momentum, norm.trainable = momentum, trainable


def _scale_head(keras, model, x: np.ndarray) -> None:
    """Standardise the last dense layer's output: a deep random network gives all images the same."""
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)][-1]
    kernel, *bias = dense.get_weights()
    if not bias:
        return
    z = np.asarray(keras.Model(model.input, dense.input)(x, training=False), np.float64) @ kernel + bias[0]
    scale = 1 / z.std(axis=0)
    dense.set_weights([kernel * scale, (bias[0] - z.mean(axis=0)) * scale])


def images(model, high: float, count: int = 3) -> np.ndarray:
    """Make random images of a model's input size: (count, H, W, 3) float32."""
    shape = (count, *model.input_shape[1:])
    return np.random.default_rng(7).uniform(0, high, shape).astype(np.float32)


def compile_and_fit(keras, model, x: np.ndarray) -> None:
    """Train one step, so that files hold the optimizer's state."""
    units = model.output_shape[-1]
    model.compile(keras.optimizers.Adam(1e-5), "binary_crossentropy")
    y = np.zeros((len(x), units), np.float32)
    model.fit(x, y, verbose=0)


def as_build_model(keras, size: int = 64):
    """Build in Keras 2 what ``redeepfake_nb.build_model("MobileNetV2")`` builds."""
    layers = keras.layers
    image = keras.Input((size, size, 3))
    x = layers.Rescaling(1 / 127.5, -1.0)(image)
    trunk = keras.applications.MobileNetV2(include_top=False, weights=None, input_tensor=x)
    x = layers.GlobalAveragePooling2D()(trunk.output)
    x = layers.Dropout(0.4, name="head_dropout_0")(x)
    x = layers.Dense(256, use_bias=False, name="head_dense_0")(x)
    x = layers.BatchNormalization(name="head_norm_0")(x)
    x = layers.Activation("relu", name="head_relu_0")(x)
    return keras.Model(image, layers.Dense(1, name="logit")(layers.Dropout(0.4)(x)))


def save_all(folder: str) -> None:
    """Save every model in every format, with images and outputs: ``<name>.h5``, ``.keras``, ``.npz``."""
    import tf_keras
    from sequence_architectures import ARCHITECTURES, randomize, windows  # beside this script

    trained = ("meso4", "sequential")
    for name, (_, high) in MODELS.items():
        tf_keras.backend.clear_session()
        tf_keras.utils.set_random_seed(0)
        model = build(name, tf_keras)
        x = images(model, high)
        if name in trained:
            compile_and_fit(tf_keras, model, x)
        path = os.path.join(folder, name.replace(" ", "_"))
        np.savez(path, x=x, y=np.asarray(model(x, training=False)))
        model.save(f"{path}.h5")
        if name != "operations":  # Keras 2.15 cannot write an ellipsis there
            model.save(f"{path}.keras")
        if name == "meso4":
            model.save_weights(f"{path}.weights.h5")
            model.save_weights(f"{path}.old_weights.h5")
    for name, build_sequence in ARCHITECTURES.items():
        tf_keras.backend.clear_session()
        tf_keras.utils.set_random_seed(0)
        model, path = build_sequence(tf_keras), os.path.join(folder, name)
        randomize(model)
        np.savez(path, x=windows(), y=np.asarray(model(windows(), training=False)))
        model.save(f"{path}.h5")
        model.save(f"{path}.keras")
    tf_keras.backend.clear_session()
    tf_keras.utils.set_random_seed(0)
    model = as_build_model(tf_keras)
    randomize_weights(tf_keras, model, 255)
    x, path = images(model, 255), os.path.join(folder, "build_model")
    np.savez(path, x=x, y=np.asarray(model(x, training=False)))
    model.save_weights(f"{path}.weights.h5")
    model.save_weights(f"{path}.old_weights.h5")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    save_all(sys.argv[1])
