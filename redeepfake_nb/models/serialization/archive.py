"""Recognise a model file by its first bytes and read its configuration as plain JSON, before Keras sees it.

The last step of saving is here as well: compressing the file, and moving it and its sidecar into place.
"""

from __future__ import annotations

import io
import json
import os
import re
import shutil
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from ...errors import ModelIncomplete, NotAModel, UnsafeModel
from .hdf5 import MAX_CONFIG_BYTES, config_too_large, open_store, read_text_attribute
from .other_formats import other_file, other_folder, other_zip

MAX_UNPACKED_BYTES = 2 * 2**30
MAX_NESTING = 200
WEIGHTS = "model.weights.h5"
# Smaller arrays, such as biases, are stored as they are: a compressed one needs an index of its own.
_WORTH_COMPRESSING = 16 * 2**10
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_SUFFIXES = {"keras": (".keras",), "hdf5": (".h5", ".hdf5")}

Format = Literal["keras", "hdf5"]


@dataclass(frozen=True)
class Description:
    """What a model file states about itself.

    Parameters
    ----------
    config
        The graph as plain JSON, without losses, metrics and optimizers; ``None`` for a weights-only file.
    format
        ``"keras"`` (a zip archive) or ``"hdf5"``.
    keras_version
        Version of Keras that wrote the file; empty where the file does not state it.
    """

    config: dict[str, Any] | None
    format: Format
    keras_version: str = ""

    @property
    def legacy(self) -> bool:
        """Whether a Keras before version 3 wrote the file."""
        if re.fullmatch(r"\d+\..*", self.keras_version):
            return int(self.keras_version.split(".")[0]) < 3
        text = json.dumps(self.config)
        return '"batch_input_shape"' in text or '"keras.src.engine' in text


def model_format(path: Path) -> Format:
    """Recognise ``"keras"`` (a zip archive) or ``"hdf5"`` by the file's first bytes.

    Raises
    ------
    ModelIncomplete
        There is no such file.
    NotAModel
        Another format, which the message names, or a suffix that belongs to the other format.
    """
    size = _file_size(path)
    try:
        with open(path, "rb") as file:
            head = file.read(512)
    except OSError as error:
        raise ModelIncomplete(
            f"the file cannot be read ({error.strerror})", subject=path, next_step="Check its permissions."
        ) from error
    formats: tuple[tuple[Format, bytes], ...] = (("keras", b"PK\x03\x04"), ("hdf5", _HDF5_MAGIC))
    for found, magic in formats:
        if head.startswith(magic):
            if found == "keras" and (other := other_zip(path)) is not None:
                raise other
            # Keras chooses its reader by the suffix. A file can be valid in both formats at once, and what
            # was checked must be what is loaded.
            if path.suffix.lower() not in _SUFFIXES[found]:
                raise NotAModel(
                    f"its content is that of a {_SUFFIXES[found][0]} file, its name is not",
                    subject=path,
                    next_step=f"Rename it to end in {_SUFFIXES[found][0]}; its content is checked as always.",
                )
            return found
    if not head:
        raise NotAModel("the file is empty", subject=path, next_step="Copy or download it again.")
    raise other_file(path, head, size)


def _file_size(path: Path) -> int:
    """Return the size of a regular file in bytes; a pipe is not opened, as that would wait for its writer."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        known = (FileNotFoundError, NotADirectoryError)
        reason = getattr(error, "strerror", None) or error
        cause = "there is no such file" if isinstance(error, known) else f"it cannot be reached ({reason})"
        raise ModelIncomplete(cause, subject=path, next_step="Check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise other_folder(path)
    if not stat.S_ISREG(status.st_mode):
        raise NotAModel(
            "this is a pipe or a device, not a file", subject=path, next_step="Give a .keras or .h5 file."
        )
    return status.st_size


def describe(path: Path) -> Description:
    """Read a model file's format, Keras version and configuration; nothing is executed.

    Raises
    ------
    NotAModel, ModelIncomplete
        No model file, or a damaged one.
    UnsafeModel
        The file claims more than a model needs, or refers to other files.
    """
    found = model_format(path)
    if found == "keras":
        with open_archive(path) as archive:
            text: bytes | str = read_member(archive, "config.json", path)
            version = ""
            if "metadata.json" in archive.namelist():
                metadata = _parse_json(read_member(archive, "metadata.json", path), path)
                version = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
    else:
        with open_store(path) as store:
            names = store.attributes()
            value = store.attribute("keras_version") if "keras_version" in names else ""
            if is_weights_only(set(store.file), names):
                return Description(None, "hdf5", _version(value))
            text, version = read_text_attribute(store, "model_config"), _version(value)
    config = _parse_json(text, path)
    if not isinstance(config, dict):
        raise NotAModel("its configuration is not an object", subject=path, next_step="Save the model again.")
    # Losses, metrics and optimizers are not loaded, so the allowlist need not know them.
    return Description(_without_compile_config(config), found, version)


def read_config(path: Path) -> dict[str, Any]:
    """Read the configuration of a model file as plain JSON.

    Raises
    ------
    ModelIncomplete
        A weights-only file.
    NotAModel, UnsafeModel
        As :func:`describe`.
    """
    config = describe(path).config
    if config is None:
        raise ModelIncomplete(
            "there are weights in it but no architecture",
            subject=path,
            next_step='Say what it is: load_model(path, architecture="EfficientNetB4", ...).',
        )
    return config


def is_weights_only(names: set[str], attributes: set[str]) -> bool:
    """Tell whether an HDF5 file with these members and attributes holds weights without an architecture."""
    if "model_config" in attributes:
        return False
    return "layer_names" in attributes or bool(names & {"layers", "_layer_checkpoint_dependencies"})


def _version(value: Any) -> str:
    value = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return value[:40] if isinstance(value, str) else ""


def _parse_json(text: bytes | str, subject: object) -> Any:
    try:
        value = json.loads(text)
    except (ValueError, TypeError, RecursionError) as error:
        raise NotAModel(
            "its configuration is damaged", subject=subject, next_step="Save the model again."
        ) from error
    waiting = [(value, 0)]
    while waiting:
        node, depth = waiting.pop()
        if depth > MAX_NESTING:
            raise UnsafeModel(
                f"its configuration is nested deeper than {MAX_NESTING} levels",
                subject=subject,
                next_step="Do not open it.",
            )
        if isinstance(node, (dict, list)):
            parts = node.values() if isinstance(node, dict) else node
            waiting.extend((part, depth + 1) for part in parts)
    return value


def _without_compile_config(node: Any) -> Any:
    if isinstance(node, dict):
        drop = {"compile_config"} if "class_name" in node else set()
        return {key: _without_compile_config(value) for key, value in node.items() if key not in drop}
    return [_without_compile_config(value) for value in node] if isinstance(node, list) else node


@contextmanager
def open_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """Open a ``.keras`` archive after checking its table of contents.

    Raises
    ------
    UnsafeModel
        It unpacks to more than a model needs, or a member's path leads out of the archive.
    NotAModel
        It is damaged, or was not saved by Keras.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            unpacked = sum(info.file_size for info in members)
            if unpacked > MAX_UNPACKED_BYTES:
                raise _unsafe(f"it unpacks to more than {MAX_UNPACKED_BYTES >> 30} GB", path)
            if unpacked > 40 * path.stat().st_size + 16 * 2**20:
                raise _unsafe("it unpacks to far more than its own size", path)
            names = [info.filename for info in members]
            if len(set(names)) < len(names):
                raise _unsafe("it holds two files of the same name", path)
            for info in members:
                if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                    raise NotImplementedError("a compression that Keras does not use")
                if info.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", info.filename):
                    raise _unsafe("a file in it has a path that leads out of it", path)
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise _unsafe("it holds a link", path)
            if "config.json" not in names:
                raise NotAModel(
                    "this is a zip archive without a Keras configuration",
                    subject=path,
                    next_step="Give a file that Keras has saved.",
                )
            yield archive
    # An encrypted member is a RuntimeError, an unknown compression a NotImplementedError.
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, ValueError) as error:
        raise NotAModel(
            f"the archive is damaged or cut short ({error})",
            subject=path,
            next_step="Copy or download it again.",
        ) from error


def read_member(archive: zipfile.ZipFile, name: str, subject: object) -> bytes:
    """Read one small member of an archive.

    Raises
    ------
    UnsafeModel
        It is larger than ``MAX_CONFIG_BYTES``.
    """
    if archive.getinfo(name).file_size > MAX_CONFIG_BYTES:
        raise config_too_large(subject)
    return archive.read(name)


def unpack_weights(path: Path, folder: Path) -> Path:
    """Extract the HDF5 file with the weights of a ``.keras`` archive into ``folder``; return its path.

    Raises
    ------
    ModelIncomplete
        There are no weights in it.
    NotAModel, UnsafeModel
        As :func:`open_archive`.
    """
    with open_archive(path) as archive:
        if WEIGHTS not in archive.namelist():
            raise ModelIncomplete(
                "there is an architecture in it but no weights",
                subject=path,
                next_step="Save the model again.",
            )
        with archive.open(WEIGHTS) as packed, open(folder / WEIGHTS, "wb") as file:
            shutil.copyfileobj(packed, file, 2**20)
    return folder / WEIGHTS


def _unsafe(cause: str, subject: object) -> UnsafeModel:
    return UnsafeModel(cause, subject=subject, next_step="Do not open it.")


def replace_both(weights: Path, path: Path, sidecar: Path, sidecar_path: Path) -> None:
    """Move both files into place; if the second cannot be moved, restore what the first one replaced."""
    before = weights.with_suffix(".before")
    # Not a folder of that name: it would be deleted with the temporary files.
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


def compress(path: Path) -> None:
    """Compress a ``.keras`` archive in place; Keras writes it uncompressed and reads both."""
    packed = path.with_suffix(".packed")
    with (
        zipfile.ZipFile(path) as old,
        zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as new,
    ):
        for member in old.infolist():
            # Fixed dates in archive and metadata: the same weights give the same file and SHA-256.
            info = zipfile.ZipInfo(member.filename, (1980, 1, 1, 0, 0, 0))
            info.compress_type = zipfile.ZIP_DEFLATED
            data = old.read(member)
            if member.filename == "metadata.json":
                data = json.dumps({**json.loads(data), "date_saved": "1980-01-01@00:00:00"}).encode()
            elif member.filename == WEIGHTS:
                data = _compressed_arrays(data)
            new.writestr(info, data)
    os.replace(packed, path)


def _compressed_arrays(data: bytes) -> bytes:
    """Compress the arrays of an HDF5 file byte by byte of their numbers, which plain compression mixes.

    Rounded weights have low bytes that are zero and high ones that are few: EfficientNet-Lite's, in half
    precision, take a tenth less.
    """
    import h5py

    packed = io.BytesIO()
    with h5py.File(io.BytesIO(data), "r") as old, h5py.File(packed, "w") as new:

        def copy(name: str, member: h5py.Group | h5py.Dataset) -> None:
            if isinstance(member, h5py.Dataset):
                large = member.size * member.dtype.itemsize > _WORTH_COMPRESSING
                options = {"compression": "gzip", "compression_opts": 9, "shuffle": True} if large else {}
                made = new.create_dataset(name, data=member[()], track_times=False, **options)
            else:
                made = new.require_group(name)
            made.attrs.update(member.attrs)

        new.attrs.update(old.attrs)
        old.visititems(copy)
    return packed.getvalue()
