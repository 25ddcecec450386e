"""Read labelled face crops from three on-disk layouts into one table, and split them without leakage.

The table is a pandas DataFrame with the columns ``file, label, original, identity, split``; ``label`` is
``REAL`` or ``FAKE``; ``original`` names the real video that a fake was made from (for a real face, its own);
``original``, ``identity`` and ``split`` may be missing. Pictures are read one by one, from a folder or
directly from a zip file.
"""

from __future__ import annotations

import io
import os
import re
import threading
import warnings
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ..errors import EmptyFile, InputError, RedeepfakeError, UnsupportedMedia, displayable
from ..media.image_decoding import decode_image
from ..models.tested_kinds import KINDS
from ..utils.text_tables import read_table_text
from .originals import with_own_originals

COLUMNS = ("file", "label", "original", "identity", "split")
LABELS = ("REAL", "FAKE")
# Where a face is in its picture, in pixels; pictures without these columns are face crops.
BOX = ("left", "top", "right", "bottom")
_UNREADABLE_STEP = "Check the folder or zip file of the pictures, or remove this row from the table."
PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"}


@dataclass(frozen=True, eq=False)
class LabelledFaces:
    """A table of labelled faces, and the folder or zip file that holds their pictures.

    Parameters
    ----------
    table
        One row per face, with at least the columns :data:`COLUMNS`. Not to be changed in place, since columns
        are looked up once; see :meth:`with_table`.
    root
        Folder that ``file`` is relative to, or a zip file.
    prefix
        Folder inside ``root`` that the pictures lie in; ``""``, or ends with ``/``.
    collections
        Of several collections (:func:`redeepfake_nb.datasets.join_faces`): each by its name, which the column
        ``collection`` gives for every row, and whose ``root`` and ``prefix`` are then used instead. ``root``
        is the first one's.
    """

    table: pd.DataFrame
    root: Path
    prefix: str = ""
    collections: Mapping[str, LabelledFaces] = field(default_factory=dict)
    _zips: threading.local = field(default_factory=threading.local, repr=False)

    def __len__(self) -> int:
        return len(self.table)

    def __reduce__(self) -> tuple[Any, ...]:
        # Open zip files stay in their process.
        return LabelledFaces, (self.table, self.root, self.prefix, self.collections)

    @property
    def y(self) -> np.ndarray:
        """Labels, (N,) int64: 1 is fake, 0 real."""
        return (self.table["label"] == "FAKE").to_numpy().astype(np.int64)

    def part(self, split: str) -> LabelledFaces:
        """Select the rows of one split (``train``, ``val`` or ``test``)."""
        return self.take(np.flatnonzero((self.table["split"] == split).to_numpy()))

    def take(self, rows: Iterable[int]) -> LabelledFaces:
        """Select rows by position."""
        return self.with_table(self.table.iloc[list(rows)].reset_index(drop=True))

    def with_table(self, table: pd.DataFrame) -> LabelledFaces:
        """Return these faces with other rows or columns; pictures are found as before."""
        return LabelledFaces(table, self.root, self.prefix, self.collections)

    @property
    def places(self) -> list[tuple[Path, str]]:
        """Where the pictures lie, as (``root``, ``prefix``) of each collection."""
        return [(part.root, part.prefix) for part in self.collections.values()] or [(self.root, self.prefix)]

    def read(self, row: int) -> bytes:
        """Read the undecoded file of one row.

        Raises
        ------
        InputError
            The file does not exist or cannot be read. ``subject`` is its name in the table, without the
            folder.
        """
        listed = self.files[row]
        if self.collections:
            return self.collections[self.collection_names[row]]._read(listed)
        return self._read(listed)

    # Of every row at once: to look a face up in the table took longer than to decode it.

    @cached_property
    def files(self) -> list[str]:
        """File name of each face as listed."""
        return [str(name) for name in self.table["file"]]

    @cached_property
    def collection_names(self) -> list[str]:
        """Name of each face's collection, where several were joined."""
        return self.table["collection"].tolist()

    @cached_property
    def boxes(self) -> np.ndarray:
        """Box of each face in its picture, (N, 4) float64 left, top, right, bottom; NaN: it fills it."""
        if not set(BOX) <= set(self.table.columns):
            return np.full((len(self), 4), np.nan)
        boxes = self.table[list(BOX)].apply(pd.to_numeric, errors="coerce").to_numpy(np.float64)
        boxes = np.where(np.isnan(boxes).any(1, keepdims=True), np.nan, boxes)
        boxes.flags.writeable = False
        return boxes

    def _read(self, listed: str) -> bytes:
        try:
            if self.root.is_dir():
                return (self.root / (self.prefix + listed)).read_bytes()
            return self._archive().read(self.prefix + listed)
        except (FileNotFoundError, KeyError) as error:
            raise InputError(
                f"the picture is not in {displayable(self.root.name)}",
                subject=listed,
                next_step=_UNREADABLE_STEP,
            ) from error
        except (
            OSError,
            ValueError,
            RuntimeError,
            NotImplementedError,
            zipfile.BadZipFile,
            zlib.error,
        ) as error:
            # Without the path that Python adds: lists of unreadable files get shared, folder names are
            # private.
            cause = getattr(error, "strerror", None) or str(error)
            raise InputError(
                f"the picture cannot be read ({cause})", subject=listed, next_step=_UNREADABLE_STEP
            ) from error

    def _archive(self) -> zipfile.ZipFile:
        # The read position of a zip file is shared state, so each thread opens its own.
        if not hasattr(self._zips, "archive"):
            self._zips.archive = zipfile.ZipFile(self.root)
        return self._zips.archive

    def image(self, row: int) -> np.ndarray:
        """Read and decode one face, (H, W, 3) uint8 RGB, cut out along its box where the table has one.

        Raises
        ------
        InputError
            The picture does not exist, or cannot be read or decoded, or the box is outside of it; ``subject``
            is its ``file``.
        """
        data = self.read(row)
        listed, box = self.files[row], self.boxes[row]
        try:
            picture = decode_image(data)[0]
        except RedeepfakeError as error:
            raise type(error)(error.cause, subject=listed, next_step=error.next_step) from error
        if np.isnan(box[0]):
            return picture
        height, width = picture.shape[:2]
        left, top, right, bottom = (round(float(side)) for side in box)
        # Detectors place boxes partly outside of a picture where a face is cut off.
        face = picture[max(top, 0) : max(bottom, 0), max(left, 0) : max(right, 0)]
        if not face.size:
            box = f"({left}, {top}, {right}, {bottom})"
            raise InputError(
                f"its box {box} holds no pixel of the {width} x {height} picture",
                subject=listed,
                next_step="Correct the columns left, top, right, bottom, in pixels from the top left corner.",
            )
        return np.ascontiguousarray(face)

    def unreadable(self) -> pd.DataFrame:
        """Decode every picture and list those that cannot be read.

        Returns
        -------
        pandas.DataFrame
            Columns ``file, error, cause``; the index holds row positions in :attr:`table`.
        """
        return self._failures(range(len(self)), self.image)

    def absent(self) -> pd.DataFrame:
        """List missing and empty pictures, in the form of :meth:`unreadable`, without decoding any."""
        if self.collections:
            found = []
            for name, part in self.collections.items():
                rows = np.flatnonzero((self.table["collection"] == name).to_numpy())
                listed = part.with_table(self.table.iloc[rows].reset_index(drop=True)).absent()
                listed.index = pd.Index(rows[listed.index.to_numpy(np.int64)])
                found.append(listed)
            return pd.concat(found)
        if self.root.is_dir():
            return self._failures(range(len(self)), self._check_exists)
        sizes = {item.filename: item.file_size for item in self._archive().infolist()}
        names = self.prefix + self.table["file"].astype(str)
        suspects = [i for i, name in enumerate(names) if not sizes.get(name)]
        return self._failures(suspects, self.image)

    def without(self, listed: pd.DataFrame) -> LabelledFaces:
        """Drop the rows that a list from :meth:`unreadable` or :meth:`absent` names."""
        if listed.empty:
            return self
        return self.take(np.setdiff1d(np.arange(len(self)), listed.index.to_numpy()))

    def _check_exists(self, row: int) -> None:
        path = self.root / (self.prefix + str(self.table["file"].iloc[row]))
        try:
            if path.stat().st_size:
                return
        except OSError:
            pass
        self.image(row)

    def _failures(self, rows: Iterable[int], check: Callable[[int], object]) -> pd.DataFrame:
        found = {}
        for i in rows:
            try:
                check(i)
            except RedeepfakeError as error:
                found[i] = (self.table["file"].iloc[i], type(error).__name__, error.cause)
        return pd.DataFrame(found.values(), index=list(found), columns=["file", "error", "cause"])


def read_faces(path: str | os.PathLike, pictures: str | os.PathLike | None = None) -> LabelledFaces:
    """Read labelled faces in any of the layouts below.

    Parameters
    ----------
    path
        * a folder with ``metadata.csv`` and ``faces_224/`` (Kaggle ``dagnelies/deepfake-faces``),
        * a folder tree with folders called ``real`` and ``fake`` (or ``df``, ``original`` and the like)
          anywhere below,
        * face crops of FaceForensics++, Celeb-DF, DFDC (with its ``metadata.json``) or Kaggle's "140k Real
          and Fake Faces" in the folders of these sets, or
        * a CSV file, whatever its separator, with the columns ``file, label`` and, where known,
          ``original, identity, split``, the face's box ``left, top, right, bottom`` in pixels of the upright
          picture, and ``kind``, ``generator`` and ``source``, by which evaluation then reports too.
    pictures
        For a CSV: the folder or zip file of the pictures. Default: the zip file of the same name beside it if
        there is one, else the CSV's folder.

    Warns
    -----
    UserWarning
        Pictures are left out, since their folders do not say what they are.

    Raises
    ------
    InputError
        ``path`` does not exist, is in none of these layouts, or lists no face.
    """
    path = Path(path)
    if path.is_dir():
        if (path / "metadata.csv").is_file():
            return _from_kaggle(path)
        return _from_tree(path)
    if path.suffix.lower() in (".csv", ".tsv") and path.is_file():
        return _from_csv(path, None if pictures is None else Path(pictures))
    raise UnsupportedMedia(
        "this is neither a folder nor a CSV file of labelled faces",
        subject=path,
        next_step="Name a folder with real/ and fake/, a Kaggle deepfake-faces folder, or a CSV.",
    )


def label_table(columns: dict, subject: Path, what: str = "face") -> pd.DataFrame:
    """Make the table of a labelled set, with at least the columns :data:`COLUMNS`, and check its values.

    Parameters
    ----------
    columns
        Name -> values, with ``file`` and ``label``.
    subject
        What was read, for errors.
    what
        ``"face"`` or ``"video"``: what a row is.

    Raises
    ------
    InputError
        There is no row, or a label, kind or box is not valid.
    """
    table = pd.DataFrame(columns)
    if table.empty:
        step = "Check the path." + (" Labelled videos are read by read_videos()." if what == "face" else "")
        raise EmptyFile(f"no {what} is listed in it", subject=subject, next_step=step)
    for name in COLUMNS:
        if name not in table:
            table[name] = None
    table["label"] = table["label"].astype(str).str.upper()
    unknown = sorted(set(table["label"]) - set(LABELS))
    if unknown:
        raise UnsupportedMedia(
            f"labels must be REAL or FAKE, not {', '.join(unknown[:5])}",
            subject=subject,
            next_step="Rename the labels in the CSV.",
        )
    table = _with_checked_boxes(table, subject)
    if "kind" in table and (strange := sorted(set(table["kind"].dropna().astype(str)) - set(KINDS))):
        raise UnsupportedMedia(
            f"kinds of fakes must be {', '.join(KINDS)}, not {', '.join(strange[:5])}",
            subject=subject,
            next_step="Rename the kinds in the CSV, or leave them empty.",
        )
    rest = [c for c in table.columns if c not in COLUMNS]
    return table[[*COLUMNS, *rest]].reset_index(drop=True)


def _with_checked_boxes(table: pd.DataFrame, subject: Path) -> pd.DataFrame:
    """Check that boxes are complete, finite numbers; a row without any of the four has no box."""
    present = [name for name in BOX if name in table]
    if not present:
        return table
    wrong = len(present) < len(BOX)
    if not wrong:
        boxes = table[present].apply(pd.to_numeric, errors="coerce").astype(np.float64)
        given = table[present].notna().sum(axis=1)
        numbers = np.isfinite(boxes).sum(axis=1)
        wrong = bool((given != numbers).any() or (~numbers.isin([0, len(BOX)])).any())
    if wrong:
        raise UnsupportedMedia(
            "the face boxes are not complete: each row needs four numbers, or none",
            subject=subject,
            next_step=f"Fill the columns {', '.join(BOX)}, in pixels of the upright picture, or delete them.",
        )
    return table.assign(**{name: boxes[name] for name in BOX})


# What columns are called elsewhere, where that leaves no doubt.
_FILE_NAMES = [
    *("file", "filename", "file_name", "filepath", "file_path", "path"),
    *("image", "image_path", "img", "img_path", "picture"),
]
_LABEL_NAMES = ["label_str", "label", "class", "category"]
_KNOWN_COLUMNS = {
    *(*COLUMNS, *BOX, "kind", "generator", "source", "collection", "videoname"),
    *("original_width", "original_height", "native_width"),
}


def _read_table(path: Path, needed: Sequence[str]) -> pd.DataFrame:
    """Read a table of text with any usual separator, its known columns in lower case and under one name."""
    text, separator = read_table_text(path, {*needed, *_FILE_NAMES, *_LABEL_NAMES})
    columns = pd.read_csv(io.StringIO(text), sep=separator, skipinitialspace=True, nrows=0).columns
    # As text, since 0012 is the name of a picture and no number.
    texts = {*_FILE_NAMES, *_LABEL_NAMES, "videoname", "original"}
    dtype: dict[Any, Any] = {name: str for name in columns if str(name).strip().lower() in texts}
    raw = pd.read_csv(io.StringIO(text), sep=separator, skipinitialspace=True, dtype=dtype)
    raw.columns = [_known(str(name)) for name in raw.columns]
    for name, others in (("file", _FILE_NAMES), ("label", _LABEL_NAMES)):
        found = [other for other in others if other in raw]
        if name in needed and found and (name not in raw or found[0] != name):
            raw = raw.drop(columns=[name], errors="ignore").rename(columns={found[0]: name})
    for name in needed:
        if name in raw:
            raw[name] = raw[name].map(lambda value: value.strip() if isinstance(value, str) else value)
    return raw


def _known(name: str) -> str:
    plain = name.strip().lower()
    return plain if plain in {*_KNOWN_COLUMNS, *_FILE_NAMES, *_LABEL_NAMES} else name.strip()


def read_label_csv(path: Path, *needed: str) -> pd.DataFrame:
    """Read a table of labels and check that it has the columns ``needed``; only ``original`` may have gaps.

    Columns may be separated by commas, semicolons, tabs or bars; the text may be UTF-8, UTF-16 or Windows'
    own. Capitals and spaces in the names of columns do not matter.

    Raises
    ------
    UnsupportedMedia
        It cannot be read, or lacks a column or values.
    """
    try:
        raw = _read_table(path, needed)
    except (OSError, ValueError) as error:  # pandas' own errors are ValueErrors
        raise UnsupportedMedia(
            f"it cannot be read as a CSV file ({error})".replace("\n", " "),
            subject=path,
            next_step="Save it as comma-separated text in UTF-8.",
        ) from error
    missing = sorted(set(needed) - set(raw.columns))
    if missing:
        raise UnsupportedMedia(
            f"the columns {', '.join(missing)} are missing; "
            f"it has {displayable(', '.join(map(str, raw.columns)), 200)}",
            subject=path,
            next_step=f"This CSV needs the columns {', '.join(needed)}.",
        )
    for name in needed:
        if name != "original" and raw[name].isna().any():
            raise UnsupportedMedia(
                f"{int(raw[name].isna().sum())} rows have no {name}",
                subject=path,
                next_step="Fill or delete these rows.",
            )
    return raw


def _from_csv(path: Path, pictures: Path | None) -> LabelledFaces:
    from .face_layouts import is_junk

    raw = read_label_csv(path, "file", "label")
    raw = raw[~raw["file"].astype(str).map(is_junk)].reset_index(drop=True)
    if raw.empty:
        raise EmptyFile("no face is listed in it", subject=path, next_step="Check the path.")
    if pictures is None:
        beside = path.with_suffix(".zip")
        pictures = beside if beside.is_file() else path.parent
    raw["file"], prefix = _located(pictures, raw["file"].astype(str))
    table = with_own_originals(label_table(dict(raw.items()), path))
    return LabelledFaces(table, pictures, prefix)


def _located(pictures: Path, names: pd.Series) -> tuple[pd.Series, str]:
    """Return the names as they are in the folder or zip file, and the folder inside that all are in.

    Names written on Windows, or as absolute paths on another machine, lose what does not exist here.
    """
    from .face_layouts import is_junk

    members: list[str] = []
    if not pictures.is_dir():
        try:
            with zipfile.ZipFile(pictures) as archive:
                members = sorted(member for member in archive.namelist() if not is_junk(member))
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(
                f"the pictures cannot be read ({error})",
                subject=pictures,
                next_step="Name the folder or zip file that holds them.",
            ) from error

    ends = {member.split("/", i)[-1] for member in members for i in range(member.count("/") + 1)}

    def exists(name: str) -> bool:
        return os.path.isfile(pictures / name) if pictures.is_dir() else name in ends

    first = names.iloc[0]
    if not exists(first) or names.str.contains(r"^[A-Za-z]:|\\").any():
        shorter: dict[str, int] = {}
        names = names.map(lambda name: _without_foreign_parts(name, exists, shorter))
        first = names.iloc[0]
    if pictures.is_dir():
        inside = not (pictures / first).exists() and (pictures / "faces_224").is_dir()
        return names, "faces_224/" if inside else ""
    for member in members:
        if member == first or member.endswith("/" + first):
            return names, member[: -len(first)]
    raise InputError(
        f"no picture called {displayable(first)} is in it",
        subject=pictures,
        next_step="Name the right zip file.",
    )


def _without_foreign_parts(name: str, exists: Callable[[str], bool], shorter: dict[str, int]) -> str:
    """Write a path with slashes, without a drive and without the leading folders that do not exist here."""
    if exists(name):
        return name
    plain = re.sub(r"^[A-Za-z]:", "", name.replace("\\", "/"))
    foreign = plain != name or plain.startswith("/")
    parts = [part for part in plain.split("/") if part not in ("", ".")]
    folder = "/".join(parts[:-1])
    if folder not in shorter:
        tries = range(len(parts)) if foreign else range(1)
        shorter[folder] = next((i for i in tries if exists("/".join(parts[i:]))), -1)
    cut = shorter[folder]
    if cut >= 0:
        return "/".join(parts[cut:])
    del shorter[folder]  # this picture may be missing alone
    return "/".join(parts) if foreign else name


def _from_kaggle(folder: Path) -> LabelledFaces:
    raw = read_label_csv(folder / "metadata.csv", "videoname", "label", "original")
    stem = raw["videoname"].astype(str).str.rsplit(".", n=1).str[0]
    real = raw["label"].astype(str).str.upper() == "REAL"
    columns = {
        "file": stem + ".jpg",
        "label": raw["label"],
        "original": raw["original"].where(~real, raw["videoname"]),
        "original_width": raw.get("original_width"),
        "original_height": raw.get("original_height"),
    }
    return LabelledFaces(label_table(columns, folder), folder, "faces_224/")


def _from_tree(folder: Path) -> LabelledFaces:
    from .face_layouts import find_labelled_faces

    found = find_labelled_faces(folder)
    if found.unlabelled:
        names = [f"{displayable(name, 60)} ({count})" for name, count in sorted(found.unlabelled.items())]
        folders = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        if not found.rows:
            raise UnsupportedMedia(
                f"its folders do not say which pictures are real or fake: {folders}",
                subject=folder,
                next_step="Call them real or fake, or list their pictures in a CSV: columns file and label.",
            )
        message = "pictures were left out, since their folders do not say what they are"
        warnings.warn(f"{displayable(folder.name)}: {message}: {folders}", stacklevel=3)
    columns: dict[str, Any] = {"file": [], "label": []}
    if found.rows:
        columns = dict(pd.DataFrame(found.rows, dtype=object).items())
    return LabelledFaces(label_table(columns, folder), folder)


# Names of folders that say the same where no folder is called real or fake.
_REAL_FOLDERS = {"reals", "original", "originals", "authentic", "genuine", "pristine", "0_real", "real_faces"}
_FAKE_FOLDERS = {"fakes", "df", "deepfake", "deepfakes", "manipulated", "forged", "1_fake", "fake_faces"}
_FOLDER_LABELS = {**dict.fromkeys(_REAL_FOLDERS, "REAL"), **dict.fromkeys(_FAKE_FOLDERS, "FAKE")}


def label_of_folder(file: Path) -> str | None:
    """Return the label that the folders of a file's relative path give it: ``REAL``, ``FAKE`` or ``None``."""
    # The folder nearest to the file decides where both occur in a path.
    parts = [part.strip().lower() for part in reversed(file.parts[:-1])]
    label = next((part.upper() for part in parts if part in ("real", "fake")), None)
    return label or next((_FOLDER_LABELS[part] for part in parts if part in _FOLDER_LABELS), None)


def split(
    faces: LabelledFaces,
    by: str = "identity",
    *,
    shares: dict[str, float] | None = None,
    seed: int = 0,
) -> LabelledFaces:
    """Assign every face to a split, keeping groups together.

    Parameters
    ----------
    by
        ``"identity"`` keeps each person in one split, ``"original"`` each source video with everything made
        from it. ``"random"`` ignores groups; it exists to reproduce published results, and warns: people and
        backgrounds leak between splits, and metrics come out too good.
    shares
        Split name -> share of groups. Default ``{"train": 0.8, "val": 0.1, "test": 0.1}``.
    seed
        Of the assignment.

    Raises
    ------
    ValueError
        ``shares`` do not add up to 1, or the grouping column has missing values.
    """
    shares = shares or {"train": 0.8, "val": 0.1, "test": 0.1}
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise ValueError(f"shares must add up to 1, not {sum(shares.values()):.3f}")
    table = faces.table.copy()
    if by == "random":
        warnings.warn(
            "A random split puts the same people and videos into several splits; metrics come out too good.",
            stacklevel=2,
        )
        groups = pd.Series(np.arange(len(table)))
    elif table[by].isna().any():
        raise ValueError(f"{int(table[by].isna().sum())} faces have no {by}; group by another column")
    else:
        groups = table[by]
    names = np.array(sorted(groups.unique(), key=str), dtype=object)
    np.random.default_rng(seed).shuffle(names)
    edges = np.cumsum(_group_counts(list(shares.values()), len(names)))
    split_of = {}
    for split_name, members in zip(shares, np.split(names, edges[:-1]), strict=True):
        split_of.update(dict.fromkeys(members, split_name))
    table["split"] = [split_of[g] for g in groups]
    return faces.with_table(table)


def _group_counts(shares: Sequence[float], count: int) -> np.ndarray:
    """Return how many of ``count`` groups each share gets: at least one, where there are enough."""
    counts = np.diff(np.round(np.cumsum([0.0, *shares]) * count).astype(int))
    positive = np.array(shares) > 0
    if positive.sum() <= count:
        for i in np.flatnonzero(positive & (counts == 0)):
            counts[i] += 1
            counts[np.argmax(counts)] -= 1
    return counts


def batches(count: int, size: int) -> Iterator[slice]:
    """Yield slices that cover ``range(count)`` in batches of ``size``."""
    for start in range(0, count, size):
        yield slice(start, min(start + size, count))
