"""Read labelled videos from the layouts of the field's data sets into one table.

The table has the columns of labelled faces (``file, label, original, identity, split``) and, where known,
``kind``, ``generator`` and ``source``. Nothing is decoded here.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd

from ..errors import EmptyFile, UnsupportedMedia
from ..media.file_types import is_video
from .joining import by_name, joined_table
from .labelled_faces import (
    PICTURE_SUFFIXES,
    label_of_folder,
    label_table,
    read_label_csv,
)
from .originals import with_own_originals
from .video_layouts import VIDEO_SUFFIXES, find_labelled_videos

_TABLES = (".csv", ".tsv")
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


@dataclass(frozen=True, eq=False)
class LabelledVideos:
    """A table of labelled videos, and the folder that they lie in.

    Parameters
    ----------
    table
        One row per video, with at least the columns ``file, label, original, identity, split``.
    root
        Folder that ``file`` is relative to.
    unlabelled
        Videos in the folder that nothing gives a label, which are therefore not in the table.
    collections
        Of several collections (:func:`read_video_collections`): the root of each by its name, which the
        column ``collection`` gives for every row. ``root`` is the first one's.
    """

    table: pd.DataFrame
    root: Path
    unlabelled: tuple[str, ...] = ()
    collections: Mapping[str, Path] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.table)

    @property
    def y(self) -> np.ndarray:
        """Labels, (N,) int64: 1 is fake, 0 real."""
        return (self.table["label"] == "FAKE").to_numpy().astype(np.int64)

    @property
    def paths(self) -> list[str]:
        """Absolute path or fsspec address of each row's video; none need exist."""
        roots = (
            self.table["collection"].map(self.collections) if self.collections else [self.root] * len(self)
        )
        files = self.table["file"].astype(str)
        return [
            name if _ADDRESS.match(name) else os.path.abspath(root / name)
            for root, name in zip(roots, files, strict=True)
        ]

    def part(self, split: str) -> LabelledVideos:
        """Select the rows of one split."""
        return self.take(np.flatnonzero((self.table["split"] == split).to_numpy()))

    def take(self, rows: Iterable[int]) -> LabelledVideos:
        """Select rows by position."""
        table = self.table.iloc[list(rows)].reset_index(drop=True)
        return LabelledVideos(table, self.root, self.unlabelled, self.collections)


def read_videos(path: str | os.PathLike, folder: str | os.PathLike | None = None) -> LabelledVideos:
    """Read labelled videos in any of these layouts; of a folder, each part may have another one.

    Parameters
    ----------
    path
        * A CSV file with the columns ``file, label`` (REAL or FAKE) and, where known, ``identity``,
          ``original`` (the real video that a fake was made from), ``split``, ``kind``, ``generator`` and
          ``source``, by which evaluation then reports too. ``file`` may be an fsspec address.
        * FaceForensics++: ``original_sequences/<source>/<compression>/videos`` and
          ``manipulated_sequences/<method>/<compression>/videos``, or one folder for each method beside
          ``original``; with ``splits/*.json`` where it is there.
        * Celeb-DF: ``Celeb-real``, ``YouTube-real`` and ``Celeb-synthesis``; the videos of
          ``List_of_testing_videos.txt`` form the split ``test``.
        * DFDC: folders with ``metadata.json``.
        * Folders called ``real`` and ``fake`` anywhere below.
    folder
        Of a CSV file: the folder that ``file`` is relative to. Default: the CSV file's.

    Raises
    ------
    InputError
        ``path`` does not exist, is in none of these layouts, or has no labelled video.
    """
    path = Path(path)
    if path.is_dir():
        found = find_labelled_videos(path)
        if not found.rows:
            raise EmptyFile(
                "no labelled video is in it"
                + (f" (videos without a label: {len(found.unlabelled)})" if found.unlabelled else ""),
                subject=path,
                next_step="Put the videos into folders real/ and fake/, keep the folders of FaceForensics++, "
                "Celeb-DF or DFDC as they are, or list the videos in a CSV file: columns file and label.",
            )
        rows = pd.DataFrame(found.rows)
        return LabelledVideos(label_table(dict(rows.items()), path, "video"), path, tuple(found.unlabelled))
    if path.suffix.lower() in _TABLES and path.is_file():
        raw = read_label_csv(path, "file", "label")
        table = with_own_originals(label_table(dict(raw.items()), path, "video"))
        return LabelledVideos(table, path.parent if folder is None else Path(folder))
    raise UnsupportedMedia(
        "this is neither a folder nor a CSV file of labelled videos",
        subject=path,
        next_step="Name a folder with real/ and fake/, FaceForensics++, Celeb-DF or DFDC, or a CSV file.",
    )


def read_video_collections(
    paths: Sequence[str | os.PathLike], folder: str | os.PathLike | None = None
) -> LabelledVideos:
    """Read one or several collections of videos; several are joined under their files' or folders' names.

    Parameters
    ----------
    paths
        Each as :func:`read_videos` takes it.
    folder
        For a single CSV file: the folder of its videos.

    Raises
    ------
    InputError
        One cannot be read.
    ValueError
        No path, two of the same name, or ``folder`` for more than one.
    """
    if len(paths) == 1:
        return read_videos(paths[0], folder)
    if folder is not None:
        raise ValueError("a folder of videos can only be named for a single CSV file")
    parts = {name: read_videos(path) for name, path in by_name(paths).items()}
    table = joined_table({name: part.table for name, part in parts.items()})
    roots = {name: part.root for name, part in parts.items()}
    unlabelled = tuple(f"{name}/{video}" for name, part in parts.items() for video in part.unlabelled)
    return LabelledVideos(table, next(iter(roots.values())), unlabelled, roots)


def labelled_media(path: str | os.PathLike) -> set[str]:
    """Tell whether a path names labelled faces or labelled videos, without reading the labels.

    Returns
    -------
    set of str
        ``"faces"``, ``"videos"``, both, or neither. A folder with nothing but videos without labels counts
        as ``"videos"``.

    Raises
    ------
    InputError
        A CSV file or a list of labels cannot be read.
    """
    path = Path(path)
    if path.is_file() and path.suffix.lower() in _TABLES:
        names = read_label_csv(path, "file")["file"].astype(str)
        return {"videos" if _names_video(path.parent, name) else "faces" for name in names}
    if not path.is_dir():
        return set()
    if (path / "metadata.csv").is_file():
        return {"faces"}
    found = {"faces"} if _holds_labelled_picture(path) else set()
    videos = find_labelled_videos(path)
    there = any((path / str(row["file"])).is_file() for row in videos.rows)
    # DFDC's metadata.json names the videos also beside crops of their faces.
    if videos.rows and not there and any(p.suffix.lower() in PICTURE_SUFFIXES for p in path.rglob("*")):
        return {"faces"}
    # Of videos without any label, reading them says what is missing.
    if videos.rows or (videos.unlabelled and not found):
        found.add("videos")
    return found


def _names_video(folder: Path, name: str) -> bool:
    suffix = PurePosixPath(name).suffix.lower()
    return suffix in VIDEO_SUFFIXES or (suffix not in PICTURE_SUFFIXES and is_video(folder / name))


def _holds_labelled_picture(folder: Path) -> bool:
    for parent, _, names in os.walk(folder):
        label = label_of_folder(Path(parent, "x").relative_to(folder))
        if label and any(os.path.splitext(name)[1].lower() in PICTURE_SUFFIXES for name in names):
            return True
    return False
