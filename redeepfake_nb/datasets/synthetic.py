"""Generated data sets for trying things out: a folder of mixed media files, and a labelled practice set.

Both are made from the portrait of :mod:`redeepfake_nb.datasets.samples`, so every face in them is the same
person, and metrics measured on them say nothing about other people.
"""

from __future__ import annotations

import csv
import io
import os
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from ..errors import OutputError
from ..media.frames import read_image
from ..utils.writing import atomic_file, csv_text, staging_folder
from .augmentation import Augmentation, apply, draw
from .labelled_faces import LabelledFaces, read_faces
from .samples import (
    clip_frames,
    encode_clip,
    portrait_face,
    sample_edited,
    sample_image,
    sample_manipulated,
)
from .self_blending import self_blend

# What files number 3, 6, ... of every twenty are. All others are pictures with a face.
_KINDS = {3: "clip", 6: "copy", 9: "damaged", 12: "no face", 15: "damaged clip", 18: "empty"}
# Shortest and longest clip, in frames.
_CLIP_FRAMES = (8, 20)

# Side of the practice set's pictures in pixels, as in the Kaggle set.
PRACTICE_SIZE = 224
# How names of source videos begin in a practice set.
PRACTICE_PREFIX = "practice"
# Crop margin: room for the random framing below, which then keeps about the face's box.
_MARGIN = 0.12
_FRAMING = Augmentation(crop=(0.82, 1.0), blur=0.1, rescale=0.0, erase=0.0, jpeg_quality=(60, 95))
# The face is downscaled to this share of its size in the portrait, so that native sizes differ.
_SCALE = (0.5, 1.0)
_STRENGTH = 1.5
# Some blends are hardly visible; a fake must differ by this many grey levels on average where it was blended.
_LEAST_CHANGE = 5.0
_TRIES = 100


def make_sample_folder(folder: str | os.PathLike, count: int = 20, seed: int = 0) -> Path:
    """Write a folder of small pictures and clips, some of them damaged, to try a scan on.

    Of every twenty files one is a clip, one a damaged clip, one a damaged picture, one an empty file, one a
    picture without a face, and one a copy of another file. The others show the portrait, original and
    manipulated in turn, each framed and lit differently. Of the manipulated ones every second is
    self-blended, as :func:`sample_manipulated`, and the others have another mouth, as :func:`sample_edited`.
    No two files are identical except the copies. Existing files of these names are replaced.

    Parameters
    ----------
    folder
        Created if needed.
    count
        Number of files, 1 to 9999.
    seed
        The same seed gives the same files; bytes of clips also depend on the video encoder's version.

    Returns
    -------
    pathlib.Path
        The folder.

    Raises
    ------
    ValueError
        ``count`` is out of range.
    OutputError
        The folder cannot be written.
    RedeepfakeError
        dlib or its model files, which find the face that is manipulated, are not installed.
    """
    if not 1 <= count <= 9999:
        raise ValueError(f"count is a number of files from 1 to 9999, not {count}")
    folder = Path(folder)
    samples = (sample_image(), sample_manipulated(), sample_image(), sample_edited())
    images = [read_image(frame).image for frame in samples]
    frames = list(islice(clip_frames(), _CLIP_FRAMES[1] * 2))
    last_face = b""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for i in range(count):
            rng = np.random.default_rng([seed, i])
            kind = _KINDS.get(i % 20, "face")
            suffix, data = _sample_file(kind, images[i % 4], frames, rng, last_face)
            (folder / f"{i:04d}-{kind.replace(' ', '-')}{suffix}").write_bytes(data)
            if kind == "face":
                last_face = data
    except OSError as error:
        raise OutputError(
            f"the samples cannot be written ({error.strerror or error})",
            subject=folder,
            next_step="Choose a folder you may write to, on a disk with room.",
        ) from error
    return folder


def make_sample_labels(folder: str | os.PathLike, path: str | os.PathLike) -> Path:
    """Write the known labels of a sample folder's faces to a CSV file with the columns ``path, label``.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    rows = [
        {"path": str(file.absolute()), "label": ("real", "fake")[int(file.name[:4]) % 2]}
        for file in sorted(Path(folder).glob("[0-9][0-9][0-9][0-9]-face.jpg"))
    ]
    path = Path(path)
    with staging_folder(path.parent) as staging:
        made = staging / path.name
        made.write_text(csv_text(["path", "label"], rows), encoding="utf-8", newline="")
        made.replace(path)
    return path


def _sample_file(
    kind: str, image: np.ndarray, frames: list[np.ndarray], rng: np.random.Generator, last_face: bytes
) -> tuple[str, bytes]:
    """Return the file name suffix and the content of one sample file."""
    if kind == "empty":
        return ".jpg", b""
    if kind == "copy":
        return ".jpg", last_face
    if kind.endswith("clip"):
        first, length = int(rng.integers(len(frames) // 2)), int(rng.integers(*_CLIP_FRAMES))
        clip = bytearray(encode_clip(frames[first : first + length]))
        if kind != "clip":
            # Far from the index of frames, which is at the end of the file.
            clip[len(clip) // 3 : len(clip) // 3 + 2000] = rng.bytes(2000)
        return ".mp4", bytes(clip)
    if kind == "no face":
        coarse = rng.integers(60, 190, (10, 16, 3)).astype(np.uint8)
        return ".png", _encode(cv2.resize(coarse, (320, 200), interpolation=cv2.INTER_CUBIC), "PNG")
    left, top = int(rng.integers(0, 24)), int(rng.integers(0, 16))
    part = image[top : top + 300, left : left + 480].astype(np.float32)
    lit = np.clip(part * rng.uniform(0.85, 1.1) + rng.uniform(-8, 8), 0, 255).astype(np.uint8)
    data = _encode(lit, "JPEG", quality=int(rng.integers(75, 96)))
    return ".jpg", data if kind == "face" else data[: len(data) // 2]


def make_practice_set(folder: str | os.PathLike, count: int = 60, seed: int = 0) -> LabelledFaces:
    """Write ``count`` real and ``count`` fake faces into a folder and read them back.

    Each fake is self-blended (:func:`self_blend <redeepfake_nb.datasets.self_blending.self_blend>`) and then
    framed, lit and compressed exactly like its original, so that the two differ by the manipulation alone.

    Parameters
    ----------
    folder
        Created if needed. Receives ``faces_224/`` and ``metadata.csv``, which is written last, so that an
        interrupted run leaves no incomplete data set. Existing files of these names are replaced.
    count
        Number of pairs, 1 to 9999.
    seed
        The same seed gives the same files. Another seed gives other pictures of the same person.

    Returns
    -------
    LabelledFaces
        2 * ``count`` rows, as :func:`read_faces <redeepfake_nb.datasets.labelled_faces.read_faces>` returns
        them.
        ``identity`` and ``split`` are missing, as in the Kaggle set; ``split(faces, "original")`` keeps pairs
        together.

    Raises
    ------
    ValueError
        ``count`` is out of range.
    OutputError
        The folder cannot be written.
    RedeepfakeError
        dlib or its model files, which find the face, are not installed.
    """
    if not 1 <= count <= 9999:
        raise ValueError(f"count is a number of pairs from 1 to 9999, not {count}")
    folder = Path(folder)
    face, landmarks = portrait_face()
    portrait, box = face.frame.image, face.crop_box(_MARGIN)
    rows = []
    for i in range(count):
        # One generator per pair, so that a larger set begins with the pictures of a smaller one.
        rng = np.random.default_rng([seed, i])
        real, fake, width = _practice_pair(portrait, landmarks, box, rng)
        original = f"{PRACTICE_PREFIX}{i:04d}r"
        for name, label, image in ((original, "REAL", real), (f"{PRACTICE_PREFIX}{i:04d}f", "FAKE", fake)):
            with atomic_file(folder / "faces_224" / f"{name}.jpg") as part:
                part.write_bytes(_encode(image, "JPEG", quality=95))
            source = f"{original}.mp4" if label == "FAKE" else ""
            rows.append((f"{name}.mp4", width, width, label, source))
    with atomic_file(folder / "metadata.csv") as part:
        part.write_text(_metadata_csv(rows), encoding="utf-8")
    return read_faces(folder)


def _practice_pair(
    portrait: np.ndarray, landmarks: np.ndarray, box: tuple[int, int, int, int], rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, int]:
    """Return a real and a fake face, (224, 224, 3) uint8 RGB, and the native width of both in pixels."""
    for _ in range(_TRIES):
        blended, mask = self_blend(portrait, landmarks, rng, strength=_STRENGTH)
        area = mask > 0.5
        if area.any() and np.abs(blended[area].astype(int) - portrait[area]).mean() >= _LEAST_CHANGE:
            break
    left, top, right, bottom = box
    side = round((right - left) * rng.uniform(*_SCALE))
    change = draw(rng, _FRAMING)

    def framed(image: np.ndarray) -> np.ndarray:
        crop = cv2.resize(image[top:bottom, left:right], (side, side), interpolation=cv2.INTER_AREA)
        return apply(crop, change, PRACTICE_SIZE)

    return framed(portrait), framed(blended), round(change.crop[2] * side)


def _encode(image: np.ndarray, kind: str, **options: int) -> bytes:
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(image).save(out, kind, **options)
    return out.getvalue()


def _metadata_csv(rows: list[tuple[str, int, int, str, str]]) -> str:
    out = io.StringIO(newline="")
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("videoname", "original_width", "original_height", "label", "original"))
    writer.writerows(rows)
    return out.getvalue()
