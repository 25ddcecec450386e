"""Open labelled faces for a notebook: the data that were named, the mounted Kaggle set, or a practice set.

Also the two steps that training takes before it starts: a split that keeps people apart, and a face that was
kept aside.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from ..errors import InputError
from .identities import identify
from .labelled_faces import LabelledFaces, read_faces, split
from .synthetic import PRACTICE_PREFIX, make_practice_set

# Where Kaggle mounts the data set `dagnelies/deepfake-faces`.
KAGGLE_SET = Path("/kaggle/input/deepfake-faces")
# Fewer people than this cannot be spread over train, val and test.
_FEWEST_PEOPLE = 3


def open_faces(
    data: str | os.PathLike = "",
    pictures: str | os.PathLike = "",
    *,
    part: str = "",
    practice: int = 60,
    folder: str | os.PathLike = "sample-faces",
    seed: int = 0,
) -> LabelledFaces:
    """Read labelled faces, or make a practice set where no data are named and none are mounted.

    Parameters
    ----------
    data
        Folder or CSV file, as for :func:`read_faces`. Empty: the Kaggle set at :data:`KAGGLE_SET` if it is
        mounted, else a practice set of one portrait, on which metrics mean nothing.
    pictures
        For a CSV file: folder or zip file of its pictures. Empty: beside it.
    part
        Split to take, such as ``"val"``. Empty: all faces.
    practice, folder, seed
        Number of pairs of the practice set, the folder it is written to, and its seed.

    Raises
    ------
    InputError
        The data cannot be read.
    OutputError
        The practice set cannot be written.
    """
    source = Path(data) if data else KAGGLE_SET
    if data or source.is_dir():
        faces = read_faces(source, pictures or None)
    else:
        faces = make_practice_set(folder, practice, seed)
    return faces.part(part) if part else faces


def is_practice_set(faces: LabelledFaces) -> bool:
    """Whether these faces are a practice set, all of one person."""
    original = faces.table["original"]
    return bool(len(original)) and bool(original.astype(str).str.startswith(PRACTICE_PREFIX).all())


def describe_faces(faces: LabelledFaces) -> str:
    """Say in a few words how many faces there are, how many of them are fake, and where they come from."""
    source = "one portrait (practice set)" if is_practice_set(faces) else faces.root.name
    return f"{len(faces):,} faces, {faces.y.mean():.0%} fake, from {source}"


def split_by_person(faces: LabelledFaces, *, identify_people: bool = True, seed: int = 0) -> LabelledFaces:
    """Assign faces to train, val and test so that, as far as is known, no person is in two of them.

    A split that the table has already is kept. Otherwise people are told apart by their faces
    (:func:`identify`) where the table does not name them, and whole people are assigned. Source videos are
    kept together instead where people stay unknown: in a practice set, where everybody is the same person,
    without ``identify_people``, and where fewer than three people are found.

    Returns
    -------
    LabelledFaces
        With ``split`` filled, and ``identity`` where people were told apart.

    Raises
    ------
    ValueError
        Neither people nor source videos are known of every face, or some faces have a split and others none.
    """
    without = int(faces.table["split"].isna().sum())
    if not without:
        return faces
    if without < len(faces):
        raise ValueError(
            f"{len(faces) - without} faces have a split and {without} have none; fill the column split for "
            "all of them, or leave it out"
        )
    if identify_people and not is_practice_set(faces):
        faces = identify(faces)
    people = faces.table["identity"]
    by = "identity" if people.notna().all() and people.nunique() >= _FEWEST_PEOPLE else "original"
    if faces.table[by].isna().any():
        raise ValueError(
            "the faces cannot be split without a leak, since neither people nor source videos are known of "
            "all; fill the column identity or original, or split"
        )
    return split(faces, by, seed=seed)


def held_out_fake(faces: LabelledFaces) -> np.ndarray:
    """Read the first fake face of the split ``test``, or of ``val`` where there is no test split.

    Returns
    -------
    numpy.ndarray
        (H, W, 3) uint8 RGB.

    Raises
    ------
    InputError
        Neither split has a fake face.
    """
    for name in ("test", "val"):
        rows = np.flatnonzero(((faces.table["split"] == name) & (faces.table["label"] == "FAKE")).to_numpy())
        if len(rows):
            return faces.image(int(rows[0]))
    raise InputError(
        "no fake face is in the split test or val",
        subject=faces.root,
        next_step="Split the faces with split_by_person, or use a larger set.",
    )
