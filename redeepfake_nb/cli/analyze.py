"""``redeepfake-nb analyze``: analyse single pictures and videos."""

from __future__ import annotations

import argparse
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import InputError, RedeepfakeError, UnknownChoice, displayable
from .arguments import add_analysis, detector_of, load_model_with_notice

if TYPE_CHECKING:
    from ..analysis.image import ImageReport
    from ..analysis.report import Report
    from ..analysis.video_report import VideoReport
    from ..models.classifier import Classifier


def add(commands: Any) -> None:
    """Add the command to the parser's."""
    parser = commands.add_parser("analyze", help="analyse images and videos")
    parser.add_argument("files", nargs="+", metavar="FILE")
    parser.add_argument("--json", action="store_true", help="print one line of JSON per file")
    parser.add_argument("--save", metavar="DIR", help="write report, table and images of each file below DIR")
    add_analysis(parser)
    parser.add_argument(
        "--explain",
        metavar="METHOD",
        help="heatmap for --save and --json: gradcam, hirescam, gradcam++, layercam, scorecam, saliency or "
        "attention; "
        "--save, and --json of a video, use gradcam if none is named",
    )
    parser.add_argument(
        "--target", choices=("fake", "real"), default="fake", help="label that heatmaps explain"
    )
    parser.add_argument(
        "--layer", metavar="NAME", help="layer that heatmaps are computed at; default: the model's"
    )
    parser.add_argument(
        "--annotate", metavar="OUT.mp4", help="write the video with boxes and scores; for a single video"
    )
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Run the command; return its exit status."""
    from ..analysis.options import AnalysisOptions

    if options.annotate and len(options.files) > 1:
        raise ValueError(f"--annotate takes one video, not {len(options.files)} files")
    # Everything that can be checked is checked before the model is loaded, which takes seconds.
    AnalysisOptions(
        detector=detector_of(options),
        threshold=options.threshold,
        explain=options.explain,
        target=options.target,
        layer=options.layer,
    )
    classifier: Classifier | None = None
    failed = 0
    for file in options.files:
        error = _unusable(file, options)
        if error is None:
            classifier = classifier or load_model_with_notice(options.model, options.runtime)
            try:
                report, lines = _analyze_file(file, classifier, options)
            except UnknownChoice:
                raise  # concerns all files
            except RedeepfakeError as raised:
                error = raised
        if error is not None:
            failed += 1
            if options.json:
                print(json.dumps({"source": {"name": displayable(Path(file).name)}, **error.to_dict()}))
            else:
                print(f"redeepfake-nb: {error}", file=sys.stderr)
        elif options.json:
            print(json.dumps(report.to_dict()), flush=True)
        else:
            _print(report, file, lines)
    return 1 if failed else 0


def _unusable(file: str, options: argparse.Namespace) -> RedeepfakeError | None:
    """Return why a file cannot be analysed, as far as can be told without a model.

    Raises
    ------
    ValueError
        ``--annotate`` is given for a file that is not a video.
    """
    from ..media.file_types import is_video
    from ..media.files import open_file
    from ..utils.writing import check_not_input

    if os.path.isdir(file):
        return InputError(
            "this is a folder",
            subject=file,
            next_step="Use `redeepfake-nb scan` for folders, or name the files.",
        )
    try:
        open_file(file, max_bytes=sys.maxsize).close()
    except RedeepfakeError as error:
        return error
    if options.annotate and not is_video(file):
        raise ValueError("--annotate is for videos, and this file is not a video")
    try:
        for out, what in ((options.annotate, "the video"), (options.save, "the file")):
            if out:
                check_not_input(out, file, what)
    except RedeepfakeError as error:
        return error
    return None


def _analyze_file(file: str, classifier: Classifier, options: argparse.Namespace) -> tuple[Report, list[str]]:
    """Analyse a file, write the requested outputs, and return the report and lines of text on both."""
    from ..media.file_types import is_video

    report: Report
    limits = {} if options.max_pixels is None else {"max_pixels": options.max_pixels}
    # Saved reports contain overlays, so saving computes heatmaps.
    method = options.explain or ("gradcam" if options.save else None)
    if is_video(file):
        from ..analysis.video import analyze_video

        report = video = analyze_video(
            file,
            classifier,
            frames=options.frames,
            detector=detector_of(options),
            threshold=options.threshold,
            explain_top=4 if method or options.json else 0,
            explain=method or ("gradcam" if options.json else None),
            target=options.target,
            layer=options.layer,
            stream=options.stream,
            **limits,
        )
        lines = _persons(video)
        if options.annotate:
            from ..report.annotated_video import annotate_video

            lines.append(f"annotated video: {displayable(annotate_video(video, options.annotate))}")
    else:
        from ..analysis.image import analyze_image

        report = image = analyze_image(
            file,
            classifier,
            detector=detector_of(options),
            threshold=options.threshold,
            explain=method,
            target=options.target,
            layer=options.layer,
            **limits,
        )
        lines = _faces(image)
    if report.heatmap_error:
        lines.append(f"no heatmaps: {displayable(report.heatmap_error, 1000)}")
    if options.save:
        from ..report.files import save

        lines.append(f"saved in {displayable(save(report, options.save))}")
    return report, lines


def _print(report: Report, file: str, lines: list[str]) -> None:
    print(f"{displayable(file)}: {report.verdict.headline}")
    for reason in report.verdict.reasons:
        print(f"  - {reason}")
    for warning in report.source.warnings if report.source else ():
        if warning not in report.verdict.reasons:
            print(f"  warning: {warning}")
    for line in lines:
        print(f"  {line}")


def _faces(report: ImageReport) -> list[str]:
    lines = []
    for i in report.most_suspicious:
        prediction = report.predictions[i]
        left, top, right, bottom = prediction.face.box
        lines.append(
            f"face {i + 1}: P(fake) = {prediction.probability:.2f} at threshold {report.threshold:.2f}, "
            f"box {left},{top} to {right},{bottom}"
        )
    return lines


def _persons(report: VideoReport) -> list[str]:
    from ..analysis.segments import fake_segments, format_segments

    return [
        f"{person.name}: P(fake) = {person.probability:.2f} at threshold {report.threshold:.2f}, "
        f"in {len(person.sightings)} of {report.frames} sampled frames; "
        f"frames reach the threshold: {format_segments(fake_segments(report, person))}"
        for person in (report.persons[i] for i in report.most_suspicious)
    ]
