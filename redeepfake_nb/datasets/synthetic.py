"""A folder to try scans on, made here: pictures, clips, and what goes wrong with files.

All faces are the portrait of :mod:`redeepfake_nb.datasets.samples`, so what a model says of them says nothing about
other people.
"""

from __future__ import annotations

import io
import os
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from ..errors import OutputError
from ..media.frames import read_image
from ..utils.writing import csv_text, writing_into
from .sample_clip import encode, pictures
from .samples import sample_image, sample_manipulated

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
