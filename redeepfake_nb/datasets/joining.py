"""Join several collections of labelled faces or videos, and read them from several paths."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from .labelled_faces import LabelledFaces, read_faces


def join_faces(collections: Mapping[str, LabelledFaces]) -> LabelledFaces:
    """Join several collections of labelled faces into one.

    Parameters
    ----------
    collections
        Each collection by a name of its own.

    Returns
    -------
    LabelledFaces
        All rows, in order. ``collection`` names each row's collection; ``source`` is filled with that name
        where a collection does not say more. ``original`` and ``identity`` get the name in front, since
        collections count their videos and people independently. Where any collection names people, faces
        whose person is not known count as one person if they have the same ``original``, and each as a
        person of its own without one.

    Raises
    ------
    ValueError
        No collection, or one that is itself joined.
    """
    if any(part.collections for part in collections.values()):
        raise ValueError("a joined collection cannot be joined again; join all of them at once")
    joined = joined_table({name: part.table for name, part in collections.items()})
    first = next(iter(collections.values()))
    return LabelledFaces(joined, first.root, first.prefix, dict(collections))


def joined_table(tables: Mapping[str, pd.DataFrame]) -> pd.DataFrame:
    """Join the tables of several collections as :func:`join_faces` describes it.

    Raises
    ------
    ValueError
        No table.
    """
    if not tables:
        raise ValueError("there is no collection to join")
    named = []
    for name, part in tables.items():
        table = part.copy()
        table["collection"] = name
        table["source"] = name if "source" not in table else table["source"].fillna(name)
        for column in ("original", "identity"):
            known = table[column].notna()
            table[column] = (f"{name}/" + table[column].astype(str)).where(known, None)
        named.append(table)
    joined = pd.concat(named, ignore_index=True)
    if joined["identity"].notna().any():
        # Frames of one video in two splits would leak its person and its scene.
        alone = joined["collection"] + "/" + joined["file"].astype(str)
        unknown = joined["original"].where(joined["original"].notna(), alone)
        joined["identity"] = joined["identity"].where(joined["identity"].notna(), unknown)
    return joined


def read_collections(
    paths: Sequence[str | os.PathLike], pictures: str | os.PathLike | None = None
) -> LabelledFaces:
    """Read one or several collections; several are joined under the names of their files or folders.

    Parameters
    ----------
    paths
        Each as :func:`read_faces` takes it.
    pictures
        For a single CSV: the folder or zip file of its pictures.

    Raises
    ------
    InputError
        One cannot be read.
    ValueError
        No path, two of the same name, or ``pictures`` for more than one.
    """
    if len(paths) == 1:
        return read_faces(paths[0], pictures)
    if pictures is not None:
        raise ValueError("pictures can only be named for a single CSV file; put the others beside theirs")
    return join_faces({name: read_faces(path) for name, path in by_name(paths).items()})


def by_name(paths: Sequence[str | os.PathLike]) -> dict[str, str | os.PathLike]:
    """Map the names of files or folders, without suffixes, to their paths.

    Raises
    ------
    ValueError
        Two have the same name.
    """
    names = [Path(path).stem for path in paths]
    if len(set(names)) < len(names):
        raise ValueError(f"collections need different names, not {', '.join(names)}")
    return dict(zip(names, paths, strict=True))
