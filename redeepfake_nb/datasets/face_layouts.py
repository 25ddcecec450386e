"""Labels of face crops by where they lie: in the folders of the field's sets, or in real/ and fake/.

Tools that cut faces out of the videos of FaceForensics++, Celeb-DF and DFDC keep the sets' folders and put
either a folder of pictures or pictures with a number in the place of each video. "140k Real and Fake Faces"
(Kaggle, ``xhlulu/140k-real-and-fake-faces``) holds portraits of Flickr-Faces-HQ and of StyleGAN.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from .labelled_faces import PICTURE_SUFFIXES, label_of_folder
from .video_layouts import DFDC_LISTS, Row, label_by_celeb, label_by_faceforensics, read_dfdc, read_splits

_CELEB_FOLDERS = {"celeb-real", "youtube-real", "celeb-synthesis"}
_CELEB_NAME = re.compile(r"id\d+_id\d+_\d+|id\d+_\d+")
_YOUTUBE_CELEB_NAME = re.compile(r"\d+")
_ACTORS_NAME = re.compile(r"\d+_\d+__.+?__[A-Za-z0-9]{8}|\d+__[^.]*?(?=_\d+$|$)")
_YOUTUBE_NAME = {"manipulated_sequences": re.compile(r"\d+_\d+"), "original_sequences": re.compile(r"\d+")}
_FRAME_NUMBER = re.compile(r"[_-](frame|face|f)?[_-]?\d+$")
_140K = {"real-vs-fake", "real_vs_fake"}
_SPLITS = {"train": "train", "valid": "val", "val": "val", "test": "test"}
# Left behind by operating systems and archivers.
_JUNK_FILES = {"thumbs.db", "desktop.ini", ".ds_store"}
_JUNK_FOLDER = "__macosx"


class FaceLayout(NamedTuple):
    """The labelled faces of a folder, one mapping of columns each, and folder -> number without a label."""

    rows: list[Row]
    unlabelled: Counter[str]


def is_junk(name: str) -> bool:
    """Tell whether a relative path names a file that an operating system or archiver has left behind."""
    parts = name.lower().replace("\\", "/").split("/")
    return parts[-1].startswith("._") or parts[-1] in _JUNK_FILES or _JUNK_FOLDER in parts


def find_labelled_faces(folder: Path) -> FaceLayout:
    """Label every picture below a folder by its path and by the lists of DFDC that lie beside the pictures.

    Hidden files and folders are left out.

    Raises
    ------
    UnsupportedMedia
        A list cannot be read.
    """
    pictures, lists = _walk(folder)
    videos: dict[str, Row] = {}
    for path in lists:
        if path.name in DFDC_LISTS:
            videos |= read_dfdc(folder, path)
    splits = read_splits(folder, lists)
    rows, unlabelled = [], Counter[str]()
    for path in pictures:
        row = _dfdc(path, videos) or _faceforensics(path, splits) or _celeb(path) or _by_folder(path)
        if row is None:
            unlabelled[path.parent.as_posix()] += 1
        else:
            rows.append({**row, "file": path.as_posix()})
    return FaceLayout(rows, unlabelled)


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the paths below ``folder``, relative to it and sorted, of pictures and of lists of labels."""
    pictures, lists = [], []
    for parent, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith(".") and name.lower() != _JUNK_FOLDER)
        for name in files:
            path = Path(parent, name).relative_to(folder)
            if path.suffix.lower() in PICTURE_SUFFIXES and not name.startswith("."):
                pictures.append(path)
            elif path.suffix == ".json":
                lists.append(path)
    return sorted(pictures), sorted(lists)


def _by_folder(path: Path) -> Row | None:
    label = label_of_folder(path)
    if label is None:
        return None
    parts = {part.lower() for part in path.parts[:-1]}
    if not parts & _140K:
        return {"label": label}
    split = next((_SPLITS[part] for part in _SPLITS if part in parts), None)
    if label == "REAL":
        return {"label": label, "split": split, "source": "Flickr-Faces-HQ"}
    return {
        "label": label,
        "split": split,
        "kind": "generated",
        "generator": "StyleGAN",
        "source": "StyleGAN",
    }


def _names(path: Path, after: int) -> Iterator[str]:
    """Yield what may name a face's video: the folders behind position ``after``, the picture's own name."""
    yield from path.parts[after:-1]
    yield path.stem


def _faceforensics(path: Path, splits: Mapping[str, str]) -> Row | None:
    parts = path.parts
    top = next((i for i, part in enumerate(parts) if part.lower() in _YOUTUBE_NAME), None)
    if top is None or len(parts) < top + 3:
        return None
    actors = parts[top + 1].lower() in ("deepfakedetection", "actors")
    pattern = _ACTORS_NAME if actors else _YOUTUBE_NAME[parts[top].lower()]
    compression = [part for part in parts[top + 2 : -1] if re.fullmatch(r"c\d+|raw", part)][:1]
    inside = [*compression, "videos"] if compression else []
    for name in _names(path, top + 2):
        if match := pattern.match(name):
            video = Path(*parts[top : top + 2], *inside, f"{match[0]}.mp4")
            return label_by_faceforensics(video, splits)
    return None


def _celeb(path: Path) -> Row | None:
    parts = path.parts
    top = next((i for i, part in enumerate(parts[:-1]) if part.lower() in _CELEB_FOLDERS), None)
    if top is None:
        return None
    pattern = _YOUTUBE_CELEB_NAME if parts[top].lower() == "youtube-real" else _CELEB_NAME
    for name in _names(path, top + 1):
        if match := pattern.match(name):
            return label_by_celeb(Path(parts[top], f"{match[0]}.mp4"))
    return None


def _dfdc(path: Path, videos: Mapping[str, Row]) -> Row | None:
    if not videos:
        return None
    for above in path.parents:
        for name in _without_numbers(_names(path, len(above.parts))):
            row = videos.get((above / f"{name}.mp4").as_posix())
            if row is not None:
                return row
    return None


def _without_numbers(names: Iterable[str]) -> Iterator[str]:
    """Yield each name, and what remains of it as the numbers at its end are taken off one by one."""
    for name in names:
        yield name
        while match := _FRAME_NUMBER.search(name):
            name = name[: match.start()]
            yield name
