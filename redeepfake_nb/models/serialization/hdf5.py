"""HDF5 files of strangers, read for their arrays alone.

HDF5 can point out of itself: links to other files, arrays kept in other files, filters loaded from plugins.
It can also claim terabytes. A file is walked once before any array is read, and refused for such things.
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


# Seconds. A real file takes a fraction of one.
LIMIT = 20.0
# Follows nothing that points out of the file; errors are left to whoever opens it next.
_WALK = """
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


def probe(path: Path, subject: object) -> None:
    """Let a child go through the file's groups, attributes and indexes; its arrays stay unread.

    Raises
    ------
    NotAModel
        The library hangs on it or crashes.
    """
    try:
        ended = subprocess.run(
            [sys.executable, "-I", "-c", _WALK, os.fspath(path)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=LIMIT,
        )
    except subprocess.TimeoutExpired as error:
        raise _damaged("comes to no end with it", subject) from error
    except OSError:
        return  # no such process can be started here
    if ended.returncode < 0:
        raise _damaged("crashes on it", subject)


def _damaged(how: str, subject: object) -> NotAModel:
    return NotAModel(
        f"the file is damaged so that the HDF5 library {how}",
        subject=subject,
        next_step="Copy or download it again.",
    )


MAX_BYTES = 2 * 2**30
MAX_OBJECTS = 50_000
MAX_TEXT = 32 * 2**20
MAX_DEPTH = 64
# Weights hardly shrink when they are packed; what unpacks to far more than its file is no network.
MAX_RATIO = 20
FREE_BYTES = 16 * 2**20


@dataclass(frozen=True)
class Store:
    """An open file that was looked through.

    Parameters
    ----------
    file
        As h5py opened it, for reading.
    shapes
        Full name of every dataset -> its shape.
    subject
        For messages.
    """

    file: h5py.File
    shapes: dict[str, tuple[int, ...]]
    subject: object

    def below(self, folder: str) -> dict[str, tuple[int, ...]]:
        """Datasets inside a group, by their name relative to it; all of them for an empty name."""
        if not folder:
            return self.shapes
        start = folder + "/"
        return {name[len(start) :]: s for name, s in self.shapes.items() if name.startswith(start)}

    def read(self, name: str) -> np.ndarray:
        """One array.

        Raises
        ------
        NotAModel
            Its bytes are damaged.
        """
        with reading(self.subject):
            return self.file[name][()]

    def attributes(self) -> set[str]:
        """Names of the file's own attributes.

        Raises
        ------
        NotAModel
            They are damaged.
        """
        with reading(self.subject):
            return set(self.file.attrs)

    def attribute(self, name: str) -> Any:
        """One of them, which is known to be there.

        Raises
        ------
        NotAModel
            It is damaged.
        """
        with reading(self.subject):
            return self.file.attrs[name]

    @property
    def elements(self) -> int:
        """How many numbers it holds, the optimizer's left out."""
        return sum(math.prod(s) for n, s in self.shapes.items() if not n.startswith("optimizer"))


@contextmanager
def open_store(path: Path, subject: object = None) -> Iterator[Store]:
    """Open an HDF5 file after looking through it.

    Parameters
    ----------
    subject
        Named in messages instead of the path.

    Raises
    ------
    UnsafeModel
        It refers to other files, needs filters other than gzip, or claims more than it holds.
    NotAModel
        It is damaged; this is also said where the HDF5 library hangs or crashes on it.
    """
    import h5py

    subject = path if subject is None else subject
    probe(path, subject)
    with reading(subject):
        file = h5py.File(path, "r", locking=False)
    with file:
        with reading(subject):
            shapes = _walk(file, subject, path.stat().st_size)
        yield Store(file, shapes, subject)


@contextmanager
def reading(subject: object) -> Iterator[None]:
    """What h5py raises over damaged bytes, which is anything, as :func:`damaged`."""
    try:
        yield
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise damaged(subject) from error


def damaged(subject: object) -> NotAModel:
    """The error for bytes that make no sense."""
    return NotAModel(
        "the HDF5 file is damaged or cut short", subject=subject, next_step="Copy or download it again."
    )


def read_text(store: Store, name: str) -> bytes | str:
    """An attribute of the file that holds one text.

    Raises
    ------
    ModelIncomplete
        There is none of that name.
    NotAModel, UnsafeModel
        It is something else, or longer than any real one.
    """
    subject = store.subject
    with reading(subject):
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
        if attribute.get_storage_size() > MAX_TEXT:
            raise too_long(subject)
        text = store.file.attrs[name]
    if len(text) > MAX_TEXT:
        raise too_long(subject)
    return text


def too_long(subject: object) -> UnsafeModel:
    """The error for a configuration beyond every model's."""
    return UnsafeModel(
        "its configuration is larger than any real one", subject=subject, next_step="Do not open it."
    )


def _walk(file: h5py.File, subject: object, size: int) -> dict[str, tuple[int, ...]]:
    """Shapes of all datasets that can be reached, each group visited once."""
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}
    seen: set[object] = set()
    claimed = stored = count = 0
    waiting: list[tuple[str, h5py.Group, int]] = [("", file, 0)]
    while waiting:
        prefix, group, depth = waiting.pop()
        if depth > MAX_DEPTH:
            raise _refused("groups nested deeper than in any model", subject)
        for name in group:
            count += 1
            if count > MAX_OBJECTS:
                raise _refused(f"more than {MAX_OBJECTS:,} entries", subject)
            link = group.get(name, getlink=True)
            if isinstance(link, h5py.ExternalLink):
                raise _refused("a link to another file", subject)
            if not isinstance(link, h5py.HardLink):
                raise _refused("a link instead of an array", subject)
            member, full = group[name], f"{prefix}{name}"
            if isinstance(member, h5py.Group):
                key = h5py.h5o.get_info(member.id).addr
                if key in seen:
                    raise _refused("a group that contains itself or stands in two places", subject)
                seen.add(key)
                waiting.append((f"{full}/", member, depth + 1))
            elif isinstance(member, h5py.Dataset):
                _check_dataset(member, subject)
                shapes[full] = member.shape
                claimed += math.prod(member.shape) * member.dtype.itemsize
                stored += member.id.get_storage_size()
    if claimed > MAX_BYTES:
        raise _refused(f"more than {MAX_BYTES >> 30} GB of arrays", subject)
    if claimed > MAX_RATIO * size + FREE_BYTES:
        raise _refused(f"arrays of {claimed:,} bytes in a file of {size:,}", subject)
    if size - stored > 8 * MAX_TEXT and size > 2 * stored:
        raise _refused("far more than arrays and a configuration", subject)
    return shapes


def _check_dataset(dataset: h5py.Dataset, subject: object) -> None:
    import h5py

    settings = dataset.id.get_create_plist()
    if settings.get_external_count():
        raise _refused("an array that is kept in another file", subject)
    if dataset.is_virtual:
        raise _refused("an array pieced together from other files", subject)
    known = {h5py.h5z.FILTER_DEFLATE, h5py.h5z.FILTER_SHUFFLE, h5py.h5z.FILTER_FLETCHER32}
    if any(settings.get_filter(i)[0] not in known for i in range(settings.get_nfilters())):
        raise _refused("an array packed by a plugin", subject)
    if dataset.dtype.kind not in "fiub":
        raise NotAModel(
            "it holds an array that is not made of numbers",
            subject=subject,
            next_step="Save the model again.",
        )
    if dataset.shape is None:
        raise _refused("an array without a shape", subject)


def _refused(what: str, subject: object) -> UnsafeModel:
    return UnsafeModel(f"it holds {what}", subject=subject, next_step="Do not open it.")
