"""Which real face or video each fake was made from, and pairs of the two."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from .labelled_faces import LabelledFaces


def with_own_originals(table: pd.DataFrame) -> pd.DataFrame:
    """Name each real video or face as its own original, unless the table names another.

    Fakes may name it by path, file name or stem, also with another suffix (``a.mp4`` for the face ``a.jpg``).
    A table that names no original is left as it is.
    """
    if table["original"].isna().all():
        return table
    real = table["label"] == "REAL"
    named = table["original"].where(~real | table["original"].notna(), table["file"])
    own = dict(zip(table.loc[real, "file"].astype(str), named[real].astype(str), strict=True))
    by_name = {name: name for name in own.values()}
    for file, name in own.items():
        by_name.setdefault(file, name)
    for part in ("name", "stem"):
        short = {file: getattr(PurePosixPath(file), part) for file in own}
        count = Counter(short.values())
        for file, name in own.items():
            # A short name that several real files have names none of them.
            if count[short[file]] == 1:
                by_name.setdefault(short[file], name)

    def original(name: str) -> str:
        return by_name.get(name) or by_name.get(PurePosixPath(name).stem, name)

    found = [original(str(name)) if there else None for name, there in zip(named, named.notna(), strict=True)]
    return table.assign(original=pd.Series(found, table.index, dtype=object))


def originals_of(faces: LabelledFaces) -> list[list[int]]:
    """Return, for each row, the rows of the real faces of the video that it was made from.

    Empty where the table does not name the video, or has no real face of it; a video may have many, one for
    each frame.
    """
    known = faces.table["original"].notna().to_numpy()
    original = faces.table["original"].to_numpy(dtype=object)
    rows: dict[object, list[int]] = {}
    for i in np.flatnonzero((faces.y == 0) & known).tolist():
        rows.setdefault(original[i], []).append(i)
    return [rows.get(original[i], []) if known[i] else [] for i in range(len(faces))]


def pair_up(faces: LabelledFaces, *, fakes: bool = True) -> np.ndarray:
    """Pair each fake with its own original, or with a spare real face where the table lacks the original.

    Where a video has several real faces, its fakes take them in turn. Without ``fakes`` each real face is
    paired with itself; a pseudo-fake can then be made from the first of the two.

    Returns
    -------
    numpy.ndarray
        (P, 2) int64 row positions: fake, real.

    Raises
    ------
    ValueError
        There are no real faces.
    """
    if not fakes:
        real_rows = np.flatnonzero(faces.y == 0)
        if not len(real_rows):
            raise ValueError("there are no real faces to make pseudo-fakes from")
        return np.stack([real_rows, real_rows], axis=1).astype(np.int64)
    y, originals = faces.y, originals_of(faces)
    pairs: list[tuple[int, int]] = []
    used, orphans = set(), []
    turn: Counter[int] = Counter()  # by the first real face of a video
    for i in np.flatnonzero(y == 1).tolist():
        own = originals[i]
        if not own:
            orphans.append(i)
            continue
        j = own[turn[own[0]] % len(own)]
        turn[own[0]] += 1
        pairs.append((i, j))
        used.add(j)
    reals = np.flatnonzero(y == 0).tolist()
    spare = [i for i in reals if i not in used] or reals
    if orphans and not spare:
        raise ValueError("there are no real faces to pair the fakes with")
    pairs += [(i, spare[k % len(spare)]) for k, i in enumerate(orphans)]
    return np.array(pairs, np.int64).reshape(-1, 2)
