"""Command line interface ``redeepfake-nb``: analysis, provenance, scans, training, evaluation and checks."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import errno
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from . import __version__
from .errors import InputError, ModelIncomplete, RedeepfakeError, UnknownChoice, UnsupportedMedia, displayable

if TYPE_CHECKING:
    from .analysis.image import ImageReport
    from .analysis.report import Report
    from .analysis.video_report import VideoReport
    from .datasets.labelled_faces import LabelledFaces
    from .datasets.labelled_videos import LabelledVideos
    from .models.classifier import Classifier
    from .models.runtimes import Runtime
    from .scanning.result import ScanResult


_DETECTOR_HELP = (
    "face detector: blazeface (default; fast, finds turned, covered and small faces), hog (faces from the "
    "front, as face_recognition finds them) or cnn (face_recognition's other one, slow without a GPU)"
)

_Labelled = TypeVar("_Labelled", "LabelledFaces", "LabelledVideos")


def main(arguments: list[str] | None = None) -> int:
    """Run the command.

    Returns
    -------
    int
        Exit status: 0 for success, 1 where a file or check failed, 2 for invalid arguments, 130 after Ctrl-C.
    """
    # TensorFlow logs to standard error when it is imported.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()  # at exit it would be too late to report a full disk
        return status
    except RedeepfakeError as error:
        return _failed(str(error), 2 if isinstance(error, UnknownChoice) else 1)
    except ValueError as error:
        return _failed(str(error), 2)
    except MemoryError:
        return _failed("there is not enough memory. Close other programs, or use a smaller file.", 1)
    except KeyboardInterrupt:
        return _failed("interrupted; unfinished output files were removed.", 130)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT):
            return _failed(f"the system reports: {error.strerror or error}", 1)
        # The reader of the pipe is gone, or the disk is full. Python would flush again at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _failed(f"the output cannot be written ({error.strerror or error})", 1)


def _failed(message: str, status: int) -> int:
    """Print an error message, and return the exit status."""
    with contextlib.suppress(OSError):
        print(f"redeepfake-nb: {message}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="redeepfake-nb",
        description="Find faces in images and videos, score them for manipulation, and explain the scores.",
    )
    parser.add_argument("--version", action="version", version=f"redeepfake-nb {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    analyze = commands.add_parser("analyze", help="analyse images and videos")
    analyze.add_argument("files", nargs="+", metavar="FILE")
    analyze.add_argument("--json", action="store_true", help="print one line of JSON per file")
    analyze.add_argument(
        "--save", metavar="DIR", help="write report, table and images of each file below DIR"
    )
    analyze.add_argument(
        "--model",
        metavar="PATH",
        help="model file with its sidecar, or a model's name; default: the model that ships",
    )
    analyze.add_argument("--detector", help=_DETECTOR_HELP)
    analyze.add_argument(
        "--threshold",
        type=float,
        help="decision threshold on P(fake), above 0 and below 1; default: the model's",
    )
    analyze.add_argument(
        "--explain",
        metavar="METHOD",
        help="heatmap for --save and --json: gradcam, hirescam, gradcam++, layercam, scorecam, saliency or "
        "attention; "
        "--save, and --json of a video, use gradcam if none is named",
    )
    analyze.add_argument(
        "--target", choices=("fake", "real"), default="fake", help="label that heatmaps explain"
    )
    analyze.add_argument(
        "--layer", metavar="NAME", help="layer that heatmaps are computed at; default: the model's"
    )
    analyze.add_argument(
        "--frames",
        type=_frames,
        default=32,
        metavar="N|all",
        help="frames to sample from a video; default: 32",
    )
    _add_reading(analyze)
    analyze.add_argument(
        "--annotate", metavar="OUT.mp4", help="write the video with boxes and scores; for a single video"
    )
    _add_runtime(analyze)
    analyze.set_defaults(run=_analyze)

    provenance = commands.add_parser(
        "provenance", help="read what files say of themselves: Content Credentials, metadata; needs no model"
    )
    provenance.add_argument("files", nargs="+", metavar="FILE")
    provenance.add_argument("--json", action="store_true", help="print one line of JSON per file")
    provenance.add_argument(
        "--trust-list",
        metavar="LIST.pem",
        help="certificates that signers have to lead to; default: that of REDEEPFAKE_TRUST_LIST, else none",
    )
    provenance.add_argument(
        "--fetch-remote", action="store_true", help="fetch credentials that a file only refers to"
    )
    provenance.add_argument("--location", action="store_true", help="read the GPS position, too")
    provenance.set_defaults(run=_provenance)

    scan = commands.add_parser("scan", help="score many files; resumes where it stopped")
    scan.add_argument("inputs", nargs="+", metavar="FOLDER|LIST.csv|FILE")
    scan.add_argument(
        "--journal", default="results.sqlite", help="SQLite file with the results; default: results.sqlite"
    )
    scan.add_argument("--csv", metavar="OUT.csv", help="write the results as a CSV table")
    scan.add_argument("--parquet", metavar="OUT.parquet", help="write the results as a Parquet table")
    scan.add_argument(
        "--report",
        metavar="R.html",
        help="write a page on the files with the highest and the most uncertain scores",
    )
    scan.add_argument(
        "--model",
        metavar="PATH",
        help="model file with its sidecar, or a model's name; default: the model that ships",
    )
    scan.add_argument("--detector", help=_DETECTOR_HELP)
    scan.add_argument(
        "--threshold",
        type=float,
        help="decision threshold on P(fake), above 0 and below 1; default: the model's",
    )
    scan.add_argument(
        "--frames",
        type=_frames,
        default=32,
        metavar="N|all",
        help="frames to sample from a video; default: 32",
    )
    _add_reading(scan)
    _add_runtime(scan)
    backend = scan.add_mutually_exclusive_group()
    backend.add_argument(
        "--workers", type=int, metavar="N", help="worker processes; default: by cores and free memory"
    )
    backend.add_argument(
        "--scheduler", metavar="ADDRESS", help="scheduler of a Dask cluster, such as tcp://head:8786"
    )
    scan.add_argument("--time-limit", type=float, metavar="SECONDS", help="per file; default: 1800")
    scan.add_argument("--retry-failed", action="store_true", help="score files again that failed before")
    scan.set_defaults(run=_scan)

    _add_app(commands)

    doctor = commands.add_parser("doctor", help="check the installation")
    doctor.set_defaults(run=_doctor)

    train = commands.add_parser("train", help="train a model from a recipe")
    train.add_argument("recipe", metavar="RECIPE.toml")
    _add_data(train)
    train.add_argument(
        "--out", required=True, metavar="DIR", help="folder for checkpoints, logs and the model"
    )
    train.add_argument(
        "--leave-one-out",
        action="store_true",
        help="train once without each source of fakes, and write how well each is detected unseen",
    )
    train.set_defaults(run=_train)

    join = commands.add_parser("join", help="combine several trained networks into one model")
    join.add_argument(
        "models", nargs="+", metavar="MODEL.keras", help="EfficientNet-Lite models before FaceResNet models"
    )
    join.add_argument("--size", type=int, required=True, help="input size of the combined model in pixels")
    _add_data(join)
    join.add_argument("--out", required=True, metavar="MODEL.keras")
    join.set_defaults(run=_join)

    evaluate = commands.add_parser("evaluate", help="evaluate a model on labelled faces or videos")
    evaluate.add_argument(
        "--model",
        default="default",
        help="model file with its sidecar, or a model's name; default: the model that ships",
    )
    _add_data(
        evaluate,
        "CSV, Kaggle deepfake-faces folder, or real/ fake/ tree; of videos also FaceForensics++, Celeb-DF or "
        "DFDC; several are joined",
        "folder or ZIP file with the images, or folder with the videos, that a single CSV lists",
    )
    evaluate.add_argument(
        "--as",
        dest="media",
        choices=("faces", "videos"),
        help="what to evaluate on, where the data hold both; default: what they hold",
    )
    evaluate.add_argument("--split", help="split to evaluate on, such as val; default: all faces or videos")
    evaluate.add_argument("--limit", type=int, help="maximum number of faces or videos, half of them fake")
    evaluate.add_argument(
        "--false-positive-rate",
        type=float,
        metavar="RATE",
        help="choose the threshold by the largest share of real faces or videos that may be predicted fake",
    )
    evaluate.add_argument(
        "--sweep", type=int, metavar="N", help="faces for the robustness test; 0: none; default: 200"
    )
    evaluate.add_argument("--resamples", type=int, default=1000, help="bootstrap resamples for intervals")
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--out", required=True, metavar="DIR", help="folder for tables and charts")
    videos = evaluate.add_argument_group(
        "videos", "analysed as a scan: the same command resumes where it stopped"
    )
    videos.add_argument(
        "--journal", metavar="FILE.sqlite", help="SQLite file with the scores; default: DIR.sqlite"
    )
    videos.add_argument("--detector", help=_DETECTOR_HELP)
    videos.add_argument(
        "--frames", type=_frames, metavar="N|all", help="frames to sample from a video; default: 32"
    )
    videos.add_argument("--aggregation", help="how a person's frames become one score; default: mean_logit")
    videos.add_argument(
        "--workers", type=int, metavar="N", help="worker processes; default: by cores and free memory"
    )
    videos.add_argument("--time-limit", type=float, metavar="SECONDS", help="per video; default: 1800")
    videos.add_argument(
        "--retry-failed", action="store_true", default=None, help="score videos again that failed before"
    )
    evaluate.set_defaults(run=_evaluate)

    convert = commands.add_parser("convert", help="convert another model to a .keras file with a sidecar")
    convert.add_argument(
        "model", metavar="OLD", help=".keras or .h5 file, also of Keras 2, or a model's name"
    )
    convert.add_argument("out", metavar="NEW.keras")
    convert.add_argument(
        "--backbone", metavar="NAME", help="architecture, for a file that holds only weights"
    )
    convert.add_argument(
        "--positive-class",
        choices=("fake", "real"),
        help="class of a high output value, or of the second of two columns",
    )
    convert.add_argument(
        "--class-names",
        nargs=2,
        metavar=("FIRST", "SECOND"),
        help="in place of --positive-class: the classes in the order of the columns; Keras: alphabetical",
    )
    convert.add_argument("--output", choices=("logit", "probability", "softmax"), help="kind of output")
    convert.add_argument("--input-size", type=int, metavar="PIXELS")
    convert.add_argument(
        "--input-frames",
        type=int,
        metavar="N",
        help="frames of a video that the model takes at once, where its input leaves the number open",
    )
    convert.add_argument("--color-order", choices=("RGB", "BGR"))
    convert.add_argument("--value-range", type=float, nargs=2, metavar=("LOW", "HIGH"))
    convert.add_argument(
        "--mean",
        type=float,
        nargs=3,
        metavar=("C1", "C2", "C3"),
        help="subtracted per channel, in the model's colour order, after --value-range",
    )
    convert.add_argument(
        "--std", type=float, nargs=3, metavar=("C1", "C2", "C3"), help="divisor per channel, after --mean"
    )
    convert.add_argument(
        "--preset",
        metavar="NAME",
        help="value range, mean and deviation by name: imagenet (torchvision), tf, caffe, efficientnet, "
        "0..1, -1..1 (as --preset=-1..1)",
    )
    convert.add_argument(
        "--margin", type=float, default=0.0, help="crop margin around the face box; default: 0"
    )
    convert.add_argument(
        "--trust",
        action="store_true",
        help="load what is not on the allowlist; code in the file then runs with your rights; needs --sha256",
    )
    convert.add_argument("--sha256", help="expected SHA-256 of the old file")
    convert.set_defaults(run=_convert)
    return parser


def _add_app(commands: Any) -> None:
    """Add the command that serves the panels, whose defaults are those of ``ServingOptions``."""
    app = commands.add_parser("app", help="open the panels for pictures, videos and folders in a browser")
    app.add_argument("--port", type=int, help="default: 8866, or the next one that is free")
    app.add_argument(
        "--ip", metavar="ADDRESS", help="address to listen on; default: 127.0.0.1, this machine alone"
    )
    app.add_argument("--no-browser", dest="browser", action="store_false", help="print the address alone")
    app.add_argument("--model", type=Path, metavar="PATH", help="model file with its sidecar")
    app.add_argument(
        "--upload-limit", type=int, metavar="MB", help="most megabytes of one upload; default: 200"
    )
    app.add_argument("--visitors", type=int, metavar="N", help="most visitors at once; default: 10")
    app.add_argument(
        "--idle-minutes", type=float, metavar="M", help="end a visit that is unused for so long; default: 30"
    )
    app.add_argument(
        "--local-files",
        action="store_true",
        help="show boxes for paths of this machine, too; for yourself alone",
    )
    token = app.add_mutually_exclusive_group()
    token.add_argument("--token", action="store_true", help="ask for a token, on this machine, too")
    token.add_argument(
        "--no-token",
        dest="token",
        action="store_false",
        help="ask for none even where other machines reach the page, since a login is in front",
    )
    app.add_argument(
        "--base-url", metavar="/PATH/", help="path below which a proxy in front shows the page; default: /"
    )
    app.set_defaults(run=_app, token=None)


def _add_reading(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--max-pixels",
        type=_pixels,
        metavar="N",
        help="largest width x height of a picture or frame, such as 200e6; default: 64 million for pictures",
    )
    command.add_argument(
        "--stream", type=int, metavar="N", help="which video stream of a file with several, from 1"
    )


def _add_runtime(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--runtime",
        choices=("auto", "litert", "tensorflow"),
        help="what computes scores; default: LiteRT on a CPU if it agrees with Keras, else TensorFlow",
    )


def _add_data(
    command: argparse.ArgumentParser,
    data: str = "CSV, Kaggle deepfake-faces folder, or real/ fake/ tree; several are joined",
    images: str = "folder or ZIP file with the images that a single CSV lists",
) -> None:
    """Add the arguments that name labelled faces, with these help texts."""
    command.add_argument("--data", required=True, nargs="+", metavar="PATH", help=data)
    command.add_argument("--images", metavar="PATH", help=images)


def _pixels(text: str) -> int:
    """Parse a number of pixels, such as ``200e6``."""
    number = float(text)
    if not 1 <= number < float("inf"):
        raise ValueError
    return int(number)


def _frames(text: str) -> int | Literal["all"]:
    """Parse a number of frames, or ``all``."""
    return "all" if text == "all" else int(text)


def _detector(options: argparse.Namespace) -> str:
    """Return the detector that was named, or the default, which is not imported to print help."""
    from .faces.detection import DEFAULT_DETECTOR

    return options.detector or DEFAULT_DETECTOR


def _load_model(name_or_path: str | None, runtime: Runtime | None = None) -> Classifier:
    """Load a model, by default the built-in one, with a message to people who wait at a terminal."""
    if sys.stderr.isatty():
        print("Loading the model ...", file=sys.stderr)
    from .models.loading import default_classifier, load_model

    if name_or_path or runtime:
        return load_model(name_or_path, runtime=runtime)
    return default_classifier()


def _analyze(options: argparse.Namespace) -> int:
    from .analysis.options import AnalysisOptions

    if options.annotate and len(options.files) > 1:
        raise ValueError(f"--annotate takes one video, not {len(options.files)} files")
    # Everything that can be checked is checked before the model is loaded, which takes seconds.
    AnalysisOptions(
        detector=_detector(options),
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
            classifier = classifier or _load_model(options.model, options.runtime)
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


def _provenance(options: argparse.Namespace) -> int:
    from .provenance.reading import provenance

    failed = 0
    for file in options.files:
        name = displayable(Path(file).name)
        try:
            found = provenance(
                file,
                trust_list=options.trust_list,
                fetch_remote=options.fetch_remote,
                location=options.location,
            )
        except RedeepfakeError as error:
            failed += 1
            if options.json:
                print(json.dumps({"source": {"name": name}, **error.to_dict()}))
            else:
                print(f"redeepfake-nb: {error}", file=sys.stderr)
            continue
        if options.json:
            values = {"source": found.source.to_dict(), **found.to_dict(location=options.location)}
            print(json.dumps(values), flush=True)
            continue
        print(f"{displayable(file)}: {found.summary}")
        for finding, words in found.rows():
            print(f"  {finding}: {words}")
    return 1 if failed else 0


def _unusable(file: str, options: argparse.Namespace) -> RedeepfakeError | None:
    """Return why a file cannot be analysed, as far as can be told without a model.

    Raises
    ------
    ValueError
        ``--annotate`` is given for a file that is not a video.
    """
    from .media.file_types import is_video
    from .media.files import open_file

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
    return None


def _analyze_file(file: str, classifier: Classifier, options: argparse.Namespace) -> tuple[Report, list[str]]:
    """Analyse a file, write the requested outputs, and return the report and lines of text on both."""
    from .media.file_types import is_video

    report: Report
    limits = {} if options.max_pixels is None else {"max_pixels": options.max_pixels}
    # Saved reports contain overlays, so saving computes heatmaps.
    method = options.explain or ("gradcam" if options.save else None)
    if is_video(file):
        from .analysis.video import analyze_video

        report = video = analyze_video(
            file,
            classifier,
            frames=options.frames,
            detector=_detector(options),
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
            from .report.annotated_video import annotate_video

            lines.append(f"annotated video: {displayable(annotate_video(video, options.annotate))}")
    else:
        from .analysis.image import analyze_image

        report = image = analyze_image(
            file,
            classifier,
            detector=_detector(options),
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
        from .report.files import save

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
    from .analysis.segments import fake_segments, format_segments

    return [
        f"{person.name}: P(fake) = {person.probability:.2f} at threshold {report.threshold:.2f}, "
        f"in {len(person.sightings)} of {report.frames} frames; "
        f"frames reach the threshold: {format_segments(fake_segments(report, person))}"
        for person in (report.persons[i] for i in report.most_suspicious)
    ]


def _scan(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .models.loading import read_card
    from .models.tested_kinds import blind_spots
    from .scanning.executors import connect_dask
    from .scanning.result import check_parquet
    from .scanning.scheduler import TIME_LIMIT, scan

    if options.parquet:
        check_parquet(options.parquet)
    client = connect_dask(options.scheduler) if options.scheduler else None
    try:
        with tqdm(unit="file", disable=None) as bar:

            def progress(done: int, total: int | None) -> None:
                bar.total = total
                bar.update(done - bar.n)

            result = scan(
                options.inputs,
                options.journal,
                options.model,
                executor=client,
                workers=options.workers,
                frames=options.frames,
                detector=_detector(options),
                threshold=options.threshold,
                max_pixels=options.max_pixels,
                stream=options.stream,
                time_limit=TIME_LIMIT if options.time_limit is None else options.time_limit,
                retry_failed=options.retry_failed,
                runtime=options.runtime,
                progress=progress,
            )
    except KeyboardInterrupt:
        print(
            f"stopped; results so far are in {displayable(options.journal)}, and the same command resumes",
            file=sys.stderr,
        )
        return 130
    finally:
        if client is not None:
            client.close()
    for line in _table(result):
        print(line)
    if limits := blind_spots(read_card(options.model).tested_on):
        print(f"No sign found does not mean genuine: {limits}.")
    for out, write in ((options.csv, result.to_csv), (options.parquet, result.to_parquet)):
        if out:
            print(f"table: {displayable(write(out))}")
    if options.report:
        _report(options, result)
    return 1 if result.counts["failed"] else 0


def _report(options: argparse.Namespace, result: ScanResult) -> None:
    """Write the page on a scan, with a progress bar for the files that are analysed again."""
    from tqdm import tqdm

    from .report.html_page import html

    classifier = _load_model(options.model, options.runtime)
    with tqdm(unit="file", desc="analysing for the report", disable=None) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = html(result, options.report, classifier=classifier, progress=progress)
    print(f"report: {displayable(made)}")


def _table(result: ScanResult) -> list[str]:
    """Return one line for each kind of outcome of a scan."""
    from .analysis.verdict import VERDICT_WORDS

    lines = [f"{displayable(result.journal)}: {sum(result.counts.values())} files"]
    for row in result.summary().itertuples():
        verdict = VERDICT_WORDS.get(row.verdict)
        kind = row.error if row.status == "failed" else verdict if row.status != "no face" else None
        name = f"{row.status}: {kind}" if isinstance(kind, str) else row.status
        copies = f"  ({row.duplicates} with the same bytes as another)" if row.duplicates else ""
        lines.append(f"  {name:<32} {row.files:>7}{copies}")
    return lines


def _app(options: argparse.Namespace) -> int:
    from .serving.options import ServingOptions
    from .serving.server import serve

    def announce(address: str) -> None:
        print(f"The app is at {address}\nCtrl+C ends it.", flush=True)
        if not chosen.loopback:
            print("Other machines can reach it, unencrypted unless a proxy is in front; see docs/serving.md.")

    names = [field.name for field in dataclasses.fields(ServingOptions)]
    given = {name: getattr(options, name) for name in names if getattr(options, name) is not None}
    chosen = ServingOptions(**given)
    serve(chosen, announce)
    return 0


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import examine

    findings = examine()
    for finding in findings:
        print(finding)
    bad = sum(not finding.ok for finding in findings)
    print(f"{bad} problem{'' if bad == 1 else 's'} found" if bad else "no problem found")
    return 1 if bad else 0


def _join(options: argparse.Namespace) -> int:
    from .datasets.joining import read_collections
    from .models.loading import load_model
    from .training.exporter import join_and_export

    classifiers = [load_model(path) for path in options.models]
    faces = read_collections(options.data, options.images)
    print(f"model, sidecar and card: {join_and_export(classifiers, options.size, faces, options.out)}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .datasets.joining import read_collections
    from .datasets.labelled_faces import split
    from .training.exporter import train_and_export
    from .training.leave_one_out import leave_one_source_out
    from .training.recipes import Recipe

    recipe = Recipe.read(options.recipe)
    faces = read_collections(options.data, options.images)
    if faces.table["split"].isna().any():
        by = "original" if faces.table["identity"].isna().any() else "identity"
        faces = split(faces, by)
    with tqdm(total=recipe.steps, unit="step") as bar:

        def progress(step: int, steps: int, loss: float) -> None:
            bar.total = steps
            bar.update(step - bar.n)
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

        if options.leave_one_out:
            table = leave_one_source_out(recipe, faces, options.out, progress=progress)
        else:
            path = train_and_export(recipe, faces, options.out, progress=progress, log=bar.write)
    if options.leave_one_out:
        print(table.to_string(index=False, float_format="{:.3f}".format))
        print(f"table: {displayable(Path(options.out) / 'leave_one_out.csv')}")
        return 0
    print(f"model, sidecar and card: {path}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from .faces.preprocessing import Preprocessing
    from .models.conversion import convert_model

    described = (options.input_size, options.color_order, options.value_range)
    preprocessing = None
    frames = 1 if options.input_frames is None else options.input_frames
    if options.preset is not None:
        if options.input_size is None or options.value_range or options.mean or options.std:
            raise ValueError(
                "--preset needs --input-size, and takes the place of --value-range, --mean, --std"
            )
        order = {} if options.color_order is None else {"color_order": options.color_order}
        preprocessing = Preprocessing.preset(
            options.preset, options.input_size, margin=options.margin, frames=frames, **order
        )
    # All three or none: a missing one would have to be guessed.
    elif all(described):
        size, order, (low, high) = described
        preprocessing = Preprocessing(
            size, order, (low, high), options.margin, mean=options.mean, std=options.std, frames=frames
        )
    elif any((*described, options.mean, options.std, options.input_frames)):
        raise ValueError(
            "--input-size, --color-order and --value-range must be given together; or --input-size, --preset"
        )
    given = {
        "preprocessing": preprocessing,
        "output": options.output,
        "architecture": options.backbone,
        "trust": options.trust,
        "sha256": options.sha256,
    }
    named = {"positive_class": options.positive_class, "class_names": options.class_names}
    try:
        done = convert_model(options.model, options.out, **given, **named)
    except ModelIncomplete:
        if preprocessing is not None and not any(named.values()):
            print(_output_on_samples(options.model, given), file=sys.stderr)
        raise
    print(f"model: {displayable(done.path)}")
    print(f"sidecar: {displayable(done.path.with_suffix('.json'))}")
    low, high = done.logits.min(), done.logits.max()
    print(
        f"check: on {len(done.logits)} test images, the logits of the old and the new model "
        f"({low:.4f} to {high:.4f}) differ by at most {done.difference:.2g}"
    )
    if done.card.trusted:
        print(f"trusted beyond the allowlist: {', '.join(done.card.trusted)}")
    return 0


def _output_on_samples(model: str, given: dict[str, Any]) -> str:
    """Say what a model returns for a photograph and a manipulated copy, which hints at the positive class."""
    from .datasets.samples import sample_image, sample_manipulated
    from .faces.face import find_faces
    from .models.loading import load_model
    from .models.prediction import predict

    classifier = load_model(model, **given, positive_class="fake")
    frames = classifier.preprocessing.frames
    faces = [find_faces(frame)[0] for frame in (sample_image(), sample_manipulated())]
    given_faces = faces if frames == 1 else [[face] * frames for face in faces]
    real, fake = (found.probability for found in predict(classifier, given_faces))
    found = (
        "With a high output (of two columns: the second) read as fake, P(fake) of the sample photograph is "
        f"{real:.2f}, and {fake:.2f} with its face manipulated."
    )
    if abs(fake - real) < 0.05:
        return f"{found} That does not tell which class it means."
    suggested = "fake" if fake > real else "real"
    return f"{found} That suggests --positive-class {suggested}; two pictures prove nothing."


def _evaluate(options: argparse.Namespace) -> int:
    if _evaluated_media(options) == "videos":
        return _evaluate_videos(options)
    from tqdm import tqdm

    from .datasets.joining import read_collections
    from .report.evaluation import save_evaluation

    given = [name for name, value in _video_options(options).items() if value is not None]
    if given:
        raise ValueError(f"--{given[0].replace('_', '-')} is for videos, and the data are faces")
    faces = read_collections(options.data, options.images)
    if options.split:
        faces = _part(faces, options.split, "face")
    classifier = _load_model(None if options.model == "default" else options.model)
    with tqdm(unit="step", disable=None) as bar:

        def progress(done: int, total: int | None) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        out = save_evaluation(
            classifier,
            faces,
            options.out,
            limit=options.limit,
            false_positive_rate=options.false_positive_rate,
            sweep=200 if options.sweep is None else options.sweep,
            resamples=options.resamples,
            seed=options.seed,
            progress=progress,
        )
    print(f"tables and charts: {displayable(out)}")
    print(f"read first: {displayable(out / 'summary.md')}")
    return 0


def _evaluated_media(options: argparse.Namespace) -> Literal["faces", "videos"]:
    """Tell whether to evaluate on labelled faces or on labelled videos."""
    from .datasets.labelled_videos import labelled_media

    if options.media:
        return options.media
    found = set().union(*(labelled_media(path) for path in options.data))
    if len(found) == 2:
        raise UnsupportedMedia(
            "both labelled pictures and labelled videos are in it",
            subject=options.data[0],
            next_step="Say which to evaluate on: --as faces or --as videos.",
        )
    return "videos" if found == {"videos"} else "faces"


def _part(labelled: _Labelled, split: str, what: str) -> _Labelled:
    """Select one split of labelled faces or videos.

    Raises
    ------
    ValueError
        Nothing is in it.
    """
    splits = sorted(str(name) for name in labelled.table["split"].dropna().unique())
    part = labelled.part(split)
    if not len(part):
        known = f"there are {', '.join(splits)}" if splits else "there are no splits"
        raise ValueError(f"no {what} is in the split {split}; {known}")
    return part


def _video_options(options: argparse.Namespace) -> dict[str, Any]:
    """Return the options of ``evaluate`` that concern videos alone; ``None`` where they were not given."""
    names = ("journal", "detector", "frames", "aggregation", "workers", "time_limit", "retry_failed")
    return {name: getattr(options, name) for name in names}


def _evaluate_videos(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .datasets.labelled_videos import read_video_collections
    from .report.video_evaluation import save_video_evaluation

    if options.sweep:
        raise ValueError("--sweep is for faces, and the data are videos")
    videos = read_video_collections(options.data, options.images)
    if options.split:
        videos = _part(videos, options.split, "video")
    try:
        with tqdm(unit="video", disable=None) as bar:

            def progress(done: int, total: int | None) -> None:
                bar.total, bar.n = total, done
                bar.refresh()

            out = save_video_evaluation(
                None if options.model == "default" else options.model,
                videos,
                options.out,
                limit=options.limit,
                false_positive_rate=options.false_positive_rate,
                resamples=options.resamples,
                seed=options.seed,
                progress=progress,
                **{name: value for name, value in _video_options(options).items() if value is not None},
            )
    except KeyboardInterrupt:
        print("stopped; what was scored is in the journal, and the same command resumes", file=sys.stderr)
        return 130
    print(f"tables and charts: {displayable(out)}")
    print(f"read first: {displayable(out / 'summary.md')}")
    if (left_out := out / "left_out.csv").is_file():
        print(f"videos without a part in the metrics: {displayable(left_out)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
