"""Read images from paths, bytes, arrays and uploads into upright RGB :class:`Frame` records.

Decoders never see a file name: this module reads the bytes, from regular files only, and the format is
detected from the content.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..errors import EmptyFile, MediaTooLarge, TruncatedMedia, UnsupportedMedia, displayable
from .files import MAX_BYTES, check_file_size, memory_error, read_file
from .image_decoding import MAX_PIXELS, decode_image
from .notes import Note

__all__ = [
    "MAX_BYTES",
    "MAX_PIXELS",
    "Frame",
    "Source",
    "Upload",
    "decode_image",
    "read_file",
    "read_image",
    "turned_pixels",
    "uploads",
]


@dataclass(frozen=True)
class Source:
    """Origin of a frame.

    Parameters
    ----------
    name
        File name without folders, or the name that the caller chose; kept as one printable line.
    sha256
        SHA-256 of the file's bytes. For an array: of its shape as text, ``"480x640x3:"``, followed by its
        bytes.
    format
        ``"JPEG"``, ``"PNG"``, ..., or ``"array"``.
    size_bytes
        Size of the file; ``None`` for an array.
    notes
        What was ignored, assumed, repaired or not looked at while reading, each with what it means for the
        answer; :attr:`warnings` are their texts.
    """

    name: str
    sha256: str | None
    format: str
    size_bytes: int | None
    notes: tuple[Note, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "name", displayable(self.name, limit=255))
        object.__setattr__(self, "notes", tuple(self.notes))

    @property
    def warnings(self) -> tuple[str, ...]:
        """What was ignored, assumed, repaired or not looked at, as clauses."""
        return tuple(note.text for note in self.notes)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as plain values for JSON."""
        return {
            "name": self.name,
            "sha256": self.sha256,
            "format": self.format,
            "size_bytes": self.size_bytes,
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True, eq=False)
class Frame:
    """A still image or one frame of a video.

    Parameters
    ----------
    image
        (H, W, 3) uint8 RGB, upright. Kept C-contiguous and read-only; the caller's own array stays writable.
    index
        Zero-based position among the displayed frames of the video; 0 for a still image.
    timestamp
        Seconds from the first frame; 0 for a still image.
    source
        Origin of the frame, if known.

    Raises
    ------
    ValueError
        The image is not an (H, W, 3) uint8 array or is empty, or index or timestamp are out of range.
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
        # dlib silently finds no faces in an array that is not contiguous.
        view = np.ascontiguousarray(image).view(np.ndarray)
        view.flags.writeable = False
        object.__setattr__(self, "image", view)

    @property
    def width(self) -> int:
        """Width in pixels."""
        return self.image.shape[1]

    @property
    def height(self) -> int:
        """Height in pixels."""
        return self.image.shape[0]


@dataclass(frozen=True)
class Upload:
    """One uploaded file: its name as sent by the browser, and its content."""

    name: str
    data: bytes


def read_image(
    source: Any, *, name: str | None = None, max_pixels: int = MAX_PIXELS, max_bytes: int = MAX_BYTES
) -> Frame:
    """Read one image.

    Parameters
    ----------
    source
        * a path (``str`` or path object),
        * the file's content as ``bytes``, ``bytearray`` or ``memoryview``,
        * an (H, W, 3) uint8 array in **RGB** order, or an (H, W) uint8 grey image. OpenCV's ``imread``
          returns BGR, which cannot be told from RGB here: reverse it with ``image[..., ::-1]`` first,
        * one upload of an ipywidgets ``FileUpload``, or an :class:`Upload` from :func:`uploads`, or
        * a :class:`Frame`, which is returned unchanged.
    name
        Name in reports and error messages. Default: the name of the file or upload.
    max_pixels
        Largest width x height, checked against the header before decoding.
    max_bytes
        Largest file size.

    Returns
    -------
    Frame
        Upright RGB. ``frame.source.warnings`` lists what was ignored or assumed.

    Raises
    ------
    InputError
        The image does not exist or cannot be read. Subclasses tell why: :class:`EmptyFile`,
        :class:`UnsupportedMedia`, :class:`TruncatedMedia`, :class:`MediaTooLarge`.
    """
    if isinstance(source, Frame):
        return source
    if isinstance(source, np.ndarray):
        return _from_array(source, name or "array", max_pixels)
    data, label, subject = resolve_source(source, name=name, what="picture", others="an RGB uint8 array")
    subject = name or subject
    if data is None:
        data = read_file(source, name=name, max_bytes=max_bytes)
    check_file_size(memoryview(data).nbytes, max_bytes, subject)
    try:
        data = bytes(data)
        pixels, kind, notes = decode_image(data, name=subject, max_pixels=max_pixels)
        origin = Source(name or label, hashlib.sha256(data).hexdigest(), kind, len(data), notes)
        return Frame(pixels, source=origin)
    except MemoryError as error:
        raise memory_error("read", subject) from error


def resolve_source(
    source: Any, *, name: str | None = None, what: str = "picture", others: str = ""
) -> tuple[bytes | bytearray | memoryview | None, str, str]:
    """Get the bytes and names of a path, bytes or one upload, without reading a file.

    Parameters
    ----------
    source
        See :func:`read_image`.
    name
        Name in error messages, if the caller chose one.
    what
        ``"picture"`` or ``"video"``, for messages.
    others
        Other inputs that the caller accepts, for messages.

    Returns
    -------
    data
        The bytes; ``None`` where ``source`` is a path.
    label
        Name without folders, for records.
    subject
        Name for error messages.

    Raises
    ------
    UnsupportedMedia
        ``source`` is of another type.
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


def turned_pixels(image: np.ndarray, degrees: int) -> np.ndarray:
    """Turn an image clockwise by a multiple of 90 degrees; the result is contiguous."""
    # Takes a tenth of the time of numpy's rot90.
    import cv2

    ways = {90: cv2.ROTATE_90_CLOCKWISE, 180: cv2.ROTATE_180, 270: cv2.ROTATE_90_COUNTERCLOCKWISE}
    degrees %= 360
    return cv2.rotate(image, ways[degrees]) if degrees else np.ascontiguousarray(image)


def uploads(value: Any) -> list[Upload]:
    """Convert the value of a ``FileUpload`` widget to a list of uploads.

    Parameters
    ----------
    value
        ``FileUpload.value`` of ipywidgets 8 (a tuple) or of ipywidgets 7.7 (a dict, as on Colab).

    Returns
    -------
    list of Upload
        In the order given; empty if nothing was uploaded.

    Raises
    ------
    UnsupportedMedia
        ``value`` is something else.
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
    """Convert one upload: ``{name, content}``, ``{metadata: {name}, content}``, or ``{name: either}``."""
    if not isinstance(item, Mapping) or not item:
        raise _not_an_upload(item)
    name = None
    if "content" not in item:
        if len(item) > 1:
            raise UnsupportedMedia(
                f"these are {len(item)} uploads; one is expected",
                next_step="Read each item of uploads(value) separately.",
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
            next_step="Upload it again; for large files give a path instead.",
        )
    return Upload(name, bytes(content))


def _not_an_upload(value: Any) -> UnsupportedMedia:
    return UnsupportedMedia(
        f"{_describe(value)} is not an upload", next_step="Give FileUpload.value, or one item of it."
    )


def _describe(value: Any) -> str:
    return "nothing (None)" if value is None else f"an object of type {type(value).__name__}"


def _from_array(array: np.ndarray, name: str, max_pixels: int) -> Frame:
    def refuse(given: str, step: str) -> UnsupportedMedia:
        return UnsupportedMedia(
            f"expected an (H, W, 3) uint8 array in RGB order, not {given}",
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
            step = "Scale its values to 0 to 255 and convert it with .astype(np.uint8)."
        raise refuse(f"{array.dtype} of shape {array.shape}", step)
    notes: tuple[Note, ...] = ()
    if array.ndim == 3 and array.shape[2] == 4:
        raise refuse(f"shape {array.shape}", "Drop the transparency with image[..., :3].")
    if array.ndim == 4:
        raise refuse(f"shape {array.shape}", "Take one image out of the batch: images[0].")
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    if array.ndim == 2:
        notes = (Note("grey array converted to RGB"),)
        pixels = np.repeat(array[..., None], 3, axis=2)
    elif array.ndim == 3 and array.shape[2] == 3:
        pixels = None
    else:
        step = (
            "Use image.transpose(1, 2, 0)." if array.ndim == 3 and array.shape[0] == 3 else "Check the array."
        )
        raise refuse(f"shape {array.shape}", step)
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
