"""Say what a file or folder is that holds no Keras model to load, and what to do with it.

Recognised by content: first bytes, and the names in an archive or a folder. Nothing is unpacked or unpickled.
"""

from __future__ import annotations

import os
import struct
import zipfile
from collections.abc import Iterable
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from ...errors import NotAModel, displayable

# Members that every .keras archive has.
_KERAS_MEMBERS = {"config.json", "model.weights.h5"}
_MAX_NAMES = 10_000


class Kind(NamedTuple):
    """What a file is, as a clause, and what to do with it, as a sentence."""

    what: str
    step: str


_ASK = "Ask its author for the Keras model as a .keras or .h5 file."
_PYTORCH = (
    "It holds weights for Python code, which only PyTorch can run: "
    "build the same network in Keras, copy the weights, compare the outputs of both, and save it as .keras."
)
_PICKLE = (
    "Loading a pickle runs the code in it, so it is not opened. If the model is yours, load it with the "
    "program that wrote it and save the network with model.save('model.keras'); otherwise ask its author for "
    "that file."
)
_FROM_CODE = (
    "It holds weights without a network: build the network with the code that trained it, "
    "load the weights there, and save it with model.save('model.keras')."
)
_SAVED_MODEL = (
    "Loading it can run code, so it is not opened. If you trust its source, load it with "
    "tf.keras.models.load_model in the TensorFlow version that wrote it and save it with "
    "model.save('model.h5')."
)
_DEPLOYED = (
    "It is a copy for running elsewhere, from which no Keras model can be made without loss. "
    "Ask for the .keras or .h5 file that it was made from."
)
_PATH = "Give the path of a .keras or .h5 file."
_UNPACK = "Unpack it, and give the path of the model inside."

_SAVED_MODEL_FOLDER = Kind("a TensorFlow SavedModel folder", _SAVED_MODEL)
_CHECKPOINT = Kind("a TensorFlow checkpoint", _FROM_CODE)
_TFLITE = Kind("a TensorFlow Lite model", _DEPLOYED)
_TORCH_CHECKPOINT = Kind("a PyTorch checkpoint", _PYTORCH)
_SAFETENSORS = Kind("a safetensors file", _FROM_CODE)
_NUMPY = Kind("a NumPy archive of arrays", _FROM_CODE)

# (offset, signature, kind)
_SIGNATURES: tuple[tuple[int, bytes, Kind], ...] = (
    (4, b"TFL3", _TFLITE),
    (0, b"\x93NUMPY", Kind("a NumPy array", _FROM_CODE)),
    # Torch before 1.6: a pickle that begins with this number.
    (2, b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19", _TORCH_CHECKPOINT),
    (0, b"model_checkpoint_path:", Kind("the index of a folder of TensorFlow checkpoints", _FROM_CODE)),
    (0, b"GGUF", Kind("a language model (GGUF)", "Give a model that was trained on pictures of faces.")),
    (0, b"PK\x05\x06", Kind("an empty zip archive", "Copy or download it again.")),
    (0, b"\x1f\x8b", Kind("a gzip archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", Kind("a 7z archive", _UNPACK)),
    (0, b"Rar!", Kind("a RAR archive", _UNPACK)),
    (0, b"BZh", Kind("a bzip2 archive", _UNPACK)),
    (0, b"\xfd7zXZ\x00", Kind("an xz archive", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", Kind("a Zstandard archive", _UNPACK)),
    (257, b"ustar", Kind("a tar archive", _UNPACK)),
    (0, b"MATLAB 5.0", Kind("a MATLAB file", _ASK)),
    (0, b"\xff\xd8\xff", Kind("a JPEG picture, not a model", _PATH)),
    (0, b"\x89PNG", Kind("a PNG picture, not a model", _PATH)),
)
# Suffix -> kind, for formats without a signature that is certain enough on its own.
_SUFFIXES: dict[str, Kind] = {
    **dict.fromkeys((".pt", ".pth", ".ckpt"), _TORCH_CHECKPOINT),
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".dill", ".sav"), Kind("a pickle", _PICKLE)),
    ".onnx": Kind("an ONNX model", _DEPLOYED),
    ".pb": Kind("a TensorFlow graph", _SAVED_MODEL),
    ".index": _CHECKPOINT,
    ".meta": _CHECKPOINT,
    ".tflite": _TFLITE,
    ".safetensors": _SAFETENSORS,
    ".npz": _NUMPY,
    ".dat": Kind("a data file, perhaps of dlib", _ASK),
    ".caffemodel": Kind("a Caffe model", _ASK),
    ".mlmodel": Kind("a Core ML model", _DEPLOYED),
    ".yaml": Kind("a text file, perhaps a network without weights", _FROM_CODE),
    ".yml": Kind("a text file, perhaps a network without weights", _FROM_CODE),
    ".py": Kind("Python code", "Run it to build the model, and save that with model.save('model.keras')."),
    ".ipynb": Kind("a notebook", "Run it to build the model, and save that with model.save('model.keras')."),
}


def other_file(path: Path, head: bytes, size: int) -> NotAModel:
    """Make the error for a file that is neither a ``.keras`` archive nor HDF5.

    Parameters
    ----------
    head
        Its first bytes, 512 where there are as many.
    size
        Its size in bytes.
    """
    kind = _kind_of_bytes(path, head, size)
    return NotAModel(f"this is {kind.what}", subject=path, next_step=kind.step)


def _kind_of_bytes(path: Path, head: bytes, size: int) -> Kind:
    suffix = path.suffix.lower()
    if head.startswith(b"version https://git-lfs"):
        return Kind(
            f"a Git LFS pointer of {size} bytes, not the model", "Run `git lfs pull` in its checkout."
        )
    for offset, signature, kind in _SIGNATURES:
        if head.startswith(signature, offset):
            return kind
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n")
    if text[:1] == b"<":
        return Kind("a web page, not a model", "Download the file itself, not the page about it.")
    if text[:1] in (b"{", b"["):
        return _kind_of_json(path, head)
    if _is_safetensors(head, size):
        return _SAFETENSORS
    # Protocol 2 and later begin with this byte and the protocol's number.
    if head[:1] == b"\x80" and head[1:2] and head[1] <= 5:
        return _SUFFIXES[suffix] if suffix in (".pt", ".pth") else Kind("a pickle", _PICKLE)
    # An ONNX file begins with its version, and names the program that wrote it.
    if head[:1] == b"\x08" and any(name in head[:64] for name in (b"pytorch", b"tf2onnx", b"keras2onnx")):
        return _SUFFIXES[".onnx"]
    if ".data-" in path.name:
        return _CHECKPOINT
    return _SUFFIXES.get(
        suffix, Kind("neither a .keras archive nor an HDF5 file", "Save the model with Keras 3.")
    )


def _kind_of_json(path: Path, head: bytes) -> Kind:
    beside = next((p for s in (".keras", ".h5", ".hdf5") if (p := path.with_suffix(s)).is_file()), None)
    if b'"class_name"' in head:
        return Kind("a network without weights (JSON)", _FROM_CODE)
    if b'"modelTopology"' in head:
        return Kind("a TensorFlow.js model", _DEPLOYED)
    step = _ASK if beside is None else f"Give the model beside it, {displayable(beside.name)}."
    return Kind("a JSON file, such as the sidecar of a model", step)


def _is_safetensors(head: bytes, size: int) -> bool:
    """Tell whether a file begins with the length of a JSON header that fits into it, and an object."""
    if len(head) < 10 or head[8:9] != b"{":
        return False
    (length,) = struct.unpack("<Q", head[:8])
    return 2 <= length <= size - 8


def other_zip(path: Path) -> NotAModel | None:
    """Make the error for a zip archive that is no ``.keras`` file; ``None`` for one that may be.

    Under the name of a ``.keras`` file, a damaged archive may be one, too.
    """
    suffix = path.suffix.lower()
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist()[:_MAX_NAMES] if not name.startswith("__MACOSX/")]
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        if suffix == ".keras":
            return None
        of = _SUFFIXES[suffix].what if suffix in (".pt", ".pth", ".npz") else "a zip archive"
        return NotAModel(
            f"this is {of} that is damaged or cut short", subject=path, next_step="Copy or download it again."
        )
    if set(names) >= _KERAS_MEMBERS:
        return None
    kind = _kind_of_names(names, "zip archive")
    if kind is None:
        if "config.json" in names:
            return None
        few = ", ".join(displayable(name, 40) for name in names[:3]) or "nothing"
        kind = Kind(f"a zip archive without a Keras configuration (it holds {few})", _ASK)
    return NotAModel(f"this is {kind.what}", subject=path, next_step=kind.step)


def other_folder(path: Path) -> NotAModel:
    """Make the error for a folder in place of a model file."""
    try:
        names = sorted(entry.name for entry in islice(os.scandir(path), _MAX_NAMES))
    except OSError:
        names = []
    kind = _kind_of_names(names, "folder") or Kind(
        "a folder, and none of its files is a model that could be recognised", _PATH
    )
    return NotAModel(f"this is {kind.what}", subject=path, next_step=kind.step)


def _kind_of_names(names: Iterable[str], container: str) -> Kind | None:
    """Recognise an archive or a folder by the names in it; ``None`` if nothing is recognised."""
    paths = [PurePosixPath(name) for name in names if not name.endswith("/")]
    last = {p.name for p in paths}
    suffixes = {p.suffix.lower() for p in paths}
    where = "" if container == "folder" else " in a zip archive"
    unpack = "" if container == "folder" else "Unpack it first. "
    if last >= _KERAS_MEMBERS:
        if container == "folder":
            step = "Pack its files, without the folder itself, into a zip archive that ends in .keras."
        else:
            step = "Pack its files again without the folder around them, into an archive that ends in .keras."
        return Kind(f"an unpacked .keras file{where}", step)
    models = [p for p in paths if p.suffix.lower() in (".keras", ".h5", ".hdf5")]
    if "saved_model.pb" in last or "keras_metadata.pb" in last:
        return Kind(_SAVED_MODEL_FOLDER.what + where, unpack + _SAVED_MODEL)
    if models:
        shown = ", ".join(displayable(p, 60) for p in models[:3])
        if container == "folder":
            return Kind("a folder", f"Give the path of the model in it: {shown}.")
        return Kind("a zip archive around a model", f"Unpack it, and give the path of {shown}.")
    if "data.pkl" in last or "constants.pkl" in last:
        return _TORCH_CHECKPOINT if "constants.pkl" not in last else Kind("a TorchScript model", _DEPLOYED)
    if paths and suffixes == {".npy"}:
        return _NUMPY if container != "folder" else Kind("a folder of NumPy arrays", _FROM_CODE)
    if "pytorch_model.bin" in last:
        return Kind(
            "a folder with a PyTorch checkpoint"
            if container == "folder"
            else "a zip archive around a PyTorch checkpoint",
            _PYTORCH,
        )
    if "[Content_Types].xml" in last:
        return Kind("an office document", _ASK)
    if "checkpoint" in last or any(".data-" in name for name in last) or ".index" in suffixes:
        what = "a folder of TensorFlow checkpoints"
        return Kind(what if container == "folder" else _CHECKPOINT.what + where, unpack + _FROM_CODE)
    if "model.json" in last and ".bin" in suffixes:
        return Kind("a TensorFlow.js model" + where, _DEPLOYED)
    for suffix in (".pt", ".pth", ".onnx", ".tflite", ".safetensors", ".pb", ".mlmodel", ".pkl", ".joblib"):
        if suffix in suffixes:
            kind = _SUFFIXES[suffix]
            around = "a folder with " if container == "folder" else "a zip archive around "
            return Kind(around + kind.what, unpack + kind.step)
    return None
