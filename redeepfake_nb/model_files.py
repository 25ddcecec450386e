"""Looks into a model file before Keras does.

A Keras file is a program: its config names classes and functions that loading will look up and call. Here
the file is recognised by its first bytes, its config is read as plain JSON, and every class in it must be on
a list of Keras's own layers. What is not on the list is refused by name.

The last step of saving is here as well: packing the file, and moving it and its sidecar to their places.
"""

from __future__ import annotations

import json
import os
import re
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .errors import ModelIncomplete, NotAModel, UnsafeModel

MAX_CONFIG_BYTES = 32 * 2**20
MAX_UNPACKED_BYTES = 4 * 2**30
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
# Layers that run code which stands in the file, or that read other files.
_FORBIDDEN_CLASSES = {
    "FlaxLayer",
    "IndexLookup",
    "IntegerLookup",
    "JaxLayer",
    "Lambda",
    "StringLookup",
    "TFSMLayer",
    "TextVectorization",
    "TorchModuleWrapper",
}
# What else than classes Keras writes: places in the graph and plain values.
_VALUES = {
    "__keras_tensor__",
    "__tensor__",
    "__numpy__",
    "__tuple__",
    "__slice__",
    "__ellipsis__",
    "__bytes__",
}
# Names that Keras's reader of HDF5 files hands on to TensorFlow.
_DECODED = {"CompositeTensor", "TensorShape", "TypeSpec"}
# A dot would reach into a module that is not on the list below: keras + config.set_floatx.
_CLASS_NAME = re.compile(r"[A-Z]\w*")
_ALLOWED_MODULES = re.compile(
    r"keras|keras\.(src\.)?("
    r"layers|models|initializers|regularizers|constraints|activations|dtype_policies|"
    r"ops\.(numpy|nn|core|math|image))(\.\w+)*"
)
_ENDINGS = {"keras": (".keras",), "hdf5": (".h5", ".hdf5")}


def model_format(path: Path) -> str:
    """``"keras"`` (a zip archive) or ``"hdf5"``, from the file's first bytes.

    Raises
    ------
    ModelIncomplete
        There is no such file.
    NotAModel
        It is something else, which the message names, or its ending belongs to the other format.
    """
    if path.is_dir():
        raise NotAModel(
            "this is a folder, perhaps a SavedModel, which can run code",
            subject=path,
            next_step="Save the model as a .keras file and load that.",
        )
    if not path.is_file():
        raise ModelIncomplete("there is no such file", subject=path, next_step="Check the path.")
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ModelIncomplete(
            f"the file cannot be read ({error.strerror})", subject=path, next_step="Check its permissions."
        ) from error
    for found, magic in (("keras", b"PK\x03\x04"), ("hdf5", _HDF5_MAGIC)):
        if head.startswith(magic):
            # Keras goes by the ending. A file can be both formats at once, and the half that was checked
            # must be the half that is loaded.
            if path.suffix not in _ENDINGS[found]:
                raise NotAModel(
                    f"its content is of the kind that ends in {_ENDINGS[found][0]}, its name is not",
                    subject=path,
                    next_step=f"If you trust where it came from, rename it to end in {_ENDINGS[found][0]}.",
                )
            return found
    size = path.stat().st_size
    if head.startswith(b"version https://git-lfs"):
        cause, step = (
            f"this is a Git LFS pointer, {size} bytes, not the model",
            "Run `git lfs pull` in its checkout.",
        )
    elif not head:
        cause, step = "the file is empty", "Copy or download it again."
    elif head.lstrip()[:1] == b"<":
        cause, step = "this is a web page, not a model", "Download the file itself, not the page about it."
    else:
        cause, step = "this is neither a .keras archive nor an HDF5 file", "Save the model with Keras 3."
    raise NotAModel(cause, subject=path, next_step=step)


def read_config(path: Path) -> dict[str, Any]:
    """The model's configuration as plain JSON; nothing is executed.

    Raises
    ------
    NotAModel, ModelIncomplete
        No configuration in it, or a damaged archive.
    UnsafeModel
        The archive claims to unpack to more than a model needs.
    """
    archive = model_format(path) == "keras"
    text = _config_of_archive(path) if archive else _config_of_hdf5(path)
    try:
        config = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise NotAModel(
            "its configuration is damaged", subject=path, next_step="Save the model again."
        ) from error
    if not isinstance(config, dict):
        raise NotAModel("its configuration is no object", subject=path, next_step="Save the model again.")
    if archive:
        # Losses, metrics and optimiser of an archive are not loaded with it, so they may be anything.
        config.pop("compile_config", None)
    return config


def _config_of_archive(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            members = {info.filename: info for info in archive.infolist()}
            if sum(info.file_size for info in members.values()) > MAX_UNPACKED_BYTES:
                raise UnsafeModel(
                    f"it unpacks to more than {MAX_UNPACKED_BYTES >> 30} GB",
                    subject=path,
                    next_step="Do not open it.",
                )
            if "config.json" not in members:
                raise NotAModel(
                    "this is a zip archive without a Keras configuration",
                    subject=path,
                    next_step="Name a file that Keras has saved.",
                )
            if members["config.json"].file_size > MAX_CONFIG_BYTES:
                raise UnsafeModel(
                    "its configuration is larger than any real one", subject=path, next_step="Do not open it."
                )
            return archive.read("config.json")
    # An encrypted member is a RuntimeError, an unknown compression a NotImplementedError.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError) as error:
        raise NotAModel(
            f"the archive is damaged or cut short ({error})",
            subject=path,
            next_step="Copy or download it again.",
        ) from error


def _config_of_hdf5(path: Path) -> bytes | str:
    import h5py

    try:
        with h5py.File(path, "r") as file:
            text = file.attrs.get("model_config")
    except (OSError, KeyError, RuntimeError, ValueError) as error:
        raise NotAModel(
            "the HDF5 file is damaged or cut short", subject=path, next_step="Copy or download it again."
        ) from error
    if text is None:
        raise ModelIncomplete(
            "there are weights in it but no architecture",
            subject=path,
            next_step="Build the model with build_model(...), call its load_weights, then save_model.",
        )
    return text


def check_config(config: dict[str, Any], subject: object) -> None:
    """Refuse a configuration that names anything but Keras's own layers and settings.

    Raises
    ------
    UnsafeModel
        With the first offending class named.
    """
    for node in _objects(config):
        name, module, registered = (node.get(key) for key in ("class_name", "module", "registered_name"))
        shown = str(name) if module is None else f"{module}.{name}"
        if not isinstance(name, str):
            _refuse(shown, "is no name", subject)
        if name in _FORBIDDEN_CLASSES:
            _refuse(shown, "can run code or read files", subject)
        if name in _VALUES:
            continue
        if name == "function":
            function = str(node.get("config"))
            shown = f"the function {module}.{function}"
            known = module in ("keras.activations", "keras.ops") and function.isidentifier()
            names = (None, name, function)
        else:
            known = _CLASS_NAME.fullmatch(name) is not None and name not in _DECODED
            known = known and (module is None or _ALLOWED_MODULES.fullmatch(str(module)) is not None)
            names = (None, name)
        if registered not in names:
            _refuse(str(registered), "is its author's own class", subject)
        if not known:
            _refuse(shown, "is not a part of Keras that a model is made of", subject)


def _objects(node: Any) -> Iterator[dict[str, Any]]:
    """Every serialised object (a dict with ``class_name``) in a configuration."""
    waiting = [node]
    while waiting:
        node = waiting.pop()
        if isinstance(node, dict):
            if "class_name" in node:
                yield node
            waiting.extend(node.values())
        elif isinstance(node, list):
            waiting.extend(node)


def _refuse(name: str, why: str, subject: object) -> None:
    raise UnsafeModel(
        f"it contains {name}, which {why}",
        subject=subject,
        next_step="Ask its author for a model made of plain Keras layers.",
    )


def replace_both(weights: Path, path: Path, sidecar: Path, sidecar_path: Path) -> None:
    """Move both files to their places; if the second cannot be moved, what stood in the first comes back."""
    before = weights.with_suffix(".before")
    # Not a folder of that name: it would go with the temporary files.
    if path.is_file():
        os.replace(path, before)
    try:
        os.replace(weights, path)
        os.replace(sidecar, sidecar_path)
    except BaseException:
        if path.is_file():
            path.unlink()
        if before.exists():
            os.replace(before, path)
        raise


def deflate(path: Path) -> None:
    """Compress a .keras archive, which Keras writes uncompressed and reads either way."""
    packed = path.with_suffix(".packed")
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for member in old.infolist():
            # Fixed dates, the archive's and Keras's own: the same weights give the same file and SHA-256.
            info = zipfile.ZipInfo(member.filename, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            data = old.read(member)
            if member.filename == "metadata.json":
                data = json.dumps({**json.loads(data), "date_saved": "1980-01-01@00:00:00"}).encode()
            new.writestr(info, data)
    os.replace(packed, path)
