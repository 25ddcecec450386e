"""Decode still images to RGB pixels; the container is checked before a decoder sees it.

Supported are JPEG, PNG, GIF, WebP, TIFF, BMP, PPM/PGM/PBM, HEIF (HEIC) and AVIF. Decoders are chosen by the
first bytes and called directly, so that Pillow's other formats, limits and registries play no part; every
function here is thread-safe.

The same conventions hold for every format:

* The orientation stored in EXIF (or in HEIF and AVIF properties) is applied; all other EXIF data are dropped.
* Transparent parts are composited on white, as browsers show them.
* 16-bit samples keep their high byte; contrast is never stretched.
* There is no colour management: an embedded profile other than sRGB is ignored, with a note.
* Of an animation or a file with several pages the first image is read; a note says what was not looked at.
* HDR (PQ, HLG) that the file states is converted to SDR; see :mod:`redeepfake_nb.media.tone_mapping`.
* A JPEG over the limit on pixels is decoded at a half, a quarter or an eighth of its size, with a note.
* Missing image data are an error; an image filled up with grey is never returned.
"""

from __future__ import annotations

import io
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image as PilImage
    from PIL.ImageFile import ImageFile

from ..errors import EmptyFile, MediaTooLarge, RedeepfakeError, TruncatedMedia, UnsupportedMedia
from .appended import Appended, appended_to_heif, appended_to_jpeg, nclx_coding
from .color import composite_on_white, tone_mapping_notes
from .file_types import describe_unsupported, image_format
from .files import memory_error
from .image_containers import (
    DamagedContainer,
    JpegInfo,
    append_scan_data,
    check_ppm_header,
    exif_orientation,
    inspect_tiff,
    is_srgb_like,
    sanitize_gif,
    sanitize_jpeg,
    sanitize_png,
    webp_size,
)
from .notes import Note, NoteKind
from .tone_mapping import to_sdr
from .video_containers import has_index

MAX_PIXELS = 64_000_000
# A JPEG of up to so many times the limit is decoded at a reduced size.
_REDUCIBLE, _REDUCIBLE_PROGRESSIVE = 4, 2
_STRIP_PIXELS = 4_000_000
# A progressive JPEG has about ten scans. Each costs a pass over all pixels but may take next to no bytes.
_MAX_SCANS = 100
_MAX_SCANNED = 1_000_000_000
# Pixel values written as text are slow to parse, and large images are not stored like that.
_MAX_TEXT_BYTES = 16 * 2**20
_AGAIN = "Get the file again from where it came from."
_CONVERT = "Open it in another program and save it as PNG."


class _RejectTruncated:
    """Context manager in which Pillow raises an error for truncated images.

    Pillow fills up truncated images silently if ``PIL.ImageFile.LOAD_TRUNCATED_IMAGES`` is set, and importing
    face_recognition sets it for the whole process. If set, it is switched off as long as any thread decodes
    and restored afterwards.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._active = 0
        self._was_set = False

    def __enter__(self) -> None:
        from PIL import ImageFile

        with self._lock:
            self._active += 1
            if ImageFile.LOAD_TRUNCATED_IMAGES:
                self._was_set = True
                ImageFile.LOAD_TRUNCATED_IMAGES = False

    def __exit__(self, *_: object) -> None:
        from PIL import ImageFile

        with self._lock:
            self._active -= 1
            if self._was_set and not self._active:
                self._was_set = False
                ImageFile.LOAD_TRUNCATED_IMAGES = True


REJECT_TRUNCATED = _RejectTruncated()


@dataclass
class DecodeState:
    """An image that is being decoded, with the notes collected so far."""

    data: bytes
    name: object
    format: str
    max_pixels: int
    orientation: int = 1
    progressive: bool = False
    scale: int = 1
    coding: tuple[int, int] | None = None
    notes: list[Note] = field(default_factory=list)

    def note(self, text: str, kind: NoteKind = "information") -> None:
        note = Note(text, kind)
        if note not in self.notes:
            self.notes.append(note)

    def check_size(self, width: int, height: int) -> None:
        """Check the size in the header before anything is decoded.

        Raises
        ------
        MediaTooLarge
            The image has more than ``max_pixels`` pixels.
        TruncatedMedia
            Width or height is 0.
        """
        if width < 1 or height < 1:
            raise self.damaged(f"its header claims {width} x {height} pixels")
        if width * height > self.max_pixels:
            raise self.too_large(width, height)

    def too_large(self, width: int, height: int) -> MediaTooLarge:
        return MediaTooLarge(
            f"the picture has {width} x {height} pixels, {width * height / 1e6:.0f} million; "
            f"the limit is {self.max_pixels / 1e6:g} million",
            subject=self.name,
            next_step="Make it smaller first, or raise max_pixels (--max-pixels) if you trust it.",
        )

    def read_exif(self, exif: bytes | None) -> None:
        if not exif:
            return
        try:
            self.orientation = exif_orientation(exif)
        except DamagedContainer as error:
            self.note(f"EXIF data ignored ({error}); the picture may lie on its side", "doubt")

    def read_profile(self, profile: bytes | None) -> None:
        if profile and not is_srgb_like(profile):
            self.note("embedded colour profile ignored; colours may be slightly off")

    def count(self, pictures: int | None, kind: str = "pictures", *, damaged: bool = False) -> None:
        if damaged:
            self.note(f"1 of several {kind} looked at, some of the others are damaged", "unseen")
        elif pictures is None:
            self.note(f"1 of very many {kind} looked at", "unseen")
        elif pictures > 1:
            how = "; analyze_video() looks at more" if kind == "frames" else ""
            self.note(f"1 of {pictures} {kind} looked at{how}", "unseen")

    def note_appended(self, appended: Appended) -> None:
        """Note what a photo holds besides its main picture."""
        self.count(1 + appended.kinds.count("picture"))
        for kind in ("gain map", "depth map", "preview"):
            if kind in appended.kinds:
                self.note(f"a {kind} in the file was not used")
        if appended.video is not None:
            self.note("the video appended to the picture was not looked at; analyze_video() does", "unseen")

    def damaged(self, why: str) -> TruncatedMedia:
        return TruncatedMedia(
            f"it begins like {self.format} but is damaged or truncated ({why})",
            subject=self.name,
            next_step=_AGAIN,
        )

    def unsupported(self, why: str) -> UnsupportedMedia:
        return UnsupportedMedia(
            f"this variant of {self.format} is not supported ({why})", subject=self.name, next_step=_CONVERT
        )


def decode_image(
    data: bytes | bytearray | memoryview, *, name: object = None, max_pixels: int = MAX_PIXELS
) -> tuple[np.ndarray, str, tuple[Note, ...]]:
    """Decode one still image.

    Parameters
    ----------
    data
        Content of the file.
    name
        Name in error messages.
    max_pixels
        Largest width x height, checked against the header before decoding.

    Returns
    -------
    image : (H, W, 3) uint8 RGB, C-contiguous
        Upright according to EXIF. Grey images have three equal channels.
    format : str
        ``"JPEG"``, ``"PNG"``, ``"GIF"``, ``"WEBP"``, ``"TIFF"``, ``"BMP"``, ``"PPM"`` (also PGM and PBM),
        ``"HEIF"`` or ``"AVIF"``.
    notes : tuple of Note
        What was ignored, assumed, repaired or not looked at; empty for an ordinary image.

    Raises
    ------
    EmptyFile
        There are no bytes.
    UnsupportedMedia
        The format, or this variant of it, is not supported.
    TruncatedMedia
        The file is damaged, or part of the image is missing.
    MediaTooLarge
        The image exceeds ``max_pixels`` or the memory of this machine.

    Notes
    ----- JPEG has no checksums. Missing data at the end, and damage that makes the decoder run out of data,
    are detected (in 24 of 80 trials with 40 bytes zeroed at random positions). Damage that leaves enough data
    shows as a wrong patch in the image and cannot be distinguished from content.
    """
    data = bytes(data)
    if not data:
        raise EmptyFile("it is empty (0 bytes)", subject=name, next_step=_AGAIN)
    kind = image_format(data)
    if kind is None:
        what, step = describe_unsupported(data)
        raise UnsupportedMedia(
            f"this is {what} ({len(data)} bytes), which is not a supported picture",
            subject=name,
            next_step=step,
        )
    state = DecodeState(data, name, kind, max_pixels)
    try:
        return _decode(state), kind, tuple(state.notes)
    except RedeepfakeError:
        raise
    except MemoryError as error:
        raise memory_error("decode", name) from error
    except NotImplementedError as error:
        raise state.unsupported(_cause(error)) from error
    except Exception as error:
        # Decoders raise nearly any type on damaged data (OSError, SyntaxError, struct.error, IndexError),
        # which says little about the cause; so all become one type with the decoder's own message.
        raise state.damaged(_cause(error)) from error


def _cause(error: BaseException) -> str:
    text = " ".join(str(error).split())[:160].rstrip(".")
    return text or type(error).__name__


def _decode(state: DecodeState) -> np.ndarray:
    from PIL import Image

    try:
        with REJECT_TRUNCATED, _OPENERS[state.format](state) as picture:
            state.check_size(*picture.size)
            picture.load()
            state.check_size(*picture.size)
            pixels = to_rgb(picture, state)
            if state.coding is not None and (notes := tone_mapping_notes(state.coding[1], state.coding[0])):
                state.notes += notes
                pixels = to_sdr(pixels, state.coding[1], state.coding[0])
            suspicious = state.format == "JPEG" and (state.progressive or _ends_in_grey(pixels))
            if suspicious and not _is_complete(state, pixels):
                raise state.damaged("picture data are missing at the end")
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        # Only if max_pixels was raised, or Pillow's own limit was lowered.
        raise MediaTooLarge(
            f"Pillow refuses it ({_cause(error)})",
            subject=state.name,
            next_step="Make it smaller first, or raise PIL.Image.MAX_IMAGE_PIXELS too if you trust it.",
        ) from error
    del picture  # up to 256 MB, which rotating the pixels may need
    return upright(pixels, state.orientation)


# ------------------------------------------------------------------ one opener per format


def _open_jpeg(state: DecodeState) -> ImageFile:

    try:
        jpeg = sanitize_jpeg(state.data)
    except DamagedContainer as error:
        raise state.damaged(str(error)) from error
    state.scale = _jpeg_scale(jpeg, state)
    if jpeg.precision != 8:
        raise state.unsupported(f"{jpeg.precision} bits per sample")
    # Huffman coding takes at least one bit for each 8 x 8 block, so with less data the stated size is false.
    if jpeg.huffman and 8 * jpeg.scan_bytes < (jpeg.width // 8) * (jpeg.height // 8):
        raise state.damaged(f"too little data for {jpeg.width} x {jpeg.height} pixels")
    if jpeg.scans > _MAX_SCANS or jpeg.scans * jpeg.width * jpeg.height > _MAX_SCANNED:
        raise MediaTooLarge(
            f"its {jpeg.width} x {jpeg.height} pixels are coded in {jpeg.scans} passes",
            subject=state.name,
            next_step=_CONVERT,
        )
    state.progressive = jpeg.progressive
    if jpeg.progressive and not jpeg.fully_refined:
        state.note("its last scans are missing: fine detail may be lost", "doubt")
    state.read_exif(jpeg.exif)
    state.read_profile(jpeg.profile)
    state.note_appended(appended_to_jpeg(state.data, jpeg.end))
    state.data = jpeg.data
    return _jpeg_picture(jpeg.data, state)


def _jpeg_scale(jpeg: JpegInfo, state: DecodeState) -> int:
    """Choose by how much a JPEG is reduced while it is decoded: 1, 2, 4 or 8.

    The discrete cosine transform gives smaller pictures directly, so that memory is needed for those only,
    and in a progressive file for all coefficients.

    Raises
    ------
    MediaTooLarge
        The picture is too large even so.
    """
    limit = _REDUCIBLE_PROGRESSIVE if jpeg.progressive else _REDUCIBLE
    pixels = jpeg.width * jpeg.height
    if pixels <= state.max_pixels or pixels > limit * state.max_pixels:
        state.check_size(jpeg.width, jpeg.height)
        return 1
    for scale in (2, 4, 8):
        width, height = -(-jpeg.width // scale), -(-jpeg.height // scale)
        if width * height <= state.max_pixels:
            break
    else:
        raise state.too_large(jpeg.width, jpeg.height)
    state.note(
        f"its {jpeg.width} x {jpeg.height} pixels are over the limit of {state.max_pixels / 1e6:g} million "
        f"(max_pixels); read at {width} x {height}",
        "doubt",
    )
    return scale


def _jpeg_picture(data: bytes, state: DecodeState) -> ImageFile:
    from PIL.JpegImagePlugin import JpegImageFile

    picture = JpegImageFile(io.BytesIO(data))
    if state.scale > 1:
        width, height = picture.size
        # Pillow chooses the smallest scale that gives no less than this.
        picture.draft(None, (width // state.scale, height // state.scale))
    return picture


def _ends_in_grey(pixels: np.ndarray) -> bool:
    """Tell whether the last pixel is the mid-grey with which libjpeg fills missing data."""
    return bool((np.abs(pixels[-1, -1].astype(np.int16) - 128) <= 1).all())


def _is_complete(state: DecodeState, pixels: np.ndarray) -> bool:
    """Tell whether a JPEG that ends in mid-grey, or a progressive one, has all its data.

    libjpeg fills up silently where the data end early. Additional data at the end change nothing in a
    complete image, since the decoder stops after the last block; in a truncated image they change its pixels.
    """
    with _jpeg_picture(append_scan_data(state.data), state) as extended:
        extended.load()
        return bool(np.array_equal(to_rgb(extended, state), pixels))


def _open_png(state: DecodeState) -> ImageFile:
    from PIL.PngImagePlugin import PngImageFile

    try:
        png = sanitize_png(state.data, state.check_size)
    except DamagedContainer as error:
        raise state.damaged(str(error)) from error
    state.notes += png.notes
    state.count(png.frames, "frames")
    state.read_exif(png.exif)
    state.read_profile(png.profile)
    state.coding = png.coding
    return PngImageFile(io.BytesIO(png.data))


def _open_webp(state: DecodeState) -> ImageFile:
    from PIL.WebPImagePlugin import WebPImageFile

    # Pillow's decoder allocates its canvas while opening, so the size is checked beforehand.
    try:
        state.check_size(*webp_size(state.data))
    except DamagedContainer as error:
        raise state.damaged(str(error)) from error
    picture = WebPImageFile(io.BytesIO(state.data))
    state.count(picture.n_frames, "frames")
    state.read_exif(picture.info.get("exif"))
    state.read_profile(picture.info.get("icc_profile"))
    return picture


def _open_gif(state: DecodeState) -> ImageFile:
    from PIL.GifImagePlugin import GifImageFile

    try:
        gif = sanitize_gif(state.data, state.check_size)
    except DamagedContainer as error:
        raise state.damaged(str(error)) from error
    state.count(gif.frames, "frames", damaged=gif.damaged)
    return GifImageFile(io.BytesIO(gif.data))


def _open_tiff(state: DecodeState) -> ImageFile:
    from PIL.TiffImagePlugin import TiffImageFile

    try:
        tiff = inspect_tiff(state.data)
    except DamagedContainer as error:
        raise state.damaged(str(error)) from error
    if tiff.preview:
        raise UnsupportedMedia(
            f"this is {tiff.preview}, which is not a supported picture",
            subject=state.name,
            next_step="Develop it in a photo program and save it as JPEG or PNG.",
        )
    state.count(tiff.pages, "pages", damaged=tiff.damaged)
    picture = TiffImageFile(io.BytesIO(state.data))
    state.check_size(*picture.size)
    state.read_profile(picture.info.get("icc_profile"))
    return picture  # Pillow applies the orientation of a TIFF while loading it.


def _open_bmp(state: DecodeState) -> ImageFile:
    from PIL.BmpImagePlugin import BmpImageFile

    return BmpImageFile(io.BytesIO(state.data))


def _open_ppm(state: DecodeState) -> ImageFile:
    from PIL.PpmImagePlugin import PpmImageFile

    try:
        check_ppm_header(state.data)
    except DamagedContainer as error:
        raise state.damaged(str(error)) from error
    if state.data[1:2] in b"123" and len(state.data) > _MAX_TEXT_BYTES:
        raise MediaTooLarge(
            f"its pixels are written as text of {len(state.data) / 2**20:.0f} MiB",
            subject=state.name,
            next_step=_CONVERT,
        )
    return PpmImageFile(io.BytesIO(state.data))


def _open_heif(state: DecodeState) -> ImageFile:
    try:
        from pillow_heif import HeifImageFile
    except ImportError as error:
        raise UnsupportedMedia(
            "this is a HEIC picture and the package pillow-heif is not installed",
            subject=state.name,
            next_step="Run `pip install pillow-heif`, or save the picture as JPEG.",
        ) from error
    picture = HeifImageFile(io.BytesIO(state.data))  # applies the orientation itself
    state.count(picture.n_frames)
    state.note_appended(appended_to_heif(state.data))
    if has_index(io.BytesIO(state.data)):  # a sequence beside the still picture
        state.note("1 of several frames looked at; analyze_video() looks at more", "unseen")
    if picture.info.get("depth_images"):
        state.note("a depth map in the file was not used")
    state.read_profile(picture.info.get("icc_profile"))
    state.coding = nclx_coding(state.data)
    return picture


def _open_avif(state: DecodeState) -> ImageFile:
    try:
        from PIL.AvifImagePlugin import SUPPORTED, AvifImageFile
    except ImportError:
        SUPPORTED = False  # noqa: N806
    if not SUPPORTED:
        raise UnsupportedMedia(
            "this is an AVIF picture, which the installed Pillow cannot read",
            subject=state.name,
            next_step="Run `pip install -U pillow` (11.3 or later), or save the picture as PNG.",
        )
    picture = AvifImageFile(io.BytesIO(state.data))
    state.count(picture.n_frames, "frames")
    state.read_exif(picture.info.get("exif"))  # Pillow translates AVIF's own orientation to EXIF
    state.read_profile(picture.info.get("icc_profile"))
    state.coding = nclx_coding(state.data)
    return picture


_OPENERS: dict[str, Callable[[DecodeState], ImageFile]] = {
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


# ------------------------------------------------------------------ conversion to RGB


def to_rgb(picture: PilImage, state: DecodeState) -> np.ndarray:
    """Convert a loaded Pillow image of any mode to (H, W, 3) uint8 RGB."""
    mode = picture.mode
    if mode.startswith("I") or mode == "F":
        grey = _reduce_grey(np.asarray(picture), mode, state)
        return np.repeat(grey[..., None], 3, axis=2)
    if mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in picture.info:
        return _composite(picture, state)
    if mode not in ("RGB", "1", "L", "P", "CMYK", "YCbCr", "HSV", "RGBX"):
        raise state.unsupported(f"colour mode {mode}")
    return _convert_to_rgb(picture)


def _strips(picture: PilImage, mode: str) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield rows and their pixels in ``mode``, (rows, W, bands) uint8, from top to bottom.

    Exporting a Pillow image takes twice the memory of its pixels, so a large one is exported in strips.
    """
    width, height = picture.size
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        part = slice(top, min(top + rows, height))
        strip = picture if rows >= height else picture.crop((0, part.start, width, part.stop))
        yield part, np.asarray(strip if strip.mode == mode else strip.convert(mode))


def _convert_to_rgb(picture: PilImage) -> np.ndarray:
    out = np.empty((picture.height, picture.width, 3), np.uint8)
    for part, rgb in _strips(picture, "RGB"):
        out[part] = rgb
    return out


def _composite(picture: PilImage, state: DecodeState) -> np.ndarray:
    out = np.empty((picture.height, picture.width, 3), np.uint8)
    for part, rgba in _strips(picture, "RGBA"):
        if rgba[..., 3].min() < 255:
            state.note("transparent parts are shown on white")
        out[part] = composite_on_white(rgba)
    return out


def _reduce_grey(values: np.ndarray, mode: str, state: DecodeState) -> np.ndarray:
    """Reduce (H, W) grey of 16 or 32 bits to uint8, by a fixed rule that does not depend on the content."""
    if mode.startswith("I;16"):
        state.note("16-bit grey reduced to 8 bits")
        return (values >> 8).astype(np.uint8)
    if not np.isfinite(values).all():
        raise state.unsupported("it holds values that are not finite")
    low, high = float(values.min()), float(values.max())
    if low < 0 or high > 65535:
        raise state.unsupported(f"32-bit grey from {low:g} to {high:g}, whose white is unknown")
    if mode == "F":
        white = 1.0 if high <= 1 else 255.0 if high <= 255 else 65535.0
        state.note(f"floating-point grey read with {white:g} as white", "doubt")
        return np.rint(values * (255 / white)).astype(np.uint8)
    state.note("deep grey reduced to 8 bits")
    return (values >> 8).astype(np.uint8)


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Apply the EXIF orientation 1 to 8 (TIFF 6.0, tag 274); the result is C-contiguous."""
    if orientation in (3, 4, 6, 7):
        pixels = pixels[::-1]
    if orientation in (2, 3, 7, 8):
        pixels = pixels[:, ::-1]
    if orientation >= 5:
        pixels = pixels.transpose(1, 0, 2)
    return np.ascontiguousarray(pixels)
