"""Reports -> files: JSON, CSV and pictures in a folder of their own.

File names and model names come from strangers. They stay text wherever they are written: in folder names, in
cells of a spreadsheet, and in JSON that somebody embeds in a web page. A folder appears whole or not at all.
"""

from __future__ import annotations

import contextlib
import csv
import errno
import hashlib
import io
import json
import math
import os
import re
import shutil
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np

from .analysis import ImageReport
from .errors import OutputError

_MAX_NAME = 80
# What save() writes, and so all that a folder may hold which save(overwrite=True) replaces.
_OURS = re.compile(r"report\.json|faces\.csv|picture_with_boxes\.png|face_\d{2,}(_overlay)?\.png")
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d|conin\$|conout\$)(\..*)?", re.IGNORECASE)
# The full-width signs count as well: some spreadsheets read them as the plain ones.
_FORMULA_STARTS = tuple("=+-@\t\r\n＝＋－＠")  # noqa: RUF001
_SUMMARY_COLUMNS = (
    "file", "folder", "verdict", "threshold", "faces", "highest_probability", "reasons",
    "model", "model_sha256", "source_sha256", "error",
)  # fmt: skip
_CAUSES = {
    errno.ENOSPC: ("the disk is full", "Free some space or choose another folder."),
    errno.EDQUOT: ("the disk quota is used up", "Free some space or choose another folder."),
    errno.EACCES: ("writing there is not allowed", "Choose a folder that you may write to."),
    errno.EPERM: ("writing there is not allowed", "Choose a folder that you may write to."),
    errno.EROFS: ("the file system is read-only", "Choose a folder that you may write to."),
    errno.EEXIST: ("there is a file of that name", "Choose a folder, or a name that is not taken."),
    errno.ENOTDIR: ("a part of the path is a file", "Choose a folder."),
    errno.ENAMETOOLONG: ("the path is too long", "Choose a folder with a shorter path."),
}


def to_json(report: ImageReport) -> str:
    """A report as JSON.

    Pure ASCII, with ``<``, ``>`` and ``&`` written as escapes, so that the text may stand inside a
    ``<script>`` element as well. Values that JSON lacks (NaN, infinity) become ``null``.
    """
    text = json.dumps(_plain(report.to_dict()), indent=2, allow_nan=False)
    # Outside of strings JSON has none of these three.
    for sign in "<>&":
        text = text.replace(sign, f"\\u{ord(sign):04x}")
    return text + "\n"


def to_csv(reports: ImageReport | Sequence[ImageReport]) -> str:
    """One line per face, with the columns of ``ImageReport.to_frame()``.

    Text is quoted and cannot become a formula (:func:`escape_cell`); numbers stay numbers; a value that is
    not known is an empty cell. A report without faces has no line.

    Raises
    ------
    ValueError
        No report at all.
    """
    reports = [reports] if isinstance(reports, ImageReport) else list(reports)
    if not reports:
        raise ValueError("to_csv needs at least one report")
    tables = [report.to_frame() for report in reports]
    rows = [row for table in tables for row in table.to_dict("records")]
    return _csv(tables[0].columns, rows)


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


def save(report: ImageReport, folder: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Write a report into a new folder inside ``folder``.

    The new folder is called after the picture and holds

    * ``report.json``: everything but the pixels (:func:`to_json`),
    * ``faces.csv``: one line per face (:func:`to_csv`),
    * ``picture_with_boxes.png``,
    * ``face_01.png``, ...: each face's crop with the model's margin, in the photo's own pixels, and
    * ``face_01_overlay.png``, ...: where there are explanations, crop, overlay and heatmap with the peak.

    The PNG files hold no metadata: neither the photo's nor this machine's.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_image`.
    folder
        Made if it does not exist.
    overwrite
        Replace an earlier report of the same name. Otherwise the name gets ``-2``, ``-3``, ...

    Returns
    -------
    pathlib.Path
        The new folder. It appears when all is written; after an error nothing is left of it.

    Raises
    ------
    OutputError
        It cannot be written, or the folder to replace holds something that :func:`save` did not write.
    """
    folder = Path(folder)
    name = safe_name(report.name)
    with _writing(folder) as workshop:
        made = workshop / name
        made.mkdir()
        for file, content in _files(report):
            (made / file).write_bytes(content)
        if overwrite:
            return _replace(made, folder / name, workshop)
        return _move(made, folder, name)


def save_all(
    reports: Iterable[ImageReport], folder: str | os.PathLike, *, overwrite: bool = False
) -> list[Path]:
    """Write several reports and a ``summary.csv`` with one line for each.

    Parameters
    ----------
    reports
        In the order of the summary.
    folder, overwrite
        As for :func:`save`; an earlier summary is kept beside the new one in the same way.

    Returns
    -------
    list of pathlib.Path
        The folders that were written. A report that could not be written is missing here; its line in the
        summary says why.

    Raises
    ------
    OutputError
        The summary cannot be written.
    """
    folder = Path(folder)
    saved: list[Path] = []
    rows = []
    for report in reports:
        row = _summary(report)
        try:
            saved.append(save(report, folder, overwrite=overwrite))
            row["folder"] = saved[-1].name
        except OutputError as error:
            row["error"] = str(error)
        rows.append(row)
    with _writing(folder) as workshop:
        made = workshop / "summary.csv"
        made.write_text(_csv(_SUMMARY_COLUMNS, rows), encoding="utf-8", newline="")
        if overwrite:
            made.replace(folder / made.name)
        else:
            _move(made, folder, made.name)
    return saved


def _files(report: ImageReport) -> Iterator[tuple[str, bytes]]:
    """Name and content of all that belongs to a report."""
    # Here, so that JSON and CSV can be had without matplotlib.
    from . import view

    yield "report.json", to_json(report).encode("ascii")
    yield "faces.csv", to_csv(report).encode("utf-8")
    yield "picture_with_boxes.png", view.to_png(view.plot_faces, report)
    for i, prediction in enumerate(report.predictions):
        margin = prediction.face.margin
        margin = report.card.preprocessing.margin if margin is None else margin
        yield f"face_{i + 1:02d}.png", _png(prediction.face.crop(margin))
        if report.explanations:
            yield f"face_{i + 1:02d}_overlay.png", view.to_png(view.plot_explanation, report.explanations[i])


def _png(pixels: np.ndarray) -> bytes:
    """(H, W, 3) uint8 RGB, lossless, without metadata."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[Path]:
    """A temporary folder beside the target, gone afterwards whatever happens; system errors become ours."""
    workshop = None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        workshop = Path(tempfile.mkdtemp(prefix=".saving-", dir=folder))
        yield workshop
    except OSError as error:
        raise output_error(error, folder) from error
    except ValueError as error:
        if workshop is not None:
            raise
        # A path with a zero byte.
        raise OutputError("that is no path", subject=folder, next_step="Choose another folder.") from error
    finally:
        if workshop is not None:
            shutil.rmtree(workshop, ignore_errors=True)


def output_error(error: OSError, subject: object) -> OutputError:
    """A system's error in words, with what to do."""
    cause, next_step = _CAUSES.get(
        error.errno, (f"it cannot be written: {error.strerror or error}", "Choose another folder.")
    )
    return OutputError(cause, subject=subject, next_step=next_step)


def _move(made: Path, folder: Path, name: str) -> Path:
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


def _replace(made: Path, target: Path, workshop: Path) -> Path:
    """Put a folder in another's place. The old one is set aside first and comes back if that fails."""
    if not os.path.lexists(target):
        made.rename(target)
        return target
    ours = (
        target.is_dir() and not target.is_symlink() and all(_OURS.fullmatch(p.name) for p in target.iterdir())
    )
    if not ours:
        raise OutputError(
            "it exists and holds something other than an earlier report",
            subject=target,
            next_step="Move it away, or save without overwrite.",
        )
    old = workshop / "replaced"
    target.rename(old)
    try:
        made.rename(target)
    except BaseException:
        old.rename(target)
        raise
    return target


def _summary(report: ImageReport) -> dict[str, Any]:
    source = report.frame.source
    return {
        "file": report.name,
        "verdict": report.verdict.label,
        "threshold": report.threshold,
        "faces": len(report.predictions),
        "highest_probability": max((p.probability for p in report.predictions), default=None),
        "reasons": "; ".join(report.verdict.reasons),
        "model": f"{report.card.name} {report.card.version}",
        "model_sha256": report.card.sha256,
        "source_sha256": source.sha256 if source else None,
    }


def _csv(columns: Iterable[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Written to a string first: a full disk then leaves no half of a file."""
    columns = list(columns)
    buffer = io.StringIO(newline="")
    # Quotes around all text, because a spreadsheet may part cells at semicolons.
    writer = csv.writer(buffer, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_cell(row.get(column)) for column in columns] for row in rows)
    return buffer.getvalue()


def _cell(value: Any) -> Any:
    value = _plain(value)
    if value is None:
        return ""
    return escape_cell(value) if isinstance(value, str) else value


def _plain(value: Any) -> Any:
    """The value in the types that JSON has."""
    if value is None or isinstance(value, (bool, np.bool_)):
        return None if value is None else bool(value)
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real):
        return float(value) if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_plain(item) for item in value]
    return _text(value)


def _text(value: Any) -> str:
    """As text, without the halves of characters that undecodable file names contain."""
    return str(value).encode("utf-8", "backslashreplace").decode("utf-8")
