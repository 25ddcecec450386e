"""Inspect HDF5 files from untrusted sources before reading arrays from them.

HDF5 can refer to what is outside the file: links to other files, arrays stored in other files, filters loaded
from plugins. It can also claim terabytes. All members are visited once before an array is read, and a file
that does any of this is refused.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import ModelIncomplete, NotAModel, UnsafeModel

if TYPE_CHECKING:
    import h5py


# Seconds for the walk in another process; a real file takes a fraction of one.
WALK_SECONDS = 20.0
# Follows no reference out of the file, and ignores errors: this process reports them when it opens the file.
_WALK_SCRIPT = """
import sys
import h5py

waiting, seen = [(h5py.File(sys.argv[1], "r", locking=False), 0)], set()
while waiting and len(seen) < 50_000:
    group, depth = waiting.pop()
    for attribute in group.attrs:
        try:
            group.attrs[attribute]
        except Exception:
            pass
    if isinstance(group, h5py.Dataset):
        if group.chunks:
            group.id.get_num_chunks()
        continue
    for name in group if depth < 64 else ():
        try:
            member = group[name] if isinstance(group.get(name, getlink=True), h5py.HardLink) else None
            place = h5py.h5o.get_info(member.id).addr if member is not None else None
        except Exception:
            continue
        if place is not None and place not in seen:
            seen.add(place)
            waiting.append((member, depth + 1))
"""


def check_in_subprocess(path: Path, subject: object) -> None:
    """Visit the file's groups, attributes and chunk indexes in another process; no array is read.

    Raises
    ------
    NotAModel
        The HDF5 library hangs or crashes on the file.
    """
    try:
        run = subprocess.run(
            [sys.executable, "-I", "-c", _WALK_SCRIPT, os.fspath(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=WALK_SECONDS,
        )
    except subprocess.TimeoutExpired as error:
        raise _library_fails("does not finish reading it", subject) from error
    except OSError:
        return  # no such process can be started here
    if run.returncode < 0:
        raise _library_fails("crashes on it", subject)


def _library_fails(how: str, subject: object) -> NotAModel:
    return NotAModel(
        f"the file is damaged so that the HDF5 library {how}",
        subject=subject,
        next_step="Copy or download it again.",
    )


MAX_ARRAY_BYTES = 2 * 2**30
MAX_OBJECTS = 50_000
MAX_CONFIG_BYTES = 32 * 2**20
MAX_DEPTH = 64
# Weights hardly compress; arrays that are far larger than their file are not those of a network.
MAX_COMPRESSION = 20
ALWAYS_ALLOWED_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Hdf5Store:
    """An open HDF5 file that was inspected.

    Parameters
    ----------
    file
        Opened for reading.
    shapes
        Shape of each dataset, by its full name.
    subject
        What error messages name.
    """

    file: h5py.File
    shapes: dict[str, tuple[int, ...]]
    subject: object

    def below(self, folder: str) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the datasets in a group, by their name relative to it; of all for ``""``."""
        if not folder:
            return self.shapes
        start = folder + "/"
        return {name[len(start) :]: s for name, s in self.shapes.items() if name.startswith(start)}

    def read(self, name: str) -> np.ndarray:
        """Read one array.

        Raises
        ------
        NotAModel
            It is damaged.
        """
        with typed_hdf5_errors(self.subject):
            return self.file[name][()]

    def attributes(self) -> set[str]:
        """Return the names of the attributes of the root group.

        Raises
        ------
        NotAModel
            They are damaged.
        """
        with typed_hdf5_errors(self.subject):
            return set(self.file.attrs)

    def attribute(self, name: str) -> Any:
        """Read an attribute of the root group that is known to exist.

        Raises
        ------
        NotAModel
            It is damaged.
        """
        with typed_hdf5_errors(self.subject):
            return self.file.attrs[name]

    @property
    def elements(self) -> int:
        """Number of array elements in the file, without those of the optimizer."""
        return sum(math.prod(s) for n, s in self.shapes.items() if not n.startswith("optimizer"))


@contextmanager
def open_store(path: Path, subject: object = None) -> Iterator[Hdf5Store]:
    """Open an HDF5 file after inspecting it.

    Parameters
    ----------
    subject
        What error messages name instead of the path.

    Raises
    ------
    UnsafeModel
        The file refers to other files, needs filters other than gzip, or claims more than it holds.
    NotAModel
        The file is damaged, or the HDF5 library hangs or crashes on it.
    """
    import h5py

    subject = path if subject is None else subject
    check_in_subprocess(path, subject)
    with typed_hdf5_errors(subject):
        file = h5py.File(path, "r", locking=False)
    with file:
        with typed_hdf5_errors(subject):
            shapes = _list_datasets(file, subject, path.stat().st_size)
        yield Hdf5Store(file, shapes, subject)


@contextmanager
def typed_hdf5_errors(subject: object) -> Iterator[None]:
    """Raise :func:`damaged` for any of the errors that h5py raises for damaged bytes."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise damaged(subject) from error


def damaged(subject: object) -> NotAModel:
    """Make the error for a damaged file."""
    return NotAModel(
        "the HDF5 file is damaged or cut short", subject=subject, next_step="Copy or download it again."
    )


def read_text_attribute(store: Hdf5Store, name: str) -> bytes | str:
    """Read an attribute of the root group that holds one string: the configuration.

    Raises
    ------
    ModelIncomplete
        There is no such attribute.
    NotAModel, UnsafeModel
        It is not a string, or longer than ``MAX_CONFIG_BYTES``.
    """
    subject = store.subject
    with typed_hdf5_errors(subject):
        if name not in store.file.attrs:
            raise ModelIncomplete(
                "there are weights in it but no architecture",
                subject=subject,
                next_step='Say what it is: load_model(path, architecture="EfficientNetB4", ...).',
            )
        attribute = store.file.attrs.get_id(name)
        if attribute.shape != () or attribute.dtype.kind not in "OS":
            raise NotAModel(
                "its configuration is damaged", subject=subject, next_step="Save the model again."
            )
        if attribute.get_storage_size() > MAX_CONFIG_BYTES:
            raise config_too_large(subject)
        text = store.file.attrs[name]
    if not isinstance(text, str | bytes):  # such as a reference to another object
        raise NotAModel("its configuration is damaged", subject=subject, next_step="Save the model again.")
    if len(text) > MAX_CONFIG_BYTES:
        raise config_too_large(subject)
    return text


def config_too_large(subject: object) -> UnsafeModel:
    """Make the error for a configuration of more than ``MAX_CONFIG_BYTES``."""
    return UnsafeModel(
        f"its configuration is larger than {MAX_CONFIG_BYTES >> 20} MiB",
        subject=subject,
        next_step="Do not open it.",
    )


def _list_datasets(file: h5py.File, subject: object, size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all datasets by full name, visiting each group once."""
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}
    seen: set[object] = set()
    claimed = stored = count = 0
    waiting: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    while waiting:
        prefix, group, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _unsafe(f"groups nested deeper than {MAX_DEPTH} levels", subject)
        for name in group:
            count += 1
            if count > MAX_OBJECTS:
                raise _unsafe(f"more than {MAX_OBJECTS:,} entries", subject)
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise _unsafe("a link to another file", subject)
            if not isinstance(link, h5py.HardLink):
                raise _unsafe("a link instead of an array", subject)
            member, full = group[name], f"{prefix}{name}"
            if isinstance(member, h5py.Group):
                key = h5py.h5o.get_info(member.id).addr
                if key in seen:
                    raise _unsafe("a group that contains itself or is linked twice", subject)
                seen.add(key)
                waiting.append((f"{full}/", member, depth + 1))
            elif isinstance(member, h5py.Dataset):
                _check_dataset(member, subject)
                shapes[full] = member.shape
                claimed += math.prod(member.shape) * member.dtype.itemsize
                stored += member.id.get_storage_size()
    if claimed > MAX_ARRAY_BYTES:
        raise _unsafe(f"more than {MAX_ARRAY_BYTES >> 30} GB of arrays", subject)
    if claimed > MAX_COMPRESSION * size + ALWAYS_ALLOWED_BYTES:
        raise _unsafe(f"arrays of {claimed:,} bytes in a file of {size:,}", subject)
    if size - stored > 8 * MAX_CONFIG_BYTES and size > 2 * stored:
        raise _unsafe("far more bytes than its arrays and a configuration need", subject)
    return shapes


def _check_dataset(dataset: h5py.Dataset, subject: object) -> None:
    import h5py

    settings = dataset.id.get_create_plist()
    if settings.get_external_count():
        raise _unsafe("an array that is stored in another file", subject)
    if dataset.is_virtual:
        raise _unsafe("a virtual array of parts in other files", subject)
    known = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    if any(settings.get_filter(i)[0] not in known for i in range(settings.get_nfilters())):
        raise _unsafe("an array compressed by a plugin filter", subject)
    if dataset.dtype.kind not in "fiub":
        raise NotAModel(
            "it holds an array that is not numeric",
            subject=subject,
            next_step="Save the model again.",
        )
    if dataset.shape is None:
        raise _unsafe("an array without a shape", subject)


def _unsafe(what: str, subject: object) -> UnsafeModel:
    return UnsafeModel(f"it holds {what}", subject=subject, next_step="Do not open it.")
