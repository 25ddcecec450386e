"""The only way in for pictures: paths, bytes, arrays and uploads -> upright RGB :class:`Frame` records.

File names never reach a decoder: bytes are read here, from regular files only, and judged by their
content.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import EmptyFile, MediaTooLarge, TruncatedMedia, UnsupportedMedia, displayable
from .files import MAX_BYTES, check_bytes, out_of_memory, read_file
from .image_decoding import MAX_PIXELS, decode_image

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Frame",
    "Source",
    "Upload",
    "decode_image",
    "read_file",
    "read_image",
    "uploads",
]


@dataclass(frozen=True)
class Source:
    """Where a frame came from.

    Parameters
    ----------
    name
        File name without folders, or what the caller chose; kept as one printable line.
    sha256
        Of the file's bytes. Of an array: of its shape, as text ``"480x640x3:"``, followed by its bytes.
    format
        ``"JPEG"``, ``"PNG"``, ..., or ``"array"``.
    size_bytes
        Of the file; ``None`` for an array.
    warnings
        What was ignored, assumed or repaired while reading.
    """

    name: str
    sha256: str | None
    format: str
    size_bytes: int | None
    warnings: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", displayable(self.name, limit=255))
        object.__setattr__(self, "warnings", tuple(self.warnings))

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "format": self.format,
            "size_bytes": self.size_bytes,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, eq=False)
class Frame:
    """One picture, or one picture of a video.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB, upright. Kept C-contiguous and read-only; the caller's own array stays writable.
    index
        Zero-based place in decode order.
    timestamp
        Seconds from the start; 0 for a still picture.
    source
        Where it came from, if known.

    Raises
    ------
    ValueError
        The image is no (H, W, 3) uint8 array or is empty, or index or timestamp are out of range.
    """

    image: np.ndarray = field(repr=False)
    index: int = 0
    timestamp: float = 0.0
    source: Source | None = None

    def __post_init__(self) -> None:
        image = self.image
        if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
            kind = getattr(image, "dtype", type(image).__name__)
            raise ValueError(f"image must be a uint8 array, not {kind}")
        if image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
            raise ValueError(f"image must have the shape (H, W, 3), not {image.shape}")
        if self.index < 0 or not np.isfinite(self.timestamp):
            raise ValueError(f"index {self.index} and timestamp {self.timestamp} do not name a frame")
        # dlib silently finds nothing in an array that is not contiguous.
        view = np.ascontiguousarray(image).view(np.ndarray)
        view.flags.writeable = False
        object.__setattr__(self, "image", view)

    @property
    def width(self) -> int:
        """Pixels."""
        return self.image.shape[1]

    @property
    def height(self) -> int:
        """Pixels."""
        return self.image.shape[0]


@dataclass(frozen=True)
class Upload:
    """One uploaded file: its name as the browser told it, and its content."""

    name: str
    data: bytes


def read_image(
    source: Any, *, name: str | None = None, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> Frame:
    """Read one picture.

    Parameters
    ----------
    source
        * a path (``str`` or path object),
        * the file's content as ``bytes``, ``bytearray`` or ``memoryview``,
        * an (H, W, 3) uint8 array in **RGB** order, or (H, W) uint8 grey. OpenCV's ``imread`` gives BGR,
          which looks the same to a program: turn it with ``image[..., ::-1]`` first,
        * one upload of an ipywidgets ``FileUpload`` (or what :func:`uploads` gives), or
        * a :class:`Frame`, which is returned as it is.
    name
        What reports and errors call it. Default: the file's or upload's own name.
    max_pixels
        Largest width x height. Read from the header, before decoding.
    max_bytes
        Largest file.

    Returns
    -------
    Frame
        Upright RGB. What was ignored or assumed stands in ``frame.source.warnings``.

    Raises
    ------
    InputError
        Not there or not readable. Its children say more: :class:`EmptyFile`, :class:`UnsupportedMedia`,
        :class:`TruncatedMedia`, :class:`MediaTooLarge`.
    """
    if isinstance(source, Frame):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "array", max_pixels)
    data, label, subject = content(source, name=name, what="picture", others="an RGB uint8 array")
    subject = name or subject
    if data is None:
        data = read_file(source, name=name, max_bytes=max_bytes)
    check_bytes(memoryview(data).nbytes, max_bytes, subject)
    try:
        data = bytes(data)
        pixels, kind, notes = decode_image(data, name=subject, max_pixels=max_pixels)
        origin = Source(name or label, hashlib.sha256(data).hexdigest(), kind, len(data), notes)
        return Frame(pixels, source=origin)
    except MemoryError as error:
        raise out_of_memory("read", subject) from error


def content(
    source: Any, *, name: str | None = None, what: str = "picture", others: str = ""
) -> tuple[bytes | bytearray | memoryview | None, str, str]:
    """What a path, bytes or one upload holds, before anything is read.

    Parameters
    ----------
    source
        See :func:`read_image`.
    name
        What errors call it.
    what
        ``"picture"`` or ``"video"``, for messages.
    others
        What else the caller takes, for messages.

    Returns
    -------
    data
        Its bytes; ``None`` where ``source`` is a path.
    label
        Its name without folders, for records.
    subject
        Its name for errors.

    Raises
    ------
    UnsupportedMedia
        It is none of these.
    """
    if isinstance(source, (bytes, bytearray, memoryview)):
        label = "image bytes" if what == "picture" else f"{what} bytes"
        return source, label, label
    if isinstance(source, (str, os.PathLike)):
        subject = os.fsdecode(os.fspath(source))
        return None, os.path.basename(subject), subject
    if isinstance(source, (list, tuple)) and len(source) == 1 and isinstance(source[0], (Mapping, Upload)):
        source = source[0]
    if isinstance(source, (Mapping, Upload)):
        upload = source if isinstance(source, Upload) else _one_upload(source)
        return upload.data, upload.name, upload.name
    raise UnsupportedMedia(
        f"a {what} cannot be read from {_describe(source)}",
        subject=name,
        next_step=f"Give a path, the file's bytes, {others + ', ' if others else ''}or one upload.",
    )


def uploads(value: Any) -> list[Upload]:
    """The files in a ``FileUpload.value``, of ipywidgets 8 (a tuple) as of 7.7 (a dict, as on Colab).

    Returns
    -------
    list of Upload
        In the order given; empty where nothing was uploaded.

    Raises
    ------
    UnsupportedMedia
        It is no such value.
    """
    if not value:
        return []
    if isinstance(value, Mapping) and "content" not in value:
        return [_one_upload({name: item}) for name, item in value.items()]
    items = [value] if isinstance(value, (Mapping, Upload)) else value
    if not isinstance(items, Sequence) or isinstance(items, (str, bytes)):
        raise _not_an_upload(value)
    return [item if isinstance(item, Upload) else _one_upload(item) for item in items]


def _one_upload(item: Any) -> Upload:
    """One upload: ``{name, content, ...}``, ``{metadata: {name}, content}``, or ``{name: either}``."""
    if not isinstance(item, Mapping) or not item:
        raise _not_an_upload(item)
    name = None
    if "content" not in item:
        if len(item) > 1:
            raise UnsupportedMedia(
                f"these are {len(item)} uploads; one is wanted",
                next_step="Read each of uploads(value) by itself.",
            )
        name, item = next(iter(item.items()))
        if not isinstance(item, Mapping) or "content" not in item:
            raise _not_an_upload(item)
    metadata = item.get("metadata")
    name = item.get("name") or (metadata.get("name") if isinstance(metadata, Mapping) else None) or name
    content = item["content"]
    if not isinstance(content, (bytes, bytearray, memoryview)):
        raise _not_an_upload(item)
    name, arrived = str(name or "upload"), memoryview(content).nbytes
    size = item.get("size", metadata.get("size") if isinstance(metadata, Mapping) else None)
    if isinstance(size, int) and size > arrived:
        raise TruncatedMedia(
            f"only {arrived:,} of its {size:,} bytes were uploaded",
            subject=name,
            next_step="Upload it again; large files are better named by their path.",
        )
    return Upload(name, bytes(content))


def _not_an_upload(value: Any) -> UnsupportedMedia:
    return UnsupportedMedia(
        f"{_describe(value)} is not an upload", next_step="Give FileUpload.value, or one item of it."
    )


def _describe(value: Any) -> str:
    return "nothing (None)" if value is None else f"an object of type {type(value).__name__}"


# ------------------------------------------------------------------ arrays


def _from_array(array: np.ndarray, name: str, max_pixels: int) -> Frame:
    def refuse(given: str, step: str) -> UnsupportedMedia:
        return UnsupportedMedia(
            f"an (H, W, 3) uint8 array in RGB order is wanted, and this is {given}",
            subject=name,
            next_step=step,
        )

    shape = "x".join(map(str, array.shape))
    if array.size == 0:
        raise EmptyFile(
            f"the array is empty (shape {array.shape})", subject=name, next_step="Check the crop."
        )
    if array.dtype != np.uint8:
        if array.dtype.kind == "f":
            step = "If its values are 0 to 1, use np.rint(image * 255).astype(np.uint8)."
        elif array.dtype.kind == "b":
            step = "Use image.astype(np.uint8) * 255."
        else:
            step = "Bring its values to 0 to 255 and convert it with .astype(np.uint8)."
        raise refuse(f"{array.dtype} of shape {array.shape}", step)
    notes: tuple[str, ...] = ()
    if array.ndim == 3 and array.shape[2] == 4:
        raise refuse(f"one of shape {array.shape}", "Drop the transparency with image[..., :3].")
    if array.ndim == 4:
        raise refuse(f"one of shape {array.shape}", "Take one picture out of the batch: images[0].")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        notes = ("grey array shown as RGB",)
        pixels = np.repeat(array[..., None], 3, axis=2)
    elif array.ndim == 3 and array.shape[2] == 3:
        pixels = None
    else:
        step = (
            "Use image.transpose(1, 2, 0)." if array.ndim == 3 and array.shape[0] == 3 else "Check the array."
        )
        raise refuse(f"one of shape {array.shape}", step)
    if array.shape[0] * array.shape[1] > max_pixels:
        raise MediaTooLarge(
            f"the array has {array.shape[1]} x {array.shape[0]} pixels; "
            f"the limit is {max_pixels / 1e6:g} million",
            subject=name,
            next_step="Make it smaller first, or raise max_pixels.",
        )
    if pixels is None:
        pixels = np.array(array, order="C", subok=False)
    digest = hashlib.sha256(f"{shape}:".encode())
    digest.update(np.ascontiguousarray(array).data)
    return Frame(pixels, source=Source(name, digest.hexdigest(), "array", None, notes))
