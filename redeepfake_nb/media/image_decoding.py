"""Bytes of one still picture -> RGB pixels. The file's containers are checked before a decoder sees them.

JPEG, PNG, GIF, WebP, TIFF, BMP, PPM/PGM/PBM, HEIF (HEIC) and AVIF are read. Decoders are chosen by the first
bytes and called directly, so that none of Pillow's other formats, limits or registries plays a part and
no global state is read or changed; every function here may run in many threads at once.

Choices, the same for every format:

* Orientation stored in EXIF (or in HEIF and AVIF properties) is applied; nothing else of EXIF is kept.
* Transparent parts are shown on white, as browsers and galleries show them.
* 16-bit samples keep their high byte. Nothing is stretched to use the whole range.
* Colours are not managed: an embedded profile other than sRGB is ignored, with a note.
* Of an animation or a file of several pages the first picture is read, with a note.
* Missing picture data are an error. No half-grey picture leaves this module.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from ..errors import EmptyFile, MediaTooLarge, RedeepfakeError, TruncatedMedia, UnsupportedMedia
from .file_types import describe, picture_format
from .files import out_of_memory
from .image_containers import (
    Damaged,
    check_ppm,
    clean_gif,
    clean_jpeg,
    clean_png,
    exif_orientation,
    jpeg_with_more_data,
    srgb_like,
    walk_tiff,
    webp_size,
)

MAX_PIXELS = 64_000_000
_STRIP_PIXELS = 4_000_000
# A progressive JPEG has about ten scans. Each costs a pass over all pixels, and next to no bytes.
_MAX_SCANS = 100
_MAX_SCANNED = 1_000_000_000
# Numbers written out as text are slow to read, and nobody keeps large pictures so.
_MAX_TEXT_BYTES = 16 * 2**20
_AGAIN = "Get the file again from where it came from."
_CONVERT = "Open it in another program and save it as PNG."


class _NoFilling:
    """While this is entered, Pillow does not pass pictures with missing parts off as whole ones.

    It does so where ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set, and importing face_recognition sets it
    for the whole process. A setting found on is off for as long as any thread decodes, and then on
    again; one found off is not touched.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._entered = 0
        self._found_on = False

    def __enter__(self) -> None:
        from PIL import ImageFile

        with self._lock:
            self._entered += 1
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                self._found_on = True
                ImageFile.LOAD_TRUNCATED_IMAGES = False

    def __exit__(self, *_: object) -> None:
        from PIL import ImageFile

        with self._lock:
            self._entered -= 1
            if self._found_on and not self._entered:
                self._found_on = False
                ImageFile.LOAD_TRUNCATED_IMAGES = True


_NO_FILLING = _NoFilling()


@dataclass
class _Reading:
    """One picture on its way to pixels."""

    data: bytes
    name: object
    format: str
    max_pixels: int
    orientation: int = 1
    progressive: bool = False
    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def check_size(self, width: int, height: int) -> None:
        """Refuse before anything is decoded.

        Raises
        ------
        MediaTooLarge, TruncatedMedia
            More pixels than allowed; none at all.
        """
        if width < 1 or height < 1:
            raise self.damaged(f"its header claims {width} x {height} pixels")
        if width * height > self.max_pixels:
            raise MediaTooLarge(
                f"the picture has {width} x {height} pixels, {width * height / 1e6:.0f} million; "
                f"the limit is {self.max_pixels / 1e6:g} million",
                subject=self.name,
                next_step="Make it smaller first, or raise max_pixels if you trust it.",
            )

    def read_exif(self, exif: bytes | None) -> None:
        if not exif:
            return
        try:
            self.orientation = exif_orientation(exif)
        except Damaged as error:
            self.note(f"EXIF data ignored ({error}); the picture may lie on its side")

    def read_profile(self, profile: bytes | None) -> None:
        if profile and not srgb_like(profile):
            self.note("embedded colour profile ignored; colours may be slightly off")

    def count(self, pictures: int | None, kind: str = "pictures", *, damaged: bool = False) -> None:
        if damaged:
            self.note(f"first of several {kind} in the file, some of them damaged")
        elif pictures is None:
            self.note(f"first of very many {kind} in the file")
        elif pictures > 1:
            self.note(f"first of {pictures} {kind} in the file")

    def damaged(self, why: str) -> TruncatedMedia:
        return TruncatedMedia(
            f"it begins like {self.format} but is damaged or breaks off ({why})",
            subject=self.name,
            next_step=_AGAIN,
        )

    def unsupported(self, why: str) -> UnsupportedMedia:
        return UnsupportedMedia(
            f"this kind of {self.format} is not read here ({why})", subject=self.name, next_step=_CONVERT
        )


def decode_image(
    data: bytes | bytearray | memoryview, *, name: object = None, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Decode one still picture.

    Parameters
    ----------
    data
        Content of the file.
    name
        What errors call it.
    max_pixels
        Largest width x height; compared with the header before anything is decoded.

    Returns
    -------
    image : (H, W, 3) uint8 RGB, C-contiguous
        Upright, as EXIF says. Also for grey pictures (three equal channels).
    format : str
        ``"JPEG"``, ``"PNG"``, ``"GIF"``, ``"WEBP"``, ``"TIFF"``, ``"BMP"``, ``"PPM"`` (also PGM and PBM),
        ``"HEIF"`` or ``"AVIF"``.
    notes : tuple of str
        What was ignored, assumed or repaired; empty for an ordinary picture.

    Raises
    ------
    EmptyFile
        No bytes at all.
    UnsupportedMedia
        Something else, or a variant that is not read here.
    TruncatedMedia
        Damaged, or part of the picture is missing.
    MediaTooLarge
        Over ``max_pixels``, or over the memory of this machine.

    Notes
    -----
    A JPEG holds no checksum. Data lost at its end, and damage that makes the decoder run out of data,
    are found (of 80 trials with 40 bytes zeroed at random places: 24). Damage that happens to leave
    enough data shows as a wrong patch in the picture and cannot be told from content.
    """
    data = bytes(data)
    if not data:
        raise EmptyFile("it is empty (0 bytes)", subject=name, next_step=_AGAIN)
    kind = picture_format(data)
    if kind is None:
        what, step = describe(data)
        raise UnsupportedMedia(
            f"this is {what} ({len(data)} bytes), which is not read as a picture",
            subject=name,
            next_step=step,
        )
    reading = _Reading(data, name, kind, max_pixels)
    try:
        return _decode(reading), kind, tuple(reading.notes)
    except RedeepfakeError:
        raise
    except MemoryError as error:
        raise out_of_memory("decode", name) from error
    except NotImplementedError as error:
        raise reading.unsupported(_cause(error)) from error
    except Exception as error:
        # Decoders raise nearly anything on damaged data (OSError, SyntaxError, struct.error, IndexError).
        # The type of the error says little, so all of it becomes one kind with the decoder's own words.
        raise reading.damaged(_cause(error)) from error


def _cause(error: BaseException) -> str:
    text = " ".join(str(error).split())[:160].rstrip(".")
    return text or type(error).__name__


def _decode(reading: _Reading) -> np.ndarray:
    from PIL import Image

    try:
        with _NO_FILLING, _OPENERS[reading.format](reading) as picture:
            reading.check_size(*picture.size)
            picture.load()
            reading.check_size(*picture.size)
            pixels = _to_rgb(picture, reading)
            doubtful = reading.format == "JPEG" and (reading.progressive or _ends_grey(pixels))
            if doubtful and not _complete(reading, pixels):
                raise reading.damaged("picture data are missing at the end")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Only where max_pixels was raised, or Pillow's own limit was lowered.
        raise MediaTooLarge(
            f"Pillow refuses it ({_cause(error)})",
            subject=reading.name,
            next_step="Make it smaller first, or raise PIL.Image.MAX_IMAGE_PIXELS too if you trust it.",
        ) from error
    del picture  # up to 256 MB, which turning the pixels may need
    return _upright(pixels, reading.orientation)


# ------------------------------------------------------------------ one opener per format


def _open_jpeg(reading: _Reading):
    from PIL.JpegImagePlugin import JpegImageFile

    try:
        jpeg = clean_jpeg(reading.data)
    except Damaged as error:
        raise reading.damaged(str(error)) from error
    reading.check_size(jpeg.width, jpeg.height)
    if jpeg.precision != 8:
        raise reading.unsupported(f"{jpeg.precision} bits per sample")
    # Huffman coding spends at least one bit on each 8 x 8 block, so less data than that is a lie about size.
    if jpeg.huffman and 8 * jpeg.scan_bytes < (jpeg.width // 8) * (jpeg.height // 8):
        raise reading.damaged(f"too little data for {jpeg.width} x {jpeg.height} pixels")
    if jpeg.scans > _MAX_SCANS or jpeg.scans * jpeg.width * jpeg.height > _MAX_SCANNED:
        raise MediaTooLarge(
            f"its {jpeg.width} x {jpeg.height} pixels are coded in {jpeg.scans} passes",
            subject=reading.name,
            next_step=_CONVERT,
        )
    reading.progressive = jpeg.progressive
    if jpeg.progressive and not jpeg.refined:
        reading.note("its last scans are missing: fine detail may be lost")
    reading.read_exif(jpeg.exif)
    reading.read_profile(jpeg.profile)
    reading.data = jpeg.data
    return JpegImageFile(io.BytesIO(jpeg.data))


def _ends_grey(pixels: np.ndarray) -> bool:
    """Whether the last corner is the mid-grey that libjpeg puts where data are missing."""
    return bool((np.abs(pixels[-1, -1].astype(np.int16) - 128) <= 1).all())


def _complete(reading: _Reading, pixels: np.ndarray) -> bool:
    """Whether a JPEG that ends in mid-grey, or a progressive one, has all its data.

    libjpeg fills silently where the data end early. More data behind the last byte change nothing in a
    complete picture, since the decoder stops after the last block; in a short one they turn up as content.
    """
    from PIL.JpegImagePlugin import JpegImageFile

    with JpegImageFile(io.BytesIO(jpeg_with_more_data(reading.data))) as again:
        again.load()
        return bool(np.array_equal(_to_rgb(again, reading), pixels))


def _open_png(reading: _Reading):
    from PIL.PngImagePlugin import PngImageFile

    try:
        png = clean_png(reading.data, reading.check_size)
    except Damaged as error:
        raise reading.damaged(str(error)) from error
    for text in png.notes:
        reading.note(text)
    reading.count(png.frames, "frames")
    reading.read_exif(png.exif)
    reading.read_profile(png.profile)
    return PngImageFile(io.BytesIO(png.data))


def _open_webp(reading: _Reading):
    from PIL.WebPImagePlugin import WebPImageFile

    # Pillow's decoder sets up its canvas while opening, so the size is read beforehand.
    try:
        reading.check_size(*webp_size(reading.data))
    except Damaged as error:
        raise reading.damaged(str(error)) from error
    picture = WebPImageFile(io.BytesIO(reading.data))
    reading.count(picture.n_frames, "frames")
    reading.read_exif(picture.info.get("exif"))
    reading.read_profile(picture.info.get("icc_profile"))
    return picture


def _open_gif(reading: _Reading):
    from PIL.GifImagePlugin import GifImageFile

    try:
        gif = clean_gif(reading.data, reading.check_size)
    except Damaged as error:
        raise reading.damaged(str(error)) from error
    reading.count(gif.frames, "frames", damaged=gif.damaged)
    return GifImageFile(io.BytesIO(gif.data))


def _open_tiff(reading: _Reading):
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        tiff = walk_tiff(reading.data)
    except Damaged as error:
        raise reading.damaged(str(error)) from error
    if tiff.preview:
        raise UnsupportedMedia(
            f"this is {tiff.preview}, which is not read as a picture",
            subject=reading.name,
            next_step="Develop it in a photo program and save it as JPEG or PNG.",
        )
    reading.count(tiff.pages, "pages", damaged=tiff.damaged)
    picture = TiffImageFile(io.BytesIO(reading.data))
    reading.check_size(*picture.size)
    reading.read_profile(picture.info.get("icc_profile"))
    return picture  # Pillow itself turns a TIFF upright while loading it.


def _open_bmp(reading: _Reading):
    from PIL.BmpImagePlugin import BmpImageFile

    return BmpImageFile(io.BytesIO(reading.data))


def _open_ppm(reading: _Reading):
    from PIL.PpmImagePlugin import PpmImageFile

    try:
        check_ppm(reading.data)
    except Damaged as error:
        raise reading.damaged(str(error)) from error
    if reading.data[1:2] in b"123" and len(reading.data) > _MAX_TEXT_BYTES:
        raise MediaTooLarge(
            f"it is written out as text of {len(reading.data) / 2**20:.0f} MiB",
            subject=reading.name,
            next_step=_CONVERT,
        )
    return PpmImageFile(io.BytesIO(reading.data))


def _open_heif(reading: _Reading):
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UnsupportedMedia(
            "this is a HEIC picture and the package pillow-heif is not installed",
            subject=reading.name,
            next_step="Run `pip install pillow-heif`, or save the picture as JPEG.",
        ) from error
    picture = HeifImageFile(io.BytesIO(reading.data))  # applies the rotation itself
    reading.count(picture.n_frames)
    reading.read_profile(picture.info.get("icc_profile"))
    return picture


def _open_avif(reading: _Reading):
    try:
        from PIL.AvifImagePlugin import SUPPORTED, AvifImageFile
    except ImportError:
        SUPPORTED = False  # noqa: N806
    if not SUPPORTED:
        raise UnsupportedMedia(
            "this is an AVIF picture, which the installed Pillow cannot read",
            subject=reading.name,
            next_step="Run `pip install -U pillow` (11.3 or later), or save the picture as PNG.",
        )
    picture = AvifImageFile(io.BytesIO(reading.data))
    reading.count(picture.n_frames, "frames")
    reading.read_exif(picture.info.get("exif"))  # Pillow states AVIF's own rotation in EXIF terms
    reading.read_profile(picture.info.get("icc_profile"))
    return picture


_OPENERS: dict[str, Callable] = {
    "JPEG": _open_jpeg,
    "PNG": _open_png,
    "WEBP": _open_webp,
    "GIF": _open_gif,
    "TIFF": _open_tiff,
    "BMP": _open_bmp,
    "PPM": _open_ppm,
    "HEIF": _open_heif,
    "AVIF": _open_avif,
}


# ------------------------------------------------------------------ any mode -> RGB


def _to_rgb(picture, reading: _Reading) -> np.ndarray:
    """A loaded Pillow picture as (H, W, 3) uint8 RGB."""
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        grey = _deep_grey(np.asarray(picture), mode, reading)
        return np.repeat(grey[..., None], 3, axis=2)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        return _on_white(picture, reading)
    if mode not in ("RGB", "1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX"):
        raise reading.unsupported(f"colour mode {mode}")
    return _copy(picture)


def _strips(picture, mode: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Rows and their pixels in ``mode``, (rows, W, bands) uint8, top to bottom.

    Exporting a Pillow picture takes twice the memory of what is exported, so a large one goes in parts.
    """
    width, height = picture.size
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        strip = picture if rows >= height else picture.crop((0, part.start, width, part.stop))
        yield part, np.asarray(strip if strip.mode == mode else strip.convert(mode))


def _copy(picture) -> np.ndarray:
    out = np.empty((picture.height, picture.width, 3), np.uint8)
    for part, rgb in _strips(picture, "RGB"):
        out[part] = rgb
    return out


def _on_white(picture, reading: _Reading) -> np.ndarray:
    out = np.empty((picture.height, picture.width, 3), np.uint8)
    for part, rgba in _strips(picture, "RGBA"):
        alpha = rgba[..., 3:].astype(np.uint16)
        if alpha.min() == 255:
            out[part] = rgba[..., :3]
            continue
        reading.note("transparent parts are shown on white")
        out[part] = (rgba[..., :3] * alpha + (255 - alpha) * 255 + 127) // 255  # at most 65152: fits 16 bits
    return out


def _deep_grey(values: np.ndarray, mode: str, reading: _Reading) -> np.ndarray:
    """(H, W) grey of 16 or 32 bits -> uint8, by a fixed rule that does not depend on the content."""
    if mode.startswith("I;16"):
        reading.note("16-bit grey reduced to 8 bits")
        return (values >> 8).astype(np.uint8)
    if not np.isfinite(values).all():
        raise reading.unsupported("it holds values that are not finite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        raise reading.unsupported(f"32-bit grey from {low:g} to {high:g}, whose white is unknown")
    if mode == "F":
        white = 1.0 if high <= 1 else 255.0 if high <= 255 else 65535.0
        reading.note(f"floating-point grey read with {white:g} as white")
        return np.rint(values * (255 / white)).astype(np.uint8)
    reading.note("deep grey reduced to 8 bits")
    return (values >> 8).astype(np.uint8)


def _upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Undo EXIF orientation 1 to 8 (TIFF 6.0, tag 274), C-contiguous."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels)
