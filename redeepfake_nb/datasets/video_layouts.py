"""Labels of videos by where they lie, in the folders of FaceForensics++, Celeb-DF, DFDC, or real/ and fake/.

Roessler et al. 2019, "FaceForensics++: Learning to Detect Manipulated Facial Images"; Li et al. 2020,
"Celeb-DF: A Large-scale Challenging Dataset for DeepFake Forensics"; Dolhansky et al. 2020, "The DeepFake
Detection Challenge (DFDC) Dataset". A fake's ``original`` is the real video that its scene comes from.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import UnsupportedMedia, displayable
from ..media.file_types import is_video
from ..models.tested_kinds import FakeKind
from .labelled_faces import PICTURE_SUFFIXES, label_of_folder

# Files with these endings count as videos unread; others do by their first bytes.
VIDEO_SUFFIXES = {
    *(".mp4", ".m4v", ".mov", ".mkv", ".webm", ".avi", ".mts", ".m2ts", ".mpg", ".mpeg", ".flv", ".ogv"),
    *(".wmv", ".3gp", ".ivf", ".y4m", ".h264", ".hevc"),
}
# Never opened to see whether they are videos.
_OTHER_SUFFIXES = {*PICTURE_SUFFIXES, ".txt", ".json", ".csv", ".md", ".npy", ".npz", ".zip", ".py", ".wav"}
# Methods of FaceForensics++, and of Google's set that comes with it, by their folders in lower case.
_METHODS: dict[str, FakeKind] = {
    "deepfakes": "swapped",
    "faceswap": "swapped",
    "faceshifter": "swapped",
    "deepfakedetection": "swapped",
    "face2face": "reenacted",
    "neuraltextures": "reenacted",
}
_ACTORS_FAKE = re.compile(r"(\d+)_\d+__(.+?)(__[^_]+)?")
_CELEB = {"celeb-real": "REAL", "youtube-real": "REAL", "celeb-synthesis": "FAKE"}
_CELEB_FAKE = re.compile(r"(id\d+)_id\d+_(\d+)")
_CELEB_LIST = "List_of_testing_videos.txt"
DFDC_LISTS = ("metadata.json", "dataset.json")
# Larger lists are not read: that of DFDC's largest part has 1 MB.
_MAX_LIST_BYTES = 200_000_000

Row = dict[str, Any]


class Layout(NamedTuple):
    """The labelled videos of a folder, one mapping of columns each, and names of videos without a label."""

    rows: list[Row]
    unlabelled: list[str]


def find_labelled_videos(folder: Path) -> Layout:
    """Label every video below a folder by its path and by the lists that lie beside the videos.

    Videos that such a list names are among the rows whether they exist or not. Hidden files and folders, and
    the masks of FaceForensics++, are left out.

    Raises
    ------
    UnsupportedMedia
        A list beside videos cannot be read.
    """
    videos, lists = _walk(folder)
    rows: dict[str, Row] = {}
    for path in lists:
        if path.name in DFDC_LISTS:
            rows |= read_dfdc(folder, path)
    splits = read_splits(folder, lists)
    flat = _flat_faceforensics(videos)
    unlabelled = []
    for path in videos:
        name = path.as_posix()
        if name in rows:
            continue
        row = label_by_faceforensics(path, splits, flat) or label_by_celeb(path) or _by_folder(path)
        if row is None:
            unlabelled.append(name)
        else:
            rows[name] = {"file": name, **row}
    for path in lists:
        if path.name == _CELEB_LIST:
            _mark_celeb_splits(folder, path, rows)
    return Layout([rows[name] for name in sorted(rows)], unlabelled)


def _walk(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the paths below ``folder``, relative to it and sorted, of videos and of lists of labels."""
    videos, lists = [], []
    for parent, names, files in os.walk(folder):
        names[:] = sorted(name for name in names if not name.startswith("."))
        for name in sorted(files):
            path = Path(parent, name)
            if name.startswith("."):
                continue
            if name in (*DFDC_LISTS, _CELEB_LIST) or (
                path.parent.name == "splits" and path.suffix == ".json"
            ):
                lists.append(path.relative_to(folder))
            elif _is_video(path) and "masks" not in [part.lower() for part in path.relative_to(folder).parts]:
                videos.append(path.relative_to(folder))
    return sorted(videos), sorted(lists)


def _is_video(path: Path) -> bool:
    suffix = path.suffix.lower()
    return suffix in VIDEO_SUFFIXES or (suffix not in _OTHER_SUFFIXES and is_video(path))


def _read_json(path: Path) -> Any:
    try:
        if path.stat().st_size > _MAX_LIST_BYTES:
            raise ValueError(f"it has more than {_MAX_LIST_BYTES // 10**6} MB")
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise UnsupportedMedia(
            f"the list of labels cannot be read ({getattr(error, 'strerror', None) or error})",
            subject=path,
            next_step="Download it again, or list the videos in a CSV file with the columns file and label.",
        ) from error


# -- real/ and fake/


def _by_folder(path: Path) -> Row | None:
    label = label_of_folder(path)
    return None if label is None else {"label": label}


# -- FaceForensics++


def _flat_faceforensics(videos: Iterable[Path]) -> set[Path]:
    """Return the folders in which folders of methods and ``original`` lie side by side."""
    beside: dict[Path, set[str]] = {}
    for path in videos:
        beside.setdefault(path.parent.parent, set()).add(path.parent.name.lower())
    return {folder for folder, names in beside.items() if "original" in names and names & _METHODS.keys()}


def label_by_faceforensics(
    path: Path, splits: Mapping[str, str], flat: set[Path] | frozenset[Path] = frozenset()
) -> Row | None:
    """Label ``original_sequences/youtube/c23/videos/000.mp4``, or ``Deepfakes/000_003.mp4``."""
    parts = path.parts
    top = next((i for i, part in enumerate(parts) if part.lower().endswith("_sequences")), None)
    if top is not None and len(parts) > top + 2:
        fake = {"original_sequences": False, "manipulated_sequences": True}.get(parts[top].lower())
        if fake is None:
            return None
        group, compression = parts[top + 1], parts[top + 2] if len(parts) > top + 3 else ""
    elif path.parent.parent in flat and path.parent.name.lower() in (*_METHODS, "original"):
        group, compression = path.parent.name, ""
        fake = group.lower() != "original"
    else:
        return None
    actors = group.lower() in ("deepfakedetection", "actors")
    original = _faceforensics_original(path.stem, fake=fake, actors=actors)
    return {
        "label": "FAKE" if fake else "REAL",
        "original": original,
        "identity": f"actor {original.partition('__')[0]}" if actors else None,
        "split": splits.get(original),
        "kind": _METHODS.get(group.lower()) if fake else None,
        "generator": group if fake else None,
        # Compression changes the scores as much as where the videos come from.
        "source": f"{'actors' if actors else 'youtube'} {compression}".strip(),
    }


def _faceforensics_original(stem: str, *, fake: bool, actors: bool) -> str:
    """Return the real video's name: ``000`` of the fake ``000_003``, ``01__hug`` of ``01_02__hug__ABC``."""
    if not fake:
        return stem
    if not actors:
        return stem.partition("_")[0]
    match = _ACTORS_FAKE.fullmatch(stem)
    return stem if match is None else f"{match[1]}__{match[2]}"


def read_splits(folder: Path, lists: Iterable[Path]) -> dict[str, str]:
    """Read ``splits/train.json``, ``val.json`` and ``test.json``: real video -> split."""
    found: dict[str, str] = {}
    for path in lists:
        if path.parent.name == "splits" and path.stem in ("train", "val", "test"):
            pairs = _read_json(folder / path)
            for pair in pairs if isinstance(pairs, list) else []:
                found |= {str(name): path.stem for name in (pair if isinstance(pair, list) else [pair])}
    return found


# -- Celeb-DF


def label_by_celeb(path: Path) -> Row | None:
    """Label ``Celeb-real/id0_0000.mp4``, ``YouTube-real/00000.mp4``, ``Celeb-synthesis/id0_id1_0000.mp4``."""
    folder = path.parent.name.lower()
    label = _CELEB.get(folder)
    if label is None:
        return None
    original, youtube = path.stem, folder == "youtube-real"
    if label == "FAKE" and (match := _CELEB_FAKE.fullmatch(path.stem)):
        original = f"{match[1]}_{match[2]}"
    return {
        "label": label,
        "original": f"YouTube {original}" if youtube else original,
        # Nobody knows who the people of YouTube-real are: each counts as somebody else.
        "identity": f"YouTube {original}" if youtube else original.partition("_")[0],
        "kind": "swapped" if label == "FAKE" else None,
        "generator": "Celeb-DF" if label == "FAKE" else None,
        "source": "YouTube" if youtube else "celebrities",
    }


def _mark_celeb_splits(folder: Path, path: Path, rows: dict[str, Row]) -> None:
    """Put the listed videos of Celeb-DF, also absent ones, into the split test, and the rest into train."""
    top = path.parent
    try:
        lines = (folder / path).read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UnsupportedMedia(
            f"the list of testing videos cannot be read ({getattr(error, 'strerror', None) or error})",
            subject=folder / path,
            next_step="Download it again, or delete it to evaluate on all videos.",
        ) from error
    listed = set()
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        _, _, named = line.strip().partition(" ")
        row = label_by_celeb(Path(named.strip()))
        if row is None:
            raise UnsupportedMedia(
                f"line {number} names no video of Celeb-DF: {displayable(line, 60)}",
                subject=folder / path,
                next_step="Correct the line; one reads `1 YouTube-real/00170.mp4`.",
            )
        name = (top / named.strip()).as_posix()
        listed.add(name)
        rows.setdefault(name, {"file": name, **row})
    for name, row in rows.items():
        if Path(name).parent.parent == top and Path(name).parent.name.lower() in _CELEB:
            row["split"] = "test" if name in listed else "train"


# -- DFDC


def read_dfdc(folder: Path, path: Path) -> dict[str, Row]:
    """Read DFDC's ``metadata.json``; other files of that name give no row.

    An entry reads ``"x.mp4": {"label": "FAKE", "split": "train", "original": "y.mp4"}``, in the test sets
    ``{"is_fake": 1}``, and in the preview's ``dataset.json`` ``{"label": "fake", "set": "test"}``.
    """
    entries = _read_json(folder / path)
    if not isinstance(entries, dict):
        return {}
    return {row["file"]: row for row in _dfdc_rows(path.parent, entries)}


def _dfdc_rows(parent: Path, entries: Mapping[str, Any]) -> Iterator[Row]:
    for name, entry in entries.items():
        if not isinstance(entry, dict) or not ("label" in entry or "is_fake" in entry):
            continue
        label = entry.get("label")
        if label is None:
            label = {0: "REAL", 1: "FAKE"}.get(entry["is_fake"], entry["is_fake"])
        label = str(label).upper()
        original = entry.get("original")
        target = entry.get("target_id")
        yield {
            "file": (parent / name).as_posix(),
            "label": label,
            "original": name if label == "REAL" else original if isinstance(original, str) else None,
            "identity": None if target is None else str(target),
            "split": entry.get("split") or entry.get("set"),
        }
