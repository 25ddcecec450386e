"""Heatmaps of models that score several frames at once: one raw map for each frame of a window.

The gradient of the window's logit is taken through the whole network at one feature map. Where the network
looks at the frames one by one (``TimeDistributed``), that map belongs to single frames; where it convolves
over time, its places in time are spread over the frames; where it has joined the frames before, all frames
get the same map.
"""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..errors import UnknownChoice, UnsuitableModel
from ..models.graph import input_layer, is_cut, spatial_cut_layer
from .split_network import SALIENCY_GRID, SMOOTHGRAD_NOISE, SMOOTHGRAD_SAMPLES

if TYPE_CHECKING:
    import keras

    from ..models.classifier import Classifier

WINDOW_METHODS = ("gradcam", "hirescam", "gradcam++", "layercam", "saliency")


def window_layer(classifier: Classifier, method: str) -> str:
    """Return the layer that is explained where none is named: the input for saliency, else the deepest map.

    Raises
    ------
    UnsuitableModel
        The model has no feature map that the whole score passes through.
    """
    if method == "saliency":
        return input_layer(classifier.keras_model)
    return classifier.card.explain_layer or spatial_cut_layer(classifier.keras_model)


def window_maps(
    classifier: Classifier, batch: np.ndarray, method: str, sign: float, layer: str
) -> np.ndarray:
    """Compute maps of the evidence in every frame.

    Parameters
    ----------
    classifier
        Of a model that takes T frames at once.
    batch
        (N, T, S, S, 3) float32 from :func:`redeepfake_nb.preprocess`.
    method
        One of :data:`WINDOW_METHODS`.
    sign
        1 for evidence of a fake, -1 for evidence of a real face.
    layer
        A layer whose output is a feature map, of single frames or of a window.

    Returns
    -------
    numpy.ndarray
        (N, T, S, S) float32, not negative, in units of the method, comparable between the frames of a window.

    Raises
    ------
    UnknownChoice
        There is no such layer, or its output is not a feature map.
    UnsuitableModel
        The method is not one of :data:`WINDOW_METHODS`.
    """
    if method not in WINDOW_METHODS:
        raise UnsuitableModel(
            f"{method} is made for single pictures, and this model scores several frames at once",
            subject=classifier.name,
            next_step=f"Choose {', '.join(WINDOW_METHODS[:-1])} or {WINDOW_METHODS[-1]}.",
        )
    signed = np.stack([_window_map(classifier, window, method, sign, layer) for window in batch])
    if classifier.card.mirror:
        mirrored = [_window_map(classifier, w[..., ::-1, :], method, sign, layer) for w in batch]
        signed = (signed + np.stack(mirrored)[..., ::-1]) / 2
    return np.maximum(signed, 0)


def _window_map(
    classifier: Classifier, window: np.ndarray, method: str, sign: float, layer: str
) -> np.ndarray:
    """Return the signed maps of one window, (T, S, S)."""
    if method == "saliency":
        cells = _saliency(classifier, window, sign)
    else:
        trunk, rest, needs_window = _parts(classifier.keras_model, layer)
        features = np.asarray(trunk(window[None], training=False), np.float32)
        gradient = sign * _gradient(rest, features, window[None] if needs_window else None)
        cells = _weighted(features, gradient, method)
    if cells.ndim == 4:  # of a map with an axis of time
        (cells,) = cells
    frames, size = window.shape[:2]
    places = ((np.arange(frames) + 0.5) * len(cells) / frames).astype(int)
    drawn = [cv2.resize(cell, (size, size), interpolation=cv2.INTER_LINEAR) for cell in cells]
    return np.stack([drawn[place] for place in places])


def _weighted(features: np.ndarray, gradient: np.ndarray, method: str) -> np.ndarray:
    """Sum a map's channels, weighted by gradients, by any CAM of :data:`WINDOW_METHODS`; see ``explain``."""
    axes = tuple(range(1, features.ndim - 1))
    if method == "hirescam":
        return (features * gradient).sum(axis=-1)
    if method == "layercam":
        return (features * np.maximum(gradient, 0)).sum(axis=-1)
    if method == "gradcam":
        return (features * gradient.mean(axis=axes, keepdims=True)).sum(axis=-1)
    positive = np.maximum(gradient, 0)
    denominator = 2 * positive**2 + positive**3 * features.sum(axis=axes, keepdims=True)
    usable = (positive > 0) & (denominator != 0)
    alphas = np.divide(positive**2, denominator, out=np.zeros_like(positive), where=usable)
    total = alphas.sum(axis=axes, keepdims=True)
    alphas = np.divide(alphas, total, out=np.zeros_like(alphas), where=total != 0)
    return (features * (positive * alphas).sum(axis=axes, keepdims=True)).sum(axis=-1)


def _saliency(classifier: Classifier, window: np.ndarray, sign: float) -> np.ndarray:
    """Return SmoothGrad times the pixels' difference from black, averaged over cells, (T, h, w)."""
    rng = np.random.default_rng(0)
    total = np.zeros_like(window)
    for _ in range(SMOOTHGRAD_SAMPLES):
        noise = rng.standard_normal(window.shape, np.float32)
        noisy = window + np.float32(SMOOTHGRAD_NOISE * np.ptp(window)) * noise
        total += _gradient(classifier.keras_model, noisy[None])[0]
    parts = (sign * total / SMOOTHGRAD_SAMPLES * (window - classifier.preprocessing.black)).sum(axis=-1)
    side = min(SALIENCY_GRID, window.shape[1])
    return np.stack([cv2.resize(part, (side, side), interpolation=cv2.INTER_AREA) for part in parts])


def _gradient(model: keras.Model, values: np.ndarray, window: np.ndarray | None = None) -> np.ndarray:
    """Return the gradient of the logit with respect to ``values``; ``window`` is a second input."""
    import tensorflow as tf

    watched = tf.constant(values)
    with tf.GradientTape(watch_accessed_variables=False) as tape:
        tape.watch(watched)
        inputs = watched if window is None else [watched, tf.constant(window)]
        logit = model(inputs, training=False)[:, 0]
    return np.asarray(tape.gradient(logit, watched), np.float32)


_networks: weakref.WeakKeyDictionary[keras.Model, dict[str, tuple[Any, Any, bool]]] = (
    weakref.WeakKeyDictionary()
)


def _parts(model: keras.Model, layer: str) -> tuple[keras.Model, keras.Model, bool]:
    """Split a network at a layer; also tell whether the second part needs the window, too."""
    import keras

    known = _networks.setdefault(model, {})
    if layer not in known:
        maps = [x.name for x in model.layers if len(getattr(x.output, "shape", ())) in (4, 5)]
        if layer not in maps:
            raise UnknownChoice(
                f"layer {layer!r} is not there, or its output is not a feature map (height, width, channels)",
                subject=model.name,
                next_step=f"Leave the layer out, or choose one such as {', '.join(maps[-3:])}.",
            )
        features = model.get_layer(layer).output
        needs_window = not is_cut(model, layer)
        inputs = [features, *model.inputs] if needs_window else features
        known[layer] = (
            keras.Model(model.inputs[0], features),
            keras.Model(inputs, model.outputs[0]),
            needs_window,
        )
    return known[layer]
