"""Write files and folders atomically, and escape untrusted text in file names, CSV cells and JSON.

File names and model names are untrusted. They must stay plain text wherever they are written: in folder
names, in spreadsheet cells, and in JSON that is embedded in a web page.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ..errors import OutputError
from .numeric import plain

# The next step where an output would replace a file that is to be kept.
KEEP_ORIGINAL = "Choose another file; the original is left as it is."
_MAX_NAME = 80
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\..*)?", re.IGNORECASE)
# Some spreadsheets read the full-width signs as the ASCII ones.
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001
_CAUSES = {
    errno.ENOSPC: ("the disk is full", "Free some space or choose another folder."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space or choose another folder."),
    errno.EFBIG: ("a file may not become that large there", "Choose a folder on another disk."),
    errno.EACCES: ("writing there is not allowed", "Choose a folder that you may write to."),
    errno.EPERM: ("writing there is not allowed", "Choose a folder that you may write to."),
    errno.EROFS: ("the file system is read-only", "Choose a folder that you may write to."),
    errno.EEXIST: ("there is a file of that name", "Choose a folder, or a name that is not taken."),
    errno.ENOTDIR: ("a part of the path is a file", "Choose a folder."),
    errno.ENAMETOOLONG: ("the path is too long", "Choose a folder with a shorter path."),
}


def json_text(values: Mapping[str, Any]) -> str:
    """Format values as ASCII JSON that is safe inside a ``<script>`` element.

    ``<``, ``>`` and ``&`` are written as escapes. Numbers that JSON lacks (NaN, infinity) become ``null``.
    """
    text = json.dumps(plain(values), indent=2, allow_nan=False)
    # JSON contains these three in strings only.
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"


def escape_cell(text: str) -> str:
    """Escape text that a spreadsheet would evaluate as a formula.

    Cells that begin with ``=``, ``+``, ``-``, ``@``, tab or a line break, also after leading blanks, get a
    leading apostrophe, as OWASP's page "CSV Injection" advises.
    """
    starts = text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS)
    return f"'{text}" if starts else text


def safe_name(name: str) -> str:
    """Convert an untrusted file name to a portable folder name.

    The result consists of ASCII letters, digits, ``.``, ``_`` and ``-``, begins with a letter, a digit or
    ``_``, has at most 80 characters and is not reserved by Windows. A name that already fulfils this is
    returned unchanged; any other gets eight digits of its SHA-256, so that different names stay different.
    """
    slug = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    slug = re.sub(r"[^A-Za-z0-9._-]+", "_", slug).lstrip(".-").rstrip(".")
    if slug == name and 0 < len(slug) <= _MAX_NAME and not _RESERVED.fullmatch(slug):
        return slug
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    slug = slug[: _MAX_NAME - len(digest) - 2].strip("._-") or "picture"
    return f"{'_' if _RESERVED.fullmatch(slug) else ''}{slug}-{digest}"


@contextlib.contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """Create a temporary folder inside ``folder``, which is always removed afterwards.

    Raises
    ------
    OutputError
        The system raised an error in the block, or ``folder`` is not a valid path.
    """
    staging = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
        yield staging
    except OSError as error:
        raise output_error(error, folder) from error
    except ValueError as error:
        if staging is not None:
            raise
        # The path contains a NUL character.
        raise OutputError(
            "that is not a valid path", subject=folder, next_step="Choose another folder."
        ) from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Create a temporary file with the suffix of ``path``, which replaces ``path`` when the block succeeds.

    After an error the temporary file is removed and the previous file at ``path`` is unchanged.

    Raises
    ------
    OutputError
        The file cannot be written.
    """
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        part = Path(name)
        yield part
        os.chmod(part, 0o644)  # mkstemp gives access to the owner alone
        os.replace(part, path)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def same_file(first: str | os.PathLike, second: str | os.PathLike) -> bool:
    """Return whether two paths lead to the same file, also through links; neither file need exist."""
    try:
        if os.path.exists(first) and os.path.exists(second):
            return os.path.samefile(first, second)
        return os.path.normcase(os.path.realpath(first)) == os.path.normcase(os.path.realpath(second))
    except (OSError, ValueError):
        # No file can have such a path; writing to it says so.
        return False


def check_not_input(out: str | os.PathLike, source: object, what: str) -> None:
    """Check that an output is not a file that it is made from, which it would replace.

    Parameters
    ----------
    out
        Path of the output.
    source
        Path of the input. Anything but a path, such as bytes, is no file that could be replaced.
    what
        The input in words: "the video".

    Raises
    ------
    OutputError
        Both are the same file.
    """
    if isinstance(source, (str, os.PathLike)) and same_file(out, source):
        raise OutputError(f"it is {what} itself", subject=out, next_step=KEEP_ORIGINAL)


def output_error(error: OSError, subject: object) -> OutputError:
    """Convert a system error to an :class:`OutputError` with its cause in words and the next step."""
    fallback = f"it cannot be written: {error.strerror or error}", "Choose another folder."
    cause, next_step = fallback if error.errno is None else _CAUSES.get(error.errno, fallback)
    return OutputError(cause, subject=subject, next_step=next_step)


def move_to_free_name(made: Path, folder: Path, name: str) -> Path:
    """Move a finished file or folder to the first free one of ``name``, ``name-2``, ... in ``folder``."""
    stem, suffix = (name, "") if made.is_dir() else (Path(name).stem, Path(name).suffix)
    number = 1
    while True:
        target = folder / (name if number == 1 else f"{stem}-{number}{suffix}")
        number += 1
        # A broken link occupies its name too.
        if os.path.lexists(target):
            continue
        try:
            made.rename(target)
        except OSError as error:
            # Another process took the name in the meantime.
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                continue
            raise
        return target


def check_replaceable(target: Path, replaceable: re.Pattern[str]) -> None:
    """Check that a folder does not exist, or contains only files that may be overwritten.

    Raises
    ------
    OutputError
        The folder contains a name that ``replaceable`` does not match, or is not a folder.
    """
    if not os.path.lexists(target):
        return
    is_folder = target.is_dir() and not target.is_symlink()
    if not is_folder or not all(replaceable.fullmatch(path.name) for path in target.iterdir()):
        raise OutputError(
            "it exists and holds something other than an earlier report",
            subject=target,
            next_step="Choose another folder, or move it away.",
        )


def replace_folder(made: Path, target: Path, staging: Path, replaceable: re.Pattern[str]) -> Path:
    """Replace the folder ``target`` by ``made``; the old folder is restored if that fails.

    Parameters
    ----------
    made
        The new folder, on the same file system.
    target
        Folder to replace; it need not exist.
    staging
        Temporary folder that the old one is moved to first.
    replaceable
        Matches the names of files that may be overwritten.

    Raises
    ------
    OutputError
        The old folder contains a name that ``replaceable`` does not match, or is not a folder.
    """
    if not os.path.lexists(target):
        made.rename(target)
        return target
    check_replaceable(target, replaceable)
    old = staging / "replaced"
    target.rename(old)
    try:
        made.rename(target)
    except BaseException:
        old.rename(target)
        raise
    return target


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Format rows as CSV: text is quoted and cannot become a formula, missing values are empty cells."""
    columns = list(columns)
    buffer = io.StringIO(newline="")
    # All text is quoted, because some spreadsheets split cells at semicolons.
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    value = plain(value)
    if value is None:
        return ""
    return escape_cell(value) if isinstance(value, str) else value
