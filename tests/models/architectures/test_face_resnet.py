"""The face recognition network is read correctly: rebuilt in Keras, its embeddings equal those of dlib."""

from __future__ import annotations

from pathlib import Path

import cv2
import dlib
import numpy as np
import pytest

from redeepfake_nb import ModelIncomplete, NotAModel, find_faces
from redeepfake_nb.datasets.samples import sample_image
from redeepfake_nb.faces.dlib_backend import model_file
from redeepfake_nb.models.architectures.face_resnet import (
    FILE_NAME,
    FaceNetwork,
    _Stream,
    face_embedding_model,
    read_face_network,
)


@pytest.fixture(scope="module")
def network() -> FaceNetwork:
    return read_face_network()


@pytest.mark.parametrize(
    ("data", "value"),
    [
        (b"\x01\x05", 5),
        (b"\x81\x05", -5),
        (b"\x02\x00\x01", 256),
        (b"\x00", 0),
        (b"\x03\x01\x02\x03", 0x030201),
    ],
)
def test_packed_integers(data: bytes, value: int) -> None:
    assert _Stream(data).integer() == value


def test_packed_reals() -> None:
    assert _Stream(b"\x01\x03\x81\x01").real() == 1.5  # 3 x 2 ** -1


def test_tensors() -> None:
    values = np.arange(6, dtype="<f4")
    header = b"\x01\x02" + b"".join(bytes([1, n]) for n in (1, 1, 2, 3))
    np.testing.assert_array_equal(_Stream(header + values.tobytes()).tensor()[0, 0], values.reshape(2, 3))


def test_shapes_of_the_weights(network: FaceNetwork) -> None:
    np.testing.assert_allclose(network.mean, [122.782, 117.001, 104.298], rtol=1e-6)
    assert [c.kernel.shape for c in network.convolutions[:2]] == [(7, 7, 3, 32), (3, 3, 32, 32)]
    assert sum(c.stride == 2 for c in network.convolutions) == 5
    assert network.embedding.shape == (256, 128)


def test_embedding_equals_that_of_dlib(network: FaceNetwork, rng: np.random.Generator) -> None:
    face = cv2.resize(find_faces(sample_image())[0].crop(0.2), (150, 150))
    noise = rng.integers(0, 256, (150, 150, 3), dtype=np.uint8)
    reference = dlib.face_recognition_model_v1(model_file(FILE_NAME))
    expected = [np.array(reference.compute_face_descriptor(x)) for x in (face, noise)]
    found = face_embedding_model(network).predict_on_batch(np.stack([face, noise]).astype(np.float32))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(expected).mean() > 0.05


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(ModelIncomplete, match="cannot be read"):
        read_face_network(tmp_path / "absent.dat")
    (tmp_path / "other.dat").write_bytes(b"hello")
    with pytest.raises(NotAModel, match="no RGB input"):
        read_face_network(tmp_path / "other.dat")
    (tmp_path / "half.dat").write_bytes(Path(model_file(FILE_NAME)).read_bytes()[:5_000_000])
    with pytest.raises(NotAModel, match="not dlib's face recognition network"):
        read_face_network(tmp_path / "half.dat")
