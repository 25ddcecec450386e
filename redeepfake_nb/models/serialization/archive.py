"""What a model file is, before Keras sees it.

The file is recognised by its first bytes and its configuration is read as plain JSON; :mod:`.allowlist`
judges what that names, :mod:`.hdf5_store` looks through the arrays.

The last step of saving is here as well: packing the file, and moving it and its sidecar to their places.
"""

from __future__ import annotations

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
from .hdf5 import MAX_TEXT, open_store, read_text, too_long

MAX_CONFIG_BYTES = MAX_TEXT
MAX_UNPACKED_BYTES = 2 * 2**30
MAX_NESTING = 200
WEIGHTS = "model.weights.h5"
_HDF5_MAGIC = b"\x89HDF\r\n\x1a\n"
_ENDINGS = {"keras": (".keras",), "hdf5": (".h5", ".hdf5")}

Format = Literal["keras", "hdf5"]


@dataclass(frozen=True)
class Description:
    """What a file says of its model.

    Parameters
    ----------
    config
        The graph as plain JSON, without losses, metrics and optimizers; None for weights alone.
    format
        ``"keras"`` (a zip archive) or ``"hdf5"``.
    keras_version
        As the file states it; empty where it does not.
    """

    config: dict[str, Any] | None
    format: Format
    keras_version: str = ""

    @property
    def legacy(self) -> bool:
        """Whether Keras before 3 has written it."""
        if re.fullmatch(r"\d+\..*", self.keras_version):
            return int(self.keras_version.split(".")[0]) < 3
        text = json.dumps(self.config)
        return '"batch_input_shape"' in text or '"keras.src.engine' in text


def model_format(path: Path) -> Format:
    """``"keras"`` (a zip archive) or ``"hdf5"``, from the file's first bytes.

    Raises
    ------
    ModelIncomplete
        There is no such file.
    NotAModel
        It is something else, which the message names, or its ending belongs to the other format.
    """
    size = _regular_size(path)
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
            # Keras goes by the ending. A file can be both formats at once, and the half that was checked
            # must be the half that is loaded.
            if path.suffix not in _ENDINGS[found]:
                raise NotAModel(
                    f"its content is of the kind that ends in {_ENDINGS[found][0]}, its name is not",
                    subject=path,
                    next_step=f"If you trust where it came from, rename it to end in {_ENDINGS[found][0]}.",
                )
            return found
    if head.startswith(b"version https://git-lfs"):
        cause, step = (
            f"this is a Git LFS pointer, {size} bytes, not the model",
            "Run `git lfs pull` in its checkout.",
        )
    elif not head:
        cause, step = "the file is empty", "Copy or download it again."
    elif head.lstrip()[:1] == b"<":
        cause, step = "this is a web page, not a model", "Download the file itself, not the page about it."
    elif head[:1] == b"\x80" or path.suffix in (".pkl", ".pickle", ".pt", ".pth", ".joblib"):
        cause, step = (
            "this looks like a pickle, which runs code when it is loaded",
            "Ask for a .keras or .h5 file.",
        )
    else:
        cause, step = "this is neither a .keras archive nor an HDF5 file", "Save the model with Keras 3."
    raise NotAModel(cause, subject=path, next_step=step)


def _regular_size(path: Path) -> int:
    """Bytes of a regular file; a pipe is not opened, since that would wait for its writer."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        known = (FileNotFoundError, NotADirectoryError)
        reason = getattr(error, "strerror", None) or error
        cause = "there is no such file" if isinstance(error, known) else f"it cannot be reached ({reason})"
        raise ModelIncomplete(cause, subject=path, next_step="Check the path.") from error
    if stat.S_ISDIR(status.st_mode):
        raise NotAModel(
            "this is a folder, perhaps a SavedModel, which can run code",
            subject=path,
            next_step="Save the model as a .keras file and load that.",
        )
    if not stat.S_ISREG(status.st_mode):
        raise NotAModel(
            "this is a pipe or a device, not a file", subject=path, next_step="Name a .keras or .h5 file."
        )
    return status.st_size


def describe(path: Path) -> Description:
    """What a model file is and the graph it holds, as plain JSON; nothing is executed.

    Raises
    ------
    NotAModel, ModelIncomplete
        No model, or a damaged file.
    UnsafeModel
        It claims to be more than a model needs, or refers to other files.
    """
    found = model_format(path)
    if found == "keras":
        with opened_archive(path) as archive:
            text: bytes | str = read_member(archive, "config.json", path)
            version = ""
            if "metadata.json" in archive.namelist():
                metadata = _json(read_member(archive, "metadata.json", path), path)
                version = str(metadata.get("keras_version", "")) if isinstance(metadata, dict) else ""
    else:
        with open_store(path) as store:
            names = store.attributes()
            value = store.attribute("keras_version") if "keras_version" in names else ""
            if is_weights_only(set(store.file), names):
                return Description(None, "hdf5", _version(value))
            text, version = read_text(store, "model_config"), _version(value)
    config = _json(text, path)
    if not isinstance(config, dict):
        raise NotAModel("its configuration is no object", subject=path, next_step="Save the model again.")
    # Losses, metrics and optimizers are not loaded, so they may be anything.
    return Description(_without_compiling(config), found, version)


def read_config(path: Path) -> dict[str, Any]:
    """The graph of a model file as plain JSON; see :func:`describe`.

    Raises
    ------
    ModelIncomplete
        It holds weights alone; and as :func:`describe`.
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
    """Whether an HDF5 file with these entries holds weights without an architecture."""
    if "model_config" in attributes:
        return False
    return "layer_names" in attributes or bool(names & {"layers", "_layer_checkpoint_dependencies"})


def _version(value: Any) -> str:
    value = value.decode("ascii", "replace") if isinstance(value, bytes) else value
    return value[:40] if isinstance(value, str) else ""


def _json(text: bytes | str, subject: object) -> Any:
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
                "its configuration is nested deeper than any real one",
                subject=subject,
                next_step="Do not open it.",
            )
        if isinstance(node, (dict, list)):
            parts = node.values() if isinstance(node, dict) else node
            waiting.extend((part, depth + 1) for part in parts)
    return value


def _without_compiling(node: Any) -> Any:
    if isinstance(node, dict):
        drop = {"compile_config"} if "class_name" in node else set()
        return {key: _without_compiling(value) for key, value in node.items() if key not in drop}
    return [_without_compiling(value) for value in node] if isinstance(node, list) else node


@contextmanager
def opened_archive(path: Path) -> Iterator[zipfile.ZipFile]:
    """A .keras archive, looked through.

    Raises
    ------
    UnsafeModel
        It unpacks to more than a model needs, or its members' names lead out of it.
    NotAModel
        It is damaged, or nothing that Keras has saved.
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
                    raise NotImplementedError("a packing that Keras does not use")
                if info.filename.startswith(("/", "\\")) or ".." in re.split(r"[/\\]", info.filename):
                    raise _unsafe("a file in it has a name that leads out of it", path)
                if stat.S_ISLNK(info.external_attr >> 16):
                    raise _unsafe("it holds a link", path)
            if "config.json" not in names:
                raise NotAModel(
                    "this is a zip archive without a Keras configuration",
                    subject=path,
                    next_step="Name a file that Keras has saved.",
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
    """A small member of an archive.

    Raises
    ------
    UnsafeModel
        It is larger than any real one.
    """
    if archive.getinfo(name).file_size > MAX_CONFIG_BYTES:
        raise too_long(subject)
    return archive.read(name)


def unpack_weights(path: Path, folder: Path) -> Path:
    """The weights of a .keras archive as a file of their own in ``folder``.

    Raises
    ------
    ModelIncomplete
        There are none in it; and as :func:`opened_archive`.
    """
    with opened_archive(path) as archive:
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
