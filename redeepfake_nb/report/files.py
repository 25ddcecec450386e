"""Reports on pictures and videos -> files: JSON, CSV and pictures in a folder of their own.

A folder appears whole or not at all, and names from strangers stay text in it; see
:mod:`redeepfake_nb.utils.writing`. ``annotate_video`` and ``html`` can be had from here too.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator
from functools import singledispatch
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..analysis.image import ImageReport
from ..analysis.report import Report, highest_probability
from ..analysis.video_report import VideoReport
from ..errors import OutputError
from ..utils.writing import (
    csv_text,
    escape_cell,
    json_text,
    move_to_free_name,
    replace_folder,
    safe_name,
    staging_folder,
)

if TYPE_CHECKING:
    from .annotated_video import annotate_video
    from .html_page import html

__all__ = ["annotate_video", "escape_cell", "html", "safe_name", "save", "save_all", "to_csv", "to_json"]

# What save() and the video inspector write, and so all that a folder may hold which overwrite=True replaces.
_OURS = re.compile(
    r"report\.json|faces\.csv|picture_with_boxes\.png|face_\d{2,}(_overlay)?\.png|"
    r"sightings\.csv|(timeline|persons|strongest_frames)\.png|annotated\.mp4"
)
_SUMMARY_COLUMNS = (
    "file", "folder", "verdict", "threshold", "faces", "highest_probability", "reasons",
    "model", "model_sha256", "source_sha256", "error",
)  # fmt: skip


def __getattr__(name: str) -> Any:
    # On first use, so that JSON and CSV can be had without a video encoder.
    if name == "annotate_video":
        from .annotated_video import annotate_video

        return annotate_video
    # Likewise without templates, pictures and scans.
    if name == "html":
        from .html_page import html

        return html
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def to_json(report: Report) -> str:
    """A report as JSON.

    Pure ASCII, with ``<``, ``>`` and ``&`` written as escapes, so that the text may stand inside a
    ``<script>`` element as well. Values that JSON lacks (NaN, infinity) become ``null``.
    """
    return json_text(report.to_dict())


def to_csv(reports: Report | Iterable[Report]) -> str:
    """One line per face, with the columns of ``to_frame()``; in a video, per face and frame.

    Text is quoted and cannot become a formula (:func:`escape_cell`); numbers stay numbers; a value that is
    not known is an empty cell. A report without faces has no line.

    Raises
    ------
    ValueError
        No report at all, or pictures together with videos, whose columns differ.
    """
    listed = list(reports) if isinstance(reports, Iterable) else [reports]
    if not listed:
        raise ValueError("to_csv needs at least one report")
    if len({report.kind for report in listed}) > 1:
        raise ValueError("pictures and videos have different columns; write a table for each kind")
    tables = [report.to_frame() for report in listed]
    rows = [row for table in tables for row in table.to_dict("records")]
    return csv_text(tables[0].columns, rows)


def save(report: Report, folder: str | os.PathLike, *, overwrite: bool = False) -> Path:
    """Write a report into a new folder inside ``folder``.

    The new folder is called after the file and holds ``report.json``: everything but the pixels and the
    single frames of a video (:func:`to_json`). With it, for a picture,

    * ``faces.csv``: one line per face (:func:`to_csv`),
    * ``picture_with_boxes.png``,
    * ``face_01.png``, ...: each face's crop with the model's margin, in the photo's own pixels, and
    * ``face_01_overlay.png``, ...: where there are explanations, crop, overlay and heatmap with the peak;

    and for a video

    * ``sightings.csv``: one line per face and frame,
    * ``timeline.png``: P(fake) of everybody over time,
    * ``persons.png``: the best view of everybody, where there is somebody, and
    * ``strongest_frames.png``: the frames that speak loudest for fake, where some were kept.

    The PNG files hold no metadata: neither the file's nor this machine's.

    Parameters
    ----------
    report
        From :func:`redeepfake_nb.analyze_image` or :func:`redeepfake_nb.analyze_video`.
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
    with staging_folder(folder) as staging:
        made = staging / name
        made.mkdir()
        for file, content in _files(report):
            (made / file).write_bytes(content)
        if overwrite:
            return replace_folder(made, folder / name, staging, _OURS)
        return move_to_free_name(made, folder, name)


def save_all(reports: Iterable[Report], folder: str | os.PathLike, *, overwrite: bool = False) -> list[Path]:
    """Write several reports and a ``summary.csv`` with one line for each.

    Parameters
    ----------
    reports
        In the order of the summary. Of a video it counts persons instead of faces, and states the P(fake) of
        the person with the highest.
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
    with staging_folder(folder) as staging:
        made = staging / "summary.csv"
        made.write_text(csv_text(_SUMMARY_COLUMNS, rows), encoding="utf-8", newline="")
        if overwrite:
            made.replace(folder / made.name)
        else:
            move_to_free_name(made, folder, made.name)
    return saved


def _files(report: Report) -> Iterator[tuple[str, bytes]]:
    """Name and content of all that belongs to a report."""
    yield "report.json", to_json(report).encode("ascii")
    table = to_csv(report).encode("utf-8")
    yield ("sightings.csv" if report.kind == "video" else "faces.csv"), table
    yield from _pictures(report)


@singledispatch
def _pictures(report: Report) -> Iterator[tuple[str, bytes]]:
    """Name and content of the PNG files of an image or a video."""
    raise TypeError(f"not a report: {type(report).__name__}")


@_pictures.register
def _image_pictures(report: ImageReport) -> Iterator[tuple[str, bytes]]:
    # Here, so that JSON and CSV can be had without matplotlib.
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
    """(H, W, 3) uint8 RGB, lossless, without metadata."""
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
        "model": f"{report.card.name} {report.card.version}",
        "model_sha256": report.card.sha256,
        "source_sha256": source.sha256 if source else None,
    }
