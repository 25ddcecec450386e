"""Writing files and folders whole or not at all, and strangers' names as nothing but text.

File names and model names come from strangers. They stay text wherever they are written: in folder names, in
cells of a spreadsheet, and in JSON that somebody embeds in a web page.
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

_MAX_NAME = 80
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\..*)?", re.IGNORECASE)
# The full-width signs count as well: some spreadsheets read them as the plain ones.
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
    """Values as JSON: pure ASCII, with ``<``, ``>`` and ``&`` written as escapes.

    So the text may stand inside a ``<script>`` element as well. Values that JSON lacks (NaN, infinity) become
    ``null``.
    """
    text = json.dumps(plain(values), indent=2, allow_nan=False)
    # Outside of strings JSON has none of these three.
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"


def escape_cell(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    Cells that begin with ``=``, ``+``, ``-``, ``@``, tab or a line break, after blanks or without, get a
    leading apostrophe, as OWASP's page "CSV Injection" advises.
    """
    starts = text.startswith(_FORMULA_STARTS) or text.lstrip().startswith(_FORMULA_STARTS)
    return f"'{text}" if starts else text


def safe_name(name: str) -> str:
    """A folder name for a file name from a stranger.

    ASCII letters, digits, ``.``, ``_`` and ``-`` only, beginning with a letter, a digit or ``_``, at most 80
    characters, no name that Windows reserves. A name that already is like this stays as it is; any other gets
    eight digits of its SHA-256, so that different names stay different. Safe names do not change again.
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
    """A temporary folder beside the target, gone afterwards whatever happens; system errors become ours."""
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
        # A path with a zero byte.
        raise OutputError("that is no path", subject=folder, next_step="Choose another folder.") from error
    finally:
        if staging is not None:
            shutil.rmtree(staging, ignore_errors=True)


@contextlib.contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """A temporary file beside ``path``, of the same ending, that takes its place when all is written.

    After an error nothing is left of it, and what stood at ``path`` before still stands there.

    Raises
    ------
    OutputError
        The system cannot write it.
    """
    part = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=".writing-", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        part = Path(name)
        yield part
        os.chmod(part, 0o644)  # mkstemp's files are for their owner only
        os.replace(part, path)
    except OSError as error:
        raise output_error(error, path) from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)


def output_error(error: OSError, subject: object) -> OutputError:
    """A system's error in words, with what to do."""
    cause, next_step = _CAUSES.get(
        error.errno, (f"it cannot be written: {error.strerror or error}", "Choose another folder.")
    )
    return OutputError(cause, subject=subject, next_step=next_step)


def move_to_free_name(made: Path, folder: Path, name: str) -> Path:
    """To ``name``, ``name-2``, ... whichever is free."""
    stem, suffix = (name, "") if made.is_dir() else (Path(name).stem, Path(name).suffix)
    number = 1
    while True:
        target = folder / (name if number == 1 else f"{stem}-{number}{suffix}")
        number += 1
        # A broken link counts as taken too.
        if os.path.lexists(target):
            continue
        try:
            made.rename(target)
        except OSError as error:
            # Somebody else was quicker.
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                continue
            raise
        return target


def replace_folder(made: Path, target: Path, staging: Path, ours: re.Pattern[str]) -> Path:
    """Put a folder in another's place. The old one is set aside first and comes back if that fails.

    Raises
    ------
    OutputError
        The old one holds a name that ``ours`` does not match, or is no folder.
    """
    if not os.path.lexists(target):
        made.rename(target)
        return target
    is_folder = target.is_dir() and not target.is_symlink()
    if not is_folder or not all(ours.fullmatch(path.name) for path in target.iterdir()):
        raise OutputError(
            "it exists and holds something other than an earlier report",
            subject=target,
            next_step="Move it away, or save without overwrite.",
        )
    old = staging / "replaced"
    target.rename(old)
    try:
        made.rename(target)
    except BaseException:
        old.rename(target)
        raise
    return target


def csv_text(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows under these columns; text cannot become a formula, and what is not known is an empty cell."""
    columns = list(columns)
    buffer = io.StringIO(newline="")
    # Quotes around all text, because a spreadsheet may part cells at semicolons.
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    value = plain(value)
    if value is None:
        return ""
    return escape_cell(value) if isinstance(value, str) else value
