"""Faces -> 128 numbers that lie close together for one person, by dlib's face recognition network."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from functools import cache

import numpy as np

from ..faces.dlib_backend import LOCK, load_dlib
from ..utils.keras_backend import dtype_policy
from .architectures.face_resnet import face_embedding_model, read_face_network

# What the network was made for: a face turned upright, with a quarter of its size on each side.
_CHIP = 150
_PADDING = 0.25
_RUNNING = threading.Lock()


def embed_faces(image: np.ndarray, landmarks: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The embeddings of faces whose landmarks are known.

    King 2017, "High Quality Face Recognition with Deep Metric Learning": faces of one person are mostly
    closer than 0.6 (Euclidean), those of two people mostly not. dlib turns and cuts the face; its network
    runs in Keras, equal to 1e-6, which takes a tenth of the time (6 instead of 65 ms a face on two cores) and
    lets other threads run meanwhile.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB.
    landmarks
        Per face (68, 2), x and y in pixels, see :func:`redeepfake_nb.faces.detection.find_landmarks`.

    Returns
    -------
    list of numpy.ndarray
        Per face (128,) float64.

    Raises
    ------
    RedeepfakeError
        dlib or its model files are absent.
    """
    if not len(landmarks):
        return []
    image = np.ascontiguousarray(image)
    with LOCK:
        chips = np.stack([_chip(image, points) for points in landmarks])
    with _RUNNING:
        return list(_network().predict_on_batch(chips.astype(np.float32)).astype(np.float64))


def _chip(image: np.ndarray, points: np.ndarray) -> np.ndarray:
    """(150, 150, 3) uint8: the face upright, as dlib cuts it out for its network."""
    library = load_dlib()
    places = [library.point(round(float(x)), round(float(y))) for x, y in points]
    low, high = np.min(points, axis=0), np.max(points, axis=0)
    frame = library.rectangle(*(round(float(v)) for v in (*low, *high)))
    return library.get_face_chip(image, library.full_object_detection(frame, places), _CHIP, _PADDING)


@cache
def _network():
    # Whatever precision the process trains in: distances between people need float32.
    with dtype_policy("float32"):
        return face_embedding_model(read_face_network(), _CHIP)
