"""The command ``redeepfake-nb``: analyse and scan files, check the installation, train and judge a model."""

from __future__ import annotations

import argparse
import contextlib
import errno
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from .errors import RedeepfakeError, UnknownChoice, displayable

if TYPE_CHECKING:
    from .analysis.image import ImageReport
    from .analysis.video_report import VideoReport
    from .models.classifier import Classifier
    from .scanning.result import ScanResult


def main(arguments: list[str] | None = None) -> int:
    """Run the command; the exit status is 0 where all went well, 1 where a file or a check failed."""
    # TensorFlow greets on standard error at import; an analyst's terminal is not the place.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    options = _parser().parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()  # at exit it would be too late to say that the disk is full
        return status
    except RedeepfakeError as error:
        return _failed(str(error), 2 if isinstance(error, UnknownChoice) else 1)
    except ValueError as error:
        return _failed(str(error), 2)
    except MemoryError:
        return _failed("there is not enough memory. Close other programs, or take a smaller file.", 1)
    except KeyboardInterrupt:
        return _failed("interrupted; files that were not finished have been removed.", 130)
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.ENOSPC, errno.EDQUOT):
            return _failed(f"the system reports: {error.strerror or error}", 1)
        # Whoever reads it has gone, or the disk it goes to is full. Python would try again at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return _failed(f"the output cannot be written ({error.strerror or error})", 1)


def _failed(why: str, status: int) -> int:
    with contextlib.suppress(OSError):
        print(f"redeepfake-nb: {why}", file=sys.stderr)
    return status


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="redeepfake-nb",
        description="Find faces, score them for manipulation, say why and how surely.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    analyze = commands.add_parser("analyze", help="analyse pictures and videos")
    analyze.add_argument("files", nargs="+", metavar="FILE")
    analyze.add_argument("--json", action="store_true", help="print one JSON object per line and file")
    analyze.add_argument("--save", metavar="DIR", help="write report, table and pictures below DIR")
    analyze.add_argument(
        "--model", metavar="PATH", help="a model file with its sidecar, or a name; default: ours"
    )
    analyze.add_argument("--detector", default="hog", help="hog (default) or cnn")
    analyze.add_argument("--threshold", type=float, help="cut on P(fake), 0 to 1; default: the model's")
    analyze.add_argument(
        "--explain", metavar="METHOD", help="gradcam, gradcam++, layercam, scorecam or saliency"
    )
    analyze.add_argument(
        "--target", choices=("fake", "real"), default="fake", help="what pictures' heatmaps speak for"
    )
    analyze.add_argument(
        "--frames",
        type=_frames,
        default=32,
        metavar="N|all",
        help="how many of a video to look at; default: 32",
    )
    analyze.add_argument(
        "--annotate", metavar="OUT.mp4", help="write the video, the only file then, with boxes and scores"
    )
    analyze.set_defaults(run=_analyze)

    scan = commands.add_parser("scan", help="score many files; goes on where it stopped")
    scan.add_argument("inputs", nargs="+", metavar="FOLDER|LIST.csv|FILE")
    scan.add_argument("--journal", default="results.sqlite", help="SQLite file; default: results.sqlite")
    scan.add_argument("--csv", metavar="OUT.csv", help="write the table of results as CSV")
    scan.add_argument("--parquet", metavar="OUT.parquet", help="write it as a Parquet file")
    scan.add_argument(
        "--report", metavar="R.html", help="write a page with the highest and the most doubtful scores"
    )
    scan.add_argument("--model", metavar="PATH", help="a .keras file with its sidecar; default: ours")
    scan.add_argument("--detector", default="hog", help="hog (default) or cnn")
    scan.add_argument("--threshold", type=float, help="cut on P(fake), 0 to 1; default: the model's")
    scan.add_argument(
        "--frames",
        type=_frames,
        default=32,
        metavar="N|all",
        help="how many of a video to look at; default: 32",
    )
    where = scan.add_mutually_exclusive_group()
    where.add_argument("--workers", type=int, metavar="N", help="processes; default: as the machine allows")
    where.add_argument("--scheduler", metavar="ADDRESS", help="of a Dask cluster, such as tcp://head:8786")
    scan.add_argument("--time-limit", type=float, metavar="SECONDS", help="for one file; default: 1800")
    scan.add_argument("--retry-failed", action="store_true", help="try files again that failed before")
    scan.set_defaults(run=_scan)

    doctor = commands.add_parser("doctor", help="check the installation")
    doctor.set_defaults(run=_doctor)

    train = commands.add_parser("train", help="train a model by a recipe")
    train.add_argument("recipe", metavar="RECIPE.toml")
    train.add_argument("--data", required=True, help="CSV, Kaggle deepfake-faces folder, or real/ fake/ tree")
    train.add_argument("--pictures", help="folder or zip file of a CSV's pictures")
    train.add_argument("--out", required=True, help="folder for checkpoint, history and model")
    train.set_defaults(run=_train)

    join = commands.add_parser("join", help="make one model of several trained networks")
    join.add_argument("models", nargs="+", metavar="MODEL.keras", help="EfficientNet-Lite before FaceResNet")
    join.add_argument("--size", type=int, required=True, help="side of the joint model's input in pixels")
    join.add_argument("--data", required=True, help="labelled faces with the splits train and val")
    join.add_argument("--pictures", help="folder or zip file of a CSV's pictures")
    join.add_argument("--out", required=True, metavar="MODEL.keras")
    join.set_defaults(run=_join)

    evaluate = commands.add_parser("evaluate", help="judge a model on labelled faces")
    evaluate.add_argument("--model", default="default", help="a .keras file with its sidecar; default: ours")
    evaluate.add_argument(
        "--data", required=True, help="CSV, Kaggle deepfake-faces folder, or real/ fake/ tree"
    )
    evaluate.add_argument("--pictures", help="folder or zip file of a CSV's pictures")
    evaluate.add_argument("--split", help="the part of the table to judge, such as val; default: all of it")
    evaluate.add_argument("--limit", type=int, help="at most so many faces, half of them fake")
    evaluate.add_argument(
        "--false-alarm",
        type=float,
        metavar="RATE",
        help="choose the threshold at which at most this share of reals is called fake; default: the model's",
    )
    evaluate.add_argument("--sweep", type=int, default=200, help="faces for the robustness sweep; 0: none")
    evaluate.add_argument("--resamples", type=int, default=1000, help="bootstrap samples for intervals")
    evaluate.add_argument("--seed", type=int, default=0)
    evaluate.add_argument("--out", required=True, metavar="DIR", help="folder for tables and charts")
    evaluate.set_defaults(run=_evaluate)

    convert = commands.add_parser("convert", help="make a .keras file with a sidecar of another model")
    convert.add_argument(
        "model", metavar="OLD", help="a .keras or .h5 file, also of Keras 2, or a model's name"
    )
    convert.add_argument("out", metavar="NEW.keras")
    convert.add_argument("--backbone", metavar="NAME", help="the network, for a file of weights alone")
    convert.add_argument("--positive-class", choices=("fake", "real"), help="what a high output means")
    convert.add_argument("--output", choices=("logit", "probability", "softmax"))
    convert.add_argument("--input-size", type=int, metavar="PIXELS")
    convert.add_argument("--color-order", choices=("RGB", "BGR"))
    convert.add_argument("--value-range", type=float, nargs=2, metavar=("LOW", "HIGH"))
    convert.add_argument("--margin", type=float, default=0.0, help="around the face's box; default: none")
    convert.add_argument("--trust", action="store_true", help="run code in the file; needs --sha256")
    convert.add_argument("--sha256", help="what the old file must hash to")
    convert.set_defaults(run=_convert)
    return parser


def _frames(text: str) -> int | Literal["all"]:
    """A number of frames, or ``all``."""
    return "all" if text == "all" else int(text)


def _analyze(options: argparse.Namespace) -> int:
    from .models.loading import default_classifier, load_model

    if options.annotate and len(options.files) > 1:
        raise ValueError(f"--annotate takes one video, not {len(options.files)} files")
    classifier = load_model(options.model) if options.model else default_classifier()
    failed = 0
    for file in options.files:
        try:
            report, notes = _analyzed(file, classifier, options)
        except UnknownChoice:
            raise  # no other file would fare better
        except RedeepfakeError as error:
            failed += 1
            if options.json:
                print(json.dumps({"source": {"name": displayable(Path(file).name)}, **error.to_dict()}))
            else:
                print(f"redeepfake-nb: {error}", file=sys.stderr)
            continue
        if options.json:
            print(json.dumps(report.to_dict()), flush=True)
        else:
            _print(report, file, notes)
    return 1 if failed else 0


def _analyzed(
    file: str, classifier: Classifier, options: argparse.Namespace
) -> tuple[ImageReport | VideoReport, list[str]]:
    """A file's report, and what was written of it."""
    from .media.file_types import is_video

    notes = []
    # Saved reports hold overlays, so saving asks for heatmaps.
    method = options.explain or ("gradcam" if options.save else None)
    if is_video(file):
        from .analysis.video import analyze_video

        report: Any = analyze_video(
            file,
            classifier,
            frames=options.frames,
            detector=options.detector,
            threshold=options.threshold,
            explain_top=4 if method or options.json else 0,
            explain=method or "gradcam",
        )
        if options.annotate:
            from .report.annotated_video import annotate_video

            notes.append(f"annotated video: {displayable(annotate_video(report, options.annotate))}")
    else:
        from .analysis.image import analyze_image

        if options.annotate:
            raise ValueError("--annotate is for videos, and this file is none")
        report = analyze_image(
            file,
            classifier,
            detector=options.detector,
            threshold=options.threshold,
            explain=method,
            target=options.target,
        )
    if options.save:
        from .report.files import save

        notes.append(f"saved in {displayable(save(report, options.save))}")
    return report, notes


def _print(report: ImageReport | VideoReport, file: str, notes: list[str]) -> None:
    print(f"{displayable(file)}: {report.verdict.headline}")
    for reason in report.verdict.reasons:
        print(f"  - {reason}")
    for line in _persons(report) if hasattr(report, "persons") else _faces(report):
        print(f"  {line}")
    for note in notes:
        print(f"  {note}")


def _faces(report: ImageReport) -> list[str]:
    found = []
    for i, prediction in enumerate(report.predictions):
        left, top, right, bottom = prediction.face.box
        found.append(
            f"face {i + 1}: P(fake) = {prediction.probability:.2f} at threshold {report.threshold:.2f}, "
            f"box {left},{top} to {right},{bottom}"
        )
    return found


def _persons(report: VideoReport) -> list[str]:
    from .analysis.segments import in_words, stretches

    return [
        f"{person.name}: P(fake) = {person.probability:.2f} at threshold {report.threshold:.2f}, "
        f"in {len(person.sightings)} of {report.frames} frames; "
        f"frames reach the threshold: {in_words(stretches(report, person))}"
        for person in report.persons
    ]


def _scan(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .scanning.executors import connect
    from .scanning.scheduler import TIME_LIMIT, scan

    client = connect(options.scheduler) if options.scheduler else None
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
                detector=options.detector,
                threshold=options.threshold,
                time_limit=TIME_LIMIT if options.time_limit is None else options.time_limit,
                retry_failed=options.retry_failed,
                progress=progress,
            )
    except KeyboardInterrupt:
        print(
            f"stopped; what was done is kept in {displayable(options.journal)}, and the same command goes on",
            file=sys.stderr,
        )
        return 130
    finally:
        if client is not None:
            client.close()
    for line in _table(result):
        print(line)
    for out, write in ((options.csv, result.to_csv), (options.parquet, result.to_parquet)):
        if out:
            print(f"table: {displayable(write(out))}")
    if options.report:
        _report(options, result)
    return 1 if result.counts["failed"] else 0


def _report(options: argparse.Namespace, result: ScanResult) -> None:
    """The page on a scan, with a bar for the files that are looked at again."""
    from tqdm import tqdm

    from .models.loading import load_model
    from .report.html_page import html

    with tqdm(unit="file", desc="looking again", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total = total
            bar.update(done - bar.n)

        made = html(result, options.report, classifier=load_model(options.model), progress=progress)
    print(f"report: {displayable(made)}")


def _table(result: ScanResult) -> list[str]:
    """What came of a scan, a line for each kind of outcome."""
    lines = [f"{displayable(result.journal)}: {sum(result.counts.values())} files"]
    for row in result.summary().itertuples():
        kind = row.error if row.status == "failed" else row.verdict if row.status != "no face" else None
        name = f"{row.status}: {kind}" if isinstance(kind, str) else row.status
        copies = f"  ({row.duplicates} with the same bytes as another)" if row.duplicates else ""
        lines.append(f"  {name:<24} {row.files:>7}{copies}")
    return lines


def _doctor(options: argparse.Namespace) -> int:
    from .doctor import examine

    findings = examine()
    for finding in findings:
        print(finding)
    bad = sum(not finding.ok for finding in findings)
    print(f"{bad} problem{'' if bad == 1 else 's'} found" if bad else "no problem found")
    return 1 if bad else 0


def _join(options: argparse.Namespace) -> int:
    from .datasets.labelled_faces import read_faces
    from .models.loading import load_model
    from .training.exporter import join_and_export

    classifiers = [load_model(path) for path in options.models]
    faces = read_faces(options.data, options.pictures)
    print(f"model, sidecar and card: {join_and_export(classifiers, options.size, faces, options.out)}")
    return 0


def _train(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .datasets.labelled_faces import read_faces, split
    from .training.exporter import train_and_export
    from .training.recipes import Recipe

    recipe = Recipe.read(options.recipe)
    faces = read_faces(options.data, options.pictures)
    if faces.table["split"].isna().any():
        by = "original" if faces.table["identity"].isna().any() else "identity"
        faces = split(faces, by)
    with tqdm(total=recipe.steps, unit="step") as bar:

        def progress(step: int, steps: int, loss: float) -> None:
            bar.update(step - bar.n)
            bar.set_postfix(loss=f"{loss:.4f}", refresh=False)

        path = train_and_export(recipe, faces, options.out, progress=progress)
    print(f"model, sidecar and card: {path}")
    return 0


def _convert(options: argparse.Namespace) -> int:
    from .faces.preprocessing import Preprocessing
    from .models.conversion import convert_model

    said = (options.input_size, options.color_order, options.value_range)
    preprocessing = None
    # All three or none: what is left out would be a guess.
    if all(said):
        size, order, (low, high) = said
        preprocessing = Preprocessing(size, order, (low, high), options.margin)
    elif any(said):
        raise ValueError("--input-size, --color-order and --value-range belong together")
    done = convert_model(
        options.model,
        options.out,
        preprocessing=preprocessing,
        positive_class=options.positive_class,
        output=options.output,
        architecture=options.backbone,
        trust=options.trust,
        sha256=options.sha256,
    )
    print(f"model: {displayable(done.path)}")
    print(f"sidecar: {displayable(done.path.with_suffix('.json'))}")
    low, high = done.logits.min(), done.logits.max()
    print(
        f"check: logits of {len(done.logits)} probe pictures, {low:.4f} to {high:.4f}, as read and as saved"
    )
    print(f"       differ by at most {done.difference:.2g}")
    if done.card.trusted:
        print(f"trusted beyond the lists: {', '.join(done.card.trusted)}")
    return 0


def _evaluate(options: argparse.Namespace) -> int:
    from tqdm import tqdm

    from .datasets.labelled_faces import read_faces
    from .models.loading import default_classifier, load_model
    from .report.evaluation import judge_model

    faces = read_faces(options.data, options.pictures)
    if options.split:
        splits = sorted(str(name) for name in faces.table["split"].dropna().unique())
        faces = faces.part(options.split)
        if not len(faces):
            known = f"it has {', '.join(splits)}" if splits else "it has none"
            raise ValueError(f"no face is in the split {options.split}; {known}")
    classifier = default_classifier() if options.model == "default" else load_model(options.model)
    with tqdm(unit="step", disable=None) as bar:

        def progress(done: int, total: int) -> None:
            bar.total, bar.n = total, done
            bar.refresh()

        out = judge_model(
            classifier,
            faces,
            options.out,
            limit=options.limit,
            false_alarm=options.false_alarm,
            sweep=options.sweep,
            resamples=options.resamples,
            seed=options.seed,
            progress=progress,
        )
    print(f"tables and charts: {displayable(out)}")
    print(f"read first: {displayable(out / 'summary.md')}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
