"""A short clip to try things on, made here: the portrait filmed by a slow camera, manipulated in the middle.

Six seconds of the picture in :mod:`redeepfake_nb.datasets.samples`. In :data:`MANIPULATED` seconds the face is
self-blended, the same way in every frame: softer than its surroundings and a little paler, as after a face
swap by a network of low resolution. It was chosen among blends that the model that ships does see, so that
there is something to look at. It says nothing about how often that model is right: of 150 blends of this
portrait, drawn at the same strength, it scores 19 % at 0.50 or more. What a model makes of the clip,
:func:`redeepfake_nb.analysis.segments.describe_detection` puts in words.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction
from functools import cache

import av
import cv2
import numpy as np

from ..errors import RedeepfakeError
from ..faces.face import find_faces
from ..media.frames import Upload
from .samples import sample_image
from .self_blending import self_blend

CLIP_NAME = "sample-clip.mp4"
SECONDS = 6.0
RATE = 12
SIZE = (480, 300)  # width, height
# From the first to before the second, in seconds.
MANIPULATED = (2.0, 4.0)

# Of the blend: twice the paper's strength, and a draw that anybody sees and might yet believe.
_STRENGTH, _SEED = 2.0, 15
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
    rng = np.random.default_rng(_SEED)
    return self_blend(portrait.image, faces[0].landmarks, rng, strength=_STRENGTH)[0]


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
