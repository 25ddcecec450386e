"""Compute 128-dimensional face embeddings, close together for one person, with dlib's recognition network."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache

import cv2
import numpy as np

from ..faces.dlib_backend import LOCK, load_dlib
from ..faces.onnx_writer import to_onnx
from .architectures.face_resnet import FaceNetwork, feature_network, read_face_network

# What the network was trained on: an aligned face with a margin of a quarter of its size on each side.
_CHIP_SIZE = 150
_PADDING = 0.25
_PREDICTING = threading.Lock()


def embed_faces(image: np.ndarray, landmarks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Compute the embeddings of faces from their landmarks.

    King 2017, "High Quality Face Recognition with Deep Metric Learning": faces of one person are mostly
    closer than 0.6 (Euclidean), those of two people mostly not. dlib aligns and crops the face; OpenCV runs
    its network, equal to 1e-6, in a fraction of the time, and releases the interpreter lock meanwhile.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    landmarks
        Per face (68, 2), x and y in pixels; see :func:`redeepfake_nb.faces.detection.find_landmarks`.

    Returns
    -------
    list of numpy.ndarray
        Per face (128,) float64.

    Raises
    ------
    RedeepfakeError
        dlib or its model files are not installed.
    """
    if not len(landmarks):
        return []
    image = np.ascontiguousarray(image)
    with LOCK:
        chips = np.stack([_aligned_crop(image, points) for points in landmarks])
    with _PREDICTING:
        features, network = _networks()
        features.setInput(((chips - network.mean) / np.float32(256)).transpose(0, 3, 1, 2).astype(np.float32))
        maps = features.forward()
        return list((maps.mean(axis=(2, 3)) @ network.embedding).astype(np.float64))


def _aligned_crop(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Return the face rotated upright, as dlib crops it for its network: (150, 150, 3) uint8."""
    library = load_dlib()
    landmarks = [library.point(round(float(x)), round(float(y))) for x, y in points]
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    box = library.rectangle(*(round(float(v)) for v in (*low, *high)))
    return library.get_face_chip(image, library.full_object_detection(box, landmarks), _CHIP_SIZE, _PADDING)


@cache
def _networks() -> tuple[cv2.dnn.Net, FaceNetwork]:
    """Return what computes the last feature map, and the file's values, with which its mean is embedded."""
    weights = read_face_network()
    onnx = to_onnx(feature_network(weights, _CHIP_SIZE))
    return cv2.dnn.readNetFromONNX(np.frombuffer(onnx, np.uint8)), weights
