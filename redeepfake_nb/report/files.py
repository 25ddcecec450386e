"""Save reports as folders of JSON, CSV and PNG files, written atomically."""

from __future__ import annotations

import contextlib
import io
import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import singledispatch
from pathlib import Path
from typing import Any

import numpy as np

from ..analysis.image import ImageReport
from ..analysis.report import Report, highest_probability
from ..analysis.video_report import VideoReport
from ..errors import OutputError
from ..utils.writing import (
    csv_text,
    json_text,
    move_to_free_name,
    replace_folder,
    safe_name,
    staging_folder,
)

# The files that save() and the video inspector write; overwrite=True replaces no folder with any other file.
_OURS = re.compile(
    r"report\.json|faces\.csv|picture_with_boxes\.png|face_\d{2,}(_overlay)?\.png|"
    r"sightings\.csv|(timeline|persons|strongest_frames)\.png|annotated\.mp4"
)
# What a file's name ends in; a folder called ``clip.mp4`` would look like the video.
_EXTENSION = re.compile(r"(?<=[^.])\.[A-Za-z0-9]{1,5}$")
_SUMMARY_COLUMNS = (
    "file", "folder", "verdict", "threshold", "faces", "highest_probability", "reasons", "warnings",
    "declared_ai", "tampered", "model", "model_sha256", "source_sha256", "error",
)  # fmt: skip


def to_json(report: Report) -> str:
    """Format a report as ASCII JSON that is safe inside a ``<script>`` element.

    ``<``, ``>`` and ``&`` are written as escapes. Numbers that JSON lacks (NaN, infinity) become ``null``.
    """
    return json_text(report.to_dict())


def to_csv(reports: Report | Iterable[Report]) -> str:
    """Format reports as CSV with the columns of ``to_frame()``: one row per face, or per face and frame.

    Text is quoted and escaped so that spreadsheets do not evaluate it as a formula; missing values are empty
    cells. A report without faces has no row.

    Raises
    ------
    ValueError
        No report, or images together with videos, whose columns differ.
    """
    listed = list(reports) if isinstance(reports, Iterable) else [reports]
    if not listed:
        raise ValueError("to_csv needs at least one report")
    if len({report.kind for report in listed}) > 1:
        raise ValueError("images and videos have different columns; write a table for each kind")
    tables = [report.to_frame() for report in listed]
    rows = [row for table in tables for row in table.to_dict("records")]
    return csv_text(tables[0].columns, rows)


def save(report: Report, folder: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Write a report into a new folder inside ``folder``.

    The new folder has the name of the file without its extension and holds ``report.json``: everything but
    pixels and single video frames (:func:`to_json`). In addition, for an image,

    * ``faces.csv``: one row per face (:func:`to_csv`),
    * ``picture_with_boxes.png``,
    * ``face_01.png``, ...: each face's crop with the model's margin, at the image's resolution, and
    * ``face_01_overlay.png``, ...: where there are explanations, crop, overlay and heatmap with its scale;

    and for a video

    * ``sightings.csv``: one row per face and frame,
    * ``timeline.png``: P(fake) of each person over time,
    * ``persons.png``: the best view of each person, if any, and
    * ``strongest_frames.png``: the frames with the highest P(fake), where they were kept.

    The PNG files hold no metadata of the source file or this machine.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_image` or :func:`redeepfake_nb.analyze_video`.
    folder
        Created if it does not exist.
    overwrite
        Replace an earlier report on a file of the same name. Otherwise, and where another file has the name
        but for its extension, the folder's name gets ``-2``, ``-3``, ...

    Returns
    -------
    pathlib.Path
        The new folder, written completely or not at all.

    Raises
    ------
    OutputError
        The folder cannot be written, or the one to replace holds files that :func:`save` did not write.
    """
    folder = Path(folder)
    name = safe_name(_EXTENSION.sub("", report.name))
    with staging_folder(folder) as staging:
        made = staging / name
        made.mkdir()
        for file, content in _files(report):
            (made / file).write_bytes(content)
        if overwrite:
            return replace_folder(made, _earlier(folder, name, report), staging, _OURS)
        return move_to_free_name(made, folder, name)


def save_all(reports: Iterable[Report], folder: str | os.PathLike, *, overwrite: bool = False) -> list[Path]:
    """Write several reports and a ``summary.csv`` with one row for each.

    Parameters
    ----------
    reports
        In the order of the summary. For a video it counts persons instead of faces, and gives the highest
        P(fake) of a person.
    folder, overwrite
        As for :func:`save`; the same holds for an earlier summary.

    Returns
    -------
    list of pathlib.Path
        The new folders. A report that could not be written is missing; its row in the summary gives the
        error.

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
    with staging_folder(folder) as staging:
        made = staging / "summary.csv"
        made.write_text(csv_text(_SUMMARY_COLUMNS, rows), encoding="utf-8", newline="")
        if overwrite:
            made.replace(folder / made.name)
        else:
            move_to_free_name(made, folder, made.name)
    return saved


def _earlier(folder: Path, name: str, report: Report) -> Path:
    """Return the first of ``name``, ``name-2``, ... that holds no report on a file of another name."""
    number = 1
    while True:
        target = folder / (name if number == 1 else f"{name}-{number}")
        if _reported_name(target) in (None, report.name):
            return target
        number += 1


def _reported_name(folder: Path) -> str | None:
    """Name of the file that the report in a folder is on; None where there is no such report."""
    with contextlib.suppress(OSError, ValueError, KeyError, TypeError, AttributeError):
        values = json.loads((folder / "report.json").read_text("ascii"))
        return "image" if values["source"] is None else str(values["source"]["name"])
    return None


def _files(report: Report) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each file of a report."""
    yield "report.json", to_json(report).encode("ascii")
    table = to_csv(report).encode("utf-8")
    yield ("sightings.csv" if report.kind == "video" else "faces.csv"), table
    yield from _pictures(report)


@singledispatch
def _pictures(report: Report) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each PNG file of a report."""
    raise TypeError(f"not a report: {type(report).__name__}")


@_pictures.register
def _image_pictures(report: ImageReport) -> Iterator[tuple[str, bytes]]:
    # Imported late, so that JSON and CSV do not need matplotlib.
    from .. import view

    yield "picture_with_boxes.png", view.to_png(view.plot_faces, report)
    for i, prediction in enumerate(report.predictions):
        margin = prediction.face.margin
        margin = report.card.preprocessing.margin if margin is None else margin
        yield f"face_{i + 1:02d}.png", _png(prediction.face.crop(margin))
        if report.explanations:
            yield f"face_{i + 1:02d}_overlay.png", view.to_png(view.plot_explanation, report.explanations[i])


@_pictures.register
def _video_pictures(report: VideoReport) -> Iterator[tuple[str, bytes]]:
    from .. import view

    yield "timeline.png", view.to_png(view.plot_timeline, report)
    if report.persons:
        yield "persons.png", view.to_png(view.plot_persons, report)
    if report.evidence:
        yield "strongest_frames.png", view.to_png(view.plot_suspicious_frames, report)


def _png(pixels: np.ndarray) -> bytes:
    """Encode (H, W, 3) uint8 RGB as PNG without metadata."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _summary(report: Report) -> dict[str, Any]:
    source = report.source
    return {
        "file": report.name,
        "verdict": report.verdict.label,
        "threshold": report.threshold,
        "faces": len(report.scored),
        "highest_probability": highest_probability(report),
        "reasons": "; ".join(report.verdict.reasons),
        "warnings": "; ".join(source.warnings) if source else "",
        "declared_ai": report.provenance.declared_ai if report.provenance else None,
        "tampered": report.provenance.tampered if report.provenance else None,
        "model": f"{report.card.name} {report.card.version}",
        "model_sha256": report.card.sha256,
        "source_sha256": source.sha256 if source else None,
    }
