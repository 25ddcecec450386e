"""Embeddings equal those of face_recognition and differ between people."""

from __future__ import annotations

import numpy as np
import pytest

from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.faces.detection import find_landmarks
from redeepfake_nb.models import embedding
from redeepfake_nb.models.architectures.face_resnet import face_embedding_model, read_face_network
from redeepfake_nb.models.embedding import embed_faces


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_equal_to_face_recognition() -> None:
    image = sample_image().image
    box = (187, 77, 277, 167)
    points = find_landmarks(image, [box])
    (mine,) = embed_faces(image, points)
    assert mine.shape == (128,)
    face_recognition = pytest.importorskip("face_recognition")
    left, top, right, bottom = box
    (theirs,) = face_recognition.face_encodings(image, [(top, right, bottom, left)], model="large")
    np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_darker_image_is_the_same_person() -> None:
    image = sample_image().image
    darker = (image * 0.8).astype(np.uint8)
    points = find_landmarks(image, [(187, 77, 277, 167)])
    one, other = embed_faces(image, points)[0], embed_faces(darker, points)[0]
    assert np.linalg.norm(one - other) < 0.2


def test_faces_are_embedded_in_one_batch() -> None:
    image = sample_image().image
    (points,) = find_landmarks(image, [(187, 77, 277, 167)])
    (alone,) = embed_faces(image, [points])
    both = embed_faces(image, [points, points + 3])
    np.testing.assert_allclose(both[0], alone, atol=1e-6)
    assert np.linalg.norm(both[1] - alone) > 1e-3


@pytest.mark.slow
def test_equal_to_keras() -> None:
    image = sample_image().image
    (points,) = find_landmarks(image, [(187, 77, 277, 167)])
    chip = embedding._aligned_crop(image, points)[None].astype(np.float32)
    (expected,) = face_embedding_model(read_face_network()).predict_on_batch(chip)
    np.testing.assert_allclose(embed_faces(image, [points])[0], expected, atol=1e-6)


def test_no_faces() -> None:
    assert embed_faces(np.zeros((10, 10, 3), np.uint8), []) == []
