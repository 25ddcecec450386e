"""Files and folders that hold no Keras model are named, each with what to do with it."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers.hostile_models import good_archive

from redeepfake_nb import NotAModel, Preprocessing, load_model


def zipped(*names: str) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return file.getvalue()


def safetensors() -> bytes:
    header = json.dumps({"w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}).encode()
    return struct.pack("<Q", len(header)) + header + bytes(4)


def npz() -> bytes:
    file = io.BytesIO()
    np.savez(file, a=np.ones(2))
    return file.getvalue()


FILES = [
    ("m.pth", zipped("m/data.pkl", "m/version", "m/data/0"), "PyTorch checkpoint", "copy the weights"),
    ("m.keras", zipped("archive/data.pkl", "archive/data/0"), "PyTorch checkpoint", "copy the weights"),
    ("m.h5", zipped("m/data.pkl", "m/constants.pkl", "m/code/m.py"), "TorchScript", "made from"),
    ("m.pt", b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.", "PyTorch checkpoint", "copy the weights"),
    ("m.npz", npz(), "NumPy archive", "without a network"),
    ("m.npy", b"\x93NUMPY\x01\x00", "NumPy array", "without a network"),
    ("m.zip", zipped("m/saved_model.pb", "m/variables/variables.index"), "SavedModel", "Unpack it first"),
    ("m.zip", zipped("best/model.keras", "readme.md"), "around a model", "best/model.keras"),
    ("m.zip", zipped("m/config.json", "m/metadata.json", "m/model.weights.h5"), "unpacked .keras", "without"),
    ("m.zip", zipped("config.json", "pytorch_model.bin"), "PyTorch checkpoint", "copy the weights"),
    ("m.zip", zipped("a.txt"), "without a Keras configuration (it holds a.txt)", "Ask its author"),
    ("m.keras", zipped(), "empty zip", "download it again"),
    ("m.pth", zipped("m/data.pkl")[:40], "PyTorch checkpoint that is damaged or cut short", "again"),
    ("m.h5", zipped("a.txt")[:20], "zip archive that is damaged or cut short", "again"),
    ("m.tflite", struct.pack("<I", 28) + b"TFL3", "TensorFlow Lite", "made from"),
    ("m.onnx", b"\x08\x07\x12\x07pytorch", "ONNX", "made from"),
    ("m.safetensors", safetensors(), "safetensors", "without a network"),
    ("m.bin", safetensors(), "safetensors", "without a network"),
    ("m.pb", b"\x08\x01\x12", "TensorFlow graph", "can run code"),
    ("ckpt.data-00000-of-00001", bytes(64), "TensorFlow checkpoint", "load the weights there"),
    ("ckpt.index", bytes(64), "TensorFlow checkpoint", "load the weights there"),
    ("checkpoint", b'model_checkpoint_path: "ckpt"', "TensorFlow checkpoints", "load the weights there"),
    ("m.joblib", b"x\x9c1234", "a pickle", "runs the code in it"),
    ("m.h5", pickle.dumps({"a": 1}), "a pickle", "runs the code in it"),
    ("m.json", b'{"class_name": "Functional", "config": {}}', "network without weights", "load the weights"),
    ("m.json", b'{"name": "mine"}', "JSON", "Ask its author"),
    ("m.tar.gz", b"\x1f\x8b\x08", "gzip", "Unpack it"),
    ("face.jpg", b"\xff\xd8\xff\xe0", "picture, not a model", "Give the path"),
    ("m.weights", b"nothing known", "neither a .keras archive nor an HDF5 file", "Keras 3"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "data", "what", "step"), FILES, ids=[f"{f[0]}: {f[2]}" for f in FILES])
def test_other_files_are_named(tmp_path: Path, name: str, data: bytes, what: str, step: str) -> None:
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(NotAModel) as caught:
        load_model(path)
    assert what in caught.value.cause
    assert step in caught.value.next_step
    assert "ename it" not in caught.value.next_step


FOLDERS = [
    (["saved_model.pb", "keras_metadata.pb"], "SavedModel folder", "can run code"),
    (["checkpoint", "ckpt.index", "ckpt.data-00000-of-00001"], "TensorFlow checkpoints", "load the weights"),
    (["config.json", "metadata.json", "model.weights.h5"], "unpacked .keras file", "Pack its files"),
    (["best.h5", "log.csv"], "a folder", "the model in it: best.h5"),
    (["model.json", "group1-shard1of1.bin"], "TensorFlow.js", "made from"),
    (["config.json", "model.safetensors"], "a folder with a safetensors file", "without a network"),
    (["photo.png"], "none of its files", "Give the path"),
]


@pytest.mark.parametrize(("names", "what", "step"), FOLDERS, ids=[f[1] for f in FOLDERS])
def test_folders_are_named(tmp_path: Path, names: list[str], what: str, step: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"x")
    with pytest.raises(NotAModel) as caught:
        load_model(tmp_path)
    assert what in caught.value.cause
    assert step in caught.value.next_step


def test_sidecar_in_place_of_its_model(tmp_path: Path) -> None:
    (tmp_path / "m.keras").write_bytes(b"x")
    (tmp_path / "m.json").write_text('{"name": "mine"}')
    with pytest.raises(NotAModel, match=r"Give the model beside it, m\.keras"):
        load_model(tmp_path / "m.json")


def test_renaming_is_advised_only_where_it_helps(tmp_path: Path) -> None:
    """And what the advice says is true: the renamed file loads."""
    given = {"preprocessing": Preprocessing(input_size=8), "positive_class": "fake"}
    source, path = good_archive(tmp_path), tmp_path / "m.zip"
    path.write_bytes(source.read_bytes())
    with pytest.raises(NotAModel, match=r"Rename it to end in \.keras"):
        load_model(path, **given)
    assert load_model(path.rename(tmp_path / "M.KERAS"), **given).card.name == "M"
